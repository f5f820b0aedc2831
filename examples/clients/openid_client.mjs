// Call Station as a machine, with openid-client: node openid_client.mjs [PATH [TIMES]]
//
// Needs `npm install openid-client`. STATION_URL, STATION_CLIENT_ID and STATION_CLIENT_SECRET in the
// environment say where and who.
import { setTimeout as sleep } from 'node:timers/promises'
import * as oauth from 'openid-client'

const url = new URL(process.env.STATION_URL ?? 'http://127.0.0.1:3001')
const renewBefore = Number(process.env.STATION_RENEW_BEFORE ?? 30) // seconds that a token must still live
const tries = 5

// fetch that comes back when Station says, for tokens and for calls alike
async function patientFetch(...request) {
  for (let left = tries - 1; ; left--) {
    const response = await fetch(...request)
    if (left === 0 || ![429, 503].includes(response.status)) return response
    await response.body?.cancel()
    await sleep(1000 * Number(response.headers.get('Retry-After') ?? 1))
  }
}

// One Station, called with a token that is kept; calls may run side by side.
class Station {
  #config
  #token // the promise of one: who calls while it is on its way waits for the same

  constructor(config) {
    this.#config = config
  }

  // It finds the token endpoint by itself (RFC 8414).
  static async discover(id, secret) {
    const execute = url.protocol === 'http:' ? [oauth.allowInsecureRequests] : [] // in development
    const options = { algorithm: 'oauth2', execute, [oauth.customFetch]: patientFetch }
    return new Station(await oauth.discovery(url, id, secret, oauth.ClientSecretBasic(secret), options))
  }

  // The answer of a handler; a token that is about to end is renewed, one that was revoked replaced.
  async get(path) {
    const token = await this.#usableToken()
    const response = await this.#send(path, token).catch(async (error) => {
      if (error.cause?.[0]?.parameters?.error !== 'invalid_token') throw error
      return this.#send(path, await this.#usableToken(token))
    })
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
    return response.text()
  }

  async #usableToken(insteadOf) {
    const promise = this.#token
    const token = await promise?.catch(() => undefined)
    const unusable = !token || token === insteadOf || token.expiresIn() <= renewBefore
    if (unusable && promise === this.#token) this.#token = oauth.clientCredentialsGrant(this.#config)
    return this.#token
  }

  #send(path, token) {
    return oauth.fetchProtectedResource(this.#config, token.access_token, new URL(path, url), 'GET')
  }
}

const [path = '/auth/client', times = '3'] = process.argv.slice(2)
const station = await Station.discover(process.env.STATION_CLIENT_ID, process.env.STATION_CLIENT_SECRET)
for (let made = 0; made < Number(times); made++) console.log(await station.get(path))

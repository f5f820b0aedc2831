// Call Station as a machine, with simple-oauth2: node simple_oauth2.mjs [PATH [TIMES]]
//
// Needs `npm install simple-oauth2`. STATION_URL, STATION_CLIENT_ID and STATION_CLIENT_SECRET in the
// environment say where and who.
import { setTimeout as sleep } from 'node:timers/promises'
import { ClientCredentials } from 'simple-oauth2'

const url = process.env.STATION_URL ?? 'http://127.0.0.1:3001'
const renewBefore = Number(process.env.STATION_RENEW_BEFORE ?? 30) // seconds that a token must still live
const tries = 5

// Comes back when Station says. `work` returns a status, a Retry-After and a result.
async function patiently(work) {
  for (let left = tries - 1; ; left--) {
    const { status, retryAfter, result } = await work()
    if (left === 0 || ![429, 503].includes(status)) return result()
    await sleep(1000 * Number(retryAfter ?? 1))
  }
}

// One Station, called with a token that is kept; calls may run side by side.
class Station {
  #grant
  #token // the promise of one: who calls while it is on its way waits for the same

  constructor(id, secret) {
    this.#grant = new ClientCredentials({ client: { id, secret }, auth: { tokenHost: url, tokenPath: '/auth/token' } })
  }

  // The answer of a handler; a token that is about to end is renewed, one that was revoked replaced.
  async get(path) {
    const token = await this.#usableToken()
    let response = await this.#send(path, token)
    if (response.status === 401 && response.headers.get('WWW-Authenticate')?.includes('invalid_token')) {
      response = await this.#send(path, await this.#usableToken(token))
    }
    if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`)
    return response.text()
  }

  async #usableToken(insteadOf) {
    const promise = this.#token
    const token = await promise?.catch(() => undefined)
    const unusable = !token || token === insteadOf || token.expired(renewBefore)
    if (unusable && promise === this.#token) this.#token = this.#fetchToken()
    return this.#token
  }

  #fetchToken() {
    return patiently(() => this.#grant.getToken({}).then(
      (token) => ({ status: 200, result: () => token }),
      (error) => ({
        status: error.output?.statusCode,
        retryAfter: error.data?.headers?.['retry-after'],
        result: () => { throw error },
      }),
    ))
  }

  #send(path, { token }) {
    return patiently(async () => {
      const response = await fetch(url + path, { headers: { Authorization: `Bearer ${token.access_token}` } })
      return { status: response.status, retryAfter: response.headers.get('Retry-After'), result: () => response }
    })
  }
}

const [path = '/auth/client', times = '3'] = process.argv.slice(2)
const station = new Station(process.env.STATION_CLIENT_ID, process.env.STATION_CLIENT_SECRET)
for (let made = 0; made < Number(times); made++) console.log(await station.get(path))

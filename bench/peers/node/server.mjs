// node-oidc-provider as a peer of Station: client credentials for one resource, ES256 JWT access tokens, all in memory.
//
// Prints its port when it listens and logs nothing. The client's id and secret come from the environment.
import { generateKeyPair, exportJWK } from 'jose';
import Provider from 'oidc-provider';

const RESOURCE = 'https://api.example.com';

const { privateKey } = await generateKeyPair('ES256', { extractable: true });
const key = { ...(await exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'bench' };

const provider = new Provider('http://127.0.0.1', {
  // no adapter: the default one keeps everything in memory; tokens that are JWTs are kept nowhere
  clients: [
    {
      client_id: process.env.BENCH_CLIENT_ID,
      client_secret: process.env.BENCH_CLIENT_SECRET,
      grant_types: ['client_credentials'],
      response_types: [],
      redirect_uris: [],
      token_endpoint_auth_method: 'client_secret_post',
      id_token_signed_response_alg: 'ES256', // none is ever made; the default, RS256, would need a key
      scope: 'bot:api',
    },
  ],
  scopes: ['bot:api'],
  jwks: { keys: [key] },
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      getResourceServerInfo: () => ({
        scope: 'bot:api',
        audience: RESOURCE,
        accessTokenFormat: 'jwt',
        accessTokenTTL: 3600,
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

const server = provider.listen(0, '127.0.0.1', () => console.log(server.address().port));
process.on('SIGTERM', () => process.exit(0));

// A real OpenID Connect provider on this machine, with three people. The name is the password.

import { createServer } from 'node:http';

import { exportJWK, generateKeyPair } from 'jose';
import { Provider } from 'oidc-provider';

export const CLIENT = 'page';

export const PEOPLE = {
  olga: { email: 'olga@example.com', email_verified: true, groups: ['developers', 'operator'] },
  rita: { email: 'rita@example.com', email_verified: true, groups: ['reader'] },
  // In no group; the name of one of hers contains that of another. Her address is not verified.
  nora: { email: 'olga@example.com', email_verified: false, groups: ['payments operator', 'reader '] },
};

// `lifetimes` may change while the provider runs: seconds of an ID token, and whether there are refresh tokens.
export async function startIssuer(page, { port = 0, key = undefined } = {}) {
  const lifetimes = { token: 3_600, refresh: true };
  const server = createServer();
  await new Promise((done) => server.listen(port, '127.0.0.1', done));
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const signs = key ?? (await newKey());
  const provider = new Provider(issuer, configuration(page, signs, lifetimes));
  const answer = provider.callback();
  server.on('request', (request, response) =>
    request.url.startsWith('/interaction/')
      ? interaction(provider, request, response).catch((error) => response.writeHead(500).end(String(error)))
      : answer(request, response),
  );
  return { issuer, server, lifetimes, key: signs };
}

async function newKey() {
  const { privateKey } = await generateKeyPair('RS256', { extractable: true });
  return { ...(await exportJWK(privateKey)), use: 'sig', alg: 'RS256', kid: 'one' };
}

export async function stopIssuer({ server }) {
  server.closeAllConnections();
  await new Promise((done) => server.close(done));
}

const configuration = (page, key, lifetimes) => ({
  clients: [
    {
      client_id: CLIENT,
      token_endpoint_auth_method: 'none',
      redirect_uris: [page],
      post_logout_redirect_uris: [page],
      response_types: ['code'],
      grant_types: ['authorization_code', 'refresh_token'],
    },
  ],
  jwks: { keys: [key] },
  cookies: { keys: ['test'] },
  scopes: ['openid', 'email'],
  claims: { openid: ['sub', 'groups'], email: ['email', 'email_verified'] },
  // As Cognito, Entra ID, Okta and Keycloak do, the ID token has the claims.
  conformIdTokenClaims: false,
  clientBasedCORS: (_, origin) => origin === new URL(page).origin,
  findAccount: (_, accountId) => ({
    accountId,
    claims: async () => ({ sub: accountId, ...PEOPLE[accountId] }),
  }),
  issueRefreshToken: () => lifetimes.refresh,
  ttl: {
    IdToken: () => lifetimes.token,
    AccessToken: 60,
    RefreshToken: 3_600,
    Session: 3_600,
    Grant: 3_600,
    Interaction: 60,
  },
  // Everybody consents.
  loadExistingGrant: async ({ oidc }) => {
    const grant = new oidc.provider.Grant({ clientId: CLIENT, accountId: oidc.session.accountId });
    grant.addOIDCScope('openid email');
    await grant.save();
    return grant;
  },
  interactions: { url: (_, { uid }) => `/interaction/${uid}` },
  features: {
    devInteractions: { enabled: false },
    rpInitiatedLogout: {
      enabled: true,
      logoutSource: (ctx, form) => {
        const button = '<button form="op.logoutForm" name="logout" value="yes">Yes, sign me out</button>';
        ctx.body = view('Sign out', form + button);
      },
    },
  },
});

const view = (title, body) =>
  `<!doctype html><html lang="en"><head><title>${title}</title><link rel="icon" href="data:,"></head>
<body><h1>${title}</h1>${body}</body></html>`;

const LOGIN = view(
  'Login',
  `<form method="post"><label>Name <input name="name" required></label> <button>Continue</button>
<button name="refuse" value="yes" formnovalidate>Cancel</button></form>`,
);

async function interaction(provider, request, response) {
  if (request.method === 'GET') return response.writeHead(200, { 'content-type': 'text/html' }).end(LOGIN);
  let body = '';
  for await (const chunk of request) body += chunk;
  const said = new URLSearchParams(body);
  const result = said.get('refuse')
    ? { error: 'access_denied', error_description: 'the person said no' }
    : { login: { accountId: said.get('name') } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

// Signing in, where infra/page.yaml serves the page: authorization code flow with PKCE at the issuer of the HTML.
// https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowAuth, https://www.rfc-editor.org/rfc/rfc7636
//
// Tokens are only in memory: they end with the page, and are never on a disk. A page that is loaded again asks the
// issuer again, which knows the browser and returns at once. Only what must survive that way is in the tab's storage.

import { Problem, authorize } from './api.js';

const [issuer, client, ...scopes] = document.querySelector('meta[name="sign-in"]')?.content.split(' ') ?? [];

export const isConfigured = Boolean(issuer);

const UNDER_WAY = 'ecr-lineage-sign-in';
const SIGNED_OUT = 'ecr-lineage-signed-out';

// A token is renewed this many milliseconds before it expires.
const MARGIN = 20_000;

const address = () => location.origin + location.pathname;
const failed = (title, detail, remediation = 'Sign in again.') =>
  new Problem({ title, detail, remediation, status: 401 });

let tokens;
let renewing;
// Why there are no tokens.
let why = failed('Not signed in', 'The API answers to people who signed in.', 'Sign in.');

// -- The issuer

async function ask(url, body) {
  const unreachable = () => {
    throw failed(
      'Sign-in failed',
      `\`${url}\` did not answer this page.`,
      `It must allow the origin \`${location.origin}\` (CORS). Another host than the issuer's must be the parameter ` +
        '`TokenOrigin` of `infra/page.yaml`.',
    );
  };
  const init = { credentials: 'omit', ...(body && { method: 'POST', body: new URLSearchParams(body) }) };
  const answer = await fetch(url, init).catch(unreachable);
  const said = await answer.json().catch(() => ({}));
  if (!answer.ok) throw refusedBy(said, `HTTP ${answer.status}`);
  return said;
}

const refusedBy = ({ error, error_description: description }, other) =>
  failed('Sign-in failed', `\`${issuer}\` says: ${[error ?? other, description].filter(Boolean).join(': ')}`);

let discovered;

async function endpoints() {
  discovered ??= await ask(`${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`);
  if (discovered.issuer !== issuer)
    throw failed('Sign-in failed', `\`${issuer}\` calls itself \`${discovered.issuer}\`.`);
  return discovered;
}

// -- Encodings

const encode = (bytes) =>
  btoa(String.fromCharCode(...new Uint8Array(bytes)))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

const random = () => encode(crypto.getRandomValues(new Uint8Array(32)));

function claimsOf(token) {
  const payload = token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
  return JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(payload), (letter) => letter.charCodeAt(0))));
}

// -- Signing in

// Leaves the page, to return to its current view.
export async function signIn() {
  try {
    const { authorization_endpoint: endpoint } = await endpoints();
    const [state, nonce, verifier] = [random(), random(), random()];
    const challenge = encode(await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier)));
    sessionStorage.setItem(UNDER_WAY, JSON.stringify({ state, nonce, verifier, hash: location.hash }));
    const asked = new URL(endpoint);
    const parameters = {
      response_type: 'code',
      client_id: client,
      redirect_uri: address(),
      scope: scopes.join(' '),
      state,
      nonce,
      code_challenge: challenge,
      code_challenge_method: 'S256',
    };
    for (const [name, value] of Object.entries(parameters)) asked.searchParams.set(name, value);
    location.assign(asked);
    return true;
  } catch (error) {
    why = error;
    return false;
  }
}

// The issuer's answer in the address of the page.
async function returned(answer) {
  const begun = JSON.parse(sessionStorage.getItem(UNDER_WAY) ?? '{}');
  sessionStorage.removeItem(UNDER_WAY);
  history.replaceState(null, '', location.pathname + (begun.hash ?? ''));
  // https://www.rfc-editor.org/rfc/rfc9207
  const from = answer.get('iss') ?? issuer;
  // An error may come without the state.
  const state = answer.get('state') ?? (answer.has('error') ? begun.state : undefined);
  if (!begun.state || state !== begun.state || from !== issuer)
    throw failed('Sign-in failed', 'This tab did not ask for this sign-in.');
  if (!answer.has('code')) throw refusedBy(Object.fromEntries(answer), 'no code');
  const [code, verifier] = [answer.get('code'), begun.verifier];
  await request(
    { grant_type: 'authorization_code', code, redirect_uri: address(), code_verifier: verifier },
    ({ nonce }) => nonce === begun.nonce,
  );
}

// The token came from the issuer itself, over TLS; API Gateway verifies its signature with each request.
// https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation
async function request(parameters, isExpected) {
  const { token_endpoint: endpoint } = await endpoints();
  const { id_token: id, refresh_token: refresh } = await ask(endpoint, { client_id: client, ...parameters });
  const claims = id ? claimsOf(id) : {};
  const isOurs = claims.iss === issuer && [claims.aud].flat().includes(client) && (claims.azp ?? client) === client;
  if (!isOurs || !(claims.exp > claims.iat) || !isExpected(claims))
    throw failed('Sign-in failed', `\`${issuer}\` answered with a token that is not for this sign-in.`);
  // This machine's clock may be wrong: only the time that passes is used.
  const until = Date.now() + (claims.exp - claims.iat) * 1_000 - MARGIN;
  tokens = { id, subject: claims.sub, until, refresh: refresh ?? parameters.refresh_token };
}

async function renew({ refresh, subject }) {
  try {
    await request({ grant_type: 'refresh_token', refresh_token: refresh }, ({ sub }) => sub === subject);
  } catch {
    tokens = undefined;
  }
  renewing = undefined;
}

const expired = (detail = 'The sign-in is no longer valid.') =>
  failed('Session expired', detail, 'Sign in again: this view stays.');

export const isSignedIn = () => Boolean(tokens);

async function token() {
  if (tokens && Date.now() >= tokens.until) {
    why = expired();
    if (!tokens.refresh) tokens = undefined;
    else await (renewing ??= renew(tokens));
  }
  if (!tokens) throw why;
  return tokens.id;
}

// The API did not accept the token. API Gateway says why in a header.
function refused(answer) {
  tokens = undefined;
  const said = /error_description="([^"]+)"/.exec(answer.headers.get('www-authenticate'))?.[1];
  why = expired(said && `The API refused the token: ${said}.`);
  return why;
}

export async function signOut() {
  const { end_session_endpoint: endpoint } = await endpoints().catch(() => ({}));
  const hint = tokens?.id;
  tokens = undefined;
  sessionStorage.setItem(SIGNED_OUT, 'yes');
  if (!endpoint) return location.assign(address());
  const asked = new URL(endpoint);
  // Cognito has a name of its own for the address to return to.
  // https://docs.aws.amazon.com/cognito/latest/developerguide/logout-endpoint.html
  const there = address();
  const parameters = { client_id: client, post_logout_redirect_uri: there, logout_uri: there, id_token_hint: hint };
  for (const [name, value] of Object.entries(parameters)) if (value) asked.searchParams.set(name, value);
  location.assign(asked);
}

// Before the first request: the tokens, or why there are none. Whether the page goes on.
export async function begin() {
  if (!isConfigured) return true;
  authorize({ isNeeded: () => true, token, refused });
  const answer = new URLSearchParams(location.search);
  if (answer.has('state') || answer.has('error')) {
    await returned(answer).catch((error) => (why = error));
    return true;
  }
  if (sessionStorage.getItem(SIGNED_OUT)) {
    sessionStorage.removeItem(SIGNED_OUT);
    why = failed('Signed out', 'The issuer may still know this browser.', 'Sign in.');
    return true;
  }
  return !(await signIn());
}

// The deployed page: people sign in at a real OpenID Connect provider, and read or operate as their groups say.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { SignJWT, generateKeyPair, importJWK } from 'jose';

import { close, faults, launch, open, overflow, picture } from './browser.mjs';
import { connectGateway, startGateway, stopGateway } from './gateway.mjs';
import { CLIENT, PEOPLE, startIssuer, stopIssuer } from './issuer.mjs';
import { TOKYO, api, arrived, create, deletions, push, remove, replicate, start, step, stop } from './product.mjs';

let product;
let gateway;
let provider;
let browser;
let digest;

before(async () => {
  product = await start();
  gateway = await startGateway();
  provider = await startIssuer(gateway.page);
  const parameters = { Issuer: provider.issuer, ClientId: CLIENT, GroupsClaim: 'groups' };
  await connectGateway(gateway, product, provider, parameters);
  browser = await launch();
  await replicate(product);
  await create(product, 'team/app');
  await step(product, 120);
  digest = await push(product, 'team/app', 'v1');
  await arrived(product, 'team/app:v1');
  await remove(product, 'team/app', digest);
  await deletions(product, digest, 'pending');
});

after(async () => {
  await browser?.close();
  await stopGateway(gateway);
  await stopIssuer(provider);
  await stop(product);
});

const opened = ({ hash = '', ...settings } = {}) =>
  open(browser, { ...gateway, page: gateway.page + hash }, { origins: [provider.issuer], ...settings });

async function login(page, name) {
  await page.getByRole('heading', { name: 'Login' }).waitFor();
  await page.getByLabel('Name').fill(name);
  await page.getByRole('button', { name: 'Continue' }).click();
}

const heading = (page, name) => page.getByRole('heading', { level: 1, name, exact: true }).waitFor();
const signIn = (page) => page.getByRole('button', { name: 'Sign in', exact: true });
const poll = (page) => page.evaluate(() => document.dispatchEvent(new Event('visibilitychange')));
const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
const identity = (name) => `sub ${name} at ${provider.issuer}`;

// A browser writes each answer with an error to the console. Takes those of the API with this status out.
function expected({ wrong }, status) {
  const others = wrong.filter((text) => !text.includes(`status of ${status}`));
  assert.ok(others.length < wrong.length, `no answer with ${status}`);
  wrong.splice(0, wrong.length, ...others);
}

// The token that the page sent last.
async function tokenOf({ requests }) {
  const asked = requests.findLast((request) => request.url().startsWith(`${gateway.endpoint}/v1/`));
  return (await asked.allHeaders()).authorization;
}

const ask = (authorization, path = 'overview', body = undefined) =>
  fetch(`${gateway.endpoint}/v1/${path}`, {
    method: body ? 'POST' : 'GET',
    headers: { 'content-type': 'application/json', ...(authorization && { authorization }) },
    body: body && JSON.stringify(body),
  });

test('an operator signs in, returns to the view, and acts with their name', async () => {
  const visit = await opened({ hash: '#/deletions' });
  const { page } = visit;
  await login(page, 'olga');
  await heading(page, 'Deletions');
  assert.equal(page.url(), `${gateway.page}#/deletions`);
  await page.getByRole('contentinfo').getByText('olga@example.com, read-write').waitFor();
  const deletion = page.locator('.deletion').filter({ hasText: `in ${TOKYO}` });
  await deletion.getByRole('button', { name: /^Hold/ }).click();
  await deletion.getByLabel('Reason').fill('audit');
  await deletion.getByRole('button', { name: 'Hold it' }).click();
  await deletion.locator('.acted').getByText(`by olga@example.com (${identity('olga')}) since `).waitFor();
  assert.deepEqual(await faults(page), []);
  await picture(page, 'signed-in');
  const { holds } = await api(product, 'holds');
  assert.deepEqual(
    holds.map(({ by }) => by),
    [`olga@example.com (${identity('olga')})`],
  );
  await close(visit);
});

test('a reader reads, and is refused every act', async () => {
  const visit = await opened({ hash: '#/deletions' });
  const { page } = visit;
  await login(page, 'rita');
  await page.getByRole('contentinfo').getByText('rita@example.com, read-only').waitFor();
  await page.locator('.deletion').first().waitFor();
  assert.equal(await page.getByRole('button', { name: /^(Hold|Cancel|Release|Pause)/ }).count(), 0);
  assert.equal(await page.getByText('Pause deletions…').count(), 0);
  const token = await tokenOf(visit);
  const before = await api(product, 'holds');
  for (const [path, body] of [
    ['holds', { hold: '*', reason: 'no' }],
    ['pauses', { reason: 'no' }],
    ['holds/release', { hold: before.holds[0].id, force: true }],
  ]) {
    const answer = await ask(token, path, body);
    const problem = await answer.json();
    assert.deepEqual([answer.status, problem.code], [403, 'not_operator'], path);
    assert.equal(problem.detail, `rita@example.com (${identity('rita')}) is not in the group \`operator\``);
  }
  assert.deepEqual(await api(product, 'holds'), before);
  const preview = await ask(token, 'policy/preview', { policy: '@id("x") permit (principal, action, resource);' });
  assert.equal(preview.status, 200, await preview.text());
  await close(visit);
});

test('a person in no group sees why nothing is shown', async () => {
  const visit = await opened();
  const { page } = visit;
  await login(page, 'nora');
  // An address that is not verified is not her name, and `payments operator` is not `operator`.
  await page.getByText(`${identity('nora')} is in neither of the groups reader and operator`).waitFor();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  assert.deepEqual(await faults(page), []);
  await picture(page, 'no-group');
  expected(visit, 403);
  await close(visit);
});

test('an expired sign-in is asked for again, and the view stays', async () => {
  Object.assign(provider.lifetimes, { token: 24, refresh: false });
  const visit = await opened({ hash: '#/lag' });
  const { page } = visit;
  await login(page, 'rita');
  await heading(page, 'Replication lag');
  await page.getByRole('contentinfo').getByText('rita@example.com').waitFor();
  await pause(4_500);
  await poll(page);
  // What was loaded stays, and is said to be old.
  await page.getByText('Session expired. What is shown is not current.').waitFor();
  assert.deepEqual(await faults(page), []);
  await picture(page, 'expired');
  await page.getByRole('link', { name: 'Drift' }).click();
  await page.getByText('The sign-in is no longer valid.').waitFor();
  // The provider still knows the browser.
  await signIn(page).last().click();
  await page.getByRole('contentinfo').getByText('rita@example.com').waitFor();
  await heading(page, 'Drift');
  assert.equal(page.url(), `${gateway.page}#/drift`);
  assert.equal(await page.getByText('Session expired').count(), 0);
  await close(visit);
  Object.assign(provider.lifetimes, { token: 3_600, refresh: true });
});

test('a sign-in is renewed without being seen', async () => {
  Object.assign(provider.lifetimes, { token: 24, refresh: true });
  const visit = await opened();
  const { page } = visit;
  await login(page, 'rita');
  await page.getByRole('contentinfo').getByText('rita@example.com').waitFor();
  const first = await tokenOf(visit);
  await pause(4_500);
  const renewed = page.waitForResponse(`${gateway.endpoint}/v1/overview`);
  await poll(page);
  assert.equal((await renewed).status(), 200);
  assert.notEqual(await tokenOf(visit), first);
  const exchanges = visit.requests.filter((request) => request.url() === `${provider.issuer}/token`);
  assert.equal(exchanges.length, 2);
  assert.equal(await signIn(page).count(), 0);
  await close(visit);
  Object.assign(provider.lifetimes, { token: 3_600, refresh: true });
});

test('who signs out is asked for their name again', async () => {
  const visit = await opened();
  const { page } = visit;
  await login(page, 'olga');
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: 'Yes, sign me out' }).click();
  await page.getByText('Signed out').waitFor();
  assert.deepEqual(await faults(page), []);
  await picture(page, 'signed-out');
  await signIn(page).click();
  await login(page, 'rita');
  await page.getByRole('contentinfo').getByText('rita@example.com, read-only').waitFor();
  const kept = await page.evaluate(() => ({ ...sessionStorage, ...localStorage }));
  assert.deepEqual(kept, {});
  await close(visit);
});

test('the page says what the provider says, and does not try again', async () => {
  const visit = await opened({ viewport: { width: 375, height: 800 } });
  const { page } = visit;
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByText(`${provider.issuer} says: access_denied: the person said no`).waitFor();
  assert.equal(page.url(), gateway.page);
  assert.deepEqual(await overflow(page), []);
  assert.deepEqual(await faults(page), []);
  await picture(page, 'sign-in-failed');
  // Answers that this tab did not ask for.
  await page.goto(`${gateway.page}?error=server_error`);
  await page.getByText('This tab did not ask for this sign-in.').waitFor();
  assert.equal(page.url(), gateway.page);
  await page.goto(`${gateway.page}?code=stolen&state=other`);
  await page.getByText('This tab did not ask for this sign-in.').waitFor();
  assert.equal(page.url(), gateway.page);
  await signIn(page).click();
  await login(page, 'rita');
  await heading(page, 'Overview');
  await close(visit);
});

test('a forged token is refused, and only the page is open to everybody', async () => {
  const key = await importJWK(provider.key, 'RS256');
  const { privateKey: other } = await generateKeyPair('RS256');
  const sign = (claims, { by = key, issuer = provider.issuer, audience = CLIENT, expires = '5m' } = {}) =>
    new SignJWT({ ...PEOPLE.rita, ...claims })
      .setProtectedHeader({ alg: 'RS256', kid: 'one' })
      .setSubject('rita')
      .setIssuer(issuer)
      .setAudience(audience)
      .setIssuedAt()
      .setExpirationTime(expires)
      .sign(by);
  const good = await sign();
  assert.equal((await ask(`Bearer ${good}`)).status, 200);
  const [head, payload, signature] = good.split('.');
  const claims = JSON.parse(Buffer.from(payload, 'base64url'));
  const encoded = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const operator = encoded({ ...claims, groups: ['operator'] });
  const forged = {
    'no token': undefined,
    'another payload': `Bearer ${head}.${operator}.${signature}`,
    'no signature': `Bearer ${encoded({ alg: 'none' })}.${operator}.`,
    'another key': `Bearer ${await sign({ groups: ['operator'] }, { by: other })}`,
    'another client': `Bearer ${await sign({}, { audience: 'other' })}`,
    'another issuer': `Bearer ${await sign({}, { issuer: 'https://evil.example' })}`,
    'an old one': `Bearer ${await sign({}, { expires: '-1m' })}`,
  };
  for (const [what, authorization] of Object.entries(forged)) {
    assert.equal((await ask(authorization)).status, 401, what);
    assert.equal((await ask(authorization, 'pauses', { reason: 'no' })).status, 401, what);
  }
  // Real tokens of people whose groups are not those that are configured.
  for (const groups of [undefined, [], 'readers', ['operators', 'read'], ['reader x'], ['[operator]']]) {
    const answer = await ask(`Bearer ${await sign({ groups })}`);
    assert.deepEqual([answer.status, (await answer.json()).code], [403, 'no_group'], JSON.stringify(groups));
  }
  const open = await fetch(gateway.page);
  assert.equal(open.status, 200);
  const policy = open.headers.get('content-security-policy');
  assert.ok(policy.includes(`connect-src 'self' ${provider.issuer};`), policy);
  for (const path of ['v1', 'v2/overview', 'page', '%76%31/overview', 'page/../v1/overview', '/v1/overview'])
    assert.notEqual((await fetch(`${gateway.page}${path}`)).status, 200, path);
});

test('a provider that does not answer is named', async () => {
  const visit = await opened();
  const { page } = visit;
  await page.getByRole('heading', { name: 'Login' }).waitFor();
  const port = provider.server.address().port;
  await stopIssuer(provider);
  await page.goto(gateway.page);
  await page.getByText(`${provider.issuer}/.well-known/openid-configuration did not answer this page.`).waitFor();
  visit.wrong.splice(0, visit.wrong.length, ...visit.wrong.filter((text) => !text.includes('ERR_CONNECTION_REFUSED')));
  provider = await startIssuer(gateway.page, { port, key: provider.key });
  await signIn(page).click();
  await login(page, 'rita');
  await heading(page, 'Overview');
  await close(visit);
});

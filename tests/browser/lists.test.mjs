// Activity with filters, suggestions while typing, sorted lists, and acts on many deletions at once.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { close, faults, launch, open, overflow, picture } from './browser.mjs';
import {
  VIRGINIA,
  api,
  arrived,
  create,
  deletions,
  push,
  remove,
  replicate,
  start,
  step,
  stop,
  until,
} from './product.mjs';

let product;
let browser;
const images = [];

before(async () => {
  product = await start();
  browser = await launch();
  await replicate(product);
  for (const repository of ['staging/web', 'asked/many', 'prod/api']) await create(product, repository);
  await step(product, 120);
  await push(product, 'staging/web', 'v1.4.2-rc1', 'web 1');
  await step(product, 60);
  const last = await push(product, 'prod/api', 'v2.0.0', 'api 2');
  for (let number = 0; number < 5; number += 1)
    images.push(await push(product, 'asked/many', `v${number}`, `asked ${number}`));
  await arrived(product, `prod/api@${last}`);
  await arrived(product, `asked/many@${images[4]}`);
  for (const digest of images) await remove(product, 'asked/many', digest);
  await deletions(product, images[4], 'pending');
  await step(product, 3_600);
  await deletions(product, images[4], 'awaiting_approval');
  await deletions(product, images[0], 'awaiting_approval');
});

after(async () => {
  await browser?.close();
  await stop(product);
});

const field = (page) => page.getByRole('combobox', { name: /^Search/ });
const rows = (page, name) => page.getByRole('table', { name }).getByRole('row');

test('activity says who did what, and each filter has an address', async () => {
  const opened = await open(browser, product);
  const { page } = opened;
  await page.getByRole('link', { name: 'Activity' }).click();
  await page.getByRole('heading', { level: 1, name: 'Activity' }).waitFor();
  await page.getByRole('table', { name: 'Activity' }).getByText('deleted').first().waitFor();
  await page.getByLabel('What', { exact: true }).selectOption('pushes');
  await page.getByText('7 entries since').waitFor();
  await page.getByLabel('Repository', { exact: true }).fill('prod/*');
  await page.keyboard.press('Enter');
  await page.getByText('1 entry since').waitFor();
  const address = page.url();
  await page.goto('about:blank');
  await page.goto(address);
  await page.getByText('1 entry since').waitFor();
  await rows(page, 'Activity').getByRole('link', { name: /^prod\/api:v2\.0\.0@/ }).click();
  await page.getByRole('heading', { level: 1, name: 'prod/api:v2.0.0@' }).waitFor();
  // From a name elsewhere to all that this person did.
  await page.getByRole('table', { name: 'In each registry' }).getByRole('link', { name: 'root' }).click();
  await page.getByRole('heading', { level: 1, name: 'Activity' }).waitFor();
  assert.match(await page.getByLabel('Who', { exact: true }).inputValue(), /^arn:aws:iam::111122223333:root$/);
  await page.getByLabel('To day (UTC)').fill('2020-01-01');
  await page.getByLabel('From day').fill('2019-12-01');
  await page.getByText('Nothing that was recorded matches these filters.').waitFor();
  await page.getByRole('button', { name: 'Clear' }).click();
  await page.getByText(/^\d+ entries since/).waitFor();
  assert.match(page.url(), /#\/activity$/);
  await close(opened);
});

test('suggestions come while typing, and are chosen by keyboard', async () => {
  const opened = await open(browser, product);
  const { page } = opened;
  await page.keyboard.press('/');
  await page.keyboard.type('web');
  const list = page.getByRole('listbox', { name: 'Suggestions' });
  await list.getByRole('option', { name: 'staging/web repository' }).waitFor();
  assert.equal(await field(page).getAttribute('aria-expanded'), 'true');
  await picture(page, 'suggestions');
  assert.deepEqual(await faults(page), []);
  await page.keyboard.press('ArrowDown');
  const chosen = await field(page).getAttribute('aria-activedescendant');
  assert.equal(await page.locator(`#${chosen}`).getAttribute('aria-selected'), 'true');
  await page.keyboard.press('Escape');
  await list.waitFor({ state: 'hidden' });
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'staging/web', exact: true }).waitFor();
  for (const [text, option] of [
    ['rc1', 'staging/web:v1.4.2-rc1 tag'],
    ['web:v1', 'staging/web:v1.4.2-rc1 tag'],
    ['v2.0.0', 'prod/api:v2.0.0 tag'],
    ['us-ea', `${VIRGINIA} registry`],
    ['root', 'root who'],
    [images[0].slice(7, 15), `asked/many@${images[0].slice(7, 19)} image`],
  ]) {
    await field(page).fill(text);
    await list.getByRole('option', { name: option }).first().waitFor();
  }
  await list.getByRole('option').first().click();
  await page.getByRole('heading', { level: 1, name: 'asked/many:v0@' }).waitFor();
  await close(opened);
});

test('a whole list is sorted by its columns', async () => {
  const opened = await open(browser, product, { hash: `#/repository/${encodeURIComponent('asked/many')}` });
  const { page } = opened;
  const table = page.getByRole('table', { name: 'Images of asked/many' });
  const tags = async () => (await table.locator('.tag').allTextContents()).map((text) => text.trim());
  await table.getByRole('button', { name: 'Pushed (UTC)' }).click();
  const head = table.getByRole('columnheader', { name: 'Pushed (UTC)' });
  assert.equal(await head.getAttribute('aria-sort'), 'descending');
  const newest = await tags();
  await table.getByRole('button', { name: 'Pushed (UTC)' }).click();
  assert.equal(await head.getAttribute('aria-sort'), 'ascending');
  await table.getByRole('button', { name: 'Tags' }).click();
  const byTag = await tags();
  assert.deepEqual(byTag, [...byTag].sort().reverse());
  assert.equal(newest.length, byTag.length);
  assert.equal(await head.getAttribute('aria-sort'), null);
  await close(opened);
});

test('what waits for approval needs attention, and many are approved together with a result for each', async () => {
  const opened = await open(browser, product);
  const { page } = opened;
  await page.getByRole('region', { name: 'Needs attention' }).getByRole('link', { name: '10 deletions' }).click();
  await page.getByRole('heading', { level: 1, name: 'Deletions' }).waitFor();
  await page.getByLabel(/^Filter by/).fill('us-east-1');
  const each = page.getByRole('checkbox', { name: /^Select asked\/many@/ });
  await each.nth(4).waitFor();
  await page.getByRole('checkbox', { name: /^Select all/ }).check();
  const selection = page.getByRole('group', { name: 'Selected deletions' });
  await selection.getByText('5 deletions of 5 images in 1 registry').waitFor();
  await each.nth(0).uncheck();
  await selection.getByText('4 deletions of 4 images in 1 registry').waitFor();
  await selection.getByRole('button', { name: 'Approve all 4' }).click();
  await selection.getByText(/^Approve 4 deletions of 4 images in 1 registry/).waitFor();
  await picture(page, 'approve-many');
  assert.deepEqual(await faults(page), []);
  // Another operator is faster with one of them.
  const { deletions: waiting } = await api(product, 'deletions?status=awaiting_approval');
  const selected = await selectedOf(page);
  const first = waiting.find((one) => one.registry === VIRGINIA && selected.includes(one.digest.slice(7, 19)));
  await fetch(`${product.endpoint}/v1/deletions/cancel`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      image: `${first.repository}@${first.digest}`,
      registry: first.registry,
      version: first.version,
    }),
  });
  await selection.getByRole('button', { name: 'Approve them' }).click();
  await page.locator('.acted').getByText(/^approve: 3 deletions of 3 images in 1 registry/).waitFor();
  await page.getByText('1 refused').waitFor();
  await page.getByText(/was changed by another process/).waitFor();
  const over = async (status) => {
    const all = await api(product, `deletions?status=${status}`);
    return (all.deletions ?? []).filter(({ registry }) => registry === VIRGINIA).length;
  };
  await until(product, async () => (await over('done')) === 3);
  await close(opened);
});

// The short digests of the selected deletions.
const selectedOf = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll('.deletion')]
      .filter((item) => item.querySelector('input[type="checkbox"]')?.checked)
      .map((item) => /@([0-9a-f]{12})/.exec(item.textContent)[1]),
  );

test('many are put on hold and released together, on a phone', async () => {
  const viewport = { width: 375, height: 800 };
  const opened = await open(browser, product, { hash: '#/deletions', viewport });
  const { page } = opened;
  await page.getByLabel(/^Filter by/).fill('ap-northeast-1');
  await page.getByRole('checkbox', { name: /^Select all/ }).check();
  const selection = page.getByRole('group', { name: 'Selected deletions' });
  await selection.getByRole('button', { name: 'Hold all 5' }).click();
  assert.deepEqual(await overflow(page), []);
  assert.deepEqual(await faults(page), []);
  await picture(page, 'hold-many-375');
  await selection.getByLabel('Reason').fill('audit');
  await selection.getByRole('button', { name: 'Hold them' }).click();
  await page.locator('.acted').getByText(/^hold: 5 deletions of 5 images in 1 registry/).waitFor();
  assert.equal((await api(product, 'holds')).holds.length, 5);
  await selection.getByRole('button', { name: 'Release all 5' }).click();
  await selection.getByRole('button', { name: 'Release them' }).click();
  await page.locator('.acted').getByText(/^release: 5 deletions of 5 images in 1 registry/).waitFor();
  assert.equal((await api(product, 'holds')).holds.length, 0);
  await close(opened);
});

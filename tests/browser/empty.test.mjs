// An empty table: the page says what to do next, and its first load is small.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { close, faults, launch, open, overflow, picture } from './browser.mjs';
import { start, stop } from './product.mjs';

let product;
let browser;

before(async () => {
  product = await start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await stop(product);
});

test('an empty table says what to do next', async () => {
  for (const width of [1440, 375]) {
    const opened = await open(browser, product, { viewport: { width, height: 900 } });
    const { page } = opened;
    await page.getByRole('heading', { name: 'No registry is known yet' }).waitFor();
    await page.getByText('ecr-lineage ingest FILE').waitFor();
    await page.getByRole('link', { name: 'Deletions' }).click();
    await page.getByText('Nothing is recorded yet').waitFor();
    await page.getByRole('link', { name: 'Alerts' }).click();
    await page.getByText('Nothing is recorded yet').first().waitFor();
    await page.goBack();
    await page.goBack();
    await page.getByRole('heading', { name: 'Overview' }).waitFor();
    assert.deepEqual(await overflow(page), []);
    assert.deepEqual(await faults(page), []);
    await picture(page, `empty-${width}-light`);
    await close(opened);
  }
});

test('the first load is small', async () => {
  const opened = await open(browser, product);
  await opened.page.getByRole('heading', { name: 'No registry is known yet' }).waitFor();
  await opened.page.waitForTimeout(500);
  const sizes = await Promise.all(
    opened.requests.map(async (request) => [new URL(request.url()).pathname, (await request.sizes()).responseBodySize]),
  );
  const bytes = sizes.reduce((sum, [, size]) => sum + size, 0);
  const each = sizes.map(([path, size]) => `${path} ${size}`).join(', ');
  console.log(`first load: ${sizes.length} requests, ${bytes} bytes compressed: ${each}`);
  assert.ok(bytes <= 100_000, `${bytes} bytes`);
  // Later loads ask only for the page and the answers: the modules are kept under an address of their own.
  await opened.page.goto('about:blank');
  await opened.page.goto(product.page);
  await opened.page.getByRole('heading', { name: 'No registry is known yet' }).waitFor();
  await opened.page.waitForTimeout(500);
  const loaded = await opened.page.evaluate(() =>
    performance.getEntriesByType('resource').flatMap(({ name, transferSize }) => (transferSize > 0 ? [name] : [])),
  );
  assert.deepEqual(loaded.map((address) => new URL(address).pathname).sort(), ['/v1/lag', '/v1/overview']);
  await close(opened);
});

test('a search without a hit says what can be searched', async () => {
  const opened = await open(browser, product);
  const { page } = opened;
  await page.getByRole('combobox', { name: /^Search/ }).fill('team/nothing');
  await page.getByRole('combobox', { name: /^Search/ }).press('Enter');
  await page.getByRole('heading', { name: 'Nothing found' }).waitFor();
  assert.match(await page.title(), /^Search: team\/nothing/);
  await close(opened);
});

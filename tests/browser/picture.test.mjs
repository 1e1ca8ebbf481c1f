// The picture of the README, from the sample data: UPDATE_PICTURE=1 writes it to docs/page.png.

import assert from 'node:assert/strict';
import { copyFile, readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { SHOTS, close, launch, open, picture } from './browser.mjs';
import {
  IRELAND,
  TOKYO,
  VIRGINIA,
  arrived,
  create,
  deletions,
  push,
  remove,
  replicate,
  start,
  step,
  stop,
} from './product.mjs';

const README = fileURLToPath(new URL('../../docs/page.png', import.meta.url));

let product;
let browser;
let digest;

// A release that its source deleted: its replicas are to be deleted within the hour.
before(async () => {
  product = await start('--lag', `${VIRGINIA}=40s`, '--lag', `${TOKYO}=3m`);
  browser = await launch();
  await create(product, 'shop/api');
  await replicate(product);
  await step(product, 120);
  digest = await push(product, 'shop/api', 'v1.4.1');
  await arrived(product, `shop/api@${digest}`);
  await remove(product, 'shop/api', digest);
  await deletions(product, digest, 'pending');
});

after(async () => {
  await browser?.close();
  await stop(product);
});

test('the picture of the README is made from the sample data', async () => {
  const hash = `#/image/${encodeURIComponent(`shop/api@${digest}`)}`;
  const opened = await open(browser, product, { hash, viewport: { width: 1200, height: 900 } });
  const { page } = opened;
  await page.getByRole('heading', { level: 1, name: 'shop/api:v1.4.1@' }).waitFor();
  await page.getByRole('img', { name: /^Where / }).waitFor();
  await page.locator('.deletion').nth(1).waitFor();
  const table = page.getByRole('table', { name: 'In each registry' });
  await table.getByRole('row', { name: IRELAND }).getByText('gone').waitFor();
  await picture(page, 'readme');
  const made = `${SHOTS}readme.png`;
  const bytes = await readFile(made);
  // https://www.w3.org/TR/png-3/#11IHDR
  const [width, height] = [bytes.readUInt32BE(16), bytes.readUInt32BE(20)];
  assert.equal(width, 1_200);
  assert.ok(height > 900 && height < 2_400, `${height} px`);
  // GitHub shows pictures of this size at once.
  assert.ok(bytes.length < 400_000, `${bytes.length} bytes`);
  if (process.env.UPDATE_PICTURE) await copyFile(made, README);
  await close(opened);
});

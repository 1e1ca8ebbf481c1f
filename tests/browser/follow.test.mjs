// An image is pushed, shown in its replicas, and deleted; an operator holds, releases, approves and cancels deletions.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { close, launch, open, picture } from './browser.mjs';
import {
  IRELAND,
  TOKYO,
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

before(async () => {
  product = await start();
  browser = await launch();
  await replicate(product);
  for (const repository of ['team/app', 'asked/app', 'team/held', 'team/gone', 'team/many'])
    await create(product, repository);
  // Replication rules apply to pushes after the product has read them.
  await step(product, 120);
});

after(async () => {
  await browser?.close();
  await stop(product);
});

const short = (digest) => digest.slice(7, 19);
const imageHash = (repository, digest) => `#/image/${encodeURIComponent(`${repository}@${digest}`)}`;
const search = async (page, text) => {
  await page.getByRole('combobox', { name: /^Search/ }).fill(text);
  await page.getByRole('combobox', { name: /^Search/ }).press('Enter');
};

// Waits until the page shows what was done, and by whom.
const acted = (deletion, who) => deletion.locator('.acted').getByText(who).waitFor();

// The deletion at one replica, as the page lists it.
const deletionIn = (page, registry) => page.locator('.deletion').filter({ hasText: `in ${registry}` });

test('an image is found by repository, tag and digest, and followed to its replicas', async () => {
  const digest = await push(product, 'team/app', 'v1');
  await arrived(product, 'team/app:v1');
  const opened = await open(browser, product);
  const { page } = opened;
  await search(page, 'team/app');
  await page.getByRole('heading', { level: 1, name: 'team/app', exact: true }).waitFor();
  await page.getByRole('link', { name: short(digest) }).click();
  const heading = page.getByRole('heading', { level: 1, name: `team/app:v1@${short(digest)}` });
  await heading.waitFor();
  const there = page.getByRole('table', { name: 'In each registry' });
  for (const registry of [IRELAND, VIRGINIA, TOKYO]) {
    const row = there.getByRole('row').filter({ has: page.getByRole('rowheader', { name: registry }) });
    await row.getByText('present').waitFor();
  }
  await page.getByRole('img', { name: `Where ${short(digest)} is` }).waitFor();
  await page.getByRole('region', { name: 'Timeline' }).getByText(`replicated as v1 from ${IRELAND}`).first().waitFor();

  await page.getByText(`docker pull 111122223333.dkr.ecr.eu-west-1.amazonaws.com/team/app@${digest}`).waitFor();

  await search(page, 'team/app:v1');
  await heading.waitFor();
  await page.getByRole('link', { name: 'History of team/app:v1' }).first().waitFor();
  await search(page, digest);
  await heading.waitFor();
  // Starts on another view, where this heading is not present yet.
  await page.getByRole('link', { name: 'Drift' }).click();
  await page.getByRole('heading', { level: 1, name: 'Drift' }).waitFor();
  await search(page, short(digest));
  await heading.waitFor();
  assert.match(await page.title(), /^team\/app:v1@/);
  // A part of a name.
  await search(page, 'am/ap');
  await page.getByRole('heading', { level: 1, name: 'team/app', exact: true }).waitFor();
  await close(opened);
});

test('a replica follows its source while the page is open', async () => {
  const digest = await push(product, 'team/gone', 'v1', 'gone 1');
  await arrived(product, `team/gone@${digest}`);
  await remove(product, 'team/gone', digest);
  await deletions(product, digest, 'pending');
  const opened = await open(browser, product, { hash: imageHash('team/gone', digest) });
  const { page } = opened;
  await deletionIn(page, VIRGINIA).getByText('pending').waitFor();
  await deletionIn(page, VIRGINIA)
    .getByText(/^due in \d+ min \d\d s$/)
    .waitFor();
  await step(product, 3_600);
  await deletions(product, digest, 'done');
  for (const registry of [VIRGINIA, TOKYO]) {
    await deletionIn(page, registry).getByText('done', { exact: true }).waitFor({ timeout: 20_000 });
  }
  const timeline = page.getByRole('region', { name: 'Timeline' });
  await timeline.getByText(`by ecr-lineage, following ${IRELAND} (policy follow-the-source)`).first().waitFor();
  await picture(page, 'followed');
  await close(opened);
});

test('a deletion is held and released by clicking', async () => {
  const digest = await push(product, 'team/held', 'v1', 'held 1');
  await arrived(product, `team/held@${digest}`);
  await remove(product, 'team/held', digest);
  await deletions(product, digest, 'pending');
  const opened = await open(browser, product, { hash: imageHash('team/held', digest) });
  const { page } = opened;
  const deletion = deletionIn(page, TOKYO);
  await deletion.getByRole('button', { name: /^Hold/ }).click();
  await deletion.getByLabel('Reason').fill('audit');
  await deletion.getByRole('button', { name: 'Hold it' }).click();
  await deletion.getByText('on hold', { exact: true }).waitFor();
  await acted(deletion, /is on hold by .+: audit; 2 deletions are put on hold/);
  await step(product, 3_600);
  await deletions(product, digest, 'held', 2);
  await deletion.getByText('on hold', { exact: true }).waitFor();
  await deletion.getByRole('button', { name: /^Release/ }).click();
  await deletion.getByText(/^End the hold: all deletions of the image are evaluated again/).waitFor();
  await deletion.getByRole('button', { name: 'Release it' }).click();
  await acted(deletion, / released by \S+/);
  await deletions(product, digest, 'done');
  await deletion.getByText('done', { exact: true }).waitFor({ timeout: 20_000 });
  await close(opened);
});

test('all deletions are paused and resumed, and repositories held in advance, by clicking', async () => {
  const opened = await open(browser, product, { hash: '#/deletions' });
  const { page } = opened;
  await page.getByText('Pause deletions…').click();
  await page.getByText('No deletion begins until an operator resumes.').waitFor();
  await page.getByLabel('Reason (optional), shown to every reader').fill('incident 7');
  await page.getByRole('button', { name: 'Pause them' }).click();
  await page
    .getByText(/deletions of every source are paused by .+: incident 7/)
    .first()
    .waitFor();
  await page.getByRole('button', { name: 'Resume the deletions of every source' }).click();
  await page.getByText(/^\d+ deletions? of all sources are pending, on hold or await approval/).waitFor();
  await page.getByRole('button', { name: 'Resume them' }).click();
  await page.getByText(/deletions of every source resumed by /).waitFor();
  await page.getByText('Hold images or repositories…').click();
  await page.getByLabel('Repositories, as in').fill('prod/*');
  await page.getByLabel('Reason, shown to every reader').fill('audit');
  await page.getByRole('button', { name: 'Hold them' }).click();
  await page.getByRole('button', { name: 'Release prod/*' }).click();
  await page.getByRole('button', { name: 'Release it' }).click();
  await page.getByText(/prod\/\* released by /).waitFor();
  await close(opened);
});

test('a deletion is approved by clicking twice, and another one cancelled', async () => {
  const digest = await push(product, 'asked/app', 'v1', 'asked 1');
  await arrived(product, `asked/app@${digest}`);
  await remove(product, 'asked/app', digest);
  await deletions(product, digest, 'pending');
  await step(product, 3_600);
  await deletions(product, digest, 'awaiting_approval');
  const opened = await open(browser, product, { hash: '#/deletions' });
  const { page } = opened;
  const [approved, cancelled] = [deletionIn(page, VIRGINIA), deletionIn(page, TOKYO)].map((deletion) =>
    deletion.filter({ hasText: short(digest) }),
  );
  await approved.getByRole('button', { name: /^Approve/ }).click();
  await approved.getByRole('button', { name: 'Back' }).click();
  await approved.getByRole('button', { name: /^Approve/ }).click();
  await picture(page, 'approve');
  // By keyboard: from the confirmation to its field for a reason, which may stay empty.
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await acted(approved, /^1 deletion approved by \S+/);
  await cancelled.getByRole('button', { name: /^Cancel/ }).click();
  await page.getByLabel('Show kept').check();
  await cancelled.getByRole('button', { name: 'Cancel it' }).click();
  await cancelled.getByText('kept', { exact: true }).waitFor({ timeout: 20_000 });
  await deletions(product, digest, 'done', 1);
  await page.getByLabel('Show done').check();
  await approved.getByText('done', { exact: true }).waitFor({ timeout: 20_000 });
  await close(opened);
});

test('the history of a tag shows its images', async () => {
  const first = await push(product, 'team/app', 'stable', 'stable 1');
  await arrived(product, `team/app@${first}`);
  const second = await push(product, 'team/app', 'stable', 'stable 2');
  await arrived(product, `team/app@${second}`);
  const opened = await open(browser, product, { hash: `#/tag/${encodeURIComponent('team/app:stable')}` });
  const { page } = opened;
  const table = page.getByRole('table', { name: 'History of team/app:stable' });
  const rows = table.getByRole('row', { name: IRELAND });
  await rows.nth(1).waitFor();
  assert.match(
    await rows.nth(0).textContent(),
    new RegExp(`${short(first)}.*moved to another image, ${short(second)}`),
  );
  assert.match(await rows.nth(1).textContent(), new RegExp(`${short(second)}.*still set`));
  await page.getByRole('link', { name: new RegExp(`^${IRELAND}: ${short(first)} from`) }).click();
  await page.getByRole('heading', { level: 1, name: `@${short(first)}` }).waitFor();
  await close(opened);
});

test('a breaker says what its reset does, and is reset by clicking twice', async () => {
  const images = [];
  for (let number = 0; number < 12; number += 1)
    images.push(await push(product, 'team/many', `v${number}`, `many ${number}`));
  await arrived(product, `team/many@${images.at(-1)}`);
  for (const image of images.slice(1)) await remove(product, 'team/many', image);
  await deletions(product, images[1], 'pending');
  await step(product, 3_600);
  await deletions(product, images[1], 'held');
  const opened = await open(browser, product);
  const { page } = opened;
  await page.getByText('Reset the breaker, if these deletions are intended').click();
  const ask = async () => {
    await page.getByLabel(/^Images that may be deleted in the next window/).fill('3');
    await page.getByLabel(/^Do not limit the share/).check();
    await page.getByRole('button', { name: 'Reset the breaker…' }).click();
  };
  await ask();
  const confirm = page.locator('.confirm');
  await confirm.getByText(/^22 deletions of 11 images in 2 registries/).waitFor();
  await confirm.getByText(/^At most 3 images are deleted in the next window/).waitFor();
  await confirm.getByText('19 deletions stay on hold.').waitFor();
  await picture(page, 'reset');
  await confirm.getByRole('button', { name: 'Back' }).click();
  await page.getByText('Reset the breaker, if these deletions are intended').click();
  await ask();
  await confirm.getByRole('button', { name: 'Reset it' }).click();
  const count = async (status) => {
    const all = await api(product, `deletions?status=${status}`);
    return (all.deletions ?? []).filter((deletion) => deletion.repository === 'team/many').length;
  };
  await until(product, async () => (await count('held')) === 19);
  assert.equal(await count('done'), 3);

  // The others, folded in one group, are cancelled together.
  await page.goto(`${product.endpoint}/#/deletions`);
  await page.getByLabel(/^Filter by/).fill('team/many');
  await page.getByRole('button', { name: 'Cancel all 19: team/many' }).click();
  await page.getByText(/^Cancel 19 deletions of \d+ images in 2 registries/).waitFor();
  await picture(page, 'cancel-all');
  await page.getByLabel('Reason (optional)', { exact: true }).fill('a mistake');
  await page.getByRole('button', { name: 'Cancel them' }).click();
  await until(product, async () => (await count('kept')) === 19);
  await close(opened);
});

// A replication that takes two hours: late, alert open, resolved. Then every view, in two widths and in both colour
// schemes.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { close, faults, launch, open, overflow, picture } from './browser.mjs';
import {
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
let gone;
let late;

before(async () => {
  product = await start('--lag', '30s', '--lag', `${VIRGINIA}=2h`);
  browser = await launch();
  await create(product, 'team/app');
  await push(product, 'team/app', 'v0', 'before the rule');
  await replicate(product);
  await step(product, 120);
  gone = await push(product, 'team/app', 'v1');
  await arrived(product, `team/app@${gone}`, 2);
  await remove(product, 'team/app', gone);
  await deletions(product, gone, 'pending', 1);
  late = await push(product, 'team/app', 'v2');
  await arrived(product, `team/app@${late}`, 2);
  await until(product, async () => (await api(product, 'overview')).late?.length > 0, 60);
});

after(async () => {
  await browser?.close();
  await stop(product);
});

test('a late copy is shown on the overview and among the alerts', async () => {
  const opened = await open(browser, product);
  const { page } = opened;
  await page.getByRole('heading', { name: 'Needs attention' }).waitFor();
  await page.getByRole('table', { name: 'Not replicated' }).getByText(VIRGINIA).first().waitFor();
  await page.getByRole('link', { name: /^Alerts 1 open/ }).click();
  const alerts = page.getByRole('region', { name: 'Open', exact: true });
  await alerts.getByText('replication late').waitFor();
  await page.getByRole('region', { name: 'Recent', exact: true }).getByText('warning').first().waitFor();
  await alerts.getByRole('button', { name: /^Acknowledge: replication late/ }).click();
  await alerts.getByLabel('Reason (optional)').fill('dana is on it');
  await alerts.getByRole('button', { name: 'Acknowledge it' }).click();
  await alerts.getByText(/^acknowledged by .*: dana is on it/).first().waitFor();
  await alerts.getByRole('button', { name: /^Snooze for 12 h: replication late/ }).click();
  await alerts.getByLabel('Reason').fill('a slow region');
  await alerts.getByRole('button', { name: 'Snooze it' }).click();
  await alerts.getByText(/^snoozed by .* until .*: a slow region/).first().waitFor();
  await close(opened);
});

test('keyboard alone finds an image and holds its deletion', async () => {
  const opened = await open(browser, product);
  const { page } = opened;
  await page.keyboard.press('/');
  await page.keyboard.type('team/app');
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'team/app', exact: true }).waitFor();
  await tabTo(page, gone.slice(7, 19));
  await page.keyboard.press('Enter');
  await page.getByRole('heading', { level: 1, name: 'team/app:v1@' }).waitFor();
  await tabTo(page, `Hold: team/app in ${TOKYO}`);
  await page.keyboard.press('Enter');
  const deletion = page.locator('.deletion').filter({ hasText: `in ${TOKYO}` });
  // From the confirmation to its first field.
  await page.keyboard.press('Tab');
  await page.keyboard.type('audit');
  await page.keyboard.press('Enter');
  await acted(deletion, /is on hold by .+: audit; /);
  await tabTo(page, `Release: team/app in ${TOKYO}`);
  await page.keyboard.press('Enter');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await acted(deletion, / released by \S+/);
  await close(opened);
});

// Waits until the page shows what was done, and by whom.
const acted = (deletion, who) => deletion.locator('.acted').getByText(who).waitFor();

// Presses Tab until the focused element has this name.
async function tabTo(page, name) {
  const called = () =>
    page.evaluate(() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent);
  for (let steps = 0; steps < 80; steps += 1) {
    await page.keyboard.press('Tab');
    if ((await called()) === name) return;
  }
  assert.fail(`the focus does not reach ${name}`);
}

test('an image shows its own alert, and the replica that does not arrive', async () => {
  const hash = `#/image/${encodeURIComponent(`team/app@${late}`)}`;
  const opened = await open(browser, product, { hash });
  const { page } = opened;
  await page.getByRole('heading', { level: 1, name: 'team/app:v2@' }).waitFor();
  await page.getByRole('list', { name: 'Open alerts' }).getByText('replication late').waitFor();
  const row = page.getByRole('table', { name: 'In each registry' }).getByRole('row', { name: VIRGINIA });
  await row.getByText('late', { exact: true }).waitFor();
  await page.goto(`${product.endpoint}/#/repository/${encodeURIComponent('team/app')}`);
  const listed = page.getByRole('table', { name: 'Images of team/app' }).getByRole('row', { name: late.slice(7, 19) });
  // It was never listed: the list does not say that it is late, but never that it is there.
  await listed.getByText(/^(late|unknown)$/).waitFor();
  await close(opened);
});

test('the lag is plotted for each destination, with the counts of a day', async () => {
  const opened = await open(browser, product, { hash: '#/lag' });
  const { page } = opened;
  await page.getByRole('img', { name: /^Replication lag by day/ }).waitFor();
  await page
    .locator('.reading')
    .getByText(/p50 30 s, p99 30 s, \d+ cop(y|ies)/)
    .first()
    .waitFor();
  const box = await page.locator('.u-over').boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page
    .locator('.reading')
    .getByText(/^\d{4}-\d{2}-\d{2}$/)
    .waitFor();
  await close(opened);
});

test('every view is accessible and fits, wide and narrow, light and dark', async () => {
  const views = {
    overview: '#/',
    search: `#/search/${encodeURIComponent('t')}`,
    repositories: '#/repositories',
    activity: '#/activity',
    activityNone: `#/activity/${encodeURIComponent('actor=someone-else')}`,
    repository: `#/repository/${encodeURIComponent('team/app')}`,
    image: `#/image/${encodeURIComponent(`team/app@${gone}`)}`,
    tag: `#/tag/${encodeURIComponent('team/app:v1')}`,
    deletions: '#/deletions',
    alerts: '#/alerts',
    late: '#/late',
    drift: '#/drift',
    lag: '#/lag',
    registries: '#/registries',
    registriesOf: '#/registries/us-east',
    lateImage: `#/image/${encodeURIComponent(`team/app@${late}`)}`,
    nowhere: '#/nowhere',
  };
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    for (const width of [1440, 375]) {
      const opened = await open(browser, product, { colorScheme, viewport: { width, height: 900 } });
      for (const [view, hash] of Object.entries(views)) {
        await opened.page.goto(`${product.endpoint}/${hash}`);
        await opened.page.waitForTimeout(600);
        const here = `${view}-${width}-${colorScheme}`;
        await picture(opened.page, here);
        found.push(
          ...[...(await faults(opened.page)), ...(await overflow(opened.page))].map((fault) => `${here}: ${fault}`),
        );
      }
      await close(opened);
    }
  }
  assert.deepEqual(found, []);
});

test('what is late arrives, and is over', async () => {
  await step(product, 7_200);
  await until(product, async () => (await api(product, 'overview')).late?.length === 0, 60);
  const opened = await open(browser, product, { hash: '#/alerts' });
  await opened.page.getByText('No open alerts.').waitFor({ timeout: 20_000 });
  await opened.page.getByText(/^\d+ resolved$/).click();
  await opened.page.getByText('resolved', { exact: true }).first().waitFor();
  await close(opened);
});

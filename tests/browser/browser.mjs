// A browser that records errors of a page.

import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';

import axe from 'axe-core';
import { chromium } from 'playwright-core';

export const SHOTS = fileURLToPath(new URL('../../target/browser/', import.meta.url));
const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const launch = () =>
  chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: ARGUMENTS });

// Opens the page, and collects its errors: also each request to an origin that is neither its own nor one of `origins`.
export async function open(browser, { endpoint, page: address }, { hash = '', origins = [], ...settings } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1440, height: 900 },
    reducedMotion: 'reduce',
    ...settings,
  });
  const page = await context.newPage();
  const wrong = [];
  const requests = [];
  page.on('pageerror', (error) => wrong.push(error.stack));
  page.on('console', (message) => ['error', 'warning'].includes(message.type()) && wrong.push(message.text()));
  page.on('request', (request) => {
    if (request.url().startsWith('data:')) return;
    requests.push(request);
    if (![endpoint, ...origins].includes(new URL(request.url()).origin)) wrong.push(`a request to ${request.url()}`);
  });
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', (event) =>
      console.error(`violates ${event.violatedDirective}`),
    );
  });
  await page.goto(address);
  if (hash) await page.goto(`${endpoint}/${hash}`);
  await page.getByRole('heading', { level: 1 }).waitFor();
  return { page, context, requests, wrong };
}

export async function close({ context, wrong }) {
  await context.close();
  assert.deepEqual(wrong, []);
}

// The accessibility violations that axe finds, each with its elements.
export async function faults(page) {
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ['violations'] }));
  return violations.map(
    ({ id, impact, nodes }) => `${impact} ${id}: ${nodes.map((node) => node.target.join(' ')).join(', ')}`,
  );
}

// The elements that extend beyond the right edge of the window.
export const overflow = (page) =>
  page.evaluate(() => {
    const edge = document.documentElement.clientWidth;
    const unseen = (element) => element.closest('.hidden, thead');
    const beyond = [...document.querySelectorAll('body *')].filter(
      (element) => element.getBoundingClientRect().right > edge + 1 && !unseen(element),
    );
    const scrolls = document.documentElement.scrollWidth > edge ? ['the page scrolls'] : [];
    return [...scrolls, ...beyond.map((element) => element.outerHTML.slice(0, 160))];
  });

export async function picture(page, name) {
  await mkdir(SHOTS, { recursive: true });
  await page.screenshot({ path: `${SHOTS}${name}.png`, fullPage: true });
}

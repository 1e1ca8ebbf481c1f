// What the page knows, and the polling that keeps it current.

import * as api from './api.js';
import { asProblem } from './api.js';
import * as clock from './clock.js';
import { plural, time } from './format.js';
import { routeOf } from './routes.js';
import { TONES } from './signs.js';

export const state = { overview: undefined, unreachableSince: undefined, problem: undefined };
// The visit to the view that is shown.
export let here = visit('#/');

// Set by the page: `load` asks what a view shows, `draw` shows it.
let page = { load: async () => undefined, draw() {} };

// A visit to one view: what it loaded, how many pages of which list, and which action waits for confirmation.
function visit(hash) {
  return {
    ...routeOf(hash),
    data: undefined,
    problem: undefined,
    wanted: {},
    shown: new Set(),
    selected: new Set(),
    asking: undefined,
    acted: new Map(),
    leaving: new AbortController(),
  };
}

export const draw = () => page.draw();
export const mayChange = () => Boolean(state.overview?.may_change);

export function announce(text) {
  document.getElementById('live').textContent = text;
}

// How often each list is loaded further.
export const wanted = (name) => here.wanted[name] ?? 1;

export async function more(name, what) {
  here.wanted[name] = wanted(name) + 1;
  await refresh();
  announce(`More ${what} loaded.`);
}

// Does something, and keeps what came of it for the item with this key.
export async function acting(key, does) {
  here.asking = undefined;
  here.acted.set(key, { waits: true });
  draw();
  try {
    const done = await does();
    const acted = typeof done === 'string' ? { text: done } : done;
    here.acted.set(key, acted);
    announce(acted.text);
  } catch (error) {
    here.acted.set(key, { problem: asProblem(error) });
  }
  await refresh();
  // The focused button may be removed or moved: keyboard users stay at the item that they acted on.
  if (document.activeElement === document.body) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

export function ask(asking) {
  here.asking = asking;
  draw();
  document.querySelector('.confirm')?.focus();
}

export function leave() {
  const { key } = here.asking;
  here.asking = undefined;
  draw();
  document.querySelector(`[data-key="${CSS.escape(key)}"] :is(button, summary)`)?.focus();
}

// Registries whose events do not arrive: nothing that is shown about them is current.
export const silent = ({ registries }) =>
  registries.filter(({ events }) => ['bad', 'warn'].includes(TONES[events.status]));

// Announced to screen readers when it changes.
function summary({ deletions, late, open, registries }) {
  const pending = `${plural(deletions.pending, 'deletion')} pending`;
  const without = silent({ registries }).length;
  const paths = without > 0 ? `, no events from ${plural(without, 'registry')}` : '';
  return `${pending}, ${plural(open.length, 'alert')} open, ${plural(late.length, 'image')} not replicated${paths}.`;
}

async function refreshOverview() {
  const before = state.overview && summary(state.overview);
  state.overview = await api.overview();
  clock.tell(state.overview.now);
  const after = summary(state.overview);
  if (before && before !== after) announce(after);
}

async function refreshView(visited) {
  const data = await page.load(visited);
  if (visited !== here) return;
  Object.assign(here, { data, problem: undefined });
  // Without waiting for the overview.
  draw();
}

export async function refresh() {
  const visited = here;
  const asked = await Promise.allSettled([refreshOverview(), refreshView(visited)]);
  if (visited !== here) return;
  const [general, special] = asked.map(({ reason: why }) => why);
  if (special) here.problem = asProblem(special);
  state.problem = general?.status === 401 ? general : undefined;
  const lost = [general, special].some((why) => why && asProblem(why).passes);
  state.unreachableSince = lost ? (state.unreachableSince ?? time(Date.now())) : undefined;
  draw();
}

const OFTEN = 2_000;
const SELDOM = 15_000;
// A deletion due within this many milliseconds is polled often.
const SOON = 60_000;
let next;

function interval() {
  const { deletions, next_due: due } = state.overview ?? {};
  // A paused clock can be moved by hand at any moment.
  const soon = due && -clock.secondsSince(due) < (SOON / 1_000) * (clock.speed() || Infinity);
  const moves = deletions?.executing > 0 || soon;
  const many = Object.values(here.wanted).some((pages) => pages > 3);
  return (moves || state.unreachableSince) && !many ? OFTEN : SELDOM;
}

export async function poll() {
  clearTimeout(next);
  if (document.hidden) return;
  await refresh();
  clearTimeout(next);
  next = setTimeout(poll, interval());
}

// Shows the view of the current address.
export function arrive() {
  here.leaving.abort();
  here = visit(location.hash);
  draw();
  poll();
}

export function connect(parts) {
  page = parts;
}

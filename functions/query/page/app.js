// The page: the view of the current address in its frame, drawn again whenever something changed.

import { Problem as ApiProblem, asProblem, events, takeKey } from './api.js';
import { number, time, who } from './format.js';
import { html, render, useErrorBoundary } from './html.js';
import { Problem } from './parts.js';
import { HASHES } from './routes.js';
import * as session from './session.js';
import { arrive, connect, draw, here, poll, refresh, state } from './store.js';
import { suggest } from './suggest.js';
import { alerts } from './views/alerts.js';
import { late } from './views/late.js';
import { overview } from './views/overview.js';

const unknown = {
  title: () => 'No such view',
  load: async () => ({}),
  View: () => html`<p class="empty">No view has this address. <a href=${HASHES.overview()}>Go to the overview</a></p>`,
};

// A view: its title, what it asks the API for, and how it shows that.
const VIEWS = { overview, alerts, late, unknown };

// Views that are loaded when they are opened first.
const LATER = {
  activity: () => import('./views/activity.js'),
  repositories: () => import('./views/repositories.js'),
  repository: () => import('./views/repository.js'),
  image: () => import('./views/image.js'),
  tag: () => import('./views/tag.js'),
  deletions: () => import('./views/deletions.js'),
  drift: () => import('./views/drift.js'),
  lag: () => import('./views/lag.js'),
  registries: () => import('./views/registries.js'),
  search: () => import('./views/search.js'),
};

async function load(visit) {
  const { view } = visit;
  if (!VIEWS[view]) {
    const module = await LATER[view]().catch(() => {
      throw new ApiProblem({ title: 'A part of this page is not there', remediation: 'Reload the page.', status: 404 });
    });
    VIEWS[view] = module[view];
    draw();
  }
  return VIEWS[view].load(visit);
}

const waiting = ({ deletions: counts }) => counts.pending + counts.awaiting_approval;
const NAV = [
  ['overview', 'Overview'],
  ['repositories', 'Repositories'],
  ['activity', 'Activity'],
  ['deletions', 'Deletions', waiting, 'pending or awaiting approval'],
  ['alerts', 'Alerts', ({ open }) => open.length, 'open'],
  ['drift', 'Drift'],
  ['lag', 'Lag'],
  ['registries', 'Registries'],
];

function NavItem({ view, label, count, what }) {
  const counted = state.overview && count ? count(state.overview) : 0;
  return html`<li>
    <a href=${HASHES[view]()} aria-current=${here.view === view ? 'page' : undefined}>
      ${label}${counted > 0 && html`${' '}<span class="count">${number(counted)}<span
        class="hidden"> ${what}</span></span>`}
    </a>
  </li>`;
}

const Nav = () => html`
  <ul>
    ${NAV.map(([view, label, count, what]) => html`<${NavItem} key=${view} view=${view} label=${label} count=${count}
      what=${what} />`)}
  </ul>`;

const SignIn = () => html`<button class="primary" type="button" onClick=${signIn}>Sign in</button>`;
const signIn = async () => (await session.signIn()) || refresh();

const notSignedIn = () =>
  session.isConfigured && [state.problem, here.problem].find((problem) => problem?.status === 401);

function Notice() {
  const ended = here.data && notSignedIn();
  if (ended)
    return html`<p class="notice" role="status">${ended.title}. What is shown is not current. <${SignIn} /></p>`;
  const text = state.unreachableSince
    ? `Server not reachable since ${state.unreachableSince} UTC. Retrying.`
    : events.waiting > 0 && `${number(events.waiting)} events wait to be recorded: what is shown is not up to date.`;
  return text && html`<p class="notice" role="status">${text}</p>`;
}

const SignOut = () =>
  session.isSignedIn() && html`${' '}<button type="button" onClick=${session.signOut}>Sign out</button>`;

function Foot() {
  const known = state.overview;
  if (!known) return html`<${SignOut} />`;
  return html`<p>
    ${known.caller && `${who(known.caller)}, `}${known.may_change ? 'read-write' : 'read-only'}<span
      class="sep">·</span>server
    time <time datetime=${known.now}>${time(known.now)}</time> UTC<${SignOut} />
  </p>`;
}

const title = () => VIEWS[here.view]?.title(here.argument, here.data) ?? 'Loading…';

function Content() {
  const { view, argument, data } = here;
  // An error in one view must not stop polling.
  const [error] = useErrorBoundary();
  const problem = error ? asProblem(error) : (state.problem ?? here.problem);
  const ended = notSignedIn();
  if (problem && (!data || !(problem.passes || ended)))
    return html`<${Problem} problem=${problem} />${ended && html`<p><${SignIn} /></p>`}`;
  if (!VIEWS[view]) return undefined;
  return html`<${VIEWS[view].View} found=${data} argument=${argument} visit=${here} />`;
}

const Main = () => html`
  <h1 tabindex="-1">${title()}</h1>
  <div class="content" key=${`${here.view}/${here.argument}`}><${Content} /></div>`;

const $ = (id) => document.getElementById(id);

function drawAll() {
  const focused = document.activeElement;
  const around = focused?.closest?.('[data-key][tabindex]');
  document.title = here.view === 'overview' ? 'ecr-lineage' : `${title()} – ecr-lineage`;
  $('main').className = `view-${here.view}`;
  render(html`<${Nav} />`, $('nav'));
  render(html`<${Notice} />`, $('notice'));
  render(html`<${Main} />`, $('main'));
  render(html`<${Foot} />`, $('foot'));
  if (focused === document.activeElement || focused === document.body) return;
  (focused?.isConnected ? focused : around)?.focus({ preventScroll: true });
}

function go() {
  takeKey();
  arrive();
  showQuery();
  scrollTo(0, 0);
  document.querySelector('h1').focus({ preventScroll: true });
}

// The text that was searched for, and on other views nothing, unless the user is typing.
function showQuery() {
  if (document.activeElement !== $('query')) $('query').value = here.view === 'search' ? here.argument : '';
}

function listen() {
  addEventListener('hashchange', () => (location.hash === '#main' ? undefined : go()));
  document.addEventListener('visibilitychange', poll);
  addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, textarea, select');
    if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    $('query').select();
  });
  suggest($('search'), $('query'));
  $('skip').addEventListener('click', (event) => {
    event.preventDefault();
    document.querySelector('h1').focus();
  });
  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth === width) return;
    width = innerWidth;
    draw();
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
}

connect({ load, draw: drawAll });
takeKey();
if (await session.begin()) {
  listen();
  $('main').replaceChildren();
  arrive();
  showQuery();
}

// The page of ecr-lineage: requests /v1, draws the answers, and polls.

// ---------------------------------------------------------------------------------------------------------------------
// Elements

const SVG = 'http://www.w3.org/2000/svg';
const HANDLERS = ['onclick', 'onsubmit', 'onchange', 'onkeydown'];

const h = (name, attributes, ...children) => {
  const [tag, ...classes] = name.split('.');
  return filled(document.createElement(tag), classes, attributes, children);
};

const s = (name, attributes, ...children) => {
  const [tag, ...classes] = name.split('.');
  return filled(document.createElementNS(SVG, tag), classes, attributes, children);
};

function filled(element, classes, attributes, children) {
  if (classes.length > 0) element.setAttribute('class', classes.join(' '));
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === 'function') element[name] = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(
    ...children
      .flat(Infinity)
      .filter((child) => child !== undefined && child !== null && child !== false && child !== ''),
  );
  return element;
}

const keyOf = (node) => node.dataset?.key;

// Updates an element to match a fresh one and keeps unchanged nodes, so that focus, selection and open details stay.
function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || keyOf(old) !== keyOf(fresh)) {
    old.replaceWith(fresh);
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== fresh.data) old.data = fresh.data;
    return;
  }
  morphAttributes(old, fresh);
  morphChildren(old, fresh);
}

function morphAttributes(old, fresh) {
  const unfolds = (name) => name === 'open' && old.nodeName === 'DETAILS';
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !unfolds(name)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !unfolds(name)) old.setAttribute(name, value);
  }
  for (const name of HANDLERS) old[name] = fresh[name];
}

function morphChildren(old, fresh) {
  const keyed = new Map([...old.children].filter(keyOf).map((child) => [keyOf(child), child]));
  const wanted = new Set([...fresh.children].map(keyOf));
  for (const [key, child] of keyed) {
    if (!wanted.has(key)) child.remove();
  }
  let next = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const match = keyOf(child) ? keyed.get(keyOf(child)) : alike(next, child);
    if (!match) {
      old.insertBefore(child, next);
      continue;
    }
    if (match === next) next = next.nextSibling;
    else old.insertBefore(match, next);
    morph(match, child);
  }
  while (next) {
    const after = next.nextSibling;
    next.remove();
    next = after;
  }
}

const alike = (old, fresh) => (old && !keyOf(old) && old.nodeName === fresh.nodeName ? old : undefined);

// ---------------------------------------------------------------------------------------------------------------------
// Texts. Those about what the API answers (status_text, kind_text, action_text, cause_text, summary, remediation) come
// from the API; this file has headings, buttons and messages of its own only.

// The colour of each sign.
const TONES = {
  present: 'good',
  archived: 'info',
  probably_absent: 'warn',
  absent: 'bad',
  pending: 'warn',
  awaiting_approval: 'stop',
  held: 'stop',
  executing: 'warn',
  failed: 'bad',
  done: 'bad',
  kept: 'good',
  info: 'info',
  warning: 'warn',
  critical: 'bad',
  over: 'good',
  open: 'bad',
  closed: 'good',
  alive: 'good',
  late: 'bad',
  unknown: 'info',
  forgotten: 'info',
  missing: 'bad',
  never: 'warn',
  tags: 'warn',
  passed: 'good',
  stopped: 'warn',
  orphan: 'warn',
  replicating: 'info',
  untagged: 'warn',
  not_expected: 'info',
};

const two = (number) => String(number).padStart(2, '0');
const number = (value) => value.toLocaleString('en');
const plural = (count, word) => `${number(count)} ${count === 1 ? word : `${word}s`.replace(/([^aeo])ys$/, '$1ies')}`;
const short = (digest) => digest.slice(digest.indexOf(':') + 1).slice(0, 12);
const list = (value) => (Array.isArray(value) ? value : []);

// `2026-11-16 01:54:34`, in UTC.
const time = (at) => new Date(at).toISOString().slice(0, 19).replace('T', ' ');

// `42 s`, `3 min 20 s`, `2 h 05 min`, `3 d 02 h`.
function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)} h ${two(Math.floor((whole % 3_600) / 60))} min`;
  return `${Math.floor(whole / 86_400)} d ${two(Math.floor((whole % 86_400) / 3_600))} h`;
}

function bytes(size) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = size > 0 ? Math.min(units.length - 1, Math.floor(Math.log10(size) / 3)) : 0;
  return `${(size / 1_000 ** step).toFixed(step > 0 ? 1 : 0)} ${units[step]}`;
}

// A text with principals, without the common beginning of their ARNs.
const who = (text) => text.replace(/arn:[^:]*:(?:sts|iam)::\d*:(?:assumed-role\/)?/g, '');

function toneOf(fact) {
  if (/deleted|failed/.test(fact.what)) return 'bad';
  if (fact.what === 'observed' && !fact.storage) return 'bad';
  if (['pushed', 'cached', 'restored'].includes(fact.what)) return 'good';
  return fact.what === 'replicated' || fact.what === 'archived' ? 'info' : 'quiet';
}

// Text with `code`, as the API writes it.
const prose = (text) =>
  String(text ?? '')
    .split('`')
    .map((part, at) => (at % 2 === 1 ? h('code', {}, part) : part));

// ---------------------------------------------------------------------------------------------------------------------
// The server's clock, which may run at any speed (ecr-lineage local --speed)

const clock = {
  read: undefined,
  speeds: [],

  tell(text) {
    const read = { server: Date.parse(text), here: performance.now() };
    const passed = this.read ? read.here - this.read.here : 0;
    if (this.read && passed < 300) return;
    // A clock that is moved by hand jumps once: the slower of two intervals is its speed.
    if (this.read) this.speeds = [...this.speeds.slice(-1), (read.server - this.read.server) / passed];
    this.read = read;
  },

  get speed() {
    return this.speeds.length > 0 ? Math.max(0, Math.min(...this.speeds)) : 1;
  },

  now() {
    if (!this.read) return Date.now();
    return this.read.server + (performance.now() - this.read.here) * this.speed;
  },
};

const secondsSince = (at) => (clock.now() - Date.parse(at)) / 1_000;
const ago = (at) => (secondsSince(at) < 1 ? 'just now' : `${duration(secondsSince(at))} ago`);
const dueIn = (due) => (secondsSince(due) > -1 ? 'due now' : `due in ${duration(-secondsSince(due))}`);

const when = (at) => h('time', { datetime: at, title: ago(at) }, time(at));
const age = (at) => h('time.age', { datetime: at, title: time(at), 'data-ago': at }, ago(at));
const countdown = (due) => h('time.due', { datetime: due, title: time(due), 'data-due': due }, dueIn(due));

function tick() {
  for (const element of document.querySelectorAll('[data-due], [data-ago]')) {
    const { due, ago: since, prefix = '' } = element.dataset;
    const text = due ? prefix + dueIn(due) : ago(since);
    if (element.textContent !== text) element.textContent = text;
  }
}

// ---------------------------------------------------------------------------------------------------------------------
// The API

class Problem extends Error {
  constructor({ title = 'Request failed', detail, remediation, status = 0 }) {
    super(title);
    Object.assign(this, { title, detail, remediation, status });
  }

  // Whether a retry may succeed.
  get passes() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

const KEY = 'ecr-lineage-key';

// The link that the command line prints has a key in its fragment: kept for this tab, removed from the address bar.
function takeKey() {
  const key = /^#key=(.+)$/.exec(location.hash)?.[1];
  if (!key) return;
  sessionStorage.setItem(KEY, decodeURIComponent(key));
  history.replaceState(null, '', location.pathname + location.search);
}

async function answerTo(path, { signal, body } = {}) {
  const headers = { accept: 'application/json' };
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers['content-type'] = 'application/json';
  const method = body ? 'POST' : 'GET';
  const answer = await fetch(`v1/${path}`, { method, headers, signal, body: body && JSON.stringify(body) }).catch(
    unreachable,
  );
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const remediation = answer.status === 401 ? 'Open the link that the command line printed again.' : undefined;
  throw new Problem({ title: answer.statusText, remediation, ...problem, status: answer.status });
}

async function ask(path, options) {
  const answer = await answerTo(path, options);
  return answer.json().catch(() => ({}));
}

function unreachable(error) {
  if (error.name === 'AbortError') throw error;
  throw new Problem({ title: 'Server not reachable', detail: 'The server did not answer.', status: 0 });
}

const query = (path, parameters) => {
  const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== '');
  return given.length > 0 ? `${path}?${new URLSearchParams(given)}` : path;
};

// The first `wanted` pages of a list: the items of all of them, and whether there are more.
async function pages(path, parameters, wanted, signal) {
  const answers = [];
  let cursor;
  do {
    answers.push(await ask(query(path, { ...parameters, cursor }), { signal }));
    cursor = answers.at(-1).next_cursor;
  } while (cursor && answers.length < wanted);
  return {
    first: answers[0],
    any: (name) => answers.map((answer) => answer[name]).find(Boolean),
    all: (name) => answers.flatMap((answer) => list(answer[name])),
    more: Boolean(cursor),
  };
}

// ---------------------------------------------------------------------------------------------------------------------
// Routes

const HASHES = {
  overview: () => '#/',
  search: (text) => `#/search/${encodeURIComponent(text)}`,
  repository: (name) => `#/repository/${encodeURIComponent(name)}`,
  image: (reference) => `#/image/${encodeURIComponent(reference)}`,
  tag: (name) => `#/tag/${encodeURIComponent(name)}`,
  deletions: () => '#/deletions',
  alerts: () => '#/alerts',
  drift: () => '#/drift',
};

function routeOf(hash) {
  const [, name = '', argument = ''] = /^#\/([^/]*)\/?(.*)$/.exec(hash) ?? [];
  const view = Object.hasOwn(HASHES, name) ? name : 'overview';
  try {
    return { view, argument: decodeURIComponent(argument) };
  } catch {
    return { view, argument };
  }
}

const state = { overview: undefined, lag: undefined, lagAt: 0, unreachableSince: undefined, problem: undefined };
let here = visit('#/');

// A visit to one view: what it loaded, how many pages of which list, and which action waits for confirmation.
function visit(hash) {
  return {
    ...routeOf(hash),
    data: undefined,
    problem: undefined,
    wanted: {},
    shown: new Set(),
    asking: undefined,
    acted: new Map(),
    toScale: false,
    leaving: new AbortController(),
  };
}

const $ = (id) => document.getElementById(id);
const mayChange = () => Boolean(state.overview?.may_change);

function announce(text) {
  $('live').textContent = text;
}

// ---------------------------------------------------------------------------------------------------------------------
// Icons: no meaning by colour alone; every colour has a shape and a word beside it

const ring = ['circle', { cx: 8, cy: 8, r: 5, class: 'line' }];
const disc = ['circle', { cx: 8, cy: 8, r: 5.6 }];
const triangle = ['path', { d: 'M8 2.2 14.4 13.4H1.6z', class: 'line' }];
const letter = (text, y = 11.2) => ['text', { x: 8, y, class: 'letter' }, text];
const cut = (d) => ['path', { d, class: 'cut' }];

const SIGNS = {
  present: [disc],
  archived: [ring, ['path', { d: 'M8 3a5 5 0 0 0 0 10z' }]],
  probably_absent: [['circle', { cx: 8, cy: 8, r: 6, class: 'line dashed' }], letter('?')],
  absent: [ring],
  pending: [ring, ['path', { d: 'M8 8V3a5 5 0 0 1 5 5z' }]],
  awaiting_approval: [['rect', { x: 2.5, y: 2.5, width: 11, height: 11, rx: 2, class: 'line' }], letter('?')],
  held: [['path', { d: 'M4.5 3h2.4v10H4.5zM9.1 3h2.4v10H9.1z' }]],
  executing: [ring, ['path', { d: 'M6.6 5.4v5.2L10.8 8z' }]],
  done: [ring, ['path', { d: 'M5 8h6', class: 'line' }]],
  kept: [disc],
  failed: [['path', { d: 'M3.5 3.5l9 9M12.5 3.5l-9 9', class: 'line thick' }]],
  info: [ring, letter('i')],
  warning: [triangle, letter('!', 12.2)],
  critical: [['path', { d: 'M5.4 1.8h5.2l3.6 3.6v5.2l-3.6 3.6H5.4l-3.6-3.6V5.4z' }], cut('M8 3.9v5M8 10.4v1.8')],
  over: [disc, cut('M5.4 8.2l1.9 1.9 3.4-3.9')],
  open: [['path', { d: 'M4.5 3h2.4v10H4.5zM9.1 3h2.4v10H9.1z' }]],
  closed: [disc],
  alive: [disc],
  late: [triangle, letter('!', 12.2)],
  unknown: [['circle', { cx: 8, cy: 8, r: 6, class: 'line dashed' }], letter('?')],
  missing: [triangle, letter('!', 12.2)],
  never: [ring],
  tags: [['path', { d: 'M3.5 6.2h9M3.5 9.8h9M10 3.2 6 12.8', class: 'line' }]],
  passed: [['path', { d: 'M3.5 8.4l3 3 6-6.6', class: 'line thick' }]],
  stopped: [['path', { d: 'M4 4l8 8M12 4l-8 8', class: 'line thick' }]],
  orphan: [triangle, letter('!', 12.2)],
  replicating: [ring, ['path', { d: 'M8 8V3a5 5 0 0 1 5 5z' }]],
  untagged: [triangle, letter('!', 12.2)],
  not_expected: [ring],
};

const sign = (name, place) =>
  s(
    'svg.icon',
    { viewBox: '0 0 16 16', 'aria-hidden': 'true', focusable: 'false', ...place },
    SIGNS[name].map(([tag, attributes, text]) => s(tag, attributes, text)),
  );

const badge = (name, word) => h(`span.badge.${TONES[name]}`, {}, sign(name), h('span', {}, word));
// A sign with a whole line of text, which may be wrapped.
const sentence = (name, text) => h(`span.badge.sentence.${TONES[name]}`, {}, sign(name), h('span', {}, text));

// ---------------------------------------------------------------------------------------------------------------------
// Parts

const referenceOf = ({ repository, digest }) => `${repository}@${digest}`;
const link = (href, ...children) => h('a', { href }, ...children);
const place = (registry) => {
  const [account, region] = registry.split('/');
  return h('span.place', {}, h('span.account', {}, `${account}/`), h('span.region', {}, region));
};
const imageLink = (image, tag) =>
  h(
    'span.image',
    {},
    link(HASHES.image(referenceOf(image)), image.repository, h('wbr'), h('span.digest', {}, `@${short(image.digest)}`)),
    tag && h('span', {}, ', tag ', h('span.tag', {}, tag)),
  );

const tagLink = (repository, tag) =>
  h('a.tag', { href: HASHES.tag(`${repository}:${tag}`), title: `History of ${repository}:${tag}` }, tag);
const empty = (...children) => h('p.empty', {}, ...children);
const allWell = (text) => h('p.empty', {}, badge('over', text));

// Nothing was found. That is all well only if every registry was listed.
const noFindings = (registries, text) => {
  const never = registries.filter(([, known]) => !known.listed_at).map(([registry]) => registry);
  if (registries.length === 0) return empty('Nothing is recorded yet: no event of any registry was received.');
  if (never.length === 0) return allWell(text);
  return empty(badge('unknown', `None is recorded, and never listed: ${never.join(', ')}`));
};

const section = (key, title, ...children) =>
  h('section', { 'data-key': key, 'aria-labelledby': `h-${key}` }, h('h2', { id: `h-${key}` }, title), ...children);

// A section of one of several images: one level deeper, and labelled with the digest for screen readers.
const sectionOf = (image, alone, name, title, ...children) => {
  const key = `${name}-${short(image.digest)}`;
  if (alone) return section(key, title, ...children);
  return h(
    'section',
    { 'data-key': key, 'aria-label': `${title} (${short(image.digest)})` },
    h('h3', {}, title),
    ...children,
  );
};

// On a narrow screen each row becomes a block with headings beside the values. For screen readers it stays a table.
function table(caption, columns, rows) {
  const heads = columns.map((column) =>
    h('th', { role: 'columnheader', scope: 'col', class: column.class }, column.head),
  );
  const cell = (column, value) => {
    const attributes = {
      role: column.row ? 'rowheader' : 'cell',
      scope: column.row && 'row',
      class: [column.class, isBlank(value) && 'blank'].filter(Boolean).join(' ') || false,
      'data-label': column.head,
    };
    return h(column.row ? 'th' : 'td', attributes, h('div', {}, value ?? ''));
  };
  const line = ({ key, cells }) =>
    h(
      'tr',
      { role: 'row', 'data-key': key },
      cells.map((value, at) => cell(columns[at], value)),
    );
  return h(
    'table',
    { role: 'table' },
    h('caption', { class: caption.hidden && 'hidden' }, caption.text),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, heads)),
    h('tbody', { role: 'rowgroup' }, rows.map(line)),
  );
}

const isBlank = (value) => !value || (Array.isArray(value) && value.flat().every(isBlank));

const NUMBER = 'number';

function moreButton(name, what) {
  const load = () => {
    here.wanted[name] = (here.wanted[name] ?? 1) + 1;
    refresh().then(() => announce(`More ${what} loaded.`));
  };
  return h(
    'p.more',
    { 'data-key': `more-${name}` },
    h('button', { type: 'button', onclick: load }, `Load more ${what}`),
  );
}

const problemBlock = (problem) =>
  h(
    'div.problem',
    { 'data-key': 'problem', role: 'alert' },
    h('p.problem-title', {}, sign('warning'), problem.title),
    problem.detail && h('p', {}, prose(problem.detail)),
    problem.remediation && h('p', {}, '→ ', prose(problem.remediation)),
  );

function copyButton(text, what) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce(`${what} copied.`);
    } catch {
      announce(`${what} could not be copied.`);
    }
  };
  return h('button.quiet', { type: 'button', onclick: copy, title: text }, `Copy ${what}`);
}

// ---------------------------------------------------------------------------------------------------------------------
// Deletions and operator actions

const QUEUE = ['pending', 'awaiting_approval', 'held', 'executing', 'failed'];
const OVER = ['done', 'kept'];

const capital = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;
const CONFIRMED = new Set(['hold', 'approve', 'cancel']);

const keyOfDeletion = ({ repository, digest, registry, tag }) => `${repository}@${digest}|${registry}|${tag ?? ''}`;
const imageOf = ({ repository, digest }) => `${repository}@${digest}`;
// The hold of exactly this image. A hold of repositories or of a source is released where the holds are listed.
const holdOf = (deletion) => list(state.overview?.holds).find(({ pattern }) => pattern === imageOf(deletion));
const allowed = (deletion) =>
  mayChange() ? list(deletion.allowed_actions).filter((did) => did !== 'release' || holdOf(deletion)) : [];

const subjectOf = ({ tag, registry }) => `${tag ? `tag ${tag} of the replica` : 'the replica'} in ${registry}`;

function confirmation(deletion, did) {
  const subject = subjectOf(deletion);
  if (did === 'hold') return 'Put the image on hold: it is deleted in no registry until the hold is released.';
  if (did === 'cancel')
    return `Cancel this deletion for good: ${subject} is kept. Only a new deletion at the source starts a new one.`;
  if (deletion.status === 'awaiting_approval')
    return `Approve this deletion: ${subject} is deleted as soon as all other checks pass again.`;
  return `Approve in advance: ${subject} is deleted when due, without another approval, if all checks pass.`;
}

// The focused button may be removed or moved: keyboard users stay at the item that they acted on.
function stayAt(key) {
  if (document.activeElement === document.body) document.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

// Sends an action, and returns what was done in one line.
async function send(deletion, did, reason) {
  const { registry, tag, version } = deletion;
  const image = imageOf(deletion);
  if (did === 'hold') {
    const { holds, effect } = await ask('holds', { body: { hold: image, reason } });
    return `${holds.map(({ summary }) => summary).join('; ')}; ${effect}`;
  }
  if (did === 'release') return (await ask('holds/release', { body: { hold: holdOf(deletion).id } })).summary;
  const body = { image, registry, tag, version, ...(reason && { reason }) };
  return (await ask(`deletions/${did}`, { body })).summary;
}

async function act(deletion, did, reason) {
  const { repository, registry } = deletion;
  const key = keyOfDeletion(deletion);
  here.asking = undefined;
  here.acted.set(key, { waits: true });
  render();
  try {
    const text = await send(deletion, did, reason);
    here.acted.set(key, { text });
    announce(`${repository} in ${registry}: ${text}.`);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    here.acted.set(key, { problem });
  }
  await refresh();
  stayAt(key);
}

function askFirst(deletion, did) {
  here.asking = { key: keyOfDeletion(deletion), did };
  render();
  document.querySelector('.confirm')?.focus();
}

function leaveIt(key) {
  here.asking = undefined;
  render();
  document.querySelector(`[data-key="${CSS.escape(key)}"] button`)?.focus();
}

function buttons(deletion) {
  const key = keyOfDeletion(deletion);
  const about = `${deletion.repository}${deletion.tag ? `, tag ${deletion.tag},` : ''} in ${deletion.registry}`;
  const acted = here.acted.get(key);
  if (here.asking?.key === key) {
    const { did } = here.asking;
    // Braces, because the return value of such a handler would cancel the key event.
    const escape = (event) => {
      if (event.key === 'Escape') leaveIt(key);
    };
    const decide = (event) => {
      event.preventDefault();
      act(deletion, did, event.target.elements.reason.value);
    };
    return h(
      'form.confirm',
      {
        'data-key': 'confirm',
        onsubmit: decide,
        role: 'group',
        tabindex: -1,
        'aria-label': `${capital(did)} ${about}?`,
        onkeydown: escape,
      },
      h('p', {}, confirmation(deletion, did)),
      h('label', { for: 'why' }, did === 'hold' ? 'Reason' : 'Reason (optional)'),
      h('input', { id: 'why', name: 'reason', type: 'text', maxlength: 1000, required: did === 'hold' }),
      h('button.primary', { type: 'submit' }, `${capital(did)} it`),
      h('button', { type: 'button', onclick: () => leaveIt(key) }, 'Back'),
    );
  }
  const button = (did) =>
    h(
      'button',
      {
        type: 'button',
        'data-key': did,
        disabled: acted?.waits,
        'aria-label': `${capital(did)}: ${about}`,
        onclick: () => (CONFIRMED.has(did) ? askFirst(deletion, did) : act(deletion, did)),
      },
      CONFIRMED.has(did) ? `${capital(did)}…` : capital(did),
    );
  const offered = allowed(deletion);
  return offered.length > 0 && h('div.buttons', { 'data-key': 'buttons' }, offered.map(button));
}

const answered = (deletion) => answeredAt(keyOfDeletion(deletion));

function answeredAt(key) {
  const acted = here.acted.get(key);
  if (acted?.problem) return problemBlock(acted.problem);
  return acted?.text && h('p.acted', { 'data-key': 'acted' }, sign('passed'), acted.text);
}

const checkLine = (check) => {
  const name = check.passed ? 'passed' : 'stopped';
  return h(
    'li',
    {},
    h(`span.badge.${TONES[name]}`, {}, sign(name), h('span.hidden', {}, name)),
    h('span.check', {}, check.check),
    h('span', {}, check.why),
  );
};

const actLine = (done) =>
  h(
    'li',
    {},
    when(done.at),
    h(
      'span',
      {},
      `${done.action_text} by `,
      h('span', { title: done.by }, who(done.by)),
      done.reason && `: ${done.reason}`,
    ),
  );

function reasons(deletion) {
  const checks = list(deletion.checks);
  const acts = list(deletion.actions);
  if (checks.length + acts.length === 0) return undefined;
  const actions = acts.length > 0 && `, ${plural(acts.length, 'operator action')}`;
  return h(
    'details',
    { 'data-key': 'reasons' },
    h('summary', {}, plural(checks.length, 'check'), actions),
    checks.length > 0 && h('ol.checks', { 'aria-label': 'Checks, in order' }, checks.map(checkLine)),
    acts.length > 0 && h('ul.acts', { 'aria-label': 'Operator actions' }, acts.map(actLine)),
  );
}

function deletionItem(deletion, { ofImage } = {}) {
  const { status, due } = deletion;
  const facts = [
    ['source deleted', when(deletion.since)],
    deletion.action && ['action', deletion.action],
    list(deletion.policies).length > 0 && ['policy', deletion.policies.join(', ')],
    deletion.size_bytes !== undefined && ['size', bytes(deletion.size_bytes)],
  ].filter(Boolean);
  const fact = ([name, value]) => h('div', {}, h('dt', {}, name), h('dd', {}, value));
  return h(
    'li.deletion',
    { 'data-key': keyOfDeletion(deletion), tabindex: -1 },
    h(
      'div.deletion-head',
      {},
      badge(status, deletion.status_text),
      status === 'pending' && due ? countdown(due) : h('span.quiet', {}, when(deletion.changed_at)),
    ),
    h(
      'div.deletion-body',
      {},
      h(
        'p.deletion-name',
        {},
        ofImage ? deletion.tag && ['tag ', h('span.tag', {}, deletion.tag), ' '] : imageLink(deletion, deletion.tag),
        h(
          'span.lane',
          {},
          h('span', {}, h('span.quiet', {}, 'in '), place(deletion.registry)),
          h('span', {}, h('span.quiet', {}, 'source '), place(deletion.source)),
        ),
      ),
      h('p.reason', {}, prose(deletion.summary)),
      h('dl.facts', {}, facts.map(fact)),
      reasons(deletion),
    ),
    h('div.deletion-acts', {}, buttons(deletion), answered(deletion)),
  );
}

// ---------------------------------------------------------------------------------------------------------------------
// Pauses and holds

// Asks the API to change something, and shows the answer below the item with this key.
async function control(event, key, path, body, text) {
  event.preventDefault();
  try {
    const done = text(await ask(path, { body }));
    here.acted.set(key, { text: done });
    announce(done);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    here.acted.set(key, { problem });
  }
  await refresh();
  stayAt(key);
}

function pauseItem({ source, summary }) {
  const body = source ? { source } : {};
  return h(
    'li.trouble.warn',
    { 'data-key': `pause|${source ?? ''}`, tabindex: -1 },
    h('p.trouble-head', {}, badge('stopped', 'paused'), source ? place(source) : 'every source'),
    h('p', {}, who(summary)),
    mayChange() &&
      h(
        'button',
        {
          type: 'button',
          'aria-label': `Resume the deletions of ${source ?? 'every source'}`,
          onclick: (event) => control(event, 'pauses', 'pauses/resume', body, (answer) => answer.summary),
        },
        'Resume',
      ),
  );
}

// What is paused now: on each view that shows deletions.
const pauses = () => {
  const lasting = list(state.overview?.pauses);
  return lasting.length > 0 && h('ul.troubles', { 'data-key': 'pauses' }, lasting.map(pauseItem));
};

function pauseForm() {
  const sources = list(state.overview?.registries).map(({ registry }) => registry);
  const pause = (event) => {
    const { source, reason } = event.target.elements;
    const body = { ...(source.value && { source: source.value }), ...(reason.value && { reason: reason.value }) };
    return control(event, 'pauses', 'pauses', body, (answer) => answer.summary);
  };
  return h(
    'details',
    { 'data-key': 'pause' },
    h('summary', {}, 'Pause deletions…'),
    h(
      'form.reset',
      { onsubmit: pause },
      h('p', {}, 'No deletion begins until an operator resumes. A call to ECR that is under way is not interrupted.'),
      h('label', { for: 'pause-source' }, 'Source'),
      h(
        'select',
        { id: 'pause-source', name: 'source' },
        h('option', { value: '' }, 'every source'),
        sources.map((source) => h('option', { value: source }, source)),
      ),
      h('label', { for: 'pause-reason' }, 'Reason (optional), shown to every reader'),
      h('input', { id: 'pause-reason', name: 'reason', type: 'text', maxlength: 1000 }),
      h('button.primary', { type: 'submit' }, 'Pause them'),
    ),
  );
}

function holdForm() {
  const hold = (event) => {
    const { pattern, reason } = event.target.elements;
    return control(event, 'holds', 'holds', { hold: pattern.value, reason: reason.value }, ({ holds, effect }) =>
      [...holds.map(({ summary }) => summary), effect].join('; '),
    );
  };
  return h(
    'details',
    { 'data-key': 'hold' },
    h('summary', {}, 'Hold images or repositories…'),
    h(
      'form.reset',
      { onsubmit: hold },
      h('label', { for: 'hold-pattern' }, 'Repositories, as in prod/*, or an image, as in prod/api:v1'),
      h('input', { id: 'hold-pattern', name: 'pattern', type: 'text', required: true, maxlength: 512 }),
      h('label', { for: 'hold-reason' }, 'Reason, shown to every reader'),
      h('input', { id: 'hold-reason', name: 'reason', type: 'text', required: true, maxlength: 1000 }),
      h('button.primary', { type: 'submit' }, 'Hold them'),
    ),
  );
}

function holdItem({ id, pattern, summary, by }) {
  const mine = by === state.overview.caller;
  const body = { hold: id, ...(!mine && { force: true }) };
  return h(
    'li',
    { 'data-key': `hold|${id}`, tabindex: -1 },
    h('p', {}, sign('stopped'), ' ', who(summary)),
    mayChange() &&
      h(
        'button',
        {
          type: 'button',
          'aria-label': `Release ${pattern}`,
          onclick: (event) => control(event, 'holds', 'holds/release', body, (answer) => answer.summary),
        },
        mine ? 'Release' : 'Release, although it is not yours',
      ),
  );
}

// The pauses and holds, with what an operator can do about them.
function controls() {
  const held = list(state.overview?.holds);
  return [
    pauses(),
    mayChange() && pauseForm(),
    answeredAt('pauses'),
    (held.length > 0 || mayChange()) &&
      section(
        'holds',
        'Holds',
        held.length > 0 && h('ul.plain', {}, held.map(holdItem)),
        mayChange() && holdForm(),
        answeredAt('holds'),
      ),
  ];
}

// ---------------------------------------------------------------------------------------------------------------------
// Breakers

// What a reset would do: shown, and confirmed, before it is done.
async function previewReset(event, source) {
  event.preventDefault();
  const { allow, share } = event.target.elements;
  const terms = {
    ...(allow.value && { allow: Number(allow.value) }),
    ...(share.checked && { ignore_share: true }),
  };
  const key = `breaker|${source}`;
  try {
    here.asking = { key, terms, preview: await ask(query('breakers/reset', { source, ...terms })) };
    here.acted.delete(key);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    here.acted.set(key, { problem });
  }
  render();
  document.querySelector('.confirm')?.focus();
}

async function resetBreaker(source, { preview, terms }) {
  const key = `breaker|${source}`;
  here.asking = undefined;
  try {
    const answer = await ask('breakers/reset', { body: { source, version: preview.version, ...terms } });
    here.acted.set(key, { text: answer.summary });
    announce(answer.summary);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    here.acted.set(key, { problem });
  }
  await refresh();
  stayAt(key);
}

function resetConfirmation(source, asking) {
  const { preview } = asking;
  const escape = (event) => {
    if (event.key === 'Escape') leaveIt(asking.key);
  };
  return h(
    'div.confirm',
    { 'data-key': 'confirm', role: 'group', tabindex: -1, 'aria-label': preview.question, onkeydown: escape },
    preview.held_by.length > 0 && h('ul.plain', {}, preview.held_by.map((held) => h('li', {}, who(held.summary)))),
    preview.consequences.map((line) => h('p', {}, line)),
    h('p', {}, preview.question),
    h('button.primary', { type: 'button', onclick: () => resetBreaker(source, asking) }, 'Reset it'),
    h('button', { type: 'button', onclick: () => leaveIt(asking.key) }, 'Back'),
  );
}

function resetForm(source, remediation) {
  const id = source.replace('/', '-');
  if (!mayChange()) return h('p.next', {}, '→ ', prose(remediation));
  if (here.asking?.key === `breaker|${source}`) return resetConfirmation(source, here.asking);
  return h(
    'details',
    { 'data-key': 'reset' },
    h('summary', {}, 'Reset the breaker, if these deletions are intended'),
    h(
      'form.reset',
      { onsubmit: (event) => previewReset(event, source) },
      h(
        'label',
        { for: `allow-${id}` },
        'Images that may be deleted in the next window, in all registries together (without a number, the limits apply)',
      ),
      h('input', { id: `allow-${id}`, name: 'allow', type: 'number', min: 1, step: 1, inputmode: 'numeric' }),
      h('label', { for: `share-${id}` }, 'Do not limit the share of a repository in that window'),
      h('input', { id: `share-${id}`, name: 'share', type: 'checkbox' }),
      h('button.primary', { type: 'submit' }, 'Reset the breaker…'),
    ),
  );
}

function openBreaker([source, { opened, held, status_text: status, details, remediation }]) {
  const acted = here.acted.get(`breaker|${source}`);
  return h(
    'li.trouble.bad',
    { 'data-key': `breaker|${source}`, tabindex: -1 },
    h(
      'p.trouble-head',
      {},
      badge('open', `breaker ${status}`),
      place(source),
      h('span.quiet', {}, 'since ', when(opened.at), ', ', age(opened.at)),
    ),
    h('p', {}, opened.why),
    h(
      'p',
      {},
      held > 0 ? [link(HASHES.deletions(), plural(held, 'deletion')), ' on hold.'] : 'No deletion is on hold.',
    ),
    details.map((line) => h('p.quiet', {}, who(line))),
    resetForm(source, remediation),
    acted?.problem && problemBlock(acted.problem),
  );
}

function closedBreaker([source, { status_text: status, details }]) {
  return h(
    'li',
    { 'data-key': `breaker|${source}`, tabindex: -1 },
    h('p.trouble-head', {}, badge('closed', status), place(source)),
    details.map((line) => h('p.quiet', {}, who(line))),
  );
}

// ---------------------------------------------------------------------------------------------------------------------
// Pictures

const measuring = document.createElement('canvas').getContext('2d');

function widthOf(text, weight = 400, family = getComputedStyle(document.body).fontFamily) {
  measuring.font = `${weight} 13px ${family}`;
  return measuring.measureText(text).width;
}

function fitted(text, width, weight) {
  if (widthOf(text, weight) <= width) return text;
  let end = text.length;
  while (end > 1 && widthOf(`${text.slice(0, end)}…`, weight) > width) end -= 1;
  return `${text.slice(0, end)}…`;
}

// The inner width of a figure: the main column without its padding and the figure's own.
function roomFor() {
  const figure = matchMedia('(max-width: 640px)').matches ? 26 : 34;
  return Math.max(240, $('main').clientWidth - 2 * parseFloat(getComputedStyle($('main')).paddingLeft) - figure);
}

const LINE = 19;
const CARD = { padding: 12, gap: 16, narrowest: 210, widest: 400 };
// The least space between two columns, for the lag.
const LANE = 120;

// When it was first seen, in its present stay or its last one.
const stayed = ({ since, status }) =>
  since && (status === 'present' || status === 'archived' ? ` since ${time(since)}` : `, first seen ${time(since)}`);

// The lines of a registry's card in the lineage picture.
function cardOf(where, deletions) {
  const [account, region] = where.registry.split('/');
  const lines = [{ text: where.status_text, rest: stayed(where), tone: TONES[where.status] }];
  if (where.tags.length > 0) lines.push({ text: `tagged ${where.tags.join(', ')}` });
  if (where.pushed_at) lines.push({ text: `pushed ${time(where.pushed_at)}`, tone: 'quiet' });
  if (where.deleted) {
    lines.push({ text: 'deleted', rest: ` ${time(where.deleted.at)}`, tone: 'bad' });
    lines.push({ text: who(where.deleted.cause_text), tone: 'quiet' });
  }
  if (where.orphan) lines.push({ text: 'orphan', tone: 'warn', sign: 'orphan' });
  for (const deletion of deletions.filter(
    ({ registry, status }) => registry === where.registry && QUEUE.includes(status),
  )) {
    const what = `deletion ${deletion.status_text}${deletion.tag ? ` for tag ${deletion.tag}` : ''}`;
    const due = deletion.status === 'pending' && !deletion.tag ? deletion.due : undefined;
    const text = due ? `deletion ${dueIn(due)}` : what;
    lines.push({ text, due, tone: TONES[deletion.status], sign: deletion.status });
  }
  return { where, account, region, lines, height: 2 * CARD.padding + LINE * (lines.length + 1) - 4 };
}

// The number of hops from the registry to which it was pushed.
function depths(registries) {
  const sources = new Map(
    registries.map((where) => [where.registry, where.replicated_from.map((from) => from.registry)]),
  );
  const depth = (registry, seen) => {
    const from = (sources.get(registry) ?? []).filter((source) => sources.has(source) && !seen.includes(source));
    return from.length === 0 ? 0 : 1 + Math.min(...from.map((source) => depth(source, [...seen, registry])));
  };
  return new Map(registries.map(({ registry, pushed_at: pushed }) => [registry, pushed ? 0 : depth(registry, [])]));
}

function columnsOf(cards, depth) {
  const columns = [];
  for (const card of cards) (columns[depth.get(card.where.registry)] ??= []).push(card);
  return columns.filter(Boolean);
}

// Left to right: a column for each hop, replicas under the name of their account.
function besideEachOther(columns, width) {
  const card = Math.min(CARD.widest, (width - LANE * (columns.length - 1)) / columns.length);
  const lane = columns.length > 1 ? (width - card * columns.length) / (columns.length - 1) : 0;
  const labels = [];
  const heights = columns.map((column, at) => {
    let y = 0;
    let account;
    for (const one of column) {
      if (one.account !== account) {
        labels.push({ text: one.account, x: at * (card + lane), y: y + 13, column: at });
        y += 24;
        account = one.account;
      }
      Object.assign(one, { x: at * (card + lane), y, width: card, column: at });
      y += one.height + CARD.gap;
    }
    return y - CARD.gap;
  });
  const height = Math.max(...heights);
  const offset = (at) => (height > 700 ? 0 : (height - heights[at]) / 2);
  for (const one of [...columns.flat(), ...labels]) one.y += offset(one.column);
  return { width, height, labels };
}

// Top to bottom, each hop a little to the right, with space for the lag above each replica.
function belowEachOther(columns, width, depth, parentOf) {
  let y = 0;
  const put = (card) => {
    const indent = 26 * depth.get(card.where.registry);
    y += indent > 0 ? 26 : CARD.gap;
    Object.assign(card, { x: indent, y, width: width - indent });
    y += card.height;
    columns
      .flat()
      .filter((one) => parentOf(one) === card.where.registry)
      .forEach(put);
  };
  columns
    .flat()
    .filter((card) => !parentOf(card))
    .forEach(put);
  const shift = CARD.gap;
  for (const card of columns.flat()) card.y -= shift;
  return { width, height: y - shift, labels: [] };
}

function edges(cards, beside) {
  const at = new Map(cards.map((card) => [card.where.registry, card]));
  const drawn = cards
    .flatMap((to) => to.where.replicated_from.map((came, nth) => ({ to, came, nth, from: at.get(came.registry) })))
    .filter(({ from, to }) => from && from !== to)
    .map((one) => (beside ? edgeBeside(one) : edgeBelow(one)));
  // Labels last: no line may cross them.
  return [drawn.map(([line]) => line), drawn.map(([, label]) => label)];
}

const edge = (path, { to }) =>
  s('path', { class: to.where.status === 'absent' ? 'edge lost' : 'edge', d: path, 'marker-end': 'url(#arrow)' });

const lagText = (came) => (came.lag_seconds === undefined ? '' : duration(came.lag_seconds));

function edgeBeside({ from, to, came, nth }) {
  const [x2, y2] = [to.x - 3, to.y + Math.min(to.height / 2, 26) + nth * 24];
  const same = from.x >= to.x;
  const [x1, y1] = same ? [from.x, from.y + from.height - 12] : [from.x + from.width, from.y + from.height / 2];
  const middle = same ? x2 - LANE : x1 + (x2 - x1) * 0.4;
  const text = lagText(came);
  const width = widthOf(text) + 14;
  const label =
    text &&
    s(
      'g.lag-label',
      {},
      s('rect', { x: x2 - width - 14, y: y2 - 10, width, height: 20, rx: 10 }),
      s('text', { x: x2 - 14 - width / 2, y: y2 + 4.5, 'text-anchor': 'middle' }, text),
    );
  return [edge(`M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`, { to }), label];
}

function edgeBelow({ from, to, came, nth }) {
  const x = from.x + 11 + nth * 5;
  const y = to.y + 24 + nth * 10;
  const text = lagText(came);
  const label = text && nth === 0 && s('text.lag-label', { x: to.x + 2, y: to.y - 8 }, `replicated in ${text}`);
  return [edge(`M${x} ${from.y + from.height}V${y}H${to.x - 3}`, { to }), label];
}

// The main text, and as much of the rest of the line as there is space for.
function lineText(attributes, { text, rest, due, weight }, room) {
  const main = due ? text : fitted(text, room, weight);
  const left = room - widthOf(main, weight);
  return s(
    'text',
    { ...attributes, 'data-due': due, 'data-prefix': due && 'deletion ' },
    main,
    rest && left > 40 && s('tspan.rest', {}, fitted(rest, left)),
  );
}

function drawnCard(card) {
  const { where, region, account, lines, x, y, width, height } = card;
  const left = x + CARD.padding + 4;
  const inner = width - 2 * CARD.padding - 4;
  const heading = { text: region, rest: card.column === undefined ? ` ${account}` : undefined, weight: 650 };
  const line = ({ tone = '', sign: name, ...words }, at) => {
    const top = y + CARD.padding + LINE * (at + 1) + 10;
    const indent = name ? 20 : 0;
    const weight = tone && tone !== 'quiet' ? 600 : 400;
    return [
      name && sign(name, { x: left, y: top - 12, width: 15, height: 15, class: `icon ${tone}` }),
      lineText({ x: left + indent, y: top, class: `line-text ${tone}` }, { ...words, weight }, inner - indent),
    ];
  };
  return s(
    `g.card.${TONES[where.status]}`,
    {},
    s('rect.body', { x, y, width, height, rx: 8 }),
    s('path.stripe', {
      d: `M${x + 8} ${y}h-1a7 7 0 0 0-7 7v${height - 14}a7 7 0 0 0 7 7h1a4 4 0 0 1-4-4V${y + 4}a4 4 0 0 1 4-4z`,
    }),
    sign(where.status, {
      x: x + width - CARD.padding - 16,
      y: y + CARD.padding - 3,
      width: 17,
      height: 17,
      class: `icon ${TONES[where.status]}`,
    }),
    lineText({ x: left, y: y + CARD.padding + 10, class: 'region' }, heading, inner - 24),
    lines.map(line),
  );
}

function described(where) {
  const from = where.replicated_from.map(
    (came) => `replicated from ${came.registry}${lagText(came) && ` in ${lagText(came)}`}`,
  );
  const gone = where.deleted && `deleted ${time(where.deleted.at)}, ${where.deleted.cause_text}`;
  return [`${where.registry}: ${where.status_text}`, ...from, where.orphan && 'orphan', gone]
    .filter(Boolean)
    .join(', ');
}

function lineagePicture({ registries, deletions, digest }) {
  const depth = depths(registries);
  const byPlace = [...registries].sort((a, b) => a.registry.localeCompare(b.registry));
  const cards = byPlace.map((where) => cardOf(where, deletions));
  const columns = columnsOf(cards, depth);
  const width = roomFor();
  const beside = width >= columns.length * CARD.narrowest + (columns.length - 1) * LANE;
  const parentOf = (card) =>
    depth.get(card.where.registry) > 0 &&
    card.where.replicated_from.find((came) => depth.get(came.registry) === depth.get(card.where.registry) - 1)
      ?.registry;
  const size = beside ? besideEachOther(columns, width) : belowEachOther(columns, width, depth, parentOf);
  const id = `lineage-${short(digest)}`;
  return s(
    'svg.lineage',
    {
      viewBox: `0 -1 ${size.width} ${size.height + 2}`,
      width: size.width,
      height: size.height + 2,
      role: 'img',
      'aria-labelledby': `${id}-title`,
      'aria-describedby': `${id}-desc`,
    },
    s('title', { id: `${id}-title` }, `Where ${short(digest)} is, and its origin`),
    s('desc', { id: `${id}-desc` }, registries.map(described).join('. ')),
    s(
      'defs',
      {},
      s(
        'marker',
        { id: 'arrow', viewBox: '0 0 8 8', refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: 'auto' },
        s('path.arrow', { d: 'M0 0.5 7.5 4 0 7.5z' }),
      ),
    ),
    edges(cards, beside),
    size.labels.map((label) => s('text.account', { x: label.x, y: label.y }, `account ${label.text}`)),
    cards.map(drawnCard),
  );
}

// Lag on a scale where a minute is as far from an hour as a second from a minute.
const LAG_TICKS = [
  [1, '1 s'],
  [10, '10 s'],
  [60, '1 min'],
  [600, '10 min'],
  [3_600, '1 h'],
  [21_600, '6 h'],
  [86_400, '1 d'],
  [604_800, '7 d'],
];
// The height of a label, in pixels.
const LABEL = 14;
const PERCENTILES = [
  ['p50_seconds', 'p50'],
  ['p90_seconds', 'p90'],
  ['p99_seconds', 'p99'],
];

function lagPicture({ days, threshold_seconds: threshold }) {
  const width = roomFor();
  const height = width < 500 ? 220 : 240;
  const area = { left: 52, right: width - 46, top: 14, bottom: height - 26 };
  const values = days.flatMap((day) => [day.p50_seconds, day.p99_seconds]);
  const low = Math.max(1, Math.min(...values) / 1.5);
  const high = Math.max(threshold, ...values) * 1.6;
  const first = Date.parse(days[0].day);
  const span = Date.parse(days.at(-1).day) - first;
  // A single day is in the middle.
  const share = (day) => (span > 0 ? (Date.parse(day) - first) / span : 0.5);
  const x = (day) => area.left + (area.right - area.left) * share(day);
  const y = (seconds) =>
    area.bottom - ((area.bottom - area.top) * Math.log(Math.max(low, seconds) / low)) / Math.log(high / low);
  const ticks = LAG_TICKS.filter(([seconds]) => seconds >= low && seconds <= high);
  return s(
    'svg.lag',
    {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: 'img',
      'aria-labelledby': 'lag-title',
      'aria-describedby': 'lag-desc',
    },
    s('title', { id: 'lag-title' }, 'Replication lag by day'),
    s(
      'desc',
      { id: 'lag-desc' },
      `${plural(days.length, 'day')}, from ${days[0].day} to ${days.at(-1).day}. On the last day, p50 is ` +
        `${duration(days.at(-1).p50_seconds)} and p99 ${duration(days.at(-1).p99_seconds)}. A table follows.`,
    ),
    ticks.map(([seconds, text]) =>
      s(
        'g.tick',
        {},
        s('path', { d: `M${area.left} ${y(seconds)}H${area.right}` }),
        s('text', { x: area.left - 8, y: y(seconds) + 4, 'text-anchor': 'end' }, text),
      ),
    ),
    dayTicks(days, x, area).map((day) =>
      s('text.tick-text', { x: x(day), y: height - 8, 'text-anchor': 'middle' }, day.slice(5)),
    ),
    s('path.band', { d: bandBetween(days, x, y) }),
    s(
      'g.threshold',
      {},
      s('path', { d: `M${area.left} ${y(threshold)}H${area.right}` }),
      s('text', { x: area.left + 6, y: y(threshold) - 6 }, `late after ${threshold / 60} min`),
    ),
    percentileLabels(days.at(-1), y, area),
    PERCENTILES.map(([name, text]) => percentileLine(days, name, text, x, y)),
  );
}

function bandBetween(days, x, y) {
  const upper = days.map((day) => `${x(day.day)} ${y(day.p90_seconds)}`);
  const lower = [...days].reverse().map((day) => `${x(day.day)} ${y(day.p50_seconds)}`);
  return `M${[...upper, ...lower].join('L')}z`;
}

function dayTicks(days, x, area) {
  const wanted = Math.max(1, Math.floor((area.right - area.left) / 80));
  const step = Math.ceil(days.length / wanted);
  return days
    .map(({ day }) => day)
    .filter((_, at) => at % step === 0)
    .filter((day) => x(day) < area.right + 20);
}

// Labels at the ends of their lines, without overlap: p50 is lowest, and all stay in the picture.
function percentileLabels(day, y, area) {
  let below = area.bottom + LABEL;
  return PERCENTILES.map(([name, text], at) => {
    const room = area.top + LABEL * (PERCENTILES.length - 1 - at);
    below = Math.max(room, Math.min(y(day[name]), below - LABEL));
    return s(`g.series.${text}`, {}, s('text', { x: area.right + 8, y: below + 4 }, text));
  });
}

function percentileLine(days, name, text, x, y) {
  const points = days.map((day) => [x(day.day), y(day[name])]);
  return s(
    `g.series.${text}`,
    {},
    s('path', { d: `M${points.map((point) => point.join(' ')).join('L')}` }),
    points.map(([px, py], at) =>
      s(
        'circle',
        { cx: px, cy: py, r: days.length > 40 ? 1.5 : 2.6 },
        s('title', {}, `${days[at].day}: ${text} ${duration(days[at][name])} of ${plural(days[at].count, 'copy')}`),
      ),
    ),
  );
}

// Time from left to right: to scale, or with long intervals shortened so that short ones are visible.
function timeScale(times, left, right, toScale) {
  const sorted = [...new Set(times)].sort((a, b) => a - b);
  const weight = (gap) => (toScale ? gap : Math.log1p(gap / 10_000) ** 1.5);
  const ends = [0];
  for (let at = 1; at < sorted.length; at += 1) ends.push(ends[at - 1] + weight(sorted[at] - sorted[at - 1]));
  const whole = ends.at(-1) || 1;
  const places = new Map(sorted.map((moment, at) => [moment, left + ((right - left) * ends[at]) / whole]));
  return (moment) => places.get(moment);
}

function axis(moments, x, y, room) {
  let free = -Infinity;
  const texts = [];
  const lines = moments.map((moment) => s('path', { d: `M${x(moment)} 0V${y}` }));
  for (const moment of moments) {
    const [day, clockTime] = time(moment).split(' ');
    const half = widthOf(day) / 2 + 4;
    const at = Math.min(Math.max(x(moment), half), room - half);
    if (at - half < free) continue;
    free = at + half + 6;
    texts.push(
      s('text', { x: at, y: y + 16, 'text-anchor': 'middle' }, day),
      s('text', { x: at, y: y + 32, 'text-anchor': 'middle' }, clockTime),
    );
  }
  return s('g.axis', {}, lines, texts);
}

function historyPicture({ repository, tag, history }) {
  const width = roomFor();
  const narrow = width < 620;
  const registries = [...new Set(history.map((band) => band.registry))];
  const left = narrow ? 0 : Math.ceil(Math.max(...registries.map((registry) => widthOf(registry, 600)))) + 16;
  const now = Math.floor(clock.now() / 1_000) * 1_000;
  const ended = (band) => (band.ended ? Date.parse(band.ended.at) : undefined);
  const changes = history.flatMap((band) => [Date.parse(band.from), ended(band)]).filter(Boolean);
  const last = history.some((band) => !band.ended) ? Math.max(now, ...changes) : Math.max(...changes);
  const x = timeScale([...changes, last], left, width - 14, here.toScale);
  const digests = bandDigests(history);
  const row = narrow ? 62 : 46;
  const top = (registry) => registries.indexOf(registry) * row + (narrow ? 22 : 6);
  const bottom = registries.length * row + 4;
  const drawn = (band) => {
    const [from, to] = [x(Date.parse(band.from)), x(ended(band) ?? last)];
    const at = top(band.registry);
    const size = Math.max(4, to - from - 1);
    const nth = digests.indexOf(band.digest);
    const outline = band.ended
      ? `M${from} ${at}h${size}v32h${-size}z`
      : `M${from} ${at}h${size - 2}l10 16l-10 16h${2 - size}z`;
    const name = widthOf(short(band.digest), 400, 'monospace');
    const text = name + 16 < size ? short(band.digest) : '';
    const until = `${band.ended ? `to ${time(band.ended.at)}` : 'until now'}, ${band.summary}`;
    const label = `${band.registry}: ${short(band.digest)} from ${time(band.from)} ${until}`;
    return s(
      'a',
      { href: HASHES.image(`${repository}@${band.digest}`), 'aria-label': label, class: `band hue-${nth % HUES}` },
      s('title', {}, label),
      s('path.fill', { d: outline }),
      s('path.pattern', { d: outline, fill: `url(#pattern-${nth})` }),
      text && s('rect.plate', { x: from + 6, y: at + 6, width: name + 8, height: 20, rx: 4 }),
      text && s('text', { x: from + 10, y: at + 21 }, text),
    );
  };
  return s(
    'svg.history',
    {
      viewBox: `0 0 ${width} ${bottom + 40}`,
      width,
      height: bottom + 40,
      role: 'group',
      'aria-label': `Images of tag ${tag} in each registry`,
    },
    s(
      'defs',
      {},
      digests.map((_, nth) =>
        s(
          'pattern',
          { id: `pattern-${nth}`, width: 8, height: 8, patternUnits: 'userSpaceOnUse', class: `hue-${nth % HUES}` },
          s('path', { d: patternOf(nth) }),
        ),
      ),
    ),
    axis(
      [...new Set([...changes, last])].sort((a, b) => a - b),
      x,
      bottom,
      width,
    ),
    registries.map((registry) =>
      s('text.registry', { x: 0, y: top(registry) + (narrow ? -6 : 21) }, fitted(registry, narrow ? width : left, 550)),
    ),
    history.map(drawn),
  );
}

// Six colours, and six patterns with a shift after each round of colours: colour is not the only sign.
const HUES = 6;
const PATTERNS = ['M0 0', 'M0 8 8 0', 'M4 0V8', 'M0 0 8 8', 'M0 4H8', 'M3 4h2'];
const patternOf = (nth) => PATTERNS[(nth + Math.floor(nth / HUES)) % PATTERNS.length];

const bandDigests = (history) => [...new Set(history.map((band) => band.digest))];

function bandKey({ repository, history }) {
  const entry = (digest, nth) =>
    h(
      'li',
      {},
      s(
        'svg.swatch.history',
        { viewBox: '0 0 22 14', 'aria-hidden': 'true', class: `swatch history hue-${nth % HUES}` },
        ['fill', 'pattern'].map((part) =>
          s(`rect.${part}`, {
            x: 0.7,
            y: 0.7,
            width: 20.6,
            height: 12.6,
            rx: 2,
            fill: part === 'pattern' && `url(#pattern-${nth})`,
          }),
        ),
      ),
      h('a.digest', { href: HASHES.image(`${repository}@${digest}`) }, short(digest)),
    );
  return h('ul.key', { 'aria-label': 'Images' }, bandDigests(history).map(entry));
}

// ---------------------------------------------------------------------------------------------------------------------
// Views

function tile(label, value, note, tone) {
  return h(
    'div.tile',
    { class: `tile ${tone ?? ''}` },
    h('dt', {}, label),
    h('dd', {}, h('span.value', {}, value), note && h('span.note', {}, note)),
  );
}

function tiles({ registries, late, open, deletions, deletions_at_least: atLeast, next_due: due }) {
  const sum = (pick) => registries.reduce((all, registry) => all + (pick(registry) ?? 0), 0);
  const accounts = new Set(registries.map(({ registry }) => registry.split('/')[0])).size;
  const orphans = sum(({ drifts }) => drifts?.orphans);
  const count = (value) => `${number(value)}${atLeast ? '+' : ''}`;
  const stopped = deletions.held + deletions.awaiting_approval;
  return h(
    'dl.tiles',
    { 'data-key': 'tiles' },
    tile(
      'Images',
      number(sum(({ images }) => images)),
      `in ${plural(registries.length, 'registry')}, ${plural(accounts, 'account')}`,
    ),
    tile('Orphans', number(orphans), link(HASHES.drift(), 'replicas without a source'), orphans > 0 && 'warn'),
    tile(
      'Not replicated',
      number(late.length),
      late.length > 0 ? 'late, failed or missing' : 'no expected replica is late',
      late.length > 0 && 'bad',
    ),
    tile(
      'Deletions pending',
      count(deletions.pending),
      due && deletions.pending > 0 ? ['next ', countdown(due)] : 'none',
      deletions.pending > 0 && 'warn',
    ),
    tile(
      'Deletions blocked',
      count(stopped),
      `${number(deletions.held)} on hold, ${number(deletions.awaiting_approval)} to approve`,
      stopped > 0 && 'stop',
    ),
    tile(
      'Alerts open',
      number(open.length),
      link(HASHES.alerts(), open.length > 0 ? 'all open alerts' : 'recent alerts'),
      open.length > 0 && 'bad',
    ),
  );
}

function lateTable(late) {
  const columns = [
    { head: 'Image', row: true },
    { head: 'Destination' },
    { head: 'Source' },
    { head: 'Pushed' },
    { head: 'Reason' },
  ];
  const row = (one) => ({
    key: `${referenceOf(one)}|${one.source}|${one.destination}`,
    cells: [
      imageLink(one, one.tag),
      place(one.destination),
      place(one.source),
      age(one.pushed_at),
      [badge(one.severity, one.kind_text), ': ', prose(one.why)],
    ],
  });
  return h(
    'div.group',
    { 'data-key': 'late' },
    table({ text: 'Not replicated, newest push first' }, columns, late.map(row)),
  );
}

const incidentItem = (incident) =>
  h(
    'li',
    {
      class: `trouble ${TONES[incident.severity]}`,
      'data-key': `incident|${incident.kind}|${incident.source}|${incident.destination}`,
    },
    h(
      'p.trouble-head',
      {},
      badge(incident.severity, incident.kind_text),
      h('span.lane', {}, place(incident.source), ' → ', place(incident.destination)),
    ),
    h('p', {}, prose(incident.why)),
    h(
      'p.quiet',
      {},
      `since ${time(incident.opened_at)}, `,
      age(incident.opened_at),
      `; ${plural(incident.open, 'image')} open, ${number(incident.count)} total`,
      incident.arrived > 0 && `, ${number(incident.arrived)} recovered`,
      '; first: ',
      imageLink(incident.image),
    ),
    h('p.next', {}, '→ ', prose(incident.remediation)),
  );

// Registries whose events do not arrive: nothing that is shown about them is current.
const silent = ({ registries }) => registries.filter(({ events }) => ['bad', 'warn'].includes(TONES[events.status]));

const silentItem = ({ registry, events }) =>
  h(
    'li',
    { class: `trouble ${TONES[events.status]}`, 'data-key': `events|${registry}` },
    h('p.trouble-head', {}, badge(events.status, events.status_text), h('span.lane', {}, place(registry))),
    h(
      'p.quiet',
      {},
      'last heartbeat ',
      events.heartbeat_at ? age(events.heartbeat_at) : 'never',
      '; what is shown of this registry may be outdated',
    ),
    h('p.next', {}, '→ ', prose('`ecr-lineage doctor` checks the path from that registry')),
    mayChange() && forgetForm(registry),
    answeredAt(`forget|${registry}`),
  );

async function forgetRegistry(event, registry) {
  event.preventDefault();
  const reason = event.target.elements.reason.value;
  const key = `forget|${registry}`;
  try {
    const answer = await ask('registries/forget', { body: { registry, ...(reason && { reason }) } });
    here.acted.set(key, { text: answer.summary });
    announce(answer.summary);
  } catch (problem) {
    if (!(problem instanceof Problem)) throw problem;
    here.acted.set(key, { problem });
  }
  await refresh();
}

function forgetForm(registry) {
  const id = `reason-${registry.replace('/', '-')}`;
  return h(
    'details',
    { 'data-key': `forget-${registry}` },
    h('summary', {}, 'Forget the registry, if it shall have no stack'),
    h(
      'form.reset',
      { onsubmit: (event) => forgetRegistry(event, registry) },
      h('label', { for: id }, 'Reason (optional), shown to every reader'),
      h('input', { id, name: 'reason', type: 'text', maxlength: 1000 }),
      h('button', { type: 'submit' }, 'Forget the registry'),
    ),
  );
}

const forgottenBy = ({ at, by, reason }) =>
  h('p.quiet', {}, `by ${by}, `, age(at), reason && `: ${reason}`);

function attention({ open, late, breakers, registries }) {
  const opened = Object.entries(breakers).filter(([, breaker]) => breaker.opened);
  const few = late.slice(0, 5);
  const without = silent({ registries });
  if (opened.length + open.length + late.length + without.length === 0)
    return section('now', 'Now', allWell('No open alerts.'));
  return section(
    'now',
    'Needs attention',
    without.length > 0 && h('ul.troubles', {}, without.slice(0, 5).map(silentItem)),
    without.length > 5 && h('p.quiet', {}, `and ${plural(without.length - 5, 'more registry')}`),
    opened.length + open.length > 0 &&
      h('ul.troubles', {}, opened.map(openBreaker), open.slice(0, 5).map(incidentItem)),
    open.length > 5 && h('p.quiet', {}, link(HASHES.alerts(), `All ${number(open.length)} open alerts`)),
    few.length > 0 && lateTable(few),
    late.length > few.length && h('p.quiet', {}, `and ${number(late.length - few.length)} more`),
  );
}

function breakerSection({ breakers }) {
  const closed = Object.entries(breakers).filter(([, breaker]) => !breaker.opened);
  return closed.length > 0 && section('breakers', 'Breakers', h('ul.plain', {}, closed.map(closedBreaker)));
}

function drillSection({ restore_drill: drill }) {
  if (!drill) return undefined;
  const all = drill.restorable === drill.tried;
  return section(
    'drill',
    'Restore drill',
    h('p', {}, sign(all ? 'passed' : 'stopped'), drill.summary, h('span.quiet', {}, ' by ', who(drill.by))),
  );
}

function lagSection(lag) {
  if (!lag) return section('lag', 'Replication lag', empty('Loading…'));
  const days = list(lag.days);
  const columns = [
    { head: 'Day', row: true },
    ...['Arrived', 'Late', 'p50', 'p90', 'p99', 'Worst', `Within ${lag.threshold_seconds / 60} min`].map((head) => ({
      head,
      class: NUMBER,
    })),
  ];
  const figures = (one) => [
    number(one.count),
    number(one.not_arrived),
    ...['p50', 'p90', 'p99', 'worst'].map((name) => {
      const seconds = one[`${name}_seconds`];
      return seconds === undefined ? '' : duration(seconds);
    }),
    `${(Math.floor(one.within * 1_000) / 10).toFixed(1)} %`,
  ];
  const lanes = [...list(lag.lanes)].sort((a, b) => b.not_arrived - a.not_arrived || (b.p99_seconds ?? 0) - (a.p99_seconds ?? 0)).slice(0, 50);
  return section(
    'lag',
    'Replication lag',
    days.length > 0
      ? h('figure', { 'data-key': 'plot' }, lagPicture({ ...lag, days }))
      : lanes.length === 0 && empty('No replication with a known push time in this period.'),
    days.length > 0 &&
      h(
        'details',
        { 'data-key': 'days' },
        h('summary', {}, 'By day, as a table'),
        table(
          { text: 'Lag by day', hidden: true },
          columns,
          days.map((day) => ({ key: day.day, cells: [day.day, ...figures(day)] })),
        ),
      ),
    lanes.length > 0 &&
      h(
        'details',
        { 'data-key': 'lanes' },
        h('summary', {}, 'By source, destination and repository'),
        table(
          { text: 'Lag by source, destination and repository, slowest first', hidden: true },
          [{ head: 'Repository', row: true }, { head: 'From' }, { head: 'To' }, ...columns.slice(1)],
          lanes.map((lane) => ({
            key: `${lane.source}|${lane.destination}|${lane.repository}`,
            cells: [
              link(HASHES.repository(lane.repository), lane.repository),
              place(lane.source),
              place(lane.destination),
              ...figures(lane),
            ],
          })),
        ),
      ),
  );
}

function registriesSection({ registries }) {
  const accounts = grouped(registries, accountOf);
  const columns = [
    { head: 'Region', row: true },
    ...['Images', 'Orphans', 'Missing', 'Never replicated', 'Tags differ'].map((head) => ({ head, class: NUMBER })),
    { head: 'Last listed', class: NUMBER },
    { head: 'Last event', class: NUMBER },
    { head: 'Last heartbeat', class: NUMBER },
    { head: 'Events' },
  ];
  const counts = ({ drifts }) => [drifts?.orphans, drifts?.missing, drifts?.never_copied, drifts?.tags];
  const figure = (value) =>
    value === undefined ? '–' : h('span', { class: value > 0 ? 'some' : 'none' }, number(value));
  const row = (one) => ({
    key: one.registry,
    cells: [
      one.registry.split('/')[1],
      one.images === undefined ? '–' : number(one.images),
      ...counts(one).map(figure),
      one.listed_at ? age(one.listed_at) : 'never',
      one.events.event_at ? age(one.events.event_at) : '–',
      one.events.heartbeat_at ? age(one.events.heartbeat_at) : '–',
      [sentence(one.events.status, one.events.status_text), one.events.forgotten && forgottenBy(one.events.forgotten)],
    ],
  });
  return section(
    'registries',
    'Registries',
    [...accounts].map(([account, members]) =>
      h('div.group', { 'data-key': account }, table({ text: `Account ${account}` }, columns, members.map(row))),
    ),
    h('p', {}, link(HASHES.search(''), 'All repositories')),
  );
}

const accountOf = ({ registry }) => registry.split('/')[0];

function grouped(items, by) {
  const groups = new Map();
  for (const item of items) groups.set(by(item), [...(groups.get(by(item)) ?? []), item]);
  return groups;
}

const nothingYet = () =>
  h(
    'div.welcome',
    { 'data-key': 'welcome' },
    h('h2', {}, 'No registry is known yet'),
    h('p', {}, 'A registry is listed here after its first event. There are three ways to send one:'),
    h(
      'ol',
      {},
      h(
        'li',
        {},
        h('strong', {}, 'In AWS: '),
        prose('deploy `infra/registry.yaml`, which sends ECR events to the hub, then push an image.'),
      ),
      h(
        'li',
        {},
        h('strong', {}, 'On your machine: '),
        prose('`ecr-lineage local` simulates registries; push an image to the address that it prints.'),
      ),
      h(
        'li',
        {},
        h('strong', {}, 'From files: '),
        prose('`ecr-lineage ingest FILE` reads archived events and CloudTrail log files.'),
      ),
    ),
  );

// How long a report of lag is good enough, in milliseconds.
const LAG_LASTS = 60_000;

const overview = {
  title: () => 'Overview',

  async load(_, signal) {
    // The report changes slowly, and its request reads more than all other requests.
    if (!state.lag || Date.now() - state.lagAt > LAG_LASTS) {
      state.lag = await ask('lag', { signal });
      state.lagAt = Date.now();
    }
    return {};
  },

  render() {
    const known = state.overview;
    if (!known) return [empty('Loading…')];
    if (known.registries.length === 0) return [nothingYet()];
    return [
      pauses(),
      tiles(known),
      attention(known),
      lagSection(state.lag),
      registriesSection(known),
      breakerSection(known),
      drillSection(known),
    ];
  },
};

// A digest without a repository is searched page by page.
async function searched(text, signal) {
  const found = { repositories: [], tags: [], images: [], pages: 0 };
  let cursor;
  do {
    const answer = await ask(query('search', { q: text, cursor }), { signal });
    for (const name of ['repositories', 'tags', 'images']) found[name].push(...list(answer[name]));
    found.pages += 1;
    cursor = answer.next_cursor;
    here.looked = found.pages;
    if (cursor) render();
  } while (cursor && found.repositories.length + found.tags.length + found.images.length === 0);
  return found;
}

// The only hit, if there is exactly one.
function onlyHit({ repositories, tags, images }) {
  if (repositories.length + tags.length + images.length !== 1) return undefined;
  if (repositories.length === 1) return HASHES.repository(repositories[0]);
  return HASHES.image(tags[0] ?? referenceOf(images[0]));
}

const hits = (key, title, items) =>
  items.length > 0 &&
  section(
    key,
    title,
    h(
      'ul.hits',
      {},
      items.map((item) => h('li', {}, item)),
    ),
  );

const search = {
  title: (text) => (text ? `Search: ${text}` : 'Repositories'),

  async load(text, signal) {
    if (!text) {
      const found = await pages('repositories', {}, here.wanted.repositories ?? 1, signal);
      return { repositories: found.all('repositories'), more: found.more };
    }
    // Search results are not refreshed.
    if (here.data) return here.data;
    const found = await searched(text, signal);
    const only = onlyHit(found);
    // Unless the user started another search.
    const now = routeOf(location.hash);
    if (only && now.view === 'search' && now.argument === text) location.replace(only);
    return found;
  },

  render(found, text) {
    if (!found)
      return [
        empty(
          here.looked > 0
            ? `Searching all repositories for ${text}: ${plural(here.looked, 'page')} so far…`
            : 'Searching…',
        ),
      ];
    if (!text) return everyRepository(found);
    const { repositories, tags, images } = found;
    if (repositories.length + tags.length + images.length === 0) return [nothingFound(text, found.pages)];
    return [
      hits(
        'tags',
        'Tag',
        tags.flatMap((name) => [link(HASHES.image(name), name), link(HASHES.tag(name), `History of ${name}`)]),
      ),
      hits(
        'images',
        plural(images.length, 'image'),
        images.map((image) => imageLink(image)),
      ),
      hits(
        'repositories',
        plural(repositories.length, 'repository'),
        repositories.map((name) => link(HASHES.repository(name), name)),
      ),
    ];
  },
};

function everyRepository({ repositories, more }) {
  if (repositories.length === 0) return [empty('No repository is known yet.')];
  const columns = [{ head: 'Repository', row: true }, { head: 'Registries' }];
  const row = ({ repository, registries }) => ({
    key: repository,
    cells: [
      link(HASHES.repository(repository), repository),
      h(
        'span.places',
        {},
        registries.map((registry) => place(registry)),
      ),
    ],
  });
  return [
    table({ text: 'Repositories', hidden: true }, columns, repositories.map(row)),
    more && moreButton('repositories', 'repositories'),
  ];
}

const nothingFound = (text, looked) =>
  h(
    'div.welcome',
    { 'data-key': 'nothing' },
    h('h2', {}, 'Nothing found'),
    h(
      'p',
      {},
      'No repository, tag or digest matches ',
      h('code', {}, text),
      looked > 1 && `; ${plural(looked, 'page')} of digests searched`,
      '. You can search for:',
    ),
    h(
      'ul',
      {},
      h('li', {}, prose('the beginning of a repository name: `team/a`')),
      h('li', {}, prose('a tag, with its repository: `team/app:v1.4.2`')),
      h('li', {}, prose('a digest or its beginning: `4d6a4344`, `sha256:4d6a…`, `team/app@4d6a`')),
      h('li', {}, 'any of these with the host name of the registry, as container tools print them'),
    ),
    h('p', {}, link(HASHES.search(''), 'All repositories')),
  );

const repositoryView = {
  title: (name) => name,

  async load(name, signal) {
    const found = await pages('images', { repository: name }, here.wanted.images ?? 1, signal);
    const { status_texts: statuses, replica_texts: replicas } = found.first;
    return { images: found.all('images'), statuses, replicas, more: found.more };
  },

  render(found, name) {
    if (!found) return [empty('Loading…')];
    const { images } = found;
    if (images.length === 0) return [empty('This repository has no known image.')];
    const columns = [{ head: 'Image', row: true }, { head: 'Tags' }, { head: 'Pushed (UTC)' }, { head: 'Regions' }];
    const where = ([registry, status]) =>
      h(
        'span',
        { class: `where ${TONES[status]}`, title: `${registry}: ${found.statuses[status]}` },
        sign(status),
        h('span.hidden', {}, `${found.statuses[status]} in ${registry.split('/')[0]} `),
        h('span', {}, registry.split('/')[1]),
      );
    const lacks = ([registry, state]) =>
      h(
        'span',
        { class: `where ${TONES[state]}`, title: `${registry}: ${found.replicas[state]}` },
        sign(state),
        h('span.hidden', {}, `${found.replicas[state]} in ${registry.split('/')[0]} `),
        h('span', {}, registry.split('/')[1]),
      );
    const row = (image) => ({
      key: image.digest,
      cells: [
        h('a.digest', { href: HASHES.image(`${name}@${image.digest}`) }, short(image.digest)),
        h(
          'span.tags',
          {},
          list(image.tags).length > 0 ? image.tags.map((tag) => tagLink(name, tag)) : h('span.quiet', {}, 'untagged'),
        ),
        image.pushed_at ? [when(image.pushed_at), ' ', h('span.quiet', {}, age(image.pushed_at))] : '',
        h('span.places', {}, Object.entries(image.registries).map(where), Object.entries(image.not_arrived ?? {}).map(lacks)),
      ],
    });
    return [
      h(
        'p.lead',
        { 'data-key': 'lead' },
        `${plural(images.length, 'image')}${found.more ? ' so far' : ''}, newest push first. `,
        legend(found.statuses),
      ),
      table({ text: `Images of ${name}`, hidden: true }, columns, images.map(row)),
      found.more && moreButton('images', 'images'),
    ];
  },
};

const legend = (statuses) =>
  h(
    'span.legend',
    {},
    Object.entries(statuses).map(([name, word]) => badge(name, word)),
  );

// A tag that moved away is not a fact of this image: the other image has it.
function timelineOf({ timeline, registries }) {
  const facts = timeline.map((fact) => ({
    at: fact.time,
    registry: fact.registry,
    text: fact.summary,
    tone: toneOf(fact),
  }));
  const moves = registries.flatMap((where) =>
    list(where.moved_tags).map((moved) => ({
      at: moved.at,
      registry: where.registry,
      text: moved.summary,
      tone: 'quiet',
    })),
  );
  return [...facts, ...moves].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

const timelineItem = (event) =>
  h(
    'li',
    { class: event.tone },
    when(event.at),
    h('span.event-place', {}, place(event.registry)),
    ' ',
    h('span.event', {}, event.text),
  );

function whereTable(image) {
  const columns = ['Registry', 'Status', 'First seen (UTC)', 'Tags', 'Origin', 'Deleted'].map((head, at) => ({
    head,
    row: at === 0,
  }));
  const came = (where) => [
    where.pushed_at &&
      h(
        'div',
        {},
        where.cached_from ? `brought from ${where.cached_from} by the pull through cache ` : 'pushed ',
        when(where.pushed_at),
        where.pushed_by ? ` by ${where.pushed_by}` : '',
      ),
    where.replicated_from.map((from) =>
      h('div', {}, 'replicated from ', place(from.registry), ' ', when(from.at), lagText(from) && `, ${lagText(from)}`),
    ),
  ];
  // The destinations of replication rules that lack something, and why. A deletion is shown with its cause.
  const lacking = list(image.expected).filter(({ why }) => why);
  const lacks = ({ registry, deleted }) => !deleted && lacking.find((one) => one.registry === registry);
  const row = (where) => ({
    key: where.registry,
    cells: [
      place(where.registry),
      h(
        'span.badges',
        {},
        badge(where.status, where.status_text),
        where.orphan && badge('orphan', 'orphan'),
        lacks(where) && badge(lacks(where).state, lacks(where).state_text),
      ),
      where.since && when(where.since),
      where.tags.length > 0 &&
        h(
          'span.tags',
          {},
          where.tags.map((tag) => tagLink(image.repository, tag)),
        ),
      [...came(where), lacks(where) && h('div', {}, lacks(where).why)],
      where.deleted && h('span', {}, when(where.deleted.at), ` ${where.deleted.cause_text}`),
    ],
  });
  const known = image.registries.map(({ registry }) => registry);
  const expected = lacking.filter(({ registry }) => !known.includes(registry)).map((one) => ({
    key: one.registry,
    cells: [place(one.registry), badge(one.state, one.state_text), '', '', one.why, ''],
  }));
  return table({ text: 'In each registry', hidden: true }, columns, [...image.registries.map(row), ...expected]);
}

// A plain link. If the API requires the key, the page fetches the file and offers it as a download.
function fileLink(reference, format, ending, text) {
  const path = query('graph', { image: reference, format });
  const key = keyOfFiles(reference);
  const save = async (event) => {
    event.preventDefault();
    here.acted.delete(key);
    try {
      const answer = await answerTo(path);
      const url = URL.createObjectURL(await answer.blob());
      h('a', { href: url, download: `${reference.replace(/[^A-Za-z0-9._-]+/g, '-')}.${ending}` }).click();
      URL.revokeObjectURL(url);
    } catch (error) {
      here.acted.set(key, { problem: asProblem(error) });
    }
    render();
  };
  return h('a', { href: `v1/${path}`, onclick: sessionStorage.getItem(KEY) ? save : undefined }, text);
}

const keyOfFiles = (reference) => `files|${reference}`;

function formats(reference) {
  const problem = here.acted.get(keyOfFiles(reference))?.problem;
  return [
    h(
      'p.quiet',
      {},
      'Download this lineage as ',
      fileLink(reference, 'json', 'json', 'JSON'),
      ', ',
      fileLink(reference, 'dot', 'dot', 'DOT'),
      ', ',
      fileLink(reference, 'mermaid', 'mmd', 'Mermaid'),
    ),
    problem && problemBlock(problem),
  ];
}

function imageArticle(image, alone) {
  const { repository, digest, registries, deletions, timeline } = image;
  const key = short(digest);
  const tags = [...new Set(registries.flatMap((where) => where.tags))].sort();
  const reference = referenceOf(image);
  return h(
    'article',
    { 'data-key': key, 'aria-label': `${repository}@${key}` },
    !alone && h('h2.image-name', {}, `${repository}@${key}`),
    h(
      'div.image-head',
      {},
      h('p', {}, link(HASHES.repository(repository), repository), ' ', h('code.whole', {}, digest)),
      h('p.image-acts', {}, copyButton(digest, 'digest'), copyButton(reference, 'reference')),
      tags.length > 0 &&
        h(
          'p.tags',
          {},
          tags.map((tag) => tagLink(repository, tag)),
        ),
    ),
    sectionOf(
      image,
      alone,
      'lineage',
      'Lineage',
      registries.length > 0
        ? h('figure.panel', {}, lineagePicture(image))
        : empty('No registry is known to have this image.'),
      h(
        'details',
        { 'data-key': 'table', open: true },
        h('summary', {}, 'In each registry, as a table'),
        whereTable(image),
      ),
      formats(reference),
    ),
    sectionOf(
      image,
      alone,
      'deletions',
      'Deletions',
      deletions.length > 0
        ? h(
            'ul.deletions',
            {},
            deletions.map((deletion) => deletionItem(deletion, { ofImage: true })),
          )
        : empty('No deletion of a replica is recorded.'),
    ),
    sectionOf(
      image,
      alone,
      'timeline',
      'Timeline',
      image.timeline_omitted > 0 &&
        h(
          'p.quiet',
          {},
          prose(
            `${plural(image.timeline_omitted, 'older fact')} not shown; \`ecr-lineage show ${reference}\` prints all.`,
          ),
        ),
      timeline.length > 0
        ? h('ol.timeline', {}, timelineOf(image).map(timelineItem))
        : empty('No facts are recorded.'),
    ),
  );
}

const named = (reference) => {
  const [repository, digest] = reference.split('@');
  return digest ? `${repository}@${short(digest)}` : reference;
};

const imageView = {
  title: (reference) => named(reference),

  async load(reference, signal) {
    const { images } = await ask(query('lineage', { image: reference }), { signal });
    // The API leaves out empty lists.
    return {
      images: images.map((image) => ({
        ...image,
        registries: list(image.registries),
        deletions: list(image.deletions),
        timeline: list(image.timeline),
      })),
    };
  },

  render(found, reference) {
    if (!found) return [empty('Loading…')];
    const { images } = found;
    const tag = !reference.includes('@') && reference.includes(':');
    return [
      images.length > 1 &&
        h(
          'p.notice',
          { 'data-key': 'several' },
          sign('warning'),
          `Registries disagree: the tag is set on ${images.length} images. All of them are below.`,
        ),
      tag && h('p.quiet', { 'data-key': 'history' }, link(HASHES.tag(reference), `History of ${reference}`)),
      ...images.map((image) => imageArticle(image, images.length === 1)),
    ];
  },
};

const tagView = {
  title: (name) => name,

  async load(name, signal) {
    return ask(query('history', { tag: name }), { signal });
  },

  render(found, name) {
    if (!found) return [empty('Loading…')];
    if (found.history.length === 0) return [empty('This tag is not known.')];
    const columns = ['Registry', 'Image', 'From (UTC)', 'To (UTC)', 'End'].map((head, at) => ({
      head,
      row: at === 0,
    }));
    const then = (band) => {
      if (!band.ended) return badge('present', band.summary);
      if (band.ended.why !== 'moved') return badge('absent', band.summary);
      return h(
        'span',
        {},
        `→ ${band.summary}, `,
        h('a.digest', { href: HASHES.image(`${found.repository}@${band.ended.to}`) }, short(band.ended.to)),
      );
    };
    const row = (band) => ({
      key: `${band.registry}|${band.digest}|${band.from}`,
      cells: [
        place(band.registry),
        h('a.digest', { href: HASHES.image(`${found.repository}@${band.digest}`) }, short(band.digest)),
        when(band.from),
        band.ended ? when(band.ended.at) : 'now',
        then(band),
      ],
    });
    const scale = (event) => {
      here.toScale = event.target.checked;
      render();
    };
    return [
      h(
        'p.lead',
        { 'data-key': 'lead' },
        link(HASHES.repository(found.repository), found.repository),
        ' · ',
        link(HASHES.image(name), 'current image'),
      ),
      section(
        'bands',
        'Images of this tag over time',
        h(
          'figure.panel',
          {},
          historyPicture(found),
          h(
            'figcaption',
            {},
            bandKey(found),
            h('label', {}, h('input', { type: 'checkbox', onchange: scale }), ' Time axis to scale'),
            h('span.quiet', {}, ' If not to scale, long intervals are shortened.'),
          ),
        ),
      ),
      section(
        'changes',
        'History as a table',
        table({ text: `History of ${name}`, hidden: true }, columns, found.history.map(row)),
      ),
    ];
  },
};

const toggle = (status, text) => {
  const change = (event) => {
    if (event.target.checked) here.shown.add(status);
    else here.shown.delete(status);
    refresh();
  };
  return h(
    'label.toggle',
    { 'data-key': status },
    h('input', { type: 'checkbox', onchange: change }),
    ` Show ${text}`,
  );
};

function deletionGroup(status, text, deletions) {
  return (
    deletions.length > 0 &&
    section(
      status,
      [
        sign(status, { class: `icon ${TONES[status]}` }),
        `${capital(text)} `,
        h('span.count', {}, number(deletions.length)),
      ],
      h(
        'ul.deletions',
        {},
        deletions.map((deletion) => deletionItem(deletion)),
      ),
    )
  );
}

const deletionsView = {
  title: () => 'Deletions',

  async load(_, signal) {
    const queue = await pages('deletions', {}, here.wanted.deletions ?? 1, signal);
    const over =
      [...here.shown].length > 0 &&
      (await pages('deletions', { status: [...here.shown].join(','), from: '30d' }, here.wanted.over ?? 1, signal));
    return {
      deletions: [...queue.all('deletions'), ...(over ? over.all('deletions') : [])],
      statuses: queue.first.status_texts,
      more: queue.more,
      moreOver: over && over.more,
    };
  },

  render(found) {
    if (!found) return [empty('Loading…')];
    const byStatus = grouped(found.deletions, ({ status }) => status);
    const group = (status) => deletionGroup(status, found.statuses[status], byStatus.get(status) ?? []);
    const queued = QUEUE.some((status) => byStatus.has(status));
    const due = state.overview?.next_due;
    return [
      h(
        'div.toolbar',
        { 'data-key': 'toolbar' },
        h(
          'p.lead',
          {},
          'Replicas whose source was deleted. ',
          queued && due && ['Next deletion ', countdown(due), '.'],
        ),
        h(
          'fieldset',
          {},
          h('legend.hidden', {}, 'Completed in the last 30 days'),
          OVER.map((status) => toggle(status, found.statuses[status])),
        ),
      ),
      controls(),
      !queued && allWell('No deletion is pending, on hold or awaiting approval.'),
      QUEUE.map(group),
      found.more && moreButton('deletions', 'deletions'),
      OVER.filter((status) => here.shown.has(status)).map(
        (status) =>
          group(status) ||
          h('p.empty', { 'data-key': `no-${status}` }, `None ${found.statuses[status]} in the last 30 days.`),
      ),
      found.moreOver && moreButton('over', 'completed deletions'),
    ];
  },
};

const alertSign = ({ state: at, severity }) =>
  at === 'resolved' ? badge('over', at) : badge(severity, severity);

const alertItem = (alert) =>
  h(
    'li.alert',
    { 'data-key': alert.id },
    h('div.alert-head', {}, alertSign(alert), h('span.quiet', {}, when(alert.time))),
    h(
      'div',
      {},
      h('p', {}, h('strong', {}, alert.kind_text), ': ', prose(alert.message)),
      alert.state !== 'resolved' && h('p.next', {}, '→ ', prose(alert.remediation)),
      alert.digest && h('p.quiet', {}, imageLink(alert)),
    ),
  );

const alertsView = {
  title: () => 'Alerts',

  async load(_, signal) {
    const found = await pages('alerts', {}, here.wanted.alerts ?? 1, signal);
    return { open: list(found.first.open), recent: found.all('alerts'), more: found.more };
  },

  render(found) {
    if (!found) return [empty('Loading…')];
    const { open, recent, more } = found;
    return [
      section(
        'open',
        'Open',
        open.length > 0
          ? h('ul.troubles', {}, open.map(incidentItem))
          : allWell('No open alerts.'),
      ),
      section(
        'recent',
        'Recent',
        recent.length > 0
          ? h('ol.alerts', {}, recent.map(alertItem))
          : empty('No alert in the last days.'),
      ),
      more && moreButton('alerts', 'alerts'),
    ];
  },
};

const signOf = ({ drift, expected }) => {
  if (drift === 'tags') return 'tags';
  return expected ? 'missing' : 'never';
};

function orphanRow(orphan) {
  const lost = ([source, at]) => h('div', {}, place(source), ' ', at && when(at));
  return {
    key: `${referenceOf(orphan)}|${orphan.registry}`,
    cells: [
      imageLink(orphan),
      place(orphan.registry),
      sentence(orphan.status, orphan.summary),
      Object.entries(orphan.sources).map(lost),
    ],
  };
}

const driftView = {
  title: () => 'Drift',

  async load(_, signal) {
    const [differences, orphans] = await Promise.all([
      pages('drift', {}, here.wanted.differences ?? 1, signal),
      pages('orphans', {}, here.wanted.orphans ?? 1, signal),
    ]);
    return {
      ...differences.first,
      remediation: differences.any('remediation'),
      differences: differences.all('differences'),
      moreDifferences: differences.more,
      orphans: orphans.all('orphans'),
      moreOrphans: orphans.more,
    };
  },

  render(found) {
    if (!found) return [empty('Loading…')];
    const row = (one) => ({
      key: `${referenceOf(one)}|${one.source}|${one.destination}|${one.drift}`,
      cells: [imageLink(one), sentence(signOf(one), one.summary)],
    });
    const columns = (heads) => heads.map((head, at) => ({ head, row: at === 0 }));
    const listed = Object.entries(found.basis?.registries ?? {});
    return [
      section(
        'differences',
        'Differences between sources and replicas',
        found.differences.length > 0
          ? table(
              { text: 'Differences', hidden: true },
              columns(['Image', 'Difference']),
              found.differences.map(row),
            )
          : noFindings(listed, 'No differences.'),
        found.remediation && h('p.next', {}, '→ ', prose(found.remediation)),
        found.moreDifferences && moreButton('differences', 'differences'),
      ),
      section(
        'orphans',
        'Orphans: replicas whose source no longer has the image',
        found.orphans.length > 0
          ? table(
              { text: 'Orphans', hidden: true },
              columns(['Image', 'Registry', 'Status', 'Deleted at the source']),
              found.orphans.map(orphanRow),
            )
          : noFindings(listed, 'No orphans: no source of a present replica is known to have deleted the image.'),
        found.moreOrphans && moreButton('orphans', 'orphans'),
      ),
      section(
        'listed',
        'Last listed',
        h(
          'ul.plain.columns',
          {},
          listed.map(([registry, known]) =>
            h('li', {}, place(registry), ' ', h('span.quiet', {}, known.listed_at ? age(known.listed_at) : 'never')),
          ),
        ),
        list(found.unread).map((registry) => h('p.quiet', {}, 'Replication rules not read yet: ', place(registry))),
      ),
    ];
  },
};

const VIEWS = {
  overview,
  search,
  repository: repositoryView,
  image: imageView,
  tag: tagView,
  deletions: deletionsView,
  alerts: alertsView,
  drift: driftView,
};

// ---------------------------------------------------------------------------------------------------------------------
// The page

const NAV = [
  ['overview', 'Overview', () => 0],
  ['deletions', 'Deletions', ({ deletions }) => deletions.pending + deletions.awaiting_approval],
  ['alerts', 'Alerts', ({ open }) => open.length],
  ['drift', 'Drift', () => 0],
];
const COUNTED = { deletions: 'pending or awaiting approval', alerts: 'open' };

function nav() {
  const item = ([view, label, count]) => {
    const counted = state.overview ? count(state.overview) : 0;
    return h(
      'li',
      {},
      h(
        'a',
        { href: HASHES[view](), 'aria-current': here.view === view && 'page' },
        label,
        counted > 0 && [' ', h('span.count', {}, number(counted), h('span.hidden', {}, ` ${COUNTED[view]}`))],
      ),
    );
  };
  return h('nav', { id: 'nav', 'aria-label': 'Main' }, h('ul', {}, NAV.map(item)));
}

function foot() {
  const known = state.overview;
  return h(
    'footer',
    { id: 'foot' },
    known &&
      h(
        'p',
        {},
        known.caller && `${known.caller}, `,
        known.may_change ? 'read-write' : 'read-only',
        h('span.sep', {}, '·'),
        'server time ',
        h('time', { datetime: known.now }, time(known.now)),
        ' UTC',
      ),
  );
}

function notice() {
  const since = state.unreachableSince;
  return h(
    'p.notice.quiet-notice',
    { id: 'notice', role: 'status', hidden: !since },
    since && `Server not reachable since ${since} UTC. Retrying.`,
  );
}

function body() {
  const { view, argument, data } = here;
  const problem = state.problem ?? here.problem;
  const heading = h('h1', { 'data-key': 'h1', tabindex: -1 }, VIEWS[view].title(argument));
  const content = problem && (!data || !problem.passes) ? [problemBlock(problem)] : rendered(view, data, argument);
  return h(
    'main',
    { id: 'main', class: `view-${view}` },
    heading,
    h('div.content', { 'data-key': `${view}/${argument}` }, content),
  );
}

// An error in one view must not stop polling.
function rendered(view, data, argument) {
  try {
    return VIEWS[view].render(data, argument);
  } catch (error) {
    return [problemBlock(asProblem(error))];
  }
}

function render() {
  const focused = document.activeElement;
  const around = focused?.closest?.('[data-key][tabindex]');
  const title = VIEWS[here.view].title(here.argument);
  document.title = here.view === 'overview' ? 'ecr-lineage' : `${title} – ecr-lineage`;
  morph($('nav'), nav());
  morph($('notice'), notice());
  morph($('main'), body());
  morph($('foot'), foot());
  if (focused === document.activeElement || focused === document.body) return;
  (focused?.isConnected ? focused : around)?.focus({ preventScroll: true });
}

async function refreshOverview() {
  const before = state.overview && summary(state.overview);
  state.overview = await ask('overview');
  clock.tell(state.overview.now);
  const after = summary(state.overview);
  if (before && before !== after) announce(after);
}

// Announced to screen readers when it changes.
function summary({ deletions, late, open, registries }) {
  const pending = `${plural(deletions.pending, 'deletion')} pending`;
  const without = silent({ registries }).length;
  const paths = without > 0 ? `, no events from ${plural(without, 'registry')}` : '';
  return `${pending}, ${plural(open.length, 'alert')} open, ${plural(late.length, 'image')} not replicated${paths}.`;
}

async function refreshView(visited) {
  const { view, argument, leaving } = visited;
  const data = await VIEWS[view].load(argument, leaving.signal);
  if (visited !== here) return;
  Object.assign(here, { data, problem: undefined });
  // Without waiting for the overview.
  render();
}

async function refresh() {
  const visited = here;
  const asked = await Promise.allSettled([refreshOverview(), refreshView(visited)]);
  if (visited !== here) return;
  const [general, special] = asked.map(({ reason: why }) => why);
  if (special) here.problem = asProblem(special);
  state.problem = general?.status === 401 ? general : undefined;
  const lost = [general, special].some((why) => why && asProblem(why).passes);
  state.unreachableSince = lost ? (state.unreachableSince ?? time(Date.now())) : undefined;
  render();
}

function asProblem(error) {
  if (error instanceof Problem) return error;
  // A bug in this page: shown, and not retried.
  console.error(error);
  return new Problem({ title: 'Error in this page', detail: String(error), status: 400 });
}

const OFTEN = 2_000;
const SELDOM = 15_000;
// A deletion due within this many milliseconds is polled often.
const SOON = 60_000;
let next;

function pause() {
  const { deletions, next_due: due } = state.overview ?? {};
  // A paused clock can be moved by hand at any moment.
  const soon = due && -secondsSince(due) < (SOON / 1_000) * (clock.speed || Infinity);
  const moves = deletions?.executing > 0 || soon;
  const many = Object.values(here.wanted).some((wanted) => wanted > 3);
  return (moves || state.unreachableSince) && !many ? OFTEN : SELDOM;
}

async function poll() {
  clearTimeout(next);
  if (document.hidden) return;
  await refresh();
  clearTimeout(next);
  next = setTimeout(poll, pause());
}

function go() {
  here.leaving.abort();
  here = visit(location.hash);
  showQuery();
  render();
  scrollTo(0, 0);
  document.querySelector('h1').focus({ preventScroll: true });
  poll();
}

// The current search text, unless the user is typing.
function showQuery() {
  if (here.view === 'search' && document.activeElement !== $('query')) $('query').value = here.argument;
}

function arrive() {
  takeKey();
  go();
}

function listen() {
  addEventListener('hashchange', () => (location.hash === '#main' ? undefined : arrive()));
  document.addEventListener('visibilitychange', poll);
  addEventListener('keydown', (event) => {
    const typing = event.target.closest?.('input, textarea, select');
    if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    $('query').select();
  });
  $('search').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = $('query').value.trim();
    if (text) location.hash = HASHES.search(text);
  });
  $('skip').addEventListener('click', (event) => {
    event.preventDefault();
    document.querySelector('h1').focus();
  });
  let width = innerWidth;
  addEventListener('resize', () => {
    if (innerWidth === width) return;
    width = innerWidth;
    render();
  });
  setInterval(tick, 1_000);
}

takeKey();
here = visit(location.hash);
showQuery();
listen();
render();
poll();

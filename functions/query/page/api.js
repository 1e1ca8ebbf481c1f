// The API: every request of the page, relative to its own address.

import { list } from './format.js';

export class Problem extends Error {
  constructor({ title = 'Request failed', detail, remediation, status = 0 }) {
    super(title);
    Object.assign(this, { title, detail, remediation, status });
  }

  // Whether a retry may succeed.
  get passes() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

export function asProblem(error) {
  if (error instanceof Problem) return error;
  // A bug in this page: shown, and not retried.
  console.error(error);
  return new Problem({ title: 'Error in this page', detail: String(error), status: 400 });
}

// What a server on one machine says of its queue: the events that are not recorded yet, if they are many.
export const events = { waiting: 0 };

const KEY = 'ecr-lineage-key';

// The link that the command line prints has a key in its fragment: kept for this tab, removed from the address bar.
export function takeKey() {
  const key = /^#key=(.+)$/.exec(location.hash)?.[1];
  if (!key) return;
  sessionStorage.setItem(KEY, decodeURIComponent(key));
  history.replaceState(null, '', location.pathname + location.search);
}

// What proves the identity of the caller: the key, unless people sign in.
let proof = {
  isNeeded: () => sessionStorage.getItem(KEY) !== null,
  token: async () => sessionStorage.getItem(KEY),
  refused: () => ({ remediation: 'Open the link that the command line printed again.' }),
};
export const authorize = (other) => (proof = other);
export const needsKey = () => proof.isNeeded();

async function answerTo(path, { signal, body } = {}) {
  const headers = { accept: 'application/json' };
  const token = await proof.token();
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers['content-type'] = 'application/json';
  const method = body ? 'POST' : 'GET';
  const answer = await fetch(`v1/${path}`, { method, headers, signal, body: body && JSON.stringify(body) }).catch(
    unreachable,
  );
  events.waiting = Number(answer.headers.get('x-waiting-events') ?? 0);
  if (answer.ok) return answer;
  const problem = await answer.json().catch(() => ({}));
  const refused = answer.status === 401 ? proof.refused(answer) : {};
  if (refused instanceof Problem) throw refused;
  throw new Problem({ title: answer.statusText, ...refused, ...problem, status: answer.status });
}

function unreachable(error) {
  if (error.name === 'AbortError') throw error;
  throw new Problem({ title: 'Server not reachable', detail: 'The server did not answer.', status: 0 });
}

const given = (values) => Object.fromEntries(Object.entries(values).filter(([, value]) => (value ?? '') !== ''));

const query = (path, parameters) => {
  const used = given(parameters);
  return Object.keys(used).length > 0 ? `${path}?${new URLSearchParams(used)}` : path;
};

const get = async (path, parameters, signal) => (await answerTo(query(path, parameters), { signal })).json();

async function post(path, body) {
  const answer = await answerTo(path, { body: given(body) });
  return answer.json().catch(() => ({}));
}

// The first `wanted` pages of a list: the items of all of them, and whether there are more.
async function pages(path, parameters, wanted, signal) {
  const answers = [];
  let cursor;
  do {
    answers.push(await get(path, { ...parameters, cursor }, signal));
    cursor = answers.at(-1).next_cursor;
  } while (cursor && answers.length < wanted);
  return {
    first: answers[0],
    any: (name) => answers.map((answer) => answer[name]).find(Boolean),
    all: (name) => answers.flatMap((answer) => list(answer[name])),
    more: Boolean(cursor),
  };
}

// -- What is asked

export const overview = () => get('overview', {});
export const lineage = (image, signal) => get('lineage', { image }, signal);
export const tagHistory = (tag, signal) => get('history', { tag }, signal);
export const lag = (destination, signal) => get('lag', { destination }, signal);
export const images = (repository, wanted, signal) => pages('images', { repository }, wanted, signal);
export const deletions = (wanted, signal) => pages('deletions', {}, wanted, signal);
export const finished = (statuses, wanted, signal) =>
  pages('deletions', { status: statuses.join(','), from: '30d' }, wanted, signal);
export const alerts = (wanted, signal) => pages('alerts', {}, wanted, signal);
export const drift = (wanted, signal) => pages('drift', {}, wanted, signal);
export const orphans = (wanted, signal) => pages('orphans', {}, wanted, signal);
export const search = (q, signal) => get('search', { q }, signal);
export const activity = (filters, wanted, signal) => pages('activity', filters, wanted, signal);

// The largest page of a list.
const LARGEST = 1_000;
export const repositories = (wanted, signal) => pages('repositories', { limit: LARGEST }, wanted, signal);

export const graphPath = (image, format) => `v1/${query('graph', { image, format })}`;
export const graphFile = async (image, format) => (await answerTo(query('graph', { image, format }))).blob();

// -- What is changed

// `approve`, `cancel` or `retry` of a deletion, in the version that was seen.
export const act = (name, { repository, digest, registry, tag, version }, reason) =>
  post(`deletions/${name}`, { image: `${repository}@${digest}`, registry, tag, version, reason });
// The most deletions in one request.
const AT_A_TIME = 100;

// `approve`, `cancel` or `retry` of each deletion, in the version that was seen: a result for each.
export async function actOnEach(action, deletions, reason) {
  const results = [];
  for (let from = 0; from < deletions.length; from += AT_A_TIME) {
    const some = deletions.slice(from, from + AT_A_TIME).map(({ repository, digest, registry, tag, version }) =>
      given({ image: `${repository}@${digest}`, registry, tag, version }),
    );
    results.push(...(await post('deletions/act', { action, deletions: some, reason })).results);
  }
  return results;
}

export const acknowledge = (alert, reason) => post('alerts/acknowledge', { alert, reason });
export const snooze = (alert, until, reason) => post('alerts/snooze', { alert, until, reason });
export const hold = (pattern, reason) => post('holds', { hold: pattern, reason });
export const release = (id, force) => post('holds/release', { hold: id, force });
export const pause = (source, reason) => post('pauses', { source, reason });
export const resume = (source) => post('pauses/resume', { source });
export const previewReset = (source, terms) => get('breakers/reset', { source, ...terms });
export const reset = (source, version, terms) => post('breakers/reset', { source, version, ...terms });
export const forget = (registry, reason) => post('registries/forget', { registry, reason });

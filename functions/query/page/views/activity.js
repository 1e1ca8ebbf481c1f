// Who did what, when: pushes, deletions, refused calls, changed settings, and acts of operators.

import * as api from '../api.js';
import { Actor } from '../actor.js';
import { list, plural } from '../format.js';
import { html } from '../html.js';
import { Age, Empty, ImageLink, Loading, More, NoFindings, Place, RepositoryLink, Table, When, prose } from '../parts.js';
import { HASHES } from '../routes.js';
import { Sentence } from '../signs.js';
import { here, refresh, state, wanted } from '../store.js';

// What a person asks for, and the kinds of the API that it means.
const KINDS = [
  ['', 'everything'],
  ['pushed', 'pushes'],
  ['image_deleted,tags_deleted,repository_deleted', 'deletions'],
  ['attempted', 'refused calls'],
  ['archived,restored', 'moves to and from the archive'],
  ['changed', 'changed settings'],
  ['observed', 'found missing'],
  ['operator', 'acts of operators'],
];

// The sign of each kind.
const SIGNS = new Map(
  [
    ['present', 'pushed', 'restored'],
    ['absent', 'image_deleted', 'repository_deleted'],
    ['tags', 'tags_deleted'],
    ['stopped', 'attempted'],
    ['archived', 'archived'],
    ['info', 'changed'],
    ['probably_absent', 'observed'],
    ['awaiting_approval', 'operator'],
  ].flatMap(([sign, ...kinds]) => kinds.map((kind) => [kind, sign])),
);

const NAMES = ['actor', 'kind', 'repository', 'registry', 'from', 'to'];
const filtersOf = (argument) => {
  const given = new URLSearchParams(argument);
  return Object.fromEntries(NAMES.map((name) => [name, given.get(name) ?? '']));
};

// The API leaves out the day of `to`; a person means it.
function asked({ to, ...filters }) {
  const day = 86_400_000;
  return { ...filters, to: to && new Date(Date.parse(to) + day).toISOString().slice(0, 10) };
}

// Asks again with other filters, under an address of their own, without leaving the view.
function choose(filters) {
  here.filters = filters;
  here.wanted = {};
  history.replaceState(null, '', HASHES.activity(filters));
  refresh();
}

const Field = ({ name, label, children }) => html`<div><label for=${`activity-${name}`}>${label}</label>${children}</div>`;

function Filters({ filters }) {
  const read = (event) => {
    event.preventDefault();
    const { elements } = event.currentTarget;
    choose(Object.fromEntries(NAMES.map((name) => [name, elements[name].value.trim()])));
  };
  const registries = list(state.overview?.registries).map(({ registry }) => registry);
  const others = filters.registry && !registries.includes(filters.registry) ? [filters.registry] : [];
  const text = (name, hint) => html`<input id=${`activity-${name}`} name=${name} type="search" autocomplete="off"
    spellcheck=${false} placeholder=${hint} value=${filters[name]} />`;
  const any = Object.values(filters).some(Boolean);
  return html`<form class="filters" aria-label="Filters" onChange=${read} onSubmit=${read}>
    <${Field} name="actor" label="Who">${text('actor', 'a part of the name')}<//>
    <${Field} name="kind" label="What">
      <select id="activity-kind" name="kind">
        ${KINDS.map(([value, label]) => html`<option value=${value} selected=${value === filters.kind}>${label}</option>`)}
      </select>
    <//>
    <${Field} name="repository" label="Repository">${text('repository', 'prod/*')}<//>
    <${Field} name="registry" label="Registry">
      <select id="activity-registry" name="registry">
        <option value="">every registry</option>
        ${[...others, ...registries].map(
          (name) => html`<option value=${name} selected=${name === filters.registry}>${name}</option>`,
        )}
      </select>
    <//>
    <${Field} name="from" label="From day"><input id="activity-from" name="from" type="date" value=${filters.from} /><//>
    <${Field} name="to" label="To day (UTC)"><input id="activity-to" name="to" type="date" value=${filters.to} /><//>
    <div class="last">
      <button type="submit">Apply</button>
      ${any && html`<button type="button" onClick=${() => choose(filtersOf(''))}>Clear</button>`}
    </div>
  </form>`;
}

// The thing that it was done to: a link to the image, which has its deletions, else to the repository.
function Subject({ entry }) {
  const { repository, digest, tags, kind, action } = entry;
  if (repository && digest) return html`<${ImageLink} image=${{ ...entry, tags: list(tags) }} />`;
  if (repository?.includes('*')) return html`<span>${repository}</span>`;
  if (repository && list(tags).length > 0)
    return html`${list(tags).map((tag) => html`<a href=${HASHES.tag(`${repository}:${tag}`)}>${repository}:${tag}</a> `)}`;
  if (repository) return html`<${RepositoryLink} name=${repository} />`;
  if (kind === 'operator' && action !== 'forget_registry') return html`<a href=${HASHES.deletions()}>deletions</a>`;
  return html`<span class="quiet">the registry</span>`;
}

// What was done in one line, without the name that has its own column.
const done = ({ summary, actor }) => (actor ? summary.replace(` by ${actor}`, '') : summary);

const noActor = (entry) => html`<span class="quiet">${entry.kind === 'observed' ? 'no event reported it' : 'not reported'}</span>`;

const row = (entry) => ({
  key: `${entry.time}|${entry.kind}|${entry.registry}|${entry.repository}|${entry.digest}|${list(entry.tags)}|${
    entry.event_id ?? entry.action
  }|${entry.actor}`,
  cells: [
    html`<${When} at=${entry.time} /> <${Age} at=${entry.time} />`,
    entry.actor ? html`<${Actor} name=${entry.actor} />` : noActor(entry),
    html`<${Sentence} name=${SIGNS.get(entry.kind)}>${prose(done(entry))}<//>`,
    html`<${Subject} entry=${entry} />`,
    entry.registry ? html`<${Place} registry=${entry.registry} />` : 'every source',
  ],
});

function Nothing({ found, filters }) {
  if (Object.keys(found.basis?.registries ?? {}).length === 0) return html`<${NoFindings} basis=${found.basis} />`;
  const any = Object.values(filters).some(Boolean);
  if (found.more) return html`<${Empty}>None among the newest 10,000 entries of each part that was read; load more.<//>`;
  return any
    ? html`<${Empty}>
        Nothing that was recorded matches these filters. Without a day in <em>From</em>, the last 30 days are searched.
      <//>`
    : html`<${Empty}>Nothing was recorded in the last 30 days. Choose an earlier day in <em>From</em>.<//>`;
}

function Activity({ found, filters }) {
  return html`<${Filters} filters=${filters} />
    ${
      found.entries.length === 0
        ? html`<${Nothing} found=${found} filters=${filters} />`
        : html`<p class="lead" role="status">
            ${plural(found.entries.length, 'entry')}${found.more && ' so far'} since <${When} at=${found.since} />, newest
            first.
          </p>
          <${Table}
            caption="Activity"
            columns=${['When (UTC)', 'Who', 'What', 'Of what', 'Where']}
            rows=${found.entries.map(row)}
          />`
    }
    ${found.more && html`<${More} name="activity" what="activity" />`}
    <p class="quiet">
      Replications and scans are not listed: no one did them. An audit trail for other tools:${' '}
      <code>ecr-lineage activity --format ocsf</code>.
    </p>`;
}

export const activity = {
  title: () => 'Activity',

  async load(visit) {
    visit.filters ??= filtersOf(visit.argument);
    const found = await api.activity(asked(visit.filters), wanted('activity'), visit.leaving.signal);
    return { entries: found.all('activity'), basis: found.first.basis, since: found.first.since, more: found.more };
  },

  View: ({ found, visit }) =>
    found ? html`<${Activity} found=${found} filters=${visit.filters} />` : html`<${Loading} />`,
};

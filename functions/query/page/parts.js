// Parts that several views use.

import * as clock from './clock.js';
import { bestTag, bytes, list, number, referenceOf, short, time } from './format.js';
import { html, useEffect, useState } from './html.js';
import { HASHES } from './routes.js';
import { Badge, Sign } from './signs.js';
import { announce, more, state } from './store.js';

// -- Texts

// Text with `code`, as the API writes it.
export const prose = (text) =>
  String(text ?? '')
    .split('`')
    .map((part, at) => (at % 2 === 1 ? html`<code>${part}</code>` : part));

export const Empty = ({ children }) => html`<p class="empty">${children}</p>`;
export const Loading = () => html`<${Empty}>Loading…<//>`;
export const Next = ({ children }) => html`<p class="next">→ ${prose(children)}</p>`;

const NothingRecorded = () => html`
  <div class="empty">
    Nothing is recorded yet: no event of any registry was received.
    <p class="next">→ <a href=${HASHES.overview()}>three ways to send one</a></p>
  </div>`;

// Nothing is wrong: if anything is known.
export const AllWell = ({ children }) =>
  state.overview?.registries.length === 0
    ? html`<${NothingRecorded} />`
    : html`<p class="empty"><${Badge} name="over">${children}<//></p>`;

// Nothing was found. That is all well only if every registry was listed.
export function NoFindings({ basis, children }) {
  const registries = Object.entries(basis?.registries ?? {});
  const never = registries.filter(([, known]) => !known.listed_at).map(([registry]) => registry);
  if (registries.length === 0) return html`<${NothingRecorded} />`;
  if (never.length === 0) return html`<${AllWell}>${children}<//>`;
  return html`<div class="empty">
    <${Badge} name="unknown">None is recorded, and never listed: ${never.join(', ')}<//>
    <${Next}>\`ecr-lineage reconcile\` lists them now<//>
  </div>`;
}

export const Problem = ({ problem: { title, detail, remediation } }) => html`
  <div class="problem" role="alert">
    <p class="problem-title"><${Sign} name="warning" />${title}</p>
    ${detail && html`<p>${prose(detail)}</p>`} ${remediation && html`<${Next}>${remediation}<//>`}
  </div>`;

// -- Times

const ticking = new Set();
setInterval(() => ticking.forEach((again) => again()), 1_000);

// Draws a part again each second.
function useSeconds() {
  const [, set] = useState(0);
  useEffect(() => {
    const again = () => set((seconds) => seconds + 1);
    ticking.add(again);
    return () => ticking.delete(again);
  }, []);
}

export const When = ({ at }) => html`<time datetime=${at} title=${clock.ago(at)}>${time(at)}</time>`;

export function Age({ at }) {
  useSeconds();
  return html`<time class="age" datetime=${at} title=${time(at)}>${clock.ago(at)}</time>`;
}

export function Countdown({ due }) {
  useSeconds();
  return html`<time class="due" datetime=${due} title=${time(due)}>${clock.dueIn(due)}</time>`;
}

// -- Names

export function Place({ registry }) {
  const [account, region] = registry.split('/');
  return html`<span class="place"><span class="account">${account}/</span><span class="region">${region}</span></span>`;
}

// An image by the tags that are known of it, and its digest.
export function ImageLink({ image }) {
  const tags = list(image.tags);
  const first = image.tag ?? bestTag(tags);
  const others = tags.filter((tag) => tag !== first);
  return html`<span class="image">
    <a href=${HASHES.image(referenceOf(image))}
      >${image.repository}${first && html`<wbr />:<span class="digest">${first}</span>`}<wbr /><span
        class="digest quiet"
        >@${short(image.digest)}</span
      ></a
    >${others.length > 0 && html`<span class="quiet"> also ${others.join(', ')}</span>`}
  </span>`;
}

// What the last listings saw of the copies of an image: `{ size, pulledAt }`, and nothing of what no listing saw.
export function listedOf(listed) {
  const copies = Object.values(listed ?? {});
  const pulls = copies.map(({ last_pulled_at: at }) => at).filter(Boolean);
  const sizes = copies.map(({ size_bytes: size }) => size);
  return { size: sizes.length > 0 ? Math.max(...sizes) : undefined, pulledAt: pulls.sort().at(-1) };
}

export const Size = ({ size }) =>
  size === undefined ? html`<span class="quiet" title="no listing saw it yet">–</span>` : bytes(size);

// ECR updates the time of a pull once a day, and a copy that was listed without one was not pulled as far as it says.
export const Pulled = ({ listed, at }) =>
  at ? html`<${Age} at=${at} />` : html`<span class="quiet">${listed ? 'no pull recorded' : '–'}</span>`;

export const RepositoryLink = ({ name }) => html`<a href=${HASHES.repository(name)}>${name}</a>`;

export const TagLink = ({ repository, tag }) => html`
  <a class="tag" href=${HASHES.tag(`${repository}:${tag}`)} title=${`History of ${repository}:${tag}`}>${tag}</a>`;

export const Tags = ({ repository, tags }) =>
  html`<span class="tags">${tags.map((tag) => html`<${TagLink} repository=${repository} tag=${tag} />`)}</span>`;

// -- Blocks

export const Section = ({ name, title, children }) => html`
  <section data-key=${name} aria-labelledby=${`h-${name}`}><h2 id=${`h-${name}`}>${title}</h2>${children}</section>`;

const isBlank = (value) => !value || (Array.isArray(value) && value.flat().every(isBlank));

// Whether tables are shown as blocks.
const isNarrow = () => innerWidth <= 640;

// Rows by the value of one column. What has no value comes last in either direction.
function sorted(rows, order) {
  if (!order) return rows;
  const { at, down } = order;
  const compare = (a, b) => (typeof a === 'string' ? a.localeCompare(b, 'en', { numeric: true }) : a - b);
  const isKnown = ({ sort }) => (sort[at] ?? undefined) !== undefined;
  const known = rows.filter(isKnown).sort((a, b) => (down ? -1 : 1) * compare(a.sort[at], b.sort[at]));
  return [...known, ...rows.filter((row) => !isKnown(row))];
}

const ORDERS = { true: 'descending', false: 'ascending' };

// The heading of a column, which sorts by it: numbers and times begin with the largest.
function Head({ column: { head, number, by }, at, order, set }) {
  const here = order?.at === at;
  const down = here ? !order.down : by === 'down';
  const classes = number && 'number';
  if (!by || isNarrow()) return html`<th role="columnheader" scope="col" class=${classes}>${head}</th>`;
  return html`<th role="columnheader" scope="col" class=${classes} aria-sort=${here ? ORDERS[order.down] : undefined}>
    <button class="sort" type="button" onClick=${() => set({ at, down })}>
      ${head}<span class="arrow" aria-hidden="true">${here ? (order.down ? '▼' : '▲') : '↕'}</span>
    </button>
  </th>`;
}

// The same for a narrow screen, where the headings are beside the values.
function SortBy({ heads, order, set }) {
  const change = (event) => {
    const at = Number(event.currentTarget.value);
    set(at >= 0 ? { at, down: heads[at].by === 'down' } : undefined);
  };
  return html`<label class="sort-by">Sort by${' '}
    <select onChange=${change}>
      <option value="-1">its usual order</option>
      ${heads.map(({ head, by }, at) => by && html`<option value=${at} selected=${order?.at === at}>${head}</option>`)}
    </select>
  </label>`;
}

// On a narrow screen each row becomes a block with headings beside the values. For screen readers it stays a table.
// The first column names the row; a column of numbers has `number`, and a long heading a short `label` for that. A
// column with `by` (`up` or `down`, which comes first) sorts by the values in each row's `sort`; only a list that is whole
// may have one. Of more than `most` rows the others are shown on demand.
export function Table({ caption, visible, columns, rows, most = Infinity, what = 'rows' }) {
  const [order, set] = useState(undefined);
  const [all, setAll] = useState(false);
  const heads = columns.map((column) => (typeof column === 'string' ? { head: column } : column));
  const cell = ({ head, label = head, number }, value, first) => {
    const classes = [number && 'number', isBlank(value) && 'blank'].filter(Boolean).join(' ') || undefined;
    const tag = first ? 'th' : 'td';
    const role = first ? 'rowheader' : 'cell';
    return html`<${tag} role=${role} scope=${first ? 'row' : undefined} class=${classes} data-label=${label}>
      <div>${value}</div>
    <//>`;
  };
  const listed = sorted(rows, order).slice(0, all ? Infinity : most);
  return html`${isNarrow() && rows.length > 1 && heads.some(({ by }) => by) && html`<${SortBy} heads=${heads}
      order=${order} set=${set} />`}
    <table role="table">
    <caption class=${visible ? undefined : 'hidden'}>${caption}</caption>
    <thead role="rowgroup">
      <tr role="row">
        ${heads.map((column, at) => html`<${Head} column=${column} at=${at} order=${order} set=${set} />`)}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${listed.map(
        ({ key, cells }) => html`<tr role="row" key=${key}>
          ${cells.map((value, at) => cell(heads[at], value, at === 0))}
        </tr>`,
      )}
    </tbody>
  </table>
  ${
    listed.length < rows.length &&
    html`<p class="more">
    <button type="button" onClick=${() => setAll(true)}>Show all ${number(rows.length)} ${what}</button>
  </p>`
  }`;
}

export const More = ({ name, what }) => html`
  <p class="more"><button type="button" onClick=${() => more(name, what)}>Load more ${what}</button></p>`;

// A part that is folded until it is opened; what is in it is drawn only then.
export function Folded({ summary, open: first = false, children }) {
  const [open, set] = useState(first);
  return html`<details open=${open} onToggle=${(event) => set(event.currentTarget.open)}>
    <summary>${summary}</summary>
    ${open && children}
  </details>`;
}

// The beginning of a long list, and a button for the rest.
export function Long({ items, most = 10, what, children }) {
  const [all, set] = useState(false);
  const shown = all ? items : items.slice(0, most);
  return html`${children(shown)}
  ${
    shown.length < items.length &&
    html`<p class="more">
    <button type="button" onClick=${() => set(true)}>Show all ${number(items.length)} ${what}</button>
  </p>`
  }`;
}

export const Filter = ({ label, value, set, children }) => html`
  <div class="filter">
    <label for="filter">${label}</label>
    <input
      id="filter"
      type="search"
      autocomplete="off"
      spellcheck=${false}
      value=${value}
      onInput=${(event) => set(event.currentTarget.value)}
    />
    <span class="quiet" role="status">${children}</span>
  </div>`;

// Whether an item has each word of a filter in one of its texts.
export const matches = (text, ...texts) => {
  const words = text.toLowerCase().split(/\s+/);
  const all = texts.flat().filter(Boolean).join(' ').toLowerCase();
  return words.every((word) => all.includes(word));
};

export function Copy({ text, what }) {
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      announce(`${what} copied.`);
    } catch {
      announce(`${what} could not be copied.`);
    }
  };
  return html`<button class="quiet" type="button" title=${text} onClick=${copy}>Copy ${what}</button>`;
}

// A command for a terminal.
export const Command = ({ text, what }) => html`
  <p class="command"><code>${text}</code> <${Copy} text=${text} what=${what} /></p>`;

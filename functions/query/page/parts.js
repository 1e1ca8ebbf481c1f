// Parts that several views use.

import * as clock from './clock.js';
import { bestTag, list, referenceOf, short, time } from './format.js';
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

export const RepositoryLink = ({ name }) => html`<a href=${HASHES.repository(name)}>${name}</a>`;

export const TagLink = ({ repository, tag }) => html`
  <a class="tag" href=${HASHES.tag(`${repository}:${tag}`)} title=${`History of ${repository}:${tag}`}>${tag}</a>`;

export const Tags = ({ repository, tags }) =>
  html`<span class="tags">${tags.map((tag) => html`<${TagLink} repository=${repository} tag=${tag} />`)}</span>`;

// -- Blocks

export const Section = ({ name, title, children }) => html`
  <section data-key=${name} aria-labelledby=${`h-${name}`}><h2 id=${`h-${name}`}>${title}</h2>${children}</section>`;

const isBlank = (value) => !value || (Array.isArray(value) && value.flat().every(isBlank));

// On a narrow screen each row becomes a block with headings beside the values. For screen readers it stays a table.
// The first column names the row; a column of numbers has `number`, and a long heading a short `label` for that.
export function Table({ caption, visible, columns, rows }) {
  const heads = columns.map((column) => (typeof column === 'string' ? { head: column } : column));
  const cell = ({ head, label = head, number }, value, first) => {
    const classes = [number && 'number', isBlank(value) && 'blank'].filter(Boolean).join(' ') || undefined;
    const tag = first ? 'th' : 'td';
    const role = first ? 'rowheader' : 'cell';
    return html`<${tag} role=${role} scope=${first ? 'row' : undefined} class=${classes} data-label=${label}>
      <div>${value}</div>
    <//>`;
  };
  return html`<table role="table">
    <caption class=${visible ? undefined : 'hidden'}>${caption}</caption>
    <thead role="rowgroup">
      <tr role="row">
        ${heads.map(
          ({ head, number }) => html`<th role="columnheader" scope="col" class=${number && 'number'}>${head}</th>`,
        )}
      </tr>
    </thead>
    <tbody role="rowgroup">
      ${rows.map(
        ({ key, cells }) => html`<tr role="row" key=${key}>
          ${cells.map((value, at) => cell(heads[at], value, at === 0))}
        </tr>`,
      )}
    </tbody>
  </table>`;
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
    <button type="button" onClick=${() => set(true)}>Show all ${items.length} ${what}</button>
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

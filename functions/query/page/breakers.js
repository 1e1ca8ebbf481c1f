// Breakers: what is on hold and why, and the reset, which says what it does before it is done.

import * as api from './api.js';
import { Answered, Confirm } from './acts.js';
import { plural, who } from './format.js';
import { html } from './html.js';
import { Age, Next, Place, Section, When } from './parts.js';
import { HASHES } from './routes.js';
import { Badge } from './signs.js';
import { acting, ask, draw, here, mayChange } from './store.js';

const keyOf = (source) => `breaker|${source}`;

// What a reset would do: shown, and confirmed, before it is done.
async function preview(event, source) {
  event.preventDefault();
  const { allow, share } = event.currentTarget.elements;
  const terms = {
    ...(allow.value && { allow: Number(allow.value) }),
    ...(share.checked && { ignore_share: true }),
  };
  const key = keyOf(source);
  try {
    const answer = await api.previewReset(source, terms);
    here.acted.delete(key);
    ask({ key, terms, preview: answer });
  } catch (error) {
    here.acted.set(key, { problem: api.asProblem(error) });
    draw();
  }
}

function Confirmation({ source, asked: { preview: answer, terms } }) {
  const held =
    answer.held_by.length > 0 &&
    html`<ul class="plain">${answer.held_by.map((one) => html`<li>${who(one.summary)}</li>`)}</ul>`;
  const reset = async () => (await api.reset(source, answer.version, terms)).summary;
  return html`${held}
    <${Confirm}
      about=${answer.question}
      says=${[...answer.consequences, answer.question]}
      verb="Reset it"
      does=${() => acting(keyOf(source), reset)}
    />`;
}

function Reset({ source, remediation }) {
  const id = source.replace('/', '-');
  if (!mayChange()) return html`<${Next}>${remediation}<//>`;
  if (here.asking?.key === keyOf(source)) return html`<${Confirmation} source=${source} asked=${here.asking} />`;
  return html`<details>
    <summary>Reset the breaker, if these deletions are intended</summary>
    <form class="reset" onSubmit=${(event) => preview(event, source)}>
      <label for=${`allow-${id}`}>
        Images that may be deleted in the next window, in all registries together (without a number, the limits apply)
      </label>
      <input id=${`allow-${id}`} name="allow" type="number" min="1" step="1" inputmode="numeric" />
      <label for=${`share-${id}`}>Do not limit the share of a repository in that window</label>
      <input id=${`share-${id}`} name="share" type="checkbox" />
      <button class="primary" type="submit">Reset the breaker…</button>
    </form>
  </details>`;
}

export const OpenBreaker = ({ source, breaker: { opened, held, status_text: status, details, remediation } }) => html`
  <li class="trouble bad" data-key=${keyOf(source)} tabindex="-1">
    <p class="trouble-head">
      <${Badge} name="open">breaker ${status}<//><${Place} registry=${source} />
      <span class="quiet">since <${When} at=${opened.at} />, <${Age} at=${opened.at} /></span>
    </p>
    <p>${opened.why}</p>
    <p>
      ${
        held > 0
          ? html`<a href=${HASHES.deletions()}>${plural(held, 'deletion')}</a> on hold.`
          : 'No deletion is on hold.'
      }
    </p>
    ${details.map((line) => html`<p class="quiet">${who(line)}</p>`)}
    <${Reset} source=${source} remediation=${remediation} /> <${Answered} at=${keyOf(source)} />
  </li>`;

const ClosedBreaker = ({ source, breaker: { status_text: status, details } }) => html`
  <li data-key=${keyOf(source)} tabindex="-1">
    <p class="trouble-head"><${Badge} name="closed">${status}<//><${Place} registry=${source} /></p>
    ${details.map((line) => html`<p class="quiet">${who(line)}</p>`)} <${Answered} at=${keyOf(source)} />
  </li>`;

export function ClosedBreakers({ breakers }) {
  const closed = Object.entries(breakers).filter(([, breaker]) => !breaker.opened);
  return (
    closed.length > 0 &&
    html`<${Section} name="breakers" title="Breakers">
      <ul class="plain">
        ${closed.map(([source, breaker]) => html`<${ClosedBreaker} key=${source} source=${source}
          breaker=${breaker} />`)}
      </ul>
    <//>`
  );
}

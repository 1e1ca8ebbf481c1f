// Acts: each says what it will do and to how much, and asks, before it is done.

import { number } from './format.js';
import { html } from './html.js';
import { Problem, prose } from './parts.js';
import { Sign } from './signs.js';
import { acting, ask, here, leave } from './store.js';

// What came of the last act on an item.
export function Answered({ at }) {
  const acted = here.acted.get(at);
  if (acted?.problem) return html`<${Problem} problem=${acted.problem} />`;
  if (!acted?.text) return undefined;
  const { text, refused = [] } = acted;
  return html`<p class="acted"><${Sign} name="passed" />${text}</p>
    ${
      refused.length > 0 &&
      html`<details class="problem" open=${refused.length <= 5}>
      <summary>${number(refused.length)} refused</summary>
      <ul>${refused.map(({ name, why }) => html`<li><strong>${name}</strong>: ${prose(why)}</li>`)}</ul>
    </details>`
    }`;
}

// What will happen, a field for the reason if the act has one, and a button that does it.
export function Confirm({ about, says, reason, verb, does }) {
  const decide = (event) => {
    event.preventDefault();
    does(event.currentTarget.elements.reason?.value);
  };
  const escape = (event) => {
    if (event.key === 'Escape') leave();
  };
  return html`<form class="confirm" tabindex="-1" aria-label=${about} onSubmit=${decide}
    onKeyDown=${escape}>
    ${says.map((line) => html`<p>${line}</p>`)}
    ${
      reason &&
      html`<label for="why">${reason === 'required' ? 'Reason' : 'Reason (optional)'}</label>
      <input id="why" name="reason" type="text" maxlength="1000" required=${reason === 'required'} />`
    }
    <button class="primary" type="submit">${verb}</button>
    <button type="button" onClick=${leave}>Back</button>
  </form>`;
}

// The buttons for an item. An act: `{ name, label, about, says, reason, verb, does }`; `does` returns what was done.
export function Acts({ at, acts }) {
  const asked = here.asking?.key === at && acts.find(({ name }) => name === here.asking.name);
  if (asked) return html`<${Confirm} ...${asked} does=${(reason) => acting(at, () => asked.does(reason))} />`;
  const waits = here.acted.get(at)?.waits;
  if (acts.length === 0) return undefined;
  return html`<div class="buttons">
    ${acts.map(
      ({ name, label, about }) => html`<button
        key=${name}
        type="button"
        disabled=${waits}
        aria-label=${about}
        onClick=${() => ask({ key: at, name })}
      >
        ${label}…
      </button>`,
    )}
  </div>`;
}

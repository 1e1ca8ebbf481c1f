// Pauses and holds, and the registries that are forgotten.

import * as api from './api.js';
import { Acts, Answered } from './acts.js';
import { list, plural, who } from './format.js';
import { html } from './html.js';
import { Place, Section } from './parts.js';
import { Badge, Sign } from './signs.js';
import { acting, mayChange, state } from './store.js';

// The deletions that wait, in words.
function waiting() {
  const { deletions, deletions_at_least: least } = state.overview;
  const count = deletions.pending + deletions.awaiting_approval + deletions.held;
  return `${least ? 'at least ' : ''}${plural(count, 'deletion')}`;
}

function Pause({ source, summary }) {
  const which = source ?? 'every source';
  const resume = {
    name: which,
    label: 'Resume',
    about: `Resume the deletions of ${which}`,
    says: [
      `Deletions of ${which} begin again: each that is due is deleted as soon as all checks pass.`,
      `${waiting()} of all sources are pending, on hold or await approval.`,
    ],
    verb: 'Resume them',
    does: async () => (await api.resume(source)).summary,
  };
  return html`<li class="trouble warn">
    <p class="trouble-head">
      <${Badge} name="stopped">paused<//>${source ? html`<${Place}
        registry=${source} />` : html`<span>every source</span>`}
    </p>
    <p>${who(summary)}</p>
    ${mayChange() && html`<${Acts} at="pauses" acts=${[resume]} />`}
  </li>`;
}

// What is paused now: on each view that shows deletions.
export function Pauses() {
  const pauses = list(state.overview?.pauses);
  return html`${
    pauses.length > 0 &&
    html`<ul class="troubles" data-key="pauses">
      ${pauses.map((one) => html`<${Pause} key=${one.source ?? ''} ...${one} />`)}
    </ul>`
  }
    <${Answered} at="pauses" />`;
}

// A form whose fields are sent when it is submitted; the answer is shown at `at`.
const Form = ({ at, summary, children, does }) => {
  const submit = (event) => {
    event.preventDefault();
    const form = event.currentTarget;
    acting(at, async () => {
      const text = await does(form.elements);
      form.closest('details').open = false;
      form.reset();
      return text;
    });
  };
  return html`<details>
    <summary>${summary}</summary>
    <form class="reset" onSubmit=${submit}>${children}</form>
  </details>`;
};

function PauseForm() {
  const sources = list(state.overview?.registries).map(({ registry }) => registry);
  const does = async ({ source, reason }) => (await api.pause(source.value, reason.value)).summary;
  return html`<${Form} at="pauses" summary="Pause deletions…" does=${does}>
    <p>
      No deletion begins until an operator resumes. A call to ECR that is under way is not interrupted. Now ${waiting()}
      ${' '}of all sources wait.
    </p>
    <label for="pause-source">Source</label>
    <select id="pause-source" name="source">
      <option value="">every source</option>
      ${sources.map((source) => html`<option value=${source}>${source}</option>`)}
    </select>
    <label for="pause-reason">Reason (optional), shown to every reader</label>
    <input id="pause-reason" name="reason" type="text" maxlength="1000" />
    <button class="primary" type="submit">Pause them</button>
  <//>`;
}

const held = ({ holds, effect }) => [...holds.map(({ summary }) => summary), effect].join('; ');

const HoldForm = () => html`
  <${Form}
    at="holds"
    summary="Hold images or repositories…"
    does=${async ({ pattern, reason }) => held(await api.hold(pattern.value, reason.value))}
  >
    <p>
      What matches is deleted in no registry until the hold is released; the answer says how many deletions wait for it.
    </p>
    <label for="hold-pattern">Repositories, as in prod/*, or an image, as in prod/api:v1</label>
    <input id="hold-pattern" name="pattern" type="text" required maxlength="512" />
    <label for="hold-reason">Reason, shown to every reader</label>
    <input id="hold-reason" name="reason" type="text" required maxlength="1000" />
    <button class="primary" type="submit">Hold them</button>
  <//>`;

function Hold({ id, pattern, summary, by }) {
  const mine = by === state.overview.caller;
  const release = {
    name: id,
    label: mine ? 'Release' : 'Release, although it is not yours',
    about: `Release ${pattern}`,
    says: [
      `End the hold of ${pattern}: its deletions are evaluated again.`,
      'Each that is due is deleted as soon as all checks pass.',
      mine ? '' : `${who(by)} put it on hold.`,
    ].filter(Boolean),
    verb: 'Release it',
    does: async () => (await api.release(id, mine ? undefined : true)).summary,
  };
  return html`<li>
    <p><${Sign} name="stopped" />${' '}${who(summary)}</p>
    ${mayChange() && html`<${Acts} at="holds" acts=${[release]} />`}
  </li>`;
}

// The pauses and holds, with what an operator can do about them.
export function Controls() {
  const holds = list(state.overview?.holds);
  return html`<${Pauses} />
    ${mayChange() && html`<${PauseForm} />`}
    ${
      (holds.length > 0 || mayChange()) &&
      html`<${Section} name="holds" title="Holds">
      ${holds.length > 0 && html`<ul class="plain">${holds.map((hold) => html`<${Hold}
        key=${hold.id} ...${hold} />`)}</ul>`}
      ${mayChange() && html`<${HoldForm} />`} <${Answered} at="holds" />
    <//>`
    }`;
}

// For a registry whose events do not arrive.
export function Forget({ registry }) {
  const at = `events|${registry}`;
  const forget = {
    name: 'forget',
    label: 'Forget the registry',
    about: `Forget the registry ${registry}`,
    says: [
      `${registry} shall have no stack: no heartbeat of it is expected, and no alert says that none arrives.`,
      'The next heartbeat or event ends that.',
      'What is recorded of it stays.',
    ],
    reason: 'optional',
    verb: 'Forget it',
    does: async (reason) => (await api.forget(registry, reason)).summary,
  };
  return mayChange() && html`<${Acts} at=${at} acts=${[forget]} /><${Answered} at=${at} />`;
}

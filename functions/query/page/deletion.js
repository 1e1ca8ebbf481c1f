// A deletion of a replica, with what an operator can do about it.

import * as api from './api.js';
import { Actor } from './actor.js';
import { Acts, Answered } from './acts.js';
import { bytes, capital, distinct, grouped, list, plural, referenceOf, short, sum } from './format.js';
import { html } from './html.js';
import { Countdown, ImageLink, Place, When, prose } from './parts.js';
import { Badge, Sign, TONES } from './signs.js';
import { draw, here, mayChange, state } from './store.js';

export const QUEUE = ['pending', 'awaiting_approval', 'held', 'executing', 'failed'];
export const OVER = ['done', 'kept'];

export const keyOf = ({ repository, digest, registry, tag }) => `${repository}@${digest}|${registry}|${tag ?? ''}`;

// The hold of exactly this image. A hold of repositories or of a source is released where the holds are listed.
const holdOf = (deletion) => list(state.overview?.holds).find(({ pattern }) => pattern === referenceOf(deletion));
const allowed = (deletion) =>
  mayChange() ? list(deletion.allowed_actions).filter((did) => did !== 'release' || holdOf(deletion)) : [];

const sized = ({ size_bytes: size }) => (size === undefined ? '' : ` (${bytes(size)})`);
const subjectOf = (deletion) =>
  `${deletion.tag ? `tag ${deletion.tag} of the replica` : 'the replica'} in ${deletion.registry}${sized(deletion)}`;

const LATER = 'as soon as it is due and all checks pass';
const thenDeleted = (subject) => `${capital(subject)} is deleted ${LATER}.`;

// What an act does to one deletion.
function consequence(deletion, did) {
  const subject = subjectOf(deletion);
  if (did === 'hold') return 'Put the image on hold: it is deleted in no registry until the hold is released.';
  if (did === 'release') return `End the hold: all deletions of the image are evaluated again. ${thenDeleted(subject)}`;
  if (did === 'retry') return `Evaluate this deletion again. ${thenDeleted(subject)}`;
  if (did === 'cancel')
    return `Cancel this deletion for good: ${subject} is kept. Only a new deletion at the source starts a new one.`;
  if (deletion.status === 'awaiting_approval')
    return `Approve this deletion: ${subject} is deleted as soon as all other checks pass again.`;
  return `Approve in advance: ${subject} is deleted when due, without another approval, if all checks pass.`;
}

// Sends an act, and returns what was done in one line.
async function send(deletion, did, reason) {
  if (did === 'hold') {
    const { holds, effect } = await api.hold(referenceOf(deletion), reason);
    return `${holds.map(({ summary }) => summary).join('; ')}; ${effect}`;
  }
  if (did === 'release') return (await api.release(holdOf(deletion).id)).summary;
  return (await api.act(did, deletion, reason)).summary;
}

function actOn(deletion, did) {
  const about = `${deletion.repository}${deletion.tag ? `, tag ${deletion.tag},` : ''} in ${deletion.registry}`;
  return {
    name: did,
    label: capital(did),
    about: `${capital(did)}: ${about}`,
    says: [consequence(deletion, did)],
    reason: did === 'hold' ? 'required' : did !== 'release' && 'optional',
    verb: `${capital(did)} it`,
    does: (reason) => send(deletion, did, reason),
  };
}

// -- Acts on many

// `12 deletions of 6 images in 2 registries, 1.2 GB`.
export function total(deletions) {
  const images = distinct(deletions.map(referenceOf)).length;
  const registries = distinct(deletions.map(({ registry }) => registry)).length;
  const known = deletions.filter(({ size_bytes: size }) => size !== undefined);
  const least = known.length < deletions.length ? 'at least ' : '';
  const size = known.length > 0 ? `, ${least}${bytes(sum(known.map((one) => one.size_bytes)))}` : '';
  const count = `${plural(deletions.length, 'deletion')} of ${plural(images, 'image')}`;
  return `${count} in ${plural(registries, 'registry')}${size}`;
}

function consequenceForAll(did) {
  if (did === 'cancel') return 'Each replica is kept. Only a new deletion at the source starts a new one.';
  if (did === 'retry') return `Each is evaluated again, and deleted ${LATER}.`;
  if (did === 'hold') return 'Each image is deleted in no registry until its hold is released.';
  if (did === 'release') return `The hold of each image ends: its deletions are evaluated again, and done ${LATER}.`;
  return 'Each replica is deleted as soon as it is due and all other checks pass, without another approval.';
}

const named = ({ repository, digest, tag, registry }) =>
  `${repository}${tag ? `:${tag}` : `@${short(digest)}`} in ${registry}`;

// One result for each deletion: nothing if it was done, else why not. A hold is of an image, whatever its registries.
async function resultsOf(deletions, did, reason) {
  if (did !== 'hold' && did !== 'release') {
    const results = await api.actOnEach(did, deletions, reason);
    return results.map(({ problem }) => problem && (problem.detail ?? problem.title));
  }
  const results = [];
  for (const [, some] of grouped(deletions, referenceOf)) {
    const [first] = some;
    const acts = did === 'hold' ? api.hold(referenceOf(first), reason) : api.release(holdOf(first).id);
    const why = await acts.then(
      () => undefined,
      (error) => api.asProblem(error).detail ?? api.asProblem(error).title,
    );
    results.push(...some.map(() => why));
  }
  return results;
}

async function sendAll(given, did, reason) {
  const deletions = did === 'hold' || did === 'release' ? [...grouped(given, referenceOf).values()].flat() : given;
  const results = await resultsOf(deletions, did, reason);
  const done = deletions.filter((_, nth) => !results[nth]);
  const refused = deletions.flatMap((one, nth) => (results[nth] ? [{ name: named(one), why: results[nth] }] : []));
  return { text: done.length > 0 ? `${did}: ${total(done)}` : `${did}: nothing was done`, refused };
}

// The acts that are possible on some deletions together, each on those that allow it.
export function actsOnAll(deletions, name) {
  if (deletions.length < 2) return [];
  return ['approve', 'hold', 'release', 'retry', 'cancel'].flatMap((did) => {
    const some = deletions.filter((deletion) => allowed(deletion).includes(did));
    if (some.length === 0) return [];
    const others = deletions.length - some.length;
    const how = others > 0 ? some.length : `all ${some.length}`;
    return {
      name: did,
      label: `${capital(did)} ${how}`,
      about: `${capital(did)} ${how}: ${name}`,
      says: [
        `${capital(did)} ${total(some)}.`,
        consequenceForAll(did),
        ...(others > 0 ? [`${plural(others, 'other')} cannot be changed in this way, and stay as they are.`] : []),
      ],
      reason: did === 'hold' ? 'required' : did !== 'release' && 'optional',
      verb: `${capital(did)} them`,
      does: (reason) => sendAll(some, did, reason),
    };
  });
}

// A box that selects deletions, to act on all that are selected.
export function Select({ deletions, label }) {
  const keys = deletions.map(keyOf);
  const selected = keys.filter((key) => here.selected.has(key)).length;
  const change = () => {
    for (const key of keys) {
      if (selected < keys.length) here.selected.add(key);
      else here.selected.delete(key);
    }
    draw();
  };
  return html`<input
    type="checkbox"
    aria-label=${label}
    checked=${selected > 0 && selected === keys.length}
    indeterminate=${selected > 0 && selected < keys.length}
    onChange=${change}
  />`;
}

// What is selected among the deletions that are shown, with what can be done to all of it.
export function Selection({ deletions }) {
  const selected = deletions.filter((one) => here.selected.has(keyOf(one)));
  const at = 'selection';
  const clear = () => {
    here.selected.clear();
    draw();
  };
  const acts = actsOnAll(selected, 'selected');
  const only =
    selected.length === 1 &&
    html`<span class="quiet">Select more than one; a single one has its own buttons.</span>`;
  return html`<${Answered} at=${at} />
    ${
      selected.length > 0 &&
      html`<div class="selection" role="group" aria-label="Selected deletions" data-key=${at} tabindex="-1">
      <p><strong>Selected:</strong> ${total(selected)}</p>
      ${only} <${Acts} at=${at} acts=${acts} />
      <button class="quiet" type="button" onClick=${clear}>Clear the selection</button>
    </div>`
    }`;
}

// -- The item

const Check = ({ check }) => {
  const name = check.passed ? 'passed' : 'stopped';
  return html`<li>
    <span class=${`badge ${TONES[name]}`}><${Sign} name=${name} /><span class="hidden">${name}</span></span>
    <span class="check">${check.check}</span><span>${check.why}</span>
  </li>`;
};

const Done = ({ done }) => html`
  <li>
    <${When} at=${done.at} />
    <span>${done.action_text} by <${Actor} name=${done.by} />${done.reason && `: ${done.reason}`}</span>
  </li>`;

function Reasons({ deletion }) {
  const checks = list(deletion.checks);
  const acts = list(deletion.actions);
  if (checks.length + acts.length === 0) return undefined;
  return html`<details>
    <summary>
      ${plural(checks.length, 'check')}${acts.length > 0 && `, ${plural(acts.length, 'operator action')}`}
    </summary>
    ${
      checks.length > 0 &&
      html`<ol class="checks" aria-label="Checks, in order">${checks.map((check) => html`<${Check}
        check=${check} />`)}</ol>`
    }
    ${
      acts.length > 0 &&
      html`<ul class="acts" aria-label="Operator actions">${acts.map((done) => html`<${Done} done=${done} />`)}</ul>`
    }
  </details>`;
}

const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

const Facts = ({ deletion }) => html`
  <dl class="facts">
    <${Fact} name="source deleted"><${When} at=${deletion.since} /><//>
    ${deletion.action && html`<${Fact} name="action">${deletion.action}<//>`}
    ${list(deletion.policies).length > 0 && html`<${Fact} name="policy">${deletion.policies.join(', ')}<//>`}
    ${deletion.size_bytes !== undefined && html`<${Fact} name="size">${bytes(deletion.size_bytes)}<//>`}
  </dl>`;

// `ofImage`: on the page of the image, which is not named again. `selects`: it can be selected.
export function Deletion({ deletion, ofImage, selects }) {
  const { status, due, tag } = deletion;
  const key = keyOf(deletion);
  const acts = allowed(deletion).map((did) => actOn(deletion, did));
  return html`<li class="deletion" data-key=${key} tabindex="-1">
    <div class="deletion-head">
      ${selects && acts.length > 0 && html`<${Select} deletions=${[deletion]} label=${`Select ${named(deletion)}`} />`}
      <${Badge} name=${status}>${deletion.status_text}<//>
      ${
        status === 'pending' && due
          ? html`<${Countdown} due=${due} />`
          : html`<span class="quiet"><${When} at=${deletion.changed_at} /></span>`
      }
    </div>
    <div class="deletion-body">
      <p class="deletion-name">
        ${ofImage ? tag && html`<span>tag <span class="tag">${tag}</span></span>` : html`<${ImageLink}
          image=${deletion} />`}
        <span class="lane">
          <span><span class="quiet">in ${' '}</span><${Place} registry=${deletion.registry} /></span>
          <span><span class="quiet">source ${' '}</span><${Place} registry=${deletion.source} /></span>
        </span>
      </p>
      <p class="reason">${prose(deletion.summary)}</p>
      <${Facts} deletion=${deletion} />
      <${Reasons} deletion=${deletion} />
    </div>
    <div class="deletion-acts"><${Acts} at=${key} acts=${acts} /><${Answered} at=${key} /></div>
  </li>`;
}

export const Deletions = ({ deletions, ofImage, selects }) => html`
  <ul class="deletions">
    ${deletions.map(
      (one) => html`<${Deletion} key=${keyOf(one)} deletion=${one} ofImage=${ofImage} selects=${selects} />`,
    )}
  </ul>`;

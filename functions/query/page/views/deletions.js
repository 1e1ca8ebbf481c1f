// The deletions that wait, by status and repository, and those that are over.

import * as api from '../api.js';
import { Acts, Answered } from '../acts.js';
import { Controls } from '../controls.js';
import { Deletions, OVER, QUEUE, Select, Selection, actsOnAll, total } from '../deletion.js';
import { capital, distinct, grouped, list, number } from '../format.js';
import { html, useState } from '../html.js';
import { AllWell, Countdown, Empty, Filter, Loading, Long, More, Section, matches } from '../parts.js';
import { Sign, TONES } from '../signs.js';
import { here, mayChange, refresh, state, wanted } from '../store.js';

// More deletions of a status than this are folded by repository.
const MOST = 8;

const earliest = (deletions) =>
  deletions
    .map(({ due }) => due)
    .filter(Boolean)
    .sort()[0];

// The deletions of one repository, folded: how many, how large, which policies, when.
function OfRepository({ repository, status, deletions }) {
  const [open, set] = useState(false);
  const at = `group|${status}|${repository}`;
  const due = status === 'pending' && earliest(deletions);
  const policies = distinct(deletions.flatMap(({ policies: some }) => list(some)));
  return html`<li class="folded" data-key=${at} tabindex="-1">
    <div class="folded-head">
      ${mayChange() && html`<${Select} deletions=${deletions} label=${`Select all of ${repository}, ${status}`} />`}
      <button class="fold" type="button" aria-expanded=${String(open)} onClick=${() => set(!open)}>
        <span class="repository">${repository}</span>${' '}
        <span class="quiet">
          ${total(deletions)}${policies.length > 0 && `, ${policies.join(', ')}`}
          ${due && html`, next <${Countdown} due=${due} />`}
        </span>
      </button>
      <${Acts} at=${at} acts=${actsOnAll(deletions, repository)} />
    </div>
    <${Answered} at=${at} />
    ${open &&
    html`<${Long} items=${deletions} most=${20} what="deletions">
      ${(some) => html`<${Deletions} deletions=${some} selects=${true} />`}
    <//>`}
  </li>`;
}

function OfStatus({ status, text, deletions }) {
  const title = [
    html`<${Sign} name=${status} tone=${TONES[status]} />`,
    `${capital(text)} `,
    html`<span class="count">${number(deletions.length)}</span>`,
  ];
  const groups = [...grouped(deletions, ({ repository }) => repository)];
  return html`<${Section} name=${status} title=${title}>
    ${
      mayChange() &&
      deletions.length > 1 &&
      html`<label class="toggle select-all"><${Select} deletions=${deletions} label=${`Select all: ${text}`} /> Select all
        ${' '}${number(deletions.length)}</label>`
    }
    ${
      deletions.length <= MOST
        ? html`<${Deletions} deletions=${deletions} selects=${true} />`
        : html`<ul class="deletions">
          ${groups.map(
            ([repository, some]) =>
              html`<${OfRepository} key=${repository} repository=${repository} status=${status} deletions=${some} />`,
          )}
        </ul>`
    }
  <//>`;
}

const Toggle = ({ status, text }) => {
  const change = (event) => {
    if (event.currentTarget.checked) here.shown.add(status);
    else here.shown.delete(status);
    refresh();
  };
  return html`<label class="toggle"><input type="checkbox" checked=${here.shown.has(status)}
    onChange=${change} /> Show ${text}</label>`;
};

function Queue({ found }) {
  const [text, set] = useState('');
  const shown = found.deletions.filter((one) =>
    matches(text, one.repository, one.digest, one.tag, one.tags, one.registry, one.source, one.policies, one.summary),
  );
  const byStatus = grouped(shown, ({ status }) => status);
  const of = (status) =>
    byStatus.has(status) &&
    html`<${OfStatus} key=${status} status=${status} text=${found.statuses[status]}
      deletions=${byStatus.get(status)} />`;
  const queued = found.deletions.some(({ status }) => QUEUE.includes(status));
  const due = state.overview?.next_due;
  return html`<div class="toolbar">
      <p class="lead">
        Replicas whose source was deleted. ${queued && due && html`Next deletion <${Countdown} due=${due} />.`}
      </p>
      <fieldset>
        <legend class="hidden">Completed in the last 30 days</legend>
        ${OVER.map((status) => html`<${Toggle} key=${status} status=${status} text=${found.statuses[status]} />`)}
      </fieldset>
    </div>
    <${Controls} />
    ${
      found.deletions.length > 0 &&
      html`<${Filter} label="Filter by repository, tag, digest, registry or policy" value=${text} set=${set}>
      ${number(shown.length)} of ${number(found.deletions.length)}${found.more && ' so far'}
    <//>`
    }
    ${!queued && html`<${AllWell}>No deletion is pending, on hold or awaiting approval.<//>`}
    ${found.deletions.length > 0 && shown.length === 0 && html`<${Empty}>None of them matches the filter.<//>`}
    <${Selection} deletions=${shown} />
    ${QUEUE.map(of)} ${found.more && html`<${More} name="deletions" what="deletions" />`}
    ${OVER.filter((status) => here.shown.has(status)).map(
      (status) => of(status) || html`<p class="empty">None ${found.statuses[status]} in the last 30 days.</p>`,
    )}
    ${found.moreOver && html`<${More} name="over" what="completed deletions" />`}`;
}

export const deletions = {
  title: () => 'Deletions',

  async load({ leaving: { signal }, shown }) {
    const queue = await api.deletions(wanted('deletions'), signal);
    const over = shown.size > 0 && (await api.finished([...shown], wanted('over'), signal));
    return {
      deletions: [...queue.all('deletions'), ...(over ? over.all('deletions') : [])],
      statuses: queue.first.status_texts,
      more: queue.more,
      moreOver: over && over.more,
    };
  },

  View: ({ found }) => (found ? html`<${Queue} found=${found} />` : html`<${Loading} />`),
};

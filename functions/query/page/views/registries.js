// Every registry, by account: its copies, what differs, and whether its events arrive.

import { Actor } from '../actor.js';
import { Forget } from '../controls.js';
import { grouped, list, number } from '../format.js';
import { html } from '../html.js';
import { Age, Empty, Loading, Table } from '../parts.js';
import { HASHES } from '../routes.js';
import { Sentence } from '../signs.js';
import { silent, state } from '../store.js';
import { NothingYet } from './overview.js';

const COUNTS = ['Images', 'Orphans', 'Missing', 'Never replicated', 'Tags differ'];
const COLUMNS = [
  'Region',
  ...[...COUNTS, 'Last listed', 'Last event', 'Last heartbeat'].map((head) => ({ head, number: true })),
  'Events',
];

const figure = (value) =>
  value === undefined ? '–' : html`<span class=${value > 0 ? 'some' : 'none'}>${number(value)}</span>`;

const ForgottenBy = ({ at, by, reason }) =>
  html`<p class="quiet">by <${Actor} name=${by} />, <${Age} at=${at} />${reason && `: ${reason}`}</p>`;

function row({ registry, images, drifts, listed_at: listed, events }, forgettable) {
  return {
    key: registry,
    cells: [
      registry.split('/')[1],
      images === undefined ? '–' : number(images),
      ...[drifts?.orphans, drifts?.missing, drifts?.never_copied, drifts?.tags].map(figure),
      listed ? html`<${Age} at=${listed} />` : 'never',
      events.event_at ? html`<${Age} at=${events.event_at} />` : '–',
      events.heartbeat_at ? html`<${Age} at=${events.heartbeat_at} />` : '–',
      html`<div data-key=${`events|${registry}`} tabindex="-1">
        <${Sentence} name=${events.status}>${events.status_text}<//>
        ${events.forgotten && html`<${ForgottenBy} ...${events.forgotten} />`}
        ${forgettable && html`<${Forget} registry=${registry} />`}
      </div>`,
    ],
  };
}

export const registries = {
  title: () => 'Registries',
  load: async () => ({}),

  View({ argument: part }) {
    const known = state.overview;
    if (!known) return html`<${Loading} />`;
    if (known.registries.length === 0) return html`<${NothingYet} />`;
    const without = silent(known);
    const shown = list(known.registries).filter(({ registry }) => registry.includes(part));
    const accounts = grouped(shown, ({ registry }) => registry.split('/')[0]);
    const never = known.registries.filter(({ listed_at: at }) => !at).length;
    return html`<p class="lead">Counts are of the last complete listing; an image in several registries counts in each.</p>
      ${
        never > 0 &&
        html`<${Empty}>
        ${number(never)} of ${number(known.registries.length)} are not listed yet: nothing is known of what they have beside
        what events said. Each is listed once a day; <code>ecr-lineage reconcile</code> does it now.
      <//>`
      }
      ${
        part &&
        html`<p class="lead">
        ${number(shown.length)} of ${number(known.registries.length)} have <code>${part}</code> in their
        names.${' '}<a href=${HASHES.registries()}>All registries</a>${shown.length === 1 && html`<span
          class="sep">·</span><a href=${HASHES.activity({ registry: shown[0].registry })}>its activity</a>`}
      </p>`
      }
      <div>
        ${[...accounts].map(
          ([account, members]) => html`<div class="group" key=${account}>
            <${Table}
              caption=${`Account ${account}`}
              visible=${true}
              columns=${COLUMNS}
              rows=${members.map((one) => row(one, without.includes(one)))}
            />
          </div>`,
        )}
      </div>`;
  },
};

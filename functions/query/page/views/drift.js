// Where sources and replicas differ, and replicas that no source has any more.

import * as api from '../api.js';
import { bytes, list, number, referenceOf, sum } from '../format.js';
import { html, useState } from '../html.js';
import {
  Age,
  Empty,
  Filter,
  ImageLink,
  Loading,
  More,
  Next,
  NoFindings,
  Place,
  Pulled,
  Section,
  Size,
  Table,
  When,
  matches,
} from '../parts.js';
import { Sentence } from '../signs.js';
import { wanted } from '../store.js';

const signOf = ({ drift, expected }) => {
  if (drift === 'tags') return 'tags';
  return expected ? 'missing' : 'never';
};

const Lost = ({ source, at }) =>
  html`<div><${Place} registry=${source} />${' '}${at && html`<${When} at=${at} />`}</div>`;

const lastOf = ({ sources }) => Math.max(...Object.values(sources).map((at) => (at ? Date.parse(at) : 0)));

const Orphans = ({ orphans, more }) => html`
  <${Table}
    caption="Orphans"
    columns=${[
      { head: 'Image', by: more ? undefined : 'up' },
      { head: 'Registry', by: more ? undefined : 'up' },
      'Status',
      { head: 'Size', number: true, by: more ? undefined : 'down' },
      { head: 'Last pull', by: more ? undefined : 'down' },
      { head: 'Deleted at the source', by: more ? undefined : 'down' },
    ]}
    most=${25}
    what="orphans"
    rows=${orphans.map((orphan) => ({
      key: `${referenceOf(orphan)}|${orphan.registry}`,
      sort: [
        referenceOf(orphan),
        orphan.registry,
        undefined,
        orphan.listed?.size_bytes,
        orphan.listed?.last_pulled_at && Date.parse(orphan.listed.last_pulled_at),
        lastOf(orphan),
      ],
      cells: [
        html`<${ImageLink} image=${orphan} />`,
        html`<${Place} registry=${orphan.registry} />`,
        html`<${Sentence} name="orphan">${orphan.summary}<//>`,
        html`<${Size} size=${orphan.listed?.size_bytes} />`,
        html`<${Pulled} listed=${orphan.listed} at=${orphan.listed?.last_pulled_at} />`,
        Object.entries(orphan.sources).map(([source, at]) => html`<${Lost} source=${source} at=${at} />`),
      ],
    }))}
  />`;

const Differences = ({ differences, more }) => html`
  <${Table}
    caption="Differences"
    columns=${[
      { head: 'Image', by: more ? undefined : 'up' },
      { head: 'Destination', by: more ? undefined : 'up' },
      { head: 'Difference', by: more ? undefined : 'up' },
    ]}
    most=${25}
    what="differences"
    rows=${differences.map((one) => ({
      key: `${referenceOf(one)}|${one.source}|${one.destination}|${one.drift}`,
      sort: [referenceOf(one), one.destination, one.summary],
      cells: [
        html`<${ImageLink} image=${one} />`,
        html`<${Place} registry=${one.destination} />`,
        html`<${Sentence} name=${signOf(one)}>${one.summary}<//>`,
      ],
    }))}
  />`;

// How large some orphans are together, as far as listings saw them.
function sized(orphans) {
  const known = orphans.filter(({ listed }) => listed);
  const all = known.length < orphans.length ? `; the size of ${number(orphans.length - known.length)} is not known` : '';
  return `${bytes(sum(known.map(({ listed }) => listed.size_bytes)))} in all${all}.`;
}

const counted = (title, shown, all) => [
  `${title} `,
  html`<span class="count">${shown === all ? number(all) : `${number(shown)} of ${number(all)}`}</span>`,
];

function Drift({ found }) {
  const [text, set] = useState('');
  const { differences, orphans, basis, unread, remediation } = found;
  const listed = Object.entries(basis?.registries ?? {});
  const has = (one) => matches(text, one.repository, one.tags, one.digest, one.destination, one.registry, one.summary);
  const [some, others] = [differences.filter(has), orphans.filter(has)];
  const none = html`<${Empty}>None of them matches the filter.<//>`;
  return html`${differences.length + orphans.length > 0 && html`<${Filter} label="Filter" value=${text} set=${set} />`}
    <${Section} name="differences"
      title=${counted('Differences between sources and replicas', some.length, differences.length)}>
      ${differences.length === 0 && html`<${NoFindings} basis=${basis}>No differences.<//>`}
      ${differences.length > 0 && some.length === 0 && none}
      ${
        some.length > 0 &&
        html`<${Differences} differences=${some} more=${found.moreDifferences} />`
      }
      ${remediation && html`<${Next}>${remediation}<//>`}
      ${found.moreDifferences && html`<${More} name="differences" what="differences" />`}
    <//>
    <${Section}
      name="orphans"
      title=${counted('Orphans: replicas whose source no longer has the image', others.length, orphans.length)}
    >
      ${
        orphans.length === 0 &&
        html`<${NoFindings} basis=${basis}>No orphans: no source of a present replica is known to have deleted the image.<//>`
      }
      ${orphans.length > 0 && others.length === 0 && none}
      ${
        others.length > 0 &&
        html`<p class="quiet">
            ${sized(others)} Images share layers, so deleting them may free less.
          </p>
          <${Orphans} orphans=${others} more=${found.moreOrphans} />`
      }
      ${found.moreOrphans && html`<${More} name="orphans" what="orphans" />`}
    <//>
    <${Section} name="listed" title="Last listed">
      <ul class="plain columns">
        ${listed.map(
          ([registry, known]) => html`<li>
            <${Place} registry=${registry} />${' '}
            <span class="quiet">${known.listed_at ? html`<${Age} at=${known.listed_at} />` : 'never'}</span>
          </li>`,
        )}
      </ul>
      ${list(unread).map(
        (registry) => html`<p class="quiet">Replication rules not read yet: <${Place} registry=${registry} /></p>`,
      )}
    <//>`;
}

export const drift = {
  title: () => 'Drift',

  async load({ leaving: { signal } }) {
    const [differences, orphans] = await Promise.all([
      api.drift(wanted('differences'), signal),
      api.orphans(wanted('orphans'), signal),
    ]);
    return {
      basis: differences.first.basis,
      unread: differences.first.unread,
      remediation: differences.any('remediation'),
      differences: differences.all('differences'),
      moreDifferences: differences.more,
      orphans: orphans.all('orphans'),
      moreOrphans: orphans.more,
    };
  },

  View: ({ found }) => (found ? html`<${Drift} found=${found} />` : html`<${Loading} />`),
};

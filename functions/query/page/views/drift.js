// Where sources and replicas differ, and replicas that no source has any more.

import * as api from '../api.js';
import { list, number, referenceOf } from '../format.js';
import { html, useState } from '../html.js';
import {
  Age,
  Empty,
  Filter,
  ImageLink,
  Loading,
  Long,
  More,
  Next,
  NoFindings,
  Place,
  Section,
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

const Orphans = ({ orphans }) => html`
  <${Table}
    caption="Orphans"
    columns=${['Image', 'Registry', 'Status', 'Deleted at the source']}
    rows=${orphans.map((orphan) => ({
      key: `${referenceOf(orphan)}|${orphan.registry}`,
      cells: [
        html`<${ImageLink} image=${orphan} />`,
        html`<${Place} registry=${orphan.registry} />`,
        html`<${Sentence} name="orphan">${orphan.summary}<//>`,
        Object.entries(orphan.sources).map(([source, at]) => html`<${Lost} source=${source} at=${at} />`),
      ],
    }))}
  />`;

const Differences = ({ differences }) => html`
  <${Table}
    caption="Differences"
    columns=${['Image', 'Destination', 'Difference']}
    rows=${differences.map((one) => ({
      key: `${referenceOf(one)}|${one.source}|${one.destination}|${one.drift}`,
      cells: [
        html`<${ImageLink} image=${one} />`,
        html`<${Place} registry=${one.destination} />`,
        html`<${Sentence} name=${signOf(one)}>${one.summary}<//>`,
      ],
    }))}
  />`;

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
        html`<${Long} items=${some} most=${25} what="differences">${(shown) => html`<${Differences}
          differences=${shown} />`}<//>`
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
        html`<${Long} items=${others} most=${25} what="orphans">${(shown) => html`<${Orphans} orphans=${shown} />`}<//>`
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

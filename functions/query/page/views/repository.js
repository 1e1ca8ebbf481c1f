// The images of a repository: a column for each registry, so that what lacks an image is seen.

import * as api from '../api.js';
import { bestTag, distinct, list, number, plural, short } from '../format.js';
import { html, useState } from '../html.js';
import { Age, Empty, Filter, Loading, More, Pulled, Size, Table, Tags, When, listedOf, matches } from '../parts.js';
import { HASHES } from '../routes.js';
import { Sign, TONES } from '../signs.js';
import { wanted } from '../store.js';

// What is known of an image in a registry. What did not arrive as it should is said instead of what did.
const stateIn = ({ registries, not_arrived: lacks }, registry, { statuses, replicas }) => {
  const name = lacks?.[registry] ?? registries[registry];
  return name && { name, text: lacks?.[registry] ? replicas[name] : statuses[name] };
};

const Where = ({ registry, state }) =>
  state
    ? html`<span class=${`where ${TONES[state.name]}`} title=${`${registry}: ${state.text}`}>
        <${Sign} name=${state.name} /><span class="state">${state.text}</span>
      </span>`
    : html`<span class="quiet" title=${`${registry}: nothing is recorded`}>–</span>`;

function Images({ found, name }) {
  const [text, set] = useState('');
  const { images, more } = found;
  if (images.length === 0)
    return html`<${Empty}>No image of this repository is known: it is not recorded, or nothing was pushed since.<//>`;
  const registries = distinct(
    images.flatMap((image) => [...Object.keys(image.registries), ...Object.keys(image.not_arrived ?? {})]),
  ).sort();
  const accounts = distinct(registries.map((registry) => registry.split('/')[0]));
  // Only a list that is whole can be sorted here.
  const by = (first) => (more ? undefined : first);
  const column = (registry) => {
    const [account, region] = registry.split('/');
    return { head: accounts.length > 1 ? `${account} ${region}` : region, label: region };
  };
  const states = (image) => registries.map((registry) => stateIn(image, registry, found));
  const shown = images.filter((image) =>
    matches(
      text,
      image.digest,
      list(image.tags),
      states(image).map((state) => state?.text),
    ),
  );
  const known = (image) => ({ ...listedOf(image.listed), listed: Object.keys(image.listed ?? {}).length > 0 });
  const row = (image) => ({
    key: image.digest,
    sort: [
      image.digest,
      bestTag(list(image.tags)),
      image.pushed_at && Date.parse(image.pushed_at),
      known(image).size,
      known(image).pulledAt && Date.parse(known(image).pulledAt),
    ],
    cells: [
      html`<a class="digest" href=${HASHES.image(`${name}@${image.digest}`)}>${short(image.digest)}</a>`,
      list(image.tags).length > 0
        ? html`<${Tags} repository=${name} tags=${image.tags} />`
        : html`<span class="quiet">untagged</span>`,
      image.pushed_at && html`<${When} at=${image.pushed_at} />${' '}<${Age} at=${image.pushed_at} />`,
      html`<${Size} size=${known(image).size} />`,
      html`<${Pulled} listed=${known(image).listed} at=${known(image).pulledAt} />`,
      ...states(image).map((state, at) => html`<${Where} registry=${registries[at]} state=${state} />`),
    ],
  });
  return html`<p class="lead">
      ${plural(images.length, 'image')}${more && ' so far'}, newest push first, in ${plural(registries.length, 'registry')}.${' '}
      <a href=${HASHES.activity({ repository: name })}>Activity of this repository</a>
    </p>
    <${Filter} label="Filter by tag, digest or state" value=${text}
      set=${set}>${number(shown.length)} of ${number(images.length)}<//>
    ${
      shown.length > 0
        ? html`<${Table}
            caption=${`Images of ${name}`}
            columns=${[
              'Image',
              { head: 'Tags', by: by('down') },
              { head: 'Pushed (UTC)', by: by('down') },
              { head: 'Size', number: true, by: by('down') },
              { head: 'Last pull', by: by('down') },
              ...registries.map(column),
            ]}
            rows=${shown.map(row)}
            most=${25}
            what="images"
          />`
        : html`<${Empty}>None of them matches the filter.<//>`
    }
    ${more && html`<${More} name="images" what="images" />`}`;
}

export const repository = {
  title: (name) => name,

  async load({ argument: name, leaving: { signal } }) {
    const found = await api.images(name, wanted('images'), signal);
    const { status_texts: statuses, replica_texts: replicas } = found.first;
    return { images: found.all('images'), statuses, replicas, more: found.more };
  },

  View: ({ found, argument }) => (found ? html`<${Images} found=${found} name=${argument} />` : html`<${Loading} />`),
};

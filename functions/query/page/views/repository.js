// The images of a repository: a column for each registry, so that what lacks an image is seen.

import * as api from '../api.js';
import { distinct, list, number, plural, short } from '../format.js';
import { html, useState } from '../html.js';
import { Age, Empty, Filter, Loading, Long, More, Table, Tags, When, matches } from '../parts.js';
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
  const row = (image) => ({
    key: image.digest,
    cells: [
      html`<a class="digest" href=${HASHES.image(`${name}@${image.digest}`)}>${short(image.digest)}</a>`,
      list(image.tags).length > 0
        ? html`<${Tags} repository=${name} tags=${image.tags} />`
        : html`<span class="quiet">untagged</span>`,
      image.pushed_at && html`<${When} at=${image.pushed_at} />${' '}<${Age} at=${image.pushed_at} />`,
      ...states(image).map((state, at) => html`<${Where} registry=${registries[at]} state=${state} />`),
    ],
  });
  return html`<p class="lead">
      ${plural(images.length, 'image')}${more && ' so far'}, newest push first, in ${plural(registries.length, 'registry')}.
    </p>
    <${Filter} label="Filter by tag, digest or state" value=${text}
      set=${set}>${number(shown.length)} of ${number(images.length)}<//>
    ${
      shown.length > 0
        ? html`<${Long} items=${shown} most=${25} what="images">
          ${(some) => html`<${Table}
            caption=${`Images of ${name}`}
            columns=${['Image', 'Tags', 'Pushed (UTC)', ...registries.map(column)]}
            rows=${some.map(row)}
          />`}
        <//>`
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

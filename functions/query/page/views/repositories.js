// Every repository, with a filter that finds parts of names.

import * as api from '../api.js';
import { distinct, number, plural } from '../format.js';
import { html, useState } from '../html.js';
import { Empty, Filter, Loading, Long, More, RepositoryLink, Table, matches } from '../parts.js';
import { state, wanted } from '../store.js';
import { NothingYet } from './overview.js';

// The account is named only if there are several.
const place = (registry, several) => (several ? registry : registry.split('/')[1]);

function Repositories({ found: { repositories, more } }) {
  const [text, set] = useState('');
  if (repositories.length === 0)
    return state.overview?.registries.length === 0
      ? html`<${NothingYet} />`
      : html`<${Empty}>No repository is known yet: a registry is known, and no image of it.<//>`;
  const accounts = distinct(repositories.flatMap(({ registries }) => registries.map((one) => one.split('/')[0])));
  const where = accounts.length > 1 ? 'Where' : `In account ${accounts[0]}`;
  const shown = repositories.filter(({ repository, registries }) => matches(text, repository, registries));
  const row = ({ repository, registries }) => ({
    key: repository,
    cells: [
      html`<${RepositoryLink} name=${repository} />`,
      number(registries.length),
      html`<span class="places">
        ${registries.map((registry) => html`<span class="place">${place(registry, accounts.length > 1)}</span>`)}
      </span>`,
    ],
  });
  return html`<${Filter} label="Filter" value=${text} set=${set}>
      ${number(shown.length)} of ${plural(repositories.length, 'repository')}${more && ' so far'}
    <//>
    ${shown.length === 0 && html`<${Empty}>No name has this in it${more && '; load more of them below'}.<//>`}
    ${
      shown.length > 0 &&
      html`<${Long} items=${shown} most=${100} what="repositories">
      ${(some) => html`<${Table}
        caption="Repositories"
        columns=${['Repository', { head: 'Registries', number: true }, where]}
        rows=${some.map(row)}
      />`}
    <//>`
    }
    ${more && html`<${More} name="repositories" what="repositories" />`}`;
}

export const repositories = {
  title: () => 'Repositories',

  async load({ leaving: { signal } }) {
    const found = await api.repositories(wanted('repositories'), signal);
    return { repositories: found.all('repositories'), more: found.more };
  },

  View: ({ found }) => (found ? html`<${Repositories} found=${found} />` : html`<${Loading} />`),
};

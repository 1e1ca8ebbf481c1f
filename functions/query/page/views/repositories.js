// Every repository, with a filter that finds parts of names.

import * as api from '../api.js';
import { grouped, number, plural } from '../format.js';
import { html, useState } from '../html.js';
import { Empty, Filter, Loading, More, RepositoryLink, Table, matches } from '../parts.js';
import { state, wanted } from '../store.js';
import { NothingYet } from './overview.js';

// The regions of each account.
const Where = ({ registries }) => html`
  <span class="places">
    ${[...grouped(registries, (registry) => registry.split('/')[0])].map(
      ([account, members]) => html`<span class="place">
        <span class="account">${account}</span>${' '}${members.map((registry) => registry.split('/')[1]).join(', ')}
      </span>`,
    )}
  </span>`;

function Repositories({ found: { repositories, more } }) {
  const [text, set] = useState('');
  if (repositories.length === 0)
    return state.overview?.registries.length === 0
      ? html`<${NothingYet} />`
      : html`<${Empty}>No repository is known yet: a registry is known, and no image of it.<//>`;
  const shown = repositories.filter(({ repository, registries }) => matches(text, repository, registries));
  const row = ({ repository, registries }) => ({
    key: repository,
    sort: [repository, registries.length],
    cells: [
      html`<${RepositoryLink} name=${repository} />`,
      number(registries.length),
      html`<${Where} registries=${registries} />`,
    ],
  });
  return html`<${Filter} label="Filter" value=${text} set=${set}>
      ${number(shown.length)} of ${plural(repositories.length, 'repository')}${more && ' so far'}
    <//>
    ${shown.length === 0 && html`<${Empty}>No name has this in it${more && '; load more of them below'}.<//>`}
    ${
      shown.length > 0 &&
      html`<${Table}
        caption="Repositories"
        columns=${[
          { head: 'Repository', by: more ? undefined : 'up' },
          { head: 'Registries', number: true, by: more ? undefined : 'down' },
          'Where',
        ]}
        rows=${shown.map(row)}
        most=${100}
        what="repositories"
      />`
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

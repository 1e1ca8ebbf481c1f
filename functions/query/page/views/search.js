// What a text finds: repositories with it in their names, a tag, images by digest.

import * as api from '../api.js';
import { list, plural, referenceOf } from '../format.js';
import { html } from '../html.js';
import { ImageLink, RepositoryLink, Section, prose } from '../parts.js';
import { HASHES, routeOf } from '../routes.js';
import { draw } from '../store.js';

// The most pages of 1,000 repositories whose names are searched for a part.
const MOST = 10;
const MAY_BE_A_NAME = /^[a-z0-9._/-]+$/;

// The API finds beginnings of names; parts of them are found in the list of all.
async function withPart(text, signal) {
  if (!MAY_BE_A_NAME.test(text)) return [];
  const all = (await api.repositories(MOST, signal)).all('repositories');
  return all.map(({ repository }) => repository).filter((name) => name.includes(text));
}

// A digest without a repository is searched page by page.
async function searched(visit, text, signal) {
  const found = { repositories: [], tags: [], images: [], pages: 0 };
  const parts = withPart(text, signal);
  let cursor;
  do {
    const answer = await api.search(text, cursor, signal);
    for (const name of ['repositories', 'tags', 'images']) found[name].push(...list(answer[name]));
    if (found.pages === 0) found.repositories = [...new Set([...found.repositories, ...(await parts)])];
    found.pages += 1;
    cursor = answer.next_cursor;
    visit.looked = found.pages;
    if (cursor) draw();
  } while (cursor && found.repositories.length + found.tags.length + found.images.length === 0);
  return found;
}

// The only hit, if there is exactly one.
function onlyHit({ repositories, tags, images }) {
  if (repositories.length + tags.length + images.length !== 1) return undefined;
  if (repositories.length === 1) return HASHES.repository(repositories[0]);
  return HASHES.image(tags[0] ?? referenceOf(images[0]));
}

const Hits = ({ name, title, items }) =>
  items.length > 0 &&
  html`<${Section} name=${name} title=${title}>
    <ul class="hits">${items.map((item) => html`<li>${item}</li>`)}</ul>
  <//>`;

const NothingFound = ({ text, looked }) => html`
  <div class="welcome">
    <h2>Nothing found</h2>
    <p>
      No repository, tag or digest matches <code>${text}</code>${looked > 1 && `; ${plural(looked, 'page')} of digests searched`}.
      You can search for:
    </p>
    <ul>
      <li>${prose('a part of a repository name: `app`, `team/a`')}</li>
      <li>${prose('a tag, with its repository: `team/app:v1.4.2`')}</li>
      <li>${prose('a digest or its beginning: `4d6a4344`, `sha256:4d6a…`, `team/app@4d6a`')}</li>
      <li>any of these with the host name of the registry, as container tools print them</li>
    </ul>
    <p><a href=${HASHES.repositories()}>All repositories</a></p>
  </div>`;

export const search = {
  title: (text) => `Search: ${text}`,

  async load(visit) {
    const { argument: text, data, leaving } = visit;
    if (!text) location.replace(HASHES.repositories());
    // Search results are not refreshed.
    if (!text || data) return data;
    const found = await searched(visit, text, leaving.signal);
    const only = onlyHit(found);
    // Unless the user started another search.
    const now = routeOf(location.hash);
    if (only && now.view === 'search' && now.argument === text) location.replace(only);
    return found;
  },

  View({ found, argument: text, visit }) {
    if (!found)
      return html`<p class="empty">
        ${visit.looked > 0 ? `Searching all images for ${text}: ${plural(visit.looked, 'page')} so far…` : 'Searching…'}
      </p>`;
    const { repositories, tags, images } = found;
    if (repositories.length + tags.length + images.length === 0)
      return html`<${NothingFound} text=${text} looked=${found.pages} />`;
    return html`<${Hits}
        name="tags"
        title="Tag"
        items=${tags.flatMap((name) => [
          html`<a href=${HASHES.image(name)}>${name}</a>`,
          html`<a href=${HASHES.tag(name)}>History of ${name}</a>`,
        ])}
      />
      <${Hits} name="images" title=${plural(images.length, 'image')} items=${images.map((image) => html`<${ImageLink}
        image=${image} />`)} />
      <${Hits}
        name="repositories"
        title=${plural(repositories.length, 'repository')}
        items=${repositories.map((name) => html`<${RepositoryLink} name=${name} />`)}
      />`;
  },
};

// What a text finds: repositories, tags, images, registries and people with it in their names.

import * as api from '../api.js';
import { Actor } from '../actor.js';
import { list, plural, referenceOf } from '../format.js';
import { html } from '../html.js';
import { ImageLink, Loading, Place, RepositoryLink, Section, When, prose } from '../parts.js';
import { HASHES, routeOf } from '../routes.js';

const KINDS = ['repositories', 'tags', 'images', 'registries', 'actors'];

// The only hit, if there is exactly one. Whose name it is in is no hit beside the thing itself.
function onlyHit({ repositories, tags, images, registries, actors }) {
  if (registries.length + actors.length > 0) return undefined;
  if (tags.length + images.length === 1 && repositories.length === 0)
    return HASHES.image(tags[0] ?? referenceOf(images[0]));
  return repositories.length === 1 && tags.length + images.length === 0 ? HASHES.repository(repositories[0]) : undefined;
}

const Hits = ({ name, title, items }) =>
  items.length > 0 &&
  html`<${Section} name=${name} title=${title}>
    <ul class="hits">${items.map((item) => html`<li>${item}</li>`)}</ul>
  <//>`;

const Since = ({ at }) =>
  at &&
  html`<p class="quiet">Parts of tags, of digests and of people's names were searched in the activity since <${When}
    at=${at} />. To search all tags of a repository, write <code>repository:part</code>.</p>`;

const NothingFound = ({ text, since }) => html`
  <div class="welcome">
    <h2>Nothing found</h2>
    <p>Nothing known has <code>${text}</code> in its name. You can search for:</p>
    <ul>
      <li>${prose('a part of the name of a repository: `app`, `team/a`')}</li>
      <li>${prose('a tag: `v1.4.2` in any repository, or with a part of both names, `app:v1.4`')}</li>
      <li>${prose('the beginning of a digest: `4d6a4344`, `sha256:4d6a…`, `team/app@4d6a`')}</li>
      <li>${prose('an account or a region: `4444`, `us-east`')}</li>
      <li>a person, a role or a program that did something in the last 30 days</li>
      <li>an image with the host name of its registry, as container tools print it</li>
    </ul>
    <${Since} at=${since} />
    <p><a href=${HASHES.repositories()}>All repositories</a></p>
  </div>`;

export const search = {
  title: (text) => `Search: ${text}`,

  async load({ argument: text, data, leaving: { signal } }) {
    if (!text) location.replace(HASHES.repositories());
    // Search results are not refreshed.
    if (!text || data) return data;
    const answer = await api.search(text, signal);
    const found = { ...answer, ...Object.fromEntries(KINDS.map((kind) => [kind, list(answer[kind])])) };
    const only = onlyHit(found);
    // Unless the user started another search.
    const now = routeOf(location.hash);
    if (only && now.view === 'search' && now.argument === text) location.replace(only);
    return found;
  },

  View({ found, argument: text }) {
    if (!found) return html`<${Loading} />`;
    const { repositories, tags, images, registries, actors, activity_since: since } = found;
    if (KINDS.every((kind) => found[kind].length === 0)) return html`<${NothingFound} text=${text} since=${since} />`;
    return html`<${Hits}
        name="repositories"
        title=${plural(repositories.length, 'repository')}
        items=${repositories.map((name) => html`<${RepositoryLink} name=${name} />`)}
      />
      <${Hits}
        name="tags"
        title=${plural(tags.length, 'tag')}
        items=${tags.map(
          (name) => html`<span class="lane">
            <a href=${HASHES.image(name)}>${name}</a>
            <a class="quiet" href=${HASHES.tag(name)} aria-label=${`History of ${name}`}>history</a>
          </span>`,
        )}
      />
      <${Hits} name="images" title=${plural(images.length, 'image')} items=${images.map((image) => html`<${ImageLink}
        image=${image} />`)} />
      <${Hits}
        name="registries"
        title=${plural(registries.length, 'registry')}
        items=${registries.map((name) => html`<a href=${HASHES.registries(name)}><${Place} registry=${name} /></a>`)}
      />
      <${Hits} name="actors" title="Who did something" items=${actors.map((name) => html`<${Actor} name=${name} />`)} />
      <${Since} at=${since} />`;
  },
};

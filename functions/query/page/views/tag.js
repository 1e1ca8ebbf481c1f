// The images that a tag meant, in each registry.

import * as api from '../api.js';
import { BandKey, Bands } from '../bands.js';
import { short } from '../format.js';
import { html, useState } from '../html.js';
import { Empty, Loading, Place, RepositoryLink, Section, Table, When } from '../parts.js';
import { HASHES } from '../routes.js';
import { Badge } from '../signs.js';

const Digest = ({ repository, digest }) =>
  html`<a class="digest" href=${HASHES.image(`${repository}@${digest}`)}>${short(digest)}</a>`;

function End({ band, repository }) {
  if (!band.ended) return html`<${Badge} name="present">${band.summary}<//>`;
  if (band.ended.why !== 'moved') return html`<${Badge} name="absent">${band.summary}<//>`;
  return html`<span>→ ${band.summary}, <${Digest} repository=${repository} digest=${band.ended.to} /></span>`;
}

function History({ found, name }) {
  const [toScale, set] = useState(false);
  const { repository, history } = found;
  if (history.length === 0)
    return html`<${Empty}>
      This tag is not known: it was not seen since events are recorded.${' '}
      <a href=${HASHES.repository(repository)}>Images of ${repository}</a>
    <//>`;
  const row = (band) => ({
    key: `${band.registry}|${band.digest}|${band.from}`,
    cells: [
      html`<${Place} registry=${band.registry} />`,
      html`<${Digest} repository=${repository} digest=${band.digest} />`,
      html`<${When} at=${band.from} />`,
      band.ended ? html`<${When} at=${band.ended.at} />` : 'now',
      html`<${End} band=${band} repository=${repository} />`,
    ],
  });
  return html`<p class="lead">
      <${RepositoryLink} name=${repository} /> · <a href=${HASHES.image(name)}>current image</a>
    </p>
    <${Section} name="bands" title="Images of this tag over time">
      <figure class="panel">
        <${Bands} found=${found} toScale=${toScale} />
        <figcaption>
          <${BandKey} found=${found} />
          <label><input type="checkbox"
            onChange=${(event) => set(event.currentTarget.checked)} /> Time axis to scale</label>
          <span class="quiet"> If not to scale, long intervals are shortened.</span>
        </figcaption>
      </figure>
    <//>
    <${Section} name="changes" title="History as a table">
      <${Table}
        caption=${`History of ${name}`}
        columns=${['Registry', 'Image', 'From (UTC)', 'To (UTC)', 'End']}
        rows=${history.map(row)}
      />
    <//>`;
}

export const tag = {
  title: (name) => name,
  load: ({ argument: name, leaving: { signal } }) => api.tagHistory(name, signal),
  View: ({ found, argument }) => (found ? html`<${History} found=${found} name=${argument} />` : html`<${Loading} />`),
};

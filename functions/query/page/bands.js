// The history of a tag as lanes: one for each registry, a band for each image that the tag was set on.

import { now } from './clock.js';
import { distinct, short, time } from './format.js';
import { html } from './html.js';
import { fitted, roomFor, widthOf } from './measure.js';
import { HASHES } from './routes.js';

// Six colours, and six patterns with a shift after each round of colours: colour is not the only sign.
const HUES = 6;
const PATTERNS = ['M0 0', 'M0 8 8 0', 'M4 0V8', 'M0 0 8 8', 'M0 4H8', 'M3 4h2'];
const patternOf = (nth) => PATTERNS[(nth + Math.floor(nth / HUES)) % PATTERNS.length];

const digestsOf = (history) => distinct(history.map((band) => band.digest));

// Time from left to right: to scale, or with long intervals shortened so that short ones are visible.
function timeScale(times, left, right, toScale) {
  const sorted = distinct(times).sort((a, b) => a - b);
  const weight = (gap) => (toScale ? gap : Math.log1p(gap / 10_000) ** 1.5);
  const ends = [0];
  for (let at = 1; at < sorted.length; at += 1) ends.push(ends[at - 1] + weight(sorted[at] - sorted[at - 1]));
  const whole = ends.at(-1) || 1;
  const places = new Map(sorted.map((moment, at) => [moment, left + ((right - left) * ends[at]) / whole]));
  return (moment) => places.get(moment);
}

function Axis({ moments, x, y, room }) {
  let free = -Infinity;
  const texts = [];
  for (const moment of moments) {
    const [day, clockTime] = time(moment).split(' ');
    const half = widthOf(day) / 2 + 4;
    const at = Math.min(Math.max(x(moment), half), room - half);
    if (at - half < free) continue;
    free = at + half + 6;
    texts.push(html`<text x=${at} y=${y + 16} text-anchor="middle">${day}</text>`);
    texts.push(html`<text x=${at} y=${y + 32} text-anchor="middle">${clockTime}</text>`);
  }
  return html`<g class="axis">${moments.map((moment) => html`<path d=${`M${x(moment)} 0V${y}`} />`)} ${texts}</g>`;
}

function Band({ band, nth, repository, from, to, top }) {
  const size = Math.max(4, to - from - 1);
  const outline = band.ended
    ? `M${from} ${top}h${size}v32h${-size}z`
    : `M${from} ${top}h${size - 2}l10 16l-10 16h${2 - size}z`;
  const name = widthOf(short(band.digest), 400, 'monospace');
  const until = `${band.ended ? `to ${time(band.ended.at)}` : 'until now'}, ${band.summary}`;
  const label = `${band.registry}: ${short(band.digest)} from ${time(band.from)} ${until}`;
  return html`<a href=${HASHES.image(`${repository}@${band.digest}`)} aria-label=${label}
    class=${`band hue-${nth % HUES}`}>
    <title>${label}</title>
    <path class="fill" d=${outline} />
    <path class="pattern" d=${outline} fill=${`url(#pattern-${nth})`} />
    ${
      name + 16 < size &&
      html`<rect class="plate" x=${from + 6} y=${top + 6} width=${name + 8} height="20" rx="4" />
      <text x=${from + 10} y=${top + 21}>${short(band.digest)}</text>`
    }
  </a>`;
}

const Pattern = ({ nth }) => html`
  <pattern id=${`pattern-${nth}`} width="8" height="8" patternUnits="userSpaceOnUse" class=${`hue-${nth % HUES}`}>
    <path d=${patternOf(nth)} />
  </pattern>`;

export function Bands({ found: { repository, tag, history }, toScale }) {
  const width = roomFor();
  const narrow = width < 620;
  const registries = distinct(history.map((band) => band.registry));
  const left = narrow ? 0 : Math.ceil(Math.max(...registries.map((registry) => widthOf(registry, 600)))) + 16;
  const ended = (band) => (band.ended ? Date.parse(band.ended.at) : undefined);
  const changes = history.flatMap((band) => [Date.parse(band.from), ended(band)]).filter(Boolean);
  const today = Math.floor(now() / 1_000) * 1_000;
  const last = history.some((band) => !band.ended) ? Math.max(today, ...changes) : Math.max(...changes);
  const x = timeScale([...changes, last], left, width - 14, toScale);
  const digests = digestsOf(history);
  const row = narrow ? 62 : 46;
  const top = (registry) => registries.indexOf(registry) * row + (narrow ? 22 : 6);
  const bottom = registries.length * row + 4;
  const moments = distinct([...changes, last]).sort((a, b) => a - b);
  return html`<svg
    class="history"
    viewBox=${`0 0 ${width} ${bottom + 40}`}
    width=${width}
    height=${bottom + 40}
    role="group"
    aria-label=${`Images of tag ${tag} in each registry`}
  >
    <defs>${digests.map((_, nth) => html`<${Pattern} nth=${nth} />`)}</defs>
    <${Axis} moments=${moments} x=${x} y=${bottom} room=${width} />
    ${registries.map(
      (registry) => html`<text class="registry" x="0" y=${top(registry) + (narrow ? -6 : 21)}>
        ${fitted(registry, narrow ? width : left, 550)}
      </text>`,
    )}
    ${history.map(
      (band) => html`<${Band}
        key=${`${band.registry}|${band.digest}|${band.from}`}
        band=${band}
        nth=${digests.indexOf(band.digest)}
        repository=${repository}
        from=${x(Date.parse(band.from))}
        to=${x(ended(band) ?? last)}
        top=${top(band.registry)}
      />`,
    )}
  </svg>`;
}

const Swatch = ({ nth }) => html`
  <svg class=${`swatch history hue-${nth % HUES}`} viewBox="0 0 22 14" aria-hidden="true">
    <rect class="fill" x="0.7" y="0.7" width="20.6" height="12.6" rx="2" />
    <rect class="pattern" x="0.7" y="0.7" width="20.6" height="12.6" rx="2" fill=${`url(#pattern-${nth})`} />
  </svg>`;

export const BandKey = ({ found: { repository, history } }) => html`
  <ul class="key" aria-label="Images">
    ${digestsOf(history).map(
      (digest, nth) => html`<li>
        <${Swatch} nth=${nth} />
        <a class="digest" href=${HASHES.image(`${repository}@${digest}`)}>${short(digest)}</a>
      </li>`,
    )}
  </ul>`;

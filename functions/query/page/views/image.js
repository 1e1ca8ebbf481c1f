// An image: where it is and should be, how it came there, its alerts, deletions and timeline.

import * as api from '../api.js';
import { Actor } from '../actor.js';
import { Deletions } from '../deletion.js';
import { bestTag, bytes, distinct, list, plural, referenceOf, short, who } from '../format.js';
import { html } from '../html.js';
import { Lineage, lacking, lagText } from '../lineage.js';
import {
  Age,
  Command,
  Copy,
  Empty,
  Folded,
  Loading,
  Next,
  Place,
  Problem,
  Pulled,
  RepositoryLink,
  Size,
  Table,
  TagLink,
  Tags,
  When,
  listedOf,
  prose,
} from '../parts.js';
import { HASHES } from '../routes.js';
import { Badge, Sign, TONES } from '../signs.js';
import { draw, here, state } from '../store.js';
import { alertsOf } from './alerts.js';

const tagsOf = ({ registries }) => distinct(registries.flatMap((where) => where.tags)).sort();
const lastTagsOf = ({ registries }) => distinct(registries.flatMap((where) => list(where.deleted_tags))).sort();

// By the best tag that it has, or had when it was deleted.
function nameOf(image) {
  const best = bestTag(tagsOf(image)) ?? bestTag(lastTagsOf(image));
  return best ? `${image.repository}:${best}` : image.repository;
}

const named = (reference) => {
  const [name, digest] = reference.split('@');
  return digest ? `${name}@${short(digest)}` : reference;
};

// -- Where it is

const Came = ({ where }) => html`
  ${
    where.pushed_at &&
    html`<div>
    ${where.cached_from ? `brought from ${where.cached_from} by the pull through cache ` : 'pushed '}<${When}
      at=${where.pushed_at}
    />${where.pushed_by && html` by <${Actor} name=${where.pushed_by} />`}
  </div>`
  }
  ${where.replicated_from.map(
    (from) => html`<div>
      replicated from <${Place} registry=${from.registry} />${' '}<${When}
        at=${from.at} />${lagText(from) && `, ${lagText(from)}`}
    </div>`,
  )}`;

function InEach({ image }) {
  const lacks = lacking(image);
  const inRegistry = (registry) => lacks.find((one) => one.registry === registry);
  const known = image.registries.map(({ registry }) => registry);
  const there = (where) => {
    const lack = inRegistry(where.registry);
    return {
      key: where.registry,
      cells: [
        html`<${Place} registry=${where.registry} />`,
        html`<span class="badges">
          <${Badge} name=${lack ? 'not_expected' : where.status}>${where.status_text}<//>
          ${where.orphan && html`<${Badge} name="orphan">orphan<//>`}
          ${lack && html`<${Badge} name=${lack.state}>${lack.state_text}<//>`}
        </span>`,
        where.since && html`<${When} at=${where.since} />`,
        where.tags.length > 0 && html`<${Tags} repository=${image.repository} tags=${where.tags} />`,
        where.listed && html`<${Size} size=${where.listed.size_bytes} />`,
        where.listed && html`<${Pulled} listed=${true} at=${where.listed.last_pulled_at} />`,
        html`<${Came} where=${where} />${lack && html`<div>${lack.why}</div>`}`,
        where.deleted && html`<span><${When} at=${where.deleted.at} /> ${who(where.deleted.cause_text)}</span>`,
      ],
    };
  };
  const awaited = (one) => ({
    key: one.registry,
    cells: [
      html`<${Place} registry=${one.registry} />`,
      html`<${Badge} name=${one.state}>${one.state_text}<//>`,
      '',
      '',
      '',
      '',
      one.why,
      '',
    ],
  });
  return html`<${Table}
    caption="In each registry"
    columns=${[
      'Registry',
      'Status',
      'First seen (UTC)',
      'Tags',
      { head: 'Size', number: true },
      'Last pull',
      'Origin',
      'Deleted',
    ]}
    rows=${[...image.registries.map(there), ...lacks.filter(({ registry }) => !known.includes(registry)).map(awaited)]}
  />`;
}

// -- Files and commands

// A plain link. If the API requires the key, the page fetches the file and offers it as a download.
function FileLink({ reference, format, ending, children }) {
  const key = `files|${reference}`;
  const save = async (event) => {
    event.preventDefault();
    here.acted.delete(key);
    try {
      const url = URL.createObjectURL(await api.graphFile(reference, format));
      const link = document.createElement('a');
      Object.assign(link, { href: url, download: `${reference.replace(/[^A-Za-z0-9._-]+/g, '-')}.${ending}` });
      link.click();
      URL.revokeObjectURL(url);
    } catch (error) {
      here.acted.set(key, { problem: api.asProblem(error) });
    }
    draw();
  };
  return html`<a href=${api.graphPath(reference, format)} onClick=${api.needsKey() ? save : undefined}>${children}</a>`;
}

function Files({ reference }) {
  const problem = here.acted.get(`files|${reference}`)?.problem;
  return html`<p class="quiet">
      Download this lineage as <${FileLink} reference=${reference} format="json" ending="json">JSON<//>,${' '}
      <${FileLink} reference=${reference} format="dot" ending="dot">DOT<//>,${' '}
      <${FileLink} reference=${reference} format="mermaid" ending="mmd">Mermaid<//>
    </p>
    ${problem && html`<${Problem} problem=${problem} />`}`;
}

// The partitions whose domain is another one: no command is better than a wrong one.
const ELSEWHERE = /^(us-iso|eu-iso|eusc-)/;

// <https://docs.aws.amazon.com/general/latest/gr/ecr.html>
function hostOf(registry) {
  const [account, region] = registry.split('/');
  return `${account}.dkr.ecr.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
}

// How to pull exactly this image: from its source, or from any registry that has it.
function Pull({ image }) {
  const [first, ...others] = image.registries
    .filter(({ registry, status }) => status === 'present' && !ELSEWHERE.test(registry.split('/')[1]))
    .map(({ registry }) => registry);
  if (!first) return undefined;
  const command = (registry) => `docker pull ${hostOf(registry)}/${referenceOf(image)}`;
  const each = (registry) => html`<${Command} text=${command(registry)} what=${`command for ${registry}`} />`;
  return html`<div class="pull">
    <${Command} text=${command(first)} what="pull command" />
    ${
      others.length > 0 &&
      html`<${Folded} summary=${`Pull it from ${plural(others.length, 'other registry')}`}>${others.map(each)}<//>`
    }
  </div>`;
}

// -- Alerts and timeline

const Alert = ({ alert }) => html`
  <li class=${`trouble ${TONES[alert.severity]}`}>
    <p class="trouble-head">
      <${Badge} name=${alert.severity}>${alert.kind_text}<//>
      <span class="lane"><${Place} registry=${alert.source} /> → <${Place} registry=${alert.destination} /></span>
    </p>
    <p>${prose(alert.why)}</p>
    ${alert.remediation && html`<${Next}>${alert.remediation}<//>`}
  </li>`;

function Alerts({ image }) {
  const { overview } = state;
  const alerts = overview ? alertsOf(image, overview) : [];
  if (alerts.length === 0) return undefined;
  const remedy = ({ kind, source, destination }) =>
    overview.open.find((one) => one.kind === kind && one.source === source && one.destination === destination)
      ?.remediation;
  return html`<ul class="troubles" aria-label="Open alerts">
    ${alerts.map((one) => html`<${Alert} alert=${{ ...one, remediation: remedy(one) }} />`)}
  </ul>`;
}

function toneOf(fact) {
  if (/deleted|failed/.test(fact.what)) return 'bad';
  if (fact.what === 'observed' && !fact.storage) return 'bad';
  if (['pushed', 'cached', 'restored'].includes(fact.what)) return 'good';
  return fact.what === 'replicated' || fact.what === 'archived' ? 'info' : 'quiet';
}

// A tag that moved away is not a fact of this image: the other image has it.
function eventsOf({ timeline, registries }) {
  const facts = timeline.map((fact) => ({
    at: fact.time,
    registry: fact.registry,
    text: who(fact.summary),
    tone: toneOf(fact),
  }));
  const moves = registries.flatMap(({ registry, moved_tags: moved }) =>
    list(moved).map(({ at, summary }) => ({ at, registry, text: summary, tone: 'quiet' })),
  );
  return [...facts, ...moves].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

const Timeline = ({ image }) => html`
  ${
    image.timeline_omitted > 0 &&
    html`<p class="quiet">
    ${plural(image.timeline_omitted, 'older fact')} not shown; <code>ecr-lineage show ${referenceOf(image)}</code> prints all.
  </p>`
  }
  ${
    image.timeline.length === 0
      ? html`<${Empty}>No facts are recorded.<//>`
      : html`<ol class="timeline">
        ${eventsOf(image).map(
          (event) => html`<li class=${event.tone}>
            <${When} at=${event.at} /><span class="event-place"><${Place} registry=${event.registry} /></span>${' '}
            <span class="event">${event.text}</span>
          </li>`,
        )}
      </ol>`
  }`;

// -- The image

// A section of one of several images: one level deeper, and labelled with the digest for screen readers.
function Part({ image, alone, name, title, children }) {
  const id = `h-${name}-${short(image.digest)}`;
  return html`<section aria-labelledby=${alone ? id : undefined}
    aria-label=${alone ? undefined : `${title} (${short(image.digest)})`}>
    ${alone ? html`<h2 id=${id}>${title}</h2>` : html`<h3>${title}</h3>`} ${children}
  </section>`;
}

const noPull = (listed) =>
  listed.length > 0 ? 'no pull recorded' : 'no listing of a registry saw it yet, so its last pull is not known';

function Head({ image }) {
  const { repository, digest } = image;
  const tags = tagsOf(image);
  const listed = image.registries.map((where) => where.listed).filter(Boolean);
  const { size = image.deletions.find(({ size_bytes: known }) => known !== undefined)?.size_bytes, pulledAt } =
    listedOf(listed);
  return html`<div class="image-head">
    <p><${RepositoryLink} name=${repository} />${' '}<code class="whole">${digest}</code></p>
    <p class="quiet">
      ${size === undefined ? 'Size not known yet' : bytes(size)}<span class="sep">·</span>${
        pulledAt ? html`last pull <${Age} at=${pulledAt} />` : noPull(listed)
      }${
        list(image.platforms).length > 0 && html`<span class="sep">·</span>for ${image.platforms.join(', ')}`
      }<span class="sep">·</span><a href=${HASHES.activity({ repository: referenceOf(image) })}>activity</a>
    </p>
    ${tags.length > 0 && html`<p class="tags">${tags.map((tag) => html`<${TagLink} repository=${repository}
      tag=${tag} />`)}</p>`}
    <div class="image-acts">
      <${Copy} text=${digest} what="digest" /><${Copy} text=${referenceOf(image)} what="reference" />
    </div>
    <${Pull} image=${image} />
  </div>`;
}

const Image = ({ image, alone }) => html`
  <article aria-label=${`${image.repository}@${short(image.digest)}`}>
    ${!alone && html`<h2 class="image-name">${image.repository}@${short(image.digest)}</h2>`}
    <${Head} image=${image} />
    <${Alerts} image=${image} />
    <${Part} image=${image} alone=${alone} name="lineage" title="Lineage">
      ${
        image.registries.length > 0
          ? html`<figure class="panel"><${Lineage} image=${image} /></figure>`
          : html`<${Empty}>No registry is known to have this image.<//>`
      }
      <${Folded} summary="In each registry, as a table" open=${true}><${InEach} image=${image} /><//>
      <${Files} reference=${referenceOf(image)} />
    <//>
    <${Part} image=${image} alone=${alone} name="deletions" title="Deletions">
      ${
        image.deletions.length > 0
          ? html`<${Deletions} deletions=${image.deletions} ofImage=${true} />`
          : html`<${Empty}>No deletion of a replica is recorded.<//>`
      }
    <//>
    <${Part} image=${image} alone=${alone} name="timeline" title="Timeline"><${Timeline} image=${image} /><//>
  </article>`;

function Images({ found: { images, past }, reference }) {
  const tag = !reference.includes('@') && reference.includes(':');
  return html`${past && html`<p class="notice"><${Sign} name="info" />${prose(past)}</p>`}
    ${
      images.length > 1 &&
      html`<p class="notice">
      <${Sign} name="warning" />Registries disagree: the tag is set on ${images.length} images. All of them are below.
    </p>`
    }
    ${tag && html`<p class="quiet"><a href=${HASHES.tag(reference)}>History of ${reference}</a></p>`}
    ${images.map((image) => html`<${Image} key=${image.digest} image=${image} alone=${images.length === 1} />`)}`;
}

export const image = {
  title(reference, found) {
    if (found?.images.length !== 1) return named(reference);
    const [one] = found.images;
    const name = reference.includes('@') ? nameOf(one) : reference;
    return `${name}@${short(one.digest)}`;
  },

  async load({ argument, leaving: { signal } }) {
    const { images, past } = await api.lineage(argument, signal);
    // The API leaves out empty lists.
    const whole = (one) => ({
      ...one,
      registries: list(one.registries),
      deletions: list(one.deletions),
      timeline: list(one.timeline),
    });
    return { images: images.map(whole), past };
  },

  View: ({ found, argument }) =>
    found ? html`<${Images} found=${found} reference=${argument} />` : html`<${Loading} />`,
};

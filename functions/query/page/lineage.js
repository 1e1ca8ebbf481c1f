// The lineage picture: where an image is, and how it came there.

import { dueIn } from './clock.js';
import { QUEUE } from './deletion.js';
import { duration, list, short, time, who } from './format.js';
import { html } from './html.js';
import { fitted, roomFor, widthOf } from './measure.js';
import { Sign, TONES } from './signs.js';

const LINE = 19;
const CARD = { padding: 12, gap: 16, narrowest: 210, widest: 400 };
// The least space between two columns, for the lag.
const LANE = 120;

export const lagText = (came) => (came.lag_seconds === undefined ? '' : duration(came.lag_seconds));

// The destinations of replication rules that lack something, and why. A deletion is shown with its cause.
export const lacking = ({ expected, registries }) => {
  const deleted = new Set(registries.filter((where) => where.deleted).map(({ registry }) => registry));
  return list(expected).filter(({ why, registry }) => why && !deleted.has(registry));
};

// The registries of the picture: those that have or had the image, and those that should. What should be there and is
// not, or lacks a tag, has the sign of that.
function placesOf(image) {
  const lacks = new Map(lacking(image).map((one) => [one.registry, one]));
  const known = image.registries.map((where) => ({ ...where, lacks: lacks.get(where.registry) }));
  const there = new Set(known.map(({ registry }) => registry));
  const missing = [...lacks.values()].filter(({ registry }) => !there.has(registry));
  const expected = missing.map((one) => ({
    registry: one.registry,
    replicated_from: [{ registry: one.source }],
    tags: [],
    lacks: one,
    awaited: true,
  }));
  return [...known, ...expected].map((where) => ({ ...where, sign: where.lacks?.state ?? where.status }));
}

// When it was first seen, in its present stay or its last one.
const stayed = ({ since, status }) =>
  since && (status === 'present' || status === 'archived' ? ` since ${time(since)}` : `, first seen ${time(since)}`);

function linesOf(where) {
  const { lacks } = where;
  if (where.awaited)
    return [
      { text: lacks.state_text, tone: TONES[lacks.state] },
      { text: lacks.why, tone: 'quiet' },
    ];
  const lines = [{ text: where.status_text, rest: stayed(where), tone: lacks ? undefined : TONES[where.status] }];
  if (lacks) {
    const tags = list(lacks.missing_tags).join(', ');
    lines.push({ text: lacks.state_text, rest: tags && `: ${tags}`, tone: TONES[lacks.state], sign: lacks.state });
  }
  if (where.tags.length > 0) lines.push({ text: `tagged ${where.tags.join(', ')}` });
  if (where.pushed_at) lines.push({ text: `pushed ${time(where.pushed_at)}`, tone: 'quiet' });
  if (where.deleted) {
    lines.push({ text: 'deleted', rest: ` ${time(where.deleted.at)}`, tone: 'bad' });
    lines.push({ text: who(where.deleted.cause_text), tone: 'quiet' });
  }
  if (where.orphan) lines.push({ text: 'orphan', tone: 'warn', sign: 'orphan' });
  return lines;
}

function lineOfDeletion(deletion) {
  const due = deletion.status === 'pending' && !deletion.tag ? deletion.due : undefined;
  const what = `deletion ${deletion.status_text}${deletion.tag ? ` for tag ${deletion.tag}` : ''}`;
  return { text: due ? `deletion ${dueIn(due)}` : what, tone: TONES[deletion.status], sign: deletion.status };
}

// A registry's card.
function cardOf(where, deletions) {
  const [account, region] = where.registry.split('/');
  const here = deletions.filter(({ registry, status }) => registry === where.registry && QUEUE.includes(status));
  const lines = [...linesOf(where), ...here.map(lineOfDeletion)];
  return { where, account, region, lines, height: 2 * CARD.padding + LINE * (lines.length + 1) - 4 };
}

// The number of hops from the registry to which it was pushed.
function depths(places) {
  const sources = new Map(places.map((where) => [where.registry, where.replicated_from.map((from) => from.registry)]));
  const depth = (registry, seen) => {
    const from = (sources.get(registry) ?? []).filter((source) => sources.has(source) && !seen.includes(source));
    return from.length === 0 ? 0 : 1 + Math.min(...from.map((source) => depth(source, [...seen, registry])));
  };
  return new Map(places.map(({ registry, pushed_at: pushed }) => [registry, pushed ? 0 : depth(registry, [])]));
}

function columnsOf(cards, depth) {
  const columns = [];
  for (const card of cards) (columns[depth.get(card.where.registry)] ??= []).push(card);
  return columns.filter(Boolean);
}

// Left to right: a column for each hop, replicas under the name of their account.
function besideEachOther(columns, width) {
  const card = Math.min(CARD.widest, (width - LANE * (columns.length - 1)) / columns.length);
  const lane = columns.length > 1 ? (width - card * columns.length) / (columns.length - 1) : 0;
  const labels = [];
  const heights = columns.map((column, at) => {
    let y = 0;
    let account;
    for (const one of column) {
      if (one.account !== account) {
        labels.push({ text: one.account, x: at * (card + lane), y: y + 13, column: at });
        y += 24;
        account = one.account;
      }
      Object.assign(one, { x: at * (card + lane), y, width: card, column: at });
      y += one.height + CARD.gap;
    }
    return y - CARD.gap;
  });
  const height = Math.max(...heights);
  const offset = (at) => (height > 700 ? 0 : (height - heights[at]) / 2);
  for (const one of [...columns.flat(), ...labels]) one.y += offset(one.column);
  return { width, height, labels };
}

// Top to bottom, each hop a little to the right, with space for the lag above each replica.
function belowEachOther(columns, width, depth, parentOf) {
  let y = 0;
  const cards = columns.flat();
  const put = (card) => {
    const indent = 26 * depth.get(card.where.registry);
    y += indent > 0 ? 26 : CARD.gap;
    Object.assign(card, { x: indent, y, width: width - indent });
    y += card.height;
    cards.filter((one) => parentOf(one) === card.where.registry).forEach(put);
  };
  cards.filter((card) => !parentOf(card)).forEach(put);
  const shift = CARD.gap;
  for (const card of cards) card.y -= shift;
  return { width, height: y - shift, labels: [] };
}

function edgesOf(cards, beside) {
  const at = new Map(cards.map((card) => [card.where.registry, card]));
  const drawn = cards
    .flatMap((to) => to.where.replicated_from.map((came, nth) => ({ to, came, nth, from: at.get(came.registry) })))
    .filter(({ from, to }) => from && from !== to)
    .map((one) => (beside ? edgeBeside(one) : edgeBelow(one)));
  // Labels last: no line may cross them.
  return [drawn.map(([line]) => line), drawn.map(([, label]) => label)];
}

function edge(path, { where }) {
  const kind = where.status === 'absent' || where.awaited ? 'edge lost' : 'edge';
  return html`<path class=${kind} d=${path} marker-end="url(#arrow)" />`;
}

function edgeBeside({ from, to, came, nth }) {
  const [x2, y2] = [to.x - 3, to.y + Math.min(to.height / 2, 26) + nth * 24];
  const same = from.x >= to.x;
  const [x1, y1] = same ? [from.x, from.y + from.height - 12] : [from.x + from.width, from.y + from.height / 2];
  const middle = same ? x2 - LANE : x1 + (x2 - x1) * 0.4;
  const text = lagText(came);
  const width = widthOf(text) + 14;
  const label =
    text &&
    html`<g class="lag-label">
      <rect x=${x2 - width - 14} y=${y2 - 10} width=${width} height="20" rx="10" />
      <text x=${x2 - 14 - width / 2} y=${y2 + 4.5} text-anchor="middle">${text}</text>
    </g>`;
  return [edge(`M${x1} ${y1}C${middle} ${y1} ${middle} ${y2} ${x2} ${y2}`, to), label];
}

function edgeBelow({ from, to, came, nth }) {
  const x = from.x + 11 + nth * 5;
  const y = to.y + 24 + nth * 10;
  const text = lagText(came);
  const label =
    text && nth === 0 && html`<text class="lag-label" x=${to.x + 2} y=${to.y - 8}>replicated in ${text}</text>`;
  return [edge(`M${x} ${from.y + from.height}V${y}H${to.x - 3}`, to), label];
}

// The main text, and as much of the rest of the line as there is space for.
function lineText(attributes, { text, rest, weight }, room) {
  const main = fitted(text, room, weight);
  const left = room - widthOf(main, weight);
  const more = rest && left > 40 && html`<tspan class="rest">${fitted(rest, left)}</tspan>`;
  return html`<text ...${attributes}>${main}${more}</text>`;
}

function Card({ card }) {
  const { where, region, account, lines, x, y, width, height } = card;
  const left = x + CARD.padding + 4;
  const inner = width - 2 * CARD.padding - 4;
  const heading = { text: region, rest: card.column === undefined ? ` ${account}` : undefined, weight: 650 };
  const tone = TONES[where.sign];
  const stripe = `M${x + 8} ${y}h-1a7 7 0 0 0-7 7v${height - 14}a7 7 0 0 0 7 7h1a4 4 0 0 1-4-4V${y + 4}a4 4 0 0 1 4-4z`;
  const line = ({ tone: one = '', sign: name, ...words }, at) => {
    const top = y + CARD.padding + LINE * (at + 1) + 10;
    const indent = name ? 20 : 0;
    const weight = one && one !== 'quiet' ? 600 : 400;
    return html`${name && html`<${Sign} name=${name} tone=${one} x=${left} y=${top - 12} width="15" height="15" />`}
    ${lineText({ x: left + indent, y: top, class: `line-text ${one}` }, { ...words, weight }, inner - indent)}`;
  };
  return html`<g class=${`card ${tone} ${where.awaited ? 'awaited' : ''}`}>
    <rect class="body" x=${x} y=${y} width=${width} height=${height} rx="8" />
    <path class="stripe" d=${stripe} />
    <${Sign} name=${where.sign} tone=${tone} x=${x + width - CARD.padding - 16} y=${y + CARD.padding - 3} width="17"
      height="17" />
    ${lineText({ x: left, y: y + CARD.padding + 10, class: 'region' }, heading, inner - 24)} ${lines.map(line)}
  </g>`;
}

function described(where) {
  const from = where.replicated_from
    .filter(() => !where.awaited)
    .map((came) => `replicated from ${came.registry}${lagText(came) && ` in ${lagText(came)}`}`);
  const gone = where.deleted && `deleted ${time(where.deleted.at)}, ${where.deleted.cause_text}`;
  const state = [where.status_text, where.lacks?.state_text].filter(Boolean).join(', ');
  return [`${where.registry}: ${state}`, ...from, where.orphan && 'orphan', gone].filter(Boolean).join(', ');
}

export function Lineage({ image }) {
  const places = placesOf(image).sort((a, b) => a.registry.localeCompare(b.registry));
  const depth = depths(places);
  const cards = places.map((where) => cardOf(where, image.deletions));
  const columns = columnsOf(cards, depth);
  const width = roomFor();
  const beside = width >= columns.length * CARD.narrowest + (columns.length - 1) * LANE;
  const above = (came, card) => depth.get(came.registry) === depth.get(card.where.registry) - 1;
  const parentOf = (card) =>
    depth.get(card.where.registry) > 0 && card.where.replicated_from.find((came) => above(came, card))?.registry;
  const size = beside ? besideEachOther(columns, width) : belowEachOther(columns, width, depth, parentOf);
  const id = `lineage-${short(image.digest)}`;
  return html`<svg
    class="lineage"
    viewBox=${`0 -1 ${size.width} ${size.height + 2}`}
    width=${size.width}
    height=${size.height + 2}
    role="img"
    aria-labelledby=${`${id}-title`}
    aria-describedby=${`${id}-desc`}
  >
    <title id=${`${id}-title`}>Where ${short(image.digest)} is, and its origin</title>
    <desc id=${`${id}-desc`}>${places.map(described).join('. ')}</desc>
    <defs>
      <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">
        <path class="arrow" d="M0 0.5 7.5 4 0 7.5z" />
      </marker>
    </defs>
    ${edgesOf(cards, beside)}
    ${size.labels.map((label) => html`<text class="account" x=${label.x} y=${label.y}>account ${label.text}</text>`)}
    ${cards.map((card) => html`<${Card} key=${card.where.registry} card=${card} />`)}
  </svg>`;
}

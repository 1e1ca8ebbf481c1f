// The plot of replication lag by day, a line for each destination, drawn by uPlot.

import uPlot from './vendor/uplot.js';
import { duration, number, percent, plural } from './format.js';
import { html, useEffect, useRef, useState } from './html.js';
import { roomFor } from './measure.js';
import { Place } from './parts.js';

const DAY = 86_400;
const HUES = 6;
// The percentile of fewer copies than this says nothing about the slowest of a hundred.
const FEW = 10;
// A scale where a minute is as far from an hour as a second from a minute.
const TICKS = new Map([
  [1, '1 s'],
  [10, '10 s'],
  [60, '1 min'],
  [600, '10 min'],
  [3_600, '1 h'],
  [21_600, '6 h'],
  [DAY, '1 d'],
  [7 * DAY, '7 d'],
]);

const secondsOf = (day) => Date.parse(day) / 1_000;

// The days of all destinations, and for each its days by date.
function dataOf(destinations) {
  const days = [...new Set(destinations.flatMap(({ days: some }) => some.map(({ day }) => day)))].sort();
  const byDay = destinations.map(({ days: some }) => new Map(some.map((one) => [one.day, one])));
  const lines = byDay.flatMap((of) => [
    days.map((day) => of.get(day)?.p50_seconds ?? null),
    days.map((day) => (of.get(day)?.count >= FEW ? of.get(day).p99_seconds : null)),
  ]);
  return { days, byDay, data: [days.map(secondsOf), ...lines] };
}

const colour = (element, name) => getComputedStyle(element).getPropertyValue(name).trim();
const hueOf = (element, nth) => colour(element.querySelector(`.hue-${nth % HUES}`), '--hue');

function settings(element, { days, data }, threshold, hover) {
  const values = data
    .slice(1)
    .flat()
    .filter((value) => value !== null);
  const low = Math.max(1, Math.min(...values, threshold) / 1.6);
  const high = Math.max(...values, threshold) * 1.6;
  const width = roomFor();
  const [text, line] = [colour(element, '--quiet'), colour(element, '--line')];
  const axis = {
    stroke: text,
    font: '12px system-ui, sans-serif',
    ticks: { show: false },
    grid: { stroke: line, width: 1 },
  };
  const each = Math.ceil(days.length / Math.max(1, Math.floor(width / 80)));
  const limit = (plot) => {
    const y = plot.valToPos(threshold, 'y', true);
    const { ctx, bbox } = plot;
    ctx.save();
    ctx.strokeStyle = colour(element, '--bad');
    ctx.setLineDash([6, 4].map((part) => part * devicePixelRatio));
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.restore();
  };
  return {
    width,
    height: width < 500 ? 220 : 260,
    legend: { show: false },
    cursor: { drag: { x: false, y: false }, y: false },
    scales: {
      x: { time: false, range: (_, first, last) => [first - DAY / 2, last + DAY / 2] },
      y: { distr: 3, range: () => [low, high] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        splits: () => days.filter((_, at) => at % each === 0).map(secondsOf),
        values: (_, splits) => splits.map((at) => new Date(at * 1_000).toISOString().slice(5, 10)),
      },
      {
        ...axis,
        size: 60,
        // Without it only powers of ten have a label.
        filter: (_, splits) => splits,
        splits: () => [...TICKS.keys()].filter((seconds) => seconds >= low && seconds <= high),
        values: (_, splits) => splits.map((seconds) => TICKS.get(seconds)),
      },
    ],
    series: [{}, ...data.slice(1).map((_, at) => seriesOf(hueOf(element, Math.floor(at / 2)), at % 2 === 1))],
    hooks: { draw: [limit], setCursor: [(plot) => hover(plot.cursor.idx ?? undefined)] },
  };
}

const seriesOf = (stroke, dashed) => ({
  stroke,
  width: dashed ? 1.5 : 2,
  dash: dashed ? [3, 4] : undefined,
  spanGaps: true,
  points: { show: true, size: dashed ? 4 : 6, fill: stroke },
});

// What the day under the pointer says; without one, the last day.
function Reading({ destinations, day, byDay }) {
  const row = ({ destination }, nth) => {
    const one = byDay[nth].get(day);
    const figures = one
      ? html`p50 ${one.p50_seconds === undefined ? '–' : duration(one.p50_seconds)}, p99${' '}
          ${one.p99_seconds === undefined ? '–' : duration(one.p99_seconds)}, ${plural(one.count, 'copy')},
          ${` ${percent(one.within)} in time`}${one.not_arrived > 0 && `, ${number(one.not_arrived)} not arrived`}`
      : 'no copy';
    return html`<li class=${`hue-${nth % HUES}`}>
      <span class="dot" aria-hidden="true"></span> <${Place} registry=${destination} /> <span
        class="quiet">${figures}</span>
    </li>`;
  };
  return html`<div class="reading"><strong>${day}</strong><ul>${destinations.map(row)}</ul></div>`;
}

export function LagPlot({ destinations, threshold }) {
  const figure = useRef();
  const [at, hover] = useState();
  const drawn = dataOf(destinations);
  const { days, byDay } = drawn;
  // Drawn again if the data, the width or the colours changed.
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  const look = JSON.stringify([drawn.data, roomFor(), dark, threshold]);
  useEffect(() => {
    const target = figure.current.querySelector('.plot');
    const plot = new uPlot(settings(figure.current, drawn, threshold, hover), drawn.data, target);
    return () => plot.destroy();
  }, [look]);
  const period = `from ${days[0]} to ${days.at(-1)}`;
  const label = `Replication lag by day, ${period}, of ${plural(destinations.length, 'destination')}. A table follows.`;
  return html`<figure class="panel" ref=${figure}>
    <div class="plot" role="img" aria-label=${label}></div>
    <${Reading} destinations=${destinations} day=${days[at] ?? days.at(-1)} byDay=${byDay} />
    <figcaption class="quiet">
      Solid: p50. Dotted: p99, of days with at least ${FEW} copies. Red: late after ${threshold / 60} min. The scale is
      logarithmic, days are in UTC.
    </figcaption>
  </figure>`;
}

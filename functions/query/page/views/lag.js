// Replication lag: by destination and day, and by repository.

import * as api from '../api.js';
import { distinct, duration, list, number, percent } from '../format.js';
import { html } from '../html.js';
import { Empty, Folded, Loading, Long, NoFindings, Place, RepositoryLink, Section, Table } from '../parts.js';
import { HASHES } from '../routes.js';

// How long a report is good enough, in milliseconds: it changes slowly, and its request reads more than all others.
const LASTS = 60_000;
const known = new Map();

async function report(destination, signal) {
  const last = known.get(destination);
  if (last && Date.now() - last.at < LASTS) return last.report;
  const fresh = await api.lag(destination, signal);
  known.set(destination, { at: Date.now(), report: fresh });
  return fresh;
}

export const lagReport = (signal) => report(undefined, signal);

// The most destinations in one plot.
const MOST = 6;

const figures = (one) => [
  number(one.count),
  number(one.not_arrived),
  ...['p50', 'p90', 'p99', 'worst'].map((name) => {
    const seconds = one[`${name}_seconds`];
    return seconds === undefined ? '' : duration(seconds);
  }),
  percent(one.within),
];

const columns = (threshold) =>
  ['Arrived', 'Not arrived', 'p50', 'p90', 'p99', 'Worst', `Within ${threshold / 60} min`].map((head) => ({
    head,
    number: true,
  }));

const slowestFirst = (some) =>
  [...list(some)].sort((a, b) => b.not_arrived - a.not_arrived || (b.p99_seconds ?? 0) - (a.p99_seconds ?? 0));

// Each source and destination, with counts.
export const Routes = ({ lag }) => html`
  <${Table}
    caption="Lag by source and destination, slowest first"
    columns=${['To', 'From', ...columns(lag.threshold_seconds)]}
    rows=${slowestFirst(lag.routes).map((route) => ({
      key: `${route.source}|${route.destination}`,
      cells: [
        html`<${Place} registry=${route.destination} />`,
        html`<${Place} registry=${route.source} />`,
        ...figures(route),
      ],
    }))}
  />`;

const Days = ({ destinations, threshold }) => html`
  <${Table}
    caption="Lag by day and destination"
    columns=${['Day', 'To', ...columns(threshold)]}
    rows=${destinations
      .flatMap(({ destination, days }) => days.map((day) => ({ destination, ...day })))
      .sort((a, b) => b.day.localeCompare(a.day) || a.destination.localeCompare(b.destination))
      .map((day) => ({
        key: `${day.day}|${day.destination}`,
        cells: [day.day, html`<${Place} registry=${day.destination} />`, ...figures(day)],
      }))}
  />`;

const Lanes = ({ lanes, threshold }) => html`
  <${Long} items=${slowestFirst(lanes)} most=${20} what="rows">
    ${(shown) => html`<${Table}
      caption="Lag by source, destination and repository, slowest first"
      columns=${['Repository', 'From', 'To', ...columns(threshold)]}
      rows=${shown.map((lane) => ({
        key: `${lane.source}|${lane.destination}|${lane.repository}`,
        cells: [
          html`<${RepositoryLink} name=${lane.repository} />`,
          html`<${Place} registry=${lane.source} />`,
          html`<${Place} registry=${lane.destination} />`,
          ...figures(lane),
        ],
      }))}
    />`}
  <//>`;

export const lag = {
  title: () => 'Replication lag',

  async load({ leaving: { signal } }) {
    // The overview shows only the table.
    const [all, { LagPlot }] = await Promise.all([lagReport(signal), import('../plot.js')]);
    const reached = slowestFirst(all.routes).filter(({ count }) => count > 0);
    const names = distinct(reached.map(({ destination }) => destination));
    const shown = names.slice(0, MOST);
    const each = await Promise.all(shown.map((destination) => report(destination, signal)));
    const destinations = shown.map((destination, nth) => ({ destination, days: list(each[nth].days) }));
    return {
      all,
      LagPlot,
      destinations: destinations.filter(({ days }) => days.length > 0),
      omitted: names.length - shown.length,
    };
  },

  View({ found }) {
    if (!found) return html`<${Loading} />`;
    const { all, destinations, omitted, LagPlot } = found;
    const threshold = all.threshold_seconds;
    if (list(all.routes).length === 0)
      return html`<${NoFindings} basis=${all.basis}>No replication with a known push time in the last 30 days.<//>`;
    return html`<p class="lead">
        From a push until ECR says that the copy arrived, in the last 30 days.${' '}
        ${list(all.late).length > 0 && html`<a
          href=${HASHES.late()}>${number(all.late.length)} copies did not arrive</a>.`}
      </p>
      ${
        destinations.length > 0
          ? html`<${LagPlot} destinations=${destinations} threshold=${threshold} />`
          : html`<${Empty}>No copy arrived yet.<//>`
      }
      ${omitted > 0 && html`<p class="quiet">${number(omitted)} more destinations are in the table only.</p>`}
      ${
        destinations.length > 0 &&
        html`<${Folded} summary="By day, as a table"><${Days} destinations=${destinations}
          threshold=${threshold} /><//>`
      }
      <${Section} name="routes" title="By destination"><${Routes} lag=${all} /><//>
      <${Folded} summary="By repository, as a table"><${Lanes} lanes=${all.lanes} threshold=${threshold} /><//>`;
  },
};

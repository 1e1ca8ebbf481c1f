// Every copy that should have arrived, and did not.

import { list, number, referenceOf } from '../format.js';
import { html, useState } from '../html.js';
import { Age, Empty, Filter, ImageLink, Loading, NoFindings, Place, Table, matches, prose } from '../parts.js';
import { Badge } from '../signs.js';
import { lagReport } from './lag.js';

// `whole`: the list can be sorted.
export const LateCopies = ({ late, visible, whole }) => html`
  <${Table}
    caption="Not replicated"
    visible=${visible}
    columns=${[
      { head: 'Image', by: whole && 'up' },
      { head: 'Destination', by: whole && 'up' },
      { head: 'Source', by: whole && 'up' },
      { head: 'Pushed', by: whole && 'down' },
      { head: 'Reason', by: whole && 'up' },
    ]}
    most=${50}
    what="copies"
    rows=${late.map((one) => ({
      key: `${referenceOf(one)}|${one.source}|${one.destination}`,
      sort: [referenceOf(one), one.destination, one.source, Date.parse(one.pushed_at), one.kind_text],
      cells: [
        html`<${ImageLink} image=${one} />`,
        html`<${Place} registry=${one.destination} />`,
        html`<${Place} registry=${one.source} />`,
        html`<${Age} at=${one.pushed_at} />`,
        html`<${Badge} name=${one.severity}>${one.kind_text}<//>: ${prose(one.why)}`,
      ],
    }))}
  />`;

function Late({ found: { late, basis, next_cursor: more } }) {
  const [text, set] = useState('');
  if (late.length === 0) return html`<${NoFindings} basis=${basis}>No expected copy is late, failed or missing.<//>`;
  const shown = late.filter((one) =>
    matches(text, one.repository, one.tag, one.digest, one.source, one.destination, one.kind_text, one.why),
  );
  return html`<p class="lead">Copies that a replication rule asks for, and that did not arrive in time.</p>
    <${Filter} label="Filter" value=${text}
      set=${set}>${number(shown.length)} of ${number(late.length)}${more && ', and there may be more'}<//>
    ${shown.length > 0 ? html`<${LateCopies} late=${shown} whole=${!more} />` : html`<${Empty}>None of them matches the filter.<//>`}`;
}

export const late = {
  title: () => 'Not replicated',
  load: async ({ leaving: { signal } }) => {
    const report = await lagReport(signal);
    return { ...report, late: list(report.late) };
  },
  View: ({ found }) => (found ? html`<${Late} found=${found} />` : html`<${Loading} />`),
};

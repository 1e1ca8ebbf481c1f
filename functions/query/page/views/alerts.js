// Open incidents, and the alerts of the last days. What is resolved is folded.

import * as api from '../api.js';
import { Acts, Answered } from '../acts.js';
import { grouped, list, number, plural, referenceOf, who } from '../format.js';
import { html, useState } from '../html.js';
import {
  Age,
  AllWell,
  Empty,
  Filter,
  Folded,
  ImageLink,
  Loading,
  Long,
  More,
  Next,
  NoFindings,
  Place,
  Section,
  When,
  matches,
  prose,
} from '../parts.js';
import { HASHES } from '../routes.js';
import { Badge, TONES } from '../signs.js';
import { mayChange, wanted } from '../store.js';

// What an operator can say about an open incident.
function answersTo({ id, kind_text: text, source, destination, acknowledged, is_snoozed: snoozed }) {
  const about = `${text}, ${source} to ${destination}`;
  return [
    !acknowledged && {
      name: 'acknowledge',
      label: 'Acknowledge',
      about: `Acknowledge: ${about}`,
      says: ['Say that you work on it. It stays open, and is repeated as before.'],
      reason: 'optional',
      verb: 'Acknowledge it',
      does: async (reason) => (await api.acknowledge(id, reason)).summary,
    },
    !snoozed && {
      name: 'snooze',
      label: 'Snooze for 12 h',
      about: `Snooze for 12 h: ${about}`,
      says: ['It stays open and is shown here, and is not repeated for 12 hours unless it becomes more severe.'],
      reason: 'required',
      verb: 'Snooze it',
      does: async (reason) => (await api.snooze(id, '12h', reason)).summary,
    },
  ].filter(Boolean);
}

export function Incident({ incident }) {
  const { kind, kind_text: text, severity, source, destination, open, count, arrived, image, opened_at: at } = incident;
  const key = `incident|${kind}|${source}|${destination}`;
  return html`<li class=${`trouble ${TONES[severity]}`} data-key=${key} tabindex="-1">
    <p class="trouble-head">
      <${Badge} name=${severity}>${text}<//>
      <span class="lane"><${Place} registry=${source} /> → <${Place} registry=${destination} /></span>
      <span class="quiet">since <${When} at=${at} />, <${Age} at=${at} /></span>
    </p>
    <p>${prose(incident.why)}</p>
    <p class="quiet">
      ${plural(open, 'image')} open${open > 1 && html` (<a
        href=${HASHES.late()}>all of them</a>)`}, ${number(count)} total
      ${arrived > 0 && `, ${number(arrived)} recovered`}; first: <${ImageLink} image=${image} />
    </p>
    <${Next}>${incident.remediation}<//>
    ${list(incident.responses).map((line) => html`<p class="quiet">${who(line)}</p>`)}
    ${mayChange() && html`<${Acts} at=${key} acts=${answersTo(incident)} />`}
    <${Answered} at=${key} />
  </li>`;
}

const isOver = ({ state }) => state === 'resolved';

const Alert = ({ alert }) => html`
  <li class="alert">
    <div class="alert-head">
      ${
        isOver(alert)
          ? html`<${Badge} name="over">${alert.state}<//>`
          : html`<${Badge} name=${alert.severity}>${alert.severity}<//>`
      }
      <span class="quiet"><${When} at=${alert.time} /></span>
    </div>
    <div>
      <p><strong>${alert.kind_text}</strong>: ${prose(alert.message)}</p>
      ${!isOver(alert) && html`<${Next}>${alert.remediation}<//>`}
      ${alert.digest && html`<p class="quiet"><${ImageLink} image=${alert} /></p>`}
    </div>
  </li>`;

const Alerts = ({ alerts }) => html`
  <ol class="alerts">${alerts.map((alert) => html`<${Alert} key=${`${alert.id}|${alert.time}`}
    alert=${alert} />`)}</ol>`;

// The newest alert of each subject and kind; the others say what was so before.
function newest(alerts) {
  const groups = [...grouped(alerts, ({ kind, subject, digest }) => `${kind}|${subject}|${digest}`).values()];
  return { first: groups.map(([first]) => first), superseded: groups.flatMap(([, ...before]) => before) };
}

function Recent({ alerts, basis }) {
  const [text, set] = useState('');
  if (alerts.length === 0) return html`<${NoFindings} basis=${basis}>No alert in the last 7 days.<//>`;
  const shown = alerts.filter((one) =>
    matches(text, one.kind_text, one.message, one.severity, one.subject, one.repository, one.digest),
  );
  const { first, superseded } = newest(shown);
  const lasting = first.filter((alert) => !isOver(alert));
  const over = first.filter(isOver);
  return html`<${Filter} label="Filter" value=${text} set=${set}>${number(shown.length)} of ${number(alerts.length)}<//>
    ${shown.length === 0 && html`<${Empty}>None of them matches the filter.<//>`}
    ${
      lasting.length > 0 &&
      html`<${Long} items=${lasting} most=${10} what="alerts">${(some) => html`<${Alerts} alerts=${some} />`}<//>`
    }
    ${
      over.length > 0 &&
      html`<${Folded} summary=${`${number(over.length)} resolved`} open=${lasting.length === 0}><${Alerts}
        alerts=${over} /><//>`
    }
    ${
      superseded.length > 0 &&
      html`<${Folded} summary=${`${number(superseded.length)} superseded by a later one of the same subject`}>
      <${Alerts} alerts=${superseded} />
    <//>`
    }`;
}

export const alerts = {
  title: () => 'Alerts',

  async load({ leaving: { signal } }) {
    const found = await api.alerts(wanted('alerts'), signal);
    return { open: list(found.first.open), recent: found.all('alerts'), basis: found.first.basis, more: found.more };
  },

  View({ found }) {
    if (!found) return html`<${Loading} />`;
    const { open, recent, basis, more } = found;
    return html`<${Section} name="open" title="Open">
        ${
          open.length > 0
            ? html`<ul class="troubles">${open.map((one) => html`<${Incident} key=${one.id} incident=${one} />`)}</ul>`
            : html`<${AllWell}>No open alerts.<//>`
        }
      <//>
      <${Section} name="recent" title="Recent"><${Recent} alerts=${recent} basis=${basis} /><//>
      ${more && html`<${More} name="alerts" what="alerts" />`}`;
  },
};

// The alerts about one image that are open: its copies that did not arrive, and incidents that name it first.
export function alertsOf(image, { late, open }) {
  const reference = referenceOf(image);
  const copies = late.filter((one) => referenceOf(one) === reference);
  const others = open.filter(
    (one) => referenceOf(one.image) === reference && !copies.some(({ destination }) => destination === one.destination),
  );
  return [...copies, ...others];
}

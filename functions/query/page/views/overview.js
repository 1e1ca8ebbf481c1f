// The current state: what needs attention first.

import { Actor } from '../actor.js';
import { ClosedBreakers, OpenBreaker } from '../breakers.js';
import { Forget, Pauses } from '../controls.js';
import { distinct, number, plural, sum } from '../format.js';
import { html } from '../html.js';
import { Age, AllWell, Countdown, Loading, Next, Place, Section, prose } from '../parts.js';
import { HASHES } from '../routes.js';
import { Badge, Sign, TONES } from '../signs.js';
import { silent, state } from '../store.js';
import { Incident } from './alerts.js';
import { LateCopies } from './late.js';
import { Routes, lagReport } from './lag.js';

const Tile = ({ label, value, tone, children }) => html`
  <div class=${`tile ${tone ?? ''}`}>
    <dt>${label}</dt>
    <dd><span class="value">${value}</span><span class="note">${children}</span></dd>
  </div>`;

function Tiles({ known: { registries, late, open, deletions, deletions_at_least: least, next_due: due } }) {
  const accounts = distinct(registries.map(({ registry }) => registry.split('/')[0])).length;
  const listed = registries.filter(({ images }) => images !== undefined);
  const orphans = sum(registries.map(({ drifts }) => drifts?.orphans));
  const count = (value) => `${number(value)}${least ? '+' : ''}`;
  const blocked = deletions.held + deletions.awaiting_approval;
  return html`<dl class="tiles">
    <${Tile} label="Copies of images"
      value=${listed.length > 0 ? number(sum(listed.map(({ images }) => images))) : '–'}>
      in ${plural(registries.length, 'registry')}, ${plural(accounts, 'account')}; an image counts once in each
      ${listed.length < registries.length && `, ${number(registries.length - listed.length)} not listed yet`}
    <//>
    <${Tile} label="Orphans" value=${listed.length > 0 ? number(orphans) : '–'} tone=${orphans > 0 && 'warn'}>
      <a href=${HASHES.drift()}>replicas without a source</a>
    <//>
    <${Tile} label="Not replicated" value=${number(late.length)} tone=${late.length > 0 && 'bad'}>
      ${
        late.length > 0
          ? html`<a href=${HASHES.late()}>late, failed, missing or untagged</a>`
          : 'no expected replica is late'
      }
    <//>
    <${Tile} label="Deletions pending" value=${count(deletions.pending)} tone=${deletions.pending > 0 && 'warn'}>
      ${due && deletions.pending > 0 ? html`next <${Countdown} due=${due} />` : 'none'}
    <//>
    <${Tile} label="Deletions blocked" value=${count(blocked)} tone=${blocked > 0 && 'stop'}>
      <a href=${HASHES.deletions()}>${number(deletions.held)} on hold, ${number(deletions.awaiting_approval)} to approve</a>
    <//>
    <${Tile} label="Alerts open" value=${number(open.length)} tone=${open.length > 0 && 'bad'}>
      <a href=${HASHES.alerts()}>${open.length > 0 ? 'all open alerts' : 'recent alerts'}</a>
    <//>
  </dl>`;
}

const Silent = ({ registry, events }) => html`
  <li class=${`trouble ${TONES[events.status]}`} data-key=${`events|${registry}`} tabindex="-1">
    <p class="trouble-head"><${Badge} name=${events.status}>${events.status_text}<//><${Place}
      registry=${registry} /></p>
    <p class="quiet">
      last heartbeat ${events.heartbeat_at ? html`<${Age}
        at=${events.heartbeat_at} />` : 'never'}; what is shown of this
      registry may be outdated
    </p>
    <${Next}>\`ecr-lineage doctor\` checks the path from that registry<//>
    <${Forget} registry=${registry} />
  </li>`;

const Approvals = ({ count }) => html`
  <li class="trouble stop">
    <p class="trouble-head">
      <${Badge} name="awaiting_approval"><a href=${HASHES.deletions()}>${plural(count, 'deletion')}</a> to approve<//>
    </p>
    <p class="quiet">The policy asks for a person; until then the replicas are kept.</p>
  </li>`;

const FEW = 5;

function Attention({ known }) {
  const { open, late, breakers, registries, deletions } = known;
  const opened = Object.entries(breakers).filter(([, breaker]) => breaker.opened);
  const without = silent({ registries });
  const approvals = deletions.awaiting_approval;
  if (opened.length + open.length + late.length + without.length + approvals === 0)
    return html`<${Section} name="now" title="Now"><${AllWell}>No open alerts.<//><//>`;
  return html`<${Section} name="now" title="Needs attention">
    <ul class="troubles">
      ${without.slice(0, FEW).map((one) => html`<${Silent} key=${one.registry} ...${one} />`)}
      ${opened.map(([source, one]) => html`<${OpenBreaker} key=${source} source=${source} breaker=${one} />`)}
      ${open.slice(0, FEW).map((one) => html`<${Incident} key=${one.id} incident=${one} />`)}
      ${approvals > 0 && html`<${Approvals} key="approvals" count=${approvals} />`}
    </ul>
    ${
      without.length > FEW &&
      html`<p><a href=${HASHES.registries()}>All ${number(without.length)} registries without events</a></p>`
    }
    ${open.length > FEW && html`<p><a href=${HASHES.alerts()}>All ${number(open.length)} open alerts</a></p>`}
    ${late.length > 0 && html`<div class="group"><${LateCopies} late=${late.slice(0, FEW)} visible=${true} /></div>`}
    ${
      late.length > FEW &&
      html`<p><a href=${HASHES.late()}>All ${number(late.length)} copies that did not arrive</a></p>`
    }
  <//>`;
}

const Lag = ({ lag }) => html`
  <${Section} name="lag" title="Replication lag, 30 days">
    ${!lag && html`<${Loading} />`}
    ${
      lag &&
      (lag.routes.length > 0
        ? html`<${Routes} lag=${lag} />`
        : html`<p class="empty">No replication with a known push time in this period.</p>`)
    }
    <p><a href=${HASHES.lag()}>By day and by repository</a></p>
  <//>`;

function Drill({ drill }) {
  if (!drill) return undefined;
  const all = drill.restorable === drill.tried;
  return html`<${Section} name="drill" title="Restore drill">
    <p><${Sign} name=${all ? 'passed' : 'stopped'} />${' '}${drill.summary}<span
      class="quiet"> by <${Actor} name=${drill.by} /></span></p>
  <//>`;
}

const WAYS = [
  ['In AWS', 'deploy `infra/registry.yaml`, which sends ECR events to the hub, then push an image.'],
  ['On your machine', '`ecr-lineage local` simulates registries; push an image to the address that it prints.'],
  ['From files', '`ecr-lineage ingest FILE` reads archived events and CloudTrail log files.'],
];

export const NothingYet = () => html`
  <div class="welcome">
    <h2>No registry is known yet</h2>
    <p>A registry is listed here after its first event. There are three ways to send one:</p>
    <ol>
      ${WAYS.map(([where, how]) => html`<li><strong>${where}: </strong>${prose(how)}</li>`)}
    </ol>
  </div>`;

export const overview = {
  title: () => 'Overview',

  load: async ({ leaving: { signal } }) => ({ lag: await lagReport(signal) }),

  View({ found }) {
    const known = state.overview;
    if (!known) return html`<${Loading} />`;
    if (known.registries.length === 0) return html`<${NothingYet} />`;
    return html`<${Pauses} />
      <${Tiles} known=${known} />
      <${Attention} known=${known} />
      <${Lag} lag=${found?.lag} />
      <${ClosedBreakers} breakers=${known.breakers} />
      <${Drill} drill=${known.restore_drill} />`;
  },
};

// Signs: no meaning by colour alone; every colour has a shape and a word beside it.

import { html } from './html.js';

// The colour of each sign.
export const TONES = {
  present: 'good',
  archived: 'info',
  probably_absent: 'warn',
  absent: 'bad',
  pending: 'warn',
  awaiting_approval: 'stop',
  held: 'stop',
  executing: 'warn',
  failed: 'bad',
  done: 'bad',
  kept: 'good',
  info: 'info',
  warning: 'warn',
  critical: 'bad',
  over: 'good',
  open: 'bad',
  closed: 'good',
  alive: 'good',
  late: 'bad',
  unknown: 'info',
  forgotten: 'info',
  missing: 'bad',
  never: 'warn',
  tags: 'warn',
  passed: 'good',
  stopped: 'warn',
  orphan: 'warn',
  replicating: 'info',
  untagged: 'warn',
  not_expected: 'info',
};

const ring = ['circle', { cx: 8, cy: 8, r: 5, class: 'line' }];
const disc = ['circle', { cx: 8, cy: 8, r: 5.6 }];
const triangle = ['path', { d: 'M8 2.2 14.4 13.4H1.6z', class: 'line' }];
const letter = (text, y = 11.2) => ['text', { x: 8, y, class: 'letter' }, text];
const cut = (d) => ['path', { d, class: 'cut' }];

const SIGNS = {
  present: [disc],
  archived: [ring, ['path', { d: 'M8 3a5 5 0 0 0 0 10z' }]],
  probably_absent: [['circle', { cx: 8, cy: 8, r: 6, class: 'line dashed' }], letter('?')],
  absent: [ring],
  pending: [ring, ['path', { d: 'M8 8V3a5 5 0 0 1 5 5z' }]],
  awaiting_approval: [['rect', { x: 2.5, y: 2.5, width: 11, height: 11, rx: 2, class: 'line' }], letter('?')],
  held: [['path', { d: 'M4.5 3h2.4v10H4.5zM9.1 3h2.4v10H9.1z' }]],
  executing: [ring, ['path', { d: 'M6.6 5.4v5.2L10.8 8z' }]],
  done: [ring, ['path', { d: 'M5 8h6', class: 'line' }]],
  kept: [disc],
  failed: [['path', { d: 'M3.5 3.5l9 9M12.5 3.5l-9 9', class: 'line thick' }]],
  info: [ring, letter('i')],
  warning: [triangle, letter('!', 12.2)],
  critical: [['path', { d: 'M5.4 1.8h5.2l3.6 3.6v5.2l-3.6 3.6H5.4l-3.6-3.6V5.4z' }], cut('M8 3.9v5M8 10.4v1.8')],
  over: [disc, cut('M5.4 8.2l1.9 1.9 3.4-3.9')],
  open: [['path', { d: 'M4.5 3h2.4v10H4.5zM9.1 3h2.4v10H9.1z' }]],
  closed: [disc],
  alive: [disc],
  late: [triangle, letter('!', 12.2)],
  unknown: [['circle', { cx: 8, cy: 8, r: 6, class: 'line dashed' }], letter('?')],
  missing: [triangle, letter('!', 12.2)],
  never: [ring],
  tags: [['path', { d: 'M3.5 6.2h9M3.5 9.8h9M10 3.2 6 12.8', class: 'line' }]],
  passed: [['path', { d: 'M3.5 8.4l3 3 6-6.6', class: 'line thick' }]],
  stopped: [['path', { d: 'M4 4l8 8M12 4l-8 8', class: 'line thick' }]],
  orphan: [triangle, letter('!', 12.2)],
  replicating: [ring, ['path', { d: 'M8 8V3a5 5 0 0 1 5 5z' }]],
  untagged: [triangle, letter('!', 12.2)],
  not_expected: [ring],
};

const drawn = ([Shape, attributes, text]) => html`<${Shape} ...${attributes}>${text}<//>`;

export const Sign = ({ name, tone, ...place }) => html`
  <svg class=${`icon ${tone ?? ''}`} viewBox="0 0 16 16" aria-hidden="true" focusable="false" ...${place}>
    ${SIGNS[name].map(drawn)}
  </svg>`;

export const Badge = ({ name, children }) => html`
  <span class=${`badge ${TONES[name]}`}><${Sign} name=${name} /><span>${children}</span></span>`;

// A sign with a whole line of text, which may be wrapped.
export const Sentence = ({ name, children }) => html`
  <span class=${`badge sentence ${TONES[name]}`}><${Sign} name=${name} /><span>${children}</span></span>`;

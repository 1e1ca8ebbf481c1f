// The server's clock, which may run at any speed (ecr-lineage local --speed).

import { duration } from './format.js';

let read;
let speeds = [];

export function tell(text) {
  const next = { server: Date.parse(text), here: performance.now() };
  const passed = read ? next.here - read.here : 0;
  if (read && passed < 300) return;
  // A clock that is moved by hand jumps once: the slower of two intervals is its speed.
  if (read) speeds = [...speeds.slice(-1), (next.server - read.server) / passed];
  read = next;
}

export const speed = () => (speeds.length > 0 ? Math.max(0, Math.min(...speeds)) : 1);

export const now = () => (read ? read.server + (performance.now() - read.here) * speed() : Date.now());

export const secondsSince = (at) => (now() - Date.parse(at)) / 1_000;
export const ago = (at) => (secondsSince(at) < 1 ? 'just now' : `${duration(secondsSince(at))} ago`);
export const dueIn = (due) => (secondsSince(due) > -1 ? 'due now' : `due in ${duration(-secondsSince(due))}`);

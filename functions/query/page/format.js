// Numbers, times and names as text.

const two = (number) => String(number).padStart(2, '0');

export const number = (value) => value.toLocaleString('en');
export const plural = (count, word) =>
  `${number(count)} ${count === 1 ? word : `${word}s`.replace(/([^aeo])ys$/, '$1ies')}`;
export const capital = (text) => `${text[0].toUpperCase()}${text.slice(1)}`;
export const list = (value) => (Array.isArray(value) ? value : []);
export const distinct = (values) => [...new Set(values)];
export const sum = (values) => values.reduce((all, value) => all + (value ?? 0), 0);

export const short = (digest) => digest.slice(digest.indexOf(':') + 1).slice(0, 12);
export const referenceOf = ({ repository, digest }) => `${repository}@${digest}`;

// `2026-11-16 01:54:34`, in UTC.
export const time = (at) => new Date(at).toISOString().slice(0, 19).replace('T', ' ');

// `42 s`, `3 min 20 s`, `2 h 05 min`, `3 d 02 h`.
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3_600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  if (whole < 86_400) return `${Math.floor(whole / 3_600)} h ${two(Math.floor((whole % 3_600) / 60))} min`;
  return `${Math.floor(whole / 86_400)} d ${two(Math.floor((whole % 86_400) / 3_600))} h`;
}

export function bytes(size) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const step = size > 0 ? Math.min(units.length - 1, Math.floor(Math.log10(size) / 3)) : 0;
  return `${(size / 1_000 ** step).toFixed(step > 0 ? 1 : 0)} ${units[step]}`;
}

// `98.1 %`, never rounded up.
export const percent = (share) => `${(Math.floor(share * 1_000) / 10).toFixed(1)} %`;

// A text with principals, without the common beginning of their ARNs, or the identity behind an e-mail address.
export const who = (text) =>
  text.replace(/arn:[^:]*:(?:sts|iam)::\d*:(?:assumed-role\/)?/g, '').replace(/ \(sub \S+ at [^\s()]+\)/g, '');

export function grouped(items, by) {
  const groups = new Map();
  for (const item of items) {
    const group = by(item);
    if (groups.has(group)) groups.get(group).push(item);
    else groups.set(group, [item]);
  }
  return groups;
}

// The tag that names an image best: not a moving one such as `latest`, and of several the highest.
export function bestTag(tags) {
  const fixed = tags.filter((tag) => tag !== 'latest');
  return [...(fixed.length > 0 ? fixed : tags)].sort((a, b) => b.localeCompare(a, 'en', { numeric: true }))[0];
}

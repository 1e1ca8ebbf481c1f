// The addresses of the views.

const at = (view) => (argument) => `#/${view}/${encodeURIComponent(argument)}`;

// `#/activity/actor=dana&kind=pushed`: an address for every question.
function withFilters(view, filters = {}) {
  const given = Object.entries(filters).filter(([, value]) => value);
  return given.length > 0 ? `#/${view}/${encodeURIComponent(new URLSearchParams(given))}` : `#/${view}`;
}

export const HASHES = {
  overview: () => '#/',
  repositories: () => '#/repositories',
  search: at('search'),
  repository: at('repository'),
  image: at('image'),
  tag: at('tag'),
  activity: (filters) => withFilters('activity', filters),
  deletions: () => '#/deletions',
  alerts: () => '#/alerts',
  late: () => '#/late',
  drift: () => '#/drift',
  lag: () => '#/lag',
  registries: (part) => (part ? at('registries')(part) : '#/registries'),
};

export function routeOf(hash) {
  const [, name = '', argument = ''] = /^#\/([^/]*)\/?(.*)$/.exec(hash) ?? [];
  const view = name === '' ? 'overview' : Object.hasOwn(HASHES, name) ? name : 'unknown';
  try {
    return { view, argument: decodeURIComponent(argument) };
  } catch {
    return { view, argument };
  }
}

// The addresses of the views.

const at = (view) => (argument) => `#/${view}/${encodeURIComponent(argument)}`;

export const HASHES = {
  overview: () => '#/',
  repositories: () => '#/repositories',
  search: at('search'),
  repository: at('repository'),
  image: at('image'),
  tag: at('tag'),
  deletions: () => '#/deletions',
  alerts: () => '#/alerts',
  late: () => '#/late',
  drift: () => '#/drift',
  lag: () => '#/lag',
  registries: () => '#/registries',
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

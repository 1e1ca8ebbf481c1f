// The search field: suggestions while typing, as a combobox with a list.
// https://www.w3.org/WAI/ARIA/apg/patterns/combobox/

import * as api from './api.js';
import { list, short, who } from './format.js';
import { html, render } from './html.js';
import { HASHES } from './routes.js';
import { announce } from './store.js';

// How long nothing is typed until suggestions are asked for, in milliseconds; and the fewest characters.
const PAUSE = 150;
const FEWEST = 2;
// The most suggestions of one kind.
const MOST = 6;

// What a search found, as suggestions: `{ kind, text, hash }`.
export function suggestions(found) {
  const some = (name, kind, each) =>
    list(found[name])
      .slice(0, MOST)
      .map((item) => ({ kind, ...each(item) }));
  return [
    ...some('repositories', 'repository', (name) => ({ text: name, hash: HASHES.repository(name) })),
    ...some('tags', 'tag', (name) => ({ text: name, hash: HASHES.image(name) })),
    ...some('images', 'image', ({ repository, digest }) => ({
      text: `${repository}@${short(digest)}`,
      hash: HASHES.image(`${repository}@${digest}`),
    })),
    ...some('registries', 'registry', (name) => ({ text: name, hash: HASHES.registries(name) })),
    ...some('actors', 'who', (name) => ({ text: who(name), hash: HASHES.activity({ actor: name }) })),
  ];
}

export function suggest(form, field) {
  const box = form.querySelector('[role="listbox"]');
  // What is suggested for which text, and which suggestion is chosen; -1 for none.
  let shown = { text: '', items: [] };
  let chosen = -1;
  let asking = new AbortController();
  let pause;

  const isOpen = () => !box.hidden;

  function draw() {
    const { items } = shown;
    field.setAttribute('aria-expanded', String(isOpen()));
    if (chosen >= 0) field.setAttribute('aria-activedescendant', `suggestion-${chosen}`);
    else field.removeAttribute('aria-activedescendant');
    const option = ({ kind, text, hash }, nth) => html`<div
      id=${`suggestion-${nth}`}
      role="option"
      aria-selected=${String(nth === chosen)}
      onMouseDown=${(event) => event.preventDefault()}
      onClick=${() => go(hash)}
    >
      <span class="suggested">${text}</span>${' '}<span class="quiet">${kind}</span>
    </div>`;
    render(html`${items.map(option)}`, box);
    document.getElementById(`suggestion-${chosen}`)?.scrollIntoView({ block: 'nearest' });
  }

  function close() {
    clearTimeout(pause);
    asking.abort();
    box.hidden = true;
    chosen = -1;
    draw();
  }

  function go(hash) {
    close();
    field.blur();
    location.hash = hash;
  }

  async function ask() {
    const text = field.value.trim();
    asking.abort();
    asking = new AbortController();
    const { signal } = asking;
    try {
      const found = await api.search(text, signal);
      if (signal.aborted) return;
      const all = { kind: 'all results', text, hash: HASHES.search(text) };
      const items = suggestions(found);
      shown = { text, items: items.length > 0 ? [...items, all] : [] };
      chosen = -1;
      box.hidden = items.length === 0;
      draw();
      announce(items.length > 0 ? `${items.length} suggestions.` : 'No suggestions.');
    } catch {
      // The search itself says what is wrong.
    }
  }

  function typed() {
    clearTimeout(pause);
    if (field.value.trim().length < FEWEST) close();
    else pause = setTimeout(ask, PAUSE);
  }

  function move(by) {
    if (shown.items.length === 0) return;
    box.hidden = false;
    const places = shown.items.length + 1;
    chosen = ((chosen + 1 + by + places) % places) - 1;
    draw();
  }

  const KEYS = { ArrowDown: () => move(1), ArrowUp: () => move(-1) };

  field.addEventListener('input', typed);
  field.addEventListener('blur', close);
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && isOpen()) {
      event.preventDefault();
      close();
    } else if (KEYS[event.key] && !event.altKey && !event.ctrlKey && !event.metaKey) {
      event.preventDefault();
      KEYS[event.key]();
    }
  });
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    const text = field.value.trim();
    if (chosen >= 0) go(shown.items[chosen].hash);
    else if (text) {
      close();
      location.hash = HASHES.search(text);
    }
  });
}

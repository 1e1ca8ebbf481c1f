// Who did something: a link to all that this person, role or program did.

import { who } from './format.js';
import { html } from './html.js';
import { HASHES } from './routes.js';

export const Actor = ({ name }) => html`<a class="actor" href=${HASHES.activity({ actor: name })}
  title=${`Activity of ${name}`}>${who(name)}</a>`;

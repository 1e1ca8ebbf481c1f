// Preact, and htm: elements are written as tagged templates, without a build step.

import { h, render } from './vendor/preact.js';
import htm from './vendor/htm.js';

export { useEffect, useErrorBoundary, useRef, useState } from './vendor/hooks.js';
export { render };

export const html = htm.bind(h);

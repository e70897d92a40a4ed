// The icons, fetched once and kept in the page: a <use> of a file would leave holes as soon as the network is away.

import { svg } from './dom.js';

const FILE = new URL('../icons.svg', import.meta.url);

export const icon = (name) =>
  svg('svg', { class: 'ic', viewBox: '0 0 20 20', 'aria-hidden': 'true' }, svg('use', { href: `#icon-${name}` }));

export async function loadIcons() {
  const text = await (await fetch(FILE)).text();
  const sheet = new DOMParser().parseFromString(text.replaceAll('<symbol id="', '<symbol id="icon-'), 'image/svg+xml').documentElement;
  for (const [name, value] of [['width', 0], ['height', 0], ['aria-hidden', 'true'], ['class', 'vh']]) sheet.setAttribute(name, value);
  document.body.append(document.importNode(sheet, true));
}

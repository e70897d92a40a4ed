// The row of selectors: clip, target, contrast, window, layer, scale; and all maps as one file.

import { LABELS, el, icon, two } from './dom.js';

const SCALES = [['shared', 'Shared'], ['map', 'Per map']];

export function controls({ material, clips, id, view, onClip, onChange, onWindow, onScale }) {
  const clip = select(clips.map((one) => [one.id, one.name]), (value) => onClip(value));
  clip.value = id;
  const target = select(LABELS.map((name) => [name, name]), (value) => { view.target = value; onChange(); });
  const contrast = select([['', 'nothing'], ...LABELS.map((name) => [name, name])], (value) => { view.contrast = value; onChange(); });
  const named = (one, i) => [String(i), `${i + 1}: ${two(one.start_s)} to ${two(one.end_s)} s`];
  const window = select([['', 'whole clip'], ...material.windows.map(named)], (value) => onWindow(value === '' ? null : Number(value)));
  const layer = select([['', 'last'], ...material.layers.map((name) => [name, name])], (value) => { view.layer = value; onChange(); });
  const scales = SCALES.map(([name, text]) => el('button', { type: 'button', onclick: () => { view.scale = name; scaled(); onScale(); } }, text));
  const scaled = () => scales.forEach((button, i) => button.setAttribute('aria-pressed', String(SCALES[i][0] === view.scale)));
  const all = el('a', { class: 'btn', download: true }, icon('down'), 'All maps');
  const glyph = el('span', { class: 'glyph' });
  const other = el('span', { class: 'glyph' });
  const root = el('div', { class: 'controls', role: 'group', 'aria-label': 'What is inspected' },
    field('Clip', clip), field('Target', target, glyph), field('Contrast with', contrast, other), field('Window', window),
    material.layers.length ? field('Layer', layer) : null,
    el('div', { class: 'fld' }, el('span', {}, 'Scale'), el('span', { class: 'seg', role: 'group', 'aria-label': 'Scale of the maps' }, scales)),
    all,
    el('a', { class: 'btn', href: `/?result=${encodeURIComponent(id)}` }, 'Its reading'), el('a', { class: 'btn', href: '/' }, 'Another clip'));

  return {
    root,
    // Where all maps are, once they are computed.
    offer(address) {
      if (address) all.setAttribute('href', address);
      else all.removeAttribute('href');
      all.setAttribute('role', 'link'); // also without an address
      all.setAttribute('aria-disabled', String(!address));
    },
    dress() {
      scaled();
      layer.value = view.layer;
      target.value = view.target;
      contrast.value = view.contrast;
      [...contrast.options].forEach((option) => { option.disabled = option.value === view.target; });
      window.value = view.window === null ? '' : String(view.window);
      glyph.className = `glyph em-${view.target}`;
      glyph.replaceChildren(icon(view.target));
      other.className = `glyph em-${view.contrast}`;
      other.replaceChildren(...(view.contrast ? [icon(view.contrast)] : []));
      other.parentNode.classList.toggle('marked', Boolean(view.contrast));
    },
  };
}

function select(options, onChoose) {
  const node = el('select', {}, options.map(([value, text]) => el('option', { value }, text)));
  node.addEventListener('change', () => onChoose(node.value));
  return node;
}

function field(title, choice, glyph = null) {
  choice.id = `inspect-${title.toLowerCase().replaceAll(' ', '-')}`;
  const name = el('span', {}, el('label', { for: choice.id }, title));
  return el('div', { class: 'fld' }, name, el('span', { class: `picked${glyph ? ' marked' : ''}` }, glyph, choice));
}

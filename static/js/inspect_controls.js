// The row of selectors: clip, target, contrast, window.

import { LABELS, el, icon, two } from './dom.js';

export function controls({ material, clips, id, view, onClip, onChange, onWindow }) {
  const clip = select(clips.map((one) => [one.id, one.name]), (value) => onClip(value));
  clip.value = id;
  const target = select(LABELS.map((name) => [name, name]), (value) => { view.target = value; onChange(); });
  const contrast = select([['', 'nothing'], ...LABELS.map((name) => [name, name])], (value) => { view.contrast = value; onChange(); });
  const named = (one, i) => [String(i), `${i + 1}: ${two(one.start_s)} to ${two(one.end_s)} s`];
  const window = select([['', 'whole clip'], ...material.windows.map(named)], (value) => onWindow(value === '' ? null : Number(value)));
  const glyph = el('span', { class: 'glyph' });
  const other = el('span', { class: 'glyph' });
  const root = el('div', { class: 'controls', role: 'group', 'aria-label': 'What is inspected' },
    field('Clip', clip), field('Target', target, glyph), field('Contrast with', contrast, other), field('Window', window),
    el('a', { class: 'btn', href: `/?result=${encodeURIComponent(id)}` }, 'Its reading'), el('a', { class: 'btn', href: '/' }, 'Another clip'));

  return {
    root,
    dress() {
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

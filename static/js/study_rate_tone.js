// The valence and arousal grid, 9 by 9, with figures at its four ends that say what they mean without words.

import { el, svg } from './dom.js';

const SIZE = 9;
const head = (x, y) => `<circle class="f" cx="${x}" cy="${y}" r="4.2"/>`;
const FIGURES = {
  pleasant: `${head(16, 7)}<path d="M16 13v8M6 8q3 7 10 6 7 1 10-6M16 21l-5 8M16 21l5 8"/>`,
  unpleasant: `${head(20, 11)}<path d="M17 14.5Q11 16 12 23M15.5 16q3.5 3 3 8M12 23l-2 6M12 23l4 6"/>`,
  excited: `${head(16, 9)}<path d="M16 14v6M16 14.5L6 9M16 14.5L26 9M16 20l-8 8M16 20l8 8M16 1v2.5M8 2.5l1.4 2M24 2.5l-1.4 2"/>`,
  calm: `${head(16, 7)}<path d="M16 12.5v9M16 14.5Q9.5 16 8 22M16 14.5Q22.5 16 24 22M5 27q11-7 22 0z"/>`,
};

function figure(name) {
  const node = svg('svg', { class: 'fig', viewBox: '0 0 32 32', 'aria-hidden': 'true' });
  node.innerHTML = FIGURES[name];
  return node;
}

// onSet({valence, arousal}) with 1 to 9, or nulls.
export function tone(words, hint, onSet) {
  const cells = Array.from({ length: SIZE * SIZE }, (_, i) =>
    el('i', { 'data-valence': (i % SIZE) + 1, 'data-arousal': SIZE - Math.floor(i / SIZE) }));
  const grid = el('div', { class: 'va', role: 'application', tabindex: 0, 'aria-label': words.toneGrid, 'aria-describedby': 'tone-value' }, cells);
  const value = el('p', { class: 'micro vao', id: 'tone-value' });
  const end = (place, name) => el('span', { class: `end to-${place}` }, figure(name), el('span', {}, words[name]));
  const root = el('section', { class: 'panel vap' },
    el('h2', { class: 'h2r' }, words.tone, el('span', { class: 'kk' }, hint)),
    el('div', { class: 'vag' }, end('up', 'excited'), end('down', 'calm'), end('left', 'unpleasant'), end('right', 'pleasant'), grid),
    value);
  let set = { valence: null, arousal: null };

  function paint(answer) {
    set = { valence: answer.valence, arousal: answer.arousal };
    for (const cell of cells) {
      cell.classList.toggle('on', Number(cell.dataset.valence) === set.valence && Number(cell.dataset.arousal) === set.arousal);
    }
    value.textContent = words.toneValue(set.valence, set.arousal);
  }

  grid.addEventListener('click', ({ target }) => {
    if (!target.dataset.valence) return;
    const picked = { valence: Number(target.dataset.valence), arousal: Number(target.dataset.arousal) };
    const same = picked.valence === set.valence && picked.arousal === set.arousal;
    onSet(same ? { valence: null, arousal: null } : picked);
  });

  // From the middle, where nothing was set yet.
  function step(right, up) {
    const within = (point) => Math.max(1, Math.min(SIZE, point));
    onSet({ valence: within((set.valence ?? 5) + right), arousal: within((set.arousal ?? 5) + up) });
  }

  return { root, paint, step, clear: () => onSet({ valence: null, arousal: null }) };
}

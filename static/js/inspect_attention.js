// Which sounds each frame attended to: the matrix, its margins, and the row at the cursor in words.

import { api, el, icon, numbers, signed, two } from './dom.js';

const WIDTH = 720;
const HEIGHT = 360;
const MARGIN = 56;
const METHOD = 'cross_modal';
const DIRECTIONS = { face_to_voice: 'Face reads voice', voice_to_face: 'Voice reads face' };

export function attention({ base, material, view, onGo, onHead }) {
  const heads = Array.from({ length: material.heads }, (_, n) => el('option', { value: String(n) }, `Head ${n}`));
  const head = el('select', { 'aria-label': 'Head of the attention' }, el('option', { value: '' }, `Mean of ${material.heads} heads`), heads);
  head.value = view.head;
  head.addEventListener('change', () => { view.head = head.value; onHead(); });
  const canvas = el('canvas', { width: WIDTH, height: HEIGHT });
  const above = el('canvas', { width: WIDTH, height: MARGIN, class: 'above', 'aria-hidden': 'true' });
  const beside = el('canvas', { width: MARGIN, height: HEIGHT, class: 'beside', 'aria-hidden': 'true' });
  const band = el('i', { class: 'band' });
  const heard = el('i', { class: 'heard' });
  const box = el('div', { class: 'matrix', role: 'img', 'aria-label': 'Attention of each face frame, from top to bottom, over the sound, from left to right' }, canvas, heard, band);
  const sentence = el('p', { class: 'lead strong', 'aria-live': 'polite' });
  const numbersOf = el('p', { class: 'small dim num mt2' });
  const near = el('div', { class: 'mt4' });
  const least = el('span', { class: 'num' });
  const end = `${material.duration_s.toFixed(1)} s`;
  const body = el('div', { class: 'crossed' },
    el('div', { class: 'grid' },
      el('span'), above, el('span'),
      el('p', { class: 'micro down num', 'aria-hidden': 'true' }, el('span', {}, '0 s'), el('span', {}, 'face'), el('span', {}, end)), box, beside,
      el('span'), el('p', { class: 'micro ends num', 'aria-hidden': 'true' }, el('span', {}, '0 s'), el('span', {}, 'sound'), el('span', {}, end))),
    el('div', {}, el('p', { class: 'micro' }, 'The frame at the cursor, or under the pointer'), sentence, numbersOf, near,
      el('p', { class: 'micro mt4 shades' }, '0', el('i', {}), least),
      el('p', { class: 'note mt4' }, icon('info'), el('span', {}, 'Attention describes what the model weighed. It is a description, not an explanation: what was attended to need not have counted. \u201cEffect if cut\u201d is the test.'))));
  const state = el('div', { role: 'status' });
  const root = el('section', { class: 'panel big mt5', 'aria-labelledby': 'crossed-title' },
    el('div', { class: 'ph' }, el('h2', { id: 'crossed-title' }, 'Attention between face and voice'), el('p', {}, 'Each row is one face frame: how its attention spreads over the sound.'), el('span', { class: 'picked sp' }, head)),
    state, body);
  let stop = null;
  let found = null;
  let values = null;

  async function show(query) {
    stop?.abort();
    stop = new AbortController();
    const { signal } = stop;
    const asks = new URLSearchParams(query);
    if (view.head !== '') asks.set('head', view.head);
    const effects = `${base}/explain/${METHOD}/attention/cut?${asks}`;
    asks.delete('target'); // attention is the same for every target
    found = null;
    body.hidden = true;
    state.replaceChildren(el('p', { class: 'small dim busy' }, el('i'), 'Computing'));
    try {
      found = await api(`${base}/explain/${METHOD}/attention?${asks}`, { signal });
    } catch (error) {
      if (!signal.aborted) state.replaceChildren(el('p', { class: 'note' }, icon('info'), el('span', {}, error.message)));
      return;
    }
    values = numbers(found.matrix);
    state.replaceChildren();
    body.hidden = false;
    draw();
    near.replaceChildren(table(found));
    cut(effects, signal);
    least.textContent = `${two(found.most)} of a row`;
    place();
  }

  // What becomes of the target comes after the matrix: it takes a pass of the model for each direction.
  async function cut(address, signal) {
    const target = view.contrast ? `${view.target} against ${view.contrast}` : view.target;
    const attended = view.head === '' ? 'this attention' : `head ${view.head} of this attention`;
    try {
      const { before, change } = await api(address, { signal });
      const said = `Effect if cut: change of the probability of ${target}, ${two(before)} before calibration, with ${attended} made uniform.`;
      near.replaceChildren(table(found, change), el('p', { class: 'micro mt2' }, said));
    } catch (error) {
      if (!signal.aborted) near.replaceChildren(table(found), el('p', { class: 'micro mt2' }, error.message));
    }
  }

  function draw() {
    const [rows, columns] = found.shape;
    const style = getComputedStyle(root);
    const colour = style.getPropertyValue('--accent');
    const ink = style.getPropertyValue('--ink-3');
    const pen = canvas.getContext('2d');
    const left = (i) => (Math.max(0, i < columns ? found.starts_s[i] : found.end_s) / material.duration_s) * WIDTH;
    const byRow = new Float32Array(rows);
    const byColumn = new Float32Array(columns);
    pen.clearRect(0, 0, WIDTH, HEIGHT);
    pen.fillStyle = colour;
    for (let r = 0; r < rows; r += 1) {
      for (let c = 0; c < columns; c += 1) {
        const value = values[r * columns + c];
        byRow[r] = Math.max(byRow[r], value);
        byColumn[c] += value;
        if (!value) continue;
        pen.globalAlpha = value / found.most;
        pen.fillRect(left(c), (r / rows) * HEIGHT, left(c + 1) - left(c), HEIGHT / rows + 0.5);
      }
    }
    bars(above, ink, byColumn, (i) => [left(i), left(i + 1) - left(i)], true);
    bars(beside, ink, byRow, (i) => [(i / rows) * HEIGHT, HEIGHT / rows], false);
  }

  function place(row = view.frame) {
    if (!found) return;
    const one = found.rows[row];
    const [rows] = found.shape;
    band.style.top = `${(row / rows) * 100}%`;
    band.style.height = `${100 / rows}%`;
    heard.hidden = one?.start_s === undefined;
    sentence.textContent = one ? one.sentence : `The frame at ${two(found.times[row])} s has no face, or lies outside what is explained.`;
    numbersOf.textContent = one ? `${two(one.share)} of its attention, against ${two(one.even)} if it were spread evenly; ${two(one.none)} goes to no sound.` : '';
    if (heard.hidden) return;
    heard.style.left = `${(one.start_s / material.duration_s) * 100}%`;
    heard.style.width = `${((one.end_s - one.start_s) / material.duration_s) * 100}%`;
  }

  const rowAt = (event) => {
    const { top, height } = box.getBoundingClientRect();
    return Math.max(0, Math.min(found.shape[0] - 1, Math.floor(((event.clientY - top) / height) * found.shape[0])));
  };
  box.addEventListener('pointermove', (event) => place(rowAt(event)));
  box.addEventListener('pointerleave', () => place());
  box.addEventListener('click', (event) => onGo(rowAt(event)));
  const recolour = () => found && draw();
  document.addEventListener('avemo:theme', recolour);

  return {
    root,
    show,
    place: () => place(),
    end: () => {
      stop?.abort();
      document.removeEventListener('avemo:theme', recolour);
    },
  };
}

// Sums of the matrix's columns above it, the strongest of each row beside it.
function bars(canvas, ink, values, where, up) {
  const pen = canvas.getContext('2d');
  const most = values.reduce((high, value) => Math.max(high, value), 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.fillStyle = ink;
  values.forEach((value, i) => {
    const [from, size] = where(i);
    const length = most ? (value / most) * MARGIN : 0;
    if (up) pen.fillRect(from, MARGIN - length, Math.max(1, size - 1), length);
    else pen.fillRect(0, from, length, Math.max(1, size - 1));
  });
}

function table({ near, near_s: reach }, change = null) {
  const heads = ['Direction', `Within ${reach} s of the same moment`, 'Effect if cut'];
  const rows = Object.entries(DIRECTIONS).map(([name, title]) => el('tr', {}, el('td', {}, title),
    [two(near[name]), change ? effect(change[name]) : '\u2026'].map((value) => el('td', { class: 'ra num' }, value))));
  return el('table', {}, el('thead', {}, el('tr', {}, heads.map((text, i) => el('th', { class: i ? 'ra' : null, scope: 'col' }, text)))), el('tbody', {}, rows));
}

// What rounds to nothing has no sign.
const effect = (value) => (Math.abs(value) < 0.005 ? '0.00' : signed(value));

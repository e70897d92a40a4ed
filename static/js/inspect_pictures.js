// Pictures of frames and of sound: drawn from rows of frames, coloured bars, what lies under the pointer.

import { api, contour, el, icon, logits, numbers, percent, svg } from './dom.js';

// Frames that come in pictures of `chunk` each, `side` pixels wide, fetched when first needed.
// Returns draw(canvas, n), which leaves the canvas empty where frame n has no picture.
export function frames(address, chunk, side) {
  const pictures = new Map();
  const load = (n) => {
    if (!pictures.has(n)) {
      const picture = new Image();
      picture.src = address(n);
      pictures.set(n, picture.decode().then(() => picture, () => null));
    }
    return pictures.get(n);
  };
  return async (canvas, n) => {
    canvas.wanted = `${address(0)} ${n}`;
    const picture = await load(Math.floor(n / chunk));
    if (canvas.wanted !== `${address(0)} ${n}`) return; // the cursor has gone on
    const pen = canvas.getContext('2d');
    pen.clearRect(0, 0, canvas.width, canvas.height);
    if (picture) pen.drawImage(picture, (n % chunk) * side, 0, side, side, 0, 0, canvas.width, canvas.height);
  };
}

// The lines round the strongest fifth of each frame's map, in chunks as the pictures are. Returns draw(path, n).
export function outlines(address, chunk) {
  const parts = new Map();
  const load = (n) => {
    if (!parts.has(n)) parts.set(n, api(address(n)).catch(() => []));
    return parts.get(n);
  };
  return async (path, n) => {
    path.wanted = `${address(0)} ${n}`;
    const part = await load(Math.floor(n / chunk));
    if (path.wanted === `${address(0)} ${n}`) path.setAttribute('d', part[n % chunk] ?? '');
  };
}

export function unline(path) {
  path.wanted = null;
  path.setAttribute('d', '');
}

export function wipe(canvas) {
  canvas.wanted = null;
  canvas.getContext('2d').clearRect(0, 0, canvas.width, canvas.height);
}

// What a picture's address says of a scale that ends at `whole`; nothing where it is the map's own.
export const ending = (whole) => (whole ? `&whole=${whole}` : '');

// A stream's scale, or the one that ends at `whole` in its place.
export const onScale = (scale, whole) => (whole && scale.most ? { ...scale, most: whole, least: scale.least < 0 ? -whole : 0 } : scale);

// The colours of one stream from its least to its most value, with their numbers; a zero map has no colours.
export function bar(scale, unit) {
  if (!scale.most) return el('p', { class: 'micro scale' }, `zero everywhere, in ${unit}`);
  return el('div', { class: 'micro scale num' },
    el('span', {}, small(scale.least)),
    el('span', { class: 'colours', style: { background: `linear-gradient(90deg, ${scale.colours.join(',')})` } }),
    el('span', {}, `${small(scale.most)} ${unit}`),
    scale.outlined || scale.outline ? el('span', { class: 'dashes' }, 'dashed: top 20\u00a0%') : null);
}

export const small = (value) => `${value < 0 ? '\u2212' : ''}${logits(Math.abs(value))}`;

// The voice's values as they are drawn: at(share of the clip, share of the height from the top) -> hertz and value.
export function valuesOf(voice) {
  const values = numbers(voice.values);
  const [rows, columns] = voice.shape;
  const height = voice.rows.reduce((sum, one) => sum + one, 0);
  return (x, y) => {
    let above = (1 - y) * height;
    let row = 0;
    while (row < rows - 1 && above >= voice.rows[row]) {
      above -= voice.rows[row];
      row += 1;
    }
    const column = Math.min(columns - 1, Math.floor(x * columns));
    return { low: voice.edges_hz[row], high: voice.edges_hz[row + 1], value: values[row * columns + column] };
  };
}

// A spectrogram with a map over it, a cursor, and what is under the pointer. Returns { root, show, place, line }.
export function spectrogram(base, material, onAt) {
  const ground = el('img', { src: `${base}/image/spectrogram.png`, alt: '' });
  const map = el('img', { class: 'map', alt: '', hidden: true });
  const path = svg('path', {});
  const cursor = el('i', { class: 'now' });
  const box = el('div', { class: 'spec', role: 'img', 'aria-label': 'Spectrogram from 60 hertz to 8 kilohertz' }, ground, map, contour(path), cursor);
  const line = el('p', { class: 'micro num under' });
  let facts = null;
  let at = null;
  const share = (event, which) => {
    const { left, top, width, height } = box.getBoundingClientRect();
    const value = which === 'x' ? (event.clientX - left) / width : (event.clientY - top) / height;
    return Math.max(0, Math.min(0.9999, value));
  };
  box.addEventListener('pointermove', (event) => {
    const x = share(event, 'x');
    line.textContent = said(x, share(event, 'y'));
    if (event.buttons & 1) onAt(x * material.duration_s);
  });
  box.addEventListener('pointerleave', () => { line.textContent = ''; });
  box.addEventListener('pointerdown', (event) => {
    if (event.button === 0) onAt(share(event, 'x') * material.duration_s);
    event.preventDefault();
  });

  function said(x, y) {
    const time = `${(x * material.duration_s).toFixed(2)} s`;
    if (!at) return time;
    const { low, high, value } = at(x, y);
    return `${time}, ${Math.round(low)} to ${Math.round(high)} Hz: ${small(value)} ${facts.unit}`;
  }

  return {
    root: box,
    line,
    // `address` of the map's picture; null where there is none.
    show(found, address) {
      facts = found;
      at = found?.voice ? valuesOf(found.voice) : null;
      map.hidden = !address;
      path.setAttribute('d', found?.voice?.outline ?? '');
      if (address) map.src = address;
      box.setAttribute('aria-label', `Spectrogram from 60 hertz to 8 kilohertz${found ? ` with the map: ${found.heading}` : ''}`);
    },
    place(seconds) {
      cursor.style.left = percent(material.duration_s ? seconds / material.duration_s : 0);
    },
    fade: (yes) => box.classList.toggle('lost', yes),
  };
}

export const reason = (name, why) => el('div', { class: 'nomap hatched' }, el('span', {}, icon(name), why));

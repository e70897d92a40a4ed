// Parts of the page round a reading: the player, whose face is read, the notes (null where there are none), the downloads.

import { el, icon } from './dom.js';

const MOST_OTHERS = 10; // as the server takes
const DOWNLOADS = [
  ['csv', 'Probabilities over time', 'CSV'],
  ['json', 'The whole record', 'JSON'],
  ['png', 'Figure for slides', 'PNG'],
  ['svg', 'Figure for print', 'SVG'],
  ['npz', 'Raw maps, in logits', 'NPZ'],
];

// Fills `holder` and returns the <video> (it plays sound alone too), or the <img> of a still image.
export function player(holder, address, name, isImage, onReplace) {
  const media = isImage
    ? el('img', { src: address, alt: 'Your picture' })
    : el('video', { src: address, controls: true, playsinline: true, preload: 'auto', 'aria-label': `Player: ${name}` });
  const problem = el('p', { class: 'micro mt2', hidden: true }, 'This browser cannot play this kind of file. The reading and its cursor work without it.');
  media.addEventListener('error', () => { problem.hidden = false; });
  if (!isImage) measured(media);
  const title = el('span', { class: 'named' }, el('b', { class: 'small' }, name), el('span', { class: 'micro', 'data-part': 'about' }));
  const replace = el('button', { type: 'button', class: 'btn s sp', onclick: onReplace }, 'Replace');
  holder.replaceChildren(el('div', { class: 'player' }, media), el('div', { class: 'row mt3' }, title, replace), problem);
  return media;
}

// A browser's own recording does not say how long it is until it was played to its end once.
export function measured(media) {
  media.addEventListener('loadedmetadata', () => {
    if (Number.isFinite(media.duration)) return;
    media.addEventListener('durationchange', () => { media.currentTime = 0; }, { once: true });
    media.currentTime = 1e7;
  }, { once: true });
}

// What is known of the clip once it is read; `teaches` is an example's own sentence.
export function describe(holder, page, teaches) {
  holder.querySelector('[data-part=about]').textContent = page.description;
  if (teaches) holder.append(el('p', { class: 'small dim mt3', 'data-part': 'teaches' }, teaches));
  if (page.kind !== 'audio') return;
  const box = holder.querySelector('.player');
  if (box.classList.contains('audio')) return; // described before
  box.classList.add('audio');
  box.append(el('span', { class: 'soundonly' }, icon('voice'), 'sound only'));
}

export function people(holder, found, onChoose) {
  holder.hidden = found.length < 2;
  if (found.length < 2) return;
  const read = found.find((person) => person.read);
  const largest = read && read.track_id === found[0].track_id;
  const rest = largest ? 'the largest is read. Choose another to read that one.' : 'you chose this one.';
  const faces = found.map((person, i) =>
    el('button', { type: 'button', class: 'who', 'aria-pressed': String(person.read), onclick: () => onChoose(person) },
      el('img', { src: person.picture, alt: `Face ${i + 1}`, width: 56, height: 56 })));
  holder.replaceChildren(
    el('h2', { class: 'h2s' }, 'Whose face'),
    el('p', { class: 'small dim mt2' }, `${found.length} faces were found; ${rest}`),
    el('div', { class: 'row wrap mt2' }, faces),
  );
}

// "Read against 3 other clips of this person" with a way back, where the reading was; null where it was not.
export function against(page, onPlain) {
  if (!page.against) return null;
  const back = onPlain && el('button', { type: 'button', class: 'btn s', onclick: onPlain }, 'Read without them');
  return el('div', { class: 'row wrap mt3 small', 'data-part': 'against' }, el('span', { class: 'note' }, icon('both'), page.against), back || null);
}

// Further clips of the person are chosen here; onClips(files, neutral). Returns problem(sentence or null).
export function others(holder, onClips) {
  const neutral = el('input', { type: 'checkbox' });
  const input = el('input', { type: 'file', multiple: true, hidden: true, accept: 'video/*,audio/*,image/*,.mkv,.avi,.mov,.m4a,.flac', 'data-part': 'others-file' });
  const said = el('p', { class: 'note warn mt3', role: 'alert', hidden: true });
  const problem = (sentence) => {
    said.hidden = !sentence;
    said.replaceChildren(icon('warn'), el('span', {}, sentence || ''));
    if (sentence) holder.firstElementChild.open = true;
  };
  input.addEventListener('change', () => {
    const files = [...input.files];
    input.value = ''; // the same files can be chosen again
    if (files.length > MOST_OTHERS) problem(`${files.length} clips were chosen; choose at most ${MOST_OTHERS}.`);
    else if (files.length) onClips(files, neutral.checked);
  });
  holder.replaceChildren(
    el('details', {},
      el('summary', {}, 'Compare with this person\u2019s other clips'),
      el('p', { class: 'small dim mt2' }, `People differ. With 1 to ${MOST_OTHERS} further clips of the same person, in different moods or all neutral, this one is read against how they usually are. Those clips are deleted as soon as it is read.`),
      el('label', { class: 'tick mt3' }, neutral, 'They are neutral in all of them'),
      el('button', { type: 'button', class: 'btn s mt3', onclick: () => input.click() }, 'Choose their clips'),
      input,
      said,
    ),
  );
  return problem;
}

export function notes(page) {
  const said = page.notes.map(({ icon: name, text }) => el('p', { class: `note mt3 ${name}` }, icon(name), el('span', {}, text)));
  if (!said.length) return null;
  return el('section', { class: 'mt5 cut', 'aria-label': 'Notes' }, el('h2', { class: 'h2s' }, 'Please note'), said);
}

export const inspect = (result) =>
  el('p', { class: 'mt5' }, el('a', { class: 'btn', href: `/inspect?result=${encodeURIComponent(result)}` }, icon('q'), 'Inspect where this comes from'));

export function downloads(result) {
  const links = DOWNLOADS.map(([kind, text, name]) =>
    el('a', { href: `/api/results/${result}/download/${kind}`, download: true }, icon('down'), el('b', {}, text), el('span', { class: 'micro' }, name)));
  return el('section', { class: 'panel mt5', 'aria-label': 'Downloads' }, el('h2', { class: 'h2s' }, 'Take it with you'), el('div', { class: 'dl mt3' }, links));
}

// Where the parts of the rating page stand, and the line below them.

import { el } from './dom.js';
import { storage } from './study_rate_storage.js';

const AUTOPLAY = 'avemo-rate/starts-by-itself'; // a choice of this browser's user, remembered

// Whether the next clip starts by itself: off until a clip was played by hand, then as one likes.
export function autoplay(words) {
  const box = el('input', { type: 'checkbox', id: 'autoplay', onchange: () => storage.write(AUTOPLAY, box.checked) });
  box.checked = storage.read(AUTOPLAY) === true;
  return {
    root: el('label', { for: 'autoplay' }, box, words.autoplay),
    on: () => box.checked,
    playedByHand() {
      if (storage.read(AUTOPLAY) !== null) return;
      storage.write(AUTOPLAY, true);
      box.checked = true;
    },
  };
}

// The suggestion of a break, in the place of the progress. on: pause(), later().
export function breakLine(words, hints, on) {
  const root = el('section', { class: 'rest panel', hidden: true, 'aria-live': 'polite' });
  return {
    root,
    shown: () => !root.hidden,
    hide() { root.hidden = true; },
    show(done, minutes) {
      root.hidden = false;
      root.replaceChildren(el('p', {}, words.breakDue(done, minutes)),
        el('button', { type: 'button', class: 'btn s', onclick: on.pause }, words.takeBreak, hints.kbd('KeyP')),
        el('button', { type: 'button', class: 'btn s q', onclick: on.later }, words.later));
    },
  };
}

// Fills `work`. Returns a function that shows what is said of a clip: its modality's layout, whether it is practice.
export function lay(work, study, words, hints, { strip, rest, deck, form, bar, auto }, on) {
  const practice = el('span', { class: 'badge', hidden: true }, words.practice);
  const link = (text, code, run) => el('button', { type: 'button', class: 'btn s q', onclick: run }, text, hints.kbd(code));
  deck.root.append(el('div', { class: 'kl' },
    el('span', {}, hints.kbd('Space'), ' ', words.playShort), el('span', {}, hints.kbd('KeyR'), ' ', words.fromStart)));
  bar.root.append(el('p', { class: 'micro footl' }, el('span', {}, study.texts.instruction), practice, auto.root,
    link(words.myAnswers, 'KeyM', on.mine), link(words.keysShort, 'Help', on.keys)));
  work.append(strip.root, rest.root, el('div', { class: 'desk' }, deck.root, form.labels), form.lower, bar.root);
  return (clip) => {
    practice.hidden = !clip.is_practice;
    work.dataset.modality = clip.modality;
  };
}

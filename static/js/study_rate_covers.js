// What stands in the place of the clip when there is none to rate: pause, finished, offline, signed out. And the list of keys.

import { el } from './dom.js';
import { icon } from './study_rate_icons.js';

// cover(kind, {title, text, actions: [[words, handler or address, main]]})
export function covers(root, work) {
  const box = el('section', { class: 'cover', hidden: true });
  root.append(box);
  let primary = null;

  return {
    box,
    show(kind, { title, text, actions = [], sign = 'info' }) {
      const buttons = actions.map(([label, run, main]) =>
        typeof run === 'string'
          ? el('a', { class: main ? 'btn p' : 'btn', href: run }, label)
          : el('button', { type: 'button', class: main ? 'btn p' : 'btn', onclick: run }, label));
      primary = buttons[actions.findIndex(([, , main]) => main)] ?? null;
      const heading = el('h1', { tabindex: -1 }, title);
      box.replaceChildren(icon(sign), heading, el('p', { class: 'dim' }, text, el('span', { class: 'more' })), el('div', { class: 'row wrap' }, buttons));
      box.hidden = false;
      work.hidden = true;
      root.dataset.state = kind;
      if (kind !== 'loading') heading.focus({ preventScroll: true }); // read out, and Enter still presses the main button
    },
    hide() {
      box.hidden = true;
      work.hidden = false;
      root.dataset.state = 'rate';
      primary = null;
    },
    add(sentence) { box.querySelector('.more').textContent = sentence; },
    up: () => !box.hidden,
    press: () => primary?.click(),
  };
}

export function keysDialog(words, hints, study) {
  const { ask } = study;
  const row = (codes, text) => el('div', {}, el('dt', {}, codes.map((code) => hints.kbd(code))), el('dd', {}, text));
  const keys = (scale) => study.scales[scale].map((point) => `Key${point.key}`);
  const dialog = el('dialog', { class: 'sheet', 'aria-labelledby': 'keys-title' },
    el('div', { class: 'ph' }, el('h2', { id: 'keys-title' }, words.allKeys), el('button', { type: 'button', class: 'btn s q sp', onclick: () => dialog.close() }, words.close)),
    el('dl', { class: 'keys' },
      row(['Space'], words.help.play), row(['KeyR'], words.help.restart),
      study.labels.map((label) => row([`Digit${label.key}`], label.text)),
      row(['Digit0'], words.help.cannotTell),
      ask.soft_labels ? row(['KeyQ'], words.help.split) : null,
      ask.intensity ? row(keys('intensity'), words.help.strength) : null,
      ask.confidence ? row(keys('confidence'), words.help.certainty) : null,
      ask.valence_arousal ? [row(['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'], words.help.tone), row(['Delete'], words.help.clearTone)] : null,
      ask.comment ? row(['Slash', 'Escape'], words.help.comment) : null,
      row(['Enter'], words.help.save), row(['Backspace'], words.help.undo), row(['KeyX'], words.help.skip),
      row(['KeyV'], words.help.flag), row(['KeyM'], words.help.mine), row(['KeyP'], words.help.pause), row(['Help'], words.help.help)),
    el('p', { class: 'small dim mt4' }, words.helpNote));
  return dialog;
}

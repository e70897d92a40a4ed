// The bar of actions, the choice of a reason to flag, and the one line in which the page says what happened.

import { el, svg } from './dom.js';
import { icon } from './study_rate_icons.js';

const SHAPES = {
  undo: ['M7 4L3 8l4 4M3.4 8H12a4.5 4.5 0 010 9H8'],
  skip: ['M4 4.5l7 5.5-7 5.5zM15 4v12'],
  flag: ['M5 17V3.5M5 4h10l-2.4 3.4L15 11H5'],
};
const shape = (name) => svg('svg', { class: 'ic', viewBox: '0 0 20 20', 'aria-hidden': 'true' }, ...SHAPES[name].map((d) => svg('path', { d })));

export function actions(study, words, hints, run) {
  const button = (name, code, sign, text, extra = '') =>
    el('button', { type: 'button', class: `btn ${extra}`, 'data-action': name, onclick: run[name] }, sign, el('span', {}, text), hints.kbd(code));
  const buttons = {
    undo: button('undo', 'Backspace', shape('undo'), words.undo),
    cannotTell: button('cannotTell', 'Digit0', icon('q'), words.cannotTell, 'ct'),
    skip: button('skip', 'KeyX', shape('skip'), words.skip),
    flag: button('flag', 'KeyV', shape('flag'), words.flag),
    save: button('save', 'Enter', null, words.save, 'p go'),
  };
  const news = el('p', { class: 'news small', role: 'status' });
  const chosen = el('p', { class: 'vh', role: 'status' }); // what everyone else sees on the buttons
  const waiting = el('p', { class: 'wait small', hidden: true });
  const lines = el('div', { class: 'lines' }, news, chosen, waiting);
  const reasons = el('div', { class: 'reasons panel', role: 'group', 'aria-label': words.flagWhy, hidden: true });
  const root = el('div', { class: 'actw' }, reasons,
    el('div', { class: 'act' }, buttons.undo, lines, buttons.cannotTell, buttons.skip, buttons.flag, buttons.save));
  const text = (name, value) => { buttons[name].querySelector('span').textContent = value; };

  function paint({ locked, answer, editing, complete }) {
    buttons.cannotTell.setAttribute('aria-pressed', String(answer.cannot_tell));
    buttons.cannotTell.setAttribute('aria-disabled', String(locked));
    buttons.flag.setAttribute('aria-pressed', String(Boolean(answer.flag)));
    buttons.save.setAttribute('aria-disabled', String(!complete));
    const reason = study.flags.find((flag) => flag.name === answer.flag);
    text('flag', reason ? reason.text : words.flag);
    text('save', editing ? words.saveChange : words.save);
    text('skip', editing ? words.leave : words.skip);
  }

  function flags(open, current = null) {
    reasons.hidden = !open;
    if (!open) return;
    const one = (text_, n, name, on) =>
      el('button', { type: 'button', class: 'btn s', 'aria-pressed': String(on), onclick: () => run.reason(name) }, hints.kbd(`Digit${n}`), text_);
    reasons.replaceChildren(el('h2', { class: 'h2r' }, words.flagWhy),
      ...study.flags.map((flag, i) => one(flag.text, i + 1, flag.name, flag.name === current)),
      ...(current ? [one(words.noFlag, 0, null, false)] : []));
  }

  return {
    root,
    paint,
    flags,
    flagging: () => !reasons.hidden,
    say: (sentence) => { news.textContent = sentence; },
    tell(sentence) {
      news.textContent = '';
      chosen.textContent = sentence;
    },
    // choices: [[words, handler]]
    wait(sentence, choices = []) {
      waiting.hidden = !sentence;
      if (!sentence) return;
      const buttons = choices.map(([label, onclick]) => el('button', { type: 'button', class: 'btn s', onclick }, label));
      waiting.replaceChildren(icon('warn'), el('span', {}, sentence), ...buttons);
    },
  };
}

// The answer's form: labels, strength, certainty, tone, comment. What it holds and stores are names and scale points, never keys.

import { el, svg } from './dom.js';
import { icon } from './study_rate_icons.js';
import { fractions, largest, partsOf, percents } from './study_rate_soft.js';
import { tone } from './study_rate_tone.js';

const EMPTY = {
  label: null, soft: null, intensity: null, valence: null, arousal: null, confidence: null, cannot_tell: false, flag: null, comment: null,
};

// Whether there is anything in it that one would see in the form.
export const isBegun = (answer) => Object.keys(EMPTY).some((name) => (answer[name] ?? EMPTY[name]) !== EMPTY[name]);

const pressed = (node, on) => node.setAttribute('aria-pressed', String(on));

// A label's look: an emotion's own class and glyph, or the scheme's colour with a disc.
function look(label) {
  if (label.emotion && !label.colour) return { class: `em-${label.emotion}`, glyph: icon(label.emotion), style: null };
  const own = /^#[0-9a-f]{6}$/i.test(label.colour ?? '') ? label.colour : 'var(--ink-3)';
  const disc = svg('svg', { class: 'ic own', viewBox: '0 0 20 20', 'aria-hidden': 'true' }, svg('circle', { cx: 10, cy: 10, r: 7.4 }));
  return { class: 'own', glyph: disc, style: { '--own': own } };
}

export function chip(label) {
  const { class: own, glyph, style } = look(label);
  return el('span', { class: `chip ${own}`, style }, glyph, label.text);
}

// onChange(what): `what` is a short sentence for those who do not see it.
export function answerForm(study, words, hints, onChange) {
  const { ask } = study;
  let answer = { ...EMPTY };
  let parts = {};
  let split = false;

  const question = el('h1', { class: 'q1' });
  const cards = study.labels.map(card);
  const strength = scale('intensity', 'int', study.scales.intensity, words.howStrongly);
  const certainty = scale('confidence', 'cf', study.scales.confidence, words.howSure);
  const grid = tone(words, ['ArrowLeft', 'ArrowRight', 'ArrowUp', 'ArrowDown'].map((code) => hints.kbd(code)), (points) =>
    set(points, words.toneValue(points.valence, points.arousal)));
  const text = el('textarea', { 'aria-label': words.comment, placeholder: words.commentHint, maxlength: 2000, oninput: () => set({ comment: text.value || null }, null) });
  const comment = el('section', { class: 'panel com' },
    el('h2', { class: 'h2r' }, words.comment, el('span', { class: 'kk' }, hints.kbd('Slash'))), text);
  const splitter = el('button', { type: 'button', class: 'btn s q split', 'aria-pressed': 'false', onclick: () => toggleSplit() }, words.split, hints.kbd('KeyQ'));
  const scales = el('section', { class: 'panel' }, ask.intensity ? strength.root : null, ask.confidence ? certainty.root : null);

  const labels = el('section', { class: 'ask lockable' },
    el('div', { class: 'row' }, question, ask.soft_labels ? el('span', { class: 'sp' }, splitter) : null),
    el('div', { class: 'emos', role: 'group', 'aria-label': words.labels, style: { '--n': cards.length } }, cards.map((c) => c.root)));
  const lower = el('div', { class: 'lower lockable' },
    ask.intensity || ask.confidence ? scales : null, ask.valence_arousal ? grid.root : null, ask.comment ? comment : null);

  function card(label) {
    const { class: own, glyph, style } = look(label);
    const share = el('b', { class: 'share', hidden: true });
    const button = el('button', { type: 'button', class: `emo ${own}`, style, 'aria-pressed': 'false', onclick: (event) => choose(label, event.shiftKey) },
      hints.kbd(`Digit${label.key}`), glyph, el('span', { class: 'name' }, label.text), share);
    const less = el('button', { type: 'button', class: 'less', hidden: true, 'aria-label': words.less(label.text), onclick: () => choose(label, true) }, '\u2212');
    return { label, button, share, less, root: el('div', { class: 'emow' }, button, less) };
  }

  function scale(name, look_, points, heading) {
    const buttons = points.map((point) =>
      el('button', { type: 'button', 'aria-pressed': 'false', 'data-value': point.value, onclick: () => setPoint(name, point) },
        name === 'intensity' ? el('i') : null, el('b', {}, point.text), hints.kbd(`Key${point.key}`)));
    const group = el('div', { class: look_, role: 'group', 'aria-label': heading }, buttons);
    const paint = (value) => {
      for (const button of buttons) pressed(button, Number(button.dataset.value) === value);
      group.style.setProperty('--filled', value === null ? 0 : value / 100);
    };
    return { root: el('div', { class: 'scale' }, el('h2', { class: 'h2r' }, heading), group), paint };
  }

  const setPoint = (name, point) => set({ [name]: point.value }, point.text);

  function set(change, what) {
    answer = { ...answer, ...change };
    paint();
    onChange(what, Object.keys(change));
  }

  // A press on a label: the label itself, or in a split one part more or less of it.
  function choose(label, less = false) {
    if (!split) return set({ label: label.name, soft: null, cannot_tell: false }, label.text);
    parts = { ...parts, [label.name]: Math.max(0, (parts[label.name] ?? 0) + (less ? -1 : 1)) };
    const soft = fractions(parts);
    return set({ soft, label: largest(soft), cannot_tell: false }, words.share(label.text, percents(parts)[label.name] ?? 0));
  }

  function toggleSplit(on = !split) {
    if (!ask.soft_labels) return;
    split = on;
    parts = split && answer.label ? { [answer.label]: 1 } : {};
    set(split ? { soft: fractions(parts) } : { soft: null }, split ? words.splitOn : words.splitOff);
  }

  function cannotTell() {
    parts = {};
    set({ cannot_tell: true, label: null, soft: null }, words.cannotTell);
  }

  function paint() {
    const shares = percents(parts);
    for (const { label, button, share, less } of cards) {
      const part = answer.soft ? shares[label.name] ?? 0 : 0;
      pressed(button, split ? part > 0 : answer.label === label.name);
      share.hidden = !split || !part;
      share.textContent = `${part} %`;
      less.hidden = !split || !part;
    }
    pressed(splitter, split);
    strength.paint(answer.intensity);
    certainty.paint(answer.confidence);
    grid.paint(answer);
    if (text.value !== (answer.comment ?? '')) text.value = answer.comment ?? '';
  }

  // The question with the modality's own word marked, where it stands in it.
  function asked(sentence, word) {
    const at = word ? sentence.toLowerCase().indexOf(word) : -1;
    if (at < 0) return question.replaceChildren(sentence);
    return question.replaceChildren(sentence.slice(0, at), el('u', {}, sentence.slice(at, at + word.length)), sentence.slice(at + word.length));
  }

  function fill(given, modality) {
    answer = { ...EMPTY, ...Object.fromEntries(Object.keys(EMPTY).map((name) => [name, given?.[name] ?? EMPTY[name]])) };
    split = Boolean(answer.soft);
    parts = answer.soft ? partsOf(answer.soft) : {};
    asked(study.texts.question[modality], words.modalityWord[modality]);
    paint();
  }

  function lock(on) {
    for (const part of [labels, lower]) {
      part.inert = on;
      part.setAttribute('aria-disabled', String(on));
    }
  }

  return {
    labels,
    lower,
    fill,
    lock,
    cannotTell,
    toggleSplit,
    setFlag: (flag, what) => set({ flag }, what),
    value: () => ({ ...answer }),
    given: () => Boolean(answer.label || answer.soft || answer.cannot_tell),
    chooseNumber: (key, less) => { const found = study.labels.find((label) => label.key === key); if (found) choose(found, less); },
    pointOf: (name, key) => { const found = study.scales[name].find((point) => point.key === key); if (found && ask[name]) setPoint(name, found); return Boolean(found && ask[name]); },
    step: (right, up) => ask.valence_arousal && grid.step(right, up),
    clearTone: () => ask.valence_arousal && grid.clear(),
    comment: () => { if (ask.comment) text.focus(); },
  };
}

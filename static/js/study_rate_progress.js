// How far one is, at one's own pace. No target, no comparison with anyone.

import { el } from './dom.js';

const FEW = 3; // answers before a pace is said
const RECENT = 20;
const PAUSED_MS = 180_000; // a gap longer than this was no rating

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

export function progress(study, words, pauseButton) {
  const name = el('span', { class: 'micro one' }, study.name);
  const number = el('b');
  const of = el('span', { class: 'dim3' });
  const bar = el('i');
  const meter = el('div', { class: 'pb', role: 'progressbar', 'aria-label': words.clipsDone, 'aria-valuemin': 0 }, bar);
  const counts = el('span');
  const next = el('span');
  const pace = el('b');
  const left = el('b');
  const leftUnit = el('span', { class: 'dim3' });
  const root = el('section', { class: 'prog', 'aria-label': words.progress },
    el('div', { class: 'pname' }, name, el('p', { class: 'pn' }, number, ' ', of)),
    el('div', { class: 'pbar' }, meter, el('p', { class: 'micro pcounts' }, counts, next)),
    el('div', {}, el('span', { class: 'micro' }, words.pace), el('p', { class: 'pn' }, pace, ' ', el('span', { class: 'dim3' }, words.perHour))),
    el('div', {}, el('span', { class: 'micro' }, words.left), el('p', { class: 'pn' }, left, ' ', leftUnit)),
    pauseButton);
  let now = { done: 0, total: 0, skipped: 0, flagged: 0, next_break_at: null, break_due: false };
  let ahead = 0; // answers on their way, not yet in the server's count
  let last = null;
  const gaps = [];

  function paint() {
    const done = Math.min(now.total, now.done + ahead);
    const current = Math.min(now.total, done + 1);
    number.textContent = current;
    of.textContent = words.ofTotal(now.total);
    bar.style.width = `${now.total ? (100 * done) / now.total : 0}%`;
    meter.setAttribute('aria-valuenow', done);
    meter.setAttribute('aria-valuemax', now.total);
    counts.textContent = words.counts(done, now.skipped, now.flagged);
    next.textContent = now.next_break_at && now.next_break_at < now.total ? words.nextPause(now.next_break_at) : '';
    const each = gaps.length >= FEW ? median(gaps) : null;
    pace.textContent = each ? Math.round(3_600_000 / each) : '\u2013';
    const minutes = each ? Math.max(1, Math.round(((now.total - done) * each) / 60_000)) : null;
    [left.textContent, leftUnit.textContent] = minutes === null ? ['\u2013', words.minutes] : words.duration(minutes);
  }

  paint();
  return {
    root,
    done: () => now.done + ahead,
    // The number of clips at which a pause is due now; null between pauses.
    breakDue() {
      if (now.next_break_at && now.done + ahead >= now.next_break_at) return now.next_break_at;
      return now.break_due && !ahead ? now.done : null;
    },
    take(given, onTheirWay) {
      now = given;
      ahead = onTheirWay;
      paint();
    },
    answered() {
      const at = performance.now();
      if (last !== null && at - last < PAUSED_MS) gaps.push(at - last);
      if (gaps.length > RECENT) gaps.shift();
      last = at;
      ahead += 1;
      paint();
    },
    paused: () => { last = null; },
  };
}

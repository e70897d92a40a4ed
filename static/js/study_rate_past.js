// This rater's own answers, newest first: what was given here, then the server's older ones. Undo and the list walk along it.

import { el } from './dom.js';
import { chip } from './study_rate_answer.js';

const PAGE = 20;

// An entry: {rating, key, clip, answer, later, at}. `rating` is null until the server has said the answer's number; `later`: what
// was answered after it in another tab, which was not saved but kept.
export function past(server) {
  let entries = [];
  let all = false; // the server has no older ones
  let oldest = null;

  async function more() {
    if (all) return;
    const { ratings } = await server.history(oldest, PAGE);
    if (ratings.length) oldest = Math.min(...ratings.map((row) => row.rating_id));
    const known = new Set(entries.map((entry) => entry.clip.url)); // one answered here may have arrived there already
    const fresh = ratings.filter((row) => !known.has(row.url));
    entries.push(...fresh.map(({ rating_id: rating, answer, later, submitted_at: at, ...clip }) => ({ rating, key: null, clip, answer, later, at })));
    all = ratings.length < PAGE;
  }

  return {
    more,
    all: () => all,
    list: () => entries,
    at: async (index) => {
      if (index >= entries.length) await more();
      return entries[index] ?? null;
    },
    add(entry) { entries.unshift(entry); },
    saved(key, rating) {
      for (const entry of entries) if (entry.key === key) entry.rating = rating;
    },
    drop(key) { entries = entries.filter((entry) => entry.key !== key); },
    forget(stays = () => false) {
      entries = entries.filter(stays);
      all = false;
      oldest = null;
    },
  };
}

// The list of own answers, as a dialog. onPick(entry, given): `given` is what the form shows.
export function pastList(study, words, own, onPick) {
  const rows = el('ol', { class: 'mine' });
  const older = el('button', { type: 'button', class: 'btn s', onclick: fill }, words.older);
  const said = el('p', { class: 'small dim' });
  const dialog = el('dialog', { class: 'sheet', 'aria-labelledby': 'mine-title' },
    el('div', { class: 'ph' }, el('h2', { id: 'mine-title' }, words.myAnswers), el('button', { type: 'button', class: 'btn s q sp', onclick: () => dialog.close() }, words.close)),
    said, rows, older);

  function chosen(answer) {
    const named = (name) => study.labels.find((one) => one.name === name);
    if (answer.soft) return Object.entries(answer.soft).flatMap(([name, share]) => (named(name) ? [chip(named(name)), ` ${Math.round(share * 100)} % `] : []));
    if (named(answer.label)) return [chip(named(answer.label))];
    return [el('span', { class: 'dim' }, answer.cannot_tell ? words.cannotTell : words.flagged)];
  }

  function row(entry) {
    const { clip, answer, later, at } = entry;
    const pick = (given) => () => { dialog.close(); onPick(entry, given); };
    return el('li', {},
      el('button', { type: 'button', onclick: pick(answer) },
        el('span', { class: 'num' }, words.clipNumber(clip.number)), el('span', { class: 'row wrap' }, chosen(answer)),
        el('span', { class: 'micro sp' }, words.time(at))),
      later && el('button', { type: 'button', class: 'later', onclick: pick(later) },
        el('span', { class: 'dim' }, words.notSaved), el('span', { class: 'row wrap' }, chosen(later)), el('span', { class: 'micro sp' }, words.takeInstead)));
  }

  function paint() {
    rows.replaceChildren(...own.list().map(row));
    older.hidden = own.all();
    said.textContent = own.list().length ? words.pickAnswer : words.noAnswers;
  }

  async function fill() {
    await own.more().catch(() => null);
    paint();
  }

  return {
    dialog,
    async open() {
      paint();
      dialog.showModal();
      if (own.list().length < PAGE) await fill();
    },
  };
}

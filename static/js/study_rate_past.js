// This rater's own answers, newest first: what was given here, then the server's older ones. Undo and the list walk along it.

import { el } from './dom.js';
import { chip } from './study_rate_answer.js';

const PAGE = 20;

// An entry: {rating, key, clip, answer, at}. `rating` is null until the server has said the answer's number.
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
    entries.push(...fresh.map(({ rating_id: rating, answer, submitted_at: at, ...clip }) => ({ rating, key: null, clip, answer, at })));
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
    forget() {
      entries = [];
      all = false;
      oldest = null;
    },
  };
}

// The list of own answers, as a dialog. onPick(entry).
export function pastList(study, words, own, onPick) {
  const rows = el('ol', { class: 'mine' });
  const older = el('button', { type: 'button', class: 'btn s', onclick: fill }, words.older);
  const said = el('p', { class: 'small dim' });
  const dialog = el('dialog', { class: 'sheet', 'aria-labelledby': 'mine-title' },
    el('div', { class: 'ph' }, el('h2', { id: 'mine-title' }, words.myAnswers), el('button', { type: 'button', class: 'btn s q sp', onclick: () => dialog.close() }, words.close)),
    said, rows, older);

  function row(entry) {
    const label = study.labels.find((one) => one.name === entry.answer.label);
    const { answer } = entry;
    const shown = answer.soft ? Object.entries(answer.soft).map(([name, share]) => [study.labels.find((one) => one.name === name), share]) : [];
    const what = shown.length
      ? shown.flatMap(([one, share]) => (one ? [chip(one), ` ${Math.round(share * 100)} % `] : []))
      : label ? [chip(label)] : [el('span', { class: 'dim' }, answer.cannot_tell ? words.cannotTell : words.flagged)];
    return el('li', {},
      el('button', { type: 'button', onclick: () => { dialog.close(); onPick(entry); } },
        el('span', { class: 'num' }, words.clipNumber(entry.clip.number)), el('span', { class: 'row wrap' }, what),
        el('span', { class: 'micro sp' }, words.time(entry.at))));
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

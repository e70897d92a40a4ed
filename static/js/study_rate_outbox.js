// Answers on their way to the server. Each is written to this computer before anything else happens, and leaves it only when
// the server has said that it has it: offline, a reload, a restart of either side, a sign-out lose nothing.
//
// An entry: {kind: submit | skip | correct, key, token, rating, of, answer}. A correction of an answer that is itself still on
// its way has no `rating` yet; `of` is that answer's key, and the server's reply to it fills `rating` in. Where the server does
// not take that answer, the correction is sent in its place: what a rater said last is what counts.

import { Refused, Unreachable } from './study_rate_server.js';
import { storage } from './study_rate_storage.js';

const LONGEST_WAIT_MS = 15_000;

// Every entry has a place of its own, so that two tabs never overwrite each other's.
const shelf = (prefix) => ({
  all: () => storage.names(prefix).map((name) => ({ name, ...storage.read(name) })).filter((entry) => entry.key),
  put: ({ name, ...entry }) => storage.write(name, entry),
  drop: storage.drop,
  safe: () => storage.safe(prefix),
});

// on: sent(entry, reply), refused(entry, error), signedOut(), changed(). Entries go one after another, in order.
export function outbox(prefix, server, on) {
  const place = `${prefix}/out/`;
  const kept = shelf(place);
  let running = null;
  let wait = 0;
  let timer = 0;

  const waiting = () => kept.all().filter((entry) => !entry.aside);

  // Numbered by what lies here already, not by the clock: one that is set back would put a correction before its answer.
  function put(entry) {
    const last = Math.max(0, ...kept.all().map(({ name }) => Number.parseInt(name.slice(place.length), 10)));
    kept.put({ name: `${place}${String(last + 1).padStart(15, '0')}-${entry.key}`, ...entry });
    on.changed();
    flush();
  }

  const send = {
    submit: (entry) => server.submit(entry.token, entry.key, entry.answer),
    skip: (entry) => server.skip(entry.token),
    correct: (entry) => server.correct(entry.rating, entry.key, entry.answer),
  };

  // The first entry that waits for no other.
  function next() {
    for (const entry of waiting()) {
      const corrected = entry.of && kept.all().find(({ key }) => key === entry.of);
      if (!entry.of) return entry;
      if (!corrected || corrected.aside) return standIn(entry, corrected);
    }
    return null;
  }

  // A correction in the place of an answer that was not taken.
  function standIn(correction, { kind = 'submit', rating = null, name } = {}) {
    const entry = { ...correction, kind, rating, of: null };
    kept.put(entry);
    if (name) kept.drop(name);
    return entry;
  }

  // Each time one entry fewer waits, or an error ends the round.
  async function deliver(entry) {
    let reply;
    try {
      reply = await send[entry.kind](entry);
    } catch (error) {
      if (!(error instanceof Refused) || error.reason === 'signed out') throw error;
      const correction = waiting().find((later) => later.of === entry.key);
      if (correction) return standIn(correction, entry);
      settle(entry, error);
      return on.refused(entry, error);
    }
    for (const later of waiting()) if (later.of === entry.key) kept.put({ ...later, rating: reply.saved, of: null });
    kept.drop(entry.name);
    return on.sent(entry, reply);
  }

  // What the server keeps as a draft may go; what it did not take stays here, out of the way of the others.
  function settle(entry, error) {
    if (error.kept || entry.kind === 'skip') kept.drop(entry.name);
    else kept.put({ ...entry, aside: error.message || `${error.status}` });
  }

  async function sendAll() {
    clearTimeout(timer);
    try {
      for (let entry = next(); entry; entry = next()) {
        await deliver(entry);
        wait = 0;
        on.changed();
      }
    } catch (error) {
      if (error instanceof Refused) on.signedOut();
      else if (!(error instanceof Unreachable)) throw error;
      else {
        wait = Math.min(LONGEST_WAIT_MS, wait * 2 || 1000);
        timer = setTimeout(flush, wait);
      }
    }
    on.changed();
  }

  // One at a time; who asks meanwhile waits for the same end.
  function flush() {
    running ??= sendAll().finally(() => { running = null; });
    return running;
  }

  addEventListener('online', () => { wait = 0; flush(); });
  addEventListener('beforeunload', (event) => { if (!kept.safe()) event.preventDefault(); });
  return {
    put,
    flush,
    // Tries what was put aside once more, as after a reload.
    retry() {
      for (const { aside, ...entry } of kept.all()) if (aside) kept.put(entry);
      return flush();
    },
    // What was put aside, by its rater's own wish.
    discard() {
      for (const entry of kept.all()) if (entry.aside) kept.drop(entry.name);
      on.changed();
    },
    tokens: () => kept.all().filter((entry) => entry.token && entry.kind !== 'correct').map((entry) => entry.token),
    answers: () => kept.all().filter((entry) => entry.kind !== 'skip').length,
    clips: () => waiting().filter((entry) => entry.kind === 'submit').length, // that will count as done
    aside: () => kept.all().find((entry) => entry.aside)?.aside ?? null,
    safe: kept.safe,
    empty: () => waiting().length === 0,
    away: () => wait > 0, // the last try reached nobody
    stop: () => clearTimeout(timer),
  };
}

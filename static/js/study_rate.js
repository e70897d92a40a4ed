// The rating page: which clip is on the desk, and what each key and button does with it.

import { el } from './dom.js';
import { actions } from './study_rate_actions.js';
import { answerForm, isBegun } from './study_rate_answer.js';
import { clips, load } from './study_rate_clips.js';
import { covers, keysDialog } from './study_rate_covers.js';
import { drafts } from './study_rate_drafts.js';
import { loadIcons } from './study_rate_icons.js';
import { keyHints, listen } from './study_rate_keys.js';
import { autoplay, breakLine, lay } from './study_rate_layout.js';
import { outbox } from './study_rate_outbox.js';
import { past, pastList } from './study_rate_past.js';
import { player, unheard } from './study_rate_player.js';
import { progress } from './study_rate_progress.js';
import { Refused, requests } from './study_rate_server.js';
import { storage } from './study_rate_storage.js';

const RETRY_MS = 3000;

// Of an answer: the server knows by it that it has the answer already. randomUUID is missing on plain http.
const newKey = () => crypto.randomUUID?.() ?? `${Date.now()}-${crypto.getRandomValues(new Uint32Array(3)).join('-')}`;

// What a clip's answer, begun before, tells of its being heard. How long ago that was is not known any more.
const heardBefore = ({ first_play_ended_at: ended, replays }) => ({ ...unheard(), ended_at: ended ?? null, replays: replays ?? 0, begun: Boolean(ended) });
const sinceHeard = ({ ended_ms: ended }) => (ended ? Math.round(performance.now() - ended) : null);

const wordsOf = async (language) => (await import(`./study_rate_${language}.js`).catch(() => import('./study_rate_en.js'))).default;

// Which tab rates: the one that spoke last.
function oneTab(name, onOther) {
  const channel = new BroadcastChannel(name);
  channel.addEventListener('message', onOther);
  return { claim: () => channel.postMessage('here') };
}

export async function start(root) {
  const { study: id, signIn } = root.dataset;
  const server = requests(id, document.querySelector('meta[name=csrf]')?.content ?? '');
  const words = await wordsOf(document.documentElement.lang);
  await loadIcons().catch(() => null);
  let opened;
  try {
    opened = await server.study();
  } catch (error) {
    return notOpened(root, words, error, signIn);
  }
  const own = await wordsOf(opened.study.language);
  document.documentElement.lang = opened.study.language;
  return page(root, server, opened.study, opened.rater, own, await keyHints(own), signIn);
}

function notOpened(root, words, error, signIn) {
  const kind = error instanceof Refused ? (error.reason === 'signed out' ? 'signedOut' : 'failed') : 'offline';
  const [title, text] = words.covers[kind];
  covers(root, el('div')).show(kind, {
    title,
    text: (kind === 'failed' && error.message) || text,
    actions: kind === 'signedOut' ? [[words.signIn, signIn, true]] : [[words.tryAgain, () => location.reload(), true]],
  });
  if (kind === 'offline') setTimeout(() => location.reload(), RETRY_MS * 2);
}

async function page(root, server, study, rater, words, hints, signIn) {
  const prefix = `avemo-rate/${study.id}/${rater}`;
  // The clip on the desk, the past answer that is being changed, a save's moment, a break put off.
  const now = { clip: null, entry: null, savedAt: null, putOff: null, retry: 0, stopped: false };

  // ---------------------------------------------------------------- parts

  const work = el('div', { class: 'work' });
  const pauseButton = el('button', { type: 'button', class: 'btn s pauseb', onclick: () => pause() }, words.pause, hints.kbd('KeyP'));
  const strip = progress(study, words, pauseButton);
  const deck = player(words, study.most_replays, { opened, started, broken: (sentence) => bar.say(sentence) });
  const { locked } = deck;
  const form = answerForm(study, words, hints, changed);
  const bar = actions(study, words, hints, { undo, cannotTell, skip, flag, save, reason });
  const own = past(server);
  const list = pastList(study, words, own, edit);
  const keys = keysDialog(words, hints, study);
  const cover = covers(root, work);
  const draft = drafts(prefix, server);
  const box = outbox(prefix, server, { sent, refused, signedOut, changed: paintWaiting });
  const held = clips(server, box.tokens);
  const tab = oneTab(prefix, elsewhere);

  const auto = autoplay(words);
  const rest = breakLine(words, hints, { pause, later: putOff });
  const describe = lay(work, study, words, hints, { strip, rest, deck, form, bar, auto }, { mine: () => list.open(), keys: () => keys.showModal() });
  root.replaceChildren(work, cover.box, list.dialog, keys);

  // ---------------------------------------------------------------- what is on the desk

  function show(clip, given) {
    Object.assign(now, { clip });
    load(server, clip);
    deck.show(clip);
    form.fill(given, clip.modality);
    bar.flags(false);
    describe(clip);
    paint();
    scrollTo(0, 0); // whoever went down to the comment sees the next clip from its first moment
  }

  // The next clip that is held; where there is none yet, a cover that goes away by itself.
  function next() {
    now.entry = null;
    const clip = held.first();
    if (!clip) return wait();
    const given = draft.of(clip);
    if (given) {
      load(server, clip);
      clip.heard ??= heardBefore(given);
      clip.reaction_ms ??= given.reaction_ms;
      if (isBegun(given)) bar.say(words.restored);
    }
    if (cover.up()) cover.hide();
    return show(clip, given);
  }

  function wait() {
    deck.hide();
    now.clip = null;
    if (!now.finished || !box.empty()) return covered(now.away || box.away() ? 'offline' : 'loading');
    if (now.none) return covered('empty', { actions: [[words.tryAgain, begin, true], [words.allStudies, '/study/']] });
    return covered('finished', { sign: 'check', actions: [[words.myAnswers, () => list.open()], [words.allStudies, '/study/', true]] });
  }

  function covered(kind, { sign, actions: choices = [], text } = {}) {
    deck.pause();
    const [title, sentence] = words.covers[kind];
    const aside = box.aside();
    const discard = () => {
      box.discard();
      location.reload(); // its clip may come back
    };
    cover.show(kind, { title, text: `${text ?? sentence} ${aside ? words.notTaken(aside) : onItsWay(kind)}`, sign, actions: aside ? [...choices, [words.discard, discard]] : choices });
    bar.say('');
  }

  function onItsWay(kind) {
    const left = box.answers();
    if (!left || kind === 'loading') return '';
    return box.safe() ? words.stillHere(left) : words.inThisTab(left);
  }

  function complete() {
    const { flag: reason_ } = form.value();
    return Boolean(now.clip) && (form.given() ? !locked() : Boolean(reason_));
  }

  function paint() {
    form.lock(locked());
    work.classList.toggle('locked', locked());
    work.classList.toggle('editing', Boolean(now.entry));
    bar.paint({ locked: locked(), answer: form.value(), editing: Boolean(now.entry), complete: complete() });
  }

  function paintWaiting() {
    const left = box.answers();
    const aside = box.aside();
    if (aside) bar.wait(words.notTaken(aside), [[words.tryAgain, box.retry], [words.discard, box.discard]]);
    else if (box.away() && left) bar.wait(box.safe() ? words.keptHere(left) : words.inThisTab(left));
    else bar.wait(storage.lasts ? null : words.keepsNothing);
    if (['loading', 'offline'].includes(root.dataset.state) && !now.clip && !now.stopped) wait();
  }

  // ---------------------------------------------------------------- what the player and the form say

  function opened() {
    if (!now.entry) keepDraft();
    paint();
  }

  function started(byHand) {
    if (byHand) auto.playedByHand();
    if (!now.entry && now.clip.heard.replays) keepDraft(); // a reload gives none back
  }

  function changed(what, fields = []) {
    const chosen = ['label', 'soft', 'cannot_tell'].some((name) => fields.includes(name));
    if (chosen && now.clip) now.clip.reaction_ms = sinceHeard(now.clip.heard);
    if (what) bar.tell(what);
    paint();
    if (!now.entry) keepDraft();
  }

  function answer() {
    const { heard, reaction_ms: reaction } = now.clip;
    return { ...form.value(), replays: heard.replays, first_play_ended_at: heard.ended_at, reaction_ms: reaction ?? null };
  }

  function keepDraft() {
    if (now.clip) draft.keep(now.clip.token, answer());
  }

  // ---------------------------------------------------------------- what a rater does

  function save(event) {
    if (!now.clip) return undefined;
    if (!complete()) return bar.say(locked() ? words.listenFirst : words.chooseFirst);
    if (now.entry) return saveChange();
    const { clip } = now;
    const key = newKey();
    const given = answer();
    now.savedAt = event?.timeStamp ?? performance.now();
    own.add({ rating: null, key, clip, answer: given, at: new Date().toISOString() });
    strip.answered();
    leave(clip);
    box.put({ kind: 'submit', key, token: clip.token, answer: given });
    const said = words.saved(strip.done());
    forward(said);
    return undefined;
  }

  // Off the desk with this clip, and on with the next one, which is in memory already.
  function leave(clip) {
    draft.forget(clip.token);
    held.done(clip);
  }

  function forward(said) {
    next();
    bar.say(said);
    if (!now.clip) return;
    const { clip, savedAt } = now;
    clip.loading.then(() => {
      if (now.clip === clip) root.dispatchEvent(new CustomEvent('avemo-playable', { bubbles: true, detail: { ms: performance.now() - savedAt, ready: clip.media.readyState } }));
    });
    suggestBreak();
    if (auto.on() && !rest.shown()) clip.loading.then(() => now.clip === clip && !cover.up() && deck.start(false));
  }

  function skip(event) {
    if (!now.clip) return undefined;
    if (now.entry) return back();
    const { clip } = now;
    now.savedAt = event?.timeStamp ?? performance.now();
    leave(clip);
    box.put({ kind: 'skip', key: `skip-${clip.token}`, token: clip.token });
    return forward(words.skipped);
  }

  function cannotTell() {
    if (!now.clip) return;
    if (locked()) bar.say(words.listenFirst);
    else form.cannotTell();
  }

  function flag() {
    if (!now.clip) return;
    bar.flags(!bar.flagging(), form.value().flag);
    if (bar.flagging()) bar.say(words.flagWhy);
  }

  function reason(name) {
    bar.flags(false);
    const found = study.flags.find((one) => one.name === name);
    form.setFlag(name, found ? words.flaggedAs(found.text) : words.unflagged);
  }

  // ---------------------------------------------------------------- own answers

  const mayGoBack = () => !cover.up() || ['finished', 'empty', 'offline'].includes(root.dataset.state);

  async function undo() {
    if (!mayGoBack()) return;
    const index = own.list().indexOf(now.entry) + 1;
    let entry;
    try {
      entry = await own.at(index);
    } catch {
      bar.say(words.pastUnreachable);
      return;
    }
    if (entry) edit(entry);
    else bar.say(words.nothingBefore);
  }

  function edit(entry, given = entry.answer) {
    if (cover.up()) cover.hide();
    if (!now.entry && now.clip) draft.send();
    now.entry = entry;
    entry.clip.heard ??= heardBefore(entry.answer);
    show(entry.clip, given);
    bar.say(words.editing(entry.clip.number));
  }

  function saveChange() {
    const { entry } = now;
    const key = newKey();
    // What was flagged unheard and is heard only now has its times from now.
    const given = entry.answer.first_play_ended_at ? { ...entry.answer, ...form.value(), replays: entry.clip.heard.replays } : answer();
    box.put({ kind: 'correct', key, token: entry.clip.token ?? null, rating: entry.rating, of: entry.rating ? null : entry.key, answer: given });
    Object.assign(entry, { answer: given, later: null, key, rating: null });
    back(words.changed(entry.clip.number));
  }

  function back(said = '') {
    next();
    bar.say(said);
  }

  // ---------------------------------------------------------------- pauses

  function suggestBreak() {
    const due = strip.breakDue();
    const on = due !== null && due !== now.putOff;
    strip.root.hidden = on;
    if (on) rest.show(strip.done(), study.break_minutes);
    else rest.hide();
  }

  function putOff() {
    now.putOff = strip.breakDue();
    suggestBreak();
  }

  // The clips go back, so that nobody waits for them; only once all answers to them have arrived.
  async function pause() {
    if (cover.up()) return;
    putOff();
    strip.paused();
    now.stopped = true;
    covered('pause', { sign: 'pause', actions: [[[words.goOn, hints.kbd('KeyP')], resume, true]] });
    tellTime(Date.now());
    await draft.send();
    await box.flush();
    if (!now.stopped || !box.empty()) return;
    deck.hide();
    now.clip = null;
    held.drop();
    await server.release().catch(() => null);
  }

  function tellTime(since) {
    clearInterval(now.clock);
    now.clock = setInterval(() => cover.add(words.away(Math.floor((Date.now() - since) / 60_000))), 10_000);
  }

  async function resume() {
    now.stopped = false;
    clearInterval(now.clock);
    await begin();
  }

  function elsewhere() {
    if (now.stopped) return;
    now.stopped = true;
    draft.send();
    box.stop();
    own.forget();
    covered('elsewhere', { actions: [[words.here, resume, true]] });
  }

  // ---------------------------------------------------------------- what the server says

  function take(reply) {
    if (!reply.clips.length && !reply.finished) return claim(); // no clips are given out, and a claim says why
    Object.assign(now, { finished: reply.finished, none: reply.progress.total === 0 });
    held.take(reply.clips);
    strip.take(reply.progress, box.clips());
    if (now.stopped) return;
    if (now.entry && now.clip) cover.hide();
    else if (cover.up() || !held.holds(now.clip)) next();
    return suggestBreak();
  }

  async function claim() {
    clearTimeout(now.retry);
    try {
      const reply = await server.claim();
      now.away = false;
      take(reply);
    } catch (error) {
      if (!(error instanceof Refused)) {
        now.away = true;
        if (!now.clip) wait();
        now.retry = setTimeout(claim, RETRY_MS);
      } else if (error.reason === 'signed out') signedOut();
      else if (error.reason === 'not yours') notYours();
      else {
        const { state } = (await server.study().catch(() => ({ study }))).study;
        const kind = { paused: 'stopped', closed: 'closed' }[state] ?? 'failed';
        deck.hide();
        now.clip = null;
        covered(kind, { text: kind === 'failed' ? error.message : null, actions: [[words.tryAgain, begin, true]] });
      }
    }
  }

  function sent(entry, reply) {
    if (entry.kind !== 'skip') own.saved(entry.key, reply.saved);
    if (reply.clips) take(reply);
    else if (reply.progress) strip.take(reply.progress, box.clips());
  }

  // What was not taken is no answer of before any more: its draft comes back with the clip, perhaps with the one that is on
  // the desk already. Said after the claim, as a draft says a word of its own.
  async function refused(entry, error) {
    const seen = () => (now.clip?.draft && isBegun(now.clip.draft) ? JSON.stringify(now.clip.draft) : null);
    const shown = seen();
    if (error.kept) own.drop(entry.key);
    if (error.reason === 'stale') own.forget((one) => one.rating === null); // the other tab's are to be read too
    await claim();
    if (!now.entry && now.clip && seen() !== shown) next(); // else the clip that plays goes on
    if (entry.kind !== 'skip') bar.say(words.refused[error.reason] ?? error.message);
  }

  function notYours() {
    deck.hide();
    now.clip = null;
    covered('notYours', { actions: [[words.allStudies, '/study/', true]] });
  }

  function signedOut() {
    now.stopped = true;
    if (box.safe()) covered('signedOut', { sign: 'lock', actions: [[words.signIn, signIn, true]] });
    else covered('signedOut', { sign: 'lock', text: words.signInElsewhere, actions: [[words.tryAgain, resume, true]] });
  }

  held.onLost(async (error) => {
    if (error.reason === 'signed out') return signedOut();
    await draft.send();
    return claim();
  });

  // ---------------------------------------------------------------- keys

  const whenRating = (run) => (event) => (cover.up() ? undefined : run(event));
  listen({
    digit(n, shift) {
      if (cover.up()) return;
      if (bar.flagging()) {
        const found = study.flags[Number(n) - 1];
        if (found) reason(found.name);
      } else if (!locked()) form.chooseNumber(n, shift);
      else bar.say(words.listenFirst);
    },
    letters: 'ASDFGJKL',
    letter(name) {
      if (cover.up()) return;
      if (locked()) bar.say(words.listenFirst);
      else if (!form.pointOf('intensity', name)) form.pointOf('confidence', name);
    },
    Digit0: whenRating(() => (bar.flagging() ? reason(null) : cannotTell())),
    ArrowLeft: whenRating(() => !locked() && form.step(-1, 0)),
    ArrowRight: whenRating(() => !locked() && form.step(1, 0)),
    ArrowUp: whenRating(() => !locked() && form.step(0, 1)),
    ArrowDown: whenRating(() => !locked() && form.step(0, -1)),
    Delete: whenRating(() => !locked() && form.clearTone()),
    Space: whenRating(() => deck.toggle()),
    KeyR: whenRating(() => deck.restart()),
    KeyQ: whenRating(() => !locked() && form.toggleSplit()),
    Slash: whenRating(() => !locked() && form.comment()),
    Enter: (event) => (cover.up() ? cover.press() : save(event)),
    Backspace: undo,
    KeyX: whenRating(skip),
    KeyV: whenRating(flag),
    KeyM: () => mayGoBack() && list.open(),
    KeyP: () => (cover.up() ? root.dataset.state === 'pause' && resume() : pause()),
    Help: () => keys.showModal(),
    Escape: whenRating(() => (bar.flagging() ? bar.flags(false) : now.entry && back())),
  });
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) draft.send();
    else if (!now.stopped) held.renew();
  });

  // ---------------------------------------------------------------- begin

  // What was answered before goes first: the server offers its clips no more.
  async function begin() {
    tab.claim();
    covered('loading');
    await box.retry();
    if (!now.stopped) await claim();
  }

  await begin();
}

const root = document.querySelector('[data-rate]');
if (root) start(root);

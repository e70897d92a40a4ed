// Plays a clip: the sound's outline or the picture, a cursor, the first play to its end, and how often it was played again.
//
// A clip's `heard` lasts as long as the clip is held: {ended_at, ended_ms, replays, rested}. `rested`: the next start is from
// the beginning, and counts as a replay once something was heard.

import { el, svg } from './dom.js';
import { icon } from './study_rate_icons.js';

const BARS = 118;
const STEP_S = 0.5; // of an arrow key on the cursor

export const unheard = () => ({ ended_at: null, ended_ms: null, replays: 0, rested: true, begun: false });

// BARS heights between 0 and 1, each the loudest of its stretch.
function outline(peaks) {
  return Array.from({ length: BARS }, (_, i) => {
    const from = Math.floor((i * peaks.length) / BARS);
    const to = Math.max(from + 1, Math.floor(((i + 1) * peaks.length) / BARS));
    return Math.max(...peaks.slice(from, to), 0);
  });
}

function bars(peaks) {
  const step = 1200 / BARS;
  return outline(peaks).map((height, i) => {
    const size = Math.max(4, Math.min(1, height) * 112);
    return svg('rect', { x: i * step + 2, y: 60 - size / 2, width: step * 0.56, height: size, rx: step * 0.28 });
  });
}

// on: opened() after the first play to the end, started(byHand), broken(). `mostReplays` null: as many as one likes.
export function player(words, mostReplays, on) {
  const button = el('button', { type: 'button', class: 'btn p r playb', 'aria-label': words.play, onclick: () => toggle() }, icon('play'));
  const screen = el('div', { class: 'screen', hidden: true });
  const drawing = svg('svg', { viewBox: '0 0 1200 120', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  const cursor = el('span', { class: 'curs' });
  const wave = el('div', { class: 'wave', role: 'slider', tabindex: 0, 'aria-label': words.position, 'aria-valuemin': 0 }, drawing, cursor);
  const status = el('span', { class: 'stat' });
  const total = el('span');
  const root = el('section', { class: 'panel deck', 'aria-label': words.clip }, screen, button,
    el('div', { class: 'track' }, wave, el('div', { class: 'times micro' }, el('span', {}, words.seconds(0)), status, total)));
  let clip = null;
  let media = null;
  let trouble = null;
  let frame = 0;

  const length = () => (Number.isFinite(media?.duration) ? media.duration : clip?.duration_s) || 0;
  const place = () => Math.min(media.currentTime, length());
  const playing = () => !media.paused && !media.ended;
  const seekable = () => Boolean(clip?.heard.ended_at) && mostReplays === null;
  const spent = () => mostReplays !== null && clip.heard.begun && clip.heard.replays >= mostReplays;

  function show(next) {
    hide();
    [clip, media, trouble] = [next, next.media, null];
    clip.heard ??= unheard();
    root.dataset.modality = clip.modality;
    screen.hidden = clip.modality === 'voice';
    draw(clip.modality === 'face' ? [] : clip.peaks ?? []); // who judges a face must not see when it speaks
    listen('addEventListener');
    screen.replaceChildren(media);
    clip.loading.then((outcome) => {
      if (clip !== next) return;
      if (outcome instanceof Error) fail(outcome);
      paint();
    });
    paint();
  }

  function hide() {
    if (!clip) return;
    listen('removeEventListener');
    media.pause();
    media.remove();
    cancelAnimationFrame(frame);
    [clip, media] = [null, null];
  }

  function draw(peaks) {
    const rows = peaks.length ? bars(peaks) : [svg('rect', { x: 0, y: 57, width: 1200, height: 6, rx: 3 })];
    drawing.replaceChildren(svg('g', { class: 'ahead' }, ...rows), svg('g', { class: 'past' }, ...rows.map((row) => row.cloneNode())));
  }

  const handlers = { play: move, pause: paint, ended, error: () => fail(new Error('unplayable')), seeked: paint };
  function listen(change) {
    for (const [name, handler] of Object.entries(handlers)) media[change](name, handler);
  }

  function move() {
    paint();
    if (clip && !media.paused) frame = requestAnimationFrame(move);
  }

  function paint() {
    if (!clip) return;
    const at = place();
    root.style.setProperty('--t', length() ? at / length() : 0);
    const text = sentence(at);
    if (status.textContent !== text) status.textContent = text;
    status.classList.toggle('open', Boolean(clip.heard.ended_at) && !trouble);
    const label = playing() ? words.pausePlay : words.play;
    if (button.getAttribute('aria-label') !== label) {
      button.setAttribute('aria-label', label);
      button.replaceChildren(icon(playing() ? 'pause' : 'play'));
    }
    if (!playing()) describe(at); // not while it moves: a screen reader would not stop talking
  }

  function describe(at) {
    button.setAttribute('aria-disabled', String(Boolean(trouble) || (spent() && clip.heard.rested)));
    wave.setAttribute('aria-valuemax', length().toFixed(1));
    wave.setAttribute('aria-valuenow', at.toFixed(1));
    wave.setAttribute('aria-valuetext', words.ofSeconds(at, length()));
    wave.setAttribute('aria-disabled', String(!seekable()));
    total.textContent = words.seconds(length());
  }

  function sentence(at) {
    const { ended_at: open, replays, begun } = clip.heard;
    if (trouble) return trouble;
    if (media.readyState < 2 && !begun) return words.loadingClip;
    if (!begun && !open) return words.playOnce;
    if (!open) return words.firstTime(at, length());
    return words.played(replays, mostReplays);
  }

  function fail(error) {
    trouble = error.message === 'unplayable' ? words.unplayable : words.notLoaded;
    on.broken(trouble);
    paint();
  }

  function ended() {
    const { heard } = clip;
    heard.rested = true;
    if (!heard.ended_at) {
      heard.ended_at = new Date().toISOString();
      heard.ended_ms = performance.now();
      on.opened();
    }
    paint();
  }

  // byHand: false for a start that the page makes by itself, which the browser may refuse.
  async function start(byHand = true) {
    if (!clip || trouble) return;
    const { heard } = clip;
    const again = heard.rested && heard.begun;
    if (again && spent()) return;
    if (heard.rested && media.currentTime > 0) media.currentTime = 0;
    try {
      await media.play();
    } catch {
      return; // refused before a first gesture, or the clip was changed meanwhile
    }
    if (again) heard.replays += 1;
    Object.assign(heard, { rested: false, begun: true });
    on.started(byHand);
    paint();
  }

  function toggle() {
    if (!clip) return;
    if (playing()) media.pause();
    else start();
  }

  function restart() {
    if (!clip || spent()) return;
    if (clip.heard.begun && media.currentTime > 0) clip.heard.rested = true;
    media.pause();
    start();
  }

  function seek(seconds) {
    if (!seekable()) return;
    media.currentTime = Math.max(0, Math.min(length(), seconds));
    clip.heard.rested = false;
    paint();
  }

  wave.addEventListener('pointerdown', (event) => {
    const box = wave.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * length());
  });
  wave.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -STEP_S, ArrowDown: -STEP_S, ArrowRight: STEP_S, ArrowUp: STEP_S }[event.code];
    if (!step) return;
    event.preventDefault();
    event.stopPropagation();
    if (clip) seek(media.currentTime + step);
  });
  screen.addEventListener('contextmenu', (event) => event.preventDefault()); // its menu has speed and controls
  return { root, show, hide, start, toggle, restart, pause: () => media?.pause(), locked: () => !clip?.heard.ended_at };
}

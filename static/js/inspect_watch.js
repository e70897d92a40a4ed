// The clip with a map over its face, in step with its player: as heat, or blurred outside or inside what the map marks.

import { el, icon, lines, percent, two } from './dom.js';
import { frames, reason, wipe } from './inspect_pictures.js';
import { measured } from './try_it_parts.js';

const LOOKS = [['heat', 'Heat'], ['kept', 'Only what it marks'], ['rest', 'All but that'], ['off', 'As it is']];
const MAP_PX = 96;
const WIDEST = 960;

// found(i) is what column i shows; strength is the slider of the heat's opacity.
export function watching({ base, material, view, found, strength, onTime }) {
  if (material.kind === 'audio') return absent(material);
  const still = material.kind === 'image';
  const media = still ? el('img', { src: `${base}/clip`, alt: '', hidden: true }) : el('video', { src: `${base}/clip`, hidden: true, playsinline: true, preload: 'auto' });
  const canvas = el('canvas', { role: 'img' });
  const which = el('select', { 'aria-label': 'Map over the clip' });
  const lack = el('p', { class: 'small dim', role: 'status' });
  const looks = LOOKS.map(([name, text]) => el('button', { type: 'button', 'aria-pressed': 'false', onclick: () => choose(name) }, text));
  const opacity = el('label', { class: 'row small dim nw' }, 'Opacity', strength);
  const transport = still ? null : player(media, material, (time) => { onTime(time); draw(); });
  const painter = painting(canvas, media, material, view);
  const taken = taking({ view, still, asked: () => now });
  const now = { look: 'heat', shown: 0, map: null, source: null, key: null };

  function choose(look) {
    now.look = look;
    looks.forEach((button, i) => button.setAttribute('aria-pressed', String(LOOKS[i][0] === look)));
    opacity.hidden = look !== 'heat';
    sourced();
  }

  // Another map or another look has other pictures; where it is the same, they stay.
  function sourced() {
    const { map, look } = now;
    const pictures = { heat: 'faces', kept: 'kept', rest: 'kept' }[look];
    const address = (n) => `${map.address}/${pictures}/${n}.png?${map.query}`;
    const key = map?.facts?.face && pictures ? `${look} ${address(0)}` : null;
    canvas.classList.toggle('lost', Boolean(key && map.lost.face));
    taken.offer();
    if (key !== now.key) {
      now.source = key && frames(address, material.chunk, MAP_PX);
      painter.fresh();
    }
    now.key = key;
    draw();
  }

  function draw() {
    painter.draw(now.look, now.source, still ? 0 : media.currentTime);
    transport?.place();
    const what = now.source ? `${LOOKS.find(([name]) => name === now.look)[1].toLowerCase()}: ${now.map.facts.heading}` : 'as it is';
    canvas.setAttribute('aria-label', `The clip at ${two(material.times[view.frame] ?? 0)} s, ${what}`);
  }

  which.addEventListener('change', () => { now.shown = Number(which.value); method(); });
  if (still) media.addEventListener('load', draw);
  else {
    for (const event of ['loadeddata', 'seeked', 'pause']) media.addEventListener(event, draw);
    media.addEventListener('loadedmetadata', () => place());
    media.addEventListener('play', follow);
    measured(media);
  }
  media.addEventListener('error', () => { lack.textContent = 'This browser cannot play this kind of file; the video with the map can be made and downloaded all the same.'; });

  function follow() {
    draw();
    if (media.paused || !media.isConnected) return;
    onTime(media.currentTime);
    requestAnimationFrame(follow);
  }

  // The page's cursor has moved: a clip that stands still goes there.
  function place() {
    if (still) return;
    const away = nearest(material.times, media.currentTime) !== view.frame;
    if (media.paused && media.readyState > 0 && away) media.currentTime = material.times[view.frame];
  }

  function method() {
    now.shown = Math.min(now.shown, view.methods.length - 1);
    which.replaceChildren(...view.methods.map((name, i) => el('option', { value: String(i) }, material.methods.find((one) => one.name === name).title)));
    which.value = String(now.shown);
    now.map = found(now.shown);
    const why = material.missing.face || now.map?.facts?.missing.face;
    if (why) lack.textContent = `No map of the face: ${why}. The clip is shown as it is.`;
    else if (!media.error) lack.textContent = '';
    looks.forEach((button) => { button.disabled = Boolean(why); });
    sourced();
  }

  choose('heat');
  const root = el('div', { class: 'stream' },
    el('div', { class: 'stage' }, canvas, media),
    transport?.root ?? null,
    el('div', { class: 'row wrap looks' },
      el('span', { class: 'fld' }, el('span', {}, 'Picture'), el('span', { class: 'seg', role: 'group', 'aria-label': 'How the map is shown' }, looks)), opacity),
    el('div', { class: 'row wrap looks' },
      el('label', { class: 'fld' }, el('span', {}, 'Map'), el('span', { class: 'picked' }, which)), taken.root),
    taken.said, lack);

  return {
    root,
    draw,
    place,
    method,
    next: () => { if (!looks[0].disabled) choose(LOOKS[(LOOKS.findIndex(([name]) => name === now.look) + 1) % LOOKS.length][0]); },
    toggle: () => transport?.toggle(),
    muted() {
      if (!still) media.muted = view.muted.voice;
      draw();
    },
    end() {
      taken.stop();
      if (still) return;
      media.pause();
      media.removeAttribute('src');
      media.load();
    },
  };
}

const absent = (material) => ({
  root: reason('face', material.missing.face || 'no picture in this clip'),
  draw() {}, place() {}, method() {}, next() {}, toggle() {}, muted() {}, end() {},
});

// ---- drawing

function nearest(times, time) {
  let best = 0;
  times.forEach((one, i) => { if (Math.abs(one - time) < Math.abs(times[best] - time)) best = i; });
  return best;
}

// Where the face's crop lies at a moment: between two frames it moves on a straight line. Null without a face.
function spotAt({ times, picture }, time) {
  const n = nearest(times, time);
  const spot = picture?.spots[n];
  if (!spot) return null;
  const other = n + (time > times[n] ? 1 : -1);
  if (time === times[n] || !picture.spots[other]) return { n, spot };
  const share = (time - times[n]) / (times[other] - times[n]);
  return { n, spot: spot.map((value, i) => value + share * (picture.spots[other][i] - value)) };
}

function painting(canvas, media, material, view) {
  const tile = el('canvas', { width: MAP_PX, height: MAP_PX }); // the map of one frame
  const ahead = el('canvas', { width: 1, height: 1 });
  const coarse = el('canvas');
  const layer = el('canvas');
  const cell = material.picture?.cell || 0.06;
  let asked = null;

  // False until the first frame is there.
  function sized() {
    const width = media.videoWidth || media.naturalWidth || 0;
    if (!width || (media.readyState ?? 4) < 2) return false;
    const height = media.videoHeight || media.naturalHeight;
    const shrink = Math.min(1, WIDEST / width);
    if (canvas.width === Math.round(width * shrink) && coarse.width > 1) return true;
    [canvas, layer].forEach((one) => Object.assign(one, { width: Math.round(width * shrink), height: Math.round(height * shrink) }));
    Object.assign(coarse, { width: Math.max(2, Math.round(1 / cell)), height: Math.max(2, Math.round(height / width / cell)) });
    return true;
  }

  // `picture` fills the canvas; shrinking takes every pixel into account.
  function fill(pen, picture) {
    pen.imageSmoothingQuality = 'high';
    pen.drawImage(picture, 0, 0, pen.canvas.width, pen.canvas.height);
  }

  function map(pen, [across, up, left, top], strength) {
    const { width } = canvas;
    pen.setTransform(across * width, up * width, -up * width, across * width, left * width, top * width);
    pen.globalAlpha = strength;
    pen.drawImage(tile, 0, 0, 1, 1);
    pen.globalAlpha = 1;
    pen.resetTransform();
  }

  // What lies under the map's marks comes from `picture`.
  function through(pen, spot, picture) {
    const own = layer.getContext('2d');
    own.clearRect(0, 0, layer.width, layer.height);
    map(own, spot, 1);
    own.globalCompositeOperation = 'source-in';
    fill(own, picture);
    own.globalCompositeOperation = 'source-over';
    pen.drawImage(layer, 0, 0);
  }

  function draw(look, source, time) {
    if (!sized()) return;
    const pen = canvas.getContext('2d');
    const at = source && spotAt(material, time);
    const soft = view.muted.face || (source && look !== 'heat');
    if (soft) fill(coarse.getContext('2d'), media);
    fill(pen, view.muted.face || (soft && look === 'kept') ? coarse : media);
    if (!at || view.muted.face) return;
    if (asked !== at.n) { // the map that is there stays until this one has come
      asked = at.n;
      source(tile, at.n).then(() => { if (asked === at.n) draw(look, source, time); });
      if (at.n + material.chunk < material.times.length) source(ahead, at.n + material.chunk);
    }
    if (look === 'heat') map(pen, at.spot, view.opacity);
    else through(pen, at.spot, look === 'kept' ? media : coarse);
  }

  return {
    draw,
    fresh() {
      asked = null;
      wipe(tile);
    },
  };
}

// ---- the player

function player(media, material, onSeek) {
  const button = el('button', { type: 'button', class: 'btn p r', 'aria-label': 'Play', onclick: () => toggle() }, icon('play'));
  const seek = el('input', { type: 'range', min: '0', max: String(material.duration_s), step: '0.01', value: '0', 'aria-label': 'Time in the clip' });
  const clock = el('span', { class: 'num nw small' });
  const toggle = () => (media.paused ? media.play().catch(() => {}) : media.pause());
  const dress = () => {
    button.setAttribute('aria-label', media.paused ? 'Play' : 'Pause');
    button.replaceChildren(icon(media.paused ? 'play' : 'pause'));
  };
  for (const event of ['play', 'pause', 'ended']) media.addEventListener(event, dress);
  seek.addEventListener('input', () => {
    if (media.readyState > 0) media.currentTime = Number(seek.value);
    onSeek(Number(seek.value));
  });
  return {
    root: el('div', { class: 'row transport' }, button, seek, clock),
    toggle,
    place() {
      seek.value = String(media.currentTime);
      seek.setAttribute('aria-valuetext', `${two(media.currentTime)} seconds`);
      clock.textContent = `${two(media.currentTime)} / ${two(material.duration_s)} s`;
    },
  };
}

// ---- the video to take away

function taking({ view, still, asked }) {
  const said = el('p', { class: 'small dim', role: 'status' });
  const button = el('button', { type: 'button', class: 'btn', onclick: () => make() }, icon('down'), 'Make a video of it, MP4');
  const done = el('i');
  const bar = el('div', { class: 'pb', role: 'progressbar', 'aria-label': 'Progress of the video', 'aria-valuemin': '0', 'aria-valuemax': '100' }, done);
  const clock = el('span', { class: 'small dim num nw' });
  const work = el('div', { class: 'row work', hidden: true }, bar, clock, el('button', { type: 'button', class: 'btn s', onclick: () => stop.abort() }, 'Cancel'));
  let stop = null;

  function told({ done: so, total }) {
    const share = total ? so / total : 0;
    bar.setAttribute('aria-valuenow', String(Math.round(share * 100)));
    done.style.width = percent(share);
    clock.textContent = total ? `${so.toFixed(1)} of ${total.toFixed(1)} s` : 'waits for its turn';
  }

  async function make() {
    const { map, look } = asked();
    const address = `${map.address}/video/${look}`;
    const query = `${map.query}&opacity=${view.opacity}`;
    stop = new AbortController();
    const { signal } = stop;
    [button.hidden, work.hidden, said.textContent] = [true, false, ''];
    told({ done: 0, total: 0 });
    try {
      await lines(`${address}/progress?${query}`, signal, told);
      el('a', { href: `${address}.mp4?${query}`, download: true }).click();
      said.textContent = 'The video is made and being downloaded.';
    } catch (error) {
      said.textContent = signal.aborted ? 'The video was given up.' : error.message;
    }
    [button.hidden, work.hidden] = [false, true];
  }

  return {
    root: still ? null : el('div', { class: 'taken' }, button, work),
    said,
    offer() {
      const { map, look } = asked();
      button.disabled = !map?.facts?.face || look === 'off';
    },
    stop: () => stop?.abort(),
  };
}

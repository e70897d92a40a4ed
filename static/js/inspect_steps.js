// One time axis: windows, faces, sound with one method's map, and one cursor that steps from frame to frame.

import { el, icon, percent, two } from './dom.js';
import { ending, spectrogram } from './inspect_pictures.js';

const CELLS = 21;
const CELL_PX = 96;

// found(i) is what column i shows: its facts and addresses, or nothing yet.
export function stepper({ base, material, view, faces, found, onAt, onGo, onWindow }) {
  const timed = material.kind !== 'image';
  const clock = el('b', { class: 'num' });
  const flag = el('b', { 'aria-hidden': 'true' });
  const cursor = el('div', { class: 'cur', role: 'slider', tabindex: '0', 'aria-label': 'Frame', 'aria-valuemin': '1', 'aria-valuemax': String(material.times.length) }, flag);
  const step = (name, by, text) => el('button', { type: 'button', class: 'btn s', 'aria-label': text, onclick: () => onGo(view.frame + by) }, icon(name));
  const which = el('select', {});
  const heard = material.voice && spectrogram(base, material, onAt);
  const turns = timed && material.windows.length ? windowsOf(material, onWindow) : null;
  const strip = timed && faces ? stripOf(material, faces, onAt) : null;
  const shade = [el('i', { class: 'shade' }), el('i', { class: 'shade' })];
  let shown = 0;

  which.addEventListener('change', () => { shown = Number(which.value); draw(); });

  const lanes = [
    turns && lane('Window', 'click one', turns.root),
    strip && lane('Face', null, strip.root),
    heard && lane('Voice', 'in Hz', el('div', { class: 'rel' }, ticks(material), heard.root)),
    timed && seconds(material),
  ].filter(Boolean);
  const stack = el('div', { class: 'ev' }, timed ? cursor : null, lanes);
  heard?.root.append(...shade);
  const root = timed
    ? el('section', { class: 'panel big mt5 steps-panel', 'aria-labelledby': 'steps-title' },
        el('div', { class: 'ph' }, el('h2', { id: 'steps-title' }, 'Step through the frames'),
          el('p', {}, el('kbd', {}, '\u2190'), ' ', el('kbd', {}, '\u2192'), ' one frame, ', el('kbd', {}, 'Shift'), ' ten, ', el('kbd', {}, 'M'), ' next method'),
          el('span', { class: 'sp row' }, step('prev', -1, 'One frame back'), clock, step('next', 1, 'One frame on'))),
        heard ? el('label', { class: 'row small dim axes' }, 'Map on the sound', el('span', { class: 'picked' }, which)) : null,
        stack, heard?.line ?? null)
    : el('div');

  function draw() {
    const one = found(shown);
    heard?.fade(Boolean(one?.lost.voice));
    heard?.show(one?.facts ?? null, one?.facts.voice ? `${one.address}/voice.png?${one.query}${ending(one.wholes.voice)}` : null);
  }

  return {
    root,
    next() {
      shown = (shown + 1) % view.methods.length;
      which.value = String(shown);
      draw();
    },
    // The methods, or what is known of them, have changed.
    method() {
      shown = Math.min(shown, view.methods.length - 1);
      which.replaceChildren(...view.methods.map((name, i) => el('option', { value: String(i) }, material.methods.find((one) => one.name === name).title)));
      which.value = String(shown);
      draw();
    },
    windowed() {
      turns?.choose(view.window);
      const one = view.window === null ? null : material.windows[view.window];
      shade[0].style.width = one ? percent(one.start_s / material.duration_s) : '0';
      shade[1].style.width = one ? percent(Math.max(0, 1 - one.end_s / material.duration_s)) : '0';
    },
    place() {
      const time = material.times[view.frame] ?? 0;
      clock.textContent = `${two(time)} s`;
      flag.textContent = `${two(time)} s`;
      stack.style.setProperty('--t', material.duration_s ? time / material.duration_s : 0);
      cursor.setAttribute('aria-valuenow', String(view.frame + 1));
      cursor.setAttribute('aria-valuetext', `Frame ${view.frame + 1} of ${material.times.length}, ${two(time)} seconds`);
      heard?.place(time);
      strip?.place(time);
    },
  };
}

const lane = (title, small, middle) =>
  el('div', { class: 'lane' }, el('div', { class: 'l' }, title, small ? el('small', {}, small) : null), el('div', { class: 'm' }, middle), el('div', { class: 'rr' }));

// Windows overlap; each has the stretch of the axis in which it is the nearest.
function windowsOf(material, onWindow) {
  const whole = material.duration_s;
  const turns = material.windows.map((one, i) => el('li', {
    class: one.label ? `em-${one.label}` : 'unclear',
    style: { left: percent(one.from_s / whole), width: percent((one.to_s - one.from_s) / whole) },
    title: `window ${i + 1}, ${two(one.start_s)} to ${two(one.end_s)} s, ${one.label || 'no clear reading'}; weight ${two(one.share)}`,
  }, one.label ? icon(one.label) : null));
  const span = el('i', { class: 'span', hidden: true });
  const root = el('div', { class: 'windows' }, el('ol', { 'aria-label': 'Windows; the selector above chooses one too' }, turns), span);
  let chosen = null;
  root.addEventListener('click', (event) => {
    const { left, width } = root.getBoundingClientRect();
    const time = ((event.clientX - left) / width) * whole;
    const at = material.windows.findIndex((one) => time <= one.to_s);
    const next = at < 0 ? material.windows.length - 1 : at;
    onWindow(next === chosen ? null : next);
  });
  return {
    root,
    choose(window) {
      chosen = window;
      turns.forEach((turn, i) => turn.classList.toggle('on', i === window));
      span.hidden = window === null;
      if (window === null) return;
      const { start_s: from, end_s: to } = material.windows[window];
      span.style.left = percent(Math.max(0, from) / whole);
      span.style.width = percent((Math.min(whole, to) - Math.max(0, from)) / whole);
    },
  };
}

// Each cell shows the frame nearest to its middle.
function stripOf(material, faces, onAt) {
  const { times, present, duration_s: whole } = material;
  const count = Math.min(CELLS, times.length);
  const step = times.length > 1 ? times[1] - times[0] : whole;
  const cells = Array.from({ length: count }, (_, i) => {
    const middle = ((i + 0.5) / count) * whole;
    let frame = null;
    times.forEach((time, n) => {
      if (present[n] && (frame === null || Math.abs(time - middle) < Math.abs(times[frame] - middle))) frame = n;
    });
    if (frame === null || Math.abs(times[frame] - middle) > whole / count / 2 + step) return el('div', { class: 'cell hatched' });
    const canvas = el('canvas', { width: CELL_PX, height: CELL_PX });
    faces(canvas, frame);
    return el('div', { class: 'cell' }, canvas);
  });
  const root = el('div', { class: 'cells', role: 'img', 'aria-label': 'Faces over time; cells without a face are hatched', style: { '--cells': count } }, cells);
  const to = (event) => {
    const { left, width } = root.getBoundingClientRect();
    onAt(((event.clientX - left) / width) * whole);
  };
  root.addEventListener('pointerdown', (event) => { if (event.button === 0) to(event); event.preventDefault(); });
  root.addEventListener('pointermove', (event) => { if (event.buttons & 1) to(event); });
  return {
    root,
    place(time) {
      const at = Math.min(count - 1, Math.floor((time / whole) * count));
      cells.forEach((cell, i) => cell.classList.toggle('now', i === at));
    },
  };
}

const ticks = (material) => material.voice.ticks.map(({ hz, top }) =>
  el('span', { class: 'yax', style: { top: percent(Math.max(0.05, top)) } }, hz >= 1000 ? `${hz / 1000}k` : `${hz}`));

function seconds(material) {
  const last = material.ticks.at(-1);
  const marks = material.ticks.map((t) => el('span', { class: t === 0 ? 'first' : null, style: { left: percent(t / material.duration_s) } }, t === last ? `${t} s` : `${t}`));
  return el('div', { class: 'lane axis', 'aria-hidden': 'true' }, el('div'), el('div', { class: 'm' }, el('div', { class: 'ax' }, marks)), el('div'));
}

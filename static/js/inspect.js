// The Inspect page: which reading, target, methods and window are shown; the address holds all of it.

import { LABELS, api, el, icon, two } from './dom.js';
import { attention } from './inspect_attention.js';
import { column } from './inspect_column.js';
import { controls } from './inspect_controls.js';
import { muting } from './inspect_mute.js';
import { frames } from './inspect_pictures.js';
import { listening } from './inspect_sound.js';
import { stepper } from './inspect_steps.js';
import { watching } from './inspect_watch.js';
import { Cancelled, worker } from './try_it_job.js';
import { examples, mark } from './try_it_sources.js';

const FIRST = ['cam', 'gradcam', 'layercam']; // quick ones, all of them targeted
const MOST = 3;

export function start(root) {
  const page = root.querySelector('.inspect');
  const part = (name) => page.querySelector(`[data-part="${name}"]`);
  const work = worker(part);
  const say = (text) => { part('said').textContent = text; };
  let shown = null;

  function state(name) {
    page.dataset.state = name;
    page.querySelectorAll('[data-when]').forEach((node) => { node.hidden = !node.dataset.when.split(' ').includes(name); });
  }

  function fail(error) {
    part('error').textContent = error.message;
    state('error');
    say(error.message);
  }

  async function open(id, asked = new URLSearchParams()) {
    const [material, clips] = await Promise.all([api(`/api/results/${encodeURIComponent(id)}/explain`), api('/api/results')]);
    shown?.end();
    shown = inspection({ id, material, clips, asked, say, onClip: (other) => open(other).catch(fail) });
    part('shown').replaceChildren(...shown.nodes);
    state('result');
    shown.begin();
  }

  async function first() {
    shown?.end();
    shown = null;
    history.replaceState(null, '', '/inspect');
    const clips = await api('/api/results');
    if (clips.length) return open(clips[0].id);
    return state('empty');
  }

  async function example(row) {
    mark(part('examples'), row.name);
    state('loading');
    say('Reading the example.');
    try {
      await open(await work.example(row.name));
    } catch (error) {
      if (error instanceof Cancelled) state('empty');
      else fail(error);
    }
  }

  examples(part('examples'), [part('first-example')], example);
  part('back').addEventListener('click', () => first().catch(fail));
  const asked = new URLSearchParams(location.search);
  (asked.get('result') ? open(asked.get('result'), asked) : first()).catch(fail);
}

// One reading on the page. `asked` is what the address says; what it does not say, or says wrongly, gets its usual value.
function inspection({ id, material, clips, asked, say, onClip }) {
  const base = `/api/results/${encodeURIComponent(id)}`;
  const view = read(asked, material);
  const faces = material.present && frames((n) => `${base}/explain/faces/${n}.png`, material.chunk, 64);
  const heading = el('h1', { class: 'h1' });
  const where = el('p', { class: 'small dim3 num' });
  const columns = el('div', { class: 'columns' });
  const tests = inTurn();
  const parts = [];

  // What is asked of a method; without its name, of any of them.
  const query = (name = null) => {
    const asks = new URLSearchParams({ target: view.contrast ? `${view.target}-${view.contrast}` : view.target });
    if (view.window !== null) asks.set('window', view.window);
    if (view.layer && material.methods.some((one) => one.name === name && one.layered)) asks.set('layer', view.layer);
    return asks.toString();
  };

  function keep() {
    const kept = { result: id, target: view.target };
    if (view.contrast) kept.contrast = view.contrast;
    kept.methods = view.methods.join(',');
    if (view.window !== null) kept.window = view.window;
    if (view.layer) kept.layer = view.layer;
    if (view.scale === 'shared') kept.scale = view.scale;
    if (view.head !== '') kept.head = view.head;
    kept.time = two(material.times[view.frame] ?? 0);
    history.replaceState(null, '', `/inspect?${new URLSearchParams(kept)}`);
  }

  // What is explained has changed: everything that was being computed for the choice before is given up.
  function changed() {
    if (view.contrast === view.target) view.contrast = '';
    heading.textContent = view.contrast ? `What speaks for ${view.target} rather than ${view.contrast}` : `What speaks for ${view.target}`;
    tests.clear();
    chooser.dress();
    parts.forEach((one, i) => one.show(view.methods[i], query(view.methods[i])));
    steps.windowed();
    maps();
    sound.choose(query);
    crossed.show(query());
    mute.show();
    keep();
    say(heading.textContent);
  }

  function placed() {
    const { times } = material;
    const count = material.kind === 'image' ? '' : `Frame ${view.frame + 1} of ${times.length}, at ${two(times[view.frame] ?? 0)} s`;
    where.textContent = material.present ? count : count.replace('Frame', 'Step');
    parts.forEach((one) => one.place());
    steps.place();
    watch.place();
    crossed.place();
    keep();
  }

  // What is known of the columns' maps has changed.
  function maps() {
    scale();
    steps.method();
    watch.method();
  }

  // On a shared scale the strongest of the maps with the same unit has the end of the colours, of face and voice each.
  function scale() {
    const found = parts.map((one) => one.found()).filter(Boolean);
    const most = (unit, which) => Math.max(...found.filter(({ facts }) => facts.unit === unit).map(({ facts }) => facts[which]?.most ?? 0));
    const whole = ({ facts }, which) => (view.scale === 'shared' && most(facts.unit, which) > (facts[which]?.most ?? Infinity) ? most(facts.unit, which) : null);
    parts.forEach((one) => one.found() && one.scale({ face: whole(one.found(), 'face'), voice: whole(one.found(), 'voice') }));
    const named = found.map(({ name }) => name).join(',');
    const layered = view.layer ? `&layer=${encodeURIComponent(view.layer)}` : '';
    chooser.offer(found.length && !parts.some((one) => one.waits()) ? `${base}/maps.zip?${query()}${layered}&methods=${encodeURIComponent(named)}` : null);
  }

  function fade(strength) {
    view.opacity = strength;
    sliders.forEach((slider) => { slider.value = String(strength * 100); });
    whole.style.setProperty('--map', strength);
    watch.draw();
  }

  function go(frame) {
    view.frame = Math.max(0, Math.min(material.times.length - 1, frame));
    placed();
  }

  // The cursor goes along where it would be outside the window.
  function choose(window) {
    view.window = window;
    changed();
    if (window === null) return placed();
    const { start_s: from, end_s: to } = material.windows[window];
    const time = material.times[view.frame];
    if (time < from || time > to) at((from + to) / 2);
    return placed();
  }

  function at(seconds) {
    const best = nearest(material, seconds);
    if (best !== view.frame) go(best);
  }

  function draw() {
    parts.forEach((one) => one.end());
    parts.length = 0;
    view.methods.forEach((method, i) => {
      parts.push(column({ base, material, view, faces, tests, number: i,
        onMethod: (name) => { view.methods[i] = name; one(i); },
        onRemove: view.methods.length > 1 ? () => { view.methods.splice(i, 1); draw(); changed(); placed(); } : null,
        onFound: maps,
        onAt: at }));
    });
    columns.style.setProperty('--count', parts.length);
    columns.replaceChildren(...parts.map((each) => each.root));
    more.hidden = view.methods.length >= MOST;
  }

  function one(i) {
    parts[i].show(view.methods[i], query(view.methods[i]));
    parts[i].place();
    maps();
    sound.choose(query);
    keep();
  }

  const more = el('button', { type: 'button', class: 'btn s', onclick: () => {
    const unused = material.methods.find(({ name }) => !view.methods.includes(name));
    view.methods.push(unused.name);
    draw();
    changed();
    placed();
  } }, 'Add a method');
  const chooser = controls({ material, clips, id, view, onClip, onChange: changed, onWindow: choose, onScale: () => { maps(); keep(); } });
  const steps = stepper({ base, material, view, faces, found: (i) => parts[i]?.found(), onAt: at, onGo: go, onWindow: choose });
  const sliders = ['How strongly the maps are drawn', 'Opacity of the heat over the clip'].map((name) =>
    el('input', { type: 'range', min: '0', max: '100', value: '100', 'aria-label': name, oninput: (event) => fade(event.target.value / 100) }));
  const watch = watching({ base, material, view, found: (i) => parts[i]?.found(), strength: sliders[1], onTime: at });
  const mute = muting({ material, view, onMute: () => watch.muted() });
  const crossed = attention({ base, material, view, onGo: go, onHead: () => { crossed.show(query()); keep(); } });
  const sound = listening({ base, material, view, onTime: at });

  const whole = el('div', { class: 'whole' },
    chooser.root,
    el('section', { class: 'panel big mt5', 'aria-label': 'Maps' },
      el('div', { class: 'ph' }, el('div', {}, heading, where), el('label', { class: 'sp row small dim nw' }, 'Maps', sliders[0])),
      columns,
      el('div', { class: 'row wrap mt4' }, more),
      el('p', { class: 'note mt4' }, icon('info'), el('span', {}, 'A map shows what changed the model\u2019s output, not why a person moved their face or voice. Compare columns: only what several maps that beat random agree on is worth reporting. A dashed line goes round the strongest fifth of a picture, whatever the colours; what speaks against the target does not count, and an even map has no line. On a shared scale, maps of the same unit have the same colours for the same value, face and voice each.'))),
    steps.root,
    seen(material, watch, mute),
    crossed.root, sound.root);

  function keys(event) {
    if (!whole.isConnected) return;
    const on = event.target;
    if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA|AUDIO)$/.test(on.tagName)) return;
    if (on !== document.body && !whole.contains(on)) return;
    const ten = event.shiftKey ? 10 : 1;
    if (event.code === 'ArrowLeft') go(view.frame - ten);
    else if (event.code === 'ArrowRight') go(view.frame + ten);
    else if (event.code === 'KeyM') steps.next();
    else if (event.code === 'KeyH') watch.next();
    else if (event.code === 'KeyF') mute.toggle('face');
    else if (event.code === 'KeyV') mute.toggle('voice');
    else if (event.code === 'Space' && !/^(BUTTON|A)$/.test(on.tagName)) watch.toggle();
    else return;
    event.preventDefault();
  }

  return {
    nodes: [whole],
    begin() {
      document.addEventListener('keydown', keys);
      draw();
      changed();
      placed();
    },
    end() {
      document.removeEventListener('keydown', keys);
      tests.clear();
      [...parts, sound, crossed, watch].forEach((each) => each.end());
    },
  };
}

function read(asked, material) {
  const known = new Set(material.methods.map(({ name }) => name));
  const named = (name) => LABELS.includes(asked.get(name));
  const methods = (asked.get('methods') || '').split(',').filter((name) => known.has(name)).slice(0, MOST);
  const window = /^\d+$/.test(asked.get('window') || '') ? Number(asked.get('window')) : null;
  const time = Number(asked.get('time') || 'NaN');
  const frame = Number.isFinite(time) ? nearest(material, time) : telling(material);
  return {
    target: named('target') ? asked.get('target') : material.label,
    contrast: named('contrast') ? asked.get('contrast') : '',
    methods: methods.length ? methods : [...FIRST],
    window: window !== null && window < material.windows.length ? window : null,
    layer: material.layers.includes(asked.get('layer')) ? asked.get('layer') : '',
    scale: asked.get('scale') === 'shared' ? 'shared' : 'map',
    head: /^\d+$/.test(asked.get('head') ?? '') && Number(asked.get('head')) < material.heads ? String(Number(asked.get('head'))) : '',
    frame,
    opacity: 1,
    muted: { face: false, voice: false },
  };
}

function nearest({ times, present }, time, faces = false) {
  let best = 0;
  times.forEach((t, i) => {
    const nearer = Math.abs(t - time) < Math.abs(times[best] - time);
    if (faces ? present[i] && (nearer || !present[best]) : nearer) best = i;
  });
  return best;
}

// Where a view begins: a face in the middle of the window that weighs most, since maps are often empty at the clip's start.
function telling(material) {
  if (!material.windows.length) return 0;
  const { start_s: from, end_s: to } = material.windows.reduce((most, one) => (one.share > most.share ? one : most));
  return nearest(material, (from + to) / 2, Boolean(material.present));
}

function seen(material, watch, mute) {
  const key = (name, does) => [el('kbd', {}, name), ` ${does}`];
  const keys = [
    material.kind === 'video' && key('Space', 'plays, '),
    material.picture && key('H', 'next picture, '),
    key('F', 'mutes the face, '), key('V', 'the voice'),
  ].filter(Boolean);
  return el('section', { class: 'panel big mt5', 'aria-labelledby': 'watch-title' },
    el('div', { class: 'ph' }, el('h2', { id: 'watch-title' }, 'See what was used'), el('p', {}, keys)),
    el('div', { class: `watch${material.kind === 'audio' ? ' sole' : ''}` }, watch.root, mute.root));
}

// One task after the other; clear() drops those that wait and tells the one that runs.
function inTurn() {
  let waiting = [];
  let running = null;
  async function next() {
    if (running || !waiting.length) return;
    const { task, stop } = waiting.shift();
    running = stop;
    if (!stop.signal.aborted) await task(stop.signal).catch(() => {});
    if (running === stop) running = null;
    next();
  }
  return {
    add(task) {
      const stop = new AbortController();
      waiting.push({ task, stop });
      next();
      return stop;
    },
    clear() {
      waiting = [];
      running?.abort();
      running = null;
    },
  };
}

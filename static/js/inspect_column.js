// One method: its maps over face and voice at the cursor, their scales, their test against random maps, its files.

import { api, contour, el, icon, lines, svg, two } from './dom.js';
import { bar, ending, frames, onScale, outlines, reason, small, spectrogram, unline, wipe } from './inspect_pictures.js';
import { twin } from './inspect_twin.js';

const MAP_PX = 96;
const FACE_PX = 320;
const MODALITIES = ['face', 'voice'];

export function column({ base, material, view, faces, tests, number, onMethod, onRemove, onFound, onAt }) {
  const choice = el('select', { class: 'sel', id: `method-${number}` },
    material.methods.map(({ name, title }) => el('option', { value: name }, title)));
  choice.addEventListener('change', () => onMethod(choice.value));
  const named = el('span', { 'aria-hidden': 'true' }); // over the choice, whose own text does not wrap
  const source = el('p', { class: 'micro' });
  const state = el('div', { class: 'state', role: 'status' });
  const under = el('canvas', { width: FACE_PX, height: FACE_PX });
  const over = el('canvas', { class: 'map', width: FACE_PX, height: FACE_PX });
  const path = svg('path', {});
  const nobody = el('span', { class: 'nobody' }, 'no face here');
  const outside = el('span', { class: 'outside', hidden: true }, 'outside the window');
  const face = el('div', { class: 'face', role: 'img', 'aria-label': 'Face at the cursor' }, under, over, contour(path), nobody, outside);
  const heard = material.voice && spectrogram(base, material, onAt);
  const places = { face: el('div', { class: 'stream' }), voice: el('div', { class: 'stream' }) };
  const bars = { face: el('div'), voice: el('div') };
  const files = el('p', { class: 'row wrap files' });
  const channels = el('div');
  const untrained = twin({ base, material, view, faces, onAt });
  const root = el('article', { class: 'method' },
    el('div', { class: 'row' },
      el('label', { class: 'vh', for: `method-${number}` }, `Method ${number + 1}`), el('span', { class: 'naming' }, named, choice),
      onRemove && el('button', { type: 'button', class: 'btn q r s', 'aria-label': `Remove method ${number + 1}`, onclick: onRemove }, icon('no'))),
    source, state, places.face, places.voice, channels, untrained.root, files);
  const now = { name: '', stop: null, facts: null, failed: false, lost: {}, address: '', query: '', title: '', draw: null, outline: null, wholes: {}, ticking: 0 };

  const end = () => {
    now.stop?.abort();
    untrained.clear();
    clearInterval(now.ticking);
  };

  async function show(name, query) {
    end();
    const stop = new AbortController();
    const method = material.methods.find((one) => one.name === name);
    Object.assign(now, { name, stop, facts: null, failed: false, lost: {}, draw: null, outline: null, wholes: {}, query, title: method.title, address: `${base}/explain/${encodeURIComponent(name)}` });
    choice.value = name;
    named.textContent = method.title;
    root.setAttribute('aria-label', method.title);
    source.textContent = [method.source, !method.targeted && 'the same for every target', view.layer && (method.layered ? `layer ${view.layer}` : 'has no layer to choose')].filter(Boolean).join('; ');
    channels.replaceChildren();
    files.replaceChildren();
    heard?.show(null, null);
    wipe(over);
    unline(path);
    streams();
    work(method.slow || (method.layered && view.layer));
    try {
      now.facts = await api(`${now.address}?${query}`, { signal: stop.signal });
    } catch (error) {
      if (stop.signal.aborted) return;
      clearInterval(now.ticking);
      now.failed = true;
      state.replaceChildren(el('p', { class: 'note warn' }, icon('warn'), el('span', {}, error.message)));
      MODALITIES.forEach((which) => places[which].replaceChildren());
      onFound();
      return;
    }
    clearInterval(now.ticking);
    state.replaceChildren();
    found(stop);
  }

  function work(slow) {
    const began = performance.now();
    const clock = el('span', { class: 'num', 'aria-hidden': 'true' });
    const tick = () => { clock.textContent = ` ${((performance.now() - began) / 1000).toFixed(0)} s`; };
    state.replaceChildren(el('p', { class: 'small dim busy' }, el('i'), slow ? 'Computing; this method takes a while' : 'Computing', clock));
    now.ticking = setInterval(tick, 500);
  }

  // The pictures that the maps lie on are there before the maps are.
  function streams() {
    [face, heard?.root].forEach((box) => box?.classList.remove('lost'));
    places.face.replaceChildren(material.present && !material.missing.face ? face : reason('face', material.missing.face || 'no face in this clip'));
    places.voice.replaceChildren(...(heard && !material.missing.voice ? [heard.root, heard.line] : [reason('voice', material.missing.voice || 'no sound in this clip')]));
  }

  function found(stop) {
    const { facts, address, query } = now;
    if (facts.face) now.outline = outlines((n) => `${address}/outlines/${n}.json?${query}`, material.chunk);
    for (const which of MODALITIES) {
      if (!facts[which]) {
        if (!material.missing[which]) places[which].replaceChildren(reason(which, facts.missing[which] || 'this method has no map of it'));
        continue;
      }
      const verdict = el('div', { class: 'verdicts' });
      places[which].append(bars[which], verdict);
      test(which, verdict, stop);
    }
    channels.replaceChildren(...weights(facts.channels));
    paint();
    untrained.offer(now);
    files.replaceChildren(...['npz', 'svg', 'png'].map((kind) =>
      el('a', { class: 'small', href: `${address}/download/${kind}?${query}`, download: true, 'aria-label': `${kind.toUpperCase()} of ${now.title}` }, icon('down'), kind.toUpperCase())));
    place();
    onFound();
  }

  // The maps in their colours, and the bars that say what these mean.
  function paint() {
    const { facts, address, query, wholes } = now;
    now.draw = facts.face && frames((n) => `${address}/faces/${n}.png?${query}${ending(wholes.face)}`, material.chunk, MAP_PX);
    heard?.show(facts, facts.voice ? `${address}/voice.png?${query}${ending(wholes.voice)}` : null);
    MODALITIES.forEach((which) => bars[which].replaceChildren(facts[which] ? bar(onScale(facts[which], wholes[which]), facts.unit) : ''));
  }

  // Where the scales of face and voice end; null is the map's own end.
  function scale(wholes) {
    if (MODALITIES.every((which) => (wholes[which] ?? null) === (now.wholes[which] ?? null))) return;
    now.wholes = wholes;
    paint();
    untrained.repaint();
    place();
  }

  function test(which, holder, stop) {
    holder.replaceChildren(el('p', { class: 'badge' }, `${which}: waits for its test`));
    const waits = tests.add(async (signal) => {
      const text = el('span', { class: 'num' });
      holder.replaceChildren(el('p', { class: 'badge busy' }, el('i'), text));
      const told = ({ done, total }) => { text.textContent = total ? `${which}: tested against ${Math.max(0, done - 1)} of at most ${total - 1} random maps` : `${which}: being tested against random maps`; };
      told({});
      try {
        tested(which, holder, await lines(`${now.address}/test/${which}/progress?${now.query}`, signal, told));
      } catch (error) {
        if (!signal.aborted) holder.replaceChildren(el('p', { class: 'badge' }, error.message));
      }
    });
    stop.signal.addEventListener('abort', () => waits.abort());
  }

  function tested(which, holder, said) {
    const against = `area under deletion ${close(said.area, said.random_area)}`;
    const kind = said.better ? 'pass' : 'fail';
    const part = said.heaviest && material.windows.length > 1 ? `, of its heaviest window, ${two(said.start_s)} to ${two(said.end_s)} s` : '';
    holder.replaceChildren(
      el('p', { class: `badge ${kind}` }, icon(said.better ? 'check' : 'no'), el('span', {}, el('b', {}, `${which} better than random: ${said.better ? 'yes' : 'no'}`), ` (${against})`)),
      el('div', { class: 'drawn' }, curves(said), el('p', { class: 'micro' }, said.better
        ? `Solid: cells taken away by this map. Dashed: by ${said.draws} random maps, of which it beats ${said.beaten}${part}. Lower is better.`
        : `Do not read this map: it does no better than ${said.draws} random ones${part}.`, said.sure ? '' : ' A close call: more random maps might turn it.')),
    );
    (which === 'face' ? face : heard.root).classList.toggle('lost', !said.better);
    now.lost[which] = !said.better;
    onFound();
  }

  function place() {
    const { frame } = view;
    heard?.place(material.times[frame] ?? 0);
    untrained.place();
    if (!faces) return;
    const there = material.present[frame];
    nobody.hidden = there;
    outside.hidden = !there || within(material, view);
    if (there) faces(under, frame);
    else wipe(under);
    if (there && now.draw) now.draw(over, frame);
    else wipe(over);
    if (there && now.outline) now.outline(path, frame);
    else unline(path);
    face.setAttribute('aria-label', `Face at ${two(material.times[frame])} s${now.facts ? ` with the map: ${now.facts.heading}` : ''}`);
  }

  return { root, show, place, scale, end, waits: () => !now.facts && !now.failed, found: () => now.facts && { ...now } };
}

// Whether the cursor is in what is explained.
function within(material, { window, frame }) {
  if (window === null) return true;
  const { start_s: from, end_s: to } = material.windows[window];
  return material.times[frame] >= from && material.times[frame] <= to;
}

// Two numbers with as many digits as they need to differ.
function close(one, other) {
  const digits = [2, 3, 4, 5].find((n) => one.toFixed(n) !== other.toFixed(n)) || 2;
  return `${one.toFixed(digits)} against ${other.toFixed(digits)}`;
}

// The probability while the strongest cells go, from none to all: the map's curve and the random maps' mean.
function curves({ deletion, random, contrast }) {
  const line = (values) => values.map((p, i) => `${((i / (values.length - 1)) * 96 + 2).toFixed(1)},${(46 - p * 44).toFixed(1)}`).join(' ');
  const text = `Probability ${contrast ? 'of the target against its contrast ' : ''}from ${two(deletion[0])} to ${two(deletion.at(-1))} while cells are taken away`;
  return svg('svg', { class: 'curves', viewBox: '0 0 100 48', role: 'img', 'aria-label': text },
    svg('polyline', { class: 'random', points: line(random) }), svg('polyline', { class: 'own', points: line(deletion) }));
}

function weights(layers) {
  if (!layers.length) return [];
  const head = el('tr', {}, ['Layer', 'Maps', 'least', 'median', 'most'].map((text, i) => el('th', { class: i ? 'ra' : null, scope: 'col' }, text)));
  const rows = layers.map((one) => el('tr', {}, el('td', {}, one.layer.replaceAll('_', ' ').replace('.attention', '')), [one.count, ...[one.least, one.median, one.most].map(small)].map((value) => el('td', { class: 'ra num' }, String(value)))));
  return [el('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Weights of the feature maps' }, el('table', {}, el('thead', {}, head), el('tbody', {}, rows)))];
}

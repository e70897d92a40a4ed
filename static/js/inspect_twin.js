// The same method on a network of random weights, on demand: what its map shows too is the clip, not what was learned.

import { api, contour, el, icon, lines, percent, signed, svg, two } from './dom.js';
import { bar, ending, frames, onScale, outlines, spectrogram, unline, wipe } from './inspect_pictures.js';

const MAP_PX = 96;
const FACE_PX = 192;
const MODALITIES = ['face', 'voice'];
const VERDICTS = { alike: 'fail', unlike: 'pass' };
const SCALES = [[false, 'Its own scale'], [true, 'Same scale']];

export function twin({ base, material, view, faces, onAt }) {
  const ask = el('button', { type: 'button', class: 'btn s', onclick: () => compare() }, 'Compare with untrained weights');
  const done = el('i');
  const progress = el('div', { class: 'pb', role: 'progressbar', 'aria-label': 'Progress of the comparison', 'aria-valuemin': '0', 'aria-valuemax': '100' }, done);
  const clock = el('span', { class: 'micro num nw' });
  const cancel = el('button', { type: 'button', class: 'btn s', onclick: () => stop.abort() }, 'Cancel');
  const work = el('div', { class: 'row wrap', hidden: true }, progress, clock, cancel);
  const said = el('p', { class: 'small', role: 'status' });
  const shown = el('div', { class: 'stream', role: 'group', hidden: true });
  const pair = ['this map', 'untrained'].map(captioned);
  const face = el('div', { class: 'pair', role: 'img' }, pair.map((one) => one.root));
  const heard = material.voice && spectrogram(base, material, onAt);
  const buttons = SCALES.map(([as, text]) => el('button', { type: 'button', 'aria-pressed': 'false', onclick: () => scaled(as) }, text));
  const bars = { face: el('div'), voice: el('div') };
  const root = el('div', { class: 'stream twin', hidden: true }, ask, work, said, shown);
  let own = null; // the map that is compared
  let facts = null; // of its twin
  let draw = null;
  let outline = null;
  let same = false; // on the scale of the map itself
  let stop = null;

  function told({ done: so, total }) {
    progress.setAttribute('aria-valuenow', String(total ? Math.round((so / total) * 100) : 0));
    done.style.width = percent(total ? so / total : 0);
    clock.textContent = total ? `${so} of ${total}` : 'waits for its turn';
  }

  async function compare() {
    const { address, query } = own;
    stop = new AbortController();
    const { signal } = stop;
    work.hidden = false;
    cancel.focus({ preventScroll: true }); // the button that has it goes
    [ask.hidden, said.textContent] = [true, ''];
    told({});
    try {
      const alike = await lines(`${address}/twin/progress?${query}`, signal, told);
      facts = await api(`${address}?${query}&untrained=0`, { signal });
      show(alike);
    } catch (error) {
      if (stop?.signal !== signal) return; // another map is shown
      ask.hidden = false;
      said.textContent = signal.aborted ? 'The comparison was given up.' : error.message;
    }
    if (document.activeElement === cancel) (shown.hidden ? ask : buttons[0]).focus({ preventScroll: true });
    work.hidden = true;
  }

  function show(alike) {
    const networks = alike.draws > 1 ? `${alike.draws} networks of random weights, of which the first is drawn` : 'one network of random weights, which is drawn';
    const help = `The same method on ${networks}. The correlation is that of the ranks of all cells, its mean without the sign: from ${two(alike.alike)} on two maps count as alike, below ${two(alike.unlike)} as unlike.`;
    const parts = MODALITIES.filter((which) => alike[which]).map((which) => [
      which === 'face' ? face : heard.root, bars[which], which === 'voice' ? heard.line : null, verdict(which, alike),
    ]);
    shown.setAttribute('aria-label', `${own.title} with untrained weights`);
    shown.replaceChildren(
      el('div', { class: 'row wrap' }, el('h3', {}, 'Untrained weights'), el('span', { class: 'seg sp', role: 'group', 'aria-label': 'Scale of the untrained map' }, buttons)),
      ...parts.flat().filter(Boolean), el('p', { class: 'micro' }, help));
    shown.hidden = false;
    said.textContent = '';
    outline = facts.face && outlines((n) => `${own.address}/outlines/${n}.json?${own.query}&untrained=0`, material.chunk);
    scaled(false);
  }

  // Untrained maps are often a thousand times weaker: on the scale of the map itself they may show nothing.
  function scaled(as) {
    same = as;
    const asked = `${own.query}&untrained=0`;
    const whole = (which) => (same ? own.wholes[which] ?? own.facts[which]?.most : null);
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(SCALES[i][0] === same)));
    draw = facts.face && frames((n) => `${own.address}/faces/${n}.png?${asked}${ending(whole('face'))}`, material.chunk, MAP_PX);
    heard?.show(facts, facts.voice ? `${own.address}/voice.png?${asked}${ending(whole('voice'))}` : null);
    MODALITIES.forEach((which) => bars[which].replaceChildren(facts[which] ? bar(onScale(facts[which], whole(which)), facts.unit) : ''));
    place();
  }

  function place() {
    if (shown.hidden) return;
    const { frame } = view;
    heard?.place(material.times[frame] ?? 0);
    if (!faces) return;
    const there = material.present[frame];
    pair.forEach(({ under, over, path }, i) => {
      const lined = i ? outline : own.outline;
      if (there && lined) lined(path, frame);
      else unline(path);
      for (const [canvas, picture] of [[under, faces], [over, i ? draw : own.draw]]) {
        if (there && picture) picture(canvas, frame);
        else wipe(canvas);
      }
    });
    face.setAttribute('aria-label', `Face at ${two(material.times[frame])} s with this map and with the untrained one`);
  }

  return {
    root,
    place,
    // A map is there that can be compared.
    offer(map) {
      own = map;
      root.hidden = !map.facts.face && !map.facts.voice;
      ask.setAttribute('aria-label', `Compare with untrained weights: ${map.title}`);
    },
    // The scale of the map itself has changed.
    repaint() {
      if (!shown.hidden) scaled(same);
    },
    // What is shown changes: the comparison of the map before is given up.
    clear() {
      const given = stop;
      stop = null;
      given?.abort();
      [root.hidden, ask.hidden, work.hidden, shown.hidden, said.textContent] = [true, false, true, true, ''];
    },
  };
}

function captioned(name) {
  const under = el('canvas', { width: FACE_PX, height: FACE_PX });
  const over = el('canvas', { class: 'map', width: FACE_PX, height: FACE_PX });
  const path = svg('path', {});
  return { under, over, path, root: el('div', {}, el('div', { class: 'face' }, under, over, contour(path)), el('p', { class: 'micro' }, name)) };
}

function verdict(which, { draws, [which]: { verdict: name, meaning, strength, least, most } }) {
  const kind = VERDICTS[name];
  const range = draws > 1 ? `, ${signed(least)} to ${signed(most)} by network` : '';
  const number = name === 'nothing to compare' ? '' : ` (rank correlation ${two(strength)}${range})`;
  return el('p', { class: `badge ${kind ?? ''}` }, kind ? icon(kind === 'pass' ? 'check' : 'no') : icon('info'),
    el('span', {}, el('b', {}, `${which} ${name}`), `${number}: ${meaning}.`));
}

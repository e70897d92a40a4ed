// One time axis: most likely emotion, probabilities, face strip and spectrogram with evidence, and one cursor that the
// player moves and that moves the player.

import { LABELS, contour, el, icon, logits, percent, signed, svg, two } from './dom.js';
import { draw, names } from './try_it_plot.js';

export function evidence(result, record, page, media) {
  const timed = page.kind !== 'image';
  const view = { label: record.verdict.label, mode: 'heat', time: 0, loop: false, label_buttons: [] };
  const root = el('section', { class: 'panel big mt5 evidence', 'aria-labelledby': 'evidence-title' });
  const stack = el('div', { class: 'ev' });
  const face = page.faces ? faceLane(result, page) : null;
  const voice = page.voice ? voiceLane(result, page) : null;
  const total = el('p', { class: 'small dim mt4', 'data-part': 'sum' });
  const cursor = timed ? cursorOf(page, view, media) : null;

  function show() {
    face?.show(view);
    voice?.show(view);
    total.replaceChildren(...sums(page, view));
    cursor?.say();
  }

  const target = targets(view, show);
  root.append(
    el('div', { class: 'ph' }, el('h2', { id: 'evidence-title' }, timed ? 'When, and on what evidence' : 'On what evidence'),
      el('p', {}, timed ? 'One cursor for the player and all rows. Drag it, or use the arrow keys.' : 'A still image has no time axis.')),
    el('div', { class: 'row evt' }, timed ? transport(page, view, media, cursor) : null, el('span', { class: 'sp' }), target),
    stack,
    total,
  );
  let ended = () => {};
  const lanes = [];
  if (timed && page.windows.edges.length) {
    const plot = el('div', { class: 'plot', role: 'img', 'aria-label': spoken(page) });
    lanes.push(ribbon(page), probabilities(page, plot));
    // The box must be on the page before it is measured.
    requestAnimationFrame(() => draw(plot, page.figure).then((end) => (ended = end), (error) => plot.replaceChildren(error.message)));
  }
  lanes.push(face?.lane ?? absentLane('Face', record.face.reason || 'no face in this clip'));
  lanes.push(voice?.lane ?? absentLane('Voice', record.voice.reason || 'no sound in this clip'));
  if (timed) lanes.push(seconds(page));
  stack.append(...lanes);
  if (cursor) {
    stack.prepend(cursor.node);
    dragging(stack, page, cursor);
    keys(root, page, view, media, cursor, target);
  }
  show();
  return { root, end: () => { cursor?.end(); ended(); } };
}

const lane = (title, small, middle, right) =>
  el('div', { class: 'lane' }, el('div', { class: 'l' }, title, small ? el('small', {}, small) : null), el('div', { class: 'm' }, middle), el('div', { class: 'rr' }, right ?? ''));

const absentLane = (title, reason) =>
  lane(title, null, el('div', { class: 'nolane hatched' }, el('span', {}, reason)));

// ---- rows

function ribbon(page) {
  const spans = page.ribbon.map(({ start_s: from, end_s: to, label }) => {
    const share = (to - from) / page.duration_s;
    const text = label || 'no clear reading';
    const room = share * Math.min(760, innerWidth - (innerWidth > 620 ? 340 : 216)); // of the lane, which is not drawn yet
    return el(
      'li',
      { class: label ? `em-${label}` : 'unclear', style: { left: percent(from / page.duration_s), width: percent(share) }, title: `${text}, ${from.toFixed(1)} to ${to.toFixed(1)} s` },
      room > 28 ? icon(label || 'apart') : null,
      el('span', { class: room > 40 + 8 * text.length ? null : 'vh' }, text),
      el('span', { class: 'vh' }, `, ${from.toFixed(1)} to ${to.toFixed(1)} seconds`),
    );
  });
  return lane('Most likely', null, el('ol', { class: 'ribbon' }, spans));
}

function probabilities(page, plot) {
  const ticks = [['1', 0], ['0.5', 95], ['0', 190]].map(([text, top]) => el('span', { class: 'yax', style: { top: `${top}px` } }, text));
  return lane('Probability', 'both together', [ticks, plot], names(page));
}

function spoken(page) {
  const said = page.ribbon.map((s) => `${s.label || 'no clear reading'} from ${s.start_s.toFixed(1)} to ${s.end_s.toFixed(1)} seconds`);
  return `Probability of each emotion over time. Most likely: ${said.slice(0, 12).join(', ')}. The CSV holds the numbers.`;
}

function faceLane(result, page) {
  const { cells } = page.faces;
  const address = (name, label) => `url("/api/results/${result}/image/${name}.png${label ? `?label=${label}` : ''}")`;
  const layers = [];
  const figures = cells.map((cell, i) => {
    if (cell.time_s === null) return el('figure', { class: 'skip hatched' }, el('span', {}, 'no face'));
    const place = { 'background-size': `${cells.length * 100}% 100%`, 'background-position': `${cells.length > 1 ? (i / (cells.length - 1)) * 100 : 0}% 0` };
    const heat = el('div', { class: 'layer', style: place });
    const path = svg('path', {});
    layers.push([i, heat, path]);
    return el(
      'figure',
      { title: page.kind === 'image' ? null : `${cell.time_s.toFixed(2)} s` },
      el('div', { class: 'layer', style: { ...place, 'background-image': address('faces') } }),
      heat,
      contour(path),
    );
  });
  const strip = el('div', { class: `strip${cells.length > 1 ? ' thin' : ' one'}`, role: 'img', style: { '--cells': cells.length } }, figures);
  const small = el('small', {});
  const node = lane('Face', null, strip, bar(page, 'cbar'));
  node.querySelector('.l').append(small);
  return {
    lane: node,
    show({ label, mode }) {
      for (const [i, heat, path] of layers) {
        heat.style.backgroundImage = mode === 'heat' ? address('face_evidence', label) : 'none';
        path.setAttribute('d', mode === 'off' ? '' : page.evidence[label].face_contours[i] || '');
      }
      small.textContent = mode === 'off' ? '' : `${mode}: what raised ${label}`;
      strip.setAttribute('aria-label', `Face over time with the evidence for ${label} (${mode}). Cells without a face are hatched.`);
    },
  };
}

function voiceLane(result, page) {
  const address = `/api/results/${result}/image`;
  const heat = el('img', { alt: '' });
  const path = svg('path', {});
  const ticks = page.voice.ticks.map(({ hz, top }) =>
    el('span', { class: 'yax', style: { top: percent(Math.max(0.04, top)) } }, hz >= 1000 ? `${hz / 1000}k` : `${hz}`));
  const ground = el('img', { src: `${address}/spectrogram.png`, alt: '' });
  const box = el('div', { class: 'spec', role: 'img' }, ground, heat, contour(path));
  const node = lane('Voice', 'log-mel, in Hz', el('div', { class: 'rel' }, ticks, box), bar(page, 'cbarv'));
  return {
    lane: node,
    show({ label, mode }) {
      heat.hidden = mode !== 'heat';
      if (mode === 'heat') heat.src = `${address}/voice_evidence.png?label=${label}`;
      path.setAttribute('d', mode === 'off' ? '' : page.evidence[label].voice_contour);
      box.setAttribute('aria-label', `Spectrogram from 60 hertz to 8 kilohertz with the evidence for ${label} (${mode}).`);
    },
  };
}

function bar({ scale }, kind) {
  if (!scale) return el('span', {}, 'no evidence');
  const ends = [el('span', {}, '0'), el('span', {}, `${logits(scale)} logits`)];
  if (kind === 'cbar') return el('div', { class: 'across' }, el('div', { class: kind }), el('div', { class: 'row' }, ends));
  return el('div', { class: 'upright' }, el('div', { class: kind }), el('div', { class: 'ends' }, ends[1], el('span', {}, 'in one cell'), ends[0]));
}

function seconds(page) {
  const last = page.ticks.at(-1);
  const marks = page.ticks.map((t) => el('span', { class: t === 0 ? 'first' : null, style: { left: percent(t / page.duration_s) } }, t === last ? `${t} s` : `${t}`));
  return el('div', { class: 'lane axis', 'aria-hidden': 'true' }, el('div'), el('div', { class: 'm' }, el('div', { class: 'ax' }, marks)), el('div'));
}

function sums(page, { label }) {
  const { face, voice, bias, logit } = page.evidence[label];
  const parts = [el('span', { class: `chip em-${label}` }, icon(label), label), ` start ${signed(bias)}`];
  if (face !== null) parts.push(`, face ${signed(face)}`);
  if (voice !== null) parts.push(`, voice ${signed(voice)}`);
  parts.push(` = ${signed(logit)} logits before calibration. The maps add up to these numbers; drawn is what raised the label.`);
  return parts;
}

// ---- controls

function targets(view, show) {
  const choice = el('select', { class: 'sel', id: 'evidence-for' }, LABELS.map((label) => el('option', { value: label, selected: label === view.label }, label)));
  const holder = el('span', { class: `picked em-${view.label}` });
  const dress = () => {
    holder.className = `picked em-${view.label}`;
    holder.replaceChildren(icon(view.label), choice);
  };
  choice.addEventListener('change', () => {
    view.label = choice.value;
    dress();
    show();
    choice.focus();
  });
  dress();
  const modes = ['heat', 'contour', 'off'];
  const buttons = modes.map((mode) =>
    el('button', { type: 'button', 'aria-pressed': String(mode === view.mode), onclick: () => setMode(mode) }, mode[0].toUpperCase() + mode.slice(1)));
  function setMode(mode) {
    view.mode = mode;
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(modes[i] === mode)));
    show();
  }
  const node = el('span', { class: 'row wrap target' }, el('label', { class: 'small dim', for: 'evidence-for' }, 'Evidence for'), holder,
    el('span', { class: 'seg', role: 'group', 'aria-label': 'How evidence is drawn' }, buttons));
  node.next = () => setMode(modes[(modes.indexOf(view.mode) + 1) % modes.length]);
  return node;
}

function transport(page, view, media, cursor) {
  const playing = el('button', { type: 'button', class: 'btn p r', 'aria-label': 'Play', 'data-part': 'play' }, icon('play'));
  const dress = () => {
    const paused = !media || media.paused;
    playing.setAttribute('aria-label', paused ? 'Play' : 'Pause');
    playing.replaceChildren(icon(paused ? 'play' : 'pause'));
  };
  playing.addEventListener('click', () => cursor.toggle());
  for (const event of ['play', 'pause', 'ended']) media?.addEventListener(event, dress);
  const clock = el('span', { class: 'num nw clock' }, cursor.clock, el('span', { class: 'dim3' }, ` / ${two(page.duration_s)} s`));
  const parts = [playing, clock];
  if (page.clearest) {
    const [from, to] = page.clearest;
    const loop = el('button', { type: 'button', class: 'btn s', 'aria-pressed': 'false', 'data-part': 'loop' }, icon('loop'), `Loop ${from.toFixed(1)} to ${to.toFixed(1)} s`);
    loop.addEventListener('click', () => {
      view.loop = !view.loop;
      loop.setAttribute('aria-pressed', String(view.loop));
      if (view.loop) cursor.go(from);
      if (view.loop && media?.paused) cursor.toggle();
    });
    parts.push(loop);
  }
  const rates = [0.5, 1].map((rate) =>
    el('button', { type: 'button', 'aria-pressed': String(rate === 1), onclick: (event) => {
      if (media) media.playbackRate = rate;
      event.target.parentNode.querySelectorAll('button').forEach((b) => b.setAttribute('aria-pressed', String(b === event.target)));
    } }, `${rate}x`));
  parts.push(el('span', { class: 'seg rates', role: 'group', 'aria-label': 'Speed' }, rates));
  return parts;
}

// ---- the cursor

function cursorOf(page, view, media) {
  const flag = el('b', { 'aria-hidden': 'true' });
  const clock = el('span', { 'data-part': 'now' });
  const node = el('div', { class: 'cur', role: 'slider', tabindex: '0', 'aria-label': 'Time in the clip', 'aria-valuemin': '0', 'aria-valuemax': two(page.duration_s), 'aria-orientation': 'horizontal' }, flag);
  let frame = 0;

  function place(time) {
    view.time = Math.max(0, Math.min(page.duration_s, time));
    const stack = node.parentNode;
    stack?.style.setProperty('--t', page.duration_s ? view.time / page.duration_s : 0);
    flag.textContent = `${two(view.time)} s`;
    clock.textContent = two(view.time);
    // A narrow page drops some of the crops; those that stay share the lane evenly.
    const shown = [...(stack?.querySelectorAll('.strip figure') || [])].filter((figure) => figure.offsetWidth);
    const at = Math.min(shown.length - 1, Math.floor((view.time / page.duration_s) * shown.length));
    shown.forEach((figure, i) => figure.classList.toggle('now', i === at));
    say();
  }

  function say() {
    const at = page.windows.edges.findIndex((edge, i) => i > 0 && view.time <= edge);
    const row = page.windows.probabilities[at < 1 ? 0 : at - 1];
    const value = row ? `, ${view.label} ${two(row[LABELS.indexOf(view.label)])}` : '';
    node.setAttribute('aria-valuenow', two(view.time));
    node.setAttribute('aria-valuetext', `${two(view.time)} seconds${value}`);
  }

  function go(time) {
    place(time);
    // Before its first frame is known a player forgets where it was sent.
    if (media && media.readyState > 0) media.currentTime = view.time;
  }

  function follow() {
    frame = requestAnimationFrame(follow);
    if (!media || media.paused) return;
    const [from, to] = page.clearest || [];
    if (view.loop && media.currentTime >= to) media.currentTime = from;
    place(media.currentTime);
  }

  const seeked = () => media.readyState > 0 && place(media.currentTime);
  const stopped = () => {
    if (view.loop) {
      go(page.clearest[0]);
      media.play();
    }
  };
  for (const event of ['seeked', 'pause']) media?.addEventListener(event, seeked);
  media?.addEventListener('ended', stopped);
  follow();
  requestAnimationFrame(() => place(media?.currentTime || 0));
  return {
    node,
    clock,
    go,
    say,
    toggle: () => media && (media.paused ? media.play().catch(() => {}) : media.pause()),
    end: () => {
      cancelAnimationFrame(frame);
      for (const event of ['seeked', 'pause']) media?.removeEventListener(event, seeked);
      media?.removeEventListener('ended', stopped);
    },
  };
}

// Anywhere in the stack: press and drag, and the clip follows.
function dragging(stack, page, cursor) {
  const to = (event) => {
    const { left, width } = stack.querySelector('.lane > .m').getBoundingClientRect();
    cursor.go(((event.clientX - left) / width) * page.duration_s);
  };
  stack.addEventListener('pointerdown', (event) => {
    const { left, right } = stack.querySelector('.lane > .m').getBoundingClientRect();
    if (event.button !== 0 || event.clientX < left - 8 || event.clientX > right + 8) return;
    to(event);
    cursor.node.focus({ preventScroll: true });
    event.preventDefault();
    const end = () => {
      removeEventListener('pointermove', to);
      removeEventListener('pointerup', end);
      removeEventListener('pointercancel', end);
    };
    addEventListener('pointermove', to);
    addEventListener('pointerup', end);
    addEventListener('pointercancel', end);
  }, true);
}

function keys(root, page, view, media, cursor, target) {
  const frames = { ArrowLeft: -1, ArrowRight: 1, ArrowDown: -1, ArrowUp: 1 };
  document.addEventListener('keydown', function press(event) {
    if (!root.isConnected) return document.removeEventListener('keydown', press);
    const on = event.target;
    if (event.ctrlKey || event.altKey || event.metaKey || /^(INPUT|SELECT|TEXTAREA|VIDEO)$/.test(on.tagName)) return undefined;
    const slider = on === cursor.node;
    if (!slider && on !== document.body && !root.contains(on)) return undefined;
    if (frames[event.code] && (slider || event.code === 'ArrowLeft' || event.code === 'ArrowRight')) {
      cursor.go(view.time + frames[event.code] * page.frame_s * (event.shiftKey ? 10 : 1));
    } else if (slider && event.code === 'Home') cursor.go(0);
    else if (slider && event.code === 'End') cursor.go(page.duration_s);
    else if (event.code === 'Space' && on.tagName !== 'BUTTON' && on.tagName !== 'A') cursor.toggle();
    else if (event.code === 'KeyH') target.next();
    else return undefined;
    event.preventDefault();
    return undefined;
  });
}

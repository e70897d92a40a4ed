// What the model reads while a channel is muted: the readings of face, voice and both are there already, so bars answer at once.

import { LABELS, el, icon, two } from './dom.js';

const CHANNELS = ['face', 'voice'];

export function muting({ material, view, onMute }) {
  const { readings } = material;
  const buttons = CHANNELS.map((name) => el('button', {
    type: 'button', class: 'btn', 'aria-pressed': 'false', disabled: readings[name].reason !== null, onclick: () => toggle(name),
  }, icon(name), `Mute ${name}`));
  const reasons = CHANNELS.filter((name) => readings[name].reason !== null).map((name) => el('p', { class: 'small dim' }, `${name}: ${readings[name].reason}`));
  const sentence = el('p', { class: 'strong', role: 'status' });
  const rows = LABELS.map((label) => {
    const [fill, value, whole] = [el('i'), el('b', { class: 'num' }), el('u')];
    const bar = el('span', { class: 'bar', role: 'cell' }, fill, whole, value);
    const root = el('div', { class: `r em-${label}`, role: 'row' }, el('span', { class: 'lab', role: 'rowheader' }, icon(label), label), bar);
    return { root, bar, fill, value, whole };
  });
  const legend = el('p', { class: 'micro' }, 'The line across a bar is the reading of face and voice together.');
  const root = el('div', { class: 'mutes' },
    el('h3', {}, 'Mute a channel'),
    el('p', { class: 'small dim' }, 'What the model reads from the other one alone. Maps stay those of the whole reading.'),
    el('div', { class: 'row wrap' }, buttons), reasons, sentence,
    el('div', { class: 'solo', role: 'table', 'aria-label': 'Probability of each emotion from what is not muted' }, rows.map((row) => row.root)), legend);

  const values = (name) => (view.window === null ? readings[name].clip : readings[name].windows[view.window]);
  // A window may have too little of a channel that the clip has.
  const left = () => CHANNELS.filter((name) => readings[name].reason === null && values(name) && !view.muted[name]);

  function show() {
    const heard = left();
    const now = heard.length ? values(heard.length > 1 ? 'both' : heard[0]) : null;
    const whole = values('both');
    const muted = CHANNELS.some((name) => view.muted[name]);
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(view.muted[CHANNELS[i]])));
    root.classList.toggle('voiced', heard.join() === 'voice');
    legend.style.visibility = muted && now ? 'visible' : 'hidden';
    rows.forEach(({ root: row, bar, fill, value, whole: line }, i) => {
      const top = now && now[i] === Math.max(...now);
      row.classList.toggle('on', Boolean(top));
      bar.className = `bar ${top ? 'on' : 'lo'}`;
      fill.style.setProperty('--v', now ? now[i] : 0);
      value.textContent = now ? two(now[i]) : '';
      line.hidden = !muted || !now;
      line.style.setProperty('--v', whole ? whole[i] : 0);
    });
    sentence.textContent = said(heard, now, whole, muted);
  }

  function said(heard, now, whole, muted) {
    if (!now) return muted && whole ? 'Nothing is left to read.' : 'Neither a face nor a voice was read here.';
    const top = (row) => row.indexOf(Math.max(...row));
    const most = (row) => `${LABELS[top(row)]} ${two(row[top(row)])}`;
    const name = heard.length > 1 ? 'Face and voice' : heard[0] === 'face' ? 'Face alone' : 'Voice alone';
    return muted ? `${name}: most likely ${most(now)}; together ${most(whole)}.` : `${name}: most likely ${most(now)}.`;
  }

  function toggle(name) {
    if (readings[name].reason !== null) return;
    view.muted[name] = !view.muted[name];
    show();
    onMute();
  }

  return { root, show, toggle };
}

// A map of the voice as sound: the whole clip, what the map keeps, the rest.

import { el, icon } from './dom.js';

const PARTS = [['whole', 'The whole clip'], ['kept', 'What the map keeps'], ['rest', 'The rest']];

export function listening({ base, material, view, onTime }) {
  if (!material.voice) return { root: el('div'), choose() {}, end() {} };
  const which = el('select', {});
  const player = el('audio', { controls: true, preload: 'none', 'aria-label': 'Player' });
  const said = el('p', { class: 'small mt3', role: 'status' });
  const buttons = PARTS.map(([part, text]) =>
    el('button', { type: 'button', class: 'btn', 'aria-pressed': 'false', onclick: () => play(part) }, icon('play'), text));
  let query = () => '';
  let frame = 0;

  async function play(part) {
    const address = `${base}/explain/${encodeURIComponent(which.value)}/sound/${part}.wav?${query(which.value)}`;
    buttons.forEach((button, i) => button.setAttribute('aria-pressed', String(PARTS[i][0] === part)));
    said.textContent = 'Preparing the sound.';
    player.src = address;
    player.play().then(() => { said.textContent = ''; }, async (error) => {
      if (error.name === 'AbortError') return;
      const answer = await fetch(address).catch(() => null);
      const body = answer && !answer.ok ? await answer.json().catch(() => ({})) : {};
      said.textContent = body.error || 'This sound could not be played.';
    });
  }

  function follow() {
    if (player.paused) return;
    onTime(player.currentTime + material.voice.start_s);
    frame = requestAnimationFrame(follow);
  }
  player.addEventListener('play', follow);
  which.addEventListener('change', () => choose(query));

  // Another choice has another sound; what was prepared for the one before is dropped.
  // next(name) is what is asked of a method.
  function choose(next) {
    query = next;
    const kept = view.methods.includes(which.value) ? which.value : view.methods[0];
    which.replaceChildren(...view.methods.map((name) => el('option', { value: name }, material.methods.find((one) => one.name === name).title)));
    which.value = kept;
    buttons.forEach((button) => button.setAttribute('aria-pressed', 'false'));
    player.pause();
    player.removeAttribute('src');
    said.textContent = '';
  }

  const root = el('section', { class: 'panel big mt5', 'aria-labelledby': 'listen-title' },
    el('div', { class: 'ph' }, el('h2', { id: 'listen-title' }, 'Listen to the map'), el('p', {}, 'What the map marks and the rest; together they are the clip again.')),
    el('div', { class: 'row wrap listen' }, el('label', { class: 'fld' }, el('span', {}, 'Map'), el('span', { class: 'picked' }, which)), buttons, player),
    said);
  return {
    root,
    choose,
    end: () => {
      cancelAnimationFrame(frame);
      player.pause();
      player.removeAttribute('src');
    },
  };
}

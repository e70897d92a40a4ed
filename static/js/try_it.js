// The Try it page: which state it is in, where clips come from, and what is shown of a reading.

import { api, el, icon } from './try_it_dom.js';
import { evidence } from './try_it_evidence.js';
import { Cancelled, worker } from './try_it_job.js';
import { reading } from './try_it_reading.js';
import { recorder } from './try_it_record.js';

const DOWNLOADS = [
  ['csv', 'Probabilities over time', 'CSV'],
  ['json', 'The whole record', 'JSON'],
  ['png', 'Figure for slides', 'PNG'],
  ['svg', 'Figure for print', 'SVG'],
  ['npz', 'Raw maps of evidence, in logits', 'NPZ'],
];

export function start(root) {
  const page = root.querySelector('.tryit');
  const part = (name) => page.querySelector(`[data-part="${name}"]`);
  const now = { result: null, shown: null, local: null, busy: false, teaches: null };
  const work = worker(part);
  const camera = recorder(part('record'), (file) => sendFile(file));

  // ---- states

  function state(name) {
    page.dataset.state = name;
    page.querySelectorAll('[data-when]').forEach((node) => { node.hidden = node.dataset.when !== name; });
    part('delete').hidden = !now.result;
  }

  const say = (text) => { part('said').textContent = text; };

  function fail(error, title = 'This clip could not be read.') {
    part('error').textContent = error.message;
    part('error-title').textContent = title;
    state('error');
    say(error.message);
  }

  // One clip at a time; a refused or cancelled one leaves the page usable.
  async function read(local, begin, teaches = null) {
    if (now.busy) return;
    now.busy = true;
    clear();
    Object.assign(now, { local, teaches });
    if (local) player(URL.createObjectURL(local), local.name, local.type.startsWith('image/') ? 'image' : 'video');
    state('loading');
    say('Reading the clip.');
    try {
      await show(await begin());
    } catch (error) {
      if (error instanceof Cancelled) {
        clear();
        state('empty');
        say('Cancelled.');
      } else fail(error);
    } finally {
      now.busy = false;
    }
  }

  function sendFile(file) {
    if (!file) return;
    tab('upload');
    mark(null);
    read(file, () => work.file(file));
  }

  // ---- a reading

  async function show(id) {
    const { record, page: filled } = await api(`/api/results/${id}`);
    end();
    now.result = id;
    history.replaceState(null, '', `/?result=${encodeURIComponent(id)}`);
    const media = now.local && filled.kind !== 'image' && part('player').querySelector('video');
    const playing = media || player(`/api/results/${id}/clip`, filled.name, filled.kind);
    describe(filled);
    part('reading').replaceChildren(...reading(record, filled));
    state('result');
    people(filled, record);
    now.shown = evidence(id, record, filled, filled.kind === 'image' ? null : playing);
    part('below').replaceChildren(now.shown.root, el('div', { class: 'g g2 mt5' }, notes(filled), downloads(id)));
    say(filled.sentence.map((p) => p.text).join(''));
  }

  function end() {
    now.shown?.end();
    now.shown = null;
  }

  function clear() {
    end();
    now.result = null;
    now.local = null;
    history.replaceState(null, '', '/');
    for (const name of ['reading', 'below', 'people', 'player']) part(name).replaceChildren();
    part('people').hidden = true;
    part('player').hidden = true;
    part('drop').hidden = false;
    part('deleted').hidden = true;
  }

  function player(address, name, kind) {
    const media = kind === 'image' ? el('img', { src: address, alt: 'Your picture' }) : el('video', { src: address, controls: true, playsinline: true, preload: 'auto', 'aria-label': `Player: ${name}` });
    const problem = el('p', { class: 'micro mt2', hidden: true }, 'This browser cannot play this kind of file. The reading and its cursor work without it.');
    media.addEventListener('error', () => { problem.hidden = false; });
    if (kind !== 'image') measured(media);
    part('drop').hidden = true;
    part('player').hidden = false;
    part('player').replaceChildren(
      el('div', { class: 'player' }, media),
      el('div', { class: 'row mt3' }, el('span', { class: 'named' }, el('b', { class: 'small' }, name), el('span', { class: 'micro', 'data-part': 'about' })),
        el('button', { type: 'button', class: 'btn s sp', onclick: () => part('file').click() }, 'Replace')),
      problem,
    );
    return media;
  }

  // A browser's own recording does not say how long it is until it was played to its end once.
  function measured(media) {
    media.addEventListener('loadedmetadata', () => {
      if (Number.isFinite(media.duration)) return;
      media.addEventListener('durationchange', () => { media.currentTime = 0; }, { once: true });
      media.currentTime = 1e7;
    }, { once: true });
  }

  function describe(filled) {
    part('about').textContent = filled.description;
    if (now.teaches) part('player').append(el('p', { class: 'small dim mt3', 'data-part': 'teaches' }, now.teaches));
    if (filled.kind !== 'audio') return;
    const box = part('player').querySelector('.player');
    box.classList.add('audio');
    box.append(el('span', { class: 'soundonly' }, icon('voice'), 'sound only'));
  }

  function people(filled) {
    const found = filled.people;
    part('people').hidden = found.length < 2;
    if (found.length < 2) return;
    const read = found.find((person) => person.read);
    const largest = read && read.track_id === found[0].track_id;
    const rest = largest ? 'the largest is read. Choose another to read that one.' : 'you chose this one.';
    part('people').replaceChildren(
      el('h2', { class: 'h2s' }, 'Whose face'),
      el('p', { class: 'small dim mt2' }, `${found.length} faces were found; ${rest}`),
      el('div', { class: 'row wrap mt2' }, found.map((person, i) =>
        el('button', { type: 'button', class: 'who', 'aria-pressed': String(person.read), 'data-track': person.track_id, onclick: () => choose(person) },
          el('img', { src: person.picture, alt: `Face ${i + 1}`, width: 56, height: 56 })))),
    );
  }

  function choose(person) {
    const from = now.result;
    if (!person.read) read(now.local, () => work.person(from, person.track_id), now.teaches);
  }

  function notes(filled) {
    const said = filled.notes.map(({ icon: name, text }) => el('p', { class: `note mt3 ${name}` }, icon(name), el('span', {}, text)));
    return el('section', { class: 'panel', 'aria-label': 'Notes' }, el('h2', { class: 'h2s' }, 'Please note'), said.length ? said : el('p', { class: 'small dim mt3' }, 'Nothing about this clip needs a note.'));
  }

  function downloads(id) {
    const links = DOWNLOADS.map(([kind, text, name]) =>
      el('a', { href: `/api/results/${id}/download/${kind}`, download: true }, icon('down'), el('b', {}, text), el('span', { class: 'micro sp' }, name)));
    return el('section', { class: 'panel', 'aria-label': 'Downloads' }, el('h2', { class: 'h2s' }, 'Take it with you'), el('div', { class: 'dl mt3' }, links));
  }

  // ---- where clips come from

  function tab(name) {
    for (const each of ['upload', 'record']) {
      const on = each === name;
      const button = page.querySelector(`#tab-${each}`);
      button.setAttribute('aria-selected', String(on));
      button.tabIndex = on ? 0 : -1;
      page.querySelector(`#from-${each}`).hidden = !on;
    }
    if (name === 'upload') camera.close();
  }

  function tabs() {
    const buttons = [...page.querySelectorAll('[role=tab]')];
    buttons.forEach((button, i) => {
      button.addEventListener('click', () => tab(button.id.slice(4)));
      button.addEventListener('keydown', (event) => {
        if (!['ArrowLeft', 'ArrowRight'].includes(event.key)) return;
        const other = buttons[1 - i];
        tab(other.id.slice(4));
        other.focus();
      });
    });
  }

  function dropping() {
    for (const name of ['dragenter', 'dragover']) {
      page.addEventListener(name, (event) => {
        event.preventDefault();
        part('drop').classList.add('over');
      });
    }
    for (const name of ['dragleave', 'drop']) page.addEventListener(name, () => part('drop').classList.remove('over'));
    page.addEventListener('drop', (event) => {
      event.preventDefault();
      sendFile(event.dataTransfer.files[0]);
    });
    part('file').addEventListener('change', () => {
      const [file] = part('file').files;
      part('file').value = '';
      sendFile(file);
    });
    for (const name of ['choose', 'choose-too', 'again']) part(name).addEventListener('click', () => part('file').click());
  }

  function mark(name) {
    part('examples').querySelectorAll('button').forEach((b) => b.setAttribute('aria-pressed', String(b.dataset.name === name)));
  }

  async function examples() {
    const rows = await api('/api/examples').catch(() => []);
    const use = (row) => () => {
      tab('upload');
      mark(row.name);
      read(null, () => work.example(row.name), row.teaches);
    };
    part('examples').replaceChildren(...rows.map((row) =>
      el('button', { type: 'button', class: 'ex', 'aria-pressed': 'false', 'data-name': row.name, title: row.teaches, onclick: use(row) },
        row.poster ? el('img', { class: 'face', src: `/static/examples/${row.poster}`, alt: '', width: 48, height: 48 }) : el('span', { class: 'face' }, icon('voice')),
        el('span', {}, el('b', {}, row.title), el('span', { class: 'micro' }, `${row.duration_s.toFixed(1)} s`)))));
    if (!rows.length) part('examples').replaceChildren(el('p', { class: 'small dim' }, 'No examples were made on this computer.'));
    for (const name of ['first-example', 'example-instead']) {
      part(name).hidden = !rows.length;
      if (rows.length) part(name).addEventListener('click', use(rows[0]));
    }
  }

  part('delete').addEventListener('click', async () => {
    try {
      await api(`/api/results/${now.result}`, { method: 'DELETE' });
    } catch (error) {
      return fail(error, 'The clip could not be deleted.');
    }
    clear();
    mark(null);
    state('empty');
    part('deleted').hidden = false;
    return say('The clip and its reading are deleted.');
  });

  tabs();
  dropping();
  examples();
  const asked = new URLSearchParams(location.search).get('result');
  if (asked) show(asked).catch((error) => { clear(); fail(error, 'This reading is not here.'); });
}

// The Try it page: which state it is in, and what is shown of a reading.

import { api } from './dom.js';
import { evidence } from './try_it_evidence.js';
import { Cancelled, worker } from './try_it_job.js';
import { against, describe, downloads, inspect, notes, others, people, player } from './try_it_parts.js';
import { reading } from './try_it_reading.js';
import { recorder } from './try_it_record.js';
import { examples, files, mark, tabs } from './try_it_sources.js';

export function start(root) {
  const page = root.querySelector('.tryit');
  const part = (name) => page.querySelector(`[data-part="${name}"]`);
  // The reading that is shown, its evidence panel, the visitor's own file, what the example teaches.
  const now = { result: null, shown: null, local: null, teaches: null, busy: false };
  const work = worker(part);
  const say = (text) => { part('said').textContent = text; };

  function state(name) {
    page.dataset.state = name;
    page.querySelectorAll('[data-when]').forEach((node) => { node.hidden = node.dataset.when !== name; });
    part('delete').hidden = !now.result;
    part('others').hidden = name !== 'result';
  }

  function fail(error, title = 'This clip could not be read.') {
    part('error-title').textContent = title;
    part('error').textContent = error.message;
    state('error');
    say(error.message);
  }

  function clear() {
    now.shown?.end();
    Object.assign(now, { result: null, shown: null, local: null, teaches: null });
    history.replaceState(null, '', '/');
    for (const name of ['reading', 'below', 'people', 'player']) part(name).replaceChildren();
    problem(null);
    for (const name of ['people', 'player', 'deleted']) part(name).hidden = true;
    part('drop').hidden = false;
  }

  function play(address, name, isImage) {
    part('drop').hidden = true;
    part('player').hidden = false;
    return player(part('player'), address, name, isImage, () => part('file').click());
  }

  // One clip at a time; a refused or cancelled one leaves the page usable.
  async function read(local, begin, teaches = null) {
    if (now.busy) return;
    now.busy = true;
    clear();
    Object.assign(now, { local, teaches });
    if (local) play(URL.createObjectURL(local), local.name, local.type.startsWith('image/'));
    state('loading');
    say('Reading the clip.');
    try {
      await show(await begin());
    } catch (error) {
      if (!(error instanceof Cancelled)) return fail(error);
      clear();
      state('empty');
      say('Cancelled.');
    } finally {
      now.busy = false;
    }
  }

  async function show(id) {
    const { record, page: filled, plain } = await api(`/api/results/${id}`);
    now.shown?.end();
    now.result = id;
    history.replaceState(null, '', `/?result=${encodeURIComponent(id)}`);
    const isImage = filled.kind === 'image';
    const own = now.local && part('player').querySelector(isImage ? 'img' : 'video');
    const media = own || play(`/api/results/${id}/clip`, filled.name, isImage);
    describe(part('player'), filled, now.teaches);
    people(part('people'), filled.people, choose);
    const [sentence, ...rest] = reading(record, filled);
    const back = plain && (() => again(() => show(plain)));
    part('reading').replaceChildren(...[sentence, against(filled, back), ...rest, notes(filled), filled.faces || filled.voice ? inspect(id) : null].filter(Boolean));
    state('result');
    const found = filled.faces || filled.voice; // a picture without a face has no evidence to draw
    now.shown = found ? evidence(id, record, filled, isImage ? null : media) : null;
    part('below').replaceChildren(...[now.shown?.root, downloads(id)].filter(Boolean));
    say(filled.sentence.map((p) => p.text).join(''));
  }

  function choose(person) {
    const from = now.result;
    if (!person.read) read(now.local, () => work.person(from, person.track_id), now.teaches);
  }

  // The clip that is shown, in another way; whatever comes of it, the reading before stays.
  async function again(begin) {
    if (now.busy) return;
    now.busy = true;
    const before = now.result;
    problem(null);
    try {
      await begin(before);
    } catch (error) {
      await show(before).catch(fail);
      if (!(error instanceof Cancelled)) problem(error.message);
    } finally {
      now.busy = false;
    }
  }

  const compare = (files, neutral) => again(async (before) => {
    state('loading');
    say('Reading the clip against the others.');
    await show(await work.baseline(before, files, neutral));
  });

  function sendFile(file) {
    if (!file) return;
    tab('upload');
    mark(part('examples'), null);
    read(file, () => work.file(file));
  }

  function sendExample(row) {
    tab('upload');
    mark(part('examples'), row.name);
    read(null, () => work.example(row.name), row.teaches);
  }

  async function forget() {
    try {
      await api(`/api/results/${now.result}`, { method: 'DELETE' });
    } catch (error) {
      return fail(error, 'The clip could not be deleted.');
    }
    clear();
    mark(part('examples'), null);
    state('empty');
    part('deleted').hidden = false;
    return say('The clip and its reading are deleted.');
  }

  const problem = others(part('others'), compare);
  const camera = recorder(part('record'), sendFile);
  const tab = tabs(page, (name) => name === 'upload' && camera.close());
  files(page, part('drop'), part('file'), [part('choose'), part('choose-too'), part('again')], sendFile);
  examples(part('examples'), [part('first-example'), part('example-instead')], sendExample);
  part('delete').addEventListener('click', forget);
  const asked = new URLSearchParams(location.search).get('result');
  if (asked) show(asked).catch((error) => { clear(); fail(error, 'This reading is not here.'); });
}

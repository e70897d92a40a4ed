// Sending a clip and watching its reading: the four real steps, the place in the queue, the clock, Cancel.

import { api, asJson, el, icon, megabytes } from './dom.js';

const LEARN = ['baseline', 'Learn from the other clips', 'clips'];
const STEPS = [
  ['media', 'Open the clip', ''],
  ['faces', 'Find and follow faces', 'frames'],
  ['sound', 'Listen to the voice', 's'],
  ['model', 'Read the windows and their evidence', 'windows'],
];

export class Cancelled extends Error {}

// part(name) finds an element of the page. Only one clip is read at a time.
export function worker(part) {
  let current = null;
  part('cancel').addEventListener('click', () => {
    if (!current) return;
    current.cancelled = true;
    current.stop?.();
  });

  async function read(begin, steps = STEPS) {
    const state = { steps, began: performance.now(), stage: null, stageBegan: 0, stop: null, cancelled: false };
    const onStop = (stop) => { state.stop = stop; };
    current = state;
    draw(part, state, { state: 'sending', position: 0, stage: null, done: 0, total: 0 });
    const ticking = setInterval(() => clock(part, state), 250);
    try {
      const { job } = await begin(onStop, (done, total) => sending(part, state, done, total));
      if (state.cancelled) { // after the last byte went, before the job's name came
        drop(job);
        throw new Cancelled();
      }
      return await watch(job, onStop, (now) => draw(part, state, now));
    } finally {
      clearInterval(ticking);
      current = null;
    }
  }

  return {
    file: (file) => read((onStop, onSent) => send('/api/clips', [file], onStop, onSent)),
    example: (name) => read(() => api('/api/clips', asJson({ example: name }))),
    person: (result, track) => read(() => api(`/api/results/${result}/person`, asJson({ track_id: track }))),
    baseline: (result, others, neutral) => {
      const address = `/api/results/${result}/baseline?neutral=${neutral}`;
      return read((onStop, onSent) => send(address, others, onStop, onSent), [LEARN, ...STEPS]);
    },
  };
}

// XMLHttpRequest because fetch does not tell how much was sent.
function send(address, files, onStop, onSent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const form = new FormData();
    for (const file of files) form.append('file', file, file.name);
    request.open('POST', address);
    request.responseType = 'json';
    request.upload.onprogress = (event) => onSent(event.loaded, event.total);
    request.onload = () => {
      const body = request.response || {};
      if (request.status === 202) resolve(body);
      else reject(new Error(body.error || `AVEMO refused the clip (${request.status}); try another one.`));
    };
    request.onerror = () => reject(new Error('The clip could not be sent; check that AVEMO still runs, then try again.'));
    request.onabort = () => reject(new Cancelled());
    onStop(() => request.abort());
    request.send(form);
  });
}

// A job that is gone already needs no cancelling.
const drop = (job) => api(`/api/jobs/${job}`, { method: 'DELETE' }).catch(() => {});

function watch(job, onStop, onState) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`/api/jobs/${job}/events`);
    const end = (finish, value) => {
      events.close();
      finish(value);
    };
    onStop(() => {
      drop(job);
      end(reject, new Cancelled());
    });
    const take = (now) => {
      onState(now);
      if (now.state === 'done') end(resolve, now.result);
      if (now.state === 'failed') end(reject, new Error(now.error));
      if (now.state === 'cancelled') end(reject, new Cancelled());
    };
    events.onmessage = (event) => take(JSON.parse(event.data));
    // The browser reconnects by itself; when the job itself is gone, or the server, it gives up and says so.
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED) return;
      api(`/api/jobs/${job}`).then(take, (error) => end(reject, error));
    };
  });
}

function sending(part, state, done, total) {
  state.share = total ? done / total : 0;
  part('work-title').textContent = 'Sending the clip';
  bar(part, state.share);
  state.count = `${megabytes(done)} of ${megabytes(total)}`;
  clock(part, state);
}

function draw(part, state, now) {
  const queued = now.state === 'queued' && now.position > 0;
  part('work-title').textContent = now.state === 'sending' ? 'Sending the clip' : queued ? 'Waiting for a turn' : 'Reading the clip';
  if (now.stage !== state.stage) Object.assign(state, { stage: now.stage, stageBegan: performance.now() });
  state.share = now.total ? Math.min(1, now.done / now.total) : 0;
  state.count = queued ? `${now.position} ${now.position === 1 ? 'clip' : 'clips'} before yours` : '';
  const at = state.steps.findIndex(([name]) => name === now.stage);
  part('steps').replaceChildren(
    ...state.steps.map(([, title, unit], i) => {
      const done = now.state === 'done' || i < at;
      const here = i === at && !done;
      const count = here && unit && now.total > 0 ? `${round(now.done)} of ${round(now.total)} ${unit}` : '';
      return el(
        'li',
        { class: done ? 'done' : here ? 'cur2' : null, 'aria-current': here ? 'step' : null },
        done ? icon('check') : el('i'),
        el('span', {}, title, done ? el('span', { class: 'vh' }, ' (done)') : null),
        el('span', { class: 'sp num' }, count),
      );
    }),
  );
  bar(part, state.share);
  clock(part, state);
}

const round = (value) => (Number.isInteger(value) ? value : value.toFixed(1));

function bar(part, share) {
  part('bar').setAttribute('aria-valuenow', Math.round(share * 100));
  part('bar').firstElementChild.style.width = `${share * 100}%`;
}

function clock(part, state) {
  const said = [`${((performance.now() - state.began) / 1000).toFixed(0)} s so far`];
  const inStep = (performance.now() - state.stageBegan) / 1000;
  if (state.count) said.unshift(state.count);
  // A fair guess needs a second of work to judge by.
  if (state.stage && inStep > 1 && state.share > 0.05 && state.share < 1) {
    said.push(`about ${Math.ceil((inStep * (1 - state.share)) / state.share)} s left in this step`);
  }
  part('clock').textContent = said.join(', ');
}

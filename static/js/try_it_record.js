// Recording from the webcam and microphone: preview, countdown, at most ten seconds, a look before it is sent.

import { el, icon } from './dom.js';

const LONGEST_S = 10;
const COUNTDOWN = 3;
const KINDS = ['video/webm;codecs=vp9,opus', 'video/webm;codecs=vp8,opus', 'video/webm', 'video/mp4'];

const REFUSED = {
  NotAllowedError: 'The camera or microphone is not allowed; allow both for this page in the browser, then try again.',
  NotFoundError: 'No camera with a microphone was found; connect one, or upload a clip instead.',
  NotReadableError: 'The camera or microphone is used by another program; close that program, then try again.',
};

// onClip(File) gets a recording that the visitor wants read.
export function recorder(panel, onClip) {
  let stream = null;
  let media = null;
  let timers = [];
  let made = null;

  const view = el('video', { class: 'mirror', playsinline: true });
  view.muted = true;
  const count = el('span', { class: 'count num', 'aria-live': 'assertive' });
  const left = el('span', { class: 'pt num' });
  const stage = el('div', { class: 'player' }, view, count, left);
  const said = el('p', { class: 'small mt3', role: 'alert' });
  const buttons = el('div', { class: 'row wrap mt3' });
  panel.append(stage, said, buttons);

  const button = (name, text, act, main) =>
    el('button', { type: 'button', class: `btn s${main ? ' p' : ''}`, onclick: act }, name ? icon(name) : null, text);

  function offer(...shown) {
    buttons.replaceChildren(...shown);
  }

  function idle() {
    left.textContent = '';
    count.textContent = '';
    offer(stream ? button('rec', `Record up to ${LONGEST_S} s`, begin, true) : button('cam', 'Turn on the camera', open, true));
  }

  async function open() {
    said.textContent = '';
    if (!navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) {
      said.textContent = 'This browser gives no camera to this page; open it under https or localhost, or upload a clip instead.';
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } }, audio: true });
    } catch (error) {
      said.textContent = REFUSED[error.name] || `The camera could not be opened (${error.name}); upload a clip instead.`;
      return;
    }
    stream.getTracks().forEach((track) => track.addEventListener('ended', lost));
    live();
    idle();
    buttons.firstElementChild.focus();
  }

  function live() {
    made = null;
    view.controls = false;
    view.removeAttribute('src');
    view.srcObject = stream;
    view.muted = true;
    view.classList.add('mirror');
    view.play();
  }

  function lost() {
    close();
    said.textContent = 'The camera or microphone was lost; connect it and turn it on again.';
  }

  function begin() {
    said.textContent = '';
    let n = COUNTDOWN;
    offer(button('no', 'Stop', () => { clear(); idle(); }));
    count.textContent = n;
    timers.push(setInterval(() => {
      n -= 1;
      count.textContent = n || '';
      if (n === 0) { clear(); record(); }
    }, 1000));
  }

  function record() {
    const chunks = [];
    const kind = KINDS.find((type) => MediaRecorder.isTypeSupported(type));
    media = new MediaRecorder(stream, kind ? { mimeType: kind } : {});
    media.ondataavailable = (event) => event.data.size && chunks.push(event.data);
    media.onstop = () => review(new Blob(chunks, { type: (media.mimeType || 'video/webm').split(';')[0] }));
    media.start(500);
    const began = performance.now();
    offer(button('stop', 'Stop recording', stop, true));
    buttons.firstElementChild.focus();
    timers.push(setInterval(() => {
      const seconds = (performance.now() - began) / 1000;
      left.textContent = `${seconds.toFixed(1)} / ${LONGEST_S.toFixed(1)} s`;
      if (seconds >= LONGEST_S) stop();
    }, 100));
  }

  function stop() {
    clear();
    if (media && media.state !== 'inactive') media.stop();
  }

  function review(blob) {
    if (!blob.size) {
      said.textContent = 'Nothing was recorded; check the camera, then try again.';
      return idle();
    }
    made = new File([blob], `recording.${blob.type.includes('mp4') ? 'mp4' : 'webm'}`, { type: blob.type });
    view.srcObject = null;
    view.classList.remove('mirror');
    view.src = URL.createObjectURL(blob);
    view.controls = true;
    view.muted = false;
    left.textContent = '';
    offer(
      button('check', 'Read this', () => { const clip = made; close(); onClip(clip); }, true),
      button('loop', 'Record again', () => { live(); idle(); }),
    );
    buttons.firstElementChild.focus();
  }

  function clear() {
    timers.forEach(clearInterval);
    timers = [];
    count.textContent = '';
  }

  // The camera's light goes out whenever the camera is not needed.
  function close() {
    clear();
    if (media && media.state !== 'inactive') {
      media.onstop = null;
      media.stop();
    }
    if (stream) {
      stream.getTracks().forEach((track) => {
        track.removeEventListener('ended', lost);
        track.stop();
      });
    }
    stream = null;
    view.srcObject = null;
    view.removeAttribute('src');
    view.controls = false;
    view.load();
    idle();
  }

  idle();
  return { close };
}

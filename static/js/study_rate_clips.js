// The clips that this rater holds: the one on show and the next two, their media already in memory and ready to play.

import { Unreachable } from './study_rate_server.js';

const KEEP_ANSWERED = 5; // in memory, so that going back needs no network
const AGAIN_MS = 2000;

const element = (clip) => document.createElement(clip.modality === 'voice' ? 'audio' : 'video');

// Gives the clip `media` (an element) and `loading`, a promise of true (it can be played) or of an error.
export function load(server, clip) {
  if (clip.loading) return clip.loading;
  const media = element(clip);
  const wanted = () => clip.media === media;
  Object.assign(media, { preload: 'auto', playsInline: true, disableRemotePlayback: true, disablePictureInPicture: true });
  clip.media = media;
  clip.loading = bytes(server, clip, wanted).then((blob) => {
    if (!wanted()) return false;
    clip.address = URL.createObjectURL(blob);
    return new Promise((resolve) => {
      media.addEventListener('canplay', () => resolve(true), { once: true });
      media.addEventListener('error', () => resolve(new Error('unplayable')), { once: true });
      media.src = clip.address;
      media.load();
    });
  }).catch((error) => error);
  return clip.loading;
}

async function bytes(server, clip, wanted) {
  for (;;) {
    try {
      return await server.media(clip.url);
    } catch (error) {
      if (!(error instanceof Unreachable) || !wanted()) throw error;
      await new Promise((resolve) => { setTimeout(resolve, AGAIN_MS); });
    }
  }
}

// Out of memory; it can be loaded again.
export function unload(clip) {
  const { media, address } = clip;
  Object.assign(clip, { media: null, loading: null, address: null });
  media?.pause();
  media?.remove();
  media?.removeAttribute('src');
  if (address) URL.revokeObjectURL(address);
}

// `taken()`: tokens whose answers are on their way, which the server may still offer.
export function clips(server, taken) {
  let held = [];
  const answered = [];
  const done = new Set();
  let timer = 0;
  let lost = () => {};

  const open = () => held.filter((clip) => !done.has(clip.token) && !taken().includes(clip.token));

  function take(offered) {
    const before = new Map(held.map((clip) => [clip.token, clip]));
    held = offered.filter((clip) => !done.has(clip.token)).map((clip) => Object.assign(before.get(clip.token) ?? {}, clip));
    const now = new Set(held);
    for (const clip of before.values()) if (!now.has(clip) && !done.has(clip.token)) unload(clip);
    // The first one first: it is needed now.
    open().reduce((earlier, clip) => earlier.then(() => load(server, clip)), Promise.resolve());
    plan(Math.min(...held.map((clip) => clip.expires_in_s), 900));
  }

  function plan(seconds) {
    clearTimeout(timer);
    timer = setTimeout(renew, Math.max(2, seconds / 3) * 1000);
  }

  async function renew() {
    const tokens = [...new Set([...open().map((clip) => clip.token), ...taken()])];
    if (!tokens.length) return;
    try {
      const { expires_in_s: seconds } = await server.renew(tokens);
      if (seconds > 0) plan(seconds);
      else if (open().length) lost({});
    } catch (error) {
      if (error instanceof Unreachable) plan(30);
      else lost(error);
    }
  }

  return {
    take,
    renew,
    first: () => open()[0] ?? null,
    holds: (clip) => open().includes(clip),
    onLost(handler) { lost = handler; },
    done(clip) {
      done.add(clip.token);
      clip.media?.pause();
      answered.push(clip);
      while (answered.length > KEEP_ANSWERED) unload(answered.shift());
    },
    drop() {
      clearTimeout(timer);
      held.forEach(unload);
      held = [];
    },
  };
}

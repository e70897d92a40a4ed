// Half-given answers: on this computer at once, on the server a moment later, so that any browser shows them again.

import { storage } from './study_rate_storage.js';

const SETTLE_MS = 800;
const FORGET_MS = 7 * 24 * 3600 * 1000;

export function drafts(prefix, server) {
  const place = (token) => `${prefix}/draft/${token}`;
  let timer = 0;
  let unsent = null;

  for (const name of storage.names(place(''))) {
    const { at = 0 } = storage.read(name) ?? {};
    if (Date.now() - at > FORGET_MS) storage.drop(name);
  }

  function send() {
    clearTimeout(timer);
    const draft = unsent;
    unsent = null;
    return draft ? server.draft(draft.token, draft.answer).catch(() => null) : Promise.resolve();
  }

  return {
    send,
    keep(token, answer) {
      storage.write(place(token), { at: Date.now(), answer });
      unsent = { token, answer };
      clearTimeout(timer);
      timer = setTimeout(send, SETTLE_MS);
    },
    of: (clip) => storage.read(place(clip.token))?.answer ?? clip.draft,
    forget(token) {
      if (unsent?.token === token) unsent = null;
      storage.drop(place(token));
    },
  };
}

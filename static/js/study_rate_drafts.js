// Half-given answers: on this computer at once, on the server a moment later, so that any browser shows them again.

const SETTLE_MS = 800;
const FORGET_MS = 7 * 24 * 3600 * 1000;

export function drafts(prefix, server) {
  const place = (token) => `${prefix}/draft/${token}`;
  let timer = 0;
  let unsent = null;

  for (const name of Object.keys(localStorage).filter((key) => key.startsWith(`${prefix}/draft/`))) {
    const at = JSON.parse(localStorage.getItem(name))?.at ?? 0;
    if (Date.now() - at > FORGET_MS) localStorage.removeItem(name);
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
      try {
        localStorage.setItem(place(token), JSON.stringify({ at: Date.now(), answer }));
      } catch {
        // kept on the server alone
      }
      unsent = { token, answer };
      clearTimeout(timer);
      timer = setTimeout(send, SETTLE_MS);
    },
    of: (clip) => JSON.parse(localStorage.getItem(place(clip.token)) ?? 'null')?.answer ?? clip.draft,
    forget(token) {
      if (unsent?.token === token) unsent = null;
      localStorage.removeItem(place(token));
    },
  };
}

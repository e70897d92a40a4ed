// What the rating page asks of the server, and the two ways in which that can fail.

const PATIENCE_MS = 20_000; // a connection over which nothing comes is as good as none; a slow one is not

// No answer came: the network or the server is away for now.
export class Unreachable extends Error {}

// The server said no, in one sentence. `reason`: late, stale, foreign, signed out, or nothing.
export class Refused extends Error {
  constructor(status, { error, reason = null, kept = false }) {
    super(error || '');
    Object.assign(this, { status, reason: status === 401 ? 'signed out' : reason, kept });
  }
}

async function ask(path, options = {}) {
  const silence = new AbortController();
  let timer = 0;
  const heard = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), PATIENCE_MS);
  };
  let answer;
  let body;
  try {
    heard();
    answer = await fetch(path, { credentials: 'same-origin', signal: silence.signal, ...options });
    body = await whole(answer, heard);
    if (answer.ok) return options.method ? JSON.parse(await body.text()) : body;
  } catch (error) {
    throw new Unreachable(error.message);
  } finally {
    clearTimeout(timer);
  }
  if (answer.status >= 500 || answer.status === 429) throw new Unreachable(`${answer.status}`);
  throw new Refused(answer.status, await body.text().then(JSON.parse).catch(() => ({})));
}

async function whole(answer, heard) {
  const reader = answer.body.getReader();
  const parts = [];
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    heard();
    parts.push(part.value);
  }
  return new Blob(parts, { type: answer.headers.get('content-type') ?? '' });
}

// `csrf` is this page's; after a new sign-in in another tab it is asked for once more, for the same rater alone.
export function requests(study, csrf) {
  const path = `/study/api/rate/${encodeURIComponent(study)}`;
  let token = csrf;
  let rater = null;

  async function post(name, body = {}) {
    const headers = () => ({ 'content-type': 'application/json', 'x-csrf-token': token });
    const send = () => ask(`${path}/${name}`, { method: 'POST', keepalive: true, headers: headers(), body: JSON.stringify(body) });
    try {
      return await send();
    } catch (error) {
      if (error.reason !== 'csrf') throw error;
      await signedInAgain();
      return send();
    }
  }

  async function signedInAgain() {
    const page = await (await ask(location.pathname)).text();
    if ((await get('')).rater !== rater) throw new Refused(401, {});
    token = new DOMParser().parseFromString(page, 'text/html').querySelector('meta[name=csrf]')?.content ?? token;
  }

  const get = (rest) => ask(`${path}${rest}`, { method: 'GET' });
  return {
    async study() {
      const opened = await get('');
      rater = opened.rater;
      return opened;
    },
    claim: () => post('claim'),
    submit: (token, key, answer) => post('submit', { token, key, answer }),
    skip: (token) => post('skip', { token }),
    correct: (rating, key, answer) => post('correct', { rating_id: rating, key, answer }),
    draft: (token, answer) => post('draft', { token, answer }),
    renew: (tokens) => post('renew', { tokens }),
    release: () => post('release'),
    history: (before, limit) => get(`/history?limit=${limit}${before ? `&before=${before}` : ''}`),
    media: (url) => ask(url, { cache: 'no-store' }),
  };
}

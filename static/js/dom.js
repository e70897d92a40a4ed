// Small pieces that the pages' scripts share: elements, icons, numbers, requests.

export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'style' && typeof value === 'object') {
      for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    } else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

export function svg(tag, props = {}, ...children) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(props)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const icon = (name) =>
  svg('svg', { class: 'ic', viewBox: '0 0 20 20', 'aria-hidden': 'true' }, svg('use', { href: `/static/icons.svg#${name}` }));

// A dark line under a dashed light one can be seen on any picture.
export function contour(path) {
  const under = svg('path', { class: 'under' });
  const set = path.setAttribute.bind(path);
  path.setAttribute = (name, value) => {
    set(name, value);
    if (name === 'd') under.setAttribute('d', value);
  };
  return svg('svg', { class: 'contour', viewBox: '0 0 1000 1000', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, under, path);
}

export const LABELS = ['neutral', 'happiness', 'sadness', 'anger', 'fear', 'disgust', 'surprise'];

export const two = (value) => value.toFixed(2);

export const percent = (share) => `${(share * 100).toFixed(3)}%`;

// Evidence spans many sizes; two significant digits tell them apart.
export const logits = (value) => (value === 0 || value >= 1e-4 ? String(Number(value.toPrecision(2))) : value.toExponential(1));

// A value that rounds to nothing has no minus.
export const signed = (value) => `${value <= -0.005 ? '\u2212' : '+'}${Math.abs(value).toFixed(2)}`;

export function megabytes(bytes) {
  return bytes < 1e6 ? `${Math.max(1, Math.round(bytes / 1e3))} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

// The server's own sentence where it gave one; a plain one where it cannot be reached.
async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, { credentials: 'same-origin', ...options });
  } catch (error) {
    if (options.signal?.aborted) throw error; // given up, not failed
    throw new Error('AVEMO cannot be reached; check that it still runs, then try again.');
  }
  if (answer.ok) return answer;
  const body = await answer.json().catch(() => ({}));
  if (options.signal?.aborted) throw new DOMException('Given up', 'AbortError');
  throw new Error(body.error || `AVEMO answered with an error (${answer.status}); try again.`);
}

export async function api(path, options = {}) {
  const answer = await ask(path, options);
  if (answer.status === 204) return null;
  const body = await answer.json().catch(() => ({}));
  if (options.signal?.aborted) throw new DOMException('Given up', 'AbortError');
  return body;
}

// Lines of JSON, each given to onLine as soon as the server has written it. Returns what the last one says was `made`.
export async function lines(path, signal, onLine) {
  const answer = await ask(path, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let begun = '';
  let last = {};
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const whole = (begun + part.value).split('\n');
    begun = whole.pop();
    for (const line of whole) {
      last = JSON.parse(line);
      onLine(last);
    }
  }
  if (!last.made) throw new Error(last.error || 'AVEMO stopped in the middle of this; try again.');
  return last.made;
}

// [n] numbers from base64 of little-endian float32.
export function numbers(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return new Float32Array(bytes.buffer);
}

export const asJson = (value) => ({
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(value),
});

// A sentence from the record: plain, weak and strong words, an emotion with its glyph, a chip.
export function sentence(parts) {
  const nodes = [];
  for (const { text, kind, label } of parts) {
    const last = nodes.at(-1);
    if (kind === 'emotion') nodes.push(el('span', { class: `emw em-${label}` }, icon(label), text));
    else if (kind === 'chip') nodes.push(el('span', { class: 'nw' }, el('span', { class: `chip em-${label}` }, icon(label), text)));
    else if (last?.className === 'nw' && /^[.,;]/.test(text)) {
      last.append(text[0]); // a mark does not start a line
      nodes.push(el('span', {}, text.slice(1)));
    } else nodes.push(el('span', { class: kind === 'weak' ? 'w' : null }, text));
  }
  return nodes;
}

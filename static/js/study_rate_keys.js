// The keyboard: keys by their place (KeyboardEvent.code), so that a hand learns one map on every layout.

import { el } from './dom.js';

const NAMES = { ArrowLeft: '\u2190', ArrowRight: '\u2192', ArrowUp: '\u2191', ArrowDown: '\u2193', Slash: '/', Help: '?' };
const TYPING = 'input:not([type=checkbox]), textarea, select, [contenteditable]';

// What stands on the keys of this keyboard, where the browser tells; else their names on a US one.
export async function keyHints(words) {
  const layout = await navigator.keyboard?.getLayoutMap?.().catch(() => null);
  const name = (code) => {
    if (NAMES[code]) return NAMES[code];
    if (words.keys[code]) return words.keys[code];
    if (code.startsWith('Digit')) return code.at(-1);
    return (layout?.get(code) ?? code.replace('Key', '')).toUpperCase();
  };
  return { name, kbd: (code) => el('kbd', { 'aria-hidden': 'true' }, name(code)) };
}

// A button that was tabbed to keeps Enter and Space for itself.
const ownsPress = ({ code, target }) => ['Enter', 'NumpadEnter', 'Space'].includes(code) && target.closest?.('button, a, [type=checkbox]');

// actions: code -> function(event); `digit(n, shift)` and `letter(code)` for the rest. Nothing runs while one types, with
// Ctrl, Alt or Meta held, or from a key that is held down.
export function listen(actions) {
  document.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.closest?.(TYPING)) {
      if (event.code === 'Escape') event.target.blur();
      return;
    }
    if (document.querySelector('dialog[open]') || ownsPress(event)) return;
    const action = find(actions, event);
    if (!action) return;
    event.preventDefault();
    if (!event.repeat) action(event);
  });
  // After a press by mouse the keys belong to the page again: also where it was let go elsewhere, and so was no click.
  const letGo = () => {
    if (!document.querySelector('dialog[open]')) document.activeElement.closest('button, [type=checkbox], [role=slider]')?.blur();
  };
  document.addEventListener('pointerup', letGo);
  document.addEventListener('click', (event) => { if (event.detail > 0) letGo(); });
}

function find(actions, event) {
  if (event.key === '?') return actions.Help;
  if (event.key === '/') return actions.Slash;
  const digit = /^(?:Digit|Numpad)(\d)$/.exec(event.code)?.[1];
  if (digit) return digit === '0' ? actions.Digit0 : () => actions.digit(digit, event.shiftKey);
  if (event.code === 'NumpadEnter') return actions.Enter;
  if (actions[event.code]) return actions[event.code];
  const letter = /^Key([A-Z])$/.exec(event.code)?.[1];
  return letter && actions.letters.includes(letter) ? () => actions.letter(letter) : null;
}

// Where clips come from: the two tabs, a dropped or chosen file, the examples.

import { api, el, icon } from './dom.js';

// Upload | Record. onShow(name) runs when one of them is shown; returns the function that shows one.
export function tabs(page, onShow) {
  const buttons = [...page.querySelectorAll('[role=tab]')];
  const names = buttons.map((button) => button.id.slice('tab-'.length));

  function show(name) {
    buttons.forEach((button, i) => {
      const on = names[i] === name;
      button.setAttribute('aria-selected', String(on));
      button.tabIndex = on ? 0 : -1;
      page.querySelector(`#from-${names[i]}`).hidden = !on;
    });
    onShow(name);
  }

  buttons.forEach((button, i) => {
    button.addEventListener('click', () => show(names[i]));
    button.addEventListener('keydown', (event) => {
      if (!['ArrowLeft', 'ArrowRight'].includes(event.key)) return;
      show(names[1 - i]);
      buttons[1 - i].focus();
    });
  });
  return show;
}

// A file dropped anywhere on the page, or picked after a press on any of `choosers`.
export function files(page, drop, input, choosers, onFile) {
  for (const name of ['dragenter', 'dragover']) {
    page.addEventListener(name, (event) => {
      event.preventDefault();
      drop.classList.add('over');
    });
  }
  for (const name of ['dragleave', 'drop']) page.addEventListener(name, () => drop.classList.remove('over'));
  page.addEventListener('drop', (event) => {
    event.preventDefault();
    onFile(event.dataTransfer.files[0]);
  });
  input.addEventListener('change', () => {
    const [file] = input.files;
    input.value = ''; // the same file can be chosen again
    onFile(file);
  });
  for (const button of choosers) button.addEventListener('click', () => input.click());
}

// Draws the examples into `list`; `firsts` are buttons that read the first one. Returns mark(name or null).
export async function examples(list, firsts, onExample) {
  const rows = await api('/api/examples').catch(() => []);
  const picture = (row) =>
    row.poster ? el('img', { class: 'face', src: `/static/examples/${row.poster}`, alt: '', width: 48, height: 48 }) : el('span', { class: 'face' }, icon('voice'));
  const buttons = rows.map((row) =>
    el('button', { type: 'button', class: 'ex', 'aria-pressed': 'false', 'data-name': row.name, title: row.teaches, onclick: () => onExample(row) },
      picture(row), el('span', {}, el('b', {}, row.title), el('span', { class: 'micro' }, `${row.duration_s.toFixed(1)} s`))));
  list.replaceChildren(...(rows.length ? buttons : [el('p', { class: 'small dim' }, 'No examples were made on this computer.')]));
  for (const button of firsts) {
    button.hidden = !rows.length;
    button.addEventListener('click', () => onExample(rows[0]));
  }
}

export function mark(list, name) {
  list.querySelectorAll('button').forEach((button) => button.setAttribute('aria-pressed', String(button.dataset.name === name)));
}

// The right-hand panel of a result: the sentence, the confidence, three readings on shared rows, what each one counted.

import { LABELS, el, icon, percent, sentence, signed, two } from './dom.js';

const COLUMNS = [
  ['face', 'Face'],
  ['voice', 'Voice'],
  ['both', 'Both together'],
];

export function reading(record, page) {
  const parts = [el('h1', { class: 'verdict' }, sentence(page.sentence))];
  if (page.detail.length) parts.push(el('p', { class: 'lead mt3 detail' }, sentence(page.detail)));
  if (record.face.available || record.voice.available) parts.push(confidence(record, page)); // else there is nothing to be sure of
  parts.push(bars(record));
  if (page.counted) parts.push(counted(record, page));
  return parts;
}

function confidence(record, page) {
  const { confidence: value, threshold, abstained } = record.verdict;
  const meter = el(
    'div',
    { class: 'meter', role: 'meter', 'aria-label': 'Confidence', 'aria-valuenow': two(value), 'aria-valuemin': '0', 'aria-valuemax': '1', 'aria-valuetext': `${two(value)}; ${two(threshold)} is needed for a reading` },
    el('i', { class: abstained ? 'short' : null, style: { width: percent(value) } }),
    el('span', { class: 'th', style: { left: percent(threshold) } }),
  );
  const scale = el(
    'div',
    { class: 'mscale', 'aria-hidden': 'true' },
    el('span', { style: { left: '0' } }, '0'),
    el('span', { class: threshold > 0.8 ? 'before' : threshold < 0.2 ? 'after' : null, style: { left: percent(threshold) } }, `${two(threshold)} needed for a reading`),
    el('span', { style: { left: '100%' } }, '1'),
  );
  return el(
    'div',
    { class: 'mt5' },
    el('div', { class: 'conf' }, el('div', {}, el('div', { class: 'micro' }, 'Confidence'), el('div', { class: 'n' }, two(value))), el('div', {}, meter, scale)),
    page.confidence ? el('p', { class: 'small dim mt2' }, page.confidence) : null,
  );
}

// A table to a screen reader, aligned bars to the eye: the row is the comparison.
function bars(record) {
  const readings = { face: record.face, voice: record.voice, both: { available: record.face.available || record.voice.available, reason: record.verdict.reason, probabilities: record.probabilities } };
  // The label whose number is the highest as it is shown; none where two share that number.
  const best = ({ probabilities }) => {
    const [first, second] = [...LABELS].sort((a, b) => probabilities[b] - probabilities[a]);
    return two(probabilities[first]) === two(probabilities[second]) ? null : first;
  };
  const tops = Object.fromEntries(COLUMNS.filter(([name]) => readings[name].available).map(([name]) => [name, best(readings[name])]));
  const head = el(
    'div',
    { class: 'r', role: 'row' },
    el('div', { class: 'h first micro', role: 'columnheader' }, 'Probability'),
    COLUMNS.map(([name, title]) => el('div', { class: 'h', role: 'columnheader' }, icon(name), title)),
  );
  const rows = LABELS.map((label, row) => {
    const strong = Object.values(tops).includes(label);
    return el(
      'div',
      { class: `r em-${label}${strong ? ' on' : ''}`, role: 'row', style: { '--row': row + 2 } },
      el('span', { class: 'lab', role: 'rowheader' }, icon(label), label),
      COLUMNS.map(([name]) => cell(readings[name], name, label, tops[name] === label)),
    );
  });
  const missing = COLUMNS.map(([name], i) => [readings[name], i]).filter(([reading]) => !reading.available);
  return el(
    'div',
    { class: 'mt5 cut' },
    el(
      'div',
      { class: 'tri', role: 'table', 'aria-label': 'Probability of each emotion from the face, the voice and both' },
      head,
      rows,
    ),
    missing.map(([reading, i]) => absent(reading, i)),
  );
}

function cell(reading, name, label, top) {
  if (!reading.available) return el('span', { class: 'bar gone', role: 'cell' }, el('span', { class: 'vh' }, `not read: ${reading.reason}`));
  const value = reading.probabilities[label];
  return el('span', { class: `bar ${top ? 'on' : 'lo'}${name === 'voice' ? ' heard' : ''}`, role: 'cell' }, el('i', { style: { '--v': value.toFixed(4) } }), two(value));
}

// The column that was not read stays in its place, hatched, with its reason.
function absent(reading, column) {
  return el('div', { class: 'absent hatched', 'aria-hidden': 'true', style: { '--column': column } }, el('span', {}, reading.reason));
}

function counted(record, page) {
  const { start, face, voice } = record.shares;
  const label = record.verdict.label;
  const steps = [['face', face], ['voice', voice]].filter(([name]) => record[name].available);
  const marks = [el('span', { class: 'wb', style: { width: percent(start) } })];
  let at = start;
  steps.forEach(([name, share], row) => {
    const [low, high] = share < 0 ? [at + share, at] : [at, at + share];
    const kind = share < 0 ? 'neg' : name === 'voice' ? 'hatch' : '';
    marks.push(el('span', { class: `wr ${kind}`, style: { left: percent(low), width: percent(high - low), top: `${row * 34}px` } }));
    const text = [icon(name), `${name} ${signed(share)}`];
    const where = high < 0.7 ? 'after' : low > 0.3 ? 'before' : 'inside';
    const side = { after: { left: percent(high) }, before: { right: percent(1 - low) }, inside: { left: percent(low) } }[where];
    marks.push(el('span', { class: `wl ${where}`, style: { ...side, top: `${row * 34}px` } }, text));
    at += share;
  });
  marks.push(el('span', { class: 'wt', style: { left: percent(start) } }), el('span', { class: 'wt', style: { left: percent(at) } }));
  // Two labels that would overlap go on two lines.
  const close = Math.abs(at - start) < 0.24;
  const scale = el(
    'div',
    { class: `mscale${close ? ' two' : ''}` },
    start > 0.06 && at > 0.06 ? el('span', { style: { left: '0' } }, '0') : el('span'),
    el('span', { class: 'mid', style: { left: percent(start) } }, `${two(start)} start`),
    el('span', { class: `${at > 0.88 ? 'before' : 'mid'} end`, style: { left: percent(at) } }, el('b', {}, `${two(at)} ${label}`)),
    el('span', { style: { left: '100%' } }, at < 0.86 ? '1' : ''),
  );
  return el(
    'div',
    { class: 'mt5 shp cut' },
    el('h2', { class: 'h2s' }, 'How much each modality counted'),
    el(
      'div',
      {},
      el('div', { 'aria-hidden': 'true' }, el('div', { class: 'wf' }, marks), scale),
      el('p', { class: 'small dim mt3' }, page.counted, ' ', el('a', { class: 'nw', href: '/about#shapley' }, 'Shapley values')),
    ),
  );
}

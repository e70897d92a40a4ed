// The timeline of probabilities. Plotly draws the server's figure; colours come from the page, which knows the theme.

import { el, icon, two } from './dom.js';

const HEIGHT = 190;
let loading = null;

function plotly() {
  loading ||= new Promise((resolve, reject) => {
    if (window.Plotly) return resolve(window.Plotly);
    const script = el('script', { src: '/static/plotly.min.js' });
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error('The chart could not be loaded; the numbers are in the CSV.'));
    document.head.append(script);
  });
  return loading;
}

const token = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();

function dressed(figure) {
  const data = figure.data.map((trace) => ({ ...trace, line: { ...trace.line, color: token(`--e-${trace.name}-line`) } }));
  const layout = structuredClone(figure.layout);
  layout.font.color = token('--ink-3');
  layout.yaxis.gridcolor = token('--line');
  layout.hoverlabel = { bgcolor: token('--surface-1'), bordercolor: token('--line-strong'), font: { color: token('--ink') } };
  for (const shape of layout.shapes || []) {
    if (shape.type === 'rect') shape.fillcolor = token('--accent');
    else shape.line.color = token('--ink-3');
  }
  return [data, layout];
}

// Draws into `box` and draws again when the theme changes. Returns a function that ends it.
export async function draw(box, figure) {
  const Plotly = await plotly();
  const options = { displayModeBar: false, responsive: true };
  await Plotly.newPlot(box, ...dressed(figure), options);
  const again = () => Plotly.react(box, ...dressed(figure), options);
  const watcher = new MutationObserver(again);
  for (const node of [document.documentElement, document.body]) {
    watcher.observe(node, { attributes: true, attributeFilter: ['data-theme', 'class'] });
  }
  return () => {
    watcher.disconnect();
    Plotly.purge(box);
  };
}

// The strongest lines are named at their right end, moved apart where they would touch.
export function names(page) {
  const last = page.windows.probabilities.at(-1);
  if (!last) return [];
  const order = ['neutral', 'happiness', 'sadness', 'anger', 'fear', 'disgust', 'surprise'];
  const ends = page.strongest.map((label) => [label, last[order.indexOf(label)]]).sort((a, b) => b[1] - a[1]);
  const gap = 21;
  const tops = ends.map(([, value]) => Math.min(HEIGHT - 8, Math.max(8, HEIGHT * (1 - value))));
  for (let i = 1; i < tops.length; i += 1) tops[i] = Math.max(tops[i], tops[i - 1] + gap);
  const limit = HEIGHT - 28;
  for (let i = tops.length - 1, low = limit; i >= 0; i -= 1, low -= gap) tops[i] = Math.min(tops[i], low);
  const rest = Math.max(...page.windows.probabilities.flatMap((row) => row.filter((_, i) => !page.strongest.includes(order[i]))));
  return [
    ...ends.map(([label], i) => el('span', { class: `yaxr em-${label} named`, style: { top: `${tops[i]}px` } }, icon(label), label)),
    el('span', { class: 'yaxr', style: { top: `${HEIGHT - 6}px` } }, `others up to ${two(rest)}`),
  ];
}

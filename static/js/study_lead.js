// A study's page: its figures in the theme's colours, and clips that play.

const token = (name) => getComputedStyle(document.body).getPropertyValue(`--${name}`).trim();
const EMOTION = (name) => token(`e-${name}`);

// Half of the accent on a surface: the darkest shade of a heat map, on which ink is still read.
function half() {
  const parts = (name) => token(name).match(/[0-9a-f]{2}/gi).map((two) => parseInt(two, 16));
  const [accent, surface] = [parts('accent'), parts('surface-2')];
  return `rgb(${accent.map((value, i) => Math.round((value + surface[i]) / 2)).join(',')})`;
}

// The server names colours; the page knows what they are in this theme.
function colour(name, line = false) {
  if (Array.isArray(name)) return name.map((each) => colour(each, line));
  if (name === 'half-accent') return half();
  if (name.startsWith('#') || name.startsWith('rgba')) return name;
  if (EMOTION(name)) return line ? EMOTION(`${name}-line`) : EMOTION(name);
  return token(name) || name;
}

function dressed(figure) {
  const { data, layout } = structuredClone(figure);
  for (const { marker, line, colorscale } of data) {
    if (marker?.color) marker.color = colour(marker.color);
    if (marker?.line) marker.line.color = colour(marker.line.color, true);
    if (line) line.color = colour(line.color);
    for (const stop of colorscale ?? []) stop[1] = colour(stop[1]);
  }
  for (const shape of layout.shapes ?? []) shape.line.color = colour(shape.line.color);
  layout.font = { color: colour(layout.font.color), family: token('font'), size: 14 };
  for (const axis of [layout.xaxis, layout.yaxis]) axis.gridcolor = token('line');
  layout.hoverlabel = { bgcolor: token('surface-1'), bordercolor: token('line-strong'), font: { color: token('ink') } };
  return [data, layout];
}

async function draw(boxes) {
  await new Promise((resolve, reject) => {
    const script = Object.assign(document.createElement('script'), { src: '/study/static/plotly.min.js' });
    script.onload = resolve;
    script.onerror = reject;
    document.head.append(script);
  });
  const options = { displayModeBar: false, responsive: true, staticPlot: false };
  for (const box of boxes) {
    const figure = JSON.parse(box.dataset.figure);
    await window.Plotly.newPlot(box, ...dressed(figure), options);
    box.dataset.drawn = 'yes';
    document.addEventListener('avemo:theme', () => window.Plotly.react(box, ...dressed(figure), options));
  }
}

// One clip at a time. A picture needs a place to be seen: then the dialog opens.
function players() {
  const audio = document.getElementById('player');
  const dialog = document.getElementById('screen');
  const video = dialog.querySelector('video');
  let pressed = null;
  const rest = () => {
    pressed?.setAttribute('aria-pressed', 'false');
    pressed = null;
    audio.pause();
  };
  audio.addEventListener('ended', rest);
  dialog.addEventListener('close', () => video.pause());
  for (const button of document.querySelectorAll('[data-play]')) {
    button.addEventListener('click', async () => {
      const again = pressed === button;
      rest();
      if (again) return;
      const { headers } = await fetch(button.dataset.play, { method: 'GET', headers: { range: 'bytes=0-0' } });
      if (headers.get('content-type')?.startsWith('video/')) {
        video.src = button.dataset.play;
        dialog.showModal();
        video.play();
        return;
      }
      pressed = button;
      button.setAttribute('aria-pressed', 'true');
      audio.src = button.dataset.play;
      audio.play();
    });
  }
}

const boxes = document.querySelectorAll('[data-figure]');
if (boxes.length) draw(boxes);
players();

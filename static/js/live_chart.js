// The last ten seconds: most likely emotion, probabilities, level of the voice. The newest is at the right edge; where
// nothing was read the drawing stays blank.

export const SPAN_S = 10;
const BREAK_MS = 1200; // readings further apart than this are not joined; a slow computer reads twice a second
const DASHES = { solid: [], dash: [7, 4], dot: [2, 4], dashdot: [8, 4, 2, 4], longdash: [12, 5] };
const APART = '<circle cx="5.4" cy="10" r="3.6"/><circle cx="14.6" cy="10" r="3.6"/>';
const NAME_HEIGHT = 20; // pixels that a line's name takes

export const svg = (inside) => `<svg class="ic" viewBox="0 0 20 20" aria-hidden="true">${inside}</svg>`;

export class Chart {
  // parts: ribbon, chart, levels, line-names; emotions: [{name, dash, icon}] in the fixed order
  constructor(parts, emotions, clearGap) {
    Object.assign(this, { parts, emotions, clearGap });
    new MutationObserver(() => (this.colours = null)).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  readColours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    this.colours = {
      lines: this.emotions.map((emotion) => of(`--e-${emotion.name}-line`)),
      grid: of("--line"),
      needed: of("--ink-3"),
    };
  }

  // readings: [{seen_ms, p: [7] | null, level_db, voiced}], oldest first; now: ms of the right edge
  draw(readings, now, threshold) {
    if (!this.colours) this.readColours();
    const shown = readings.filter((reading) => now - reading.seen_ms < SPAN_S * 1000 + BREAK_MS);
    this.drawLines(shown, now, threshold);
    this.drawLevels(shown, now);
    this.drawRibbon(shown, now);
  }

  canvas(name) {
    const canvas = this.parts[name];
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const ratio = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      Object.assign(canvas, { width: Math.round(width * ratio), height: Math.round(height * ratio) });
    }
    const context = canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    context.clearRect(0, 0, width, height);
    return { context, width, height };
  }

  drawLines(readings, now, threshold) {
    const { context, width, height } = this.canvas("chart");
    const x = (ms) => width * (1 - (now - ms) / (SPAN_S * 1000));
    const y = (p) => height - 1 - p * (height - 2);
    const level = (p, colour, dash) => {
      context.strokeStyle = colour;
      context.setLineDash(dash);
      context.beginPath();
      context.moveTo(0, y(p));
      context.lineTo(width, y(p));
      context.stroke();
    };
    context.lineWidth = 1;
    [0, 0.25, 0.5, 0.75, 1].forEach((p) => level(p, this.colours.grid, []));
    if (threshold) level(threshold, this.colours.needed, [2, 5]);
    const newest = [...readings].reverse().find((reading) => reading.p);
    const order = newest ? newest.p.map((p, k) => k).sort((a, b) => newest.p[a] - newest.p[b]) : [];
    context.lineJoin = "round";
    order.forEach((k, rank) => {
      const strong = rank >= order.length - 3;
      context.globalAlpha = strong ? 1 : 0.6;
      context.lineWidth = rank === order.length - 1 ? 3 : strong ? 2.2 : 1.3;
      context.strokeStyle = this.colours.lines[k];
      context.setLineDash(DASHES[this.emotions[k].dash] ?? []);
      context.beginPath();
      let last = null;
      for (const reading of readings) {
        if (!reading.p) {
          last = null;
          continue;
        }
        const joined = last !== null && reading.seen_ms - last < BREAK_MS;
        context[joined ? "lineTo" : "moveTo"](x(reading.seen_ms), y(reading.p[k]));
        last = reading.seen_ms;
      }
      context.stroke();
    });
    context.globalAlpha = 1;
    const fresh = newest && now - newest.seen_ms < 1000;
    this.nameLines(fresh ? order.slice(-3).map((k) => ({ k, y: y(newest.p[k]) })) : [], height);
  }

  // Names at the right edge, pushed apart where lines lie close together.
  nameLines(names, height) {
    names.sort((a, b) => a.y - b.y);
    names.forEach((name, i) => (name.y = Math.max(name.y, i ? names[i - 1].y + NAME_HEIGHT : 8)));
    for (let i = names.length - 1; i >= 0; i--) {
      names[i].y = Math.min(names[i].y, i < names.length - 1 ? names[i + 1].y - NAME_HEIGHT : height - 8);
    }
    const key = names.map(({ k, y }) => `${k}:${Math.round(y)}`).join();
    if (key === this.namesKey) return;
    this.namesKey = key;
    this.parts["line-names"].innerHTML = names
      .map(({ k, y }) => {
        const { name, icon } = this.emotions[k];
        return `<span class="em-${name}" style="top:${Math.round(y)}px">${svg(icon)}${name}</span>`;
      })
      .join("");
  }

  drawLevels(readings, now) {
    const { context, width, height } = this.canvas("levels");
    context.fillStyle = this.colours.needed;
    for (const reading of readings) {
      if (reading.level_db === null) continue;
      const x = width * (1 - (now - reading.seen_ms) / (SPAN_S * 1000));
      const size = Math.max(2, loudness(reading.level_db) * (height - 4));
      context.globalAlpha = reading.voiced ? 1 : 0.45;
      context.fillRect(x - 2.6, (height - size) / 2, 2.6, size);
    }
    context.globalAlpha = 1;
  }

  drawRibbon(readings, now) {
    const stretches = [];
    for (const reading of readings) {
      if (!reading.p) continue;
      const [second, first] = [...reading.p].sort((a, b) => a - b).slice(-2);
      const k = first - second < this.clearGap ? -1 : reading.p.indexOf(first);
      const last = stretches.at(-1);
      const joined = last && reading.seen_ms - last.to < BREAK_MS;
      if (joined) last.to = reading.seen_ms;
      if (!joined || last.k !== k) stretches.push({ k, from: reading.seen_ms, to: reading.seen_ms });
    }
    const width = this.parts.ribbon.clientWidth;
    const share = (ms) => 1 - (now - ms) / (SPAN_S * 1000);
    this.parts.ribbon.innerHTML = stretches
      .map(({ k, from, to }) => {
        const [left, right] = [Math.max(0, share(from)), Math.min(1, share(to))];
        if (right <= left) return "";
        const place = `left:${(left * 100).toFixed(2)}%;width:${((right - left) * 100).toFixed(2)}%`;
        const narrow = (right - left) * width < 110 ? " narrow" : "";
        const icon = (right - left) * width > 24;
        if (k < 0) return `<span class="unclear narrow" style="${place}" title="no clear reading">${icon ? svg(APART) : ""}</span>`;
        const { name, icon: glyph } = this.emotions[k];
        return `<span class="em-${name}${narrow}" style="${place}" title="${name}">${icon ? svg(glyph) : ""}<b>${name}</b></span>`;
      })
      .join("");
  }
}

// dB of full scale -> 0..1 as drawn: speech lies between -60 and -10 dB
export const loudness = (db) => (db === null ? 0 : Math.min(1, Math.max(0, (db + 60) / 50)));

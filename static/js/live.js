// The Live page: what is sent, what is shown, and every way in which camera, microphone, server or patience may fail.

import { ask, Camera, devices, Microphone } from "./live_capture.js";
import { Chart, loudness, SPAN_S, svg } from "./live_chart.js";
import { save } from "./live_record.js";

const FRAME = 1;
const SOUND = 2;
const HEADER_BYTES = 16; // kind, sequence, captured ms; see avemo_core/web/live.py
const IN_FLIGHT = 2; // pictures sent and not yet answered
const SEND_QUEUE_BYTES = 200_000; // more than this unsent: the line is too slow, sound is left out
const FRESH_MS = 300;
const LATE_MS = 1000;
const ANNOUNCE_MS = 3000; // a screen reader hears of a change at most this often
const RETRY_S = [0.5, 1, 2, 4, 8];
const VU_BARS = 24;
const CHECK = '<path d="M4 10.6l4 4 8-9"/>';
const WARN = '<path d="M10 3L18 16.6H2z"/><path d="M10 8v4M10 14.2v.2"/>';
const NO = '<path d="M5 5l10 10M15 5L5 15"/>';
const APART = '<circle cx="5.4" cy="10" r="3.6"/><circle cx="14.6" cy="10" r="3.6"/>';

const NAMES = { video: "camera", audio: "microphone" };
const REFUSED = {
  NotAllowedError: (what) =>
    `This page may not use the ${what}. Allow it in the browser's site settings (the icon left of the address), then press Start.`,
  NotFoundError: (what) => `No ${what} was found. Connect one, then press Start.`,
  OverconstrainedError: (what) => `The ${what} that was chosen is gone. Choose another one.`,
  NotReadableError: (what) => `The ${what} is used by another program. Close that program, then press Start.`,
  InsecureContext: (what) => `Browsers give the ${what} only to pages on https or on localhost. Open this page that way.`,
};

export function start(element) {
  const root = element.querySelector("[data-live]");
  if (!root || root.dataset.started) return;
  root.dataset.started = "yes";
  new LivePage(root);
}

class LivePage {
  constructor(root) {
    this.root = root;
    this.parts = Object.fromEntries([...root.querySelectorAll("[data-part]")].map((e) => [e.dataset.part, e]));
    this.facts = JSON.parse(root.dataset.facts);
    this.labels = this.facts.emotions.map((emotion) => emotion.name);
    this.chart = new Chart(this.parts, this.facts.emotions, this.facts.clear_gap);
    this.camera = new Camera(this.parts.video);
    this.microphone = new Microphone();
    this.chosen = {};
    this.off = { video: false, audio: false };
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.unknown = { learning: null, learned: this.parts.known.textContent, baseline: null }; // the line before any lesson
    this.parts.vu.innerHTML = "<i></i>".repeat(VU_BARS);
    this.bars = [...this.parts.bars.children].map((row) => ({
      row,
      fill: row.querySelector("i"),
      value: row.querySelector("[data-value]"),
    }));
    this.reset();
    this.showPerson(this.unknown);
    this.listen();
    this.setState("idle");
    this.showNothing();
    const draw = () => this.chart.draw(this.history, this.now(), this.newest?.verdict?.threshold);
    new ResizeObserver(draw).observe(this.parts.chart); // at the start, and when the window changes
  }

  // The time at the right edge of the chart: it stands still while frozen and after the end.
  now() {
    return this.state === "frozen" || this.state === "ended" ? this.stoppedAt : performance.now();
  }

  reset() {
    this.history = []; // readings of the last ten seconds
    this.newest = null; // last reading shown
    this.sent = 0;
    this.answered = 0;
    this.offered = 0;
    this.skipped = 0;
    this.lost = 0; // dropped by the server, in connections before this one
    this.serverDropped = 0;
    this.processed = []; // times of the answers of the last two seconds
    this.tries = 0;
    this.notes = {};
  }

  listen() {
    const { parts } = this;
    parts.start.onclick = () => this.begin();
    parts.stop.onclick = () => this.stop();
    parts.freeze.onclick = () => this.freeze(this.state !== "frozen");
    parts.keep.onclick = () => this.keep();
    parts.learn.onclick = () => this.learn();
    parts.forget.onclick = () => this.forget();
    parts["camera-off"].onclick = () => this.switchOff("video");
    parts["microphone-off"].onclick = () => this.switchOff("audio");
    parts["camera-choice"].onchange = (e) => this.choose("video", e.target.value);
    parts["microphone-choice"].onchange = (e) => this.choose("audio", e.target.value);
    document.addEventListener("keydown", (e) => this.key(e));
    document.addEventListener("visibilitychange", () => this.visible(!document.hidden));
    window.addEventListener("pagehide", () => this.running && this.stop());
    navigator.mediaDevices?.addEventListener?.("devicechange", () => this.running && this.listDevices());
    this.camera.wanted = () => this.sending && this.sent - this.answered < IN_FLIGHT;
    this.camera.onskip = () => {
      if (!this.sending) return;
      this.offered += 1;
      this.skipped += 1;
    };
    this.camera.onframe = (bytes, captured) => this.sendFrame(bytes, captured);
    this.microphone.onsound = (samples, start) => this.sendSound(samples, start);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat || !this.running) return;
    const onControl = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (onControl) return;
    if (event.code === "Space" && event.target.closest?.("button, a, summary")) return; // it presses that one
    const action = {
      Escape: () => this.stop(),
      Space: () => this.freeze(this.state !== "frozen"),
      KeyS: () => this.keep(),
    }[event.code];
    if (!action) return;
    event.preventDefault();
    action();
  }

  // --- from the first press of Start to the end -----------------------------------------------------------------

  get running() {
    return ["live", "frozen", "paused", "reconnecting"].includes(this.state);
  }

  get sending() {
    return this.state === "live" && this.socket?.readyState === WebSocket.OPEN && this.ready;
  }

  async begin() {
    if (this.state === "asking" || this.running) return;
    this.reset();
    this.showNotes();
    this.off = { video: false, audio: false };
    this.setState("asking");
    this.cover("Your browser asks for camera and microphone", "Choose Allow in its window. Either one alone works too.");
    const got = await ask(["video", "audio"], this.chosen);
    if (this.state !== "asking") return void [got.video, got.audio].forEach((s) => s?.getTracks().forEach((t) => t.stop()));
    if (!got.video && !got.audio) return this.finish("Nothing to read from", this.refusals(got.errors).join(" "));
    for (const kind of ["video", "audio"]) {
      if (got.errors?.[kind]) this.note(kind, `${this.refusals({ [kind]: got.errors[kind] })[0]} ${this.goesOn(kind)}`, true);
    }
    if (got.video) this.camera.use(got.video);
    if (got.audio) await this.startMicrophone(got.audio);
    this.setState("reconnecting");
    this.cover(null);
    this.connect();
    this.listDevices();
    this.parts.stage.focus({ preventScroll: true }); // Space then freezes instead of pressing a button again
    clearInterval(this.timer);
    this.timer = setInterval(() => this.tick(), 100);
  }

  async startMicrophone(stream) {
    try {
      await this.microphone.use(stream);
    } catch {
      this.microphone.close();
      this.note("audio", `The sound could not be read in this browser. ${this.goesOn("audio")}`, true);
    }
  }

  refusals(errors) {
    const kinds = Object.keys(errors);
    if (kinds.length === 2 && errors.video === errors.audio && errors.video in REFUSED) {
      return [REFUSED[errors.video]("camera and the microphone").replace("Allow it", "Allow them")];
    }
    const other = (what) => `The ${what} could not be started. Check it in another program, then press Start.`;
    return kinds.map((kind) => (REFUSED[errors[kind]] ?? other)(NAMES[kind]));
  }

  goesOn(kind) {
    return kind === "video" ? "The voice alone is read meanwhile." : "The face alone is read meanwhile.";
  }

  stop() {
    this.finish("Stopped", "The camera and the microphone are off, and nothing was stored. Press Start to begin again.");
  }

  // Ends a session, whatever it was doing.
  finish(title, text) {
    clearInterval(this.timer);
    clearTimeout(this.retry);
    this.drawing = null;
    this.stoppedAt = performance.now();
    const socket = this.socket;
    this.socket = null;
    socket?.close();
    this.camera.close();
    this.microphone.close();
    this.notes = {};
    this.showNotes();
    this.showPerson(this.unknown);
    this.setState("ended");
    this.cover(title, text);
    this.showNothing();
  }

  setState(state) {
    this.state = this.root.dataset.state = state;
    const { parts, running } = this;
    parts.stop.disabled = !running;
    parts.freeze.disabled = !["live", "frozen"].includes(state);
    parts.keep.disabled = !running;
    parts.learn.disabled = state !== "live";
    parts.freeze.setAttribute("aria-pressed", state === "frozen");
    parts["freeze-text"].textContent = state === "frozen" ? "Go on" : "Freeze";
    for (const [kind, name] of Object.entries(NAMES)) {
      parts[`${name}-off`].disabled = !running;
      parts[`${name}-choice`].disabled = !running;
      parts[`${name}-off`].setAttribute("aria-pressed", running && this.off[kind]);
    }
    parts.tag.hidden = parts["voice-tag"].hidden = !running;
    const tags = { live: "Live", frozen: "Frozen", paused: "Paused", reconnecting: "Connecting" };
    parts["tag-text"].textContent = tags[state] ?? "";
    this.root.dataset.picture = running && this.camera.track ? "yes" : "no";
    if (state !== "live") parts.box.hidden = state !== "frozen" || parts.box.hidden;
  }

  // The words over the picture; null uncovers it.
  cover(title, text) {
    const { parts } = this;
    parts.over.hidden = title === null;
    if (title === null) return;
    parts["over-title"].textContent = title;
    parts.explain.hidden = true;
    parts["over-text"].hidden = false;
    parts["over-text"].textContent = text;
    parts.start.hidden = this.state === "asking";
    parts["start-text"].textContent = "Start";
    this.announce(`${title}. ${text}`, true);
  }

  // --- the connection ---------------------------------------------------------------------------------------------

  connect() {
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    const socket = new WebSocket(`${scheme}://${location.host}/api/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.ready = false;
    socket.onmessage = ({ data }) => socket === this.socket && this.receive(JSON.parse(data));
    socket.onclose = () => socket === this.socket && this.disconnected();
  }

  receive(message) {
    if (message.type === "ready") return this.connected();
    if (message.type === "end") return this.finish(message.code === 4429 ? "All places are taken" : "Live ended", message.sentence);
    if (message.sequence !== null) this.answered = Math.max(this.answered, message.sequence);
    this.serverDropped = message.dropped;
    this.showPerson(message);
    if (this.state !== "live") return;
    this.waiting = message;
    if (!this.drawing) this.drawing = requestAnimationFrame(() => this.show());
  }

  connected() {
    this.ready = true;
    this.tries = 0;
    this.answered = this.sent;
    this.lost += this.serverDropped;
    this.serverDropped = 0;
    if (this.microphone.rate) this.socket.send(JSON.stringify({ type: "sound", sample_rate: this.microphone.rate }));
    this.note("server", null);
    if (this.person.learning !== null || this.person.baseline) {
      this.showPerson(this.unknown);
      this.note("person", "The connection was lost, and what was learned of you with it; learn it again.", true);
    }
    if (this.state === "reconnecting") this.setState(document.hidden ? "paused" : "live");
  }

  disconnected() {
    this.ready = false;
    if (!this.running) return;
    const wait = RETRY_S[Math.min(this.tries, RETRY_S.length - 1)];
    this.tries += 1;
    if (this.state === "live") this.setState("reconnecting");
    if (this.tries > 1) this.note("server", `The server does not answer; Live tries again every ${wait} s.`, true);
    clearTimeout(this.retry);
    this.retry = setTimeout(() => this.running && this.connect(), wait * 1000 * (0.8 + 0.4 * Math.random()));
  }

  packet(kind, sequence, at, payload) {
    const bytes = new Uint8Array(HEADER_BYTES + payload.byteLength);
    const header = new DataView(bytes.buffer);
    header.setUint8(0, kind);
    header.setUint32(4, sequence, true);
    header.setFloat64(8, at, true);
    bytes.set(payload, HEADER_BYTES);
    return bytes;
  }

  sendFrame(bytes, captured) {
    if (!this.sending) return;
    this.offered += 1;
    this.sent += 1;
    this.socket.send(this.packet(FRAME, this.sent, captured, bytes));
  }

  sendSound(samples, start) {
    if (!this.sending || start < 0 || this.socket.bufferedAmount > SEND_QUEUE_BYTES) return;
    if (this.rateSent !== this.microphone.rate || this.rateSocket !== this.socket) {
      this.rateSent = this.microphone.rate;
      this.rateSocket = this.socket;
      this.socket.send(JSON.stringify({ type: "sound", sample_rate: this.rateSent }));
    }
    this.socket.send(this.packet(SOUND, 0, start, new Uint8Array(samples.buffer)));
  }

  // --- what the visitor does ---------------------------------------------------------------------------------------

  freeze(on) {
    if (!["live", "frozen"].includes(this.state)) return;
    if (on) {
      this.stoppedAt = performance.now();
      this.parts.video.pause();
    } else {
      this.camera.play();
    }
    this.setState(on ? "frozen" : "live");
  }

  visible(shown) {
    if (!this.running) return;
    if (!shown && this.state === "live") {
      this.setState("paused");
      this.note("paused", "This page was in the background, so reading paused there.", false);
    }
    if (shown) {
      this.microphone.resume();
      if (this.state === "paused") {
        this.camera.play();
        this.setState(this.ready ? "live" : "reconnecting");
        setTimeout(() => this.note("paused", null), 6000);
      }
    }
  }

  async switchOff(kind) {
    this.off[kind] = !this.off[kind];
    this.note(kind, null);
    if (this.off[kind]) this.source(kind).close(); // its light goes out: off means off
    else await this.reopen(kind);
    if (this.running) this.setState(this.state);
  }

  source(kind) {
    return kind === "video" ? this.camera : this.microphone;
  }

  async choose(kind, deviceId) {
    this.chosen[kind] = deviceId;
    if (this.off[kind]) return;
    await this.reopen(kind);
  }

  async reopen(kind) {
    this.source(kind).close();
    const got = await ask([kind], this.chosen);
    if (!this.running || this.off[kind]) return void got[kind]?.getTracks().forEach((track) => track.stop());
    if (!got[kind]) {
      this.note(kind, `${this.refusals(got.errors)[0].replace("press Start", "try again")} ${this.goesOn(kind)}`, true, kind);
      return;
    }
    this.note(kind, null);
    if (kind === "video") this.camera.use(got.video);
    else await this.startMicrophone(got.audio);
    this.setState(this.state);
    this.listDevices();
  }

  async listDevices() {
    for (const [kind, name] of Object.entries(NAMES)) {
      const select = this.parts[`${name}-choice`];
      const found = await devices(`${kind}input`);
      const current = this.source(kind).track?.getSettings().deviceId;
      select.replaceChildren(
        ...found.map((d, i) => new Option(d.label || `${name} ${i + 1}`, d.deviceId, false, d.deviceId === current)),
      );
      if (!found.length) select.append(new Option(`no ${name} found`, ""));
    }
  }

  // Begins a lesson, or ends the one that runs.
  learn() {
    if (!this.sending) return;
    if (this.person.learning !== null) return this.forget();
    this.note("person", null);
    this.socket.send('{"type": "learn"}');
    this.parts.stage.scrollIntoView({ block: "nearest" });
  }

  forget() {
    if (this.ready && this.socket?.readyState === WebSocket.OPEN) this.socket.send('{"type": "forget"}');
  }

  keep() {
    const until = this.now();
    const kept = this.history.filter((r) => until - r.seen_ms <= SPAN_S * 1000);
    save(kept, until, this.facts);
    this.announce(`Kept ${kept.length} readings of the last ten seconds.`, true);
  }

  // --- what is shown -----------------------------------------------------------------------------------------------

  show() {
    this.drawing = null;
    const message = this.waiting;
    if (!message || this.state !== "live") return;
    const now = performance.now();
    const age = message.seen_ms === null ? null : now - message.seen_ms;
    const fresh = message.seen_ms !== this.newest?.seen_ms;
    const p = message.both ?? message.face ?? message.voice;
    this.newest = { ...message, p, age_ms: age };
    if (message.sequence !== null) this.processed.push(now);
    if (fresh && message.seen_ms !== null) this.history.push(this.newest);
    while (this.history.length && now - this.history[0].seen_ms > SPAN_S * 1500) this.history.shift();
    this.showBox(message);
    this.showLevel(message);
    if (fresh) this.showReading(message, p);
    const detail = { shown_ms: now, age_ms: age, sequence: message.sequence, fresh, server_ms: message.server_ms, received: message.received };
    this.root.dispatchEvent(new CustomEvent("avemo-reading", { detail, bubbles: true }));
  }

  showReading(message, p) {
    const { verdict } = message;
    const best = p ? p.indexOf(Math.max(...p)) : -1;
    this.parts.bars.classList.toggle("empty", !p);
    this.bars.forEach(({ row, fill, value }, k) => {
      fill.style.setProperty("--v", p ? p[k].toFixed(3) : 0);
      value.textContent = p ? p[k].toFixed(2) : "";
      row.classList.toggle("on", k === best);
      row.querySelector(".bar").classList.toggle("lo", k !== best);
    });
    for (const condition of ["face", "voice"]) this.showAlone(condition, message);
    const scope = message.both ? "face and voice together" : message.face ? "the face alone" : "the voice alone";
    this.parts.scope.textContent = p ? `Right now, ${scope}` : "Right now";
    const [html, text] = this.sentence(message);
    if (this.sentenceHtml !== html) this.parts.sentence.innerHTML = this.sentenceHtml = html;
    this.detail(verdict);
    this.announce(text);
  }

  sentence({ verdict, face, voice, why }) {
    const nothing = `Nothing to read: ${why.face}, ${why.voice}.`;
    if (!verdict) return [`<span class="w">${nothing}</span>`, nothing];
    if (verdict.abstained) return [`No clear reading: <span class="w">${verdict.reason}.</span>`, `No clear reading: ${verdict.reason}.`];
    const top = (p) => this.labels[p.indexOf(Math.max(...p))];
    const agree = face && voice && top(face) === verdict.label && top(voice) === verdict.label;
    const neutral = verdict.label === "neutral";
    const both = `${agree ? "Both face and voice" : "Face and voice together"} ${neutral ? "are" : "express"}`;
    const one = face ? `The face ${neutral ? "looks" : "expresses"}` : `The voice ${neutral ? "sounds" : "expresses"}`;
    const says = face && voice ? both : one;
    return [`<span class="w">${says}</span> ${this.word(verdict.label)}`, `${says} ${verdict.label}.`];
  }

  word(label) {
    return `<span class="emw em-${label}">${svg(this.emotion(label).icon)}${label}</span>`;
  }

  emotion(label) {
    return this.facts.emotions[this.labels.indexOf(label)];
  }

  detail(verdict) {
    let html = "";
    if (verdict) {
      const value = `<b>${verdict.confidence.toFixed(2)}</b>`;
      const needed = `a reading is shown from ${verdict.threshold.toFixed(2)}.`;
      html = verdict.abstained
        ? `Nearest to ${verdict.label} at ${value}; ${needed}`
        : `for ${verdict.held_s.toFixed(1)} s. Confidence ${value}; ${needed}`;
      this.parts.needed.textContent = `dotted: ${verdict.threshold.toFixed(2)} needed for a reading`;
    }
    this.parts.detail.innerHTML = html;
  }

  showAlone(condition, message) {
    const p = message[condition];
    let html = `<span>${message.why[condition] ?? "no reading"}</span>`;
    if (p) {
      const [second, value] = [...p].sort((a, b) => a - b).slice(-2);
      const { name, icon } = this.facts.emotions[p.indexOf(value)];
      html =
        value - second < this.facts.clear_gap
          ? `<span class="chip unclear">${svg(APART)}no clear reading</span>`
          : `<span class="chip em-${name}">${svg(icon)}${name} ${value.toFixed(2)}</span>`;
    }
    this.parts[condition].innerHTML = html;
  }

  // How far a lesson is, and what the person is known by.
  showPerson(person) {
    const { parts } = this;
    const { learning, learned, baseline } = person;
    if (learning !== null) {
      parts["lesson-bar"].setAttribute("aria-valuenow", Math.round(learning * 100));
      parts["lesson-bar"].firstElementChild.style.width = `${learning * 100}%`;
    }
    const key = JSON.stringify([learning !== null, learned, baseline]);
    const before = this.person;
    this.person = learning === null && !learned && !baseline ? this.unknown : person;
    if (key === this.personKey) return;
    this.personKey = key;
    parts.lesson.hidden = learning === null;
    parts["learn-text"].textContent = learning === null ? "Learn my neutral face and voice" : "Stop learning";
    if (baseline === null && document.activeElement === parts.forget) parts.learn.focus();
    parts.forget.hidden = baseline === null;
    const seconds = (value, what) => value > 0 && `${value < 1 ? value.toFixed(1) : Math.round(value)} s of ${what}`;
    const known = baseline && [seconds(baseline.face_s, "face"), seconds(baseline.voice_s, "speech")].filter(Boolean).join(", ");
    const said = [known && `Read against your own baseline: ${known}.`, this.person.learned].filter(Boolean).join(" ");
    parts.known.textContent = learning === null ? said : "Stay neutral until the bar is full.";
    if (!before) return; // nothing happened yet
    if (learning !== null) this.announce(parts.lesson.textContent, true);
    else if (person !== this.unknown) this.announce(this.person === this.unknown ? "Forgotten." : said, true);
  }

  showBox({ box, frame, verdict }) {
    const element = this.parts.box;
    element.hidden = !box;
    if (!box) return;
    const { clientWidth: width, clientHeight: height } = this.parts.stage;
    const scale = Math.max(width / frame[0], height / frame[1]); // object-fit: cover
    const [left, top] = [(width - frame[0] * scale) / 2, (height - frame[1] * scale) / 2];
    const x = width - (left + box[2] * scale); // the picture is shown as in a mirror
    const y = top + box[1] * scale;
    Object.assign(element.style, {
      left: `${x}px`,
      top: `${y}px`,
      width: `${(box[2] - box[0]) * scale}px`,
      height: `${(box[3] - box[1]) * scale}px`,
    });
    element.classList.toggle("high", y < 104);
    const label = verdict && !verdict.abstained ? verdict.label : null;
    const key = label ? `${label} ${verdict.confidence.toFixed(2)}` : "";
    if (element.dataset.key === key) return;
    element.dataset.key = key;
    this.parts["box-label"].innerHTML = label
      ? `${svg(this.emotion(label).icon)}${label} <b>${verdict.confidence.toFixed(2)}</b>`
      : `${svg(APART)}no clear reading`;
  }

  showLevel({ level_db: level, voiced, why }) {
    const lit = Math.round(loudness(level) * VU_BARS);
    if (lit !== this.lit) [...this.parts.vu.children].forEach((bar, k) => bar.classList.toggle("a", k < lit));
    this.lit = lit;
    const words = voiced ? "voice heard" : level === null ? why.voice ?? "no sound" : "no voice heard";
    if (this.parts.heard.textContent !== words) this.parts.heard.textContent = words;
  }

  // Ten times a second: ages, rates, the chart, and whether camera and microphone are still there.
  tick() {
    const now = performance.now();
    this.ticks = (this.ticks ?? 0) + 1;
    if (this.ticks % 3 === 0) this.showCounts(now);
    if (this.state !== "frozen" && this.ticks % (this.still.matches ? 10 : 2) === 0) {
      this.chart.draw(this.history, this.now(), this.newest?.verdict?.threshold);
    }
    if (this.ticks % 5 === 0) this.lookAfterSources();
    if (this.ticks % 50 === 0 && this.state === "frozen" && this.ready) this.socket.send('{"type": "still"}');
    const stale = this.newest && this.newest.seen_ms !== null && now - this.newest.seen_ms > LATE_MS;
    if (stale && ["live", "reconnecting"].includes(this.state) && !this.staleShown) this.showStale();
    this.staleShown = stale;
  }

  showCounts(now) {
    const { parts } = this;
    while (this.processed.length && now - this.processed[0] > 2000) this.processed.shift();
    if (this.state === "frozen" || this.state === "paused") return this.badge("", APART, this.state);
    const seen = this.newest?.seen_ms ?? null;
    const waited = seen === null ? null : now - seen;
    // Between readings the age of the one on show grows; what is printed is its age when it was shown.
    const age = waited === null ? null : waited > LATE_MS ? waited : this.newest.age_ms;
    parts.age.textContent = age === null ? "–" : Math.round(age);
    if (age === null) this.badge("", APART, "waiting");
    else if (age < FRESH_MS) this.badge("pass", CHECK, "fresh");
    else if (age < LATE_MS) this.badge("warn", WARN, "late");
    else this.badge("fail", NO, "stale");
    parts.rate.textContent = (this.processed.length / 2).toFixed(1);
    parts.dropped.textContent = this.skipped + this.lost + this.serverDropped;
    parts.offered.textContent = this.offered;
  }

  badge(kind, icon, word) {
    if (this.badgeWord === word) return;
    this.badgeWord = word;
    this.parts.badge.className = `badge ${kind}`;
    this.parts.badge.innerHTML = `${svg(icon)}${word}`;
  }

  showStale() {
    this.parts.box.hidden = true;
    this.showNothing();
    this.parts.sentence.innerHTML = this.sentenceHtml = '<span class="w">The newest reading is too old to show.</span>';
    this.parts.detail.textContent = "It comes back by itself as soon as new pictures or sound are read.";
  }

  showNothing() {
    this.parts.bars.classList.add("empty");
    this.bars.forEach(({ row, fill, value }) => {
      fill.style.setProperty("--v", 0);
      value.textContent = "";
      row.classList.remove("on");
    });
    this.parts.face.textContent = this.parts.voice.textContent = this.running ? "waiting" : "not started";
    this.parts.scope.textContent = "Right now";
    if (this.state === "ended") {
      this.parts.sentence.innerHTML = this.sentenceHtml = '<span class="w">What do face and voice express?</span>';
      this.parts.detail.textContent = "Press Start to see a reading that follows you.";
      this.badge("", APART, "no frame");
      this.parts.age.textContent = this.parts.rate.textContent = "–";
    }
  }

  lookAfterSources() {
    if (!["live", "reconnecting"].includes(this.state)) return;
    for (const kind of ["video", "audio"]) {
      const what = NAMES[kind];
      const trouble = this.source(kind).trouble;
      const key = `${kind}-lost`;
      if (trouble === "ended") {
        this.source(kind).close();
        this.setState(this.state);
        this.note(key, `The ${what} was lost. ${this.goesOn(kind)}`, true, kind);
      } else if (trouble === "silent") {
        this.note(key, `The ${what} is on but sends nothing. Check its cover or switch; reading goes on when it does.`, true);
      } else if (this.source(kind).track) {
        this.note(key, null);
      }
    }
  }

  // One line under the controls; `again` offers to open that source once more. null takes the line away.
  note(key, text, warn = false, again = null) {
    if ((this.notes[key]?.text ?? null) === text) return;
    if (text === null) delete this.notes[key];
    else this.notes[key] = { text, warn, again };
    this.showNotes();
  }

  showNotes() {
    this.parts.notes.replaceChildren(
      ...Object.entries(this.notes).map(([key, { text, warn, again }]) => {
        const line = document.createElement("div");
        line.className = warn ? "note warn" : "note";
        line.innerHTML = svg(WARN);
        line.append(Object.assign(document.createElement("span"), { textContent: text }));
        if (again) {
          const button = Object.assign(document.createElement("button"), { type: "button", className: "btn s", textContent: "Try again" });
          button.onclick = () => (this.note(key, null), this.reopen(again));
          line.append(button);
        }
        return line;
      }),
    );
  }

  // For screen readers: a change of the verdict, at most every three seconds.
  announce(text, now = false) {
    if (text === this.announced) return;
    const time = performance.now();
    if (!now && time - (this.announcedAt ?? -Infinity) < ANNOUNCE_MS) return;
    this.announced = text;
    this.announcedAt = time;
    this.parts.announce.textContent = text;
  }
}

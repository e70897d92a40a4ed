// Camera and microphone: small JPEG pictures and pieces of sound, each with the time at which it was captured, in
// milliseconds of performance.now(). Neither knows of the network.

const LONGER_SIDE = 320; // pixels; faces at arm's length are then about 100 px high
const FRAMES_PER_S = 16; // offered to the reader; more would only be dropped
const QUIET_S = 2; // without a new picture for so long, the camera counts as silent

export class Camera {
  constructor(video) {
    this.video = video;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false, willReadFrequently: true });
    this.onframe = null; // (JPEG as Uint8Array, captured ms)
    this.wanted = () => true; // whether the next due picture should be encoded
    this.onskip = null; // a due picture was not wanted
    this.due = 0;
    this.newest = 0;
  }

  get track() {
    return this.stream?.getVideoTracks()[0] ?? null;
  }

  // The camera went away, or sends nothing: "ended", "silent" or null.
  get trouble() {
    if (!this.track) return null;
    if (this.track.readyState === "ended") return "ended";
    return this.track.muted || performance.now() - this.newest > QUIET_S * 1000 ? "silent" : null;
  }

  use(stream) {
    this.stream = stream;
    this.newest = performance.now();
    this.video.srcObject = stream;
    this.play();
    this.watch(stream);
  }

  play() {
    this.newest = performance.now();
    this.video.play().catch(() => {}); // an interrupted play() is started again by the next one
  }

  close() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = null;
    this.video.srcObject = null;
  }

  watch(stream) {
    const step = (now, picture) => {
      if (this.stream !== stream) return;
      this.newest = performance.now();
      this.offer(picture?.captureTime > 0 && picture.captureTime <= now ? picture.captureTime : now);
      next();
    };
    const next = () =>
      this.video.requestVideoFrameCallback ? this.video.requestVideoFrameCallback(step) : requestAnimationFrame(step);
    next();
  }

  offer(captured) {
    const now = performance.now();
    const period = 1000 / FRAMES_PER_S;
    if (now < this.due - period / 4) return;
    this.due = Math.max(this.due + period, now); // an even pace, also from 25 pictures a second
    if (!this.wanted()) return void this.onskip?.();
    this.encode(captured);
  }

  encode(captured) {
    const { videoWidth: width, videoHeight: height } = this.video;
    if (!width || !height) return;
    const scale = Math.min(1, LONGER_SIDE / Math.max(width, height));
    const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
    if (this.canvas.width !== w || this.canvas.height !== h) Object.assign(this.canvas, { width: w, height: h });
    this.context.drawImage(this.video, 0, 0, w, h);
    // toBlob waits for an idle moment, 100 ms and more on a busy machine; this takes 3 ms, now.
    const text = atob(this.canvas.toDataURL("image/jpeg", 0.8).split(",")[1]);
    const bytes = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
    this.onframe?.(bytes, captured);
  }
}

export class Microphone {
  constructor() {
    this.onsound = null; // (Float32Array, start ms)
    this.offset = null; // seconds from the sound card's clock to performance.now()
  }

  get rate() {
    return this.audio?.sampleRate ?? 0;
  }

  get track() {
    return this.stream?.getAudioTracks()[0] ?? null;
  }

  get trouble() {
    if (!this.track) return null;
    if (this.track.readyState === "ended") return "ended";
    return this.track.muted || this.audio?.state === "suspended" ? "silent" : null;
  }

  async use(stream) {
    this.stream = stream;
    if (!this.audio) {
      this.audio = new AudioContext();
      await this.audio.audioWorklet.addModule("/static/js/live_microphone.js");
    }
    if (this.stream !== stream) return; // another one was chosen meanwhile
    this.resume();
    this.source = this.audio.createMediaStreamSource(stream);
    this.node = new AudioWorkletNode(this.audio, "avemo-microphone", { channelCount: 1, channelCountMode: "explicit" });
    this.node.port.onmessage = ({ data }) => this.take(data);
    this.source.connect(this.node).connect(this.audio.destination); // its output is silence; unconnected it would not run
  }

  take({ samples, end }) {
    // The piece that came with the least delay tells how the two clocks lie; slowly forgotten, because clocks drift.
    const offset = performance.now() / 1000 - end;
    this.offset = this.offset === null ? offset : Math.min(offset, this.offset + 0.002);
    this.onsound?.(samples, (end + this.offset - samples.length / this.rate) * 1000);
  }

  resume() {
    this.offset = null;
    this.audio?.resume().catch(() => {});
  }

  close() {
    this.source?.disconnect();
    this.node?.disconnect();
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = this.source = this.node = null;
    this.offset = null;
  }
}

const ASK = {
  video: { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } },
  // Levels and pauses belong to the expression: the browser shall not even them out.
  audio: { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
};

// {video: MediaStream | null, audio: MediaStream | null, errors: {video?, audio?: DOMException name}}
export async function ask(kinds, devices = {}) {
  if (!navigator.mediaDevices?.getUserMedia) return { errors: Object.fromEntries(kinds.map((k) => [k, "InsecureContext"])) };
  const wish = (kind) => ({ ...ASK[kind], ...(devices[kind] ? { deviceId: { exact: devices[kind] } } : {}) });
  const result = { video: null, audio: null, errors: {} };
  if (kinds.length === 2) {
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: wish("video"), audio: wish("audio") });
      result.video = new MediaStream(stream.getVideoTracks());
      result.audio = new MediaStream(stream.getAudioTracks());
      return result;
    } catch (error) {
      // One of the two may be missing or blocked: ask for each alone, but do not ask again what was just refused.
      if (error.name === "NotAllowedError" && !(await differs())) {
        return { ...result, errors: { video: error.name, audio: error.name } };
      }
    }
  }
  for (const kind of kinds) {
    try {
      result[kind] = await navigator.mediaDevices.getUserMedia({ [kind]: wish(kind) });
    } catch (error) {
      result.errors[kind] = error.name;
    }
  }
  return result;
}

async function differs() {
  try {
    const states = await Promise.all(["camera", "microphone"].map((name) => navigator.permissions.query({ name })));
    return states.filter((s) => s.state === "denied").length === 1;
  } catch {
    return false; // this browser does not tell
  }
}

export async function devices(kind) {
  const all = await navigator.mediaDevices.enumerateDevices();
  return all.filter((device) => device.kind === kind && device.deviceId);
}

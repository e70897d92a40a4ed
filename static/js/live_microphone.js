// AudioWorklet: hands out the microphone's sound in pieces of 0.1 s, with the time at which each piece ends.
class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(Math.round(sampleRate / 10));
    this.filled = 0;
  }

  process(inputs) {
    const sound = inputs[0][0];
    if (!sound) return true; // nothing is connected at the moment
    let taken = 0;
    while (taken < sound.length) {
      const count = Math.min(sound.length - taken, this.piece.length - this.filled);
      this.piece.set(sound.subarray(taken, taken + count), this.filled);
      taken += count;
      this.filled += count;
      if (this.filled === this.piece.length) {
        const samples = this.piece.slice();
        this.port.postMessage({ samples, end: currentTime + taken / sampleRate }, [samples.buffer]);
        this.filled = 0;
      }
    }
    return true;
  }
}

registerProcessor("avemo-microphone", Microphone);

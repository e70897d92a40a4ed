"""Whether the sound that rises above its background can be a voice: beeps, tunes and drums rise too."""

import numpy as np

from .types import SAMPLE_RATE, SOUND_HOP_S

HOP = int(SOUND_HOP_S * SAMPLE_RATE)
FRAME = int(0.04 * SAMPLE_RATE)  # holds three periods of the lowest voice
FFT = 2048
SHORTEST_LAG, LONGEST_LAG = SAMPLE_RATE // 500, SAMPLE_RATE // 75  # samples: voices are pitched from 75 to 500 Hz
FEWEST = 20  # pairs of columns: fewer say nothing
MOST_PAIRS = 400  # looked at, evenly spread: a long clip costs no more

# Over 307 clips of six speech corpora, children's included, the least periodic share was 0.104, the greatest share of still
# pitch 0.297 and the most narrow 0.980. Noise and drums are periodic in under 0.09, tunes hold still in 0.6 to 1 of their
# columns, beeps are as narrow as 0.998.
PERIODIC = 0.5  # height of the autocorrelation's peak, of 1
LEAST_PERIODIC = 0.10  # share of columns; whispering, which has no pitch, is lost with the noise
STILL = 0.002  # change of pitch from column to column, of the pitch: a voice never holds a note so exactly
MOST_STILL = 0.4  # share of columns
NARROW = 0.99  # median share of power within five neighbouring mel bands


def can_be_voice(wave: np.ndarray, log_mel: np.ndarray, voiced: np.ndarray) -> bool:
    """Mono float32 [n] at 16 kHz, its log-mel [80,T] and raised columns bool [T] -> could a voice have made these?

    Too few columns to tell are taken for a voice.
    """
    last = (len(wave) - FRAME) // HOP - 1
    first = np.flatnonzero(voiced[:-1] & voiced[1:])
    first = first[first <= last]
    if len(first) < FEWEST:
        return True
    if np.median(_narrowness(np.exp(log_mel[:, voiced]))) > NARROW:
        return False
    if len(first) > MOST_PAIRS:
        first = first[np.linspace(0, len(first) - 1, MOST_PAIRS).astype(int)]
    one, other = _periods(wave, first), _periods(wave, first + 1)
    pitched = (one > 0) & (other > 0)
    if pitched.mean() < LEAST_PERIODIC:
        return False
    return float((np.abs(np.log(other[pitched] / one[pitched])) < STILL).mean()) <= MOST_STILL


def _narrowness(power: np.ndarray) -> np.ndarray:
    """Mel power [80,T] -> [T] share of it within two bands of the strongest."""
    bands = np.arange(len(power))[:, None]
    near = np.abs(bands - power.argmax(0)) <= 2
    return (power * near).sum(0) / power.sum(0)


def _periods(wave: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Samples [n] from one period to the next at these columns; 0 where there is no pitch (Boersma 1993)."""
    frames = wave[columns[:, None] * HOP + np.arange(FRAME)]
    shape = np.hanning(FRAME)
    own = np.fft.irfft(np.abs(np.fft.rfft(shape, FFT)) ** 2)[: LONGEST_LAG + 2]
    spectra = np.fft.rfft((frames - frames.mean(1, keepdims=True)) * shape, FFT)
    likeness = np.fft.irfft(np.abs(spectra) ** 2)[:, : LONGEST_LAG + 2]
    likeness = likeness / np.maximum(likeness[:, :1], 1e-12) / (own / own[0])
    lag = likeness[:, SHORTEST_LAG : LONGEST_LAG + 1].argmax(1) + SHORTEST_LAG
    rows = np.arange(len(lag))
    before, at, after = (likeness[rows, lag + step] for step in (-1, 0, 1))
    peak = (at > PERIODIC) & (at >= before) & (at >= after)
    bend = np.minimum(before - 2 * at + after, -1e-9)
    return np.where(peak, lag + 0.5 * (before - after) / bend, 0.0)

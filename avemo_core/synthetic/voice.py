"""A voice that says syllables: harmonics and breath shaped by moving formants; how it speaks depends on the emotion.

No words and nobody's recording. Directions of change follow Juslin & Laukka (2003, Psychological Bulletin, table 7).
"""

from dataclasses import dataclass, fields

import numpy as np

from .people import Person

RATE = 16000  # samples a second
HOP = 80  # samples between two settings of the filters, 5 ms
Array = np.ndarray


@dataclass(frozen=True)
class Manner:
    """How an emotion sounds, beside the person's calm voice."""

    pitch: float = 1.0  # times the person's F0
    swing: float = 2.0  # height of accents, semitones
    ending: float = -2.0  # of a phrase, semitones
    rate: float = 4.3  # syllables a second
    level: float = -24.0  # dBFS, of speech without its pauses
    bright: float = 0.0  # tilt of the harmonics, dB an octave
    breath: float = 1.0  # times the person's
    rough: float = 0.006  # jitter, share of the period
    tremor: float = 0.0  # semitones, at 6.5 Hz
    smile: float = 1.0  # formants times this: a smile shortens the tract
    pause: float = 0.3  # seconds between phrases


MANNERS: dict[str, Manner] = {
    "neutral": Manner(),
    "happiness": Manner(1.42, 6.0, 2.0, 5.0, -19, 1.5, 0.8, 0.006, 0.15, 1.06, 0.2),
    "sadness": Manner(0.88, 1.2, -3.0, 2.9, -30, -3.0, 2.2, 0.009, 0.25, 0.97, 0.5),
    "anger": Manner(1.32, 5.0, -5.0, 5.3, -15, 4.0, 0.6, 0.016, 0.0, 1.0, 0.15),
    "fear": Manner(1.65, 2.0, 1.5, 5.8, -21, 0.5, 2.4, 0.018, 0.6, 1.03, 0.25),
    "disgust": Manner(0.9, 3.5, -5.0, 3.3, -22, 0.5, 1.2, 0.022, 0.0, 0.95, 0.4),
    "surprise": Manner(1.55, 7.5, 6.0, 4.2, -18, 1.5, 1.4, 0.006, 0.0, 1.02, 0.3),
}

VOWELS: dict[str, tuple[float, float, float]] = {  # F1 F2 F3 of an adult man, Hz
    "a": (750, 1250, 2500), "e": (520, 1850, 2500), "i": (300, 2250, 2950), "o": (500, 900, 2400), "u": (330, 850, 2300),
    "ae": (680, 1720, 2450), "@": (500, 1450, 2450),
}  # fmt: skip


@dataclass(frozen=True)
class Consonant:
    seconds: float
    voiced: float  # amplitude of the harmonics
    noise: float  # amplitude of the hiss
    hiss: float  # its centre, Hz
    burst: bool  # the hiss comes at the end, after a silence
    formants: tuple[float, float, float]


CONSONANTS: dict[str, Consonant] = {
    "p": Consonant(0.085, 0.0, 0.25, 1200, True, (250, 900, 2300)),
    "t": Consonant(0.08, 0.0, 0.45, 4200, True, (250, 1750, 2700)),
    "k": Consonant(0.09, 0.0, 0.35, 2000, True, (250, 1900, 2300)),
    "b": Consonant(0.065, 0.16, 0.08, 1000, True, (220, 900, 2300)),
    "d": Consonant(0.06, 0.16, 0.12, 3500, True, (220, 1700, 2700)),
    "g": Consonant(0.065, 0.16, 0.12, 1900, True, (220, 1900, 2300)),
    "m": Consonant(0.075, 0.38, 0.0, 1000, False, (260, 1050, 2250)),
    "n": Consonant(0.07, 0.38, 0.0, 1000, False, (260, 1550, 2500)),
    "l": Consonant(0.065, 0.6, 0.0, 1000, False, (360, 1150, 2700)),
    "r": Consonant(0.065, 0.55, 0.0, 1000, False, (400, 1250, 1700)),
    "w": Consonant(0.07, 0.6, 0.0, 1000, False, (300, 700, 2250)),
    "s": Consonant(0.11, 0.0, 0.4, 5600, False, (300, 1700, 2600)),
    "sh": Consonant(0.11, 0.0, 0.4, 3200, False, (300, 1800, 2500)),
    "f": Consonant(0.095, 0.0, 0.14, 4500, False, (300, 1100, 2300)),
    "v": Consonant(0.06, 0.35, 0.08, 4500, False, (280, 1100, 2300)),
    "z": Consonant(0.085, 0.3, 0.22, 5400, False, (280, 1700, 2600)),
}


@dataclass
class _Score:
    """What the voice does at each hop [n]: amplitudes, hiss centre in Hz, formants [n,3] in Hz, melody in semitones."""

    voiced: Array
    noise: Array
    hiss: Array
    formants: Array
    melody: Array


def _manner(emotion: str, strength: Array) -> dict[str, Array]:
    """Each setting [n] between neutral (strength 0) and the emotion's (1)."""
    if emotion not in MANNERS:
        raise ValueError(f"Unknown emotion {emotion!r}; choose one of {', '.join(MANNERS)}.")
    calm, moved = MANNERS["neutral"], MANNERS[emotion]
    names = [field.name for field in fields(Manner)]
    return {name: getattr(calm, name) + strength * (getattr(moved, name) - getattr(calm, name)) for name in names}


def _smooth(track: Array, hops: float) -> Array:
    """Gaussian along axis 0, `hops` wide."""
    reach = int(3 * hops) + 1
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / hops) ** 2)
    padded = np.pad(track, [(reach, reach)] + [(0, 0)] * (track.ndim - 1), mode="edge")
    if track.ndim == 1:
        return np.convolve(padded, window / window.sum(), "valid")
    return np.stack([np.convolve(column, window / window.sum(), "valid") for column in padded.T], axis=1)


def _compose(manner: dict[str, Array], hops: int, rng: np.random.Generator) -> _Score:
    """Phrases of syllables, a consonant and a vowel each, with accents and an ending, until the time is full."""
    score = _Score(
        np.zeros(hops),
        np.zeros(hops),
        np.full(hops, 3000.0),
        np.tile(np.array(VOWELS["@"], float), (hops, 1)),
        np.zeros(hops),
    )
    second = RATE / HOP
    at = int(rng.uniform(0.08, 0.16) * second)
    while at < hops - 0.3 * second:
        count = int(rng.integers(5, 9))
        accents = set(range(int(rng.integers(0, 2)), count, int(rng.integers(2, 4))))
        first = at
        for k in range(count):
            if at >= hops - 0.2 * second:
                break
            at = _syllable(score, manner, at, k in accents, k == count - 1, rng)
        end = min(at, hops)
        fall = np.linspace(0.5, -0.5, max(end - first, 1))
        score.melody[first:end] += fall[: end - first] * np.sign(-manner["ending"][first:end]) * 1.2
        last = np.clip((np.arange(first, end) - end + 0.4 * second) / (0.4 * second), 0, 1)
        score.melody[first:end] += last * manner["ending"][first:end]
        at += int(manner["pause"][min(at, hops - 1)] * second * rng.uniform(0.8, 1.3))
    return score


def _syllable(score: _Score, manner: dict[str, Array], at: int, accent: bool, final: bool, rng: np.random.Generator) -> int:
    """Writes one syllable into the score from hop `at`; returns the hop after it."""
    hops, second = len(score.voiced), RATE / HOP
    length = (
        second
        / manner["rate"][min(at, hops - 1)]
        * (1.25 if accent else 0.85)
        * (1.4 if final else 1)
        * rng.uniform(0.9, 1.1)
    )
    consonant = CONSONANTS[str(rng.choice(list(CONSONANTS)))]
    body = int(consonant.seconds * second)
    vowel = VOWELS[str(rng.choice(list(VOWELS)[:-1])) if accent or rng.random() < 0.6 else "@"]
    middle, end = min(at + body, hops), min(at + max(int(length), body + 10), hops)
    score.voiced[at:middle] = consonant.voiced
    hiss_from = max(middle - 4, at) if consonant.burst else at
    score.noise[hiss_from:middle] = consonant.noise
    score.hiss[at:middle] = consonant.hiss
    score.formants[at:middle] = consonant.formants
    score.voiced[middle:end] = 1.0 if accent else 0.72
    score.formants[middle:end] = vowel
    if accent:
        rise = np.sin(np.pi * np.linspace(0.15, 1, max(end - at, 1))) ** 1.5
        score.melody[at:end] += manner["swing"][at:end] * rise[: end - at] * rng.uniform(0.8, 1.2)
    return at + max(int(length), body + 10)


def _response(frequency: Array, formants: Array) -> Array:
    """Complex gain of the vocal tract at `frequency` [n,m] Hz for formants [n,6] Hz."""
    gain = np.ones(frequency.shape, np.complex64)
    for k in range(formants.shape[1]):
        centre = formants[:, k : k + 1]
        width = 55 + 0.035 * centre + 15 * k
        gain = gain * (centre**2 / (centre**2 - frequency**2 + 1j * frequency * width))
    return gain


def _harmonics(f0: Array, formants: Array, amplitude: Array, bright: Array, samples: int) -> tuple[Array, Array]:
    """The voiced part [samples] and its phase, from settings at each hop."""
    times, hop_times = np.arange(samples), np.arange(len(f0)) * HOP
    phase = np.cumsum(2 * np.pi * np.interp(times, hop_times, f0) / RATE)
    count = int(min(0.47 * RATE / f0.min(), 70))
    order = np.arange(1, count + 1)
    frequency = f0[:, None] * order[None, :]
    octaves = np.log2(np.maximum(frequency, 50) / 250)
    tilt = 10 ** ((-7.5 + bright[:, None]) * np.maximum(octaves, 0) / 20)
    gain = _response(frequency, formants) * tilt * amplitude[:, None] * (frequency < 0.47 * RATE)
    wave = np.zeros(samples)
    for k in range(count):
        turn = k + 1
        wave += np.interp(times, hop_times, gain[:, k].real) * np.cos(turn * phase)
        wave -= np.interp(times, hop_times, gain[:, k].imag) * np.sin(turn * phase)
    return wave, phase


def _noise(shape: Array, source: Array) -> Array:
    """White `source` [samples] with the spectrum of each hop, gains `shape` [n, 257]."""
    frame = 512
    window = np.hanning(frame + 1)[:-1] / (frame / HOP / 2)
    padded = np.pad(source, (frame // 2, frame))
    starts = np.arange(len(shape)) * HOP
    frames = padded[starts[:, None] + np.arange(frame)] * window
    shaped = np.fft.irfft(np.fft.rfft(frames, axis=1) * shape, axis=1)
    out = np.zeros(len(padded) + frame)
    for start, piece in zip(starts, shaped, strict=True):
        out[start : start + frame] += piece
    return out[frame // 2 : frame // 2 + len(source)]


def speak(emotion: str, seconds: float, person: Person, seed: int = 0, strength: float | Array = 1.0) -> Array:
    """A voice saying syllables in the manner of an emotion, float32 [round(seconds * 16000)] at 16 kHz, |x| < 1.

    strength: 0 is the person's calm voice, 1 the emotion in full; an array is spread evenly over the time.
    """
    samples = round(seconds * RATE)
    if samples < RATE // 4:
        raise ValueError(f"{seconds} s is too short for a voice; ask for at least 0.25 s.")
    rng = np.random.default_rng([seed, 29])
    hops = samples // HOP + 1
    given = np.atleast_1d(np.asarray(strength, float))
    manner = _manner(emotion, np.interp(np.linspace(0, 1, hops), np.linspace(0, 1, len(given)), given))
    score = _compose(manner, hops, rng)

    melody = _smooth(score.melody, 7)
    sounding = score.voiced > 0.5
    melody -= melody[sounding].mean() if sounding.any() else 0.0
    clock = np.arange(hops) * HOP / RATE
    melody += manner["tremor"] * np.sin(2 * np.pi * 6.5 * clock + rng.uniform(0, 6))
    wander = _smooth(rng.normal(size=hops), 12)
    flutter = rng.normal(size=hops)
    f0 = person.f0 * manner["pitch"] * 2 ** (melody / 12) * (1 + 0.02 * wander + manner["rough"] * flutter)

    moving = _smooth(score.formants, 4)
    fixed = np.tile(np.array((3450.0, 4400.0, 5400.0)), (hops, 1))
    formants = np.concatenate([moving, fixed], axis=1) * (manner["smile"] / person.tract)[:, None]
    shimmer = 1 + 6 * manner["rough"] * rng.normal(size=hops)
    amplitude = _smooth(score.voiced, 2.2) * shimmer
    wave, phase = _harmonics(f0, formants, amplitude, manner["bright"], samples)

    bins = np.linspace(0, RATE / 2, 257)[None, :]
    breath = person.breath * manner["breath"] * _smooth(score.voiced, 2.2)
    hiss = np.exp(-(((bins - _smooth(score.hiss, 2)[:, None]) / 1300) ** 2)) * _smooth(score.noise, 1.2)[:, None] * 0.9
    shape = np.abs(_response(np.repeat(bins, hops, 0), formants)) * breath[:, None] * 0.5
    white = rng.normal(size=samples)
    wave = wave + _noise(shape, white * (0.6 + 0.4 * np.cos(phase))) + _noise(hiss, rng.normal(size=samples))
    return _levelled(wave, manner["level"], rng)


def _levelled(wave: Array, level: Array, rng: np.random.Generator) -> Array:
    """Speech at `level` [n] dBFS (its loudest half second sets the scale), over a faint room noise."""
    power = _smooth(wave**2, 1600)
    loud = np.sqrt(np.quantile(power, 0.9))
    gain = np.interp(np.arange(len(wave)), np.arange(len(level)) * HOP, 10 ** (level / 20)) / max(loud, 1e-9)
    out = wave * gain + 10 ** (-72 / 20) * rng.normal(size=len(wave))
    fade = np.minimum(1, np.minimum(np.arange(len(wave)), np.arange(len(wave))[::-1]) / (0.02 * RATE))
    return (np.tanh(out * fade * 1.1) / 1.1).astype(np.float32)

"""From a waveform to what the voice branch sees: log-mel, MFCC, level, and where someone speaks."""

from functools import cache

import numpy as np
import torch
import torchaudio

from .speech import can_be_voice
from .types import MELS, SAMPLE_RATE, SOUND_HOP_S, Sound

WINDOW = int(0.025 * SAMPLE_RATE)
HOP = int(SOUND_HOP_S * SAMPLE_RATE)
FFT = 1024  # finer than the window, so that no low mel band falls between two bins
LOWEST_HZ = 60.0
FLOOR = 1e-10  # power under which a band counts as silent (-100 dB)
CHUNK = 60 * SAMPLE_RATE  # a minute at a time, so that half an hour needs little memory

# Speech rises above the background of its own recording; quiet actors peak at -40 dB, so no fixed level can tell.
ABOVE_BACKGROUND_DB = 10.0
QUIETEST_DB = -70.0
LONGEST_GAP = 12  # columns: pauses inside a word are bridged
SHORTEST_VOICE = 6  # columns: clicks are not speech


@cache
def _mel() -> torchaudio.transforms.MelSpectrogram:
    return torchaudio.transforms.MelSpectrogram(
        SAMPLE_RATE, n_fft=FFT, win_length=WINDOW, hop_length=HOP, f_min=LOWEST_HZ, n_mels=MELS, power=2.0
    )


@cache
def _dct() -> torch.Tensor:
    return torchaudio.functional.create_dct(40, MELS, norm="ortho")  # [80,40]


def mel_edges_hz() -> np.ndarray:
    """[81] hertz, low to high: half way between the peaks of neighbouring mel bands (HTK scale, as torchaudio)."""
    lowest, highest = 2595 * np.log10(1 + np.array([LOWEST_HZ, SAMPLE_RATE / 2]) / 700)
    # band m is a triangle that peaks at step m + 1 of MELS + 1 steps
    mel = lowest + (np.arange(MELS + 1) + 0.5) / (MELS + 1) * (highest - lowest)
    return 700 * (10 ** (mel / 2595) - 1)


def log_mel(wave: np.ndarray) -> np.ndarray:
    """float32 [n] at 16 kHz -> [80, n // 160] natural log of mel power; columns are centred on multiples of 10 ms."""
    columns = len(wave) // HOP
    if columns == 0:
        return np.zeros((MELS, 0), np.float32)
    parts = []
    padded = np.pad(np.asarray(wave, np.float32), FFT // 2)
    for first in range(0, columns, CHUNK // HOP):
        last = min(columns, first + CHUNK // HOP)
        piece = torch.from_numpy(padded[first * HOP : (last - 1) * HOP + FFT])
        mel = _mel()
        power = mel.mel_scale(
            torch.stft(piece, FFT, HOP, WINDOW, mel.spectrogram.window, center=False, return_complex=True).abs() ** 2
        )
        parts.append(power.clamp(min=FLOOR).log())
    return torch.cat(parts, 1).numpy()


def level_db(wave: np.ndarray) -> np.ndarray:
    """float32 [n] -> [n // 160] dB of full scale, root mean square over 25 ms round each column."""
    columns = len(wave) // HOP
    squares = np.pad(np.asarray(wave, np.float64) ** 2, WINDOW // 2)
    sums = np.concatenate(([0.0], np.cumsum(squares)))
    starts = np.arange(columns) * HOP
    mean = (sums[starts + WINDOW] - sums[starts]) / WINDOW
    return (10 * np.log10(np.maximum(mean, 1e-12))).astype(np.float32)


def voice_activity(level: np.ndarray) -> np.ndarray:
    """[T] dB -> bool [T]: columns well above the recording's own background, gaps bridged and clicks dropped.

    A steady tone, noise and silence have no such columns.
    """
    if not len(level):
        return np.zeros(0, bool)
    background = np.percentile(level, 10)
    voiced = (level > background + ABOVE_BACKGROUND_DB) & (level > QUIETEST_DB)
    voiced = _fill(voiced, True, LONGEST_GAP)
    return _fill(voiced, False, SHORTEST_VOICE)


def _fill(mask: np.ndarray, value: bool, longest: int) -> np.ndarray:
    """Runs of `not value` no longer than `longest`, between two of `value`, become `value`."""
    out = mask.copy()
    edges = np.flatnonzero(np.diff(np.concatenate(([True], mask == value, [True])).astype(int)))
    for start, stop in zip(edges[::2], edges[1::2], strict=False):
        inside = start > 0 and stop < len(mask)
        if stop - start <= longest and (inside or not value):
            out[start:stop] = value
    return out


def columns(wave: np.ndarray) -> np.ndarray:
    """[n] -> [160, n // 160]: the samples themselves, by column; a view."""
    return wave[: len(wave) // HOP * HOP].reshape(-1, HOP).T


def describe(wave: np.ndarray, start_s: float = 0.0, samples: bool = False) -> Sound:
    """Mono float32 [n] at 16 kHz -> Sound with n // 160 columns, and with its `samples`. ValueError for another shape."""
    if wave.ndim != 1:
        raise ValueError(f"Expected mono sound of shape [n]; got shape {wave.shape}.")
    mel = log_mel(wave)
    level = level_db(wave)
    mfcc = (mel.T @ _dct().numpy()).T
    voiced = voice_activity(level)
    if not can_be_voice(wave, mel, voiced):
        voiced = np.zeros_like(voiced)
    return Sound(mel, mfcc.astype(np.float32), voiced, start_s, level, columns(wave) if samples else None)

"""A map of the voice as sound: what it marks alone, and the rest alone; together they are the original again."""

import io
import wave as wav

import numpy as np
import torch

from .. import media
from ..sound import FFT, HOP, WINDOW, mel_edges_hz
from ..types import SAMPLE_RATE, AvemoError, ClipResult, Explanation
from . import render


def mask(explanation: Explanation) -> np.ndarray:
    """[F,T] in 0..1: how much of each cell is kept. What speaks against the target is not; a zero map keeps nothing."""
    if explanation.voice is None:
        raise AvemoError(f"There is no map of the voice to listen to: {explanation.missing.get('voice', 'no map')}.")
    return render.kept(explanation.voice)


def apart(samples: np.ndarray, share: np.ndarray, edges_hz: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sound [n] at 16 kHz and the share [F,T] kept of each band between `edges_hz` [F+1] -> what is kept, and the rest.

    Each bin of the short-time spectrum is scaled and the sound put together again (overlap-add, which is exact for whole
    shares): kept + rest = samples within 1e-5 of full scale.
    """
    if not len(samples):
        return samples, samples
    window = torch.hann_window(WINDOW)
    spectrum = torch.stft(
        torch.from_numpy(samples), FFT, HOP, WINDOW, window, center=True, pad_mode="constant", return_complex=True
    )
    bins = np.arange(FFT // 2 + 1) * SAMPLE_RATE / FFT
    bands = np.clip(np.searchsorted(edges_hz, bins, side="right") - 1, 0, len(share) - 1)
    columns = np.minimum(np.arange(spectrum.shape[1]), share.shape[1] - 1)
    weights = torch.from_numpy(share[np.ix_(bands, columns)].astype(np.float32))
    parts = [
        torch.istft(spectrum * scaled, FFT, HOP, WINDOW, window, center=True, length=len(samples)).numpy()
        for scaled in (weights, 1 - weights)
    ]
    return parts[0], parts[1]


def kept_and_rest(result: ClipResult, explanation: Explanation) -> tuple[np.ndarray, np.ndarray]:
    """The clip's sound at 16 kHz, parted by the map. AvemoError where there is no map of the voice."""
    share = mask(explanation)
    chunks = [samples for samples, _ in media.sound(result.clip)]
    samples = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
    return apart(
        samples.astype(np.float32), share, explanation.voice_edges_hz if len(share) > 1 else mel_edges_hz()[[0, -1]]
    )


def encoded(samples: np.ndarray) -> bytes:
    """Sound [n] within -1 to 1 -> a WAV file, 16 kHz, 16 bits, mono; what is louder is cut."""
    out = io.BytesIO()
    with wav.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).round().astype("<i2").tobytes())
    return out.getvalue()

"""Child-shifted copies of adult voices: what becomes of a reading when pitch and formants go up as a child's are.

Resampling moves both by one factor, and FFmpeg's atempo gives the words their time back. It is no child's speech: rate,
rhythm and articulation stay an adult's. It bounds from below what real children cost the model.
"""

from pathlib import Path

import av
import numpy as np

from avemo_core import media, sound
from avemo_core.types import SAMPLE_RATE, Sound

FACTOR = 1.25  # formants of a child of about eight over a woman's (Lee, Potamianos and Narayanan 1999), less over a man's


def shifted(wave: np.ndarray, factor: float = FACTOR) -> np.ndarray:
    """float32 mono [n] at 16 kHz -> the same length of time with every frequency times `factor`."""
    if not len(wave):  # FFmpeg takes no empty frame
        return wave
    graph = av.filter.Graph()
    steps = [
        graph.add_abuffer(sample_rate=SAMPLE_RATE, format="flt", layout="mono"),
        graph.add("asetrate", str(round(SAMPLE_RATE * factor))),
        graph.add("aresample", str(SAMPLE_RATE)),
        graph.add("atempo", f"{1 / factor:.6f}"),
        graph.add("aformat", f"sample_fmts=flt:sample_rates={SAMPLE_RATE}:channel_layouts=mono"),
        graph.add("abuffersink"),
    ]
    graph.link_nodes(*steps).configure()
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[None], np.float32), "flt", "mono")
    frame.sample_rate, frame.pts = SAMPLE_RATE, 0
    graph.push(frame)
    graph.push(None)
    out = []
    while True:
        try:
            out.append(graph.pull().to_ndarray().reshape(-1))
        except (av.EOFError, av.BlockingIOError):
            break
    return np.concatenate(out) if out else np.zeros(0, np.float32)


def voice(path: Path) -> Sound:
    """The sound of one clip, shifted."""
    chunks = list(media.sound(media.decode(path)))
    wave = np.concatenate([samples for samples, _ in chunks]) if chunks else np.zeros(0, np.float32)
    return sound.describe(shifted(wave), chunks[0][1] if chunks else 0.0)

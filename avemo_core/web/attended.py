"""Cross-modal attention as the Inspect page shows it: the matrix, and in words what each frame attended to."""

from typing import Any

import numpy as np

from ..types import SOUND_HOP_S, Effect, Explanation
from .explained import packed

BLOCK = 8  # columns of the sound in one of the matrix: the voice branch weighs 80 ms at a time
NEAR_S = 0.2  # around the same moment
HALF = 0.5  # of a row's peak: its span goes on as long as it is at least so strong


def page_attention(found: Explanation) -> dict[str, Any]:
    """The matrix of face frames by sound, each row's share of attention, and every row's sentence (null: not explained)."""
    to_voice, to_face = found.attention["face_to_voice"], found.attention["voice_to_face"]
    first = np.arange(0, to_voice.shape[1] - 1, BLOCK)
    matrix = np.add.reduceat(to_voice[:, 1:], first, axis=1)
    starts = found.voice_times_s[first] - SOUND_HOP_S / 2
    ends = np.append(starts[1:], found.voice_times_s[-1] + SOUND_HOP_S / 2)
    asked = np.flatnonzero(to_voice.sum(1) > 0)
    rows: list[dict[str, Any] | None] = [None] * len(matrix)
    for n in asked:
        rows[n] = _row(matrix[n], starts, ends, float(found.face_times_s[n])) | {"none": round(float(to_voice[n, 0]), 4)}
    return {
        "times": [round(float(t), 3) for t in found.face_times_s],
        "shape": list(matrix.shape),
        "matrix": packed(matrix),
        "starts_s": [round(float(t), 3) for t in starts],
        "end_s": round(float(ends[-1]), 3),
        "most": float(matrix.max()),
        "rows": rows,
        "near_s": NEAR_S,
        "near": {
            "face_to_voice": near(to_voice, found.face_times_s, found.voice_times_s),
            "voice_to_face": near(to_face, found.voice_times_s, found.face_times_s),
        },
    }


def cut(effects: dict[str, Effect]) -> dict[str, Any]:
    """The target's probability, and by direction how it changes with that attention made uniform."""
    before = next(iter(effects.values())).before
    return {"before": before, "change": {direction: -one.fall for direction, one in effects.items()}}


def _row(row: np.ndarray, starts: np.ndarray, ends: np.ndarray, time_s: float) -> dict[str, Any]:
    """The span round a row's strongest sound, its share of the attention, and its share if all sound had as much."""
    peak = int(row.argmax())
    if row[peak] <= 0:
        return {"sentence": f"The frame at {time_s:.2f} s attends to no sound.", "share": 0.0, "even": 0.0}
    low = high = peak
    while low > 0 and row[low - 1] >= HALF * row[peak]:
        low -= 1
    while high + 1 < len(row) and row[high + 1] >= HALF * row[peak]:
        high += 1
    start, end = float(starts[low]), float(ends[high])
    return {
        "sentence": f"The frame at {time_s:.2f} s attends most to the sound from {max(0.0, start):.2f} to {end:.2f} s.",
        "start_s": round(max(0.0, start), 3),
        "end_s": round(end, 3),
        "share": round(float(row[low : high + 1].sum()), 4),
        "even": round((high + 1 - low) / max(1, int((row > 0).sum())), 4),
    }


def near(attention: np.ndarray, asking_s: np.ndarray, asked_s: np.ndarray) -> float:
    """Share of the attention [A,1+B] that goes to within NEAR_S of the asking moment, mean over moments that ask."""
    asks = attention.sum(1) > 0
    close = np.abs(asking_s[asks, None] - asked_s[None]) <= NEAR_S
    return float((attention[asks, 1:] * close).sum(1).mean()) if asks.any() else 0.0

"""Features of clips, cached on disk by the file's content and the settings that made them."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track as progress_bar

from avemo_core import faces, media, sound, timeline
from avemo_core.types import FACE_SIZE, MELS, FaceTrack, Sound

from .corpora.manifest import Row

SETTINGS = f"mel{MELS}-{sound.FFT}-{sound.LOWEST_HZ:g}-face{FACE_SIZE}-{timeline.FACE_INPUT}-3"


def _key(path: Path) -> str:
    return hashlib.sha256(path.read_bytes() + SETTINGS.encode()).hexdigest()[:24]


def _read_cached(path: Path) -> dict[str, np.ndarray] | None:
    try:
        with np.load(path) as stored:
            return dict(stored)
    except FileNotFoundError:
        return None
    except Exception as error:  # a half-written or damaged entry of any kind is made again
        print(f"Cache entry {path.name} cannot be read ({error}); made again.")
        return None


def _write_cached(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.npz")  # two runs may make the same entry at once
    np.savez(beside, **arrays)  # type: ignore[arg-type]
    os.replace(beside, path)


def voice(path: Path, cache: Path) -> Sound:
    """The sound of one clip; log-mel kept in half precision on disk."""
    entry = cache / "voice" / f"{_key(path)}.npz"
    stored = _read_cached(entry)
    if stored is None:
        clip = media.decode(path)
        chunks = list(media.sound(clip))
        wave = np.concatenate([samples for samples, _ in chunks]) if chunks else np.zeros(0, np.float32)
        described = sound.describe(wave, chunks[0][1] if chunks else 0.0)
        stored = {
            "log_mel": described.log_mel.astype(np.float16),
            "voiced": described.voiced,
            "level_db": described.level_db.astype(np.float16),
            "start_s": np.array(described.start_s),
        }
        _write_cached(entry, stored)
    mel = stored["log_mel"].astype(np.float32)
    empty = np.zeros((40, 0), np.float32)  # training does not read the MFCCs
    return Sound(mel, empty, stored["voiced"], float(stored["start_s"]), stored["level_db"].astype(np.float32))


def face(path: Path, cache: Path, detector: "faces.Detector") -> FaceTrack | None:
    """The largest face of one clip, or None; crops in grey at the branch's own size."""
    entry = cache / "face" / f"{_key(path)}.npz"
    stored = _read_cached(entry)
    if stored is None:
        tracks = faces.track(media.frames(media.decode(path)), detector)
        if tracks:
            first = replace(tracks[0], crops=timeline.grey(tracks[0].crops))
            stored = {
                name: getattr(first, name) for name in ("times_s", "boxes", "landmarks", "crops", "present", "quality")
            }
        else:
            stored = {}
        _write_cached(entry, stored)
    return FaceTrack(0, **stored) if stored else None


def voices(rows: Sequence[Row], cache: Path) -> list[Sound]:
    """The sounds of many clips, with a progress bar; what is cached is not made again."""
    shown: Iterable[Row] = progress_bar(rows, description="voice features")
    return [voice(row.path, cache) for row in shown]

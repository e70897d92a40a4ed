"""Features of clips, cached on disk by the file's content and the settings that made them.

`python -m training.prepare` makes them for a whole corpus at once, in parallel; what is missing is made when asked for.
"""

import functools
import hashlib
import io
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track as progress_bar

from avemo_core import faces, media, sound, timeline
from avemo_core.types import FACE_SIZE, MELS, Clip, FaceTrack, MediaError, Sound

from . import parallel, progress
from .corpora.manifest import Row

SETTINGS = f"mel{MELS}-{sound.FFT}-{sound.LOWEST_HZ:g}-face{FACE_SIZE}-{timeline.FACE_INPUT}-3"
Arrays = dict[str, np.ndarray]
T = TypeVar("T")
DetectorOf = Callable[[], faces.Detector]  # called only where faces are looked for: loading it takes seconds


def _key(path: Path) -> str:
    media.checked(path, media.Limits())
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
    except OSError as error:
        raise MediaError(f"This file cannot be read ({error.strerror}); copy it here again.") from error
    digest.update(SETTINGS.encode())
    return digest.hexdigest()[:24]


def _wave(clip: Clip) -> tuple[np.ndarray, float]:
    """float32 [n] at 16 kHz, and where it starts in seconds; of a clip without sound n is 0."""
    chunks = list(media.sound(clip))
    wave = np.concatenate([samples for samples, _ in chunks]) if chunks else np.zeros(0, np.float32)
    return wave, chunks[0][1] if chunks else 0.0


def _voice(clip: Clip, detector: DetectorOf) -> Arrays:
    """Of a clip without sound: no columns."""
    described = sound.describe(*_wave(clip))
    return {
        "log_mel": described.log_mel.astype(np.float16),
        "voiced": described.voiced,
        "level_db": described.level_db.astype(np.float16),
        "start_s": np.array(described.start_s),
    }


def _samples(clip: Clip, detector: DetectorOf) -> Arrays:
    return {"samples": sound.columns(_wave(clip)[0]).astype(np.float16)}


def _face(clip: Clip, detector: DetectorOf) -> Arrays:
    """Of a clip without a picture or a face: nothing."""
    tracks = faces.track(media.frames(clip), detector()) if clip.video else []
    if not tracks:
        return {}
    first = replace(tracks[0], crops=timeline.grey(tracks[0].crops))
    return {name: getattr(first, name) for name in ("times_s", "boxes", "landmarks", "crops", "present", "quality")}


MAKERS = {"voice": _voice, "samples": _samples, "face": _face}


def stored(kind: str, path: Path, cache: Path, detector: DetectorOf = faces.Detector) -> tuple[Arrays, str]:
    """The entry of one clip, `kind` being one of MAKERS, made where there is none, and what was done.

    That is "there", "made", or a sentence about an entry that was damaged and made again. MediaError where the clip,
    OSError where the cache is at fault.
    """
    entry = cache / kind / f"{_key(path)}.npz"
    done = "made"
    try:
        with np.load(entry) as file:
            return dict(file), "there"
    except FileNotFoundError:
        pass
    except Exception:  # a damaged file raises anything
        done = f"The cache entry {entry} was damaged and was made again."
    arrays = MAKERS[kind](media.decode(path), detector)
    data = io.BytesIO()
    np.savez(data, **arrays)  # type: ignore[arg-type]
    progress.write(entry, data.getvalue())
    return arrays, done


def _arrays(kind: str, path: Path, cache: Path, detector: DetectorOf = faces.Detector) -> Arrays:
    arrays, done = stored(kind, path, cache, detector)
    if done not in ("there", "made"):
        print(done, file=sys.stderr)
    return arrays


def voice(path: Path, cache: Path, samples: bool = False) -> Sound:
    """The sound of one clip, and with its `samples`; kept in half precision on disk."""
    kept = _arrays("voice", path, cache)
    mel = kept["log_mel"].astype(np.float32)
    empty = np.zeros((40, 0), np.float32)  # training does not read the MFCCs
    wave = _arrays("samples", path, cache)["samples"] if samples else None
    return Sound(mel, empty, kept["voiced"], float(kept["start_s"]), kept["level_db"].astype(np.float32), wave)


def face(path: Path, cache: Path, detector: faces.Detector) -> FaceTrack | None:
    """The largest face of one clip, or None; crops in grey at the branch's own size."""
    kept = _arrays("face", path, cache, lambda: detector)
    return FaceTrack(0, **kept) if kept else None


def voices(rows: Sequence[Row], cache: Path, samples: bool = False) -> list[Sound]:
    """The sounds of many clips, with a progress bar; what is cached is not made again. MediaError names the clip."""
    return _each(rows, "voice features", lambda path: voice(path, cache, samples))


def faces_of(rows: Sequence[Row], cache: Path) -> list[FaceTrack | None]:
    """The largest face of each of many clips, None where there is none; as `voices`."""
    detector = functools.cache(faces.Detector)  # one for all clips, loaded when the first is missing

    def one(path: Path) -> FaceTrack | None:
        kept = _arrays("face", path, cache, detector)
        return FaceTrack(0, **kept) if kept else None

    return _each(rows, "face features", one)


def _each(rows: Sequence[Row], description: str, one: Callable[[Path], T]) -> list[T]:
    made = []
    console = Console(stderr=True, quiet=parallel.rank() > 0)
    for row in progress_bar(rows, description=description, console=console):
        try:
            made.append(one(row.path))
        except MediaError as error:
            raise MediaError(f"{row.path}: {error}") from error
    return made

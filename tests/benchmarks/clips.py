"""The clips that are timed: drawn ones, and real ones where the corpora lie beside the project."""

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from avemo_core import synthetic
from avemo_core.labels import LABELS
from tests import media_files
from tests.conftest import DATA

CORPORA = ("java_sed", "grid")  # short clips of one person who speaks, face and voice


@dataclass(frozen=True)
class Source:
    """A clip and where it comes from: "drawn" or the name of a corpus."""

    path: Path
    origin: str


def drawn(folder: Path, count: int, seconds: float) -> list[Source]:
    """Clips 360 x 360 at 25 fps with sound: each another drawn person, expression and voice."""
    people = sorted(synthetic.PEOPLE)
    out = []
    for k in range(count):
        path = folder / f"drawn_{k}.mp4"
        label = LABELS[k % len(LABELS)]
        synthetic.write_clip(path, label, label, people[k % len(people)], seconds, seed=k)
        out.append(Source(path, "drawn"))
    return out


def real(count: int) -> list[Source]:
    """Up to `count` clips, as many of each corpus, the same ones every time; none where no corpus is."""
    chosen: list[Source] = []
    each = {name: sorted((DATA / name / "clips").glob("*.mp4")) for name in CORPORA}
    for name, paths in each.items():
        random.Random(7).shuffle(paths)
        chosen += [Source(path, name) for path in paths[: (count + 1) // 2]]
    return chosen[:count] if len(chosen) > count else chosen


def talking(folder: Path, count: int, seconds: float) -> list[Source]:
    """`count` clips of one person who speaks: a third drawn, the rest real; all drawn where there are no real ones."""
    there = real(count - max(1, count // 3))
    return [*drawn(folder, count - len(there), seconds), *there]


def of_all_kinds(folder: Path) -> list[Source]:
    """What visitors send besides a talking person: sound alone, no sound, two people, nobody, a picture, a broken file."""
    small = {"seconds": 2.4, "fps": 15, "size": (240, 240)}
    face = synthetic.draw_face(synthetic.PEOPLE["mara"], "happiness", (480, 480))
    paths = [
        folder / name
        for name in ("talk.webm", "voice.wav", "silent.mp4", "nobody.mp4", "two.mp4", "photo.png", "broken.mp4")
    ]
    talk, voice, silent, nobody, two, photo, broken = paths
    synthetic.write_clip(talk, "anger", "anger", "lena", **small)  # type: ignore[arg-type]
    synthetic.write_clip(voice, None, "sadness", seconds=6.0, picture=False)
    synthetic.write_clip(silent, "surprise", None, "kenji", **small)  # type: ignore[arg-type]
    synthetic.write_clip(nobody, None, "fear", **small)  # type: ignore[arg-type]
    synthetic.write_clip(two, "happiness", "happiness", ("mara", "ivan"), **(small | {"size": (480, 240)}))  # type: ignore[arg-type]
    Image.fromarray(face).save(photo)
    broken.write_bytes(b"this is no film" * 100)
    quiet = folder / "silence.wav"
    media_files.write_wav(quiet, np.zeros(48_000, np.float32))
    return [Source(path, "drawn") for path in [*paths, quiet]]


def used(sources: list[Source]) -> str:
    """ "4 drawn, 4 java_sed, 4 grid"."""
    origins = [source.origin for source in sources]
    return ", ".join(f"{origins.count(name)} {name}" for name in dict.fromkeys(origins))

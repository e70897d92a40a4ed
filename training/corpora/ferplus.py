"""FER+: grey 48x48 faces with ten votes each (Barsoum et al. 2016), as parquet files."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from avemo_core.labels import LABELS
from avemo_core.types import AvemoError

# Column order of the votes, then the order used here: the seven of LABELS, then contempt.
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
CLASSES = (*LABELS, "contempt")
SIDE = 48  # pixels
DEV_SHARE = 10  # one row in ten of Training is dev, by a hash of its file name


@dataclass(frozen=True)
class Faces:
    """`pixels` uint8 [n,48,48]; `votes` int [n,8] in the order of CLASSES; `majority` class name [n]; `strict` bool [n]."""

    pixels: np.ndarray
    votes: np.ndarray
    majority: np.ndarray
    agreed: np.ndarray  # votes for the majority
    files: np.ndarray
    strict: np.ndarray  # no exact pixel copy in Training

    def __len__(self) -> int:
        return len(self.files)

    def take(self, keep: np.ndarray) -> "Faces":
        return Faces(*(getattr(self, name)[keep] for name in self.__dataclass_fields__))


COLUMNS = ("image", "usage", "file", "votes", "pixels_also_in_training")


def read(root: Path, usage: str | None = None) -> Faces:
    """All rows of the .parquet files in `root`, or those of one usage (Training, PublicTest).

    Raises:
        FileNotFoundError: there is no such file.
        AvemoError: a file holds something else, or no row has that usage.
    """
    paths = sorted(Path(root).glob("*.parquet"))
    if not paths:
        raise FileNotFoundError(f"No .parquet file in {root}; expected train-0000x-of-00003.parquet or public_test.parquet.")
    rows = [(path, row) for path in paths for row in _table(path, usage)]
    if not rows:
        usages = sorted(
            {str(name) for path in paths for name in pq.read_table(path, columns=["usage"])["usage"].to_pylist()}
        )
        there = f"there are {', '.join(usages)}" if usages else "there are no rows at all"
        raise AvemoError(f"No row of the .parquet files in {root} has the usage {usage!r}; {there}.")
    ten = np.array([row["votes"] for _, row in rows])
    return Faces(
        pixels=np.stack([_pixels(path, row) for path, row in rows]),
        votes=ten[:, [VOTES.index(name) for name in CLASSES]],
        majority=np.array(VOTES)[ten.argmax(1)],  # the first on a tie
        agreed=ten.max(1),
        files=np.array([row["file"] for _, row in rows]),
        strict=np.array([not row["pixels_also_in_training"] for _, row in rows]),
    )


def _table(path: Path, usage: str | None) -> list[dict[str, Any]]:
    """The rows of one file, ten votes each."""
    try:
        columns = pq.read_schema(path).names
        missing = [column for column in COLUMNS if column not in columns]
        if missing:
            needed = ", ".join(COLUMNS)
            raise AvemoError(
                f"{path} lacks the column {', '.join(missing)}; expected {needed} and got {', '.join(columns)}."
            )
        wanted = None if usage is None else [("usage", "=", usage)]
        rows = pq.read_table(path, columns=list(COLUMNS), filters=wanted).to_pylist()
    except pa.ArrowException as error:
        raise AvemoError(f"{path} is not a readable parquet file ({str(error).splitlines()[0]}).") from error
    wrong = [row["file"] for row in rows if row["votes"] is None or len(row["votes"]) != len(VOTES)]
    if wrong:
        raise AvemoError(
            f"{len(wrong)} of {len(rows)} rows of {path} lack their {len(VOTES)} votes; the first is {wrong[0]}."
        )
    return rows


def _pixels(path: Path, row: dict[str, Any]) -> np.ndarray:
    """The picture of a row, uint8 [48,48]."""
    try:
        image = Image.open(io.BytesIO(row["image"])).convert("L")
    except (OSError, TypeError) as error:
        raise AvemoError(f"The picture {row['file']} in {path} cannot be read; expected an encoded image.") from error
    if image.size != (SIDE, SIDE):
        raise AvemoError(f"The picture {row['file']} in {path} is {image.width}x{image.height}; expected {SIDE}x{SIDE}.")
    return np.asarray(image, dtype=np.uint8)


def is_dev(files: np.ndarray) -> np.ndarray:
    """bool [n]: the fixed tenth of Training that chooses settings, by file name, so that it never changes."""
    return np.array([zlib.crc32(str(name).encode()) % DEV_SHARE == 0 for name in files])

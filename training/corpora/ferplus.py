"""FER+: grey 48x48 faces with ten votes each (Barsoum et al. 2016), as parquet files."""

import io
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from avemo_core.labels import LABELS

# Column order of the votes, then the order used here: the seven of LABELS, then contempt.
VOTES = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "NF")
CLASSES = (*LABELS, "contempt")
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


def read(root: Path, usage: str) -> Faces:
    """The rows of one usage (Training, PublicTest). FileNotFoundError says which files were looked for."""
    paths = sorted(Path(root).glob("*.parquet"))
    if not paths:
        raise FileNotFoundError(f"No .parquet file in {root}; expected train-0000x-of-00003.parquet or public_test.parquet.")
    pixels, votes, majority, agreed, files, strict = [], [], [], [], [], []
    for path in paths:
        table = pq.read_table(path)
        for row in table.to_pylist():
            if row["usage"] != usage:
                continue
            image = Image.open(io.BytesIO(row["image"])).convert("L")
            pixels.append(np.asarray(image, dtype=np.uint8))
            ten = np.asarray(row["votes"])
            votes.append([ten[VOTES.index(name)] for name in CLASSES])
            majority.append(row["ferplus_majority"])
            agreed.append(ten.max())
            files.append(row["file"])
            strict.append(not row["pixels_also_in_training"])
    return Faces(*(np.asarray(column) for column in (pixels, votes, majority, agreed, files, strict)))


def joined(parts: list[Faces]) -> Faces:
    """Several parts as one, empty ones forgotten."""
    parts = [part for part in parts if len(part)]
    return Faces(*(np.concatenate([getattr(part, name) for part in parts]) for name in Faces.__dataclass_fields__))


def is_dev(files: np.ndarray) -> np.ndarray:
    """bool [n]: the fixed tenth of Training that chooses settings, by file name, so that it never changes."""
    return np.array([zlib.crc32(str(name).encode()) % DEV_SHARE == 0 for name in files])

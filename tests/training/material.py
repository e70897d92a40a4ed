"""What the tests of training learn from: generated corpora, and a network small enough to train in a test."""

import csv
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image

from avemo_core.labels import LABELS
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.types import Sound
from training import progress
from training.corpora import ferplus
from training.corpora.manifest import Row

TINY = {"voice_widths": [8, 8, 16, 16], "width": 16}  # the face branch stays whole: its stage trains no other
SILENT: Callable[[str], None] = lambda line: None  # noqa: E731 - a value, as `say` takes it


def tiny(classes: int = 7, seed: int = 0) -> AttentionCAM:
    torch.manual_seed(seed)
    return AttentionCAM(classes, **TINY)


def write_manifest(root: Path, rows: list[tuple[str, ...]], columns=("file", "label", "speaker")) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    with (root / "manifest.csv").open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    for name, *_ in rows:
        (root / name).touch()
    return root


def write_pictures(root: Path, count: int, labels: Sequence[str] = ("neutral", "happiness", "anger")) -> Path:
    """`count` faces of noise, brighter for happiness: parquet as FER+ is stored."""
    rng = np.random.default_rng(0)
    rows = []
    for n in range(count):
        label = labels[n % len(labels)]
        pixels = np.clip(rng.normal(90 + 60 * (label == "happiness"), 40, (48, 48)), 0, 255).astype(np.uint8)
        pixels[: 16 * (n % 3)] //= 3
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "WEBP", lossless=True)
        votes = [0] * 10
        votes[ferplus.VOTES.index(label)] += 8
        votes[ferplus.VOTES.index("fear")] += 2
        rows.append(
            {
                "usage": "Training" if n % 10 else "PublicTest",
                "image": stored.getvalue(),
                "votes": votes,
                "ferplus_majority": label,
                "file": f"{n}.png",
                "pixels_also_in_training": n == 10,
            }
        )
    root.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), root / "train.parquet")
    return root


def row(label: str, speaker: str, corpus: str = "acted", file: str = "", split: str = "") -> Row:
    return Row(corpus, Path(file), label, "neutral" if label == "calm" else label, speaker, split, {})


def spoken(columns: int = 60, seed: int = 0) -> Sound:
    """Noise that counts as speech all through."""
    mel = np.random.default_rng(seed).normal(-8, 2, (80, columns)).astype(np.float32)
    return Sound(mel, np.zeros((40, 0), np.float32), np.ones(columns, bool))


def acted(count: int, people: int = 2) -> tuple[list[Row], list[Sound], np.ndarray]:
    """Takes of `people` in turn, each with the next label."""
    rows = [row(LABELS[n % 7], f"p{n % people}", file=f"{n}.wav") for n in range(count)]
    return rows, [spoken(seed=n) for n in range(count)], np.array([n % 7 for n in range(count)])


class Stopped(Exception):  # noqa: N818 - a stop, not an error
    """Raised where a run is stopped."""


def after(count: int) -> Callable[[str], None]:
    """A `say` that stops the run at its count-th line: before that epoch is saved."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == count:
            raise Stopped

    return say


def same_weights(one: Path, other: Path) -> bool:
    """Whether two states of a run hold the same averaged model."""
    first, second = progress.load(one), progress.load(other)
    assert first is not None and second is not None
    return all(torch.equal(first["average"][name], second["average"][name]) for name in first["average"])

"""Faithfulness over many clips: every method, both modalities, each clip's curves, and intervals over people.

A folder has a `manifest.csv` (columns file and speaker) or FER+'s `.parquet` files (columns image, file and usage), whose
pictures are face crops already and of whom nobody is known: there every picture counts as a person.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.stats import bootstrap

from ..analyzer import Analyzer
from ..types import AvemoError, Clip, ClipResult, FaceTrack, VideoStream
from . import faithfulness
from .explanation import settings_of
from .methods import METHODS, method
from .scene import Scene, scene_of, target_of

RESAMPLED = 2000  # draws of people for an interval
# Fewer than for one clip (faithfulness.DRAWS, STEPS): what they leave to chance averages out over clips.
DRAWS, STEPS = 3, 5


@dataclass(frozen=True)
class Item:
    """One clip by its file, or one picture by its pixels, grey uint8 [48,48]."""

    name: str
    person: str
    path: Path | None = None
    pixels: np.ndarray | None = None


def items_of(root: Path, split: str | None = None) -> list[Item]:
    """Every clip of a folder, or of one split or usage. AvemoError where there is none."""
    table = root if root.suffix == ".csv" else root / "manifest.csv"
    if table.is_file():
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.DictReader(file) if split is None or row.get("split") == split]
        if rows and not {"file", "speaker"} <= set(rows[0]):
            raise AvemoError(f"{table} has the columns {', '.join(rows[0])}; it needs file and speaker.")
        found = [Item(row["file"], row["speaker"], table.parent / row["file"]) for row in rows]
    else:
        found = list(_pictures(sorted(root.glob("*.parquet")), split))
    if not found:
        of = f" of the split {split}" if split else ""
        raise AvemoError(f"No clip{of} in {root}; expected a manifest.csv or FER+ .parquet files there.")
    return found


def _pictures(paths: Sequence[Path], usage: str | None) -> Iterator[Item]:
    if not paths:
        return
    import pandas as pd  # comes with Gradio, and takes a second

    for path in paths:
        for row in pd.read_parquet(path, columns=["image", "file", "usage"]).itertuples():
            if usage is None or row.usage == usage:
                stored = row.image["bytes"] if isinstance(row.image, dict) else row.image
                yield Item(row.file, row.file, pixels=np.asarray(Image.open(io.BytesIO(stored)).convert("L")))


def reading_of(analyzer: Analyzer, item: Item) -> ClipResult:
    """The reading of a clip, or of a crop as if a face had been found in it."""
    if item.path is not None:
        return analyzer.analyze(item.path)
    pixels, none = item.pixels, np.zeros((1, 4), np.float32)
    assert pixels is not None
    points, there = np.zeros((1, 5, 2), np.float32), np.ones(1)
    track = FaceTrack(0, np.zeros(1), none, points, pixels[None], there.astype(bool), there)
    clip = Clip(
        item.name,
        Path(item.name),
        0.0,
        "image",
        VideoStream("image", pixels.shape[1], pixels.shape[0], 0.0),
        (),
        is_image=True,
    )
    return analyzer.read(clip, (track,), None)


def heaviest_of(analyzer: Analyzer, item: Item) -> tuple[Scene, str, int]:
    """The window of a clip that weighs most, for the label found likeliest; that label, and which window it is."""
    result = reading_of(analyzer, item)
    names = target_of(result, None)
    heaviest = int(scene_of(analyzer, result, names).share.argmax())
    return scene_of(analyzer, result, names, heaviest), names[0], heaviest


def records(
    analyzer: Analyzer, item: Item, methods: Sequence[str], draws: int = DRAWS, layer: str | None = None
) -> Iterator[dict[str, Any]]:
    """One record a method and modality: curves of the window that weighs most, for the label found likeliest.

    Of a `layer` where the method has any to choose. A map that is the same everywhere has no order, and no curve.
    """
    scene, target, window = heaviest_of(analyzer, item)
    told = {"clip": item.name, "person": item.person, "target": target, "window": window}
    for name, own in zip(methods, settings_of([METHODS[name] for name in methods], layer, None), strict=True):
        found = METHODS[name].maps(scene, **own)
        for modality in faithfulness.MODALITIES:
            maps = getattr(found, modality)
            if maps is None or modality in scene.missing or maps.amax() == maps.amin():
                continue
            drawn = faithfulness.curves(scene, maps, modality, draws, STEPS)
            yield told | {
                "method": name,
                "layer": own.get("layer"),
                "modality": modality,
                "deletion": _points(drawn.deletion[0]),
                "insertion": _points(drawn.insertion[0]),
                "random_deletion": _points(drawn.random_deletion[0].mean(0)),
                "random_insertion": _points(drawn.random_insertion[0].mean(0)),
                "deletion_gain": round(float(drawn.deletion_gain[0]), 5),
                "insertion_gain": round(float(drawn.insertion_gain[0]), 5),
            }


def _points(curve: np.ndarray) -> list[float]:
    return [round(float(point), 5) for point in curve]


def survey(
    analyzer: Analyzer,
    items: Sequence[Item],
    methods: Sequence[str],
    kept: Path,
    draws: int = DRAWS,
    layer: str | None = None,
    progress=lambda done, total: None,
) -> list[dict[str, Any]]:
    """Records of all clips; `kept` gets a line a record, and a run that was stopped goes on there.

    AvemoError where `kept` is of another model, or a method or its layer is unknown.
    """
    settings = settings_of([method(name) for name in methods], layer, None)
    asked = [(name, own.get("layer")) for name, own in zip(methods, settings, strict=True)]
    done = [json.loads(line) for line in kept.read_text(encoding="utf-8").splitlines()] if kept.is_file() else []
    other = sorted({one["model_id"] for one in done} - {analyzer.model_id})
    if other:
        raise AvemoError(f"{kept} holds curves of {', '.join(other)}, this is {analyzer.model_id}; give another file.")
    there = {(one["clip"], one["method"], one["layer"]) for one in done}
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("a", encoding="utf-8") as file:
        for n, item in enumerate(items):
            progress(n, len(items))
            wanted = [name for name, own in asked if (item.name, name, own) not in there]
            if not wanted:
                continue
            found = [one | {"model_id": analyzer.model_id} for one in records(analyzer, item, wanted, draws, layer)]
            file.writelines(json.dumps(one) + "\n" for one in found)
            file.flush()
            done += found
    progress(len(items), len(items))
    return done


def summary(found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """By method, its layer and modality: clips and people, mean gains over random with 95 % intervals over people."""
    out = []
    kinds = dict.fromkeys((one["method"], one["layer"], one["modality"]) for one in found)
    for kind in sorted(kinds, key=lambda kind: (kind[2], kind[0], kind[1] or "")):
        own = [one for one in found if (one["method"], one["layer"], one["modality"]) == kind]
        people = np.array([one["person"] for one in own])
        row: dict[str, Any] = dict(zip(("method", "layer", "modality"), kind, strict=True))
        row |= {"n": len(own), "people": len(set(people))}
        for which in ("deletion", "insertion"):
            gains = np.array([one[f"{which}_gain"] for one in own])
            row[f"{which}_gain"] = float(gains.mean())
            row[f"{which}_interval"] = interval(gains, people)
            row[f"{which}_better"] = float((gains > 0).mean())
        out.append(row)
    return out


def interval(values: np.ndarray, people: np.ndarray) -> tuple[float, float] | None:
    """95 % percentile interval of the mean by bootstrap over people; None of one person, who cannot vary."""
    _, who = np.unique(people, return_inverse=True)
    sums, counts = np.bincount(who, values), np.bincount(who).astype(float)
    if len(counts) < 2:
        return None
    drawn = bootstrap(
        (sums, counts),
        lambda total, many, axis=-1: total.sum(axis) / many.sum(axis),
        n_resamples=RESAMPLED,
        paired=True,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    low, high = drawn.confidence_interval
    return float(low), float(high)

"""Scores a checkpoint on clips it never saw, and prints one JSON object.

    python -m training.evaluate --corpus grid --root DATA/grid --modality both --json

A folder has a manifest.csv, or else parquet files of faces with votes. Clips whose label is not one of the seven are
counted and left out. Speakers never stand in the training and here: that is the caller's promise, and the card names them.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track as progress_bar

from avemo_core import Analyzer
from avemo_core.labels import LABELS, index
from avemo_core.types import AvemoError, MediaError

from . import joint, metrics
from .corpora import ferplus, manifest

GROUPS = ("sex", "age_group", "language")


def clips(analyzer: Analyzer, rows: list[manifest.Row], modality: str) -> dict[str, Any]:
    """Scores of a manifest's clips, each read as a visitor's would be."""
    left_out: dict[str, int] = defaultdict(int)
    kept, probabilities, answered = [], [], []
    for row in progress_bar(rows, description="reading", console=Console(stderr=True)):
        if row.label is None:
            left_out[f"label {row.corpus_label or 'none'}"] += 1
            continue
        try:
            result = analyzer.analyze(row.path)
        except MediaError:
            left_out["unreadable"] += 1
            continue
        reading = getattr(result, modality)
        if not reading.available:
            left_out[str(reading.reason)] += 1
            continue
        # each condition abstains at its own threshold, as the verdict does
        threshold = result.verdict.threshold if modality == "both" else analyzer.calibration.of(modality).threshold
        kept.append(row)
        probabilities.append(reading.probabilities)
        answered.append(reading.probabilities.max() >= threshold)
    if not kept:
        raise ValueError(f"None of {len(rows)} clips could be scored ({dict(left_out)}).")
    truth = np.array([index(row.label or "") for row in kept])
    speakers = np.array([row.speaker for row in kept])
    p, a = np.array(probabilities), np.array(answered)
    groups: dict[str, Any] = {}
    for column in GROUPS:
        values = np.array([row.extra.get(column, "") for row in kept])
        for value in np.unique(values[values != ""]):
            here = values == value
            groups[f"{column}={value}"] = {"n": int(here.sum()), "uar": metrics.uar(truth[here], p[here].argmax(1))}
    return metrics.report(p, truth, speakers, a) | {"groups": groups, "left_out": dict(left_out)}


def pictures(analyzer: Analyzer, root: Path, split: str | None, strict: bool) -> dict[str, Any]:
    """Scores of FER+ pictures by majority of at least five votes, seven classes; every picture counts as a person."""
    usages = [split] if split else ["PublicTest", "PrivateTest"]  # Training only where it is asked for by name
    rows = ferplus.joined([ferplus.read(root, usage) for usage in usages])
    known = np.isin(rows.majority, LABELS)
    keep = known & (rows.agreed >= 5)
    left_out = {"unknown, NF or contempt": int((~known).sum()), "under five votes": int((known & ~keep).sum())}
    if strict:
        left_out["pixels also in training"] = int((keep & ~rows.strict).sum())
        keep &= rows.strict
    rows = rows.take(keep)
    if not len(rows):
        raise ValueError(f"No picture in {root} has a majority of at least five votes for one of the seven labels.")
    model = analyzer.model
    mirrored = [joint.face_tokens(model, p) for p in (rows.pixels, rows.pixels[:, :, ::-1].copy())]
    with torch.inference_mode():
        logits = torch.stack([joint.still_logits(model, tokens) for tokens in mirrored]).mean(0).numpy()
    condition = analyzer.calibration.face
    probabilities = condition.probabilities(logits)
    truth = np.array([index(str(label)) for label in rows.majority])
    answered = probabilities.max(1) >= condition.threshold
    return metrics.report(probabilities, truth, rows.files, answered) | {"groups": {}, "left_out": left_out}


def evaluate(
    checkpoint: str, corpus: str, root: Path, split: str | None = None, modality: str = "both", strict: bool = False
) -> dict[str, Any]:
    """One corpus under one checkpoint; FileNotFoundError or ValueError say what is missing."""
    analyzer = Analyzer(checkpoint, device="cpu")
    head = {"corpus": corpus, "split": split, "checkpoint": analyzer.model_id}
    if (root / "manifest.csv").exists():
        rows = [row for row in manifest.read(root, corpus) if split is None or row.split == split]
        if not rows:
            raise ValueError(f"No row of {root / 'manifest.csv'} has the split {split!r}.")
        return head | {"modality": modality} | clips(analyzer, rows, modality)
    return head | {"modality": "face", "strict": strict} | pictures(analyzer, root, split, strict)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description=__doc__)
    parser.add_argument("--checkpoint", default="default", help="a .safetensors file, or default")
    parser.add_argument("--corpus", default="manifest", help="a name for the report")
    parser.add_argument("--root", type=Path, required=True, help="folder with manifest.csv or parquet files")
    parser.add_argument("--split", help="only rows of this fold, or this FER+ usage")
    parser.add_argument("--modality", choices=("face", "voice", "both"), default="both")
    parser.add_argument("--strict", action="store_true", help="leave out pictures whose pixels stand in the training too")
    parser.add_argument("--json", action="store_true", help="the whole report; otherwise one line")
    args = parser.parse_args(argv)
    try:
        found = evaluate(args.checkpoint, args.corpus, args.root, args.split, args.modality, args.strict)
    except (AvemoError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if args.json:
        print(json.dumps(found, indent=2))
    else:
        low, high = found["intervals"]["uar"]
        print(f"{args.corpus} {found['modality']}: n {found['n']}, accuracy {found['accuracy']:.3f}, "
              f"UAR {found['uar']:.3f} (95 % {low:.3f} to {high:.3f}), ECE {found['ece']:.3f}")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())

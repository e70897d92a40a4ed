"""Scores a checkpoint on clips it never saw, and prints one JSON object.

    python -m training.evaluate --corpus ravdess --root DATA/ravdess --modality voice --baseline neutral --json

A folder has a manifest.csv, or else parquet files of faces with votes. Of several manifests in a folder only manifest.csv is
read; --root takes another by name (EmoDB at full length: DATA/emodb/manifest_full.csv). Clips whose label is not one of the
seven are counted and left out. That nobody stands in the training and here is the caller's promise.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track as progress_bar

from avemo_core import Analyzer
from avemo_core.labels import LABELS, index
from avemo_core.types import AvemoError, ClipResult, MediaError
from avemo_core.verdict import condition_of

from . import enrolment, joint, metrics
from .corpora import ferplus, manifest
from .corpora.manifest import Row

GROUPS = ("sex", "sex_by_appearance", "age_group", "language")


def say(line: str) -> None:
    """Progress and remarks; stdout is the report's."""
    print(line, file=sys.stderr)


# ---------------------------------------------------------------- clips


@dataclass
class Plan:
    """What is read: clips to score, clips to learn each person from, and how many clips are left out and why."""

    scored: list[Row]
    learned: dict[str, list[Row]] = field(default_factory=dict)
    left_out: Counter[str] = field(default_factory=Counter)
    people_left_out: int = 0


def plan(rows: list[Row], baseline: str) -> Plan:
    """Which clips a person's baseline is learned from and which are scored, by enrolment.draw; the rest is counted."""
    found = Plan([])
    for person in enrolment.draw(rows, baseline):
        if person.lacks:
            found.people_left_out += 1
            found.left_out[person.lacks] += len(person.learned) + len(person.scored)
            continue
        if person.learned:
            found.learned[person.speaker] = [rows[n] for n in person.learned]
        if baseline != "unlabelled":
            found.left_out["learned from, never scored"] += len(person.learned)
        for row in (rows[n] for n in person.scored):
            if row.label is None:
                found.left_out[f"label {row.corpus_label}" if row.corpus_label else "no label"] += 1
            else:
                found.scored.append(row)
    return found


def learn(analyzer: Any, found: Plan, neutral: bool) -> dict[str, Any]:
    """Baseline of each person. Where nothing can be learned, the person's clips leave `found`, counted."""
    baselines = {}
    for speaker, clips in _progress(list(found.learned.items()), "learning people"):
        try:
            baselines[speaker] = analyzer.learn([row.path for row in clips], neutral=neutral)
        except AvemoError as error:
            say(f"{speaker} is left out: {error}")
            found.people_left_out += 1
            out = [row for row in found.scored if row.speaker == speaker]
            found.scored = [row for row in found.scored if row.speaker != speaker]
            found.left_out["person whom nothing could be learned from"] += len(out)
    return baselines


def clips(analyzer: Any, rows: list[Row], modality: str, baseline: str = "none") -> dict[str, Any]:
    """Scores of a manifest's clips, each read as a visitor's would be; with a baseline also without it, and the gain."""
    found = plan(rows, baseline)
    baselines = learn(analyzer, found, neutral=baseline == "neutral") if baseline != "none" else {}
    kept: list[Row] = []
    read_as: Counter[str] = Counter()
    read: dict[str, list[tuple[np.ndarray, bool]]] = {"none": [], baseline: []}
    for row in _progress(found.scored, "reading"):
        try:
            results = {"none": analyzer.analyze(row.path)}
            if baseline != "none":
                results[baseline] = analyzer.analyze(row.path, baseline=baselines[row.speaker])
        except MediaError:
            found.left_out["unreadable"] += 1
            continue
        readings = [getattr(result, modality) for result in results.values()]
        absent = next((reading for reading in readings if not reading.available), None)
        if absent is not None:
            found.left_out[str(absent.reason)] += 1
            continue
        kept.append(row)
        read_as[condition_of(results["none"].face, results["none"].voice) if modality == "both" else modality] += 1
        for name, result in results.items():
            read[name].append(_answer(analyzer, result, modality))
    left_out = {why: count for why, count in found.left_out.items() if count}
    if not kept:
        raise AvemoError(f"None of {len(rows)} clips could be scored ({_counts(left_out)}).")
    truth = np.array([index(row.label or "") for row in kept])
    speakers = np.array([row.speaker for row in kept])
    columns = {name: np.array([row.extra.get(name, "").lower() for row in kept]) for name in GROUPS}
    reports, said = {}, {}
    for name, answers in read.items():
        probabilities, answered = (np.array(column) for column in zip(*answers, strict=True))
        said[name] = probabilities.argmax(1)
        reports[name] = metrics.report(probabilities, truth, speakers, answered)
        reports[name]["groups"] = metrics.by_group(columns, truth, said[name], speakers)
    out = {**reports[baseline], "read_as": dict(read_as), "left_out": left_out}
    if baseline == "none":
        return out
    return out | {
        "people_left_out": found.people_left_out,
        "none": reports["none"],
        "gain": metrics.gain(truth, said[baseline], said["none"], speakers),
    }


def _answer(analyzer: Any, result: ClipResult, modality: str) -> tuple[np.ndarray, bool]:
    """Probabilities [7], and whether they reach the threshold of what was read."""
    reading = getattr(result, modality)
    threshold = result.verdict.threshold if modality == "both" else analyzer.calibration.of(modality).threshold
    return reading.probabilities, bool(reading.probabilities.max() >= threshold)


def _progress(items: Sequence[Any], what: str) -> Any:
    return progress_bar(items, description=what, console=Console(stderr=True))


def _counts(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{why}: {count}" for why, count in left_out.items())


# ---------------------------------------------------------------- pictures


def pictures(analyzer: Any, root: Path, usage: str | None = None, strict: bool = False) -> dict[str, Any]:
    """Scores of FER+ pictures by majority of at least five votes, seven classes. Who is in them is not known."""
    rows = ferplus.read(root, usage)
    known = np.isin(rows.majority, LABELS)
    agreed = known & (rows.agreed >= 5)
    left_out = {f"label {name}": int((rows.majority == name).sum()) for name in np.unique(rows.majority[~known])}
    left_out["under five votes"] = int((known & ~agreed).sum())
    if strict:
        left_out["pixels also in training"] = int((agreed & ~rows.strict).sum())
        agreed &= rows.strict
    total, rows = len(rows), rows.take(agreed)
    if not len(rows):
        raise AvemoError(f"None of {total} pictures in {root} could be scored ({_counts(left_out)}).")
    condition = analyzer.calibration.still
    probabilities = condition.probabilities(picture_logits(analyzer.model, rows.pixels))
    truth = np.array([index(str(label)) for label in rows.majority])
    report = metrics.report(probabilities, truth, np.arange(len(rows)), probabilities.max(1) >= condition.threshold)
    return report | {"speakers": None, "groups": {}, "left_out": left_out}


def picture_logits(model: Any, pixels: np.ndarray) -> np.ndarray:
    """Grey faces uint8 [n,48,48] -> uncalibrated logits [n,7] by face alone, the mean over each picture and its mirror."""
    with torch.inference_mode():
        tokens = [joint.face_tokens(model, view) for view in (pixels, pixels[:, :, ::-1].copy())]
        return torch.stack([joint.still_logits(model, view) for view in tokens]).mean(0).numpy()


# ---------------------------------------------------------------- a folder


def evaluate(
    analyzer: Any,
    root: Path,
    corpus: str = "manifest",
    split: str | None = None,
    modality: str = "both",
    baseline: str = "none",
    strict: bool = False,
) -> dict[str, Any]:
    """One corpus read by one Analyzer (on the CPU).

    Raises:
        FileNotFoundError: the folder, or files named in its manifest, are not there.
        AvemoError: nothing in it can be scored as asked; the text says why.
    """
    table = manifest.find(root)
    head = {"corpus": corpus, "checkpoint": analyzer.model_id, "split": split}
    if table.is_file():
        rows = split_of(table, manifest.read(table, corpus), split)
        others = sorted(path.name for path in table.parent.glob("manifest*.csv") if path != table)
        if others:
            say(f"{table.name} is read, {', '.join(others)} is not; name that file as --root to read it instead.")
        head |= {
            "manifest": table.name,
            "modality": modality,
            "baseline": baseline,
            "protocol": enrolment.PROTOCOLS[baseline],
        }
        return head | clips(analyzer, rows, modality, baseline)
    if not root.is_dir():
        raise FileNotFoundError(f"No folder {root}; give one with a manifest.csv or .parquet files as --root.")
    if not any(root.glob("*.parquet")):
        raise FileNotFoundError(f"No manifest.csv and no .parquet file in {root}; --root is the folder of one corpus.")
    if modality == "voice":
        raise AvemoError(f"The .parquet files in {root} hold faces and no voice; leave --modality out or choose face.")
    if baseline != "none":
        raise AvemoError(f"The .parquet files in {root} do not say who is in a picture; --baseline needs people.")
    head |= {"modality": "face", "baseline": baseline, "protocol": enrolment.PROTOCOLS[baseline], "strict": strict}
    return head | pictures(analyzer, root, split, strict)


def split_of(table: Path, rows: list[Row], split: str | None) -> list[Row]:
    """The rows of one split, or all; AvemoError names the splits there are."""
    found = [row for row in rows if split in (None, row.split)]
    if not found:
        there = sorted({row.split for row in rows if row.split})
        known = f"it has {', '.join(there)}" if there else "it names no splits, so leave --split out"
        raise AvemoError(f"No row of {table} has the split {split!r}; {known}.")
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 2 with one sentence on stderr where the input is bad; only the report goes to stdout."""
    parser = argparse.ArgumentParser(
        prog="python -m training.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", default="default", help="a .safetensors file, or default")
    parser.add_argument("--corpus", default="manifest", help="a name for the report")
    parser.add_argument("--root", type=Path, required=True, help="folder with manifest.csv or .parquet files, or a manifest")
    parser.add_argument("--split", help="only rows of this fold, or of this FER+ usage; all rows where not given")
    parser.add_argument("--modality", choices=("face", "voice", "both"), default="both")
    parser.add_argument(
        "--baseline", choices=tuple(enrolment.PROTOCOLS), default="none", help="what each person is learned from"
    )
    parser.add_argument("--strict", action="store_true", help="leave out pictures whose pixels stand in the training too")
    parser.add_argument("--json", action="store_true", help="the whole report; otherwise one line")
    args = parser.parse_args(argv)
    try:
        analyzer = Analyzer(args.checkpoint, device="cpu")
        found = evaluate(analyzer, args.root, args.corpus, args.split, args.modality, args.baseline, args.strict)
    except (AvemoError, OSError) as error:
        say(str(error))
        return 2
    print(json.dumps(found, indent=2, allow_nan=False) if args.json else _line(found))
    return 0


def _line(found: dict[str, Any]) -> str:
    between = found["intervals"]["uar"]
    sure = f" (95 % {between[0]:.3f} to {between[1]:.3f})" if between else ""
    return (
        f"{found['corpus']} {found['modality']}: n {found['n']}, accuracy {found['accuracy']:.3f}, "
        f"UAR {found['uar']:.3f}{sure}, ECE {found['ece']:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())

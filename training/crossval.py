"""Trains the whole recipe again in every fold and scores people that it never saw; prints one JSON object.

    python -m training.crossval --corpus ravdess --root DATA --folds split --classes 8 --modality voice --json

DATA holds one folder a corpus, or is the corpus's own folder beside the others. Folds: `speaker` leaves one person out at a
time, `split` follows the manifest's column, `corpus` leaves the whole corpus out. Beside the scores stand the per-clip
predictions and the training speakers of every fold, in --results. A stopped run goes on where it was.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track as progress_bar

from avemo_core import Analyzer
from avemo_core.baseline import Baseline
from avemo_core.calibration import CONDITIONS
from avemo_core.device import device_of
from avemo_core.labels import LABELS

from . import calibrate, child, enrolment, evaluate, metrics, progress, protocol
from .calibrate import Clip
from .recipe import DEFAULT, EIGHT, Corpora, learn

KINDS = ("none", "neutral", "enrolled", "unlabelled", "one emotion", "child")


def folds_of(corpora: Corpora, corpus: str, how: str) -> dict[str, set[str]]:
    """Test speakers of each fold. ValueError where a speaker stands in two splits."""
    rows = [row for row in corpora.rows if row.corpus == corpus]
    if how == "corpus":
        return {"all": {row.speaker for row in rows}}
    folds: dict[str, set[str]] = {}
    for row in rows:
        folds.setdefault(row.speaker if how == "speaker" else row.split, set()).add(row.speaker)
    protocol.assert_disjoint({f"split {name}": speakers for name, speakers in folds.items()})
    return dict(sorted(folds.items()))


def left_out(corpus: str, how: str) -> tuple[str, ...]:
    """The corpora that teach nothing in the folds of `corpus`."""
    return protocol.family(corpus) if how == "corpus" else ()


def parts_of(corpora: Corpora, corpus: str, test: set[str], how: str) -> tuple[set[str], set[str]]:
    """Training and dev speakers of the fold that tests `test`."""
    without = left_out(corpus, how)
    people: dict[str, set[str]] = {name: set() for name in protocol.VOICE_CORPORA if name not in without}
    for row in corpora.rows:
        if row.corpus not in without:
            people[row.corpus].add(row.speaker)
    dev = protocol.fold_dev(people, corpus, test)
    return set().union(*people.values()) - test - dev, dev


def enrolments(analyzer: Analyzer, clips: Sequence[Clip], strangers, kind: str) -> list[tuple[Baseline, list[int]]]:
    """Baselines and the clips to score by each, as enrolment.draw has it.

    `one emotion` is the same as `unlabelled`, as if the person had only the clips of one emotion, so that nothing but the
    emotion is usual for them. Clips without face and speech neither enrol nor are scored.
    """
    usable = [n for n in range(len(clips)) if strangers[n].traces]
    out = []
    for person in enrolment.draw([clips[n].row for n in usable], "unlabelled" if kind == "one emotion" else kind):
        learned, scored = ([usable[n] for n in part] for part in (person.learned, person.scored))
        parts = [(learned, scored)]
        if kind == "one emotion":
            alike = [[n for n in scored if clips[n].truth == k] for k in sorted({clips[n].truth for n in scored})]
            parts = [(same, same) for same in alike]
        if not person.lacks:
            out += [(analyzer.learn([strangers[n] for n in one], kind == "neutral"), rest) for one, rest in parts if rest]
    return out


def predictions(analyzer: Analyzer, clips: Sequence[Clip], names: Sequence[str], kinds: Sequence[str]) -> pd.DataFrame:
    """One row a clip, condition and kind of baseline: speaker, truth, whether answered, and the probabilities."""
    console = Console(stderr=True)
    rows: list[dict[str, Any]] = []

    def keep(kind: str, clip: Clip, result, calibration) -> None:
        for condition in CONDITIONS:
            reading = getattr(result, condition)
            if not reading.available or (condition != "voice" and not result.face.available):
                continue
            p = reading.probabilities
            rows.append(
                {
                    "baseline": kind,
                    "condition": condition,
                    "file": f"{clip.row.path.name}",
                    "speaker": clip.row.speaker,
                    "truth": names[clip.truth],
                    **{name: clip.row.extra[name].lower() for name in evaluate.GROUPS if clip.row.extra.get(name)},
                    "answered": bool(p.max() >= calibration.of(condition).threshold),
                }
                | {name: round(float(x), 5) for name, x in zip(names, p, strict=True)}
            )

    strangers = [calibrate.read(analyzer, clip) for clip in progress_bar(clips, "none", console=console)]
    for clip, result in zip(clips, strangers, strict=True):
        keep("none", clip, result, analyzer.calibration)
    for kind in kinds:
        if kind in ("none", "child"):
            continue
        for baseline, scored in progress_bar(enrolments(analyzer, clips, strangers, kind), kind, console=console):
            for n in scored:
                known = analyzer.calibration.with_baseline(baseline.known())
                keep(kind, clips[n], calibrate.read(analyzer, clips[n], baseline), known)
    if "child" in kinds:
        for clip in progress_bar(clips, "child", console=console):
            copy = replace(clip, sound=child.voice(clip.row.path))
            keep("child", clip, calibrate.read(analyzer, copy), analyzer.calibration)
    return pd.DataFrame(rows)


def summary(table: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """Scores by kind of baseline and condition, those of `none` on the same clips beside each, and the gains."""
    out: dict[str, Any] = {}
    plain = table[table.baseline == "none"].set_index(["condition", "file"])
    for (kind, condition), part in table.groupby(["baseline", "condition"], sort=False):
        out.setdefault(kind, {})[condition] = _report(part, names) | {"groups": _groups(part, names)}
        if kind != "none":
            same = plain.loc[condition].loc[part.file].reset_index()
            out[kind][condition]["none"] = _report(same, names)
            out[kind][condition]["gain"] = _gain(part, same, names)
    conditions = set(table.condition)
    for kind in out:
        for alone in ("face", "voice"):
            if {"both", alone} <= conditions:
                by = {c: table[(table.baseline == kind) & (table.condition == c)].set_index("file") for c in ("both", alone)}
                files = by["both"].index.intersection(by[alone].index)
                both, one = (by[c].loc[files].reset_index() for c in ("both", alone))
                out[kind]["both"][f"gain over {alone}"] = _gain(both, one, names)
    return out


def _arrays(part: pd.DataFrame, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return part[list(names)].to_numpy(), np.array([names.index(t) for t in part.truth]), part.speaker.to_numpy()


def _groups(part: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """Scores by each value of the manifest's columns on sex, age group and language."""
    probabilities, truth, speakers = _arrays(part, names)
    values = {name: part[name].fillna("").to_numpy(str) for name in evaluate.GROUPS if name in part}
    return metrics.by_group(values, truth, probabilities.argmax(1), speakers)


def _gain(part: pd.DataFrame, over: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    """Scores of `part` less those of `over`: the same clips in the same order, read in another way."""
    said, truth, speakers = _arrays(part, names)
    return metrics.gain(truth, said.argmax(1), _arrays(over, names)[0].argmax(1), speakers)


def _report(part: pd.DataFrame, names: tuple[str, ...]) -> dict[str, Any]:
    return metrics.report(*_arrays(part, names), part.answered.to_numpy(bool), classes=names)


def crossval(
    corpus: str,
    root: Path,
    how: str,
    names: tuple[str, ...],
    kinds: Sequence[str],
    runs: Path,
    results: Path,
    seed: int = 1,
    only: Sequence[str] | None = None,
    say=print,
    device: torch.device | str = "cpu",
) -> dict[str, Any]:
    """Every fold trained and scored, or those named in `only`; folds that are there already are not done again."""
    corpora = Corpora.read(root, runs / "cache")
    folds = folds_of(corpora, corpus, how)
    unknown = sorted(set(only or ()) - set(folds))
    if unknown:
        raise ValueError(f"No fold {', '.join(unknown)} in {corpus} by {how}; it has {', '.join(folds)}.")
    labels = corpora.labels(names)
    folder = results / f"{corpus}-{how}-{len(names)}" / (f"seed{seed}" if seed != 1 else "")
    folder.mkdir(parents=True, exist_ok=True)
    tables, training = [], {}
    for name, test in folds.items():
        path = folder / f"{name}.csv"
        if not path.exists():
            if only and name not in only:
                continue
            train, dev = parts_of(corpora, corpus, test, how)
            say(f"fold {name}: {len(train)} people train, {len(dev)} dev, {len(test)} test")
            model, fitted, _ = learn(
                corpora, train, dev, runs, names, DEFAULT.seeded(seed), left_out(corpus, how), say, device
            )
            chosen = [i for i, row in enumerate(corpora.rows) if row.corpus == corpus and row.speaker in test]
            clips = [Clip(corpora.rows[i], int(labels[i]), corpora.sounds[i], corpora.tracks[i]) for i in chosen]
            table = predictions(calibrate.reader(model, fitted), clips, names, kinds)
            parts = {"train": sorted(train), "dev": sorted(dev), "test": sorted(test)}
            progress.write(folder / f"{name}.json", json.dumps(parts).encode())
            progress.write(path, table.to_csv(index=False).encode())  # the fold is done once this is there, whole
        training[name] = json.loads((folder / f"{name}.json").read_text())
        tables.append(pd.read_csv(path).assign(fold=name))
    report = summary(pd.concat(tables), names)
    return {"corpus": corpus, "folds": how, "classes": list(names), "seed": seed, "done": list(training)} | {
        "scores": report
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.crossval", description=__doc__)
    parser.add_argument("--corpus", required=True, choices=protocol.VOICE_CORPORA)
    parser.add_argument("--root", type=Path, required=True, help="folder with one folder a corpus, or the corpus's own")
    parser.add_argument("--folds", choices=("speaker", "split", "corpus"), required=True)
    parser.add_argument("--classes", type=int, choices=(7, 8), default=7, help="8: calm apart from neutral")
    parser.add_argument("--modality", choices=CONDITIONS, help="print the scores of this one only")
    parser.add_argument("--baseline", nargs="+", choices=KINDS, default=KINDS, help="kinds of personal baseline to score")
    parser.add_argument("--seeds", type=int, default=1, help="how many times to train, with seeds 1, 2, ...")
    parser.add_argument("--only", nargs="+", help="only these folds; the others are left for another run")
    parser.add_argument("--out", type=Path, default=Path("runs"), help="features and states of the stages")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--device", default="auto", help="where to train: cpu, cuda or auto (default)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    parser.add_argument("--json", action="store_true", help="the whole report; otherwise a table")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    root = args.root.parent if (args.root / "manifest.csv").exists() else args.root
    names = EIGHT if args.classes == 8 else LABELS

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    try:
        device = device_of(args.device)
        found = [
            crossval(
                args.corpus, root, args.folds, names, args.baseline, args.out, args.results, seed, args.only, say, device
            )
            for seed in range(1, args.seeds + 1)
        ]
    except (FileNotFoundError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for one in found:
        if args.modality:
            one["scores"] = {kind: {args.modality: by[args.modality]} for kind, by in one["scores"].items()}
        if not args.json:
            for kind, by in one["scores"].items():
                for condition, report in by.items():
                    low, high = report["intervals"]["uar"] or (float("nan"), float("nan"))
                    print(
                        f"{args.corpus} {kind:12} {condition:6} n {report['n']:5} accuracy {report['accuracy']:.3f} UAR "
                        f"{report['uar']:.3f} (95 % {low:.3f} to {high:.3f}) excess ECE {report['ece_excess']:.3f}"
                    )
    if args.json:
        print(json.dumps(found[0] if len(found) == 1 else found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())

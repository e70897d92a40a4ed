"""Writes the measured parts of MODEL_CARD.md from the checkpoint and from what the two commands of evaluation left behind.

    python -m training.card

training/results holds the predictions of every fold, one folder a cross-validation, and the reports that
`python -m training.evaluate --json` printed. A part stands between <!-- NAME --> and <!-- /NAME --> in the card; the text
around the parts is written by hand.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pandas as pd
import torch

from avemo_core import checkpoint
from avemo_core.calibration import CONDITIONS
from avemo_core.model.attention_cam import AttentionCAM

from . import crossval
from .recipe import EIGHT

CARD = Path(__file__).parents[1] / "MODEL_CARD.md"
RESULTS = Path(__file__).parent / "results"
FOLDS = 5  # of RAVDESS
WORST = 5  # confusions of each corpus that are named
Report = dict[str, Any]


def read_folds(folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Scores by kind of baseline and condition over all folds in `folder`, and the names of these folds."""
    paths = sorted(folder.glob("*.csv"))
    if not paths:
        raise FileNotFoundError(f"{folder} holds no fold; run python -m training.crossval first.")
    table = pd.concat([pd.read_csv(path) for path in paths])
    return crossval.summary(table, tuple(name for name in EIGHT if name in table)), [path.stem for path in paths]


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def scored(report: Report, name: str) -> str:
    """ "64.9 (58.3 to 71.4)": a score and its interval."""
    interval = report["intervals"][name]
    return percent(report[name]) + (f" ({percent(interval[0])} to {percent(interval[1])})" if interval else "")


def against(value: float, aim: float, floor: float) -> str:
    """What a score came to; where less is better, all three are given with a minus."""
    return "aim met" if value >= aim else "floor met" if value >= floor else "**falls short**"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


# ---------------------------------------------------------------- the table of targets


def targets(faces: Report, strict: Report, eight: Report, grid: dict[str, Report], folds: dict[str, Any]) -> str:
    """Everything that was aimed at, what was measured, and what it came to."""
    rows: list[tuple[object, ...]] = []

    def score(what: str, report: Report, name: str, aim: float, floor: float) -> None:
        found = against(report[name], aim / 100, floor / 100)
        rows.append((what, report["n"], scored(report, name), f"{aim:g}", f"{floor:g}", found))

    score("face, FER+ PublicTest, 7 classes: accuracy", faces, "accuracy", 90.5, 88)
    score("the same: UAR", faces, "uar", 82, 76)
    both = f"{scored(strict, 'accuracy')} / {scored(strict, 'uar')}"
    rows.append(
        ("the same without pixel copies of training pictures: accuracy / UAR", strict["n"], both, "", "", "reported")
    )
    found = against(eight["accuracy"], 0.90, 0.875)
    what = "the face stage's own eight-class head, PublicTest: accuracy"
    rows.append((what, eight["n"], percent(eight["accuracy"]), "90", "87.5", found))
    voices, done = folds["ravdess"]
    only = "" if len(done) == FOLDS else f" (folds {', '.join(done)} of 0 to {FOLDS - 1} only)"
    score(f"voice, RAVDESS, 8 classes, 5 folds by actor{only}: UAR", voices["none"]["voice"], "uar", 72, 60)
    score("the same with an unlabelled baseline", voices["unlabelled"]["voice"], "uar", 78, 68)
    java, without = folds["java_sed"][0], folds["without"][0]
    score("face and voice, Java-SED, 6 classes: accuracy", java["none"]["both"], "accuracy", 75, 62)
    score("the same with an unlabelled baseline (transductive)", java["unlabelled"]["both"], "accuracy", 85, 75)
    three = java["neutral"]["both"]
    same = percent(three["none"]["accuracy"])
    score(f"the same with three neutral clips as baseline (none on the same clips: {same})", three, "accuracy", 80, 70)
    score("face and voice, no Java-SED clip in training: accuracy", without["none"]["both"], "accuracy", 50, 40)
    score("the same with an unlabelled baseline", without["unlabelled"]["both"], "accuracy", 68, 55)
    for other in ("face", "voice"):
        gain = java["none"]["both"][f"gain over {other}"]
        low, high = (100 * end for end in gain["intervals"]["accuracy"])
        found = "aim met" if low > 0 else against(gain["accuracy"], 1, 1e-9)
        shown = f"{100 * gain['accuracy']:+.1f} ({low:+.1f} to {high:+.1f})"
        n = java["none"]["both"]["n"]
        rows.append((f"Java-SED: both over {other} alone, points", n, shown, "excludes 0", "above 0", found))
    for modality in ("face", "both"):
        right, n = round(grid[modality]["accuracy"] * grid[modality]["n"]), grid[modality]["n"]
        what = f"neutral talk reads neutral, GRID, by {modality}"
        rows.append((what, n, f"{right} of {n}", "27", "26", against(right, 27, 26)))
    right, n = round(grid["voice"]["accuracy"] * grid["voice"]["n"]), grid["voice"]["n"]
    rows.append(("the same by voice alone", n, f"{right} of {n}", "", "", "reported"))
    readings = {"face, PublicTest": faces} | {f"{name}, Java-SED": java["none"][name] for name in CONDITIONS}
    for name, report in readings.items():
        found = against(-report["ece_excess"], -0.03, -0.05)
        what = f"ECE over a perfect predictor's, {name}"
        rows.append((what, report["n"], f"{report['ece_excess']:.3f}", "0.03", "0.05", found))
    share = (1 - faces["accuracy_at_60"]) / (1 - faces["accuracy"])
    what = "60 % coverage, face, PublicTest: error of the answered against all"
    rows.append((what, faces["n"], f"{share:.2f} of it", "half", "three quarters", against(-share, -0.5, -0.75)))
    for name in ("voice", "both"):
        report = java["none"][name]
        more = report["accuracy_at_60"] - report["accuracy"]
        what = f"60 % coverage, {name}, Java-SED: accuracy of the answered over all, points"
        rows.append((what, report["n"], f"{100 * more:+.1f}", "+12", "+6", against(more, 0.12, 0.06)))
    child = java["child"]["voice"]
    drop = child["none"]["uar"] - child["uar"]
    what = "child-shifted copies of the test voices, Java-SED: drop in UAR, points"
    rows.append((what, child["n"], f"{100 * drop:.1f}", "2", "5", against(-drop, -0.02, -0.05)))
    for name in CONDITIONS:
        alike = java["one emotion"][name]
        cost = alike["none"]["accuracy"] - alike["accuracy"]
        what = f"a baseline of clips of one emotion only, {name}, Java-SED: cost, points"
        rows.append((what, alike["n"], f"{100 * cost:.1f}", "", "at most 3", against(-cost, 1, -0.03)))
    return table(("what", "n", "measured", "aim", "not below", ""), rows)


# ---------------------------------------------------------------- the other parts


def by_baseline(title: str, scores: dict[str, Any]) -> str:
    """Accuracy of every kind of baseline and condition; UAR is the same where a person has as many clips of each class."""
    rows = [
        (kind, by["both"]["n"], *(scored(by[name], "accuracy") for name in CONDITIONS if name in by))
        for kind, by in scores.items()
    ]
    return table((title, "n", *CONDITIONS), rows)


def left_out(results: Path) -> str:
    """UAR by voice of every corpus that a model was trained without."""
    rows = []
    for folder in sorted(results.glob("*-corpus-7")):
        scores = read_folds(folder)[0]
        cells = (scored(scores[kind]["voice"], "uar") if kind in scores else "" for kind in ("none", "unlabelled"))
        rows.append((folder.name.removesuffix("-corpus-7"), scores["none"]["voice"]["n"], *cells))
    return table(("voice corpus left out, UAR by voice", "n", "none", "unlabelled baseline"), rows)


def confusions(of: str, report: Report) -> str:
    """The WORST confusions, as shares of the clips of their class."""
    labels, counts = report["confusion"]["labels"], report["confusion"]["rows_truth"]
    pairs = [
        (counts[i][k] / sum(counts[i]), f"{labels[i]} read as {labels[k]} ({counts[i][k]} of {sum(counts[i])})")
        for i in range(len(labels))
        for k in range(len(labels))
        if i != k and counts[i][k]
    ]
    return f"- Worst confusions, {of}: " + "; ".join(text for _, text in sorted(pairs, reverse=True)[:WORST]) + "."


def dev_people(dev: dict[str, Any]) -> str:
    rows = []
    for condition, corpora in dev["none"].items():
        for name, report in corpora.items():
            known = dev["unlabelled"][condition].get(name)
            shown = "" if known is None or name == "ferplus" else percent(known["uar"])
            rows.append((f"{condition}, {name}", report["n"], percent(report["uar"]), shown))
    return table(("dev people, UAR", "n", "none", "unlabelled baseline"), rows)


def parts(results: Path = RESULTS, shipped: Path = checkpoint.DEFAULT) -> dict[str, str]:
    """The measured parts by name. FileNotFoundError names the result that is not there."""

    def report(name: str) -> Report:
        path = results / f"{name}.json"
        if not path.is_file():
            raise FileNotFoundError(f"{path} is not there; python -m training.evaluate --json prints it.")
        return json.loads(path.read_text())

    loaded = checkpoint.load(shipped)
    head, calibration = cast(AttentionCAM, loaded.model).head, loaded.calibration
    kappa, by_neutral = (cast(torch.Tensor, one).tolist() for one in (head.kappa, head.kappa_neutral))
    faces, grid = report("ferplus"), {name: report(f"grid-{name}") for name in CONDITIONS}
    stale = sorted({one["checkpoint"] for one in (faces, *grid.values())} - {loaded.model_id})
    if stale:
        raise ValueError(f"Some reports are of {', '.join(stale)}, the checkpoint is {loaded.model_id}; evaluate it again.")
    folders = {"ravdess": "ravdess-split-8", "java_sed": "java_sed-speaker-7", "without": "java_sed-corpus-7"}
    folds = {name: read_folds(results / folder) for name, folder in folders.items()}
    java, voices = folds["java_sed"][0], folds["ravdess"][0]
    recall = ", ".join(f"{name} {percent(value)}" for name, value in faces["recall"].items())
    needed = ", ".join(f"{name} {calibration.of(name).threshold:.2f}" for name in CONDITIONS)
    millions = sum(parameter.numel() for parameter in loaded.model.parameters()) / 1e6
    return {
        "checkpoint": f"`{loaded.model_id}`, {millions:.1f} million parameters. Kappa, the draws of two seconds that "
        f"count for half: faces {kappa[0]:g}, voices {kappa[1]:g}; of clips known to be neutral "
        f"{by_neutral[0]:g} and {by_neutral[1]:g}.",
        "targets": targets(faces, report("ferplus-strict"), report("ferplus-eight"), grid, folds),
        "java_sed": by_baseline("Java-SED, accuracy", java),
        "without": by_baseline("no Java-SED clip in training, accuracy", folds["without"][0]),
        "languages": left_out(results),
        "dev": dev_people(loaded.card["dev"]),
        "confusions": "\n".join(
            [
                f"- PublicTest recall: {recall}.",
                confusions("PublicTest", faces),
                confusions("Java-SED by face and voice", java["none"]["both"]),
                confusions("RAVDESS by voice", voices["none"]["voice"]),
            ]
        ),
        "thresholds": f"{needed}, a single picture {calibration.still.threshold:.2f}. Of PublicTest "
        f"{percent(faces['coverage'])} % are answered, {percent(faces['accuracy_answered'])} % of these rightly.",
    }


def filled(text: str, found: dict[str, str]) -> str:
    """The card `text` with the parts `found` in their places. ValueError where one has no place."""
    for name, part in found.items():
        place = re.search(f"<!-- {name} -->\n.*?<!-- /{name} -->", text, re.DOTALL)
        if place is None:
            raise ValueError(f"The card has no place for {name}; write <!-- {name} --> and <!-- /{name} --> on two lines.")
        text = f"{text[: place.start()]}<!-- {name} -->\n{part}\n<!-- /{name} -->{text[place.end() :]}"
    return text


def fill(path: Path, make: Callable[[], dict[str, str]]) -> int:
    """Writes the parts that `make` gives into the text at `path`. An exit code: 2 where something lacks, which is said."""
    try:
        text = filled(path.read_text(encoding="utf-8"), make())
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    path.write_text(text, encoding="utf-8")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.card", description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--card", type=Path, default=CARD)
    args = parser.parse_args(argv)
    return fill(args.card, lambda: parts(args.results))


if __name__ == "__main__":
    sys.exit(main())

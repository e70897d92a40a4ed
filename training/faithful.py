"""Whether the maps of the checkpoint that ships are better than random ones, for docs/faithfulness.md.

    python -m training.faithful --data ROOT

measures every method on pictures, voices and clips of people whom the checkpoint never learned from, and fills the tables.
The curves of every clip go to training/results/faithfulness; a run that was stopped goes on there. Without --data the tables
are filled from what is there.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress, track

from avemo_core import Analyzer
from avemo_core.checkpoint import load
from avemo_core.explain import survey
from avemo_core.explain.faithfulness import cascade, layers_of
from avemo_core.explain.methods import METHODS
from avemo_core.explain.survey import Item

from . import protocol
from .card import RESULTS, fill, table
from .corpora import manifest

DOCS = RESULTS.parents[1] / "docs" / "faithfulness.md"
PICTURES = 500
EACH, EACH_PAIRED = 10, 15  # voices of a person; of the two actors who stand for a language alone
ASKED = [name for name in METHODS if name != "rollout"]  # which needs stacked layers of attention; this model has one
LAYER = "stem"  # where methods by gradient are measured again: the first of either branch, whose maps are finest
FEWEST = 5  # people whose interval means something
CASCADE = ("cam", "gradcam", "layercam", "integrated_gradients", "spatial")
CASCADED = 20  # pictures
QUARTERS = 4
CASCADES = "cascade.json"
FALLEN = ("method", "over", "n", "head untrained", "a quarter of the layers", "half", "three quarters", "all")
HEAD = ("method", "over", "n", "people", "gain, deletion", "better in", "gain, insertion", "")


def spread(items: Sequence[Item], many: int) -> list[Item]:
    """`many` of them, evenly over their order."""
    return [items[n] for n in np.unique(np.linspace(0, len(items) - 1, many).round().astype(int))]


def of_dev_people(root: Path, corpora: Sequence[str], each: int | None = None) -> list[Item]:
    """`each` clips of every dev person of these corpora, evenly over that person's; or all."""
    people: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for name in corpora:
        for row in manifest.read(root / name, name):
            if protocol.is_dev(name, row.speaker):
                people[name, row.speaker].append(Item(f"{name}/{row.path.name}", row.speaker, row.path))
    return [item for own in people.values() for item in spread(own, min(each or len(own), len(own)))]


def sets(root: Path) -> dict[str, list[Item]]:
    """What is measured: pictures of nobody known, voices and clips of dev people, and neutral talk of others."""
    voices = of_dev_people(root, (*protocol.STUDIO, *protocol.READ), EACH)
    return {
        "faces": spread(survey.items_of(root / "ferplus", "PublicTest"), PICTURES),
        "voices": voices + of_dev_people(root, ["java_sed_voice"], EACH_PAIRED),
        protocol.PAIRS: of_dev_people(root, [protocol.PAIRS]),
        "grid": survey.items_of(root / "grid"),
    }


def measure(root: Path, results: Path) -> None:
    """The cascades, then curves of all sets, with every method, and by gradients at LAYER too."""
    analyzer, found = Analyzer(device="cpu"), sets(root)
    results.mkdir(parents=True, exist_ok=True)
    if not (results / CASCADES).is_file():
        (results / CASCADES).write_text(json.dumps(cascades(analyzer, found)), encoding="utf-8")
    by_gradient = [name for name, one in METHODS.items() if "layer" in one.options]
    for name, items in found.items():
        for methods, layer in ((ASKED, None), (by_gradient, LAYER)):
            with Progress(*Progress.get_default_columns(), console=Console(stderr=True)) as bar:
                _measure(analyzer, items, methods, results / f"{name}.jsonl", layer, bar)


def _measure(
    analyzer: Analyzer, items: list[Item], methods: list[str], kept: Path, layer: str | None, bar: Progress
) -> None:
    task = bar.add_task(" at ".join(filter(None, (kept.stem, layer))), total=len(items))
    survey.survey(analyzer, items, methods, kept, layer=layer, progress=lambda done, total: bar.update(task, completed=done))


def cascades(analyzer: Analyzer, found: dict[str, list[Item]]) -> list[dict[str, Any]]:
    """Rank correlations of maps with the true ones as the network forgets, of CASCADED pictures and a voice a person."""
    voices = {item.person: item for item in reversed(found["voices"])}
    every = -(-len(layers_of(analyzer.model)) // QUARTERS)
    out = []
    for modality, items in (("face", spread(found["faces"], CASCADED)), ("voice", list(voices.values())[::-1])):
        for item in track(items, f"cascade, {modality}", console=Console(stderr=True)):
            scene, *_ = survey.heaviest_of(analyzer, item)
            for name in CASCADE:
                fallen = [float(alike[0]) for _, alike in cascade(scene, name, modality, every)]
                told = {"model_id": analyzer.model_id, "clip": item.name, "person": item.person}
                out.append(told | {"method": name, "modality": modality, "correlations": np.round(fallen, 4).tolist()})
    return out


def fallen(path: Path) -> list[tuple[object, ...]]:
    """One row a method and modality: mean rank correlation with the true map after each quarter of the layers."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} is not there; measure it by python -m training.faithful --data ROOT.")
    found = json.loads(path.read_text(encoding="utf-8"))
    _of_this_checkpoint(path, found)
    out = []
    for modality, name in dict.fromkeys((one["modality"], one["method"]) for one in found):
        own = [one["correlations"] for one in found if (one["modality"], one["method"]) == (modality, name)]
        out.append((name, modality, len(own), *(f"{value:+.2f}" for value in np.mean(own, 0))))
    return out


def _of_this_checkpoint(path: Path, found: Sequence[dict[str, Any]]) -> None:
    other = {one["model_id"] for one in found} - {load().model_id}
    if other:
        raise ValueError(f"{path} is of {', '.join(sorted(other))}, the checkpoint is {load().model_id}; measure again.")


def between(value: float, ends: tuple[float, float] | None) -> str:
    """ "+.120 (+.080 to +.161)"."""
    said = f"{value:+.3f}"
    return said if ends is None else f"{said} ({ends[0]:+.3f} to {ends[1]:+.3f})"


def verdict(row: dict[str, Any]) -> str:
    """Of the gain under deletion, by which maps are marked on the page."""
    if row["people"] < FEWEST:
        return "too few people to say"
    low, high = row["deletion_interval"] or (0.0, 0.0)
    return "better than random" if low > 0 else "**worse than random**" if high < 0 else "not shown to be better"


def rows(curves: Path) -> list[tuple[object, ...]]:
    """One a method, layer and modality. ValueError where the curves are of another checkpoint."""
    found = [json.loads(line) for line in curves.read_text(encoding="utf-8").splitlines()]
    _of_this_checkpoint(curves, found)
    told = sorted(survey.summary(found), key=lambda row: (row["modality"], -row["deletion_gain"]))
    return [
        (
            " at ".join(filter(None, (row["method"], row["layer"]))),
            row["modality"],
            row["n"],
            row["people"],
            between(row["deletion_gain"], row["deletion_interval"]),
            f"{row['deletion_better']:.0%}",
            between(row["insertion_gain"], row["insertion_interval"]),
            verdict(row),
        )
        for row in told
    ]


def parts(results: Path) -> dict[str, str]:
    """Every table of the docs by the name of its place."""
    return {path.stem: table(HEAD, rows(path)) for path in sorted(results.glob("*.jsonl"))} | {
        "checkpoint": f"`{load().model_id}`",
        "cascade": table(FALLEN, fallen(results / CASCADES)),
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.faithful", description=__doc__)
    parser.add_argument("--data", type=Path, metavar="ROOT", help="holds one folder a corpus; measures what is missing")
    parser.add_argument("--results", type=Path, default=RESULTS / "faithfulness")
    parser.add_argument("--docs", type=Path, default=DOCS)
    args = parser.parse_args(argv)

    def make() -> dict[str, str]:
        if args.data:
            measure(args.data, args.results)
        return parts(args.results)

    return fill(args.docs, make)


if __name__ == "__main__":
    sys.exit(main())

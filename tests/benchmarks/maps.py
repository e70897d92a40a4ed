"""What maps of a 3 s clip cost beside one pass of the model over its windows: those that share a pass, and each alone."""

import time
from collections.abc import Callable
from pathlib import Path

import torch

from avemo_core.analyzer import Analyzer
from avemo_core.explain.explanation import explain_all
from avemo_core.explain.scene import scene_of, target_of
from avemo_core.types import ClipResult
from tests.benchmarks import clips, report

SECONDS = 3.0
AIM = 2.0  # all the maps that share a pass, in passes of the model
TOGETHER = ("cam", "gradcam", "spatial", "channel", "temporal", "cross_modal")
ALONE = (("cam",), ("gradcam",), ("gradcam++",), ("layercam",), ("integrated_gradients",), ("occlusion",))


def run(analyzer: Analyzer, folder: Path, count: int) -> None:
    report.title("What maps cost")
    sources = clips.drawn(folder, count, SECONDS)
    report.note(f"{len(sources)} clips of {SECONDS:.0f} s ({clips.used(sources)}), which are read already; by turns.")
    report.busy()
    kinds = (TOGETHER, *ALONE)
    passes: list[float] = []
    took: dict[tuple[str, ...], list[float]] = {kind: [] for kind in kinds}
    for n, source in enumerate([sources[0], *sources]):  # the first twice: once to warm up
        result = analyzer.analyze(source.path)
        one = _timed(lambda result=result: _once(analyzer, result))
        each = {kind: _timed(lambda kind=kind, result=result: explain_all(analyzer, result, kind)) for kind in kinds}
        if n:
            passes.append(one)
            for kind, seconds in each.items():
                took[kind].append(seconds)
    rows = [["one pass of the model", *report.spread(passes), "1.0"]]
    for kind, seconds in took.items():
        ratios = [a / b for a, b in zip(seconds, passes, strict=True)]
        rows.append([", ".join(kind), *report.spread(seconds), report.spread(ratios, ".1f")[0]])
    report.table([f"s a clip (aim: those together at most {AIM:g} passes)", "median", "p90", "n", "passes"], rows)


def _once(analyzer: Analyzer, result: ClipResult) -> None:
    """The same windows through branches and fusion, no map wanted."""
    scene = scene_of(analyzer, result, target_of(result, None))
    with torch.inference_mode():
        scene.fuse(*scene.embed())


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started

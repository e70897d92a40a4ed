"""Beside fer 22.5.1 with MTCNN, in its own environment: the same clips in the same run, clip by clip in turns."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avemo_core.analyzer import Analyzer
from avemo_core.types import FACE_STEP_S
from tests.benchmarks import clips, report

AIM = 0.2  # of its time
PER_SECOND = round(1 / FACE_STEP_S)  # frames that AVEMO samples; it searches every third and follows faces between
ENVIRONMENT = (
    'python -m venv FER; FER/bin/pip install "fer==22.5.1" "moviepy<2" "setuptools<81" tensorflow-cpu '
    '"opencv-contrib-python-headless<5" torch==2.11.0 torchvision==0.26.0 facenet-pytorch==2.5.3'
)


class Fer:
    """fer in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process

    def read(self, path: Path, per_second: float | None) -> dict[str, Any]:
        """{"seconds", "processor_s", "frames", "with_face"}: timed inside that process, without start and imports."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"path": str(path), "per_second": per_second}) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"fer ended with exit code {self.process.wait(10)}.")
        return json.loads(line)


@contextmanager
def fer(python: Path) -> Iterator[Fer]:
    with tempfile.TemporaryFile("w+") as errors:
        command = [str(python), str(Path(__file__).with_name("fer_reader.py"))]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            reader = Fer(process)
            reader.answer()  # ready
            yield reader
        except RuntimeError:
            errors.seek(0)
            print(errors.read()[-2000:])
            raise
        finally:
            process.kill()
            process.wait(10)


@dataclass(frozen=True)
class Times:
    """One clip read by one program: seconds, processor seconds, share of frames with a face."""

    seconds: float
    processor_s: float
    with_face: float


@dataclass(frozen=True)
class Round:
    """One clip read by all; `few` is fer at as many frames a second as AVEMO."""

    source: clips.Source
    length_s: float
    ours: Times
    every: Times
    few: Times


def run(analyzer: Analyzer, folder: Path, python: Path, count: int, seconds: float) -> None:
    report.title("Beside fer 22.5.1 with MTCNN")
    sources = clips.talking(folder, count, seconds)
    report.note(
        f"{len(sources)} clips ({clips.used(sources)}). AVEMO: face, voice, both and maps. fer: faces only; it reads every "
        f"frame, which is how it is used, and once more {PER_SECOND} frames a second, as many as AVEMO."
    )
    report.busy()
    with fer(python) as other:
        analyzer.analyze(sources[0].path)
        other.read(sources[0].path, PER_SECOND)
        rounds = [_round(analyzer, other, source, turn) for turn, source in enumerate(sources)]
    _each(rounds)
    _together(rounds)


def _round(analyzer: Analyzer, other: Fer, source: clips.Source, turn: int) -> Round:
    """One clip read by all, AVEMO first on even turns and last on odd ones."""

    def theirs(per_second: float | None) -> Times:
        told = other.read(source.path, per_second)
        return Times(told["seconds"], told["processor_s"], told["with_face"] / max(1, told["frames"]))

    few = theirs(PER_SECOND) if turn % 2 else None
    every = theirs(None) if turn % 2 else None
    before, started = report.processor_s(), time.perf_counter()
    result = analyzer.analyze(source.path)
    took, work = time.perf_counter() - started, report.processor_s() - before
    seen = float(result.faces[0].present.mean()) if result.faces else 0.0
    ours = Times(took, work, seen)
    return Round(source, result.clip.duration_s, ours, every or theirs(None), few or theirs(PER_SECOND))


def _each(rounds: list[Round]) -> None:
    rows = [
        [
            f"{r.source.origin} {r.source.path.stem}",
            f"{r.length_s:.2f}",
            *(f"{times.seconds / r.length_s:.3f}" for times in (r.ours, r.every, r.few)),
            f"{r.ours.seconds / r.every.seconds:.3f}",
            f"{r.ours.seconds / r.few.seconds:.3f}",
            *(f"{times.with_face:.0%}" for times in (r.ours, r.every)),
        ]
        for r in rounds
    ]
    few = f"fer, {PER_SECOND} a second"
    head = ["s per s of video", "clip s", "AVEMO", "fer", few, "AVEMO / fer", f"AVEMO / {few}", "faces AVEMO", "faces fer"]
    report.table(head, rows)


def _together(rounds: list[Round]) -> None:
    """Over the clips, and all of them as one: in seconds on the clock, and in processor seconds."""
    rows = []
    for unit, name in (("seconds", "s"), ("processor_s", "processor s")):
        ours, every, few = ([getattr(getattr(r, who), unit) for r in rounds] for who in ("ours", "every", "few"))
        for who, times in (("AVEMO", ours), ("fer", every), (f"fer, {PER_SECOND} a second", few)):
            factors = [took / r.length_s for took, r in zip(times, rounds, strict=True)]
            whole = f"{sum(times) / sum(r.length_s for r in rounds):.3f}"
            rows.append([f"{who}: {name} per s of video", *report.spread(factors), whole])
        for who, times in ((f"fer (aim {AIM})", every), (f"fer, {PER_SECOND} a second", few)):
            ratios = [a / b for a, b in zip(ours, times, strict=True)]
            rows.append([f"AVEMO / {who}: {name}", *report.spread(ratios), f"{sum(ours) / sum(times):.3f}"])
    report.table(["over the clips", "median", "p90", "n", "all as one"], rows)

"""Beside fer 22.5.1 with MTCNN, in its own environment: the same clips in the same run, clip by clip in turns."""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from avemo_core.analyzer import Analyzer
from avemo_core.types import FACE_STEP_S
from tests.benchmarks import clips, report

AIM = 0.2  # of its time
ENVIRONMENT = (
    'python -m venv FER; FER/bin/pip install "fer==22.5.1" "moviepy<2" "setuptools<81" tensorflow-cpu '
    '"opencv-contrib-python-headless<5" torch==2.11.0 torchvision==0.26.0 facenet-pytorch==2.5.3'
)


class Fer:
    """fer in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]):
        self.process = process

    def read(self, path: Path, per_second: float | None) -> dict[str, Any]:
        """{"seconds", "frames", "with_face"}: timed inside that process, without start and imports."""
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


def run(analyzer: Analyzer, folder: Path, python: Path, count: int, seconds: float) -> None:
    report.title("Beside fer 22.5.1 with MTCNN")
    sources = clips.talking(folder, count, seconds)
    per_second = round(1 / FACE_STEP_S)
    report.note(
        f"{len(sources)} clips ({clips.used(sources)}). AVEMO: face, voice, both and maps. fer: faces only; it reads "
        f"every frame, which is how it is used, and once more {per_second} frames a second, as many as AVEMO."
    )
    report.busy()
    with fer(python) as other:
        analyzer.analyze(sources[0].path)
        other.read(sources[0].path, per_second)
        rows = [_one(analyzer, other, source, per_second, turn) for turn, source in enumerate(sources)]
    report.table(
        ["clip", "s", "AVEMO s/s", "fer s/s", "ratio", f"fer {per_second}/s s/s", "ratio", "faces AVEMO", "faces fer"], rows
    )
    _summary(rows, per_second)


def _one(analyzer: Analyzer, other: Fer, source: clips.Source, per_second: int, turn: int) -> list[str]:
    """One clip read by both, AVEMO first on even turns: name, length, seconds per second of video, shares with a face."""

    def ours() -> tuple[float, Any]:
        started = time.perf_counter()
        result = analyzer.analyze(source.path)
        return time.perf_counter() - started, result

    if turn % 2 == 0:
        took, result = ours()
        every, some = other.read(source.path, None), other.read(source.path, per_second)
    else:
        some, every = other.read(source.path, per_second), other.read(source.path, None)
        took, result = ours()
    length = result.clip.duration_s
    seen = result.faces[0].present.mean() if result.faces else 0.0
    return [
        f"{source.origin} {source.path.stem}",
        f"{length:.2f}",
        f"{took / length:.3f}",
        f"{every['seconds'] / length:.3f}",
        f"{took / every['seconds']:.3f}",
        f"{some['seconds'] / length:.3f}",
        f"{took / some['seconds']:.3f}",
        f"{seen:.0%}",
        f"{every['with_face'] / max(1, every['frames']):.0%}",
    ]


def _summary(rows: list[list[str]], per_second: int) -> None:
    columns = {
        "AVEMO, s per second of video": 2,
        "fer, every frame, s per second of video": 3,
        f"AVEMO / fer, every frame (aim {AIM})": 4,
        f"fer, {per_second} frames a second, s per second of video": 5,
        f"AVEMO / fer, {per_second} frames a second": 6,
    }
    report.table(
        ["over the clips", "median", "p90", "n"],
        [[name, *report.spread([float(row[k]) for row in rows])] for name, k in columns.items()],
    )
    lengths = np.array([float(row[1]) for row in rows])
    ours, every, some = (float((np.array([float(row[k]) for row in rows]) * lengths).sum()) for k in (2, 3, 5))
    report.note(
        f"All clips together: {ours / every:.3f} of fer's time; {ours / some:.3f} of it at {per_second} frames a second."
    )

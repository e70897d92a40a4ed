"""How long a reading takes for each second of the clip, stage by stage, and how long a 3 s clip takes in all."""

import json
import time
from pathlib import Path

from avemo_core import media
from avemo_core.analyzer import Analyzer
from avemo_core.explain import render
from avemo_core.labels import LABELS
from avemo_core.types import ClipResult
from avemo_core.web import record
from tests.benchmarks import clips, report

STAGES = ("media", "faces", "sound", "model")
MEANS = {
    "media": "opening and checking the file",
    "faces": "decoding the picture, finding, following and cutting out faces",
    "sound": "decoding the sound, log-mel, MFCC, voice activity",
    "model": "all windows, maps of evidence included",
    "page": "the record, the figure and the four pictures that are shown first",
}
SHORT_S = 3.0
AIM_SHORT_S = 1.0  # a 3 s clip with its maps, warm, on two cores


def run(analyzer: Analyzer, folder: Path, count: int, seconds: float) -> None:
    report.title("Time of a reading, stage by stage")
    sources = clips.talking(folder, count, seconds)
    report.note(f"{len(sources)} clips ({clips.used(sources)}), one after the other, after one reading to warm up.")
    report.busy()
    show(analyzer.analyze(sources[0].path))
    _stages(analyzer, sources)
    _short(analyzer, folder, max(3, count))


def _stages(analyzer: Analyzer, sources: list[clips.Source]) -> None:
    factors: dict[str, list[float]] = {name: [] for name in (*STAGES, "page", "reading", "all")}
    everything: list[float] = []
    for source in sources:
        started = time.perf_counter()
        result = analyzer.analyze(source.path)
        reading = time.perf_counter() - started
        page = show(result)
        everything.append(show_all(result))
        length = result.clip.duration_s
        for name, took in (result.timings | {"page": page, "reading": reading, "all": reading + page}).items():
            if name in factors:
                factors[name].append(took / length)
    whole = sum(factors["all"])
    names = {"reading": "reading with its maps", "all": "reading and page"}
    rows = [
        [names.get(name, name), *report.spread(values), f"{sum(values) / whole:.0%}", MEANS.get(name, "")]
        for name, values in factors.items()
    ]
    report.table(["seconds per second of clip", "median", "p90", "n", "share", "what"], rows)
    median, p90, n = report.spread(everything)
    report.note(f"All seven labels' pictures and all five downloads, s a reading: median {median}, p90 {p90}, n {n}.")


def _short(analyzer: Analyzer, folder: Path, repeats: int) -> None:
    sources = clips.drawn(_new(folder / "short"), 1, SHORT_S)
    sources += [s for s in clips.real(40) if abs(media.decode(s.path).duration_s - SHORT_S) < 0.05][:1]
    rows = []
    for source in sources:
        readings, pages, work = [], [], []
        for _ in range(repeats + 1):
            before, started = report.processor_s(), time.perf_counter()
            result = analyzer.analyze(source.path)
            readings.append(time.perf_counter() - started)
            work.append(report.processor_s() - before)
            pages.append(show(result))
        wholes = [reading + page for reading, page in zip(readings, pages, strict=True)]
        rows += [
            [f"{source.origin}, reading with its maps", *report.spread(readings[1:])],
            [f"{source.origin}, and its page", *report.spread(wholes[1:])],
            [f"{source.origin}, processor seconds of the reading", *report.spread(work[1:])],
        ]
    report.table([f"a clip of {SHORT_S:.0f} s, warm: s (aim {AIM_SHORT_S} on two cores)", "median", "p90", "n"], rows)


def show(result: ClipResult) -> float:
    """Makes what the page asks for to show a reading; returns the seconds that took."""
    started = time.perf_counter()
    json.dumps({"record": result.to_json(), "page": record.page_record(result)})
    for name in render.IMAGES:
        if _shown(result, name):
            render.image(result, name, result.verdict.label)
    return time.perf_counter() - started


def show_all(result: ClipResult) -> float:
    """Makes every picture and every download of a reading; returns the seconds that took."""
    started = time.perf_counter()
    for name in render.IMAGES:
        labels = LABELS if name.endswith("evidence") else LABELS[:1]
        for label in labels if _shown(result, name) else ():
            render.image(result, name, label)
    for kind in record.DOWNLOADS:
        record.download(result, kind)
    return time.perf_counter() - started


def _shown(result: ClipResult, name: str) -> bool:
    """Whether the page asks for this picture."""
    return result.person is not None if name.startswith("face") else result.sound is not None


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder

"""Eight visitors at once over HTTP against the real server: what each waits for, and what each is told meanwhile."""

import json
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.benchmarks import clips, report
from tests.benchmarks.server import Server, running

VISITORS = 8


@dataclass
class Visit:
    """One visitor's clip; times in seconds since all eight began."""

    source: clips.Source
    sent_s: float = 0.0
    begun_s: float = 0.0
    done_s: float = 0.0
    shown_s: float = 0.0
    positions: list[int] = field(default_factory=list)
    state: str = "no answer"
    reading: str = ""
    error: str = ""


def run(folder: Path, device: str, seconds: float) -> None:
    report.title(f"{VISITORS} visitors at once")
    sources = clips.talking(folder, VISITORS, seconds)
    report.note(
        f"Each opens the page, sends a clip ({clips.used(sources)}) at the same moment, and watches it until it is shown."
    )
    with running(folder / "server", device) as server:
        report.busy()
        visits = [Visit(source) for source in sources]
        gate = threading.Barrier(VISITORS)
        threads = [threading.Thread(target=_visit, args=(server, visit, gate)) for visit in visits]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        printed = [line for line in server.lines if "Traceback" in line or "ERROR" in line]
    _tell(visits, printed)


def _visit(server: Server, visit: Visit, gate: threading.Barrier) -> None:
    try:
        with server.visitor() as client:
            gate.wait(60)
            _send_and_watch(client, visit, time.perf_counter())
    except (httpx.HTTPError, threading.BrokenBarrierError, KeyError) as error:
        visit.error = f"{type(error).__name__}: {error}"


def _send_and_watch(client: httpx.Client, visit: Visit, started: float) -> None:
    files = {"file": (visit.source.path.name, visit.source.path.read_bytes())}
    answer = client.post("/api/clips", files=files)
    answer.raise_for_status()
    visit.sent_s = time.perf_counter() - started
    told: dict = {}
    with client.stream("GET", f"/api/jobs/{answer.json()['job']}/events") as events:
        for line in events.iter_lines():
            if not line.startswith("data: "):
                continue
            told = json.loads(line.removeprefix("data: "))
            if told["state"] == "queued" and told["position"] not in visit.positions[-1:]:
                visit.positions.append(told["position"])
            if told["state"] == "running" and not visit.begun_s:
                visit.begun_s = time.perf_counter() - started
    visit.done_s = time.perf_counter() - started
    visit.state, visit.error = told["state"], told["error"] or ""
    if told["result"]:
        visit.reading = _open(client, told["result"])
        visit.shown_s = time.perf_counter() - started


def _open(client: httpx.Client, result: str) -> str:
    """Asks for what the page shows first; returns the verdict."""
    reading = client.get(f"/api/results/{result}").raise_for_status().json()
    label = reading["record"]["verdict"]["label"]
    names = (["faces", f"face_evidence?label={label}"] if reading["page"]["faces"] else []) + (
        ["spectrogram", f"voice_evidence?label={label}"] if reading["page"]["voice"] else []
    )
    for name in names:
        picture, _, query = name.partition("?")
        client.get(f"/api/results/{result}/image/{picture}.png?{query}").raise_for_status()
    return f"{label}{' (abstains)' if reading['record']['verdict']['abstained'] else ''}"


def _tell(visits: list[Visit], printed: list[str]) -> None:
    rows = [
        [
            f"{v.source.origin} {v.source.path.stem}",
            f"{v.sent_s:.2f}",
            " ".join(map(str, v.positions)) or "none",
            f"{v.begun_s:.2f}",
            f"{v.done_s:.2f}",
            f"{v.shown_s:.2f}",
            v.state,
            v.error or v.reading,
        ]
        for v in sorted(visits, key=lambda v: v.done_s)
    ]
    report.table(["clip", "sent s", "positions seen", "begun s", "read s", "shown s", "state", "answer"], rows)
    answered = [v for v in visits if v.state == "done" and not v.error]
    median, _, _ = report.spread([v.shown_s for v in answered], ".2f")
    last = max((v.shown_s for v in answered), default=0.0)
    report.note(
        f"{len(answered)} of {len(visits)} answered, {len(visits) - len(answered)} errors; shown after {median} s (median), "
        f"{last:.2f} s (last). The server logged {len(printed)} errors."
    )

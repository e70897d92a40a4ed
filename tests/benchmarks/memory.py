"""Resident memory of the server and its decoding workers over many clips of all kinds."""

import itertools
import time
from pathlib import Path

import httpx
import numpy as np
import psutil

from tests.benchmarks import clips, report
from tests.benchmarks.server import PATIENCE_S, Server, running

SENT_EACH = 10  # clips of one visitor, who then deletes what is left of them
PRINTED_EVERY = 20
WARM_AFTER = 40  # clips: by then everything was used once
MB = 2**20


def run(folder: Path, device: str, count: int, seconds: float) -> None:
    report.title(f"Memory over {count} clips")
    sources = [*clips.of_all_kinds(folder), *clips.talking(folder, 24, seconds)]
    report.note(
        f"{len(sources)} different files ({clips.used(sources)}) in turns: talking people, sound alone, no sound, two "
        f"people, nobody, a picture, silence, a broken file. Visitors send {SENT_EACH} clips, open each reading with its "
        "pictures and downloads, and delete them; memory is looked at before and after the deletion."
    )
    with running(folder / "server", device) as server:
        report.busy()
        points, states = _watch(server, sources, count)
    ended = ", ".join(f"{n} {state}" for state, n in states.items())
    rows = [
        [str(n), f"{held:.0f}", f"{main:.0f}", f"{workers:.0f}", f"{main + workers:.0f}"]
        for n, held, main, workers in points
        if n % PRINTED_EVERY == 0 or n in (points[0][0], points[-1][0])
    ]
    report.table(["clips", "server with readings MB", "server MB", "workers MB", "together MB"], rows)
    report.note(f"Jobs: {ended} (the broken file is refused: failed).")
    _slopes(points)


def _watch(
    server: Server, sources: list[clips.Source], count: int
) -> tuple[list[tuple[int, float, float, float]], dict[str, int]]:
    """Points (clips so far, server with readings, server, workers; MB) after each visitor, and how the jobs ended."""
    turns = itertools.cycle(sources)
    states: dict[str, int] = {}
    points = [(0, *_resident(server)[:1], *_resident(server))]
    done = 0
    while done < count:
        with server.visitor() as client:
            results = []
            for source in itertools.islice(turns, min(SENT_EACH, count - done)):
                state, result = _read(client, source)
                states[state] = states.get(state, 0) + 1
                done += 1
                if result:
                    _open(client, result)
                    results.append(result)
            held = _resident(server)[0]
            for result in results:
                client.delete(f"/api/results/{result}")  # the oldest are gone already: a visitor keeps eight
        points.append((done, held, *_resident(server)))
        if done % PRINTED_EVERY == 0:
            report.note(f"{done} clips: server {points[-1][2]:.0f} MB, workers {points[-1][3]:.0f} MB")
    return points, states


def _read(client: httpx.Client, source: clips.Source) -> tuple[str, str | None]:
    """Sends a clip and waits; how its job ended, and its reading."""
    answer = client.post("/api/clips", files={"file": (source.path.name, source.path.read_bytes())})
    if answer.status_code != 202:
        return f"refused with {answer.status_code}", None
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        job = client.get(f"/api/jobs/{answer.json()['job']}").json()
        if job["state"] in ("done", "failed", "cancelled"):
            return job["state"], job["result"]
        time.sleep(0.05)
    return "not answered in time", None


def _open(client: httpx.Client, result: str) -> None:
    """All that a page can ask for about one reading; a picture that the clip lacks is an answer too."""
    addresses = ["", "/clip", *(f"/download/{kind}" for kind in ("csv", "json", "png", "svg", "npz"))]
    addresses += [f"/image/{name}.png" for name in ("faces", "spectrogram")]
    addresses += [f"/image/{name}.png?label=happiness" for name in ("face_evidence", "voice_evidence")]
    for address in addresses:
        client.get(f"/api/results/{result}{address}")


def _resident(server: Server) -> tuple[float, float]:
    """MB of the server and of its workers together; pages that they share count in each."""
    main = psutil.Process(server.process.pid)
    workers = 0.0
    for child in main.children(recursive=True):
        try:
            workers += child.memory_info().rss / MB
        except psutil.NoSuchProcess:
            continue
    return main.memory_info().rss / MB, workers


def _slopes(points: list[tuple[int, float, float, float]]) -> None:
    numbers = np.array(points)
    rows = []
    for name, after in (
        ("from the start", 0),
        (f"after {WARM_AFTER} clips", WARM_AFTER),
        ("second half", points[-1][0] // 2),
    ):
        part = numbers[numbers[:, 0] >= after]
        if len(part) >= 3:
            server, workers = (np.polyfit(part[:, 0], part[:, k], 1)[0] for k in (2, 3))
            rows.append([name, f"{server:+.3f}", f"{workers:+.3f}", str(len(part))])
    if rows:
        report.table(["slope, MB per clip (aim: flat)", "server", "workers", "points"], rows)

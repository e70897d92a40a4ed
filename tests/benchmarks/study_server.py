"""The rating study in processes of their own: python -m tests.benchmarks.study_server serve PORT | export STUDY.

$AVEMO_STUDY and $AVEMO_STUDY_DB say which store. `export` reads all ratings again and again until its input ends.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from annotate.store import Home, Store

ROOT = Path(__file__).parents[2]
START_S = 120
BETWEEN_EXPORTS_S = 1.0


class Server:
    """One server process on a port of its own; it can be killed at any moment and started again."""

    def __init__(self, home: Home, log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.home, self.log = home, log
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return run(self.home, "serve", str(self.port), stdout=log, stderr=log)

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"The study's server ended:\n{self.log.read_text()[-3000:]}")
            try:
                urlopen(f"{self.address}/study/sign-in", timeout=5).close()
                return
            except (URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"The study's server did not answer within {START_S} s.")

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(30)

    def restart(self) -> None:
        self.process = self._start()


@contextmanager
def serving(home: Home, count: int) -> Iterator[list[Server]]:
    """So many server processes on one store, up and answering."""
    servers = [Server(home, home.folder / f"server {k}.log") for k in range(count)]
    try:
        for server in servers:
            server.wait()
        yield servers
    finally:
        for server in servers:
            server.kill()


@contextmanager
def exporting(home: Home, study_id: int) -> Iterator[list[int]]:
    """All ratings read in a loop by another process. The list is filled at the end: how many rows each time."""
    counts: list[int] = []
    process = run(home, "export", str(study_id), bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        counts.append(int(process.stdout.readline()))  # it takes its time to start, and a short load would be over by then
        yield counts
    finally:
        told, _ = process.communicate(timeout=120)
        counts.extend(int(line) for line in told.split())


def run(home: Home, *arguments: str, **streams: object) -> subprocess.Popen[bytes]:
    named = {"AVEMO_STUDY": str(home.folder), **({"AVEMO_STUDY_DB": home.url} if home.url else {})}
    command = [sys.executable, "-m", "tests.benchmarks.study_server", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **named}
    return subprocess.Popen(command, cwd=ROOT, env=environment, **streams)  # type: ignore[call-overload]


def _serve(store: Store, port: int) -> None:
    import uvicorn

    from annotate.web.access import Settings
    from annotate.web.site import build_study

    uvicorn.run(build_study(store, Settings(demo=False)), host="127.0.0.1", port=port, log_level="warning")


def _export(store: Store, study_id: int) -> None:
    from annotate.ratings import read_ratings

    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.is_set():
        with store.read() as session:
            print(len(read_ratings(session, study_id)), flush=True)
        over.wait(BETWEEN_EXPORTS_S)


if __name__ == "__main__":
    sys.setswitchinterval(0.0005)
    opened = Store.open(Home.of(dict(os.environ)))
    {"serve": _serve, "export": _export}[sys.argv[1]](opened, int(sys.argv[2]))

"""The app as a user starts it, in a process of its own with a folder of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
START_S = 240  # torch, gradio and the checkpoint on a busy machine
PATIENCE_S = 300  # for one answer


@dataclass
class Server:
    process: subprocess.Popen[str]
    address: str = ""
    lines: list[str] = field(default_factory=list)  # what it printed

    @contextmanager
    def visitor(self) -> Iterator[httpx.Client]:
        """A browser that has opened the first page."""
        with httpx.Client(base_url=self.address, timeout=PATIENCE_S) as client:
            client.get("/").raise_for_status()
            yield client


@contextmanager
def running(folder: Path, device: str) -> Iterator[Server]:
    """A server that is up and warm."""
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", "0", "--device", device],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(folder), "AVEMO_STUDY": str(folder / "study")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    server = Server(process)
    threading.Thread(target=_listen, args=(server,), daemon=True).start()
    try:
        server.address = _printed(server, r"AVEMO is at (\S+) ")
        _printed(server, r"(ready): the model")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _listen(server: Server) -> None:
    assert server.process.stdout
    server.lines.extend(line.rstrip() for line in iter(server.process.stdout.readline, ""))


def _printed(server: Server, pattern: str) -> str:
    """The first group of `pattern` in what the server printed, awaited."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        for line in list(server.lines):
            if found := re.search(pattern, line):
                return found[1]
        if server.process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"The app did not print {pattern!r} within {START_S} s:\n" + "\n".join(server.lines[-20:]))

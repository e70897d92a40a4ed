"""The real site on a real socket with the real analyzer, and visitors as httpx clients."""

import contextlib
import io
import os
import socket
import threading
import time
import wave
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import httpx
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI

from avemo_core.analyzer import Analyzer
from avemo_core.web.services import STATIC, Services, Settings
from avemo_core.web.site import build_site
from tests.conftest import is_one_sentence

EXAMPLES = STATIC / "examples"
PATIENCE_S = 120  # for one reading on a busy machine


@dataclass
class Served:
    """A running site: its address and what it is made of."""

    address: str
    app: FastAPI
    now: list[float]  # what the deletion schedule takes for the time; move it on with now[0] += s

    @property
    def services(self) -> Services:
        return self.app.state.services

    def visitor(self, **options: Any) -> httpx.Client:
        """A browser without cookies yet."""
        # unverified: to read certificates takes 20 ms a client
        return httpx.Client(base_url=self.address, timeout=PATIENCE_S, verify=False, **options)

    def guest(self) -> httpx.Client:
        """A browser that has opened the first page."""
        client = self.visitor()
        assert client.get("/").status_code == 200
        return client


@contextlib.contextmanager
def serve(analyzer: Analyzer, settings: Settings) -> Iterator[Served]:
    now = [time.monotonic()]
    app = build_site(analyzer, settings, clock=lambda: now[0])
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1, server_header=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server ended before it had started"
        time.sleep(0.01)
    try:
        yield Served(f"http://127.0.0.1:{listener.getsockname()[1]}", app, now)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop within 20 s"


@pytest.fixture(scope="session")
def analyzer() -> Analyzer:
    return Analyzer(device="cpu")


@pytest.fixture(scope="session")
def site(analyzer: Analyzer) -> Iterator[Served]:
    """With the settings of a local demo; more posts are allowed, since all tests share it."""
    with serve(analyzer, Settings(hosts=("127.0.0.1",), posts_per_minute=10_000)) as served:
        yield served


@pytest.fixture
def site_with(analyzer: Analyzer) -> Iterator[Callable[..., Served]]:
    """site_with(max_bytes=...): a site of its own with other settings."""
    with contextlib.ExitStack() as stack:
        yield lambda **changed: stack.enter_context(serve(analyzer, Settings(hosts=("127.0.0.1",), **changed)))


def tone(seconds: float = 0.6, hertz: float = 220.0) -> bytes:
    """A WAV file of a steady tone: the quickest clip to read."""
    times = np.arange(int(seconds * 16_000)) / 16_000
    samples = (8000 * np.sin(2 * np.pi * hertz * times)).astype("<i2")
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(samples.tobytes())
    return out.getvalue()


def post(client: httpx.Client, body: bytes | None = None, name: str = "tone.wav") -> httpx.Response:
    return client.post("/api/clips", files={"file": (name, tone() if body is None else body)})


def ended(client: httpx.Client, job: str) -> dict[str, Any]:
    """The last state of a job."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        state = client.get(f"/api/jobs/{job}").json()
        if state["state"] in ("done", "failed", "cancelled"):
            return state
        time.sleep(0.05)
    raise AssertionError(f"job not ended after {PATIENCE_S} s: {state}")


def read(client: httpx.Client, body: bytes | None = None, name: str = "tone.wav") -> str:
    """Send a clip and wait; returns the id of its reading."""
    answer = post(client, body, name)
    assert answer.status_code == 202, answer.text
    state = ended(client, answer.json()["job"])
    assert state["state"] == "done", state
    return state["result"]


def stored(site: Served) -> list[Path]:
    """The clips that lie on the disk now."""
    return sorted(site.services.visitors.folder.glob("*/*"))


def read_example(client: httpx.Client, name: str) -> str:
    return ended(client, client.post("/api/clips", json={"example": name}).json()["job"])["result"]


@pytest.fixture(scope="module")
def read_clip(site: Served) -> Iterator[tuple[httpx.Client, str]]:
    """A visitor, and the address of what explains their reading of a clip with face and voice."""
    client = site.guest()
    yield client, f"/api/results/{read_example(client, 'both_agree')}/explain"
    client.close()


def refused(client: httpx.Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 400, answer.text
    assert is_one_sentence(answer.json()["error"]), answer.text
    return answer.json()["error"]

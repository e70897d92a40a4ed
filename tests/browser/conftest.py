"""The real app in a process of its own, and pages of a real Chromium that must stay free of errors and outside requests."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from tests.browser.install import find

ROOT = Path(__file__).parents[2]
START_S = 240  # torch, gradio and the checkpoint on a busy machine
expect.set_options(timeout=20_000)  # as long as pages are given for anything else; 5 s are short on a busy machine


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the app, started as a user starts it; AVEMO_SERVER names one that already runs."""
    if "AVEMO_SERVER" in os.environ:
        yield os.environ["AVEMO_SERVER"]
        return
    with running(tmp_path_factory.mktemp("server") / "app.log") as address:
        yield address


@contextlib.contextmanager
def running(log: Path) -> Iterator[str]:
    """The app in a process of its own, at a free port, and stopped at the end; what it says goes to `log`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("w") as out:
        app = subprocess.Popen(
            [sys.executable, "app.py", "--port", str(port), "--device", "cpu"],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "2", "AVEMO_STUDY": str(log.parent / "study")},
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_until_up(address, app, log)
        yield address
    finally:
        app.terminate()
        try:
            app.wait(15)
        except subprocess.TimeoutExpired:
            app.kill()
            app.wait(15)
    assert "Traceback" not in log.read_text(), f"the app failed while it was tested:\n{log.read_text()[-4000:]}"


def _wait_until_up(address: str, app: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert app.poll() is None, f"the app ended with {app.returncode}:\n{log.read_text()[-4000:]}"
        try:
            with urlopen(f"{address}/api/status", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the app did not answer within {START_S} s:\n{log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="session")
def launch(playwright: Playwright) -> Iterator[Callable[..., Browser]]:
    """Opens a Chromium with extra flags; one for each set of flags, closed at the end."""
    path = find()
    assert path, "No Chromium was found; run python -m tests.browser.install once."
    opened: dict[tuple[str, ...], Browser] = {}

    def launch(*flags: str) -> Browser:
        if flags not in opened:
            opened[flags] = playwright.chromium.launch(executable_path=path, args=list(flags))
        return opened[flags]

    yield launch
    for browser in opened.values():
        browser.close()


@pytest.fixture
def visit(launch: Callable[..., Browser], server: str) -> Iterator[Callable[..., Page]]:
    """Opens a page of a new visitor: visit(path, *flags, **context options). Errors on any of them fail the test."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def visit(path: str = "/", *flags: str, **options: object) -> Page:
        options.setdefault("viewport", {"width": 1280, "height": 900})
        context = launch(*flags).new_context(base_url=server, **options)  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(60_000)
        watch(page, server, problems)
        page.goto(path)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert not problems, "\n".join(problems)


def watch(page: Page, server: str, problems: list[str]) -> None:
    """Notes script errors and everything that is asked of another host. Answers of 4xx are the app's own sentences."""

    def console(kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text:
            problems.append(f"console: {text}")

    def request(url: str) -> None:
        if not url.startswith((server, "blob:", "data:", server.replace("http", "ws", 1))):
            problems.append(f"asked another host: {url}")

    page.on("pageerror", lambda error: problems.append(f"script error: {error}"))
    page.on("console", lambda message: console(message.type, message.text))
    page.on("request", lambda sent: request(sent.url))


@pytest.fixture
def page(visit: Callable[..., Page]) -> Page:
    """The front page of a new visitor at 1280 x 900."""
    return visit("/")

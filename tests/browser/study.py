"""A rating study in a process of its own, without the demo: python -m tests.browser.study FOLDER PORT.

Its clips are tones, each of another length: the length that a page plays names the clip that the database should hold.
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from playwright.sync_api import BrowserContext
from sqlalchemy import select

from annotate import accounts
from annotate.design import Design
from annotate.schema import Account
from annotate.scheme import SCHEMES, Scheme
from annotate.store import Home, Store
from annotate.studies import create_study
from tests import media_files

ROOT = Path(__file__).parents[2]
PASSWORD = "three plain words"
START_S = 180  # on a busy machine
STEP_S = 0.04  # between the lengths of two clips


def make_study(
    store: Store,
    folder: Path,
    clips: int = 6,
    scheme: Scheme = SCHEMES["basic seven"],
    design: Design | None = None,
    *,
    name: str = "Tones",
    seconds: float = 0.4,
    step: float = STEP_S,
    picture: bool = False,
) -> int:
    """A new study of generated clips; its id."""
    source = folder / name
    source.mkdir(parents=True)
    for k in range(clips):
        length = seconds + step * k
        if picture:
            media_files.write_clip(source / f"happy {k}.mp4", length, 25, (160, 120))
        else:
            media_files.write_wav(source / f"happy {k}.wav", media_files.tone(length, 16_000, hertz=200 + 20 * k)[0])
    design = design or Design(replications=100, repeat_share=0.0, break_every=0)
    return create_study(store, None, name, source, scheme, design).study_id


def make_account(store: Store, name: str, roles: tuple[str, ...] = ("rater",), language: str = "en") -> int:
    """An account that signs in with PASSWORD; its id."""
    with store.write() as session:
        token = accounts.invite(session, None, roles, name)
    return accounts.accept(store, token, name, PASSWORD, language)


def sign_in(context: BrowserContext, store: Store, address: str, name: str) -> None:
    """As the sign-in page leaves it."""
    with store.read() as session:
        account = session.scalars(select(Account.id).where(Account.name == name)).one()
    host = urlsplit(address).hostname or ""
    token = accounts.log_in(store, account)
    context.add_cookies([{"name": "avemo_study", "value": token, "domain": host, "path": "/study", "sameSite": "Strict"}])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """The study's server, up and answering."""
    log = (folder / "server.log").open("ab")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.browser.study", str(folder), str(port)]
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, (folder / "server.log").read_text()[-4000:]
        with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/study/sign-in", timeout=2):
            return process
        time.sleep(0.1)
    raise AssertionError(f"the study did not answer within {START_S} s")


@contextlib.contextmanager
def running(folder: Path) -> Iterator[str]:
    """The address of the study in `folder`, served until the end."""
    port = free_port()
    process = start(folder, port)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)
    log = (folder / "server.log").read_text()
    assert "Traceback" not in log, log[-4000:]


def main() -> None:
    import uvicorn

    from annotate.web.access import Settings
    from annotate.web.site import build_study

    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    app = build_study(Store.open(Home(folder)), Settings(local=False, demo=False))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()

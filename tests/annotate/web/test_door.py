"""What app.py puts at /study: beside the demo, closed where nobody could sign in, a sentence where it cannot be opened."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, WebSocket
from sqlalchemy import func, select, text
from websockets.sync.client import connect

import app
from annotate import accounts
from annotate.schema import Study
from annotate.store import Home, Store
from annotate.web.access import Settings
from annotate.web.door import open_study
from tests.conftest import is_one_sentence

from .conftest import PAGE, PASSWORD, served

LOCAL = Settings(local=True, hosts=app.LOOPBACK)
OPEN = Settings()


@pytest.fixture
def up() -> Iterator[Callable[..., httpx.Client]]:
    """up(application): a browser on it."""
    with ExitStack() as stack:

        def start(application: Any) -> httpx.Client:
            return httpx.Client(base_url=stack.enter_context(served(application)), timeout=60)

        yield start


def test_a_newcomer_finds_a_small_study_to_practise_on(home: Home, up: Callable[..., httpx.Client]) -> None:
    page = up(open_study(home, LOCAL)).get("/study/", headers=PAGE)
    assert page.status_code == 200
    assert "Practice" in page.text
    assert "Start" in page.text


def test_the_practice_study_is_made_once(home: Home) -> None:
    open_study(home, LOCAL)
    store = Store.open(home)
    with store.write() as session:
        session.execute(text("UPDATE study SET name = 'another name'"))
    open_study(home, LOCAL)
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Study)) == 1
    store.close()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/study/"), ("GET", "/study"), ("GET", "/study/sign-in"), ("POST", "/study/x")]
)
def test_off_this_computer_without_accounts_it_is_closed_and_says_what_to_do(
    store: Store, home: Home, up: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture, method: str, path: str
) -> None:
    with caplog.at_level(logging.WARNING):
        client = up(open_study(home, OPEN))
    assert "python -m annotate invite --role lead" in caplog.text
    answer = client.request(method, path, headers=PAGE)
    assert answer.status_code == 503
    assert "python -m annotate invite --role lead" in answer.text
    assert "content-security-policy" in answer.headers
    assert client.request(method, path).json()["reason"] == "closed"
    assert client.get("/study/static/css/avemo.css").status_code == 200


def test_an_invitation_opens_it_without_a_restart(store: Store, home: Home, up: Callable[..., httpx.Client]) -> None:
    client = up(open_study(home, OPEN))
    assert client.get("/study/").status_code == 503
    with store.write() as session:
        token = accounts.invite(session, None, ["lead"])
    assert client.get("/study/").status_code == 401
    fields = {"name": "Lead", "password": PASSWORD, "again": PASSWORD}
    assert client.post(f"/study/join/{token}", data=fields).status_code == 303
    assert client.get("/study/people").status_code == 200


def test_on_this_computer_accounts_end_the_time_without_signing_in(
    store: Store, home: Home, up: Callable[..., httpx.Client]
) -> None:
    client = up(open_study(home, LOCAL))
    assert client.get("/study/").status_code == 200
    with store.write() as session:
        token = accounts.invite(session, None, ["lead"])
    assert client.get("/study/").status_code == 200, "an invitation alone does not lock its maker out"
    accounts.accept(store, token, "Lead", PASSWORD)
    assert client.get("/study/").status_code == 401


def broken(home: Home) -> None:
    (home.folder).mkdir()
    (home.folder / "study.db").write_bytes(b"this is no database" * 100)


def newer(home: Home) -> None:
    store = Store.create(home)
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    store.close()


def in_the_way(home: Home) -> None:
    home.folder.write_text("a file where a folder belongs")


@pytest.mark.parametrize(
    ("spoil", "said"), [(broken, "cannot be opened"), (newer, "revision 9999"), (in_the_way, "cannot be used")]
)
def test_a_study_that_cannot_be_opened_is_one_sentence_and_the_demo_goes_on(
    tmp_path: Path,
    up: Callable[..., httpx.Client],
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Home], None],
    said: str,
) -> None:
    home = Home(tmp_path / "study")
    spoil(home)
    with caplog.at_level(logging.WARNING):
        study = open_study(home, LOCAL)
    assert said in caplog.text
    assert "Traceback" not in caplog.text
    client = up(app.side_by_side(small_demo([]), study))
    assert client.get("/").json() == "the demo"
    answer = client.get("/study/")
    assert answer.status_code == 503
    assert said in answer.json()["error"]
    assert is_one_sentence(answer.json()["error"].replace(str(tmp_path), "/somewhere"))
    assert said in client.get("/study/", headers=PAGE).text


def test_a_database_that_is_away_is_one_sentence(tmp_path: Path, up: Callable[..., httpx.Client]) -> None:
    study = open_study(Home(tmp_path / "study", "postgresql://nobody:secret@127.0.0.1:1/nowhere"), LOCAL)
    said = up(study).get("/study/").json()["error"]
    assert "cannot be opened" in said
    assert "secret" not in said


def small_demo(log: list[str]) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI):
        log.append("demo up")
        yield
        log.append("demo down")

    demo = FastAPI(lifespan=lifespan)

    @demo.get("/{path:path}")
    def anything(path: str) -> str:
        return "the demo"

    @demo.websocket("/api/live")
    async def live(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("live")
        await socket.close()

    return demo


def test_both_stand_side_by_side_and_start_and_stop_together(store: Store) -> None:
    from annotate.web.site import build_study

    log: list[str] = []
    with served(app.side_by_side(small_demo(log), build_study(store, LOCAL))) as address:
        client = httpx.Client(base_url=address)
        assert log == ["demo up"]
        for path in ("/", "/live", "/studyroom", "/api/study"):
            assert client.get(path).json() == "the demo"
        for path in ("/study", "/study/", "/study/people", "/study/nothing"):
            assert client.get(path).text != '"the demo"'
        with connect(address.replace("http", "ws") + "/api/live") as socket:
            assert socket.recv() == "live"
    assert log == ["demo up", "demo down"]


def test_in_a_space_the_page_may_stand_in_its_frame(home: Home, up: Callable[..., httpx.Client]) -> None:
    answer = up(open_study(home, Settings(space=True))).get("/study/", headers=PAGE)
    assert answer.status_code == 503
    assert "frame-ancestors https://huggingface.co" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers

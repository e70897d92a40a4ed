"""One visitor cannot reach what is another's, by any route of ours or of Gradio; and everything goes on schedule."""

import json
import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import unquote

import httpx
import pytest
from starlette.routing import BaseRoute, Mount

from avemo_core.web.services import Settings
from avemo_core.web.visitors import Visitors

from .conftest import Served, ended, post, read, stored, tone

# Routes of ours that answer everyone, since nothing in them belongs to anyone.
FOR_EVERYONE = {
    ("GET", "/api/examples"),
    ("GET", "/api/status"),
    ("GET", "/api/results"),  # the caller's own readings, of a stranger none
    ("POST", "/api/clips"),
    ("GET", "/static/css/emotions.css"),
    ("GET", "/static/icons.svg"),
    ("GET", "/static/icon.svg"),
    ("GET", "/static/plotly.min.js"),
    ("GET", "/static/js/iframeResizer.contentWindow.min.js"),
}
# What Gradio's side of the page is allowed to serve. Longer lists need a reason.
GRADIO_FOR_EVERYONE = {
    "/",
    "/live",
    "/inspect",
    "/about",
    "/theme.css",
    "/assets/{path:path}",
    "/favicon.ico",
    "/robots.txt",
}


@pytest.fixture(scope="module")
def owned(site: Served) -> dict[str, str]:
    """What the first visitor has: an ended job and a reading of a named file."""
    client = site.guest()
    job = post(client, name="my-secret-name.wav").json()["job"]
    result = ended(client, job)["result"]
    assert client.get(f"/api/results/{result}").status_code == 200
    return {"job_id": job, "result_id": result}


def own_routes(site: Served) -> Iterator[tuple[str, str]]:
    """(method, path) of every HTTP route that is not Gradio's."""
    for route in walk(site.app.routes):
        if not isinstance(route, Mount):
            for method in sorted(getattr(route, "methods", None) or []):
                yield method, route.path  # type: ignore[attr-defined]


def walk(routes: list[BaseRoute]) -> Iterator[BaseRoute]:
    """Routes, those of included routers too. Mounted applications are not entered."""
    for route in routes:
        inner = getattr(route, "original_router", None)
        if inner is not None:
            yield from walk(inner.routes)
        else:
            yield route


def gradio_routes(site: Served) -> list[tuple[str, str]]:
    """(method, path) of every route of the mounted Gradio application."""
    mounted = [route for route in site.app.routes if isinstance(route, Mount) and route.path == ""]
    assert len(mounted) == 1
    found = []
    for route in walk(mounted[0].routes):
        for method in sorted(getattr(route, "methods", None) or ["GET"]):
            found.append((method, route.path))  # type: ignore[attr-defined]
    return found


def fill(path: str, values: dict[str, str]) -> str:
    """A route's path with every parameter filled in."""
    defaults = {"method": "cam", "modality": "voice", "part": "kept", "chunk": "0", "look": "heat"}
    defaults |= {
        "name": "faces",
        "kind": "png" if "/explain/" in path else "json",
        "path": "x",
        "path_or_url": "/etc/passwd",
        "url_path": "http://x/",
    }
    return re.sub(r"{(\w+)(:\w+)?}", lambda m: values.get(m[1], defaults.get(m[1], "predict")), path)


def test_a_second_visitor_finds_nothing_at_any_route(site: Served, owned: dict[str, str]) -> None:
    routes = list(own_routes(site))
    assert ("GET", "/api/results/{result_id}/clip") in routes, routes
    assert ("POST", "/api/results/{result_id}/person") in routes
    second, nobody = site.guest(), site.visitor()
    for method, path in routes:
        if (method, path) in FOR_EVERYONE or method == "HEAD":
            continue
        assert "{" in path, f"{method} {path} answers without naming anything owned: list it, with a reason"
        for client in (second, nobody):
            client.cookies = client.cookies if client is second else httpx.Cookies()
            answer = client.request(method, fill(path, owned), json={"track_id": 0} if method == "POST" else None)
            assert answer.status_code == 404, f"{method} {path} -> {answer.status_code} {answer.text[:200]}"
            assert list(answer.json()) == ["error"]
    assert second.get("/api/results").json() == []


def test_what_anyone_may_ask_for_names_nobody(site: Served, owned: dict[str, str]) -> None:
    second = site.guest()
    for method, path in FOR_EVERYONE:
        if method == "GET":
            text = second.get(path).text
            assert not any(secret in text for secret in (*owned.values(), "my-secret-name"))


def test_the_owner_still_has_it_after_the_others_attempts(site: Served) -> None:
    owner, other = site.guest(), site.guest()
    result = read(owner)
    assert other.delete(f"/api/results/{result}").status_code == 404
    assert other.get(f"/api/results/{result}/clip").status_code == 404
    assert owner.get(f"/api/results/{result}/clip").content == tone()


def test_every_gradio_route_is_closed_but_what_loads_a_page(site: Served, owned: dict[str, str]) -> None:
    second = site.guest()
    routes = gradio_routes(site)
    tried = {path for _, path in routes}
    for needed in ("/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/queue/data", "/config", "/monitoring"):
        assert needed in tried
    assert any(path.startswith("/gradio_api/file=") for path in tried)
    for method, path in routes:
        if path in GRADIO_FOR_EVERYONE and method in ("GET", "HEAD"):
            continue
        answer = second.request(method, fill(path, owned))
        assert answer.status_code == 404, f"{method} {path} -> {answer.status_code}"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/gradio_api/queue/join", {"fn_index": 0, "data": [], "session_hash": "abc"}),
        ("GET", "/gradio_api/queue/data?session_hash=abc", None),
        ("POST", "/gradio_api/run/predict", {"fn_index": 0, "data": []}),
        ("POST", "/gradio_api/api/predict", {"fn_index": 0, "data": []}),
        ("POST", "/gradio_api/api/false", {"data": []}),
        ("POST", "/gradio_api/call/predict", {"data": []}),
        ("POST", "/gradio_api/call/v2/predict", {"data": []}),
        ("GET", "/gradio_api/call/predict/abc", None),
        ("GET", "/gradio_api/file=/etc/passwd", None),
        ("GET", "/gradio_api/file/etc/passwd", None),
        ("GET", "/file=/etc/passwd", None),
        ("GET", "/gradio_api/proxy=http://127.0.0.1:1/", None),
        ("POST", "/gradio_api/component_server", {"component_id": 1, "fn_name": "x", "session_hash": "abc"}),
        ("GET", "/gradio_api/heartbeat/abc", None),
        ("GET", "/gradio_api/info", None),
        ("GET", "/config", None),
        ("GET", "/monitoring", None),
        ("GET", "/monitoring/summary", None),
        ("POST", "/login", None),
        ("POST", "/", None),
        ("GET", "/openapi.json", None),
        ("GET", "/docs", None),
        ("GET", "/gradio_api/mcp/", None),
        ("GET", "/live/../config", None),
    ],
)
def test_no_queue_event_or_file_of_gradio_can_be_had(site: Served, method: str, path: str, body: dict | None) -> None:
    answer = site.guest().request(method, path, json=body)
    assert answer.status_code == 404, answer.text[:200]


def test_gradio_takes_no_upload(site: Served) -> None:
    answer = site.guest().post("/gradio_api/upload", files={"files": ("a.txt", b"hello")})
    assert answer.status_code == 404


def test_a_page_tells_gradios_config_of_no_handler(site: Served) -> None:
    text = site.guest().get("/").text
    config = json.loads(re.search(r"window\.gradio_config = (\{.*?\});</script>", text, re.S)[1])  # type: ignore[index]
    assert config["dependencies"] == []


@pytest.mark.parametrize("path", ["/static/..%2fapp.py", "/static/%2e%2e/app.py", "/assets/..%2f..%2froutes.py", "/static/"])
def test_no_path_leads_out_of_the_static_folder(site: Served, path: str) -> None:
    assert site.guest().get(path).status_code == 404


def test_a_file_name_is_shown_but_never_a_path(site: Served) -> None:
    client = site.guest()
    result = read(client, name="../../../tmp/<b>evil</b>\x07.wav")
    answer = client.get(f"/api/results/{result}")
    record = answer.json()["record"]
    assert record["path"] == "b>.wav" or "/" not in record["path"]
    assert str(site.services.visitors.folder) not in answer.text
    assert all(path.parent.parent == site.services.visitors.folder for path in stored(site))
    for kind in ("json", "csv"):
        assert str(site.services.visitors.folder) not in client.get(f"/api/results/{result}/download/{kind}").text


def test_a_download_keeps_the_script_of_its_name_and_nothing_else_of_it(site: Served) -> None:
    client = site.guest()
    result = read(client, name='Злость\'; x="1"\r\nset-cookie: a=b\u202e 100%.wav')
    answer = client.get(f"/api/results/{result}/download/csv")
    ours = client.get(f"/api/results/{result}").json()["record"]["path"].removesuffix(".wav")
    form = r"""attachment; filename="([\w .-]+)"; filename\*=UTF-8''([A-Za-z0-9%._~-]+)"""
    plain, star = re.fullmatch(form, answer.headers["content-disposition"]).groups()  # type: ignore[union-attr]
    assert plain.startswith("______") and plain.endswith("-avemo.csv")
    assert unquote(star) == f"{ours}-avemo.csv"
    assert unquote(star).startswith("Злость'") and "100%" in unquote(star)
    assert all(character.isprintable() and character not in '"/\\' for character in unquote(star))
    assert "set-cookie" not in answer.headers


def test_ids_cannot_be_guessed(site: Served) -> None:
    client = site.guest()
    jobs = {post(client).json()["job"] for _ in range(2)}
    results = {ended(client, job)["result"] for job in jobs}
    assert len(jobs) == len(results) == 2
    assert all(len(name) >= 32 for name in jobs | results)


def test_a_clip_goes_when_its_time_is_over(site_with: Callable[..., Served]) -> None:
    site = site_with(keep_s=100, sweep_s=0.05)
    client = site.guest()
    first, second = read(client), read(client)
    assert len(stored(site)) == 2
    site.now[0] += 60
    assert client.get(f"/api/results/{second}").status_code == 200  # used: its time begins again
    site.now[0] += 60
    wait_for(lambda: len(stored(site)) == 1)
    assert client.get(f"/api/results/{first}").status_code == 404
    assert client.get(f"/api/results/{second}").status_code == 200
    site.now[0] += 101
    wait_for(lambda: not stored(site))
    wait_for(lambda: not list(site.services.visitors.folder.glob("*/")))  # the visitor is forgotten with the last one
    assert client.get(f"/api/results/{second}").status_code == 404


def test_a_clip_goes_at_once_when_its_visitor_says_so(site: Served) -> None:
    client = site.guest()
    before = len(stored(site))
    result = read(client)
    assert len(stored(site)) == before + 1
    assert client.delete(f"/api/results/{result}").status_code == 204
    assert len(stored(site)) == before
    assert client.get(f"/api/results/{result}").status_code == 404


def test_the_oldest_reading_goes_when_there_are_too_many(site_with: Callable[..., Served]) -> None:
    site = site_with(results_per_visitor=2)
    client = site.guest()
    results = [read(client) for _ in range(3)]
    assert [client.get(f"/api/results/{r}").status_code for r in results] == [404, 200, 200]
    assert len(stored(site)) == 2


def test_everything_goes_when_the_server_stops_or_was_killed() -> None:
    visitors, killed = Visitors(Settings()), Visitors(Settings())
    for one in (visitors, killed):
        path = one.place(one.admit("v" * 43))
        path.write_bytes(b"clip")
        assert one.folder.stat().st_mode & 0o777 == 0o700
        assert path.parent.stat().st_mode & 0o777 == 0o700
    visitors.close()
    assert not visitors.folder.exists()
    assert killed.folder.exists()  # in use: no other server's start touches it
    killed._lock_file.close()  # what the system does for a process that was killed
    Visitors(Settings()).close()
    assert not killed.folder.exists()


def test_a_clip_that_cannot_be_read_is_not_kept(site: Served) -> None:
    client = site.guest()
    before = stored(site)
    job = post(client, b"this is no clip", "holiday.mp4").json()["job"]
    state = ended(client, job)
    assert state["state"] == "failed"
    assert state["error"].endswith(".")
    assert str(site.services.visitors.folder) not in state["error"]
    assert stored(site) == before


def wait_for(true: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)

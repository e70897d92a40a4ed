"""Headers, cookies, where a request may come from, and what a visitor learns of a failure."""

import re
from collections.abc import Callable

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from avemo_core.web.visitors import COOKIE, clean_name

from .conftest import Served, post

PLACES = [
    ("GET", "/"),
    ("GET", "/live"),
    ("GET", "/about"),
    ("GET", "/nothing-here"),
    ("GET", "/theme.css"),
    ("GET", "/static/css/avemo.css"),
    ("GET", "/static/css/emotions.css"),
    ("GET", "/static/js/theme.js"),
    ("GET", "/static/missing.js"),
    ("GET", "/api/status"),
    ("GET", "/api/examples"),
    ("GET", "/api/jobs/nobody"),
    ("GET", "/api/results/nobody/clip"),
    ("POST", "/api/clips"),
    ("PUT", "/api/clips"),
    ("POST", "/gradio_api/queue/join"),
    ("HEAD", "/"),
    ("OPTIONS", "/api/clips"),
]


@pytest.mark.parametrize(("method", "path"), PLACES)
def test_every_answer_has_the_headers(site: Served, method: str, path: str) -> None:
    answer = site.guest().request(method, path, headers={"origin": site.address})
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "object-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("script-src")[1].split(";")[0]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert "camera=(self), microphone=(self)" in answer.headers["permissions-policy"]
    assert answer.headers["x-frame-options"] == "DENY"
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers
    if path.startswith("/api/") or path in ("/", "/live", "/about"):
        assert answer.headers["cache-control"] == "no-store"


def test_every_inline_script_of_a_page_has_this_answers_nonce(site: Served) -> None:
    first, second = site.visitor().get("/"), site.visitor().get("/")
    nonces = []
    for answer in (first, second):
        nonce = re.search(r"'nonce-([\w-]{22})'", answer.headers["content-security-policy"])[1]  # type: ignore[index]
        inline = re.findall(r"<script(?![^>]*\bsrc=)([^>]*)>", answer.text)
        assert len(inline) >= 3
        assert all(f'nonce="{nonce}"' in attributes for attributes in inline)
        nonces.append(nonce)
    assert nonces[0] != nonces[1]


@pytest.mark.parametrize("path", ["/", "/live", "/about"])
def test_a_page_names_no_other_host(site: Served, path: str) -> None:
    text = site.guest().get(path).text
    hosts = set(re.findall(r"https?://[\w.:-]+", text)) - {site.address, "http://www.w3.org"}
    loaded = [h for h in hosts if re.search(rf'(src|href|content)="{re.escape(h)}', text)]
    assert not loaded


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(site: Served) -> None:
    client = site.visitor()
    cookie = client.get("/").headers["set-cookie"]
    assert re.fullmatch(rf"{COOKIE}=[\w-]{{43}}; Path=/; HttpOnly; SameSite=Strict", cookie)
    assert "set-cookie" not in client.get("/").headers  # it is kept
    assert site.visitor().get("/").headers["set-cookie"] != cookie
    assert "set-cookie" not in site.visitor().get("/static/js/theme.js").headers


@pytest.mark.parametrize("value", ["short", "x" * 44, "../../etc/passwd", "é" * 43, "a" * 5000])
def test_a_cookie_that_is_not_ours_is_replaced(site: Served, value: str) -> None:
    answer = httpx.get(site.address + "/", headers={"cookie": f"{COOKIE}={value}".encode()})
    assert answer.status_code == 200
    assert COOKIE in answer.headers["set-cookie"]


def test_in_a_space_the_page_may_stand_in_its_frame_and_nowhere_else(site_with: Callable[..., Served]) -> None:
    site = site_with(space=True)
    answer = site.visitor().get("/")
    assert "frame-ancestors https://huggingface.co" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers
    cookie = answer.headers["set-cookie"]
    for flag in ("HttpOnly", "Secure", "SameSite=None", "Partitioned"):
        assert flag in cookie
    assert "Space" in site.visitor().get("/about").text


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/api/clips"), ("DELETE", "/api/results/x"), ("DELETE", "/api/jobs/x")]
)
def test_another_sites_page_changes_nothing(site: Served, method: str, path: str, headers: dict[str, str]) -> None:
    answer = site.guest().request(method, path, headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["error"]


def test_our_own_page_may(site: Served) -> None:
    client = site.guest()
    client.headers.update({"origin": site.address, "sec-fetch-site": "same-origin"})
    assert post(client).status_code == 202


def test_another_host_name_is_refused(site: Served) -> None:
    answer = httpx.get(site.address + "/", headers={"host": "evil.example"})
    assert answer.status_code == 400
    assert "evil.example" in answer.json()["error"]


@pytest.mark.parametrize("header", [{"host": "["}, {"host": "[::1"}, {"origin": "http://["}])
def test_a_host_or_origin_that_is_no_address_is_refused(site: Served, header: dict[str, str]) -> None:
    answer = httpx.post(site.address + "/api/clips", headers=header)
    assert answer.status_code == 400
    assert "is no address" in answer.json()["error"]


def test_the_live_socket_wants_our_page_and_a_cookie(site: Served) -> None:
    token = site.guest().cookies[COOKIE]
    address = site.address.replace("http", "ws") + "/api/live"
    for headers in (
        {"origin": "http://evil.example", "cookie": f"{COOKIE}={token}"},
        {"origin": site.address},
        {"origin": site.address, "cookie": f"{COOKIE}=short"},
    ):
        with pytest.raises(InvalidStatus) as refused, connect(address, additional_headers=headers):
            pass
        assert refused.value.response.status_code == 403
    with connect(address, additional_headers={"origin": site.address, "cookie": f"{COOKIE}={token}"}) as socket:
        assert '"ready"' in str(socket.recv(timeout=60))


def test_who_reads_pages_gets_a_page_and_who_reads_json_gets_json(site: Served) -> None:
    page = site.visitor().get("/nothing", headers={"accept": "text/html"})
    assert page.status_code == 404
    assert page.text.startswith("<!doctype html>")
    assert "nothing at this address" in page.text
    assert site.visitor().get("/nothing").json()["error"].endswith(".")


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\me.mov", "me.mov"),
        ("мой клип.webm", "мой клип.webm"),
        ('a"b<c>.wav', "abc.wav"),
        ("line\nbreak\x00.wav", "linebreak.wav"),
        ("", "clip"),
        ("...", "clip"),
        (None, "clip"),
        ("x" * 200 + ".mp4", "x" * 76 + ".mp4"),
        ("y" * 200, "y" * 80),
    ],
)
def test_a_file_name_is_cleaned(given: str | None, shown: str) -> None:
    assert clean_name(given) == shown
    assert len(clean_name(given)) <= 80

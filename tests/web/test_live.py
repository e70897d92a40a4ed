"""The Live page and its WebSocket: a place for each, and a socket that survives anything."""

import json
import math
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from avemo_core.labels import LABELS
from avemo_core.web.live import FRAME, HEADER, MAX_SESSIONS, SOUND, LiveRoom, page_markup
from avemo_core.web.services import STATIC, Settings
from avemo_core.web.site import build_site
from tests.conftest import is_one_sentence
from tests.media_files import jpeg, png

RATE = 48_000
GREY = np.full((240, 320, 3), 128, np.uint8)


@pytest.fixture(scope="module")
def site(analyzer):
    with TestClient(build_site(analyzer, Settings())) as client:
        yield client


def visitor(site: TestClient) -> dict[str, str]:
    """Headers of a new visitor, who has loaded the page."""
    site.cookies.clear()
    cookie = site.get("/live").headers["set-cookie"].split(";")[0]
    site.cookies.clear()
    return {"cookie": cookie}


def packet(kind: int, sequence: int, at_ms: float, payload: bytes) -> bytes:
    return HEADER.pack(kind, sequence, at_ms) + payload


def answer(socket, wanted: str) -> dict:
    while True:
        message = json.loads(socket.receive_text())
        if message["type"] in (wanted, "end"):
            return message


def read_once(site: TestClient, headers: dict[str, str], picture: bytes) -> dict:
    with site.websocket_connect("/api/live", headers=headers) as socket:
        assert answer(socket, "ready")["type"] == "ready"
        socket.send_bytes(packet(FRAME, 1, 1234.5, picture))
        return answer(socket, "reading")


def test_frame_comes_back_as_a_reading_with_its_own_time(site, webcam):
    reading = read_once(site, visitor(site), jpeg(webcam[0][0]))
    assert (reading["sequence"], reading["captured_ms"], reading["seen_ms"]) == (1, 1234.5, 1234.5)
    assert reading["frame"] == [320, 240]
    assert len(reading["box"]) == 4
    assert sum(reading["face"]) == pytest.approx(1, abs=0.001)
    assert reading["voice"] is None
    assert reading["why"]["voice"] == "the microphone is off"
    assert (reading["received"], reading["dropped"]) == (1, 0)


def test_browser_without_our_cookie_is_turned_away(site):
    site.cookies.clear()
    with pytest.raises(WebSocketDisconnect), site.websocket_connect("/api/live"):
        pass


def test_page_of_another_site_is_turned_away(site):
    headers = visitor(site) | {"origin": "https://elsewhere.example"}
    with pytest.raises(WebSocketDisconnect), site.websocket_connect("/api/live", headers=headers):
        pass


START_SOUND = json.dumps({"type": "sound", "sample_rate": RATE})
BAD = {
    "unknown text": ["hello"],
    "json of another kind": ['{"type": "nothing"}'],
    "a list": ["[]"],
    "deep json": ["[" * 900],
    "no bytes": [b""],
    "header only": [HEADER.pack(FRAME, 1, 5.0)],
    "unknown kind": [packet(9, 1, 5.0, b"x")],
    "time that is no number": [packet(FRAME, 1, math.nan, jpeg(GREY))],
    "time without end": [packet(FRAME, 1, math.inf, jpeg(GREY))],
    "time before the page": [packet(FRAME, 1, -1.0, jpeg(GREY))],
    "not a picture": [packet(FRAME, 1, 5.0, b"not a jpeg at all")],
    "png": [packet(FRAME, 1, 5.0, png(GREY))],
    "giant frame": [packet(FRAME, 1, 5.0, bytes(600_000))],
    "giant message": [bytes(2_000_000)],
    "sound without its rate": [packet(SOUND, 0, 5.0, bytes(400))],
    "half a sample": [START_SOUND, packet(SOUND, 0, 5.0, bytes(401))],
    "sound of no numbers": [START_SOUND, packet(SOUND, 0, 5.0, np.full(480, np.nan, "<f4").tobytes())],
    "sound of two seconds": [START_SOUND, packet(SOUND, 0, 5.0, bytes(4 * 2 * RATE))],
    "rate of zero": ['{"type": "sound", "sample_rate": 0}', packet(SOUND, 0, 5.0, bytes(400))],
    "rate in words": ['{"type": "sound", "sample_rate": "high"}'],
    "endless rate": ['{"type": "sound", "sample_rate": 1e999}'],
}


@pytest.mark.parametrize("messages", BAD.values(), ids=BAD.keys())
def test_malformed_message_ends_the_session_with_one_sentence(site, webcam, messages):
    headers = visitor(site)
    with site.websocket_connect("/api/live", headers=headers) as socket:
        answer(socket, "ready")
        for message in messages:
            socket.send_text(message) if isinstance(message, str) else socket.send_bytes(message)
        end = answer(socket, "end")
        assert end["code"] == 4400
        assert is_one_sentence(end["sentence"])
        with pytest.raises(WebSocketDisconnect):
            socket.receive_text()
    assert read_once(site, headers, jpeg(webcam[0][0]))["type"] == "reading"


def test_random_bytes_never_harm_the_server(site, webcam):
    rng = np.random.default_rng(1)
    headers = visitor(site)
    good = jpeg(webcam[0][0])
    for n in range(60):
        damaged = bytearray(packet([FRAME, SOUND][n % 2], n, 1000.0 + n, good))
        for place in rng.integers(0, len(damaged), rng.integers(1, 40)):
            damaged[place] = rng.integers(0, 256)
        with site.websocket_connect("/api/live", headers=headers) as socket:
            answer(socket, "ready")
            socket.send_text(START_SOUND)
            socket.send_bytes(bytes(damaged))
            socket.send_bytes(packet(9, 0, 0.0, b"end"))  # so that a harmless message ends the session too
            end = answer(socket, "end")
            assert end["code"] == 4400, end
    assert read_once(site, headers, good)["type"] == "reading"


def test_slow_reader_drops_frames_and_never_lags(site, webcam):
    picture = jpeg(webcam[0][0])
    with site.websocket_connect("/api/live", headers=visitor(site)) as socket:
        answer(socket, "ready")
        for n in range(1, 61):  # all at once: no reader keeps up
            socket.send_bytes(packet(FRAME, n, 1000.0 + n, picture))
        readings = [answer(socket, "reading")]
        while readings[-1]["sequence"] < 60:
            readings.append(answer(socket, "reading"))
    sequences = [r["sequence"] for r in readings]
    assert sequences == sorted(set(sequences))
    assert readings[-1]["received"] == 60
    assert readings[-1]["dropped"] == 60 - len(readings) > 0


def test_lesson_over_the_socket_and_forgetting_while_frozen(site, webcam):
    frames, wave = webcam
    with site.websocket_connect("/api/live", headers=visitor(site)) as socket:
        answer(socket, "ready")
        socket.send_text('{"type": "forget"}')  # nothing to forget
        first = answer(socket, "reading")
        assert (first["sequence"], first["learning"], first["baseline"]) == (None, None, None)
        socket.send_text(START_SOUND)
        socket.send_text('{"type": "learn"}')
        socket.send_text('{"type": "learn"}')
        for n in range(1, 200):
            at_ms = 1050.0 + 100 * n  # between the tenths that crops are counted by
            socket.send_bytes(packet(SOUND, 0, at_ms, wave[4800 * (n % 19) : 4800 * (n % 19 + 1)].tobytes()))
            socket.send_bytes(packet(FRAME, n, at_ms, jpeg(frames[n % len(frames)])))
            reading = answer(socket, "reading")
            while reading["sequence"] != n:
                reading = answer(socket, "reading")
            if reading["baseline"]:
                break
        assert reading["learning"] is None
        assert reading["baseline"]["face_s"] > 6
        assert reading["baseline"]["voice_s"] > 1
        assert reading["learned"] is None
        socket.send_text('{"type": "forget"}')  # no picture comes any more
        assert answer(socket, "reading")["baseline"] is None


def test_fifth_visitor_is_told_to_wait_and_gets_in_when_one_leaves(site, webcam):
    inside = [site.websocket_connect("/api/live", headers=visitor(site)) for _ in range(MAX_SESSIONS)]
    for session in inside:
        assert answer(session.__enter__(), "ready")["type"] == "ready"
    late = visitor(site)
    with site.websocket_connect("/api/live", headers=late) as socket:
        end = answer(socket, "end")
        assert end["code"] == 4429
        assert is_one_sentence(end["sentence"]) and str(MAX_SESSIONS) in end["sentence"]
    for session in inside:
        session.__exit__(None, None, None)
    assert read_once(site, late, jpeg(webcam[0][0]))["type"] == "reading"


def test_visitors_share_the_thread_fairly(site, webcam):
    picture = jpeg(webcam[0][0])
    sessions = [site.websocket_connect("/api/live", headers=visitor(site)) for _ in range(2)]
    greedy, modest = (session.__enter__() for session in sessions)
    for socket in (greedy, modest):
        answer(socket, "ready")
    for n in range(1, 200):
        greedy.send_bytes(packet(FRAME, n, 1000.0 + n, picture))
    modest.send_bytes(packet(FRAME, 1, 1.0, picture))
    assert answer(modest, "reading")["sequence"] == 1
    assert answer(greedy, "reading")["type"] == "reading"
    for session in sessions:
        session.__exit__(None, None, None)


def test_second_page_of_a_visitor_takes_the_place_over(site, webcam):
    headers = visitor(site)
    with site.websocket_connect("/api/live", headers=headers) as first:
        answer(first, "ready")
        assert read_once(site, headers, jpeg(webcam[0][0]))["type"] == "reading"
        end = answer(first, "end")
        assert end["code"] == 4000
        assert is_one_sentence(end["sentence"])


@pytest.mark.parametrize(
    ("limits", "words"), [({"session_s": 0.5}, "turn"), ({"idle_s": 0.5}, "Nothing arrived")], ids=["long", "silent"]
)
def test_session_that_is_long_or_silent_ends_with_a_sentence(analyzer, limits, words):
    app = FastAPI()
    room = LiveRoom(analyzer, **limits)

    @app.websocket("/api/live")
    async def serve(socket: WebSocket) -> None:
        await room.serve(socket, "someone")

    with TestClient(app) as client, client.websocket_connect("/api/live") as socket:
        answer(socket, "ready")
        end = answer(socket, "end")
    assert end["code"] == 4000
    assert words in end["sentence"]
    assert not room._sessions


WRITTEN: list[str] = []
WATCHING = False


def watch_files(event: str, args: tuple) -> None:
    if WATCHING and event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+"):
        WRITTEN.append(str(args[0]))


def test_nothing_of_a_stream_is_written_to_disk(site, webcam):
    global WATCHING
    headers = visitor(site)
    read_once(site, headers, jpeg(webcam[0][0]))  # whatever is loaded on first use is loaded now
    sys.addaudithook(watch_files)
    WATCHING = True
    try:
        (Path(__file__).parent / "test_live.py").open("r").close()
        with site.websocket_connect("/api/live", headers=headers) as socket:
            answer(socket, "ready")
            socket.send_text(START_SOUND)
            for n in range(1, 6):
                socket.send_bytes(packet(SOUND, 0, 900.0 + 100 * n, webcam[1][4800 * n : 4800 * (n + 1)].tobytes()))
                socket.send_bytes(packet(FRAME, n, 1000.0 + 100 * n, jpeg(webcam[0][n])))
                while answer(socket, "reading")["sequence"] != n:
                    pass
    finally:
        WATCHING = False
    assert WRITTEN == []


def test_page_names_the_limits_of_the_code_and_has_one_heading(site):
    html = page_markup(site.app.state.services)
    assert html.count("<h1") == 1
    assert "$" not in html
    assert f"{MAX_SESSIONS} people can be live at once" in html
    for label in LABELS:
        assert f'data-label="{label}"' in html


def test_header_is_sixteen_bytes_as_the_page_writes_it():
    script = (STATIC / "js/live.js").read_text()
    assert HEADER.size == 16
    assert "HEADER_BYTES = 16" in script
    data = packet(FRAME, 7, 2.5, b"x")
    assert data[0] == FRAME
    assert struct.unpack_from("<I", data, 4)[0] == 7
    assert struct.unpack_from("<d", data, 8)[0] == 2.5

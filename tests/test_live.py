"""The live stream: following a face, the tail of the sound, steady verdicts, and a socket that survives anything."""

import io
import json
import math
import struct
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from fastapi import FastAPI, WebSocket
from PIL import Image
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from avemo_core import faces, live
from avemo_core.analyzer import Analyzer
from avemo_core.calibration import Calibration, Condition
from avemo_core.checkpoint import Checkpoint
from avemo_core.labels import LABELS, K
from avemo_core.live import Follower, Found, Lesson, LiveError, LiveReader, SoundTail, Steady, decode_jpeg
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.synthetic import write_webcam
from avemo_core.systems import system
from avemo_core.web.live import FRAME, HEADER, MAX_SESSIONS, SOUND, LiveRoom, page_markup
from avemo_core.web.services import Settings
from avemo_core.web.site import build_site

RATE = 48_000


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the live thread: small pieces of work on two busy cores otherwise take many times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def webcam(tmp_path_factory):
    """(frames uint8 [30,240,320,3] at 15 a second, float32 [n] at 48 kHz) of a drawn face that speaks."""
    folder = tmp_path_factory.mktemp("webcam")
    write_webcam(folder / "v.y4m", folder / "a.wav", seconds=2.0)
    with av.open(str(folder / "v.y4m")) as file:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
    wave = np.frombuffer((folder / "a.wav").read_bytes()[44:], "<i2").astype(np.float32) / 32768
    return frames, wave


def jpeg(picture: np.ndarray, **options) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", **({"quality": 80} | options))
    return out.getvalue()


def png(picture: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()


def is_one_sentence(text: str) -> bool:
    return text.endswith(".") and "\n" not in text and "Traceback" not in text and 20 < len(text) < 200


# --- pictures ----------------------------------------------------------------------------------------------------------

GREY = np.full((240, 320, 3), 128, np.uint8)


def test_jpeg_becomes_a_frame():
    assert decode_jpeg(jpeg(GREY)).shape == (240, 320, 3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        b"\xff\xd8\xff",
        png(GREY),
        jpeg(np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8))[:5000],
        jpeg(np.zeros((700, 20, 3), np.uint8)),
        jpeg(GREY) + bytes(live.MAX_FRAME_BYTES),
        jpeg(GREY, progressive=True),
    ],
    ids=["empty", "text", "three bytes", "png", "truncated", "too tall", "too many bytes", "many scans"],
)
def test_what_is_not_a_live_picture_is_refused_in_one_sentence(data):
    with pytest.raises(LiveError) as refusal:
        decode_jpeg(data)
    assert is_one_sentence(str(refusal.value))


# --- following a face --------------------------------------------------------------------------------------------------


def test_followed_face_lies_where_a_full_search_finds_it(webcam):
    frames, _ = webcam
    follower, detector = Follower(), faces.Detector()
    found = [follower.find(frame, n / 15) for n, frame in enumerate(frames[:12])]
    searched = detector.find(frames[11:12])[0]
    assert all(f is not None for f in found)
    eyes = np.linalg.norm(searched.landmarks[0, 0] - searched.landmarks[0, 1])
    assert np.abs(found[-1].landmarks - searched.landmarks[0]).max() < 0.1 * eyes


def test_face_is_followed_when_it_moves_and_found_again_when_it_comes_back(webcam):
    frames, _ = webcam
    follower = Follower()
    first = follower.find(frames[0], 0.0)
    moved = follower.find(np.roll(frames[0], 12, axis=1), 0.05)
    assert (moved.landmarks - first.landmarks).mean(0) == pytest.approx([12, 0], abs=2)
    assert follower.find(GREY, 0.10) is None
    again = follower.find(frames[0], 0.40)
    assert np.abs(again.box - first.box).max() < 4


def test_frame_smaller_than_a_face_holds_none():
    assert Follower().find(np.zeros((10, 12, 3), np.uint8), 0.0) is None


def at(x: float, size: float) -> Found:
    return Found(np.array([x, 0, x + size, size]), np.zeros((5, 2)), 0.99)


@pytest.mark.parametrize(
    ("candidates", "followed", "chosen"),
    [
        ([], at(0, 50), None),
        ([at(100, 60), at(0, 50)], None, 0),
        ([at(100, 60), at(2, 50)], at(0, 50), 1),
        ([at(100, 90), at(2, 50)], at(0, 50), 0),
        ([at(100, 60)], at(0, 50), 0),
    ],
    ids=["nobody", "largest first", "same person stays", "someone twice as large takes over", "the one who is left"],
)
def test_person_followed_stays_the_same(candidates, followed, chosen):
    found = Follower._choose(candidates, followed)
    assert found is (None if chosen is None else candidates[chosen])


# --- sound -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_tail_holds_the_last_two_seconds_at_16_khz(rate):
    tail = SoundTail()
    piece = rate // 10
    tone = np.sin(2 * np.pi * 440 * np.arange(3 * rate) / rate).astype(np.float32)
    for k in range(30):
        tail.add(tone[k * piece : (k + 1) * piece], rate, 5 + k / 10)
    wave, start_s = tail.tail()
    assert len(wave) == 32_000
    assert start_s == pytest.approx(6.0, abs=0.001)
    assert np.abs(np.fft.rfft(wave)).argmax() / 2 == pytest.approx(440, abs=1)


def test_gap_in_the_sound_starts_afresh():
    tail = SoundTail()
    tail.add(np.ones(4800, np.float32), RATE, 0.0)
    tail.add(np.ones(4800, np.float32), RATE, 0.1)
    tail.add(np.ones(4800, np.float32), RATE, 2.0)
    assert len(tail.tail()[0]) <= 1600


@pytest.mark.parametrize(
    ("samples", "rate"),
    [
        (np.full(480, np.nan, np.float32), RATE),
        (np.full(480, np.inf, np.float32), RATE),
        (np.zeros(0, np.float32), RATE),
        (np.zeros(2 * RATE, np.float32), RATE),
        (np.zeros(480, np.float32), 0),
        (np.zeros(480, np.float32), 10_000_000),
    ],
    ids=["not numbers", "infinite", "empty", "too long", "no rate", "absurd rate"],
)
def test_what_is_not_sound_is_refused_in_one_sentence(samples, rate):
    with pytest.raises(LiveError) as refusal:
        SoundTail().add(samples, rate, 0.0)
    assert is_one_sentence(str(refusal.value))


# --- steady readings ---------------------------------------------------------------------------------------------------


def leaning(label: str, p: float) -> np.ndarray:
    """[7] with `p` on one label and the rest shared."""
    rest = np.full(K, (1 - p) / (K - 1))
    rest[LABELS.index(label)] = p
    return rest


def steady(threshold: float = 0.5) -> Steady:
    return Steady(Calibration(*(Condition(threshold=threshold) for _ in range(3))))


def feed(state: Steady, p: np.ndarray | None, now_s: float) -> None:
    why = {"face": None if p is not None else "no face in view", "voice": "listening"}
    state.update({"face": p, "voice": None, "both": p}, why, now_s)


def test_probabilities_follow_with_a_time_constant():
    state = steady()
    feed(state, leaning("neutral", 1.0), 0.0)
    feed(state, leaning("anger", 1.0), live.SMOOTHING_S)
    assert state.shown["both"][LABELS.index("neutral")] == pytest.approx(math.exp(-1))
    assert state.shown["both"][LABELS.index("anger")] == pytest.approx(1 - math.exp(-1))


def test_nothing_is_carried_over_a_pause():
    state = steady()
    feed(state, leaning("neutral", 1.0), 0.0)
    feed(state, leaning("anger", 0.9), 5.0)
    assert state.shown["both"] == pytest.approx(leaning("anger", 0.9))


def test_verdict_needs_its_threshold_and_stays_a_little_under_it():
    said = []
    state = steady(0.5)
    for k, p in enumerate([0.48, 0.52, 0.47, 0.44, 0.48, 0.52]):
        feed(state, leaning("happiness", p), 10.0 * k)  # far apart: no smoothing
        said.append(not state.verdict.abstained)
    assert said == [False, True, True, False, False, True]


def test_verdict_changes_only_when_another_leads_clearly():
    state = steady(0.3)
    p = np.full(K, 0.04)
    for k, (happiness, anger, expected) in enumerate(
        [(0.42, 0.38, "happiness"), (0.39, 0.41, "happiness"), (0.36, 0.44, "anger"), (0.41, 0.39, "anger")]
    ):
        p[LABELS.index("happiness")], p[LABELS.index("anger")] = happiness, anger
        feed(state, p.copy(), 10.0 * k)
        assert state.verdict.label == expected
    assert state.since_s == 20.0


def test_without_a_face_and_a_voice_there_is_no_verdict():
    state = steady()
    feed(state, None, 0.0)
    assert state.verdict is None


# --- the reader --------------------------------------------------------------------------------------------------------


def stream(reader: LiveReader, webcam, seconds: float, start_s: float = 100.0, picture=True, speak=True) -> list:
    """Plays the webcam in a loop, and lets the reader read after every frame as if it had all the time it needs."""
    frames, wave = webcam
    readings = []
    for n in range(round(seconds * 15)):
        now = start_s + n / 15
        if speak:
            first = (n % 29) * 3200
            reader.hear(wave[first : first + 3200], RATE, now - 1 / 15)
        if picture:
            reader.see(frames[n % len(frames)], now)
        reader._ready_at = -math.inf
        readings.append(reader.read())
    return readings


def test_face_and_voice_are_read_together(analyzer, webcam):
    last = stream(LiveReader(analyzer), webcam, 2.5)[-1]
    assert last.fresh
    assert last.seen_s == pytest.approx(100 + 37 / 15)
    assert last.why == {"face": None, "voice": None}
    for condition in ("both", "face", "voice"):
        assert last.probabilities[condition].shape == (K,)
        assert last.probabilities[condition].sum() == pytest.approx(1, abs=1e-5)
    assert last.frame_size == (320, 240)
    x0, y0, x1, y1 = last.box
    assert 0 < x0 < x1 < 320 and 0 < y0 < y1 < 240
    assert last.verdict is not None
    assert -80 < last.level_db < 0


def test_first_reading_is_that_of_the_analyzer(analyzer, webcam):
    frames, _ = webcam
    reader = LiveReader(analyzer)
    reader.see(frames[0], 7.0)
    reading = reader.read()
    crop = faces.align(frames[0], Follower().find(frames[0], 0.0).landmarks)
    expected, _ = analyzer.read_window(analyzer.embed(crop[None]), np.array([7.0]), None, 0.0, 5.0, 7.0)
    assert reading.probabilities["face"] == pytest.approx(expected["face"], abs=1e-5)
    assert reading.probabilities["voice"] is None


def test_between_readings_the_last_one_stands_and_says_so(analyzer, webcam):
    frames, _ = webcam
    reader = LiveReader(analyzer)
    reader.see(frames[0], 1.0)
    assert reader.read().fresh
    reader._ready_at = time.monotonic() + 60
    reader.see(frames[1], 1.07)
    second = reader.read()
    assert not second.fresh
    assert second.seen_s == 1.0


def test_face_that_leaves_is_said_and_the_voice_goes_on(analyzer, webcam):
    reader = LiveReader(analyzer)
    stream(reader, webcam, 2.0)
    frames, wave = webcam
    last = stream(reader, (np.zeros_like(frames), wave), 1.0, start_s=102.0)[-1]
    assert last.box is None
    assert last.why["face"] == "no face in view"
    assert last.probabilities["face"] is None
    assert last.probabilities["both"] is not None


def test_microphone_that_stops_is_said_and_the_face_goes_on(analyzer, webcam):
    reader = LiveReader(analyzer)
    stream(reader, webcam, 2.0)
    last = stream(reader, webcam, 1.0, start_s=102.0, speak=False)[-1]
    assert last.why["voice"] == "the microphone is off"
    assert last.probabilities["voice"] is None
    assert last.probabilities["face"] is not None
    assert last.level_db is None


def test_voice_alone_is_read_without_a_camera(analyzer, webcam):
    readings = stream(LiveReader(analyzer), webcam, 3.0, picture=False)
    last = [r for r in readings if r.fresh][-1]
    assert last.box is None
    assert last.why == {"face": "the camera is off", "voice": None}
    assert last.probabilities["voice"] is not None
    assert 8 <= sum(r.fresh for r in readings) <= 16  # five a second


def test_lost_camera_leaves_the_voice(analyzer, webcam):
    reader = LiveReader(analyzer)
    stream(reader, webcam, 2.0)
    last = [r for r in stream(reader, webcam, 3.0, start_s=102.0, picture=False) if r.fresh][-1]
    assert last.seen_s > 104
    assert last.why["face"] == "the camera is off"


def test_silence_is_not_read_as_a_voice(analyzer, webcam):
    frames, _ = webcam
    last = stream(LiveReader(analyzer), (frames, np.zeros(96_000, np.float32)), 2.0)[-1]
    assert last.probabilities["voice"] is None
    assert last.why["voice"] == "no voice heard"
    assert not last.voiced


def test_memory_of_a_stream_is_two_seconds_long(analyzer, webcam):
    reader = LiveReader(analyzer)
    stream(reader, webcam, 6.0)
    assert len(reader._maps) <= 21
    assert len(reader._sound.tail()[0]) == 2 * 16_000


def test_older_frame_is_refused(analyzer, webcam):
    frames, _ = webcam
    reader = LiveReader(analyzer)
    reader.see(frames[0], 5.0)
    with pytest.raises(LiveError, match="order"):
        reader.see(frames[1], 4.0)


# --- learning the person -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    """The real architecture with weights by chance, and a calibration of its own for a person who is known."""
    torch.manual_seed(3)
    model = AttentionCAM(**system("attention_cam").settings).eval()
    stranger, known = Condition(threshold=0.9), Condition(threshold=0.1)
    calibration = Calibration(stranger, stranger, stranger, {"face": known, "voice": known, "both": known})
    return Analyzer(Checkpoint(model, "by-chance", calibration, {}), device="cpu")


def test_lesson_of_eight_seconds_makes_a_baseline_that_readings_use(small, webcam):
    reader = LiveReader(small)
    stranger = stream(reader, webcam, 2.5)[-1]
    assert (stranger.learning, stranger.baseline, stranger.verdict.threshold) == (None, None, 0.9)
    reader.learn()
    lesson = stream(reader, webcam, live.LEARN_S - 0.2, start_s=102.5)
    shares = [r.learning for r in lesson]
    assert shares == sorted(shares) and 0 <= shares[0] < 0.1 and 0.9 < shares[-1] < 1
    assert all(r.baseline is None and r.verdict.threshold == 0.9 for r in lesson)
    last = stream(reader, webcam, 3.0, start_s=102.5 + live.LEARN_S - 0.2)[-1]
    assert (last.learning, last.learned) == (None, None)
    assert last.baseline["clips"] == 4
    assert 7 <= last.baseline["face_s"] <= 9
    assert 1 <= last.baseline["voice_s"] <= 8
    assert last.verdict.threshold == 0.1


def test_reading_against_a_baseline_is_that_of_the_analyzer(small, webcam):
    reader = LiveReader(small)
    reader.learn()
    stream(reader, webcam, live.LEARN_S + 1)
    maps = reader._maps.copy()
    times = np.array([t for t, _ in maps])
    known, _ = small.read_window(
        torch.stack([m for _, m in maps]), times, None, 0.0, times[-1] - 2, times[-1], reader._baseline
    )
    stranger, _ = small.read_window(torch.stack([m for _, m in maps]), times, None, 0.0, times[-1] - 2, times[-1])
    shown = reader.read().probabilities["face"]
    assert np.abs(known["face"] - stranger["face"]).max() > 1e-4
    assert np.abs(shown - known["face"]).max() < np.abs(shown - stranger["face"]).max()


def test_windows_of_a_lesson_do_not_overlap():
    lesson, ends = Lesson(), []
    for n in range(1000):
        before = len(lesson.taken)
        lesson.update({}, 5 + 0.13 * n)
        ends += [5 + 0.13 * n] * (len(lesson.taken) - before)
        if lesson.done == 1:
            break
    assert len(ends) == 4
    assert min(np.diff([5, *ends])) >= 2


def test_face_without_a_voice_learns_the_face_only_and_says_so(small, webcam):
    reader = LiveReader(small)
    reader.learn()
    last = stream(reader, webcam, live.LEARN_S + 0.5, speak=False)[-1]
    assert is_one_sentence(last.learned) and "no voice was heard" in last.learned
    assert last.baseline["face_s"] > 7
    assert last.baseline["voice_s"] == 0
    assert reader._baseline.trust["voice"] == 0 < reader._baseline.trust["face"]


def test_voice_without_a_face_learns_the_voice_only_and_says_so(small, webcam):
    reader = LiveReader(small)
    reader.learn()
    last = stream(reader, webcam, live.LEARN_S + 1, picture=False)[-1]
    assert is_one_sentence(last.learned) and "no face was in view" in last.learned
    assert last.baseline["face_s"] == 0 < last.baseline["voice_s"]


def test_nobody_is_said_and_nothing_is_learned(small, webcam):
    frames, _ = webcam
    reader = LiveReader(small)
    reader.learn()
    last = stream(reader, (np.zeros_like(frames), np.zeros(96_000, np.float32)), live.LEARN_S + 0.5)[-1]
    assert (last.learning, last.baseline) == (None, None)
    assert is_one_sentence(last.learned) and last.learned.startswith("Nothing was learned")


def test_second_lesson_starts_anew_and_forgetting_ends_it(small, webcam):
    reader = LiveReader(small)
    reader.forget()  # nothing to forget
    reader.learn()
    stream(reader, webcam, 5.0)
    reader.learn()
    assert stream(reader, webcam, 0.5, start_s=105.0)[-1].learning < 0.1
    reader.forget()
    last = stream(reader, webcam, live.LEARN_S + 1, start_s=105.5)[-1]
    assert (last.learning, last.learned, last.baseline) == (None, None, None)


def test_forgotten_baseline_is_read_against_no_more(small, webcam):
    reader = LiveReader(small)
    reader.learn()
    assert stream(reader, webcam, live.LEARN_S + 0.5)[-1].baseline
    reader.forget()
    last = stream(reader, webcam, 2.0, start_s=110.0)[-1]
    assert last.baseline is None
    assert last.verdict.threshold == 0.9


# --- the socket --------------------------------------------------------------------------------------------------------


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
    script = (Path(__file__).parents[1] / "static/js/live.js").read_text()
    assert HEADER.size == 16
    assert "HEADER_BYTES = 16" in script
    data = packet(FRAME, 7, 2.5, b"x")
    assert data[0] == FRAME
    assert struct.unpack_from("<I", data, 4)[0] == 7
    assert struct.unpack_from("<d", data, 8)[0] == 2.5

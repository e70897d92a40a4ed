"""The live reader: pictures, following a face, the tail of the sound, steady verdicts."""

import math
import time

import numpy as np
import pytest
import torch

from avemo_core import faces, live
from avemo_core.analyzer import Analyzer
from avemo_core.calibration import Calibration, Condition
from avemo_core.checkpoint import Checkpoint
from avemo_core.labels import LABELS, K
from avemo_core.live import Follower, Found, Lesson, LiveError, LiveReader, SoundTail, Steady, decode_jpeg
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.systems import system
from tests.conftest import is_one_sentence
from tests.media_files import jpeg, png

RATE = 48_000


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """As in the live thread: small pieces of work on two busy cores otherwise take many times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
    calibration = Calibration(stranger, stranger, stranger, personal={"face": known, "voice": known, "both": known})
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
    assert reader._baseline.known() == ["face"]


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

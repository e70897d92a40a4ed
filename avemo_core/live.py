"""A stream of pictures and sound -> the reading of its last two seconds, many times a second.

One `LiveReader` follows one person. All times are seconds of the sender's own clock, so that a reading can say which
picture it saw; nothing is counted, and whatever is older than the window is forgotten.
"""

import io
import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Any

import av
import numpy as np
import torch
from PIL import Image

from . import baseline as personal_baseline
from . import faces, sound
from .baseline import Baseline
from .calibration import Calibration
from .labels import LABELS, K
from .types import FACE_STEP_S, SAMPLE_RATE, WINDOW_S, AvemoError, Reading, Trace, Verdict
from .verdict import verdict

MAX_FRAME_BYTES = 200_000  # a 360 px JPEG at quality 0.8 has about 15 kB
MAX_FRAME_SIDE = 640  # pixels
MAX_CHUNK_S = 1.0  # of sound in one message; the page sends 0.1 s

SMALLEST_FACE = 40  # pixels of a 320 px frame: someone at arm's length to two metres
SEARCH_SIDE = 320  # pixels of the longer side at which a frame is searched
SEARCH_EVERY_S = 0.2  # without a face the whole frame is searched this often
FAST = 0.15  # of the face's width between two frames
RECHECK_EVERY_S = 1.0  # with one, this often: somebody larger may have come

SMOOTHING_S = 0.6  # time constant of the shown probabilities
SWITCH_MARGIN = 0.05  # a verdict stays until another leads by this, or it is this far under its threshold
GAP_S = 1.0  # a longer pause starts afresh: nothing is carried over it
ENOUGH_SOUND_S = 1.0  # before that a voice is not read
SOUND_LATE_S = 0.6  # sound older than this is gone: muted, or the microphone was lost
READ_EVERY_S = 0.2  # without pictures
LEARN_S = 8.0  # of a neutral face and voice: four windows, as much as the trust in people at large
READ_SHARE = 0.5  # of the time may go to reading windows; following the face has the rest


class LiveError(AvemoError):
    """A message that no page of ours sends; its text is one sentence and the stream ends."""


@dataclass(frozen=True)
class Found:
    """One face in one frame, in its pixels: box [4] x0, y0, x1, y1; landmarks [5,2]; the detector's probability."""

    box: np.ndarray
    landmarks: np.ndarray
    probability: float


@dataclass(frozen=True)
class LiveReading:
    """What a page shows. Probabilities are smoothed; a stream that could not be read is None and `why` says why."""

    seen_s: float  # sender's clock: the newest picture (or sound, without pictures) that the probabilities saw
    box: np.ndarray | None  # [4] in pixels of the newest frame
    frame_size: tuple[int, int] | None  # width, height
    probabilities: dict[str, np.ndarray | None]  # both, face, voice -> [7]
    why: dict[str, str | None]  # face, voice -> "no face in view"
    verdict: Verdict | None  # None while there is nothing to read
    held_s: float  # how long this verdict has stood
    level_db: float | None  # of the newest 0.1 s, dB of full scale
    voiced: bool
    fresh: bool  # False: the probabilities are those of the reading before
    learning: float | None  # share of the lesson that is over, 0..1; None without one
    learned: str | None  # what the last lesson could not learn, in one sentence
    baseline: dict[str, Any] | None  # what the person is known by: Baseline.summary()


def decode_jpeg(data: bytes) -> np.ndarray:
    """JPEG bytes -> uint8 [h,w,3]. LiveError for anything else, or for a picture that a page would not send."""
    if len(data) > MAX_FRAME_BYTES:
        raise LiveError(f"A live frame of {len(data)} bytes arrived; send at most {MAX_FRAME_BYTES}.")
    # Progressive files with thousands of scans cost seconds each; a canvas never writes them.
    if data.count(b"\xff\xda") > 4:
        raise LiveError("A live frame with many scans arrived; send a plain baseline JPEG.")
    try:
        picture = Image.open(io.BytesIO(data), formats=["JPEG"])
        width, height = picture.size
        if max(width, height) <= MAX_FRAME_SIDE:
            return np.asarray(picture.convert("RGB"))
    except Exception:  # the decoder raises OSError, SyntaxError, ValueError, struct.error and more on damaged bytes
        raise LiveError("A live frame could not be decoded; send a complete JPEG picture.") from None
    raise LiveError(f"A live frame of {width}x{height} pixels arrived; send at most {MAX_FRAME_SIDE} a side.")


class Follower:
    """Finds a face with all of MTCNN, then follows it with its last stage alone: 2 ms a frame instead of 20."""

    def __init__(self, device: str = "cpu") -> None:
        self._detector = faces.Detector(device, SEARCH_SIDE, SMALLEST_FACE)
        self._device = device
        self._last: Found | None = None
        self._searched_s = -math.inf

    def find(self, frame: np.ndarray, now_s: float) -> Found | None:
        """uint8 [h,w,3] -> the face followed, or the largest one."""
        found = self._refine(frame, self._last.box) if self._last else None
        if found is not None and self._last is not None and _moved(self._last.box, found.box) > FAST:
            found = self._refine(frame, found.box) or found  # from so far away the first look is a little off
        wait = RECHECK_EVERY_S if found else SEARCH_EVERY_S
        if now_s - self._searched_s >= wait or (found is None and self._last is not None):
            self._searched_s = now_s
            found = self._choose(self._search(frame), found)
        self._last = found
        return found

    def _search(self, frame: np.ndarray) -> list[Found]:
        """Every face of the frame, largest first."""
        found = self._detector.find(frame[None])[0]
        return [Found(b, p, float(s)) for b, p, s in zip(found.boxes, found.landmarks, found.probability, strict=True)]

    @staticmethod
    def _choose(candidates: list[Found], followed: Found | None) -> Found | None:
        """The person followed so far keeps being followed, unless somebody twice as large in area is there."""
        if not candidates:
            return None
        largest = candidates[0]
        if followed is None:
            return largest
        same = max(candidates, key=lambda face: _overlap(face.box, followed.box))
        if _overlap(same.box, followed.box) > 0.3 and _area(largest.box) < 2 * _area(same.box):
            return same
        return largest

    def _refine(self, frame: np.ndarray, box: np.ndarray) -> Found | None:
        """The face near a box of the frame before, by the last stage of MTCNN (it also gives the landmarks)."""
        height, width = frame.shape[:2]
        side = max(box[2] - box[0], box[3] - box[1])
        left, top = (box[0] + box[2] - side) / 2, (box[1] + box[3] - side) / 2
        x0, y0 = max(0, round(left)), max(0, round(top))
        x1, y1 = min(width, round(left + side)), min(height, round(top + side))
        if x1 - x0 < SMALLEST_FACE / 2 or y1 - y0 < SMALLEST_FACE / 2:
            return None
        crop = torch.from_numpy(np.ascontiguousarray(frame[y0:y1, x0:x1])).permute(2, 0, 1)[None].float()
        crop = torch.nn.functional.interpolate(crop, size=(48, 48), mode="area")
        with torch.inference_mode():
            shift, points, score = (out[0].double().cpu().numpy() for out in self._last_stage(crop))
        if score[1] < faces.CERTAIN:
            return None
        size, corner = np.array([x1 - x0, y1 - y0]), np.array([x0, y0])
        box = np.array([x0, y0, x1, y1]) + shift * np.tile(size, 2)
        return Found(box, corner + points.reshape(2, 5).T * size, float(score[1]))

    def _last_stage(self, crop: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """O-Net: crop [1,3,48,48] in 0..255 -> box regression [1,4], landmarks [1,10], probabilities [1,2]."""
        return self._detector.network.onet((crop.to(self._device) - 127.5) / 128)


def _area(box: np.ndarray) -> float:
    return float(max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1]))


def _moved(old: np.ndarray, new: np.ndarray) -> float:
    """The largest change of an edge, in widths of the old box."""
    return float(np.abs(new - old).max()) / max(1.0, float(old[2] - old[0]))


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two boxes [4]."""
    shared = _area(np.concatenate([np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])]))
    return shared / max(_area(one) + _area(other) - shared, 1e-9)


class SoundTail:
    """The newest two seconds of sound at 16 kHz, whatever rate it arrives in."""

    def __init__(self) -> None:
        self._wave = np.zeros(0, np.float32)
        self._rate = 0
        self._resampler: Any = None
        self.end_s = -math.inf

    def add(self, samples: np.ndarray, sample_rate: int, start_s: float) -> None:
        """Mono float32 [n] in -1..1 from `start_s` on. LiveError for what is not sound; a gap starts afresh."""
        if not 8_000 <= sample_rate <= 192_000:
            raise LiveError(f"Live sound at {sample_rate} Hz arrived; send 8000 to 192000 Hz.")
        if not 0 < len(samples) <= MAX_CHUNK_S * sample_rate:
            raise LiveError(f"A sound chunk of {len(samples)} samples arrived; send more than 0 s and at most 1 s.")
        if not np.isfinite(samples).all():
            raise LiveError("Live sound with samples that are not numbers arrived; send values from -1 to 1.")
        if sample_rate != self._rate or abs(start_s - self.end_s) > GAP_S / 4:
            self._wave = np.zeros(0, np.float32)
            self._rate = sample_rate
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(np.clip(samples, -1, 1).astype(np.float32)[None], format="flt", layout="mono")
        frame.sample_rate = sample_rate
        parts = [out.to_ndarray()[0] for out in self._resampler.resample(frame)]
        self._wave = np.concatenate([self._wave, *parts])[-int(WINDOW_S * SAMPLE_RATE) :]
        self.end_s = start_s + len(samples) / sample_rate

    def tail(self) -> tuple[np.ndarray, float]:
        """(float32 [n] at 16 kHz, seconds of its first sample)."""
        return self._wave, self.end_s - len(self._wave) / SAMPLE_RATE


@dataclass
class Steady:
    """Smooths probabilities over time and keeps a verdict from flickering."""

    calibration: Calibration
    shown: dict[str, np.ndarray | None] = field(default_factory=lambda: {"both": None, "face": None, "voice": None})
    at_s: float = -math.inf
    verdict: Verdict | None = None
    since_s: float = 0.0

    def update(self, raw: dict[str, np.ndarray | None], why: dict[str, str | None], now_s: float) -> None:
        """Raw probabilities [7] by condition, None where that stream is absent, and why it is."""
        passed = now_s - self.at_s
        keep = math.exp(-passed / SMOOTHING_S) if passed < GAP_S else 0.0
        for condition in self.shown:
            new, old = raw.get(condition), self.shown[condition]
            self.shown[condition] = new if new is None or old is None else keep * old + (1 - keep) * new
        self.at_s = now_s
        before, self.verdict = self.verdict, self._judge(why)
        if _said(self.verdict) != _said(before):
            self.since_s = now_s

    def _judge(self, why: dict[str, str | None]) -> Verdict | None:
        """The verdict by the rules for clips; the one shown before stays until it is clearly beaten or clearly weak."""
        face, voice, both = (self._reading(condition, why) for condition in ("face", "voice", "both"))
        if not both.available:
            return None
        now, before = verdict(self.calibration, face, voice, both), self.verdict
        if before is not None and not before.abstained:
            kept = float(both.probabilities[LABELS.index(before.label)])
            if kept >= max(now.threshold, both.probabilities.max()) - SWITCH_MARGIN:
                return Verdict(before.label, kept, False, None, now.threshold, None)
        return replace(now, agreement=None)  # what was measured on clips is not promised of a moment

    def _reading(self, condition: str, why: dict[str, str | None]) -> Reading:
        p = self.shown[condition]
        nothing = np.full(K, 1 / K)
        return Reading(condition, nothing if p is None else p, np.zeros((0, K)), p is not None, why.get(condition))


@dataclass
class Lesson:
    """How a person is while neutral, from windows that do not overlap."""

    taken: list[dict[str, Trace]] = field(default_factory=list)  # by window, then by modality
    since_s: float | None = None  # the next window begins here
    now_s: float = 0.0

    def update(self, traces: dict[str, Trace], now_s: float) -> None:
        """What the window that ends at `now_s` says; it is taken where it begins after the one taken before."""
        self.now_s = now_s
        if self.since_s is None:
            self.since_s = now_s
        if now_s - self.since_s >= WINDOW_S:
            self.taken.append(traces)
            self.since_s = now_s

    @property
    def done(self) -> float:
        """Share of LEARN_S, 0..1."""
        begun = 0.0 if self.since_s is None else min(self.now_s - self.since_s, WINDOW_S)
        return min(1.0, (len(self.taken) * WINDOW_S + begun) / LEARN_S)

    def missing(self) -> str | None:
        """What the windows did not show, in one sentence."""
        face, voice = (any(name in traces for traces in self.taken) for name in ("face", "voice"))
        if face and voice:
            return None
        if face:
            return "Only your face was learned: no voice was heard meanwhile."
        if voice:
            return "Only your voice was learned: no face was in view meanwhile."
        return "Nothing was learned, since no face was in view and no voice was heard; look into the camera and try again."


def _said(verdict: Verdict | None) -> str | None:
    """What a visitor reads of a verdict: its label, or that there is none."""
    if verdict is None:
        return None
    return "" if verdict.abstained else verdict.label


class LiveReader:
    """Reads one person's stream: `hear` sound, `see` frames, `read` the last two seconds; `learn` the person first."""

    def __init__(self, analyzer: Any):
        self._analyzer = analyzer
        self._follower = Follower(str(analyzer.device))
        self._sound = SoundTail()
        self._maps: deque[tuple[float, torch.Tensor]] = deque()
        self._steady = Steady(analyzer.calibration)
        self._box: np.ndarray | None = None
        self._size: tuple[int, int] | None = None
        self._frame_s = -math.inf
        self._seen_s = -math.inf
        self._ready_at = -math.inf  # wall clock: not before this is another window read
        self._why: dict[str, str | None] = {"face": "the camera is off", "voice": "the microphone is off"}
        self._voiced = False
        self._lesson: Lesson | None = None
        self._learned: str | None = None
        self._baseline: Baseline | None = None

    def learn(self) -> None:
        """The next LEARN_S of the stream show the person neutral and become their baseline, in place of an earlier one."""
        self.forget()
        self._lesson = Lesson()

    def forget(self) -> None:
        """Ends a lesson and drops what is known of the person."""
        self._lesson = self._learned = None
        self._know(None)

    def _know(self, baseline: Baseline | None) -> None:
        self._baseline = baseline
        calibration = self._analyzer.calibration
        self._steady.calibration = calibration if baseline is None else calibration.with_baseline(baseline.known())

    def hear(self, samples: np.ndarray, sample_rate: int, start_s: float) -> None:
        """Mono float32 [n]; LiveError when it is not sound."""
        self._sound.add(samples, sample_rate, start_s)

    def see(self, frame: np.ndarray, captured_s: float) -> None:
        """uint8 [h,w,3]: finds the face and keeps its feature maps."""
        if captured_s <= self._frame_s:
            raise LiveError("A live frame older than the one before arrived; send frames in the order of their times.")
        found = self._follower.find(frame, captured_s)
        gap = captured_s - self._frame_s
        self._frame_s = captured_s
        self._size = (frame.shape[1], frame.shape[0])
        if found is None:
            self._box = None
            return
        held = self._box if gap < GAP_S else None
        # The box follows fast movement at once and trembles less when the head is still.
        self._box = found.box if held is None else held + (found.box - held) * _follow(held, found.box)
        place = int(captured_s / FACE_STEP_S)  # ten crops a second, as in training: the newest of each tenth is kept
        if self._maps and int(self._maps[-1][0] / FACE_STEP_S) == place:
            if not self._due():
                return  # nobody would read it
            self._maps.pop()
        self._maps.append((captured_s, self._analyzer.embed(faces.align(frame, found.landmarks)[None])[0]))

    def read(self) -> LiveReading:
        """The reading now; `fresh` is False when the probabilities were not due yet."""
        now_s = max(self._frame_s, self._sound.end_s if self._camera_off() else -math.inf)
        began = time.monotonic()
        due = self._due() and now_s > self._seen_s
        if due and self._camera_off():
            due = now_s - self._seen_s >= READ_EVERY_S
        if due:
            self._read_window(now_s)
            cost = time.monotonic() - began
            self._ready_at = began + cost / READ_SHARE
        wave, _ = self._sound.tail()
        heard = self._sound_present(now_s) and len(wave) > 0
        level = float(sound.level_db(wave[-SAMPLE_RATE // 10 :]).mean()) if heard and len(wave) >= 1600 else None
        steady = self._steady
        return LiveReading(
            seen_s=self._seen_s,
            box=self._box if not self._camera_off() else None,
            frame_size=self._size,
            probabilities=dict(steady.shown),
            why=dict(self._why),
            verdict=steady.verdict,
            held_s=max(0.0, steady.at_s - steady.since_s),
            level_db=level,
            voiced=heard and self._voiced,
            fresh=due,
            learning=None if self._lesson is None else self._lesson.done,
            learned=self._learned,
            baseline=None if self._baseline is None else self._baseline.summary(),
        )

    def _due(self) -> bool:
        return time.monotonic() >= self._ready_at

    def _camera_off(self) -> bool:
        return self._frame_s == -math.inf or self._sound.end_s - self._frame_s > GAP_S

    def _sound_present(self, now_s: float) -> bool:
        return now_s - self._sound.end_s < SOUND_LATE_S

    def _read_window(self, now_s: float) -> None:
        start_s = now_s - WINDOW_S
        while self._maps and self._maps[0][0] <= start_s:
            self._maps.popleft()
        times = np.array([t for t, _ in self._maps])
        face_now = self._box is not None and not self._camera_off() and len(times) > 0
        maps = torch.stack([m for _, m in self._maps]) if face_now else None
        wave, wave_start_s = self._sound.tail()
        enough = self._sound_present(now_s) and len(wave) >= ENOUGH_SOUND_S * SAMPLE_RATE
        self._voiced = bool(enough and sound.voice_activity(sound.level_db(wave))[-30:].any())
        raw, traces = self._analyzer.read_window(
            maps, times if face_now else np.zeros(0), wave if enough else None, wave_start_s, start_s, now_s, self._baseline
        )
        self._why = {
            "face": None if raw["face"] is not None else self._why_no_face(),
            "voice": None if raw["voice"] is not None else self._why_no_voice(now_s, enough),
        }
        self._steady.update(raw, self._why, now_s)
        self._seen_s = now_s
        if self._lesson is not None:
            self._lesson.update(traces, now_s)
            if self._lesson.done == 1:
                self._end_lesson(self._lesson)

    def _end_lesson(self, lesson: Lesson) -> None:
        self._lesson, self._learned = None, lesson.missing()
        if any(lesson.taken):
            self._know(personal_baseline.learn(self._analyzer.model.head, lesson.taken, neutral=True))

    def _why_no_face(self) -> str:
        return "the camera is off" if self._camera_off() else "no face in view"

    def _why_no_voice(self, now_s: float, enough: bool) -> str:
        if not self._sound_present(now_s):
            return "the microphone is off"
        return "no voice heard" if enough else "listening"


def _follow(held: np.ndarray, new: np.ndarray) -> float:
    """Share of the way that the shown box goes: a third when still, all of it when the face moved by a fifth."""
    return min(1.0, 0.33 + 3.3 * _moved(held, new))

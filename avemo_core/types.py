"""What flows through AVEMO, from a file to a reading. Read this file and labels.py first; neither needs torch.

N frames sampled from the picture, T columns of the spectrogram, W windows, K = 7 labels. All times are seconds from
the clip's start, from real timestamps.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .labels import named

FACE_SIZE = 64  # pixels of a stored crop, colour; the face branch reads it grey at 48
SAMPLE_RATE = 16_000  # Hz
MELS = 80
SOUND_HOP_S = 0.01
FACE_STEP_S = 0.1  # ten crops a second: expressions last 0.5 to 4 s
WINDOW_S = 2.0
WINDOW_HOP_S = 0.5


class AvemoError(ValueError):
    """Bad input. Its text is one clear sentence for the person who gave it: what was found, expected, and what to do."""


class MediaError(AvemoError):
    """A file that cannot be read, or that is over a limit."""


class Cancelled(Exception):  # noqa: N818 - it is not an error
    """Raised by a progress callback to stop a reading."""


@dataclass(frozen=True)
class VideoStream:
    """`width` and `height` are upright (rotation applied), in source pixels."""

    codec: str
    width: int
    height: int
    frame_rate: float  # average; frames carry their own times
    start_s: float = 0.0


@dataclass(frozen=True)
class AudioStream:
    """One sound track as it lies in the file: its own rate in Hz and channels, before it becomes mono at 16 kHz."""

    codec: str
    sample_rate: int
    channels: int
    start_s: float = 0.0


@dataclass(frozen=True)
class Clip:
    """What was found in a file. The picture and sound themselves come from media.frames(clip) and media.sound(clip)."""

    clip_id: str  # SHA-256 of the bytes, first 16 hex digits
    path: Path
    duration_s: float
    container: str
    video: VideoStream | None
    audio: tuple[AudioStream, ...]
    rotation: int = 0  # degrees clockwise that were applied to make the picture upright
    is_image: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FaceTrack:
    """One person's face over the clip, on the common grid of sampled frames."""

    track_id: int  # 0 is the largest
    times_s: np.ndarray  # [N]
    boxes: np.ndarray  # [N,4] x0, y0, x1, y1 in source pixels
    landmarks: np.ndarray  # [N,5,2] eyes, nose, mouth corners in source pixels
    crops: np.ndarray  # uint8 [N,FACE_SIZE,FACE_SIZE,3], aligned by the landmarks
    present: np.ndarray  # bool [N]
    quality: np.ndarray  # [N] detector probability, 0 where absent


@dataclass(frozen=True)
class Sound:
    """What the voice branch sees of a clip, in T columns, and where someone speaks."""

    log_mel: np.ndarray  # [80,T] natural log of mel power, 25 ms window, 10 ms hop
    mfcc: np.ndarray  # [40,T]
    voiced: np.ndarray  # bool [T]
    start_s: float = 0.0  # sound may start late
    level_db: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))  # [T] dB re full scale
    samples: np.ndarray | None = None  # [160,T] the waveform at 16 kHz, only for a voice encoder that reads it

    @property
    def voice_input(self) -> np.ndarray:
        """What the voice branch reads, by column: the samples where they are here, else log-mel."""
        return self.log_mel if self.samples is None else self.samples


@dataclass(frozen=True)
class Windows:
    """W windows on one grid; inside a window each stream keeps its own rate."""

    start_s: np.ndarray  # [W]
    end_s: np.ndarray  # [W]
    faces: np.ndarray  # uint8 [W,Tv,S,S] grey
    face_times_s: np.ndarray  # [W,Tv]
    face_present: np.ndarray  # bool [W,Tv]
    log_mel: np.ndarray  # [W,1,80,Ta]
    sound_times_s: np.ndarray  # [W,Ta]
    sound_valid: np.ndarray  # bool [W,Ta]
    voiced: np.ndarray  # bool [W,Ta]
    samples: np.ndarray | None = None  # [W,1,160,Ta] where the sound has them

    @property
    def voice_input(self) -> np.ndarray:
        """What the voice branch reads, as in Sound."""
        return self.log_mel if self.samples is None else self.samples


@dataclass(frozen=True)
class Reading:
    """Calibrated probabilities in one condition. Unavailable ones hold the prior and say why."""

    condition: str  # face | voice | both
    probabilities: np.ndarray  # [7] of the clip
    windows: np.ndarray  # [W,7]
    available: bool
    reason: str | None = None  # why it is not available: "no face in this clip"


@dataclass(frozen=True)
class Verdict:
    """What is said of the whole clip: a label with its confidence, or why there is no answer."""

    label: str  # the most likely label, also when abstained
    confidence: float  # its calibrated probability
    abstained: bool
    reason: str | None  # why it abstained: "face and voice disagree", "two emotions are close", ...
    threshold: float  # confidence needed for a verdict in this condition
    agreement: float | None  # of 1: share of dev clips read with such a confidence that were right; None if too few


@dataclass(frozen=True)
class Evidence:
    """The CAM head's maps of a whole clip for every label, in logits: with the bias they sum to the uncalibrated logit."""

    model_id: str
    bias: np.ndarray  # [7] logits, with what a personal baseline takes off
    face: np.ndarray | None  # [7,N,h,w] over the aligned crops of the person read
    face_times_s: np.ndarray  # [N]
    voice: np.ndarray | None  # [7,F,T] groups of mel bands from low to high, columns of Sound.log_mel
    voice_times_s: np.ndarray  # [T] centres of those columns
    voice_edges_hz: np.ndarray  # [F+1] of the groups


@dataclass(frozen=True)
class Effect:
    """How the target's probability, uncalibrated, changes without a part of what was explained."""

    what: str  # was cut: "strongest 10 % of the face", "0.50 to 1.20 s"
    share: float  # of the stream's cells, of both streams', or of the attention's heads
    before: float
    after: float

    @property
    def fall(self) -> float:
        """Above 0: what was cut spoke for the target."""
        return self.before - self.after


@dataclass(frozen=True)
class Explanation:
    """What one method says of one target, raw: no map is scaled, cut or smoothed here.

    A modality without a map has its reason in `missing`. `attention` holds cross-modal attention, where the method reads
    it: "face_to_voice" [N,1+T] says which sounds each frame attended to, first the null key that stands for none of them,
    and "voice_to_face" [T,1+N] which frames each moment of sound did. `channels`
    holds the weights [C] of the feature maps by layer, where the method reads these. `settings` are choices that differ
    from the usual ones: layer, head, weights. `effects` say what becomes of the target without parts of the clip, where
    that was asked.
    """

    method: str
    unit: str  # of the maps' values
    signed: bool  # below zero speaks against the target
    model_id: str
    target: tuple[str, ...]  # a label, or two: what speaks for the first rather than for the second
    window: int | None  # of the reading's grid, or None: all windows, weighted as in the reading
    start_s: float
    end_s: float  # of what was explained
    face: np.ndarray | None  # [N,h,w] over the aligned crops of the person read
    face_times_s: np.ndarray  # [N]
    voice: np.ndarray | None  # [F,T] groups of mel bands from low to high, columns of Sound.log_mel
    voice_times_s: np.ndarray  # [T]
    voice_edges_hz: np.ndarray  # [F+1]
    missing: dict[str, str] = field(default_factory=dict)
    attention: dict[str, np.ndarray] = field(default_factory=dict)
    channels: dict[str, np.ndarray] = field(default_factory=dict)
    settings: dict[str, str | int] = field(default_factory=dict)
    effects: tuple[Effect, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """All but the maps, which are too large: what the command line prints."""
        return {
            "method": self.method,
            "settings": self.settings,
            "target": list(self.target),
            "window": self.window,
            "start_s": round(self.start_s, 3),
            "end_s": round(self.end_s, 3),
            "unit": self.unit,
            "signed": self.signed,
            "model_id": self.model_id,
            "missing": self.missing,
            "effects": [
                {"what": one.what, "share": one.share, "before": one.before, "after": one.after, "fall": one.fall}
                for one in self.effects
            ],
        }


@dataclass(frozen=True)
class Trace:
    """What one clip says of its person in one modality: the model's mean token, and the seconds that it rests on."""

    token: np.ndarray  # [D]
    seconds: float
    together: np.ndarray | None = None  # [D] the same beside the other modality, which adds to it; None where that lacks


@dataclass(frozen=True)
class ClipResult:
    """Everything that one reading found: the record that pages, exports and the command line show."""

    clip: Clip
    verdict: Verdict
    face: Reading
    voice: Reading
    both: Reading
    window_start_s: np.ndarray  # [W]
    window_end_s: np.ndarray  # [W]
    faces: tuple[FaceTrack, ...]
    person: int | None  # track_id of the face that was read
    sound: Sound | None
    shares: dict[str, float]  # start, face, voice: Shapley values of the verdict's probability, start + face + voice = both
    conflict: bool
    warnings: tuple[str, ...]
    model_id: str
    evidence: Evidence
    timings: dict[str, float]  # seconds by stage
    traces: dict[str, Trace] = field(default_factory=dict)  # of face and voice where read: a personal baseline's material
    baseline: dict[str, float] | None = None  # clips, and seconds of face and voice, that the person was known by

    def to_json(self) -> dict[str, Any]:
        """The record as plain values: what the command line prints and the page downloads."""
        windows = [
            {"start_s": round(float(s), 3), "end_s": round(float(e), 3), "probabilities": named(p)}
            for s, e, p in zip(self.window_start_s, self.window_end_s, self.both.windows, strict=True)
        ]
        return {
            "clip_id": self.clip.clip_id,
            "path": str(self.clip.path),
            "duration_s": round(self.clip.duration_s, 3),
            "verdict": {
                "label": self.verdict.label,
                "confidence": self.verdict.confidence,
                "abstained": self.verdict.abstained,
                "reason": self.verdict.reason,
                "threshold": self.verdict.threshold,
                "agreement": self.verdict.agreement,
            },
            "probabilities": named(self.both.probabilities),
            "face": _condition(self.face),
            "voice": _condition(self.voice),
            "windows": windows,
            "faces": [
                {
                    "track_id": track.track_id,
                    "read": track.track_id == self.person,
                    "present_share": float(track.present.mean()) if len(track.present) else 0.0,
                    "mean_height_px": float(np.diff(track.boxes[track.present][:, 1::2]).mean())
                    if track.present.any()
                    else 0.0,
                }
                for track in self.faces
            ],
            "shares": self.shares,
            "conflict": self.conflict,
            "warnings": list(self.warnings),
            "baseline": self.baseline,
            "model_id": self.model_id,
            "timings": {stage: round(seconds, 4) for stage, seconds in self.timings.items()},
        }


def _condition(reading: Reading) -> dict[str, Any]:
    return {
        "available": reading.available,
        "reason": reading.reason,
        "probabilities": named(reading.probabilities) if reading.available else None,
        "windows": [named(p) for p in reading.windows] if reading.available else None,
    }

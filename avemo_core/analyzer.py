"""One way from a file to a reading: decode, find faces, describe sound, cut windows, run the model, calibrate, decide."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from . import baseline as personal_baseline
from . import faces, inputs, media, presence, sound, timeline
from .baseline import Baseline
from .calibration import CONDITIONS, Calibration
from .checkpoint import Checkpoint, load
from .device import device_of
from .model.attention_cam import AttentionCAM, Output
from .model.branches.mel_cnn import STRIDE, shrink_mask
from .types import (
    FACE_STEP_S,
    MELS,
    SOUND_HOP_S,
    WINDOW_HOP_S,
    AvemoError,
    Clip,
    ClipResult,
    Evidence,
    FaceTrack,
    MediaError,
    Reading,
    Sound,
    Trace,
)
from .verdict import condition_of, conflict, nothing_read, shares, verdict

Progress = Callable[[str, float, float], None]

MAX_SIDE = 960  # pixels: larger frames are shrunk while decoding
GROUP = 24  # windows at once, so that a long clip needs little memory
LONG_S = 300.0  # clips longer than this are sampled at half the rate
SHORTEST_STEP_S = 0.05  # from one window to the next; a finer grid only costs time


@dataclass
class _Sums:
    """What the model said over the windows so far, and its evidence on the clip's own time axis."""

    logits: dict[str, list[np.ndarray]] = field(default_factory=lambda: {c: [] for c in CONDITIONS})
    tokens: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"face": [], "voice": []})  # each alone
    together: dict[str, list[np.ndarray]] = field(default_factory=lambda: {"face": [], "voice": []})  # each beside the other
    usual: np.ndarray | float = 0.0  # [K] what a personal baseline takes off the clip's logits
    face_evidence: np.ndarray | float = 0.0
    voice_evidence: np.ndarray | float = 0.0


class Analyzer:
    """Holds the model and reads clips with it. Safe to share between threads.

    Args:
        checkpoint: "default", the path of a .safetensors file, or one that is loaded already.
        device: "cpu", "cuda", or "auto" for CUDA where there is one.
    """

    def __init__(self, checkpoint: str | Path | Checkpoint = "default", device: str = "auto"):
        self.device = device_of(device)
        loaded = checkpoint if isinstance(checkpoint, Checkpoint) else load(checkpoint)
        self.model = cast(AttentionCAM, loaded.model.to(self.device, memory_format=torch.channels_last))  # type: ignore[call-overload]
        self.model_id = loaded.model_id
        self.calibration = loaded.calibration
        self.card = loaded.card
        self.detector = faces.Detector(str(self.device))

    # --- clips -------------------------------------------------------------------------------------------------------

    def analyze(
        self,
        path: str | Path,
        every: float = WINDOW_HOP_S,
        person: int | None = None,
        progress: Progress | None = None,
        limits: "media.Limits | None" = None,
        baseline: "Baseline | Sequence[str | Path] | None" = None,
    ) -> ClipResult:
        """The reading of one clip.

        Args:
            path: a video, sound or picture file.
            every: seconds from one window to the next.
            person: track_id of the face to read; the largest where none is given.
            progress: called with (stage, done, total); may raise types.Cancelled.
            limits: of size, length, time and memory; media.Limits() where none are given.
            baseline: what is known of the person from `learn`, or clips of them to learn it from.

        Raises:
            MediaError: the file cannot be read or is over a limit.
            AvemoError: `person` is not in the clip, or `every` is under SHORTEST_STEP_S.
        """
        if not SHORTEST_STEP_S <= every < np.inf:
            raise AvemoError(
                f"Windows must move on: got a step of {every} s; "
                f"choose one of at least {SHORTEST_STEP_S} s, such as {WINDOW_HOP_S}."
            )
        limits = limits or media.Limits()
        if baseline is not None and not isinstance(baseline, Baseline):
            baseline = self.learn(baseline, limits=limits)
        say = progress or (lambda stage, done, total: None)
        timings: dict[str, float] = {}
        notes: list[str] = []  # what decoding found on the way
        with _timed(timings, "media"):
            say("media", 0, 1)
            clip = media.decode(Path(path), limits)
            say("media", 1, 1)
        with _timed(timings, "faces"):
            tracks = self._faces(clip, limits, say, notes)
        with _timed(timings, "sound"):
            heard = self._sound(clip, limits, say, notes)
        with _timed(timings, "model"):
            result = self.read(clip, tracks, heard, every, person, say, baseline)
        warnings = tuple(dict.fromkeys((*result.warnings, *notes)))
        return replace(result, warnings=warnings, timings=timings | {"total": sum(timings.values())})

    def learn(
        self,
        clips: "Sequence[str | Path | ClipResult]",
        neutral: bool = False,
        progress: Progress | None = None,
        limits: "media.Limits | None" = None,
    ) -> Baseline:
        """How one person's face and voice usually are, from a few clips of them: unlabelled, or known to be neutral.

        Args:
            clips: paths, or readings made without a baseline, of one person each.
            neutral: the person expresses nothing in them.
            progress: called with ("baseline", done, total), often; may raise types.Cancelled.

        Raises:
            AvemoError: no clip is given, or none of them holds a face or speech.
            MediaError: a clip cannot be read.
        """
        if not clips:
            raise AvemoError("A personal baseline needs at least one clip of the person: found none.")
        say = progress or (lambda stage, done, total: None)
        traces = []
        for done, clip in enumerate(clips):

            def still(*_: object, done: int = done) -> None:
                say("baseline", done, len(clips))

            still()
            try:
                result = clip if isinstance(clip, ClipResult) else self.analyze(clip, progress=still, limits=limits)
            except MediaError as error:
                raise MediaError(f"{Path(clip).name}: {error}") from error  # type: ignore[arg-type]
            traces.append(result.traces)
        say("baseline", len(clips), len(clips))
        if not any(traces):
            raise AvemoError(
                f"No face and no speech in the {len(clips)} clips given as a baseline; choose clips that show the person."
            )
        return personal_baseline.learn(self.model.head, traces, neutral)

    def _faces(self, clip: Clip, limits: "media.Limits", say: Progress, notes: list[str]) -> tuple[FaceTrack, ...]:
        if clip.video is None:
            return ()
        step = FACE_STEP_S if clip.duration_s <= LONG_S else 2 * FACE_STEP_S
        total = max(1, round(clip.duration_s / step))
        say("faces", 0, total)
        longer = max(clip.video.width, clip.video.height)
        chunks = _noting(media.frames(clip, every_s=step, max_side=MAX_SIDE, limits=limits), notes)
        return faces.track(
            chunks, self.detector, max(1.0, longer / MAX_SIDE), lambda done: say("faces", done, max(done, total))
        )

    def _sound(self, clip: Clip, limits: "media.Limits", say: Progress, notes: list[str]) -> Sound | None:
        if not clip.audio:
            return None
        chunks: list[np.ndarray] = []
        start = 0.0
        for samples, start_s in _noting(media.sound(clip, limits=limits), notes):
            if not chunks:
                start = start_s
            chunks.append(samples)
            say("sound", start_s, max(clip.duration_s, start_s, SOUND_HOP_S))
        wave = np.concatenate(chunks) if chunks else np.zeros(0, np.float32)
        say("sound", 1, 1)
        return sound.describe(wave, start, self.model.voice_branch.reads_samples)

    def read(
        self,
        clip: Clip,
        tracks: tuple[FaceTrack, ...],
        heard: Sound | None,
        every: float = WINDOW_HOP_S,
        person: int | None = None,
        progress: Progress | None = None,
        baseline: Baseline | None = None,
    ) -> ClipResult:
        """The reading of faces and sound that are already found: what `analyze` does after decoding."""
        say = progress or (lambda stage, done, total: None)
        track = presence.choose(tracks, person)
        starts, ends = timeline.grid(clip.duration_s, every)
        weights, reasons = presence.weights(clip, track, heard, starts, ends)
        sums = self._windows(track, heard, starts, ends, weights, baseline, say)
        calibration = self.calibration.of_picture() if clip.is_image else self.calibration
        if baseline is not None:
            calibration = calibration.with_baseline(baseline.known())
        prior = calibration.both.probabilities(self.model.head.bias.detach().float().cpu().numpy())
        face = self._reading("face", calibration, sums, weights, reasons, prior)
        voice = self._reading("voice", calibration, sums, weights, reasons, prior)
        both = self._both(calibration, sums, weights, face, voice, prior)
        return ClipResult(
            clip=clip,
            verdict=verdict(calibration, face, voice, both),
            face=face,
            voice=voice,
            both=both,
            window_start_s=starts,
            window_end_s=ends,
            faces=tracks,
            person=None if track is None else track.track_id,
            sound=heard,
            shares=shares(prior, face, voice, both),
            conflict=conflict(calibration, face, voice),
            warnings=clip.warnings + presence.warnings(tracks, track),
            model_id=self.model_id,
            evidence=self._evidence(track, heard, sums),
            timings={},
            traces=self._traces(sums, weights, face, voice, track, heard),
            baseline=None if baseline is None else baseline.summary(),
        )

    @staticmethod
    def _traces(sums: _Sums, weights, face: Reading, voice: Reading, track, heard) -> dict[str, Trace]:
        """What each modality says of the person, over the windows that count for it."""
        seconds = {
            "face": 0.0 if track is None else float(track.present.sum()) * FACE_STEP_S,
            "voice": 0.0 if heard is None else float(heard.voiced.sum()) * SOUND_HOP_S,
        }
        found = {}
        for name in (one.condition for one in (face, voice) if one.available):
            share = presence.normed(weights[name])
            both = share @ np.concatenate(sums.together[name]) if face.available and voice.available else None
            found[name] = Trace(share @ np.concatenate(sums.tokens[name]), seconds[name], both)
        return found

    # --- the model over windows --------------------------------------------------------------------------------------

    def _windows(
        self,
        track: FaceTrack | None,
        heard: Sound | None,
        starts: np.ndarray,
        ends: np.ndarray,
        weights: dict[str, np.ndarray],
        baseline: Baseline | None,
        say: Progress,
    ) -> _Sums:
        sums = _Sums()
        share = presence.normed(weights["both"])
        greys = timeline.grey(track.crops) if track is not None else np.zeros((0, 48, 48), np.uint8)
        for first in range(0, len(starts), GROUP):
            say("model", first, len(starts))
            part = slice(first, min(first + GROUP, len(starts)))
            own = {c: w[part] for c, w in weights.items()}
            self._group(sums, track, greys, heard, starts[part], ends[part], own, share[part], baseline)
        say("model", len(starts), len(starts))
        return sums

    @torch.inference_mode()
    def _group(self, sums, track, greys, heard, starts, ends, weights, share, baseline) -> None:
        """Runs the branches once over a group of windows, and the fusion in each condition."""
        given = inputs.of(track, greys, heard, starts, ends, self.device)
        with self._precision():
            spoken = self.model.embed_voice(given.voice, given.voice_mask).float()
        seen = given.seen(self._embed(given.crops))
        streams = (seen, given.face_times, given.face_mask, spoken, given.voice_times, given.columns_mask)
        available = {c: weights[c] >= presence.SHARE_NEEDED for c in ("face", "voice")}
        counts = {
            "face": np.stack((available["face"], np.zeros_like(available["face"])), 1),
            "voice": np.stack((np.zeros_like(available["voice"]), available["voice"]), 1),
            "both": np.stack((available["face"], available["voice"]), 1),
        }
        for condition, count in counts.items():
            whole = condition == "both"
            beside = whole and track is not None and heard is not None
            personal = None if baseline is None else baseline.personal(len(starts), self.device, beside)
            out = self.model.fuse(*streams, available=self._tensor(count), maps=whole, personal=personal)
            sums.logits[condition].append(out.logits.float().cpu().numpy())
            tokens = {"face": out.face_token, "voice": out.voice_token}
            for name in tokens if whole else [condition]:
                (sums.together if whole else sums.tokens)[name].append(tokens[name].float().cpu().numpy())
            if not whole:
                continue
            if track is not None:
                evidence = out.face_evidence.float().cpu().numpy()  # type: ignore[union-attr]
                sums.face_evidence = sums.face_evidence + inputs.on_frames(evidence, given, share, len(track.times_s))
            if heard is not None:
                evidence = out.voice_evidence.float().cpu().numpy()  # type: ignore[union-attr]
                sums.voice_evidence = sums.voice_evidence + inputs.on_columns(evidence, given, share, heard.log_mel.shape[1])
            if out.usual is not None:
                sums.usual = sums.usual + share @ out.usual.float().cpu().numpy()

    def _embed(self, crops: Tensor) -> Tensor:
        """Grey crops [n,1,48,48] in 0..1 -> maps [n,D,h,w] float32."""
        parts = []
        for few in crops.split(64) if len(crops) else ():
            with self._precision():
                parts.append(self.model.embed_faces(few.to(memory_format=torch.channels_last)).float())
        return torch.cat(parts) if parts else torch.zeros(0, self.model.face_branch.channels, 1, 1, device=self.device)

    def _precision(self):
        """Half precision on CUDA, where it is faster; full on the CPU."""
        return torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda")

    def _tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)

    # --- readings ----------------------------------------------------------------------------------------------------

    def _reading(
        self, condition: str, calibration: Calibration, sums: _Sums, weights, reasons, prior: np.ndarray
    ) -> Reading:
        logits = np.concatenate(sums.logits[condition])
        reason = reasons[condition]
        if reason is not None:
            return Reading(condition, prior, np.tile(prior, (len(logits), 1)), False, reason)
        calibrated = calibration.of(condition)
        windows = calibrated.probabilities(logits, windows=True)
        windows[weights[condition] < presence.SHARE_NEEDED] = prior
        clip = presence.normed(weights[condition]) @ logits
        return Reading(condition, calibrated.probabilities(clip), windows, True)

    def _both(
        self, calibration: Calibration, sums: _Sums, weights, face: Reading, voice: Reading, prior: np.ndarray
    ) -> Reading:
        logits = np.concatenate(sums.logits["both"])
        if not (face.available or voice.available):
            return Reading("both", prior, np.tile(prior, (len(logits), 1)), False, nothing_read(face, voice))
        clip_calibration = calibration.of(condition_of(face, voice))
        windows = calibration.both.probabilities(logits, windows=True)
        seen = face.available & (weights["face"] >= presence.SHARE_NEEDED)
        spoken = voice.available & (weights["voice"] >= presence.SHARE_NEEDED)
        windows[seen & ~spoken] = face.windows[seen & ~spoken]
        windows[spoken & ~seen] = voice.windows[spoken & ~seen]
        windows[~spoken & ~seen] = prior
        clip = presence.normed(weights["both"]) @ logits
        return Reading("both", clip_calibration.probabilities(clip), windows, True)

    def _evidence(self, track: FaceTrack | None, heard: Sound | None, sums: _Sums) -> Evidence:
        none = np.zeros(0)
        groups = sums.voice_evidence.shape[1] if isinstance(sums.voice_evidence, np.ndarray) else 10
        return Evidence(
            model_id=self.model_id,
            bias=self.model.head.bias.detach().float().cpu().numpy() + sums.usual,
            face=sums.face_evidence if isinstance(sums.face_evidence, np.ndarray) else None,
            face_times_s=none if track is None else track.times_s,
            voice=sums.voice_evidence if isinstance(sums.voice_evidence, np.ndarray) else None,
            voice_times_s=none if heard is None else heard.start_s + np.arange(heard.log_mel.shape[1]) * SOUND_HOP_S,
            voice_edges_hz=sound.mel_edges_hz()[:: MELS // groups],
        )

    # --- live --------------------------------------------------------------------------------------------------------

    def embed(self, crops: np.ndarray) -> Tensor:
        """Aligned colour crops uint8 [n,64,64,3] -> maps [n,D,h,w], for a stream that reads each frame once."""
        with torch.inference_mode():
            greys = torch.from_numpy(timeline.grey(crops)).to(self.device)
            return self._embed(greys[:, None].float() / 255)

    @torch.inference_mode()
    def read_window(
        self,
        maps: Tensor | None,
        face_times_s: np.ndarray,
        wave: np.ndarray | None,
        wave_start_s: float,
        start_s: float,
        end_s: float,
        baseline: Baseline | None = None,
    ) -> tuple[dict[str, np.ndarray | None], dict[str, Trace]]:
        """One window of a stream -> calibrated probabilities [7] by condition, and what it says of the person.

        Probabilities are None, and the trace is missing, where that stream says nothing.

        Args:
            maps: [n,D,h,w] from `embed`, of the frames at `face_times_s` [n], or None.
            wave: float32 [m] at 16 kHz that starts at `wave_start_s`, or None.
            start_s, end_s: the window, on the same clock.
            baseline: what is known of the person.
        """
        heard = None
        if wave is not None and len(wave) >= 160:
            heard = sound.describe(wave, wave_start_s, self.model.voice_branch.reads_samples)
        cut = timeline.windows(None, heard, np.array([start_s]), np.array([end_s]))
        speaks = heard is not None and heard.voiced.sum() * SOUND_HOP_S >= presence.LEAST_VOICE_S
        sees = maps is not None and len(maps) > 0
        if sees:
            keep = np.linspace(0, len(maps) - 1, min(len(maps), timeline.FACE_STEPS)).round().astype(int)  # type: ignore[arg-type]
            seen, times = maps[torch.from_numpy(keep)][None], np.asarray(face_times_s)[keep][None] - start_s  # type: ignore[index]
        else:
            seen, times = torch.zeros(1, 1, self.model.face_branch.channels, 1, 1, device=self.device), np.zeros((1, 1))
        valid = self._tensor(cut.sound_valid)
        with self._precision():
            spoken = self.model.embed_voice(self._tensor(cut.voice_input), valid).float()
        clock = self._tensor(np.arange(0, valid.shape[1], STRIDE)[None] * SOUND_HOP_S)
        inputs = (
            seen,
            self._tensor(times),
            torch.ones(seen.shape[:2], device=self.device),
            spoken,
            clock,
            shrink_mask(valid, STRIDE),
        )

        calibration = self.calibration if baseline is None else self.calibration.with_baseline(baseline.known())

        def run(condition: str, face: bool, voice: bool) -> tuple[np.ndarray, Output]:
            personal = None if baseline is None else baseline.personal(1, self.device, together=face and voice)
            out = self.model.fuse(*inputs, available=self._tensor(np.array([[face, voice]])), personal=personal)
            return calibration.of(condition).probabilities(out.logits.float().cpu().numpy()[0], windows=True), out

        def array(token: torch.Tensor) -> np.ndarray:
            return token[0].float().cpu().numpy()

        found: dict[str, np.ndarray | None] = dict.fromkeys(CONDITIONS)
        traces, both = {}, None
        if sees and speaks:
            found["both"], both = run("both", True, True)
        if sees:
            found["face"], out = run("face", True, False)
            seconds, beside = len(face_times_s) * FACE_STEP_S, array(both.face_token) if both else None
            traces["face"] = Trace(array(out.face_token), seconds, beside)
        if speaks:
            found["voice"], out = run("voice", False, True)
            seconds, beside = float(heard.voiced.sum()) * SOUND_HOP_S, array(both.voice_token) if both else None  # type: ignore[union-attr]
            traces["voice"] = Trace(array(out.voice_token), seconds, beside)
        if both is None:
            found["both"] = found["face" if sees else "voice"]
        return found, traces


def _noting(chunks: Generator[Any, None, tuple[str, ...]], notes: list[str]) -> Iterator[Any]:
    """Passes the chunks on and keeps the warnings that decoding ends with."""
    notes.extend((yield from chunks) or ())


@contextmanager
def _timed(timings: dict[str, float], stage: str):
    started = time.perf_counter()
    yield
    timings[stage] = time.perf_counter() - started

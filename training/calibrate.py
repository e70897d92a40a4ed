"""Last stage: temperatures, abstention thresholds and the reliability curve of each condition, on dev people only."""

from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar

from avemo_core import calibration, timeline
from avemo_core.analyzer import SHARE_NEEDED
from avemo_core.calibration import Calibration, Condition
from avemo_core.faces import Detector
from avemo_core.labels import LABELS, index
from avemo_core.model.attention_cam import AttentionCAM
from avemo_core.model.branches.mel_cnn import shrink_mask
from avemo_core.types import FaceTrack, Sound

from . import features, joint
from .corpora import ferplus
from .corpora.manifest import Row

WANTED = 0.60  # share right among the answered clips at the threshold, where coverage allows
COVERAGE = 0.60  # at least this share of dev clips is answered
BINS = 5  # of equal size, for the sentence "of 100 clips read with this confidence"


@torch.inference_mode()
def window_logits(
    model: AttentionCAM, track: FaceTrack | None, tokens: torch.Tensor | None, sound: Sound | None, duration_s: float
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Logits [W,K] in each condition and the weights [W] of the windows, as the analyzer makes them, from pooled tokens."""
    starts, ends = timeline.grid(duration_s)
    cut = timeline.windows(None, sound, starts, ends)
    count, steps = len(starts), timeline.FACE_STEPS
    seen = torch.zeros(count, steps, model.face_branch.channels)
    present, times = np.zeros((count, steps), np.float32), np.zeros((count, steps), np.float32)
    face_share = np.zeros(count)
    if track is not None and tokens is not None:
        for w in range(count):
            rows = timeline.face_rows(track, starts[w], ends[w])
            seen[w, : len(rows)] = tokens[rows]
            present[w, : len(rows)] = track.present[rows]
            times[w, : len(rows)] = track.times_s[rows] - starts[w]
            face_share[w] = track.present[rows].mean() if len(rows) else 0
    valid = torch.from_numpy(cut.sound_valid).float()
    length = np.maximum(1, np.minimum(timeline.SOUND_STEPS, np.round((ends - starts) * 100)))
    voice_share = cut.voiced.sum(1) / length
    face_share[face_share < SHARE_NEEDED], voice_share[voice_share < SHARE_NEEDED] = 0, 0
    spoken = model.embed_voice(torch.from_numpy(cut.log_mel), valid)
    columns = shrink_mask(valid, 4)
    clock = (torch.arange(columns.shape[1]) * 0.04).expand(count, -1)
    inputs = (seen[..., None, None], torch.from_numpy(times), torch.from_numpy(present), spoken, clock, columns)
    weights = {"face": face_share, "voice": voice_share, "both": face_share + voice_share}
    logits = {}
    for condition in calibration.CONDITIONS:
        counted = np.stack((face_share > 0, voice_share > 0), 1).astype(np.float32)
        counted *= {"face": (1, 0), "voice": (0, 1), "both": (1, 1)}[condition]
        logits[condition] = model.fuse(*inputs, available=torch.from_numpy(counted.astype(np.float32))).logits.numpy()
    return logits, weights


@torch.inference_mode()
def still_logits(model: AttentionCAM, tokens: torch.Tensor) -> np.ndarray:
    """Pooled tokens of single pictures [n,Dv] -> logits [n,K] by face alone."""
    count = len(tokens)
    absent = torch.zeros(count, 1)
    silence = torch.zeros(count, model.voice_branch.channels, 1, 1)
    seen = torch.ones(count, 1)
    return model.fuse(tokens[:, None, :, None, None], absent, seen, silence, absent, absent).logits.numpy()


def clip_logits(logits: np.ndarray, weights: np.ndarray) -> np.ndarray | None:
    """Mean over windows by weight, or None where no window counts."""
    return weights @ logits / weights.sum() if weights.sum() > 0 else None


def temperature(logits: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """The temperature of least weighted negative log-likelihood."""

    def loss(log_t: float) -> float:
        p = Condition(temperature=float(np.exp(log_t))).probabilities(logits)
        return float(-(weights * np.log(p[np.arange(len(truth)), truth] + 1e-12)).sum() / weights.sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def threshold(confidence: np.ndarray, right: np.ndarray, weights: np.ndarray) -> float:
    """Smallest confidence from which WANTED of the answers are right, or that which leaves COVERAGE answered."""
    order = np.argsort(-confidence)
    weight = np.cumsum(weights[order])
    accuracy = np.cumsum(weights[order] * right[order]) / weight
    coverage = weight / weight[-1]
    good = np.flatnonzero((accuracy >= WANTED) | (coverage <= COVERAGE))
    return float(np.clip(confidence[order][good[-1]], 0.30, 0.70))


def curve(confidence: np.ndarray, right: np.ndarray) -> list[list[float]]:
    """[upper confidence, share right, n] of BINS bins of equal size; shares are made to rise (pool adjacent violators)."""
    order = np.argsort(confidence)
    bins = [part for part in np.array_split(order, BINS) if len(part)]
    out: list[list[float]] = []
    for part in bins:
        out.append([float(confidence[part].max()), float(right[part].mean()), float(len(part))])
        while len(out) > 1 and out[-2][1] > out[-1][1]:
            upper, low = out.pop(), out.pop()
            n = upper[2] + low[2]
            out.append([upper[0], (upper[1] * upper[2] + low[1] * low[2]) / n, n])
    out[-1][0] = 1.0
    return out


def fit(
    model: AttentionCAM, root: Path, cache: Path, rows: list[Row], sounds: list[Sound], pictures: ferplus.Faces
) -> tuple[Calibration, dict[str, object]]:
    """Calibration on dev people and what was measured there: n, accuracy, UAR by corpus and condition."""
    model.eval()
    detector = Detector()
    cases: dict[str, list[tuple[str, int, np.ndarray, np.ndarray]]] = {c: [] for c in calibration.CONDITIONS}
    for row, sound in zip(rows, sounds, strict=True):
        track = features.face(row.path, cache, detector) if row.corpus == "java_sed" else None
        tokens = joint.face_tokens(model, track.crops) if track is not None else None
        duration = sound.start_s + sound.log_mel.shape[1] * 0.01
        logits, weights = window_logits(model, track, tokens, sound, duration)
        for condition in calibration.CONDITIONS if track is not None else ("voice",):
            whole = clip_logits(logits[condition], weights[condition])
            if whole is not None:
                cases[condition].append((row.corpus, index(row.label or ""), whole, logits[condition]))
    dev = pictures.take(ferplus.is_dev(pictures.files) & np.isin(pictures.majority, LABELS) & (pictures.agreed >= 5))
    for logits, label in zip(still_logits(model, joint.face_tokens(model, dev.pixels)), dev.majority, strict=True):
        cases["face"].append(("ferplus", index(str(label)), logits, logits[None]))
    fitted = {condition: _condition(found) for condition, found in cases.items()}
    return Calibration(**fitted), {condition: _measured(found) for condition, found in cases.items()}


def _condition(cases: list[tuple[str, int, np.ndarray, np.ndarray]]) -> Condition:
    """Every corpus weighs alike; the curve for people is of real clips only, since pictures are easier."""
    corpora = np.array([c for c, *_ in cases])
    truth, logits = np.array([t for _, t, *_ in cases]), np.array([whole for *_, whole, _ in cases])
    weights = np.array([1 / (corpora == c).sum() for c in corpora])
    t = temperature(logits, truth, weights)
    lengths = [len(w) for *_, w in cases]
    windows = np.concatenate([w for *_, w in cases])
    per_window = np.repeat(weights / lengths, lengths)
    wt = temperature(windows, np.repeat(truth, lengths), per_window)
    p = Condition(temperature=t).probabilities(logits)
    confidence, right = p.max(1), (p.argmax(1) == truth).astype(float)
    clips = corpora != "ferplus"
    return Condition(t, wt, threshold=threshold(confidence, right, weights), curve=curve(confidence[clips], right[clips]))


def _measured(cases: list[tuple[str, int, np.ndarray, np.ndarray]]) -> dict[str, dict[str, float]]:
    out = {}
    for corpus in sorted({c for c, *_ in cases}):
        own = [(t, int(whole.argmax())) for c, t, whole, _ in cases if c == corpus]
        recall = [np.mean([said == t for t, said in own if t == k]) for k in sorted({t for t, _ in own})]
        out[corpus] = {
            "n": len(own),
            "accuracy": float(np.mean([t == said for t, said in own])),
            "uar": float(np.mean(recall)),
        }
    return out

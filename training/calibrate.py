"""Last stage: temperatures, abstention thresholds and the reliability curve of each condition, on dev people only."""

import numpy as np
import torch
from rich.progress import track as progress_bar
from scipy.optimize import minimize_scalar

from avemo_core import Analyzer, calibration
from avemo_core.calibration import Calibration, Condition
from avemo_core.checkpoint import Checkpoint
from avemo_core.labels import LABELS, K, index
from avemo_core.model.attention_cam import AttentionCAM

from . import joint
from .corpora import ferplus
from .corpora.manifest import Row

Case = tuple[str, int, np.ndarray, np.ndarray]  # corpus, truth, logits [7] of the clip, [W,7] of its windows

WANTED = 0.75  # share right among the answered clips at the threshold, where coverage allows
COVERAGE = 0.60  # at least this share of dev clips is answered
BINS = 5  # of equal size, for the sentence "of 100 clips read with this confidence"


def temperature(logits: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> float:
    """The temperature of least weighted negative log-likelihood."""

    def loss(log_t: float) -> float:
        p = Condition(temperature=float(np.exp(log_t))).probabilities(logits)
        return float(-(weights * np.log(p[np.arange(len(truth)), truth] + 1e-12)).sum() / weights.sum())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def threshold(confidence: np.ndarray, right: np.ndarray) -> float:
    """Smallest confidence from which WANTED of the answers are right, or that which leaves COVERAGE answered."""
    order = np.argsort(-confidence)
    answered = np.arange(1, len(order) + 1)
    accuracy = np.cumsum(right[order]) / answered
    good = np.flatnonzero((accuracy >= WANTED) | (answered <= COVERAGE * len(order)))
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


def fit(model: AttentionCAM, rows: list[Row], pictures: ferplus.Faces) -> tuple[Calibration, dict[str, object]]:
    """Calibration on the clips of dev people and on dev pictures, and what was measured there: n, accuracy, UAR.

    Clips are read as a visitor's are; uncalibrated log-probabilities differ from the logits by a constant only.
    """
    model.eval()
    analyzer = Analyzer(Checkpoint(model, "uncalibrated", Calibration(), {}), device="cpu")
    cases: dict[str, list[Case]] = {c: [] for c in calibration.CONDITIONS}
    for row in progress_bar(rows, description="dev clips"):
        result = analyzer.analyze(row.path)
        for condition in calibration.CONDITIONS if result.face.available else ("voice",):
            reading = getattr(result, condition)
            if reading.available:
                logits = np.log(reading.probabilities + 1e-12), np.log(reading.windows + 1e-12)
                cases[condition].append((row.corpus, index(row.label or ""), *logits))
    dev = pictures.take(ferplus.is_dev(pictures.files) & np.isin(pictures.majority, LABELS) & (pictures.agreed >= 5))
    with torch.inference_mode():
        still = joint.still_logits(model, joint.face_tokens(model, dev.pixels)).numpy()
    for logits, label in zip(still, dev.majority, strict=True):
        cases["face"].append(("ferplus", index(str(label)), logits, logits[None]))
    fitted = {condition: _condition(found) for condition, found in cases.items()}
    return Calibration(**fitted), {name: _measured(found, fitted[name]) for name, found in cases.items()}


def neutral_bias(logits: np.ndarray, truth: np.ndarray) -> float:
    """The largest bonus for neutral (of log-probability, at most 2) that costs no UAR on these clips.

    Acted corpora hold as many clips of anger as of neutral; life does not. Where it costs nothing, neutral goes first.
    """
    if not (truth == 0).any() or (truth == 0).all():
        return 0.0
    labels = np.unique(truth)

    def uar(bonus: float) -> float:
        said = (logits + bonus * np.eye(K)[0]).argmax(1)
        return float(np.mean([(said[truth == k] == k).mean() for k in labels]))

    steps = np.arange(0, 2.01, 0.1)
    least = uar(0.0) - 1e-9
    for bonus in steps:
        if uar(bonus) < least:
            return float(max(0.0, bonus - 0.1))
    return float(steps[-1])


def _condition(cases: list[Case]) -> Condition:
    """Every corpus weighs alike; bias, threshold and curve are of real clips only, since pictures are easier."""
    corpora = np.array([c for c, *_ in cases])
    truth, logits = np.array([t for _, t, *_ in cases]), np.array([whole for *_, whole, _ in cases])
    weights = np.array([1 / (corpora == c).sum() for c in corpora])
    t = temperature(logits, truth, weights)
    lengths = [len(w) for *_, w in cases]
    windows = np.concatenate([w for *_, w in cases])
    per_window = np.repeat(weights / lengths, lengths)
    wt = temperature(windows, np.repeat(truth, lengths), per_window)
    clips = corpora != "ferplus"
    logits, truth = logits[clips], truth[clips]
    bias = [neutral_bias(logits / t, truth), *[0.0] * (K - 1)]
    p = Condition(temperature=t, bias=bias).probabilities(logits)
    confidence, right = p.max(1), (p.argmax(1) == truth).astype(float)
    return Condition(t, wt, bias, threshold=threshold(confidence, right), curve=curve(confidence, right))


def _measured(cases: list[Case], fitted: Condition) -> dict[str, dict[str, float]]:
    """Scores by corpus of what a visitor would be told: with the fitted bias, not of the bare logits."""
    out = {}
    for corpus in sorted({c for c, *_ in cases}):
        own = [(t, int(fitted.probabilities(whole).argmax())) for c, t, whole, _ in cases if c == corpus]
        recall = [np.mean([said == t for t, said in own if t == k]) for k in sorted({t for t, _ in own})]
        out[corpus] = {
            "n": len(own),
            "accuracy": float(np.mean([t == said for t, said in own])),
            "uar": float(np.mean(recall)),
        }
    return out

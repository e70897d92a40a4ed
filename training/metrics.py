"""Scores of a predictor, and how sure they are. All of them are over the classes present in the truth.

Accuracy, UAR and macro-F1 are functions of a table of counts [...,K,K], rows truth and columns said: a bootstrap over people
only adds up the tables of those drawn.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix

from avemo_core.labels import LABELS

Interval = tuple[float, float] | None
DRAWS = 1000


def _accuracy(counts: np.ndarray) -> np.ndarray:
    return np.trace(counts, axis1=-2, axis2=-1) / counts.sum((-2, -1))


def _over_present(scores: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Mean over the classes that have a clip in the truth, of scores [...,K]."""
    present = counts.sum(-1) > 0
    return np.where(present, scores, 0).sum(-1) / present.sum(-1)


def _recall(counts: np.ndarray) -> np.ndarray:
    return np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(counts.sum(-1), 1)


def _uar(counts: np.ndarray) -> np.ndarray:
    return _over_present(_recall(counts), counts)


def _macro_f1(counts: np.ndarray) -> np.ndarray:
    both = counts.sum(-1) + counts.sum(-2)
    return _over_present(2 * np.diagonal(counts, axis1=-2, axis2=-1) / np.maximum(both, 1), counts)


SCORES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"accuracy": _accuracy, "uar": _uar, "macro_f1": _macro_f1}


def scores(truth: np.ndarray, said: np.ndarray) -> dict[str, float]:
    """Accuracy, UAR (unweighted average recall) and macro-F1 of labels said [n] against `truth` [n], both indices."""
    labels = range(max(2, int(truth.max()) + 1, int(said.max()) + 1))  # sklearn warns of a table of one
    counts = confusion_matrix(truth, said, labels=labels)
    return {name: float(score(counts)) for name, score in SCORES.items()}


# ---------------------------------------------------------------- confidence


def ece(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the most likely label, over bins of equal mass (Nixon et al. 2019)."""
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == truth
    gaps = [abs(confidence[part].sum() - right[part].sum()) for part in _equal_mass(confidence, bins)]
    return float(sum(gaps) / len(truth))


def ece_excess(probabilities: np.ndarray, truth: np.ndarray, draws: int = DRAWS, seed: int = 0) -> float:
    """ECE minus its mean over labels drawn from the probabilities themselves: about 0 for a calibrated predictor."""
    generator = np.random.default_rng(seed)
    confidence = probabilities.max(1)
    total = np.zeros(draws)
    for part in _equal_mass(confidence):
        # of a drawn label, only whether it is the most likely one counts
        right = generator.random((draws, len(part))) < confidence[part]
        total += abs(confidence[part].sum() - right.sum(1))
    return ece(probabilities, truth) - float(total.mean() / len(truth))


def _equal_mass(confidence: np.ndarray, bins: int = 15) -> list[np.ndarray]:
    return [part for part in np.array_split(np.argsort(confidence, kind="stable"), bins) if len(part)]


def aurc(confidence: np.ndarray, right: np.ndarray) -> float:
    """Area under the risk-coverage curve (Geifman and El-Yaniv 2017): the mean error over all coverages."""
    order = np.argsort(-confidence, kind="stable")
    return float(np.mean(np.cumsum(~right[order].astype(bool)) / np.arange(1, len(order) + 1)))


def accuracy_at(confidence: np.ndarray, right: np.ndarray, coverage: float) -> float:
    """Accuracy of the most confident clips, of which there are at least `coverage` (0 to 1) of all."""
    most = math.ceil(round(coverage * len(right), 6))
    return float(right[np.argsort(-confidence, kind="stable")[:most]].mean())


# ---------------------------------------------------------------- intervals over people


def _resampled(truth: np.ndarray, said: np.ndarray, speakers: np.ndarray, seed: int) -> np.ndarray:
    """Tables of counts [DRAWS,K,K], each of as many people as there are, drawn with replacement with all their clips."""
    people, person = np.unique(speakers, return_inverse=True)
    labels = int(max(truth.max(), said.max())) + 1
    each = np.zeros((len(people), labels, labels))
    np.add.at(each, (person, truth, said), 1)
    generator = np.random.default_rng(seed)
    times = (np.bincount(generator.integers(len(people), size=len(people)), minlength=len(people)) for _ in range(DRAWS))
    return np.stack([np.tensordot(drawn, each, 1) for drawn in times])


def _middle(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def intervals(truth: np.ndarray, said: np.ndarray, speakers: np.ndarray, seed: int = 0) -> dict[str, Interval]:
    """95 % percentile intervals of SCORES by bootstrap over `speakers` [n]; None of one person, who cannot vary."""
    if len(np.unique(speakers)) < 2:
        return dict.fromkeys(SCORES)
    drawn = _resampled(truth, said, speakers, seed)
    return {name: _middle(score(drawn)) for name, score in SCORES.items()}


def gain(truth: np.ndarray, said: np.ndarray, other: np.ndarray, speakers: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """SCORES of `said` minus those of `other` on the same clips [n], with paired intervals: both meet the same people."""
    one, two = scores(truth, said), scores(truth, other)
    found: dict[str, Any] = {name: one[name] - two[name] for name in SCORES}
    if len(np.unique(speakers)) < 2:
        return found | {"intervals": dict.fromkeys(SCORES)}
    first, second = (_resampled(truth, labels, speakers, seed) for labels in (said, other))  # one seed, the same draws
    return found | {"intervals": {name: _middle(score(first) - score(second)) for name, score in SCORES.items()}}


# ---------------------------------------------------------------- all at once


def report(
    probabilities: np.ndarray,
    truth: np.ndarray,
    speakers: np.ndarray,
    answered: np.ndarray | None = None,
    classes: Sequence[str] = LABELS,
) -> dict[str, Any]:
    """All scores of n clips, as plain values for JSON.

    Args:
        probabilities: [n,K], rows add up to 1.
        truth: [n] indices into `classes`.
        speakers: [n] who is in the clip; intervals are over them.
        answered: bool [n], False where the reader abstained; None where it never does.
        classes: K names.

    `chance` is the best UAR of a predictor that ignores the clip, `majority` its best accuracy.
    """
    said, confidence = probabilities.argmax(1), probabilities.max(1)
    right = said == truth
    answered = np.ones(len(truth), bool) if answered is None else answered
    counts = confusion_matrix(truth, said, labels=range(len(classes)))
    present = np.flatnonzero(counts.sum(1))
    return {
        "n": len(truth),
        "speakers": len(np.unique(speakers)),
        **scores(truth, said),
        "chance": 1 / len(present),
        "majority": float(counts.sum(1).max() / len(truth)),
        "ece": ece(probabilities, truth),
        "ece_excess": ece_excess(probabilities, truth),
        "recall": {classes[int(k)]: float(_recall(counts)[k]) for k in present},
        "confusion": {"labels": list(classes), "rows_truth": counts.tolist()},
        "coverage": float(answered.mean()),
        "accuracy_answered": float(right[answered].mean()) if answered.any() else None,
        "accuracy_at_60": accuracy_at(confidence, right, 0.6),
        "aurc": aurc(confidence, right),
        "intervals": intervals(truth, said, speakers),
    }


def by_group(
    columns: dict[str, np.ndarray], truth: np.ndarray, said: np.ndarray, speakers: np.ndarray
) -> dict[str, dict[str, Any]]:
    """Scores by each value of each column [n]; where a row has no value it counts in none."""
    found: dict[str, dict[str, Any]] = {}
    for column, values in columns.items():
        for value in np.unique(values[values != ""]):
            here = values == value
            people = len(np.unique(speakers[here]))
            found.setdefault(column, {})[str(value)] = {
                "n": int(here.sum()),
                "speakers": people,
                **scores(truth[here], said[here]),
            }
    return found

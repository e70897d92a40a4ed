"""Scores of a predictor, and how sure they are. Classes are those present in the truth."""

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, recall_score

from avemo_core.labels import LABELS


def uar(truth: np.ndarray, said: np.ndarray) -> float:
    """Unweighted average recall over the classes present in `truth` [n]."""
    return float(recall_score(truth, said, labels=np.unique(truth), average="macro", zero_division=0))


def ece(probabilities: np.ndarray, truth: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the most likely label, over bins of equal mass (Nixon et al. 2019)."""
    confidence = probabilities.max(1)
    right = (probabilities.argmax(1) == truth).astype(float)
    parts = [p for p in np.array_split(np.argsort(confidence), bins) if len(p)]
    return float(sum(len(p) * abs(confidence[p].mean() - right[p].mean()) for p in parts) / len(truth))


def ece_excess(probabilities: np.ndarray, truth: np.ndarray, draws: int = 1000, seed: int = 0) -> float:
    """ECE minus its mean over labels drawn from the probabilities themselves: what a perfect predictor would score is 0."""
    generator = np.random.default_rng(seed)
    edges = probabilities.cumsum(1)
    chance = [
        ece(probabilities, (generator.random((len(truth), 1)) > edges).sum(1).clip(max=probabilities.shape[1] - 1))
        for _ in range(draws)
    ]
    return ece(probabilities, truth) - float(np.mean(chance))


def aurc(confidence: np.ndarray, right: np.ndarray) -> float:
    """Area under the risk-coverage curve (Geifman and El-Yaniv 2017): the mean error over all coverages."""
    order = np.argsort(-confidence, kind="stable")
    return float(np.mean(np.cumsum(~right[order].astype(bool)) / np.arange(1, len(order) + 1)))


def interval(
    truth: np.ndarray, said: np.ndarray, speakers: np.ndarray, score=uar, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of `score` by bootstrap over speakers: all clips of a drawn person come along."""
    people = np.unique(speakers)
    rows = {person: np.flatnonzero(speakers == person) for person in people}
    generator = np.random.default_rng(seed)
    values = []
    for _ in range(draws):
        chosen = np.concatenate([rows[p] for p in generator.choice(people, len(people))])
        values.append(score(truth[chosen], said[chosen]))
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def report(probabilities: np.ndarray, truth: np.ndarray, speakers: np.ndarray, answered: np.ndarray) -> dict[str, Any]:
    """All scores of n clips: probabilities [n,7], truth [n] indices, speakers [n], answered bool [n] (not abstained)."""
    said = probabilities.argmax(1)
    present = np.unique(truth)
    recall = recall_score(truth, said, labels=present, average=None, zero_division=0)
    right = said == truth
    return {
        "n": len(truth),
        "speakers": len(np.unique(speakers)),
        "accuracy": float(accuracy_score(truth, said)),
        "uar": uar(truth, said),
        "macro_f1": float(f1_score(truth, said, labels=present, average="macro", zero_division=0)),
        "chance": 1 / len(present),
        "majority": float(np.bincount(truth).max() / len(truth)),
        "ece": ece(probabilities, truth),
        "ece_excess": ece_excess(probabilities, truth),
        "recall": {LABELS[k]: float(r) for k, r in zip(present, recall, strict=True)},
        "confusion": {
            "labels": list(LABELS),
            "rows_truth": confusion_matrix(truth, said, labels=range(len(LABELS))).tolist(),
        },
        "coverage": float(answered.mean()),
        "accuracy_answered": float(right[answered].mean()) if answered.any() else None,
        "aurc": aurc(probabilities.max(1), right),
        "intervals": {
            "uar": interval(truth, said, speakers),
            "accuracy": interval(truth, said, speakers, score=lambda t, s: float((t == s).mean())),
        },
    }

"""From logits to probabilities that mean what they say, and the confidence under which AVEMO does not answer.

One temperature and one small bias a condition (face, voice, both), fitted on people that the training never saw
(Guo et al. 2017). Windows hold less than a clip and have a temperature of their own; so have single pictures.
"""

from collections.abc import Collection
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

CONDITIONS = ("face", "voice", "both")
FEWEST = 20  # dev clips near a confidence before a frequency is quoted for it


@dataclass(frozen=True)
class Condition:
    """Calibration of one condition. `curve` holds [confidence, share right, n] of dev clips, rising in confidence."""

    temperature: float = 1.0
    window_temperature: float = 1.0
    bias: list[float] = field(default_factory=lambda: [0.0])  # one for all labels, or one for each
    threshold: float = 0.5
    curve: list[list[float]] = field(default_factory=list)

    def probabilities(self, logits: np.ndarray, windows: bool = False) -> np.ndarray:
        """[...,K] uncalibrated logits -> [...,K] probabilities."""
        scaled = logits / (self.window_temperature if windows else self.temperature) + np.asarray(self.bias)
        scaled = scaled - scaled.max(-1, keepdims=True)
        exp = np.exp(scaled)
        return exp / exp.sum(-1, keepdims=True)

    def agreement(self, confidence: float) -> float | None:
        """Share of dev clips read with about this confidence that were right, or None where there were too few."""
        for upper, right, n in self.curve:
            if confidence <= upper:
                return right if n >= FEWEST else None
        return None


@dataclass(frozen=True)
class Calibration:
    """The three conditions, the face of a single picture, and those of a person whose baseline is known, where fitted."""

    face: Condition = field(default_factory=Condition)
    voice: Condition = field(default_factory=Condition)
    both: Condition = field(default_factory=Condition)
    still: Condition = field(default_factory=Condition)
    personal: dict[str, Condition] = field(default_factory=dict)

    def of(self, condition: str) -> Condition:
        """The calibration of face, voice or both."""
        if condition not in CONDITIONS:
            raise ValueError(f"Unknown condition {condition!r}; choose one of {', '.join(CONDITIONS)}.")
        return getattr(self, condition)

    def of_picture(self) -> "Calibration":
        """The calibration of a single picture: a clip's face is read many times, and unlike those learned."""
        return replace(self, face=self.still)

    def with_baseline(self, known: Collection[str]) -> "Calibration":
        """The calibration of readings against a baseline of a person of whom these modalities are known."""
        fits = {name: found for name, found in self.personal.items() if name in known or (name == "both" and known)}
        return replace(self, **fits)  # type: ignore[arg-type]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Calibration":
        personal = {name: Condition(**found) for name, found in record["personal"].items()}
        return cls(**{name: Condition(**record[name]) for name in (*CONDITIONS, "still")}, personal=personal)

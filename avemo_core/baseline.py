"""A personal baseline: how one person's face and voice usually are, learned from a few clips without labels.

People differ more than emotions do, so a reading improves when it is made against the person's own mean. But a plain mean
takes the emotion away with the person where all their clips carry the same one. So each clip's likely emotion is taken
off before the mean, and the mean counts the less, the fewer seconds it rests on (a mean of n draws against a prior worth
kappa draws; kappa is fitted on dev people).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .model.heads.cam import MODALITIES, CamHead, Personal
from .types import WINDOW_S, Trace

SHARPER = 2.0  # likely emotions are taken as surer than a stranger's reading says, or too little of them is taken off
MOST_OF_A_CLIP = 4.0  # draws: one long clip is one mood


@dataclass(frozen=True)
class Baseline:
    """What is known of one person, by modality. Numbers of a model, no picture and no sound."""

    shift: dict[str, Tensor]  # [D] the person's mean token less that of people at large
    trust: dict[str, float]  # 0 where nothing is known, near 1 with much evidence
    seconds: dict[str, float]  # of face, of speech
    clips: int

    def personal(self, windows: int, device: torch.device) -> Personal:
        """The same person in every one of `windows` windows, as the model takes it."""
        trust = torch.tensor([[self.trust[name] for name in MODALITIES]], dtype=torch.float32, device=device)
        shift = {name: self.shift[name].to(device).expand(windows, -1) for name in MODALITIES}
        return Personal(shift, trust.expand(windows, -1))

    def known(self) -> list[str]:
        """The modalities that something is known of."""
        return [name for name in MODALITIES if self.trust[name] > 0]

    def summary(self) -> dict[str, Any]:
        """What a record says of it."""
        return {"clips": self.clips} | {f"{name}_s": round(self.seconds[name], 2) for name in MODALITIES}


def residuals(head: CamHead, which: str, tokens: Tensor, probabilities: Tensor) -> Tensor:
    """Tokens [...,D] less what is usual for people at large and for each one's likely emotion [...,K]."""
    mean: Tensor = getattr(head, f"{which}_mean")
    offsets: Tensor = getattr(head, f"{which}_offsets")
    return tokens - mean - probabilities @ offsets


def likely(head: CamHead, which: str, tokens: Tensor) -> Tensor:
    """Tokens [n,D] of one modality -> the emotions [n,K] that a stranger's reading finds in them, sharpened."""
    return (SHARPER * (head.bias + head.sums(which, tokens))).softmax(1)


def trust(head: CamHead, which: str, evidence: Tensor) -> Tensor:
    """Draws [...] -> n / (n + kappa)."""
    kappa: Tensor = head.kappa  # type: ignore[assignment]
    return evidence / (evidence + kappa[MODALITIES.index(which)])


@torch.no_grad()
def estimate(head: CamHead, which: str, traces: Sequence[Trace], neutral: bool = False) -> tuple[Tensor, float]:
    """The person's shift [D] in one modality and how far to trust it, 0..1.

    Args:
        traces: of the person's clips; two seconds count as one draw.
        neutral: the clips are known to be neutral; otherwise each clip's emotion is what is likely.
    """
    mean = getattr(head, f"{which}_mean")
    draws = [min(one.seconds / WINDOW_S, MOST_OF_A_CLIP) for one in traces]
    evidence = torch.tensor(draws, dtype=mean.dtype, device=mean.device)
    if not len(traces) or float(evidence.sum()) <= 0:
        return torch.zeros_like(mean), 0.0
    tokens = torch.stack([torch.as_tensor(one.token, dtype=mean.dtype, device=mean.device) for one in traces])
    found = likely(head, which, tokens)
    if neutral:
        found = torch.zeros_like(found)
        found[:, 0] = 1
    shift = evidence @ residuals(head, which, tokens, found) / evidence.sum()
    return shift, float(trust(head, which, evidence.sum()))


def learn(head: CamHead, clips: Sequence[dict[str, Trace]], neutral: bool = False) -> Baseline:
    """A person's baseline from the traces of their clips (ClipResult.traces)."""
    shift, sure, seconds = {}, {}, {}
    for name in MODALITIES:
        traces = [traces[name] for traces in clips if name in traces]
        shift[name], sure[name] = estimate(head, name, traces, neutral)
        seconds[name] = float(sum(trace.seconds for trace in traces))
    return Baseline(shift, sure, seconds, len(clips))

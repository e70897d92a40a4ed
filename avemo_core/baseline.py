"""A personal baseline: how one person's face and voice usually are, learned from a few clips without labels.

People differ more than emotions do, so a reading improves when it is made against the person's own mean. But a plain mean
takes the emotion away with the person where all their clips carry the same one. So each clip's likely emotion is taken
off before the mean, and the mean counts the less, the fewer seconds it rests on (a mean of n draws against a prior worth
kappa draws).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .model.heads.cam import MODALITIES, CamHead, Personal
from .types import WINDOW_S, Trace

ROUNDS = 2  # what is likely is asked again once the person is known a little
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

    def summary(self) -> dict[str, Any]:
        """What a record says of it."""
        return {"clips": self.clips} | {f"{name}_s": round(self.seconds[name], 2) for name in MODALITIES}


def residuals(head: CamHead, which: str, tokens: Tensor, probabilities: Tensor) -> Tensor:
    """Tokens [...,D] less what is usual for people at large and for each one's likely emotion [...,K]."""
    mean: Tensor = getattr(head, f"{which}_mean")
    offsets: Tensor = getattr(head, f"{which}_offsets")
    return tokens - mean - probabilities @ offsets


def trust(evidence: Tensor, head: CamHead) -> Tensor:
    """Draws [...] -> n / (n + kappa)."""
    kappa: Tensor = head.kappa  # type: ignore[assignment]
    return evidence / (evidence + kappa)


@torch.no_grad()
def estimate(head: CamHead, which: str, traces: Sequence[Trace], neutral: bool = False) -> tuple[Tensor, float]:
    """The person's shift [D] in one modality and how far to trust it, 0..1.

    Args:
        traces: of the person's clips; two seconds count as one draw.
        neutral: the clips are known to be neutral; otherwise their emotions are estimated along with the shift.
    """
    mean = getattr(head, f"{which}_mean")
    shift = torch.zeros_like(mean)
    draws = [min(one.seconds / WINDOW_S, MOST_OF_A_CLIP) for one in traces]
    evidence = torch.tensor(draws, dtype=mean.dtype, device=mean.device)
    if not len(traces) or float(evidence.sum()) <= 0:
        return shift, 0.0
    tokens = torch.stack([torch.as_tensor(one.token, dtype=mean.dtype, device=mean.device) for one in traces])
    sure = trust(evidence.sum(), head)
    likely = torch.zeros(len(traces), len(head.bias), device=mean.device)
    likely[:, 0] = 1  # neutral
    for turn in range(1 if neutral else ROUNDS):
        if not neutral:
            known = (sure if turn else torch.zeros_like(sure)).expand(len(traces), len(MODALITIES))
            personal = Personal({which: shift.expand(len(traces), -1)}, known)
            likely = (head.bias + head.sums(which, tokens, personal)).softmax(1)
        shift = evidence @ residuals(head, which, tokens, likely) / evidence.sum()
    return shift, float(sure)


def learn(head: CamHead, clips: Sequence[dict[str, Trace]], neutral: bool = False) -> Baseline:
    """A person's baseline from the traces of their clips (ClipResult.traces)."""
    shift, sure, seconds = {}, {}, {}
    for name in MODALITIES:
        traces = [traces[name] for traces in clips if name in traces]
        shift[name], sure[name] = estimate(head, name, traces, neutral)
        seconds[name] = float(sum(trace.seconds for trace in traces))
    return Baseline(shift, sure, seconds, len(clips))

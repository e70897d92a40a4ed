"""A personal baseline: how one person's face and voice usually are, learned from a few clips without labels.

People differ more than emotions do, so a reading improves when it is made against the person's own mean, in units of the
person's own spread. But a mean takes the emotion away with the person where all their clips carry the same one. Clips of
one emotion read alike, whatever it is, so the baseline of unlabelled clips counts by how much their readings differ: as
much as those of one person and one emotion usually do, and it counts nothing; as much as those of a person's different
emotions, and it counts fully. Clips known to be neutral need no such test. Either counts the less, the fewer seconds it
rests on (a mean of n draws against a prior worth kappa draws). All three usual figures are fitted on dev people.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .model.heads.cam import MODALITIES, CamHead, Personal
from .types import WINDOW_S, Trace

MOST_OF_A_CLIP = 4.0  # draws: one long clip is one mood
ALIKE = 3.0  # clips' worth of belief that a person's clips all carry one emotion, before any is seen
STEADY = 8.0  # clips' worth of belief that a person is as lively as people at large


@dataclass(frozen=True)
class Known:
    """One modality of one person."""

    shift: Tensor  # [D] the person's mean token less that of people at large
    scale: Tensor  # [D] how much livelier people at large are
    trust: float  # 0 where nothing is known, near 1 with much evidence
    seconds: float  # of face or of speech


@dataclass(frozen=True)
class Baseline:
    """What is known of one person, by modality. Numbers of a model, no picture and no sound."""

    of: dict[str, Known]  # of each modality alone
    together: dict[str, Known]  # of each beside the other
    clips: int
    neutral: bool = False  # the clips were known to be neutral

    def personal(self, windows: int, device: torch.device, together: bool = False) -> Personal:
        """The same person in every one of `windows` windows; `together` where both modalities count."""
        known = self.together if together else self.of
        trust = torch.tensor([[known[name].trust for name in MODALITIES]], dtype=torch.float32, device=device)
        shift = {name: known[name].shift.to(device).expand(windows, -1) for name in MODALITIES}
        scale = {name: known[name].scale.to(device).expand(windows, -1) for name in MODALITIES}
        return Personal(shift, scale, trust.expand(windows, -1))

    def known(self) -> list[str]:
        """The modalities that something is known of."""
        return [name for name in MODALITIES if self.of[name].trust > 0]

    def summary(self) -> dict[str, Any]:
        """What a record says of it."""
        seconds = {f"{name}_s": round(self.of[name].seconds, 2) for name in MODALITIES}
        trust = {f"{name}_trust": round(self.of[name].trust, 3) for name in MODALITIES}
        return {"clips": self.clips, "neutral": self.neutral} | seconds | trust


def scale(head: CamHead, which: str, variance: Tensor, clips: Tensor | float) -> Tensor:
    """Variance [...,D] over a person's clips -> how much livelier people at large are; few `clips` say little of that."""
    usual: Tensor = getattr(head, f"{which}_spread") ** 2
    found = ((clips - 1) * variance + STEADY * usual) / (clips - 1 + STEADY)
    return torch.where(usual > 0, usual / found.clamp(min=1e-12), torch.ones_like(found)).sqrt()


@torch.no_grad()
def spread(head: CamHead, which: str, tokens: Tensor) -> float:
    """How much a stranger's readings of these clips' tokens [n,D] differ: the variance of the logits, over all labels."""
    if len(tokens) < 2:
        return 0.0
    logits = head.sums(which, tokens)
    return float((logits - logits.mean(1, keepdim=True)).var(0).sum())


def diversity(head: CamHead, which: str, tokens: Tensor) -> float:
    """0 where the clips' tokens [n,D] read as alike as those of one emotion do, 1 where as unlike as a person's do."""
    alike, mixed = head.spreads[MODALITIES.index(which)].tolist()  # type: ignore[index]
    more = max(len(tokens) - 1, 0)
    found = (more * spread(head, which, tokens) + ALIKE * alike) / (more + ALIKE)
    return min(max((found - alike) / max(mixed - alike, 1e-6), 0.0), 1.0)


@torch.no_grad()
def estimate(head: CamHead, which: str, traces: Sequence[Trace], neutral: bool = False, together: bool = False) -> Known:
    """What is known of a person in one modality.

    Args:
        traces: of the person's clips; two seconds count as one draw.
        neutral: the clips are known to be neutral; otherwise they count by how much they differ.
        together: of the modality beside the other one, where clips have both.
    """
    mean: Tensor = getattr(head, f"{which}_mean")
    seconds = float(sum(one.seconds for one in traces))
    draws = torch.tensor(
        [min(one.seconds / WINDOW_S, MOST_OF_A_CLIP) for one in traces], dtype=mean.dtype, device=mean.device
    )
    n = float(draws.sum())
    if n <= 0:
        return Known(torch.zeros_like(mean), torch.ones_like(mean), 0.0, 0.0)
    chosen = [one.together if together and one.together is not None else one.token for one in traces]
    tokens = torch.stack([torch.as_tensor(one, dtype=mean.dtype, device=mean.device) for one in chosen])
    share = (draws / n)[:, None]
    own = (share * tokens).sum(0)
    kappa: Tensor = head.kappa_neutral if neutral else head.kappa  # type: ignore[assignment]
    trust = n / (n + float(kappa[MODALITIES.index(which)]))
    if neutral:
        return Known(own - mean - getattr(head, f"{which}_offsets")[0], torch.ones_like(mean), trust, seconds)
    variance = (share * (tokens - own) ** 2).sum(0) * len(tokens) / max(len(tokens) - 1, 1)
    lively = scale(head, which, variance, float(len(tokens)))
    return Known(own - mean, lively, trust * diversity(head, which, tokens), seconds)


def learn(head: CamHead, clips: Sequence[dict[str, Trace]], neutral: bool = False) -> Baseline:
    """A person's baseline from the traces of their clips (ClipResult.traces)."""
    own = {name: [traces[name] for traces in clips if name in traces] for name in MODALITIES}
    alone, together = (
        {name: estimate(head, name, traces, neutral, beside) for name, traces in own.items()} for beside in (False, True)
    )
    return Baseline(alone, together, len(clips), neutral)

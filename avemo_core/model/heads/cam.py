"""Class-activation-map head: every cell of a feature map votes, and the votes add up to the logit (Zhou et al. 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MODALITIES = ("face", "voice")


@dataclass(frozen=True)
class Personal:
    """How the person of each window differs from people at large, and how much is known of that.

    `shift` holds [B,D] for face and voice: the person's mean token less the population's. `trust` [B,2] in 0..1 is 0
    where nothing is known (then nothing changes) and nears 1 with much evidence.
    """

    shift: dict[str, Tensor]
    trust: Tensor


class CamHead(nn.Module):
    """Linear votes of two feature maps, weighted by temporal attention and by the modality's weight; one shared bias.

    Where the person is known, tokens are counted from that person's own mean, and by weights that may differ from
    those for a stranger: w + trust * w_personal. Both are linear, so the maps still add up to the logit.
    """

    def __init__(self, classes: int, face: int, voice: int):
        super().__init__()
        self.face = nn.Parameter(torch.randn(classes, face) * face**-0.5)
        self.voice = nn.Parameter(torch.randn(classes, voice) * voice**-0.5)
        self.face_personal = nn.Parameter(torch.zeros(classes, face))
        self.voice_personal = nn.Parameter(torch.zeros(classes, voice))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.balance = nn.Parameter(torch.zeros(2))  # softmax over the modalities that are there
        self.register_buffer("kappa", torch.full((2,), 4.0))  # draws' worth of trust in people at large, by modality
        # What is usual: the mean token of people at large, and how each emotion differs from it (rows add to zero).
        for name, width in (("face", face), ("voice", voice)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_offsets", torch.zeros(classes, width))

    def modality_weights(self, available: Tensor) -> Tensor:
        """available [B,2] of 0 and 1 (face, voice) -> weights [B,2]: sum to one where either is there, else zero."""
        scores = self.balance.expand_as(available).masked_fill(available == 0, -1e4)
        return torch.softmax(scores, dim=1) * available

    def votes(self, which: str, trust: Tensor | None = None) -> Tensor:
        """The weights [K,D] of one modality, or [B,K,D] where `trust` [B] in the person differs by window."""
        weight: Tensor = getattr(self, which)
        if trust is None:
            return weight
        return weight + trust[:, None, None] * getattr(self, f"{which}_personal")

    def sums(self, which: str, pooled: Tensor, personal: Personal | None = None) -> Tensor:
        """Pooled tokens [B,D] -> what the modality says before its weight [B,K]."""
        if personal is None:
            return pooled @ self.votes(which).T
        trust = personal.trust[:, MODALITIES.index(which), None]
        return self._cast(which, pooled - trust * personal.shift[which], trust)

    def _cast(self, which: str, tokens: Tensor, trust: Tensor) -> Tensor:
        """Votes [B,K] of tokens [B,D]; the stranger's by themselves: where trust [B,1] is 0, not even rounding differs."""
        return tokens @ getattr(self, which).T + trust * (tokens @ getattr(self, f"{which}_personal").T)

    def usual(self, which: str, personal: Personal, weight: Tensor) -> Tensor:
        """Evidence [B,K] of the person's own mean: what is taken off because it is usual for this person."""
        trust = personal.trust[:, MODALITIES.index(which), None]
        return -self._cast(which, personal.shift[which], trust) * trust * weight[:, None]

    def evidence(self, maps: Tensor, attention: Tensor, weight: Tensor, which: str, trust: Tensor | None = None) -> Tensor:
        """maps [B,T,D,h,w] or [B,D,F,T], attention [B,T], weight [B] -> [B,K,T,h,w] or [B,K,F,T]; sums to its share."""
        rows = self.votes(which, trust)
        index = "kd" if trust is None else "bkd"
        if which == "face":
            cells = maps.shape[3] * maps.shape[4]
            votes = torch.einsum(f"btdyx,{index}->bktyx", maps, rows) / cells
            return votes * (attention * weight[:, None])[:, None, :, None, None]
        votes = torch.einsum(f"bdft,{index}->bkft", maps, rows) / maps.shape[2]
        return votes * (attention * weight[:, None])[:, None, None, :]

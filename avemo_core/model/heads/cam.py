"""Class-activation-map head: every cell of a feature map votes, and the votes add up to the logit (Zhou et al. 2016)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

MODALITIES = ("face", "voice")


@dataclass(frozen=True)
class Personal:
    """How the person of each window differs from people at large, and how much is known of that.

    By modality, `shift` [B,D] is the person's mean token less the population's and `scale` [B,D] how much livelier people
    at large are than this person. `trust` [B,2] in 0..1 is 0 where nothing is known (then nothing changes) and nears 1.
    """

    shift: dict[str, Tensor]
    scale: dict[str, Tensor]
    trust: Tensor


class CamHead(nn.Module):
    """Linear votes of two feature maps, weighted by temporal attention and by the modality's weight; one shared bias.

    Where the person is known, tokens are counted from that person's own mean, in units of that person's own spread, and
    by weights that may differ from those for a stranger: w + trust * w_personal. All of it is linear in the maps, so they
    still add up to the logit.
    """

    def __init__(self, classes: int, face: int, voice: int):
        super().__init__()
        self.face = nn.Parameter(torch.randn(classes, face) * face**-0.5)
        self.voice = nn.Parameter(torch.randn(classes, voice) * voice**-0.5)
        self.face_personal = nn.Parameter(torch.zeros(classes, face))
        self.voice_personal = nn.Parameter(torch.zeros(classes, voice))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.balance = nn.Parameter(torch.zeros(2))  # softmax over the modalities that are there
        # Draws' worth of trust in people at large, by modality: beside unlabelled clips, beside clips known to be neutral.
        self.register_buffer("kappa", torch.full((2,), 2.0))
        self.register_buffer("kappa_neutral", torch.full((2,), 2.0))
        # Usual spread of the readings of one person's clips, by modality: where all carry one emotion, where they differ.
        self.register_buffer("spreads", torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
        # What is usual: the mean token of people at large, how each emotion differs from it (rows add to zero), and how
        # far a person's takes lie from that person's mean (zero: not known).
        for name, width in (("face", face), ("voice", voice)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_offsets", torch.zeros(classes, width))
            self.register_buffer(f"{name}_spread", torch.zeros(width))

    def modality_weights(self, available: Tensor) -> Tensor:
        """available [B,2] of 0 and 1 (face, voice) -> weights [B,2]: sum to one where either is there, else zero."""
        scores = self.balance.expand_as(available).masked_fill(available == 0, -1e4)
        return torch.softmax(scores, dim=1) * available

    def known(self, which: str, personal: Personal) -> tuple[Tensor, Tensor, Tensor]:
        """Of one modality: what is taken off [B,D], what the rest is multiplied by [B,D], trust [B,1].

        Tokens are stretched about the mean of people at large, where the person's own mean was moved to.
        """
        trust = personal.trust[:, MODALITIES.index(which), None]
        scale = 1 + trust * (personal.scale[which] - 1)
        return trust * personal.shift[which] + getattr(self, f"{which}_mean") * (1 - 1 / scale), scale, trust

    def votes(self, which: str, personal: Personal | None = None) -> Tensor:
        """The weights [K,D] of one modality, or [B,K,D] where the person of each window is known."""
        weight: Tensor = getattr(self, which)
        if personal is None:
            return weight
        _, scale, trust = self.known(which, personal)
        return (weight + trust[:, None] * getattr(self, f"{which}_personal")) * scale[:, None]

    def sums(self, which: str, pooled: Tensor, personal: Personal | None = None) -> Tensor:
        """Pooled tokens [B,D] -> what the modality says before its weight [B,K]."""
        if personal is None:
            return pooled @ self.votes(which).T
        usual, scale, trust = self.known(which, personal)
        return self._cast(which, (pooled - usual) * scale, trust)

    def _cast(self, which: str, tokens: Tensor, trust: Tensor) -> Tensor:
        """Votes [B,K] of tokens [B,D]; the stranger's by themselves: where trust [B,1] is 0, not even rounding differs."""
        return tokens @ getattr(self, which).T + trust * (tokens @ getattr(self, f"{which}_personal").T)

    def usual(self, which: str, personal: Personal, weight: Tensor) -> Tensor:
        """Evidence [B,K] of the person's own mean: what is taken off because it is usual for this person."""
        usual, scale, trust = self.known(which, personal)
        return -self._cast(which, usual * scale, trust) * weight[:, None]

    def evidence(
        self, maps: Tensor, attention: Tensor, weight: Tensor, which: str, personal: Personal | None = None
    ) -> Tensor:
        """maps [B,T,D,h,w] or [B,D,F,T], attention [B,T], weight [B] -> [B,K,T,h,w] or [B,K,F,T]; sums to its share."""
        rows = self.votes(which, personal)
        index = "kd" if personal is None else "bkd"
        if which == "face":
            cells = maps.shape[3] * maps.shape[4]
            votes = torch.einsum(f"btdyx,{index}->bktyx", maps, rows) / cells
            return votes * (attention * weight[:, None])[:, None, :, None, None]
        votes = torch.einsum(f"bdft,{index}->bkft", maps, rows) / maps.shape[2]
        return votes * (attention * weight[:, None])[:, None, None, :]

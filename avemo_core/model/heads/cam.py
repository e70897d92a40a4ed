"""Class-activation-map head: every cell of a feature map votes, and the votes add up to the logit (Zhou et al. 2016)."""

import torch
from torch import Tensor, nn


class CamHead(nn.Module):
    """Linear votes of two feature maps, weighted by temporal attention and by the modality's weight; one shared bias."""

    def __init__(self, classes: int, face: int, voice: int):
        super().__init__()
        self.face = nn.Parameter(torch.randn(classes, face) * face**-0.5)
        self.voice = nn.Parameter(torch.randn(classes, voice) * voice**-0.5)
        self.bias = nn.Parameter(torch.zeros(classes))
        self.balance = nn.Parameter(torch.zeros(2))  # softmax over the modalities that are there

    def modality_weights(self, available: Tensor) -> Tensor:
        """available [B,2] of 0 and 1 (face, voice) -> weights [B,2]: sum to one where either is there, else zero."""
        scores = self.balance.expand_as(available).masked_fill(available == 0, -1e4)
        return torch.softmax(scores, dim=1) * available

    def logits(self, face: Tensor, voice: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pooled face [B,Dv] and voice [B,Da] (attention already applied) -> logits and the two sums before weighting."""
        face_sum, voice_sum = face @ self.face.T, voice @ self.voice.T
        return self.bias + weights[:, :1] * face_sum + weights[:, 1:] * voice_sum, face_sum, voice_sum

    def evidence(self, maps: Tensor, attention: Tensor, weight: Tensor, which: str) -> Tensor:
        """maps [B,T,D,h,w] or [B,D,F,T], attention [B,T], weight [B] -> [B,K,T,h,w] or [B,K,F,T]; sums to its share."""
        if which == "face":
            cells = maps.shape[3] * maps.shape[4]
            votes = torch.einsum("btdyx,kd->bktyx", maps, self.face) / cells
            return votes * (attention * weight[:, None])[:, None, :, None, None]
        votes = torch.einsum("bdft,kd->bkft", maps, self.voice) / maps.shape[2]
        return votes * (attention * weight[:, None])[:, None, None, :]

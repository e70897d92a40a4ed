"""Temporal attention: which moments count (additive, Bahdanau et al. 2015; masked)."""

import torch
from torch import Tensor, nn


class TemporalAttention(nn.Module):
    """Weights over time that add to one over the valid steps; all zero where no step is valid."""

    def __init__(self, width: int, hidden: int = 64):
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """tokens [B,T,D], mask [B,T] of 0 and 1 -> weights [B,T]."""
        scores = self.score(torch.tanh(self.hidden(tokens))).squeeze(-1)
        scores = scores.masked_fill(mask == 0, -1e4)
        at_least_single = torch.promote_types(scores.dtype, torch.float32)  # half has too few digits for shares
        return torch.softmax(scores, dim=1, dtype=at_least_single) * mask

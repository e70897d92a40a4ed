"""Cross-modal attention in both directions: each modality asks the other what happened when."""

import math

import torch
from torch import Tensor, nn


def time_code(times_s: Tensor, width: int) -> Tensor:
    """Times [B,T] in seconds -> [B,T,width] sines and cosines (Vaswani et al. 2017), so that clocks need not agree."""
    periods = torch.exp(torch.linspace(math.log(0.2), math.log(20.0), width // 2, device=times_s.device))
    angle = 2 * math.pi * times_s[..., None] / periods
    return torch.cat((angle.sin(), angle.cos()), dim=-1)


class CrossModalAttention(nn.Module):
    """Queries from one modality; keys and values from the other and a learned null key, so an absent partner is valid."""

    def __init__(self, own: int, other: int, width: int = 128, heads: int = 4):
        super().__init__()
        self.width = width
        self.query = nn.Linear(own, width)
        self.partner = nn.Linear(other, width)
        self.null = nn.Parameter(torch.zeros(1, 1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.out = nn.Linear(width, own)
        nn.init.zeros_(self.out.weight)  # starts as no exchange, learns what helps
        nn.init.zeros_(self.out.bias)

    def forward(
        self, own: Tensor, own_times: Tensor, other: Tensor, other_times: Tensor, other_mask: Tensor, weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """own [B,T,Do], other [B,S,Dp], other_mask [B,S] -> what to add [B,T,Do], attention [B,T,1+S] (null first)."""
        query = self.query(own) + time_code(own_times, self.width).to(own.dtype)
        keys = self.partner(other) + time_code(other_times, self.width).to(other.dtype)
        keys = torch.cat((self.null.expand(len(own), -1, -1).to(keys.dtype), keys), dim=1)
        hidden = torch.cat((torch.zeros_like(other_mask[:, :1], dtype=torch.bool), other_mask == 0), dim=1)
        keys = keys.masked_fill(hidden[..., None], 0.0)  # whatever the missing input holds, the result is the same
        mixed, attention = self.attention(query, keys, keys, key_padding_mask=hidden, need_weights=weights)
        return self.out(mixed), attention

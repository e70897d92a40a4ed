"""One residual block, shared by the face and the voice branch."""

import torch
from torch import Tensor, nn

from ..attention.channel import ChannelAttention


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with channel attention and a shortcut (He et al. 2016; Hu et al. 2018)."""

    def __init__(self, inputs: int, outputs: int, stride: tuple[int, int] = (1, 1)):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.attention = ChannelAttention(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or stride != (1, 1):
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """maps [N,C,H,W]; mask [N,1,1,W'] of the *output* width: padded columns stay zero and count nowhere."""
        inner = torch.relu(self.first_norm(self.first(maps)))
        if mask is not None:
            mask = mask.to(inner.dtype)
            inner = inner * mask
        inner = self.second_norm(self.second(inner))
        if mask is not None:
            inner = inner * mask
        out = torch.relu(self.attention(inner, mask) + self.shortcut(maps))
        return out if mask is None else out * mask

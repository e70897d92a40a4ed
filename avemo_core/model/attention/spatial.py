"""Spatial attention: where on the map (CBAM, Woo et al. 2018, eq. 3)."""

import torch
from torch import Tensor, nn


class SpatialAttention(nn.Module):
    """Scales each position by a weight in (0, 1) from the mean and maximum over channels and a 7x7 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3)

    def weights(self, maps: Tensor) -> Tensor:
        """maps [N,C,H,W] -> weights [N,1,H,W] in (0, 1)."""
        summary = torch.stack((maps.mean(1), maps.amax(1)), dim=1)
        return torch.sigmoid(self.conv(summary))

    def forward(self, maps: Tensor) -> Tensor:
        return maps * self.weights(maps).to(maps.dtype)

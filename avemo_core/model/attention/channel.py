"""Channel attention: which feature maps count (squeeze and excitation, Hu et al. 2018, eq. 2 to 4)."""

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Scales each map by a weight in (0, 1) from its mean over the valid positions."""

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def weights(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """maps [N,C,H,W], mask [N,1,1,W] of 0 and 1 or None -> weights [N,C] in (0, 1)."""
        if mask is None:
            mean = maps.mean((2, 3))
        else:
            mean = (maps * mask).sum((2, 3)) / (mask.sum((2, 3)) * maps.shape[2]).clamp(min=1)
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(mean))))

    def forward(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        return maps * self.weights(maps, mask).to(maps.dtype)[:, :, None, None]

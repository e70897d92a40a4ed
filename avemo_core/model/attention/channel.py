"""Channel attention: which feature maps count (CBAM, Woo et al. 2018, eq. 2)."""

import torch
from torch import Tensor, nn


class ChannelAttention(nn.Module):
    """Scales each map by a weight in (0, 1) from its mean and maximum over the valid positions."""

    def __init__(self, channels: int, reduction: int = 8):
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)

    def weights(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        """maps [N,C,H,W], mask [N,1,1,W] of 0 and 1 or None -> weights [N,C] in (0, 1)."""
        if mask is None:
            mean, peak = maps.mean((2, 3)), maps.amax((2, 3))
        else:
            count = (mask.sum((2, 3)) * maps.shape[2]).clamp(min=1)
            mean = (maps * mask).sum((2, 3)) / count
            peak = maps.masked_fill(mask == 0, -torch.inf).amax((2, 3))
            peak = torch.where(torch.isfinite(peak), peak, torch.zeros_like(peak))
        both = torch.stack((mean, peak))
        return torch.sigmoid(self.excite(torch.relu(self.squeeze(both))).sum(0))

    def forward(self, maps: Tensor, mask: Tensor | None = None) -> Tensor:
        return maps * self.weights(maps, mask).to(maps.dtype)[:, :, None, None]

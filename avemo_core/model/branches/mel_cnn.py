"""Voice branch: log-mel window -> feature maps that keep when and at which pitch."""

from typing import cast

import torch
from torch import Tensor, nn

from ..attention.spatial import SpatialAttention
from .residual import ResidualBlock

RANGE = 18.4  # natural log of power: 80 dB under the loudest band counts as silence
SPREAD = 4.6  # 20 dB
STRIDE = 8  # columns of the spectrogram under one column of the maps, and bands under one row


def shrink_mask(mask: Tensor, times: int) -> Tensor:
    """Mask [B,L] of 0 and 1 -> [B, ceil(L / times)]: a shrunk column is valid when its first column is."""
    return mask[:, ::times]


class MelCNN(nn.Module):
    """Log-mel [B,1,M,L] -> maps [B,widths[-1],M/8,L/8]; padded columns stay zero and count nowhere."""

    reads_samples = False
    rows = 10  # of the maps: MELS bands, STRIDE under each

    def __init__(self, widths: tuple[int, ...] = (24, 48, 96, 128), blocks: tuple[int, ...] = (1, 1, 1)):
        super().__init__()
        self.channels = widths[-1]
        self.stem = nn.Sequential(
            nn.Conv2d(1, widths[0], 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        strides = ((2, 2), (2, 2), (1, 1))
        self.stages = nn.ModuleList()
        for inputs, outputs, repeats, stride in zip(widths, widths[1:], blocks, strides, strict=False):
            stage = [ResidualBlock(inputs, outputs, stride)]
            stage += [ResidualBlock(outputs, outputs) for _ in range(repeats - 1)]
            self.stages.append(nn.ModuleList(stage))
        self.attention = SpatialAttention()

    def map_layers(self) -> dict[str, nn.Module]:
        """Layers whose maps can be looked at, by name, from the finest maps to the coarsest."""
        stages = (cast(nn.ModuleList, stage) for stage in self.stages)
        return {"stem": self.stem} | {f"stage{n}": stage[-1] for n, stage in enumerate(stages, 1)}

    @staticmethod
    def scale(log_mel: Tensor, mask: Tensor) -> Tensor:
        """Loudness says more about the microphone than about the voice: the loudest band of each window becomes 2."""
        valid = mask[:, None, None, :]
        peak = log_mel.masked_fill(valid == 0, -torch.inf).amax((1, 2, 3), keepdim=True)
        peak = torch.where(torch.isfinite(peak), peak, torch.zeros_like(peak))
        return ((log_mel - peak).clamp(min=-RANGE) / SPREAD + 2) * valid

    def forward(self, log_mel: Tensor, mask: Tensor) -> Tensor:
        """log_mel [B,1,M,L], mask [B,L] float of 0 and 1."""
        maps = self.stem(self.scale(log_mel, mask))
        whole = bool(mask.all())  # whole windows, by far the most, need no masking
        columns, times = None, 2  # times: columns of the spectrogram under one of the maps so far
        for stage in self.stages:
            for block in cast(nn.ModuleList, stage):
                stride = cast(ResidualBlock, block).first.stride[1]
                if not whole:
                    maps = maps * columns_of(mask, times).to(maps.dtype)
                    columns = columns_of(mask, times * stride).to(maps.dtype)
                maps, times = block(maps, columns), times * stride
        maps = self.attention(maps)
        return maps if columns is None else maps * columns


def columns_of(mask: Tensor, times: int) -> Tensor:
    """Mask [B,L] as [B,1,1,ceil(L / times)], to multiply maps with."""
    return shrink_mask(mask, times)[:, None, None, :]

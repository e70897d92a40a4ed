"""Face branch: one grey crop -> feature maps that keep where on the face."""

from typing import cast

import torch
from torch import Tensor, nn

from ..attention.spatial import SpatialAttention
from .residual import ResidualBlock


class FaceCNN(nn.Module):
    """Crops [N,1,S,S] in 0..1 -> maps [N,widths[-1],S/8,S/8]; frames are read one by one."""

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256), blocks: tuple[int, ...] = (1, 1, 2)):
        super().__init__()
        self.channels = widths[-1]
        self.stem = nn.Sequential(nn.Conv2d(1, widths[0], 3, padding=1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU())
        self.stages = nn.ModuleList()
        for inputs, outputs, repeats in zip(widths, widths[1:], blocks, strict=False):
            stage = [ResidualBlock(inputs, outputs, (2, 2))]
            stage += [ResidualBlock(outputs, outputs) for _ in range(repeats - 1)]
            self.stages.append(nn.Sequential(*stage))
        self.attention = SpatialAttention()

    def map_layers(self) -> dict[str, nn.Module]:
        """Layers whose maps can be looked at, by name, from the finest maps to the coarsest."""
        stages = (cast(nn.Sequential, stage) for stage in self.stages)
        return {"stem": self.stem} | {f"stage{n}": stage[-1] for n, stage in enumerate(stages, 1)}

    def forward(self, crops: Tensor) -> Tensor:
        # Contrast differs between cameras more than between expressions: each crop gets mean 0 and deviation 1.
        mean = crops.mean((1, 2, 3), keepdim=True)
        deviation = torch.sqrt(crops.var((1, 2, 3), keepdim=True, unbiased=False) + 1e-4)
        maps = self.stem((crops - mean) / deviation)
        for stage in self.stages:
            maps = stage(maps)
        return self.attention(maps)

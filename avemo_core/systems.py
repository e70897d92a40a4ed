"""Every model that AVEMO can run: one literal table from a name to its source, its parts and its settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from .model.attention_cam import AttentionCAM


@dataclass(frozen=True)
class System:
    """One model by name; `settings` are the arguments of `build`, and go into the checkpoint."""

    paper: str
    branches: tuple[str, ...]
    fusion: str
    head: str
    build: Callable[..., nn.Module]
    settings: dict[str, Any] = field(default_factory=dict)


SYSTEMS: dict[str, System] = {
    "attention_cam": System(
        paper="house model, after Matveev et al.: attention per dimension, cross-modal attention as fusion, CAM head",
        branches=("face_cnn", "mel_cnn"),
        fusion="cross_modal",
        head="cam",
        build=AttentionCAM,
        settings={
            "classes": 7,
            "face_widths": [32, 64, 128, 256],
            "face_blocks": [1, 1, 2],
            "voice_widths": [24, 48, 96, 128],
            "voice_blocks": [1, 1, 1],
            "width": 128,
        },
    ),
}


def system(name: str) -> System:
    """The system of that name; ValueError lists the valid ones."""
    if name not in SYSTEMS:
        raise ValueError(f"Unknown system {name!r}; choose one of {', '.join(SYSTEMS)}.")
    return SYSTEMS[name]

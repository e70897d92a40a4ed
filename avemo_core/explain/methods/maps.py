"""What every method returns: maps of windows, before they are laid on the clip."""

from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True)
class Maps:
    """Of W windows. `summed`: the cells' values add up to something, so a cell that is shared out is divided."""

    unit: str
    signed: bool
    summed: bool
    face: Tensor | None = None  # [W,T,h,w]
    voice: Tensor | None = None  # [W,F,C]
    attention: dict[str, Tensor] = field(default_factory=dict)  # face_to_voice [W,T,1+C], voice_to_face [W,C,1+T]
    channels: dict[str, Tensor] = field(default_factory=dict)  # by layer [W or n,C]
    missing: dict[str, str] = field(default_factory=dict)  # why the method has no map of a modality

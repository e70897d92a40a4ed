"""AVEMO reads the emotion that a face and a voice express in a clip, and shows on what evidence.

>>> from avemo_core import Analyzer
>>> result = Analyzer().analyze("clip.mp4")
>>> print(result.verdict)
"""

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyzer import Analyzer

__all__ = ["Analyzer"]

# OpenMP reads this when torch is loaded, so it is said before. Its threads otherwise wait for one another by turning in
# circles: on two busy cores a clip of 4.6 s took 25 s and not 2.8.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def __getattr__(name: str) -> Any:
    # The rating study imports labels and media from here and must not wait for torch.
    if name == "Analyzer":
        from .analyzer import Analyzer

        return Analyzer
    raise AttributeError(f"module 'avemo_core' has no attribute {name!r}")

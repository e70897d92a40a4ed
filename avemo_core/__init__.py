"""AVEMO reads the emotion that a face and a voice express in a clip, and shows on what evidence.

>>> from avemo_core import Analyzer
>>> result = Analyzer().analyze("clip.mp4")
>>> print(result.verdict)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .analyzer import Analyzer

__all__ = ["Analyzer"]


def __getattr__(name: str) -> Any:
    # The rating study imports labels and media from here and must not wait for torch.
    if name == "Analyzer":
        from .analyzer import Analyzer

        return Analyzer
    raise AttributeError(f"module 'avemo_core' has no attribute {name!r}")

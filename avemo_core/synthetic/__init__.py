"""A drawn face that moves and a synthetic voice that speaks: examples and test clips that show and record nobody."""

from .clips import Scene, write_clip, write_webcam
from .face import draw_face
from .people import EXPRESSIONS, PEOPLE, Expression, Person
from .voice import MANNERS, speak

__all__ = [
    "EXPRESSIONS",
    "MANNERS",
    "PEOPLE",
    "Expression",
    "Person",
    "Scene",
    "draw_face",
    "speak",
    "write_clip",
    "write_webcam",
]

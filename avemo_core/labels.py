"""The seven expressed emotions: order, keys, names, colours, glyphs, and maps from other label sets.

Everything that shows an emotion (bars, timeline, buttons, exports) takes it from here. No torch is needed.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Colours:
    """Four hex colours of one emotion in one theme: areas, thin marks (contrast >= 3:1), text (>= 4.5:1), behind text."""

    fill: str
    line: str
    ink: str
    tint: str


@dataclass(frozen=True)
class Emotion:
    """One emotion as people see it. `icon` is the inside of a 20-unit SVG, `letter` stands in plain text."""

    name: str
    russian: str
    letter: str
    key: str
    light: Colours
    dark: Colours
    dash: str  # Plotly line dash, so that lines differ without colour
    symbol: str  # Plotly marker symbol
    icon: str


# Fills start from Okabe-Ito, moved until the closest pair stays apart for every colour vision (CIEDE2000 >= 9).
EMOTIONS: dict[str, Emotion] = {
    e.name: e
    for e in (
        Emotion(
            "neutral",
            "нейтральность",
            "N",
            "1",
            Colours("#6C737E", "#61636D", "#474C56", "#ECEEF1"),
            Colours("#747A85", "#858B96", "#C6CBD3", "#2A2F38"),
            "solid",
            "circle",
            '<circle cx="10" cy="10" r="8.2"/><path d="M6.5 12.6h7"/>'
            '<circle class="f" cx="7" cy="8" r="1.1"/><circle class="f" cx="13" cy="8" r="1.1"/>',
        ),
        Emotion(
            "happiness",
            "радость",
            "H",
            "2",
            Colours("#EBB838", "#B08E17", "#745600", "#FBF0CF"),
            Colours("#FFBF3F", "#FFBF3F", "#FFD27A", "#3A2F12"),
            "solid",
            "triangle-up",
            '<circle cx="10" cy="10" r="8.2"/><path d="M5.6 11.2c1.2 4 7.6 4 8.8 0z" fill="currentColor"/>'
            '<path d="M6 7.9q1-1.4 2 0M12 7.9q1-1.4 2 0"/>',
        ),
        Emotion(
            "sadness",
            "грусть",
            "S",
            "3",
            Colours("#006BD0", "#0253B7", "#00479E", "#DEEBFB"),
            Colours("#3E6DEB", "#4E7BF5", "#A3BDFF", "#182A55"),
            "dash",
            "triangle-down",
            '<circle cx="10" cy="10" r="8.2"/><path d="M6.6 14.2q3.4-3.4 6.8 0"/>'
            '<path d="M5.6 8.2l2.6-1.5M14.4 8.2l-2.6-1.5"/>'
            '<path class="f" d="M14.3 9.4q1.7 2.4 0 3.2-1.7-.8 0-3.2z"/>',
        ),
        Emotion(
            "anger",
            "гнев",
            "A",
            "4",
            Colours("#D55E00", "#A23F02", "#8F3600", "#FBE6D8"),
            Colours("#E84C00", "#F0560A", "#FFA37A", "#431F0D"),
            "solid",
            "square",
            '<circle cx="10" cy="10" r="8.2"/><path d="M5.2 6.4l3.2 2.2M14.8 6.4l-3.2 2.2"/>'
            '<path d="M6.8 13.8v-1.6h6.4v1.6z" fill="currentColor"/>',
        ),
        Emotion(
            "fear",
            "страх",
            "F",
            "5",
            Colours("#D195B3", "#DD6FA3", "#93336A", "#F9E6EF"),
            Colours("#FFC6DC", "#FFC6DC", "#FFC9DE", "#43202F"),
            "dot",
            "diamond",
            '<circle cx="10" cy="10" r="8.2"/><path d="M5.8 13.6l1.7-1.5 1.7 1.5 1.7-1.5 1.7 1.5 1.6-1.5"/>'
            '<circle cx="7" cy="7.8" r="1.5"/><circle cx="13" cy="7.8" r="1.5"/>',
        ),
        Emotion(
            "disgust",
            "отвращение",
            "D",
            "6",
            Colours("#009E73", "#167E54", "#0B6141", "#DDF2E9"),
            Colours("#00A16D", "#00A870", "#63D9B1", "#0E3427"),
            "dashdot",
            "x",
            '<circle cx="10" cy="10" r="8.2"/><path d="M6.4 14.2q1.6-3 3.6-1.4t3.8-1.2"/>'
            '<path d="M5.8 8.4l2.6-.8M11.6 7.6l2.6.8"/><path d="M9 10.2l1-.8 1 .8"/>',
        ),
        Emotion(
            "surprise",
            "удивление",
            "O",
            "7",
            Colours("#00A1FF", "#2094FC", "#0B5A9C", "#DDF0FF"),
            Colours("#63BBFF", "#63BBFF", "#9AD4FF", "#11314B"),
            "longdash",
            "star",
            '<circle cx="10" cy="10" r="8.2"/><ellipse class="f" cx="10" cy="13.1" rx="2.1" ry="2.7"/>'
            '<path d="M5.6 6q1.3-1.5 2.6 0M11.8 6q1.3-1.5 2.6 0"/><circle class="f" cx="7" cy="8.4" r=".9"/>'
            '<circle class="f" cx="13" cy="8.4" r=".9"/>',
        ),
    )
}

LABELS: tuple[str, ...] = tuple(EMOTIONS)
K = len(LABELS)

# What another label set calls a thing that is one of the seven here. A label absent from a map is left out, never guessed.
ALIASES: dict[str, dict[str, str]] = {
    "acted speech": {"calm": "neutral"},
    "children": {"joy": "happiness", "neutral": "neutral", "sadness": "sadness", "anger": "anger"},
}


def index(label: str) -> int:
    """The place of a label in the fixed order; ValueError names the valid ones."""
    if label not in EMOTIONS:
        raise ValueError(f"Unknown label {label!r}; choose one of {', '.join(LABELS)}.")
    return LABELS.index(label)


def from_corpus(label: str) -> str | None:
    """The one of the seven that a corpus label stands for, or None where it has no place here (contempt, boredom)."""
    if label in EMOTIONS:
        return label
    return ALIASES["acted speech"].get(label)


def named(probabilities: np.ndarray) -> dict[str, float]:
    """[7] -> {label: probability}, in the fixed order."""
    return {label: float(p) for label, p in zip(LABELS, probabilities, strict=True)}

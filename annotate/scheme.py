"""What raters choose from: the labels of a study with their colours, names and keys, and the scales.

A key is only how a label is reached: what is stored is the label's name, and the scale's own point.
"""

import re
from dataclasses import asdict, dataclass
from typing import Any

from avemo_core.labels import EMOTIONS

from .store import StudyError, named

KEYS = "123456789"
COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
LONGEST = 40  # letters of a label: it stands on a button
# Keys A to G and J to L, by place on the keyboard; what they store.
INTENSITY = {"barely": 0, "slight": 25, "clear": 50, "strong": 75, "extreme": 100}
CONFIDENCE = {"guessing": 0, "fairly": 50, "certain": 100}
GRID = range(1, 10)  # valence and arousal
FLAGS = ("noise", "several voices", "not speech", "distress", "technical fault", "other")


@dataclass(frozen=True)
class Label:
    """`colour` is a hex colour; None: the emotion's own, from avemo_core.labels, with its glyph."""

    name: str
    english: str
    russian: str
    colour: str | None = None


@dataclass(frozen=True)
class Scheme:
    """Labels in their fixed order: the first has key 1."""

    name: str
    labels: tuple[Label, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "labels": [asdict(label) for label in self.labels]}

    @classmethod
    def from_json(cls, value: Any) -> "Scheme":
        """Raises StudyError where it is not one to nine labels of different names."""
        try:
            labels = tuple(_label(row) for row in value["labels"])
            scheme = cls(named(value["name"], "A label scheme"), labels)
        except (TypeError, KeyError, AttributeError) as error:
            raise StudyError(
                'A label scheme is {"name": ..., "labels": [{"name": ..., "english": ..., "russian": ..., '
                '"colour": "#RRGGBB"}]}; '
                f"{error} is missing or has another form."
            ) from error
        if not 1 <= len(labels) <= len(KEYS):
            raise StudyError(f"A label scheme has 1 to {len(KEYS)} labels, one a key; this one has {len(labels)}.")
        if len(set(scheme.names)) < len(labels):
            raise StudyError(f"The labels of a scheme need different names; these are {', '.join(map(repr, scheme.names))}.")
        return scheme


def _label(row: dict[str, Any]) -> Label:
    name, colour = row["name"], row.get("colour") or None
    english = row.get("english") or name
    name, english, russian = (named(t, "A label", LONGEST) for t in (name, english, row.get("russian") or english))
    if colour is not None and not COLOUR.fullmatch(colour):
        raise StudyError(f"The colour of a label is written #RRGGBB, for example #167E54; this is {colour[:40]!r}.")
    return Label(name, english, russian, colour)


def _emotions(*names: str, **renamed: tuple[str, str, str]) -> tuple[Label, ...]:
    return tuple(Label(*renamed[name]) if name in renamed else Label(name, name, EMOTIONS[name].russian) for name in names)


# Joy is the word for happiness in studies of children; it is stored under the name of the seven.
SCHEMES = {
    scheme.name: scheme
    for scheme in (
        Scheme("basic seven", _emotions(*EMOTIONS)),
        Scheme(
            "joy, neutral, sadness, anger",
            _emotions("happiness", "neutral", "sadness", "anger", happiness=("happiness", "joy", "радость")),
        ),
        Scheme(
            "comfort",
            (
                Label("discomfort", "discomfort", "дискомфорт", "#A23F02"),
                Label("neutral", "neutral", "нейтральность"),
                Label("comfort", "comfort", "комфорт", "#167E54"),
            ),
        ),
    )
}

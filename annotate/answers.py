"""A rater's answer to one clip: read from what a browser sent, and checked against what the study asks."""

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from .design import Design
from .scheme import FLAGS, GRID, KEYS, Scheme
from .store import StudyError

LONGEST_COMMENT = 2000  # characters
LONGEST_WORD = 200  # of a label or a flag, before it is known to be one


@dataclass(frozen=True)
class Answer:
    """The fields of schema.Rating that a rater fills in."""

    label: str | None = None
    soft: dict[str, float] | None = None
    intensity: int | None = None
    valence: int | None = None
    arousal: int | None = None
    confidence: int | None = None
    cannot_tell: bool = False
    flag: str | None = None
    comment: str | None = None
    replays: int = 0
    first_play_ended_at: datetime | None = None
    reaction_ms: int | None = None

    def to_json(self) -> dict[str, Any]:
        played = self.first_play_ended_at
        return {**asdict(self), "first_play_ended_at": played.astimezone(UTC).isoformat() if played else None}

    @classmethod
    def from_json(cls, value: Any) -> "Answer":
        """What a browser sent, each field of its type. StudyError, one sentence, where one is not."""
        if not isinstance(value, dict):
            raise StudyError("An answer is an object with a label and its scales.")
        if unknown := sorted(set(value) - set(cls.__dataclass_fields__)):
            raise StudyError(f"An answer has no field {unknown[0][:LONGEST_WORD]!r}.")
        numbers = {
            name: _integer(name, value.get(name))
            for name in ("intensity", "valence", "arousal", "confidence", "reaction_ms")
        }
        cannot_tell = value.get("cannot_tell") or False
        if not isinstance(cannot_tell, bool):
            raise StudyError("Whether one cannot tell is true or false.")
        return cls(
            label=_text("label", value.get("label"), LONGEST_WORD),
            soft=_shares(value.get("soft")),
            cannot_tell=cannot_tell,
            flag=_text("flag", value.get("flag"), LONGEST_WORD),
            comment=_text("comment", value.get("comment"), LONGEST_COMMENT),
            replays=_integer("number of replays", value.get("replays")) or 0,
            first_play_ended_at=_time(value.get("first_play_ended_at")),
            **numbers,
        )


def checked(answer: Answer, scheme: Scheme, design: Design) -> Answer:
    """The answer as it is stored: the label of a soft answer is its largest share, where one is. StudyError, one sentence,
    where it is not an answer to this study's question."""
    _check_choice(answer, scheme, design)
    _check_scales(answer, design)
    comment = (answer.comment or "").strip() or None
    return replace(answer, label=_leader(answer.soft) if answer.soft else answer.label, comment=comment)


def _need(holds: bool, sentence: str) -> None:
    if not holds:
        raise StudyError(sentence)


def _check_choice(answer: Answer, scheme: Scheme, design: Design) -> None:
    chosen = {answer.label} if answer.label is not None else set()
    chosen |= set(answer.soft or {})
    names = ", ".join(scheme.names)
    for name in sorted(chosen - set(scheme.names)):
        raise StudyError(f"{name!r} is not a label of this study; its labels are {names}.")
    _need(not (answer.cannot_tell and chosen), "An answer has a label or says that one cannot tell, not both.")
    _need(bool(chosen) or answer.cannot_tell or answer.flag is not None, "Choose a label, cannot tell, or a flag.")
    _need(
        answer.flag is None or answer.flag in FLAGS, f"{answer.flag!r} is not a reason to flag; choose {', '.join(FLAGS)}."
    )
    if answer.soft is not None:
        _need(design.soft_labels, "This study asks for one label; shares of several are not asked for.")
        _need(all(0 <= share <= 1 for share in answer.soft.values()), "The shares of labels lie between 0 and 1.")
        total = sum(answer.soft.values())
        _need(abs(total - 1) < 1e-6, f"The shares of the labels add up to 1; these add up to {total:g}.")
        largest = max(answer.soft.values())
        agree = answer.label is None or answer.soft.get(answer.label) == largest
        _need(agree, f"The label {answer.label!r} has not the largest share of this answer.")


def _check_scales(answer: Answer, design: Design) -> None:
    asked = {
        "intensity": (design.ask_intensity, 0, 100),
        "confidence": (design.ask_confidence, 0, 100),
        "valence": (design.ask_valence_arousal, GRID[0], GRID[-1]),
        "arousal": (design.ask_valence_arousal, GRID[0], GRID[-1]),
    }
    for name, (wanted, low, high) in asked.items():
        value = getattr(answer, name)
        if value is not None:
            _need(wanted, f"This study does not ask for {name}.")
            _need(low <= value <= high, f"The {name} lies between {low} and {high}, not at {value}.")
    _need(answer.comment is None or design.ask_comment, "This study does not ask for comments.")
    _need(answer.replays >= 0, "The number of replays cannot be negative.")
    most = design.most_replays
    _need(most is None or answer.replays <= most, f"A clip may be replayed {most} times here, not {answer.replays} times.")
    _need(answer.reaction_ms is None or answer.reaction_ms >= 0, "A reaction time cannot be negative.")


def _leader(soft: dict[str, float]) -> str | None:
    """The label of the largest share; None where two are equally large."""
    largest = [name for name, share in soft.items() if share == max(soft.values())]
    return largest[0] if len(largest) == 1 else None


# ---------------------------------------------------------------- types, as a browser may have sent them


def _integer(name: str, value: Any) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1 or abs(value) > 2**31 - 1:
        raise StudyError(f"The {name.replace('_ms', ' in ms')} is a whole number, not {str(value)[:LONGEST_WORD]!r}.")
    return int(value)


def _text(name: str, value: Any, longest: int) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise StudyError(f"The {name} is a text, not {str(value)[:LONGEST_WORD]!r}.")
    if len(value) > longest:
        raise StudyError(f"The {name} has {len(value)} characters; at most {longest} can be kept, so shorten it.")
    if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
        raise StudyError(f"The {name} has a character in it that no text has; take it out.")
    return value


def _shares(value: Any) -> dict[str, float] | None:
    if value is None:
        return None
    if not isinstance(value, dict) or not 1 <= len(value) <= len(KEYS):
        raise StudyError(f"A soft label is an object with the shares of 1 to {len(KEYS)} labels.")
    shares = {}
    for name, share in value.items():
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise StudyError("The shares of labels are numbers between 0 and 1.")
        shares[_text("label", name, LONGEST_WORD) or ""] = float(share)
    return shares


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        at = datetime.fromisoformat(value)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise StudyError("The end of the first play is a time such as 2026-03-01T12:00:00.250Z.") from error

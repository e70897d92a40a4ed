"""A rating's row as plain values, for files, and back: every column has a kind, and another value is refused."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from ..ratings import COLUMNS
from ..schema import MODALITIES
from ..scheme import Scheme
from ..store import StudyError

Row = dict[str, Any]
RANGES = {"intensity": (0, 100), "confidence": (0, 100), "valence": (1, 9), "arousal": (1, 9)}


@dataclass(frozen=True)
class Exported:
    """What a format may want to know beside the rows. `files`: clip id -> the clip's own file."""

    name: str
    scheme: Scheme
    files: dict[int, Path]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its times as ISO 8601 text in UTC: what JSON can hold."""
    return {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}


def typed(values: dict[str, Any], where: str) -> dict[str, Any]:
    """The row of these values, text or plain ones; what is absent is None. StudyError says which value is wrong."""
    row: dict[str, Any] = {}
    for name in COLUMNS:
        value = values.get(name)
        try:
            row[name] = None if value is None else KINDS.get(name, _text)(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise StudyError(
                f"{where} has {name} {str(value)[:60]!r}; expected {EXPECTED[KINDS.get(name, _text)]}."
            ) from error
    row |= {name: bool(row[name]) for name in ("is_repeat", "cannot_tell")} | {"replays": row["replays"] or 0}
    for name, (least, most) in RANGES.items():
        if row[name] is not None and not least <= row[name] <= most:
            raise StudyError(f"{where} has {name} {row[name]}; expected {least} to {most}.")
    if not row["clip"]:
        raise StudyError(f"{where} names no clip; expected the column `clip`.")
    if row["modality"] not in MODALITIES:
        raise StudyError(f"{where} has the modality {row['modality']!r}; expected {', '.join(MODALITIES)}.")
    return row


def _text(value: Any) -> str:
    if not isinstance(value, str) or "\0" in value:
        raise ValueError
    value.encode()  # half a surrogate pair is no text
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    number = int(value)
    if abs(number) > 2**62:
        raise ValueError
    return number


def _small(value: Any) -> int:
    number = _whole(value)
    if abs(number) >= 2**31:  # what an integer column holds
        raise ValueError
    return number


def _number(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not math.isfinite(number):
        raise ValueError
    return number


def _truth(value: Any) -> bool:
    found = {"true": True, "false": False}.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(found, bool):
        raise ValueError
    return found


def _time(value: Any) -> datetime:
    at = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


def _day(value: Any) -> date:
    return value if isinstance(value, date) else date.fromisoformat(value)


def _shares(value: Any) -> dict[str, float]:
    shares = json.loads(value) if isinstance(value, str) else value
    return {_text(label): share if type(share) is int else _number(share) for label, share in shares.items()}


EXPECTED: dict[Callable[[Any], Any], str] = {
    _text: "text",
    _whole: "a whole number",
    _small: "a whole number",
    _number: "a number",
    _truth: "true or false",
    _time: "a time such as 2026-03-01T12:30:00+00:00",
    _day: "a date such as 2030-12-31",
    _shares: "labels with their shares as JSON",
}
KINDS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("rating_id", "study_id", "clip_id", "item_id", "rater_id", "supersedes", "superseded_by"), _whole),
    **dict.fromkeys(("order_index", "intensity", "valence", "arousal", "confidence", "replays"), _small),
    **dict.fromkeys(("reaction_ms", "age_months"), _small),
    **dict.fromkeys(("is_repeat", "cannot_tell"), _truth),
    **dict.fromkeys(("first_play_ended_at", "submitted_at"), _time),
    "duration_s": _number,
    "retain_until": _day,
    "soft": _shares,
}

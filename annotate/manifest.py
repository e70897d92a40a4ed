"""A folder of clips, or a manifest CSV -> rows, each a file and what is known of it. Nothing is decoded here.

The first row of a manifest names its columns; only `file` is needed, relative to the manifest's own folder. A fault in a
manifest refuses all of it before anything is copied: a study with half of its clips is worse than none.
"""

import csv
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from .scheme import Scheme
from .store import StudyError

SUFFIXES = {
    *(".mp4", ".mov", ".webm", ".mkv", ".avi", ".m4v", ".3gp"),
    *(".wav", ".mp3", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aac"),
}
OF_CHILD = ("age_months", "sex", "group", "language")
KINDS = ("main", "gold", "practice")
OWN = {
    *("file", "speaker", "child", "sex", "age", "age_months", "age_group", "group", "language"),
    *("kind", "gold_label", "consent", "retain_until"),
}
REFUSED = ("no", "none", "false", "0", "refused", "withdrawn", "expired")  # what a consent may not say


@dataclass(frozen=True)
class Row:
    """A clip that is to be added. `name` is unique in the source; `child` a pseudonym."""

    path: Path
    name: str
    child: str | None = None
    age_months: int | None = None
    sex: str | None = None
    group: str | None = None
    language: str | None = None
    kind: str = "main"
    gold_label: str | None = None
    consent: str | None = None
    retain_until: date | None = None
    details: dict[str, Any] = field(default_factory=dict)


def read(source: Path, scheme: Scheme) -> tuple[list[Row], list[tuple[str, str]]]:
    """The rows of a manifest (a CSV, or a folder with a manifest.csv), or every clip of a folder at any depth; and what of
    the folder was passed over, each with a sentence."""
    if source.is_dir() and not (source / "manifest.csv").is_file():
        return _folder(source)
    path = source / "manifest.csv" if source.is_dir() else source
    if not path.is_file():
        raise StudyError(f"There is no folder or manifest {str(source)!r}; give a folder of clips or a CSV that lists them.")
    if path.suffix.lower() != ".csv":  # or a page would read out the first line of any file of this computer
        raise StudyError(f"{path.name!r} is no manifest: its name does not end in .csv; give a folder of clips or a CSV.")
    return _manifest(path, scheme), []


def _folder(folder: Path) -> tuple[list[Row], list[tuple[str, str]]]:
    rows, skipped = [], []
    for path in sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()):
        name = _printable(path.relative_to(folder).as_posix())
        if path.resolve().is_relative_to(folder.resolve()):
            rows.append(Row(path, name))
        else:
            skipped.append((name, "It is a link to a file outside of the folder."))
    if not rows:
        raise StudyError(
            f"The folder {str(folder)!r} holds no clips; expected files such as {', '.join(sorted(SUFFIXES)[:8])}, ..., "
            "or a manifest.csv."
        )
    return rows, skipped


def _printable(name: str) -> str:
    """A name that any database takes: bytes that are no UTF-8 are written as \\xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _manifest(path: Path, scheme: Scheme) -> list[Row]:
    rows: list[Row] = []
    at: dict[Path, int] = {}  # where a file was named first
    missing = []
    for number, cells in _cells(path):
        where = f"Row {number} of {path.name}"
        row = _row(cells, path.parent, scheme, where)
        if not row.path.is_file():
            missing.append((number, row.name))
            continue
        same = row.path.resolve()
        if same in at:
            raise StudyError(f"Rows {at[same]} and {number} of {path.name} are for the same clip, {row.name!r}; keep one.")
        at[same] = number
        rows.append(row)
    if missing:
        number, name = missing[0]
        more = f", and {len(missing) - 1} more files are missing" if len(missing) > 1 else ""
        raise StudyError(
            f"Row {number} of {path.name} names {name!r}, which is not in its folder{more}; "
            "put the files there or take their rows out."
        )
    if not rows:
        raise StudyError(f"{path.name} has no rows; expected one a clip.")
    children(rows, {})
    return rows


def children(rows: Iterable[Row], known: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Pseudonym -> what is known of the child, from all of its rows and from before; they may not contradict each other."""
    found = {pseudonym: dict(values) for pseudonym, values in known.items()}
    for row in rows:
        if row.child is None:
            continue
        child = found.setdefault(row.child, dict.fromkeys(OF_CHILD))
        for column in OF_CHILD:
            given, before = getattr(row, column), child[column]
            if None not in (given, before) and given != before:
                raise StudyError(
                    f"The child {row.child!r} has two values of {column}, {before!r} and {given!r} (for {row.name!r}); "
                    "one child seen at two ages needs two pseudonyms."
                )
            child[column] = before if given is None else given
    return found


def _cells(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """(line number, column -> stripped text, without the empty ones)."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StudyError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as CSV in UTF-8.") from error
    if "\0" in text:
        raise StudyError(f"{path.name} holds zero bytes, so it is not a CSV; save it as CSV in UTF-8.")
    first = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=";" if first.count(";") > first.count(",") else ",")
    try:
        header = [name.strip() for name in next(reader, [])]
        if "file" not in header:
            raise StudyError(
                f"{path.name} has the columns {', '.join(filter(None, header))[:200] or '(none)'} and no column `file`; "
                "its first row must name the columns, and `file` says where each clip lies."
            )
        if twice := sorted({name for name in header if name and header.count(name) > 1}):
            raise StudyError(f"{path.name} has two columns named {twice[0]!r}; give them different names.")
        for cells in reader:
            if len(cells) > len(header):
                raise StudyError(
                    f"Row {reader.line_num} of {path.name} has {len(cells)} cells, but the first row names {len(header)}."
                )
            named = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if name and cell.strip()}
            if named:
                yield reader.line_num, named
    except csv.Error as error:
        raise StudyError(f"Row {reader.line_num} of {path.name} cannot be read as CSV ({error}).") from error


def _row(cells: dict[str, str], folder: Path, scheme: Scheme, where: str) -> Row:
    name = cells.get("file")
    if name is None:
        raise StudyError(f"{where} names no file.")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise StudyError(f"{where} names {name!r}, which lies outside of the manifest's folder; put the clip inside of it.")
    gold = cells.get("gold_label")
    kind = cells.get("kind") or ("gold" if gold else "main")
    if kind not in KINDS:
        raise StudyError(f"{where} has the kind {kind!r}; a clip is {', '.join(KINDS[:-1])} or {KINDS[-1]}.")
    if gold is not None and gold not in scheme.names:
        raise StudyError(f"{where} has the gold label {gold!r}; the labels of this study are {', '.join(scheme.names)}.")
    if (kind == "gold") != (gold is not None) and kind != "practice":
        raise StudyError(f"{where} is a {kind} clip {'without' if kind == 'gold' else 'with'} a gold label.")
    return Row(
        path,
        name,
        cells.get("speaker") or cells.get("child"),
        _months(cells, where),
        cells.get("sex"),
        cells.get("group") or cells.get("age_group"),
        cells.get("language"),
        kind,
        gold,
        _consent(cells.get("consent"), where),
        _kept_until(cells.get("retain_until"), where),
        {key: cell for key, cell in cells.items() if key not in OWN},
    )


def _months(cells: dict[str, str], where: str) -> int | None:
    """`age_months`, or `age` in years."""
    column, factor = ("age_months", 1) if "age_months" in cells else ("age", 12)
    if column not in cells:
        return None
    try:
        months = round(float(cells[column].replace(",", ".")) * factor)
    except (ValueError, OverflowError):
        months = -1
    if not 0 <= months <= 1500:
        raise StudyError(
            f"{where} has the {column} {cells[column]!r}; expected a number of {'months' if factor == 1 else 'years'}."
        )
    return months


def _consent(text: str | None, where: str) -> str | None:
    if text is not None and text.casefold() in REFUSED:
        raise StudyError(f"{where} has the consent {text!r}: this clip may not be used; take its row out.")
    return text


def _kept_until(text: str | None, where: str) -> date | None:
    if text is None:
        return None
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise StudyError(f"{where} has retain_until {text!r}; expected a date such as 2030-12-31.") from error
    if day < datetime.now(UTC).date():
        raise StudyError(f"{where}: the consent for this clip ended on {day}; take its row out.")
    return day

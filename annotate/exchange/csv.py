"""CSV for spreadsheets: UTF-8 with a mark at the beginning, so that Excel shows Cyrillic; a rating a row.

A cell that a spreadsheet would run as a formula gets an apostrophe in front, and so does one that begins with an apostrophe,
and a text of no letters (an empty cell is no text at all). Reading takes one apostrophe off again.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ratings import COLUMNS
from ..store import StudyError
from .rows import Exported, Row, plain, typed

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "＝", "＋", "－", "＠")


def write(rows: Sequence[Row], study: Exported, path: Path) -> None:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows([cell(value) for value in plain(row).values()] for row in rows)


def read(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            if missing := [name for name in ("clip", "modality") if name not in header]:
                raise StudyError(f"{path.name} has no column `{missing[0]}`; expected {', '.join(COLUMNS[:12])}, ...")
            return [
                typed(dict(zip(header, map(_text, cells), strict=False)), f"Line {reader.line_num} of {path.name}")
                for cells in reader
                if cells
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path.name} cannot be read as CSV in UTF-8 ({error}).") from error


def cell(value: Any) -> str:
    if isinstance(value, str):
        return f"'{value}" if not value or value.startswith(FORMULA) else value
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)


def _text(cell: str) -> str | None:
    return cell.removeprefix("'") if cell else None

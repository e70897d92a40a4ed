"""JSON Lines: a rating a line, in UTF-8."""

import json
from collections.abc import Sequence
from pathlib import Path

from ..store import StudyError
from .rows import Exported, Row, plain, typed


def write(rows: Sequence[Row], study: Exported, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in rows)


def read(path: Path) -> list[Row]:
    rows = []
    with path.open("rb") as file:  # binary: only a line feed ends a line, not the separators of Unicode
        for number, line in enumerate(file, 1):
            where = f"Line {number} of {path.name}"
            try:
                values = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise StudyError(f"{where} is not JSON ({error}).") from error
            if not isinstance(values, dict):
                raise StudyError(f"{where} is not a JSON object; expected one rating a line.")
            rows.append(typed(values, where))
    return rows

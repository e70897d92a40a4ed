"""Any folder with a `manifest.csv`: one row a clip, columns at least file, label, speaker."""

import csv
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from avemo_core.labels import from_corpus
from avemo_core.types import AvemoError


@dataclass(frozen=True)
class Row:
    """One clip of a corpus. `label` is one of the seven, or None where the corpus label has no place among them."""

    corpus: str
    path: Path
    corpus_label: str
    label: str | None
    speaker: str
    split: str
    extra: dict[str, str]


NEEDED = ("file", "label", "speaker")


def find(root: Path) -> Path:
    """The manifest of a corpus: `root` itself where it is a table, else `root/manifest.csv`, there or not.

    A folder may hold a second version of the same clips beside it (EmoDB at full length, manifest_full.csv). They are never
    read together: whoever wants that one names its table.
    """
    return root if root.suffix == ".csv" else root / "manifest.csv"


def read(root: Path, name: str | None = None) -> list[Row]:
    """All rows of the manifest at `root`; paths in it are relative to its folder. Labels may be in any case.

    Raises:
        FileNotFoundError: the manifest, or files that it names, are not there.
        AvemoError: it is no such table; the text says what is missing where.
    """
    path = find(Path(root))
    if not path.is_file():
        raise FileNotFoundError(f"No {path.name} in {path.parent}; expected a table with the columns {', '.join(NEEDED)}.")
    rows = [
        Row(
            name or path.parent.name,
            path.parent / row["file"],
            row["label"],
            from_corpus(row["label"].lower()),
            row["speaker"],
            row.get("split", ""),
            {key: value for key, value in row.items() if key not in (*NEEDED, "split")},
        )
        for row in _table(path)
    ]
    absent = [row.path for row in rows if not row.path.is_file()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(rows)} files named in {path} are not there; the first is {absent[0]}."
        )
    most, times = Counter(row.path for row in rows).most_common(1)[0]
    if times > 1:
        raise AvemoError(f"{path} names {most} {times} times; a clip counts once, so keep one of its rows.")
    return rows


def _table(path: Path) -> list[dict[str, str]]:
    """The rows of a manifest, cells without spaces around; AvemoError where a row lacks its file or speaker."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, restval="")
            columns, cells = list(table.fieldnames or []), list(table)
    except (UnicodeDecodeError, csv.Error) as error:
        raise AvemoError(f"{path} is not a table in UTF-8 ({error}); save it as CSV in UTF-8.") from error
    missing = [column for column in NEEDED if column not in columns]
    if missing:
        has = f"it has {', '.join(columns)}" if columns else "it is empty"
        raise AvemoError(f"{path} lacks the column {', '.join(missing)}; {has}.")
    if not cells:
        raise AvemoError(f"{path} has columns but no row; expected one row a clip.")
    longer = [n for n, row in enumerate(cells, 1) if None in row]
    if longer:
        raise AvemoError(f"Row {longer[0]} of {path} has more cells than columns; put text that holds a comma in quotes.")
    rows = [{column: cell.strip() for column, cell in row.items()} for row in cells]
    for column in ("file", "speaker"):
        empty = [n for n, row in enumerate(rows, 1) if not row[column]]
        if empty:
            raise AvemoError(
                f"{len(empty)} of {len(rows)} rows of {path} name no {column}; the first is row {empty[0]}. Fill it in."
            )
    return rows

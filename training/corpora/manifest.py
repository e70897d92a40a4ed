"""Any folder with a `manifest.csv`: one row a clip, columns at least file, label, speaker."""

import csv
from dataclasses import dataclass
from pathlib import Path

from avemo_core.labels import from_corpus


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


def read(root: Path, name: str | None = None) -> list[Row]:
    """All rows of `root/manifest.csv`. FileNotFoundError or ValueError say what was looked for and what is missing."""
    root = Path(root)
    path = root / "manifest.csv"
    if not path.exists():
        raise FileNotFoundError(f"No manifest.csv in {root}; expected a table with the columns {', '.join(NEEDED)}.")
    with path.open(newline="", encoding="utf-8") as file:
        table = csv.DictReader(file)
        missing = [column for column in NEEDED if column not in (table.fieldnames or [])]
        if missing:
            raise ValueError(f"{path} lacks the column {', '.join(missing)}; it has {', '.join(table.fieldnames or [])}.")
        rows = [
            Row(
                name or root.name,
                root / row["file"],
                row["label"],
                from_corpus(row["label"]),
                row["speaker"],
                row.get("split", ""),
                {key: value for key, value in row.items() if key not in (*NEEDED, "split")},
            )
            for row in table
        ]
    absent = [row.path for row in rows if not row.path.exists()]
    if absent:
        raise FileNotFoundError(
            f"{len(absent)} of {len(rows)} files named in {path} are not there; the first is {absent[0]}."
        )
    return rows

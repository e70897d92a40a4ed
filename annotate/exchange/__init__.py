"""Ratings to files and back. One format a file, each with write(rows, study, path) and read(path); this is their table.

Rows are those of ratings.read_ratings(history=True): every answer with its rater, pass, order and time. What is written and
read again is equal, whatever letters, quotes, line breaks or formulas stand in it. transfer.py moves them out of and into
the database.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import audformat, csv, eaf, jsonl, label_studio
from .rows import Exported, Row


@dataclass(frozen=True)
class Format:
    """`suffix` is empty where a folder is written. `write` is None for what can only be read."""

    write: Callable[[Sequence[Row], Exported, Path], None] | None
    read: Callable[[Path], list[Row]]
    suffix: str
    note: str


FORMATS = {
    "csv": Format(csv.write, csv.read, ".csv", "a table for spreadsheets; formulas are made harmless"),
    "jsonl": Format(jsonl.write, jsonl.read, ".jsonl", "JSON Lines, a rating a line"),
    "audformat": Format(audformat.write, audformat.read, "", "a database of audEERING's audformat, a folder"),
    "eaf": Format(eaf.write, eaf.read, "", "ELAN, a folder with an .eaf a clip"),
    "label_studio": Format(label_studio.write, label_studio.read, ".json", "tasks with annotations for Label Studio"),
}

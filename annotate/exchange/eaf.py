"""ELAN: a folder with an .eaf for each clip, linked to the clip's own file.

Each rating has a tier, `voice R07` (a second one of the same rater `voice R07 (2)`), whose annotation over the whole clip
shows the label; the tier below it holds the whole rating as JSON, and that is what is read back.
"""

import json
from collections.abc import Sequence
from itertools import chain, count, groupby
from pathlib import Path
from typing import Any

from ..store import StudyError
from .rows import Exported, Row, plain, typed

RECORD = "rating"  # the linguistic type of the tiers that are read back


def write(rows: Sequence[Row], study: Exported, path: Path) -> None:
    path.mkdir(mode=0o700)
    by_clip = sorted(rows, key=lambda row: row["clip_id"])
    for clip_id, of_clip in groupby(by_clip, key=lambda row: row["clip_id"]):
        document = _document(list(of_clip), study.files.get(clip_id))
        document.to_file(path / f"clip-{clip_id:06d}.eaf")  # not the clip's name, which may hold anything


def _document(rows: list[dict[str, Any]], file: Path | None) -> Any:
    from pympi.Elan import Eaf

    document = Eaf(author="AVEMO")
    document.add_linguistic_type(RECORD, constraints="Symbolic_Association", timealignable=False)
    document.add_property("clip", _shown(rows[0]["clip"]))
    if file is not None:
        kind = {".wav": "audio/x-wav", ".mp4": "video/mp4"}.get(file.suffix, "application/octet-stream")
        document.add_linked_file(file.resolve().as_uri(), mimetype=kind)
    end = max(1, round(1000 * rows[0]["duration_s"]))
    for row in rows:
        rater = _shown(row["rater"] or "unknown")
        name = _free(document, f"{row['modality']} {rater}")
        document.add_tier(name, part=rater)
        document.add_annotation(name, 0, end, _shown(row["label"] or ("cannot tell" if row["cannot_tell"] else "")))
        document.add_tier(f"{name}: rating", ling=RECORD, parent=name)
        # Only ASCII: XML has no place for some of the signs that a comment may hold.
        document.add_ref_annotation(f"{name}: rating", name, 0, json.dumps(plain(row)))
    document.remove_tier("default")
    return document


def _free(document: Any, name: str) -> str:
    taken = document.get_tier_names()
    return next(n for n in chain([name], (f"{name} ({k})" for k in count(2))) if n not in taken)


def _shown(text: str) -> str:
    """Without the control signs that XML refuses."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


def read(path: Path) -> list[Row]:
    """The ratings by their ids, as they were written. `path` is a folder of .eaf files, or one of them."""
    files = sorted(path.glob("*.eaf")) if path.is_dir() else [path]
    if not files:
        raise StudyError(f"The folder {str(path)!r} holds no .eaf files.")
    rows = [typed(values, f"An annotation of {file.name}") for file in files for values in _records(file)]
    return sorted(rows, key=lambda row: row["rating_id"] or 0)


def _records(file: Path) -> list[dict[str, Any]]:
    from pympi.Elan import Eaf

    try:
        document = Eaf(file, suppress_version_warning=True)
        found = [
            json.loads(annotation[2])
            for tier in document.get_tier_ids_for_linguistic_type(RECORD)
            for annotation in document.get_annotation_data_for_tier(tier)
        ]
    except Exception as error:  # pympi raises anything for a file that is something else
        raise StudyError(f"{file.name} cannot be read as an ELAN file with ratings ({error}).") from error
    if not found or not all(isinstance(values, dict) for values in found):
        raise StudyError(f"{file.name} holds no ratings: it has no tier of the type {RECORD!r}, as an export has.")
    return found

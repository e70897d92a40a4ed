"""audformat: a folder with a header and tables. `files` is indexed by the clips' files, `ratings` by the rating.

Raters stand in the header. Times are ISO 8601 text: audformat's dates have no zone.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from ..ratings import COLUMNS
from ..store import StudyError
from .rows import Exported, Row, plain, typed

OF_FILE = ("clip", "clip_id", "content_hash", "clip_kind", "gold_label", "duration_s")
RANGES = {"intensity": (0, 100), "confidence": (0, 100), "valence": (1, 9), "arousal": (1, 9)}
OF_CHILD = ("child", "age_months", "sex", "group", "language")


def write(rows: Sequence[Row], study: Exported, path: Path) -> None:
    import audformat
    import pandas

    path.mkdir(mode=0o700)
    database = audformat.Database(
        study.name, usage=audformat.define.Usage.RESTRICTED, description="Ratings of an AVEMO study"
    )
    for rater in sorted({row["rater"] for row in rows if row["rater"] is not None}):
        database.raters[rater] = audformat.Rater(audformat.define.RaterType.HUMAN)
    for name in COLUMNS:
        least, most = RANGES.get(name, (None, None))
        labels = list(study.scheme.names) if name in ("label", "gold_label") else None
        database.schemes[name] = audformat.Scheme(_dtype(name), labels=labels, minimum=least, maximum=most)
    found = [{**plain(row), "soft": None if row["soft"] is None else json.dumps(row["soft"])} for row in rows]
    index = pandas.Index([row["rating_id"] for row in found], name="rating_id", dtype="Int64")
    ratings = database["ratings"] = audformat.MiscTable(index)
    for name in COLUMNS[1:]:
        ratings[name] = audformat.Column(scheme_id=name)
        ratings[name].set([row[name] for row in found])
    clips = list({row["clip_id"]: row for row in found}.values())
    names = [str(study.files[row["clip_id"]].resolve()) if row["clip_id"] in study.files else row["clip"] for row in clips]
    files = database["files"] = audformat.Table(audformat.filewise_index(names))
    for name in (*OF_FILE, *OF_CHILD):
        files[name] = audformat.Column(scheme_id=name)
        files[name].set([row[name] for row in clips])
    database.save(str(path), storage_format="parquet")


def _dtype(name: str) -> str:
    from .rows import KINDS

    kind = KINDS[name].__name__ if name in KINDS else ""
    return {"_whole": "int", "_small": "int", "_truth": "bool", "_number": "float"}.get(kind, "str")


def read(path: Path) -> list[Row]:
    import audformat
    import pandas

    if not (path / "db.yaml").is_file():
        raise StudyError(f"There is no audformat database in {str(path)!r}: it holds no db.yaml.")
    try:
        table = audformat.Database.load(str(path))["ratings"].df.reset_index()
    except Exception as error:  # a damaged database raises anything
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise StudyError(f"The audformat database in {str(path)!r} cannot be read ({first}).") from error
    rows = []
    for number, values in enumerate(table.to_dict("records"), 1):
        values = {str(k): None if pandas.isna(v) else v.item() if hasattr(v, "item") else v for k, v in values.items()}
        rows.append(typed(values, f"Rating {number} of {path.name}"))
    return rows

"""Label Studio's JSON: a task for each clip and pass, an annotation for each rating.

Regions are what Label Studio shows; the whole rating lies in the first one's `meta`, which it keeps, and that is read back.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..ratings import COLUMNS
from ..store import StudyError
from .rows import Exported, Row, plain, typed

OF_CLIP = (
    *("clip", "clip_id", "content_hash", "clip_kind", "gold_label", "duration_s", "modality"),
    *("child", "age_months", "sex", "group", "language"),
)


def write(rows: Sequence[Row], study: Exported, path: Path) -> None:
    tasks: dict[int, dict[str, Any]] = {}
    for row in rows:
        values = plain(row)
        file = study.files.get(row["clip_id"])
        media = {"audio" if row["modality"] == "voice" else "video": file.resolve().as_uri()} if file else {}
        data = {**media, **{name: values[name] for name in OF_CLIP}}
        task = tasks.setdefault(row["item_id"], {"id": row["item_id"], "data": data, "annotations": []})
        task["annotations"].append(_annotation(values))
    path.write_text(json.dumps(list(tasks.values()), ensure_ascii=False, indent=1), encoding="utf-8")


def _annotation(values: dict[str, Any]) -> dict[str, Any]:
    shown = [("choices", "label", {"choices": [values["label"]] if values["label"] is not None else []})]
    for name in ("intensity", "valence", "arousal", "confidence"):
        if values[name] is not None:
            shown.append(("number", name, {"number": values[name]}))
    if values["comment"] is not None:
        shown.append(("textarea", "comment", {"text": [values["comment"]]}))
    result: list[dict[str, Any]] = [
        {"id": f"{values['rating_id']}-{name}", "type": kind, "from_name": name, "to_name": "clip", "value": value}
        for kind, name, value in shown
    ]
    result[0]["meta"] = {"rating": values}
    return {
        "id": values["rating_id"],
        "completed_by": values["rater_id"],
        "created_at": values["submitted_at"],
        "lead_time": None if values["reaction_ms"] is None else values["reaction_ms"] / 1000,
        "was_cancelled": False,
        "result": result,
    }


def read(path: Path) -> list[Row]:
    """The ratings by their ids, as they were written."""
    try:
        tasks = json.loads(path.read_bytes())
        found = [
            region["meta"]["rating"]
            for task in tasks
            for annotation in task["annotations"]
            for region in annotation["result"][:1]
        ]
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path.name} is not JSON ({error}).") from error
    except (TypeError, KeyError, AttributeError) as error:
        raise StudyError(
            f"{path.name} is not an export of this program: {error} is missing in an annotation. Label Studio's own tasks "
            f"do not say the rater, the pass and the order; expected meta.rating with {', '.join(COLUMNS[:5])}, ..."
        ) from error
    rows = [typed(values, f"Annotation {number} of {path.name}") for number, values in enumerate(found, 1)]
    return sorted(rows, key=lambda row: row["rating_id"] or 0)

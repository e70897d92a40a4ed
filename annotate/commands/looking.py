"""status, agreement, aggregate: how far the studies are, and what their raters say."""

import argparse
import csv
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from ..store import Home, Store
from .command import Command, ask_json, ask_study
from .console import ERRORS, OUT, say_json
from .given import opened, study_of

if TYPE_CHECKING:
    from ..aggregate import Aggregation

# ---------------------------------------------------------------- status


def _ask_status(parser: argparse.ArgumentParser) -> None:
    ask_json(parser)
    parser.add_argument("study", nargs="?", metavar="STUDY", help="only this one")


def _status(args: argparse.Namespace, home: Home) -> int:
    from ..erase import copies_of, overdue
    from ..overview import study_list

    with opened(home) as store:
        only = study_of(store, args.study) if args.study else None
        with store.read() as session:
            studies = [row for row in study_list(session) if only in (None, row["id"])]
            late = [row for row in overdue(session) if row.study in {study["name"] for study in studies}]
        copies = [str(path) for path in copies_of(store)]
    if args.json:
        say_json({"studies": studies, "overdue": [asdict(row) for row in late], "copies": copies})
        return 1 if late else 0
    table = Table("", "study", "state", "raters", "passes", "clips x passes", "ratings", "wanted")
    for row in studies:
        raters = "every rater" if row["raters"] is None else ", ".join(row["raters"]) or "nobody yet"
        cells = (row["id"], row["name"], row["state"], raters, ", ".join(row["passes"]))
        counts = (row["items"], row["ratings"], "no end" if row["endless"] else row["wanted"])
        table.add_row(*(escape(str(cell)) for cell in (*cells, *counts)))
    OUT.print(table if studies else "There is no study yet; make one with: python -m annotate create-study")
    for clip in late:
        print(f"Clip {clip.clip_id}, {clip.clip!r} of {clip.study!r}, could be kept until {clip.retain_until}: erase it.")
    for path in copies:
        print(f"An older copy of the database: {path}; delete it when you do not need it.")
    return 1 if late else 0


STATUS = Command("studies, how far they are, and clips whose time has passed", _status, _ask_status)


# ---------------------------------------------------------------- agreement


def _ask_agreement(parser: argparse.ArgumentParser) -> None:
    ask_study(parser)
    ask_json(parser)


def _agreement(args: argparse.Namespace, home: Home) -> int:
    from ..agreement import report, show

    with opened(home) as store:
        found = report(store, study_of(store, args.study))
    if args.json:
        say_json(found)
    else:
        show(found, OUT)
    return 0


AGREEMENT = Command("how far the raters agree, with intervals", _agreement, _ask_agreement)


# ---------------------------------------------------------------- aggregate


def _ask_aggregate(parser: argparse.ArgumentParser) -> None:
    ask_study(parser)
    ask_json(parser)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write a CSV")


def _aggregate(args: argparse.Namespace, home: Home) -> int:
    from ..aggregate import aggregate

    with opened(home) as store:
        study_id = study_of(store, args.study)
        found = _written(args.out, store, study_id) if args.out else aggregate(store, study_id)
    if args.out:
        print(f"{len(found.rows)} rows are in {args.out}.")
    elif args.json:
        say_json(asdict(found))
    else:
        table = Table("clip", "pass", "answers", "majority", "share", "Dawid-Skene", "MACE", "settled")
        for row in found.rows:
            cells = [row["clip"], row["modality"], row["answers"], _tied(row["majority"]), f"{row['share']:.2f}"]
            cells += [_tied(row["dawid_skene"]), _tied(row["mace"]), row["adjudicated"]]
            table.add_row(*(escape(str(cell)) if cell is not None else "" for cell in cells))
        OUT.print(table if found.rows else "Nobody has answered yet.")
    for modality, why in found.why.items():
        ERRORS.print(f"{modality}: {why}.")
    return 0


def _written(path: Path, store: Store, study_id: int) -> "Aggregation":
    from ..aggregate import aggregate
    from ..exchange.transfer import digest, new
    from ..uses import clips_of, leaving

    with store.read() as session:
        clips = clips_of(session, study_id)
    with leaving(store, None, "table", str(path.resolve()), clips) as (use,), new(path) as draft:
        found = aggregate(store, study_id)
        with draft.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(found.rows[0]) if found.rows else ["item_id"])
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in found.rows)
        use.sha256 = digest(draft)
    return found


def _cell(value: Any) -> Any:
    """Text as in exports: no formulas."""
    from ..exchange.csv import cell

    return cell(_tied(value) if isinstance(value, list) else value)


def _tied(labels: list[str] | None) -> str | None:
    return " = ".join(labels) if labels else None


AGGREGATE = Command("one label a clip: majority, soft label, Dawid-Skene, MACE", _aggregate, _ask_aggregate)

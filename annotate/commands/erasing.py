"""erase: a child, or clips, for good."""

import argparse
import sys
from dataclasses import asdict
from typing import Any

from ..store import Home, StudyError
from .command import Command, ask_json
from .console import say_json
from .given import opened, study_of


def _ask_erase(parser: argparse.ArgumentParser) -> None:
    ask_json(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--child", metavar="PSEUDONYM", help="with all of the child's clips, in every study")
    what.add_argument("--clip", type=int, nargs="+", metavar="ID", help="only these clips")
    what.add_argument("--overdue", action="store_true", help="all clips whose retention date has passed")
    what.add_argument("--bytes", action="store_true", help="only write the database's file anew, after an erasure said so")
    parser.add_argument("--study", help="only in this study (with --child)")
    parser.add_argument("--yes", action="store_true", help="do not ask; it cannot be undone")


def _erase(args: argparse.Namespace, home: Home) -> int:
    from .. import erase

    with opened(home) as store:
        if args.bytes:
            done = erase.Erased(bytes_gone=erase.finish(store))
        else:
            study_id = study_of(store, args.study) if args.study else None
            clips = args.clip or []
            if args.overdue:
                with store.read() as session:
                    clips = [row.clip_id for row in erase.overdue(session)]
                if not clips:
                    print("No clip's retention date has passed.")
                    return 0
            _ask_again(args, args.child or f"{len(clips)} clips")
            if args.child is not None:
                done = erase.erase_child(store, None, args.child, study_id)
            else:
                done = erase.erase_clips(store, None, clips)
    if args.json:
        say_json(asdict(done))
        return 0 if done.bytes_gone else 1
    return _tell_erased(done)


def _ask_again(args: argparse.Namespace, what: str) -> None:
    if args.yes:
        return
    if not sys.stdin.isatty():
        raise StudyError("Erasing cannot be undone; say --yes where nobody can be asked.")
    if input(f"Erase {what} with all ratings, for good? Type yes: ").strip() != "yes":
        raise StudyError("Nothing was erased.")


def _tell_erased(done: Any) -> int:
    print(f"Erased: {len(done.children)} children, {len(done.clips)} clips, {done.ratings} ratings, {done.files} files.")
    for name in done.snapshots:
        print(f"  The snapshot {name!r} held them and is gone; freeze the study again.")
    for use in done.uses:
        digest = f", SHA-256 {use.sha256}" if use.sha256 else ""
        print(f"  {use.kind} {use.name}{digest}, of {use.made_at:%Y-%m-%d}, was made with them: delete it or make it again.")
    for path in done.copies:
        print(f"  {path} is an older copy of the database and still holds them: delete it.")
    for study, clip in done.elsewhere:
        print(f"  The study {study!r} has the same recording, as {clip!r}: erase it there too.")
    if not done.bytes_gone:
        print("  The database still has old pages: it is in use or its disk is full. Run erase --bytes when that has ended.")
    return 0 if done.bytes_gone else 1


ERASE = Command("erase a child, or clips, for good; names what else holds them", _erase, _ask_erase)

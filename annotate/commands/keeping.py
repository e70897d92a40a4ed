"""snapshot, verify, backup, restore, migrate: that nothing is lost or changed unseen."""

import argparse
from dataclasses import asdict
from pathlib import Path

from ..store import Home, Store, StudyError
from .command import Command, ask_json, ask_study
from .console import ERRORS, progress, say, say_json
from .given import opened, study_of

# ---------------------------------------------------------------- snapshot


def _ask_snapshot(parser: argparse.ArgumentParser) -> None:
    ask_study(parser)
    ask_json(parser)
    parser.add_argument("name", nargs="?", help="a new name, or with --out that of one to write again")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write it as .jsonl.gz, byte for byte as it was frozen")


def _snapshot(args: argparse.Namespace, home: Home) -> int:
    from .. import snapshots

    with opened(home) as store:
        study_id = study_of(store, args.study)
        with store.read() as session:
            found = snapshots.snapshots(session, study_id)
        if args.name is None:
            if args.out:
                raise StudyError("Say which snapshot is to be written: its name comes after the study's.")
        elif args.name in {one.name for one in found} and args.out:
            found = [one for one in found if one.name == args.name]
        else:
            found = [snapshots.freeze(store, None, study_id, args.name)]
        if args.out:
            snapshots.write(store, None, study_id, args.name, args.out)
    if args.json:
        say_json([asdict(one) for one in found])
    else:
        print("\n".join(one.cite for one in found) or "This study has no snapshots.")
    return 0


SNAPSHOT = Command("freeze a study under a name, or list what was frozen", _snapshot, _ask_snapshot)


# ---------------------------------------------------------------- verify


def _verify(args: argparse.Namespace, home: Home) -> int:
    from ..verify import verify

    with opened(home) as store:
        found = verify(store)
    if args.json:
        say_json(asdict(found))
    else:
        verdict = "look:" if found.problems else "all as they were written."
        print(f"Rows of the log: {found.rows}, ratings: {found.ratings}; {verdict}")
        for problem in found.problems:
            print(f"  {problem}")
    return 1 if found.problems else 0


VERIFY = Command("check the audit log and every rating against it", _verify, ask_json)


# ---------------------------------------------------------------- backup and restore


def _ask_backup(parser: argparse.ArgumentParser) -> None:
    ask_json(parser)
    parser.add_argument("path", type=Path, metavar="FILE", help="a new .tar")


def _backup(args: argparse.Namespace, home: Home) -> int:
    from ..backup import backup

    with opened(home) as store, progress("parts") as told:
        done = backup(store, None, args.path, told)
    sentence = f"{done.rows} rows and {done.files} media files are in {done.path} (SHA-256 {done.sha256})."
    say(args, asdict(done), sentence)
    return 0


BACKUP = Command("write everything, media too, into one archive; raters go on meanwhile", _backup, _ask_backup)


def _ask_restore(parser: argparse.ArgumentParser) -> None:
    ask_json(parser)
    parser.add_argument("path", type=Path, metavar="FILE")


def _restore(args: argparse.Namespace, home: Home) -> int:
    from ..backup import restore
    from ..verify import verify

    with progress("parts") as told:
        done = restore(home, args.path, told)
    with opened(home) as store:
        problems = verify(store).problems
    sentence = f"{done.rows} rows and {done.files} media files are back, in {home.folder}"
    say(args, {**asdict(done), "problems": problems}, f"{sentence}{'.' if not problems else '; look:'}")
    for problem in problems:
        ERRORS.print(problem)
    return 1 if problems else 0


RESTORE = Command("bring a backup back, into an empty home", _restore, _ask_restore)


# ---------------------------------------------------------------- migrate


def _migrate(args: argparse.Namespace, home: Home) -> int:
    from ..backup import copy_beside
    from ..store import known, latest

    store = Store(home)
    found = store.revision()
    if found is None:
        raise StudyError(f"There is no study in {home.folder}; make one with: python -m annotate init")
    if found == latest():
        print(f"The database has revision {found} already; nothing was changed.")
        return 0
    copy = copy_beside(store) if found in known() else None  # one that is newer is refused by the next line
    store.migrate()
    store.close()
    print(f"The database went from revision {found} to {latest()}.")
    if copy:
        print(f"A copy from before is {copy}; it holds everything, so delete it when all is well.")
    return 0


MIGRATE = Command("bring the database to this version's form, after a copy of it", _migrate)

"""The rating study at the command line: python -m annotate init, then create-study, invite, status, ...

Every command says what it did in a sentence or a table, or prints JSON (--json). It ends with 0; with 1 where it did its
work but something deserves a look (clips skipped, a log that does not fit); with 2 where it did nothing, and says why.
"""

import argparse
import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from .design import Design
from .exchange import FORMATS
from .schema import MODALITIES, ROLES, Study
from .scheme import SCHEMES, Scheme
from .store import Home, Store, StudyError

ERRORS = Console(stderr=True, highlight=False, markup=False)  # a clip may be called [red].wav
OUT = Console(highlight=False)


# ---------------------------------------------------------------- what can be asked


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m annotate", description=(__doc__ or "").split("\n\n")[0])
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    where = argparse.ArgumentParser(add_help=False)
    where.add_argument("--home", type=Path, metavar="FOLDER", help="the study's private folder (default: $AVEMO_STUDY)")
    where.add_argument("--db", metavar="URL", help="postgresql://... instead of a file in it (default: $AVEMO_STUDY_DB)")
    printed = argparse.ArgumentParser(add_help=False)
    printed.add_argument("--json", action="store_true", help="print JSON")
    study = argparse.ArgumentParser(add_help=False)
    study.add_argument("study", metavar="STUDY", help="its name or number")

    def add(name: str, help_: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_, description=help_, parents=[where, *parents])

    init = add("init", "make the folder and the database, with a practice study of generated clips")
    init.add_argument("--no-practice", action="store_true", help="without the practice study")
    _ask_create(add("create-study", "make a study of a folder of clips, or of a manifest that lists them", printed))
    _ask_invite(add("invite", "print a link with which somebody makes an account", printed))
    status = add("status", "studies, how far they are, and clips whose time has passed", printed)
    status.add_argument("study", nargs="?", metavar="STUDY", help="only this one")
    add("agreement", "how far the raters agree, with intervals", study, printed)
    aggregate = add("aggregate", "one label a clip: majority, soft label, Dawid-Skene, MACE", study, printed)
    aggregate.add_argument("--out", type=Path, metavar="FILE", help="write a CSV")
    snapshot = add("snapshot", "freeze a study under a name, or list what was frozen", study, printed)
    snapshot.add_argument("name", nargs="?", help="a new name, or with --out that of one to write again")
    snapshot.add_argument("--out", type=Path, metavar="FILE", help="write it as .jsonl.gz, byte for byte as it was frozen")
    add("verify", "check the audit log and every rating against it", printed)
    export = add("export", "write all ratings with their history", study, printed)
    export.add_argument("--format", choices=[name for name, f in FORMATS.items() if f.write], default="csv", help="(csv)")
    export.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="a new file, or folder for audformat and eaf"
    )
    _ask_import(add("import", "read an export, or CREMA-D's votes, as a new, closed study", printed))
    backup = add("backup", "write everything, media too, into one archive; raters go on meanwhile", printed)
    backup.add_argument("path", type=Path, metavar="FILE", help="a new .tar")
    restore = add("restore", "bring a backup back, into an empty home", printed)
    restore.add_argument("path", type=Path, metavar="FILE")
    _ask_erase(add("erase", "erase a child, or clips, for good; names what else holds them", printed))
    add("migrate", "bring the database to this version's form, after a copy of it")
    return top


def _ask_create(create: argparse.ArgumentParser) -> None:
    create.add_argument("name", help="of the study")
    create.add_argument("source", type=Path, help="a folder (its manifest.csv is read if there is one) or a manifest CSV")
    create.add_argument("--add", action="store_true", help="add the clips to the study of this name instead")
    create.add_argument(
        "--raters", nargs="*", metavar="NAME", help="only these rate it; none: nobody yet (default: every rater)"
    )
    create.add_argument("--scheme", metavar="NAME", help=f"{', '.join(SCHEMES)}, or a .json file (default: basic seven)")
    create.add_argument("--design", type=Path, metavar="FILE", help="a .json file of settings; flags go before it")
    create.add_argument("--passes", nargs="+", choices=MODALITIES, help="what is heard or seen (default: voice)")
    create.add_argument("--replications", type=int, metavar="N", help="ratings a clip and pass (default: 3)")
    create.add_argument(
        "--stop-width", type=float, metavar="W", help="ask for more until the interval is narrower (0.5: five agree)"
    )
    create.add_argument("--most-replications", type=int, metavar="N", help="with --stop-width: never more than this")
    create.add_argument("--repeat-share", type=float, metavar="S", help="of each rater's clips, shown again (default: 0.05)")
    create.add_argument("--gold-every", type=int, metavar="N", help="a gold clip about every N clips (default: 20)")
    create.add_argument("--blocks", type=int, metavar="N", help="of the Latin square (default: 4)")
    create.add_argument("--seed", type=int, metavar="N", help="of the order (default: 0)")
    create.add_argument("--most-replays", type=int, metavar="N", help="how often a clip may be replayed (default: any)")
    create.add_argument("--soft-labels", action="store_true", default=None, help="let raters split 100 %% over the labels")


def _ask_invite(invite: argparse.ArgumentParser) -> None:
    invite.add_argument("--role", nargs="+", choices=ROLES, default=["rater"], help="(rater)")
    invite.add_argument("--name", help="the name they get (default: they choose); with that of an account: a new password")
    invite.add_argument("--study", metavar="STUDY", help="who accepts is chosen for it; one that only chosen raters rate")
    invite.add_argument("--days", type=float, default=14, metavar="N", help="how long the link works (%(default)s)")
    invite.add_argument("--url", default="http://127.0.0.1:7860", help="where the program is reached (%(default)s)")


def _ask_import(import_: argparse.ArgumentParser) -> None:
    import_.add_argument("path", type=Path, metavar="PATH", help="the file or folder")
    import_.add_argument("--format", choices=[*FORMATS, "cremad"], help="(from the name's ending)")
    import_.add_argument("--name", help="of the new study (default: the file's)")
    import_.add_argument("--scheme", metavar="NAME", help="a scheme's name or .json file (default: one that has all labels)")


def _ask_erase(erase: argparse.ArgumentParser) -> None:
    what = erase.add_mutually_exclusive_group(required=True)
    what.add_argument("--child", metavar="PSEUDONYM", help="with all of the child's clips, in every study")
    what.add_argument("--clip", type=int, nargs="+", metavar="ID", help="only these clips")
    what.add_argument("--overdue", action="store_true", help="all clips whose retention date has passed")
    what.add_argument("--bytes", action="store_true", help="only write the database's file anew, after an erasure said so")
    erase.add_argument("--study", help="only in this study (with --child)")
    erase.add_argument("--yes", action="store_true", help="do not ask; it cannot be undone")


# ---------------------------------------------------------------- the commands


def init(args: argparse.Namespace, home: Home) -> int:
    store = Store.create(home)
    print(f"The study's folder is {home.folder}, readable by you alone; set AVEMO_STUDY to it, or run from here.")
    if not args.no_practice:
        from .studies import practice_study

        practice_study(store)
        print("There is a study named Practice: start python app.py and open its Rate tab.")
    return 0


def create_study(args: argparse.Namespace, home: Home) -> int:
    from . import studies
    from .assignment import raters_named

    with opened(home) as store, progress("clips") as told:
        if args.add and args.raters is not None:
            raise StudyError("--raters says who rates a new study; of one that there is, its page in the browser does.")
        if args.add:
            report = studies.add_clips(store, None, study_of(store, args.name), args.source, told)
        else:
            scheme = scheme_of(args.scheme or "basic seven")
            with store.read() as session:
                raters = None if args.raters is None else raters_named(session, args.raters)
            report = studies.create_study(store, None, args.name, args.source, scheme, _design(args), told, raters)
    if args.json:
        say_json(asdict(report))
    else:
        print(f"Study {report.study_id}: {report.added} clips added.")
        for name, equal in report.duplicates:
            print(f"  {name}: the same recording as {equal}; left out")
        for name, sentence in (*report.skipped, *report.partly):
            print(f"  {name}: {sentence}")
        for name in report.transcoded:
            print(f"  {name}: no browser plays it as it is; encoded anew")
    return 1 if report.skipped else 0


def _design(args: argparse.Namespace) -> Design:
    found = read_json(args.design) if args.design else {}
    if not isinstance(found, dict):
        raise StudyError(f"{args.design} holds no settings; expected a JSON object such as " + '{"replications": 5}.')
    given = {f.name: getattr(args, f.name) for f in fields(Design) if getattr(args, f.name, None) is not None}
    return Design.from_json({**found, **given})


def invite(args: argparse.Namespace, home: Home) -> int:
    from . import accounts

    if not 0 < args.days <= 366:
        raise StudyError(f"A link works for up to 366 days, not {args.days:g}.")
    with opened(home) as store:
        study_id = study_of(store, args.study) if args.study else None
        with store.write() as session:
            token = accounts.invite(session, None, args.role, args.name, args.days, study_id)
    link = f"{args.url.rstrip('/')}/study/join/{token}"
    if args.json:
        say_json({"link": link, "roles": args.role, "days": args.days, "study": study_id})
    else:
        print(link)
        ERRORS.print(
            f"It works once, for {args.days:g} days, for the role {' and '.join(args.role)}"
            f"{f' and the study {args.study}' if args.study else ''}. Send it to one person."
        )
    return 0


def status(args: argparse.Namespace, home: Home) -> int:
    from .erase import copies_of, overdue
    from .overview import study_list

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


def agreement(args: argparse.Namespace, home: Home) -> int:
    from .agreement import report, show

    with opened(home) as store:
        found = report(store, study_of(store, args.study))
    if args.json:
        say_json(found)
    else:
        show(found, OUT)
    return 0


def aggregate(args: argparse.Namespace, home: Home) -> int:
    from .aggregate import aggregate as aggregated

    with opened(home) as store:
        study_id = study_of(store, args.study)
        found = _aggregate_to(args.out, store, study_id) if args.out else aggregated(store, study_id)
    if args.out:
        print(f"{len(found.rows)} rows are in {args.out}.")
    elif args.json:
        say_json(asdict(found))
    else:
        table = Table("clip", "pass", "answers", "majority", "share", "Dawid-Skene", "MACE", "settled")
        for row in found.rows:
            names = ("dawid_skene", "mace", "adjudicated")
            cells = (row["clip"], row["modality"], row["answers"], " = ".join(row["majority"]), f"{row['share']:.2f}")
            table.add_row(*(escape(str(cell)) for cell in cells), *(escape(row[name] or "") for name in names))
        OUT.print(table if found.rows else "Nobody has answered yet.")
    for modality, why in found.why.items():
        ERRORS.print(f"{modality}: {why}.")
    return 0


def _aggregate_to(path: Path, store: Store, study_id: int) -> Any:
    from .aggregate import aggregate as aggregated
    from .exchange.transfer import digest, new
    from .uses import clips_of, leaving

    with store.read() as session:
        clips = clips_of(session, study_id)
    with leaving(store, None, "table", str(path.resolve()), clips) as (use,), new(path) as draft:
        found = aggregated(store, study_id)
        with draft.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, list(found.rows[0]) if found.rows else ["item_id"])
            writer.writeheader()
            writer.writerows({name: _cell(value) for name, value in row.items()} for row in found.rows)
        use.sha256 = digest(draft)
    return found


def _cell(value: Any) -> Any:
    """Text as in exports: no formulas."""
    from .exchange.csv import cell

    return cell(" = ".join(value) if isinstance(value, list) else value)


def snapshot(args: argparse.Namespace, home: Home) -> int:
    from . import snapshots

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


def verify(args: argparse.Namespace, home: Home) -> int:
    from .verify import verify as verified

    with opened(home) as store:
        found = verified(store)
    if args.json:
        say_json(asdict(found))
    else:
        verdict = "look:" if found.problems else "all as they were written."
        print(f"{found.rows} rows of the log and {found.ratings} ratings: {verdict}")
        for problem in found.problems:
            print(f"  {problem}")
    return 1 if found.problems else 0


def export(args: argparse.Namespace, home: Home) -> int:
    from .exchange import transfer

    with opened(home) as store:
        done = transfer.export(store, None, study_of(store, args.study), args.format, args.out)
    say(args, asdict(done), f"{done.ratings} ratings are in {done.path} (SHA-256 {done.sha256}).")
    return 0


def import_(args: argparse.Namespace, home: Home) -> int:
    from .exchange import cremad, transfer

    if not args.path.exists():
        raise StudyError(f"There is no file or folder {str(args.path)!r} to import.")
    name = args.name or args.path.stem
    with opened(home) as store:
        if args.format == "cremad":
            study_id = cremad.import_votes(store, None, args.path, args.name or "CREMA-D")
            say(args, {"study_id": study_id}, f"CREMA-D's votes are study {study_id}; their raters are unknown.")
            return 0
        endings = {chosen.suffix: found for found, chosen in FORMATS.items() if chosen.suffix} | {".eaf": "eaf"}
        found = args.format or endings.get(args.path.suffix)
        if found is None:
            raise StudyError(f"{str(args.path)!r} does not say what it is; give --format {', '.join(FORMATS)} or cremad.")
        rows = transfer.format_of(found).read(args.path)
        done = transfer.import_ratings(store, None, name, rows, scheme_of(args.scheme) if args.scheme else None)
    unknown = f", {done.anonymous} of them by unknown raters" if done.anonymous else ""
    sentence = (
        f"Study {done.study_id}, {name!r}: {done.ratings} ratings of {done.clips} clips by {done.raters} raters{unknown}."
    )
    say(args, asdict(done), sentence)
    return 0


def backup(args: argparse.Namespace, home: Home) -> int:
    from .backup import backup as backed_up

    with opened(home) as store, progress("parts") as told:
        done = backed_up(store, None, args.path, told)
    sentence = f"{done.rows} rows and {done.files} media files are in {done.path} (SHA-256 {done.sha256})."
    say(args, asdict(done), sentence)
    return 0


def restore(args: argparse.Namespace, home: Home) -> int:
    from .backup import restore as restored
    from .verify import verify as verified

    with progress("parts") as told:
        done = restored(home, args.path, told)
    with opened(home) as store:
        problems = verified(store).problems
    sentence = f"{done.rows} rows and {done.files} media files are back, in {home.folder}"
    say(args, {**asdict(done), "problems": problems}, f"{sentence}{'.' if not problems else '; look:'}")
    for problem in problems:
        ERRORS.print(problem)
    return 1 if problems else 0


def erase(args: argparse.Namespace, home: Home) -> int:
    from . import erase as erasing

    with opened(home) as store:
        if args.bytes:
            done = erasing.Erased(bytes_gone=erasing.finish(store))
        else:
            study_id = study_of(store, args.study) if args.study else None
            clips = args.clip or []
            if args.overdue:
                with store.read() as session:
                    clips = [row.clip_id for row in erasing.overdue(session)]
                if not clips:
                    print("No clip's retention date has passed.")
                    return 0
            _ask_again(args, args.child or f"{len(clips)} clips")
            if args.child is not None:
                done = erasing.erase_child(store, None, args.child, study_id)
            else:
                done = erasing.erase_clips(store, None, clips)
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


def migrate(args: argparse.Namespace, home: Home) -> int:
    from .backup import copy_beside
    from .store import known, latest

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


# ---------------------------------------------------------------- what they share


@contextmanager
def opened(home: Home) -> Iterator[Store]:
    store = Store.open(home)
    try:
        yield store
    finally:
        store.close()


def study_of(store: Store, given: str) -> int:
    """The id of the study of that name, or of that number."""
    with store.read() as session:
        names = {name: number for number, name in session.execute(select(Study.id, Study.name).order_by(Study.id))}
    if given in names:
        return names[given]
    if given.isdecimal() and int(given) in names.values():
        return int(given)
    known = ", ".join(f"{number} {name!r}" for name, number in names.items()) or "none"
    raise StudyError(f"There is no study {given!r}; there are: {known}.")


def scheme_of(given: str) -> Scheme:
    """A scheme by its name, or from a JSON file."""
    if given in SCHEMES:
        return SCHEMES[given]
    if not given.endswith(".json"):
        known = ", ".join(map(repr, SCHEMES))
        raise StudyError(f"There is no label scheme {given!r}; give one of {known}, or a .json file.")
    return Scheme.from_json(read_json(Path(given)))


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path} cannot be read ({error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{path} is not JSON ({error}).") from error


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on standard error, where that is a terminal."""
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[name]}"))
    with Progress(*columns, console=ERRORS, transient=True, disable=not ERRORS.is_terminal) as bar:
        task = bar.add_task("", total=None, name="")
        yield lambda done, total, name: bar.update(task, completed=done, total=total, name=escape(name[:40]))


def say(args: argparse.Namespace, values: dict[str, Any], sentence: str) -> None:
    if args.json:
        say_json(values)
    else:
        print(sentence)


def say_json(values: Any) -> None:
    print(json.dumps(values, ensure_ascii=False, indent=2, default=str))


COMMANDS: dict[str, Callable[[argparse.Namespace, Home], int]] = {
    "init": init,
    "create-study": create_study,
    "invite": invite,
    "status": status,
    "agreement": agreement,
    "aggregate": aggregate,
    "snapshot": snapshot,
    "verify": verify,
    "export": export,
    "import": import_,
    "backup": backup,
    "restore": restore,
    "erase": erase,
    "migrate": migrate,
}


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be text
    home = Home.of(dict(os.environ))
    home = Home(args.home or home.folder, args.db or home.url)
    try:
        return COMMANDS[args.command](args, home)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
        ERRORS.print(f"The database did not take it ({reason}); nothing was changed.", soft_wrap=True)
        return 2
    except (ValueError, OSError) as error:  # StudyError among them
        ERRORS.print(" ".join(str(error).split("\n")), soft_wrap=True)
        return 2
    except KeyboardInterrupt:
        ERRORS.print("Stopped; what was not finished was taken back.")
        return 130


if __name__ == "__main__":
    sys.exit(main())

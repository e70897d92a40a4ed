"""export, import: ratings to files and back."""

import argparse
from dataclasses import asdict
from pathlib import Path

from ..exchange import FORMATS
from ..store import Home, StudyError
from .command import Command, ask_json, ask_study
from .console import say
from .given import opened, scheme_of, study_of

# ---------------------------------------------------------------- export


def _ask_export(parser: argparse.ArgumentParser) -> None:
    ask_study(parser)
    ask_json(parser)
    parser.add_argument("--format", choices=[name for name, f in FORMATS.items() if f.write], default="csv", help="(csv)")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="PATH", help="a new file, or folder for audformat and eaf"
    )


def _export(args: argparse.Namespace, home: Home) -> int:
    from ..exchange import transfer

    with opened(home) as store:
        done = transfer.export(store, None, study_of(store, args.study), args.format, args.out)
    say(args, asdict(done), f"{done.ratings} ratings are in {done.path} (SHA-256 {done.sha256}).")
    return 0


EXPORT = Command("write all ratings with their history", _export, _ask_export)


# ---------------------------------------------------------------- import


def _ask_import(parser: argparse.ArgumentParser) -> None:
    ask_json(parser)
    parser.add_argument("path", type=Path, metavar="PATH", help="the file or folder")
    parser.add_argument("--format", choices=[*FORMATS, "cremad"], help="(from the name's ending)")
    parser.add_argument("--name", help="of the new study (default: the file's)")
    parser.add_argument("--scheme", metavar="NAME", help="a scheme's name or .json file (default: one that has all labels)")


def _import(args: argparse.Namespace, home: Home) -> int:
    from ..exchange import cremad, transfer

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


IMPORT = Command("read an export, or CREMA-D's votes, as a new, closed study", _import, _ask_import)

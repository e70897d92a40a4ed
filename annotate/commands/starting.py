"""init, create-study, invite: a study is begun, and people are asked into it."""

import argparse
from dataclasses import asdict, fields
from pathlib import Path

from ..design import Design
from ..schema import MODALITIES, ROLES
from ..scheme import SCHEMES
from ..store import Home, Store, StudyError
from .command import Command, ask_json
from .console import ERRORS, progress, say_json
from .given import opened, read_json, scheme_of, study_of

# ---------------------------------------------------------------- init


def _ask_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-practice", action="store_true", help="without the practice study")


def _init(args: argparse.Namespace, home: Home) -> int:
    store = Store.create(home)
    print(f"The study's folder is {home.folder}, readable by you alone; set AVEMO_STUDY to it, or run from here.")
    if not args.no_practice:
        from ..studies import practice_study

        practice_study(store)
        print("There is a study named Practice: start python app.py and open its Rate tab.")
    return 0


INIT = Command("make the folder and the database, with a practice study of generated clips", _init, _ask_init)


# ---------------------------------------------------------------- create-study


def _ask_create(parser: argparse.ArgumentParser) -> None:
    ask_json(parser)
    parser.add_argument("name", help="of the study")
    parser.add_argument("source", type=Path, help="a folder (its manifest.csv is read if there is one) or a manifest CSV")
    parser.add_argument("--add", action="store_true", help="add the clips to the study of this name instead")
    parser.add_argument(
        "--raters", nargs="*", metavar="NAME", help="only these rate it; none: nobody yet (default: every rater)"
    )
    parser.add_argument("--scheme", metavar="NAME", help=f"{', '.join(SCHEMES)}, or a .json file (default: basic seven)")
    parser.add_argument("--design", type=Path, metavar="FILE", help="a .json file of settings; flags go before it")
    parser.add_argument("--passes", nargs="+", choices=MODALITIES, help="what is heard or seen (default: voice)")
    parser.add_argument("--replications", type=int, metavar="N", help="ratings a clip and pass (default: 3)")
    parser.add_argument(
        "--stop-width", type=float, metavar="W", help="ask for more until the interval is narrower (0.5: five agree)"
    )
    parser.add_argument("--most-replications", type=int, metavar="N", help="with --stop-width: never more than this")
    parser.add_argument("--repeat-share", type=float, metavar="S", help="of each rater's clips, shown again (default: 0.05)")
    parser.add_argument("--gold-every", type=int, metavar="N", help="a gold clip about every N clips (default: 20)")
    parser.add_argument("--blocks", type=int, metavar="N", help="of the Latin square (default: 4)")
    parser.add_argument("--seed", type=int, metavar="N", help="of the order (default: 0)")
    parser.add_argument("--most-replays", type=int, metavar="N", help="how often a clip may be replayed (default: any)")
    parser.add_argument("--soft-labels", action="store_true", default=None, help="let raters split 100 %% over the labels")


def _create_study(args: argparse.Namespace, home: Home) -> int:
    from .. import studies
    from ..assignment import raters_named

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


CREATE_STUDY = Command("make a study of a folder of clips, or of a manifest that lists them", _create_study, _ask_create)


# ---------------------------------------------------------------- invite


def _ask_invite(parser: argparse.ArgumentParser) -> None:
    ask_json(parser)
    parser.add_argument("--role", nargs="+", choices=ROLES, default=["rater"], help="(rater)")
    parser.add_argument("--name", help="the name they get (default: they choose); with that of an account: a new password")
    parser.add_argument("--study", metavar="STUDY", help="who accepts is chosen for it; one that only chosen raters rate")
    parser.add_argument("--days", type=float, default=14, metavar="N", help="how long the link works (%(default)s)")
    parser.add_argument("--url", default="http://127.0.0.1:7860", help="where the program is reached (%(default)s)")


def _invite(args: argparse.Namespace, home: Home) -> int:
    from .. import accounts

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


INVITE = Command("print a link with which somebody makes an account", _invite, _ask_invite)

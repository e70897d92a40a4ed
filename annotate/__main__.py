"""The rating study at the command line: python -m annotate init, then create-study, invite, status, ...

Every command says what it did in a sentence or a table, or prints JSON (--json). It ends with 0; with 1 where it did its
work but something deserves a look (clips skipped, a log that does not fit); with 2 where it did nothing, and says why.
What a command takes and what it does stand together in commands/.
"""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from .commands import erasing, exchanging, keeping, looking, starting
from .commands.console import ERRORS
from .store import Home

COMMANDS = {  # in the order of --help
    "init": starting.INIT,
    "create-study": starting.CREATE_STUDY,
    "invite": starting.INVITE,
    "status": looking.STATUS,
    "agreement": looking.AGREEMENT,
    "aggregate": looking.AGGREGATE,
    "snapshot": keeping.SNAPSHOT,
    "verify": keeping.VERIFY,
    "export": exchanging.EXPORT,
    "import": exchanging.IMPORT,
    "backup": keeping.BACKUP,
    "restore": keeping.RESTORE,
    "erase": erasing.ERASE,
    "migrate": keeping.MIGRATE,
}


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m annotate", description=(__doc__ or "").split("\n\n")[0])
    parsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = parsers.add_parser(name, help=command.help, description=command.help)
        one.add_argument("--home", type=Path, metavar="FOLDER", help="the study's private folder (default: $AVEMO_STUDY)")
        one.add_argument("--db", metavar="URL", help="postgresql://... instead of a file in it (default: $AVEMO_STUDY_DB)")
        command.ask(one)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    args = parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be text
    home = Home.of(dict(os.environ))
    home = Home(args.home or home.folder, args.db or home.url)
    try:
        return COMMANDS[args.command].run(args, home)
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

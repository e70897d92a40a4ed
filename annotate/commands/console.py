"""What commands print: sentences, JSON, and how far they are."""

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

ERRORS = Console(stderr=True, highlight=False, markup=False)  # a clip may be called [red].wav
OUT = Console(highlight=False)


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

"""What a command is, and what several of them ask alike."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from ..store import Home


def nothing(parser: argparse.ArgumentParser) -> None:
    """For a command that asks nothing of its own."""


@dataclass(frozen=True)
class Command:
    """`ask` adds to a parser what the command takes; `run` does it, and gives the exit code."""

    help: str
    run: Callable[[argparse.Namespace, Home], int]
    ask: Callable[[argparse.ArgumentParser], None] = nothing


def ask_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def ask_study(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("study", metavar="STUDY", help="its name or number")

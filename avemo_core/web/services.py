"""What the pages and routes of the demo work with: settings that enter once, and the services built from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from .turns import Turns

if TYPE_CHECKING:
    from ..analyzer import Analyzer
    from .jobs import Jobs
    from .visitors import Visitors

MB = 1024 * 1024
STATIC = Path(__file__).resolve().parents[2] / "static"


@dataclass(frozen=True)
class Settings:
    """Limits and times of the demo. The About page prints these very values."""

    hosts: tuple[str, ...] = ()  # names that a request may ask for; empty: any
    space: bool = False  # served inside a frame of huggingface.co
    keep_s: float = 1800  # a clip and its reading are deleted this long after the last use
    sweep_s: float = 15  # how often the schedule is looked at
    max_bytes: int = 200 * MB
    max_duration_s: float = 300
    max_stored_bytes: int = 4096 * MB  # clips of all visitors together
    results_per_visitor: int = 8  # the oldest goes when one more comes
    results: int = 64  # of all visitors together: readings lie in memory
    queued_per_visitor: int = 3
    queued: int = 32
    posts_per_minute: int = 30  # of one visitor
    workers: int = 1  # readings at a time; torch uses all cores for one
    more_pages: tuple[tuple[str, str], ...] = ()  # name and address of what stands beside the demo, for its bar
    warm_up: bool = False  # read an example once at the start, so that the first visitor does not wait for that


@dataclass(frozen=True)
class Services:
    """Given to every page and to the routes."""

    analyzer: Analyzer
    settings: Settings
    visitors: Visitors
    jobs: Jobs
    turns: Turns = field(default_factory=Turns)

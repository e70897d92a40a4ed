"""Who may see what: a visitor is a random cookie, and owns a private folder and the readings made from it.

Nothing of a visitor is written anywhere else, and everything is deleted on schedule. There are no accounts.
"""

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import stat
import tempfile
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..types import AvemoError, ClipResult
from .services import MB, Settings

if TYPE_CHECKING:
    from ..baseline import Baseline

COOKIE = "avemo_visitor"
PREFIX = "avemo-visitors-"
GONE = "This reading is not here any more, or never was yours; read the clip again."
TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")  # secrets.token_urlsafe(32)


class TooMany(AvemoError):  # noqa: N818 - a refusal, said in one sentence
    """More than this server or this visitor's share allows now; the sentence says when to try again."""


@dataclass
class Held:
    """One reading and the clip it was made from, kept until it is deleted."""

    result_id: str
    name: str  # what the visitor called the file; shown, never used as a path
    path: Path
    result: ClipResult
    used_at: float
    plain: str | None = None  # of a reading against a baseline: the one without, while that is held
    baseline: "Baseline | None" = None  # what the person was known by: rows of numbers that an explanation needs again
    explained: dict[Any, Any] = field(default_factory=dict)  # explanations made so far, the one asked for last at the end


@dataclass
class Visitor:
    """One browser. `results` are in the order in which they were made; `wanted` counts the jobs to come of each clip."""

    token: str
    folder: Path
    used_at: float
    results: dict[str, Held] = field(default_factory=dict)
    posts: deque[float] = field(default_factory=deque)
    wanted: Counter[Path] = field(default_factory=Counter)


def new_token() -> str:
    return secrets.token_urlsafe(32)


def clean_name(name: str | None) -> str:
    """A visitor's file name as it may be shown and offered for download: no folders, no control characters, 80 long."""
    last = re.split(r"[/\\]", name or "")[-1]
    kept = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*').strip(" .")
    if len(kept) > 80:
        stem, dot, suffix = kept.rpartition(".")
        kept = stem[: 79 - len(suffix)] + dot + suffix if dot and len(suffix) <= 8 else kept[:80]
    return kept or "clip"


class Visitors:
    """All visitors of this server. Every method may be called from any thread."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self.settings = settings
        self.clock = clock
        self.folder, self._lock_file = _own_folder()
        self._visitors: dict[str, Visitor] = {}
        self._lock = threading.RLock()

    def find(self, token: str | None) -> Visitor | None:
        """The visitor of this cookie, or None where nothing was ever posted under it."""
        with self._lock:
            visitor = self._visitors.get(token or "")
            if visitor:
                visitor.used_at = self.clock()
            return visitor

    def admit(self, token: str) -> Visitor:
        """The visitor of this cookie, made on the first post."""
        with self._lock:
            visitor = self.find(token)
            if visitor is None:
                folder = self.folder / secrets.token_urlsafe(16)
                folder.mkdir(mode=0o700)
                visitor = self._visitors[token] = Visitor(token, folder, self.clock())
            return visitor

    def count_post(self, visitor: Visitor) -> None:
        """Count one post of this visitor; TooMany when there were too many within the last minute."""
        with self._lock:
            now = self.clock()
            while visitor.posts and visitor.posts[0] <= now - 60:
                visitor.posts.popleft()
            if len(visitor.posts) >= self.settings.posts_per_minute:
                wait = round(visitor.posts[0] + 60 - now) + 1
                raise TooMany(
                    f"You sent {len(visitor.posts)} requests within a minute, and "
                    f"{self.settings.posts_per_minute} is the most; try again in {wait} s."
                )
            visitor.posts.append(now)

    def place(self, visitor: Visitor) -> Path:
        """Where the next clip of this visitor goes: a random name in a private folder. The file does not exist yet."""
        visitor.folder.mkdir(mode=0o700, exist_ok=True)
        return self.place_in(visitor.folder)

    def place_in(self, folder: Path) -> Path:
        """A random name in a visitor's folder. TooMany where the disk set aside is full."""
        if self._stored_bytes() > self.settings.max_stored_bytes:
            raise TooMany("The disk set aside for clips is full just now; try again in some minutes.")
        return folder / secrets.token_urlsafe(16)

    def _stored_bytes(self) -> int:
        total = 0
        for path in self.folder.glob("*/*"):
            with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
                total += path.stat().st_size
        return total

    def keep(
        self,
        visitor: Visitor,
        name: str,
        path: Path,
        result: ClipResult,
        plain: str | None = None,
        baseline: "Baseline | None" = None,
    ) -> Held:
        """Hold a reading for its visitor. The oldest one goes when there are too many."""
        with self._lock:
            held = Held(new_token(), name, path, result, self.clock(), plain, baseline)
            visitor.results[held.result_id] = held
            self._visitors.setdefault(visitor.token, visitor)
            while len(visitor.results) > self.settings.results_per_visitor:
                self.forget(visitor, next(iter(visitor.results)))
            everything = [(h.used_at, v, h) for v in self._visitors.values() for h in v.results.values()]
            if len(everything) > self.settings.results:
                _, owner, oldest = min(everything, key=lambda row: row[0])
                self.forget(owner, oldest.result_id)
            return held

    def held(self, token: str | None, result_id: str) -> Held | None:
        """A reading of this very visitor, or None: another visitor's is as absent as one that never was."""
        with self._lock:
            visitor = self.find(token)
            held = visitor.results.get(result_id) if visitor else None
            if held:
                held.used_at = self.clock()
            return held

    def forget(self, visitor: Visitor, result_id: str) -> None:
        """Delete one reading now, and its clip unless another reading or job has the same file."""
        with self._lock:
            self._drop(visitor, visitor.results.pop(result_id).path)

    def claim(self, visitor: Visitor, path: Path) -> None:
        """A job will read this clip: it stays until `release`, whatever becomes of the readings made from it."""
        with self._lock:
            visitor.wanted[path] += 1

    def release(self, visitor: Visitor, path: Path) -> None:
        """A job on this clip has ended; the clip goes unless a reading or another job has it."""
        with self._lock:
            visitor.wanted -= Counter([path])
            self._drop(visitor, path)

    def _drop(self, visitor: Visitor, path: Path) -> None:
        if path not in visitor.wanted and all(held.path != path for held in visitor.results.values()):
            path.unlink(missing_ok=True)

    def sweep(self) -> int:
        """Delete what was not used for `keep_s`; returns how many readings went."""
        with self._lock:
            before = self.clock() - self.settings.keep_s
            gone = 0
            for visitor in list(self._visitors.values()):
                for held in [h for h in visitor.results.values() if h.used_at <= before]:
                    self.forget(visitor, held.result_id)
                    gone += 1
                if not visitor.results and visitor.used_at <= before and not visitor.wanted:
                    shutil.rmtree(visitor.folder, ignore_errors=True)
                    del self._visitors[visitor.token]
            return gone

    def close(self) -> None:
        """Delete everything; called when the server stops."""
        with self._lock:
            self._visitors.clear()
            shutil.rmtree(self.folder, ignore_errors=True)
            self._lock_file.close()


def _own_folder() -> tuple[Path, IO[str]]:
    """A private folder (0700) and the lock that says it is in use; folders of servers that were killed are deleted."""
    for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        _delete_if_abandoned(left)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    lock = (folder / "lock").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    return folder, lock


def _delete_if_abandoned(folder: Path) -> None:
    try:
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            return
        with (folder / "lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:
        return  # in use, just being made, or gone already


def size_in_words(n_bytes: float) -> str:
    return f"{n_bytes / MB:.0f} MB" if n_bytes >= MB else f"{n_bytes / 1024:.0f} kB"

"""Makes the features of every clip of a corpus once and keeps them, in parallel; training then only reads them.

    python -m training.prepare CORPUS ROOT

ROOT has a manifest.csv; CORPUS is its name in what is printed. Ctrl-C stops at once and loses the clips in hand: the same
command goes on where it was. Exit code 0: every clip is ready; 2: some could not be read (each is named, the rest go on) or
something is missing.
"""

import argparse
import functools
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import connection, get_context
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track as progress_bar

from avemo_core.faces import Detector
from avemo_core.types import MediaError

from . import features, progress
from .corpora import manifest

CACHE = Path("runs/cache")
MOST_WORKERS = 8  # by default: each takes about 700 MB
STDERR = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@dataclass
class Report:
    """Counts of clips: `made`, or all `there` before; with `sound` and a `face`. Unreadable ones with the reason."""

    made: int = 0
    there: int = 0
    sound: int = 0
    face: int = 0
    unreadable: list[tuple[Path, str]] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.made} made, {self.there} already there, {len(self.unreadable)} could not be read; "
            f"{self.sound} have sound, {self.face} have a face"
        )


# ---------------------------------------------------------------- in a worker process

_detector = functools.cache(Detector)  # once a process, when the first face is looked for


def _start(alive: connection.Connection) -> None:
    """One torch thread, and an end as soon as the parent closes `alive` or is gone, however it went."""
    torch.set_num_threads(1)
    threading.Thread(target=lambda: connection.wait([alive]) and os._exit(1), daemon=True).start()


def _prepare(path: Path, cache: Path) -> tuple[list[str], bool, bool]:
    """What was done for voice and face, and whether there is sound, and a face."""
    voice, heard = features.stored("voice", path, cache)
    face, seen = features.stored("face", path, cache, _detector)
    return [heard, seen], voice["log_mel"].shape[1] > 0, bool(face)


# ---------------------------------------------------------------- in the parent


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Processes started in here never see Ctrl-C, which is for the parent; it gets a held one at the end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _sweep(cache: Path) -> None:
    for kind in features.MAKERS:
        progress.sweep(cache / kind)


def prepare(rows: Sequence[manifest.Row], cache: Path, workers: int) -> Report:
    """Voice and face features of every clip into `cache`. OSError where the cache cannot be written.

    A clip that cannot be read is told on stderr and in the report, and the rest go on.
    """
    report = Report()
    context = get_context("spawn")  # a fork would copy torch's threads half alive
    theirs, ours = context.Pipe(duplex=False)
    _sweep(cache)
    try:
        with ProcessPoolExecutor(workers, context, _start, (theirs,)) as pool:
            try:
                with _interrupts_held():
                    paths = {pool.submit(_prepare, row.path, cache): row.path for row in rows}
                for done in progress_bar(as_completed(paths), "features", len(paths), console=STDERR):
                    try:
                        what, sound, face = done.result()
                    except MediaError as error:
                        report.unreadable.append((paths[done], str(error)))
                        STDERR.print(f"{paths[done]}: {error}")
                        continue
                    for said in set(what) - {"made", "there"}:
                        STDERR.print(said)
                    report.made += set(what) != {"there"}
                    report.there += set(what) == {"there"}
                    report.sound, report.face = report.sound + sound, report.face + face
            except BaseException:
                ours.close()  # the workers leave at once, whatever they have in hand
                raise
    except BrokenProcessPool as error:
        raise OSError(
            f"A worker process was ended from outside, most likely for want of memory; {report}. "
            "Give the same command again with fewer --workers."
        ) from error
    finally:
        _sweep(cache)
    return report


def rows_of(corpus: str, root: Path) -> list[manifest.Row]:
    """Every clip of the corpus; none for pictures in parquet files, which need no preparing.

    FileNotFoundError or ValueError say what was looked for, what was found, and what to do.
    """
    if not (root / "manifest.csv").exists():
        if any(root.glob("*.parquet")):
            return []
        found = ", ".join(sorted(path.name for path in root.iterdir())[:8]) if root.is_dir() else ""
        raise FileNotFoundError(
            f"Looked for manifest.csv or .parquet files of {corpus} in {root}: "
            + (f"found {found or 'nothing'}. " if root.is_dir() else "there is no such folder. ")
            + f"Give the folder that holds the manifest, with the columns {', '.join(manifest.NEEDED)}."
        )
    rows = manifest.read(root, corpus)
    if not rows:
        raise ValueError(f"{root / 'manifest.csv'} names no clip; expected one row a clip. Put the corpus there again.")
    return rows


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 on, not {text!r}")
    return int(text)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m training.prepare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", metavar="CORPUS", help="name of the corpus, such as java_sed")
    parser.add_argument("root", metavar="ROOT", type=Path, help="its folder, with manifest.csv")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where features are kept (default %(default)s)")
    cores = min(os.cpu_count() or 1, MOST_WORKERS)
    parser.add_argument("--workers", type=_count, default=cores, help="processes (default %(default)s)")
    args = parser.parse_args(argv)
    try:
        rows = rows_of(args.corpus, args.root)
        if not rows:
            print(f"{args.corpus}: pictures in parquet files need no preparing; training reads them as they are.")
            return 0
        report = prepare(rows, args.cache, min(args.workers, len(rows)))
    except (OSError, ValueError) as error:
        STDERR.print(str(error))
        return 2
    except KeyboardInterrupt:
        STDERR.print("Stopped; what was made stays, and the same command goes on from here.")
        return 130
    print(f"{args.corpus}: {len(rows)} clips in {args.cache}: {report}.")
    return 2 if report.unreadable else 0


if __name__ == "__main__":
    sys.exit(main())

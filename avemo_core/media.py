"""file -> Clip, and its frames and sound in chunks. Decoding happens in worker processes (decoding/worker.py), never here.

    clip = decode("talk.mp4")
    for frames, times_s in frames(clip): ...     # uint8 [n,H,W,3] upright RGB, seconds [n]
    for wave, start_s in sound(clip): ...        # float32 [n] mono 16 kHz, without holes from the first start_s on

A file that cannot be read, breaks the worker, or is over a limit raises MediaError with one sentence; the next call gets a
fresh worker. Needs av, numpy and pillow, not torch.
"""

import atexit
import contextlib
import hashlib
import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from .decoding.channel import HEADER
from .types import SAMPLE_RATE, AudioStream, Clip, MediaError, VideoStream

Progress = Callable[[float, float], None]  # seconds done, seconds in all
# -P and this line instead of -m: neither the caller's folder nor its main program comes in, only the package.
WORKER = (
    f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parents[1])!r}); "
    f"from {__package__}.decoding.worker import main; main()"
)
IDLE_WORKERS = 2  # kept warm; more are started when more calls run at once
MOST_WORKERS = 8
CALLS_PER_WORKER = 1000  # then a fresh one, so that a leak in a decoder stays small
PASSED_ON = ("PATH", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "LANG", "TMPDIR", "HOME")


@dataclass(frozen=True)
class Limits:
    """What one file may cost. Over a limit, MediaError says which."""

    max_bytes: int = 500 * 10**6
    max_duration_s: float = 3600.0
    min_duration_s: float = 0.2  # shorter sound or video says nothing about an expression
    max_pixels: int = 80 * 10**6  # per picture
    seconds: float = 900.0  # waiting for the worker, in one call; the caller's own time is not counted
    silence_s: float = 30.0  # a worker that works is heard several times a second
    memory_bytes: int = 2 * 1024**3  # address space of the worker


def decode(path: str | Path, limits: Limits | None = None) -> Clip:
    """What is in the file: every packet's time is read, the first frame of each track is decoded."""
    limits = limits or Limits()
    path = Path(path)
    checked(path, limits)
    with _borrowed() as worker:
        replies = worker.ask({"op": "probe", "path": str(path.resolve())}, limits)
        clip_id = _fingerprint(path)  # while the worker reads the same bytes
        record = next(message["record"] for message, _ in replies if message["kind"] == "end")
    return Clip(
        clip_id=clip_id,
        path=path,
        duration_s=record["duration_s"],
        container=record["container"],
        video=VideoStream(*record["video"]) if record["video"] else None,
        audio=tuple(AudioStream(*values) for values in record["audio"]),
        rotation=record["rotation"],
        is_image=record["is_image"],
        warnings=tuple(record["warnings"]),
    )


def frames(
    clip: Clip,
    every_s: float = 0.1,
    max_side: int = 960,
    progress: Progress | None = None,
    limits: Limits | None = None,
) -> Generator[tuple[np.ndarray, np.ndarray], None, tuple[str, ...]]:
    """uint8 [n,H,W,3] upright RGB and the grid's times [n] in seconds: at each k * every_s the newest frame at or before it.

    Longer side at most max_side. A still image is one frame at 0 s. A clip without a picture yields nothing. The generator's
    return value (`warnings = yield from frames(clip)`) tells what was passed over.
    """
    if every_s <= 0 or max_side < 1:
        raise ValueError(f"every_s and max_side must be positive, not {every_s} and {max_side}")
    if clip.video is None:
        return ()
    request = {
        "op": "frames",
        "path": str(clip.path.resolve()),
        "every_s": every_s,
        "max_side": max_side,
        "start_s": clip.video.start_s,
    }
    for message, payload in _stream(clip, request, progress, limits or Limits()):
        if message["kind"] == "end":
            return tuple(message["warnings"])
        yield payload.reshape(message["shape"]), np.asarray(message["times"])
    return ()


def sound(
    clip: Clip,
    track: int = 0,
    progress: Progress | None = None,
    limits: Limits | None = None,
    rate: int = SAMPLE_RATE,
) -> Generator[tuple[np.ndarray, float], None, tuple[str, ...]]:
    """float32 [n] mono at `rate` Hz within -1 to 1, and the time of its first sample in seconds.

    Chunks follow one another without holes (silence fills those of the file). A clip without sound yields nothing. The
    generator's return value tells what was passed over.
    """
    if not clip.audio:
        return ()
    if not 0 <= track < len(clip.audio):
        raise MediaError(f"This clip has {len(clip.audio)} sound tracks, numbered from 0, and no number {track}.")
    request = {
        "op": "sound",
        "path": str(clip.path.resolve()),
        "track": track,
        "rate": rate,
        "start_s": clip.audio[track].start_s,
        "end_s": clip.duration_s,
    }
    for message, payload in _stream(clip, request, progress, limits or Limits()):
        if message["kind"] == "end":
            return tuple(message["warnings"])
        yield payload.view(np.float32), message["start_s"]
    return ()


def warm() -> None:
    """Start a worker now, so that the first clip does not wait for it."""
    with _borrowed() as worker:
        for _ in worker.ask({"op": "warm"}, Limits()):
            pass


def checked(path: Path, limits: Limits) -> None:
    """Raise MediaError unless this is an ordinary file of an allowed size. Cheap: nothing is opened."""
    name = path.name[:80]
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        raise MediaError(f"There is no file {name!r} that can be opened; check its path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise MediaError(f"{name!r} is a folder; give a file in it.")
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(f"{name!r} is not an ordinary file; give a video, a sound or a picture.")
    if status.st_size == 0:
        raise MediaError("This file is empty (0 bytes); record or export it again.")
    if status.st_size > limits.max_bytes:
        size, allowed = (f"{n / 1e6:.0f} MB" for n in (status.st_size, limits.max_bytes))
        raise MediaError(f"This file has {size}, and at most {allowed} are read; shorten or compress it.")
    if not os.access(path, os.R_OK):
        raise MediaError(f"{name!r} may not be read by this program; change its permissions.")


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _stream(
    clip: Clip, request: dict[str, Any], progress: Progress | None, limits: Limits
) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
    """Chunks and the end message; progress is told on the way. Closing it early leaves the worker usable."""
    checked(clip.path, limits)
    with _borrowed() as worker:
        for message, payload in worker.ask(request, limits):
            if progress and message["kind"] == "end":
                progress(clip.duration_s, clip.duration_s)
            if message["kind"] != "progress":
                yield message, payload
            if progress and "done_s" in message:
                progress(min(message["done_s"], clip.duration_s), clip.duration_s)


# ---------------------------------------------------------------- the workers


class _Worker:
    """One decoding process and the pipes to it. Used by one call at a time."""

    def __init__(self) -> None:
        environment = {key: os.environ[key] for key in PASSED_ON if key in os.environ}
        # Few malloc arenas and one OpenMP thread: otherwise threads alone would fill the address space allowed.
        environment |= {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUTF8": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            bufsize=0,
        )
        assert self.process.stdin and self.process.stdout
        self.input, self.output = self.process.stdin.fileno(), self.process.stdout.fileno()
        with contextlib.suppress(ImportError, AttributeError, OSError):
            import fcntl

            fcntl.fcntl(self.output, fcntl.F_SETPIPE_SZ, 1 << 20)  # fewer switches between the two processes
        self.poller = select.poll()
        self.poller.register(self.output, select.POLLIN)
        self.calls, self.busy = 0, False
        self.between = True  # no reply is half read
        self.limits, self.waited = Limits(), 0.0

    def ask(self, request: dict[str, Any], limits: Limits) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Send the request at once; the replies come as they are iterated, up to and including the end."""
        self.calls, self.busy = self.calls + 1, True
        self.limits, self.waited = limits, 0.0
        line = json.dumps({**request, "id": self.calls, "limits": asdict(limits)}) + "\n"
        try:
            os.write(self.input, line.encode())
        except OSError as error:
            self._broken(error)
        return self._replies()

    def _replies(self) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        while True:
            self.between = False
            message, payload = self._receive()
            self.between = True
            self.busy = message["kind"] in ("chunk", "progress")
            if message["kind"] == "error":
                if message.get("last"):
                    self.kill()
                raise MediaError(message["text"])
            yield message, payload
            if not self.busy:
                return

    def _receive(self) -> tuple[dict[str, Any], np.ndarray]:
        body, size = HEADER.unpack(self._read(HEADER.size).tobytes())
        message = json.loads(self._read(body).tobytes())
        return message, self._read(size)

    def _read(self, size: int) -> np.ndarray:
        """Exactly this many bytes, uint8; the time waited for them counts against the limits."""
        data = np.empty(size, np.uint8)
        view = memoryview(data.data)
        while view:
            before = time.monotonic()
            patience = min(self.limits.silence_s, self.limits.seconds - self.waited)
            ready = patience > 0 and self.poller.poll(patience * 1000)
            self.waited += time.monotonic() - before
            if not ready:
                self.kill()
                raise MediaError(
                    f"This file could not be read in time (given up after {self.waited:.0f} s): it is damaged or too heavy; "
                    "export it again, shorter or smaller."
                )
            try:
                got = os.readv(self.output, [view])
            except OSError as error:
                self._broken(error)
            if not got:
                self._broken(None)
            view = view[got:]
        return data

    def _broken(self, error: Exception | None) -> NoReturn:
        self.kill()
        code = self.process.returncode
        why = f"signal {signal.Signals(-code).name}" if code and -code in set(signal.Signals) else f"exit code {code}"
        raise MediaError(
            f"Decoding this file broke the decoder ({why}): the file is damaged or too heavy; export it again."
        ) from error

    def settle(self) -> bool:
        """Bring a call that was left early to its end; False when the process is of no further use."""
        if self.busy and self.between and self.process.poll() is None:
            try:
                os.write(self.input, json.dumps({"stop": self.calls}).encode() + b"\n")
                self.limits, self.waited = Limits(seconds=2.0, silence_s=2.0), 0.0
                for _ in self._replies():
                    pass
            except (MediaError, OSError, ValueError):
                pass
        return not self.busy and self.calls < CALLS_PER_WORKER and self.process.poll() is None

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.busy = False
        self.close()

    def close(self) -> None:
        """Close the pipes; a process at the other end leaves by itself."""
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()


class _Pool:
    """Idle workers. Each call takes one, or starts one."""

    def __init__(self) -> None:
        self.idle: list[_Worker] = []
        self.lock = threading.Lock()
        self.places = threading.BoundedSemaphore(MOST_WORKERS)


_pool = _Pool()


@contextlib.contextmanager
def _borrowed() -> Iterator[_Worker]:
    pool = _pool
    if not pool.places.acquire(timeout=120):
        raise MediaError("Too many files are being read at the same moment; try again in a minute.")
    worker = None
    try:
        with pool.lock:
            while pool.idle and worker is None:
                worker = pool.idle.pop()
                if worker.process.poll() is not None:
                    worker.close()
                    worker = None
        worker = worker or _Worker()
        yield worker
    finally:
        if worker is not None and pool is _pool:
            usable = worker.settle()
            with pool.lock:
                kept = usable and len(pool.idle) < IDLE_WORKERS
                if kept:
                    pool.idle.append(worker)
            if not kept:
                worker.kill()
        pool.places.release()


def _close_all() -> None:
    with _pool.lock:
        while _pool.idle:
            _pool.idle.pop().kill()


def _after_fork() -> None:
    """A forked child must not talk to its parent's workers."""
    global _pool
    old, _pool = _pool, _Pool()
    for worker in old.idle:
        worker.close()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)

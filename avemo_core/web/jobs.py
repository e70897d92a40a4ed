"""Readings in the background: a bounded queue, worker threads, positions, progress, cancelling, errors as sentences."""

import logging
import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..types import AvemoError, Cancelled
from .visitors import TooMany, Visitor, Visitors

if TYPE_CHECKING:
    from ..analyzer import Analyzer

log = logging.getLogger("avemo.web")
KEEP_ENDED = 500  # ended jobs remembered, so that a page that comes back learns how its job ended


@dataclass
class Job:
    """One reading asked for. Changed only by Jobs, under its lock."""

    job_id: str
    visitor: Visitor
    name: str
    path: Path
    submitted_at: float
    person: int | None = None
    others: list[tuple[str, Path]] = field(default_factory=list)  # further clips of the person; deleted when it ends
    neutral: bool = False  # whether those are known to be
    before: str | None = None  # the reading that holds this clip already: the clip stays, whatever comes of the job
    state: str = "queued"  # queued | running | done | failed | cancelled
    stage: str | None = None
    done: float = 0.0
    total: float = 0.0
    started_at: float | None = None
    ended_at: float | None = None
    error: str | None = None
    result_id: str | None = None
    cancel: threading.Event = field(default_factory=threading.Event)

    @property
    def ended(self) -> bool:
        return self.state in ("done", "failed", "cancelled")


class Jobs:
    """The queue of one server. `limits` is what media may cost; see media.Limits."""

    def __init__(self, analyzer: "Analyzer", visitors: Visitors, limits: Any, workers: int = 1) -> None:
        self.analyzer = analyzer
        self.visitors = visitors
        self.settings = visitors.settings
        self.limits = limits
        self._jobs: dict[str, Job] = {}
        self._queue: deque[Job] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, name=f"reading-{n}", daemon=True) for n in range(workers)]
        for thread in self._threads:
            thread.start()

    def check_room(self, visitor: Visitor) -> None:
        """TooMany when the queue, or this visitor's share of it, is full."""
        with self._changed:
            mine = sum(job.visitor is visitor and not job.ended for job in self._jobs.values())
            if mine >= self.settings.queued_per_visitor:
                raise TooMany(f"{mine} of your clips are waiting already; send the next one when one of them is read.")
            if len(self._queue) >= self.settings.queued:
                raise TooMany(f"{len(self._queue)} clips are waiting, which is all that fit; try again in some minutes.")

    def submit(self, visitor: Visitor, path: Path, name: str, **asked: Any) -> Job:
        """Ask for a reading of `path`; `asked` are further fields of Job. TooMany when there is no room."""
        with self._changed:
            self.check_room(visitor)
            job = Job(secrets.token_urlsafe(24), visitor, name, path, time.monotonic(), **asked)
            self.visitors.claim(visitor, path)
            self._jobs[job.job_id] = job
            self._queue.append(job)
            self._forget_old()
            self._changed.notify_all()
            return job

    def find(self, token: str | None, job_id: str) -> Job | None:
        """A job of this very visitor, or None."""
        job = self._jobs.get(job_id)
        return job if job and job.visitor.token == token else None

    def snapshot(self, job: Job) -> dict[str, Any]:
        """How a job stands, as the page shows it. `position` n: n before this one; 0: running or ended."""
        with self._changed:
            position = 0
            if job.state == "queued":
                running = sum(other.state == "running" for other in self._jobs.values())
                position = self._queue.index(job) + running
            until = job.ended_at or time.monotonic()
            return {
                "state": job.state,
                "position": position,
                "stage": job.stage,
                "done": job.done,
                "total": job.total,
                "elapsed_s": round(until - job.submitted_at, 2),
                "error": job.error,
                "result": job.result_id,
            }

    def cancel(self, job: Job) -> None:
        """Stop a job: at once when it waits, at its next progress report when it runs."""
        with self._changed:
            job.cancel.set()
            if job.state == "queued":
                self._queue.remove(job)
                self._end(job, "cancelled")

    def cancel_clip(self, path: Path) -> None:
        """Stop every job on this file; called when its visitor deletes it."""
        with self._changed:
            for job in [job for job in self._jobs.values() if job.path == path and not job.ended]:
                self.cancel(job)

    def waiting(self) -> int:
        """How many jobs wait or run."""
        with self._changed:
            return sum(not job.ended for job in self._jobs.values())

    def close(self, timeout_s: float = 5.0) -> None:
        """Cancel everything and let the workers end."""
        with self._changed:
            self._stopping = True
            for job in self._jobs.values():
                if not job.ended:
                    job.cancel.set()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout_s)

    @property
    def stopping(self) -> bool:
        return self._stopping

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._stopping)
                if self._stopping:
                    return
                job = self._queue.popleft()
                job.state, job.started_at = "running", time.monotonic()
            try:
                result_id = self._read(job)
                state, error = "done", None
            except Cancelled:
                result_id, state, error = None, "cancelled", None
            except AvemoError as refused:
                result_id, state, error = None, "failed", shown(refused, job)
            except Exception:
                reference = secrets.token_hex(4)
                log.exception("reading failed (reference %s)", reference)
                result_id, state = None, "failed"
                error = f"The reading failed for a reason of ours (reference {reference}); try it again, or another clip."
            with self._changed:
                job.result_id, job.error = result_id, error
                self._end(job, state)

    def _read(self, job: Job) -> str:
        """Analyze the clip of a job and hold the reading; returns its id."""

        def progress(stage: str, done: float, total: float) -> None:
            if job.cancel.is_set():
                raise Cancelled
            job.stage, job.done, job.total = stage, float(done), float(total)

        progress("baseline" if job.others else "media", 0, 0)
        baseline = None
        if job.others:
            baseline = self.analyzer.learn([path for _, path in job.others], job.neutral, progress, self.limits)
        result = self.analyzer.analyze(job.path, person=job.person, progress=progress, limits=self.limits, baseline=baseline)
        progress("model", 1, 1)
        shown_clip = replace(result.clip, path=Path(job.name))  # our path is nobody's business
        plain = job.before if job.others else None
        told = replace(result, clip=shown_clip)
        return self.visitors.keep(job.visitor, job.name, job.path, told, plain, baseline).result_id

    def _end(self, job: Job, state: str) -> None:
        job.state, job.ended_at = state, time.monotonic()
        self.visitors.release(job.visitor, job.path)
        for _, path in job.others:
            path.unlink(missing_ok=True)
        self._changed.notify_all()

    def _forget_old(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.ended]
        for job_id in ended[: max(0, len(ended) - KEEP_ENDED)]:
            del self._jobs[job_id]


def shown(error: AvemoError, job: Job) -> str:
    """An error's sentence with the visitor's names of the files in place of ours."""
    sentence = str(error)
    for name, path in [(job.name, job.path), *job.others]:
        sentence = sentence.replace(str(path), name).replace(path.name, name)
    return sentence

"""Whose turn it is to compute: one explanation at a time, quick ones before slow ones, none for who has gone."""

import asyncio
import json
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum
from typing import TypeVar

from fastapi import HTTPException, Request

from ..types import AvemoError, Cancelled

log = logging.getLogger("avemo.web")
T = TypeVar("T")
LOOK_S = 0.2  # how often a computation's visitor is looked for
STAND_BACK_S = 5.0  # that one pass of a slow computation waits for clips that are being read
CLOSED = 499  # no one reads this answer: its page asked for something else meanwhile


class Rank(IntEnum):
    """How soon a computation is wanted: what is on the page at once, what was clicked for, what takes long."""

    QUICK = 0
    SOON = 1
    SLOW = 2


class Turns:
    """A thread for each rank, of which one computes at a time. A computation calls its `pause` between passes of the model.

    There it stands back for those of a lower rank, and all but quick ones do for what else is `busy`: clips that are being
    read, whose visitors see nothing yet.
    """

    def __init__(self, busy: Callable[[], bool] = lambda: False) -> None:
        self._busy = busy
        self._pools = [ThreadPoolExecutor(1, f"explaining-{rank.name.lower()}") for rank in Rank]
        self._computing = threading.Lock()
        self._wanted = [0] * len(Rank)  # asked for and not done
        self._count = threading.Lock()
        self._closing = threading.Event()

    async def run(self, request: Request, work: Callable[[Callable[[], None]], T], rank: Rank) -> T:
        """What `work(pause)` returns, from another thread. Where the request is given up, so is the work."""
        stop = threading.Event()
        self._want(rank, 1)
        future = self._pools[rank].submit(self._turn, work, stop, rank)
        future.add_done_callback(lambda _: self._want(rank, -1))
        answer = asyncio.wrap_future(future)
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, though no one may wait
        try:
            while not answer.done():
                if await request.is_disconnected():
                    raise HTTPException(CLOSED, "This was not waited for.")
                await asyncio.wait([answer], timeout=LOOK_S)
            return answer.result()
        except (Cancelled, asyncio.CancelledError):
            raise HTTPException(CLOSED, "This was given up.") from None
        finally:
            stop.set()
            future.cancel()

    async def told(
        self,
        request: Request,
        work: Callable[[Callable[[], None], Callable[[float, float], None]], object],
        rank: Rank = Rank.SLOW,
    ) -> AsyncIterator[str]:
        """Lines of JSON while `work(pause, progress)` goes on: done and total, at last `made` or the error's sentence.

        Where it returns values and no file, `made` is these.
        """
        state: dict[str, object] = {"done": 0.0, "total": 0.0}

        def progress(done: float, total: float) -> None:
            state.update(done=round(done, 2), total=round(total, 2))

        task = asyncio.create_task(self.run(request, lambda pause: work(pause, progress), rank))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # looked at, though no one may wait
        try:
            while not task.done():
                yield f"{json.dumps(state)}\n"
                await asyncio.wait([task], timeout=LOOK_S)
            made = await task
            yield f"{json.dumps(state | {'made': made if isinstance(made, dict) else True})}\n"
        except HTTPException:
            return  # given up: no one reads on
        except AvemoError as error:
            yield f"{json.dumps(state | {'error': str(error)})}\n"
        except Exception:  # the answer has begun: no other status can be given
            reference = secrets.token_hex(4)
            log.exception("a long computation failed (reference %s)", reference)
            sentence = f"This failed for a reason of ours (reference {reference}); try again."
            yield f"{json.dumps(state | {'error': sentence})}\n"
        finally:
            task.cancel()

    def _want(self, rank: Rank, change: int) -> None:
        with self._count:
            self._wanted[rank] += change

    def _others(self, rank: Rank, until: float) -> bool:
        """Whether something goes before this rank; what is busy only until then, so that this goes on at all."""
        return any(self._wanted[:rank]) or (rank > Rank.QUICK and self._busy() and time.monotonic() < until)

    def _turn(self, work: Callable[[Callable[[], None]], T], stop: threading.Event, rank: Rank) -> T:
        def pause() -> None:
            if stop.is_set() or self._closing.is_set():
                raise Cancelled
            until = time.monotonic() + STAND_BACK_S
            if self._others(rank, until):
                self._computing.release()
                try:
                    while self._others(rank, until) and not (stop.is_set() or self._closing.is_set()):
                        stop.wait(0.01)
                finally:
                    self._computing.acquire()

        with self._computing:
            pause()
            return work(pause)

    def close(self) -> None:
        """Give up what is computed, and wait for nobody."""
        self._closing.set()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)

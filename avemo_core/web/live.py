"""The Live page and its WebSocket: pictures and sound come in with the browser's own times, readings go back.

Nothing that arrives is written anywhere; it lies in memory for two seconds. A slow model drops frames: of each visitor
only the newest one waits, and visitors take turns on one thread.
"""

import asyncio
import json
import logging
import math
import struct
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import torch
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

from .. import look
from ..labels import EMOTIONS, LABELS
from ..live import LEARN_S, MAX_FRAME_BYTES, SMOOTHING_S, LiveError, LiveReader, LiveReading, decode_jpeg
from ..types import WINDOW_S
from . import theme
from .services import Services
from .wording import CLEAR_GAP

log = logging.getLogger("avemo.web")

MAX_SESSIONS = 4  # one thread reads 60 frames/s or more on two cores: 15 a second for each of four
SESSION_S = 600.0  # then the place goes to whoever waits; Start begins the next one
IDLE_S = 20.0  # without a message the visitor is gone: a closed laptop sends no goodbye
MAX_WAITING_CHUNKS = 40  # of sound, 0.1 s each; more than the two seconds that are read
HEADER = struct.Struct("<B3xId")  # kind, sequence, the sender's clock in ms
FRAME, SOUND = 1, 2
MAX_MESSAGE_BYTES = HEADER.size + 4 * 192_000  # a second of sound at the highest rate; the largest there is

CLOSE_END, CLOSE_BAD, CLOSE_BUSY, CLOSE_FAULT = 4000, 4400, 4429, 4500


class Ended(Exception):  # noqa: N818 - the way out of a session
    """Ends a session with a close code and the sentence that the page shows."""

    def __init__(self, code: int, sentence: str):
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


@dataclass
class Inbox:
    """What arrived and waits. Only the newest frame does; the one it replaces counts as dropped."""

    rate: int = 0
    frame: tuple[int, float, bytes] | None = None  # sequence, captured ms, JPEG
    sounds: deque[tuple[float, bytes]] = field(default_factory=lambda: deque(maxlen=MAX_WAITING_CHUNKS))
    received: int = 0
    dropped: int = 0
    heard_at: float = field(default_factory=time.monotonic)
    wish: str | None = None  # "learn" or "forget"; the newest counts
    filled: asyncio.Event = field(default_factory=asyncio.Event)

    def put_text(self, text: str) -> None:
        """`{"type": "sound", "sample_rate": 48000}` before the first sound; `{"type": "still"}` while frozen.

        `{"type": "learn"}` begins to learn how the person usually is, `{"type": "forget"}` drops what was learned.
        """
        try:
            message = json.loads(text)
            kind = message["type"]
            if kind == "sound":
                self.rate = int(message["sample_rate"])
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            kind = None
        if kind in ("learn", "forget"):
            self.wish = kind
            self.filled.set()
        elif kind not in ("sound", "still"):
            raise Ended(CLOSE_BAD, "A message that Live does not know arrived; reload the page.")

    def put_bytes(self, data: bytes) -> None:
        if len(data) > MAX_MESSAGE_BYTES:
            raise Ended(CLOSE_BAD, f"A message of {len(data)} bytes arrived; Live takes at most {MAX_MESSAGE_BYTES}.")
        if len(data) <= HEADER.size:
            raise Ended(CLOSE_BAD, "An empty message arrived; reload the page.")
        kind, sequence, at_ms = HEADER.unpack_from(data)
        if not (math.isfinite(at_ms) and 0 <= at_ms < 1e12):
            raise Ended(CLOSE_BAD, "A message without a usable time arrived; reload the page.")
        payload = data[HEADER.size :]
        if kind == FRAME:
            self._put_frame(sequence, at_ms, payload)
        elif kind == SOUND:
            self._put_sound(at_ms, payload)
        else:
            raise Ended(CLOSE_BAD, f"A message of unknown kind {kind} arrived; reload the page.")
        self.filled.set()

    def _put_frame(self, sequence: int, at_ms: float, payload: bytes) -> None:
        if len(payload) > MAX_FRAME_BYTES:
            raise Ended(CLOSE_BAD, f"A live frame of {len(payload)} bytes arrived; send at most {MAX_FRAME_BYTES}.")
        self.received += 1
        self.dropped += self.frame is not None
        self.frame = (sequence, at_ms, payload)

    def _put_sound(self, at_ms: float, payload: bytes) -> None:
        if not self.rate:
            raise Ended(CLOSE_BAD, "Sound arrived before its sample rate; reload the page.")
        if len(payload) % 4:
            raise Ended(CLOSE_BAD, "Sound that is not whole 32-bit samples arrived; reload the page.")
        self.sounds.append((at_ms, payload))

    def take(self) -> tuple[str | None, tuple[int, float, bytes] | None, list[tuple[float, bytes]]]:
        wish, frame, sounds = self.wish, self.frame, list(self.sounds)
        self.wish = self.frame = None
        self.sounds.clear()
        self.filled.clear()
        return wish, frame, sounds


class LiveRoom:
    """The places of one server. All visitors share one thread; each has one step in its queue, so they take turns."""

    def __init__(self, analyzer: Any, places: int = MAX_SESSIONS, session_s: float = SESSION_S, idle_s: float = IDLE_S):
        self.analyzer = analyzer
        self.places = places
        self.session_s = session_s
        self.idle_s = idle_s
        self._sessions: dict[str, asyncio.Event] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="live", initializer=_use_one_core)

    async def serve(self, socket: WebSocket, visitor: str) -> None:
        """One connection from its greeting to its last sentence."""
        await socket.accept()
        try:
            taken_over = self._take_place(visitor)
            try:
                await self._run(socket, taken_over)
            finally:
                if self._sessions.get(visitor) is taken_over:
                    del self._sessions[visitor]
        except Ended as end:
            await _say_goodbye(socket, end.code, end.sentence)
        except (WebSocketDisconnect, RuntimeError):
            pass  # the page is gone; RuntimeError: sending on a closed socket
        except Exception:
            log.exception("a live session failed")
            await _say_goodbye(socket, CLOSE_FAULT, "Live failed for a reason of ours; press Start to try again.")

    def _take_place(self, visitor: str) -> asyncio.Event:
        """A visitor has one place: a second page, or a reconnection, takes it over from the first, which sees the event."""
        older = self._sessions.get(visitor)
        if older is None and len(self._sessions) >= self.places:
            raise Ended(
                CLOSE_BUSY, f"{self.places} people use Live now, and that is all this server can do; try again in a minute."
            )
        taken_over = self._sessions[visitor] = asyncio.Event()
        if older is not None:
            older.set()
        return taken_over

    async def _run(self, socket: WebSocket, taken_over: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        reader = await loop.run_in_executor(self._thread, LiveReader, self.analyzer)
        await socket.send_text(json.dumps({"type": "ready", "session_s": self.session_s}))
        inbox = Inbox()
        parts = (
            _receive(socket, inbox),
            self._work(socket, inbox, reader),
            self._watch(inbox),
            _end_when_taken_over(taken_over),
        )
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            done.pop().result()  # raises how it ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # seen: the first one to end said why

    async def _work(self, socket: WebSocket, inbox: Inbox, reader: LiveReader) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await inbox.filled.wait()
            wish, frame, sounds = inbox.take()
            try:
                reading, spent_s = await loop.run_in_executor(self._thread, _step, reader, wish, inbox.rate, frame, sounds)
            except LiveError as error:
                raise Ended(CLOSE_BAD, str(error)) from None
            if frame is not None or reading.fresh or wish:
                await socket.send_text(json.dumps(_as_message(reading, frame, inbox, spent_s)))

    async def _watch(self, inbox: Inbox) -> None:
        """Ends a session that is over its time, or whose visitor sends nothing any more."""
        until = time.monotonic() + self.session_s
        while time.monotonic() < until:
            await asyncio.sleep(min(1.0, self.idle_s / 4, self.session_s / 4))
            if time.monotonic() - inbox.heard_at > self.idle_s:
                raise Ended(CLOSE_END, f"Nothing arrived for {self.idle_s:.0f} s, so Live stopped; press Start to go on.")
        minutes = f"{self.session_s / 60:.0f} minutes"
        raise Ended(CLOSE_END, f"Live stops after {minutes}, so that everyone gets a turn; press Start to go on.")


async def _end_when_taken_over(taken_over: asyncio.Event) -> None:
    await taken_over.wait()
    raise Ended(CLOSE_END, "Live goes on in the page that you opened last.")


async def _receive(socket: WebSocket, inbox: Inbox) -> None:
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        inbox.heard_at = time.monotonic()
        if message.get("text") is not None:
            inbox.put_text(message["text"][:1000])
        else:
            inbox.put_bytes(message["bytes"])


def _step(
    reader: LiveReader,
    wish: str | None,
    rate: int,
    frame: tuple[int, float, bytes] | None,
    sounds: list[tuple[float, bytes]],
) -> tuple[LiveReading, float]:
    """What the live thread does for one visitor: wish, sound that arrived, newest frame, reading; and seconds spent."""
    began = time.perf_counter()
    if wish == "learn":
        reader.learn()
    elif wish == "forget":
        reader.forget()
    for at_ms, payload in sounds:
        reader.hear(np.frombuffer(payload, "<f4"), rate, at_ms / 1000)
    if frame is not None:
        _, captured_ms, data = frame
        reader.see(decode_jpeg(data), captured_ms / 1000)
    return reader.read(), time.perf_counter() - began


def _as_message(
    reading: LiveReading, frame: tuple[int, float, bytes] | None, inbox: Inbox, spent_s: float
) -> dict[str, Any]:
    verdict = reading.verdict
    return {
        "type": "reading",
        "sequence": frame[0] if frame else None,
        "captured_ms": frame[1] if frame else None,
        "seen_ms": reading.seen_s * 1000 if math.isfinite(reading.seen_s) else None,
        "box": None if reading.box is None else [round(float(v), 1) for v in reading.box],
        "frame": reading.frame_size,
        **{name: None if p is None else [round(float(v), 4) for v in p] for name, p in reading.probabilities.items()},
        "why": reading.why,
        "verdict": verdict
        and {
            "label": verdict.label,
            "confidence": round(verdict.confidence, 4),
            "abstained": verdict.abstained,
            "reason": verdict.reason,
            "threshold": verdict.threshold,
            "held_s": round(reading.held_s, 2),
        },
        "level_db": None if reading.level_db is None else round(reading.level_db, 1),
        "voiced": reading.voiced,
        "learning": None if reading.learning is None else round(reading.learning, 3),
        "learned": reading.learned,
        "baseline": reading.baseline,
        "received": inbox.received,
        "dropped": inbox.dropped,
        "server_ms": round(spent_s * 1000, 1),
    }


async def _say_goodbye(socket: WebSocket, code: int, sentence: str) -> None:
    try:
        await socket.send_text(json.dumps({"type": "end", "code": code, "sentence": sentence}))
        await socket.close(code)
    except (RuntimeError, WebSocketDisconnect):
        pass  # the page left first


def _use_one_core() -> None:
    """One crop is too little work for two cores: handing out its pieces, with other work about, took 5 to 80 times as long.

    torch keeps the number of threads per thread but also remembers the last one set for threads to come, so another
    thread sets that back.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with ThreadPoolExecutor(1) as other:
        other.submit(torch.set_num_threads, before).result()


def add_live_route(app: FastAPI, services: Services) -> LiveRoom:
    """Adds the WebSocket `/api/live`. Origin and cookie were checked by the guard, which leaves the visitor's token."""
    room = LiveRoom(services.analyzer)

    @app.websocket("/api/live")
    async def live(socket: WebSocket) -> None:
        await room.serve(socket, socket.state.visitor)

    return room


def live_page(services: Services) -> None:
    """The page, inside an open Blocks or route."""
    theme.markup(page_markup(services), js_on_load="import('/static/js/live.js').then(page => page.start(element))")


def page_markup(services: Services) -> str:
    """The page's HTML. Numbers and names in it come from the code that reads."""
    template = Template((Path(__file__).parent / "live.html").read_text(encoding="utf-8"))
    emotions = [{"name": e.name, "letter": e.letter, "dash": e.dash, "icon": e.icon} for e in EMOTIONS.values()]
    facts = {
        "emotions": emotions,
        "window_s": WINDOW_S,
        "smoothing_s": SMOOTHING_S,
        "clear_gap": CLEAR_GAP,
        "model_id": services.analyzer.model_id,
    }
    bars = "".join(
        f'<div class="em-{name}" data-label="{name}"><span class="lab">{look.icon(name)}{name}</span>'
        '<span class="bar lo"><i style="--v:0"></i><span data-value></span></span></div>'
        for name in LABELS
    )
    return template.substitute(
        facts=escape(json.dumps(facts)),
        **{f"icon_{name}": look.icon(name) for name in look.ICONS},
        bars=bars,
        window=f"{WINDOW_S:g}",
        smoothing=f"{SMOOTHING_S:g}",
        learn=f"{LEARN_S:g}",
        minutes=f"{SESSION_S / 60:.0f}",
        places=MAX_SESSIONS,
    )

"""The decoding process: PyAV and Pillow behind limits on memory and time.

It is started apart from the caller's program and imports nothing of it. Standard output is the channel, so whatever a
library prints goes nowhere.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .channel import Channel, Refusal, Stopped
from .opening import AGAIN, starved
from .pictures import send_frames
from .probe import probe
from .sound import send_sound


def confine(limits: dict[str, Any]) -> None:
    """Memory and processor time of this call, enforced by the kernel."""
    import resource

    for what, value in (
        (resource.RLIMIT_AS, limits["memory_bytes"]),
        (resource.RLIMIT_CPU, int(time.process_time() + limits["seconds"] * (os.cpu_count() or 1)) + 10),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS refuses RLIMIT_AS
            resource.setrlimit(what, (value, resource.getrlimit(what)[1]))


def follow_parent(read_fd: int) -> None:
    """End with the parent, also in the middle of a decoder that never returns."""
    poller = select.poll()
    poller.register(read_fd, 0)  # only the hang-up, never the data
    while not any(event & (select.POLLHUP | select.POLLERR | select.POLLNVAL) for _, event in poller.poll()):
        time.sleep(0.1)
    os._exit(0)


def answer(request: dict[str, Any], channel: Channel) -> bool:
    """Serve one request; False when the process should not serve another."""
    channel.request_id, channel.spoken = request["id"], time.monotonic()
    try:
        confine(request["limits"])
        channel.send({"kind": "end", **OPERATIONS[request["op"]](request, channel)})
    except Stopped:
        channel.send({"kind": "end", "warnings": []})
    except Refusal as refusal:
        channel.send({"kind": "error", "text": str(refusal)})
    except (BrokenPipeError, EOFError):
        return False
    except Exception as error:  # a damaged file raises anything: the process goes, the sentence stays
        short = isinstance(error, MemoryError) or starved()
        confine({**request["limits"], "memory_bytes": -1})  # telling it takes memory too
        text = f"This file is damaged and cannot be read; {AGAIN}."
        if short:
            allowed = request["limits"]["memory_bytes"] / 1e9
            text = f"This file needs more than {allowed:.2g} GB of memory to decode; {AGAIN}, smaller."
        channel.send({"kind": "error", "text": text, "last": True, "detail": repr(error)[:300]})
        return False
    return True


OPERATIONS: dict[str, Callable[[dict[str, Any], Channel], dict[str, Any]]] = {
    "warm": lambda request, channel: {},
    "probe": lambda request, channel: {"record": probe(request, channel)},
    "frames": lambda request, channel: {"warnings": send_frames(request, channel)},
    "sound": lambda request, channel: {"warnings": send_sound(request, channel)},
}


def main() -> None:
    read_fd, write_fd = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which closes our input
    threading.Thread(target=follow_parent, args=(read_fd,), daemon=True).start()
    channel = Channel(read_fd, write_fd)
    try:
        import av
        import numpy  # noqa: F401 - paid now, not in the first request
    except ImportError as error:
        channel.send({"kind": "error", "text": f"Media cannot be read: {error}; install requirements.txt.", "last": True})
        sys.exit(1)
    av.logging.set_level(av.logging.PANIC)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            request = channel.line()
            if "stop" not in request and not answer(request, channel):
                break
    os._exit(0)

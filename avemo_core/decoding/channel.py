"""The line between the decoding process and the program that asks it.

A request is one JSON line. A reply is two lengths (JSON, payload), the JSON, and the raw bytes of an array. A request is
stopped by `{"stop": id}`.
"""

import json
import os
import select
import struct
import time
from typing import Any

HEADER = struct.Struct("<IQ")
BEAT_S = 0.25  # a working process is heard at least this often


class Refusal(Exception):  # noqa: N818 - not a fault of the program
    """One sentence for the person who gave the file."""


class Stopped(Exception):  # noqa: N818
    """The parent no longer wants the answer."""


class Channel:
    """Requests in, replies out, and the question whether the parent still wants the current one."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        self.buffer = b""
        self.request_id = -1
        self.spoken = 0.0
        self.poller = select.poll()
        self.poller.register(read_fd, select.POLLIN)

    def line(self) -> dict[str, Any]:
        while b"\n" not in self.buffer:
            data = os.read(self.read_fd, 65536)
            if not data:
                raise EOFError
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def send(self, message: dict[str, Any], payload: Any = b"") -> None:
        body = json.dumps(message).encode()
        view = memoryview(payload).cast("B") if len(payload) else memoryview(b"")
        head = HEADER.pack(len(body), len(view)) + body
        while head:
            head = head[os.write(self.write_fd, head) :]
        while view:
            view = view[os.write(self.write_fd, view) :]
        self.spoken = time.monotonic()

    def beat(self, done_s: float) -> None:
        """Say where we are now and then; leave the work when the parent asked to."""
        if self.poller.poll(0) and self.line().get("stop") == self.request_id:
            raise Stopped
        if time.monotonic() - self.spoken > BEAT_S:
            self.send({"kind": "progress", "done_s": done_s})

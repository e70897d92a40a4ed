"""The picture track -> upright RGB arrays on a grid of times."""

import math
import struct
from collections.abc import Iterator
from typing import Any

from .channel import Channel, Refusal
from .opening import AGAIN, decoded, frame_time, guard, open_media, pick, seconds, sniff, too_large, too_long
from .stills import load_image, shrunk

CHUNK_BYTES = 8 << 20
CHUNK_FRAMES = 32

# (swap the axes, then mirror left-right, then mirror top-bottom) -> degrees clockwise of that turn
TURNS = {
    (False, False, False): 0,
    (False, True, True): 180,
    (True, True, False): 90,
    (True, False, True): 270,
    (False, True, False): 0,  # from here on also mirrored
    (False, False, True): 180,
    (True, False, False): 90,
    (True, True, True): 270,
}


def orientation(frame: Any, stream: Any) -> tuple[bool, bool, bool]:
    """Key of TURNS that makes this frame upright: the display matrix, or the older `rotate` tag."""
    for data in frame.side_data:
        if data.type.name == "DISPLAYMATRIX" and data.buffer_size >= 36:
            a, b, _, c, d = struct.unpack("<5i", bytes(data)[:20])
            # A point (x, y) goes to (ax + cy, bx + dy); only the eight quarter turns and mirrors are applied.
            if max(abs(a), abs(d)) >= max(abs(b), abs(c)):
                return False, a < 0, d < 0
            return True, c < 0, b < 0
    tag = {key.lower(): value for key, value in stream.metadata.items()}.get("rotate", "0")
    quarter = {"90": 90, "180": 180, "-180": 180, "270": 270, "-90": 270}.get(tag.strip(), 0)
    return next(turn for turn, degrees in TURNS.items() if degrees == quarter)


def display_size(frame: Any, stream: Any) -> tuple[int, int]:
    """(width, height) with square pixels, before turning."""
    ratio = float(stream.sample_aspect_ratio or 1)
    return (max(1, round(frame.width * ratio)) if 0.2 < ratio < 5 else frame.width), frame.height


def upright(frame: Any, stream: Any) -> tuple[int, int, tuple[bool, bool, bool]]:
    turn = orientation(frame, stream)
    width, height = display_size(frame, stream)
    return (height, width, turn) if turn[0] else (width, height, turn)


class Pictures:
    """Turns decoded frames into upright RGB arrays of one size, whatever the stream changes to in between."""

    def __init__(self, frame: Any, stream: Any, request: dict[str, Any]) -> None:
        self.stream, self.turn = stream, orientation(frame, stream)
        self.max_pixels = request["limits"]["max_pixels"]
        width, height, _ = upright(frame, stream)
        self.width, self.height = shrunk(width, height, request["max_side"])

    def array(self, frame: Any) -> Any:
        """uint8 [H,W,3]."""
        import numpy as np

        if frame.width * frame.height > self.max_pixels:
            raise Refusal(too_large(frame.width, frame.height, {"max_pixels": self.max_pixels}))
        swap, flip_x, flip_y = self.turn
        width, height = (self.height, self.width) if swap else (self.width, self.height)
        own_w, own_h = display_size(frame, self.stream)
        scale = min(width / own_w, height / own_h)
        w, h = max(1, round(own_w * scale)), max(1, round(own_h * scale))
        if abs(w - width) <= 2 and abs(h - height) <= 2:
            w, h = width, height
        # "AREA" takes every source pixel into account, so that small faces survive the shrinking.
        how = "AREA" if w < frame.width else "BILINEAR"
        rgb = frame.reformat(width=w, height=h, format="rgb24", interpolation=how, threads=1).to_ndarray()
        if (w, h) != (width, height):  # the recording changed its shape: keep proportions, fill up with black
            whole = np.zeros((height, width, 3), np.uint8)
            top, left = (height - h) // 2, (width - w) // 2
            whole[top : top + h, left : left + w] = rgb
            rgb = whole
        if swap:
            rgb = rgb.transpose(1, 0, 2)
        return np.ascontiguousarray(rgb[:: -1 if flip_y else 1, :: -1 if flip_x else 1])


def sampled(container: Any, stream: Any, request: dict[str, Any], channel: Channel, damage: list[int]) -> Iterator[Any]:
    """(uint8 [H,W,3], seconds): for each time of the grid the newest frame at or before it."""
    every, limit = request["every_s"], request["limits"]["max_duration_s"]
    pictures: Any = None
    held = image = None
    origin = held_s = length = 0.0
    k = emitted = 0
    for frame in decoded(container, stream, damage, channel):
        raw = frame_time(frame, stream)
        if raw is None:
            raw = origin + held_s + length  # no time of its own: after the one before
        if pictures is None:
            origin = raw - request["start_s"]
            pictures = Pictures(frame, stream, request)
            k = max(0, math.ceil((request["start_s"] - 1e-3) / every))
        at = raw - origin
        if at > limit:
            raise Refusal(too_long(at, request["limits"]))
        if held is not None and at < held_s:
            continue  # a damaged clock running backwards
        while held is not None and k * every < at - 1e-3:  # containers round to a millisecond
            image = pictures.array(held) if image is None else image
            yield image, k * every
            k += 1
            emitted += 1
        length = at - held_s if held is not None and at > held_s else length
        held, held_s, image = frame, at, None
    if held is None:
        return
    last = (
        seconds(getattr(held, "duration", 0) or 0, held.time_base or stream.time_base)
        or length
        or 1 / float(stream.average_rate or 25)
    )
    end = min(held_s + min(last, 60.0), limit)
    while k * every < end - 1e-3 or not emitted:
        image = pictures.array(held) if image is None else image
        yield image, (k * every if k * every < end - 1e-3 else held_s)
        k += 1
        emitted += 1


def send_frames(request: dict[str, Any], channel: Channel) -> list[str]:
    import numpy as np

    with open(request["path"], "rb") as file:
        head = file.read(4096)
    if kind := sniff(head):
        image = load_image(request["path"], kind, request["max_side"], request["limits"])
        channel.send({"kind": "chunk", "shape": [1, *image.shape], "times": [0.0], "done_s": 0.0}, image)
        return []
    damage, count = [0], 0
    with open_media(request["path"], head) as container:
        stream = pick(container)[0]
        if stream is None:
            raise Refusal(f"This file no longer holds the picture it held before; {AGAIN}.")
        guard(stream.codec_context, request["limits"])
        batch: Any = None
        times: list[float] = []
        for image, at in sampled(container, stream, request, channel, damage):
            if batch is None:
                batch = np.empty((min(CHUNK_FRAMES, max(1, CHUNK_BYTES // image.nbytes)), *image.shape), np.uint8)
            batch[len(times)] = image
            times.append(at)
            count += 1
            if len(times) == len(batch):
                channel.send({"kind": "chunk", "shape": list(batch.shape), "times": times, "done_s": at}, batch)
                times = []
        if times:
            part = batch[: len(times)]
            channel.send({"kind": "chunk", "shape": list(part.shape), "times": times, "done_s": times[-1]}, part)
    if not count:
        raise Refusal(f"The picture of this file cannot be decoded; {AGAIN}.")
    return [f"{damage[0]} damaged stretches of the picture were passed over."] if damage[0] else []

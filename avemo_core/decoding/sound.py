"""A sound track of any rate, format and number of channels -> mono at one rate, without holes."""

from collections.abc import Iterator
from typing import Any

from .channel import Channel, Refusal
from .opening import AGAIN, decoded, frame_time, guard, open_media, pick, too_long

SOUND_CHUNK_S = 10
GAP_S = 0.1  # shorter jumps between packets are rounding of the container's clock


class Mono:
    """Any sound frames -> float32 mono at `rate` Hz; the format may change on the way."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.resampler: Any = None
        self.shape: tuple[Any, ...] = ()
        self.bad = 0

    def feed(self, frame: Any) -> list[Any]:
        import av

        shape = (frame.format.name, frame.layout.name, frame.layout.nb_channels, frame.sample_rate)
        out = []
        if shape != self.shape:
            out = self.flush()
            self.resampler, self.shape = (
                # The option makes channels an average; without it two loud ones add up to more than full scale.
                av.AudioResampler(format="flt", layout="mono", rate=self.rate, options={"rematrix_maxval": "1.0"}),
                shape,
            )
        frame = self.finite(frame)
        frame.pts = None  # its own clock is applied by the caller; jumps in it must not reach the filter
        return out + [f.to_ndarray()[0] for f in self.resampler.resample(frame)]

    def flush(self) -> list[Any]:
        return [f.to_ndarray()[0] for f in self.resampler.resample(None)] if self.resampler else []

    def finite(self, frame: Any) -> Any:
        """NaN and infinite samples to 0 before a filter spreads them."""
        import av
        import numpy as np

        if not frame.format.name.startswith(("flt", "dbl")):
            return frame
        values = frame.to_ndarray()
        bad = ~np.isfinite(values)
        if not bad.any() and np.abs(values).max(initial=0.0) < 1e6:
            return frame
        self.bad += int(bad.sum())
        values = np.clip(np.where(bad, 0, values), -1, 1).astype(values.dtype)
        clean = av.AudioFrame.from_ndarray(np.ascontiguousarray(values), format=frame.format.name, layout=frame.layout.name)
        clean.sample_rate, clean.time_base = frame.sample_rate, frame.time_base
        return clean


def waves(container: Any, stream: Any, request: dict[str, Any], channel: Channel, notes: dict[str, Any]) -> Iterator[Any]:
    """float32 [n] pieces without holes: a gap in the packets' times is filled with silence, an overlap is cut."""
    import numpy as np

    rate = request["rate"]
    mono, origin, fed = Mono(rate), None, 0.0  # fed: seconds of sound since the first sample
    limit = request["limits"]["max_duration_s"]
    for frame in decoded(container, stream, notes["damage"], channel):
        if not frame.sample_rate or not frame.samples:
            continue
        raw = frame_time(frame, stream)
        if origin is None:
            origin = raw if raw is not None else 0.0
        length = frame.samples / frame.sample_rate
        jump = (raw - origin - fed) if raw is not None else 0.0
        if jump + fed > limit or fed + length > limit:
            raise Refusal(too_long(max(jump, 0.0) + fed + length, request["limits"]))
        if jump > GAP_S:
            yield from mono.flush()
            mono = Mono(rate)
            yield np.zeros(round(jump * rate), np.float32)
            notes["gaps"] += 1
            fed += jump
        elif jump < -max(GAP_S, length):
            continue  # said before: a damaged or repeated packet
        yield from mono.feed(frame)
        notes["bad"] += mono.bad
        mono.bad = 0
        fed += length
    yield from mono.flush()


def readable_sound(request: dict[str, Any], head: bytes, channel: Channel) -> int:
    """Place of the wanted track among the file's sound tracks: a Clip counts only those that decode."""
    wanted, number = request["track"], 0
    while True:
        with open_media(request["path"], head) as container:
            sounds = pick(container)[1]
            if number >= len(sounds):
                raise Refusal(f"This file no longer holds the sound it held before; {AGAIN}.")
            if len(sounds) == 1:
                return 0
            guard(sounds[number].codec_context, request["limits"])
            if next(decoded(container, sounds[number], [0], channel), None) is not None:
                wanted -= 1
        if wanted < 0:
            return number
        number += 1


def send_sound(request: dict[str, Any], channel: Channel) -> list[str]:
    import numpy as np

    notes: dict[str, Any] = {"damage": [0], "gaps": 0, "bad": 0}
    rate, sent, waiting = request["rate"], 0, 0
    most = max(1, round((request["end_s"] - request["start_s"]) * rate))
    pending: list[Any] = []
    with open(request["path"], "rb") as file:
        head = file.read(4096)

    def flush() -> None:
        nonlocal sent, pending, waiting
        wave = np.clip(np.concatenate(pending), -1, 1).astype(np.float32, copy=False)
        wave = wave[: max(0, most - sent)]  # encoders fill up their last block
        if not len(wave):
            return
        done_s = request["start_s"] + (sent + len(wave)) / rate
        channel.send({"kind": "chunk", "start_s": request["start_s"] + sent / rate, "done_s": done_s}, wave)
        sent, pending, waiting = sent + len(wave), [], 0

    number = readable_sound(request, head, channel)
    with open_media(request["path"], head) as container:
        stream = pick(container)[1][number]
        guard(stream.codec_context, request["limits"])
        for wave in waves(container, stream, request, channel, notes):
            pending.append(wave)
            waiting += len(wave)
            if waiting >= SOUND_CHUNK_S * rate:
                flush()
        if waiting:
            flush()
    if not sent:
        raise Refusal(f"The sound of this file cannot be decoded; {AGAIN}.")
    warnings = []
    if notes["damage"][0]:
        warnings.append(f"{notes['damage'][0]} damaged stretches of the sound were passed over.")
    if notes["gaps"]:
        warnings.append(f"The sound has {notes['gaps']} holes; they were read as silence.")
    if notes["bad"]:
        warnings.append(f"{notes['bad']} sound samples are not numbers (NaN or infinite); they were set to 0.")
    return warnings

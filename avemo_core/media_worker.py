"""The process that opens files nobody vouches for: PyAV and Pillow behind limits on memory and time.

media.py starts this file as a script (`python -P media_worker.py`), so it imports nothing of the package and nothing of the
caller's program. One JSON line on standard input is a request; replies on standard output are framed as two lengths
(JSON, payload), the JSON, and the raw bytes of an array. A request is stopped by `{"stop": id}`. Standard output is a
private channel: whatever a library prints goes to standard error, which the parent throws away.
"""

import contextlib
import json
import math
import os
import select
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RATE = 16_000  # Hz, mono, what every voice branch reads
HEADER = struct.Struct("<IQ")
BEAT_S = 0.25  # a working process is heard at least this often
CHUNK_BYTES = 8 << 20
CHUNK_FRAMES = 32
SOUND_CHUNK_S = 10
GAP_S = 0.1  # shorter jumps between packets are rounding of the container's clock
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,wav,mp3,flac,ogg,aac"  # no playlists: they open other files and hosts
FAMILIES = {
    "mov": (".mp4", ".mov", ".m4v", ".m4a", ".m4b", ".qt", ".3gp", ".3g2"),
    "matroska": (".webm", ".mkv", ".mka"),
    "avi": (".avi",),
    "wav": (".wav", ".wave"),
    "mp3": (".mp3",),
    "flac": (".flac",),
    "ogg": (".ogg", ".oga", ".ogv", ".opus"),
    "aac": (".aac",),
    "jpeg": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "png": (".png", ".apng"),
    "webp": (".webp",),
    "gif": (".gif",),
    "bmp": (".bmp",),
    "tiff": (".tif", ".tiff"),
    "avif": (".avif",),
}
EXPECTED = "expected a video (mp4, mov, webm, mkv, avi), a sound (wav, mp3, flac, ogg, m4a) or a picture (jpg, png, webp)"
AGAIN = "export or record it again"


class Refusal(Exception):  # noqa: N818 - not a fault of the program
    """One sentence for the person who gave the file."""


class Stopped(Exception):  # noqa: N818
    """The parent no longer wants the answer."""


@dataclass
class Track:
    """What the packets of one stream say, read without decoding them, and its first decoded frame."""

    stream: Any
    packets: int = 0
    first_s: float = math.inf  # least packet time
    last_s: float = -math.inf  # greatest packet time
    end_s: float = -math.inf
    frame: Any = None  # first frame that decodes
    fed: int = 0  # packets given to the decoder for it
    nan: int = 0
    loud: int = 0


# ---------------------------------------------------------------- the channel to the parent


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


# ---------------------------------------------------------------- opening


def sniff(head: bytes) -> str | None:
    """Which picture format these first bytes are, or None."""
    marks = (
        (b"\xff\xd8\xff", "jpeg"),
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"GIF8", "gif"),
        (b"BM", "bmp"),
        (b"II*\0", "tiff"),
        (b"MM\0*", "tiff"),
    )
    for mark, name in marks:
        if head.startswith(mark):
            return name
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "avif"
    if head[4:8] == b"ftyp" and head[8:12] in (b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1"):
        raise Refusal("This is a HEIC photo, which is not read here; save it as JPEG and send that.")
    return None


def looks_like(head: bytes) -> str:
    """A few words on bytes that hold no media."""
    known = (
        (b"%PDF", "a PDF document"),
        (b"PK\x03\x04", "a zip archive or an office document"),
        (b"\x7fELF", "a program"),
        (b"MZ", "a program"),
        (b"#EXTM3U", "a playlist"),
        (b"<", "a web page or other markup"),
    )
    for mark, words in known:
        if head.lstrip().startswith(mark):
            return words
    if not head.strip(b"\0"):
        return "nothing but zero bytes"
    with contextlib.suppress(UnicodeDecodeError):
        if head[:400].decode().isprintable() or b"\n" in head[:400]:
            return "plain text"
    return "bytes of no known kind"


def open_media(path: str, head: bytes) -> Any:
    """An opened container, by its content, from this one local file only."""
    import av

    try:
        return av.open(
            "file:" + path,
            container_options={"format_whitelist": DEMUXERS, "protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError, OSError, IndexError) as error:
        if head[4:8] in (b"ftyp", b"mdat", b"moov", b"wide", b"free", b"skip"):
            raise Refusal(
                "This mp4 or mov cannot be opened: its index (moov) is missing or broken, as when a recording or an upload "
                f"was cut off; {AGAIN}."
            ) from error
        for mark, name in ((b"\x1aE\xdf\xa3", "webm or mkv"), (b"RIFF", "wav or avi"), (b"OggS", "ogg"), (b"fLaC", "flac")):
            if head.startswith(mark):
                raise Refusal(f"This {name} file is broken: its header cannot be read; {AGAIN}.") from error
        raise Refusal(f"This is not a media file: it holds {looks_like(head)}; {EXPECTED}.") from error


def container_name(container: Any, head: bytes) -> tuple[str, str]:
    """(family, what a person calls it)."""
    family = container.format.name.split(",")[0]
    if family == "matroska":
        return family, "webm" if b"webm" in head[:64] else "mkv"
    if family == "mov":
        brand = head[8:12] if head[4:8] == b"ftyp" else b"qt  "
        return family, {b"qt  ": "mov", b"M4A ": "m4a", b"M4B ": "m4a"}.get(brand, "3gp" if brand[:2] == b"3g" else "mp4")
    return family, family


def pick(container: Any) -> tuple[Any | None, list[Any], list[str]]:
    """(the picture track, the sound tracks, warnings). Cover art is no picture track."""
    warnings = []
    videos, sounds = [], []
    for stream in container.streams:
        if stream.type not in ("video", "audio"):
            continue
        if stream.type == "video" and stream.disposition & (
            stream.disposition.attached_pic | stream.disposition.timed_thumbnails
        ):
            continue
        if stream.codec_context is None:
            what = "picture" if stream.type == "video" else "sound"
            warnings.append(f"A {what} track in an unknown coding was left out.")
            continue
        (videos if stream.type == "video" else sounds).append(stream)
    # Chapter pictures are video tracks too: the default and largest one is the film.
    videos.sort(key=lambda s: (not s.disposition & s.disposition.default, -(s.width or 0) * (s.height or 0)))
    if len(videos) > 1:
        warnings.append(f"The file holds {len(videos)} picture tracks; the main one is read.")
    if len(sounds) > 1:
        warnings.append(f"The file holds {len(sounds)} sound tracks; the first one is read.")
    return (videos[0] if videos else None), sounds, warnings


def seconds(stamp: int | None, base: Any) -> float | None:
    return None if stamp is None else float(stamp * base)


def frame_time(frame: Any, stream: Any) -> float | None:
    """Seconds on the file's own clock; AVI has decoding times only, and the decoder's last frames lack their base."""
    base = frame.time_base or stream.time_base
    return seconds(frame.pts if frame.pts is not None else frame.dts, base) if base else None


# ---------------------------------------------------------------- what is in the file


def scan(container: Any, tracks: dict[int, Track], limits: dict[str, Any], channel: Channel) -> bool:
    """Read every packet's time, decode each track up to its first frame; False when reading broke off.

    The header's duration may be absent (MediaRecorder) or a lie, so the packets decide.
    """
    import av

    whole = True
    packets = container.demux([track.stream for track in tracks.values()])
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            break
        except av.error.FFmpegError:
            whole = False
            break
        track = tracks[packet.stream_index]
        if packet.size:
            note(track, packet)
            if track.end_s - min(t.first_s for t in tracks.values()) > limits["max_duration_s"]:
                raise Refusal(too_long(track.end_s, limits))
        if track.frame is None:
            first_frame(track, packet, limits)
        if track.stream.type == "audio" and track.stream.codec_context.name.startswith("pcm_f") and packet.size:
            audit(track, packet)
        channel.beat(max(0.0, track.last_s if math.isfinite(track.last_s) else 0.0))
    return whole


def note(track: Track, packet: Any) -> None:
    stream, base = track.stream, packet.time_base
    at = seconds(packet.pts if packet.pts is not None else packet.dts, base)
    length = seconds(packet.duration, base) or 0.0
    if at is None:
        at = track.end_s if track.packets else 0.0
    if not length and stream.type == "video" and stream.average_rate:
        length = 1 / float(stream.average_rate)
    track.packets += 1
    track.first_s = min(track.first_s, at)
    track.last_s = max(track.last_s, at)
    track.end_s = max(track.end_s, at + min(length, 60.0))


def first_frame(track: Track, packet: Any, limits: dict[str, Any]) -> None:
    """Keep the first frame that decodes, so that a reading later does not discover that there is none."""
    import av

    context = track.stream.codec_context
    if not track.fed:
        guard(context, limits, threads=1)
    if track.fed > 400 and packet.size:  # a dozen seconds in which nothing decodes
        return
    track.fed += 1
    try:
        frames = context.decode(packet if packet.size else None)
    except MemoryError:
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        if starved(track.stream):
            raise MemoryError from error
        return
    if frames:
        track.frame = frames[0]


def guard(context: Any, limits: dict[str, Any], threads: int) -> None:
    """Set what a decoder may allocate before it opens."""
    context.thread_count = threads
    context.thread_type = "AUTO" if threads > 1 else "NONE"
    context.options = {"max_pixels": str(limits["max_pixels"])}


def audit(track: Track, packet: Any) -> None:
    """Count the samples of a floating-point track that are no numbers, or over full scale."""
    import numpy as np

    kind = np.dtype("f4" if "f32" in track.stream.codec_context.name else "f8")
    kind = kind.newbyteorder("<" if track.stream.codec_context.name.endswith("le") else ">")
    data = bytes(packet)
    values = np.frombuffer(data[: len(data) - len(data) % kind.itemsize], kind)
    finite = np.isfinite(values)
    track.nan += int((~finite).sum())
    with np.errstate(invalid="ignore"):
        track.loud += int((np.abs(values[finite]) > 1.0 + 1e-6).sum())


def too_long(found_s: float, limits: dict[str, Any]) -> str:
    return (
        f"This file is {clock(found_s)} long, and at most {clock(limits['max_duration_s'])} are read; "
        "cut it into shorter clips and send those."
    )


def clock(value_s: float) -> str:
    if value_s < 90:
        return f"{value_s:.3g} s"
    return f"{value_s / 60:.3g} minutes" if value_s < 5400 else f"{value_s / 3600:.3g} hours"


def probe(request: dict[str, Any], channel: Channel) -> dict[str, Any]:
    """The record of what is in the file, as plain values."""
    path, limits = request["path"], request["limits"]
    with open(path, "rb") as file:
        head = file.read(4096)
    if kind := sniff(head):
        from_image = probe_image(path, kind, limits)
        from_image["warnings"] += misnamed(path, kind, kind)
        return from_image
    with open_media(path, head) as container:
        return probe_media(container, path, head, limits, channel)


def probe_media(container: Any, path: str, head: bytes, limits: dict[str, Any], channel: Channel) -> dict[str, Any]:
    family, name = container_name(container, head)
    video, sounds, warnings = pick(container)
    warnings = misnamed(path, family, name) + warnings
    if video is None and not sounds:
        raise Refusal(f"This {name} file holds neither a picture track nor a sound track that can be read; {EXPECTED}.")
    declared_s = max((container.duration or 0) / 1e6, declared_by_wav(head) if family == "wav" else 0)
    if declared_s > limits["max_duration_s"]:
        raise Refusal(too_long(declared_s, limits))
    if video is not None and video.width * video.height > limits["max_pixels"]:
        raise Refusal(too_large(video.width, video.height, limits))
    if family == "avi" and video is not None and video.average_rate:  # its length is in frames
        declared_s = max(declared_s, video.frames / float(video.average_rate))
        if declared_s > limits["max_duration_s"]:
            raise Refusal(too_long(declared_s, limits))
    tracks = {s.index: Track(s) for s in ([video] if video else []) + sounds}
    whole = scan(container, tracks, limits, channel)
    readable = {i: t for i, t in tracks.items() if t.frame is not None and frame_time(t.frame, t.stream) is not None}
    for index, track in tracks.items():
        if index not in readable:
            what = "picture" if track.stream.type == "video" else "sound"
            why = "is empty" if not track.packets else "cannot be decoded"
            warnings.append(f"The {what} track {why}; the rest was read.")
    if not readable:
        empty = not any(t.packets for t in tracks.values())
        what = "picture" if video is not None and not sounds else "sound" if video is None else "picture and sound"
        found = f"its {what} track is 0 s long" if empty else f"its {what} cannot be decoded"
        raise Refusal(f"This {name} file holds nothing to read: {found}; {AGAIN}.")
    return describe(readable, video, sounds, name, declared_s, whole, warnings, limits, head)


def declared_by_wav(head: bytes) -> float:
    """Seconds that a WAV header promises; FFmpeg tells only what the file's size allows. 0 where it promises nothing."""
    form, data = head.find(b"fmt "), head.find(b"data")
    if form < 0 or data < 0 or len(head) < max(form + 24, data + 8):
        return 0.0
    (rate,), (size,) = struct.unpack_from("<I", head, form + 16), struct.unpack_from("<I", head, data + 4)
    return size / rate if rate and size < 0xFFFFFF00 else 0.0  # a stream of unknown length says the greatest number


def describe(
    tracks: dict[int, Track],
    video: Any,
    sounds: list[Any],
    name: str,
    declared_s: float,
    whole: bool,
    warnings: list[str],
    limits: dict[str, Any],
    head: bytes,
) -> dict[str, Any]:
    starts = {i: frame_time(t.frame, t.stream) or 0.0 for i, t in tracks.items()}
    origin = min(starts.values())
    end = max(t.end_s for t in tracks.values())
    duration = max(0.0, end - origin)
    if duration < limits["min_duration_s"]:
        raise Refusal(
            f"This clip is {duration:.2f} s long, and a reading needs at least {limits['min_duration_s']:g} s; "
            "record a longer one."
        )
    guessed = name == "aac" or (name == "mp3" and not any(mark in head for mark in (b"Xing", b"Info", b"VBRI")))
    reached = max(duration, end)  # ogg declares the end, others the length
    if (declared_s - reached > max(0.3, 0.03 * declared_s) and not guessed) or not whole:
        warnings.append(
            f"The file is cut off or damaged: {duration:.1f} s of {max(declared_s, duration):.1f} s could be read; "
            "the reading covers that part."
        )
    record: dict[str, Any] = {"container": name, "duration_s": duration, "warnings": warnings, "video": None, "audio": []}
    record["rotation"], record["is_image"] = 0, False
    if video is not None and video.index in tracks:
        track = tracks[video.index]
        width, height, turn = upright(track.frame, video)
        span = track.last_s - track.first_s
        rate = (track.packets - 1) / span if track.packets > 1 and span > 0 else float(video.average_rate or 0)
        record["video"] = [video.codec_context.name, width, height, rate, starts[video.index] - origin]
        record["rotation"] = TURNS[turn]
        if starts[video.index] - origin > 0.5:
            warnings.append(f"The picture starts {starts[video.index] - origin:.1f} s after the sound.")
    for stream in sounds:
        if stream.index not in tracks:
            continue
        track, start = tracks[stream.index], starts[stream.index] - origin
        record["audio"].append([stream.codec_context.name, track.frame.sample_rate, track.frame.layout.nb_channels, start])
        if start > GAP_S:
            warnings.append(f"The sound starts {start:.2f} s after the picture.")
        if track.nan:
            warnings.append(f"{track.nan} sound samples are not numbers (NaN or infinite); they were set to 0.")
        if track.loud:
            warnings.append(f"{track.loud} sound samples are over full scale; they were cut to it.")
    return record


def misnamed(path: str, family: str, name: str) -> list[str]:
    suffix = os.path.splitext(path)[1].lower()
    if not suffix or suffix in FAMILIES.get(family, ()):
        return []
    return [f"The file is named {suffix[:12]} but holds {name}; it was read as {name}."]


def too_large(width: int, height: int, limits: dict[str, Any]) -> str:
    return (
        f"This picture has {width * height / 1e6:.0f} megapixels ({width} x {height}), and at most "
        f"{limits['max_pixels'] / 1e6:.0f} are read; make it smaller and send it again."
    )


# ---------------------------------------------------------------- upright pictures

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


def shrunk(width: int, height: int, max_side: int) -> tuple[int, int]:
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


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


# ---------------------------------------------------------------- frames


def starved(stream: Any = None) -> bool:
    """Whether a decoder's complaint is about memory: several of them report that as damage in the file."""
    import resource

    allowed = resource.getrlimit(resource.RLIMIT_AS)[0]
    try:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return False  # no such file outside Linux
    pictures = 12 * stream.width * stream.height if stream is not None and stream.type == "video" else 0
    return allowed != resource.RLIM_INFINITY and used + max(pictures, 64 << 20) > allowed


def decoded(container: Any, stream: Any, damage: list[int], channel: Channel) -> Iterator[Any]:
    """Frames of a stream; packets that do not decode are counted in damage[0] and passed over."""
    import av

    packets = container.demux(stream)
    at = 0.0
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.error.FFmpegError:
            damage[0] += 1
            with contextlib.suppress(av.error.FFmpegError, ValueError):
                yield from stream.codec_context.decode(None)
            return
        try:
            frames = stream.codec_context.decode(packet)
        except MemoryError:
            raise
        except (av.error.FFmpegError, ValueError, OSError) as error:
            if starved(stream):
                raise MemoryError from error
            damage[0] += 1
            frames = []
        for frame in frames:
            at = frame_time(frame, stream) or at
            yield frame
        channel.beat(max(0.0, at))


def sampled(container: Any, stream: Any, request: dict[str, Any], channel: Channel, damage: list[int]) -> Iterator[Any]:
    """(uint8 [H,W,3], seconds): for each time of the grid the newest frame at or before it."""
    every, limit = request["every_s"], request["limits"]["max_duration_s"]
    origin = pictures = held = image = None
    held_s = length = 0.0
    k = emitted = 0
    for frame in decoded(container, stream, damage, channel):
        raw = frame_time(frame, stream)
        if raw is None:
            raw = (origin or 0.0) + held_s + length  # no time of its own: after the one before
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
        guard(stream.codec_context, request["limits"], threads=request["threads"])
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


# ---------------------------------------------------------------- sound


class Mono:
    """Any sound frames -> float32 mono at 16 kHz; the format may change on the way."""

    def __init__(self) -> None:
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
                av.AudioResampler(format="flt", layout="mono", rate=RATE, options={"rematrix_maxval": "1.0"}),
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

    mono, origin, fed = Mono(), None, 0.0  # fed: seconds of sound since the first sample
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
            mono = Mono()
            yield np.zeros(round(jump * RATE), np.float32)
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
            guard(sounds[number].codec_context, request["limits"], threads=1)
            if next(decoded(container, sounds[number], [0], channel), None) is not None:
                wanted -= 1
        if wanted < 0:
            return number
        number += 1


def send_sound(request: dict[str, Any], channel: Channel) -> list[str]:
    import numpy as np

    notes: dict[str, Any] = {"damage": [0], "gaps": 0, "bad": 0}
    sent, waiting = 0, 0
    most = max(1, round((request["end_s"] - request["start_s"]) * RATE))
    pending: list[Any] = []
    with open(request["path"], "rb") as file:
        head = file.read(4096)

    def flush() -> None:
        nonlocal sent, pending, waiting
        wave = np.clip(np.concatenate(pending), -1, 1).astype(np.float32, copy=False)
        wave = wave[: max(0, most - sent)]  # encoders fill up their last block
        if not len(wave):
            return
        done_s = request["start_s"] + (sent + len(wave)) / RATE
        channel.send({"kind": "chunk", "start_s": request["start_s"] + sent / RATE, "done_s": done_s}, wave)
        sent, pending, waiting = sent + len(wave), [], 0

    number = readable_sound(request, head, channel)
    with open_media(request["path"], head) as container:
        stream = pick(container)[1][number]
        guard(stream.codec_context, request["limits"], threads=1)
        for wave in waves(container, stream, request, channel, notes):
            pending.append(wave)
            waiting += len(wave)
            if waiting >= SOUND_CHUNK_S * RATE:
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


# ---------------------------------------------------------------- still images


def open_image(path: str, kind: str, limits: dict[str, Any]) -> Any:
    """A Pillow image of which only the header was read, within the pixel limit."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # the check below is ours, and comes before any pixel
    try:
        image = Image.open(path, formats=(kind.upper(),))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise Refusal(f"This picture is broken: its header cannot be read; {AGAIN}.") from error
    if image.width * image.height > limits["max_pixels"]:
        raise Refusal(too_large(image.width, image.height, limits))
    return image


def load_image(path: str, kind: str, max_side: int, limits: dict[str, Any]) -> Any:
    """uint8 [H,W,3], upright by its EXIF orientation, transparent parts on white."""
    import numpy as np
    from PIL import Image, ImageOps

    with open_image(path, kind, limits) as image:
        width, height = image.size
        target = shrunk(width, height, max_side)
        try:
            image.draft("RGB", target)  # a JPEG decodes at a fraction of its size
            image.load()
            picture = ImageOps.exif_transpose(image)
        except MemoryError:
            raise
        except Exception as error:  # Pillow's decoders raise whatever they meet
            raise Refusal(f"This picture is cut off or damaged and cannot be shown whole; {AGAIN}.") from error
        if picture.mode.startswith("I"):  # 16 bits a pixel
            picture = Image.fromarray((np.asarray(picture, np.int64).clip(0, 65535) >> 8).astype(np.uint8))
        if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
            picture = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
        picture = picture.convert("RGB")
        size = target[::-1] if (picture.width > picture.height) != (width > height) else target
        if picture.size != size and picture.size != size[::-1]:
            picture = picture.resize(size, Image.Resampling.BICUBIC, reducing_gap=2)
        return np.array(picture)


def probe_image(path: str, kind: str, limits: dict[str, Any]) -> dict[str, Any]:
    with open_image(path, kind, limits) as image:
        width, height = image.size
        turn = image.getexif().get(0x0112, 1)
        moving = getattr(image, "n_frames", 1) > 1 and kind != "jpeg"
    load_image(path, kind, 64, limits)
    if turn in (5, 6, 7, 8):
        width, height = height, width
    return {
        "container": kind,
        "duration_s": 0.0,
        "video": [kind, width, height, 0.0, 0.0],
        "audio": [],
        "rotation": {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}.get(turn, 0),
        "is_image": True,
        "warnings": ["The picture moves; only its first frame is read."] if moving else [],
    }


# ---------------------------------------------------------------- the process


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


if __name__ == "__main__":
    main()

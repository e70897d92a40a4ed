"""What is in a file: every packet's time, the first frame of every track, and what is wrong with it."""

import math
import struct
from dataclasses import dataclass
from typing import Any

from .channel import Channel, Refusal
from .opening import (
    AGAIN,
    EXPECTED,
    container_name,
    frame_time,
    guard,
    misnamed,
    open_media,
    pick,
    seconds,
    sniff,
    starved,
    too_large,
    too_long,
)
from .pictures import TURNS, orientation, upright
from .sound import GAP_S
from .stills import probe_image


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
    promised_s = promised(container, family, video, head)
    if promised_s > limits["max_duration_s"]:
        raise Refusal(too_long(promised_s, limits))
    if video is not None and video.width * video.height > limits["max_pixels"]:
        raise Refusal(too_large(video.width, video.height, limits))
    tracks = {s.index: Track(s) for s in ([video] if video else []) + sounds}
    whole = scan(container, tracks, limits, channel)
    readable = sift(tracks, name, warnings)
    starts = {i: frame_time(t.frame, t.stream) or 0.0 for i, t in readable.items()}
    origin, end_s = min(starts.values()), max(t.end_s for t in readable.values())
    duration_s = max(0.0, end_s - origin)
    if duration_s < limits["min_duration_s"]:
        least = f"a reading needs at least {limits['min_duration_s']:g} s"
        raise Refusal(f"This clip is {duration_s:.2f} s long, and {least}; record a longer one.")
    # Ogg promises the end, the others the length.
    if not whole or promised_s - max(duration_s, end_s) > max(0.3, 0.03 * promised_s):
        found = f"{duration_s:.1f} s of {max(promised_s, duration_s):.1f} s could be read"
        warnings.append(f"The file is cut off or damaged: {found}; the reading covers that part.")
    heard = [(readable[s.index], starts[s.index] - origin) for s in sounds if s.index in readable]
    seen = readable.get(video.index) if video is not None else None
    return {
        "container": name,
        "duration_s": duration_s,
        "video": describe_video(seen, starts[seen.stream.index] - origin, warnings) if seen else None,
        "audio": [describe_audio(track, start_s, warnings) for track, start_s in heard],
        "rotation": TURNS[orientation(seen.frame, seen.stream)] if seen else 0,
        "is_image": False,
        "warnings": warnings,
    }


def promised(container: Any, family: str, video: Any, head: bytes) -> float:
    """Seconds that the header promises, 0 where it promises nothing: what is missing of them was cut off."""
    length_s = (container.duration or 0) / 1e6
    if family == "wav":
        return max(length_s, promised_by_wav(head))
    if family == "avi" and video is not None and video.average_rate:  # counts its frames
        return max(length_s, video.frames / float(video.average_rate))
    if family == "aac" or (family == "mp3" and not any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))):
        return 0.0  # FFmpeg's guess from the first packets
    return length_s


def promised_by_wav(head: bytes) -> float:
    """FFmpeg tells only what the file's size allows."""
    form, data = head.find(b"fmt "), head.find(b"data")
    if form < 0 or data < 0 or len(head) < max(form + 20, data + 8):
        return 0.0
    (rate,), (size,) = struct.unpack_from("<I", head, form + 16), struct.unpack_from("<I", head, data + 4)
    return size / rate if rate and size < 0xFFFFFF00 else 0.0  # a stream of unknown length says the greatest number


def sift(tracks: dict[int, Track], name: str, warnings: list[str]) -> dict[int, Track]:
    """The tracks of which something decodes; a refusal when there is none."""
    readable = {i: t for i, t in tracks.items() if t.frame is not None and frame_time(t.frame, t.stream) is not None}
    kinds = sorted({"picture" if t.stream.type == "video" else "sound" for t in tracks.values()})
    if not readable:
        empty = not any(t.packets for t in tracks.values())
        found = f"its {' and '.join(kinds)} {'are' if len(kinds) > 1 else 'is'} {'0 s long' if empty else 'not decodable'}"
        raise Refusal(f"This {name} file holds nothing to read: {found}; {AGAIN}.")
    for index, track in tracks.items():
        if index not in readable:
            what = "picture" if track.stream.type == "video" else "sound"
            warnings.append(f"A {what} track {'cannot be decoded' if track.packets else 'is empty'}; the rest was read.")
    return readable


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
        track = tracks.get(packet.stream.index)  # packet.stream_index is 0 in the empty packets at the end
        if track is None:  # damage may make up tracks on the way
            continue
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
        guard(context, limits)
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


def describe_video(track: Track, start_s: float, warnings: list[str]) -> list[Any]:
    """Values of a types.VideoStream."""
    width, height, _ = upright(track.frame, track.stream)
    span = track.last_s - track.first_s
    rate = (track.packets - 1) / span if track.packets > 1 and span > 0 else float(track.stream.average_rate or 0)
    if start_s > 0.5:
        warnings.append(f"The picture starts {start_s:.2f} s into the clip.")
    return [track.stream.codec_context.name, width, height, rate, start_s]


def describe_audio(track: Track, start_s: float, warnings: list[str]) -> list[Any]:
    """Values of a types.AudioStream."""
    if start_s > GAP_S:
        warnings.append(f"The sound starts {start_s:.2f} s into the clip.")
    if track.nan:
        warnings.append(f"{track.nan} sound samples are not numbers (NaN or infinite); they were set to 0.")
    if track.loud:
        warnings.append(f"{track.loud} sound samples are over full scale; they were cut to it.")
    return [track.stream.codec_context.name, track.frame.sample_rate, track.frame.layout.nb_channels, start_s]

"""Bytes -> an opened container and the tracks to read, judged by content alone; and frames out of a track."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .channel import Channel, Refusal

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


def misnamed(path: str, family: str, name: str) -> list[str]:
    suffix = os.path.splitext(path)[1].lower()
    if not suffix or suffix in FAMILIES.get(family, ()):
        return []
    return [f"The file is named {suffix[:12]} but holds {name}; it was read as {name}."]


def pick(container: Any) -> tuple[Any | None, list[Any], list[str]]:
    """(the picture track, the sound tracks, warnings). Cover art is no picture track."""
    warnings: list[str] = []
    videos: list[Any] = []
    sounds: list[Any] = []
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


def guard(context: Any, limits: dict[str, Any]) -> None:
    """Set what a decoder may allocate before it opens.

    One thread: a decoder freed in the middle of a clip joins its threads while Python is locked, and a thread that needs
    Python at that moment waits for ever.
    """
    context.thread_count = 1
    context.thread_type = "NONE"
    context.options = {"max_pixels": str(limits["max_pixels"])}


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


def too_long(found_s: float, limits: dict[str, Any]) -> str:
    return (
        f"This file is {clock(found_s)} long, and at most {clock(limits['max_duration_s'])} are read; "
        "cut it into shorter clips and send those."
    )


def too_large(width: int, height: int, limits: dict[str, Any]) -> str:
    return (
        f"This picture has {width * height / 1e6:.0f} megapixels ({width} x {height}), and at most "
        f"{limits['max_pixels'] / 1e6:.0f} are read; make it smaller and send it again."
    )


def clock(value_s: float) -> str:
    if value_s < 90:
        return f"{value_s:.3g} s"
    return f"{value_s / 60:.3g} minutes" if value_s < 5400 else f"{value_s / 3600:.3g} hours"

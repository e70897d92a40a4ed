"""A clip's file -> the files that a browser plays in each pass: voice without picture, face without sound, both.

What browsers play is only repacked, without tags: a title or a file name may say the emotion. All else is encoded anew.
"""

import errno
import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from avemo_core import encoding, media
from avemo_core.types import Clip, MediaError

PEAKS = 150
SOUND_RATE = 48_000
SOUND_BITS = 128_000  # of a second: a voice must lose nothing that a rater could hear
MOST_FPS = 30
SIDE = 960  # pixels of the longer side of a picture that is encoded anew
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)  # faults of the disk, not of the clip
# What Chromium, Firefox and Safari all play: coding -> container.
SOUNDS = {"aac": ".m4a", "mp3": ".mp3", "flac": ".flac", "opus": ".ogg", "vorbis": ".ogg", "pcm_s16le": ".wav"}
PICTURES = {"h264": ".mp4", "vp8": ".webm", "vp9": ".webm", "av1": ".webm"}
BESIDE = {".mp4": ("aac", "mp3"), ".webm": ("opus", "vorbis")}  # sound that may lie beside the picture
MEDIA_TYPES = {
    ".m4a": "audio/mp4",
    ".mp3": "audio/mpeg",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
    ".wav": "audio/wav",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}


def possible(clip: Clip, modality: str) -> bool:
    """Whether the clip has what this pass shows."""
    return (modality == "face" or bool(clip.audio)) and (modality == "voice" or clip.video is not None)


def make(clip: Clip, modality: str, folder: Path) -> tuple[Path, bool]:
    """The rendition, `modality` plus a suffix, in `folder`; and whether it had to be encoded anew."""
    path = _repacked(clip, modality, folder)
    if path is not None:
        if _same(clip, path, modality):
            return path, False
        path.unlink()
    return _encoded(clip, modality, folder), True


def peaks(clip: Clip) -> list[float]:
    """The loudest sample of each of PEAKS equal parts of the clip, the loudest of all being 1. Empty without sound."""
    if not clip.audio or not clip.duration_s:
        return []
    loudest = np.zeros(PEAKS)
    for wave, start_s in media.sound(clip):
        times = start_s + np.arange(len(wave)) / 16_000
        part = np.clip((times / clip.duration_s * PEAKS).astype(int), 0, PEAKS - 1)
        np.maximum.at(loudest, part, np.abs(wave))
    top = loudest.max()
    return [round(float(value), 3) for value in (loudest / top if top > 0 else loudest)]


# ---------------------------------------------------------------- repacked


def _repacked(clip: Clip, modality: str, folder: Path) -> Path | None:
    """The coded packets in a new container; None where a browser would not play them, or they cannot be carried over.

    media.decode has read each of these packets in its worker before, so a broken file has not come this far.
    """
    if clip.container in ("avi", "3gp"):
        return None  # no times of their own; old codings
    try:
        with av.open(f"file:{clip.path}", container_options={"protocol_whitelist": "file"}) as source:
            streams = _streams(source, modality)
            suffix = _container([_coding(stream) for stream in streams])
            if suffix is None:
                return None
            path = folder / f"{modality}{suffix}"
            options = {"movflags": "+faststart"} if suffix in (".mp4", ".m4a") else {}
            with av.open(str(path), "w", options=options) as out:
                _copy(source, out, streams)
            return path
    except (av.error.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) in DISK:
            raise
    for path in folder.glob(f"{modality}.*"):
        path.unlink()
    return None


def _streams(source: Any, modality: str) -> list[Any]:
    """The picture, then the first sound, as far as the pass has them. Cover art is no picture."""
    covers = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    films = [s for s in source.streams.video if not s.disposition & covers]
    films.sort(key=lambda s: (not s.disposition & av.stream.Disposition.default, -(s.width or 0) * (s.height or 0)))
    return (films[:1] if modality != "voice" else []) + (list(source.streams.audio[:1]) if modality != "face" else [])


def _coding(stream: Any) -> str:
    """The coding's name, or one that nobody plays for a picture that is not 8 bits in 4:2:0."""
    name = stream.codec_context.codec.canonical_name
    if stream.type == "video" and stream.codec_context.pix_fmt not in ("yuv420p", "yuvj420p"):
        return f"{name} in {stream.codec_context.pix_fmt}"
    return name


def _container(codings: list[str]) -> str | None:
    """The suffix of the container for a picture, a sound, or a picture and a sound."""
    if len(codings) == 1:
        return {**SOUNDS, **PICTURES}.get(codings[0])
    suffix = PICTURES.get(codings[0])
    return suffix if codings[1] in BESIDE.get(suffix or "", ()) else None


def _copy(source: Any, out: Any, streams: list[Any]) -> None:
    targets = {stream.index: out.add_stream_from_template(stream) for stream in streams}
    early: dict[int, list[Any]] = {stream.index: [] for stream in streams}  # Matroska tells no decoding time of the first
    for packet in source.demux(streams):
        index = packet.stream.index
        if not packet.size:  # the empty ones at the end
            continue
        early[index].append(packet)
        if packet.dts is None:
            continue
        for before, one in enumerate(reversed(early[index])):
            one.dts = packet.dts - before * packet.duration
        for one in early[index]:
            one.stream = targets[index]
            out.mux(one)
        early[index] = []


def _same(clip: Clip, path: Path, modality: str) -> bool:
    """Whether what was written plays as long and the same way up, with exactly the streams of its pass."""
    try:
        found = media.decode(path)
    except MediaError:
        return False
    streams = (found.video is not None, bool(found.audio)) == (modality != "voice", modality != "face")
    upright = modality == "voice" or (
        clip.video is not None
        and found.video is not None
        and (found.video.width, found.video.height, found.rotation) == (clip.video.width, clip.video.height, clip.rotation)
    )
    return streams and upright and found.duration_s >= _length(clip, modality) - 0.25


def _length(clip: Clip, modality: str) -> float:
    """How long the pass is at least: one stream may begin after the other, and only both together are the clip."""
    if modality == "both" or not clip.audio or clip.video is None:
        return clip.duration_s
    return 0.0


# ---------------------------------------------------------------- encoded anew


def _encoded(clip: Clip, modality: str, folder: Path) -> Path:
    """H.264 and AAC."""
    path = folder / f"{modality}{'.m4a' if modality == 'voice' else '.mp4'}"
    sound = None
    if modality != "face":
        waves = (wave for wave, _ in media.sound(clip, rate=SOUND_RATE))
        start_s = clip.audio[0].start_s if modality == "both" else 0.0
        sound = encoding.Sound(waves, SOUND_RATE, start_s, SOUND_BITS)
    encoding.write(path, _pictures(clip) if modality != "voice" else None, sound, crf=20, preset="veryfast")
    return path


def _pictures(clip: Clip) -> encoding.Pictures:
    assert clip.video is not None
    found = clip.video.frame_rate
    rate = Fraction(min(max(found, 5.0), MOST_FPS) if math.isfinite(found) and found > 0 else 25.0).limit_denominator(1001)
    chunks = media.frames(clip, every_s=float(1 / rate), max_side=SIDE)
    first, times = next(chunks)
    height, width = (side - side % 2 for side in first.shape[1:3])  # as H.264 wants it

    def frames() -> Iterator[np.ndarray]:
        for chunk, _ in chain([(first, times)], chunks):
            yield from np.ascontiguousarray(chunk[:, :height, :width])

    return encoding.Pictures(frames(), rate, (width, height), float(times[0]))

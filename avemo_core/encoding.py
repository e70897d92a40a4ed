"""Pictures and sound -> one file, as any camera would write it: H.264 and AAC in mp4, VP8 and Opus in webm, PCM in wav."""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

CODECS = {".webm": ("libvpx", "libopus"), ".wav": ("", "pcm_s16le")}  # H.264 and AAC elsewhere
PIECE = 1024  # samples handed to the encoder at once, so that picture and sound lie near each other in the file


@dataclass(frozen=True)
class Pictures:
    """Frames uint8 [H,W,3] of one even size, `rate` a second, the first one `start_s` after the beginning."""

    frames: Iterable[np.ndarray]
    rate: Fraction
    size: tuple[int, int]  # width, height
    start_s: float = 0.0


@dataclass(frozen=True)
class Sound:
    """Mono chunks float32 [n] within -1 to 1, without holes, `rate` Hz, the first sample `start_s` after the beginning."""

    chunks: Iterable[np.ndarray]
    rate: int
    start_s: float = 0.0
    bits_per_second: int = 48_000


def write(path: Path, pictures: Pictures | None, sound: Sound | None, crf: int = 27, preset: str = "medium") -> None:
    """One file with picture, sound or both, interleaved; its suffix says the container.

    `crf` is the quality of the picture, lower being better, and `preset` how long x264 takes over it. A file that was begun
    and not finished, whatever stopped it, is deleted.
    """
    options = {"movflags": "+faststart"} if path.suffix in (".mp4", ".m4a", ".mov") else {}
    try:
        with av.open(str(path), "w", options=options) as out:
            streams = _streams(out, path.suffix, pictures, sound, {"crf": str(crf), "preset": preset})
            shown, heard = _video_frames(pictures), _audio_frames(sound)
            for frame in heapq.merge(shown, heard, key=lambda frame: frame.time or 0.0):
                out.mux(streams[type(frame)].encode(frame))
            for stream in streams.values():
                out.mux(stream.encode(None))
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _streams(
    out: Any, suffix: str, pictures: Pictures | None, sound: Sound | None, quality: dict[str, str]
) -> dict[type, Any]:
    """The file's streams, each under the kind of frame that it takes."""
    picture_codec, sound_codec = CODECS.get(suffix, ("libx264", "aac"))
    streams: dict[type, Any] = {}
    if pictures is not None:
        if picture_codec != "libx264":
            quality = {"crf": quality["crf"], "deadline": "realtime", "b": "500k"}
        video = out.add_stream(picture_codec, rate=pictures.rate, options={"threads": "1", **quality})
        video.width, video.height = pictures.size
        video.pix_fmt = "yuv420p"
        streams[av.VideoFrame] = video
    if sound is not None:
        audio = out.add_stream(sound_codec, rate=sound.rate, layout="mono")
        if sound_codec != "pcm_s16le":
            audio.bit_rate = sound.bits_per_second
        streams[av.AudioFrame] = audio
    return streams


def _video_frames(pictures: Pictures | None) -> Iterator[av.VideoFrame]:
    if pictures is None:
        return
    for k, picture in enumerate(pictures.frames, round(pictures.start_s * pictures.rate)):
        frame = av.VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = k, 1 / pictures.rate
        yield frame


def _audio_frames(sound: Sound | None) -> Iterator[av.AudioFrame]:
    if sound is None:
        return
    done = round(sound.start_s * sound.rate)
    for chunk in sound.chunks:
        for start in range(0, len(chunk), PIECE):
            piece = (chunk[start : start + PIECE] * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(piece[None], "s16", "mono")
            frame.rate, frame.pts, frame.time_base = sound.rate, done, Fraction(1, sound.rate)
            done += len(piece)
            yield frame

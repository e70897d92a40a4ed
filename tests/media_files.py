"""Real media of any shape, made with PyAV and Pillow: what the tests feed to everything that reads clips.

The picture tells its own time and its own way up: the lower half shows the frame's number in ten bars, red is on the upper
left, blue on the upper right. The sound is a tone of 440 Hz unless a wave is given.
all_frames and all_sound read a clip whole.
"""

import io
import struct
import zlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from avemo_core import media
from avemo_core.types import Clip

BARS = 10
CODECS = {  # suffix -> picture coding, sound coding, sound rate
    ".mp4": ("libx264", "aac", 44100),
    ".mov": ("libx264", "aac", 48000),
    ".m4a": (None, "aac", 44100),
    ".webm": ("libvpx", "libopus", 48000),
    ".mkv": ("libx264", "libopus", 48000),
    ".avi": ("mpeg4", "pcm_s16le", 44100),
    ".wav": (None, "pcm_s16le", 22050),
    ".mp3": (None, "libmp3lame", 44100),
    ".flac": (None, "flac", 32000),
    ".ogg": (None, "libopus", 48000),
}


def numbered_frame(number: int, size: tuple[int, int] = (160, 120)) -> np.ndarray:
    """uint8 [H,W,3] that shows `number`."""
    width, height = size
    frame = np.full((height, width, 3), 90, np.uint8)
    frame[: height // 2, : width // 2] = (200, 30, 30)
    frame[: height // 2, width // 2 :] = (30, 30, 200)
    for bit in range(BARS):
        left, right = bit * width // BARS, (bit + 1) * width // BARS
        frame[height // 2 :, left:right] = 220 if number >> bit & 1 else 30
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number shown by an upright uint8 [H,W,3] frame of numbered_frame, whatever its size."""
    height, width = frame.shape[:2]
    middles = [(2 * bit + 1) * width // (2 * BARS) for bit in range(BARS)]
    return sum(1 << bit for bit, x in enumerate(middles) if frame[height * 3 // 4, x].mean() > 125)


def tone(seconds: float, rate: int, channels: int = 1, hertz: float = 440.0) -> np.ndarray:
    """float32 [channels,n], amplitude 0.5."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def write_clip(
    path: Path,
    seconds: float = 2.0,
    fps: float = 25.0,
    size: tuple[int, int] = (160, 120),
    audio: bool = True,
    rotation: int = 0,
    *,
    video: bool = True,
    tracks: int = 1,
    channels: int = 1,
    rate: int | None = None,
    wave: np.ndarray | None = None,
    audio_start_s: float = 0.0,
    video_start_s: float = 0.0,
    frame_times: Sequence[float] | None = None,
    frames: Sequence[np.ndarray] | None = None,
    codecs: tuple[str | None, str | None] | None = None,
    options: dict[str, str] | None = None,
    stream_to: object = None,
) -> Path:
    """A clip whose container and codings follow the suffix. `size` is the upright one.

    `rotation`: the picture is stored turned, and a player must turn it clockwise by so many degrees (0, 90, 180, 270).

    `wave`: float32 [channels,n] at `rate`. `frame_times`: seconds of each frame (variable rate). `stream_to`: a file object
    that cannot seek, as a browser's recorder writes it (then no duration is in the header).
    """
    picture, coding, own_rate = CODECS[path.suffix]
    picture, coding = codecs or (picture, coding)
    rate = rate or own_rate
    wave = tone(seconds, rate, channels) if wave is None else wave
    times = frame_times if frame_times is not None else [i / fps for i in range(round(seconds * fps))]
    target = stream_to or str(path)
    with av.open(
        target, "w", format={".mkv": "matroska", ".m4a": "ipod"}.get(path.suffix, path.suffix[1:]), options=options or {}
    ) as out:
        shown = add_picture(out, picture, fps, size, rotation) if video and picture else None
        heard = [add_sound(out, coding, rate, len(wave)) for _ in range(tracks if audio and coding else 0)]
        packets = []
        if shown is not None:
            packets += encoded_frames(shown, times, video_start_s, size, frames, rotation)
        for stream in heard:
            packets += encoded_sound(stream, wave, rate, audio_start_s)
        # Interleaved by time, as a recorder does: a cut-off file then holds the beginning of both.
        packets.sort(key=lambda packet: float(packet.dts * packet.time_base))
        for packet in packets:
            out.mux(packet)
    return path


def add_picture(out: av.container.OutputContainer, coding: str, fps: float, size: tuple[int, int], rotation: int):
    stream = out.add_stream(coding, rate=Fraction(fps).limit_denominator(1001))
    stream.width, stream.height = size[::-1] if rotation in (90, 270) else size
    stream.pix_fmt = "yuv420p"
    ticks = {"libvpx": Fraction(1000), "mpeg4": Fraction(fps).limit_denominator(1001)}.get(coding, Fraction(90000))
    stream.codec_context.time_base = 1 / ticks
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {
        "libx264": {"preset": "ultrafast", "tune": "stillimage", "bf": "2", "b-adapt": "0"},
        "libvpx": {"deadline": "realtime", "cpu-used": "8"},
    }.get(coding, {})
    if rotation:
        stream.set_display_rotation(-rotation)  # FFmpeg counts counterclockwise
    return stream


def add_sound(out: av.container.OutputContainer, coding: str, rate: int, channels: int):
    stream = out.add_stream(coding, rate=rate)
    stream.layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    return stream


def encoded_frames(stream, times: Sequence[float], start_s: float, size: tuple[int, int], frames, rotation: int) -> list:
    base = stream.codec_context.time_base
    packets = []
    for number, at in enumerate(times):
        image = frames[number] if frames is not None else numbered_frame(number, size)
        stored = np.ascontiguousarray(np.rot90(image, rotation // 90))
        frame = av.VideoFrame.from_ndarray(stored, format="rgb24")
        frame.time_base, frame.pts = base, round((at + start_s) / base)
        packets += stream.encode(frame)
    return packets + stream.encode(None)


def encoded_sound(stream, wave: np.ndarray, rate: int, start_s: float, flush: bool = True) -> list:
    name = stream.codec_context.name
    wide = name.startswith("pcm_f")
    data = wave.T.reshape(1, -1)
    data = data.astype(np.float32) if wide else (np.clip(data, -1, 1) * 32767).astype(np.int16)
    packets = []
    step = 1024 * len(wave)
    for begin in range(0, data.shape[1], step):
        part = np.ascontiguousarray(data[:, begin : begin + step])
        frame = av.AudioFrame.from_ndarray(part, format="flt" if wide else "s16", layout=stream.layout.name)
        frame.sample_rate, frame.time_base = rate, Fraction(1, rate)
        frame.pts = begin // len(wave) + round(start_s * rate)
        packets += stream.encode(frame)
    return packets + (stream.encode(None) if flush else [])


class NoSeek:
    """A file that is only written forwards, like the stream of a browser's MediaRecorder."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.name = str(path)

    def write(self, data: bytes) -> int:
        return self.file.write(data)

    def close(self) -> None:
        self.file.close()


def write_recording(path: Path, seconds: float = 2.0, **how) -> Path:
    """A webm or mp4 as MediaRecorder makes it: written forwards only; no index, and no duration in a webm."""
    out = NoSeek(path)
    fragments = {"movflags": "frag_keyframe+empty_moov+default_base_moof", "frag_duration": "300000"}
    write_clip(path, seconds, stream_to=out, options={"live": "1"} if path.suffix == ".webm" else fragments, **how)
    out.close()
    return path


def huge_png(path: Path, side: int = 13_000) -> Path:
    """A valid PNG of side x side pixels, one bit each, all zero: 169 megapixels in about 20 kB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = bytes(1 + (side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    return path


def write_wav(path: Path, wave: np.ndarray, rate: int = 16_000) -> Path:
    """A 32-bit float WAV of exactly these samples, float32 [n]: no encoder in between, so NaN stays NaN."""
    data = wave.astype("<f4").tobytes()
    form = struct.pack("<HHIIHH", 3, 1, rate, rate * 4, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def all_frames(clip: Clip, **how) -> tuple[np.ndarray, np.ndarray]:
    """uint8 [n,H,W,3] and seconds [n]: everything that media.frames yields."""
    chunks = list(media.frames(clip, **how))
    return np.concatenate([c[0] for c in chunks]), np.concatenate([c[1] for c in chunks])


def all_sound(clip: Clip, **how) -> np.ndarray:
    """float32 [n] at 16 kHz: everything that media.sound yields."""
    return np.concatenate([wave for wave, _ in media.sound(clip, **how)])


def jpeg(picture: np.ndarray, **options) -> bytes:
    """A JPEG of uint8 [H,W,3]; `options` are Pillow's."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", **({"quality": 80} | options))
    return out.getvalue()


def png(picture: np.ndarray) -> bytes:
    """A PNG of uint8 [H,W,3]."""
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "PNG")
    return out.getvalue()

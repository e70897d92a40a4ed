"""Damaged files by the hundred: each is read or refused in one sentence; nothing hangs, nothing breaks the program."""

import zlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from avemo_core import media
from avemo_core.types import MediaError

from . import media_files as make

SEED = 20261121
MUTATIONS = 42  # of each of 14 kinds of file: 588
LIMITS = media.Limits(max_duration_s=30, max_pixels=2_000_000, seconds=120, silence_s=60, memory_bytes=1 << 30)
# Names inside real headers: the numbers beside them are what demuxers believe.
MARKS = (
    *(b"moov mvhd trak tkhd edts elst mdhd hdlr stsd stts ctts stsc stsz stco stss avcC esds avc1 mp4a mdat ftyp".split()),
    *(b"RIFF LIST avih strh strf movi idx1 fmt data WAVE fLaC OggS OpusHead OpusTags Xing Info LAME ID3".split()),
    *(b"IHDR IDAT PLTE JFIF Exif VP8 VP8L GIF89a".split()),
    *(b"\x1aE\xdf\xa3", b"\x18S\x80g", b"\x15I\xa9f", b"\x16T\xaek", b"\x1fC\xb6u", b"\x44\x89", b"\xe0", b"\xe1", b"\xa3"),
    *(b"\xff\xc0", b"\xff\xc4", b"\xff\xda", b"\xff\xfb"),
)
EXTREMES = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    0x7FFFFFFFFFFFFFFF,
    0xFFFFFFFFFFFFFFFF,
)


def originals(folder: Path) -> list[Path]:
    """One small sound file of each kind."""
    paths = [make.write_clip(folder / f"seed{suffix}", 0.5, fps=10, size=(64, 48)) for suffix in make.CODECS]
    for suffix, how in ((".png", {}), (".jpg", {"quality": 80}), (".webp", {}), (".gif", {})):
        paths.append(folder / f"seed{suffix}")
        Image.fromarray(make.numbered_frame(5, (64, 48))).save(paths[-1], **how)
    return paths


def flip_bits(data: bytearray, rng: np.random.Generator) -> None:
    reach = len(data) if rng.random() < 0.4 else min(len(data), 700)  # mostly in the header
    for _ in range(rng.integers(1, 25)):
        data[rng.integers(reach)] ^= 1 << int(rng.integers(8))


def cut_end(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(1, len(data))) :]


def delete_chunk(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    del data[start : start + int(rng.integers(1, 2000))]


def repeat_chunk(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    data[start:start] = data[start : start + int(rng.integers(1, 2000))] * int(rng.integers(1, 4))


def overwrite_chunk(data: bytearray, rng: np.random.Generator) -> None:
    start = int(rng.integers(len(data)))
    size = int(rng.integers(1, 300))
    data[start : start + size] = rng.bytes(min(size, len(data) - start))


def extreme_field(data: bytearray, rng: np.random.Generator) -> None:
    """A number of the header, beside a name that is really there, becomes as small or as large as it can be."""
    places = [at for mark in MARKS if (at := data.find(mark)) >= 0]
    for _ in range(rng.integers(1, 4)):
        width = int(rng.choice([1, 2, 4, 8]))
        at = int(rng.choice(places)) + int(rng.integers(-8, 40)) if places else int(rng.integers(len(data)))
        value = EXTREMES[rng.integers(len(EXTREMES))] & ((1 << 8 * width) - 1)
        at = min(max(at, 0), max(0, len(data) - width))
        data[at : at + width] = value.to_bytes(width, "big" if rng.random() < 0.6 else "little")


def foreign_head(data: bytearray, rng: np.random.Generator, other: bytes) -> None:
    size = int(rng.integers(4, 600))
    data[:size] = other[:size]


def mend_checksums(data: bytearray) -> None:
    """Right checksums over the damaged content, so that the damage gets past the first look of ogg and png readers."""
    page = data.find(b"OggS")
    while 0 <= page <= len(data) - 27:
        segments = data[page + 27 : page + 27 + data[page + 26]]
        end = min(len(data), page + 27 + len(segments) + sum(segments))
        data[page + 22 : page + 26] = bytes(4)
        data[page + 22 : page + 26] = ogg_checksum(data[page:end]).to_bytes(4, "little")
        page = data.find(b"OggS", page + 27)
    at = 8
    while data.startswith(b"\x89PNG") and at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        data[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big") if end + 4 <= len(data) else b""
        at = end + 4


def ogg_checksum(data: bytes) -> int:
    """CRC-32 with the polynomial 0x04C11DB7, not reflected, from 0."""
    value = 0
    for byte in data:
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ 0x104C11DB7) if value & 0x80000000 else value << 1
    return value


def mutations(paths: list[Path], folder: Path) -> list[Path]:
    rng = np.random.default_rng(SEED)
    contents = [path.read_bytes() for path in paths]
    ways = (
        flip_bits,
        flip_bits,
        cut_end,
        delete_chunk,
        repeat_chunk,
        overwrite_chunk,
        extreme_field,
        extreme_field,
        extreme_field,
    )
    out = []
    for path, content in zip(paths, contents, strict=True):
        for number in range(MUTATIONS):
            data = bytearray(content)
            if number == MUTATIONS - 1:
                foreign_head(data, rng, contents[rng.integers(len(contents))])
            else:
                ways[number % len(ways)](data, rng)
            if number % 2 and path.suffix in (".ogg", ".png"):
                mend_checksums(data)
            out.append(folder / f"{path.suffix[1:]}_{number}{path.suffix}")
            out[-1].write_bytes(data)
    return out


def read(path: Path) -> str:
    """How it went: "read", or the sentence. Anything but MediaError, and anything untrue in what was read, fails."""
    try:
        clip = media.decode(path, LIMITS)
        assert 0 <= clip.duration_s <= 31 and (clip.video or clip.audio)
        last = -1.0
        for pictures, times in media.frames(clip, max_side=64, limits=LIMITS):
            assert pictures.dtype == np.uint8 and pictures.shape[0] == len(times) > 0 and max(pictures.shape[1:3]) <= 64
            assert times[0] > last and (np.diff(times) > 0).all() and times[-1] <= 31
            last = float(times[-1])
        for wave, start_s in media.sound(clip, limits=LIMITS):
            assert wave.dtype == np.float32 and np.isfinite(wave).all() and np.abs(wave).max(initial=0) <= 1
            assert np.isfinite(start_s) and len(wave) / 16_000 <= 31
        outcome = "read"
    except MediaError as error:
        outcome = str(error)
        assert outcome.endswith(".") and "\n" not in outcome and len(outcome) < 300, outcome
    return outcome


def test_damaged_files_are_read_or_refused(tmp_path):
    seeds = originals(tmp_path)
    assert all(read(path) == "read" for path in seeds)
    damaged = mutations(seeds, tmp_path)
    assert len(damaged) >= 500
    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(read, damaged))
    kinds = Counter(o if o == "read" else o.split(" (")[0].split(":")[0][:60] for o in outcomes)
    print(f"\n{len(damaged)} damaged files: {kinds.most_common(12)}")
    read_share = kinds["read"] / len(outcomes)
    assert 0.1 < read_share < 0.95, "the mutations are too coarse or too fine to test anything"
    late = [p.name for p, o in zip(damaged, outcomes, strict=True) if "in time" in o]
    assert not late, f"these hang the decoder until the watchdog comes: {late}"
    assert all(read(path) == "read" for path in seeds), "a worker was left unusable"


@pytest.mark.parametrize("size", [1, 7, 64, 4096])
def test_random_bytes_are_refused(tmp_path, size):
    path = tmp_path / "noise.mp4"
    rng = np.random.default_rng(SEED + size)
    for _ in range(5):
        path.write_bytes(rng.bytes(size))
        with pytest.raises(MediaError):
            media.decode(path)

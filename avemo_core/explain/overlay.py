"""A map of the face laid into the clip's own picture, its box and turn undone, and the video of that.

Three looks: "heat" draws the map's values over the face, "kept" blurs all but what the map marks, "rest" blurs only that.
"""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from .. import encoding, faces, media
from ..types import FACE_SIZE, AvemoError, ClipResult, Explanation, FaceTrack
from . import figure, render

LOOKS = ("heat", "kept", "rest")
MAX_SIDE = 1280  # pixels of the longer side of a video that is written
FASTEST = 60.0  # frames a second of it
RATE = 48_000  # Hz of its sound
BLUR = 0.14  # of the crop's side becomes one cell: no eye, brow or mouth can be told in it
QUALITY = 20  # of the picture (x264's crf)
Spot = tuple[complex, complex]
Progress = Callable[[float, float], None]  # seconds done, seconds in all


def check(result: ClipResult, explanation: Explanation) -> None:
    """AvemoError where there is no video to lay a map over, or no map of the face."""
    if result.clip.is_image:
        raise AvemoError("This clip is a still picture, of which no video is made; its figure shows the map over the face.")
    if explanation.face is None:
        reason = explanation.missing.get("face", "this method has none")
        raise AvemoError(f"There is no map of the face to lay over a video: {reason}; choose another clip or method.")


def spots(result: ClipResult) -> np.ndarray:
    """complex [N,2], factor and offset of each frame's crop in the picture; of no meaning where the face is absent.

    The point u to the right and v down in the crop, both in 0..1, lies at factor * (u + iv) + offset in the picture, in
    widths of the picture. [0,2] without a face.
    """
    track, video = render.person(result), result.clip.video
    if track is None or video is None:
        return np.zeros((0, 2), complex)
    found = np.array([faces.placement(points) for points in track.landmarks]).reshape(-1, 2)
    return found * (FACE_SIZE, 1) / video.width


def spot_at(track: FaceTrack, places: np.ndarray, time_s: float) -> tuple[int, Spot] | None:
    """The sampled frame nearest to a moment, and where its crop lies then: between two samples it moves on a straight line.

    None where the face is absent.
    """
    nearest = int(np.abs(track.times_s - time_s).argmin())
    if not track.present[nearest]:
        return None
    spot, gap = places[nearest], time_s - track.times_s[nearest]
    other = nearest + (1 if gap > 0 else -1)
    if gap and 0 <= other < len(places) and track.present[other]:
        share = gap / (track.times_s[other] - track.times_s[nearest])
        spot = spot + share * (places[other] - spot)
    return nearest, (complex(spot[0]), complex(spot[1]))


def cell(track: FaceTrack, places: np.ndarray) -> float:
    """The side of what blurring makes one, in widths of the picture: the same in every frame, by the face's usual size."""
    return BLUR * float(np.median(np.abs(places[track.present, 0])))


def laid(values: np.ndarray, spot: Spot, size: tuple[int, int]) -> tuple[slice, slice, np.ndarray]:
    """A map [h,w] over a crop -> rows and columns of a picture of `size` (height, width), and the values there.

    Bilinear between the map's cells, 0 outside the crop. A crop that lies outside the picture has no rows or no columns.
    """
    (height, width), (factor, offset) = size, (one * size[1] for one in spot)
    corners = np.array([offset + factor * corner for corner in (0, 1, 1j, 1 + 1j)])
    left, right = np.clip((np.floor(corners.real.min()), np.ceil(corners.real.max())), 0, width).astype(int)
    top, bottom = np.clip((np.floor(corners.imag.min()), np.ceil(corners.imag.max())), 0, height).astype(int)
    if left == right or top == bottom:
        return slice(0, 0), slice(0, 0), np.zeros((0, 0), np.float32)
    # PIL asks which cell each pixel comes from.
    inverse, shift = 1 / factor, (complex(left, top) - offset) / factor
    rows, columns = values.shape
    across = (inverse.real * columns, -inverse.imag * columns, shift.real * columns)
    down = (inverse.imag * rows, inverse.real * rows, shift.imag * rows)
    picture = Image.fromarray(np.ascontiguousarray(values, np.float32))
    there = picture.transform((right - left, bottom - top), Image.Transform.AFFINE, across + down, Image.Resampling.BILINEAR)
    return slice(top, bottom), slice(left, right), np.asarray(there)


def blurred(frame: np.ndarray, cell: float) -> np.ndarray:
    """uint8 [H,W,3] without what is finer than `cell` pixels: their means, joined smoothly."""
    height, width = frame.shape[:2]
    coarse = (max(1, round(width / cell)), max(1, round(height / cell)))
    small = Image.fromarray(frame).resize(coarse, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


class Overlay:
    """One explanation and one look; `draw` makes the picture of a moment from the clip's own frame."""

    def __init__(self, result: ClipResult, explanation: Explanation, look: str = "heat", opacity: float = 1.0) -> None:
        if look not in LOOKS:
            raise AvemoError(f"Unknown look {look!r} of a video; choose one of {', '.join(LOOKS)}.")
        if not 0 <= opacity <= 1:
            raise AvemoError(f"The opacity of a map is {opacity:g}; give a number from 0 (not drawn) to 1 (strongest).")
        check(result, explanation)
        track = render.person(result)
        assert track is not None and explanation.face is not None  # as checked
        self.track, self.places = track, spots(result)
        self.look, self.opacity, self.signed = look, opacity, explanation.signed
        self.whole = figure.scale(explanation.face)  # one scale for the whole clip
        self.values = explanation.face if look == "heat" else render.kept(explanation.face)
        self.cell = cell(track, self.places)

    def draw(self, frame: np.ndarray, time_s: float) -> np.ndarray:
        """uint8 [H,W,3] of the moment `time_s` -> the same size with the map; without a face there is nothing to mark."""
        soft = None if self.look == "heat" else blurred(frame, max(2.0, self.cell * frame.shape[1]))
        out = np.array(soft if self.look == "kept" else frame)
        found = spot_at(self.track, self.places, time_s)
        if found is None:
            return out
        rows, columns, values = laid(self.values[found[0]], found[1], (frame.shape[0], frame.shape[1]))
        if soft is None:
            painted = render.coloured(values, self.whole, self.signed)
            shown, share = painted[..., :3], painted[..., 3:] * (self.opacity / 255)
        else:
            shown, share = (frame if self.look == "kept" else soft)[rows, columns], values[..., None]
        out[rows, columns] = np.round(out[rows, columns] + share * (shown - out[rows, columns].astype(np.float32)))
        return out


def write(
    result: ClipResult,
    explanation: Explanation,
    path: Path,
    look: str = "heat",
    opacity: float = 1.0,
    progress: Progress | None = None,
) -> None:
    """An mp4 of the clip with the map over its face, as long as the clip, with its sound (mono).

    Args:
        opacity: of the heat, from 0 to 1 of what the figures show.
        progress: called with seconds done and in all; may raise types.Cancelled. What was written by then is deleted.

    Raises:
        AvemoError: there is no video, no map of the face, no such look or opacity, or the clip cannot be read any more.
    """
    overlay, clip = Overlay(result, explanation, look, opacity), result.clip
    assert clip.video is not None  # as checked
    rate = Fraction(min(clip.video.frame_rate or 25.0, FASTEST)).limit_denominator(1001)
    frames = _even(media.frames(clip, float(1 / rate), MAX_SIDE, progress), overlay)
    first = next(frames)
    pictures = encoding.Pictures(chain((first,), frames), rate, (first.shape[1], first.shape[0]), clip.video.start_s)
    sound = None
    if clip.audio:
        chunks = (samples for samples, _ in media.sound(clip, rate=RATE))
        sound = encoding.Sound(chunks, RATE, clip.audio[0].start_s, bits_per_second=96_000)
    encoding.write(path, pictures, sound, QUALITY, "veryfast")


def _even(chunks: Iterator[tuple[np.ndarray, np.ndarray]], overlay: Overlay) -> Iterator[np.ndarray]:
    """The drawn frames, a last odd row or column left out: H.264 takes pairs."""
    for frames, times_s in chunks:
        height, width = (side // 2 * 2 for side in frames.shape[1:3])
        for frame, time_s in zip(frames, times_s, strict=True):
            yield overlay.draw(frame[:height, :width], float(time_s))

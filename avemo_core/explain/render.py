"""Maps of evidence and what they lie on, as pictures: arrays in, RGBA arrays or PNG out. No plot library is needed.

Every picture spans the whole clip from left to right, so that strips, spectrogram and timeline share one time axis.
Evidence keeps its unit (logits): one scale per clip, the same for face and voice and for all labels and moments, so that
any two maps can be compared and one with next to no evidence stays empty.
"""

import io
from dataclasses import dataclass
from itertools import pairwise

import contourpy
import numpy as np
from PIL import Image

from ..labels import index
from ..sound import mel_edges_hz
from ..types import SOUND_HOP_S, ClipResult, Evidence, FaceTrack

IMAGES = ("faces", "face_evidence", "spectrogram", "voice_evidence")
RAMP = ((0.0, 0x3B0F70), (0.30, 0x8C2981), (0.58, 0xDE4968), (0.80, 0xFE9F6D), (1.0, 0xFCFDBF))  # dark to light, magma-like
DIVERGING = ((-1.0, 0x053061), (-0.5, 0x4393C3), (0.0, 0xF7F7F7), (0.5, 0xE08214), (1.0, 0x7F3B08))  # blue to orange
OPACITY = 0.8  # of the strongest cell: what it lies on can still be seen
CELLS = 14  # crops in the strip
CELL_PX = 96
VOICE_CELL_S = 0.08  # what one column of the voice branch covers
SPECTROGRAM_PX = 240  # three rows for each of 80 mel bands
WIDEST_PX = 1600  # columns of a picture over time, however long the clip
DYNAMIC_RANGE = 18.4  # natural log of power: 80 dB under the loudest band is drawn as silence
DARKEST, BRIGHTEST = np.array([0x14, 0x18, 0x21]), np.array([0xE9, 0xEA, 0xE8])  # grey, so that colour means evidence
TOP_SHARE = 0.2  # the contour goes round the strongest fifth of the cells
FULL = 0.9  # quantile of what speaks for the target from which on a cell is kept whole
EVEN = 1e-5  # of the strongest cell: what differs by less is rounding
FAINTEST = 0.1  # of the scale: weaker than this is not worth a contour


@dataclass(frozen=True)
class Cell:
    """One place in the face strip: its span of time, and the frame shown there (None: no face in that span)."""

    start_s: float
    end_s: float
    frame: int | None


def png(pixels: np.ndarray) -> bytes:
    """uint8 [H,W,3 or 4] -> PNG bytes."""
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def ramp(values: np.ndarray) -> np.ndarray:
    """[...] in 0..1 -> uint8 [...,3] along the evidence ramp."""
    stops = [stop for stop, _ in RAMP]
    channels = [[colour >> shift & 255 for _, colour in RAMP] for shift in (16, 8, 0)]
    return np.stack([np.interp(values, stops, channel) for channel in channels], axis=-1).round().astype(np.uint8)


def heat(evidence: np.ndarray, scale: float) -> np.ndarray:
    """Evidence [H,W] in logits -> RGBA uint8: what raised the label, alpha = value / scale; the rest is clear."""
    share = np.clip(evidence / scale, 0, 1) if scale > 0 else np.zeros(evidence.shape)
    return np.dstack((ramp(share), (share * 255).round().astype(np.uint8)))


def diverging(values: np.ndarray) -> np.ndarray:
    """[...] in -1..1 -> uint8 [...,3]: blue speaks against, orange for; the same to people who see colours otherwise."""
    stops = [stop for stop, _ in DIVERGING]
    channels = [[colour >> shift & 255 for _, colour in DIVERGING] for shift in (16, 8, 0)]
    return np.stack([np.interp(values, stops, channel) for channel in channels], axis=-1).round().astype(np.uint8)


def coloured(values: np.ndarray, whole: float, signed: bool) -> np.ndarray:
    """Values [H,W] -> RGBA uint8 on a scale that ends at `whole`; alpha grows with the size. A zero map stays clear."""
    least = -1.0 if signed else 0.0
    share = np.clip(values / whole, least, 1) if whole > 0 else np.zeros(values.shape)
    colours = diverging(share) if signed else ramp(share)
    return np.dstack((colours, (np.abs(share) * OPACITY * 255).round().astype(np.uint8)))


def kept(values: np.ndarray) -> np.ndarray:
    """A map [...] -> 0..1, how much of each cell it keeps: none of what speaks against the target, none of a zero map."""
    marked = np.maximum(values, 0.0)
    if not marked.any():
        return np.zeros_like(marked)
    return np.clip(marked / np.quantile(marked[marked > 0], FULL), 0, 1)


def scale(evidence: Evidence) -> float:
    """Logits of the strongest cell of all labels and both streams, which gets the light end; 0 where nothing raised any."""
    maps = (evidence.face, _voice_cells(evidence)[0])
    return max([0.0, *(float(each.max()) for each in maps if each is not None and each.size)])


def contour_level(evidence: np.ndarray, whole: float) -> float | None:
    """Evidence of one label [...] in logits -> the level that the strongest fifth of its cells reach; None if too faint."""
    if not evidence.size or whole <= 0:
        return None
    level = max(float(np.quantile(evidence, 1 - TOP_SHARE)), FAINTEST * whole)
    return level if float(evidence.max()) > level else None


def top_outline(values: np.ndarray) -> list[np.ndarray]:
    """A map [h,w] as it is drawn -> lines [n,2] round its strongest fifth, x and y as shares of the picture from its corner.

    Strong is what speaks for the target; where less than a fifth does, all of that. A zero or even map has no lines.
    """
    marked = np.maximum(values, 0.0)
    if not marked.size or np.ptp(marked) <= EVEN * marked.max():
        return []
    level = float(np.quantile(marked, 1 - TOP_SHARE))
    y, x = ((np.arange(n) + 0.5) / n for n in values.shape)
    return [np.clip(line, 0, 1) for line in contours(marked, x, y, level)]


def contours(evidence: np.ndarray, x: np.ndarray, y: np.ndarray, level: float) -> list[np.ndarray]:
    """Evidence [len(y), len(x)] at these places -> closed lines [n,2] of x, y round the cells above a `level` from 0 on."""
    drawn = contourpy.contour_generator(_outward(x), _outward(y), np.pad(evidence, 1), line_type=contourpy.LineType.Separate)
    return [np.asarray(line) for line in drawn.lines(level)]


def svg_path(lines: list[np.ndarray]) -> str:
    """Lines [n,2] as shares of a picture -> an SVG path in thousandths of it, only with the points where they turn."""
    return "".join("M" + "L".join(f"{x} {y}" for x, y in _corners(np.rint(line * 1000).astype(int))) for line in lines)


def _corners(line: np.ndarray) -> np.ndarray:
    """int [n,2] -> its ends and the points where it turns."""
    line = line[np.append(True, np.diff(line, axis=0).any(1))]
    steps = np.diff(line, axis=0)
    turns = steps[1:, 0] * steps[:-1, 1] != steps[1:, 1] * steps[:-1, 0]
    return line[np.concatenate(([True], turns, [True]))] if len(line) > 1 else line


def _outward(places: np.ndarray) -> np.ndarray:
    """[n] evenly spaced -> [n+2], one step further on both sides."""
    step = places[1] - places[0] if len(places) > 1 else 1.0
    return np.concatenate(([places[0] - step], places, [places[-1] + step]))


def person(result: ClipResult) -> FaceTrack | None:
    """The face that was read, or None."""
    return next((track for track in result.faces if track.track_id == result.person), None)


def strip_cells(result: ClipResult, count: int = CELLS) -> list[Cell]:
    """The clip in `count` equal spans, each with the frame nearest to its middle in which the face is present.

    A still image has one cell.
    """
    track = person(result)
    if result.clip.is_image or result.clip.duration_s <= 0:
        there = track is not None and bool(track.present.any())
        return [Cell(0.0, 0.0, int(track.present.argmax()) if track is not None and there else None)]
    edges = np.linspace(0, result.clip.duration_s, count + 1)
    cells = []
    for start, end in pairwise(edges):
        frame = None
        if track is not None and track.present.any():
            shown = np.flatnonzero(track.present)
            nearest = shown[np.abs(track.times_s[shown] - (start + end) / 2).argmin()]
            # A frame stands for the span until the next one, so a short clip shows one frame in several cells.
            step = float(np.median(np.diff(track.times_s))) if len(track.times_s) > 1 else end - start
            if start - step <= track.times_s[nearest] < end:
                frame = int(nearest)
        cells.append(Cell(float(start), float(end), frame))
    return cells


def face_strip(result: ClipResult) -> np.ndarray:
    """RGBA uint8 [96, 96 * cells, 4]: crops side by side, clear where there is no face."""
    track, cells = person(result), strip_cells(result)
    out = np.zeros((CELL_PX, CELL_PX * len(cells), 4), np.uint8)
    for i, cell in enumerate(cells):
        if track is not None and cell.frame is not None:
            crop = Image.fromarray(track.crops[cell.frame]).resize((CELL_PX, CELL_PX), Image.Resampling.BICUBIC)
            out[:, i * CELL_PX : (i + 1) * CELL_PX] = np.dstack((np.asarray(crop), np.full((CELL_PX, CELL_PX), 255)))
    return out


def face_cells(result: ClipResult, label: str) -> list[np.ndarray | None]:
    """For each cell of the strip the evidence [h,w] in logits of the frame shown there."""
    maps, track = result.evidence.face, person(result)
    out: list[np.ndarray | None] = []
    for cell in strip_cells(result):
        if maps is None or track is None or cell.frame is None or not maps.shape[1]:
            out.append(None)
            continue
        at = int(np.abs(result.evidence.face_times_s - track.times_s[cell.frame]).argmin())
        out.append(maps[index(label), at])
    return out


def face_evidence(result: ClipResult, label: str) -> np.ndarray:
    """RGBA uint8 [96, 96 * cells, 4] to lay over face_strip."""
    cells, whole = face_cells(result, label), scale(result.evidence)
    out = np.zeros((CELL_PX, CELL_PX * len(cells), 4), np.uint8)
    for i, evidence in enumerate(cells):
        if evidence is not None:
            out[:, i * CELL_PX : (i + 1) * CELL_PX] = heat(stretched(evidence, CELL_PX, CELL_PX), whole)
    return out


def spectrogram(result: ClipResult) -> np.ndarray:
    """RGBA uint8 [240,W,4]: log-mel in grey, low at the bottom, over the whole clip; clear where there is no sound."""
    sound = result.sound
    if sound is None or not sound.log_mel.shape[1]:
        return np.zeros((SPECTROGRAM_PX, 1, 4), np.uint8)
    bands, columns = sound.log_mel.shape
    times = sound.start_s + np.arange(columns) * SOUND_HOP_S
    grid = _time_grid(result.clip.duration_s)
    values, there = _over_time(sound.log_mel, times, SOUND_HOP_S, grid)
    loudest = float(sound.log_mel.max())
    share = np.clip((values - loudest + DYNAMIC_RANGE) / DYNAMIC_RANGE, 0, 1)
    if np.ptp(sound.log_mel) == 0:
        share[:] = 0.0  # silence has no loudest band
    grey = (DARKEST + share[::-1, :, None] * (BRIGHTEST - DARKEST)).round().astype(np.uint8)
    alpha = np.broadcast_to(there * np.uint8(255), (bands, len(grid))).astype(np.uint8)
    return np.repeat(np.dstack((grey, alpha)), SPECTROGRAM_PX // bands, axis=0)


def frequency_ticks() -> list[tuple[float, float]]:
    """Round hertz and their places as shares of the spectrogram's height from the top."""
    edges = mel_edges_hz()
    rows = np.arange(len(edges)) / (len(edges) - 1)
    return [(hz, 1 - float(np.interp(hz, edges, rows))) for hz in (125.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0)]


def voice_map(evidence: Evidence, label: str, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Evidence of one label [F,W] in logits a cell, low to high, at W times over the whole clip, zero outside the sound."""
    cells, times = _voice_cells(evidence)
    return over_clip(np.zeros((1, 0)) if cells is None else cells[index(label)], times, duration_s)


def over_clip(values: np.ndarray, times: np.ndarray, duration_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Values [F,T] at `times` -> [F,W] at W times over the whole clip, zero outside the sound, and these times."""
    grid = _time_grid(duration_s)
    if not len(times):
        return np.zeros((1, len(grid))), grid
    step = float(times[1] - times[0]) if len(times) > 1 else VOICE_CELL_S
    return _over_time(values, times, step, grid)[0], grid


def band_rows(edges_hz: np.ndarray) -> np.ndarray:
    """How many of the spectrogram's rows each group of mel bands takes [F], low to high, by its edges [F+1]."""
    whole = mel_edges_hz()
    places = np.searchsorted(whole, edges_hz - 1e-6) * (SPECTROGRAM_PX // (len(whole) - 1))
    return np.diff(places)


def _voice_cells(evidence: Evidence) -> tuple[np.ndarray | None, np.ndarray]:
    """Voice maps [7,F,C] summed to the branch's own cells, and their middles [C] in seconds.

    So that a cell of the voice is about as large a part of its stream as a cell of a face is, and one scale fits both.
    """
    times = evidence.voice_times_s
    if evidence.voice is None or not len(times):
        return None, np.zeros(0)
    step = float(times[1] - times[0]) if len(times) > 1 else VOICE_CELL_S
    first = np.arange(0, len(times), max(1, round(VOICE_CELL_S / step)))
    middles = np.add.reduceat(times, first) / np.diff(np.append(first, len(times)))
    return np.add.reduceat(evidence.voice, first, axis=2), middles


def voice_evidence(result: ClipResult, label: str) -> np.ndarray:
    """RGBA uint8 [240,W,4] to lay over the spectrogram."""
    values, _ = voice_map(result.evidence, label, result.clip.duration_s)
    return heat(stretched(values[::-1], SPECTROGRAM_PX, values.shape[1]), scale(result.evidence))


def voice_contours(result: ClipResult, label: str) -> list[np.ndarray]:
    """Lines [n,2] round the strongest fifth: x as a share of the clip, y as a share of the mel axis from the top."""
    cells, times = _voice_cells(result.evidence)
    if cells is None or len(times) < 2:
        return []
    values = cells[index(label)]
    level = contour_level(values, scale(result.evidence))
    if level is None:
        return []
    if len(times) > WIDEST_PX:
        values, times = voice_map(result.evidence, label, result.clip.duration_s)
    heights = (np.arange(len(values)) + 0.5) / len(values)
    lines = contours(values, times / result.clip.duration_s, heights, level)
    return [np.clip(line * (1, -1) + (0, 1), 0, 1) for line in lines]


def face_contours(result: ClipResult, label: str) -> list[list[np.ndarray]]:
    """For each cell of the strip, lines [n,2] as shares of the crop's width and height; one level for the whole clip."""
    maps = result.evidence.face
    level = contour_level(maps[index(label)], scale(result.evidence)) if maps is not None else None
    out: list[list[np.ndarray]] = []
    for evidence in face_cells(result, label):
        if evidence is None or level is None:
            out.append([])
            continue
        y, x = ((np.arange(n) + 0.5) / n for n in evidence.shape)
        out.append([np.clip(line, 0, 1) for line in contours(evidence, x, y, level)])
    return out


def image(result: ClipResult, name: str, label: str) -> bytes:
    """PNG of one picture; `name` is one of IMAGES, `label` matters to the two maps of evidence."""
    index(label)
    if name == "faces":
        return png(face_strip(result))
    if name == "face_evidence":
        return png(face_evidence(result, label))
    if name == "spectrogram":
        return png(spectrogram(result))
    if name == "voice_evidence":
        return png(voice_evidence(result, label))
    raise ValueError(f"Unknown picture {name!r}; choose one of {', '.join(IMAGES)}.")


def _time_grid(duration_s: float) -> np.ndarray:
    """Middles of the columns of a picture over the whole clip: one per 10 ms, at most WIDEST_PX."""
    columns = int(np.clip(round(duration_s / SOUND_HOP_S), 1, WIDEST_PX))
    return (np.arange(columns) + 0.5) * max(duration_s, SOUND_HOP_S) / columns


def _over_time(values: np.ndarray, times: np.ndarray, step: float, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows [F,T] at `times` -> [F,len(grid)] and bool [len(grid)], false further than a step from any time.

    A long clip keeps the strongest of the values that share a column: a mean would hide what is short.
    """
    width = grid[1] - grid[0] if len(grid) > 1 else 2 * float(grid[0])
    there = (grid >= times[0] - step / 2 - width / 2) & (grid <= times[-1] + step / 2 + width / 2)
    if width > step:
        first = np.searchsorted(times, grid - width / 2).clip(0, len(times) - 1)
        out = np.maximum.reduceat(values, first, axis=1)
    else:
        out = np.stack([np.interp(grid, times, row) for row in values])
    return np.where(there, out, 0.0), there


def stretched(values: np.ndarray, height: int, width: int) -> np.ndarray:
    """[h,w] -> float32 [height,width] by bilinear interpolation, so that cells do not look sharper than they are."""
    picture = Image.fromarray(np.ascontiguousarray(values, dtype=np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BILINEAR))

"""An explanation to take away: a figure at print size, and its raw maps with everything needed to draw them again."""

import io
from dataclasses import fields

import numpy as np

from ..types import ClipResult, Explanation
from ..verdict import window_shares
from . import drawing, render
from .drawing import Picture, Rect, Shape, Text
from .methods import METHODS

# In units of 1/96 inch.
WIDTH, LEFT, RIGHT, TOP, SPECTROGRAM = 1040, 132, 898, 84, 120
BAR, TALLEST = 116, 160
INK, INK_2, INK_3, EMPTY, STAGE = "#12161D", "#414956", "#5A6371", "#E9ECF1", "#1B2029"
KINDS = ("npz", "svg", "png")


def export(result: ClipResult, explanation: Explanation, kind: str) -> bytes:
    """The figure as "svg" or "png", or the raw maps as "npz"."""
    if kind not in KINDS:
        raise ValueError(f"Unknown kind of figure {kind!r}; choose one of {', '.join(KINDS)}.")
    if kind == "npz":
        return raw(result, explanation)
    height, shapes = drawn(result, explanation)
    write = drawing.svg if kind == "svg" else None
    return write(WIDTH, height, shapes, heading(explanation)) if write else drawing.png(WIDTH, height, shapes)


def raw(result: ClipResult, explanation: Explanation) -> bytes:
    """npz: every field of the explanation as it was computed, the clip's id, and each window's Shapley values."""
    arrays: dict[str, np.ndarray] = {"clip_id": np.array(result.clip.clip_id)}
    arrays |= {"windows/start_s": result.window_start_s, "windows/end_s": result.window_end_s}
    arrays |= {f"windows/share_of_{name}": values for name, values in window_shares(result).items()}
    for field in fields(explanation):
        value = getattr(explanation, field.name)
        if field.name == "effects":
            arrays |= {f"effects/{one.what}": np.array([one.share, one.before, one.after]) for one in value}
        elif isinstance(value, dict):
            arrays |= {f"{field.name}/{name}": np.asarray(one) for name, one in value.items()}
        elif value is not None:
            arrays[field.name] = np.asarray(value)
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def heading(explanation: Explanation) -> str:
    """ "Grad-CAM: what speaks for anger rather than disgust"."""
    title, names = chosen(explanation), explanation.target
    if not METHODS[explanation.method].targeted:
        return f"{title}: where the model looked, whatever it named"
    return f"{title}: what speaks for {names[0]}" + (f" rather than {names[1]}" if len(names) > 1 else "")


def chosen(explanation: Explanation) -> str:
    """ "Grad-CAM, layer stage1"."""
    return ", ".join([METHODS[explanation.method].title, *(f"{name} {one}" for name, one in explanation.settings.items())])


def scale(values: np.ndarray | None) -> float:
    """The strongest value of one stream over what was explained, which gets the end of the colours; 0 of a zero map."""
    return float(np.abs(values).max()) if values is not None and values.size else 0.0


def drawn(result: ClipResult, explanation: Explanation) -> tuple[int, list[Shape]]:
    """Height and shapes: heading, face strip, spectrogram, each with its map and the map's scale."""
    span = "the whole clip" if explanation.window is None else f"{explanation.start_s:.2f} to {explanation.end_s:.2f} s"
    told = f"Of {span}, in {explanation.unit}. Model {explanation.model_id}, clip {result.clip.clip_id}."
    shapes: list[Shape] = [
        Text(LEFT, 34, heading(explanation), 20, INK, bold=True),
        Text(LEFT, 58, told, 13, INK_2),
    ]
    strip, bottom = _faces(result, explanation)
    voice, bottom = _voice(result, explanation, bottom + 16)
    shapes += [*strip, *voice]
    for share in (0.0, 0.5, 1.0):
        anchor = {0.0: "start", 1.0: "end"}.get(share, "middle")
        seconds = f"{share * result.clip.duration_s:.1f} s"
        shapes.append(Text(LEFT + share * (RIGHT - LEFT), bottom + 16, seconds, 12, INK_3, False, anchor))
    shapes.append(Text(LEFT, bottom + 40, "Where the score came from, not why the person acted so.", 12, INK_3))
    return int(bottom + 56), shapes


def _name(text: str, y: float) -> Text:
    return Text(LEFT - 44, y, text, 13, INK, True, "end")


def _faces(result: ClipResult, explanation: Explanation) -> tuple[list[Shape], float]:
    shapes: list[Shape] = [_name("Face", TOP + 22)]
    if explanation.face is None:
        return [*shapes, Text(LEFT, TOP + 22, explanation.missing.get("face", "no map"), 13, INK_2)], TOP + 34
    cells, whole = render.strip_cells(result), scale(explanation.face)
    size = min((RIGHT - LEFT) / len(cells), TALLEST)
    strip, track = render.face_strip(result), render.person(result)
    for i, cell in enumerate(cells):
        x, side = LEFT + i * size, size - 3
        if cell.frame is None or track is None:
            shapes.append(Rect(x, TOP, side, side, EMPTY))
            continue
        at = int(np.abs(explanation.face_times_s - track.times_s[cell.frame]).argmin())
        values = render.stretched(explanation.face[at], render.CELL_PX, render.CELL_PX)
        columns = slice(i * render.CELL_PX, (i + 1) * render.CELL_PX)
        layers = (strip[:, columns], render.coloured(values, whole, explanation.signed))
        shapes += [Picture(x, TOP, side, side, layer) for layer in layers]
    return [*shapes, *_bar(TOP + size / 2 - 14, whole, explanation)], TOP + size


def _voice(result: ClipResult, explanation: Explanation, top: float) -> tuple[list[Shape], float]:
    shapes: list[Shape] = [_name("Voice", top + 22)]
    if explanation.voice is None:
        return [*shapes, Text(LEFT, top + 22, explanation.missing.get("voice", "no map"), 13, INK_2)], top + 34
    values, _ = render.over_clip(explanation.voice, explanation.voice_times_s, result.clip.duration_s)
    rows = render.band_rows(explanation.voice_edges_hz)
    picture = render.coloured(np.repeat(values, rows, axis=0)[::-1], scale(explanation.voice), explanation.signed)
    shapes.append(Rect(LEFT, top, RIGHT - LEFT, SPECTROGRAM, STAGE))
    shapes += [Picture(LEFT, top, RIGHT - LEFT, SPECTROGRAM, layer) for layer in (render.spectrogram(result), picture)]
    for hz, share in render.frequency_ticks():
        said = f"{hz / 1000:g}k" if hz >= 1000 else f"{hz:g}"
        shapes.append(Text(LEFT - 6, top + SPECTROGRAM * share + 4, said, 12, INK_3, False, "end"))
    bar = _bar(top + SPECTROGRAM / 2 - 14, scale(explanation.voice), explanation)
    return [*shapes, *bar, Text(LEFT - 6, top - 6, "Hz", 12, INK_3, False, "end")], top + SPECTROGRAM


def _bar(y: float, whole: float, explanation: Explanation) -> list[Shape]:
    """The colours from the least to the most value, numbered; of a zero map only its zero."""
    x, least = RIGHT + 12, -whole if explanation.signed else 0.0
    values = np.linspace(least, whole, BAR)[None].repeat(9, axis=0)
    pixels = render.coloured(values, whole, explanation.signed)
    pixels[..., 3] = 255 if whole > 0 else 0
    return [
        Picture(x, y, BAR, 9, pixels),
        Text(x, y + 23, f"{least:.2g}", 12, INK_3),
        Text(x + BAR, y + 23, f"{whole:.2g}", 12, INK_3, False, "end"),
        Text(x, y + 39, explanation.unit, 12, INK_3),
    ]

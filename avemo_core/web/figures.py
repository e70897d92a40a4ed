"""Figures of a reading: the Plotly timeline of the page, and the print-size figure and raw maps to take away."""

import io

import numpy as np
import plotly.graph_objects as go

from ..explain import drawing, render
from ..explain.drawing import Line, Picture, Point, Rect, Shape, Text
from ..labels import EMOTIONS, LABELS, index
from ..types import ClipResult
from . import wording

TIMELINE_PX = 190
STRONG = 3  # lines drawn strong and named at the right; the rest stay thin
INK, INK_2, INK_3, GRID, ACCENT, STAGE = "#12161D", "#414956", "#5A6371", "#DCE0E7", "#4A3DA8", "#1B2029"
THEMES = {False: (INK_3, GRID, ACCENT), True: ("#9FA8B5", "#2C333E", "#B4A9FF")}  # dark or not: text, grid, accent
DASHES = {"solid": (), "dash": (7.0, 4.0), "dot": (2.0, 4.0), "dashdot": (7.0, 3.0, 2.0, 3.0), "longdash": (11.0, 5.0)}

# The printed figure, in units of 1/96 inch.
WIDTH, LEFT, RIGHT = 1040, 132, 898
RIBBON_Y, PLOT_Y, PLOT_H, STRIP_Y, SPEC_H = 84, 128, 170, 316, 120


def strongest(result: ClipResult) -> list[str]:
    """The labels that reach highest in any window, highest first."""
    peaks = result.both.windows.max(0) if len(result.both.windows) else result.both.probabilities
    return [LABELS[i] for i in np.argsort(-peaks, kind="stable")[:STRONG]]


def course(result: ClipResult, label: str) -> tuple[list[float], list[float]]:
    """Seconds and probabilities of one line: window middles, held out to the edges of the first and last window."""
    if not len(result.window_start_s):
        return [], []
    middles = np.clip((result.window_start_s + result.window_end_s) / 2, 0, result.clip.duration_s)
    edges = wording.window_edges(result)[[0, -1]]
    values = result.both.windows[:, index(label)]
    return [float(edges[0]), *map(float, middles), float(edges[1])], [
        float(values[0]),
        *map(float, values),
        float(values[-1]),
    ]


def timeline(result: ClipResult, dark: bool = False) -> go.Figure:
    """Probabilities over the clip. No margins: the page lays the plotting area over the lane that the strips share."""
    text, grid, accent = THEMES[dark]
    figure = go.Figure()
    strong = strongest(result)
    for label in reversed(LABELS):
        emotion = EMOTIONS[label]
        x, y = course(result, label)
        figure.add_scatter(
            x=x,
            y=y,
            name=label,
            meta=label,
            mode="lines",
            line={
                "color": (emotion.dark if dark else emotion.light).line,
                "width": 2.8 if label in strong else 1.3,
                "dash": emotion.dash,
            },
            opacity=1.0 if label in strong else 0.65,
            hovertemplate=f"{label} %{{y:.2f}} at %{{x:.2f}} s<extra></extra>",
        )
    span = wording.clearest(result)
    if span:
        figure.add_vrect(*span, fillcolor=accent, opacity=0.08, line_width=0, layer="below")
    if result.verdict.abstained:
        figure.add_hline(result.verdict.threshold, line={"color": text, "width": 1.5, "dash": "dot"})
    quiet = {"showticklabels": False, "ticks": "", "zeroline": False, "fixedrange": True}
    figure.update_layout(
        template=None,
        height=TIMELINE_PX,
        margin={"l": 0, "r": 0, "t": 0, "b": 0, "pad": 0},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        showlegend=False,
        hovermode="closest",
        hoverdistance=30,
        dragmode=False,
        font={"family": "system-ui, sans-serif", "size": 13, "color": text},
        xaxis={**quiet, "range": [0, result.clip.duration_s], "showgrid": False},
        yaxis={**quiet, "range": [0, 1], "showgrid": True, "gridcolor": grid, "tickvals": [0, 0.25, 0.5, 0.75, 1]},
    )
    return figure


def export(result: ClipResult, kind: str) -> bytes:
    """The figure as "svg" or "png", or the raw maps as "npz"."""
    if kind == "npz":
        return raw_maps(result)
    if kind not in ("svg", "png"):
        raise ValueError(f"Unknown kind of figure {kind!r}; choose one of svg, png, npz.")
    height, shapes = print_figure(result)
    title = "".join(part.text for part in wording.verdict(result))
    return drawing.svg(WIDTH, height, shapes, title) if kind == "svg" else drawing.png(WIDTH, height, shapes)


def raw_maps(result: ClipResult) -> bytes:
    """npz of the evidence as it was computed, in logits, with its axes: everything needed to redraw the maps."""
    evidence, out = result.evidence, io.BytesIO()
    arrays = {
        "labels": np.array(LABELS),
        "bias": evidence.bias,
        "face_times_s": evidence.face_times_s,
        "voice_times_s": evidence.voice_times_s,
        "voice_edges_hz": evidence.voice_edges_hz,
        "method": np.array("cam"),
        "model_id": np.array(evidence.model_id),
        "clip_id": np.array(result.clip.clip_id),
    }
    arrays |= {name: maps for name, maps in (("face", evidence.face), ("voice", evidence.voice)) if maps is not None}
    np.savez_compressed(out, **arrays)  # type: ignore[arg-type]
    return out.getvalue()


def print_figure(result: ClipResult) -> tuple[int, list[Shape]]:
    """Height and shapes of the figure: sentence, most likely emotion, probabilities, faces and voice with evidence."""
    label, verdict = result.verdict.label, result.verdict
    shapes: list[Shape] = [
        Text(LEFT, 34, "".join(part.text for part in wording.verdict(result)), 20, INK, bold=True),
        Text(
            LEFT,
            58,
            f"Confidence {verdict.confidence:.2f}; {verdict.threshold:.2f} needed for a reading. "
            f"Evidence for {label}, in logits. Model {result.model_id}, clip {result.clip.clip_id}.",
            13,
            INK_2,
        ),
    ]
    shapes += [*_ribbon(result), *_lines(result)] if not result.clip.is_image else []
    strip, bottom = _strip(result, label, RIBBON_Y if result.clip.is_image else STRIP_Y)
    shapes += strip
    if result.sound is not None:
        voice, bottom = _voice(result, label, bottom + 16)
        shapes += voice
    if not result.clip.is_image:
        shapes += _seconds(result, bottom + 16)
    shapes.append(
        Text(
            LEFT,
            bottom + 44,
            "AVEMO reads the expression in face and voice. It does not measure what a person experiences.",
            12,
            INK_3,
        )
    )
    return int(bottom + 60), shapes


def _x(result: ClipResult, seconds: float) -> float:
    return LEFT + (RIGHT - LEFT) * seconds / max(result.clip.duration_s, 1e-9)


def _name(text: str, y: float) -> Text:
    return Text(LEFT - 44, y, text, 13, INK, True, "end")


def _ribbon(result: ClipResult) -> list[Shape]:
    shapes: list[Shape] = [_name("Most likely", RIBBON_Y + 19)]
    for span in wording.ribbon(result):
        x, end = _x(result, span.start_s), _x(result, span.end_s)
        colours = EMOTIONS[span.label].light if span.label else None
        shapes.append(Rect(x, RIBBON_Y, max(end - x - 2, 0.5), 30, colours.tint if colours else "#E9ECF1"))
        shapes.append(Rect(x, RIBBON_Y, max(end - x - 2, 0.5), 4, colours.fill if colours else "#B9C0CB"))
        if span.label and end - x > 26:
            shapes += drawing.icon(EMOTIONS[span.label].icon, x + 6, RIBBON_Y + 8, 17, colours.ink if colours else INK_2)
        said = span.label or "no clear reading"
        if end - x > 30 + 8 * len(said):
            shapes.append(Text(x + 29, RIBBON_Y + 21, said, 13, colours.ink if colours else INK_2, True))
    return shapes


def _lines(result: ClipResult) -> list[Shape]:
    def at(seconds: float, probability: float) -> Point:
        return _x(result, seconds), PLOT_Y + PLOT_H * (1 - probability)

    shapes: list[Shape] = [_name("Probability", PLOT_Y + 80)]
    for tick in (0, 0.25, 0.5, 0.75, 1):
        y = PLOT_Y + PLOT_H * (1 - tick)
        shapes.append(Line([(LEFT, y), (RIGHT, y)], GRID))
        if tick in (0, 0.5, 1):
            shapes.append(Text(LEFT - 6, y + 4, f"{tick:g}", 12, INK_3, False, "end"))
    strong, ends = strongest(result), []
    for label in reversed(LABELS):
        emotion, (times, values) = EMOTIONS[label], course(result, label)
        points = [at(*point) for point in zip(times, values, strict=True)]
        if points:
            width = 2.6 if label in strong else 1.2
            shapes.append(Line(points, emotion.light.line, width, DASHES[emotion.dash]))
        if points and label in strong:
            ends.append((points[-1][1], label))
    lowest = float(PLOT_Y - 20)
    for y, label in sorted(ends):
        lowest = max(lowest + 19, min(y, PLOT_Y + PLOT_H - 19))
        ink = EMOTIONS[label].light.ink
        shapes += drawing.icon(EMOTIONS[label].icon, RIGHT + 10, lowest - 8, 16, ink)
        shapes.append(Text(RIGHT + 31, lowest + 5, label, 13, ink, True))
    return shapes


def _strip(result: ClipResult, label: str, top: float) -> tuple[list[Shape], float]:
    shapes: list[Shape] = [_name("Face", top + 22)]
    if render.person(result) is None:
        return [*shapes, Text(LEFT, top + 22, f"{result.face.reason or 'no face in this clip'}", 13, INK_2)], top + 34
    cells = render.strip_cells(result)
    size = min((RIGHT - LEFT) / len(cells), 160)
    faces, evidence = render.face_strip(result), render.face_evidence(result, label)
    for i, (cell, lines) in enumerate(zip(cells, render.face_contours(result, label), strict=True)):
        x, side = LEFT + i * size, size - 3
        if cell.frame is None:
            shapes.append(Rect(x, top, side, side, "#E9ECF1"))
            shapes.append(Text(x + side / 2, top + side / 2 + 4, "no face", 11, INK_2, False, "middle"))
            continue
        columns = slice(i * render.CELL_PX, (i + 1) * render.CELL_PX)
        shapes += [Picture(x, top, side, side, layer[:, columns]) for layer in (faces, evidence)]
        shapes += _contour([(line * side + (x, top)) for line in lines])
    shapes += _colour_bar(RIGHT + 12, top + size / 2 - 14, render.scale(result.evidence))
    return shapes, top + size


def _voice(result: ClipResult, label: str, top: float) -> tuple[list[Shape], float]:
    width = RIGHT - LEFT
    shapes: list[Shape] = [_name("Voice", top + 60), Rect(LEFT, top, width, SPEC_H, STAGE)]
    shapes += [
        Picture(LEFT, top, width, SPEC_H, pixels)
        for pixels in (render.spectrogram(result), render.voice_evidence(result, label))
    ]
    shapes += _contour([line * (width, SPEC_H) + (LEFT, top) for line in render.voice_contours(result, label)])
    for hz, share in render.frequency_ticks():
        said = f"{hz / 1000:g}k" if hz >= 1000 else f"{hz:g}"
        shapes.append(Text(LEFT - 6, top + SPEC_H * share + 4, said, 12, INK_3, False, "end"))
    shapes += _colour_bar(RIGHT + 12, top + SPEC_H / 2 - 14, render.scale(result.evidence))
    return [*shapes, Text(LEFT - 6, top - 6, "Hz", 12, INK_3, False, "end")], top + SPEC_H


def _contour(lines: list[np.ndarray]) -> list[Shape]:
    shapes: list[Shape] = []
    for line in lines:
        points = [(float(x), float(y)) for x, y in line]
        shapes += [Line(points, "#0A0D11", 2.6), Line(points, "#FFFFFF", 1.4, (4.0, 3.0))]
    return shapes


def _colour_bar(x: float, y: float, strongest_cell: float) -> list[Shape]:
    colours = render.ramp(np.linspace(0, 1, 116))[None].repeat(9, axis=0)
    pixels = np.dstack((colours, np.full(colours.shape[:2], 255, np.uint8)))
    return [
        Picture(x, y, 116, 9, pixels),
        Text(x, y + 23, "0", 12, INK_3),
        Text(x + 116, y + 23, f"{strongest_cell:.2g} logits", 12, INK_3, False, "end"),
    ]


def _seconds(result: ClipResult, y: float) -> list[Shape]:
    ticks = wording.ticks(result.clip.duration_s)
    last = ticks[-1]
    return [
        Text(_x(result, t), y, f"{t:g} s" if t == last else f"{t:g}", 12, INK_3, False, "middle" if t > 0 else "start")
        for t in ticks
    ]

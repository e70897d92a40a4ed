"""A drawing as a list of shapes, written as SVG or painted as PNG: figures to take away, without a browser or a network."""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import cos, hypot, pi, sin
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from svg.path import Move, parse_path

from .render import png as encode

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif"
ICON_UNITS = 20  # icons are drawn on a 20-unit square with strokes 1.7 wide
ICON_STROKE = 1.7

Point = tuple[float, float]


@dataclass(frozen=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    fill: str


@dataclass(frozen=True)
class Line:
    points: Sequence[Point]
    colour: str
    width: float = 1.0
    dash: tuple[float, ...] = ()
    fill: bool = False  # filled with its colour instead of stroked


@dataclass(frozen=True)
class Text:
    """`y` is the baseline; `anchor` is start, middle or end."""

    x: float
    y: float
    text: str
    size: float = 13
    colour: str = "#12161D"
    bold: bool = False
    anchor: str = "start"


@dataclass(frozen=True)
class Picture:
    x: float
    y: float
    width: float
    height: float
    pixels: np.ndarray  # uint8 [H,W,4]


Shape = Rect | Line | Text | Picture


def icon(inside: str, x: float, y: float, size: float, colour: str) -> list[Shape]:
    """The inside of a 20-unit SVG icon (circle, ellipse, path) as lines; elements of class f are filled."""
    unit = size / ICON_UNITS
    shapes: list[Shape] = []
    for element in ElementTree.fromstring(f"<g>{inside}</g>"):
        filled = element.get("class") == "f" or element.get("fill") is not None
        for points in _outlines(element):
            placed = [(x + px * unit, y + py * unit) for px, py in points]
            shapes.append(Line(placed, colour, ICON_STROKE * unit, fill=filled))
    return shapes


def _outlines(element: ElementTree.Element) -> list[list[Point]]:
    if element.tag == "path":
        outlines: list[list[Point]] = []
        for part in parse_path(element.get("d", "")):
            if isinstance(part, Move):
                outlines.append([(part.end.real, part.end.imag)])
                continue
            points = [part.point(step / 12) for step in range(1, 13)]
            outlines[-1] += [(p.real, p.imag) for p in points]
        return outlines
    centre_x, centre_y = float(element.get("cx", 0)), float(element.get("cy", 0))
    across = float(element.get("r", element.get("rx", 0)))
    down = float(element.get("r", element.get("ry", 0)))
    turns = [2 * pi * step / 36 for step in range(37)]
    return [[(centre_x + across * cos(a), centre_y + down * sin(a)) for a in turns]]


def svg(width: int, height: int, shapes: Iterable[Shape], title: str) -> bytes:
    """The drawing as one self-contained SVG file; `title` is its text alternative."""
    body = "".join(_svg_shape(shape) for shape in shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" font-family="{FONT}"><title>{escape(title)}</title>{body}</svg>\n'
    ).encode()


def _svg_shape(shape: Shape) -> str:
    if isinstance(shape, Rect):
        return (
            f'<rect x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}" fill="{shape.fill}"/>'
        )
    if isinstance(shape, Line):
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y in shape.points)
        if shape.fill:
            return f'<polygon points="{points}" fill="{shape.colour}"/>'
        dash = f' stroke-dasharray="{" ".join(f"{d:g}" for d in shape.dash)}"' if shape.dash else ""
        return (
            f'<polyline points="{points}" fill="none" stroke="{shape.colour}" stroke-width="{shape.width:g}" '
            f'stroke-linejoin="round" stroke-linecap="round"{dash}/>'
        )
    if isinstance(shape, Text):
        weight = ' font-weight="650"' if shape.bold else ""
        return (
            f'<text x="{shape.x:g}" y="{shape.y:g}" font-size="{shape.size:g}" fill="{shape.colour}" '
            f'text-anchor="{shape.anchor}"{weight}>{escape(shape.text)}</text>'
        )
    data = base64.b64encode(encode(shape.pixels)).decode()
    return (
        f'<image x="{shape.x:g}" y="{shape.y:g}" width="{shape.width:g}" height="{shape.height:g}" '
        f'preserveAspectRatio="none" href="data:image/png;base64,{data}"/>'
    )


def png(width: int, height: int, shapes: Iterable[Shape], scale: int = 2) -> bytes:
    """The same drawing painted at `scale` pixels per unit on white; painted twice as large first, for smooth lines."""
    canvas = Image.new("RGB", (width * scale * 2, height * scale * 2), "#FFFFFF")
    for shape in shapes:
        _paint(canvas, shape, scale * 2)
    canvas = canvas.resize((width * scale, height * scale), Image.Resampling.BOX)
    out = io.BytesIO()
    canvas.save(out, "PNG", dpi=(96 * scale, 96 * scale))
    return out.getvalue()


def _paint(canvas: Image.Image, shape: Shape, scale: int) -> None:
    draw = ImageDraw.Draw(canvas)
    if isinstance(shape, Rect):
        x, y = shape.x * scale, shape.y * scale
        draw.rectangle((x, y, x + shape.width * scale - 1, y + shape.height * scale - 1), fill=shape.fill)
    elif isinstance(shape, Text):
        font = ImageFont.load_default(shape.size * scale)
        anchor = {"start": "ls", "middle": "ms", "end": "rs"}[shape.anchor]
        thicker = 0.02 * shape.size * scale if shape.bold else 0  # the built-in font has one weight
        draw.text((shape.x * scale, shape.y * scale), shape.text, shape.colour, font, anchor, stroke_width=thicker)
    elif isinstance(shape, Line):
        points = [(x * scale, y * scale) for x, y in shape.points]
        if shape.fill:
            draw.polygon(points, fill=shape.colour)
        for piece in [] if shape.fill else dashes(points, [d * scale for d in shape.dash]):
            draw.line(piece, fill=shape.colour, width=max(1, round(shape.width * scale)), joint="curve")
    else:
        size = (max(1, round(shape.width * scale)), max(1, round(shape.height * scale)))
        picture = Image.fromarray(shape.pixels).convert("RGBA").resize(size, Image.Resampling.BILINEAR)
        canvas.paste(picture, (round(shape.x * scale), round(shape.y * scale)), picture)


def dashes(points: Sequence[Point], pattern: Sequence[float]) -> list[list[Point]]:
    """A line cut into its drawn pieces: `pattern` is on, off, on, off, ... along its length."""
    if not pattern:
        return [list(points)]
    pieces: list[list[Point]] = [[points[0]]]
    turn, left, drawn = 0, pattern[0], True
    for (x, y), (to_x, to_y) in pairwise(points):
        length = hypot(to_x - x, to_y - y)
        done = 0.0
        while length - done > left:
            done += left
            at = (x + (to_x - x) * done / length, y + (to_y - y) * done / length)
            if drawn:
                pieces[-1].append(at)
            else:
                pieces.append([at])
            turn, drawn = (turn + 1) % len(pattern), not drawn
            left = pattern[turn]
        left -= length - done
        if drawn:
            pieces[-1].append((to_x, to_y))
    return [piece for piece in pieces if len(piece) > 1]

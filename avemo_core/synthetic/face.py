"""Draws a person's head and shoulders with an expression: soft shapes, one light, no pictures of anybody.

Lengths are in head units: the head's centre is (0, 0), the chin near y = 1, the crown near -1.2, the eyes near x = +-0.31.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from . import hair, mouth
from .people import Expression, Person, expression
from .shapes import Array, between, bump, colour, curve, darken, over, step

LIGHT = np.array((-0.42, -0.52, 0.85), np.float32) / np.linalg.norm((-0.42, -0.52, 0.85))
EYE_X, EYE_Y = 0.315, -0.08
BACKGROUND = ((0.80, 0.83, 0.85), (0.60, 0.65, 0.69))  # top left, bottom right


@dataclass(frozen=True)
class View:
    """Where each pixel [H,W] lies: u, v on the head seen from the front, x, y in the picture; px is a pixel's side."""

    u: Array
    v: Array
    x: Array
    y: Array
    px: float

    @property
    def side(self) -> Array:
        return np.abs(self.u)

    def part(self, picture: Array, side: float, top: float, bottom: float) -> tuple[Array, "View"]:
        """The rectangle of the picture (as a view of it) where |u| < side and top < v < bottom: the rest costs no time."""
        inside = (np.abs(self.u) < side) & (self.v > top) & (self.v < bottom)
        rows, columns = np.flatnonzero(inside.any(1)), np.flatnonzero(inside.any(0))
        if not len(rows):
            rows = columns = np.zeros(1, int)
        box = np.s_[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2]
        return picture[box], View(self.u[box], self.v[box], self.x[box], self.y[box], self.px)


@lru_cache(maxsize=32)
def _contour(person: Person) -> Array:
    """The head's radius around (0, -0.1) at 181 angles, from the crown (0) to the chin (pi)."""
    young = person.low * 3
    half = [
        (0.0, -1.2), (0.36, -1.13), (0.61, -0.92), (0.745, -0.55), (0.765, -0.15),
        (0.735 + 0.03 * young, 0.2), ((0.655 + 0.08 * young) * person.jaw, 0.5),
        ((0.49 + 0.07 * young) * person.jaw, 0.76), ((0.25 + 0.03 * young) * person.jaw, 0.93), (0.0, 0.985),
    ]  # fmt: skip
    points = [(x, y if y < 0.5 else 0.5 + (y - 0.5) * person.chin) for x, y in half]
    angles = [float(np.arctan2(x, -(y + 0.1))) for x, y in points]
    radii = [float(np.hypot(x, y + 0.1)) for x, y in points]
    grid = np.linspace(0, np.pi, 181)
    radius = curve(grid, list(zip(angles, radii, strict=True)))
    mirrored = np.concatenate([radius[12:0:-1], radius, radius[-2:-14:-1]])
    window = np.hanning(25)
    return np.convolve(mirrored, window / window.sum(), "valid").astype(np.float32)


def radius_share(person: Person, u: Array, v: Array, jaw_drop: float = 0.0) -> tuple[Array, Array]:
    """How far out a point lies as a share of the head's radius there (1 is the outline), and that radius."""
    v = v - 0.15 * jaw_drop * step(0.45, 1.0, v)
    table = _contour(person)
    outline = np.interp(np.arctan2(np.abs(u), -(v + 0.1)), np.linspace(0, np.pi, len(table)), table).astype(np.float32)
    return np.hypot(u, v + 0.1) / outline, outline


def _relief(person: Person, e: Expression, u: Array, v: Array) -> Array:
    """Height [H,W] of the face towards the viewer: a dome with sockets, brow, nose, cheeks, lips and chin on it."""
    a = np.abs(u)
    share, _ = radius_share(person, u, v, e.jaw_drop)
    z = 0.55 * np.maximum(1 - np.minimum(share, 1) ** 2.4, 0) ** 0.7
    low, nose = person.low, person.nose
    z -= 0.085 * bump(a, v, 0.29, EYE_Y - 0.02 + low, 0.2, 0.12)
    z += 0.035 * bump(a, v, 0.27, -0.34 + low, 0.26, 0.09)
    z += (0.045 + 0.03 * e.cheek_raise + 0.025 * e.lip_corner_pull) * bump(
        a, v, 0.43, 0.2 + low - 0.05 * e.cheek_raise, 0.17, 0.19
    )
    tip = 0.29 + low - 0.03 * e.nose_wrinkle
    ridge = 0.03 + 0.15 * nose * step(-0.25 + low, tip, v) ** 1.2
    z += (
        ridge
        * (1 - step(tip + 0.01, tip + 0.11, v))
        * step(-0.32 + low, -0.12 + low, v)
        * np.exp(-((u / (0.1 * nose)) ** 2))
    )
    z += 0.075 * nose * bump(a, v, 0.125 * nose + 0.015 * e.nose_wrinkle, tip + 0.02, 0.055, 0.055)
    at = mouth.centre(person, e)
    z += 0.06 * bump(u, v, 0, at, 0.3, 0.17)
    z -= 0.045 * bump(u, v, 0, at + 0.17, 0.16, 0.05)
    return z + (0.05 + 0.05 * e.chin_raise) * bump(u, v, 0, 0.86 * person.chin + 0.12 * e.jaw_drop, 0.17, 0.1)


def _view(person: Person, size: tuple[int, int], yaw: float, roll: float, scale: float, shift: tuple[float, float]) -> View:
    """Pixel grid -> head units; yaw and roll in degrees, shift in head units (x right, y down)."""
    width, height = size
    unit = 0.292 * min(height, width * 1.15) * scale
    grid_y, grid_x = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (grid_x - width / 2 + 0.5) / unit - shift[0]
    y = (grid_y - height * 0.5 + 0.5) / unit - shift[1]
    turn = np.deg2rad(roll)
    hx, hv = x * np.cos(turn) + (y - 1) * np.sin(turn), (y - 1) * np.cos(turn) - x * np.sin(turn) + 1
    sin, cos = np.sin(np.deg2rad(yaw)), np.cos(np.deg2rad(yaw))
    u = hx
    if yaw:
        for _ in range(3):  # where on the face is this pixel? its place depends on its own depth
            share, _ = radius_share(person, u, hv)
            depth = 0.58 * (1 - np.minimum(share, 1) ** 2) + 0.14 * bump(u, hv, 0, 0.27, 0.1, 0.16)
            u = (hx - depth * sin) / cos
    return View(u.astype(np.float32), hv.astype(np.float32), x, y, 1 / unit)


def _lit(z: Array, px: float) -> tuple[Array, Array]:
    """Height [H,W] -> diffuse light and shine, both 0..1."""
    dy, dx = np.gradient(z, px)
    slope = np.sqrt(1 + dx**2 + dy**2)
    toward = (-dx * LIGHT[0] - dy * LIGHT[1] + LIGHT[2]) / slope
    return np.clip(toward, 0, 1), np.clip(toward, 0, 1) ** 18


def _background(view: View) -> Array:
    ramp = np.clip(0.5 + 0.11 * view.x + 0.22 * view.y, 0, 1)[..., None]
    top, bottom = (np.array(c, np.float32) for c in BACKGROUND)
    glow = 0.07 * bump(view.x, view.y, -0.5, -0.6, 1.2, 1.1)[..., None]
    grain = np.random.default_rng(5).uniform(-1, 1, (*view.x.shape, 1)) / 255  # an even ramp shows bands otherwise
    return (top + (bottom - top) * ramp + glow + grain).astype(np.float32)


def _body(picture: Array, view: View, person: Person) -> None:
    """Neck and shoulders, with the head's shadow on the neck."""
    x, y = np.abs(view.x), view.y
    skin, cloth = colour(person.skin), colour(person.clothes)
    neck = curve(y, [(0.4, 0.43), (0.85, 0.4), (1.15, 0.43), (1.4, 0.6), (1.6, 0.95)]) * person.neck
    shade = 0.82 - 0.42 * (view.x / 0.5).clip(-1, 1) * 0.5 - 0.35 * np.clip(x / neck, 0, 1) ** 4
    shadow = 0.42 * (1 - step(0.75, 1.3, y + 0.25 * view.x))
    tone = skin * np.clip(shade - shadow, 0.2, 1)[..., None] ** np.array((0.9, 1.08, 1.16), np.float32)
    over(picture, tone, between(x, -neck - 1, neck, view.px * 1.5) * step(0.3, 0.32, y))
    tendon = bump(x - 0.1 - 0.28 * (1.25 - y), y, 0, 1.1, 0.035, 0.16)
    darken(picture, 0.1 * tendon * (x < neck))
    shoulder = curve(x, [(0.0, 1.2), (0.45 * person.neck, 1.24), (0.95, 1.37), (1.35, 1.5), (1.62, 1.75), (1.8, 2.4)])
    collar = np.maximum(shoulder, 1.2 + 0.25 * np.sqrt(np.maximum(1 - (x / (0.2 + 0.26 * person.neck)) ** 2, 0)))
    fold = 0.04 * np.sin(view.x * 6 + y * 3) + 0.05 * np.sin(view.x * 2.3 - y * 5)
    shade = 0.95 - 0.22 * view.x.clip(-1.5, 1.5) / 1.5 - 0.25 * step(1.2, 2.4, y) + fold - 0.3 * step(1.0, 1.75, x)
    inside = np.clip((y - collar) / (view.px * 1.5) + 0.5, 0, 1)
    over(picture, cloth * shade[..., None], inside)
    darken(picture, 0.35 * np.exp(-(((y - collar - 0.035) / 0.018) ** 2)) * inside * step(0.5, 0.42, x), (1, 1, 1))


def _ears(picture: Array, view: View, person: Person) -> None:
    if person.style in hair.LENGTH:
        return
    a, v = view.side, view.v - 0.04 - person.low
    d = np.hypot((a - 0.765) / 0.1, v / 0.19)
    alpha = np.clip((1 - d) * 0.1 / view.px + 0.5, 0, 1)
    tone = colour(person.skin) * (0.74 - 0.1 * view.u / 0.7)[..., None] * np.array((1.05, 0.94, 0.92), np.float32)
    over(picture, tone, alpha)
    darken(picture, 0.4 * np.exp(-(((d - 0.55) / 0.2) ** 2)) * alpha)


def _skin(picture: Array, view: View, person: Person, e: Expression) -> None:
    """The bare head."""
    u, v, a = view.u, view.v, view.side
    share, outline = radius_share(person, u, v, e.jaw_drop)
    head = np.clip((1 - share) * outline / view.px + 0.5, 0, 1)
    diffuse, shine = _lit(_relief(person, e, u, v), view.px)
    level = np.clip(0.5 + 0.6 * diffuse, 0.3, 1.12)[..., None]
    skin = colour(person.skin) * level ** np.array((0.8, 1.02, 1.1), np.float32)
    blush = 0.5 * bump(a, v, 0.45, 0.24 + person.low, 0.2, 0.16) + 0.5 * bump(u, v, 0, 0.3 + person.low, 0.13, 0.09)
    skin *= 1 - 0.16 * blush[..., None] * np.array((0.05, 1, 0.8), np.float32)
    if person.stubble:
        beard = step(0.3, 0.52, v + 0.25 * a) * (1 - 0.75 * bump(a, v, 0.42, 0.3, 0.17, 0.2))
        skin += (skin * np.array((0.76, 0.8, 0.86), np.float32) - skin) * (0.55 * person.stubble * beard)[..., None]
    skin += 0.07 * shine[..., None]
    over(picture, skin, head)


def _folds(picture: Array, view: View, person: Person, e: Expression) -> None:
    """Lines that come and go with the expression, and the nose's own edges."""
    a, v, low = view.side, view.v, person.low
    adult = 1 - 8 * low
    head = step(1, 0.96, radius_share(person, view.u, v, e.jaw_drop)[0])
    width, corner = mouth.corner(person, e)
    # from the nose's wing round the corner of the mouth
    deep = np.clip(
        0.09 * adult + 0.2 * e.lip_corner_pull + 0.3 * max(e.nose_wrinkle, e.upper_lip_raise) + 0.1 * e.lip_stretch, 0, 0.45
    )
    top = 0.27 + low - 0.05 * e.nose_wrinkle
    fold = curve(
        v, [(top, 0.17 * person.nose), (0.45 + low / 2, 0.27 + 0.05 * e.lip_corner_pull), (corner + 0.05, width + 0.085)]
    )
    along = step(top - 0.03, top + 0.07, v) * (1 - step(corner - 0.06, corner + 0.1, v))
    darken(
        picture,
        head * deep * along * np.where(a < fold, np.exp(-(((a - fold) / 0.05) ** 2)), np.exp(-(((a - fold) / 0.028) ** 2))),
    )
    # forehead, between the brows, bridge of the nose
    for inward, line in ((0.0, -0.6), (0.02, -0.52)):
        amount = 0.2 * adult * max(e.outer_brow_raise, 0.6 * e.inner_brow_raise)
        arc = line + low + inward - 0.04 * np.cos(a * 5)
        darken(picture, head * amount * np.exp(-(((v - arc) / 0.016) ** 2)) * (1 - step(0.25, 0.5, a)))
    frown = np.exp(-(((a - 0.055 - 0.1 * (v + 0.25 - low) ** 2) / 0.016) ** 2)) * bump(a, v, 0, -0.27 + low, 1, 0.09)
    darken(picture, head * 0.4 * e.brow_lower * frown)
    for line in (-0.1, -0.03):
        bridge = np.exp(-(((v - line - low + 0.5 * a**2) / 0.014) ** 2)) * (1 - step(0.05, 0.12, a))
        darken(picture, head * 0.3 * e.nose_wrinkle * bridge)
    # under the eyes; at their outer corners in a real smile
    lower = EYE_Y + low + 0.1 - 0.03 * e.cheek_raise
    bag = np.exp(-(((v - lower - 0.03 * np.cos((a - EYE_X) * 8)) / 0.016) ** 2)) * bump(a, v, EYE_X - 0.02, lower, 0.13, 0.2)
    darken(picture, head * (0.1 * adult + 0.2 * e.cheek_raise + 0.12 * e.lid_tighten) * bag)
    for rise in (-0.35, 0.1, 0.5):
        foot = np.exp(-(((v - EYE_Y - low - rise * (a - 0.47)) / 0.01) ** 2)) * bump(a, v, 0.57, EYE_Y + low, 0.06, 0.2)
        darken(picture, head * 0.2 * adult * e.cheek_raise * foot)


def _nose(picture: Array, view: View, person: Person, e: Expression) -> None:
    a, v, nose = view.side, view.v, person.nose
    tip = 0.33 + person.low - 0.035 * e.nose_wrinkle
    hole = np.hypot(
        (a - 0.072 * nose) / (0.042 * nose), (v - tip - 0.035 + 0.18 * (a - 0.07)) / (0.02 + 0.006 * e.nose_wrinkle)
    )
    darken(picture, 0.72 * (1 - step(0.6, 1.35, hole)))
    wing = np.hypot((a - 0.115 * nose - 0.012 * e.nose_wrinkle) / (0.062 * nose), (v - tip + 0.005) / 0.07)
    darken(picture, 0.24 * np.exp(-(((wing - 1) / 0.25) ** 2)) * step(0.1, 0.19, a / nose) * step(tip - 0.09, tip - 0.01, v))
    darken(picture, 0.2 * bump(a, v, 0, tip + 0.065, 0.1 * nose, 0.03))


def _eyes(picture: Array, view: View, person: Person, e: Expression, gaze: tuple[float, float]) -> None:
    """Both eyes at once: everything is symmetrical but the gaze and the highlight."""
    a, v, px = view.side, view.v, view.px
    cy, wide = EYE_Y + person.low, 0.15 * person.eyes
    s = (a - EYE_X) / wide  # -1 inner corner, 1 outer corner
    round_ = np.maximum(1 - s**2, 0)
    open_ = (1 - e.lid_droop) * (1 + 0.42 * e.lid_raise)
    up = 0.078 * person.eyes * open_ * (1 - 0.22 * e.lid_tighten - 0.2 * e.cheek_raise)
    sad = 0.4 * min(e.inner_brow_raise, e.brow_lower * 2)
    corner = cy + 0.008 - 0.014 * s + 0.045 * min(e.brow_lower, 1 - e.inner_brow_raise) * np.maximum(-s, 0)
    upper = corner - up * round_ ** (0.62 + 0.1 * s) * (1 - sad * s * 0.6)
    lower = corner + 0.047 * person.eyes * round_**0.75 * (1 - 0.55 * e.cheek_raise - 0.5 * e.lid_tighten)
    lower = np.maximum(lower, upper)
    at = (np.abs(s) < 1).astype(np.float32)
    visible = between(v, upper, lower, px * 1.3) * at * step(0.0, 0.3, up / 0.083)

    lid = bump(a, v, EYE_X, cy - 0.06, 0.19, 0.11)
    darken(picture, 0.16 * lid * (1 - visible))
    white = np.array((0.93, 0.92, 0.91), np.float32) * (0.98 - 0.2 * s**2)[..., None]
    over(picture, white, visible)
    side = np.sign(view.u)
    ix, iy = EYE_X + 0.06 * gaze[0] * side, cy - 0.012 + 0.04 * gaze[1]
    radius = 0.07 * person.eyes
    d = np.hypot(a - ix, v - iy)
    iris = np.clip((radius - d) / (px * 1.3) + 0.5, 0, 1) * visible
    ring = colour(person.iris) * (1.25 - 0.75 * (d / radius) ** 3 + 0.3 * step(-0.5, 1, (v - iy) / radius))[..., None]
    over(picture, ring, iris)
    over(picture, (0.03, 0.025, 0.025), np.clip((radius * 0.47 - d) / (px * 1.3) + 0.5, 0, 1) * visible)
    darken(picture, visible * 0.5 * (1 - step(0.0, 0.045, v - upper)), (1, 1, 1))
    spark = np.hypot(view.u - side * ix + 0.022, v - iy + 0.026)
    over(picture, (1, 1, 1), 0.92 * np.clip((0.017 - spark) / px + 0.5, 0, 1) * visible)

    near = step(1.14, 0.98, np.abs(s))
    lash = np.exp(-((np.minimum(v - upper, 0) / 0.011) ** 2) - (np.maximum(v - upper, 0) / 0.008) ** 2)
    over(picture, np.minimum(colour(person.hair) * 0.4, 0.12), lash * near * (0.7 + 0.2 * np.clip(s, 0, 1)))
    darken(picture, 0.3 * np.exp(-(((v - lower) / 0.01) ** 2)) * near)
    crease = upper - 0.035 - 0.012 * round_ + 0.02 * e.lid_raise + 0.02 * e.brow_lower
    darken(picture, 0.3 * np.exp(-(((v - crease) / 0.011) ** 2)) * step(1.2, 0.8, np.abs(s + 0.05)))


def _brows(picture: Array, view: View, person: Person, e: Expression) -> None:
    a, v = view.side, view.v
    inner = 0.125 - 0.035 * e.brow_lower
    s = (a - inner) / 0.4
    t = np.clip(s, 0, 1)
    arch = 0.055 * np.sin(np.pi * np.clip(t * 0.9 + 0.02, 0, 1)) - 0.02 * t
    y = -0.27 + person.low * 0.8 - arch
    y = (
        y
        - 0.115 * e.inner_brow_raise * (1 - t) ** 1.4
        - 0.1 * e.outer_brow_raise * np.sin(np.pi * np.clip(t * 0.75 + 0.1, 0, 1))
    )
    y = y + e.brow_lower * (0.125 * (1 - t) ** 1.2 + 0.03 * t) * (1 - 0.55 * e.inner_brow_raise)
    y = y + 0.02 * (e.nose_wrinkle - e.inner_brow_raise * 0.3 * t)
    thick = 0.031 * person.brows * step(-0.06, 0.16, s) * (1 - 0.75 * t**2.2)
    hairs = 0.82 + 0.18 * np.sin((a * 1.2 + v) * 150) * np.sin(a * 90 + 1)
    alpha = np.exp(-(np.abs((v - y) / np.maximum(thick, 1e-3)) ** 3)) * step(-0.05, 0.1, s) * step(1.04, 0.9, s)
    over(picture, colour(person.hair) * 0.62, np.clip(alpha * hairs, 0, 1) * 0.9)


def draw_face(
    person: Person,
    of: Expression | dict[str, float] | str = "neutral",
    size: tuple[int, int] = (360, 360),
    yaw: float = 0.0,
    roll: float = 0.0,
    scale: float = 1.0,
    shift: tuple[float, float] = (0.0, 0.0),
    gaze: tuple[float, float] = (0.0, 0.0),
) -> np.ndarray:
    """One picture, uint8 [height, width, 3] for `size` = (width, height).

    yaw, roll: degrees, to the picture's right and clockwise. scale: 1 fills two thirds of the height.
    shift: in head units (a head is 2.2 high); x beyond about 2 leaves the picture. gaze: -1..1 each.
    """
    e = expression(of)
    view = _view(person, size, yaw, roll, scale, shift)
    picture = _background(view)
    hair.behind(picture, view, person)
    _body(*view.part(picture, 9, 0.2, 99), person)
    _ears(*view.part(picture, 0.95, -0.3, 0.5), person)
    _skin(*view.part(picture, 1.05, -1.45, 1.3), person, e)
    _folds(*view.part(picture, 0.72, -0.75, 1.0), person, e)
    _nose(*view.part(picture, 0.3, 0.1, 0.6), person, e)
    mouth.draw(*view.part(picture, 0.5, 0.3, 1.05), person, e)
    _eyes(*view.part(picture, 0.6, -0.4, 0.25), person, e, gaze)
    _brows(*view.part(picture, 0.62, -0.6, 0.1), person, e)
    skull, near = view.part(picture, 1.05, -1.5, 1.05)
    hair.front(skull, near, person, radius_share(person, near.u, near.v)[0])
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)

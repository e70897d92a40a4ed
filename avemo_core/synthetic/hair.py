"""Hair: a part behind the head and a part over the forehead, with locks and a band of light."""

import numpy as np

from .people import Person
from .shapes import Array, between, bump, colour, curve, darken, over, step, strands

# where the forehead ends, by how far to the picture's right; a parting makes it uneven
HAIRLINES: dict[str, list[tuple[float, float]]] = {
    "short": [(-0.8, 0.12), (-0.72, -0.1), (-0.66, -0.42), (-0.5, -0.68), (-0.2, -0.74), (0.2, -0.7), (0.5, -0.64), (0.66, -0.42), (0.72, -0.1), (0.8, 0.12)],
    "crop": [(-0.8, 0.02), (-0.72, -0.16), (-0.66, -0.42), (-0.55, -0.55), (-0.2, -0.59), (0.2, -0.58), (0.55, -0.55), (0.66, -0.42), (0.72, -0.16), (0.8, 0.02)],
    "bob": [(-0.8, 0.9), (-0.7, 0.35), (-0.66, -0.2), (-0.55, -0.5), (-0.2, -0.72), (0.12, -0.86), (0.4, -0.66), (0.6, -0.38), (0.68, 0.35), (0.8, 0.9)],
    "long": [(-0.8, 1.0), (-0.71, 0.4), (-0.66, -0.2), (-0.5, -0.6), (-0.2, -0.82), (0.0, -0.9), (0.2, -0.82), (0.5, -0.6), (0.66, -0.2), (0.71, 0.4), (0.8, 1.0)],
    "bun": [(-0.8, 0.0), (-0.73, -0.15), (-0.64, -0.5), (-0.4, -0.75), (0.0, -0.82), (0.4, -0.75), (0.64, -0.5), (0.73, -0.15), (0.8, 0.0)],
}  # fmt: skip
VOLUME = {"short": 1.085, "crop": 1.055, "bob": 1.11, "long": 1.09, "bun": 1.05}
LENGTH = {"bob": 0.78, "long": 1.75}  # how far down hair falls beside the neck


def _tone(person: Person, view, seed: int, light: Array) -> Array:
    """Colour [H,W,3] of hair: locks that run away from a parting, lit from the upper left."""
    locks = strands(np.arctan2(view.u - 0.1, -(view.v + 0.15) + 0.9), seed)
    level = 0.78 + 0.24 * locks + light - 0.14 * view.x
    sheen = np.exp(-(((np.hypot(view.u + 0.15, view.v + 0.2) - 0.8) / 0.11) ** 2)) * step(0.3, -0.6, view.v)
    base = colour(person.hair) * np.clip(level, 0.35, 1.5)[..., None]
    return base + (0.13 * sheen * (0.7 + 0.5 * locks))[..., None] * (0.35 + 0.65 * colour(person.hair))


def behind(picture: Array, person: Person, view) -> None:
    """Hair that falls behind neck and shoulders, or a knot above the head."""
    a, v = view.side, view.v
    if person.style in LENGTH:
        end = LENGTH[person.style]
        swing = 0.03 * np.sin(v * 5 + view.u * 2)
        width = (
            curve(v, [(-1.2, 0.3), (-0.6, 0.83), (0.2, 0.93), (end - 0.12, 0.95 if end < 1 else 0.9), (end, 0.78)]) + swing
        )
        soft = view.px * 2
        alpha = between(a, -width - 1, width, soft) * between(v, np.float32(-0.9), np.float32(end), soft * 2)
        over(picture, _tone(person, view, 3, -0.25 - 0.1 * step(0.1, 1, v)), alpha)
    if person.style == "bun":
        d = np.hypot(view.u / 0.34, (v + 1.36) / 0.26)
        over(picture, _tone(person, view, 5, 0.1 - 0.3 * d), np.clip((1 - d) * 0.25 / view.px + 0.5, 0, 1))


def front(picture: Array, person: Person, view, share: Array) -> None:
    """Hair over the skull down to the hairline; `share` is the radius as a share of the head's outline."""
    u, v, px = view.u, view.v, view.px
    ragged = 0.018 * strands(u * 2.2, 7, 60) * (1 if person.style in ("short", "crop") else 0.3)
    line = curve(u, HAIRLINES[person.style]) + person.low * 0.35 + ragged
    outer = VOLUME[person.style] + 0.012 * strands(np.arctan2(u, -v), 11, 50) * (person.style in ("short", "crop"))
    low = 0.75 if person.style == "bob" else 0.95 if person.style == "long" else 0.2
    skull = np.clip((outer - share) / px * 0.9 + 0.5, 0, 1) * step(low, low - 0.15, v)
    soft = px * 2 + (0.03 if person.style in ("crop", "bun") else 0.012)
    covered = skull * np.clip((line - v) / soft + 0.5, 0, 1)
    under = np.clip(1.0 - share, 0, 1) > 0.0
    darken(picture, 0.28 * skull * under * np.exp(-np.maximum(v - line, 0) / 0.06) * (v > line - 0.02) * (v < 0.5))
    light = 0.16 * bump(u, v, -0.35, -0.85, 0.5, 0.4) - 0.3 * step(0.82, 1.1, share)
    over(picture, _tone(person, view, 3, light), covered)

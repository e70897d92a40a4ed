"""Hair: a part behind the head and a part over the forehead, with locks and a band of light."""

import numpy as np

from .people import Person
from .shapes import Array, between, bump, colour, curve, darken, over, step, strands

# Where the forehead ends, by how far to the picture's right; a parting makes it uneven.
HAIRLINES: dict[str, list[tuple[float, float]]] = {
    style: list(zip((-0.8, -0.72, -0.66, -0.5, -0.2, 0.05, 0.25, 0.5, 0.66, 0.72, 0.8), heights, strict=True))
    for style, heights in {
        "short": (0.12, -0.1, -0.42, -0.68, -0.75, -0.74, -0.7, -0.62, -0.42, -0.1, 0.12),
        "crop": (0.02, -0.16, -0.42, -0.56, -0.6, -0.61, -0.6, -0.55, -0.42, -0.16, 0.02),
        "bob": (0.9, 0.35, -0.2, -0.52, -0.72, -0.84, -0.8, -0.56, -0.2, 0.35, 0.9),
        "long": (1.0, 0.4, -0.2, -0.6, -0.82, -0.88, -0.8, -0.6, -0.2, 0.4, 1.0),
        "bun": (0.0, -0.17, -0.47, -0.68, -0.8, -0.82, -0.79, -0.68, -0.47, -0.17, 0.0),
    }.items()
}
VOLUME = {"short": 1.085, "crop": 1.055, "bob": 1.11, "long": 1.09, "bun": 1.05}
LENGTH = {"bob": 0.78, "long": 1.75}  # how far down hair falls beside the neck


def _tone(person: Person, view, seed: int, light: Array) -> Array:
    """Colour [H,W,3] of hair: locks that run away from a parting, lit from the upper left."""
    spread = 0.12 + 0.6 * (1 - np.exp(-np.maximum(view.v + 1.3, 0) / 0.6))  # from the crown outwards, then straight down
    locks = strands((view.u - 0.1) / spread, seed)
    level = 0.8 + 0.3 * locks + light - 0.14 * view.x
    sheen = np.exp(-(((np.hypot(view.u + 0.15, view.v + 0.2) - 0.8) / 0.11) ** 2)) * step(0.3, -0.6, view.v)
    base = colour(person.hair) * np.clip(level, 0.35, 1.5)[..., None]
    return base + (0.15 * sheen * (0.75 + 0.7 * locks))[..., None] * (0.35 + 0.65 * colour(person.hair))


def behind(picture: Array, view, person: Person) -> None:
    """Hair that falls behind neck and shoulders, or a knot above the head."""
    a, v = view.side, view.v
    if person.style in LENGTH:
        end = LENGTH[person.style]
        swing = 0.03 * np.sin(v * 5 + view.u * 2) * step(-0.1, 0.4, v)
        width = curve(v, [(-0.9, 0.6), (-0.6, 0.78), (-0.2, 0.85), (0.3, 0.88), (end, 0.86)]) + swing
        tip = np.sqrt(np.maximum(1 - (a / 0.98) ** 6, 0))  # rounded at the lower corners
        bottom = end - 0.35 * (1 - tip) + 0.02 * strands(view.u * 2, 17, 60)
        alpha = between(a, -width - 1, width, view.px * 2) * between(v, -0.9, bottom, view.px * 4)
        over(picture, _tone(person, view, 3, -0.22 - 0.12 * step(0.1, 0.8, v)), alpha)
    if person.style == "bun":
        d = np.hypot(view.u / 0.32, (v + 1.31) / 0.24)
        over(picture, _tone(person, view, 5, 0.1 - 0.3 * d), np.clip((1 - d) * 0.25 / view.px + 0.5, 0, 1))


def front(picture: Array, view, person: Person, share: Array) -> None:
    """Hair over the skull down to the hairline; `share` is the radius as a share of the head's outline."""
    u, v, px = view.u, view.v, view.px
    ragged = 0.035 * strands(u * 2.2 + 0.15 * v, 7, 90) * (1 if person.style in ("short", "crop") else 0.25)
    line = curve(u, HAIRLINES[person.style]) + person.low * 0.35 + ragged
    outer = VOLUME[person.style] + 0.018 * strands(np.arctan2(u, -v), 11, 50) * (person.style in ("short", "crop"))
    outer = outer + 0.05 * bump(u, v, 0.12, -1.25, 0.5, 0.5) * (person.style == "short")
    low = 0.75 if person.style == "bob" else 0.95 if person.style == "long" else 0.2
    skull = np.clip((outer - share) / px * 0.9 + 0.5, 0, 1) * step(low, low - 0.15, v)
    soft = px * 2 + (0.03 if person.style in ("crop", "bun") else 0.012)
    covered = skull * np.clip((line - v) / soft + 0.5, 0, 1)
    under = np.clip(1.0 - share, 0, 1) > 0.0
    darken(picture, 0.28 * skull * under * np.exp(-np.maximum(v - line, 0) / 0.06) * (v > line - 0.02) * (v < 0.5))
    light = 0.16 * bump(u, v, -0.35, -0.85, 0.5, 0.4) - 0.3 * step(0.82, 1.1, share)
    over(picture, _tone(person, view, 3, light), covered)

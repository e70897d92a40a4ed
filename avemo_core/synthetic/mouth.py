"""The mouth: lips between four curves, teeth and tongue behind them."""

import numpy as np

from .people import Expression, Person
from .shapes import Array, between, bump, colour, darken, over, step


def centre(person: Person, e: Expression) -> float:
    """Height at which the lips meet."""
    return 0.585 + person.low * 0.45 - 0.03 * e.chin_raise - 0.015 * e.upper_lip_raise


def corner(person: Person, e: Expression) -> tuple[float, float]:
    """Half the mouth's width, and the height of its corners."""
    rounding = max(e.jaw_drop - 0.5 * e.lip_corner_pull - 0.6 * e.lip_stretch, 0)
    half = 0.25 - 0.02 * person.low / 0.1 + 0.085 * e.lip_corner_pull + 0.06 * e.lip_stretch
    half -= 0.035 * e.lip_tighten + 0.055 * rounding + 0.012 * e.chin_raise
    drop = (
        -0.1 * e.lip_corner_pull
        + 0.068 * e.lip_corner_depress
        + 0.02 * e.lip_stretch
        + 0.06 * e.jaw_drop * (1 - e.lip_corner_pull)
    )
    return half, centre(person, e) + drop


def draw(picture: Array, view, person: Person, e: Expression) -> None:
    """Paints lips, mouth line, inside of the mouth and the soft shadows around it over the picture in place."""
    u, v, px = view.u, view.v, view.px
    half, corner_y = corner(person, e)
    middle = centre(person, e)
    m = np.clip(np.abs(u) / half, 0, 1)
    arch = np.maximum(1 - m**2, 0)
    line = middle + (corner_y - middle) * m**2.0
    gap = (
        (0.06 + 0.07 * e.lip_corner_pull + 0.04 * e.lip_stretch) * e.lips_part
        + 0.26 * e.jaw_drop
        + 0.025 * e.upper_lip_raise * (e.lips_part > 0)
    )
    raised = 0.045 * e.upper_lip_raise + 0.02 * e.lip_corner_pull * e.lips_part
    top = line - (0.22 * gap + raised * (e.lips_part > 0.1)) * arch**0.7
    bottom = line + 0.78 * gap * arch**0.6
    full = person.lips * (1 - 0.62 * e.lip_tighten) * (1 - 0.2 * e.lip_corner_pull) * (1 - 0.2 * e.lip_stretch)
    bow = 1 + 0.28 * np.exp(-(((np.abs(u) - 0.065) / 0.045) ** 2)) - 0.12 * np.exp(-((u / 0.025) ** 2))
    lift = 0.02 * e.upper_lip_raise * (e.lips_part <= 0.1)
    upper = top - (0.05 * full * bow + lift) * arch**0.75
    lower = bottom + 0.078 * full * (1 + 0.25 * e.chin_raise) * arch**0.85
    at = (np.abs(u) < half).astype(np.float32)

    skin = colour(person.skin)
    red = np.array((0.72, 0.3, 0.3), np.float32) * (0.55 + 0.45 * skin.mean() / 0.72)
    lip = skin * 0.9 + (red - skin * 0.9) * person.lip_red
    darken(picture, 0.22 * bump(u, v, 0, float(lower.max()) + 0.035, half * 0.62, 0.035))
    over(
        picture,
        lip * (0.84 - 0.1 * (u + 0.1) / half)[..., None],
        between(v, upper, top + px, px * 1.6) * at * step(0, 0.08, 1 - m),
    )
    shade = 1.04 - 0.2 * step(0.3, 1, (v - bottom) / 0.08) - 0.1 * u / half
    over(picture, lip * shade[..., None], between(v, bottom - px, lower, px * 1.6) * at * step(0, 0.08, 1 - m))
    over(picture, (1, 0.93, 0.9), 0.22 * bump(u, v, -0.05, float(bottom.max()) + 0.034 * full, 0.1, 0.014) * full)

    if gap > 0.004:
        _inside(picture, e, view, m, top, bottom, between(v, top, bottom, px * 1.4) * at)
    edge = np.exp(-(((v - line) / 0.009) ** 2)) * step(1.06, 0.95, np.abs(u) / half)
    darken(picture, (0.72 if gap < 0.02 else 0.0) * edge, (0.85, 1, 1))
    darken(picture, 0.5 * np.exp(-(((v - top) / 0.008) ** 2)) * at * (gap >= 0.02))
    tuck = 0.14 + 0.2 * e.lip_corner_pull + 0.3 * e.lip_corner_depress
    away = corner_y + 0.02 * e.lip_corner_depress
    darken(
        picture,
        tuck * bump(np.abs(u), v, half + 0.008 + 0.01 * e.lip_corner_pull, away, 0.024, 0.03 + 0.02 * e.lip_corner_depress),
    )
    darken(picture, 0.07 * bump(u, v, 0, middle - 0.12, 0.022, 0.06))


def _inside(picture, e: Expression, view, m, top, bottom, mask) -> None:
    """Dark, with the upper teeth hanging from the top, the lower ones seen in fear, the tongue when wide open."""
    u, v, px = view.u, view.v, view.px
    over(picture, (0.2, 0.065, 0.07), mask)
    tongue = bump(u, v, 0, float(bottom.max()) - 0.005, 0.15, 0.075)
    over(picture, (0.62, 0.27, 0.27), mask * 0.8 * e.jaw_drop * tongue)
    shown = 0.105 if e.lip_corner_pull > 0.2 else 0.045 + 0.05 * e.upper_lip_raise
    between_teeth = 0.07 * (np.abs(((np.abs(u) / 0.062) % 1) - 0.5) > 0.44)
    tone = np.array((0.95, 0.93, 0.89), np.float32) * (1 - 0.38 * m**3 - between_teeth)[..., None]
    over(
        picture,
        tone,
        mask * between(v, top - 0.1, top + shown * np.sqrt(np.maximum(1 - m**2, 0)), px * 2) * step(1, 0.8, m) * 0.97,
    )
    if e.lip_stretch > 0.2:
        over(
            picture,
            tone * 0.86,
            mask * between(v, bottom - 0.035 * e.lip_stretch, bottom + 0.1, px * 2) * step(0.95, 0.75, m),
        )
    darken(picture, mask * 0.3 * (1 - step(0, 0.03, v - top)), (1, 1, 1))

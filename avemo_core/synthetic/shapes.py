"""What the drawing is made of: soft masks, bumps, curves and layers over a picture, all on float32 arrays [H,W]."""

import numpy as np

Array = np.ndarray
Length = np.ndarray | float


def step(low: float, high: float, x: Length) -> Array:
    """0 below `low`, 1 above `high`, smooth between (low > high turns it round)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Array, y: Array, cx: float, cy: float, rx: float, ry: float) -> Array:
    """A Gaussian hill of height 1."""
    return np.exp(-(((x - cx) / rx) ** 2) - ((y - cy) / ry) ** 2)


def between(y: Array, top: Length, bottom: Length, soft: float) -> Array:
    """1 where top < y < bottom, with an edge `soft` wide; 0 where the two have crossed."""
    return np.clip((y - top) / soft + 0.5, 0, 1) * np.clip((bottom - y) / soft + 0.5, 0, 1)


def curve(x: Array, points: list[tuple[float, float]]) -> Array:
    """A smooth y(x) through the points (monotone cubic, flat beyond the ends)."""
    px, py = np.array(points, np.float64).T
    slope = np.diff(py) / np.diff(px)
    tangent = np.zeros_like(py)
    same = slope[:-1] * slope[1:] > 0
    tangent[1:-1][same] = 2 * (slope[:-1] * slope[1:])[same] / (slope[:-1] + slope[1:])[same]
    tangent[0], tangent[-1] = slope[0], slope[-1]
    fine = np.linspace(px[0], px[-1], 200)
    i = np.clip(np.searchsorted(px, fine, side="right") - 1, 0, len(slope) - 1)
    h = px[i + 1] - px[i]
    t = (fine - px[i]) / h
    y = (
        (2 * t**3 - 3 * t**2 + 1) * py[i]
        + (t**3 - 2 * t**2 + t) * h * tangent[i]
        + (3 * t**2 - 2 * t**3) * py[i + 1]
        + (t**3 - t**2) * h * tangent[i + 1]
    )
    return np.interp(x, fine, y).astype(np.float32)


def over(picture: Array, colour: Array | tuple[float, ...], alpha: Array) -> None:
    """Paints `colour` ([3] or [H,W,3], 0..1) over the picture in place, `alpha` [H,W] opaque."""
    picture += (np.asarray(colour, np.float32) - picture) * alpha[..., None]


def darken(picture: Array, amount: Array, tint: tuple[float, float, float] = (0.8, 1.0, 1.05)) -> None:
    """Multiplies the picture down in place, blue and green a little more than red, as skin does in shadow."""
    picture *= 1 - amount[..., None] * np.asarray(tint, np.float32)


def colour(rgb: tuple[int, int, int]) -> Array:
    return np.array(rgb, np.float32) / 255


def strands(angle: Array, seed: int, count: int = 90) -> Array:
    """Smooth noise -1..1 along an angle [H,W] in radians: locks of hair."""
    rng = np.random.default_rng(seed)
    total = np.zeros_like(angle)
    for share, density in ((0.5, count // 4), (0.3, count), (0.2, count * 3)):
        table = rng.uniform(-1, 1, density).astype(np.float32)
        total += share * np.interp(angle, np.linspace(-np.pi, np.pi, density), table)
    return total

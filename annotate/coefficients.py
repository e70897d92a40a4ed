"""Krippendorff's alpha, Fleiss' and Cohen's kappa, and intervals by resampling clips; all of them vectorised.

Alpha is computed from coincidence matrices (K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011,
https://repository.upenn.edu/asc_papers/43): a clip with m answers adds n_c (n_k - [c = k]) / (m - 1) to cell c, k.
Own code, because its library is under the GPL, and because clips' contributions add up: a resample of clips is then one
product of matrices, and an interval over 212,000 votes takes a fraction of a second. The tests hold every number against
the libraries krippendorff, statsmodels and scikit-learn.
"""

from typing import Any

import numpy as np
import pandas as pd

RESAMPLES = 1000

Numbers = np.ndarray[Any, np.dtype[np.float64]]


def coincidences(counts: Numbers) -> Numbers:
    """Each unit's contribution [units, V, V] to the coincidence matrix; a unit with one answer contributes nothing."""
    pairs = counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(counts.shape[1])
    return pairs / np.maximum(counts.sum(1) - 1, 1)[:, None, None]


def alpha_nominal(o: Numbers) -> Numbers:
    n_v = o.sum(-1)
    n = n_v.sum(-1)
    observed = n - np.trace(o, axis1=-2, axis2=-1)
    return _ratio(n - 1, observed, n**2 - (n_v**2).sum(-1))


def alpha_ordinal(o: Numbers) -> Numbers:
    """The ordinal distance is the interval distance of middle ranks, which change with every resample."""
    n_v = o.sum(-1)
    ranks = np.cumsum(n_v, -1) - n_v / 2
    squared = (ranks[..., :, None] - ranks[..., None, :]) ** 2
    expected = (n_v[..., :, None] * n_v[..., None, :] * squared).sum((-2, -1))
    return _ratio(n_v.sum(-1) - 1, (o * squared).sum((-2, -1)), expected)


def interval_sums(counts: Numbers, values: Any) -> Numbers:
    """Each unit's [disagreement, answers, sum, sum of squares]: all that interval alpha needs."""
    m = counts.sum(1)
    x = np.asarray(values, float)
    x = x - (counts.sum(0) @ x) / max(counts.sum(), 1)  # about the mean, so that squares stay small
    total, squares = counts @ x, counts @ x**2
    paired = m >= 2
    disagreement = 2 * (m * squares - total**2) / np.maximum(m - 1, 1)
    return np.stack([disagreement, m, total, squares], 1) * paired[:, None]


def alpha_interval(sums: Numbers) -> Numbers:
    observed, n, total, squares = np.moveaxis(sums, -1, 0)
    return _ratio(n - 1, observed, 2 * (n * squares - total**2))


def alpha(counts: Any, scale: str = "nominal", values: Any = None) -> float:
    """Krippendorff's alpha of counts [units, values]; nan where it is not defined."""
    counts = np.asarray(counts, float)
    if scale == "interval":
        sums = interval_sums(counts, np.arange(counts.shape[1]) if values is None else values)
        return float(alpha_interval(sums.sum(0)))
    return float({"nominal": alpha_nominal, "ordinal": alpha_ordinal}[scale](coincidences(counts).sum(0)))


def fleiss_sums(counts: Numbers) -> Numbers:
    """Each unit's [share of agreeing pairs, units, counts ...]; all units have the same number of answers."""
    return np.column_stack([pairs_agreeing(counts), np.ones(len(counts)), counts])


def fleiss_kappa(sums: Numbers) -> Numbers:
    """J. L. Fleiss, Measuring nominal scale agreement among many raters, 1971."""
    observed, totals = sums[..., 0] / sums[..., 1], sums[..., 2:]
    shares = totals / totals.sum(-1, keepdims=True)
    by_chance = (shares**2).sum(-1)
    return _ratio(1.0, 1 - observed, 1 - by_chance)


def cohen_kappa(table: Numbers) -> Numbers:
    """J. Cohen, A coefficient of agreement for nominal scales, 1960; `table` [..., V, V] counts both raters' answers."""
    n = table.sum((-2, -1))
    by_chance = (table.sum(-1) * table.sum(-2)).sum(-1) / n**2
    return _ratio(1.0, 1 - np.trace(table, axis1=-2, axis2=-1) / n, 1 - by_chance)


def pairs_agreeing(counts: Numbers) -> Numbers:
    """Share of the pairs of a unit's answers that are the same; nan for fewer than two answers."""
    m = counts.sum(1)
    pairs = m * (m - 1)
    return np.divide((counts * (counts - 1)).sum(1), pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _ratio(weight: Any, observed: Numbers, expected: Numbers) -> Numbers:
    """1 - weight * observed / expected; nan where chance alone would never disagree."""
    expected = np.asarray(expected, float)
    defined = expected > 1e-12
    return np.where(defined, 1 - weight * observed / np.where(defined, expected, 1), np.nan)


# ---------------------------------------------------------------- intervals


def resampled(parts: Numbers, clips: Any, seed: int = 0, times: int = RESAMPLES) -> Numbers:
    """Sums of `parts` [units, ...] over clips drawn with replacement, [times, ...]. A clip's passes are drawn together."""
    codes, names = pd.factorize(np.asarray(clips))
    per_clip = np.zeros((len(names), parts[0].size))
    np.add.at(per_clip, codes, parts.reshape(len(parts), -1))
    random = np.random.default_rng(seed)
    drawn = np.empty((times, len(names)))
    for row in drawn:
        row[:] = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))
    return (drawn @ per_clip).reshape(times, *parts.shape[1:])


def interval(values: Numbers) -> tuple[float, float]:
    """The middle 95 % of resampled values; resamples in which the value is not defined are left out."""
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)

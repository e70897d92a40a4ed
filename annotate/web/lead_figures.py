"""Figures of the lead's pages as Plotly's own JSON. Their colours are names that the page's script looks up in its theme."""

import functools
from datetime import date, timedelta
from html import escape
from typing import Any

from scipy.stats import binomtest

from ..agreement import WANTED

ROW = 42  # pixels, as a row beside it
NAMED = 8  # lines, that have room for their names at their ends
LONGEST = 16  # letters of a name beside a figure; all of it is in the hover
CLEAR = {"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)", "showlegend": False, "font": {"color": "ink-2"}}
SHADES = [[0, "surface-2"], [1, "half-accent"]]  # ink is read on either


def agreement_figure(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Interval as a bar, estimate as a tick, the wanted value dotted; a row without a value stays empty."""
    shown = [(y, row) for y, row in enumerate(rows) if row["value"] is not None]
    ends = [row[end] for _, row in shown for end in ("low", "high", "value")]
    low = min([0.0, *ends])
    hover = [
        f"{row['text']}: {row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f}), n = {row['n']}" for _, row in shown
    ]
    names = [row["emotion"] or row["colour"] or "ink" for _, row in shown]
    bars = {
        "type": "bar",
        "orientation": "h",
        "y": [y for y, _ in shown],
        "base": [row["low"] for _, row in shown],
        "x": [row["high"] - row["low"] for _, row in shown],
        "width": 0.36,
        "marker": {"color": names, "line": {"color": names, "width": 1}},
        "opacity": 0.75,
        "hoverinfo": "text",
        "hovertext": hover,
    }
    ticks = {
        "type": "scatter",
        "mode": "markers",
        "x": [row["value"] for _, row in shown],
        "y": [y for y, _ in shown],
        "marker": {"symbol": "line-ns", "size": 20, "line": {"width": 4, "color": "ink"}},
        "hoverinfo": "skip",
    }
    wanted = {"type": "line", "x0": WANTED["alpha"], "x1": WANTED["alpha"], "y0": 0, "y1": 1, "yref": "paper"}
    return {
        "data": [bars, ticks],
        "layout": {
            "height": ROW * len(rows),
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "bargap": 0,
            "xaxis": {"range": [low - 0.02, 1.02], "fixedrange": True, "visible": False},
            "yaxis": {"range": [len(rows) - 0.5, -0.5], "fixedrange": True, "tickvals": list(range(len(rows))),
                      "showticklabels": False, "zeroline": False},
            "shapes": [{**wanted, "line": {"dash": "dot", "width": 2, "color": "accent"}}],
            "font": {"color": "ink-3"},
        },
    }  # fmt: skip


def days_figure(days: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Answers of each rater (row) on each day (column) as shades; None where all were given on one day."""
    given = {(row["rater"], row["day"]): row["answers"] for row in days}
    raters = sorted({rater for rater, _ in given})
    known = sorted(date.fromisoformat(day) for _, day in given)
    if not known or known[0] == known[-1]:
        return None
    columns = [(known[0] + timedelta(days=k)).isoformat() for k in range((known[-1] - known[0]).days + 1)]
    counts = [[given.get((rater, day), 0) for day in columns] for rater in raters]
    cells = {
        "type": "heatmap",
        "x": columns,
        "y": list(range(len(raters))),
        "z": counts,
        "zmin": 0,
        "colorscale": SHADES,
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hoverinfo": "text",
        "hovertext": [
            [f"{escape(rater)}, {day}: {n} answer{'s' if n != 1 else ''}" for day, n in zip(columns, row, strict=True)]
            for rater, row in zip(raters, counts, strict=True)
        ],
    }
    if len(columns) <= 12:
        cells |= {"text": [[str(n or "") for n in row] for row in counts], "texttemplate": "%{text}"}
    step = 86_400_000 * -(-len(columns) // 6)
    return {
        "data": [cells],
        "layout": CLEAR
        | {
            "height": 32 * len(raters) + 36,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 32},
            "xaxis": {"type": "date", "tickformat": "%-d %b", "tick0": columns[0], "dtick": step, "fixedrange": True,
                      "showgrid": False},
            "yaxis": {"tickvals": list(range(len(raters))), "ticktext": [_short(rater) for rater in raters], "ticks": "",
                      "autorange": "reversed", "fixedrange": True, "automargin": True, "showgrid": False,
                      "zeroline": False, "ticklabelstandoff": 8},
        },
    }  # fmt: skip


def gold_figure(course: list[dict[str, Any]]) -> dict[str, Any]:
    """A line a rater: the share of the last gold clips that have the known label, gold clip by gold clip; the wanted
    share dotted. Time itself would draw a session as one upright stroke."""
    lines: dict[str, list[dict[str, Any]]] = {}
    for point in course:
        lines.setdefault(point["rater"], []).append(point)
    height, top, bottom = 280, 12, 56
    data = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "x": [point["gold clip"] for point in points],
            "y": [point["right"] / point["of"] for point in points],
            "line": {"color": "ink-3", "width": 2},
            "marker": {"color": "ink-3", "size": 5},
            "hoverinfo": "text",
            "hovertext": [_hover(rater, point) for point in points],
        }
        for rater, points in lines.items()
    ]
    ends = [(points[-1]["right"] / points[-1]["of"], rater, points[-1]["gold clip"]) for rater, points in lines.items()]
    first, last = min(point["gold clip"] for point in course), max(point["gold clip"] for point in course)
    shifts = _apart([end * (height - top - bottom) / 1.1 for end, _, _ in ends])
    names = [
        {"x": at, "y": share, "text": _short(rater), "showarrow": False, "xanchor": "left", "xshift": 8,
         "yshift": shift}
        for (share, rater, at), shift in zip(ends, shifts, strict=True)
    ]  # fmt: skip
    wanted = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": WANTED["gold"], "y1": WANTED["gold"]}
    return {
        "data": data,
        "layout": CLEAR
        | {
            "height": height,
            "margin": {"l": 40, "r": 112 if len(names) <= NAMED else 8, "t": top, "b": bottom},
            "xaxis": {
                "range": [first - 0.5, last + 0.5],
                "fixedrange": True,
                "showgrid": False,
                "zeroline": False,
                "nticks": 8,
                "title": {"text": "gold clips rated", "font": {"size": 13}},
            },
            "yaxis": {"range": [-0.05, 1.05], "tickvals": [0, 0.25, 0.5, 0.75, 1], "fixedrange": True, "zeroline": False},
            "shapes": [{**wanted, "line": {"dash": "dot", "width": 2, "color": "accent"}}],
            "annotations": names if len(names) <= NAMED else [],
        },
    }


def confusion_figure(labels: list[dict[str, Any]], rows: list[list[float]]) -> dict[str, Any]:
    """Shares of each row as shades with their percent; the diagonal, where both say the same, is framed."""
    names, totals = [escape(label["text"]) for label in labels], [sum(row) for row in rows]
    shares = [[100 * cell / total if total else None for cell in row] for row, total in zip(rows, totals, strict=True)]
    frames = [
        {"type": "rect", "x0": i - 0.5, "x1": i + 0.5, "y0": i - 0.5, "y1": i + 0.5, "line": {"width": 1.5, "color": "ink"}}
        for i in range(len(names))
    ]
    places = list(range(len(names)))
    axis = {
        "tickvals": places,
        "ticktext": [_short(label["text"]) for label in labels],
        "fixedrange": True,
        "showgrid": False,
        "zeroline": False,
        "automargin": True,
        "ticks": "",
    }
    cells = {
        "type": "heatmap",
        "x": places,
        "y": places,
        "z": shares,
        "zmin": 0,
        "zmax": 100,
        "colorscale": SHADES,
        "showscale": False,
        "xgap": 3,
        "ygap": 3,
        "text": [["" if share is None else f"{share:.0f}" for share in row] for row in shares],
        "texttemplate": "%{text}",
        "hoverinfo": "text",
        "hovertext": [
            [f"{names[i]}, then {names[j]}: {cell:,.6g} of {totals[i]:,.6g}" for j, cell in enumerate(row)]
            for i, row in enumerate(rows)
        ],
    }
    return {
        "data": [cells],
        "layout": CLEAR
        | {
            "height": 44 * len(names) + 64,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "xaxis": {**axis, "side": "top"},
            "yaxis": {**axis, "autorange": "reversed"},
            "shapes": frames,
        },
    }


def _hover(rater: str, point: dict[str, Any]) -> str:
    return f"{escape(rater)}, {point['at']:%-d %b %Y}: {_interval(point['right'], point['of'])}"


@functools.cache
def _interval(right: int, of: int) -> str:
    found = binomtest(right, of).proportion_ci(method="wilson")
    return f"{right} of the last {of} gold clips (95 % interval {found.low:.2f} to {found.high:.2f})"


def _short(name: str) -> str:
    """A name that fits beside a figure, as text: Plotly would read tags in it."""
    return escape(name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…")


def _apart(heights: list[float], least: float = 16) -> list[float]:
    """By how many pixels each of these must go up so that none is closer to another than `least`."""
    shifts, floor = [0.0] * len(heights), float("-inf")
    for i in sorted(range(len(heights)), key=heights.__getitem__):
        shifts[i] = max(0.0, floor - heights[i])
        floor = heights[i] + shifts[i] + least
    return shifts

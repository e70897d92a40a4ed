"""Figures of the lead's pages as Plotly's own JSON. Their colours are names that the page's script looks up in its theme."""

from typing import Any

from ..agreement import WANTED

ROW = 42  # pixels, as a row beside it


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

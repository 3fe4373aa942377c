"""Plotly figures of the Units pages: coverage curves and deletion curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.ui import charts, theme
from evaluation.intervals import percent


def coverage_curves(
    rows: Sequence[dict[str, Any]], chance_per_unit: float, height: int = 300
) -> go.Figure:
    """Share of the top slots taken by the k most frequent units, per class, with what k arbitrary
    units would take.
    """
    figure = go.Figure()
    most = max(len(row["curve"]) for row in rows)
    figure.add_trace(
        go.Scatter(
            x=[0, most],
            y=[0, min(1.0, most * chance_per_unit)],
            mode="lines",
            line={"color": charts.quiet(), "width": 1},
            name="chance",
        )
    )
    for row in rows:
        name = row["name"]
        figure.add_trace(
            go.Scatter(
                x=np.arange(1, len(row["curve"]) + 1),
                y=row["curve"],
                mode="lines",
                line=theme.line(name) | {"width": 2},
                name=f"{name} {percent(row['selected'])}",
                hovertemplate=name + ", %{x} units: %{y:.1%}<extra></extra>",
            )
        )
    figure.update_layout(legend={"x": 0.98, "y": 0.42, "xanchor": "right", "yanchor": "bottom"})
    return charts.frame(
        figure, None, height, "selected units", "share of top influences"
    ).update_yaxes(range=[0, 1.02], tickformat=".0%")


def deletion(curves: pd.DataFrame, name: str, height: int = 250) -> go.Figure:
    """Mean logit of a class on its patches as units are set to zero, by influence and in random
    orders (with their range).
    """
    figure = go.Figure()
    random, ordered = (curves[curves["subject"] == s] for s in ("at random", "by influence"))
    x = [np.log2(frame["step"].to_numpy(float) + 1) for frame in (random, ordered)]
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([x[0], x[0][::-1]]),
            y=np.concatenate([random["high"], random["low"][::-1]]),
            fill="toself",
            mode="lines",
            line={"width": 0},
            fillcolor="rgba(127,127,127,.18)",
            hoverinfo="skip",
            showlegend=False,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=x[0],
            y=random["estimate"],
            mode="lines",
            line={"color": charts.quiet(), "width": 1.5},
            name="random order",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=x[1],
            y=ordered["estimate"],
            mode="lines+markers",
            marker={"size": 4},
            line=theme.line(name) | {"width": 2},
            name="by influence",
        )
    )
    figure.update_layout(legend={"x": 0.02, "y": 0.04, "xanchor": "left", "yanchor": "bottom"})
    steps = ordered["step"].astype(int).tolist()
    shown = steps if len(steps) < 8 else steps[::2] + ([] if len(steps) % 2 else steps[-1:])
    ticks = {
        "tickvals": [float(np.log2(s + 1)) for s in shown],
        "ticktext": [str(s) for s in shown],
    }
    return charts.frame(
        figure, None, height, "units set to zero", f"mean {name} logit"
    ).update_xaxes(**ticks)

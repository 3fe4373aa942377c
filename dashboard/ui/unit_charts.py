"""Plotly figures of the Units page: coverage and deletion curves, one unit's numbers per class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.ui import charts, theme
from evaluation.intervals import decimal, percent
from evaluation.queries.units import ActivationCurves


def coverage_figure(
    rows: Sequence[dict[str, Any]], chance_per_unit: float, height: int = 300
) -> go.Figure:
    """Return the share of the top slots that the k most frequent units take, per class.

    rows: dicts with name, curve (float [units]) and selected (share of the selected units).
    chance_per_unit: expected share of one arbitrary unit.
    """
    figure = go.Figure()
    longest = max(len(row["curve"]) for row in rows)
    figure.add_trace(
        go.Scatter(
            x=[0, longest],
            y=[0, min(1.0, longest * chance_per_unit)],
            mode="lines",
            line={"color": charts.muted_color(), "width": 1},
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
                line=theme.class_line(name) | {"width": 2},
                name=f"{name} {percent(row['selected'])}",
                hovertemplate=name + ", %{x} units: %{y:.1%}<extra></extra>",
            )
        )
    figure.update_layout(legend={"x": 0.98, "y": 0.42, "xanchor": "right", "yanchor": "bottom"})
    return charts.style_figure(
        figure, None, height, "selected units", "share of top influences"
    ).update_yaxes(range=[0, 1.02], tickformat=".0%")


def deletion_figure(curves: pd.DataFrame, name: str, height: int = 250) -> go.Figure:
    """Return the mean logit of a class while units are set to zero, by influence and at random.

    curves: columns subject ("by influence", "at random"), step (units at zero), estimate, low and
    high.
    """
    figure = go.Figure()
    random, ordered = (curves[curves["subject"] == s] for s in ("at random", "by influence"))
    # Most of the fall happens in the first units, which a linear axis would hide.
    random_x, ordered_x = (np.log2(f["step"].to_numpy(float) + 1) for f in (random, ordered))
    figure.add_trace(
        go.Scatter(
            x=np.concatenate([random_x, random_x[::-1]]),
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
            x=random_x,
            y=random["estimate"],
            mode="lines",
            line={"color": charts.muted_color(), "width": 1.5},
            name="random order",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=ordered_x,
            y=ordered["estimate"],
            mode="lines+markers",
            marker={"size": 4},
            line=theme.class_line(name) | {"width": 2},
            name="by influence",
        )
    )
    figure.update_layout(legend={"x": 0.02, "y": 0.04, "xanchor": "left", "yanchor": "bottom"})
    steps = ordered["step"].astype(int).tolist()
    # Every second step where all would overlap, and always the last one.
    ticks = steps if len(steps) < 8 else steps[::2] + ([] if len(steps) % 2 else steps[-1:])
    return charts.style_figure(
        figure, None, height, "units set to zero", f"mean {name} logit"
    ).update_xaxes(
        tickvals=[float(np.log2(step + 1)) for step in ticks],
        ticktext=[str(step) for step in ticks],
    )


def activation_figure(curves: ActivationCurves, thresholds: Mapping[str, float]) -> go.Figure:
    """Return the distribution of a unit's activations by class, with its thresholds.

    thresholds: name to activation.
    """
    figure = go.Figure()
    for name, density in curves.densities.items():
        figure.add_trace(
            go.Scatter(
                x=curves.values,
                y=density,
                mode="lines",
                line=theme.class_line(name) | {"width": 2},
                name=name,
                hovertemplate=f"{name}, activation %{{x:.2f}}<extra></extra>",
            )
        )
    largest = float(curves.values[-1])
    for row, (name, threshold) in enumerate(thresholds.items()):
        _add_threshold(figure, f"{name}: {decimal(threshold, 2)}", threshold, row, largest)
    figure.update_layout(
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 11}}
    )
    return (
        charts.style_figure(figure, None, 140, "largest activation on a patch", "density / peak")
        .update_yaxes(showticklabels=False, rangemode="tozero")
        .update_layout(margin={"l": 24, "r": 8, "t": 22, "b": 36})
    )


def _add_threshold(
    figure: go.Figure, text: str, threshold: float, row: int, largest: float
) -> None:
    """Draw a vertical line with its text in a row of its own, inside the plot.

    Thresholds can be close to each other and close to the edge.
    """
    side = "right" if threshold > 0.7 * largest else "left"
    figure.add_vline(x=threshold, line={"color": charts.muted_color(), "dash": "dot", "width": 1})
    figure.add_annotation(
        x=threshold,
        y=1,
        yref="paper",
        xanchor=side,
        yanchor="top",
        xshift=-3 if side == "right" else 3,
        yshift=-14 * row,
        text=text,
        showarrow=False,
        font={"size": 11, "color": charts.muted_color()},
    )


def influence_bars(quartiles: Mapping[str, tuple[float, float, float]]) -> go.Figure:
    """Return the median influence per class with the quartiles over hold-out images.

    quartiles: class name to (first quartile, median, third quartile).
    """
    figure = go.Figure()
    for name, (low, median, high) in quartiles.items():
        figure.add_trace(
            go.Bar(
                x=[median],
                y=[name],
                orientation="h",
                marker={"color": theme.class_color(name)},
                error_x=charts.error_bars([median], [low], [high], thickness=1.2)
                | {"color": charts.muted_color()},
                text=decimal(median, 2),
                textposition="none",
                hovertemplate=f"{name}: %{{x:.3f}}<extra></extra>",
            )
        )
    figure.update_layout(showlegend=False, bargap=0.5)
    return charts.style_figure(figure, None, 140, "median influence, quartiles").update_layout(
        margin={"l": 70, "r": 8, "t": 18, "b": 36}
    )

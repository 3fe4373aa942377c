"""Plotly figures of the team pages, with the colours and lines of the classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from dashboard.ui import theme
from evaluation.class_colors import CLASS_INK
from evaluation.intervals import decimal
from evaluation.queries.performance import ClassResult
from evaluation.roc.calibration_curve import Calibration
from evaluation.roc.subgroups import Subgroup

_TRANSPARENT = "rgba(0,0,0,0)"


def text_color() -> str:
    """Return the text colour of the theme in use."""
    return theme.TEXT[theme.theme_mode()]


def muted_color() -> str:
    """Return the colour of axes, references and annotations in the theme in use."""
    return CLASS_INK[theme.theme_mode()]["other"]


def _grid_color() -> str:
    return {"light": "#E3E6EA", "dark": "#343B42"}[theme.theme_mode()]


def style_figure(
    figure: go.Figure, width: int | None, height: int, x: str = "", y: str = ""
) -> go.Figure:
    """Set the size, the axes with their titles and the font of a figure, and return it."""
    grid, muted = _grid_color(), muted_color()
    axis = {
        "gridcolor": grid,
        "zeroline": False,
        "linecolor": grid,
        "tickfont": {"size": 11, "color": muted},
    }
    # One call: every update of a plotly figure takes milliseconds.
    figure.update_layout(
        width=width,
        height=height,
        xaxis=axis | {"title": {"text": x, "font": {"size": 12, "color": muted}}},
        yaxis=axis | {"title": {"text": y, "font": {"size": 12, "color": muted}}},
        margin={"l": 48, "r": 12, "t": 12, "b": 40},
        font={"family": "Inter, sans-serif", "size": 12, "color": text_color()},
        paper_bgcolor=_TRANSPARENT,
        plot_bgcolor=_TRANSPARENT,
        hovermode="closest",
        legend={"bgcolor": _TRANSPARENT},
    )
    return figure


def _translucent(color: str, alpha: float) -> str:
    """Return "#rrggbb" with an opacity."""
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def _diagonal() -> go.Scatter:
    """Return the line of a useless test, or of perfect calibration."""
    return go.Scatter(
        x=[0, 1],
        y=[0, 1],
        mode="lines",
        line={"color": muted_color(), "width": 1},
        hoverinfo="skip",
        showlegend=False,
    )


def error_bars(
    centers: Sequence[float | None],
    lows: Sequence[float | None],
    highs: Sequence[float | None],
    thickness: float,
) -> dict[str, Any]:
    """Return plotly's asymmetric error bars; a bound that is not estimable draws nothing."""
    up = [0.0 if high is None else high - (c or 0) for c, high in zip(centers, highs)]
    down = [0.0 if low is None else (c or 0) - low for c, low in zip(centers, lows)]
    return {"type": "data", "array": up, "arrayminus": down, "width": 0, "thickness": thickness}


def roc_figure(
    results: Sequence[ClassResult],
    positive: str,
    point: tuple[float, float] | None = None,
) -> go.Figure:
    """Return ROC curves with the band of the positive class and the region of sensitivity >= .8.

    point: (1 - specificity, sensitivity) at the threshold fixed on hold-out.
    """
    figure = go.Figure()
    muted = muted_color()
    figure.add_shape(
        type="rect",
        x0=0,
        x1=1,
        y0=0.8,
        y1=1,
        fillcolor=_translucent(muted, 0.08),
        line_width=0,
        layer="below",
    )
    figure.add_trace(_diagonal())
    for result in results:
        if result.name == positive:
            figure.add_traces(_confidence_band(result))
        figure.add_trace(
            go.Scatter(
                x=result.curve.fpr,
                y=result.curve.tpr,
                mode="lines",
                line=theme.class_line(result.name) | {"width": 2},
                name=f"{result.name} {decimal(result.auc.estimate)}",
                hovertemplate="1 - specificity %{x:.3f}<br>sensitivity %{y:.3f}",
            )
        )
    if point is not None:
        figure.add_trace(_threshold_marker(point))
    figure.add_annotation(
        x=0.7, y=0.83, text="sensitivity ≥ .8", showarrow=False, font={"size": 11, "color": muted}
    )
    # Half a line's width beyond 0 and 1: otherwise the frame cuts curves along the edges.
    limits = {"range": [-0.01, 1.01]}
    legend = {"x": 0.98, "y": 0.02, "xanchor": "right", "yanchor": "bottom"}
    return style_figure(figure, None, 390, "1 - specificity", "sensitivity").update_layout(
        legend=legend, xaxis=limits, yaxis=limits
    )


def _confidence_band(result: ClassResult) -> list[go.Scatter]:
    """Return the pointwise band of a curve; nothing where it is not estimable."""
    curve = result.curve
    if curve.low is None or curve.high is None:
        return []
    return [
        go.Scatter(
            x=np.concatenate([curve.grid, curve.grid[::-1]]),
            y=np.concatenate([curve.high, curve.low[::-1]]),
            fill="toself",
            mode="lines",
            fillcolor=_translucent(theme.class_color(result.name), 0.15),
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
    ]


def _threshold_marker(point: tuple[float, float]) -> go.Scatter:
    return go.Scatter(
        x=[point[0]],
        y=[point[1]],
        mode="markers",
        marker={
            "size": 10,
            "color": "rgba(255,255,255,.9)",
            "line": {"width": 2, "color": theme.class_color("malignant")},
        },
        name="threshold fixed on hold-out",
        hovertemplate="1 - specificity %{x:.3f}<br>sensitivity %{y:.3f}",
    )


def calibration_figure(calibrations: Mapping[str, Calibration], height: int) -> go.Figure:
    """Return observed against predicted proportions per class, with intervals where they exist."""
    figure = go.Figure(_diagonal())
    for name, result in calibrations.items():
        bins = [
            b for b in result.bins if b.predicted is not None and b.observed.estimate is not None
        ]
        observed = [b.observed.estimate or 0.0 for b in bins]
        line = theme.class_line(name)
        figure.add_trace(
            go.Scatter(
                x=[b.predicted for b in bins],
                y=observed,
                mode="lines+markers",
                name=name,
                line=line,
                marker={"color": line["color"]},
                customdata=[b.n for b in bins],
                hovertemplate="predicted %{x:.2f}<br>observed %{y:.2f}<br>n %{customdata:,}",
                error_y=error_bars(
                    observed,
                    [b.observed.low for b in bins],
                    [b.observed.high for b in bins],
                    thickness=1,
                ),
            )
        )
    limits = {"range": [-0.02, 1.02]}
    legend = {"x": 0.02, "y": 0.98, "xanchor": "left", "yanchor": "top"}
    return style_figure(figure, None, height, "predicted", "observed").update_layout(
        showlegend=len(calibrations) > 1, legend=legend, xaxis=limits, yaxis=limits
    )


def confusion_figure(counts: np.ndarray, names: Sequence[str]) -> go.Figure:
    """Return proportions of each true class; the counts are shown on hover.

    counts: int [true, predicted].
    """
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    accent = theme.ACCENT[theme.theme_mode()]
    # The darkest cell must still carry text in the theme's ink at 4.5:1.
    darkest = 0.75 if theme.theme_mode() == "dark" else 0.5
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=list(names),
            y=list(names),
            colorscale=[[0, _translucent(accent, 0.06)], [1, _translucent(accent, darkest)]],
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
            customdata=counts,
            text=[[decimal(float(share), 2) for share in row] for row in shares],
            texttemplate="%{text}",
            textfont={"color": text_color(), "size": 12},
            hovertemplate="true %{y}, predicted %{x}: %{customdata}<extra></extra>",
        )
    )
    return style_figure(figure, None, 190, "predicted", "true").update_layout(
        # Grid lines would cross the numbers, because the cells are translucent.
        xaxis={"showgrid": False},
        yaxis={"autorange": "reversed", "showgrid": False},
    )


def subgroup_forest(groups: Sequence[Subgroup], positive: str, overall: float | None) -> go.Figure:
    """Return the AUC with its interval for each subgroup, and a line at the overall AUC."""
    centers = [g.auc.estimate for g in groups]
    figure = go.Figure(
        go.Scatter(
            x=centers,
            y=[f"{g.variable} {g.value} ({g.n}; {g.patients})" for g in groups],
            mode="markers",
            marker={"symbol": "square", "size": 8, "color": text_color()},
            error_x=error_bars(
                centers, [g.auc.low for g in groups], [g.auc.high for g in groups], thickness=1.5
            ),
        )
    )
    if overall is not None:
        figure.add_vline(x=overall, line={"color": muted_color(), "dash": "dash", "width": 1})
    figure.update_layout(showlegend=False)
    height = 40 + 26 * len(groups)
    return style_figure(figure, None, height, f"AUC, {positive}, image level").update_yaxes(
        autorange="reversed"
    )


def training_curves(history: pd.DataFrame, metric: str, title: str = "") -> go.Figure:
    """Return a metric over the epochs on the train and hold-out splits.

    history: columns part ("train", "holdout"), epoch (from 0) and the metrics.
    """
    figure = go.Figure()
    for part, dash in (("train", "dot"), ("holdout", "solid")):
        rows = history[history["part"] == part]
        figure.add_trace(
            go.Scatter(
                x=rows["epoch"] + 1,
                y=rows[metric],
                mode="lines+markers",
                name=part,
                line={"dash": dash, "color": text_color(), "width": 1.5},
                marker={"size": 4},
            )
        )
    figure.update_layout(legend={"orientation": "h", "y": 1.1})
    return style_figure(figure, None, 205, "epoch", title or metric)

"""Plotly figures in the visual language: class colours with their lines, thin grids, the font of
the theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from dashboard.ui import theme
from evaluation.intervals import decimal
from evaluation.queries.performance import ClassResult, Subgroup
from evaluation.roc.calibration_curve import Calibration


def _ink() -> tuple[str, str, str]:
    """Text, grid and quiet colours of the theme in use."""
    return (
        ("#E6E9EC", "#343B42", "#A7B0BA")
        if theme.mode() == "dark"
        else ("#1B2026", "#E3E6EA", "#57606B")
    )


def ink() -> str:
    """Text colour of the theme in use."""
    return _ink()[0]


def quiet() -> str:
    """Colour of what should stay in the background."""
    return _ink()[2]


def frame(figure: go.Figure, width: int | None, height: int, x: str = "", y: str = "") -> go.Figure:
    """Sizes, axes and font."""
    ink, grid, mute = _ink()
    axis = {
        "gridcolor": grid,
        "zeroline": False,
        "linecolor": grid,
        "tickfont": {"size": 11, "color": mute},
    }
    # One call: every update of a plotly figure takes milliseconds.
    figure.update_layout(
        width=width,
        height=height,
        xaxis=axis | {"title": {"text": x, "font": {"size": 12, "color": mute}}},
        yaxis=axis | {"title": {"text": y, "font": {"size": 12, "color": mute}}},
        margin={"l": 48, "r": 12, "t": 12, "b": 40},
        font={"family": "Inter, sans-serif", "size": 12, "color": ink},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        legend={"bgcolor": "rgba(0,0,0,0)"},
    )
    return figure


def _faint(colour: str, alpha: float) -> str:
    r, g, b = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({r},{g},{b},{alpha})"


def roc(results: Sequence[ClassResult], point: tuple[float, float] | None = None) -> go.Figure:
    """ROC curves with malignant's band, the region of sensitivity >= .8, and the operating point
    fixed on hold-out.
    """
    figure = go.Figure()
    quiet = _ink()[2]
    figure.add_shape(
        type="rect",
        x0=0,
        x1=1,
        y0=0.8,
        y1=1,
        fillcolor=_faint(quiet, 0.08),
        line_width=0,
        layer="below",
    )
    figure.add_trace(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": quiet, "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for result in results:
        line = theme.line(result.name)
        if (
            result.name == "malignant"
            and result.curve.low is not None
            and result.curve.high is not None
        ):
            figure.add_trace(
                go.Scatter(
                    x=np.concatenate([result.curve.grid, result.curve.grid[::-1]]),
                    y=np.concatenate([result.curve.high, result.curve.low[::-1]]),
                    fill="toself",
                    mode="lines",
                    fillcolor=_faint(line["color"], 0.15),
                    line={"width": 0},
                    hoverinfo="skip",
                    showlegend=False,
                )
            )
        figure.add_trace(
            go.Scatter(
                x=result.curve.fpr,
                y=result.curve.tpr,
                mode="lines",
                line=line | {"width": 2},
                name=f"{result.name} {decimal(result.auc.estimate)}",
                hovertemplate="1 - specificity %{x:.3f}<br>sensitivity %{y:.3f}",
            )
        )
    if point is not None:
        figure.add_trace(
            go.Scatter(
                x=[point[0]],
                y=[point[1]],
                mode="markers",
                marker={
                    "size": 10,
                    "color": "rgba(255,255,255,.9)",
                    "line": {"width": 2, "color": theme.line("malignant")["color"]},
                },
                name="threshold fixed on hold-out",
                hovertemplate="1 - specificity %{x:.3f}<br>sensitivity %{y:.3f}",
            )
        )
    figure.add_annotation(
        x=0.7, y=0.83, text="sensitivity ≥ .8", showarrow=False, font={"size": 11, "color": quiet}
    )
    whole = {"range": [-0.01, 1.01]}
    legend = {"x": 0.98, "y": 0.02, "xanchor": "right", "yanchor": "bottom"}
    return frame(figure, None, 390, "1 - specificity", "sensitivity").update_layout(
        legend=legend, xaxis=whole, yaxis=whole
    )


def calibration(found: Mapping[str, Calibration], height: int) -> go.Figure:
    """Observed share against predicted probability per class, with intervals where they exist."""
    figure = go.Figure(
        go.Scatter(
            x=[0, 1],
            y=[0, 1],
            mode="lines",
            line={"color": _ink()[2], "width": 1},
            hoverinfo="skip",
            showlegend=False,
        )
    )
    for name, result in found.items():
        bins = [
            b for b in result.bins if b.predicted is not None and b.observed.estimate is not None
        ]
        observed = [b.observed.estimate or 0.0 for b in bins]
        ends = [(b.observed.low, b.observed.high) for b in bins]
        up = [0.0 if high is None else high - y for y, (_, high) in zip(observed, ends)]
        down = [0.0 if low is None else y - low for y, (low, _) in zip(observed, ends)]
        line = theme.line(name)
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
                error_y={
                    "type": "data",
                    "array": up,
                    "arrayminus": down,
                    "width": 0,
                    "thickness": 1,
                },
            )
        )
    whole = {"range": [-0.02, 1.02]}
    legend = {"x": 0.02, "y": 0.98, "xanchor": "left", "yanchor": "top"}
    return frame(figure, None, height, "predicted", "observed").update_layout(
        showlegend=len(found) > 1, legend=legend, xaxis=whole, yaxis=whole
    )


def confusion(counts: np.ndarray, names: Sequence[str]) -> go.Figure:
    """Shares of the true class, with counts when hovered."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    # The darkest cell must still carry text in the theme's ink at 4.5:1.
    most = 0.75 if theme.mode() == "dark" else 0.5
    scale = [
        [0, _faint(theme.ACCENT[theme.mode()], 0.06)],
        [1, _faint(theme.ACCENT[theme.mode()], most)],
    ]
    figure = go.Figure(
        go.Heatmap(
            z=shares,
            x=list(names),
            y=list(names),
            colorscale=scale,
            zmin=0,
            zmax=1,
            showscale=False,
            xgap=2,
            ygap=2,
            customdata=counts,
            text=[[decimal(float(v), 2) for v in row] for row in shares],
            texttemplate="%{text}",
            textfont={"color": _ink()[0], "size": 12},
            hovertemplate="true %{y}, predicted %{x}: %{customdata}<extra></extra>",
        )
    )
    return frame(figure, None, 190, "predicted", "true").update_layout(
        yaxis={"autorange": "reversed"}
    )


def forest(groups: Sequence[Subgroup], overall: float | None) -> go.Figure:
    """AUC with interval per subgroup."""
    figure = go.Figure()
    names = [f"{g.variable} {g.value} ({g.n}; {g.patients})" for g in groups]
    centre = [g.auc.estimate for g in groups]
    # A bound that is not estimable draws nothing; one at 0 is a bound.
    up = [0.0 if g.auc.high is None else g.auc.high - (g.auc.estimate or 0) for g in groups]
    down = [0.0 if g.auc.low is None else (g.auc.estimate or 0) - g.auc.low for g in groups]
    figure.add_trace(
        go.Scatter(
            x=centre,
            y=names,
            mode="markers",
            marker={"symbol": "square", "size": 8, "color": _ink()[0]},
            error_x={"type": "data", "array": up, "arrayminus": down, "width": 0, "thickness": 1.5},
        )
    )
    if overall is not None:
        figure.add_vline(x=overall, line={"color": _ink()[2], "dash": "dash", "width": 1})
    figure.update_layout(showlegend=False)
    return frame(figure, None, 40 + 26 * len(groups), "AUC, malignant, image level").update_yaxes(
        autorange="reversed"
    )


def history(frame_: object, part: str, title: str = "") -> go.Figure:
    """Loss or accuracy over epochs, training and hold-out."""
    figure = go.Figure()
    for name, dash in (("train", "dot"), ("holdout", "solid")):
        rows = frame_[frame_["part"] == name]  # type: ignore[index]
        figure.add_trace(
            go.Scatter(
                x=rows["epoch"] + 1,
                y=rows[part],
                mode="lines+markers",
                name=name,
                line={"dash": dash, "color": _ink()[0], "width": 1.5},
                marker={"size": 4},
            )
        )
    figure.update_layout(legend={"orientation": "h", "y": 1.1})
    return frame(figure, None, 205, "epoch", title or part)


def activation_histogram(values: dict[str, np.ndarray], lines: dict[str, float]) -> go.Figure:
    """Density of a unit's largest activations on patches, by class, with its thresholds."""
    figure = go.Figure()
    top = max((float(v.max()) for v in values.values() if len(v)), default=1.0) or 1.0
    edges = np.linspace(0, top, 41)
    for name, found in values.items():
        if len(found):
            share = np.histogram(found, edges)[0] / len(found)
            figure.add_trace(
                go.Scatter(
                    x=(edges[1:] + edges[:-1]) / 2,
                    y=share,
                    mode="lines",
                    line=theme.line(name) | {"width": 2, "shape": "spline"},
                    name=name,
                )
            )
    for i, (name, at) in enumerate(lines.items()):
        figure.add_vline(x=at, line={"color": _ink()[2], "dash": "dot", "width": 1})
        # One beneath the other, and inside the plot: thresholds can be near each other and near the
        # edge.
        side = "right" if at > 0.7 * top else "left"
        figure.add_annotation(x=at, y=1, yref="paper", yshift=-14 * i, xanchor=side, yanchor="top", xshift=-3 if side == "right" else 3,
                              text=f"{name}: {decimal(at, 2)}", showarrow=False, font={"size": 11, "color": _ink()[2]})  # fmt: skip
    figure.update_layout(showlegend=False)
    return (
        frame(figure, None, 150, "largest activation on a patch")
        .update_yaxes(visible=False)
        .update_layout(margin={"l": 8, "r": 8, "t": 18, "b": 36})
    )


def influence_bars(median: dict[str, tuple[float, float, float]]) -> go.Figure:
    """Median influence per class with the quartiles over hold-out images."""
    figure = go.Figure()
    for name, (low, middle, high) in median.items():
        figure.add_trace(
            go.Bar(
                x=[middle],
                y=[name],
                orientation="h",
                marker={"color": theme.line(name)["color"]},
                error_x={
                    "type": "data",
                    "array": [high - middle],
                    "arrayminus": [middle - low],
                    "width": 0,
                    "thickness": 1.2,
                },
                text=decimal(middle, 2),
                textposition="none",
                hovertemplate=f"{name}: %{{x:.3f}}<extra></extra>",
            )
        )
    figure.update_layout(showlegend=False, bargap=0.5)
    return frame(figure, None, 150, "median influence, quartiles").update_layout(
        margin={"l": 70, "r": 8, "t": 18, "b": 36}
    )

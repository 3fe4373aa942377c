"""Coordinates of the figures on the team pages, with numbers that all differ."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dashboard.ui import charts, theme, unit_charts


@pytest.fixture(autouse=True)
def light_theme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(theme, "theme_mode", lambda: "light")


def class_result(name: str, estimate: float, has_band: bool = True) -> Any:
    curve = SimpleNamespace(
        fpr=np.array([0, 0.1, 0.3, 1]),
        tpr=np.array([0, 0.6, 0.9, 1]),
        grid=np.array([0.0, 0.4, 1.0]),
        low=np.array([0.1, 0.5, 0.8]) if has_band else None,
        high=np.array([0.3, 0.7, 0.95]) if has_band else None,
    )
    return SimpleNamespace(name=name, auc=SimpleNamespace(estimate=estimate), curve=curve)


def traces(figure: Any) -> dict[str, Any]:
    return {trace.name: trace for trace in figure.data if trace.name}


def test_roc_curves_bands_and_threshold() -> None:
    results = [class_result("benign", 0.845), class_result("malignant", 0.912)]
    figure = charts.roc_figure(results, "malignant", (0.25, 0.75))
    named = traces(figure)
    assert set(named) == {"benign .845", "malignant .912", "threshold fixed on hold-out"}
    assert list(named["malignant .912"].x) == [0, 0.1, 0.3, 1]
    assert list(named["malignant .912"].y) == [0, 0.6, 0.9, 1]
    marker = named["threshold fixed on hold-out"]
    assert (list(marker.x), list(marker.y)) == ([0.25], [0.75])
    # A ring in the colour of the class about a light centre.
    assert marker.marker.color.startswith("rgba(255,255,255")
    assert marker.marker.line.color == theme.class_color("malignant")
    # One band: forwards along the upper bound, back along the lower one.
    [band] = [trace for trace in figure.data if trace.fill == "toself"]
    assert list(band.x) == [0, 0.4, 1, 1, 0.4, 0]
    assert list(band.y) == [0.3, 0.7, 0.95, 0.8, 0.5, 0.1]
    [region] = figure.layout.shapes
    assert (region.x0, region.x1, region.y0, region.y1) == (0, 1, 0.8, 1)
    axes = figure.layout.xaxis.title.text, figure.layout.yaxis.title.text
    assert axes == ("1 - specificity", "sensitivity")
    without = charts.roc_figure([class_result("malignant", 0.9, has_band=False)], "malignant")
    assert not any(trace.fill for trace in without.data)


def test_error_bars_reach_to_the_bounds() -> None:
    bars = charts.error_bars([0.5, 0.7, None], [0.3, None, None], [0.9, 0.75, None], thickness=1)
    assert list(bars["array"]) == pytest.approx([0.4, 0.05, 0])
    assert list(bars["arrayminus"]) == pytest.approx([0.2, 0, 0])


def test_calibration_and_confusion() -> None:
    def group(predicted: float | None, observed: float | None, n: int) -> Any:
        interval = SimpleNamespace(estimate=observed, low=observed and observed - 0.1, high=None)
        return SimpleNamespace(predicted=predicted, observed=interval, n=n)

    bins = [group(0.2, 0.3, 7), group(None, None, 0), group(0.5, None, 1), group(0.8, 0.6, 9)]
    figure = charts.calibration_figure({"malignant": SimpleNamespace(bins=bins)}, 300)  # type: ignore[dict-item]
    trace = traces(figure)["malignant"]
    assert (list(trace.x), list(trace.y)) == ([0.2, 0.8], [0.3, 0.6])
    assert list(trace.customdata) == [7, 9] and list(trace.error_y.array) == [0, 0]
    assert list(trace.error_y.arrayminus) == pytest.approx([0.1, 0.1])
    assert not figure.layout.showlegend
    counts = np.array([[6, 2], [1, 3]])
    [heat] = charts.confusion_figure(counts, ["benign", "malignant"]).data
    # Shares of the true class, which is a row.
    assert heat.z.tolist() == [[0.75, 0.25], [0.25, 0.75]]
    assert heat.customdata.tolist() == counts.tolist()
    assert heat.hovertemplate == "true %{y}, predicted %{x}: %{customdata}<extra></extra>"
    assert list(heat.x) == list(heat.y) == ["benign", "malignant"]


def test_coverage_and_deletion_curves() -> None:
    rows = [
        {"name": "benign", "curve": [0.2, 0.35, 0.45], "selected": 0.45},
        {"name": "malignant", "curve": [0.3, 0.5, 0.6], "selected": 0.6},
    ]
    named = traces(unit_charts.coverage_figure(rows, 0.01))
    curve = named["malignant 60 %"] if "malignant 60 %" in named else named["malignant 60.0 %"]
    assert (list(curve.x), list(curve.y)) == ([1, 2, 3], [0.3, 0.5, 0.6])
    curves = pd.DataFrame(
        {
            "subject": ["by influence"] * 3 + ["at random"] * 3,
            "step": [0, 1, 3] * 2,
            "estimate": [5.0, 2.0, 1.0, 5.0, 4.5, 4.0],
            "low": [4.0, 1.0, 0.5, 4.9, 4.2, 3.5],
            "high": [6.0, 3.0, 1.5, 5.1, 4.8, 4.4],
        }
    )
    figure = unit_charts.deletion_figure(curves, "malignant")
    named = traces(figure)
    assert list(named["by influence"].y) == [5, 2, 1]
    assert list(named["random order"].y) == [5, 4.5, 4]
    assert list(named["by influence"].x) == [0, 1, 2] == list(named["random order"].x)
    [band] = [trace for trace in figure.data if trace.fill == "toself"]
    assert list(band.x) == [0, 1, 2, 2, 1, 0]
    assert list(band.y) == [5.1, 4.8, 4.4, 3.5, 4.2, 4.9]
    assert list(figure.layout.xaxis.ticktext) == ["0", "1", "3"]
    assert list(figure.layout.xaxis.tickvals) == [0, 1, 2]

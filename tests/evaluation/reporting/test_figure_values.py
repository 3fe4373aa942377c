"""What figures draw, compared with the numbers that they are given; all numbers differ."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from evaluation.reporting.figures import export, probabilities, reading_study, style, units
from evaluation.reporting.figures.style import error_bar_lengths, font_family


def axes() -> Any:
    return Figure().subplots()


def line_points(ax: Any) -> list[tuple[list[float], list[float], str]]:
    return [
        (
            [float(x) for x in line.get_xdata()],
            [float(y) for y in line.get_ydata()],
            str(line.get_marker()),
        )
        for line in ax.lines
    ]


def share(estimate: float | None, low: float | None, high: float | None) -> SimpleNamespace:
    return SimpleNamespace(estimate=estimate, low=low, high=high, level=0.9)


def test_proportions_of_readers() -> None:
    readers = [
        SimpleNamespace(code="R1", share=share(0.61, 0.41, 0.83), n=17),
        SimpleNamespace(code="R2", share=share(0.72, None, 0.9), n=18),
        SimpleNamespace(code="R3", share=share(None, None, None), n=0),
    ]
    overall = share(0.66, 0.19, 0.78)
    score = SimpleNamespace(readers=readers, proportion=overall, primary=SimpleNamespace(n=35))
    ax = axes()
    frame = reading_study._plot_proportions(ax, score)  # type: ignore[arg-type]
    drawn = line_points(ax)
    # Bars only where both bounds exist; squares for readers, a diamond for all.
    bars = [(x, y) for x, y, _ in drawn if len(x) == 2 and y != [0, 1]]
    assert bars == [([0.41, 0.83], [0, 0]), ([0.19, 0.78], [3, 3])]
    marks = [(x[0], y[0], marker) for x, y, marker in drawn if len(x) == 1]
    assert marks == [(0.61, 0, "s"), (0.72, 1, "s"), (0.66, 3, "D")]
    [missing] = [text for text in ax.texts if text.get_text() == "not estimable"]
    assert missing.get_position()[1] == 2
    assert ax.get_xlim() == pytest.approx((0.17, 1.02)) and ax.get_ylim() == (3.6, -0.6)
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["R1\nn = 17", "R2\nn = 18", "R3\nn = 0", "all\nn = 35"]
    assert ax.get_xlabel() == "Proportion correct (90 % CI)"
    assert frame.columns.tolist() == ["reader", "share", "low", "high", "n"]
    assert frame.iloc[[0, 3]].to_numpy().tolist() == [
        ["R1", 0.61, 0.41, 0.83, 17],
        ["all", 0.66, 0.19, 0.78, 35],
    ]
    # One reader has one row.
    score.readers = readers[:1]
    ax = axes()
    assert reading_study._plot_proportions(ax, score)["reader"].tolist() == ["R1"]  # type: ignore[arg-type]


@pytest.mark.parametrize(("correct", "side"), [(24, 1), (25, -1), (30, -1)])
def test_distribution_under_chance(correct: int, side: int) -> None:
    """40 trials, 26 or more of them are rejected; the note stands where there is room."""
    test = SimpleNamespace(trials=40, successes=correct, critical_count=26)
    ax = axes()
    frame = reading_study._plot_null_distribution(ax, SimpleNamespace(binomial=test))  # type: ignore[arg-type]
    accepted, rejected = ax.containers
    centres = [round(bar.get_x() + bar.get_width() / 2) for bar in rejected]
    assert min(centres) == 26
    assert max(round(bar.get_x() + bar.get_width() / 2) for bar in accepted) == 25
    assert ax.lines[0].get_xdata()[0] == correct
    [note] = ax.texts
    assert note.get_text() == f"{correct} correct" and note.xyann == (3 * side, 0)
    assert len(frame) > 0


def calibration_bin(
    low: float, n: int, predicted: float | None, observed: tuple[float | None, ...]
) -> SimpleNamespace:
    interval = SimpleNamespace(estimate=observed[0], low=observed[1], high=observed[2])
    return SimpleNamespace(low=low, high=low + 0.1, n=n, predicted=predicted, observed=interval)


def test_calibration_draws_bins_with_an_estimate() -> None:
    bins = [
        calibration_bin(0.1, 7, 0.14, (0.2, 0.05, 0.4)),
        calibration_bin(0.6, 9, 0.66, (0.5, 0.35, 0.9)),
    ]
    ax = axes()
    probabilities._plot_bins(ax, bins)  # type: ignore[arg-type]
    drawn = [(x, y) for x, y, _ in line_points(ax)]
    assert ([0.14, 0.66], [0.2, 0.5]) in drawn
    [bars] = [c for c in ax.containers if hasattr(c, "has_yerr")]
    ends = [segment.tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [
        [[0.14, pytest.approx(0.05)], [0.14, pytest.approx(0.4)]],
        [[0.66, pytest.approx(0.35)], [0.66, pytest.approx(0.9)]],
    ]


def test_calibration_without_bounds_and_without_events() -> None:
    bins = [
        calibration_bin(0.1, 7, 0.14, (0.0, 0.0, 0.4)),
        calibration_bin(0.6, 9, 0.66, (0.5, None, None)),
    ]
    ax = axes()
    probabilities._plot_bins(ax, bins)  # type: ignore[arg-type]
    [bars] = [c for c in ax.containers if hasattr(c, "has_yerr")]
    ends = [segment.tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [[[0.14, 0.0], [0.14, pytest.approx(0.4)]], [[0.66, 0.5], [0.66, 0.5]]]
    assert list(bars.lines[0].get_ydata()) == [0.0, 0.5]


def test_agreement_of_each_statistic() -> None:
    def estimate(name: str, value: float | None, low: float | None, high: float | None, n: int):
        return SimpleNamespace(name=name, estimate=value, low=low, high=high, n=n)

    blocks = {
        "Cohen's kappa": [
            estimate("mass", 0.4, -0.3, 0.8, 12),
            estimate("type", None, None, None, 3),
        ],
        "percent agreement": [estimate("mass", 0.7, 0.5, None, 11)],
    }
    ax = axes()
    units._plot_agreement_estimates(ax, blocks)  # type: ignore[arg-type]
    drawn = [(x, y) for x, y, _ in line_points(ax)]
    assert ([-0.3, 0.8], [1, 1]) in drawn and ([0.4], [1]) in drawn and ([0.7], [4]) in drawn
    # A line at 0 for what is corrected for chance, and no other lines.
    assert ([0, 0], [0.5, 2.5]) in drawn and len(drawn) == 4
    labels = [label.get_text() for label in ax.get_yticklabels()]
    assert labels == ["", "mass (n = 12)", "type (n = 3)", "", "mass (n = 11)"]
    assert ax.get_xlim() == pytest.approx((-0.32, 1.03)) and ax.get_ylim() == (4.5, -0.7)
    headings = {text.get_text(): text.get_position() for text in ax.texts}
    assert headings["Cohen's kappa"] == (-0.3, 0) and headings["percent agreement"] == (-0.3, 3)
    assert headings["not estimable"][1] == 2


def test_region_of_a_unit_is_outlined_where_it_has_an_edge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").mkdir()
    film = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50) % 251
    np.save(tmp_path / "images" / "f.npy", film.astype(np.uint8))
    patch = {"file": "f", "x": 7, "y": 11, "side": 16}
    unit_map = np.linspace(0, 1, 16).reshape(4, 4)

    def outlines(level: float, values: np.ndarray = unit_map) -> int:
        ax = axes()
        units._plot_tile(ax, tmp_path, patch, values, level)
        assert np.array_equal(ax.images[0].get_array(), film[11:27, 7:23])
        return len(ax.collections)

    flat = np.full((4, 4), 0.5)
    assert outlines(0.5) == 2 and outlines(1.5) == 0 and outlines(-0.5) == 0
    # A level at an end of the map surrounds nothing.
    assert outlines(0.0) == outlines(1.0) == outlines(0.5, flat) == 0
    assert outlines(0.0, np.zeros((4, 4))) == 0


def test_error_bars_have_no_negative_length() -> None:
    assert error_bar_lengths([[0.2, -1e-17], [-0.1, 0.3]]) == [[0.2, 0.0], [0.0, 0.3]]


def test_first_installed_font(monkeypatch: pytest.MonkeyPatch) -> None:
    def install(*names: str) -> None:
        fonts = [SimpleNamespace(name=name) for name in names]
        monkeypatch.setattr(style.font_manager.fontManager, "ttflist", fonts)

    install("DejaVu Sans", "Times", "Liberation Sans")
    assert font_family() == "Liberation Sans"
    install("Helvetica", "Liberation Sans", "Arial")
    assert font_family() == "Arial"


@pytest.mark.parametrize(
    ("suffix", "kind", "dpi", "compression"),
    [
        ("tiff", "line", 1200, "tiff_lzw"),
        ("png", "line", 600, None),
        ("tiff", "mixed", 600, "tiff_lzw"),
        ("png", "image", 300, None),
    ],
)
def test_raster_files(
    suffix: str, kind: str, dpi: int, compression: str | None, tmp_path: Path
) -> None:
    with style.print_style():
        figure = Figure(figsize=(0.2, 0.1))
        figure.text(0, 0, "a")
        path = export.save_figure(figure, tmp_path / f"f.{suffix}", kind)
    with Image.open(path) as image:
        assert image.format == suffix.upper() and image.mode == "RGB"
        assert image.info.get("compression") == compression
        assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.5)
        assert image.size == pytest.approx((0.2 * dpi, 0.1 * dpi), abs=1)

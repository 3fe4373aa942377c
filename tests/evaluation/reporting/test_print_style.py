"""Style of printed figures, and what each of them needs."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.figure import Figure

from evaluation.reporting.figures import FIGURES, diagrams, select_figures, style
from support.drawn_axes import empty_axes


def test_panels_side_by_side_or_below_each_other() -> None:
    for width, shape in ((120, (1, 3)), (119, (3, 1))):
        figure, axes = style.create_panels(width, 3, 40)
        grid = axes[0].get_subplotspec().get_gridspec()
        assert (grid.nrows, grid.ncols) == shape
        assert [ax.get_title(loc="left") for ax in axes] == ["a", "b", "c"]
        height = min(40 * shape[0], style.MAX_HEIGHT - style.MARK_HEIGHT)
        assert figure.get_size_inches() * 25.4 == pytest.approx([width, height])
    _, [alone] = style.create_panels(85, 1, 40)
    assert alone.get_title(loc="left") == ""
    tall = style.create_figure(85, 500).get_size_inches()[1] * 25.4
    assert tall == pytest.approx(230 - 4.5)
    assert (style.MAX_HEIGHT, style.MARK_HEIGHT) == (230, 4.5)
    assert style.PRINT_DPI == {"image": 300, "mixed": 600, "line": 1200}


def test_styles_of_classes() -> None:
    lines = {"normal": ":", "benign": "--", "malignant": "-", "other": "-."}
    marks = {"normal": "^", "benign": "s", "malignant": "o", "other": "D", "1": "P", "4": "<"}
    for key, mark in marks.items():
        assert style.class_marker(key) == mark
        assert style.class_line_style(key) == {
            "color": style.class_colour(key),
            "linestyle": lines.get(key, (0, (3, 1, 1, 1, 1, 1))),
        }
    assert len({style.class_colour(key) for key in marks}) == 6
    assert style.error_bar_lengths([[-1.0, 2.0], [0.0, 3.0]]) == [[0, 2], [0, 3]]


def test_grid_and_settings_of_print() -> None:
    for axis, shown in (("x", (True, False)), ("both", (True, True))):
        ax = empty_axes()
        if axis == "both":
            style.draw_grid(ax)
        else:
            style.draw_grid(ax, axis)
        lines = (ax.xaxis.get_gridlines()[0], ax.yaxis.get_gridlines()[0])
        assert tuple(line.get_visible() for line in lines) == shown
    with style.print_style():
        figure = Figure()
        ax = figure.subplots()
        assert not ax.spines["top"].get_visible() and not ax.spines["right"].get_visible()
        assert ax.get_axisbelow() is True and figure.dpi == 100
        assert ax.xaxis.label.get_fontsize() == 8 and ax.get_xticklabels()[0].get_fontsize() == 7
        assert style.mpl.rcParams["pdf.fonttype"] == style.mpl.rcParams["ps.fonttype"] == 42
        assert style.mpl.rcParams["legend.frameon"] is False
        assert style.mpl.rcParams["legend.handlelength"] == 2.6
        assert style.mpl.rcParams["xtick.major.size"] == 2.5
        assert style.mpl.rcParams["font.size"] == style.mpl.rcParams["axes.titlesize"] == 8
        assert style.mpl.rcParams["legend.fontsize"] == style.mpl.rcParams["ytick.labelsize"] == 7
        assert style.mpl.rcParams["lines.linewidth"] == 1.2
        assert style.mpl.rcParams["axes.linewidth"] == 0.6
        assert style.mpl.rcParams["ytick.major.size"] == 2.5
        assert style.mpl.rcParams["xtick.major.width"] == 0.6
        assert style.mpl.rcParams["ytick.major.width"] == 0.6


def test_mark_of_simulated_data_has_its_own_strip() -> None:
    figure, _ = style.create_panels(100, 1, 50)
    style.mark_simulated(figure, "")
    assert not figure.texts
    style.mark_simulated(figure, "images")
    assert figure.get_size_inches() * 25.4 == pytest.approx([100, 54.5])
    [mark] = figure.texts
    assert mark.get_text() == "SIMULATED IMAGES" and (mark.get_ha(), mark.get_va()) == (
        "right",
        "top",
    )
    assert mark.get_position() == pytest.approx((1 - 0.8 / 100, 1 - 0.8 / 54.5))
    rect = figure.get_layout_engine().get()["rect"]
    assert rect == (0, 0, 1, pytest.approx(50 / 54.5))
    # A drawing with fixed places has room for it.
    canvas, _ = diagrams.create_canvas(100, 50)
    style.mark_simulated(canvas, "labels")
    assert canvas.get_size_inches() * 25.4 == pytest.approx([100, 50])


def test_inputs_of_the_figures() -> None:
    """Title, all inputs, those without which nothing is drawn, width, and whether labels show."""
    classifier = ("data", "patches", "train", "evaluate")
    one, two = 85, 174
    expected = {
        "framework": (
            *("Framework", ("data", "patches", "train", "dissect", "labels", "protocol")),
            *(("data",), two, True),
        ),
        "flow": (
            *("Patient flow", ("data", "patches", "protocol"), ("data", "patches"), two, False),
        ),
        "roc": ("ROC", classifier, ("evaluate",), two, False),
        "units": ("Units", ("data", "dissect", "labels"), ("dissect", "labels"), two, True),
        "categories": (
            *("Units by category and network", ("dissect", "labels"), ("dissect", "labels")),
            *(two, True),
        ),
        "annotation_screen": (
            *("Annotation screen", ("screenshot",), ("screenshot",), two, False),
        ),
        "explanations": (
            *("Explanations", ("data", "dissect", "explain", "labels", "picks"), ("explain",)),
            *(two, True),
        ),
        "coverage": (
            *("Coverage", ("data", "dissect", "coverage", "labels"), ("dissect", "coverage")),
            *(one, True),
        ),
        "reading": ("Reading study", ("protocol", "evaluate"), ("protocol",), two, False),
        "agreement": (
            *("Agreement", ("dissect", "annotations"), ("dissect", "annotations"), one, False),
        ),
        "calibration": ("Calibration", classifier, ("evaluate",), one, False),
        "decision": ("Decision curve", classifier, ("evaluate",), one, False),
        "subgroups": ("Subgroups", classifier, ("evaluate",), one, False),
        "time_order": ("Time and order", ("protocol",), ("protocol",), two, False),
        "ablation": (
            *("Ablation", ("data", "dissect", "labels", "ablate"), ("dissect", "ablate")),
            *(two, False),
        ),
    }
    assert {
        name: (s.title, s.needs, s.required, s.width, s.labelled) for name, s in FIGURES.items()
    } == expected
    assert all(name == spec.name for name, spec in FIGURES.items())
    assert select_figures([]) == list(expected)
    assert np.isfinite([spec.width for spec in FIGURES.values()]).all()

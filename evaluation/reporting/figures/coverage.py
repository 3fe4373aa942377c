"""Figure of unit coverage: how much of the influence on decisions the first k units account for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from core import store
from core.lineage import influence_note, run_classes
from core.store import run_table, unit_table
from core.store.labels.label_sets import DEFAULT_SET, set_sentence
from evaluation.class_colors import class_styles
from evaluation.intervals import percent, percent_range
from evaluation.queries import unit_summaries
from evaluation.queries.provenance import MISSING_INPUTS, MissingInput
from evaluation.reporting.base import newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult


def plot_coverage(study: Path, width: float, label_set: str | None = None) -> FigureResult:
    """Plot the coverage of each class by the first k units.

    At the number of selected units: its interval, the split-half and the labelled coverage.
    label_set: name of the labels; None for those that the study uses.
    """
    label_set = label_set or DEFAULT_SET
    dissect = newest_run(study, "dissect")
    with store.read(study) as con:
        run = run_table.latest_run(con, "coverage", dissect)
        frame = unit_table.load_coverage(con, run) if run else None
        selected_units = int(unit_table.load_selected_units(con, dissect)["unit"].nunique())
        settings = run_table.load_run(con, dissect)["settings"]["dissection"]
    if frame is None:
        raise MissingInput(*MISSING_INPUTS["coverage"])
    figure, (ax,) = style.create_panels(width, 1, 70)
    style.draw_grid(ax)
    select, classes = settings["select"], run_classes(study, dissect)
    names, styles = classes.outputs, class_styles(classes)
    coverage_of_labels = unit_summaries.labelled_coverage_by_class(study, dissect, label_set)
    summaries, rows = [], []
    for shift, code in enumerate(sorted(frame["class"].unique())):
        name = names[int(code)]
        values = frame[frame["class"] == code].set_index("name")
        labelled, _, _ = coverage_of_labels[int(code)]
        ax.plot(*zip(*_curve(values)), label=name, **style.class_line_style(styles[name]))
        # The marks of the classes stand beside each other, not on top of each other.
        _plot_marks(ax, styles[name], values, select + (shift - 1) * 0.35)
        summaries.append(_summary(name, values, labelled))
        rows += _estimate_rows(name, values, labelled)
    chance = frame[frame["name"] == "chance"]["estimate"].iloc[0]
    largest = max(int(key.split("_")[1]) for key in frame["name"] if key.startswith("curve_"))
    _plot_chance(ax, chance / select, largest)
    ax.axvline(select, color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
    ax.annotate(
        f"{select} selected",
        (select, 0.02),
        xytext=(3, 0),
        textcoords="offset points",
        fontsize=7,
    )
    ax.set(
        xlabel="Units selected",
        ylabel=f"Proportion of the top {settings['top']} slots",
        xlim=(0, largest + 0.5),
        ylim=(0, 1.02),
    )
    _place_legend(ax, columns=2 if width < 120 else 4)
    images = int(frame["n"].max())
    caption = (
        f"Coverage: proportion of the {settings['top']} most influential units of each of {images}"
        f" hold-out mammograms that the first k units account for. At {select} units: "
        + "; ".join(summaries[::-1])
        + f"; {select} arbitrary units {percent(chance)}. Filled symbols:"
        " measured on the mammograms that selected the units, hence optimistic; open symbols with"
        " 95 % intervals: selected on one half of the patients, measured on the other."
        f" CI, confidence interval. {set_sentence(label_set)}"
        f" {influence_note(study, dissect)}".rstrip()
    )
    measured = frame[frame["name"].isin(["interval", "split_half"])]
    return FigureResult(
        figure=figure,
        data={"coverage": pd.DataFrame(rows)},
        caption=caption,
        counts={"mammograms": images, "units selected": selected_units},
        method="; ".join(sorted(set(measured["method"]))),
    )


def _curve(values: pd.DataFrame) -> list[tuple[int, float]]:
    """Return (number of units, coverage) of the rows curve_1, curve_2, ... of a class."""
    return [
        (int(str(key).split("_")[1]), value)
        for key, value in values["estimate"].items()
        if str(key).startswith("curve_")
    ]


def _estimate_rows(name: str, values: pd.DataFrame, labelled: float | None) -> list[dict[str, Any]]:
    estimates = [*values["estimate"].items(), ("labelled", labelled)]
    return [{"class": name, "name": key, "estimate": value} for key, value in estimates]


def _summary(name: str, values: pd.DataFrame, labelled: float | None) -> str:
    interval = values.loc["interval"]
    return (
        f"{name} {percent(values.loc['selected', 'estimate'])} (split half"
        f" {percent(values.loc['split_half', 'estimate'])}, 95 % CI"
        f" {percent_range(interval['low'], interval['high'])}; labelled {percent(labelled)})"
    )


def _plot_marks(ax: Axes, key: str, values: pd.DataFrame, x: float) -> None:
    """Mark the coverage of the selected units (filled) and split half (open, with interval).

    key: style of the class.
    """
    selected, interval = values.loc["selected", "estimate"], values.loc["interval"]
    marker: dict[str, Any] = {"marker": style.class_marker(key), "markersize": 4}
    colour = style.class_colour(key)
    split_half, centre = values.loc["split_half", "estimate"], interval["estimate"]
    ax.errorbar(
        [x],
        [centre],
        yerr=[[centre - interval["low"]], [interval["high"] - centre]],
        fmt="none",
        ecolor=colour,
        elinewidth=0.8,
        capsize=2,
    )
    ax.plot([x], [selected], color=colour, **marker)
    ax.plot([x], [split_half], markerfacecolor="white", markeredgecolor=colour, **marker)


def _plot_chance(ax: Axes, per_unit: float, largest: int) -> None:
    """Plot the expected coverage of arbitrary units, which grows linearly with their number."""
    label = "arbitrary units"
    ax.plot([0, largest], [0, per_unit * largest], color=style.MUTED, linewidth=0.7, label=label)


def _place_legend(ax: Axes, columns: int) -> None:
    """Place the legend above the axes: the last class first, arbitrary units last."""
    handles, labels = ax.get_legend_handles_labels()
    order = [*range(len(handles) - 2, -1, -1), len(handles) - 1]
    # Above, because the curves may run anywhere inside the axes.
    ax.legend(
        [handles[i] for i in order],
        [labels[i] for i in order],
        loc="lower center",
        bbox_to_anchor=(0.5, 1.0),
        ncols=columns,
    )

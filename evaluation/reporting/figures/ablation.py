"""Figure of unit ablation: class scores after selected units are set to zero."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from core.class_labels import ClassDefinition
from core.lineage import influence_note, run_classes
from evaluation.class_colors import class_styles
from evaluation.intervals import decimal
from evaluation.queries import faithfulness
from evaluation.queries.provenance import MISSING_INPUTS, MissingInput
from evaluation.reporting.base import newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult


def plot_ablation(study: Path, width: float) -> FigureResult:
    """Plot the deletion curve of the positive class (a) and the decrease of each class's logit (b).

    The decrease is that beyond the ablation of as many random units.
    """
    dissect = newest_run(study, "dissect")
    frame, classes = faithfulness.load_ablation_table(study, dissect), run_classes(study, dissect)
    names, positive = classes.outputs, classes.positive
    if not len(frame):
        raise MissingInput(*MISSING_INPUTS["ablate"])
    figure, axes = style.create_panels(width, 2, 66)
    curve = frame[(frame["class"] == classes.positive_code) & (frame["name"] == "deletion")]
    _plot_deletion(axes[0], curve, classes)
    decreases = frame[
        (frame["name"] == "logit_beyond_random") & frame["subject"].isin(["selected", "labelled"])
    ].sort_values(["class", "subject"], ascending=False)
    _plot_decreases(axes[1], decreases, classes)
    n = int(curve["n"].max()) if len(curve) else 0
    estimates = "; ".join(
        f"{names[int(r['class'])]}, {int(r['n'])} {r['subject']} units {decimal(r['estimate'], 2)}"
        + (f" ({decimal(r['low'], 2)} to {decimal(r['high'], 2)})" if r["low"] == r["low"] else "")
        for r in decreases.to_dict("records")
    )
    caption = (
        f"Unit ablation on the test split. (a) Mean {positive} logit on {n} {positive} patches"
        " after the first k units are set to zero, in the order of their mean influence on hold-out"
        " mammograms (solid, 95 % interval clustered by patient) and in random orders (dashed,"
        " range of the orders); the horizontal axis is linear from 0 to 1 and logarithmic from 1"
        " on. (b) Decrease of the logit of a class on its patches beyond the"
        f" decrease with as many random units of equal activation: {estimates}. Bars: 95 %"
        f" intervals clustered by patient. {influence_note(study, dissect)}".rstrip()
    )
    return FigureResult(
        figure=figure,
        data={"ablation": frame},
        caption=caption,
        counts={f"{positive} patches": n},
        method="; ".join(dict.fromkeys([*curve["method"], *decreases["method"]])),
    )


def _plot_deletion(ax: Axes, curve: pd.DataFrame, classes: ClassDefinition) -> None:
    style.draw_grid(ax)
    appearance = {
        "by influence": {
            "color": style.class_colour(class_styles(classes)[classes.positive]),
            "linestyle": "-",
        },
        "at random": {"color": style.MUTED, "linestyle": "--"},
    }
    for subject, line in appearance.items():
        rows = curve[curve["subject"] == subject].sort_values("step")
        x, low, high, estimate = (
            rows[column].to_numpy(float) for column in ("step", "low", "high", "estimate")
        )
        ax.fill_between(x, low, high, color=line["color"], alpha=0.18, linewidth=0)
        ax.plot(x, estimate, label=subject, color=line["color"], linestyle=line["linestyle"])
    # Linear between 0 and 1, so that the unablated network (k = 0) has a place on the axis.
    ax.set_xscale("symlog", base=2, linthresh=1)
    ticks = sorted({int(step) for step in curve["step"]})[::2]
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.minorticks_off()
    ax.set(xlabel="Units set to zero (logarithmic scale)", ylabel=f"Mean {classes.positive} logit")
    ax.legend(loc="upper right")


def _plot_decreases(ax: Axes, decreases: pd.DataFrame, classes: ClassDefinition) -> None:
    names, styles = classes.outputs, class_styles(classes)
    style.draw_grid(ax, "x")
    rows = decreases.to_dict("records")
    for i, r in enumerate(rows):
        key = styles[names[int(r["class"])]]
        # Solid for every class: a dashed or dotted line hides where an interval ends.
        ax.errorbar(
            r["estimate"],
            i,
            xerr=style.error_bar_lengths([[r["estimate"] - r["low"]], [r["high"] - r["estimate"]]]),
            marker=style.class_marker(key),
            markersize=3,
            elinewidth=1,
            capsize=3,
            color=style.class_colour(key),
        )
    ax.axvline(0, color=style.MUTED, linewidth=0.7, linestyle="--")
    ax.set(
        yticks=range(len(rows)),
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="Decrease of the logit\nbeyond random units",
    )
    ax.set_yticklabels([f"{names[int(r['class'])]}, {r['subject']} ({int(r['n'])})" for r in rows])

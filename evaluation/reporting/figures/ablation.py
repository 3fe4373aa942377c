"""Figure about what happens to the network when units are set to zero."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from evaluation.intervals import decimal
from evaluation.queries import faithfulness
from evaluation.queries.class_names import class_words
from evaluation.queries.provenance import ABSENT, Missing
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import Drawn, newest


def ablation(study: Path, width: float) -> Drawn:
    """(a) Deletion curve of malignant; (b) fall of each class's logit beyond that with random
    units.
    """
    dissect = newest(study, "dissect")
    frame, names = faithfulness.table(study, dissect), class_words(study, dissect)
    if not len(frame):
        raise Missing(*ABSENT["ablate"])
    figure, axes = style.panels(width, 2, 66)
    curve = frame[(frame["class"] == 2) & (frame["name"] == "deletion")]
    _deletion(axes[0], curve)
    falls = frame[
        (frame["name"] == "logit_beyond_random") & frame["subject"].isin(["selected", "labelled"])
    ].sort_values(["class", "subject"], ascending=False)
    _falls(axes[1], falls, names)
    n = int(curve["n"].max()) if len(curve) else 0
    said = "; ".join(
        f"{names[int(r['class'])]}, {int(r['n'])} {r['subject']} units {decimal(r['estimate'], 2)}"
        + (f" ({decimal(r['low'], 2)} to {decimal(r['high'], 2)})" if r["low"] == r["low"] else "")
        for r in falls.to_dict("records")
    )
    caption = (
        f"Units set to zero, test split. (a) Mean malignant logit on {n} malignant patches when the"
        " first k units are set to zero, in the order of their mean influence on hold-out"
        " mammograms (solid, 95 % interval clustered by patient) and in random orders (dashed,"
        " range of the orders). (b) Fall of a class's logit on its patches beyond that with as"
        f" many random units of equal activation: {said}. Bars: 95 % intervals clustered by"
        " patient."
    )
    methods = "; ".join(dict.fromkeys([*curve["method"], *falls["method"]]))
    return Drawn(
        figure=figure,
        data={"ablation": frame},
        caption=caption,
        counts={"malignant patches": n},
        method=methods,
    )


def _deletion(ax: Axes, curve: pd.DataFrame) -> None:
    style.grid(ax)
    looks = {
        "by influence": {"color": style.COLOURS["malignant"], "linestyle": "-"},
        "at random": {"color": style.QUIET, "linestyle": "--"},
    }
    for subject, look in looks.items():
        rows = curve[curve["subject"] == subject].sort_values("step")
        x = rows["step"].to_numpy(float)
        ax.fill_between(
            x,
            rows["low"].to_numpy(float),
            rows["high"].to_numpy(float),
            color=look["color"],
            alpha=0.18,
            linewidth=0,
        )
        ax.plot(
            x,
            rows["estimate"].to_numpy(float),
            label=subject,
            color=look["color"],
            linestyle=look["linestyle"],
        )
    ax.set_xscale("symlog", base=2, linthresh=1)
    ticks = sorted({int(s) for s in curve["step"]})[::2]
    ax.set_xticks(ticks, [str(t) for t in ticks])
    ax.minorticks_off()
    ax.set(xlabel="Units at zero", ylabel="Mean malignant logit")
    ax.legend(loc="upper right")


def _falls(ax: Axes, falls: pd.DataFrame, names: dict[int, str]) -> None:
    style.grid(ax, "x")
    rows = falls.to_dict("records")
    for i, r in enumerate(rows):
        name = names[int(r["class"])]
        ax.plot([r["low"], r["high"]], [i, i], **style.line(name))
        ax.plot(
            r["estimate"], i, marker=style.MARKERS[name], markersize=4, color=style.COLOURS[name]
        )
    ax.axvline(0, color=style.QUIET, linewidth=0.7, linestyle="--")
    ax.set(
        yticks=range(len(rows)),
        ylim=(len(rows) - 0.5, -0.5),
        xlabel="Fall of the logit beyond random units",
    )
    ax.set_yticklabels([f"{names[int(r['class'])]}, {r['subject']} ({int(r['n'])})" for r in rows])

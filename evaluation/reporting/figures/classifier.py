"""Figures about the classifier: ROC curves, calibration, subgroups."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from evaluation.intervals import decimal, interval_text
from evaluation.queries import performance
from evaluation.queries.performance import ClassResult
from evaluation.queries.provenance import Missing
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import Drawn, newest

SPLIT = "test"
WORDS = {"patch": "patches", "image": "mammograms", "case": "patients"}


def roc(study: Path, width: float) -> Drawn:
    """ROC curves on patches and mammograms of the test split, with malignant's band and the region
    of the partial AUC.
    """
    run = newest(study, "evaluate")
    figure, axes = style.panels(width, 2, 84)
    curves, table, notes = [], [], []
    counts: dict[str, int] = {}
    for ax, level in zip(axes, ("patch", "image")):
        results = performance.class_results(study, run, SPLIT, level)
        if not results:
            raise Missing("Evaluation", f"the {SPLIT} split is empty", "deepminer patches")
        seen = performance.observations(study, run, SPLIT, level)
        point = performance.malignant_operating_point(study, run, SPLIT, level)
        _roc_panel(ax, results, point)
        counts |= {WORDS[level]: len(seen.truth), "patients": seen.patients}
        curves += [
            pd.DataFrame(
                {
                    "level": level,
                    "class": r.name,
                    "fpr": r.curve.fpr,
                    "tpr": r.curve.tpr,
                    "threshold": r.curve.thresholds,
                }
            )
            for r in results
        ]
        table += [{"level": level} | r.row() for r in results]
        notes.append(
            f"{WORDS[level]} (n = {len(seen.truth):,}, {seen.patients} patients): "
            + "; ".join(
                f"{r.name} AUC {decimal(r.auc.estimate)}"
                f" ({interval_text(r.auc.low, r.auc.high, 0.95, r.auc.reason)})"
                for r in results[::-1]
            )
        )
    caption = (
        f"Receiver operating characteristic of one class against the rest, {SPLIT} split. (a)"
        f" {notes[0]}. (b) {notes[1]}. Shaded band: pointwise 95 % interval for malignant. Grey:"
        " region of the partial AUC (sensitivity at least .8). Open circle: threshold fixed on the"
        " hold-out split at sensitivity .8. AUC, area under the curve; CI, confidence interval."
    )
    method = (
        "AUC intervals by Obuchowski's method with patients as clusters; the band by 500"
        " patient-bootstrap resamples, percentiles at each false-positive rate; partial AUC by the"
        " trapezoid rule over sensitivity .8 to 1."
    )
    return Drawn(
        figure=figure,
        data={"curves": pd.concat(curves), "auc": pd.DataFrame(table)},
        caption=caption,
        counts=counts,
        method=method,
    )


def _roc_panel(ax: Axes, results: list[ClassResult], point: object) -> None:
    style.grid(ax)
    ax.axhspan(0.8, 1, color="#E9ECEF", zorder=0, linewidth=0)
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.6)
    for r in results:
        if r.name == "malignant" and r.curve.low is not None and r.curve.high is not None:
            ax.fill_between(
                r.curve.grid,
                r.curve.low,
                r.curve.high,
                color=style.COLOURS[r.name],
                alpha=0.18,
                linewidth=0,
            )
        ax.plot(
            r.curve.fpr,
            r.curve.tpr,
            label=f"{r.name} {decimal(r.auc.estimate)}",
            **style.line(r.name),
        )
    if point is not None and point.table.specificity.estimate is not None:  # type: ignore[attr-defined]
        at = 1 - point.table.specificity.estimate, point.table.sensitivity.estimate  # type: ignore[attr-defined]
        ax.plot(
            *at,
            "o",
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=style.COLOURS["malignant"],
            markeredgewidth=1.2,
            zorder=5,
        )
    ax.set(
        xlim=(-0.01, 1.01),
        ylim=(-0.01, 1.01),
        xlabel="1 − specificity",
        ylabel="Sensitivity",
        aspect="equal",
    )
    handles, labels = ax.get_legend_handles_labels()
    ax.legend(handles[::-1], labels[::-1], loc="lower right", title="AUC", title_fontsize=7)


def calibration(study: Path, width: float) -> Drawn:
    """Calibration of the malignant probability on test patches."""
    run = newest(study, "evaluate")
    found = performance.malignant_calibration(study, run, SPLIT)
    seen = performance.observations(study, run, SPLIT, "patch")
    bins = [b for b in found.bins if b.predicted is not None and b.observed.estimate is not None]
    if not bins:
        raise Missing("Evaluation", f"the {SPLIT} split is empty", "deepminer patches")
    figure, (ax,) = style.panels(width, 1, min(width, 84))
    style.grid(ax)
    ax.plot([0, 1], [0, 1], color=style.QUIET, linewidth=0.6)
    x, y = [b.predicted for b in bins], [b.observed.estimate or 0.0 for b in bins]
    # A bound that is not estimable draws nothing; one at 0 is a bound.
    error = [
        [0.0 if b.observed.low is None else o - b.observed.low for o, b in zip(y, bins)],
        [0.0 if b.observed.high is None else b.observed.high - o for o, b in zip(y, bins)],
    ]
    ax.errorbar(
        x,  # type: ignore[arg-type]
        y,
        yerror(error),
        marker="o",
        markersize=3.5,
        elinewidth=0.7,
        capsize=1.5,
        **style.line("malignant"),
    )
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="Predicted probability of malignant",
        ylabel="Observed share",
        aspect="equal",
    )
    table = pd.DataFrame(
        [
            {
                "from": b.low,
                "to": b.high,
                "n": b.n,
                "predicted": b.predicted,
                "observed": b.observed.estimate,
                "low": b.observed.low,
                "high": b.observed.high,
            }
            for b in found.bins
        ]
    )
    caption = (
        f"Calibration of the malignant probability on {found.n:,} patches of {seen.patients}"
        f" patients, {SPLIT} split, in ten bins of equal width. Bars: 95 % intervals clustered by"
        f" patient (Korn and Graubard). Expected calibration error {decimal(found.ece)}, Brier"
        f" score {decimal(found.brier)}."
    )
    return Drawn(
        figure=figure,
        data={"bins": table},
        caption=caption,
        counts={"patches": found.n, "patients": seen.patients},
        method=f"{found.sentence()} Slope's interval clustered by patient (sandwich).",
    )


def yerror(pairs: list[list[float]]) -> list[list[float]]:
    """Error bars for matplotlib, which refuses the tiny negative lengths that rounding leaves."""
    return [[max(0.0, v) for v in side] for side in pairs]


def subgroups(study: Path, width: float) -> Drawn:
    """Malignant AUC of mammograms by density, view and scanner, with the overall value."""
    run = newest(study, "evaluate")
    groups = performance.subgroups(study, run, SPLIT)
    if not groups:
        raise Missing(
            "Evaluation",
            f"no subgroup of the {SPLIT} split has {performance.LEAST_IN_SUBGROUP} mammograms of"
            " either class",
            "deepminer ingest",
        )
    whole = next(
        r for r in performance.class_results(study, run, SPLIT, "image") if r.name == "malignant"
    ).auc
    seen = performance.observations(study, run, SPLIT, "image")
    rows = [("all", "", whole, len(seen.truth), seen.patients)] + [
        (g.variable, g.value, g.auc, g.n, g.patients) for g in groups
    ]
    figure, (ax,) = style.panels(width, 1, 16 + 6 * len(rows))
    style.grid(ax, "x")
    for i, (_, _, auc, _, _) in enumerate(rows):
        if auc.low is not None and auc.high is not None:
            ax.plot([auc.low, auc.high], [i, i], color=style.INK, linewidth=1)
        ax.plot(
            auc.estimate if auc.estimate is not None else float("nan"),
            i,
            "D" if i == 0 else "s",
            color=style.INK,
            markersize=4,
        )
    ax.axvline(whole.estimate or 0.5, color=style.QUIET, linewidth=0.7, linestyle="--")
    labels = [
        f"{variable} {value}".strip() + f" ({n}; {patients})"
        for variable, value, _, n, patients in rows
    ]
    ax.set(yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5), xlabel="AUC, malignant (95 % CI)")
    ax.set_yticklabels(labels)
    tests = "; ".join(found.sentence() for found in performance.interactions(groups))
    caption = (
        f"AUC for malignant on {len(seen.truth)} mammograms of {seen.patients} patients, {SPLIT}"
        " split, by subgroup (mammograms; patients in brackets). Bars: 95 % intervals. Groups with"
        f" fewer than {performance.LEAST_IN_SUBGROUP} mammograms of either class are left out."
        + (
            f" Differences between groups (Wald test, patients resampled): {tests}."
            if tests
            else ""
        )
        + " AUC, area under the curve; CI, confidence interval."
    )
    table = pd.DataFrame(
        [
            {
                "variable": v,
                "value": x,
                "auc": a.estimate,
                "low": a.low,
                "high": a.high,
                "reason": a.reason or "",
                "mammograms": n,
                "patients": p,
            }
            for v, x, a, n, p in rows
        ]
    )
    return Drawn(
        figure=figure,
        data={"subgroups": table},
        caption=caption,
        counts={"mammograms": len(seen.truth), "patients": seen.patients},
        method="AUC intervals by Obuchowski's method with patients as clusters; differences by Wald's"
        " test, patients resampled.",
    )

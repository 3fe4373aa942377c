"""Figures of the classifier: ROC curves, calibration, subgroups."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from evaluation.intervals import decimal, interval_text
from evaluation.queries import performance
from evaluation.queries.observations import load_observations
from evaluation.queries.performance import ClassResult
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.base import REPORTED_SPLIT, newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult
from evaluation.roc.auc_estimates import AucInterval
from evaluation.roc.calibration_curve import Calibration, CalibrationBin
from evaluation.roc.diagnostic import OperatingPoint
from evaluation.roc.subgroups import interactions

LEVEL_NOUNS = {"patch": "patches", "image": "mammograms", "case": "patients"}
_EMPTY_SPLIT = ("Evaluation", f"the {REPORTED_SPLIT} split is empty", "deepminer patches")


def plot_roc(study: Path, width: float) -> FigureResult:
    """Plot the ROC curves of every class on patches (a) and mammograms (b) of the test split.

    With the confidence band of malignant and the region of the partial AUC.
    """
    run = newest_run(study, "evaluate")
    figure, axes = style.create_panels(width, 2, 84)
    curves, table, summaries = [], [], []
    counts: dict[str, int] = {}
    for ax, level in zip(axes, ("patch", "image")):
        results = performance.load_class_results(study, run, REPORTED_SPLIT, level)
        if not results:
            raise MissingInput(*_EMPTY_SPLIT)
        observations = load_observations(study, run, REPORTED_SPLIT, level)
        n, patients = len(observations.truth), observations.patients
        point = performance.load_operating_point(study, run, REPORTED_SPLIT, level)
        _plot_roc_panel(ax, results, point)
        counts |= {LEVEL_NOUNS[level]: n, "patients": patients}
        curves += [_curve_rows(level, result) for result in results]
        table += [{"level": level} | result.row() for result in results]
        summaries.append(
            f"{LEVEL_NOUNS[level]} (n = {n:,}, {patients} patients): {_auc_summary(results)}"
        )
    caption = (
        "Receiver operating characteristic of one class against the rest,"
        f" {REPORTED_SPLIT} split. (a) {summaries[0]}. (b) {summaries[1]}. Shaded band: pointwise"
        " 95 % interval for malignant. Grey: region of the partial AUC (sensitivity at least .8)."
        " Open circle: threshold fixed on the hold-out split at sensitivity .8. AUC, area under the"
        " curve; CI, confidence interval."
    )
    method = (
        "AUC intervals were computed by Obuchowski's method with patients as clusters. The band is"
        " from 500 patient-bootstrap resamples, as percentiles at each false-positive rate. The"
        " partial AUC was computed by the trapezoid rule over sensitivity .8 to 1."
    )
    return FigureResult(
        figure=figure,
        data={"curves": pd.concat(curves), "auc": pd.DataFrame(table)},
        caption=caption,
        counts=counts,
        method=method,
    )


def _curve_rows(level: str, result: ClassResult) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "level": level,
            "class": result.name,
            "fpr": result.curve.fpr,
            "tpr": result.curve.tpr,
            "threshold": result.curve.thresholds,
        }
    )


def _auc_summary(results: list[ClassResult]) -> str:
    """Return the AUC of each class with its interval, malignant first."""
    return "; ".join(
        f"{r.name} AUC {decimal(r.auc.estimate)}"
        f" ({interval_text(r.auc.low, r.auc.high, 0.95, r.auc.reason)})"
        for r in results[::-1]
    )


def _plot_roc_panel(ax: Axes, results: list[ClassResult], point: OperatingPoint | None) -> None:
    style.draw_grid(ax)
    # The region of the partial AUC, behind everything else.
    ax.axhspan(0.8, 1, color="#E9ECEF", zorder=0, linewidth=0)
    ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.6)
    for r in results:
        if r.name == "malignant" and r.curve.low is not None and r.curve.high is not None:
            ax.fill_between(
                r.curve.grid,
                r.curve.low,
                r.curve.high,
                color=style.CLASS_COLOURS[r.name],
                alpha=0.18,
                linewidth=0,
            )
        label = f"{r.name} {decimal(r.auc.estimate)}"
        ax.plot(r.curve.fpr, r.curve.tpr, label=label, **style.class_line_style(r.name))
    if point is not None and point.table.specificity.estimate is not None:
        ax.plot(
            1 - point.table.specificity.estimate,
            point.table.sensitivity.estimate,  # type: ignore[arg-type]
            "o",
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=style.CLASS_COLOURS["malignant"],
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


def plot_calibration(study: Path, width: float) -> FigureResult:
    """Plot the calibration of the malignant probability on patches of the test split."""
    run = newest_run(study, "evaluate")
    calibration = performance.load_calibration(study, run, REPORTED_SPLIT)
    patients = load_observations(study, run, REPORTED_SPLIT, "patch").patients
    bins = [
        b for b in calibration.bins if b.predicted is not None and b.observed.estimate is not None
    ]
    if not bins:
        raise MissingInput(*_EMPTY_SPLIT)
    figure, (ax,) = style.create_panels(width, 1, min(width, 84))
    _plot_bins(ax, bins)
    caption = (
        f"Calibration of the malignant probability on {calibration.n:,} patches of"
        f" {patients} patients, {REPORTED_SPLIT} split, in ten bins of equal width. Bars: 95 %"
        " intervals clustered by patient (Korn and Graubard). Expected calibration error"
        f" {decimal(calibration.ece)}, Brier score {decimal(calibration.brier)}."
    )
    return FigureResult(
        figure=figure,
        data={"bins": _bin_rows(calibration)},
        caption=caption,
        counts={"patches": calibration.n, "patients": patients},
        method=f"{calibration.sentence()} The interval of the slope is clustered by patient"
        " (sandwich estimator).",
    )


def _plot_bins(ax: Axes, bins: list[CalibrationBin]) -> None:
    style.draw_grid(ax)
    ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.6)
    x, y = [b.predicted for b in bins], [b.observed.estimate or 0.0 for b in bins]
    # A bound that is not estimable has a bar of length 0; a bound of 0 is an ordinary bound.
    lengths = [
        [0.0 if b.observed.low is None else o - b.observed.low for o, b in zip(y, bins)],
        [0.0 if b.observed.high is None else b.observed.high - o for o, b in zip(y, bins)],
    ]
    ax.errorbar(
        x,  # type: ignore[arg-type]
        y,
        style.error_bar_lengths(lengths),
        marker="o",
        markersize=3.5,
        elinewidth=0.7,
        capsize=1.5,
        **style.class_line_style("malignant"),
    )
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        xlabel="Predicted probability of malignant",
        ylabel="Observed proportion",
        aspect="equal",
    )


def _bin_rows(calibration: Calibration) -> pd.DataFrame:
    return pd.DataFrame(
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
            for b in calibration.bins
        ]
    )


def plot_subgroups(study: Path, width: float) -> FigureResult:
    """Plot the malignant AUC of mammograms by density, view and scanner, and overall."""
    run = newest_run(study, "evaluate")
    groups = performance.load_subgroups(study, run, REPORTED_SPLIT)
    if not groups:
        raise MissingInput(
            "Evaluation",
            f"no subgroup of the {REPORTED_SPLIT} split has {performance.LEAST_IN_SUBGROUP}"
            " mammograms of either class",
            "deepminer ingest",
        )
    results = performance.load_class_results(study, run, REPORTED_SPLIT, "image")
    observations = load_observations(study, run, REPORTED_SPLIT, "image")
    n, patients = len(observations.truth), observations.patients
    overall = next(r for r in results if r.name == "malignant").auc
    table = _subgroup_rows(
        [("all", "", overall, n, patients)]
        + [(g.variable, g.value, g.auc, g.n, g.patients) for g in groups]
    )
    figure, (ax,) = style.create_panels(width, 1, 16 + 6 * len(table))
    _plot_subgroup_aucs(ax, table)
    tests = "; ".join(interaction.sentence() for interaction in interactions(groups))
    caption = (
        f"AUC for malignant on {n} mammograms of {patients} patients, {REPORTED_SPLIT} split, by"
        " subgroup (mammograms; patients in brackets). Bars: 95 % intervals. Groups with fewer than"
        f" {performance.LEAST_IN_SUBGROUP} mammograms of either class are omitted."
        + (
            f" Differences between groups (Wald test, patients resampled): {tests}."
            if tests
            else ""
        )
        + " AUC, area under the curve; CI, confidence interval."
    )
    return FigureResult(
        figure=figure,
        data={"subgroups": table},
        caption=caption,
        counts={"mammograms": n, "patients": patients},
        method="AUC intervals were computed by Obuchowski's method with patients as clusters."
        " Differences were tested by Wald's test with patients resampled.",
    )


def _subgroup_rows(groups: list[tuple[str, str, AucInterval, int, int]]) -> pd.DataFrame:
    """Return one row a group from its variable, value, AUC, mammograms and patients."""
    return pd.DataFrame(
        [
            {
                "variable": variable,
                "value": value,
                "auc": auc.estimate,
                "low": auc.low,
                "high": auc.high,
                "reason": auc.reason or "",
                "mammograms": n,
                "patients": patients,
            }
            for variable, value, auc, n, patients in groups
        ]
    )


def _plot_subgroup_aucs(ax: Axes, table: pd.DataFrame) -> None:
    """Plot one row a subgroup; the first is the overall value."""
    style.draw_grid(ax, "x")
    rows = table.to_dict("records")
    for i, row in enumerate(rows):
        # Missing bounds and estimates are NaN, which matplotlib does not draw.
        ax.plot([row["low"], row["high"]], [i, i], color=style.INK, linewidth=1)
        ax.plot(row["auc"], i, "D" if i == 0 else "s", color=style.INK, markersize=4)
    overall = rows[0]["auc"]
    chance = 0.5 if pd.isna(overall) else overall
    ax.axvline(chance, color=style.MUTED, linewidth=0.7, linestyle="--")
    ax.set(yticks=range(len(rows)), ylim=(len(rows) - 0.5, -0.5), xlabel="AUC, malignant (95 % CI)")
    ax.set_yticklabels(
        [
            f"{row['variable']} {row['value']}".strip()
            + f" ({row['mammograms']}; {row['patients']})"
            for row in rows
        ]
    )

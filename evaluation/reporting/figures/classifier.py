"""Figures of the classifier: ROC curves and subgroups."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from core.class_labels import ClassDefinition
from core.lineage import run_classes
from evaluation.class_colors import class_styles
from evaluation.intervals import count_text, decimal, interval_text
from evaluation.queries import performance
from evaluation.queries.observations import load_observations
from evaluation.queries.performance import ClassResult
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.base import REPORTED_SPLIT, auc_method_sentence, newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult
from evaluation.roc.auc_estimates import AucInterval
from evaluation.roc.diagnostic import OperatingPoint
from evaluation.roc.subgroups import Interaction, adjusted_sentences, interactions

LEVEL_NOUNS = {"patch": "patches", "image": "mammograms", "case": "patients"}
EMPTY_SPLIT = ("Evaluation", f"the {REPORTED_SPLIT} split is empty", "deepminer patches")


def plot_roc(study: Path, width: float) -> FigureResult:
    """Plot the ROC curves of every class on patches (a) and mammograms (b) of the test split.

    With the confidence band of the positive class and the region of the partial AUC.
    """
    run = newest_run(study, "evaluate")
    classes = run_classes(study, run)
    figure, axes = style.create_panels(width, 2, 84)
    curves, table, summaries, points = [], [], [], []
    counts: dict[str, int] = {}
    for ax, level in zip(axes, ("patch", "image")):
        results = performance.load_class_results(study, run, REPORTED_SPLIT, level)
        if not results:
            raise MissingInput(*EMPTY_SPLIT)
        observations = load_observations(study, run, REPORTED_SPLIT, level)
        n, patients = len(observations.truth), observations.patients
        point = performance.load_operating_point(study, run, REPORTED_SPLIT, level)
        _plot_roc_panel(ax, results, classes, point)
        ax.set_title(LEVEL_NOUNS[level].capitalize())
        counts |= {LEVEL_NOUNS[level]: n, "patients": patients}
        curves += [_curve_rows(level, result) for result in results]
        table += [{"level": level} | result.row() for result in results]
        points.append(_point_summary(level, point))
        summaries.append(
            f"{LEVEL_NOUNS[level]} (n = {n:,}, {patients} patients): {_auc_summary(results)}"
        )
    positive = classes.positive
    compared = "one class against the rest" if len(results) > 1 else f"{positive} against all other"
    caption = (
        f"Receiver operating characteristic of {compared}, {REPORTED_SPLIT} split. (a)"
        f" {summaries[0]}. (b) {summaries[1]}. Shaded band: pointwise 95 % interval for"
        f" {positive}. Grey: region of the partial AUC (sensitivity at least .8)."
        " Open circle: threshold fixed on the hold-out split at a sensitivity of .8"
        + "".join(points)
        + ". AUC, area under the curve; CI, confidence interval."
    )
    method = (
        f"{auc_method_sentence(r.auc for r in results)} The band is from 500 resamples of the"
        " Bayesian bootstrap of patients, as percentiles at each false-positive rate. The partial"
        " AUC was computed by the trapezoid rule over sensitivities of .8 to 1."
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


def _point_summary(level: str, point: OperatingPoint | None) -> str:
    """Return sensitivity and specificity at the threshold, as a clause; "" without a threshold."""
    if point is None:
        return ""
    return f"; {LEVEL_NOUNS[level]}: " + " and ".join(
        f"{name} {decimal(share.estimate)}"
        f" ({interval_text(share.low, share.high, share.level, share.reason)})"
        for name, share in (
            ("sensitivity", point.table.sensitivity),
            ("specificity", point.table.specificity),
        )
    )


def _auc_summary(results: list[ClassResult]) -> str:
    """Return the AUC of each class with its interval, the last class first."""
    return "; ".join(
        f"{r.name} AUC {decimal(r.auc.estimate)}"
        f" ({interval_text(r.auc.low, r.auc.high, r.auc.level, r.auc.reason)})"
        for r in results[::-1]
    )


def _plot_roc_panel(
    ax: Axes, results: list[ClassResult], classes: ClassDefinition, point: OperatingPoint | None
) -> None:
    styles = class_styles(classes)
    style.draw_grid(ax)
    # The region of the partial AUC, behind everything else.
    ax.axhspan(0.8, 1, color="#E9ECEF", zorder=0, linewidth=0)
    ax.plot([0, 1], [0, 1], color=style.MUTED, linewidth=0.6)
    for r in results:
        if r.name == classes.positive and r.curve.low is not None and r.curve.high is not None:
            ax.fill_between(
                r.curve.grid,
                r.curve.low,
                r.curve.high,
                color=style.class_colour(styles[r.name]),
                alpha=0.18,
                linewidth=0,
            )
        label = f"{r.name} {decimal(r.auc.estimate)}"
        ax.plot(r.curve.fpr, r.curve.tpr, label=label, **style.class_line_style(styles[r.name]))
    if point is not None and point.table.specificity.estimate is not None:
        ax.plot(
            1 - point.table.specificity.estimate,
            point.table.sensitivity.estimate,  # type: ignore[arg-type]
            "o",
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=style.class_colour(styles[classes.positive]),
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
    ax.legend(
        handles[::-1],
        labels[::-1],
        loc="lower right",
        title="AUC",
        title_fontsize=7,
        alignment="left",
    )


def plot_subgroups(study: Path, width: float) -> FigureResult:
    """Plot the AUC of malignant, the positive class, by density, view and scanner, and overall."""
    run = newest_run(study, "evaluate")
    groups = performance.load_subgroups(study, run, REPORTED_SPLIT)
    observations = load_observations(study, run, REPORTED_SPLIT, "image")
    n, patients = len(observations.truth), observations.patients
    groups = performance.printed_subgroups(groups, n)
    if not groups:
        raise MissingInput(
            "Evaluation",
            f"no subgroup of the {REPORTED_SPLIT} split has {performance.LEAST_IN_SUBGROUP}"
            " mammograms of either class",
            "deepminer ingest",
        )
    results = performance.load_class_results(study, run, REPORTED_SPLIT, "image")
    positive = observations.definition.positive
    overall = next(r for r in results if r.name == positive).auc
    table = _subgroup_rows(
        [("all", "", overall, n, patients)]
        + [(*_group_name(g.variable, g.value), g.auc, g.n, g.patients) for g in groups]
    )
    figure, (ax,) = style.create_panels(width, 1, 16 + 6 * len(table))
    _plot_subgroup_aucs(ax, table, positive)
    tests = _interaction_text(interactions(groups))
    caption = (
        f"Exploratory analysis: AUC for {positive} on {count_text(n, 'mammogram')} of"
        f" {count_text(patients, 'patient')}, {REPORTED_SPLIT} split, by subgroup (mammograms;"
        " patients in brackets). Bars: 95 % intervals; dashed: all mammograms. Groups with fewer"
        f" than {performance.LEAST_IN_SUBGROUP} mammograms of either class are omitted, and so are"
        f" variables with one value for all mammograms.{tests} AUC, area under the curve; CI,"
        " confidence interval."
    )
    return FigureResult(
        figure=figure,
        data={"subgroups": table},
        caption=caption,
        counts={"mammograms": n, "patients": patients},
        method=f"{auc_method_sentence(g.auc for g in groups)} Differences were tested by Wald's"
        " test with patients resampled, and adjusted by Holm's method.",
    )


def _group_name(variable: str, value: str) -> tuple[str, str]:
    """Return variable and value in print; the source gives density and view as codes."""
    if variable == "density":
        return "breast density", {"1": "a", "2": "b", "3": "c", "4": "d"}.get(value, value)
    if variable == "view":
        return "view", value.upper()
    return variable, value.replace("_", " ")


def _interaction_text(tests: list[Interaction]) -> str:
    """Return the tests of differences between groups as a sentence; "" without tests."""
    if not tests:
        return ""
    return (
        " Differences between groups (Wald test, patients resampled, adjusted by Holm's method):"
        f" {adjusted_sentences(tests)}."
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


def _plot_subgroup_aucs(ax: Axes, table: pd.DataFrame, positive: str) -> None:
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
    limits = (len(rows) - 0.5, -0.5)
    ax.set(yticks=range(len(rows)), ylim=limits, xlabel=f"AUC, {positive} (95 % CI)")
    ax.set_yticklabels(
        [
            f"{row['variable']} {row['value']}".strip()
            + f" ({row['mammograms']}; {row['patients']})"
            for row in rows
        ]
    )

"""Tabs of the Performance page."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.annotation.spreadsheet_cells import csv_text
from core.class_labels import MAMMOGRAPHY, SPLIT_NAMES, ClassDefinition
from core.store import run_table
from dashboard.server import context
from dashboard.ui import charts, elements
from dashboard.ui.cached_queries import cached_query
from dashboard.ui.study_words import image_noun
from evaluation.intervals import (
    DASH,
    METHOD_NAMES,
    MINUS,
    Interval,
    bounds_text,
    decimal,
    p_text,
)
from evaluation.proportion import adjust
from evaluation.queries import architectures, performance, performance_cache
from evaluation.queries.architectures import ArchitectureRow, EvaluatedRun
from evaluation.queries.performance import ClassResult, OperatingPoint
from evaluation.queries.performance_cache import PerformanceSummary
from evaluation.roc import AucDifference, AucInterval
from evaluation.roc.calibration_curve import Calibration
from evaluation.roc.subgroups import adjusted_sentences

_NOUNS = {"patch": "patches", "image": "images", "case": "cases"}
PLOT_CONFIG = {"displayModeBar": False}
_SCORES = {
    "patch": "The network's probability of each patch.",
    "image": (
        "Maximum probability over the positions of an image with tissue. It is not a calibrated"
        " probability, so the slope need not equal 1."
    ),
    "case": (
        "Maximum probability over the images of a patient. It is not a calibrated probability,"
        " so the slope need not equal 1."
    ),
}


@dataclass(frozen=True, kw_only=True)
class PerformanceView:
    """What the page shows: a run at one split and level.

    evaluations: every evaluate run by its id, oldest first; with_2021_formula: whether the partial
    AUC by the formula of DeepMiner 2021 is shown; simulated: whether the mammograms are synthetic;
    classes: of the run.
    """

    run: str
    split: str
    level: str
    with_2021_formula: bool
    evaluations: Mapping[str, EvaluatedRun]
    summary: PerformanceSummary
    simulated: bool
    classes: ClassDefinition

    @property
    def positive(self) -> str:
        """Name of the class that the study is about, such as malignant."""
        return self.classes.positive

    @property
    def has_published_classes(self) -> bool:
        """Whether the classes are those of the papers, whose values then stand beside these."""
        return self.classes.names == MAMMOGRAPHY.names

    @property
    def noun(self) -> str:
        """The observations of the level, such as "patches"."""
        return _NOUNS[self.level]


def run_title(run: EvaluatedRun) -> str:
    """Return an evaluate run's architecture and train run."""
    return f"{run.architecture}, {run.train}"


def _render_classes(view: PerformanceView) -> None:
    """Render the table of classes, confusion, and the calibration of the positive class."""
    # Malignant, the last class, first: it is the class that the study is about.
    rows = [_class_row(view, result) for result in reversed(view.summary.results)]
    elements.html_table(pd.DataFrame(rows))
    note_column, download_column = st.columns([6, 1.3], vertical_alignment="top")
    note_column.caption(_class_note(view))
    with download_column:
        _render_download(view)
    left, right = st.columns(2, gap="small")
    with left:
        rule = "largest probability" if view.level == "patch" else "threshold fixed on hold-out"
        elements.section_heading("Confusion", f"proportion of true class; {rule}")
        st.plotly_chart(
            charts.confusion_figure(np.array(view.summary.counts), view.summary.names),
            config=PLOT_CONFIG,
            alt="confusion of true and predicted classes",
        )
    with right:
        positive = {
            name: calibration
            for name, calibration in view.summary.calibrations.items()
            if name == view.positive
        }
        note = "".join(
            f"{name}, {view.noun}; ECE {decimal(calibration.ece)}"
            for name, calibration in positive.items()
        )
        elements.section_heading("Calibration", note)
        st.plotly_chart(
            charts.calibration_figure(positive, 190),
            config=PLOT_CONFIG,
            alt=f"calibration of {view.positive}",
        )


def _class_row(view: PerformanceView, result: ClassResult) -> dict[str, str]:
    auc = result.auc
    row = {
        "Class": elements.class_marker(result.name),
        "AUC": f"<b>{decimal(auc.estimate)}</b>",
        "95 % CI": elements.escape_html(bounds_text(auc.low, auc.high, auc.reason)),
        "pAUC raw": f"{decimal(result.partial.raw)}<br>{_narrow_bounds(result.partial_interval)}",
        "/ 0.2": decimal(result.partial.fraction),
        "McClish": decimal(result.partial.mcclish),
        "Spec. at .8": (
            f"{decimal(result.specificity.interpolated)}<br>"
            f"{_narrow_bounds(result.specificity_interval)}"
        ),
    }
    if view.with_2021_formula:
        row["2021 formula"] = decimal(result.partial.deepminer_2021)
    if view.level == "patch" and view.has_published_classes:
        row["Published AUC"] = decimal(architectures.PUBLISHED_AUC[result.name])
    return row


def _class_note(view: PerformanceView) -> str:
    methods = dict.fromkeys(
        METHOD_NAMES.get(result.auc.method, result.auc.method) for result in view.summary.results
    )
    note = (
        f"CI clustered by patient ({', '.join(methods)}). pAUC over sensitivity .8 to 1: largest"
        " .2, chance .02. Second line of pAUC and specificity: 95 % CI, Bayesian bootstrap of"
        " patients."
    )
    if view.level == "patch" and view.has_published_classes:
        note += " Published AUC: HDSR 2021, DDSM, test patches."
    if view.with_2021_formula:
        note += (
            " The DeepMiner 2021 formula is .2 x the area to the right of the first point at"
            " sensitivity .8: chance .036."
        )
    return note


def _render_download(view: PerformanceView) -> None:
    """Render the button that downloads the table of classes with its run, split and level."""
    scope = {"run": view.run, "split": view.split, "level": view.level}
    rows = [scope | result.row() | {"simulated": view.simulated} for result in view.summary.results]
    st.download_button(
        "Download",
        csv_text(pd.DataFrame(rows)),
        f"performance-{view.split}-{view.level}.csv",
        "text/csv",
        type="tertiary",
    )


def _render_calibration(view: PerformanceView) -> None:
    """Render the calibration of every class with intervals."""
    calibrations = view.summary.calibrations
    rows = [_calibration_row(name, result) for name, result in reversed(calibrations.items())]
    elements.html_table(pd.DataFrame(rows))
    st.plotly_chart(
        charts.calibration_figure(calibrations, 300),
        config=PLOT_CONFIG,
        alt="observed proportion against predicted probability, per class",
    )
    st.caption(
        f"{_SCORES[view.level]} Ideal: slope 1, intercept 0, in the large 0. Intervals clustered by"
        " patient: sandwich (slope, in the large), Korn and Graubard (points). ECE over ten bins"
        " of equal width."
    )


def _calibration_row(name: str, result: Calibration) -> dict[str, str]:
    slope, large = result.slope_interval(), result.in_the_large_interval()
    return {
        "Class": elements.class_marker(name),
        "Slope (95 % CI)": f"<b>{decimal(slope.estimate, 2)}</b> {_bracketed(slope, 2)}",
        "Intercept": decimal(result.intercept, 2),
        "In the large (95 % CI)": f"{decimal(large.estimate, 2)} {_bracketed(large, 2)}",
        "Observed / expected": decimal(result.observed_expected, 2),
        "Brier": decimal(result.brier),
        "ECE": decimal(result.ece),
    }


def _bracketed(interval: Interval | AucInterval, digits: int = 3) -> str:
    """Return bounds in brackets, or the reason for their absence, as HTML."""
    if interval.low is None or interval.high is None:
        return elements.escape_html(f"({interval.reason})")
    return f"({decimal(interval.low, digits)} to {decimal(interval.high, digits)})"


def _render_thresholds(view: PerformanceView) -> None:
    """Render the operating points of the positive class at thresholds fixed on hold-out."""
    points = view.summary.points
    if not points:
        st.caption("Hold-out has one class only: no threshold can be fixed on it.")
        return
    elements.html_table(pd.DataFrame([_point_row(rule, p) for rule, p in points.items()]))
    st.caption(
        f"{view.positive.capitalize()} against the rest, {view.noun}, {SPLIT_NAMES[view.split]}."
        " Second line: 95 % CI clustered by patient. PPV and NPV apply to the proportion of"
        f" {view.positive} {view.noun} in this split only."
    )


def _point_row(rule: str, point: OperatingPoint) -> dict[str, str]:
    table = point.table
    intervals = {
        "Sensitivity": table.sensitivity,
        "Specificity": table.specificity,
        "PPV": table.ppv,
        "NPV": table.npv,
        "LR+": table.lr_positive,
        f"LR{MINUS}": table.lr_negative,
    }
    cells = {
        name: f"<b>{decimal(interval.estimate, 2)}</b><br>{_narrow_bounds(interval, 2)}"
        for name, interval in intervals.items()
    }
    return {
        "Fixed on hold-out at": (f"{elements.escape_html(rule)}<br>score ≥ {point.threshold:.4g}"),
        **cells,
        "TP / FN / FP / TN": f"{table.tp:,} / {table.fn:,} / {table.fp:,} / {table.tn:,}",
    }


def _narrow_bounds(interval: Interval, digits: int = 3) -> str:
    """Return bounds on one line of a narrow column, or the reason for their absence."""
    if interval.low is None or interval.high is None:
        return f'<span class="dm-mute">{elements.escape_html(interval.reason or DASH)}</span>'
    bounds = f"{decimal(interval.low, digits)}–{decimal(interval.high, digits)}"
    return f'<span class="dm-nowrap dm-small">{bounds}</span>'


def _render_networks(view: PerformanceView) -> None:
    """Render every run in the form of SPIE 2018, Table 1, with the published values."""
    table = architectures.load_architecture_rows(
        context.served_study(), tuple(view.evaluations), view.split, view.level
    )
    elements.html_table(pd.DataFrame([_network_row(view, row) for row in table]))
    if not view.has_published_classes:
        return
    published = "; ".join(
        f"{name} {decimal(values.get('malignant (two classes)', values['malignant']), 4)}"
        for name, (values, _) in architectures.PUBLISHED_ARCHITECTURES.items()
    )
    st.caption(
        "Published malignant AUC, SPIE 2018, Table 1 (DDSM, validation patches, two classes):"
        f" {published}. For orientation only: the data differ."
    )


def _network_row(view: PerformanceView, row: ArchitectureRow) -> dict[str, str]:
    training = f"{row.epochs} epochs" if row.epochs else "imported as it is"
    name = elements.escape_html(f"{row.architecture}, {row.weights}, {training}")
    published = "; ".join(f"{name} {decimal(auc, 4)}" for name, auc in row.published.items())
    return {
        "Network": name + (" <b>(shown)</b>" if row.run == view.run else ""),
        **{f"AUC {name}": _auc_cell(row.auc.get(name)) for name in reversed(view.classes.names)},
        "n / patients": f"{row.n:,} / {row.patients}",
        "Published": elements.escape_html(published or DASH),
    }


def _auc_cell(auc: AucInterval | None) -> str:
    return DASH if auc is None else f"<b>{decimal(auc.estimate)}</b> {_bracketed(auc)}"


def _render_comparison(view: PerformanceView) -> None:
    """Render this run against every other, paired on the same observations."""
    others = [run for run in list(view.evaluations)[::-1] if run != view.run]
    if not others:
        st.caption(
            "One run only. Train another architecture to compare: deepminer train --arch resnet18,"
            " then deepminer evaluate."
        )
        return
    compared = {other: _load_comparison(view, other) for other in others}
    adjusted = adjust(
        [None if isinstance(c, str) else c.p_value for c in compared.values()], "holm"
    )
    rows = [
        _comparison_row(view, other, comparison, None if np.isnan(p) else float(p))
        for (other, comparison), p in zip(compared.items(), adjusted)
    ]
    elements.html_table(pd.DataFrame(rows))
    st.caption(
        f"Exploratory. {view.positive.capitalize()} AUC on the same {view.noun},"
        f" {SPLIT_NAMES[view.split]}; paired test, clustered by patient. Adjusted P by Holm's"
        " method over all rows."
    )


def _load_comparison(view: PerformanceView, other: str) -> AucDifference | str:
    """Return the difference to another run, or the reason why there is none."""
    try:
        return performance_cache.load_comparison(
            context.served_study(), view.run, other, view.split, view.level
        )
    except ValueError as error:
        return str(error)


def _comparison_row(
    view: PerformanceView, other: str, comparison: AucDifference | str, adjusted: float | None
) -> dict[str, str]:
    title = elements.escape_html(run_title(view.evaluations[other]))
    columns = ("This run minus", f"AUC, {view.positive}", "95 % CI", "P, two-sided", "adjusted P")
    if isinstance(comparison, str):
        return dict(zip(columns, (title, DASH, elements.escape_html(comparison), DASH, DASH)))
    bounds = (
        f"{decimal(comparison.low)} to {decimal(comparison.high)}"
        if comparison.low is not None
        else elements.escape_html(comparison.reason)
    )
    p_values = (
        elements.escape_html(p_text(p).removeprefix("P ").removeprefix("= "))
        for p in (comparison.p_value, adjusted)
    )
    estimate = f"<b>{decimal(comparison.difference)}</b>"
    return dict(zip(columns, (title, estimate, bounds, *p_values)))


def _render_training(view: PerformanceView) -> None:
    """Render loss, accuracy and, where training measured it, AUC over the epochs."""
    train = view.evaluations[view.run].train
    history = cached_query(run_table.load_training_history, train)
    if not len(history):
        st.caption("This checkpoint was imported as it is; it was not trained in this study.")
        return
    left, right = st.columns(2)
    _plot_history(left, history, "loss")
    _plot_history(right, history, "accuracy")
    metric = f"auc_{view.positive}"
    measured = history[history[metric].notna()]
    if len(measured):
        column, _ = st.columns(2)
        _plot_history(column, measured, metric, f"AUC, {view.positive}")


def _plot_history(column: Any, history: pd.DataFrame, metric: str, title: str = "") -> None:
    column.plotly_chart(
        charts.training_curves(history, metric, title),
        config=PLOT_CONFIG,
        alt=f"{title or metric} over epochs",
    )


def _render_subgroups(view: PerformanceView) -> None:
    """Render the AUC of the positive class by density, view, scanner, lesion type and subtlety."""
    groups = performance_cache.load_subgroup_summary(context.served_study(), view.run, view.split)
    if not groups.subgroups:
        st.caption("No subgroup has five images of either class in this split.")
        return
    aucs = {result.name: result.auc.estimate for result in view.summary.results}
    # Subgroups are at image level: the line would mislead at another one.
    overall = aucs.get(view.positive) if view.level == "image" else None
    st.plotly_chart(
        charts.subgroup_forest(groups.subgroups, view.positive, overall),
        config=PLOT_CONFIG,
        alt=f"{view.positive} AUC by subgroup",
    )
    tests = adjusted_sentences(groups.interactions)
    note = (
        f" Tests of difference, patients resampled, adjusted by Holm's method: {tests}."
        if tests
        else ""
    )
    st.caption(
        "Exploratory. Image level, independent of the level above; images and patients in"
        f" parentheses. Intervals clustered by patient.{note}"
    )


def _render_failures(view: PerformanceView) -> None:
    """Render the largest errors; a selected row opens its explanation."""
    errors = performance.load_extreme_errors(context.served_study(), view.run, view.split)
    score = f"{view.positive.capitalize()} score"
    names = {
        "kind": "Failure",
        "mammogram_id": image_noun().capitalize(),
        "patient_id": "Patient",
        "score": score,
    }
    selection = elements.data_table(
        errors.rename(columns=names),
        hide_index=True,
        height=330,
        on_select="rerun",
        selection_mode="single-row",
        column_config={score: st.column_config.NumberColumn(format="%.4f")},
        key="failures",
    ).selection
    st.caption(
        f"The 8 {view.classes.normal} images with the highest and the 8 {view.positive} ones with"
        f" the lowest {view.positive} score, the most extreme first; in a small split not all of"
        " them are errors. Select a row to open its explanation."
    )
    if selection.rows and st.button("Open its explanation", type="primary"):
        st.switch_page(
            "pages/explanations.py",
            query_params={"film": errors["mammogram_id"].iloc[selection.rows[0]]},
        )


PERFORMANCE_TABS: dict[str, Callable[[PerformanceView], None]] = {
    "Classes": _render_classes,
    "Calibration": _render_calibration,
    "Thresholds": _render_thresholds,
    "Networks": _render_networks,
    "Comparison": _render_comparison,
    "Training": _render_training,
    "Subgroups": _render_subgroups,
    "Failures": _render_failures,
}

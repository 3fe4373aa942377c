"""Figures of the probability of malignant: calibration and decision curve, with their counts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from core.lineage import run_classes
from evaluation.intervals import count_text, decimal
from evaluation.queries import performance
from evaluation.queries.observations import load_observations
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.base import REPORTED_SPLIT, newest_run
from evaluation.reporting.figures import style
from evaluation.reporting.figures.base import FigureResult
from evaluation.reporting.figures.classifier import EMPTY_SPLIT
from evaluation.roc import net_benefit
from evaluation.roc.calibration_curve import Calibration, CalibrationBin

# Thresholds of the decision curve, and those whose counts are written below it.
DECISION_THRESHOLDS = np.arange(0.02, 0.985, 0.02)
COUNTED_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)


def plot_calibration(study: Path, width: float) -> FigureResult:
    """Plot the calibration of malignant, the positive class, on patches of the test split."""
    run = newest_run(study, "evaluate")
    positive = run_classes(study, run).positive
    calibration = performance.load_calibration(study, run, REPORTED_SPLIT)
    patients = load_observations(study, run, REPORTED_SPLIT, "patch").patients
    bins = [
        b for b in calibration.bins if b.predicted is not None and b.observed.estimate is not None
    ]
    if not bins:
        raise MissingInput(*EMPTY_SPLIT)
    figure = style.create_figure(width, min(width, 84) + 22)
    ax, count_ax = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    _plot_bins(ax, bins)
    _plot_bin_counts(count_ax, bins, positive)
    caption = (
        f"Calibration of the {positive} probability on {calibration.n:,} patches of"
        f" {count_text(patients, 'patient')}, {REPORTED_SPLIT} split, in ten bins of equal width."
        " Bars: 95 % intervals clustered by patient (Korn and Graubard); solid line: perfect"
        " calibration; below: patches in each bin (logarithmic scale). Expected calibration error"
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
    # Bins of few patients make a connecting line look like a trend.
    ax.errorbar(
        x,  # type: ignore[arg-type]
        y,
        style.error_bar_lengths(lengths),
        marker="o",
        markersize=3.5,
        elinewidth=0.7,
        capsize=1.5,
        linestyle="none",
        color=style.CLASS_COLOURS["malignant"],
    )
    ax.set(
        xlim=(-0.02, 1.02),
        ylim=(-0.02, 1.02),
        ylabel="Observed proportion",
    )


def _plot_bin_counts(ax: Axes, bins: list[CalibrationBin], positive: str) -> None:
    """Plot the number of patches in each bin, with the number above its bar."""
    counts = [b.n for b in bins]
    centres = [(b.low + b.high) / 2 for b in bins]
    ax.bar(
        centres, counts, width=0.09, color=style.GRID_COLOUR, edgecolor=style.MUTED, linewidth=0.5
    )
    ax.set_yscale("log")
    xlabel = f"Predicted probability of {positive}"
    ax.set(ylim=(0.8, 12 * max(counts)), xlabel=xlabel, ylabel="n")
    for centre, count in zip(centres, counts):
        ax.annotate(
            f"{count:,}",
            (centre, count),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            # Five digits are wider than a bar.
            rotation=90 if max(counts) >= 10_000 else 0,
        )
    ax.minorticks_off()


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


def plot_decision_curve(study: Path, width: float) -> FigureResult:
    """Plot the net benefit of acting on the probability of the positive class, with counts."""
    run = newest_run(study, "evaluate")
    observations = load_observations(study, run, REPORTED_SPLIT, "patch")
    if not len(observations.truth):
        raise MissingInput(*EMPTY_SPLIT)
    positive = observations.definition.positive
    truth, probability = observations.positive_against_rest()
    truth = np.asarray(truth, bool)
    curve = pd.DataFrame(
        [
            {"threshold": t, "model": benefit.model, "all": benefit.treat_all, "none": 0.0}
            for t in DECISION_THRESHOLDS
            for benefit in [net_benefit(truth, probability, float(t))]
        ]
    )
    counts = pd.DataFrame(
        [
            {
                "threshold": t,
                "called": int((probability >= t).sum()),
                positive: int((truth & (probability >= t)).sum()),
            }
            for t in COUNTED_THRESHOLDS
        ]
    )
    figure = style.create_figure(width, 78)
    ax, count_ax = figure.subplots(2, 1, sharex=True, height_ratios=(5, 1))
    _plot_benefits(ax, curve, float(truth.mean()))
    _write_counts(count_ax, counts, positive)
    n, patients = len(truth), observations.patients
    caption = (
        f"Decision curve on {n:,} patches of {count_text(patients, 'patient')}"
        f" ({int(truth.sum()):,} {positive}), {REPORTED_SPLIT} split: net benefit of calling a"
        f" patch {positive} at or above the threshold probability (solid), of calling all (dashed)"
        f" and none (dotted) {positive}. Below: patches called {positive}, and how many of them"
        f" are. The proportion of {positive} patches is that of this split."
    )
    return FigureResult(
        figure=figure,
        data={"benefit": curve, "counts": counts},
        caption=caption,
        counts={"patches": n, "patients": patients},
        method="Net benefit is the proportion of true positives less that of false positives times"
        " the odds of the threshold (Vickers and Elkin 2006).",
    )


def _plot_benefits(ax: Axes, curve: pd.DataFrame, prevalence: float) -> None:
    style.draw_grid(ax)
    ax.plot(curve["threshold"], curve["model"], color=style.INK, label="network")
    ax.plot(curve["threshold"], curve["all"], color=style.MUTED, linestyle="--", label="all")
    ax.plot(curve["threshold"], curve["none"], color=style.MUTED, linestyle=":", label="none")
    # Calling all malignant falls without limit; below, there is nothing to read.
    ax.set(xlim=(0, 1), ylim=(-0.35 * prevalence, 1.1 * prevalence), ylabel="Net benefit")
    ax.legend(loc="upper right")


def _write_counts(ax: Axes, counts: pd.DataFrame, positive: str) -> None:
    """Write the numbers called positive below the curve, as numbers at risk are written."""
    ax.set(ylim=(0, 2), yticks=(0.5, 1.5), xlabel="Threshold probability")
    ax.set_yticklabels([positive, "called"])
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    for row in counts.to_dict("records"):
        for y, name in ((1.5, "called"), (0.5, positive)):
            ax.text(row["threshold"], y, f"{row[name]:,}", ha="center", va="center", fontsize=7)

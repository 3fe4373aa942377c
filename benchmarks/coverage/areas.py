"""AUC, paired difference of AUCs, partial AUC, specificity at .8 and ROC band."""

from __future__ import annotations

import numpy as np
import scipy

from benchmarks.coverage.samples import (
    clustered_grid,
    correlated_noise,
    covers,
    labelled_patients,
    rejects,
    separation,
)
from benchmarks.coverage.simulation import Cell, Outcome, Simulation, grid
from evaluation.roc import (
    auc_interval,
    compare_aucs,
    partial_auc_interval,
    roc_curve,
    specificity_interval,
)

# Fewer than the product draws: the bounds then vary a little more, and cover no more often.
SIMULATED_RESAMPLES = 500
NORMAL_SCORES = (
    "Normal scores; all images of a patient share its truth. The true value is that of the two"
    " normal distributions."
)


def evaluate_auc(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the AUC of one data set."""
    codes, labels = labelled_patients(cell, generator)
    scores = separation(cell["auc"]) * labels + correlated_noise(codes, cell["icc"], generator)
    # Truth and patients are given whatever the number of images, as the pages do.
    printed = auc_interval(labels, scores, codes)
    wald = auc_interval(labels, scores, codes, "obuchowski")
    return {
        "AUC (printed)": covers(printed.low, printed.high, cell["auc"]),
        "Obuchowski, Wald (for comparison)": covers(wald.low, wald.high, cell["auc"]),
    }


def evaluate_difference(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the paired difference of two AUCs of one data set."""
    codes, labels = labelled_patients(cell, generator)
    # Half of each score's variance is shared, so that the scores correlate.
    shared = correlated_noise(codes, cell["icc"], generator)
    first, second = (
        separation(area) * labels
        + np.sqrt(0.5) * shared
        + np.sqrt(0.5) * correlated_noise(codes, cell["icc"], generator)
        for area in (cell["auc"], cell["second"])
    )
    difference = cell["auc"] - cell["second"]
    printed = compare_aucs(labels, first, second, codes, method="logit")
    wald = compare_aucs(labels, first, second, codes)
    outcome: Outcome = {
        "difference (printed)": covers(printed.low, printed.high, difference),
        "Obuchowski, Wald (for comparison)": covers(wald.low, wald.high, difference),
    }
    if not difference:
        outcome["test of the difference (printed)"] = rejects(printed.p_value)
    return outcome


def evaluate_curve(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate partial AUC, specificity at sensitivity .8 and the band of one data set."""
    codes, labels = labelled_patients(cell, generator)
    mu = separation(cell["auc"])
    scores = mu * labels + correlated_noise(codes, cell["icc"], generator)
    partial = partial_auc_interval(labels, scores, codes, resamples=SIMULATED_RESAMPLES)
    specificity = specificity_interval(labels, scores, codes, resamples=SIMULATED_RESAMPLES)
    curve = roc_curve(labels, scores, codes, resamples=SIMULATED_RESAMPLES)
    outcome = {
        "partial AUC (printed)": covers(partial.low, partial.high, _partial_area(mu)),
        "specificity at .8 (printed)": covers(
            specificity.low,
            specificity.high,
            float(scipy.special.ndtr(mu - scipy.special.ndtri(0.8))),
        ),
    }
    for rate in (0.1, 0.3):
        sensitivity = float(scipy.special.ndtr(mu + scipy.special.ndtri(rate)))
        covered = None
        if curve.low is not None and curve.high is not None:
            at = int(np.argmin(np.abs(curve.grid - rate)))
            covered = covers(curve.low[at], curve.high[at], sensitivity)
        outcome[f"ROC band at false-positive rate {rate:g} (printed)"] = covered
    return outcome


def _partial_area(mu: float) -> float:
    """Return the integral of the specificity over sensitivities from .8 to 1."""
    sensitivities = 0.8 + 0.2 * (np.arange(4000) + 0.5) / 4000
    return float(0.2 * scipy.special.ndtr(mu - scipy.special.ndtri(sensitivities)).mean())


SIMULATIONS = (
    Simulation(
        name="auc",
        title="AUC",
        model=NORMAL_SCORES,
        cells=clustered_grid(auc=(0.6, 0.7, 0.8, 0.9, 0.98), prevalence=(0.15, 0.5)),
        evaluate=evaluate_auc,
        columns="auc",
    ),
    Simulation(
        name="auc_difference",
        title="Paired difference of two AUCs",
        model=f"{NORMAL_SCORES} Half of the variance of two scores is shared.",
        cells=[
            {**cell, "auc": first, "second": second}
            for cell in grid(
                patients=(20, 40, 100), images=("1", "1-8"), icc=(0.5,), prevalence=(0.15, 0.5)
            )
            for first, second in ((0.7, 0.7), (0.9, 0.9), (0.98, 0.98), (0.8, 0.7), (0.95, 0.85))
        ],
        evaluate=evaluate_difference,
        tests=frozenset({"test of the difference (printed)"}),
        columns="auc",
    ),
    Simulation(
        name="roc_curve",
        title="Partial AUC, specificity at sensitivity .8, ROC band",
        model=NORMAL_SCORES,
        cells=[
            cell
            for cell in clustered_grid(auc=(0.7, 0.9, 0.97), prevalence=(0.15, 0.5))
            if cell["patients"] < 250 and cell["images"] != "4" and cell["icc"] != 0.1
        ],
        evaluate=evaluate_curve,
        columns="auc",
        resampled=True,
    ),
)

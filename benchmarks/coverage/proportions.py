"""Proportions with patients as clusters, their differences, and tests of one proportion."""

from __future__ import annotations

import numpy as np

from benchmarks.coverage.samples import (
    binary_outcomes,
    clustered_grid,
    covers,
    image_counts,
    patient_rates,
    rejects,
)
from benchmarks.coverage.simulation import Cell, Outcome, Simulation, grid
from evaluation.clustered import clustered_proportion
from evaluation.proportion import exact_binomial_test, noninferiority, proportion_interval
from evaluation.resampling import clustered_mean, clustered_proportion_difference
from evaluation.roc import clustered_diagnostic_table

BETA_BINOMIAL = "Outcomes are beta-binomial with this intraclass correlation within a patient."


def evaluate_proportion(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the intervals of one proportion."""
    outcomes, codes = binary_outcomes(cell, cell["proportion"], generator)
    result = clustered_proportion(outcomes, codes)
    truth = cell["proportion"]
    return {
        "GEE, small-sample t (printed)": covers(result.low, result.high, truth),
        "Korn-Graubard (printed)": covers(
            result.korn_graubard_low, result.korn_graubard_high, truth
        ),
        "GEE, Wald (for comparison)": covers(result.gee_low, result.gee_high, truth),
    }


def evaluate_test(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the tests of one proportion whose true value is .5."""
    outcomes, codes = binary_outcomes(cell, 0.5, generator)
    result = clustered_proportion(outcomes, codes)
    outcome: Outcome = {
        "GEE, one-sided (printed)": rejects(result.p_greater),
        "GEE, two-sided (printed)": rejects(result.p_two_sided),
        "patient sign-flip, one-sided (printed)": rejects(result.sign_flip_p_greater),
        "GEE, Wald, one-sided (for comparison)": rejects(result.gee_p_greater),
    }
    if cell["images"] == "1":
        test = exact_binomial_test(int(outcomes.sum()), len(outcomes))
        outcome["exact binomial, one-sided (printed)"] = rejects(test.p_value)
    return outcome


def evaluate_readers(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate sensitivity and specificity pooled over three readers of the same patients."""
    patients, truth = cell["patients"], cell["proportion"]
    labels = np.arange(patients) < round(0.5 * patients)
    rates = patient_rates(truth, cell["icc"], patients, generator)
    right = generator.random((3, patients)) < rates
    called = np.where(labels, right, ~right)
    table = clustered_diagnostic_table(
        np.tile(labels, 3), called.ravel(), np.tile(np.arange(patients), 3)
    )
    pooled = proportion_interval(int(right[:, labels].sum()), 3 * int(labels.sum()))
    ratio = truth / (1 - truth)
    return {
        "sensitivity, clustered (printed)": covers(
            table.sensitivity.low, table.sensitivity.high, truth
        ),
        "specificity, clustered (printed)": covers(
            table.specificity.low, table.specificity.high, truth
        ),
        "predictive value, clustered (printed)": covers(table.ppv.low, table.ppv.high, truth),
        "balanced accuracy, clustered (printed)": covers(
            table.balanced_accuracy.low, table.balanced_accuracy.high, truth
        ),
        "positive likelihood ratio, clustered (printed)": covers(
            table.lr_positive.low, table.lr_positive.high, ratio
        ),
        "odds ratio, clustered (printed)": covers(
            table.odds_ratio.low, table.odds_ratio.high, ratio**2
        ),
        "sensitivity, Clopper-Pearson (for comparison)": covers(pooled.low, pooled.high, truth),
    }


def evaluate_difference(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the difference of two proportions of the same patients, and non-inferiority."""
    counts = image_counts(cell, generator)
    patients = cell["patients"]
    codes = np.repeat(np.arange(patients), counts)
    # The two probabilities of a patient have the same rank, so that the answers correlate.
    state = generator.bit_generator.state
    sides = []
    for proportion in (cell["proportion"] - 0.1, cell["proportion"]):
        generator.bit_generator.state = state
        sides.append(patient_rates(proportion, cell["icc"], patients, generator)[codes])
    first, second = (generator.random(len(codes)) < rates for rates in sides)
    interval = clustered_proportion_difference((first, codes), (second, codes), 0.95)
    by_patient = np.stack([np.bincount(codes, side, patients) for side in (first, second)])
    test = noninferiority(by_patient, np.stack([counts, counts]), 0.1, np.arange(patients))
    mean = clustered_mean(first.astype(float) - second, codes)
    return {
        "difference of proportions (printed)": covers(interval.low, interval.high, -0.1),
        "mean difference of pairs (printed)": covers(mean.low, mean.high, -0.1),
        "non-inferiority at its margin, one-sided (printed)": rejects(test.p_value),
    }


def evaluate_two_arms(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate non-inferiority of two independent proportions at its margin."""
    n, p = cell["patients"], cell["proportion"]
    successes = generator.binomial(n, [p - 0.1, p])
    return {
        "non-inferiority, independent, one-sided (printed)": rejects(
            noninferiority(successes, [n, n], 0.1).p_value
        )
    }


def evaluate_single(cell: Cell, generator: np.random.Generator) -> Outcome:
    """Evaluate the intervals of a proportion of independent answers."""
    n, p = cell["patients"], cell["proportion"]
    count = int(generator.binomial(n, p))
    outcome: Outcome = {}
    for method in ("clopper-pearson", "wilson"):
        interval = proportion_interval(count, n, method)
        outcome[f"{method} (printed)"] = covers(interval.low, interval.high, p)
    return outcome


PROPORTIONS = (0.5, 0.7, 0.9, 0.95)
SIMULATIONS = (
    Simulation(
        name="proportion",
        title="One proportion, patients as clusters",
        model=BETA_BINOMIAL,
        cells=clustered_grid(proportion=PROPORTIONS),
        evaluate=evaluate_proportion,
        columns="proportion",
    ),
    Simulation(
        name="proportion_tests",
        title="Tests of one proportion against .5",
        model=f"{BETA_BINOMIAL} The true proportion is .5.",
        cells=[
            *grid(patients=(12, 20, 50, 330), images=("1",), icc=(0.0,)),
            *grid(patients=(20, 40, 100), images=("1-8",), icc=(0.0, 0.1, 0.5)),
        ],
        evaluate=evaluate_test,
        tests=frozenset(
            {
                "GEE, one-sided (printed)",
                "GEE, two-sided (printed)",
                "patient sign-flip, one-sided (printed)",
                "GEE, Wald, one-sided (for comparison)",
                "exact binomial, one-sided (printed)",
            }
        ),
        columns="images",
    ),
    Simulation(
        name="readers",
        title="Accuracy of three readers, patients as clusters",
        model=(
            "Three readers read every patient once; half of the patients are diseased. A patient's"
            " probability of a right call is beta distributed."
        ),
        cells=grid(patients=(20, 40, 100, 250), icc=(0.0, 0.1, 0.5), proportion=(0.6, 0.8, 0.95)),
        evaluate=evaluate_readers,
        columns="proportion",
    ),
    Simulation(
        name="proportion_difference",
        title="Difference of two proportions of the same patients",
        model=f"{BETA_BINOMIAL} The difference is -.1, the margin .1.",
        cells=[
            cell
            for cell in clustered_grid(proportion=(0.6, 0.8, 0.95))
            if cell["patients"] < 250 and cell["images"] != "4"
        ],
        evaluate=evaluate_difference,
        tests=frozenset({"non-inferiority at its margin, one-sided (printed)"}),
        columns="proportion",
        resampled=True,
    ),
    Simulation(
        name="two_arms",
        title="Non-inferiority of two independent proportions",
        model="Binomial counts of equal arms; the difference is minus the margin of .1.",
        cells=grid(patients=(20, 40, 100, 250), proportion=(0.6, 0.8, 0.95)),
        evaluate=evaluate_two_arms,
        tests=frozenset({"non-inferiority, independent, one-sided (printed)"}),
        columns="proportion",
    ),
    Simulation(
        name="independent_proportion",
        title="One proportion of independent answers",
        model="Binomial counts.",
        cells=grid(patients=(20, 40, 100, 250), proportion=PROPORTIONS),
        evaluate=evaluate_single,
        columns="proportion",
    ),
)

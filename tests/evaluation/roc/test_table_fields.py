"""Numbers and reasons of a table of accuracy, and small-sample bounds, by their formulas."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy
from sklearn.metrics import cohen_kappa_score, f1_score, matthews_corrcoef
from statsmodels.stats.proportion import proportion_confint

from evaluation.intervals import Interval
from evaluation.roc import clustered_diagnostic_table, diagnostic_table
from evaluation.roc.auc_bounds import (
    AreaEstimate,
    area_correlation,
    area_estimate,
    difference_bounds,
    difference_p_value,
    hanley_mcneil_variance,
    newcombe_bounds,
)


def wald(estimate: float, error: float, level: float = 0.9) -> tuple[float, float]:
    half = scipy.stats.norm.ppf((1 + level) / 2) * error
    return float(estimate * np.exp(-half)), float(estimate * np.exp(half))


def test_table_by_other_libraries() -> None:
    table = diagnostic_table(9, 3, 2, 6, level=0.9)
    truth, called = [1] * 12 + [0] * 8, [1] * 9 + [0] * 3 + [1] * 2 + [0] * 6
    assert table.kappa == pytest.approx(cohen_kappa_score(truth, called))
    assert table.mcc == pytest.approx(matthews_corrcoef(truth, called))
    assert table.f1 == pytest.approx(f1_score(truth, called))
    assert table.youden == pytest.approx(9 / 12 + 6 / 8 - 1)
    fisher = scipy.stats.fisher_exact([[9, 3], [2, 6]], "greater").pvalue
    assert table.fisher_p_greater == pytest.approx(fisher)
    for name, part, whole in (
        ("sensitivity", 9, 12),
        ("specificity", 6, 8),
        ("accuracy", 15, 20),
        ("ppv", 9, 11),
        ("npv", 6, 9),
    ):
        share = getattr(table, name)
        bounds = proportion_confint(part, whole, alpha=0.1, method="beta")
        assert share.estimate == part / whole
        assert (share.low, share.high) == pytest.approx(bounds)
        assert (share.method, share.level) == ("Clopper-Pearson", 0.9)
    for name, ratio, error in (
        ("lr_positive", (9 / 12) / (2 / 8), np.sqrt(1 / 9 - 1 / 12 + 1 / 2 - 1 / 8)),
        ("lr_negative", (3 / 12) / (6 / 8), np.sqrt(1 / 3 - 1 / 12 + 1 / 6 - 1 / 8)),
        ("odds_ratio", 9 * 6 / 6, np.sqrt(1 / 9 + 1 / 3 + 1 / 2 + 1 / 6)),
    ):
        found = getattr(table, name)
        assert (found.estimate, found.low, found.high) == pytest.approx(
            (ratio, *wald(ratio, error))
        )
        assert (found.level, found.method) == (
            *(0.9,),
            "Woolf" if name == "odds_ratio" else "Simel 1991",
        )
    half = scipy.stats.norm.ppf(0.95) / 2 * np.sqrt(0.75 * 0.25 / 12 + 0.75 * 0.25 / 8)
    balanced = table.balanced_accuracy
    assert (balanced.low, balanced.high) == pytest.approx((0.75 - half, 0.75 + half))
    assert (balanced.method, balanced.level, table.level) == ("Wald", 0.9, 0.9)
    assert diagnostic_table(9, 3, 2, 6).level == 0.95 and table.reason is None


RATIO = "a likelihood ratio would divide by 0"
ODDS = "the odds ratio would divide by 0"
LOGARITHM = "a count is 0: its logarithm gives no interval"


@pytest.mark.parametrize(
    ("counts", "name", "estimate", "reason"),
    [
        ((0, 0, 3, 4), "sensitivity", None, "no observation is positive"),
        ((3, 4, 0, 0), "specificity", None, "no observation is negative"),
        ((0, 3, 0, 4), "ppv", None, "no observation is called positive"),
        ((3, 0, 4, 0), "npv", None, "no observation is called negative"),
        ((0, 0, 0, 0), "accuracy", None, "no observation is observed"),
        ((0, 0, 3, 4), "lr_positive", None, RATIO),
        ((3, 4, 0, 0), "lr_positive", None, RATIO),
        ((3, 1, 0, 4), "lr_positive", None, RATIO),
        ((3, 1, 4, 0), "lr_negative", None, RATIO),
        ((0, 3, 2, 4), "lr_positive", 0.0, LOGARITHM),
        ((3, 0, 2, 4), "lr_negative", 0.0, LOGARITHM),
        (
            (3, 0, 4, 0),
            "lr_positive",
            1.0,
            "all are called alike: the variance is 0 and gives no interval",
        ),
        ((3, 0, 2, 4), "odds_ratio", None, ODDS),
        ((3, 1, 0, 4), "odds_ratio", None, ODDS),
        ((0, 1, 2, 4), "odds_ratio", 0.0, LOGARITHM),
        ((3, 1, 2, 0), "odds_ratio", 0.0, LOGARITHM),
        ((0, 0, 3, 4), "balanced_accuracy", None, "both classes are needed"),
        ((3, 4, 0, 0), "balanced_accuracy", None, "both classes are needed"),
        (
            (3, 0, 4, 0),
            "balanced_accuracy",
            0.5,
            "each class is called all right or all wrong: the variance is 0 and gives no interval",
        ),
    ],
)
def test_empty_margins(
    counts: tuple[int, ...], name: str, estimate: float | None, reason: str
) -> None:
    found: Interval = getattr(diagnostic_table(*counts, level=0.8), name)
    assert (found.estimate, found.low, found.high) == (estimate, None, None)
    assert (found.reason, found.level) == (reason, 0.8)


def test_statistics_without_a_margin() -> None:
    positive, negative = diagnostic_table(3, 4, 0, 0), diagnostic_table(0, 0, 3, 4)
    assert positive.youden is negative.youden is positive.mcc is negative.mcc is None
    assert diagnostic_table(0, 0, 0, 4).f1 is None and diagnostic_table(0, 1, 0, 4).f1 == 0
    assert diagnostic_table(0, 0, 0, 4).kappa is None and diagnostic_table(0, 1, 0, 4).kappa == 0
    nothing = diagnostic_table(0, 0, 0, 0)
    assert (nothing.reason, nothing.fisher_p_greater) == ("there are no observations", None)
    # The bounds of a balanced accuracy lie in [0, 1].
    assert diagnostic_table(2, 1, 3, 0).balanced_accuracy.low >= 0
    assert diagnostic_table(9, 0, 1, 2).balanced_accuracy.high <= 1
    empty = clustered_diagnostic_table([], [], [])
    assert (empty.unit, empty.reason) == ("patient", "there are no observations")
    with pytest.raises(ValueError, match="2 calls for 1 labels"):
        clustered_diagnostic_table([1], [1, 0])


def test_ratios_with_patients_as_clusters() -> None:
    """A t interval of the linearised logarithm, in loops over patients."""
    y = [1, 1, 1, 0, 0, 0, 1, 0, 1, 0]
    called = [1, 1, 0, 0, 1, 0, 1, 0, 0, 1]
    patients = [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    table = clustered_diagnostic_table(y, called, patients, 0.9)
    t = scipy.stats.t.ppf(0.95, 4)
    se, fp = 3 / 5, 2 / 5

    def half(positive: float, negative: float) -> float:
        """Return t times the standard error; the divisors of both classes' deviations."""
        parts = dict.fromkeys(range(1, 6), 0.0)
        for truth, call, patient in zip(y, called, patients):
            if truth:
                parts[patient] += (call - se) / 5 / positive
            else:
                parts[patient] -= (call - fp) / 5 / negative
        return t * np.sqrt(5 / 4 * sum(part**2 for part in parts.values()))

    for found, estimate, width in (
        (table.lr_positive, se / fp, half(se, fp)),
        (table.lr_negative, (1 - se) / (1 - fp), half(1 - se, 1 - fp)),
        (table.odds_ratio, 3 * 3 / (2 * 2), half(se * (1 - se), fp * (1 - fp))),
    ):
        expected = (estimate, estimate * np.exp(-width), estimate * np.exp(width))
        assert (found.estimate, found.low, found.high) == pytest.approx(expected)
        assert (found.level, found.unit) == (0.9, "patient")
        assert found.method == "log scale, t over patients"
    # Five positives and five negatives: the odds of both truths are 1.
    ratio, other = table.lr_positive, table.lr_negative
    assert (table.ppv.estimate, table.ppv.low) == pytest.approx(
        (3 / 5, ratio.low / (1 + ratio.low))
    )
    assert table.ppv.high == pytest.approx(ratio.high / (1 + ratio.high))
    assert table.npv.low == pytest.approx(1 / (1 + other.high))
    assert table.npv.high == pytest.approx(1 / (1 + other.low))
    assert table.ppv.method == "likelihood ratio, at the study's share of positives"
    assert table.unit == "patient" and clustered_diagnostic_table(y, called).unit == "observation"
    alone = clustered_diagnostic_table(y, called, [1] * 10)
    assert (alone.lr_positive.reason, alone.lr_positive.low) == (
        *("all calls come from one patient",),
        None,
    )


def test_variance_and_degrees_of_freedom_of_an_area() -> None:
    """The formulas of the docstring, in loops over patients; patient 3 has both classes."""
    a = np.array([0.04, -0.03, 0.01, -0.02, 0.0, 0.0])
    b = np.array([0.0, 0.0, 0.0, 0.05, -0.01, -0.04])
    parts = SimpleNamespace(
        positive=[None, a], negative=[None, b], with_positive=4, with_negative=3, clusters=6
    )
    found = area_estimate(parts, 1, 0.8)
    v10 = 4 / 3 * sum(x**2 for x in a)
    v01 = 3 / 2 * sum(x**2 for x in b)
    v11 = 2 * 6 / 5 * sum(x * y for x, y in zip(a, b))
    plain, variance = v10 + v01 + v11, 4 / 3 * v10 + 3 / 2 * v01 + v11
    normal = max(plain**2 / (v10**2 / 3 + v01**2 / 2), 2)
    spread = sum(x**4 for x in a) - sum(x**2 for x in a) ** 2 / 4
    spread += sum(x**4 for x in b) - sum(x**2 for x in b) ** 2 / 3
    df = max(min(2 * plain**2 / spread, normal), 3 / 2)
    assert (found.area, found.positives, found.negatives) == (0.8, 4, 3)
    assert (found.variance, found.df) == pytest.approx((variance, df))
    heavy = SimpleNamespace(
        positive=[np.array([0.09, -0.01, -0.02, -0.06] + [0.0] * 8)],
        negative=[np.array([0.0] * 4 + [0.2, -0.03, -0.02, -0.05, -0.04, -0.02, -0.03, -0.01])],
        with_positive=4,
        with_negative=8,
        clusters=12,
    )
    a, b = heavy.positive[0], heavy.negative[0]
    v10, v01 = 4 / 3 * (a**2).sum(), 8 / 7 * (b**2).sum()
    plain = v10 + v01
    spread = (a**4).sum() - (a**2).sum() ** 2 / 4 + (b**4).sum() - (b**2).sum() ** 2 / 8
    moments, normal = 2 * plain**2 / spread, plain**2 / (v10**2 / 3 + v01**2 / 7)
    # The fourth powers limit the degrees of freedom here.
    assert 2 < moments < normal
    assert area_estimate(heavy, 0, 0.7).df == pytest.approx(moments)
    none = area_estimate(
        SimpleNamespace(
            positive=[0 * a], negative=[0 * b], with_positive=4, with_negative=8, clusters=12
        ),
        0,
        0.7,
    )
    assert (none.variance, none.df, none.varies) == (0, 1, False)
    assert none.bounds(0.9) == newcombe_bounds(0.7, 4, 8, 0.9)


def test_score_bounds_of_an_area() -> None:
    """At a bound the distance from the area is z times the standard error there."""
    z = scipy.stats.norm.ppf(0.95)
    for area, m, n in ((0.7, 4, 9), (0.95, 12, 5), (0.5, 6, 6)):
        low, high = newcombe_bounds(area, m, n, 0.9)
        assert low < area < high
        for t in (low, high):
            size = (m + n) / 2 - 1
            spread = 1 + size * (1 - t) / (2 - t) + size * t / (1 + t)
            assert (area - t) ** 2 == pytest.approx(z**2 * t * (1 - t) * spread / (m * n))
    assert newcombe_bounds(0.0, 5, 6, 0.9)[0] == 0 and newcombe_bounds(1.0, 5, 6, 0.9)[1] == 1
    assert newcombe_bounds(0.0, 5, 6, 0.9)[1] > 0 and newcombe_bounds(1.0, 5, 6, 0.9)[0] < 1
    assert newcombe_bounds(1.0, 5, 6, 1e-12) == (1.0, 1.0)


def test_bounds_and_p_of_a_difference() -> None:
    first = AreaEstimate(0.85, 0.0021, 14.0, 20, 30)
    second = AreaEstimate(0.7, 0.0035, 9.0, 18, 25)
    (l1, u1), (l2, u2) = first.bounds(0.9), second.bounds(0.9)
    d1, e1, d2, e2 = 0.85 - l1, u1 - 0.85, 0.7 - l2, u2 - 0.7
    low, high = difference_bounds(first, second, 0.3, 0.9)
    assert low == pytest.approx(0.15 - np.sqrt(d1**2 + e2**2 - 0.6 * d1 * e2))
    assert high == pytest.approx(0.15 + np.sqrt(e1**2 + d2**2 - 0.6 * e1 * d2))
    p = difference_p_value(first, second, 0.3)
    assert difference_bounds(first, second, 0.3, 1 - p)[0] == pytest.approx(0, abs=1e-7)
    assert difference_p_value(second, first, 0.3) == pytest.approx(p)
    assert difference_p_value(first, first, 0.3) == 1
    far = AreaEstimate(0.01, 1e-9, 50.0, 20, 30)
    assert difference_p_value(AreaEstimate(0.99, 1e-9, 50.0, 20, 30), far, 0.0) == 1e-12
    assert area_correlation(np.array([[4.0, 3.0], [3.0, 9.0]])) == 0.5
    assert area_correlation(np.array([[0.0, 3.0], [3.0, 9.0]])) == 0
    assert area_correlation(np.array([[1.0, -3.0], [-3.0, 4.0]])) == -1
    q1, q2 = 0.8 / 1.2, 2 * 0.64 / 1.8
    expected = (0.8 * 0.2 + 6 * (q1 - 0.64) + 10 * (q2 - 0.64)) / 77
    assert hanley_mcneil_variance(0.8, 7, 11) == pytest.approx(expected)

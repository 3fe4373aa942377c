"""Non-inferiority against scipy and a scan of the likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evaluation.proportion import noninferiority


def test_one_proportion_is_the_exact_binomial_test():
    got = noninferiority(43, 70, margin=0.1)
    expected = stats.binomtest(43, 70, 0.4, "greater")
    assert got.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert got.low == pytest.approx(expected.proportion_ci(0.95, "exact").low - 0.5, abs=1e-10)
    assert got.estimate == pytest.approx(43 / 70 - 0.5) and got.noninferior
    none = noninferiority(0, 9, margin=0.2, reference=0.7)
    assert none.p_value == 1 and none.low == pytest.approx(-0.7) and not none.noninferior


def scanned_p_value(x: int, m: int, y: int, n: int, difference: float) -> float:
    """Return Miettinen and Nurminen's P, with the likelihood maximised over a fine grid."""
    q = np.linspace(max(0, -difference) + 1e-9, min(1, 1 - difference) - 1e-9, 400_001)
    p = q + difference
    likelihood = x * np.log(p) + (m - x) * np.log(1 - p) + y * np.log(q) + (n - y) * np.log(1 - q)
    p, q = p[likelihood.argmax()], q[likelihood.argmax()]
    variance = (p * (1 - p) / m + q * (1 - q) / n) * (m + n) / (m + n - 1)
    return float(stats.norm.sf((x / m - y / n - difference) / np.sqrt(variance)))


@pytest.mark.parametrize("counts", [(80, 100, 82, 100), (13, 15, 29, 41), (7, 30, 1, 20)])
def test_two_proportions_are_miettinen_and_nurminens(counts):
    x, m, y, n = counts
    got = noninferiority([x, y], [m, n], margin=0.12, level=0.975)
    assert got.p_value == pytest.approx(scanned_p_value(*counts, -0.12), abs=1e-6)
    assert scanned_p_value(*counts, got.low) == pytest.approx(0.025, abs=1e-6)
    assert got.noninferior == (got.p_value <= 0.025)


def test_extreme_counts():
    assert noninferiority([10, 10], [10, 10], 0.2).low < 0
    assert noninferiority([0, 12], [10, 12], 0.2).low == pytest.approx(-1, abs=0.01)
    assert noninferiority([10, 0], [10, 12], 0.2).low > 0.5


def test_patients_with_one_answer_to_both_are_a_paired_t_test():
    rng = np.random.default_rng(3)
    first, second = (rng.random(31) < 0.7).astype(int), (rng.random(31) < 0.75).astype(int)
    got = noninferiority([first, second], np.ones((2, 31)), 0.15, cluster=range(31))
    test = stats.ttest_1samp(first - second, -0.15, alternative="greater")
    bound = stats.ttest_1samp(first - second, 0, alternative="greater").confidence_interval(0.95)
    assert (got.p_value, got.low) == pytest.approx((test.pvalue, bound.low), abs=1e-12)
    single = noninferiority(first, np.ones(31), 0.1, cluster=range(31), reference=0.6)
    test = stats.ttest_1samp(first, 0.5, alternative="greater")
    assert single.p_value == pytest.approx(test.pvalue, abs=1e-12) and single.clusters == 31
    assert "31" not in single.method and "t over patients" in single.sentence()


def test_copies_of_a_patient_add_nothing():
    right = np.array([3, 1, 0, 4, 2, 2])
    asked = np.array([4, 1, 2, 5, 2, 4])
    once = noninferiority(right, asked, 0.1, cluster=range(6))
    thrice = noninferiority(np.tile(right, 3), np.tile(asked, 3), 0.1, cluster=list(range(6)) * 3)
    assert (thrice.low, thrice.p_value) == pytest.approx((once.low, once.p_value), abs=1e-12)


def test_impossible_input():
    assert "no answers" in noninferiority(0, 0, 0.1).reason
    assert "no answers" in noninferiority([0, 0], [0, 0], 0.1, cluster=["a", "b"]).sentence()
    assert "one patient" in noninferiority([1, 2], [2, 3], 0.1, cluster=["a", "a"]).reason
    assert "variance is 0" in noninferiority([1, 2], [2, 4], 0.1, cluster=["a", "b"]).reason
    for wrong, message in (
        (lambda: noninferiority(1, 2, -0.1), "the margin is -0.1"),
        (lambda: noninferiority(1, 2, 0), "the margin is 0"),
        (lambda: noninferiority(3, 2, 0.1), "whole numbers"),
        (lambda: noninferiority([1, 2, 3], [4, 4, 4], 0.1), "a pair of counts"),
        (lambda: noninferiority(1, 2, 0.1, cluster=["a"]), "a row of counts"),
        (lambda: noninferiority([float("nan"), 1], [2, 2], 0.1), "whole numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()

"""Every number of a test of proportions, by scipy, statsmodels and the formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar
from statsmodels.stats.proportion import proportion_confint

from evaluation.proportion import adjust, exact_binomial_test, mcnemar, proportion_interval


@pytest.mark.parametrize(("x", "n"), [(7, 19), (0, 8), (8, 8), (1, 3)])
def test_intervals_by_statsmodels(x: int, n: int) -> None:
    for method, name in (("clopper-pearson", "beta"), ("wilson", "wilson")):
        found = proportion_interval(x, n, method, 0.9)
        expected = proportion_confint(x, n, alpha=0.1, method=name)
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-9)
        assert (found.estimate, found.level, found.method) == (x / n, 0.9, method)
    found = proportion_interval(x, n, "jeffreys", 0.9)
    low = stats.beta.ppf(0.05, x + 0.5, n - x + 0.5) if x else 0.0
    high = stats.beta.ppf(0.95, x + 0.5, n - x + 0.5) if x < n else 1.0
    assert (found.low, found.high) == pytest.approx((low, high))
    found = proportion_interval(x, n, "mid-p", 0.9)
    if x:
        mid = stats.binom.sf(x, n, found.low) + stats.binom.pmf(x, n, found.low) / 2
        assert mid == pytest.approx(0.05)
    if x < n:
        mid = stats.binom.cdf(x - 1, n, found.high) + stats.binom.pmf(x, n, found.high) / 2
        assert mid == pytest.approx(0.05)
    assert (found.low == 0) == (x == 0) and (found.high == 1) == (x == n)


def test_wilson_with_continuity_correction() -> None:
    """Newcombe 1998, method 4: .2535 to .3682 for 81 of 263, .0018 to .1963 for 1 of 29."""
    for x, n, low, high in ((81, 263, 0.2535, 0.3682), (1, 29, 0.0018, 0.1963)):
        found = proportion_interval(x, n, "wilson-continuity")
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
        assert found.level == 0.95
    assert proportion_interval(0, 20, "wilson-continuity").low == 0
    assert proportion_interval(20, 20, "wilson-continuity").high == 1


@pytest.mark.parametrize(("x", "n", "p0"), [(15, 20, 0.6), (4, 11, 0.5), (9, 9, 0.4), (0, 6, 0.3)])
def test_exact_tests_by_scipy(x: int, n: int, p0: float) -> None:
    for alternative, low, high in (
        ("greater", stats.beta.ppf(0.1, x, n - x + 1) if x else 0.0, 1.0),
        ("less", 0.0, stats.beta.ppf(0.9, x + 1, n - x) if x < n else 1.0),
        (
            "two-sided",
            stats.beta.ppf(0.05, x, n - x + 1) if x else 0.0,
            stats.beta.ppf(0.95, x + 1, n - x) if x < n else 1.0,
        ),
    ):
        found = exact_binomial_test(x, n, p0, alternative, 0.9)
        expected = stats.binomtest(x, n, p0, alternative=alternative).pvalue
        assert found.p_value == pytest.approx(expected)
        assert (found.low, found.high) == pytest.approx((low, high))
        assert (found.successes, found.trials, found.estimate) == (x, n, x / n)
        assert (found.alternative, found.p0, found.level) == (alternative, p0, 0.9)
        half = stats.binom.pmf(x, n, p0) / 2
        above, below = stats.binom.sf(x, n, p0) + half, stats.binom.cdf(x - 1, n, p0) + half
        both = min(1.0, 2 * min(above, below))
        mid = {"greater": above, "less": below, "two-sided": both}[alternative]
        assert found.mid_p_value == pytest.approx(mid)
    greater = exact_binomial_test(x, n, p0, level=0.9)
    assert greater.alternative == "greater"
    tails = [stats.binom.sf(k - 1, n, p0) for k in range(n + 1)]
    significant = [k for k in range(n + 1) if tails[k] <= 0.1]
    assert greater.critical_count == min(significant)


@pytest.mark.parametrize(("b", "c"), [(9, 2), (2, 9), (6, 6), (1, 0)])
def test_mcnemar_by_statsmodels(b: int, c: int) -> None:
    found, table = mcnemar(b, c), [[5, b], [c, 4]]
    exact = statsmodels_mcnemar(table, exact=True)
    plain = statsmodels_mcnemar(table, exact=False, correction=False)
    corrected = statsmodels_mcnemar(table, exact=False, correction=True)
    assert found.exact_p_value == pytest.approx(min(1.0, exact.pvalue))
    mass = stats.binom.pmf(min(b, c), b + c, 0.5)
    whole = 2 * stats.binom.cdf(min(b, c), b + c, 0.5)
    assert found.mid_p_value == pytest.approx(whole - mass)
    assert (found.chi_square, found.chi_square_p_value) == pytest.approx(
        (plain.statistic, plain.pvalue)
    )
    # Edwards' statistic is 0 where both counts are equal.
    statistic = 0.0 if b == c else corrected.statistic
    assert found.corrected_chi_square == pytest.approx(statistic)
    assert found.corrected_p_value == pytest.approx(stats.chi2.sf(statistic, 1))
    assert (found.b, found.c, found.reason) == (b, c, None)


def test_no_discordant_pairs() -> None:
    none = mcnemar(0, 0)
    assert (none.exact_p_value, none.mid_p_value, none.chi_square) == (1, 1, None)
    assert none.chi_square_p_value is none.corrected_chi_square is none.corrected_p_value is None
    assert none.reason == "no discordant pairs: the chi-square forms do not exist"


def test_adjusted_p_values_by_hand() -> None:
    p = [0.01, None, 0.04, 0.03]
    assert adjust(p)[[0, 2, 3]] == pytest.approx([0.03, 0.06, 0.06]) and np.isnan(adjust(p)[1])
    assert adjust(p, "bh")[[0, 2, 3]] == pytest.approx([0.03, 0.04, 0.04])
    assert adjust(p, "holm")[[0, 2, 3]] == pytest.approx(adjust(p)[[0, 2, 3]])
    assert adjust([0.7, 0.9], "holm") == pytest.approx([1, 1])
    assert len(adjust([], "bh")) == 0

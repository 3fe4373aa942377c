"""Exact proportions, McNemar and multiplicity against the reference answers, brute force and
scipy/statsmodels.
"""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from evaluation.proportion import adjust, exact_binomial_test, mcnemar, proportion_interval

INTERVALS = {
    "cp": "clopper-pearson",
    "wilson": "wilson",
    "wilsoncc": "wilson-continuity",
    "jeffreys": "jeffreys",
    "midpci": "mid-p",
}
SIDES = {"greater": "greater", "less": "less", "two": "two-sided"}


def test_reference_binomial(reference):
    for case in reference("binomial")["cases"]:
        x, n, p0 = (case["inputs"][name] for name in ("x", "n", "p0"))
        for key, expected in case["expected"].items():
            interval = re.fullmatch(r"([a-z]+)(0\.\d+)", key)
            if interval:
                got = proportion_interval(x, n, INTERVALS[interval[1]], float(interval[2]))
                assert [got.low, got.high] == pytest.approx(expected, abs=1e-9), (case["name"], key)
            elif key == "cp_onesided_lower95":
                assert exact_binomial_test(x, n, p0).low == pytest.approx(expected, abs=1e-9)
            else:
                test = exact_binomial_test(x, n, p0, SIDES[key.split("_")[-1]])
                got = test.mid_p_value if key.startswith("midp") else test.p_value
                assert got == pytest.approx(expected, rel=1e-9, abs=0), (case["name"], key)


def test_published_count_and_flips():
    test = exact_binomial_test(182, 330)
    assert (test.critical_count, test.answers_to_flip) == (181, 2)
    assert (
        round(test.p_value, 4) == 0.0346
        and "182 of 330" in test.sentence()
        and "independent" in test.sentence()
    )
    assert exact_binomial_test(180, 330).answers_to_flip == 1


def tail(x: int, n: int, p0: float, alternative: str) -> float:
    mass = [math.comb(n, k) * p0**k * (1 - p0) ** (n - k) for k in range(n + 1)]
    if alternative == "greater":
        return sum(mass[x:])
    if alternative == "less":
        return sum(mass[: x + 1])
    return min(1.0, sum(m for m in mass if m <= mass[x] * (1 + 1e-7)))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 25),
    st.data(),
    st.sampled_from([0.3, 0.5, 0.8]),
    st.sampled_from(["greater", "less", "two-sided"]),
)
def test_p_and_critical_count_by_enumeration(n, data, p0, alternative):
    x = data.draw(st.integers(0, n))
    test = exact_binomial_test(x, n, p0, alternative)
    p = [tail(k, n, p0, alternative) for k in range(n + 1)]
    assert test.p_value == pytest.approx(p[x], rel=1e-7)
    significant = [k for k in range(n + 1) if p[k] <= 0.05 + 1e-12]
    if alternative == "greater":
        assert test.critical_count == (min(significant) if significant else None)
    if alternative == "less":
        assert test.critical_count == (max(significant) if significant else None)
    other = [k for k in range(n + 1) if (k in significant) != (x in significant)]
    assert test.answers_to_flip == (min(abs(k - x) for k in other) if other else None)


def test_no_answers_and_invalid_arguments():
    empty = exact_binomial_test(0, 0)
    assert empty.p_value is None and empty.reason and "not estimable" in empty.sentence()
    assert proportion_interval(0, 0).low is None and proportion_interval(0, 0).reason
    for x, n in ((5, 3), (-1, 3), (1.5, 3)):
        with pytest.raises(ValueError, match="not a count"):
            exact_binomial_test(x, n)
    with pytest.raises(ValueError, match="tested proportion"):
        exact_binomial_test(1, 2, p0=1.0)
    with pytest.raises(ValueError, match="alternative"):
        exact_binomial_test(1, 2, alternative="bigger")
    with pytest.raises(ValueError, match="interval method"):
        proportion_interval(1, 2, "wald")
    with pytest.raises(ValueError, match="level"):
        proportion_interval(1, 2, level=95)


def test_reference_mcnemar(reference):
    names = {
        "exact": "exact_p_value",
        "midp": "mid_p_value",
        "chi_stat": "chi_square",
        "chi": "chi_square_p_value",
        "chi_cc_stat": "corrected_chi_square",
        "chi_cc": "corrected_p_value",
    }
    for case in reference("mcnemar")["cases"]:
        got = mcnemar(**case["inputs"])
        for key, expected in case["expected"].items():
            assert getattr(got, names[key]) == pytest.approx(expected, rel=1e-9), (
                case["name"],
                key,
            )


def test_mcnemar_without_discordant_pairs():
    empty = mcnemar(0, 0)
    assert (empty.exact_p_value, empty.mid_p_value, empty.chi_square) == (
        1.0,
        1.0,
        None,
    ) and empty.reason
    with pytest.raises(ValueError, match="discordant"):
        mcnemar(-1, 2)


def test_reference_adjust(reference):
    names = {"bonf": "bonferroni"}
    for case in reference("p_adjust")["cases"]:
        for key, expected in case["expected"].items():
            assert adjust(case["inputs"]["p"], names.get(key, key)) == pytest.approx(
                expected, abs=1e-12
            ), key


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_adjust_matches_statsmodels(p):
    for method, their_method in (
        ("holm", "holm"),
        ("bh", "fdr_bh"),
        ("by", "fdr_by"),
        ("bonferroni", "bonferroni"),
        ("hochberg", "simes-hochberg"),
    ):
        assert adjust(p, method) == pytest.approx(
            multipletests(p, method=their_method)[1], abs=1e-9
        ), method


def test_adjust_edges():
    assert len(adjust([])) == 0
    assert adjust([0.01, None, 0.04]) == pytest.approx([0.02, float("nan"), 0.04], nan_ok=True)
    for wrong in ([1.2], [[0.1]]):
        with pytest.raises(ValueError, match="p-values"):
            adjust(wrong)
    with pytest.raises(ValueError, match="adjustment"):
        adjust([0.1], "sidak")
    assert np.all(adjust([0.5, 0.5, 0.5], "bonferroni") == 1)


def test_two_sided_critical_count_lies_on_the_side_of_the_data():
    # Of 20 at 1/2, P(X <= 5) = .0207 and P(X <= 6) = .0577: rejected are 0 to 5 and 15 to 20.
    for x, nearest, to_flip in ((3, 5, 3), (7, 5, 2), (9, 5, 4), (11, 15, 4), (17, 15, 3)):
        test = exact_binomial_test(x, 20, alternative="two-sided")
        assert (test.critical_count, test.answers_to_flip) == (nearest, to_flip), x
    assert exact_binomial_test(3, 20).critical_count == 15
    assert exact_binomial_test(17, 20, alternative="less").critical_count == 5

"""Sentences of proportions and of non-inferiority in every case, and what lies at their limits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from evaluation.clustered_record import ClusteredProportion
from evaluation.group_sequential import nominal_levels
from evaluation.intervals import (
    Interval,
    bounds_text,
    count_text,
    decimal,
    display_name,
    interval_text,
    p_text,
    percent,
    percent_range,
)
from evaluation.noninferiority import Noninferiority, noninferiority
from evaluation.permutation import sign_flip
from evaluation.proportion import exact_binomial_test, proportion_interval
from evaluation.validation import (
    binary_labels,
    check_level,
    cluster_codes,
    float_vector,
    labels_and_probabilities,
    labels_and_scores,
    one_class_reason,
    whole_number,
)


def clusters(**changes: Any) -> ClusteredProportion:
    values: dict[str, Any] = {
        "estimate": 0.625,
        "n": 1600,
        "clusters": 41,
        "successes": 1000,
        "icc": 0.125,
        "design_effect": 1.75,
        "effective_n": 914.3,
        "low": 0.512,
        "high": 0.731,
        "p_greater": 0.014,
        "p_two_sided": 0.028,
        "gee_estimate": 0.618,
        "gee_p_greater": 0.011,
        "gee_p_two_sided": 0.022,
        "sign_flip_p_greater": 0.035,
        "sign_flip_p_two_sided": 0.07,
        "level": 0.9,
    }
    return ClusteredProportion(**(values | changes))


def test_proportion_of_patients() -> None:
    start = "1000 of 1,600 answers from 41 patients (62.5 %) were right"
    assert clusters().sentence() == (
        f"{start}; GEE with exchangeable correlation and small-sample robust variance .618 (90 % CI"
        " .512 to .731), one-sided P = .014, two-sided P = .028; patient sign-flip (exact),"
        " one-sided P = .035; intraclass correlation .12, design effect 1.75."
    )
    reason = "all answers are right: their variance is 0"
    counted = clusters(gee_p_greater=None, reason=reason)
    assert counted.sentence() == (
        f"{start}; 90 % CI .512 to .731, from the number of patients: {reason}."
    )
    assert clusters(low=None, reason=reason).sentence() == (
        f"{start}; cluster-robust inference not estimable: {reason}."
    )
    nothing = ClusteredProportion(estimate=None, n=0, clusters=0, reason="there are no answers")
    assert nothing.sentence() == "Proportion not estimable: there are no answers."
    assert clusters(reason="r").sentence().endswith("design effect 1.75.")


def test_p_values_that_belong_to_the_interval() -> None:
    assert clusters().gee_p_values == (0.014, 0.028)
    assert clusters(gee_p_greater=None).gee_p_values == (None, None)


def test_clustering_in_words() -> None:
    def text(stated: str | None = None, **changes: Any) -> str:
        return clusters(**changes).clustering_text(stated)

    nothing = "intraclass correlation and design effect not estimable"
    assert text(design_effect=None) == nothing
    assert text(design_effect=None, reason="r") == f"{nothing}: r"
    assert text("other", design_effect=None, reason="r") == f"{nothing}: r"
    assert text("r", design_effect=None, reason="r") == nothing
    values = "intraclass correlation .12, design effect 1.75"
    assert text() == text("r", reason="r") == values
    assert text("other", reason="r") == f"{values} (r)"
    assert text(n=41, design_effect=1.025) == (
        "no patient has two answers: clustering plays no part (the design effect, 1.02, is the"
        " variance's small-sample factor)"
    )
    ending = (
        "; they are estimated separately, the first within patients, the second from the variance"
        " between patients of different size, and near independence can differ in direction"
    )
    assert text(icc=-0.125) == f"intraclass correlation −.12, design effect 1.75{ending}"
    assert text("o", design_effect=0.5, reason="r") == (
        f"intraclass correlation .12, design effect .50 (r){ending}"
    )
    assert text(icc=-0.125, design_effect=0.5) == ("intraclass correlation −.12, design effect .50")
    assert text(icc=0.0, design_effect=0.5) == "intraclass correlation .00, design effect .50"
    assert text(icc=None, design_effect=0.5) == "intraclass correlation –, design effect .50"


def test_defaults_of_a_proportion() -> None:
    bare = ClusteredProportion(estimate=0.5, n=2, clusters=2)
    assert (bare.p0, bare.level, bare.successes, bare.unit) == (0.5, 0.95, 0, "patient")
    assert bare.sign_flip_method == "exact"
    assert bare.method == "GEE, exchangeable, small-sample robust variance; patient sign-flip"


def test_limits_of_non_inferiority() -> None:
    shown = Noninferiority(
        estimate=-0.02,
        low=-0.0999,
        p_value=0.049,
        margin=0.1,
        level=0.95,
        first=0.8,
        reference=0.82,
    )
    assert shown.noninferior is True and replace(shown, low=-0.1).noninferior is False
    missing = replace(shown, low=None, reason="there are no answers")
    assert missing.noninferior is None
    assert missing.sentence() == "Non-inferiority not estimable: there are no answers."
    for margin in (0, 1, 1.5):
        with pytest.raises(ValueError, match=f"the margin is {margin}"):
            noninferiority(1, 2, margin)
    for level in (0, 1):
        with pytest.raises(ValueError, match=f"the level is {level}"):
            noninferiority(1, 2, 0.1, level=level)
    for right, asked in ((-1, 2), (1.5, 2), (1, 2.5), ([1, 2], [2, 2, 2])):
        with pytest.raises(ValueError, match="whole numbers of one shape"):
            noninferiority(right, asked, 0.1)
    assert noninferiority(4, 4, 0.1).first == 1 and noninferiority(0, 4, 0.1).first == 0
    # One side without answers has no difference.
    assert noninferiority([1, 0], [2, 0], 0.1).reason == "there are no answers"
    three = np.ones((3, 4))
    with pytest.raises(ValueError, match="give a row of counts, or two rows"):
        noninferiority(three, three, 0.1, cluster=range(4))


def test_non_inferiority_below_a_margin_that_reaches_zero() -> None:
    """Reference minus margin at 0 or below is exceeded by any right answer."""
    for margin in (0.5, 0.75):
        some, none = (noninferiority(x, 8, margin) for x in (3, 0))
        assert (some.p_value, none.p_value) == (0, 1)
        assert some.low == pytest.approx(stats.beta.ppf(0.05, 3, 6) - 0.5) and none.low == -0.5
    exact = noninferiority(3, 8, 0.3, reference=0.6, level=0.9)
    assert exact.p_value == pytest.approx(stats.binom.sf(2, 8, 0.3))
    assert (exact.estimate, exact.first, exact.reference) == pytest.approx((-0.225, 0.375, 0.6))
    assert (exact.margin, exact.level, exact.clusters) == (0.3, 0.9, None)
    assert exact.method == "exact binomial"


def test_non_inferiority_with_two_patients() -> None:
    """Patient a has 3 of 4 and 1 of 5 right, patient b 1 of 2 and 2 of 3."""
    right, asked = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([[4.0, 2.0], [5.0, 3.0]])
    found = noninferiority(right, asked, 0.2, cluster=["a", "b"], level=0.9)
    first, second = 4 / 6, 3 / 8
    parts = [(3 - 4 * first) / 6 - (1 - 5 * second) / 8, (1 - 2 * first) / 6 - (2 - 3 * second) / 8]
    error = np.sqrt(2 / 1 * (parts[0] ** 2 + parts[1] ** 2))
    estimate = first - second
    assert (found.first, found.reference) == pytest.approx((first, second))
    assert found.estimate == pytest.approx(estimate) and found.clusters == 2
    low = max(-1.0, estimate - stats.t.ppf(0.9, 1) * error)
    assert found.low == pytest.approx(low) and found.low > -1
    assert found.p_value == pytest.approx(stats.t.sf((estimate + 0.2) / error, 1))
    # The bound of a difference cannot lie below -1.
    wide = noninferiority(right, asked, 0.2, cluster=["a", "b"], level=0.999)
    assert wide.low == -1
    one = noninferiority([3, 1], [4, 2], 0.2, cluster=["a", "b"], reference=0.7)
    assert (one.first, one.reference) == (pytest.approx(4 / 6), 0.7)


def test_limits_of_the_arguments() -> None:
    for level in (0, 1, -0.5, 1.5):
        with pytest.raises(ValueError, match="must lie between 0 and 1, for example 0.95"):
            check_level(level)
        with pytest.raises(ValueError, match="the level is"):
            exact_binomial_test(0, 0, level=level)
        with pytest.raises(ValueError, match="the level is"):
            proportion_interval(0, 0, level=level)
    for p0 in (0, 1):
        with pytest.raises(ValueError, match="the tested proportion is"):
            exact_binomial_test(1, 2, p0)
    assert (whole_number(0, "n"), whole_number(2.0, "n", 2)) == (0, 2)
    for value, least in ((1.5, 0), (-1, 0), (1, 2), (None, 0), (float("inf"), 0)):
        message = f"n is {value}: expected a whole number of at least {least}"
        with pytest.raises(ValueError, match=message):
            whole_number(value, "n", least)
    assert labels_and_probabilities([0, 1], [0, 1])[1].tolist() == [0, 1]
    for wrong in (-0.01, 1.01):
        message = f"probability 2 of 2 is {wrong}: it must lie between 0 and 1"
        with pytest.raises(ValueError, match=message):
            labels_and_probabilities([0, 1], [0.5, wrong])
    with pytest.raises(ValueError, match="3 values of score for 2 labels"):
        labels_and_scores([0, 1], [1, 2, 3])
    with pytest.raises(ValueError, match="label 2 of 3 is '2': labels must be 0 or 1"):
        binary_labels([0, 2, 1])
    with pytest.raises(ValueError, match=r"not an array of shape \(1, 2\)"):
        binary_labels([[0, 1]])
    with pytest.raises(ValueError, match=r"x must be a list of numbers, not .* \(1, 2\)"):
        float_vector([[0, 1]], "x")
    with pytest.raises(ValueError, match="x 2 of 2 is not a number"):
        float_vector([0, None], "x")
    with pytest.raises(ValueError, match="2 patients for 3 observations"):
        cluster_codes(["a", "b"], 3)
    codes, count = cluster_codes(["b", "a", "b"], 3)
    assert (codes.tolist(), count) == ([1, 0, 1], 2)
    assert one_class_reason(np.array([True, False])) is None
    assert one_class_reason(np.array([], bool)) == "there are no observations"
    assert "are positive" in one_class_reason(np.ones(2, bool))
    assert "are negative" in one_class_reason(np.zeros(2, bool))


def test_printed_numbers_at_their_limits() -> None:
    assert [p_text(p) for p in (0.001, 0.00099, 0.9995, 0.99949)] == [
        "P = .001",
        "P < .001",
        "P > .999",
        "P = .999",
    ]
    assert [decimal(v, 1) for v in (-0.04, 0.96, -12.34, 1234.56)] == [
        ".0",
        "1.0",
        "−12.3",
        "1,234.6",
    ]
    assert (percent(0.125, 0), percent(float("nan")), percent(1)) == ("12 %", "–", "100.0 %")
    assert percent_range(None, None) == percent_range(float("nan"), 0.5) == "not estimable"
    assert percent_range(0.1234, 0.5678, 2) == "12.34 % to 56.78 %"
    assert percent_range(0.1234, 0.5678) == "12.3 % to 56.8 %"
    assert (count_text(1, "a"), count_text(0, "a"), count_text(1234, "a")) == (
        "1 a",
        "0 as",
        "1,234 as",
    )
    assert (display_name("gee"), display_name("any_malignant")) == ("GEE", "any malignant")
    assert bounds_text(0.25, 0.5, "r") == ".250 to .500; r"
    assert bounds_text(None, 0.5, "r") == bounds_text(0.25, None, "r") == "not estimable: r"
    assert interval_text(0.25, 0.5, 0.975, "r") == "97.5 % CI .250 to .500; r"
    found = Interval(estimate=0.5, low=0.25, high=0.75, level=0.9, method="delong", reason="r")
    assert found.sentence() == (
        ".500 (90 % CI .250 to .750; r, DeLong; unit of analysis: observation)"
    )
    bare = Interval.without_bounds(0.9, "m", "r")
    assert (bare.estimate, bare.low, bare.high, bare.unit) == (None, None, None, "observation")
    assert (bare.level, bare.method, bare.reason, bare.short()) == (0.9, "m", "r", "–")


def test_limits_of_the_exact_sign_flip() -> None:
    # Of the four sign patterns of 3 and 1 one reaches 4, and two reach 4 or -4.
    assert sign_flip([3, 1])[:2] == pytest.approx((0.25, 0.5))
    assert sign_flip([-3, -1])[:2] == pytest.approx((1.0, 0.5))
    # The distribution is enumerated up to a sum of 20,000.
    assert sign_flip([10_000, 10_000])[2] == "exact"
    assert sign_flip([10_000, 10_001])[2] == "normal approximation"


def test_levels_of_interim_looks() -> None:
    """With two looks the first level is the spending at half the information."""
    first, second = nominal_levels(2, 0.05)
    bound = stats.norm.isf(0.025) / np.sqrt(0.5)
    assert first == pytest.approx(2 * stats.norm.sf(bound))
    pocock = nominal_levels(2, 0.05, "pocock")
    assert pocock[0] == pytest.approx(0.05 * np.log(1 + (np.e - 1) / 2))
    # P(Z1 beyond b1, or Z2 beyond b2) is the whole level; Z1 and Z2 correlate by sqrt(1 / 2).
    for levels in ((first, second), pocock):
        bounds = stats.norm.isf(levels)
        law = stats.multivariate_normal([0, 0], [[1, np.sqrt(0.5)], [np.sqrt(0.5), 1]])
        assert 1 - law.cdf(bounds) == pytest.approx(0.05, abs=1e-5)
    assert nominal_levels(1, 0.03) == (0.03,)
    for alpha in (0, 0.5):
        with pytest.raises(ValueError, match="alpha is .*: it must lie between 0 and .5"):
            nominal_levels(2, alpha)
    with pytest.raises(ValueError, match="the number of looks is 0"):
        nominal_levels(0, 0.05)
    with pytest.raises(ValueError, match="must be one of obrien_fleming, pocock"):
        nominal_levels(2, 0.05, "other")

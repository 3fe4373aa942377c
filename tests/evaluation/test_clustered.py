"""The clustered proportion against the reference answers, statsmodels and enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.clustered import clustered_proportion, korn_graubard_interval
from evaluation.gee import gee_exchangeable
from evaluation.permutation import sign_flip


def test_reference_clustered(reference, published):
    right = {
        "prefix": published["answer"] == published["prefix"],
        "any": published["answer"] == published["any"],
        "spec": (published["answer"] == published["prefix"])[~published["prefix"]],
    }
    for case in reference("clustered_proportion")["cases"]:
        if case["name"] not in right:
            continue
        correct, e = right[case["name"]], case["expected"]
        got = clustered_proportion(correct, published.loc[correct.index, "patient"], case["p0"])
        assert (got.n, got.successes, got.clusters) == (e["n"], e["x"], e["m"])
        exact = {
            "estimate": e["p"],
            "icc": e["icc_anova"],
            "design_effect": e["svy"]["deff"],
            "effective_n": e["svy"]["neff"],
            "standard_error": e["svy"]["se"],
            "korn_graubard_low": e["svy"]["beta"][0],
            "korn_graubard_high": e["svy"]["beta"][1],
            "rao_scott_p_greater": e["rs_null_p_greater"],
            "sign_flip_p_greater": e["signflip"]["p_greater"],
            "sign_flip_p_two_sided": e["signflip"]["p_two"],
            "patient_weighted_estimate": e["patient_weighted"]["mean"],
            "patient_weighted_standard_error": e["patient_weighted"]["se"],
            "patient_weighted_p_greater": e["patient_weighted"]["p_greater"],
        }
        gee = e["gee_exch"]
        loose = {
            "gee_logit": gee["logit"],
            "gee_standard_error": gee["se"],
            "working_correlation": gee["alpha"],
            "gee_estimate": gee["acc"],
            "gee_low": gee["ci"][0],
            "gee_high": gee["ci"][1],
            "gee_p_greater": gee["p_greater"],
            "gee_p_two_sided": gee["p_two"],
        }
        for values, tolerance in ((exact, 1e-9), (loose, 1e-6)):
            for name, expected in values.items():
                assert getattr(got, name) == pytest.approx(expected, abs=tolerance), (
                    case["name"],
                    name,
                )
        assert "185 patients" in got.sentence() or case["name"] == "spec"


@pytest.mark.parametrize("p0", [0.5, 0.6])
def test_rao_scott_test_by_its_formula(p0: float) -> None:
    """The z test at the null proportion, whose variance is multiplied by the design effect."""
    right = np.array([True, True, False, True, True, False, True, True])
    got = clustered_proportion(right, np.array(list("aabcccdd")), p0)
    p, n, patients = 6 / 8, 8, 4
    # Right answers of each patient less their expected number: 2 - 1.5, 0 - .75, 2 - 2.25, 2 - 1.5.
    variance = patients / (patients - 1) * (0.5**2 + 0.75**2 + 0.25**2 + 0.5**2) / n**2
    effect = variance / (p * (1 - p) / n)
    z = (p - p0) / (p0 * (1 - p0) / n * effect) ** 0.5
    assert got.design_effect == pytest.approx(effect)
    assert got.rao_scott_p_greater == pytest.approx(stats.norm.sf(z))


def test_gee_matches_statsmodels_up_to_its_divisor():
    rng = np.random.default_rng(3)
    patient = np.repeat(np.arange(80), rng.integers(1, 5, 80))
    y = (rng.random(len(patient)) < np.repeat(rng.beta(3, 2, 80), np.bincount(patient))).astype(
        float
    )
    theirs = sm.GEE(
        y,
        np.ones((len(y), 1)),
        groups=patient,
        family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Exchangeable(),
    ).fit()
    ours, reason = gee_exchangeable(np.bincount(patient, y), np.bincount(patient).astype(float))
    assert reason is None
    assert ours.logit == pytest.approx(
        theirs.params[0], abs=2e-3
    ) and ours.standard_error == pytest.approx(theirs.bse[0], abs=2e-3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=9))
def test_sign_flip_by_enumeration(differences):
    flips = itertools.product((1, -1), repeat=len(differences))
    observed, sums = (
        sum(differences),
        [sum(s * d for s, d in zip(signs, differences)) for signs in flips],
    )
    greater, two, method = sign_flip(differences)
    assert method == "exact"
    assert greater == pytest.approx(np.mean([total >= observed for total in sums]), abs=1e-12)
    assert two == pytest.approx(np.mean([abs(total) >= abs(observed) for total in sums]), abs=1e-12)


def test_sign_flip_normal_approximation(monkeypatch):
    differences = np.random.default_rng(0).integers(-4, 6, 900)
    exact = sign_flip(differences)
    monkeypatch.setattr("evaluation.permutation.EXACT_SIGN_FLIP_LIMIT", 10)
    approximate = sign_flip(differences)
    assert approximate[2] == "normal approximation" and approximate[0] == pytest.approx(
        exact[0], abs=0.005
    )


def test_singletons_reduce_to_the_plain_proportion():
    correct = np.array([1] * 40 + [0] * 25, dtype=bool)
    got = clustered_proportion(correct, np.arange(65))
    assert (
        got.design_effect == pytest.approx(65 / 64)
        and got.icc is None
        and got.working_correlation == 0
    )
    assert got.gee_estimate == pytest.approx(40 / 65)


def test_degenerate_inputs_have_reasons():
    assert clustered_proportion([], []).reason == "there are no answers"
    one = clustered_proportion([1, 0, 1], ["a"] * 3)
    assert (
        one.estimate == pytest.approx(2 / 3)
        and one.gee_estimate is None
        and "one patient" in one.reason
    )
    right = clustered_proportion([1] * 6, [1, 1, 2, 2, 3, 3])
    assert right.estimate == 1 and right.gee_low is None and "all answers are right" in right.reason
    # The bounds and P of three answers, one a patient.
    exact = stats.binomtest(3, 3, 0.5, "greater")
    assert right.low == pytest.approx(stats.binomtest(3, 3).proportion_ci().low)
    assert right.high == 1 and right.p_greater == pytest.approx(exact.pvalue)
    wrong = clustered_proportion([0] * 5, [1, 1, 2, 3, 4])
    assert (wrong.low, wrong.p_greater) == (0, 1) and wrong.p_two_sided == pytest.approx(1 / 8)
    assert wrong.high == pytest.approx(stats.binomtest(0, 4).proportion_ci().high)
    assert right.sign_flip_p_greater == pytest.approx(1 / 8)
    equal = clustered_proportion([1, 0, 1, 0], [1, 1, 2, 2])
    assert (
        equal.gee_p_greater is None and equal.effective_n is None and "same share" in equal.reason
    )
    assert clustered_proportion([1, 0, 1], [1, 2, 3], p0=0.3).sign_flip_p_greater is None
    assert equal.low < 0.5 < equal.high and equal.p_greater is None
    assert "not estimable" in one.sentence()
    for result in (right, equal):
        assert "from the number of patients" in result.sentence()
    with pytest.raises(ValueError, match="observation 2 of 3 has no patient"):
        clustered_proportion([1, 0, 1], ["a", None, "b"])
    with pytest.raises(ValueError, match="label 2 of 2 is missing"):
        clustered_proportion([1, float("nan")], [1, 2])
    with pytest.raises(ValueError, match="patients for"):
        clustered_proportion([1, 0], [1])


def test_correlation_and_design_effect_that_differ_in_direction_are_explained() -> None:
    """The design effect of patients of different size can be below 1 beside a correlation."""
    patients = np.repeat(np.arange(6), [1, 1, 4, 2, 4, 3])
    correct = [1, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 1, 1, 0]
    result = clustered_proportion(correct, patients)
    assert result.icc > 0 and result.design_effect < 1
    assert "they are estimated separately" in result.clustering_text()
    # With equally many answers a patient the two agree.
    rng = np.random.default_rng(1)
    for _ in range(50):
        equal = clustered_proportion(rng.random(18) < 0.6, np.repeat(np.arange(6), 3))
        assert equal.icc <= 0 or equal.design_effect > 1


def test_single_answers_have_no_intraclass_correlation() -> None:
    result = clustered_proportion([1, 0, 1, 1], ["a", "b", "c", "d"])
    assert (
        result.icc is None
        and result.reason == "no patient has two answers: there is no intraclass correlation"
    )
    assert result.gee_p_greater is not None and "not estimable" not in result.sentence()
    assert result.design_effect == pytest.approx(4 / 3) and "intraclass" not in result.sentence()
    assert (
        result.clustering_text()
        == "no patient has two answers: clustering plays no part (the design effect, 1.33, is the"
        " variance's small-sample factor)"
    )
    assert result.sentence().endswith(f"; {result.clustering_text()}.")
    alike = clustered_proportion([1, 1, 1, 1], ["a", "a", "c", "d"])
    assert alike.icc is None and alike.reason == "all answers are right: their variance is 0"
    assert (
        alike.clustering_text()
        == "intraclass correlation and design effect not estimable: all answers are right: their"
        " variance is 0"
    )
    assert (
        alike.clustering_text(alike.reason)
        == "intraclass correlation and design effect not estimable"
    )


def test_negative_working_correlation():
    """Answers that differ within patients make the iteration oscillate about the solution."""
    sums, sizes = (
        np.array([3.0, 1, 3, 1, 0, 1, 3, 0, 3, 3, 3, 2]),
        np.array([4.0, 2, 3, 1, 1, 2, 5, 1, 5, 6, 7, 4]),
    )
    result, reason = gee_exchangeable(sums, sizes)
    assert reason is None and -1 / (sizes.max() - 1) < result.correlation < 0
    # Liang and Zeger's two equations, pair by pair.
    answers = [np.repeat([1.0, 0.0], [int(s), int(n - s)]) for s, n in zip(sums, sizes)]
    mu, deviation = result.estimate, np.sqrt(result.estimate * (1 - result.estimate))
    residuals = [(a - mu) / deviation for a in answers]
    products = sum(e.sum() ** 2 - (e**2).sum() for e in residuals) / (sizes * (sizes - 1)).sum()
    assert products / np.mean(np.concatenate(residuals) ** 2) == pytest.approx(
        result.correlation, abs=1e-9
    )
    assert sum(
        (a - mu).sum() / (1 + (len(a) - 1) * result.correlation) for a in answers
    ) == pytest.approx(0, abs=1e-9)


def test_sign_flip_needs_p0_of_one_half():
    result = clustered_proportion([1, 0, 1, 1, 0], [1, 1, 2, 3, 3], p0=0.3)
    assert result.sign_flip_p_greater is None and "against .5 only" in result.reason


def test_printed_interval_of_single_answers_is_a_t_interval_of_the_logit():
    """One answer a patient: the variance of a logit from m - 1, and t quantiles."""
    result = clustered_proportion([1] * 13 + [0] * 5, range(18))
    p, m = 13 / 18, 18
    error = np.sqrt(1 / ((m - 1) * p * (1 - p)))
    centre = np.log(p / (1 - p))
    half = stats.t.ppf(0.975, m - 1) * error
    expected = [1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))]
    assert [result.low, result.high] == pytest.approx(expected, abs=1e-12)
    assert result.p_greater == pytest.approx(stats.t.sf(centre / error, m - 1), abs=1e-12)
    assert result.p_two_sided == pytest.approx(2 * result.p_greater)
    assert result.gee_high < result.high and result.gee_p_greater < result.p_greater


def test_printed_variance_lies_between_the_uncorrected_and_the_bias_reduced_one():
    """Equal clusters: Mancl and DeRouen's variance has the factor m / (m - 1) twice, ours once."""
    rng = np.random.default_rng(4)
    patient = np.repeat(np.arange(12), 4)
    y = (rng.random(48) < np.repeat(rng.beta(3, 2, 12), 4)).astype(float)
    model = sm.GEE(
        y,
        np.ones((48, 1)),
        groups=patient,
        family=sm.families.Binomial(),
        cov_struct=sm.cov_struct.Exchangeable(),
    )
    plain, reduced = (float(model.fit(cov_type=kind).bse[0]) for kind in ("robust", "bias_reduced"))
    result = clustered_proportion(y, patient)
    width = np.log(result.high / (1 - result.high)) - np.log(result.low / (1 - result.low))
    error = width / (2 * stats.t.ppf(0.975, 11))
    assert error == pytest.approx(np.sqrt(plain * reduced), rel=1e-6)


@pytest.mark.parametrize(("proportion", "icc", "least"), [(0.9, 0.5, 0.92), (0.5, 0.0, 0.93)])
def test_printed_interval_covers_with_twelve_patients(proportion, icc, least):
    """Wald's GEE interval covers .86 to .92 here."""
    covered = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        sizes = rng.integers(1, 9, 14)
        scale = (1 - icc) / icc if icc else None
        rates = rng.beta(proportion * scale, (1 - proportion) * scale, 14) if icc else proportion
        codes = np.repeat(np.arange(14), sizes)
        outcomes = rng.random(len(codes)) < np.broadcast_to(rates, 14)[codes]
        result = clustered_proportion(outcomes, codes)
        covered.append(result.low <= proportion <= result.high)
    assert np.mean(covered) > least


def test_one_sided_test_holds_its_level_with_twelve_answers():
    """Of twelve single answers the Wald test rejects from nine right on: .073."""
    right = np.arange(13)
    mass = stats.binom.pmf(right, 12, 0.5)
    p_values = [
        clustered_proportion([1] * count + [0] * (12 - count), range(12)).p_greater
        for count in right
    ]
    size = mass[np.array(p_values) <= 0.05].sum()
    assert 0.01 < size <= 0.05


def test_korn_graubard_alone_equals_the_whole_analysis():
    rng = np.random.default_rng(2)
    codes = np.repeat(np.arange(9), rng.integers(1, 5, 9))
    outcomes = rng.random(len(codes)) < 0.6
    whole, alone = clustered_proportion(outcomes, codes), korn_graubard_interval(outcomes, codes)
    assert (alone.low, alone.high) == (whole.korn_graubard_low, whole.korn_graubard_high)
    assert alone.method == "Korn-Graubard"

"""Multi-reader analyses against the values that other software publishes for standard studies.

The product has no bootstrap covariances. RJafroc's analysis of pseudovalues (Dorfman, Berbaum and
Metz) equals that of Obuchowski and Rockette with jackknife covariances (Hillis 2007).
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.mrmc import any_design, obuchowski_rockette
from support.franken_kundel import franken_study, kundel_study
from support.van_dyke import van_dyke_study

# RJafroc Quick Start, "Obuchowski Rockette Applications", empirical AUC, jackknife covariances:
# F or chi-square, degrees of freedom, P, standard error, lower and upper bound.
RJAFROC = {
    "rrrc": (4.4563187, 15.259675, 0.051665686, 0.020748618, -0.087959499, 0.00035885444),
    "frrc": (5.4759532, 1, 0.019279843, 0.018717483, -0.080485914, -0.0071147303),
    "rrfc": (8.704, 4, 0.041958752, 0.014846287, -0.085020224, -0.0025804202),
}


@pytest.mark.parametrize("design", RJAFROC)
def test_rjafroc_values(design):
    result = obuchowski_rockette(*van_dyke_study(), design)
    values = (
        result.f,
        result.df,
        result.p_value,
        result.standard_error,
        result.low,
        result.high,
    )
    assert values == pytest.approx(RJAFROC[design], rel=1e-7)
    assert result.difference == pytest.approx(-0.043800322, rel=1e-7)
    assert [mean.estimate for mean in result.modality_means] == pytest.approx(
        [0.89703704, 0.94083736], rel=1e-7
    )


def long_table(scores: np.ndarray, truth: np.ndarray) -> pd.DataFrame:
    rows = [
        (reader, case, modality, scores[modality, reader, case], truth[case])
        for modality in range(scores.shape[0])
        for reader in range(scores.shape[1])
        for case in range(scores.shape[2])
    ]
    return pd.DataFrame(rows, columns=["reader", "case", "modality", "score", "truth"])


@pytest.mark.parametrize("design", RJAFROC)
def test_u_statistics_of_a_crossed_study_equal_the_unbiased_analysis(design):
    scores, truth = van_dyke_study()
    crossed = obuchowski_rockette(scores, truth, design, "unbiased", convention="mrmcaov")
    general = any_design(long_table(scores, truth), design)
    assert general.difference == pytest.approx(crossed.difference, abs=1e-12)
    assert general.standard_error == pytest.approx(crossed.standard_error, abs=1e-12)
    assert (general.readers, general.cases, general.patients) == (5, 114, 114)


def test_conventions_differ_for_fixed_readers_with_negative_covariance_difference():
    # Alternating ratings make readers disagree more within a modality than between modalities.
    rng = np.random.default_rng(5)
    truth = np.repeat([0, 1], 20)
    shared = rng.normal(size=40)
    scores = np.empty((2, 2, 40))
    for modality in range(2):
        for reader in range(2):
            sign = 1 if modality == reader else -1
            scores[modality, reader] = truth + sign * shared + 0.3 * rng.normal(size=40)
    truncated = obuchowski_rockette(scores, truth, "frrc")
    kept = obuchowski_rockette(scores, truth, "frrc", convention="mrmcaov")
    gap = truncated.cov2 - truncated.cov3
    assert gap < 0
    expected = [
        np.sqrt(truncated.var_error - truncated.cov1 + part) for part in (0.0, gap)
    ]  # sqrt(2 D / r) with r = 2
    assert [truncated.standard_error, kept.standard_error] == pytest.approx(expected)
    assert obuchowski_rockette(scores, truth).f == pytest.approx(
        obuchowski_rockette(scores, truth, convention="mrmcaov").f
    )


# Smith BJ, Hillis SL. Multi-reader multi-case analysis of variance software, manuscript with the
# source of MRMCaov 0.3.0 (docs/jss): empirical AUC of the Van Dyke study. Components: reader,
# modality by reader, error, Cov1, Cov2, Cov3. Test: F, df2, P, standard error, bounds.
MRMCAOV = {
    "delong": (
        (0.0015364254, 0.0002045840, 0.0007921325, 0.0003420090, 0.0003395265, 0.0002358497),
        (4.484854, 15.06611, 0.05123303, 0.0206825, -0.0878671960, 0.0002665519),
    ),
    "unbiased": (
        (0.0015365290, 0.0002077588, 0.0007883925, 0.0003416706, 0.0003390650, 0.0002356148),
        (4.489614, 15.03418, 0.0511618, 0.02067154, -0.0878519409, 0.0002512968),
    ),
    "jackknife": (
        (0.0015349993, 0.0002004025, 0.0008022883, 0.0003466137, 0.0003440748, 0.0002390284),
        None,
    ),
}
COMPONENTS = ("var_reader", "var_modality_reader", "var_error", "cov1", "cov2", "cov3")
TEST = ("f", "df", "p_value", "standard_error", "low", "high")


def numbers(result, names):
    return [getattr(result, name) for name in names]


@pytest.mark.parametrize("covariance", MRMCAOV)
def test_mrmcaov_values_of_van_dyke(covariance):
    result = obuchowski_rockette(*van_dyke_study(), covariance=covariance, convention="mrmcaov")
    components, test = MRMCAOV[covariance]
    assert numbers(result, COMPONENTS) == pytest.approx(components, abs=6e-11)
    if test is not None:
        assert numbers(result, TEST) == pytest.approx(test, rel=2e-6)


# RJafroc 2.1.3, tests/testthat/goodValues361/UtilOutputReport/dataset03-OR-Wilcoxon: the Franken
# study, empirical AUC, jackknife covariances.
FRANKEN_COMPONENTS = (
    2.331994153e-05,
    -0.000683891461,
    0.001525776249,
    0.000791682147,
    0.0004836376727,
    0.0005125091474,
)
FRANKEN = {
    "rrrc": (4.694057725, 3, 0.1188378575, 0.005010121824, -0.005089626863, 0.02679926051),
    "frrc": (0.321013472, 1, 0.570999221, 0.01915847205, -0.02669509839, 0.04840473204),
    "rrfc": (4.694057725, 3, 0.1188378575, 0.005010121824, -0.005089626863, 0.02679926051),
}


@pytest.mark.parametrize("design", FRANKEN)
def test_rjafroc_values_of_franken(design):
    result = obuchowski_rockette(*franken_study(), design)
    assert numbers(result, TEST) == pytest.approx(FRANKEN[design], rel=2e-9)
    reader, *others = numbers(result, COMPONENTS)
    assert others == pytest.approx(FRANKEN_COMPONENTS[1:], rel=2e-9)
    # RJafroc adds half of the negative Cov2 - Cov3 to the variance of readers; MRMCaov does not.
    gap = result.cov2 - result.cov3
    assert gap < 0 and reader + gap / 2 == pytest.approx(FRANKEN_COMPONENTS[0], rel=2e-9)
    assert [mean.estimate for mean in result.modality_means] == pytest.approx(
        [0.8477498869, 0.8368950701], rel=2e-9
    )


def test_pseudovalue_analysis_of_franken_with_fixed_readers():
    """It keeps the negative Cov2 - Cov3, as MRMCaov does (dataset03-DBM-Wilcoxon, FRRC)."""
    result = obuchowski_rockette(*franken_study(), "frrc", convention="mrmcaov")
    assert (result.f, result.standard_error) == pytest.approx(
        (0.3639559735, 0.01799277186), rel=2e-9
    )


# MRMCaov 0.3.0, R/convert.R, example 2b: parameters of the Franken and Kundel studies. AUC of both
# modalities, correlations 1 to 3, variances of readers and of error.
PARAMETERS = {
    franken_study: (
        0.8477498869,
        0.8368950701,
        0.521430051,
        0.319691199,
        0.3386375697,
        0.0000433385,
        0.0014967254,
    ),
    kundel_study: (
        0.8038793103,
        0.8413662487,
        0.507695244,
        0.3843523762,
        0.4035662578,
        0.0007340122,
        0.002148844,
    ),
}


@pytest.mark.parametrize("study", PARAMETERS)
def test_mrmcaov_parameters_of_franken_and_kundel(study):
    result = obuchowski_rockette(*study(), covariance="unbiased")
    first, second = (mean.estimate for mean in result.modality_means)
    correlations = [part / result.var_error for part in (result.cov1, result.cov2, result.cov3)]
    assert (first, second, *correlations, result.var_reader, result.var_error) == pytest.approx(
        PARAMETERS[study], rel=2e-6
    )

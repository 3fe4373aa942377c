"""Multi-reader analyses against the values that other software publishes for the Van Dyke study."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from evaluation.mrmc import any_design, obuchowski_rockette
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

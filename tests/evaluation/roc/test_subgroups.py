"""Interaction of subgroups, and the net benefit at a threshold, against values by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy

from evaluation.roc import auc_interval
from evaluation.roc.calibration_curve import net_benefit
from evaluation.roc.subgroups import Subgroup, interactions


def subgroup(value: str, n: int, shift: float, seed: int, patient_offset: int = 0) -> Subgroup:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 2 == 0
    score, patient = shift * truth + rng.normal(size=n), np.arange(n) + patient_offset
    return Subgroup(
        variable="density",
        value=value,
        auc=auc_interval(truth, score, patient),
        n=n,
        patients=n,
        truth=truth,
        score=score,
        patient=patient,
    )


def test_difference_of_two_groups_of_different_patients():
    """The variance of the difference is the sum of both, of which the first is the larger."""
    small, large = subgroup("1", 40, 0.8, 1), subgroup("2", 400, 1.6, 2, 1000)
    first, second = (group.auc for group in (small, large))
    variances = first.standard_error**2, second.standard_error**2
    assert variances[0] > 5 * variances[1]
    expected = (first.estimate - second.estimate) ** 2 / sum(variances)
    for groups in ([small, large], [large, small]):
        (test,) = interactions(groups, resamples=1000)
        assert (test.df, test.groups) == (1, 2)
        assert test.statistic == pytest.approx(expected, rel=0.2)
        assert test.p_value == pytest.approx(scipy.stats.chi2.sf(test.statistic, 1))


def test_interactions_use_500_resamples_of_patients():
    groups = [subgroup("1", 40, 0.8, 1), subgroup("2", 30, 1.6, 2)]
    (test,) = interactions(groups)
    assert test == interactions(groups, resamples=500, seed=1)[0]
    assert test.statistic not in {interactions(groups, resamples=501)[0].statistic, None}


def test_difference_of_two_groups_of_the_same_patients():
    """Equal observations in both groups leave no variance of the difference."""
    group = subgroup("1", 60, 1.0, 3)
    (test,) = interactions([group, group])
    assert test.p_value is None and "do not vary" in test.reason


def test_probability_at_the_threshold_is_acted_on():
    # Acted on: .25, .25 and .9, of which the first and the last are malignant; odds 1/3.
    result = net_benefit([1, 0, 0, 1], [0.25, 0.25, 0.1, 0.9], 0.25)
    assert result.model == pytest.approx(2 / 4 - 1 / 4 / 3)
    assert result.treat_all == pytest.approx(2 / 4 - 2 / 4 / 3) and result.n == 4

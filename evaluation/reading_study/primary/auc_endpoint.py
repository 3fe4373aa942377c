"""AUC of the ratings as the primary endpoint, with patients as clusters."""

from __future__ import annotations

import scipy

from evaluation.intervals import METHOD_NAMES
from evaluation.reading_study.primary.record import EndpointEstimate
from evaluation.roc import AucInterval, auc_interval
from evaluation.validation import Array

CHANCE = 0.5
# Two-sided confidence levels between which a P value is sought.
_LEAST_LEVEL, _LARGEST_LEVEL = 1e-6, 1 - 1e-9


def estimate_auc(truth: Array, rating: Array, patients: Array, level: float) -> EndpointEstimate:
    """Estimate the AUC of the ratings and test it against one half.

    Parameters
    ----------
    truth : ndarray of bool, shape (n,)
        Whether the case of each answer is malignant.
    rating : ndarray of int, shape (n,)
    patients : ndarray, shape (n,)
        Patient of each answer.
    level : float
        Two-sided confidence level.

    Returns
    -------
    EndpointEstimate
        P is the level at which the interval touches .5, so test and interval always agree.
    """
    interval = auc_interval(truth, rating, patients, level=level)
    p_one_sided = None
    if interval.estimate is not None and _has_width(interval):
        p_one_sided = _one_sided_p(truth, rating, patients, interval.estimate)
    return EndpointEstimate(
        estimate=interval.estimate,
        low=interval.low if p_one_sided is not None else None,
        high=interval.high if p_one_sided is not None else None,
        p_one_sided=p_one_sided,
        p_two_sided=None if p_one_sided is None else 2 * min(p_one_sided, 1 - p_one_sided),
        method=_method_name(interval),
        reason=interval.reason,
    )


def _method_name(interval: AucInterval) -> str:
    # Without degrees of freedom the bounds are those of a score method, see `auc_interval`.
    if interval.low is not None and interval.df is None:
        return "Newcombe's score interval on the number of patients"
    return f"{METHOD_NAMES[interval.method]} interval, clustered by patient"


def _has_width(interval: AucInterval) -> bool:
    # Tied ratings give .5 in every sample, which is no evidence of chance.
    return interval.low is not None and interval.high is not None and interval.low < interval.high


def _one_sided_p(truth: Array, rating: Array, patients: Array, estimate: float) -> float:
    """Return the one-sided P against .5 by inverting the interval."""
    if estimate == CHANCE:
        return 0.5
    above = estimate > CHANCE

    def distance(level: float) -> float:
        """Return how far the bound on the side of .5 lies beyond .5."""
        interval = auc_interval(truth, rating, patients, level=level)
        bound = interval.low if above else interval.high
        assert bound is not None
        return bound - CHANCE if above else CHANCE - bound

    if distance(_LARGEST_LEVEL) >= 0:
        level = _LARGEST_LEVEL
    elif distance(_LEAST_LEVEL) <= 0:
        level = 0.0
    else:
        level = scipy.optimize.brentq(distance, _LEAST_LEVEL, _LARGEST_LEVEL, xtol=1e-7)
    tail = (1 - level) / 2
    return float(tail if above else 1 - tail)

"""AUCs of the same observations when their scores change: fall, and share that is left."""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.intervals import Interval, interval_with_width
from evaluation.resampling import percentile_bounds
from evaluation.roc.auc_estimates import auc
from evaluation.roc.auc_variance import bootstrap_aucs
from evaluation.validation import Array, cluster_codes

_LEVEL, _RESAMPLES = 0.95, 2_000


def auc_drop(
    labels: Array,
    before: Array,
    after: Array,
    patients: Any,
    references: list[Array] | None = None,
) -> Interval:
    """Return how much the AUC falls when scores change, with an interval by patient.

    Every score is evaluated on the same resampled patients.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
        Truth.
    before, after : ndarray of float, shape (n,)
        Scores before and after the change.
    patients : sequence of hashable, shape (n,)
        Patient of each observation.
    references : list of ndarray, optional
        Scores after changes of comparison. The result is then how much more the AUC falls than with
        these, on average.

    Returns
    -------
    Interval
        Without bounds for one class or one patient.

    Examples
    --------
    >>> labels = np.array([True, True, True, False, False, False])
    >>> before = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    >>> after = np.array([0.9, 0.2, 0.7, 0.3, 0.8, 0.1])
    >>> drop = auc_drop(labels, before, after, list("aabbcc"))
    >>> round(drop.estimate, 3), drop.method
    (0.333, 'patient bootstrap, 2000 resamples')
    """
    method = f"patient bootstrap, {_RESAMPLES} resamples"
    if labels.all() or not labels.any():
        return Interval.without_bounds(_LEVEL, method, "one class only", unit="patient")
    codes, clusters = cluster_codes(patients, len(labels))
    # (before - after) - (before - reference) = reference - after: `before` cancels.
    compared = references or [before]
    estimate = float(np.mean([auc(labels, s) for s in compared])) - float(auc(labels, after))
    if clusters < 2:
        return Interval.without_bounds(
            _LEVEL, method, "one patient cannot be resampled", estimate, unit="patient"
        )
    # The seed is the same in all calls, so that every score is taken on the same patients.
    drawn = np.mean(
        [bootstrap_aucs(labels, s, codes, clusters, _RESAMPLES, 1) for s in compared], axis=0
    )
    drops = drawn - bootstrap_aucs(labels, after, codes, clusters, _RESAMPLES, 1)
    # nan: resamples with one class.
    low, high = percentile_bounds(drops[~np.isnan(drops)], _LEVEL, clusters)
    return interval_with_width(estimate, low, high, _LEVEL, method, 1e-12)


def share_above_chance(
    labels: Array, whole: Array, part: Array, patients: Any, level: float = _LEVEL
) -> Interval:
    """Return the share of an AUC above chance that other scores of the same observations reach.

    Share = (AUC of `part` - .5) / (AUC of `whole` - .5): 1 where the part separates the classes as
    well as the whole, 0 where it does not separate them. Both AUCs are taken on the same resampled
    patients.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
        Truth.
    whole, part : ndarray of float, shape (n,)
        Scores of the whole classifier and of a part of it.
    patients : sequence of hashable, shape (n,)
        Patient of each observation.
    level : float
        Confidence level.

    Returns
    -------
    Interval
        Without an estimate where the AUC of `whole` is not above .5, or there is one class only.
        Without bounds where at least (1 - level) / 2 of the resamples have an AUC of `whole` at or
        below .5, because the ratio has no finite interval then.

    Examples
    --------
    >>> labels = np.array([True, True, True, False, False, False])
    >>> whole = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])
    >>> part = np.array([0.9, 0.2, 0.7, 0.3, 0.8, 0.1])
    >>> share = share_above_chance(labels, whole, part, list("abcabc"))
    >>> round(share.estimate, 3)
    0.333
    >>> share_above_chance(labels, whole, np.zeros(6), list("abcabc")).estimate
    0.0
    """
    method = f"patient bootstrap, {_RESAMPLES} resamples"
    if labels.all() or not labels.any():
        return Interval.without_bounds(level, method, "one class only", unit="patient")
    above = float(auc(labels, whole)) - 0.5
    if above <= 0:
        reason = "the AUC of the whole network is not above .5"
        return Interval.without_bounds(level, method, reason, unit="patient")
    estimate = (float(auc(labels, part)) - 0.5) / above
    codes, clusters = cluster_codes(patients, len(labels))
    if clusters < 2:
        reason = "one patient cannot be resampled"
        return Interval.without_bounds(level, method, reason, estimate, unit="patient")
    wholes, parts = (
        bootstrap_aucs(labels, scores, codes, clusters, _RESAMPLES, 1) - 0.5
        for scores in (whole, part)
    )
    known = ~np.isnan(wholes)
    if (wholes[known] <= 0).mean() >= (1 - level) / 2:
        reason = "the AUC of the whole network is not reliably above .5"
        return Interval.without_bounds(level, method, reason, estimate, unit="patient")
    positive = known & (wholes > 0)
    low, high = percentile_bounds(parts[positive] / wholes[positive], level, clusters)
    tolerance = 1e-12 * max(1.0, abs(estimate))
    same = "the value is the same in every resample"
    return interval_with_width(estimate, low, high, level, method, tolerance, same)

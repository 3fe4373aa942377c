"""Intervals of points and partial areas of the ROC curve, from resampled curves.

Percentiles of resampled patients cover too rarely at few patients, because no resample holds a
score beyond the observed ones. Here patients are weighted by the Bayesian bootstrap, and each class
has a small weight above and below all of its scores, as Jeffreys' prior has for a proportion.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evaluation.intervals import Interval
from evaluation.resampling import DEFAULT_RESAMPLES, bayesian_bootstrap_weights
from evaluation.roc.partial_area import partial_auc, specificity_at
from evaluation.validation import (
    Array,
    check_level,
    cluster_codes,
    labels_and_scores,
    one_class_reason,
)

# Largest number of thresholds at which resampled curves are evaluated.
BAND_THRESHOLDS = 500
# Weight of the unobserved scores at either end of a class, in patients; chosen by simulation
# (benchmarks/COVERAGE.md).
END_WEIGHT = 0.25
METHOD = "Bayesian bootstrap of {unit}s"


def resampled_rates(
    labels: Array, scores: Array, codes: Array | None, clusters: int, resamples: int, seed: int
) -> tuple[Array, Array]:
    """Return the vertices of resampled ROC curves.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
    scores : ndarray of float, shape (n,)
    codes : ndarray of int, shape (n,), or None
        Patient of each observation; None for independent observations.
    clusters : int
        Number of patients.
    resamples, seed : int
        Number of curves, and seed.

    Returns
    -------
    fpr, tpr : ndarray of float64, shape (resamples, vertices)
        From (0, 0) to (1, 1). There is a vertex for each of up to 500 thresholds, which are spread
        evenly over the ranks of the scores.
    """
    bins = _score_bins(scores)
    size = int(bins.max()) + 1
    # One draw for both classes: a patient has one weight for its positives and its negatives.
    if codes is None:
        cells = np.bincount(bins + size * labels, minlength=2 * size).astype(float)
        weights = bayesian_bootstrap_weights(cells, resamples, seed)
        counts = [weights[:, size:], weights[:, :size]]
    else:
        weights = bayesian_bootstrap_weights(np.ones(clusters), resamples, seed)
        counts = _weighted_counts(labels, bins, codes, clusters, weights)
    ends = bayesian_bootstrap_weights(np.full(4, END_WEIGHT), resamples, seed + 1)
    rates = []
    for number, (part, mask) in enumerate(zip(counts, (labels, ~labels))):
        # An unobserved patient has as many observations as the class's patients have on average.
        patients = int(mask.sum()) if codes is None else len(np.unique(codes[mask]))
        above, below = mask.sum() / patients * ends[:, 2 * number : 2 * number + 2].T
        whole = np.column_stack([np.zeros(resamples), above, part, below])
        reached = np.cumsum(whole, axis=1)
        rates.append(reached / reached[:, -1:])
    return rates[1], rates[0]


def _score_bins(scores: Array) -> Array:
    """Return each observation's bin, 0 for the highest scores; equal scores share a bin."""
    # Quantiles without interpolation: infinite scores have an order but no differences.
    positions = np.floor(np.linspace(0, 1, BAND_THRESHOLDS + 1) * (len(scores) - 1)).astype(int)
    edges = np.unique(np.sort(scores)[positions])
    return len(edges) - np.searchsorted(edges, scores, side="right")


def _weighted_counts(
    labels: Array, bins: Array, codes: Array, clusters: int, weights: Array
) -> list[Array]:
    """Return the weight per bin of positives and of negatives, each [resamples, bins]."""
    size = int(bins.max()) + 1
    return [
        weights
        @ np.bincount(codes[mask] * size + bins[mask], minlength=clusters * size)
        .reshape(clusters, size)
        .astype(float)
        for mask in (labels, ~labels)
    ]


def class_patients_reason(labels: Array, codes: Array | None) -> str | None:
    """Return why curves cannot be resampled: a class from one patient; None otherwise."""
    for mask, name in ((labels, "positive"), (~labels, "negative")):
        if codes is None and mask.sum() < 2:
            return f"there is one {name} observation: it cannot be resampled"
        if codes is not None and len(np.unique(codes[mask])) < 2:
            return f"all {name} observations come from one patient: it cannot be resampled"
    return None


def partial_auc_interval(
    y: Any,
    score: Any,
    cluster: Any = None,
    min_sensitivity: float = 0.8,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 1,
) -> Interval:
    """Compute the partial AUC between a least sensitivity and 1 with a confidence interval.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    score : array_like of float, shape (n,)
        Higher scores indicate positives.
    cluster : sequence of hashable, shape (n,), optional
        Patient of each observation; by default observations are independent.
    min_sensitivity : float
        Lower end of the band, in [0, 1).
    level : float
        Confidence level in (0, 1).
    resamples, seed : int
        Number of resampled curves, and seed.

    Returns
    -------
    Interval
        Of the raw area (`PartialAuc.raw`), whose largest value is 1 - min_sensitivity.

    Raises
    ------
    ValueError
        If labels, scores or patients are invalid, or the sensitivity is out of range.

    References
    ----------
    McClish DK. Med Decis Making 1989;9:190-195. Rubin DB. Ann Stat 1981;9:130-134.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> y = np.repeat([0, 1], 50)
    >>> area = partial_auc_interval(y, 2 * y + rng.normal(size=100))
    >>> round(area.estimate, 3), round(area.low, 3), round(area.high, 3)
    (0.156, 0.112, 0.179)
    """
    estimate = partial_auc(y, score, min_sensitivity)

    def area(fpr: Array, tpr: Array) -> Array:
        return _areas_above(fpr, tpr, min_sensitivity)

    return _percentiles(y, score, cluster, estimate.raw, area, level, resamples, seed)


def specificity_interval(
    y: Any,
    score: Any,
    cluster: Any = None,
    sensitivity: float = 0.8,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 1,
) -> Interval:
    """Compute the specificity where the ROC curve reaches a sensitivity, with an interval.

    Parameters
    ----------
    y, score, cluster, level, resamples, seed
        As in `partial_auc_interval`.
    sensitivity : float
        In (0, 1].

    Returns
    -------
    Interval
        Of the interpolated specificity (`SpecificityAt.interpolated`). It allows for the threshold
        being chosen on the same data.

    Raises
    ------
    ValueError
        As in `partial_auc_interval`.

    References
    ----------
    Rubin DB. Ann Stat 1981;9:130-134.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> y = np.repeat([0, 1], 50)
    >>> specificity = specificity_interval(y, 2 * y + rng.normal(size=100))
    >>> round(specificity.estimate, 3), round(specificity.low, 3), round(specificity.high, 3)
    (0.94, 0.768, 0.99)
    """
    estimate = specificity_at(y, score, sensitivity)

    def specificities(fpr: Array, tpr: Array) -> Array:
        return 1 - _crossing(tpr, fpr, sensitivity)

    return _percentiles(
        y, score, cluster, estimate.interpolated, specificities, level, resamples, seed
    )


def _percentiles(
    y: Any,
    score: Any,
    cluster: Any,
    estimate: float | None,
    statistic: Any,
    level: float,
    resamples: int,
    seed: int,
) -> Interval:
    """Return an estimate with the percentiles of a statistic of resampled curves."""
    check_level(level)
    labels, scores = labels_and_scores(y, score)
    codes, clusters = (None, 0) if cluster is None else cluster_codes(cluster, len(labels))
    unit = "observation" if cluster is None else "patient"
    method = METHOD.format(unit=unit)
    reason = one_class_reason(labels) or class_patients_reason(labels, codes)
    if estimate is None or reason:
        return Interval.without_bounds(level, method, reason, estimate, unit)
    values = statistic(*resampled_rates(labels, scores, codes, clusters, resamples, seed))
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    # The weight at the ends draws curves inward: under perfect separation the estimate itself would
    # lie outside.
    return Interval(
        estimate=estimate,
        low=min(float(low), estimate),
        high=max(float(high), estimate),
        level=level,
        method=method,
        unit=unit,
    )


def _areas_above(x: Array, y: Array, floor: float) -> Array:
    """Return the integral of (1 - x) dy from y = `floor` to 1 along rising polylines [curve, v]."""
    start = np.maximum(y[:, :-1], floor)
    rise = y[:, 1:] - y[:, :-1]
    slope = np.divide(x[:, 1:] - x[:, :-1], rise, out=np.zeros_like(rise), where=rise > 0)
    x_start = x[:, :-1] + slope * (start - y[:, :-1])
    inside = (y[:, 1:] > floor) & (rise > 0)
    parts = ((1 - x_start) + (1 - x[:, 1:])) / 2 * (y[:, 1:] - start)
    return np.where(inside, parts, 0.0).sum(axis=1)


def _crossing(x: Array, y: Array, value: float) -> Array:
    """Return y where rising polylines [curve, v] first reach x = `value`."""
    # x starts at 0, so the first vertex at or above a positive value has one before it.
    after = (x >= value - 1e-12).argmax(axis=1)
    row = np.arange(len(x))
    left, right = x[row, after - 1], x[row, after]
    share = (value - left) / (right - left)
    return y[row, after - 1] + share * (y[row, after] - y[row, after - 1])

"""The ROC curve with a pointwise band from resampled patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluation.resampling import cluster_bootstrap_blocks, multinomial_bootstrap_weights
from evaluation.roc.partial_area import roc_vertices
from evaluation.validation import (
    Array,
    check_level,
    cluster_codes,
    labels_and_scores,
    one_class_reason,
)

# False-positive rates at which the band is given.
GRID = np.linspace(0, 1, 101)
# Largest number of thresholds at which resampled curves are evaluated.
BAND_THRESHOLDS = 500
LEAST_RESAMPLES = 20


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """Empirical ROC curve with a pointwise band.

    Attributes
    ----------
    fpr, tpr, thresholds : ndarray of float64, shape (v,)
        Vertices of the curve, as in `roc_vertices`.
    grid : ndarray of float64, shape (101,)
        False-positive rates of the band.
    low, high : ndarray of float64, shape (101,), or None
        Band of the sensitivity.
    level : float
        Level of the band.
    clusters : int or None
        Number of patients; None where observations are taken as independent.
    method : str
        Method of the band in words.
    reason : str or None
        Why there is no curve or no band.
    """

    fpr: Array
    tpr: Array
    thresholds: Array
    grid: Array
    low: Array | None
    high: Array | None
    level: float
    clusters: int | None
    method: str = (
        "percentiles of the sensitivity at each false-positive rate over resampled patients"
        " (pointwise)"
    )
    reason: str | None = None

    @property
    def unit(self) -> str:
        """Return the unit of analysis: what is taken as independent."""
        return "observation" if self.clusters is None else "patient"

    def sentence(self) -> str:
        """Return the description of the band for a figure's caption."""
        if self.reason:
            return f"ROC curve with no band: {self.reason}."
        return (
            f"ROC curve with a {100 * self.level:g} % band, {self.method}; unit of analysis:"
            f" {self.unit}."
        )


def roc_curve(
    y: Any,
    score: Any,
    cluster: Any = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 1,
) -> RocCurve:
    """Compute every vertex of the empirical ROC curve, and a pointwise band.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    score : array_like of float, shape (n,)
        Higher scores indicate positives.
    cluster : sequence of hashable, shape (n,), optional
        Patient of each observation; by default observations are independent.
    level : float
        Level of the band in (0, 1).
    resamples, seed : int
        Number of bootstrap samples and seed.

    Returns
    -------
    RocCurve
        Without a band, and with the reason, for one class, one patient, or too few samples with
        both classes.

    Raises
    ------
    ValueError
        If labels, scores or patients are invalid.

    Notes
    -----
    Resampled curves are evaluated at up to 500 thresholds, spread evenly over the ranks of the
    scores. A resample is then a product of patient weights with patient histograms, whatever the
    number of observations.

    References
    ----------
    Fawcett T. Pattern Recognit Lett 2006;27:861-874 (curve; vertical averaging).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> y = np.repeat([0, 1], 50)
    >>> curve = roc_curve(y, y + rng.normal(size=100), resamples=200)
    >>> round(float(np.trapezoid(curve.tpr, curve.fpr)), 3), curve.low.shape
    (0.782, (101,))
    """
    labels, scores = labels_and_scores(y, score)
    check_level(level)
    shared: dict[str, Any] = {"grid": GRID, "level": level}
    reason = one_class_reason(labels)
    if reason:
        empty = np.empty(0)
        return RocCurve(
            fpr=empty,
            tpr=empty,
            thresholds=empty,
            low=None,
            high=None,
            clusters=None,
            reason=reason,
            **shared,
        )
    fpr, tpr, thresholds = roc_vertices(labels, scores)
    shared |= {"fpr": fpr, "tpr": tpr, "thresholds": thresholds, "clusters": None}
    bins = _score_bins(scores)
    if cluster is None:
        counts = _independent_counts(labels, bins, resamples, seed)
    else:
        codes, clusters = cluster_codes(cluster, len(labels))
        shared["clusters"] = clusters
        if clusters < 2:
            reason = "all observations come from one patient"
            return RocCurve(low=None, high=None, reason=reason, **shared)
        counts = _clustered_counts(labels, bins, codes, clusters, resamples, seed)
    low, high = _band(*counts, level)
    reason = None if low is not None else "too few resamples have both classes"
    return RocCurve(low=low, high=high, reason=reason, **shared)


def thin_curve(curve: RocCurve, points: int = 300) -> RocCurve:
    """Return the curve with about `points` of its vertices, for drawing.

    The vertices are evenly spread along the path from (0, 0) to (1, 1). Statistics need the full
    curve.

    Examples
    --------
    >>> curve = roc_curve(np.arange(2000) % 2, np.arange(2000) // 2, resamples=20)
    >>> len(curve.fpr), len(thin_curve(curve, 100).fpr)
    (1001, 100)
    """
    # fpr + tpr rises at every vertex, also along vertical and horizontal segments.
    path = curve.fpr + curve.tpr
    if len(path) <= points:
        return curve
    # The last vertex, (1, 1), is always kept.
    index = np.unique(
        np.append(np.searchsorted(path, np.linspace(0, 2, points)[:-1]), len(path) - 1)
    )
    return replace(
        curve, fpr=curve.fpr[index], tpr=curve.tpr[index], thresholds=curve.thresholds[index]
    )


def _score_bins(scores: Array) -> Array:
    """Return each observation's bin, 0 for the highest scores; equal scores share a bin."""
    # Quantiles without interpolation: infinite scores have an order but no differences.
    positions = np.floor(np.linspace(0, 1, BAND_THRESHOLDS + 1) * (len(scores) - 1)).astype(int)
    edges = np.unique(np.sort(scores)[positions])
    return len(edges) - np.searchsorted(edges, scores, side="right")


def _independent_counts(
    labels: Array, bins: Array, resamples: int, seed: int
) -> tuple[Array, Array]:
    """Return resampled counts per bin of positives and negatives, each [resamples, bins]."""
    size = bins.max() + 1
    # Cells are bin x class: resampling observations is multinomial over these cells.
    cells = np.bincount(bins + size * labels, minlength=2 * size)
    counts = multinomial_bootstrap_weights(len(labels), resamples, seed, cells / cells.sum())
    return counts[:, size:], counts[:, :size]


def _clustered_counts(
    labels: Array, bins: Array, codes: Array, clusters: int, resamples: int, seed: int
) -> tuple[Array, Array]:
    """Return the counts of `_independent_counts` for resampled patients."""
    size = int(bins.max()) + 1
    # [patient, bin]
    positives, negatives = (
        np.bincount(codes[mask] * size + bins[mask], minlength=clusters * size)
        .reshape(clusters, size)
        .astype(float)
        for mask in (labels, ~labels)
    )
    counts = [
        (weights @ positives, weights @ negatives)
        for weights in cluster_bootstrap_blocks(clusters, resamples, seed)
    ]
    return np.concatenate([pair[0] for pair in counts]), np.concatenate(
        [pair[1] for pair in counts]
    )


def _band(positives: Array, negatives: Array, level: float) -> tuple[Array | None, Array | None]:
    """Return percentiles at GRID of curves given as counts per bin [resamples, bins]."""
    both = (positives.sum(axis=1) > 0) & (negatives.sum(axis=1) > 0)
    if both.sum() < LEAST_RESAMPLES:
        return None, None
    rates = [
        np.cumsum(counts[both], axis=1) / counts[both].sum(axis=1, keepdims=True)
        for counts in (negatives, positives)
    ]
    # Where the curve is vertical the upper end counts. A tiny slope makes the rates strictly
    # increasing, as np.interp requires.
    nudge = 1e-9 * np.arange(rates[0].shape[1] + 1)
    curves = np.stack(
        [
            np.interp(GRID + nudge[-1], np.append(0.0, x) + nudge, np.append(0.0, y))
            for x, y in zip(*rates)
        ]
    )
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high

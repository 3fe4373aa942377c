"""The ROC curve with a pointwise band from resampled patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluation.roc.partial_area import roc_vertices
from evaluation.roc.resampled_curves import class_patients_reason, resampled_rates
from evaluation.validation import (
    Array,
    check_level,
    cluster_codes,
    labels_and_scores,
    one_class_reason,
)

# False-positive rates at which the band is given.
GRID = np.linspace(0, 1, 101)


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
        "percentiles of the sensitivity at each false-positive rate by the Bayesian bootstrap"
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
        Without a band, and with the reason, for one class and for a class from one patient. The
        band always holds the curve.

    Raises
    ------
    ValueError
        If labels, scores or patients are invalid.

    Notes
    -----
    Curves are resampled as in `evaluation.roc.resampled_curves.resampled_rates`.

    References
    ----------
    Fawcett T. Pattern Recognit Lett 2006;27:861-874 (curve; vertical averaging). Rubin DB. Ann Stat
    1981;9:130-134 (Bayesian bootstrap).

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
    codes, clusters = (None, 0) if cluster is None else cluster_codes(cluster, len(labels))
    if cluster is not None:
        shared["clusters"] = clusters
    reason = class_patients_reason(labels, codes)
    if reason:
        return RocCurve(low=None, high=None, reason=reason, **shared)
    low, high = _band(*resampled_rates(labels, scores, codes, clusters, resamples, seed), level)
    # Of the vertices at one false-positive rate the upper end counts.
    nudge = 1e-12 * np.arange(len(fpr))
    curve = np.interp(GRID + nudge[-1], fpr + nudge, tpr)
    return RocCurve(low=np.minimum(low, curve), high=np.maximum(high, curve), **shared)


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


def _band(fpr: Array, tpr: Array, level: float) -> tuple[Array, Array]:
    """Return percentiles at GRID of curves [resamples, vertices]."""
    # Where the curve is vertical the upper end counts. A tiny slope makes the rates strictly
    # increasing, as np.interp requires.
    nudge = 1e-9 * np.arange(fpr.shape[1])
    curves = np.stack([np.interp(GRID + nudge[-1], x + nudge, y) for x, y in zip(fpr, tpr)])
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high

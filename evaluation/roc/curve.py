"""The ROC curve with a pointwise band from resampled patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from evaluation.resampling import drawn_clusters
from evaluation.roc.partial_area import vertices
from evaluation.validation import (
    Array,
    check_level,
    cluster_codes,
    labels_and_scores,
    one_class_reason,
)

GRID = np.linspace(0, 1, 101)
THRESHOLDS = 500


@dataclass(frozen=True, kw_only=True)
class RocCurve:
    """Vertices (false- and true-positive rate, threshold), and on `grid` (false-positive rates) the
    band of the sensitivity.
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
        """What is taken as independent."""
        return "observation" if self.clusters is None else "patient"

    def sentence(self) -> str:
        """For a figure's caption."""
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
    """Every vertex of the empirical curve and a pointwise band.

    `y` 0/1 [n], `score` [n], `cluster` patients [n] or None (independent).

    The band's curves are evaluated at no more than THRESHOLDS thresholds, spread evenly over the
    ranks of the scores; a resample is then a product of patient multiplicities with patient
    histograms, whatever the number of patches.
    """
    labels, scores = labels_and_scores(y, score)
    check_level(level)
    reason = one_class_reason(labels)
    nothing = np.empty(0)
    if reason:
        return RocCurve(
            fpr=nothing,
            tpr=nothing,
            thresholds=nothing,
            grid=GRID,
            low=None,
            high=None,
            level=level,
            clusters=None,
            reason=reason,
        )
    fpr, tpr, thresholds = vertices(labels, scores)
    codes, clusters = (
        (None, len(labels)) if cluster is None else cluster_codes(cluster, len(labels))
    )
    shown = None if cluster is None else clusters
    if clusters < 2 or fpr.size < 2:
        return RocCurve(
            fpr=fpr,
            tpr=tpr,
            thresholds=thresholds,
            grid=GRID,
            low=None,
            high=None,
            level=level,
            clusters=shown,
            reason="all observations come from one patient",
        )
    bins = _bins(scores)
    if codes is None:
        counts = _independent_counts(labels, bins, resamples, seed)
    else:
        counts = _clustered_counts(labels, bins, codes, clusters, resamples, seed)
    low, high = _band(*counts, level)
    reason = None if low is not None else "too few resamples have both classes"
    return RocCurve(
        fpr=fpr,
        tpr=tpr,
        thresholds=thresholds,
        grid=GRID,
        low=low,
        high=high,
        level=level,
        clusters=shown,
        reason=reason,
    )


def thinned(curve: RocCurve, points: int = 300) -> RocCurve:
    """The curve with about `points` of its vertices, evenly spread along its way from (0, 0) to (1,
    1): a picture of it, no data for statistics.
    """
    way = curve.fpr + curve.tpr
    if len(way) <= points:
        return curve
    kept = np.unique(np.append(np.searchsorted(way, np.linspace(0, 2, points)[:-1]), len(way) - 1))
    return replace(
        curve, fpr=curve.fpr[kept], tpr=curve.tpr[kept], thresholds=curve.thresholds[kept]
    )


def _bins(scores: Array) -> Array:
    """Each observation's bin, 0 for the highest scores; equal scores share one."""
    # The lower quantiles, picked out: infinite scores have an order but no differences.
    edges = np.unique(
        np.sort(scores)[np.floor(np.linspace(0, 1, THRESHOLDS + 1) * (len(scores) - 1)).astype(int)]
    )
    return len(edges) - np.searchsorted(edges, scores, side="right")


def _independent_counts(
    labels: Array, bins: Array, resamples: int, seed: int
) -> tuple[Array, Array]:
    size = bins.max() + 1
    cells = np.bincount(bins + size * labels, minlength=2 * size)
    drawn = np.random.default_rng(seed).multinomial(len(labels), cells / cells.sum(), resamples)
    return drawn[:, size:], drawn[:, :size]


def _clustered_counts(
    labels: Array, bins: Array, codes: Array, clusters: int, resamples: int, seed: int
) -> tuple[Array, Array]:
    size = int(bins.max()) + 1
    tables = [
        np.bincount(codes[kind] * size + bins[kind], minlength=clusters * size)
        .reshape(clusters, size)
        .astype(float)
        for kind in (labels, ~labels)
    ]
    counts = [
        (drawn @ tables[0], drawn @ tables[1])
        for drawn in drawn_clusters(clusters, resamples, seed)
    ]
    return np.concatenate([pair[0] for pair in counts]), np.concatenate(
        [pair[1] for pair in counts]
    )


def _band(positives: Array, negatives: Array, level: float) -> tuple[Array | None, Array | None]:
    """Percentiles at GRID of curves given as counts per bin [resamples, bins]."""
    kept = (positives.sum(axis=1) > 0) & (negatives.sum(axis=1) > 0)
    if kept.sum() < 20:
        return None, None
    rates = [
        np.cumsum(counts[kept], axis=1) / counts[kept].sum(axis=1, keepdims=True)
        for counts in (negatives, positives)
    ]
    # Where the curve is vertical the upper end counts: a tiny slope keeps the rates increasing for
    # the interpolation.
    nudge = 1e-9 * np.arange(rates[0].shape[1] + 1)
    curves = np.stack(
        [
            np.interp(GRID + nudge[-1], np.append(0.0, x) + nudge, np.append(0.0, y))
            for x, y in zip(*rates)
        ]
    )
    low, high = np.quantile(curves, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high

"""Coverage on other images than those that selected the units, and intervals over patients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from evaluation.coverage.unit_selection import (
    count_units,
    coverage_from_top_units,
    select_units,
    share_of_slots,
)
from evaluation.intervals import Interval, interval_with_width
from evaluation.resampling import multinomial_bootstrap_weights
from evaluation.validation import Array, check_level, cluster_codes

SPLIT_REPEATS = 100
COVERAGE_RESAMPLES = 1_000


def held_out_coverage(
    tops: Array, other_tops: Array, units: int, select: int = 20
) -> tuple[float | None, ...]:
    """Return the coverage per class on other images of the units selected on these.

    Parameters
    ----------
    tops, other_tops : ndarray of int, shape (classes, images, top)
        Top units of the images that select, and of those on which coverage is measured.
    units, select : int
        As in `coverage_from_top_units`.

    Examples
    --------
    >>> held_out_coverage(np.array([[[2, 1]]]), np.array([[[1, 0]]]), units=4)
    (0.5,)
    """
    return tuple(
        share_of_slots(other, select_units(counts, select))
        for counts, other in zip(count_units(tops, units), other_tops)
    )


def split_half_coverage(
    tops: Array,
    patients: Any,
    units: int,
    select: int = 20,
    level: float = 0.95,
    repeats: int = SPLIT_REPEATS,
    seed: int = 1,
) -> tuple[Interval, ...]:
    """Estimate coverage without optimism: select on half of the patients, measure on the other.

    Parameters
    ----------
    tops : ndarray of int, shape (classes, images, top)
    patients : sequence of hashable, shape (images,)
    units, select : int
        As in `coverage_from_top_units`.
    level : float
        Level of the percentile range.
    repeats : int
        Number of random splits.
    seed : int

    Returns
    -------
    tuple of Interval
        One per class: the mean over both directions and all splits. `low` and `high` are
        percentiles over the splits, not a confidence interval.

    Examples
    --------
    >>> tops = np.array([[[0, 1], [0, 2], [0, 3], [0, 1]]])
    >>> round(split_half_coverage(tops, list("abcd"), 4, select=1)[0].estimate, 2)
    0.5
    """
    codes, clusters = cluster_codes(patients, tops.shape[1])
    method = f"split-half by patient, {repeats} splits (range: percentiles over splits)"
    if clusters < 2:
        return _without_bounds(len(tops), level, method, "one patient cannot be split")
    generator = np.random.default_rng(seed)
    shares = np.empty((repeats, len(tops)))
    for row in range(repeats):
        # Patients, not images, are split: images of one patient resemble each other.
        half = np.isin(codes, generator.permutation(clusters)[: clusters // 2])
        both = [
            held_out_coverage(tops[:, part], tops[:, ~part], units, select)
            for part in (half, ~half)
        ]
        # Both halves select in turn: each split then uses all images, and neither half is favoured.
        shares[row] = np.array(both, dtype=float).mean(axis=0)
    return _percentile_intervals(shares, shares.mean(axis=0), level, method)


def coverage_interval(
    tops: Array,
    patients: Any,
    units: int,
    select: int = 20,
    level: float = 0.95,
    resamples: int = COVERAGE_RESAMPLES,
    seed: int = 1,
) -> tuple[Interval, ...]:
    """Compute percentile intervals of the coverage over resampled patients.

    Parameters
    ----------
    tops, patients, units, select
        As in `split_half_coverage`.
    level : float
        Confidence level in (0, 1).
    resamples, seed : int
        Number of bootstrap samples and seed.

    Returns
    -------
    tuple of Interval
        One per class. Units are selected anew in each sample, so the interval is not centred on
        the estimate.

    Examples
    --------
    >>> tops = np.array([[[0, 1], [0, 2], [3, 2], [0, 1]]])
    >>> interval = coverage_interval(tops, list("abcd"), 4, select=1)[0]
    >>> interval.estimate, round(interval.low, 3), round(interval.high, 3)
    (0.375, 0.25, 0.5)
    """
    check_level(level)
    codes, clusters = cluster_codes(patients, tops.shape[1])
    method = f"patient bootstrap, {resamples} resamples, units selected anew"
    if clusters < 2:
        return _without_bounds(len(tops), level, method, "one patient cannot be resampled")
    top = tops.shape[2]
    images = np.bincount(codes, minlength=clusters)
    # Counts up to 2^24 are exact in float32, which halves the time of the products.
    weights = multinomial_bootstrap_weights(clusters, resamples, seed).astype(np.float32)
    # Patients differ in their number of images, so resamples differ in their number of slots.
    slots = (weights @ images.astype(np.float32)) * top
    shares = np.empty((resamples, len(tops)))
    for index, part in enumerate(tops):
        # [patient, unit]; one bincount over coded pairs replaces a loop over patients.
        table = np.bincount(
            np.repeat(codes, top) * units + part.ravel(), minlength=clusters * units
        ).reshape(clusters, units)
        counts = weights @ table.astype(np.float32)
        # Only the sum of the largest counts is needed, so a partition replaces the sort.
        largest = np.partition(counts, units - min(select, units), axis=1)[
            :, units - min(select, units) :
        ]
        shares[:, index] = largest.sum(axis=1) / slots
    # The estimate is that of the sample: a mean over resamples would add their own optimism.
    estimates = [part.coverage for part in coverage_from_top_units(tops, units, select).per_class]
    return _percentile_intervals(shares, estimates, level, method)


def fixed_selection_coverage(
    tops: Array,
    patients: Any,
    units: Iterable[int],
    level: float = 0.95,
    resamples: int = COVERAGE_RESAMPLES,
    seed: int = 1,
) -> tuple[Interval, ...]:
    """Compute the coverage of units that were not selected by these influences.

    Parameters
    ----------
    tops : ndarray of int, shape (classes, images, top)
    patients : sequence of hashable, shape (images,)
    units : iterable of int
        The selected units.
    level, resamples, seed
        As in `coverage_interval`.

    Returns
    -------
    tuple of Interval
        One per class, with a percentile interval over resampled patients.

    Examples
    --------
    >>> tops = np.array([[[0, 1], [0, 2], [3, 2], [0, 1]]])
    >>> interval = fixed_selection_coverage(tops, list("abcd"), [1])[0]
    >>> interval.estimate, round(interval.low, 3), round(interval.high, 3)
    (0.25, 0.0, 0.5)
    """
    check_level(level)
    codes, clusters = cluster_codes(patients, tops.shape[1])
    method = f"patient bootstrap, {resamples} resamples, units given"
    if clusters < 2:
        return _without_bounds(len(tops), level, method, "one patient cannot be resampled")
    # Slots of each image that the given units take.
    hits = np.isin(tops, list(units)).sum(2)
    weights = multinomial_bootstrap_weights(clusters, resamples, seed)
    slots = (weights @ np.bincount(codes, minlength=clusters)) * tops.shape[2]
    # [resample, class]
    shares = np.stack(
        [(weights @ np.bincount(codes, part, minlength=clusters)) / slots for part in hits], axis=1
    )
    return _percentile_intervals(shares, hits.mean(1) / tops.shape[2], level, method)


def _without_bounds(classes: int, level: float, method: str, reason: str) -> tuple[Interval, ...]:
    return tuple(
        Interval.without_bounds(level, method, reason, unit="patient") for _ in range(classes)
    )


def _percentile_intervals(
    shares: Array, estimates: Any, level: float, method: str
) -> tuple[Interval, ...]:
    """Return one interval per class from resampled shares [resamples, classes]."""
    bounds = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return tuple(
        interval_with_width(
            float(estimate),
            float(low),
            float(high),
            level,
            method,
            tolerance=1e-9,
            reason="every resample gives the same share",
        )
        for estimate, low, high in zip(estimates, *bounds)
    )

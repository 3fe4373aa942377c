"""Coverage on other images than those that selected the units, and intervals over patients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from evaluation.coverage.unit_selection import (
    count_units,
    select_units,
    share_of_slots,
)
from evaluation.gee import logit_bounds
from evaluation.intervals import Interval, count_text, interval_with_width
from evaluation.resampling import multinomial_bootstrap_weights, percentile_bounds
from evaluation.validation import Array, check_level, cluster_codes

SPLIT_REPEATS = 100
COVERAGE_RESAMPLES = 1_000
# Below this a standard error is rounding.
NEGLIGIBLE = 1e-12


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
        Confidence level in (0, 1).
    repeats : int
        Number of random splits.
    seed : int

    Returns
    -------
    tuple of Interval
        One per class: the coverage, on new images, of units that are selected on half of the
        patients. Without bounds for fewer than four patients, and where the coverage does not vary.

    Notes
    -----
    The estimate is the mean p over both directions of all splits. With V the mean over splits of
    the linearised variance m / (m - 1) sum (S_i - p n_i)^2 / n^2 of the m patients of the measuring
    half, the interval is a t interval on the logit scale with variance V / 2, because both halves
    measure in turn, and with the measuring half's degrees of freedom. A bootstrap that selects
    anew in each sample is no alternative: it is biased upward (benchmarks/COVERAGE.md).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> tops = rng.integers(0, 6, (1, 12, 2))
    >>> half = split_half_coverage(tops, np.arange(12), 6, select=2)[0]
    >>> round(half.estimate, 2), round(half.low, 2), round(half.high, 2)
    (0.15, 0.03, 0.49)
    """
    check_level(level)
    codes, clusters = cluster_codes(patients, tops.shape[1])
    method = f"split-half by patient, {repeats} splits"
    if clusters < 4:
        reason = f"{count_text(clusters, 'patient')} cannot be split into halves of two or more"
        return _without_bounds(len(tops), level, method, reason)
    generator = np.random.default_rng(seed)
    # Patients, not images, are split: images of one patient resemble each other.
    halves = np.zeros((2 * repeats, clusters))
    for row in range(repeats):
        halves[2 * row, generator.permutation(clusters)[: clusters // 2]] = 1
    # Both halves select in turn: each split then uses all images, and neither half is favoured.
    halves[1::2] = 1 - halves[::2]
    return tuple(
        _split_half_interval(_slots_by_patient(part, codes, clusters, units), halves, select, level)
        for part in tops
    )


def _slots_by_patient(tops: Array, codes: Array, clusters: int, units: int) -> Array:
    """Return how often each unit is among a patient's top units, [patients, units]."""
    # One bincount over coded pairs replaces a loop over patients.
    pairs = np.repeat(codes, tops.shape[1]) * units + tops.ravel()
    return np.bincount(pairs, minlength=clusters * units).reshape(clusters, units).astype(float)


def _split_half_interval(slots: Array, halves: Array, select: int, level: float) -> Interval:
    """Return the interval of one class from slots [patients, units] and halves [split, patient]."""
    counts, sizes = halves @ slots, slots.sum(axis=1)
    shares, variances = np.empty(len(halves)), np.empty(len(halves))
    for row, selecting in enumerate(halves):
        measuring = selecting == 0
        taken = slots[:, select_units(counts[row], select)].sum(axis=1)[measuring]
        size, m = sizes[measuring], int(measuring.sum())
        shares[row] = taken.sum() / size.sum()
        deviations = taken - shares[row] * size
        variances[row] = m / (m - 1) * (deviations**2).sum() / size.sum() ** 2
    method, estimate = f"split-half by patient, {len(halves) // 2} splits", float(shares.mean())
    # Half of the mean variance: both halves of a split measure.
    error = float(np.sqrt(variances.mean() / 2))
    if not 0 < estimate < 1 or error < NEGLIGIBLE:
        reason = "every half of the patients gives the same share"
        return Interval.without_bounds(level, method, reason, estimate, unit="patient")
    low, high = logit_bounds(estimate, error, slots.shape[0] // 2 - 1, level)
    return Interval(
        estimate=estimate, low=low, high=high, level=level, method=method, unit="patient"
    )


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
    level : float
        Confidence level in (0, 1).
    resamples, seed : int
        Number of bootstrap samples and seed.

    Returns
    -------
    tuple of Interval
        One per class, with expanded percentiles over resampled patients.

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
    return _percentile_intervals(shares, hits.mean(1) / tops.shape[2], level, method, clusters)


def _without_bounds(classes: int, level: float, method: str, reason: str) -> tuple[Interval, ...]:
    return tuple(
        Interval.without_bounds(level, method, reason, unit="patient") for _ in range(classes)
    )


def _percentile_intervals(
    shares: Array, estimates: Any, level: float, method: str, clusters: int
) -> tuple[Interval, ...]:
    """Return one interval per class from resampled shares [resamples, classes]."""
    return tuple(
        interval_with_width(
            float(estimate),
            *percentile_bounds(part, level, clusters),
            level,
            method,
            tolerance=1e-9,
            reason="every resample gives the same share",
        )
        for estimate, part in zip(estimates, shares.T)
    )

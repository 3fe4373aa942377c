"""How much of the networks' influence the selected units carry (DEFINITIONS, Units: coverage), with
honest companions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.intervals import Interval, not_estimable, percent
from evaluation.validation import Array, check_level, cluster_codes, float_array

REPEATS = 100
BOOTSTRAPS = 1_000


@dataclass(frozen=True, kw_only=True)
class ClassCoverage:
    """One class: selected units (0-based, most frequent first), how often each is among an image's
    top, the share of all slots taken, and the share that as many arbitrary units would take.
    """

    selected: tuple[int, ...]
    counts: tuple[int, ...]
    coverage: float | None
    chance: float
    images: int
    slots: int
    reason: str | None = None

    @property
    def coverage_percent(self) -> float | None:
        """The coverage in percent, as the paper prints it."""
        return None if self.coverage is None else 100 * self.coverage


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Coverage of each class and the units selected for any (0-based, ascending)."""

    per_class: tuple[ClassCoverage, ...]
    union: tuple[int, ...]
    top: int
    select: int
    method: str = "measured on the images that chose the units: optimistic"
    unit: str = "image"

    def sentence(self) -> str:
        """For a results section."""
        shares = " / ".join(
            percent(part.coverage, 2) if part.coverage is not None else not_estimable(part.reason)
            for part in self.per_class
        )
        return (
            f"The {self.select} units most often among the {self.top} most influential take"
            f" {shares} of the slots of each class ({len(self.union)} distinct units;"
            f" {self.method})."
        )


def top_units(max_activations: Any, class_weights: Any, top: int = 8) -> Array:
    """Each image's most influential units per class, int [class, image, top], most influential
    first, ties to the lowest index.

    Influence = (largest activation of the unit over the image) x (its weight for the class),
    signed, no bias. `max_activations` [image, unit], `class_weights` [class, unit].
    """
    activations, weights = (
        float_array(max_activations, "activations"),
        float_array(class_weights, "weights"),
    )
    if activations.ndim != 2 or weights.ndim != 2 or activations.shape[1] != weights.shape[1]:
        raise ValueError(
            f"activations of shape {activations.shape} and weights of shape {weights.shape}:"
            " [image, unit] and [class, unit] are needed"
        )
    if not (np.isfinite(activations).all() and np.isfinite(weights).all()):
        raise ValueError("an activation or a weight is not a finite number: dissect this run again")
    if not len(weights):
        raise ValueError("there are no classes: a row of weights for each is needed")
    if not 1 <= top <= activations.shape[1]:
        raise ValueError(f"the {top} top units of {activations.shape[1]} do not exist")
    return np.stack(
        [np.argsort(-(activations * row), axis=1, kind="stable")[:, :top] for row in weights]
    )


def count_units(tops: Array, units: int) -> Array:
    """How often each unit is among the top, int [class, unit], from `top_units`."""
    return np.stack([np.bincount(part.ravel(), minlength=units) for part in tops])


def select_units(counts: Array, select: int = 20) -> Array:
    """The most frequent units of one class's counts [unit], ties to the lowest index; units that
    never occur are not selected.
    """
    order = np.argsort(-counts, kind="stable")[:select]
    return order[counts[order] > 0]


def unit_coverage(
    max_activations: Any, class_weights: Any, top: int = 8, select: int = 20
) -> Coverage:
    """Coverage per class: the share of all top x n slots taken by the `select` units most often
    there. Arrays as in `top_units`.
    """
    tops = top_units(max_activations, class_weights, top)
    return coverage_of(tops, np.shape(max_activations)[1], select)


def coverage_of(tops: Array, units: int, select: int = 20) -> Coverage:
    """`unit_coverage` from the top units themselves, int [class, image, top]."""
    if select < 1:
        raise ValueError(f"{select} selected units: at least 1 is needed")
    images, top = tops.shape[1:]
    parts = []
    for counts in count_units(tops, units):
        chosen = select_units(counts, select)
        share = float(counts[chosen].sum() / (top * images)) if images else None
        parts.append(
            ClassCoverage(
                selected=tuple(int(u) for u in chosen),
                counts=tuple(int(c) for c in counts[chosen]),
                coverage=share,
                chance=min(1.0, select / units),
                images=images,
                slots=top * images,
                reason=None if images else "there are no images",
            )
        )
    union = sorted({unit for part in parts for unit in part.selected})
    return Coverage(per_class=tuple(parts), union=tuple(union), top=top, select=select)


def share_of_slots(tops: Array, chosen: Iterable[int]) -> float | None:
    """Share of one class's slots [image, top] taken by these units; None without images."""
    return float(np.isin(tops, list(chosen)).mean()) if tops.size else None


def labelled_coverage(
    tops: Array, selected: Iterable[int], labelled: Iterable[int]
) -> float | None:
    """Share of one class's slots [image, top] taken by selected units that carry an annotation
    (DEFINITIONS: another number; show both).
    """
    return share_of_slots(tops, set(selected) & set(labelled))


def held_out_coverage(
    tops: Array, other_tops: Array, units: int, select: int = 20
) -> tuple[float | None, ...]:
    """Coverage per class on other images [class, image, top] of the units that `tops` selects."""
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
    repeats: int = REPEATS,
    seed: int = 1,
) -> tuple[Interval, ...]:
    """Coverage per class on one half of the patients of units selected on the other, averaged over
    both directions and over random splits; low and high are percentiles over the splits, not a
    confidence interval.
    """
    codes, clusters = cluster_codes(patients, tops.shape[1])
    method = f"split-half by patient, {repeats} splits (range: percentiles over splits)"
    if clusters < 2:
        return _nothing(len(tops), level, method, "one patient cannot be split")
    generator = np.random.default_rng(seed)
    shares = np.empty((repeats, len(tops)))
    for row in range(repeats):
        half = np.isin(codes, generator.permutation(clusters)[: clusters // 2])
        both = [
            held_out_coverage(tops[:, part], tops[:, ~part], units, select)
            for part in (half, ~half)
        ]
        shares[row] = np.array(both, dtype=float).mean(axis=0)
    return _summary(shares, shares.mean(axis=0), level, method)


def coverage_interval(
    tops: Array,
    patients: Any,
    units: int,
    select: int = 20,
    level: float = 0.95,
    resamples: int = BOOTSTRAPS,
    seed: int = 1,
) -> tuple[Interval, ...]:
    """Percentile interval of the coverage per class: patients resampled, units selected anew in
    each resample.
    """
    check_level(level)
    codes, clusters = cluster_codes(patients, tops.shape[1])
    method = f"patient bootstrap, {resamples} resamples, units selected anew"
    if clusters < 2:
        return _nothing(len(tops), level, method, "one patient cannot be resampled")
    top = tops.shape[2]
    images = np.bincount(codes, minlength=clusters)
    drawn = (
        np.random.default_rng(seed)
        .multinomial(clusters, np.full(clusters, 1 / clusters), resamples)
        .astype(np.float32)
    )
    slots = (drawn @ images.astype(np.float32)) * top
    shares = np.empty((resamples, len(tops)))
    for index, part in enumerate(tops):
        table = np.bincount(
            np.repeat(codes, top) * units + part.ravel(), minlength=clusters * units
        ).reshape(clusters, units)
        counts = drawn @ table.astype(np.float32)
        best = np.partition(counts, units - min(select, units), axis=1)[
            :, units - min(select, units) :
        ]
        shares[:, index] = best.sum(axis=1) / slots
    whole = [part.coverage for part in coverage_of(tops, units, select).per_class]
    return _summary(shares, whole, level, method)


def chosen_coverage(
    tops: Array,
    patients: Any,
    chosen: Iterable[int],
    level: float = 0.95,
    resamples: int = BOOTSTRAPS,
    seed: int = 1,
) -> tuple[Interval, ...]:
    """Coverage per class of units that were chosen otherwise than by these influences, with a
    percentile interval over patients.
    """
    check_level(level)
    codes, clusters = cluster_codes(patients, tops.shape[1])
    method = f"patient bootstrap, {resamples} resamples, units given"
    if clusters < 2:
        return _nothing(len(tops), level, method, "one patient cannot be resampled")
    hits = np.isin(tops, list(chosen)).sum(2)
    drawn = np.random.default_rng(seed).multinomial(
        clusters, np.full(clusters, 1 / clusters), resamples
    )
    slots = (drawn @ np.bincount(codes, minlength=clusters)) * tops.shape[2]
    shares = np.stack(
        [(drawn @ np.bincount(codes, part, minlength=clusters)) / slots for part in hits], axis=1
    )
    return _summary(shares, hits.mean(1) / tops.shape[2], level, method)


def coverage_curve(tops: Array, units: int, up_to: int) -> Array:
    """Coverage per class when 1, 2, ..., `up_to` units are selected, float [class, up_to]."""
    counts = -np.sort(-count_units(tops, units), axis=1)[:, :up_to]
    return np.cumsum(counts, axis=1) / (tops.shape[1] * tops.shape[2])


def _nothing(classes: int, level: float, method: str, reason: str) -> tuple[Interval, ...]:
    return tuple(
        Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason=reason,
            unit="patient",
        )
        for _ in range(classes)
    )


def _summary(shares: Array, estimates: Any, level: float, method: str) -> tuple[Interval, ...]:
    bounds = np.quantile(shares, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return tuple(
        _bounded(float(estimate), float(low), float(high), level, method)
        for estimate, low, high in zip(estimates, *bounds)
    )


def _bounded(estimate: float, low: float, high: float, level: float, method: str) -> Interval:
    if high - low < 1e-9:
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="every resample gives the same share",
            unit="patient",
        )
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        level=level,
        method=method,
        reason=None,
        unit="patient",
    )

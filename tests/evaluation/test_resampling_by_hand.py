"""Intervals of the patient bootstrap from the same draws, by the formulas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from evaluation import resampling
from evaluation.intervals import Interval, interval_with_width
from evaluation.resampling import (
    bayesian_bootstrap_weights,
    cluster_bootstrap_blocks,
    cluster_bootstrap_weights,
    clustered_mean,
    clustered_proportion_difference,
    multinomial_bootstrap_blocks,
    multinomial_bootstrap_weights,
    ratio_bootstrap_interval,
)


def drawn_rows(clusters: int, resamples: int, seed: int = 1) -> list[np.ndarray]:
    """Return the clusters of each resample."""
    return list(np.random.default_rng(seed).integers(0, clusters, size=(resamples, clusters)))


def expanded(values: list[float], level: float, clusters: int) -> tuple[float, float]:
    """Return Hesterberg's expanded percentiles."""
    wide = stats.t.ppf((1 - level) / 2, clusters - 1) * np.sqrt(clusters / (clusters - 1))
    tail = stats.norm.cdf(wide)
    return float(np.quantile(values, tail)), float(np.quantile(values, 1 - tail))


def bounds(found: Interval) -> tuple[float | None, float | None]:
    return found.low, found.high


def without_bounds(found: Interval, estimate: float | None, level: float, reason: str) -> None:
    assert (found.estimate, found.low, found.high) == (estimate, None, None)
    assert (found.level, found.reason, found.unit) == (level, reason, "patient")


def test_weights_count_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [np.bincount(row, minlength=5) for row in drawn_rows(5, 7, seed=3)]
    assert np.array_equal(cluster_bootstrap_weights(5, 7, 3), expected)
    monkeypatch.setattr(resampling, "BLOCK_ELEMENTS", 19)
    blocks = list(cluster_bootstrap_blocks(5, 7, 3))
    # Three rows of five fit into 19 values.
    assert [len(block) for block in blocks] == [3, 3, 1]
    assert all(block.dtype == np.float64 for block in blocks)
    assert np.array_equal(np.concatenate(blocks)[:3], expected[:3])
    monkeypatch.setattr(resampling, "BLOCK_ELEMENTS", 4)
    assert [len(block) for block in cluster_bootstrap_blocks(5, 2, 3)] == [1, 1]
    assert [len(block) for block in multinomial_bootstrap_blocks(5, 2, 3, 9)] == [1, 1]


def test_multinomial_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = np.random.default_rng(4).multinomial(3, [1 / 3] * 3, 7)
    assert np.array_equal(multinomial_bootstrap_weights(3, 7, 4), whole)
    shares = np.array([0.5, 0.25, 0.125, 0.125])
    expected = np.random.default_rng(4).multinomial(9, shares, 6)
    assert np.array_equal(multinomial_bootstrap_weights(9, 6, 4, shares), expected)
    monkeypatch.setattr(resampling, "BLOCK_ELEMENTS", 12)
    blocks = list(multinomial_bootstrap_blocks(3, 7, 4, width=6))
    assert [len(block) for block in blocks] == [2, 2, 2, 1]
    assert np.array_equal(np.concatenate(blocks), whole)
    rows = bayesian_bootstrap_weights(np.array([2.0, 0.5, 1.0]), 5, seed=8)
    assert np.array_equal(
        rows, np.random.default_rng(8).standard_gamma([2.0, 0.5, 1.0], size=(5, 3))
    )


def test_interval_of_a_ratio() -> None:
    sums, sizes = np.array([2.0, 0.0, 1.0, 5.0]), np.array([2.0, 1.0, 3.0, 6.0])
    ratios = [sums[row].sum() / sizes[row].sum() for row in drawn_rows(4, 300, seed=6)]
    assert ratio_bootstrap_interval(sums, sizes, 0.8, 300, 6) == pytest.approx(
        expanded(ratios, 0.8, 4)
    )
    ratios = [sums[row].sum() / sizes[row].sum() for row in drawn_rows(4, 2_000)]
    assert ratio_bootstrap_interval(sums, sizes, 0.8) == pytest.approx(expanded(ratios, 0.8, 4))


def test_mean_of_values_of_patients() -> None:
    values, patients = np.array([1.0, 2.5, 4.0, 7.0, 3.0]), ["b", "a", "b", "c", "a"]
    sums, sizes = np.array([5.5, 5.0, 7.0]), np.array([2.0, 2.0, 1.0])
    for resamples, level in ((400, 0.9), (resampling.DEFAULT_RESAMPLES, 0.95)):
        means = [sums[row].sum() / sizes[row].sum() for row in drawn_rows(3, resamples)]
        found = (
            clustered_mean(values, patients, level, resamples)
            if resamples == 400
            else clustered_mean(values, patients)
        )
        assert bounds(found) == pytest.approx(expanded(means, level, 3))
        assert (found.estimate, found.level) == (pytest.approx(17.5 / 5), level)
        assert (found.method, found.unit) == (
            f"patient bootstrap, {resamples} resamples",
            "patient",
        )
        assert found.reason is None
    two = clustered_mean(np.array([1.0, 2.0]), ["a", "b"], resamples=50)
    assert bounds(two) == (1.0, 2.0)


def test_means_without_an_interval() -> None:
    nothing = clustered_mean(np.array([]), [], 0.9, 20)
    without_bounds(nothing, None, 0.9, "there is nothing to measure")
    one = clustered_mean(np.array([1.0, 4.0]), ["a", "a"], 0.9, 20)
    without_bounds(one, 2.5, 0.9, "one patient cannot be resampled")
    # Sums of equal values round, the more the larger they are.
    for scale in (1.0, 1e6):
        values = np.full(7, scale / 3)
        same = clustered_mean(values, list("abbbccd"), 0.9, 200)
        without_bounds(same, same.estimate, 0.9, "all patients have the same value")
        assert same.estimate == pytest.approx(scale / 3)
        assert same.method == "patient bootstrap, 200 resamples"
    for found in (nothing, one):
        assert found.method == "patient bootstrap, 20 resamples"


def test_width_of_an_interval() -> None:
    narrow = interval_with_width(0.5, 0.25, 0.75, 0.9, "m", tolerance=0.5, reason="why")
    without_bounds(narrow, 0.5, 0.9, "why")
    wide = interval_with_width(0.5, 0.25, 0.75, 0.9, "m", tolerance=0.49)
    assert (wide.estimate, *bounds(wide)) == (0.5, 0.25, 0.75)
    assert (wide.level, wide.method, wide.unit, wide.reason) == (0.9, "m", "patient", None)
    assert interval_with_width(0.5, 0.5, 0.5 + 2e-12, 0.9, "m").low == 0.5
    assert interval_with_width(0.5, 0.5, 0.5 + 5e-13, 0.9, "m").low is None


FIRST = (np.array([True, True, False, True, True]), np.array(["a", "b", "c", "d", "d"]))
SECOND = (np.array([False, True, False, False]), np.array(["b", "e", "e", "a"]))
SAME = "every resample gives the same difference: no variance to judge it by"
# Resamples of two patients of which fewer than half, and half, contain both.
FEW, HALF = 11, 32
Share = Callable[[np.ndarray], float]


def share(side: tuple[np.ndarray, np.ndarray]) -> Share:
    """Return the proportion of a side in a resample of the patients a to e; nan without any."""

    def of_resample(row: np.ndarray) -> float:
        outcomes = [side[0][side[1] == "abcde"[patient]] for patient in row]
        found = np.concatenate(outcomes)
        return float(found.mean()) if len(found) else np.nan

    return of_resample


def test_difference_of_two_proportions() -> None:
    for resamples, level in ((200, 0.9), (resampling.DEFAULT_RESAMPLES, 0.8)):
        rows = drawn_rows(5, resamples)
        differences = [share(FIRST)(row) - share(SECOND)(row) for row in rows]
        defined = [value for value in differences if not np.isnan(value)]
        assert len(defined) < resamples
        found = (
            clustered_proportion_difference(FIRST, SECOND, level, resamples)
            if resamples == 200
            else clustered_proportion_difference(FIRST, SECOND, level)
        )
        assert bounds(found) == pytest.approx(expanded(defined, level, 5))
        assert found.estimate == pytest.approx(4 / 5 - 1 / 4)
        assert (found.level, found.method, found.unit) == (level, "patient bootstrap", "patient")
        assert found.reason is None


def test_differences_without_an_interval() -> None:
    nothing = (np.array([], dtype=bool), np.array([], dtype=str))
    for sides in ((nothing, SECOND), (FIRST, nothing)):
        found = clustered_proportion_difference(*sides, 0.9, 30)
        without_bounds(found, None, 0.9, "one side has no answers")
    # One patient each: about half of the resamples of two patients contain both.
    first, second = (np.array([True]), np.array(["a"])), (np.array([False]), np.array(["b"]))
    both = {n: sum(len(set(row)) == 2 for row in drawn_rows(2, n)) for n in (FEW, HALF)}
    assert 0 < both[FEW] < FEW / 2 and both[HALF] == HALF / 2
    few = clustered_proportion_difference(first, second, 0.9, FEW)
    without_bounds(few, 1.0, 0.9, "too few patients to resample")
    half = clustered_proportion_difference(first, second, 0.9, HALF)
    without_bounds(half, 1.0, 0.9, SAME)
    same_patient = (np.array([True, False]), np.array(["a", "a"]))
    one = clustered_proportion_difference(same_patient, first, 0.9, 41)
    without_bounds(one, -0.5, 0.9, "too few patients to resample")
    # Two patients, both on both sides: every resample gives 1 - 0.
    patients = np.array(["a", "b"])
    equal = clustered_proportion_difference(
        (np.array([True, True]), patients), (np.array([False, False]), patients), 0.9, 40
    )
    without_bounds(equal, 1.0, 0.9, SAME)
    assert {found.method for found in (few, one, equal)} == {"patient bootstrap"}
    # One patient of the two differs.
    two = clustered_proportion_difference(
        (np.array([True, False]), patients), (np.array([False, False]), patients), 0.9, 40
    )
    assert bounds(two) == (0.0, 1.0) and two.estimate == 0.5

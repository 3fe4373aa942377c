"""Bootstrap weights and bounds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evaluation.resampling import (
    bayesian_bootstrap_blocks,
    bayesian_bootstrap_weights,
    clustered_mean,
    percentile_bounds,
)


def test_percentiles_are_expanded_to_a_t_interval():
    """For a normal statistic: mean -+ t x sd x sqrt(m / (m - 1))."""
    draws = 2 + 0.3 * stats.norm.ppf((np.arange(100_000) + 0.5) / 100_000)
    for clusters in (8, 25):
        half = stats.t.ppf(0.975, clusters - 1) * 0.3 * np.sqrt(clusters / (clusters - 1))
        assert percentile_bounds(draws, 0.95, clusters) == pytest.approx(
            (2 - half, 2 + half), abs=2e-3
        )


def test_bayesian_weights_are_a_dirichlet_distribution(monkeypatch):
    shapes = np.array([3.0, 1.0, 0.25, 0.75])
    weights = bayesian_bootstrap_weights(shapes, 40_000, seed=3)
    shares = weights / weights.sum(axis=1, keepdims=True)
    law = stats.dirichlet(shapes)
    assert shares.mean(axis=0) == pytest.approx(law.mean(), abs=0.004)
    assert shares.var(axis=0) == pytest.approx(law.var(), abs=0.002)
    monkeypatch.setattr("evaluation.resampling.BLOCK_ELEMENTS", 40)
    blocks = list(bayesian_bootstrap_blocks(shapes, 23, seed=3, width=8))
    assert [len(block) for block in blocks] == [5, 5, 5, 5, 3]
    assert np.array_equal(np.concatenate(blocks), weights[:23])


def test_mean_of_patients_covers_with_ten():
    """Plain percentiles cover .90 here."""
    covered = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        codes = np.repeat(np.arange(10), rng.integers(1, 5, 10))
        values = 1 + rng.normal(size=10)[codes] + rng.normal(size=len(codes))
        mean = clustered_mean(values, codes, resamples=400)
        covered.append(mean.low <= 1 <= mean.high)
    assert np.mean(covered) > 0.92

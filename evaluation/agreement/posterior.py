"""Intervals of agreement coefficients from Dirichlet weights of tables and items.

Wald intervals and percentiles of resampled items cover too rarely with 24 items, and vanish under
perfect agreement. Here the unknown proportions have a Dirichlet distribution given the observed
counts and a prior that is worth less than two items: one item on which the raters agree and three
quarters of one on which they differ, spread evenly over the categories. The weights were chosen by
simulation (benchmarks/COVERAGE.md).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy

from evaluation.resampling import bayesian_bootstrap_blocks
from evaluation.validation import Array

AGREEMENT_DRAWS = 2_000
AGREEING_ITEMS, DIFFERING_ITEMS = 1.0, 0.75
# Up to this number of values every pair of different values has a part of the prior; with more
# values, as many pairs are drawn as this number of values has.
PRIOR_VALUES = 12


def table_bounds(
    counts: Array, coefficient: Callable[[Array], Array], estimate: float, level: float
) -> tuple[float, float]:
    """Return the bounds of a coefficient of two raters.

    Parameters
    ----------
    counts : ndarray of float, shape (k, k)
        Items by the categories of both raters, k of at least 2.
    coefficient : callable
        Function of proportions [draws, k, k] that returns [draws].
    estimate : float
        Coefficient of the observed table. The bounds always hold it.
    level : float
        Confidence level in (0, 1).
    """
    k = len(counts)
    prior = np.full((k, k), DIFFERING_ITEMS / (k * k - k))
    np.fill_diagonal(prior, AGREEING_ITEMS / k)
    shapes = (counts + prior).ravel()
    draws = []
    for weights in bayesian_bootstrap_blocks(shapes, AGREEMENT_DRAWS, 1, len(shapes)):
        tables = weights.reshape(-1, k, k)
        draws.append(coefficient(tables / tables.sum(axis=(1, 2), keepdims=True)))
    return _bounds(np.concatenate(draws), estimate, level)


def item_bounds(
    counts: Any,
    disagreement: Callable[[Array, Any], tuple[Array, Array]],
    estimate: float,
    level: float,
    seed: int,
) -> tuple[float, float]:
    """Return the bounds of 1 - observed / expected disagreement of any number of raters.

    Parameters
    ----------
    counts : sparse array, shape (items, values)
        How often each item was given each value, with at least two values.
    disagreement : callable
        Function of weights [draws, items] and of counts that returns observed and expected
        disagreement of each draw.
    estimate, level
        As in `table_bounds`.
    seed : int
    """
    items, prior, prior_weights = counts.shape[0], *_prior_items(counts, seed)
    shapes = np.concatenate([np.ones(items), prior_weights])
    whole = scipy.sparse.csr_array(scipy.sparse.vstack([counts, prior]))
    draws = []
    for weights in bayesian_bootstrap_blocks(shapes, AGREEMENT_DRAWS, seed, max(whole.shape)):
        observed, expected = disagreement(weights, whole)
        draws.append(1 - observed / expected)
    return _bounds(np.concatenate(draws), estimate, level)


def _prior_items(counts: Any, seed: int) -> tuple[Any, Array]:
    """Return the counts [prior items, values] and the weights of the prior's items."""
    values = counts.shape[1]
    ratings = counts.sum() / counts.shape[0]
    if values <= PRIOR_VALUES:
        first, second = np.triu_indices(values, 1)
        same = np.arange(values)
    else:
        generator = np.random.default_rng(seed)
        pairs = PRIOR_VALUES * (PRIOR_VALUES - 1) // 2
        first = generator.integers(0, values, pairs)
        second = (first + generator.integers(1, values, pairs)) % values
        same = np.linspace(0, values - 1, PRIOR_VALUES).astype(int)
    differing, agreeing = len(first), len(same)
    rows = np.concatenate([np.tile(np.arange(differing), 2), differing + np.arange(agreeing)])
    # A prior item has as many ratings as an observed one, half of them of either value.
    entries = np.concatenate([np.full(2 * differing, ratings / 2), np.full(agreeing, ratings)])
    table = scipy.sparse.csr_array(
        (entries, (rows, np.concatenate([first, second, same]))),
        shape=(differing + agreeing, values),
    )
    weights = np.concatenate(
        [
            np.full(differing, DIFFERING_ITEMS / differing),
            np.full(agreeing, AGREEING_ITEMS / agreeing),
        ]
    )
    return table, weights


def _bounds(draws: Array, estimate: float, level: float) -> tuple[float, float]:
    # A draw whose weight lies on one value alone has no expected disagreement.
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return min(float(low), estimate), max(float(high), estimate)

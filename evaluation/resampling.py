"""Patient-level resampling: bootstrap weights, and intervals of a mean, a ratio and a difference.

A resample is stored as weights: how often each cluster (patient) or item was drawn. A statistic of
all resamples is then one matrix product instead of a loop over copied rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import Interval, interval_with_width
from evaluation.validation import Array, cluster_codes

DEFAULT_RESAMPLES = 2_000
# Largest number of float64 values in one block of resamples: 32 MB.
BLOCK_ELEMENTS = 4_000_000


def cluster_bootstrap_blocks(clusters: int, resamples: int, seed: int) -> Iterator[Array]:
    """Yield bootstrap weights of clusters in blocks that fit into memory.

    Parameters
    ----------
    clusters : int
        Number of clusters (patients), at least 1.
    resamples : int
        Number of bootstrap samples over all blocks.
    seed : int
        Seed of the random generator. The same seed gives the same samples, so that two statistics
        computed with it are paired.

    Yields
    ------
    ndarray of float64, shape (block, clusters)
        How often each cluster was drawn; every row sums to `clusters`.

    References
    ----------
    Field CA, Welsh AH. Bootstrapping clustered data. J R Stat Soc B 2007;69:369-390 (the cluster
    bootstrap: whole clusters are drawn with replacement).

    Examples
    --------
    >>> [block.sum(axis=1).tolist() for block in cluster_bootstrap_blocks(3, 2, seed=1)]
    [[3.0, 3.0]]
    """
    generator, block = np.random.default_rng(seed), max(1, BLOCK_ELEMENTS // clusters)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        # Each row counts in bins of its own, so that one bincount serves the whole block.
        picks = (
            generator.integers(0, clusters, size=(rows, clusters))
            + clusters * np.arange(rows)[:, None]
        )
        yield (
            np.bincount(picks.ravel(), minlength=rows * clusters)
            .reshape(rows, clusters)
            .astype(np.float64)
        )


def cluster_bootstrap_weights(clusters: int, resamples: int, seed: int) -> Array:
    """Return all blocks of `cluster_bootstrap_blocks` as one array.

    Parameters
    ----------
    clusters, resamples, seed : int
        As in `cluster_bootstrap_blocks`.

    Returns
    -------
    ndarray of float64, shape (resamples, clusters)

    Examples
    --------
    >>> cluster_bootstrap_weights(4, 2, seed=1)
    array([[0., 1., 1., 2.],
           [2., 0., 0., 2.]])
    """
    return np.concatenate(list(cluster_bootstrap_blocks(clusters, resamples, seed)))


def bayesian_bootstrap_weights(shapes: Array, resamples: int, seed: int) -> Array:
    """Return weights of the Bayesian bootstrap.

    Parameters
    ----------
    shapes : ndarray of float, shape (cells,)
        Shape of each cell's gamma weight: 1 for a patient or an item, the count for a cell of
        equal observations, less for an observation that was not made but could have been.
    resamples, seed : int
        Number of samples, and seed.

    Returns
    -------
    ndarray of float64, shape (resamples, cells)
        Divided by their row sum, the weights follow a Dirichlet distribution. Unlike a resample by
        counts, no sample loses a class.

    References
    ----------
    Rubin DB. The Bayesian bootstrap. Ann Stat 1981;9:130-134.

    Examples
    --------
    >>> bayesian_bootstrap_weights(np.array([1.0, 1.0, 0.5]), 2, seed=1).shape
    (2, 3)
    """
    return np.concatenate(list(bayesian_bootstrap_blocks(shapes, resamples, seed, len(shapes))))


def bayesian_bootstrap_blocks(
    shapes: Array, resamples: int, seed: int, width: int
) -> Iterator[Array]:
    """Yield the rows of `bayesian_bootstrap_weights` in blocks that fit into memory.

    Parameters
    ----------
    shapes, resamples, seed
        As in `bayesian_bootstrap_weights`.
    width : int
        Length of the longest row that the caller derives from one sample.

    Yields
    ------
    ndarray of float64, shape (block, cells)

    Examples
    --------
    >>> blocks = bayesian_bootstrap_blocks(np.ones(3), 5, seed=1, width=2_000_000)
    >>> [len(block) for block in blocks]
    [2, 2, 1]
    """
    generator, block = np.random.default_rng(seed), max(1, BLOCK_ELEMENTS // width)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        yield generator.standard_gamma(shapes, size=(rows, len(shapes)))


def percentile_bounds(draws: Array, level: float, clusters: int) -> tuple[float, float]:
    """Return the expanded percentiles of a bootstrap of patients.

    Parameters
    ----------
    draws : ndarray of float
        Statistic of each resample.
    level : float
        Confidence level in (0, 1).
    clusters : int
        Number of patients, at least 2.

    Returns
    -------
    low, high : float

    Notes
    -----
    Plain percentiles are too narrow by the factor sqrt((m - 1) / m) and by the ratio of a normal to
    a t quantile with m - 1 degrees of freedom. The percentiles taken here are those that undo both
    for a normal statistic.

    References
    ----------
    Hesterberg TC. What teachers should know about the bootstrap: resampling in the undergraduate
    statistics curriculum. Am Stat 2015;69:371-386 (expanded percentile interval).

    Examples
    --------
    >>> draws = np.linspace(0, 1, 1001)
    >>> [round(percentile_bounds(draws, 0.95, m)[0], 3) for m in (10, 10_000)]
    [0.009, 0.025]
    """
    quantile = scipy.special.stdtrit(clusters - 1, (1 - level) / 2)
    tail = float(scipy.special.ndtr(np.sqrt(clusters / (clusters - 1)) * quantile))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def multinomial_bootstrap_weights(
    draws: int, resamples: int, seed: int, probabilities: Array | None = None
) -> Array:
    """Return multinomial bootstrap weights.

    Without `probabilities` the distribution equals that of `cluster_bootstrap_weights`, but the
    random stream differs. Coverage, agreement and similarity have used this stream since their
    first release; it is kept so that stored results can be recomputed exactly.

    Parameters
    ----------
    draws : int
        Number of draws per resample.
    resamples : int
        Number of bootstrap samples.
    seed : int
        Seed of the random generator.
    probabilities : ndarray, shape (cells,), optional
        Probability of each cell; by default `draws` cells of equal probability.

    Returns
    -------
    ndarray of int64, shape (resamples, cells)
        Every row sums to `draws`.

    Examples
    --------
    >>> multinomial_bootstrap_weights(4, 2, seed=1).sum(axis=1)
    array([4, 4])
    """
    cells = np.full(draws, 1 / draws) if probabilities is None else probabilities
    return np.random.default_rng(seed).multinomial(draws, cells, resamples)


def multinomial_bootstrap_blocks(
    draws: int, resamples: int, seed: int, width: int
) -> Iterator[Array]:
    """Yield the rows of `multinomial_bootstrap_weights` in blocks that fit into memory.

    Parameters
    ----------
    draws, resamples, seed : int
        As in `multinomial_bootstrap_weights`.
    width : int
        Length of the longest row that the caller derives from one resample.

    Yields
    ------
    ndarray of int64, shape (block, draws)

    Examples
    --------
    >>> blocks = multinomial_bootstrap_blocks(3, 5, seed=1, width=2_000_000)
    >>> [len(block) for block in blocks]
    [2, 2, 1]
    """
    generator, block = np.random.default_rng(seed), max(1, BLOCK_ELEMENTS // width)
    # numpy draws the rows one after the other: blocks continue the stream of a single call.
    for start in range(0, resamples, block):
        yield generator.multinomial(draws, np.full(draws, 1 / draws), min(block, resamples - start))


def ratio_bootstrap_interval(
    sums: Array, sizes: Array, level: float, resamples: int = DEFAULT_RESAMPLES, seed: int = 1
) -> tuple[float, float]:
    """Return the bootstrap interval of a ratio of sums over resampled clusters.

    Parameters
    ----------
    sums : ndarray, shape (clusters,)
        Sum of the values of each cluster.
    sizes : ndarray, shape (clusters,)
        Number of values of each cluster.
    level : float
        Confidence level in (0, 1).
    resamples, seed : int
        As in `cluster_bootstrap_weights`.

    Returns
    -------
    low, high : float
        Expanded percentiles of sum(weight x sums) / sum(weight x sizes).

    Examples
    --------
    >>> low, high = ratio_bootstrap_interval(np.array([2., 0, 1]), np.array([2., 1, 2]), 0.95)
    >>> round(low, 3), round(high, 3)
    (0.0, 1.0)
    """
    # The number of observations varies with the patients drawn, hence a ratio of two sums. No
    # cluster is empty, so the denominator is never 0.
    ratios = np.concatenate(
        [
            (weights @ sums) / (weights @ sizes)
            for weights in cluster_bootstrap_blocks(len(sums), resamples, seed)
        ]
    )
    return percentile_bounds(ratios, level, len(sums))


def clustered_mean(
    values: Array, patients: Any, level: float = 0.95, resamples: int = DEFAULT_RESAMPLES
) -> Interval:
    """Return a mean with an interval of the patient bootstrap (expanded percentiles).

    Parameters
    ----------
    values : array_like of float, shape (n,)
        One value per observation.
    patients : sequence of hashable, shape (n,)
        Patient of each observation.
    level : float
        Confidence level in (0, 1).
    resamples : int
        Number of bootstrap samples (seed 1).

    Returns
    -------
    Interval
        Without bounds, and with the reason, for no values, for one patient, and where all patients
        have the same mean: resampling identical patients has no width, which is not certainty.

    Examples
    --------
    >>> mean = clustered_mean(np.array([1.0, 2.0, 4.0, 5.0]), ["a", "a", "b", "c"])
    >>> round(mean.estimate, 2), round(mean.low, 2), round(mean.high, 2)
    (3.0, 1.5, 5.0)
    """
    method = f"patient bootstrap, {resamples} resamples"
    if not len(values):
        return Interval.without_bounds(level, method, "there is nothing to measure", unit="patient")
    codes, clusters = cluster_codes(patients, len(values))
    estimate = float(np.mean(values))
    if clusters < 2:
        return Interval.without_bounds(
            level, method, "one patient cannot be resampled", estimate, unit="patient"
        )
    sums = np.bincount(codes, np.asarray(values, float), clusters)
    sizes = np.bincount(codes, minlength=clusters).astype(float)
    # A mean over observations is a ratio of patient sums, since patients differ in size.
    low, high = ratio_bootstrap_interval(sums, sizes, level, resamples)
    # The tolerance grows with the estimate, because the sums round in proportion to it.
    return interval_with_width(
        estimate, low, high, level, method, tolerance=1e-12 * max(1.0, abs(estimate))
    )


def clustered_proportion_difference(
    first: tuple[Array, Array],
    second: tuple[Array, Array],
    level: float,
    resamples: int = DEFAULT_RESAMPLES,
) -> Interval:
    """Return the difference of two proportions with a bootstrap interval over patients.

    Patients are drawn with replacement (seed 1) and may contribute to both sides, so the interval
    allows for the dependence of the two proportions.

    Parameters
    ----------
    first, second : tuple of (ndarray of bool, ndarray), shape (n,) each
        Outcome and patient of each observation of one side.
    level : float
        Confidence level in (0, 1).
    resamples : int
        Number of bootstrap samples.

    Returns
    -------
    Interval
        First minus second proportion; without bounds where a side is empty, where too few
        resamples contain both sides, or where every resample gives the same difference.

    Examples
    --------
    >>> patients = np.array(["a", "b", "c", "d"])
    >>> gap = clustered_proportion_difference(
    ...     (np.array([True, True, False, True]), patients),
    ...     (np.array([False, True, False, False]), patients),
    ...     0.95,
    ... )
    >>> round(gap.estimate, 2), round(gap.low, 2), round(gap.high, 2)
    (0.5, 0.0, 1.0)
    """
    method = "patient bootstrap"
    if not len(first[0]) or not len(second[0]):
        return Interval.without_bounds(level, method, "one side has no answers", unit="patient")
    patients = np.concatenate([first[1], second[1]])
    # Codes over both sides together: a patient has one weight in both proportions.
    codes, clusters = cluster_codes(patients, len(patients))
    weights = cluster_bootstrap_weights(clusters, resamples, 1)
    proportions = []
    for outcome, part in ((first[0], codes[: len(first[0])]), (second[0], codes[len(first[0]) :])):
        sizes = np.bincount(part, np.ones(len(outcome)), clusters)
        sums = np.bincount(part, outcome.astype(float), clusters)
        # A resample without patients of this side gives 0 / 0; such resamples are left out below.
        with np.errstate(invalid="ignore"):
            proportions.append((weights @ sums) / (weights @ sizes))
    differences = proportions[0] - proportions[1]
    estimate = float(first[0].mean() - second[0].mean())
    defined = differences[~np.isnan(differences)]
    # Where most draws lack a side, the percentiles would describe the remaining draws only.
    if clusters < 2 or len(defined) < resamples / 2:
        return Interval.without_bounds(
            level, method, "too few patients to resample", estimate, unit="patient"
        )
    if defined.min() == defined.max():
        reason = "every resample gives the same difference: no variance to judge it by"
        return Interval.without_bounds(level, method, reason, estimate, unit="patient")
    low, high = percentile_bounds(defined, level, clusters)
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        level=level,
        method=method,
        unit="patient",
    )

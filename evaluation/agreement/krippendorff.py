"""Krippendorff's alpha, with an interval over weighted items."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy

from evaluation.agreement.posterior import item_bounds
from evaluation.agreement.record import Agreement
from evaluation.validation import Array, check_level

# Weights are multiplied by this: the draws then describe a population, whose expected disagreement
# has no correction for the sample's size.
POPULATION_SIZE = 1e6
ALPHA_METRICS = ("nominal", "ordinal", "interval", "ratio")


def krippendorff_alpha(
    ratings: Any, metric: str = "nominal", level: float = 0.95, seed: int = 1
) -> Agreement:
    """Compute Krippendorff's alpha of any number of raters with missing ratings.

    Parameters
    ----------
    ratings : array_like, shape (raters, items)
        Rated values; None or nan where an item was not rated. Numbers are required unless the
        metric is nominal. Items rated once are ignored.
    metric : {"nominal", "ordinal", "interval", "ratio"}
        Distance between two values.
    level : float
        Confidence level in (0, 1).
    seed : int
        Seed of the weights of items.

    Returns
    -------
    Agreement
        `observed` and `expected` are disagreements. The interval weights items at random
        (`evaluation.agreement.posterior`); it is missing with fewer than three items.

    Raises
    ------
    ValueError
        If the metric is unknown or does not fit the values.

    Notes
    -----
    alpha = 1 - D_o / D_e. D_o is the mean distance of two ratings of one item, each item's pairs
    divided by its number of ratings less one; D_e is the mean distance of any two ratings. Squared
    differences are summed from moments, so that continuous ratings need no table of all pairs.

    Checked against: the published example with four observers and twelve units (nominal .743,
    ordinal .815, interval .849, ratio .797).

    References
    ----------
    Krippendorff K. Computing Krippendorff's alpha-reliability. University of Pennsylvania 2011.
    Interval: Rubin DB. The Bayesian bootstrap. Ann Stat 1981;9:130-134.

    Examples
    --------
    >>> ratings = [[1, 2, 3, 3, 2, 1, None], [1, 2, 3, 3, 2, 2, 4], [None, 3, 3, 3, 2, 3, 4]]
    >>> round(krippendorff_alpha(ratings).estimate, 3)
    0.637
    >>> round(krippendorff_alpha(ratings, "ordinal").estimate, 3)
    0.721
    """
    check_level(level)
    if metric not in ALPHA_METRICS:
        raise ValueError(f"the metric is {metric!r}: it must be one of {', '.join(ALPHA_METRICS)}")
    method = f"Krippendorff's alpha, {metric}"
    values, counts = _value_counts(ratings, metric)
    items = counts.shape[0]
    if not items:
        return Agreement.without_interval(method, "no item was rated twice", level, 0)
    observed, expected = (
        float(part[0]) for part in _disagreement(np.ones((1, items)), counts, values, metric)
    )
    if np.isnan(expected):
        reason = "all ratings are the same: there is no disagreement to expect"
        return Agreement.without_interval(method, reason, level, items)
    # Items that are rated twice or more are the unit of resampling.
    alpha = 1 - observed / expected
    if items < 3:
        reason = "fewer than three items: no interval"
        return Agreement.without_interval(
            method, reason, level, items, alpha, None, observed, expected
        )

    def weighted(weights: Array, rated: Any) -> tuple[Array, Array]:
        return _disagreement(POPULATION_SIZE * weights, rated, values, metric)

    low, high = item_bounds(counts, weighted, alpha, level, seed)
    return Agreement(
        estimate=alpha,
        standard_error=None,
        low=low,
        high=high,
        method=method,
        level=level,
        n=items,
        observed=observed,
        expected=expected,
    )


def _value_counts(ratings: Any, metric: str) -> tuple[Array, Any]:
    """Return the sorted values, and a sparse table [item, value] of how often each was given.

    Only items with two or more ratings are included.
    """
    table = _rating_table(ratings)
    present = ~pd.isna(table)
    # A single rating of an item has no pair to compare.
    present &= present.sum(axis=0) > 1
    given = list(table[present])
    if metric != "nominal" and any(isinstance(value, str) for value in given):
        raise ValueError(
            f"the metric {metric} needs numbers, but"
            f" {next(v for v in given if isinstance(v, str))!r} was rated"
        )
    # Nominal values may mix types, which have no common order.
    values = sorted(
        set(given), key=lambda value: (str(type(value)), value) if metric == "nominal" else value
    )
    axis = (
        np.arange(len(values), dtype=float)
        if metric == "nominal"
        else np.array(values, dtype=float)
    )
    if not np.isfinite(axis).all():
        raise ValueError(f"the metric {metric} needs finite numbers")
    if metric == "ratio" and (axis < 0).any():
        raise ValueError("the ratio metric needs values of at least 0")
    code = {value: index for index, value in enumerate(values)}
    columns, item = np.unique(np.nonzero(present)[1], return_inverse=True)
    return axis, scipy.sparse.csr_array(
        (np.ones(len(given)), (item, [code[value] for value in given])),
        shape=(len(columns), len(values)),
    )


def _rating_table(ratings: Any) -> Array:
    """Return ratings unchanged as an object array [rater, item]."""
    try:
        table = np.asarray(ratings, dtype=object)
    except ValueError:
        table = np.empty(0)
    if table.ndim != 2:
        raise ValueError(
            "ratings must be a table: a row per rater, a column per item, with None where an item"
            " was not rated"
        )
    return table


def _disagreement(weights: Array, counts: Any, values: Array, metric: str) -> tuple[Array, Array]:
    """Return observed and expected disagreement of weighted items, each of shape (samples,).

    Parameters
    ----------
    weights : ndarray, shape (samples, items)
        How often each item is taken.
    counts : sparse array, shape (items, values)
    values : ndarray, shape (values,)
    metric : str

    Notes
    -----
    Expected disagreement is nan where all ratings are equal.
    """
    marginal, sizes = weights @ counts, counts.sum(axis=1)
    total = marginal.sum(axis=1)
    if metric == "nominal":
        within = sizes**2 - counts.power(2).sum(axis=1)
        between = total**2 - (marginal**2).sum(axis=1)
    elif metric == "ratio":
        distance = _ratio_distance(values)
        within = ((counts @ distance) * counts.toarray()).sum(axis=1)
        between = ((marginal @ distance) * marginal).sum(axis=1)
    else:
        # Squared differences of positions on an axis. An ordinal value's position is the number of
        # ratings below it plus half of its own.
        position = (
            np.cumsum(marginal, axis=1) - marginal / 2
            if metric == "ordinal"
            else np.broadcast_to(values, marginal.shape)
        )
        # Centring avoids cancellation in the difference of moments.
        position = position - ((marginal * position).sum(axis=1) / total)[:, None]
        # [item, sample]
        first, second = counts @ position.T, counts @ (position**2).T
        within = (2 * (sizes[:, None] * second - first**2)).T
        between = 2 * total * (marginal * position**2).sum(axis=1)
    # Within-item sums of squares from moments leave rounding errors where all ratings are equal.
    single_value = np.diff(counts.indptr) == 1
    observed = (weights * np.where(single_value, 0.0, within / (sizes - 1))).sum(axis=1) / total
    expected = np.where((marginal > 0).sum(axis=1) > 1, between / (total * (total - 1)), np.nan)
    return observed, expected


def _ratio_distance(values: Array) -> Array:
    """Return ((a - b) / (a + b))^2 for all pairs of values; 0 where both are 0."""
    total = np.add.outer(values, values)
    difference = np.subtract.outer(values, values)
    return np.divide(difference, total, out=np.zeros_like(total), where=total > 0) ** 2

"""Cohen's kappa, Gwet's AC1 and Fleiss' kappa."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import scipy

from evaluation.agreement.posterior import item_bounds, table_bounds
from evaluation.agreement.record import Agreement
from evaluation.validation import Array, check_level, float_array

# Below this a variance, or a distance of chance agreement from 1, is rounding.
NEGLIGIBLE = 1e-12


def cohen_kappa(table: Any, weights: str | None = None, level: float = 0.95) -> Agreement:
    """Compute Cohen's kappa of two raters.

    Parameters
    ----------
    table : array_like of int, shape (k, k)
        Counts; rows are the first rater's categories, columns the second's, in the same order.
    weights : {None, "linear", "quadratic"}
        Agreement weights 1 - (|i - j| / (k - 1))^1 or ^2; None counts identical categories only.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Agreement
        Not estimable where chance agreement is 1. Estimate 0 without an interval where one rater
        used a single category, because observed and chance agreement are then equal.

    Raises
    ------
    ValueError
        If the table is not square, does not hold counts, or the weights are unknown.

    Notes
    -----
    kappa = (p_o - p_e) / (1 - p_e), with observed agreement p_o = sum w_ij p_ij and chance
    agreement p_e = sum w_ij p_i. p_.j. The standard error is the large-sample one of Fleiss, Cohen
    and Everitt, not the one under no agreement. The interval is not built on it, but on Dirichlet
    weights of the table (`evaluation.agreement.posterior`), which hold the level with 24 items.

    Checked against: R 4.2 vcd `Kappa` (1e-9) and statsmodels 0.15 `cohens_kappa` (1e-9).

    References
    ----------
    Cohen J. Educ Psychol Meas 1960;20:37-46; Psychol Bull 1968;70:213-220 (weights). Fleiss JL,
    Cohen J, Everitt BS. Large sample standard errors of kappa and weighted kappa. Psychol Bull
    1969;72:323-327.

    Examples
    --------
    >>> kappa = cohen_kappa([[22, 4, 3], [5, 18, 6], [1, 7, 30]])
    >>> round(kappa.estimate, 3), round(kappa.standard_error, 3)
    (0.59, 0.068)
    >>> round(cohen_kappa([[22, 4, 3], [5, 18, 6], [1, 7, 30]], "quadratic").estimate, 3)
    0.712
    """
    counts = _square_counts(table)
    check_level(level)
    if weights not in (None, "linear", "quadratic"):
        raise ValueError(f"the weights are {weights!r}: they must be None, 'linear' or 'quadratic'")
    k, n = len(counts), counts.sum()
    method = f"Cohen's kappa{f', {weights} weights' if weights else ''}"
    if not n:
        return Agreement.without_interval(method, "no item was rated by both raters", level, 0)
    agree, p = _agreement_weights(k, weights), counts / n
    # Marginal proportions of the first and of the second rater.
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed, expected = float((agree * p).sum()), float(rows @ agree @ columns)
    if 1 - expected < NEGLIGIBLE:
        reason = "both raters used one and the same category: chance agreement is 1"
        return Agreement.without_interval(method, reason, level, int(n))
    kappa = (observed - expected) / (1 - expected)
    means = (agree @ columns)[:, None] + (rows @ agree)[None, :]
    # The published variance is a difference of two sums. Written as one sum about the mean it has
    # no rounding error where it is 0.
    scores = agree - means * (1 - kappa)
    variance = (p * (scores - (p * scores).sum()) ** 2).sum() / (n * (1 - expected) ** 2)
    if min((rows > 0).sum(), (columns > 0).sum()) == 1:
        reason = "one rater used one category only: kappa is 0 for any ratings of the other"
        return Agreement.without_interval(
            method, reason, level, int(n), kappa, 0.0, observed, expected
        )
    low, high = table_bounds(counts, partial(_cohen_coefficients, agree), kappa, level)
    return Agreement(
        estimate=kappa,
        standard_error=float(np.sqrt(variance)),
        low=low,
        high=high,
        method=method,
        level=level,
        n=int(n),
        observed=observed,
        expected=expected,
    )


def _agreement_weights(k: int, weights: str | None) -> Array:
    """Return how much each pair of k categories agrees, from 0 to 1, [k, k]."""
    if weights is None:
        return np.eye(k)
    # max(1, ...): with a single category the distance is 0 and needs no scale.
    distance = np.abs(np.subtract.outer(np.arange(k), np.arange(k))) / max(1, k - 1)
    return 1 - distance ** (1 if weights == "linear" else 2)


def _cohen_coefficients(agree: Array, tables: Array) -> Array:
    """Return Cohen's kappa of tables of proportions [n, k, k]; agree: agreement weights."""
    agreed = (agree * tables).sum(axis=(1, 2))
    by_chance = ((tables.sum(axis=2) @ agree) * tables.sum(axis=1)).sum(axis=1)
    return (agreed - by_chance) / (1 - by_chance)


def gwet_ac1(table: Any, level: float = 0.95) -> Agreement:
    """Compute Gwet's AC1 of two raters.

    AC1 does not collapse when one category dominates, as kappa does.

    Parameters
    ----------
    table : array_like of int, shape (k, k)
        Counts; rows are the first rater's categories, columns the second's, in the same order.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Agreement
        Not estimable with fewer than two categories or without items.

    Raises
    ------
    ValueError
        If the table is not square or does not hold counts.

    Notes
    -----
    AC1 = (p_o - p_e) / (1 - p_e) with p_e = sum pi_k (1 - pi_k) / (k - 1), where pi_k is the
    mean of the two raters' proportions of category k. The standard error is Gwet's; the interval
    is that of `cohen_kappa`.

    Checked against: the worked examples of the reference file `agreement` (1e-9); the variance
    against the spread of 1,500 multinomial samples (8 %).

    References
    ----------
    Gwet KL. Computing inter-rater reliability and its variance in the presence of high agreement.
    Br J Math Stat Psychol 2008;61:29-48.

    Examples
    --------
    >>> ac1 = gwet_ac1([[22, 4, 3], [5, 18, 6], [1, 7, 30]])
    >>> round(ac1.estimate, 3), round(ac1.standard_error, 3)
    (0.596, 0.068)
    """
    counts = _square_counts(table)
    check_level(level)
    method, k, n = "Gwet's AC1", len(counts), counts.sum()
    if k < 2 or not n:
        reason = "at least two categories and one rated item are needed"
        return Agreement.without_interval(method, reason, level, int(n))
    p = counts / n
    share = (p.sum(axis=0) + p.sum(axis=1)) / 2
    observed, expected = float(np.trace(p)), float((share * (1 - share)).sum() / (k - 1))
    value = (observed - expected) / (1 - expected)
    # The three terms of Gwet's variance (2008).
    diagonal = (np.diag(p) * (1 - share)).sum() / (k - 1) - observed * expected
    pairs = (p * (1 - np.add.outer(share, share) / 2) ** 2).sum() / (k - 1) ** 2 - expected**2
    variance = (
        observed * (1 - observed) - 4 * (1 - value) * diagonal + 4 * (1 - value) ** 2 * pairs
    ) / (n * (1 - expected) ** 2)
    low, high = table_bounds(counts, _gwet_coefficients, value, level)
    return Agreement(
        estimate=value,
        # Gwet's variance is a difference of terms, which may round below 0.
        standard_error=float(np.sqrt(max(0.0, variance))),
        low=low,
        high=high,
        method=method,
        level=level,
        n=int(n),
        observed=observed,
        expected=expected,
    )


def _gwet_coefficients(tables: Array) -> Array:
    """Return Gwet's AC1 of tables of proportions [n, k, k]."""
    agreed = np.trace(tables, axis1=1, axis2=2)
    shares = (tables.sum(axis=1) + tables.sum(axis=2)) / 2
    by_chance = (shares * (1 - shares)).sum(axis=1) / (tables.shape[1] - 1)
    return (agreed - by_chance) / (1 - by_chance)


def fleiss_kappa(counts: Any, level: float = 0.95) -> Agreement:
    """Compute Fleiss' kappa of any fixed number of raters.

    Parameters
    ----------
    counts : array_like of int, shape (items, categories)
        How many raters chose each category. Every item has the same number of raters; for unequal
        numbers use `krippendorff_alpha`.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Agreement
        `standard_error`, `z` and `p_value` test no agreement; the interval weights items at
        random (`evaluation.agreement.posterior`). Not estimable where all ratings are the same.

    Raises
    ------
    ValueError
        If the counts are not whole numbers or items have different numbers of raters.

    Notes
    -----
    kappa = (P - P_e) / (1 - P_e), with P the mean proportion of agreeing pairs of raters per item
    and P_e = sum p_j^2.

    Checked against: the worked example of Fleiss 1971 (.210), R 4.2 and statsmodels 0.15
    `fleiss_kappa` (1e-9).

    References
    ----------
    Fleiss JL. Psychol Bull 1971;76:378-382. Fleiss JL, Nee JCM, Landis JR. Large sample variance of
    kappa in the case of different sets of raters. Psychol Bull 1979;86:974-977 (equation 13).

    Examples
    --------
    >>> kappa = fleiss_kappa([[4, 0], [3, 1], [0, 4], [1, 3], [2, 2]])
    >>> round(kappa.estimate, 3), round(kappa.z, 2)
    (0.333, 1.83)
    """
    table = float_array(counts, "counts")
    check_level(level)
    method = "Fleiss' kappa"
    if table.ndim != 2 or not _are_counts(table):
        raise ValueError("counts must hold whole numbers: a row per item, a column per category")
    n = len(table)
    if not n:
        return Agreement.without_interval(method, "there are no items", level, 0)
    raters = table.sum(axis=1)
    if (raters != raters[0]).any() or raters[0] < 2:
        raise ValueError(
            f"items have {raters.min():g} to {raters.max():g} raters: Fleiss' kappa needs one"
            " number, at least 2; Krippendorff's alpha takes any"
        )
    r, p = raters[0], table.sum(axis=0) / table.sum()
    # Agreeing pairs among the r (r - 1) ordered pairs of raters of an item.
    per_item = ((table**2).sum(axis=1) - r) / (r * (r - 1))
    observed, expected = float(per_item.mean()), float((p**2).sum())
    if 1 - expected < NEGLIGIBLE:
        reason = "all ratings are the same: chance agreement is 1"
        return Agreement.without_interval(method, reason, level, n)
    kappa = (observed - expected) / (1 - expected)
    # Fleiss, Nee and Landis 1979, eq. 13: the variance when raters agree by chance only.
    unlike, skew = (p * (1 - p)).sum(), (p * (1 - p) * (1 - 2 * p)).sum()
    null_error = float(np.sqrt(2 * max(0.0, unlike**2 - skew) / (n * r * (r - 1))) / unlike)
    z = kappa / null_error if null_error else None
    low, high = _fleiss_bounds(table, kappa, level) if n >= 3 else (None, None)
    return Agreement(
        estimate=kappa,
        standard_error=null_error,
        low=low,
        high=high,
        reason=None if n >= 3 else "fewer than three items: no interval",
        method=method,
        level=level,
        n=n,
        observed=observed,
        expected=expected,
        z=z,
        p_value=None if z is None else float(2 * scipy.stats.norm.sf(abs(z))),
    )


def _fleiss_bounds(table: Array, kappa: float, level: float) -> tuple[float, float]:
    """Return the bounds of Fleiss' kappa from random weights of the items."""

    def disagreement(weights: Array, counts: Any) -> tuple[Array, Array]:
        """Return observed and chance disagreement of items with each row of weights."""
        sizes = counts.sum(axis=1)
        unlike = (sizes**2 - counts.power(2).sum(axis=1)) / (sizes * (sizes - 1))
        observed = (weights @ unlike) / weights.sum(axis=1)
        shares = weights @ counts
        shares /= shares.sum(axis=1, keepdims=True)
        return observed, 1 - (shares**2).sum(axis=1)

    used = scipy.sparse.csr_array(table[:, table.sum(axis=0) > 0])
    return item_bounds(used, disagreement, kappa, level, seed=1)


def _square_counts(table: Any) -> Array:
    counts = float_array(table, "the table's counts")
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not _are_counts(counts):
        raise ValueError(
            "the table must be square and hold counts: rows the first rater's categories, columns"
            " the second's, in the same order"
        )
    return counts


def _are_counts(values: Array) -> bool:
    return bool(np.isfinite(values).all() and (values >= 0).all() and not (values % 1).any())

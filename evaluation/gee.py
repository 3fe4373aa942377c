"""Generalised estimating equations for one clustered proportion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from evaluation.validation import Array

MAX_ITERATIONS = 500


@dataclass(frozen=True)
class GeeEstimate:
    """Intercept of a binomial GEE.

    Attributes
    ----------
    estimate : float
        Proportion.
    logit : float
        Its logit.
    standard_error : float
        Robust (sandwich) standard error of the logit.
    correlation : float
        Exchangeable working correlation.
    """

    estimate: float
    logit: float
    standard_error: float
    correlation: float


def logit(p: float) -> float:
    """Return log(p / (1 - p)) of a probability in (0, 1).

    >>> logit(0.5)
    0.0
    """
    return float(np.log(p / (1 - p)))


def expit(x: float) -> float:
    """Return 1 / (1 + exp(-x)).

    >>> expit(0.0)
    0.5
    """
    # scipy's form does not overflow for very negative x.
    return float(scipy.special.expit(x))


def logit_bounds(p: float, error: float, df: float, level: float) -> tuple[float, float]:
    """Return the t interval of a proportion in (0, 1) on the logit scale.

    Parameters
    ----------
    p, error : float
        Proportion and its standard error.
    df : float
        Degrees of freedom of the standard error.
    level : float
        Confidence level in (0, 1).

    Examples
    --------
    >>> low, high = logit_bounds(0.9, 0.05, 12, 0.95)
    >>> round(low, 3), round(high, 3)
    (0.728, 0.968)
    """
    # Delta method: the derivative of the logit is 1 / (p (1 - p)).
    half = float(scipy.special.stdtrit(df, (1 + level) / 2)) * error / (p * (1 - p))
    return expit(logit(p) - half), expit(logit(p) + half)


def gee_exchangeable(sums: Array, sizes: Array) -> tuple[GeeEstimate | None, str | None]:
    """Fit an intercept-only binomial GEE with exchangeable working correlation.

    Parameters
    ----------
    sums : ndarray of float, shape (m,)
        Number of successes per cluster. The overall proportion must lie inside (0, 1).
    sizes : ndarray of float, shape (m,)
        Number of observations per cluster, at least 1 each.

    Returns
    -------
    estimate : GeeEstimate or None
        None where the working correlation is too negative for the largest cluster.
    reason : str or None
        Why there is no estimate, or why its robust variance is 0.

    Notes
    -----
    With one mean for all clusters the solution has a closed form for a given correlation a. A
    cluster of n_i observations has the weight w_i = 1 / (1 + (n_i - 1) a), and

        mu = sum w_i S_i / sum w_i n_i,
        a  = mean product of Pearson residuals over pairs / their mean square,

    which are iterated to convergence. The variance is the sandwich estimator on the logit scale.

    Checked against: R 4.2 geepack `geese` (1e-6). statsmodels 0.15 `GEE` differs in the fourth
    digit of the correlation, because it uses another divisor.

    References
    ----------
    Liang K-Y, Zeger SL. Longitudinal data analysis using generalized linear models. Biometrika
    1986;73:13-22.

    Examples
    --------
    >>> fit, reason = gee_exchangeable(np.array([2.0, 0, 1, 3]), np.array([2.0, 1, 2, 4]))
    >>> round(fit.estimate, 3), round(fit.standard_error, 3), round(fit.correlation, 3)
    (0.724, 0.233, -0.274)
    """
    correlation = _working_correlation(sums, sizes)
    if correlation is None:
        return (
            None,
            "the working correlation is too negative for the largest patient: GEE does not exist",
        )
    weight = 1 / (1 + (sizes - 1) * correlation)
    mu = (weight * sums).sum() / (weight * sizes).sum()
    # Sandwich variance without the factor m / (m - 1), as in geepack.
    robust = np.sqrt((weight**2 * (sums - sizes * mu) ** 2).sum()) / (weight * sizes).sum()
    # Delta method: the derivative of the logit is 1 / (mu (1 - mu)).
    error = float(robust / (mu * (1 - mu)))
    reason = (
        None
        if error > 0
        else "every patient has the same share of right answers: the robust variance is 0"
    )
    return (
        GeeEstimate(
            estimate=float(mu),
            logit=logit(mu),
            standard_error=error,
            correlation=float(correlation),
        ),
        reason,
    )


def _working_correlation(sums: Array, sizes: Array) -> float | None:
    """Return the fixed point of `_next_correlation`; None below the largest cluster's limit."""
    if sizes.max() < 2:
        return 0.0
    # The correlation matrix of a cluster of n is positive definite for a > -1 / (n - 1).
    # The margin keeps the weights finite at the limit.
    correlation, least = 0.0, -(1 - 1e-9) / (sizes.max() - 1)
    for _ in range(MAX_ITERATIONS):
        previous, correlation = correlation, _next_correlation(correlation, sums, sizes)
        if abs(correlation - previous) < 1e-12:
            return correlation
        if correlation < least:
            break

    def residual(value: float) -> float:
        return _next_correlation(value, sums, sizes) - value

    # Negative correlations make the iteration oscillate about the solution or leave the admissible
    # range; the root is then bracketed.
    bracketed = residual(least) > 0 > residual(0.0)
    return float(scipy.optimize.brentq(residual, least, 0.0, xtol=1e-14)) if bracketed else None


def _next_correlation(correlation: float, sums: Array, sizes: Array) -> float:
    weight = 1 / (1 + (sizes - 1) * correlation)
    mu = (weight * sums).sum() / (weight * sizes).sum()
    # Sums of squares and of products of residuals from the cluster totals, since outcomes are 0/1.
    # (sum r)^2 - sum r^2 counts every pair twice, as does the divisor n (n - 1) below.
    squares = (sums * (1 - mu) ** 2 + (sizes - sums) * mu**2).sum()
    products = ((sums - sizes * mu) ** 2).sum() - squares
    return float((products / (sizes * (sizes - 1)).sum()) / (squares / sizes.sum()))

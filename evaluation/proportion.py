"""Tests and intervals of one proportion, paired proportions, and multiplicity corrections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from evaluation.clustered import ClusteredProportion, clustered_proportion
from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text, percent
from evaluation.noninferiority import Noninferiority, noninferiority
from evaluation.paired_proportions import McNemar, mcnemar
from evaluation.validation import Array, check_level, float_array, whole_number

__all__ = [
    "BinomialTest",
    "ClusteredProportion",
    "Interval",
    "McNemar",
    "Noninferiority",
    "adjust",
    "clustered_proportion",
    "exact_binomial_test",
    "mcnemar",
    "noninferiority",
    "proportion_interval",
]

ALTERNATIVES = {
    "greater": "one-sided (greater)",
    "less": "one-sided (less)",
    "two-sided": "two-sided",
}
# brentq's tolerance is absolute, and a bound may lie close to 0.
ROOT_TOLERANCE = 1e-14


@dataclass(frozen=True, kw_only=True)
class BinomialTest:
    """Exact binomial test of one proportion.

    Attributes
    ----------
    successes, trials : int
        Observed counts.
    estimate : float or None
        Observed proportion.
    p_value, mid_p_value : float or None
        Exact and mid-p P values on the side of the test.
    alternative : str
        "greater", "less" or "two-sided".
    low, high : float or None
        Clopper-Pearson bounds on the side of the test.
    critical_count : int or None
        Nearest count with P <= 1 - level.
    answers_to_flip : int or None
        Smallest number of answers that would have to change for the verdict at alpha = 1 - level to
        change.
    p0 : float
        Proportion under the null hypothesis.
    level : float
        Confidence level; alpha is 1 - level.
    method, unit : str
        Method and unit of analysis in words.
    reason : str or None
        Why the test is not estimable.
    """

    successes: int
    trials: int
    estimate: float | None
    p_value: float | None
    mid_p_value: float | None
    alternative: str
    low: float | None
    high: float | None
    critical_count: int | None
    answers_to_flip: int | None
    p0: float = 0.5
    level: float = 0.95
    method: str = "exact binomial"
    unit: str = "answer, taken as independent"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.p_value is None:
            return f"Exact binomial test {not_estimable(self.reason)}."
        side = ALTERNATIVES[self.alternative]
        bound = interval_text(self.low, self.high, self.level)
        return (
            f"{self.successes} of {self.trials} ({percent(self.estimate)}; {side} Clopper-Pearson"
            f" {bound}); exact binomial test against {decimal(self.p0, 2)}, {side},"
            f" {p_text(self.p_value)}, mid-p {p_text(self.mid_p_value)}; it assumes that answers"
            " are independent."
        )


def exact_binomial_test(
    successes: int, trials: int, p0: float = 0.5, alternative: str = "greater", level: float = 0.95
) -> BinomialTest:
    """Test a proportion against a fixed value exactly.

    Parameters
    ----------
    successes, trials : int
        Observed counts, 0 <= successes <= trials.
    p0 : float
        Proportion under the null hypothesis, in (0, 1).
    alternative : {"greater", "less", "two-sided"}
        Side of the test.
    level : float
        Confidence level in (0, 1); alpha is 1 - level.

    Returns
    -------
    BinomialTest
        With `reason` instead of numbers where there are no trials.

    Raises
    ------
    ValueError
        If the counts are not whole numbers or an argument is out of range.

    Notes
    -----
    The two-sided P value sums all counts that are no more probable than the observed one. The mid-p
    value counts the observed probability half; its two-sided form is twice the smaller tail. The
    interval is one-sided where the test is.

    Checked against: R 4.2 `binom.test` (P values to 1e-9 relative, bounds to 1e-9).

    References
    ----------
    Clopper CJ, Pearson ES. Biometrika 1934;26:404-413. Mid-p: Lancaster HO. J Am Stat Assoc
    1961;56:223-234.

    Examples
    --------
    The published reading study, 182 of 330 answers right:

    >>> test = exact_binomial_test(182, 330)
    >>> round(test.p_value, 4), test.critical_count, test.answers_to_flip
    (0.0346, 181, 2)
    """
    successes, trials = _checked_counts(successes, trials)
    check_level(level)
    if not 0 < p0 < 1:
        raise ValueError(f"the tested proportion is {p0:g}: it must lie between 0 and 1")
    if alternative not in ALTERNATIVES:
        raise ValueError(
            f"the alternative is {alternative!r}: it must be one of {', '.join(ALTERNATIVES)}"
        )
    if not trials:
        return BinomialTest(
            successes=0,
            trials=0,
            estimate=None,
            p_value=None,
            mid_p_value=None,
            alternative=alternative,
            low=None,
            high=None,
            critical_count=None,
            answers_to_flip=None,
            p0=p0,
            level=level,
            reason="there are no answers",
        )
    test = scipy.stats.binomtest(successes, trials, p0, alternative)
    bounds = test.proportion_ci(level, "exact")
    p_value = float(test.pvalue)
    critical, flips = _critical_count(successes, trials, p0, alternative, 1 - level, p_value)
    return BinomialTest(
        successes=successes,
        trials=trials,
        estimate=successes / trials,
        p_value=p_value,
        mid_p_value=_mid_p(successes, trials, p0, alternative),
        alternative=alternative,
        low=float(bounds.low),
        high=float(bounds.high),
        critical_count=critical,
        answers_to_flip=flips,
        p0=p0,
        level=level,
    )


def _checked_counts(successes: int, trials: int) -> tuple[int, int]:
    try:
        right, answered = whole_number(successes, "right"), whole_number(trials, "answered")
    except ValueError:
        # An impossible pair, so that both mistakes get the message below.
        right, answered = 1, 0
    if right > answered:
        raise ValueError(
            f"{successes} of {trials} is not a count: whole numbers with 0 <= right <= answered are"
            " needed"
        )
    return right, answered


def _mid_p(x: int, n: int, p0: float, alternative: str) -> float:
    half = 0.5 * scipy.stats.binom.pmf(x, n, p0)
    greater, less = (
        scipy.stats.binom.sf(x, n, p0) + half,
        scipy.stats.binom.cdf(x - 1, n, p0) + half,
    )
    return float(
        {"greater": greater, "less": less, "two-sided": min(1.0, 2 * min(greater, less))}[
            alternative
        ]
    )


def _p_values(n: int, p0: float, alternative: str) -> Array:
    """Return the P values of the counts 0 to n."""
    counts = np.arange(n + 1)
    if alternative == "greater":
        # sf(k) is P(X > k); a P value includes the observed count.
        return scipy.stats.binom.sf(counts - 1, n, p0)
    if alternative == "less":
        return scipy.stats.binom.cdf(counts, n, p0)
    mass = scipy.stats.binom.pmf(counts, n, p0)
    ordered = np.sort(mass)
    # R's relative tolerance for ties between probabilities (binom.test).
    return np.cumsum(ordered)[np.searchsorted(ordered, mass * (1 + 1e-7), side="right") - 1]


def _critical_count(
    x: int, n: int, p0: float, alternative: str, alpha: float, p: float
) -> tuple[int | None, int | None]:
    """Return the critical count on the side of `x`, and the answers that flip the verdict."""
    # The rounding of 1 - level must not move a count whose P is alpha itself.
    significant = _p_values(n, p0, alternative) <= alpha + 1e-12
    counts = np.arange(n + 1)
    # A two-sided test rejects at both ends, which n p0 separates.
    upper = counts[significant & (counts >= n * p0)] if alternative != "less" else counts[:0]
    lower = counts[significant & (counts <= n * p0)] if alternative != "greater" else counts[:0]
    ends = ([int(upper.min())] if len(upper) else []) + ([int(lower.max())] if len(lower) else [])
    nearest = min(ends, key=lambda end: abs(end - x)) if ends else None
    other = counts[~significant] if p <= alpha + 1e-12 else counts[significant]
    return nearest, (int(np.abs(other - x).min()) if len(other) else None)


def proportion_interval(
    successes: int, trials: int, method: str = "clopper-pearson", level: float = 0.95
) -> Interval:
    """Compute a two-sided confidence interval of one proportion.

    Parameters
    ----------
    successes, trials : int
        Observed counts, 0 <= successes <= trials.
    method : {"clopper-pearson", "wilson", "wilson-continuity", "jeffreys", "mid-p"}
        "jeffreys" is equal-tailed, with bound 0 or 1 where no or all trials succeed; "mid-p"
        inverts the one-sided mid-p test.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
        With `reason` instead of numbers where there are no trials.

    Raises
    ------
    ValueError
        If the counts are not whole numbers or the method is unknown.

    Notes
    -----
    Checked against: R 4.2 `binom.test` and `prop.test`, and scipy (1e-9). R's `prop.test` shrinks
    the continuity correction near x = n/2, where its bounds differ from "wilson-continuity".

    References
    ----------
    Newcombe RG. Two-sided confidence intervals for the single proportion: comparison of seven
    methods. Stat Med 1998;17:857-872 (methods 3 to 6). Jeffreys: Brown LD, Cai TT, DasGupta A.
    Stat Sci 2001;16:101-133.

    Examples
    --------
    >>> interval = proportion_interval(182, 330)
    >>> round(interval.low, 3), round(interval.high, 3)
    (0.496, 0.606)
    >>> round(proportion_interval(0, 20, "wilson").high, 3)
    0.161
    """
    if method not in _INTERVALS:
        raise ValueError(
            f"the interval method is {method!r}: it must be one of {', '.join(_INTERVALS)}"
        )
    x, n = _checked_counts(successes, trials)
    check_level(level)
    if not n:
        return Interval.without_bounds(level, method, "there are no answers", unit="answer")
    # Rounding of the quantiles can leave [0, 1] by one unit in the last place.
    low, high = _INTERVALS[method](x, n, (1 - level) / 2)
    return Interval(
        estimate=x / n,
        # Newcombe (method 4) and Brown et al. (Jeffreys) fix the bound at x = 0 and x = n.
        low=0.0 if x == 0 else max(0.0, float(low)),
        high=1.0 if x == n else min(1.0, float(high)),
        level=level,
        method=method,
        unit="answer",
    )


def _clopper_pearson(x: int, n: int, tail: float) -> tuple[float, float]:
    # scipy's beta quantile is nan where a shape is 0. isf(tail) keeps the digits that
    # ppf(1 - tail) would lose.
    low = scipy.stats.beta.ppf(tail, x, n - x + 1) if x else 0.0
    high = scipy.stats.beta.isf(tail, x + 1, n - x) if x < n else 1.0
    return low, high


def _jeffreys(x: int, n: int, tail: float) -> tuple[float, float]:
    return scipy.stats.beta.ppf(tail, x + 0.5, n - x + 0.5), scipy.stats.beta.isf(
        tail, x + 0.5, n - x + 0.5
    )


def _wilson(x: int, n: int, tail: float) -> tuple[float, float]:
    z, p = scipy.stats.norm.isf(tail), x / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return centre - half, centre + half


def _wilson_continuity(x: int, n: int, tail: float) -> tuple[float, float]:
    """Return Newcombe's method 4 (1998)."""
    z, p = scipy.stats.norm.isf(tail), x / n
    q, scale = 1 - p, 2 * (n + z**2)
    # The radicands are negative at p = 0 or 1 if z^2 < 2, where the bound is 0 or 1 anyway.
    low = (
        2 * n * p + z**2 - 1 - z * np.sqrt(max(0.0, z**2 - 2 - 1 / n + 4 * p * (n * q + 1)))
    ) / scale
    high = (
        2 * n * p + z**2 + 1 + z * np.sqrt(max(0.0, z**2 + 2 - 1 / n + 4 * p * (n * q - 1)))
    ) / scale
    return low, high


def _mid_p_interval(x: int, n: int, tail: float) -> tuple[float, float]:
    def upper_tail(p: float) -> float:
        return scipy.stats.binom.sf(x, n, p) + 0.5 * scipy.stats.binom.pmf(x, n, p) - tail

    def lower_tail(p: float) -> float:
        return scipy.stats.binom.cdf(x - 1, n, p) + 0.5 * scipy.stats.binom.pmf(x, n, p) - tail

    # The mid-p tail of x = n is 1/2 at p = 1, which still brackets a root because tail < 1/2.
    low = scipy.optimize.brentq(upper_tail, 0, 1, xtol=ROOT_TOLERANCE) if x else 0.0
    high = scipy.optimize.brentq(lower_tail, 0, 1, xtol=ROOT_TOLERANCE) if x < n else 1.0
    return low, high


_INTERVALS: dict[str, Callable[[int, int, float], tuple[float, float]]] = {
    "clopper-pearson": _clopper_pearson,
    "wilson": _wilson,
    "wilson-continuity": _wilson_continuity,
    "jeffreys": _jeffreys,
    "mid-p": _mid_p_interval,
}


def adjust(p_values: Sequence[float | None], method: str = "holm") -> Array:
    """Adjust P values for multiple testing.

    Parameters
    ----------
    p_values : sequence of float or None, length n
        P values in [0, 1]. Missing values (None or nan) stay nan and are not counted as tests.
    method : {"holm", "hochberg", "bonferroni", "bh", "by"}
        The first three control the family-wise error rate, "bh" and "by" the false discovery rate.

    Returns
    -------
    ndarray of float64, shape (n,)
        Adjusted P values in the order given.

    Raises
    ------
    ValueError
        If a value lies outside [0, 1] or the method is unknown.

    Notes
    -----
    Checked against: R 4.2 `p.adjust` (1e-12) and statsmodels 0.15 `multipletests` (1e-9).

    References
    ----------
    Holm S. Scand J Stat 1979;6:65-70. Hochberg Y. Biometrika 1988;75:800-802. Benjamini Y,
    Hochberg Y. J R Stat Soc B 1995;57:289-300. Benjamini Y, Yekutieli D. Ann Stat
    2001;29:1165-1188.

    Examples
    --------
    >>> adjust([0.01, 0.04, 0.03]).round(2)
    array([0.03, 0.06, 0.06])
    """
    values = float_array(p_values, "p-values")
    if values.ndim != 1 or ((values < 0) | (values > 1)).any():
        raise ValueError("p-values must be a list of numbers between 0 and 1")
    known = ~np.isnan(values)
    result = np.full(len(values), np.nan)
    # Tests that gave no P value do not count, as in R.
    result[known] = _adjusted(values[known], method)
    return result


def _adjusted(p: Array, method: str) -> Array:
    n = len(p)
    order = np.argsort(p, kind="stable")
    rank = np.arange(1, n + 1)
    # Benjamini and Yekutieli 2001: the harmonic sum covers any dependence between the tests.
    harmonic = (1 / rank).sum()
    factor = {
        "bonferroni": n,
        "holm": n - rank + 1,
        "hochberg": n - rank + 1,
        "bh": n / rank,
        "by": harmonic * n / rank,
    }
    if method not in factor:
        raise ValueError(f"the adjustment is {method!r}: it must be one of {', '.join(factor)}")
    scaled = p[order] * factor[method]
    # Step-down procedures take running maxima from the smallest P, step-up ones running minima from
    # the largest.
    if method == "holm":
        scaled = np.maximum.accumulate(scaled)
    elif method != "bonferroni":
        scaled = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(1.0, scaled)
    return adjusted

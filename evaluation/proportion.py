"""One proportion, tested and bounded exactly; paired proportions; corrections for several tests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq

from evaluation.clustered import ClusteredProportion, clustered_proportion
from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text, percent
from evaluation.validation import Array, check_level, float_array, whole_number

__all__ = [
    "BinomialTest",
    "ClusteredProportion",
    "Interval",
    "McNemar",
    "adjust",
    "clustered_proportion",
    "exact_binomial_test",
    "mcnemar",
    "proportion_interval",
]

ALTERNATIVES = ("greater", "less", "two-sided")
UNLIMITED = 1e-14


@dataclass(frozen=True, kw_only=True)
class BinomialTest:
    """An exact binomial test.

    `critical_count` is the count from which P <= 1 - level; `answers_to_flip` how many answers
    would have to change for the verdict at that alpha to change. The interval follows the side of
    the test (Clopper-Pearson).
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
        """For a results section."""
        if self.p_value is None:
            return f"Exact binomial test {not_estimable(self.reason)}."
        side = {
            "greater": "one-sided (greater)",
            "less": "one-sided (less)",
            "two-sided": "two-sided",
        }[self.alternative]
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
    """Exact test of a proportion against `p0`.

    Two-sided: all counts no more probable than the one seen (R `binom.test`); mid-p counts the
    observed value half, its two-sided form is twice the smaller tail. The interval is one-sided
    where the test is, as in R.
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
    test = stats.binomtest(successes, trials, p0, alternative)
    bounds = test.proportion_ci(level, "exact")
    critical, flips = _critical(successes, trials, p0, alternative, 1 - level, float(test.pvalue))
    return BinomialTest(
        successes=successes,
        trials=trials,
        estimate=successes / trials,
        p_value=float(test.pvalue),
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
        right, answered = 1, 0
    if right > answered:
        raise ValueError(
            f"{successes} of {trials} is not a count: whole numbers with 0 <= right <= answered are"
            " needed"
        )
    return right, answered


def _mid_p(x: int, n: int, p0: float, alternative: str) -> float:
    half = 0.5 * stats.binom.pmf(x, n, p0)
    greater, less = stats.binom.sf(x, n, p0) + half, stats.binom.cdf(x - 1, n, p0) + half
    return float(
        {"greater": greater, "less": less, "two-sided": min(1.0, 2 * min(greater, less))}[
            alternative
        ]
    )


def _p_values(n: int, p0: float, alternative: str) -> Array:
    """P of every count 0..n."""
    counts = np.arange(n + 1)
    if alternative == "greater":
        return stats.binom.sf(counts - 1, n, p0)
    if alternative == "less":
        return stats.binom.cdf(counts, n, p0)
    mass = stats.binom.pmf(counts, n, p0)
    ordered = np.sort(mass)
    return np.cumsum(ordered)[np.searchsorted(ordered, mass * (1 + 1e-7), side="right") - 1]


def _critical(
    x: int, n: int, p0: float, alternative: str, alpha: float, p: float
) -> tuple[int | None, int | None]:
    """The critical count on the side of `x`, and the least number of answers that turns the
    verdict.
    """
    # The rounding of 1 - level must not move a count whose P is alpha itself.
    significant = _p_values(n, p0, alternative) <= alpha + 1e-12
    counts = np.arange(n + 1)
    upper = counts[significant & (counts >= n * p0)] if alternative != "less" else counts[:0]
    lower = counts[significant & (counts <= n * p0)] if alternative != "greater" else counts[:0]
    ends = ([int(upper.min())] if len(upper) else []) + ([int(lower.max())] if len(lower) else [])
    nearest = min(ends, key=lambda end: abs(end - x)) if ends else None
    other = counts[~significant] if p <= alpha + 1e-12 else counts[significant]
    return nearest, (int(np.abs(other - x).min()) if len(other) else None)


def proportion_interval(
    successes: int, trials: int, method: str = "clopper-pearson", level: float = 0.95
) -> Interval:
    """Two-sided interval of one proportion:

    `clopper-pearson`, `wilson`, `wilson-continuity`, `jeffreys` (equal-tailed, 0 or 1 at the ends)
    or `mid-p` (inversion of the one-sided mid-p test).
    """
    if method not in _INTERVALS:
        raise ValueError(
            f"the interval method is {method!r}: it must be one of {', '.join(_INTERVALS)}"
        )
    x, n = _checked_counts(successes, trials)
    check_level(level)
    if not n:
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=level,
            method=method,
            reason="there are no answers",
            unit="answer",
        )
    low, high = _INTERVALS[method](x, n, (1 - level) / 2)
    return Interval(
        estimate=x / n,
        low=0.0 if x == 0 else max(0.0, float(low)),
        high=1.0 if x == n else min(1.0, float(high)),
        level=level,
        method=method,
        reason=None,
        unit="answer",
    )


def _clopper_pearson(x: int, n: int, tail: float) -> tuple[float, float]:
    return (stats.beta.ppf(tail, x, n - x + 1) if x else 0.0), (
        stats.beta.isf(tail, x + 1, n - x) if x < n else 1.0
    )


def _jeffreys(x: int, n: int, tail: float) -> tuple[float, float]:
    return stats.beta.ppf(tail, x + 0.5, n - x + 0.5), stats.beta.isf(tail, x + 0.5, n - x + 0.5)


def _wilson(x: int, n: int, tail: float) -> tuple[float, float]:
    z, p = stats.norm.isf(tail), x / n
    centre, half = (
        (p + z**2 / (2 * n)) / (1 + z**2 / n),
        z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n),
    )
    return centre - half, centre + half


def _wilson_continuity(x: int, n: int, tail: float) -> tuple[float, float]:
    """Newcombe 1998, method 4."""
    z, p = stats.norm.isf(tail), x / n
    q, scale = 1 - p, 2 * (n + z**2)
    low = (
        2 * n * p + z**2 - 1 - z * np.sqrt(max(0.0, z**2 - 2 - 1 / n + 4 * p * (n * q + 1)))
    ) / scale
    high = (
        2 * n * p + z**2 + 1 + z * np.sqrt(max(0.0, z**2 + 2 - 1 / n + 4 * p * (n * q - 1)))
    ) / scale
    return low, high


def _mid_p_interval(x: int, n: int, tail: float) -> tuple[float, float]:
    def above(p: float) -> float:
        return stats.binom.sf(x, n, p) + 0.5 * stats.binom.pmf(x, n, p) - tail

    def below(p: float) -> float:
        return stats.binom.cdf(x - 1, n, p) + 0.5 * stats.binom.pmf(x, n, p) - tail

    return (brentq(above, 0, 1, xtol=UNLIMITED) if x else 0.0), (
        brentq(below, 0, 1, xtol=UNLIMITED) if x < n else 1.0
    )


_INTERVALS: dict[str, Callable[[int, int, float], tuple[float, float]]] = {
    "clopper-pearson": _clopper_pearson,
    "wilson": _wilson,
    "wilson-continuity": _wilson_continuity,
    "jeffreys": _jeffreys,
    "mid-p": _mid_p_interval,
}


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Paired proportions:

    `b` pairs in which only the first is right, `c` in which only the second is. All P two-sided.
    """

    b: int
    c: int
    exact_p_value: float
    mid_p_value: float
    chi_square: float | None
    chi_square_p_value: float | None
    corrected_chi_square: float | None
    corrected_p_value: float | None
    method: str = "McNemar, exact and mid-p, two-sided"
    unit: str = "pair, taken as independent"
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        if not self.b + self.c:
            return "The two agree on every pair (McNemar's test: no discordant pairs)."
        return (
            f"Discordant pairs {self.b} against {self.c}; McNemar's exact test, two-sided,"
            f" {p_text(self.exact_p_value)} (mid-p {p_text(self.mid_p_value)})."
        )


def mcnemar(b: int, c: int) -> McNemar:
    """McNemar's test on the discordant pairs: exact binomial, mid-p = 2 P(X <= min) - P(X = min)
    (Fagerland 2013), chi-square with and without Edwards' correction (taken as 0 where b = c, as R
    does).
    """
    # Small numpy integers would overflow in sums and squares.
    b, c = (
        whole_number(b, "the number of discordant pairs"),
        whole_number(c, "the number of discordant pairs"),
    )
    n, least = b + c, min(b, c)
    tail = float(stats.binom.cdf(least, n, 0.5))
    exact, mid = min(1.0, 2 * tail), float(2 * tail - stats.binom.pmf(least, n, 0.5))
    if not n:
        return McNemar(
            b=0,
            c=0,
            exact_p_value=exact,
            mid_p_value=mid,
            chi_square=None,
            chi_square_p_value=None,
            corrected_chi_square=None,
            corrected_p_value=None,
            reason="no discordant pairs: the chi-square forms do not exist",
        )
    plain, corrected = (b - c) ** 2 / n, max(0.0, abs(b - c) - 1) ** 2 / n
    return McNemar(
        b=b,
        c=c,
        exact_p_value=exact,
        mid_p_value=mid,
        chi_square=plain,
        chi_square_p_value=float(stats.chi2.sf(plain, 1)),
        corrected_chi_square=corrected,
        corrected_p_value=float(stats.chi2.sf(corrected, 1)),
    )


def adjust(p_values: Sequence[float | None], method: str = "holm") -> Array:
    """P-values adjusted for their number, in the order given [n]:

    `holm`, `hochberg`, `bonferroni` (family-wise error), `bh`, `by` (false discovery rate), as R's
    `p.adjust`: what could not be estimated (None or nan) stays nan and is not counted.
    """
    given = float_array(p_values, "p-values")
    if given.ndim != 1 or ((given < 0) | (given > 1)).any():
        raise ValueError("p-values must be a list of numbers between 0 and 1")
    known = ~np.isnan(given)
    result = np.full(len(given), np.nan)
    result[known] = _adjusted(given[known], method)
    return result


def _adjusted(p: Array, method: str) -> Array:
    n = len(p)
    order = np.argsort(p, kind="stable")
    rank = np.arange(1, n + 1)
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
    if method == "holm":
        scaled = np.maximum.accumulate(scaled)
    elif method != "bonferroni":
        scaled = np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty(n)
    adjusted[order] = np.minimum(1.0, scaled)
    return adjusted

"""Sample size of a reading study: exact power of the one-sided binomial test.

Exact power is not monotone in the sample size (a saw-tooth): both the first size that reaches the
power and the first size from which all larger ones do are reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import decimal, not_estimable
from evaluation.validation import Array, whole_number

# The stable size is searched up to at least this n; the published design (p1 = .55) needs 654.
SEARCHED_SIZES = 4_000
LARGEST_SIZE = 2_000_000


class Power(float):
    """Exact power of a one-sided binomial test: a float with the test's parameters.

    Attributes
    ----------
    n : int
        Number of independent answers.
    p1, p0 : float
        True proportion and proportion under the null hypothesis.
    alpha : float
        Nominal one-sided level.
    critical_count : int or None
        Smallest significant count; None where no count is significant.
    size : float
        Actual level of the test, P(X >= critical_count | p0).
    """

    n: int
    p1: float
    p0: float
    alpha: float
    critical_count: int | None
    size: float

    @property
    def power(self) -> float:
        """Return the power as a plain float."""
        return float(self)

    def sentence(self) -> str:
        """Return the result as a sentence for a methods section."""
        if self.critical_count is None:
            return (
                f"With {self.n} answers no result reaches one-sided alpha {decimal(self.alpha)}:"
                " the power is 0."
            )
        return (
            f"With {self.n} independent answers the one-sided exact test at alpha"
            f" {decimal(self.alpha)} needs {self.critical_count} right and has power"
            f" {decimal(float(self))} if the true share is {decimal(self.p1)} (chance"
            f" {decimal(self.p0)})."
        )


@dataclass(frozen=True, kw_only=True)
class SampleSize:
    """Number of answers for a one-sided exact binomial test.

    Attributes
    ----------
    first_n, stable_n : int or None
        Smallest number of answers that reaches the power, and smallest number from which every
        larger one does; both multiplied by the design effect and rounded up.
    first_effective_n, stable_effective_n : int or None
        The same numbers for independent answers.
    first_critical, stable_critical : int or None
        Critical counts at the effective numbers.
    first_power, stable_power : float or None
        Exact power at the effective numbers.
    p1, p0, alpha, power, design_effect : float
        Arguments of `binomial_sample_size`.
    method, unit : str
        Method and unit of analysis in words.
    reason : str or None
        Why there is no sample size.
    """

    first_n: int | None = None
    first_critical: int | None = None
    first_power: float | None = None
    stable_n: int | None = None
    stable_critical: int | None = None
    stable_power: float | None = None
    first_effective_n: int | None = None
    stable_effective_n: int | None = None
    p1: float = 0.55
    p0: float = 0.5
    alpha: float = 0.05
    power: float = 0.8
    design_effect: float = 1.0
    method: str = "exact binomial, one-sided (greater)"
    unit: str = "answer"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a methods section."""
        if self.stable_n is None:
            return f"Sample size {not_estimable(self.reason)}."
        effect = (
            ""
            if self.design_effect == 1
            else (
                f", multiplied by a design effect of {self.design_effect:.2f} for several answers a"
                " patient"
            )
        )
        return (
            f"{self.stable_n} answers give power of at least {decimal(self.power, 2)} to find"
            f" {decimal(self.p1)} against {decimal(self.p0)} (one-sided exact binomial test, alpha"
            f" {decimal(self.alpha)}{effect}), and so does every larger number; the first number"
            f" that does is {self.first_n}."
        )


def _check_design(p1: float, p0: float, alpha: float) -> None:
    if not 0 < p0 < 1 or not 0 <= p1 <= 1:
        raise ValueError(f"the shares are {p1:g} and {p0:g}: they must lie between 0 and 1")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha:g}: it must lie between 0 and 1")


def critical_counts(n: Array, p0: float, alpha: float) -> Array:
    """Return the smallest x with P(X >= x | n, p0) <= alpha; n + 1 where no count has.

    Parameters
    ----------
    n : ndarray of int, shape (k,)
        Numbers of answers.
    p0 : float
        Proportion under the null hypothesis.
    alpha : float
        One-sided level.

    Returns
    -------
    ndarray of int64, shape (k,)

    Examples
    --------
    >>> critical_counts(np.array([3, 330]), 0.5, 0.05)
    array([  4, 181])
    """
    # isf gives the smallest x with P(X > x) <= alpha. Its rounding can be off by one at equality,
    # so both neighbours are tested.
    x = scipy.stats.binom.isf(alpha, n, p0).astype(np.int64) + 1
    x = np.where(scipy.stats.binom.sf(x - 2, n, p0) <= alpha, x - 1, x)
    return np.where(scipy.stats.binom.sf(x - 1, n, p0) <= alpha, x, x + 1)


def binomial_power(n: int, p1: float, p0: float = 0.5, alpha: float = 0.05) -> Power:
    """Compute the exact power of the one-sided (greater) binomial test.

    Parameters
    ----------
    n : int
        Number of independent answers, at least 1.
    p1 : float
        True proportion of right answers, in [0, 1].
    p0 : float
        Proportion under the null hypothesis, in (0, 1).
    alpha : float
        One-sided level, in (0, 1).

    Returns
    -------
    Power

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Power = P(X >= c | n, p1), where c is the smallest count with P(X >= c | n, p0) <= alpha.

    Checked against: R 4.2 `pbinom` and a sum of exact binomial coefficients (1e-9).

    References
    ----------
    Chernick MR, Liu CY. The saw-toothed behavior of power versus sample size and software
    solutions. Am Stat 2002;56:149-155.

    Examples
    --------
    >>> power = binomial_power(330, 0.575)
    >>> round(power, 3), power.critical_count, round(power.size, 4)
    (0.848, 181, 0.0439)
    """
    _check_design(p1, p0, alpha)
    n = whole_number(n, "the number of answers", 1)
    critical = int(critical_counts(np.array([n]), p0, alpha)[0])
    reachable = critical <= n
    result = Power(scipy.stats.binom.sf(critical - 1, n, p1) if reachable else 0.0)
    # Set afterwards, because float.__new__ accepts the value only.
    result.n, result.p1, result.p0, result.alpha = n, p1, p0, alpha
    result.critical_count = critical if reachable else None
    result.size = float(scipy.stats.binom.sf(critical - 1, n, p0)) if reachable else 0.0
    return result


def binomial_sample_size(
    p1: float, p0: float = 0.5, alpha: float = 0.05, power: float = 0.8, design_effect: float = 1.0
) -> SampleSize:
    """Find the number of answers for a one-sided exact binomial test.

    Parameters
    ----------
    p1 : float
        Expected proportion of right answers; must exceed `p0`.
    p0 : float
        Proportion under the null hypothesis, in (0, 1).
    alpha : float
        One-sided level, in (0, 1).
    power : float
        Power to reach, in (0, 1).
    design_effect : float
        Variance inflation for several answers per patient, at least 1:
        1 + (mean answers per patient - 1) x intraclass correlation.

    Returns
    -------
    SampleSize
        With `reason` instead of numbers where p1 <= p0, or where the size exceeds two million.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Sizes from 1 to max(4,000, 1.5 x normal approximation + 200) are enumerated. The stable size is
    one more than the largest enumerated size that misses the power.

    Checked against: enumeration of all sizes with R 4.2 `pbinom` (counts exact, power to 1e-9).

    References
    ----------
    Chernick MR, Liu CY. The saw-toothed behavior of power versus sample size and software
    solutions. Am Stat 2002;56:149-155. Design effect: Kish L. Survey Sampling. Wiley 1965.

    Examples
    --------
    >>> size = binomial_sample_size(0.6)
    >>> size.first_n, size.stable_n, round(size.stable_power, 3)
    (158, 169, 0.823)
    """
    _check_design(p1, p0, alpha)
    if not 0 < power < 1:
        raise ValueError(f"the power is {power:g}: it must lie between 0 and 1")
    if not 1 <= design_effect < np.inf:
        raise ValueError(
            f"the design effect is {design_effect:g}: it is 1 for independent answers and larger"
            " for clustered ones"
        )
    settings: dict[str, Any] = {
        "p1": p1,
        "p0": p0,
        "alpha": alpha,
        "power": power,
        "design_effect": design_effect,
    }
    if p1 <= p0:
        return SampleSize(reason=f"the expected share {p1:g} does not lie above {p0:g}", **settings)
    return _search_sizes(settings)


def _search_sizes(settings: dict[str, Any]) -> SampleSize:
    """Return the smallest and the stable size of a design with p1 > p0."""
    p1, p0, alpha, power = (settings[name] for name in ("p1", "p0", "alpha", "power"))
    normal = _normal_sample_size(p1, p0, alpha, power)
    # Beyond this limit the saw-tooth no longer falls below the power.
    limit = max(SEARCHED_SIZES, int(np.ceil(1.5 * normal + 200)))
    if limit > LARGEST_SIZE:
        return SampleSize(
            reason=f"about {normal:.0f} answers would be needed: no reading study is that large",
            **settings,
        )
    sizes = np.arange(1, limit + 1)
    # One vectorised pass over all sizes instead of a search per size.
    critical = critical_counts(sizes, p0, alpha)
    powers = scipy.stats.binom.sf(critical - 1, sizes, p1)
    sufficient = np.flatnonzero(powers >= power)
    insufficient = np.flatnonzero(powers < power)
    first = int(sufficient[0])
    stable = int(insufficient[-1]) + 1 if len(insufficient) else 0
    # Rounding to nine digits keeps a product such as 100 x 1.1 from being rounded up to 111.
    multiplied = [
        int(np.ceil(round((index + 1) * settings["design_effect"], 9))) for index in (first, stable)
    ]
    return SampleSize(
        first_n=multiplied[0],
        first_critical=int(critical[first]),
        first_power=float(powers[first]),
        stable_n=multiplied[1],
        stable_critical=int(critical[stable]),
        stable_power=float(powers[stable]),
        first_effective_n=first + 1,
        stable_effective_n=stable + 1,
        **settings,
    )


def _normal_sample_size(p1: float, p0: float, alpha: float, power: float) -> float:
    # Used for the limit of the search only; the sizes reported are exact.
    z = scipy.stats.norm.isf(alpha) * np.sqrt(p0 * (1 - p0)) + scipy.stats.norm.isf(
        1 - power
    ) * np.sqrt(p1 * (1 - p1))
    return float((z / (p1 - p0)) ** 2)

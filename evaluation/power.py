"""How many cases a reading study needs: exact power of the one-sided binomial test, with its
saw-tooth and the design effect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evaluation.intervals import decimal, not_estimable
from evaluation.validation import Array, whole_number

# "Stable" is judged over all larger studies up to at least this n (DEFINITIONS' 654 for .55 was).
SEARCHED = 4_000
LARGEST = 2_000_000


class Power(float):
    """The exact power of a one-sided binomial test; a float that knows the test.

    `size` is the level the test really has.
    """

    n: int
    p1: float
    p0: float
    alpha: float
    critical_count: int | None
    size: float

    @property
    def power(self) -> float:
        """The same number, by name."""
        return float(self)

    def sentence(self) -> str:
        """For a methods section."""
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
    """Answers needed.

    `first_n` is the smallest number that reaches the power, `stable_n` the smallest from which
    every larger number does. Critical counts and powers belong to the independent numbers
    `first_effective_n` and `stable_effective_n`, of which the two `n` are the design effect's
    multiples, rounded up.
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
        """For a methods section."""
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


def _checked(p1: float, p0: float, alpha: float) -> None:
    if not 0 < p0 < 1 or not 0 <= p1 <= 1:
        raise ValueError(f"the shares are {p1:g} and {p0:g}: they must lie between 0 and 1")
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha:g}: it must lie between 0 and 1")


def critical_counts(n: Array, p0: float, alpha: float) -> Array:
    """Smallest x with P(X >= x | n, p0) <= alpha for each n; n + 1 where none has."""
    # isf gives the smallest x with P(X > x) <= alpha; rounding there is repaired by looking at both
    # neighbours.
    x = stats.binom.isf(alpha, n, p0).astype(np.int64) + 1
    x = np.where(stats.binom.sf(x - 2, n, p0) <= alpha, x - 1, x)
    return np.where(stats.binom.sf(x - 1, n, p0) <= alpha, x, x + 1)


def binomial_power(n: int, p1: float, p0: float = 0.5, alpha: float = 0.05) -> Power:
    """Exact power of the one-sided (greater) binomial test with `n` independent answers when the
    true share is `p1`.
    """
    _checked(p1, p0, alpha)
    n = whole_number(n, "the number of answers", 1)
    critical = int(critical_counts(np.array([n]), p0, alpha)[0])
    reachable = critical <= n
    result = Power(stats.binom.sf(critical - 1, n, p1) if reachable else 0.0)
    result.n, result.p1, result.p0, result.alpha = n, p1, p0, alpha
    result.critical_count = critical if reachable else None
    result.size = float(stats.binom.sf(critical - 1, n, p0)) if reachable else 0.0
    return result


def binomial_sample_size(
    p1: float, p0: float = 0.5, alpha: float = 0.05, power: float = 0.8, design_effect: float = 1.0
) -> SampleSize:
    """Smallest n whose exact one-sided power reaches `power`, and smallest n from which all larger
    do, times the design effect 1 + (mean answers a patient - 1) x ICC. `p1` must lie above `p0`, or
    no n is enough (`reason`).
    """
    _checked(p1, p0, alpha)
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
    z = stats.norm.isf(alpha) * np.sqrt(p0 * (1 - p0)) + stats.norm.isf(1 - power) * np.sqrt(
        p1 * (1 - p1)
    )
    normal = (z / (p1 - p0)) ** 2
    limit = max(SEARCHED, int(np.ceil(1.5 * normal + 200)))
    if limit > LARGEST:
        return SampleSize(
            reason=f"about {normal:.0f} answers would be needed: no reading study is that large",
            **settings,
        )
    sizes = np.arange(1, limit + 1)
    critical = critical_counts(sizes, p0, alpha)
    reached = stats.binom.sf(critical - 1, sizes, p1)
    enough = np.flatnonzero(reached >= power)
    short = np.flatnonzero(reached < power)
    first, stable = int(enough[0]), int(short[-1]) + 1 if len(short) else 0
    multiplied = [int(np.ceil(round((index + 1) * design_effect, 9))) for index in (first, stable)]
    return SampleSize(
        first_n=multiplied[0],
        first_critical=int(critical[first]),
        first_power=float(reached[first]),
        stable_n=multiplied[1],
        stable_critical=int(critical[stable]),
        stable_power=float(reached[stable]),
        first_effective_n=first + 1,
        stable_effective_n=stable + 1,
        **settings,
    )

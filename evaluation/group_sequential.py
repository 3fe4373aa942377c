"""Significance levels of planned interim analyses (group-sequential tests with alpha spending)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import scipy

from evaluation.validation import Array, whole_number

# Nodes of the integral over the statistic of a look, and the lowest value of that statistic.
_NODES = 250
_LOWEST = -9.0
_HIGHEST = 40.0


def _obrien_fleming_spending(time: float, alpha: float) -> float:
    return float(2 * scipy.stats.norm.sf(scipy.stats.norm.isf(alpha / 2) / np.sqrt(time)))


def _pocock_spending(time: float, alpha: float) -> float:
    return float(alpha * np.log(1 + (np.e - 1) * time))


_SPENDING: dict[str, Callable[[float, float], float]] = {
    "obrien_fleming": _obrien_fleming_spending,
    "pocock": _pocock_spending,
}


def nominal_levels(looks: int, alpha: float, spending: str = "obrien_fleming") -> tuple[float, ...]:
    """Compute the one-sided significance level of each of several equally spaced looks.

    Parameters
    ----------
    looks : int
        Number of analyses, the final one included, at least 1.
    alpha : float
        One-sided level over all looks, in (0, .5).
    spending : {"obrien_fleming", "pocock"}
        Alpha-spending function of Lan and DeMets that approximates the named boundary.

    Returns
    -------
    tuple of float, length looks
        The level at which the P value of each look is significant.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    With information time t_k = k / looks, spending a(t) = 2 - 2 Phi(z_{alpha/2} / sqrt(t))
    (O'Brien-Fleming type) or alpha ln(1 + (e - 1) t) (Pocock type). The boundary of look k solves
    P(no earlier crossing, Z_k > b_k) = a(t_k) - a(t_{k-1}) for a Brownian motion without drift, by
    recursive integration.

    Checked against: the boundaries of five looks at one-sided .025 that Reboussin et al. print.

    References
    ----------
    Lan KKG, DeMets DL. Discrete sequential boundaries for clinical trials. Biometrika
    1983;70:659-663. Reboussin DM, DeMets DL, Kim K, Lan KKG. Control Clin Trials 2000;21:190-207.

    Examples
    --------
    >>> [round(level, 4) for level in nominal_levels(2, 0.05)]
    [0.0056, 0.0482]
    """
    looks = whole_number(looks, "the number of looks", 1)
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha is {alpha:g}: it must lie between 0 and .5")
    if spending not in _SPENDING:
        raise ValueError(f"the spending is {spending!r}: it must be one of {', '.join(_SPENDING)}")
    if looks == 1:
        return (alpha,)
    spend, step = _SPENDING[spending], 1 / looks
    spent, levels = 0.0, []
    # Before the first look all mass lies at 0, the start of the Brownian motion.
    points, masses = np.zeros(1), np.ones(1)
    for number in range(1, looks + 1):
        time = number * step
        total = alpha if number == looks else spend(time, alpha)
        bound = _boundary(points, masses, step, np.sqrt(time), total - spent)
        spent = total
        levels.append(float(scipy.stats.norm.sf(bound)))
        points, masses = _continue(points, masses, step, np.sqrt(time), bound)
    return tuple(levels)


def _boundary(points: Array, masses: Array, step: float, scale: float, increment: float) -> float:
    """Return the boundary on the scale of Z that is crossed with the probability `increment`."""

    def excess(bound: float) -> float:
        beyond = scipy.special.ndtr((points - bound * scale) / np.sqrt(step))
        return float((masses * beyond).sum() - increment)

    return float(scipy.optimize.brentq(excess, _LOWEST, _HIGHEST, xtol=1e-10))


@cache
def _quadrature() -> tuple[Array, Array]:
    """Return nodes and weights on [-1, 1]; computing them is slow."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    return nodes, weights


def _continue(
    points: Array, masses: Array, step: float, scale: float, bound: float
) -> tuple[Array, Array]:
    """Return nodes and probability masses of the motion below the boundary of a look."""
    nodes, weights = _quadrature()
    low, high = _LOWEST * scale, bound * scale
    at = low + (nodes + 1) / 2 * (high - low)
    density = (
        np.exp(-((at[:, None] - points) ** 2) / (2 * step)) @ masses / np.sqrt(2 * np.pi * step)
    )
    return at, density * weights * (high - low) / 2

"""Non-inferiority of a proportion, against a fixed value or against another proportion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import decimal, not_estimable, p_text, percent
from evaluation.validation import Array, check_level, cluster_codes, float_array


@dataclass(frozen=True, kw_only=True)
class Noninferiority:
    """Test whether a proportion is not worse than a reference by a margin or more.

    Attributes
    ----------
    estimate : float or None
        Proportion minus the reference.
    low : float or None
        One-sided lower confidence bound of `estimate`.
    p_value : float or None
        One-sided P of the hypothesis that `estimate` is at most -margin.
    margin, level : float
        Margin, and level of the bound.
    first, reference : float or None
        The proportion, and what it is compared with.
    clusters : int or None
        Number of patients; None where answers are taken as independent.
    method : str
        Method in words.
    reason : str or None
        Why there is no test.
    """

    estimate: float | None
    low: float | None
    p_value: float | None
    margin: float
    level: float
    first: float | None = None
    reference: float | None = None
    clusters: int | None = None
    method: str = ""
    reason: str | None = None

    @property
    def noninferior(self) -> bool | None:
        """Return whether the bound lies above -margin; None where there is no bound."""
        return None if self.low is None else self.low > -self.margin

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.low is None:
            return f"Non-inferiority {not_estimable(self.reason)}."
        verdict = "shown" if self.noninferior else "not shown"
        return (
            f"{percent(self.first)} against {percent(self.reference)}: difference"
            f" {decimal(self.estimate)}, one-sided {100 * self.level:g} % lower bound"
            f" {decimal(self.low)}; non-inferiority with margin {decimal(self.margin, 2)} {verdict}"
            f" ({p_text(self.p_value)}, {self.method})."
        )


def noninferiority(
    successes: Any,
    trials: Any,
    margin: float,
    cluster: Any = None,
    reference: float = 0.5,
    level: float = 0.95,
) -> Noninferiority:
    """Test a proportion for non-inferiority.

    Parameters
    ----------
    successes, trials : array_like of int
        Without patients two numbers, or two pairs of numbers (new, comparator). With patients a row
        of counts for each patient's entry, shape (k,), or two such rows, shape (2, k). Two
        proportions without patients are taken as independent.
    margin : float
        Largest difference that counts as not inferior, in (0, 1).
    cluster : sequence of hashable, shape (k,), optional
        Patient of each entry.
    reference : float
        Value with which a single proportion is compared, in (0, 1).
    level : float
        Level of the one-sided bound, in (0, 1).

    Returns
    -------
    Noninferiority
        Without a bound, and with the reason, for no answers and for one patient.

    Raises
    ------
    ValueError
        If the margin is not between 0 and 1, or the counts are impossible.

    Notes
    -----
    One proportion: exact binomial test and Clopper-Pearson bound. Two independent proportions:
    Miettinen and Nurminen's score bound. With patients: linearised difference of the
    proportions, with a t quantile of m - 1 degrees of freedom; a patient's answers to both are
    paired.

    References
    ----------
    Miettinen O, Nurminen M. Comparative analysis of two rates. Stat Med 1985;4:213-226. Clopper CJ,
    Pearson ES. Biometrika 1934;26:404-413.

    Examples
    --------
    >>> test = noninferiority(182, 330, margin=0.05)
    >>> round(test.low, 3), test.noninferior
    (0.005, True)
    >>> test = noninferiority([80, 82], [100, 100], margin=0.15)
    >>> round(test.low, 3), test.noninferior
    (-0.112, True)
    """
    if not 0 < margin < 1:
        raise ValueError(f"the margin is {margin:g}: it must lie between 0 and 1")
    check_level(level)
    right, answered = _counts(successes, trials)
    shared: dict[str, Any] = {"margin": float(margin), "level": level}
    if cluster is not None:
        return _clustered(right, answered, cluster, reference, shared)
    if right.shape not in ((), (2,)):
        raise ValueError("without patients, give one count or a pair of counts")
    if (answered == 0).any():
        return Noninferiority(
            estimate=None, low=None, p_value=None, reason="there are no answers", **shared
        )
    if right.ndim:
        return _independent(right, answered, shared)
    return _single(float(right), float(answered), reference, shared)


def _counts(successes: Any, trials: Any) -> tuple[Array, Array]:
    right, answered = float_array(successes, "successes"), float_array(trials, "trials")
    possible = right.shape == answered.shape and bool(
        ((right >= 0) & (right <= answered) & (right % 1 == 0) & (answered % 1 == 0)).all()
    )
    if not possible:
        raise ValueError(
            "successes and trials must be whole numbers of one shape with 0 <= successes <= trials"
        )
    return right, answered


def _single(x: float, n: float, reference: float, shared: dict[str, Any]) -> Noninferiority:
    # The bound is the proportion at which the exact one-sided test has P = 1 - level.
    low = float(scipy.special.betaincinv(x, n - x + 1, 1 - shared["level"])) if x else 0.0
    limit = reference - shared["margin"]
    p_value = float(scipy.special.betainc(x, n - x + 1, limit)) if x and limit > 0 else float(not x)
    return Noninferiority(
        estimate=x / n - reference,
        low=low - reference,
        p_value=p_value,
        first=x / n,
        reference=reference,
        method="exact binomial",
        **shared,
    )


def _independent(right: Array, answered: Array, shared: dict[str, Any]) -> Noninferiority:
    p, q = right / answered

    def z(delta: float) -> float:
        """Return Miettinen and Nurminen's statistic of the hypothesis p - q = delta."""
        return _score(right, answered, delta)

    quantile = float(scipy.special.ndtri(shared["level"]))
    # The statistic falls in delta; at -1 it is at its largest.
    low = (
        float(scipy.optimize.brentq(lambda d: z(d) - quantile, -1 + 1e-9, p - q))
        if z(-1 + 1e-9) > quantile
        else -1.0
    )
    return Noninferiority(
        estimate=float(p - q),
        low=low,
        p_value=float(scipy.special.ndtr(-z(-shared["margin"]))),
        first=float(p),
        reference=float(q),
        method="Miettinen-Nurminen",
        **shared,
    )


def _score(right: Array, answered: Array, delta: float) -> float:
    (x, y), (m, n) = right, answered

    def slope(q: float) -> float:
        """Return the derivative of the log likelihood in q, with p = q + delta."""
        p = q + delta
        return (x / p - (m - x) / (1 - p)) + (y / q - (n - y) / (1 - q))

    # Inside these limits both proportions lie inside (0, 1); the likelihood is concave in q.
    low, high = max(0.0, -delta) + 1e-12, min(1.0, 1 - delta) - 1e-12
    if slope(low) <= 0:
        q = low
    elif slope(high) >= 0:
        q = high
    else:
        q = float(scipy.optimize.brentq(slope, low, high, xtol=1e-14))
    p = q + delta
    total = m + n
    variance = (p * (1 - p) / m + q * (1 - q) / n) * total / (total - 1)
    return float((x / m - y / n - delta) / np.sqrt(max(variance, 1e-300)))


def _clustered(
    right: Array, answered: Array, cluster: Any, reference: float, shared: dict[str, Any]
) -> Noninferiority:
    if right.ndim not in (1, 2) or (right.ndim == 2 and len(right) != 2):
        raise ValueError("with patients, give a row of counts, or two rows")
    rows, sizes = np.atleast_2d(right), np.atleast_2d(answered)
    codes, clusters = cluster_codes(cluster, rows.shape[1])
    shared |= {"clusters": clusters, "method": "t over patients, linearised"}
    totals = sizes.sum(axis=1)
    if not totals.all():
        return Noninferiority(
            estimate=None, low=None, p_value=None, reason="there are no answers", **shared
        )
    shares = rows.sum(axis=1) / totals
    shared["first"] = float(shares[0])
    shared["reference"] = float(shares[1]) if len(shares) == 2 else reference
    estimate = shared["first"] - shared["reference"]
    # What each entry adds to the deviation of a proportion.
    parts = (rows - shares[:, None] * sizes) / totals[:, None]
    deviations = parts[0] - parts[1] if len(shares) == 2 else parts[0]
    by_patient = np.bincount(codes, deviations, clusters)
    error = np.sqrt(clusters / max(1, clusters - 1) * (by_patient**2).sum())
    if clusters < 2 or error < 1e-12:
        reason = (
            "all answers come from one patient"
            if clusters < 2
            else "every patient gives the same result: the variance is 0"
        )
        return Noninferiority(estimate=estimate, low=None, p_value=None, reason=reason, **shared)
    t = (estimate + shared["margin"]) / error
    return Noninferiority(
        estimate=estimate,
        low=max(
            -1.0, estimate - float(scipy.special.stdtrit(clusters - 1, shared["level"])) * error
        ),
        p_value=float(scipy.special.stdtr(clusters - 1, -t)),
        **shared,
    )

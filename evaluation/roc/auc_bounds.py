"""Small-sample bounds of an AUC, and of the difference of two AUCs, with patients as clusters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from evaluation.gee import logit_bounds
from evaluation.roc.auc_variance import PatientContributions
from evaluation.validation import Array

# Below this a variance is rounding.
NEGLIGIBLE_VARIANCE = 1e-24
# Smallest P value that the inversion of an interval looks for.
LEAST_P = 1e-12


@dataclass(frozen=True)
class AreaEstimate:
    """What the bounds of one AUC rest on.

    Attributes
    ----------
    area : float
        AUC.
    variance : float
        Jackknife form of Obuchowski's variance; 0 where the patients' contributions do not vary.
    df : float
        Degrees of freedom of the variance.
    positives, negatives : int
        Numbers of patients that have positives, and that have negatives.
    """

    area: float
    variance: float
    df: float
    positives: int
    negatives: int

    @property
    def varies(self) -> bool:
        """Return whether the logit interval exists."""
        return 0 < self.area < 1 and self.variance > NEGLIGIBLE_VARIANCE

    def bounds(self, level: float) -> tuple[float, float]:
        """Return the logit interval, or Newcombe's where the variance is 0."""
        if self.varies:
            return logit_bounds(self.area, float(np.sqrt(self.variance)), self.df, level)
        return newcombe_bounds(self.area, self.positives, self.negatives, level)


def area_estimate(parts: PatientContributions, row: int, area: float) -> AreaEstimate:
    """Return variance and degrees of freedom of one AUC.

    Parameters
    ----------
    parts : PatientContributions
        Both classes must come from at least two patients each.
    row : int
        Index of the score.
    area : float
        Its AUC.

    Returns
    -------
    AreaEstimate

    Notes
    -----
    With the contributions a_i of I10 patients with positives, b_i of I01 with negatives, and

        V10 = I10 / (I10 - 1) sum a_i^2, V01 likewise, V11 = 2 I / (I - 1) sum a_i b_i,

    Obuchowski's variance is V = V10 + V01 + V11. The variance used here is its jackknife form,
    V10 I10 / (I10 - 1) + V01 I01 / (I01 - 1) + V11. The degrees of freedom are 2 V^2 / Var(V), with
    Var(V) once from the fourth powers of the contributions, which are heavy-tailed near AUC 1, and
    once under normality (Satterthwaite); the smaller counts, but at least half the patients of the
    rarer class. The choice between these and other methods is documented in
    benchmarks/COVERAGE.md.

    References
    ----------
    Obuchowski NA. Biometrics 1997;53:567-578. Satterthwaite FE. Biometrics Bull 1946;2:110-114. Pan
    W, Wall MM. Stat Med 2002;21:1429-1441 (degrees of freedom of a sandwich variance from its
    own variance).
    """
    a, b = parts.positive[row], parts.negative[row]
    m, n = parts.with_positive, parts.with_negative
    square_a, square_b = float(a @ a), float(b @ b)
    cross = 2 * parts.clusters / (parts.clusters - 1) * float(a @ b)
    v10, v01 = m / (m - 1) * square_a, n / (n - 1) * square_b
    plain = v10 + v01 + cross
    variance = m / (m - 1) * v10 + n / (n - 1) * v01 + cross
    shared = {"positives": m, "negatives": n}
    # Negative covariance within patients may leave rounding of either sign.
    if min(plain, variance) <= NEGLIGIBLE_VARIANCE:
        return AreaEstimate(area, 0.0, 1.0, **shared)
    normal = max(plain**2 / (v10**2 / (m - 1) + v01**2 / (n - 1)), min(m, n) - 1)
    spread = max(float((a**4).sum()) - square_a**2 / m, 0.0)
    spread += max(float((b**4).sum()) - square_b**2 / n, 0.0)
    # Equal contributions have no spread; then only the normal theory limits the df.
    moments = 2 * plain**2 / spread if spread * normal > 2 * plain**2 else normal
    return AreaEstimate(area, variance, max(min(moments, normal), min(m, n) / 2), **shared)


def newcombe_bounds(
    area: float, positives: int, negatives: int, level: float
) -> tuple[float, float]:
    """Return the score interval of an AUC, which also exists at AUC 0 and 1.

    Parameters
    ----------
    area : float
        AUC in [0, 1].
    positives, negatives : int
        Numbers of independent units of each class. With patients as clusters these are the patients
        of the class, which takes the images of one patient as copies of each other and is therefore
        conservative.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    low, high : float

    Notes
    -----
    The areas t with |A - t| <= z sqrt(V(t)), where with N = (m + n) / 2 - 1

        V(t) = t (1 - t) (1 + N (1 - t) / (2 - t) + N t / (1 + t)) / (m n).

    References
    ----------
    Newcombe RG. Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2: asymptotic methods and evaluation. Stat Med 2006;25:559-573 (method 5).

    Examples
    --------
    Ten against ten, perfectly separated:

    >>> low, high = newcombe_bounds(1.0, 10, 10, 0.95)
    >>> round(low, 3), high
    (0.8, 1.0)
    """
    z = float(scipy.special.ndtri((1 + level) / 2))
    size = (positives + negatives) / 2 - 1

    def excess(t: float) -> float:
        spread = 1 + size * (1 - t) / (2 - t) + size * t / (1 + t)
        return (area - t) ** 2 - z**2 * t * (1 - t) * spread / (positives * negatives)

    # The excess is negative inside the interval, and at least 0 at 0 and 1.
    inside = min(max(area, 1e-9), 1 - 1e-9)
    # At a level close to 0 the interval is narrower than that.
    if excess(inside) >= 0:
        return area, area
    low = scipy.optimize.brentq(excess, 0, inside, xtol=1e-12) if area > 0 else 0.0
    high = scipy.optimize.brentq(excess, inside, 1, xtol=1e-12) if area < 1 else 1.0
    return float(low), float(high)


def difference_bounds(
    first: AreaEstimate, second: AreaEstimate, correlation: float, level: float
) -> tuple[float, float]:
    """Return bounds of the difference of two AUCs from the bounds of both.

    Parameters
    ----------
    first, second : AreaEstimate
    correlation : float
        Correlation of the two AUCs; 0 for different patients.
    level : float
        Confidence level in (0, 1).

    Notes
    -----
    Method of variance estimates recovery: the distance of a bound from its AUC stands for the
    standard error on that side.

    References
    ----------
    Zou GY. Toward using confidence intervals to compare correlations. Psychol Methods
    2007;12:399-413. Zou GY, Donner A. Stat Med 2008;27:1693-1702.
    """
    low_1, high_1 = first.bounds(level)
    low_2, high_2 = second.bounds(level)
    below_1, above_1 = first.area - low_1, high_1 - first.area
    below_2, above_2 = second.area - low_2, high_2 - second.area
    difference = first.area - second.area
    low = below_1**2 + above_2**2 - 2 * correlation * below_1 * above_2
    high = above_1**2 + below_2**2 - 2 * correlation * above_1 * below_2
    return (
        max(-1.0, difference - float(np.sqrt(max(0.0, low)))),
        min(1.0, difference + float(np.sqrt(max(0.0, high)))),
    )


def difference_p_value(first: AreaEstimate, second: AreaEstimate, correlation: float) -> float:
    """Return the two-sided P at which the interval of the difference begins to hold 0.

    Test and interval then agree at every level.
    """
    sign = np.sign(first.area - second.area)
    if sign == 0:
        return 1.0

    def nearer_bound(p: float) -> float:
        low, high = difference_bounds(first, second, correlation, 1 - p)
        return low if sign > 0 else -high

    if nearer_bound(LEAST_P) >= 0:
        return LEAST_P
    return float(scipy.optimize.brentq(nearer_bound, LEAST_P, 1 - LEAST_P, xtol=1e-10))


def area_correlation(covariance: Array) -> float:
    """Return the correlation of two AUCs from their covariance; 0 where a variance is 0."""
    product = covariance[0, 0] * covariance[1, 1]
    if product <= NEGLIGIBLE_VARIANCE**2:
        return 0.0
    return float(np.clip(covariance[0, 1] / np.sqrt(product), -1, 1))


def hanley_mcneil_variance(area: float, positives: int, negatives: int) -> float:
    """Compute the variance of an AUC under exponential scores, for planning without data.

    Parameters
    ----------
    area : float
        Expected AUC.
    positives, negatives : int
        Numbers of observations.

    Returns
    -------
    float

    Notes
    -----
    With Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A):
    var = (A (1 - A) + (m - 1)(Q1 - A^2) + (n - 1)(Q2 - A^2)) / (m n).

    Checked against: an independent implementation of the formula in R 4.2 (1e-9).

    References
    ----------
    Hanley JA, McNeil BJ. The meaning and use of the area under a receiver operating characteristic
    (ROC) curve. Radiology 1982;143:29-36.

    Examples
    --------
    >>> round(hanley_mcneil_variance(0.8, 50, 50) ** 0.5, 4)
    0.0445
    """
    # Q1: two positives both score above a negative. Q2: a positive scores above two negatives.
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    return (
        area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    ) / (positives * negatives)

"""Comparison of two AUCs on the same or on different patients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import (
    METHOD_NAMES,
    decimal,
    interval_text,
    join_reasons,
    not_estimable,
    p_text,
)
from evaluation.roc.auc_bounds import (
    area_correlation,
    area_estimate,
    difference_bounds,
    difference_p_value,
)
from evaluation.roc.auc_estimates import ONE_OBSERVATION, AucInterval, covariance_or_reason
from evaluation.roc.auc_variance import Placements, patient_contributions, placements
from evaluation.validation import (
    Array,
    check_level,
    cluster_codes,
    float_vector,
    labels_and_scores,
    one_class_reason,
)


@dataclass(frozen=True, kw_only=True)
class AucDifference:
    """Difference of two AUCs.

    Attributes
    ----------
    difference, standard_error, low, high : float or None
        First minus second AUC, its standard error and confidence bounds.
    statistic : float or None
        Difference divided by its standard error.
    p_value, p_greater : float or None
        Two-sided P, and one-sided P for the first AUC being larger.
    level : float
        Confidence level.
    method, unit : str
        Method and unit of analysis in words.
    reason : str or None
        Why there is no test.
    first, second : float or None
        The two AUCs.
    covariance : float or None
        Covariance of the two AUCs; 0 for different patients.
    df : float or None
        Degrees of freedom of a t test; None for a normal test.
    """

    difference: float | None = None
    standard_error: float | None = None
    statistic: float | None = None
    p_value: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    method: str = "DeLong, paired"
    reason: str | None = None
    first: float | None = None
    second: float | None = None
    covariance: float | None = None
    p_greater: float | None = None
    df: float | None = None
    unit: str = "observation"

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.difference is None or self.p_value is None:
            return f"Difference of AUCs {not_estimable(self.reason)}."
        return (
            f"AUC {decimal(self.first)} against {decimal(self.second)}: difference"
            f" {decimal(self.difference)} ({interval_text(self.low, self.high, self.level)}),"
            f" two-sided {p_text(self.p_value)} ({self.method}; unit of analysis: {self.unit})."
        )

    def reversed(self) -> AucDifference:
        """Return the second AUC minus the first."""

        def negated(value: float | None) -> float | None:
            return None if value is None else -value

        # Bounds change places and the one-sided P is reflected; the two-sided P stays.
        return replace(
            self,
            difference=negated(self.difference),
            statistic=negated(self.statistic),
            low=negated(self.high),
            high=negated(self.low),
            first=self.second,
            second=self.first,
            p_greater=None if self.p_greater is None else 1 - self.p_greater,
        )


COMPARISON_METHODS = ("wald", "logit")
EQUAL_RANKINGS = (
    "the two scores rank every pair alike, or both separate perfectly: the variance of their"
    " difference is 0"
)


def compare_aucs(
    y: Any,
    a: Any,
    b: Any,
    cluster: Any = None,
    level: float = 0.95,
    method: str = "wald",
) -> AucDifference:
    """Compare the AUCs of two scores on the same observations.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    a, b : array_like of float, shape (n,)
        First and second score.
    cluster : sequence of hashable, shape (n,), optional
        Patient of each observation; by default observations are independent.
    level : float
        Confidence level in (0, 1).
    method : {"wald", "logit"}
        "wald" is DeLong's test, or Obuchowski's where patients are given, as in other software.
        "logit" is the one that pages and the report use: it holds its level with few patients and
        near AUC 1 (benchmarks/COVERAGE.md).

    Returns
    -------
    AucDifference
        Without a test where the variance of the difference is 0: equal rankings, or perfect
        separation by both scores.

    Raises
    ------
    ValueError
        If labels, scores, patients or the method are invalid.

    Notes
    -----
    "wald": z = (A1 - A2) / sqrt(V1 + V2 - 2 C), with variances and covariance of DeLong, or of
    Obuchowski. "logit": bounds recovered from the logit intervals of both AUCs and their
    correlation (`evaluation.roc.auc_bounds.difference_bounds`); P is the level at which the
    interval begins to hold 0, so that test and interval agree.

    Checked against: R 4.2 pROC `roc.test` (paired, 1e-8), and an independent implementation of
    Obuchowski's covariance (1e-10).

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. Obuchowski NA. Biometrics
    1997;53:567-578. Zou GY. Psychol Methods 2007;12:399-413.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> y = np.repeat([0, 1], 50)
    >>> result = compare_aucs(y, 2 * y + rng.normal(size=100), y + rng.normal(size=100))
    >>> round(result.difference, 3), round(result.p_value, 3)
    (0.164, 0.001)
    """
    labels, first = labels_and_scores(y, a)
    second = float_vector(b, "score", len(labels))
    check_level(level)
    if method not in COMPARISON_METHODS:
        raise ValueError(
            f"the method is {method!r}: it must be one of {', '.join(COMPARISON_METHODS)}"
        )
    codes, clusters = cluster_codes(
        np.arange(len(labels)) if cluster is None else cluster, len(labels)
    )
    name = "logit scale, small-sample t" if method == "logit" else "Obuchowski"
    if method == "wald" and cluster is None:
        name = "DeLong"
    shared: dict[str, Any] = {
        "level": level,
        "method": f"{name}, paired",
        "unit": "observation" if cluster is None else "patient",
    }
    reason = one_class_reason(labels)
    if reason:
        return AucDifference(reason=reason, **shared)
    placed = placements(labels, np.stack([first, second]))
    shared |= {
        "difference": float(placed.auc[0] - placed.auc[1]),
        "first": float(placed.auc[0]),
        "second": float(placed.auc[1]),
    }
    if method == "logit":
        return _logit_difference(placed, labels, codes, clusters, shared)
    return _wald_difference(placed, labels, None if cluster is None else codes, clusters, shared)


def _wald_difference(
    placed: Placements,
    labels: Array,
    codes: Array | None,
    clusters: int,
    shared: dict[str, Any],
) -> AucDifference:
    covariance, reason = covariance_or_reason(placed, labels, codes, clusters)
    if covariance is None:
        return AucDifference(reason=reason, **shared)
    variance = _difference_variance(covariance)
    if variance is None:
        return AucDifference(reason=EQUAL_RANKINGS, **shared)
    difference, error = shared["difference"], float(np.sqrt(variance))
    z, half = difference / error, float(scipy.stats.norm.isf((1 - shared["level"]) / 2)) * error
    return AucDifference(
        standard_error=error,
        statistic=z,
        p_value=float(2 * scipy.stats.norm.sf(abs(z))),
        low=difference - half,
        high=difference + half,
        covariance=float(covariance[0, 1]),
        p_greater=float(scipy.stats.norm.sf(z)),
        **shared,
    )


def _logit_difference(
    placed: Placements, labels: Array, codes: Array, clusters: int, shared: dict[str, Any]
) -> AucDifference:
    parts, reason = patient_contributions(placed, labels, codes, clusters)
    if parts is None:
        return AucDifference(
            reason=ONE_OBSERVATION if shared["unit"] == "observation" else reason, **shared
        )
    covariance = parts.covariance()
    variance = _difference_variance(covariance)
    if variance is None:
        return AucDifference(reason=EQUAL_RANKINGS, **shared)
    one, two = (area_estimate(parts, row, float(placed.auc[row])) for row in (0, 1))
    correlation = area_correlation(covariance)
    low, high = difference_bounds(one, two, correlation, shared["level"])
    p_value = difference_p_value(one, two, correlation)
    error = float(np.sqrt(variance))
    return AucDifference(
        standard_error=error,
        statistic=shared["difference"] / error,
        p_value=p_value,
        low=low,
        high=high,
        covariance=float(covariance[0, 1]),
        p_greater=p_value / 2 if shared["difference"] >= 0 else 1 - p_value / 2,
        **shared,
    )


def _difference_variance(covariance: Array) -> float | None:
    """Return the variance of the difference of two AUCs; None where it is rounding."""
    # The paired variance: the covariance of the two AUCs enters twice.
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    # Equal rankings leave a rounding error where the variance is 0.
    return None if variance <= 1e-12 * (covariance[0, 0] + covariance[1, 1]) else variance


def compare_independent_aucs(
    first: AucInterval, second: AucInterval, level: float = 0.95
) -> AucDifference:
    """Compare two AUCs on different patients, such as subgroups.

    Parameters
    ----------
    first, second : AucInterval
        AUCs with their standard errors.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    AucDifference

    Notes
    -----
    Wald test of the difference. Where both methods are DeLong's, the reference distribution is t
    with Welch-Satterthwaite degrees of freedom, as in pROC; otherwise it is normal.

    Checked against: R 4.2 pROC `roc.test` (unpaired, 1e-8).

    References
    ----------
    Robin X et al. pROC: an open-source package for R and S+ to analyze and compare ROC curves. BMC
    Bioinformatics 2011;12:77.

    Examples
    --------
    >>> first = AucInterval(estimate=0.85, standard_error=0.03, low=None, high=None, level=0.95,
    ...                     method="obuchowski", clusters=100)
    >>> second = AucInterval(estimate=0.75, standard_error=0.04, low=None, high=None, level=0.95,
    ...                      method="obuchowski", clusters=80)
    >>> result = compare_independent_aucs(first, second)
    >>> round(result.difference, 3), round(result.p_value, 4)
    (0.1, 0.0455)
    """
    check_level(level)
    shared: dict[str, Any] = {
        "level": level,
        "method": f"{METHOD_NAMES[first.method]}, unpaired",
        "unit": first.unit,
        "first": first.estimate,
        "second": second.estimate,
    }
    reason = join_reasons(first.reason, second.reason)
    if (
        first.estimate is None
        or second.estimate is None
        or not first.standard_error
        or not second.standard_error
    ):
        return AucDifference(reason=reason or "a variance is 0", **shared)
    # Different patients: the covariance is 0.
    one, two = first.standard_error**2, second.standard_error**2
    df = None
    if first.method == second.method == "delong":
        # pROC counts all observations of a curve here, positives and negatives.
        sizes = [interval.positives + interval.negatives for interval in (first, second)]
        df = (one + two) ** 2 / (one**2 / (sizes[0] - 1) + two**2 / (sizes[1] - 1))
    law = scipy.stats.norm if df is None else scipy.stats.t(df)
    difference, error = first.estimate - second.estimate, float(np.sqrt(one + two))
    statistic, half = difference / error, float(law.isf((1 - level) / 2)) * error
    return AucDifference(
        difference=difference,
        standard_error=error,
        statistic=statistic,
        p_value=float(2 * law.sf(abs(statistic))),
        low=difference - half,
        high=difference + half,
        df=df,
        covariance=0.0,
        p_greater=float(law.sf(statistic)),
        **shared,
    )

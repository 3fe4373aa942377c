"""Mean over readers of one value per reader, with its interval (single-modality analysis)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from evaluation.intervals import Interval
from evaluation.validation import Array

DESIGNS = {
    "rrrc": "random readers, random cases",
    "rrfc": "random readers, fixed cases",
    "frrc": "fixed readers, random cases",
}
ONE_READER = "one reader: the variance between readers cannot be estimated"


@dataclass(frozen=True)
class ReaderMean:
    """Mean over readers.

    Attributes
    ----------
    mean : float
        Mean of the readers' values.
    low, high, p_value : float or None
        Confidence bounds, and two-sided P against 0.
    reason : str or None
        Why there is no interval.
    """

    mean: float
    low: float | None = None
    high: float | None = None
    p_value: float | None = None
    reason: str | None = None


def reader_mean(values: Array, covariance: Array, design: str, level: float) -> ReaderMean:
    """Estimate the mean of one value per reader.

    Parameters
    ----------
    values : ndarray, shape (r,)
        AUC, or difference of AUCs, of each reader.
    covariance : ndarray, shape (r, r)
        Covariances of the values due to the cases.
    design : {"rrrc", "rrfc", "frrc"}
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    ReaderMean

    Notes
    -----
    For random readers the variance is (MS(R) + r max(Cov2, 0)) / r, with degrees of freedom
    ((MS(R) + r max(Cov2, 0)) / MS(R))^2 (r - 1); for fixed readers (Var + (r - 1) Cov2) / r.

    References
    ----------
    Hillis SL. A marginal-mean ANOVA approach for analyzing multireader multicase radiological
    imaging data. Stat Med 2014;33:330-360 (single modality).

    Examples
    --------
    >>> covariance = np.full((3, 3), 0.001) + 0.001 * np.eye(3)
    >>> result = reader_mean(np.array([0.8, 0.85, 0.78]), covariance, "rrrc", 0.95)
    >>> round(result.mean, 3), round(result.low, 3), round(result.high, 3)
    (0.81, 0.731, 0.889)
    """
    r = len(values)
    mean, variance = float(values.mean()), float(np.trace(covariance) / r)
    # Cov2: the mean off-diagonal element.
    shared = float((covariance.sum() - np.trace(covariance)) / (r * (r - 1))) if r > 1 else 0.0
    # MS(R): the variance of the readers' values.
    spread = float(values.var(ddof=1)) if r > 1 else None
    # With fixed readers the spread between them is no part of the variance.
    if design == "frrc":
        total, law = variance + (r - 1) * shared, scipy.stats.norm
    elif spread is None:
        return ReaderMean(mean, reason=ONE_READER)
    else:
        total = spread + (r * max(shared, 0.0) if design == "rrrc" else 0.0)
        # Hillis' degrees of freedom grow without limit as MS(R) vanishes.
        law = scipy.stats.t((r - 1) * (total / spread) ** 2) if spread > 0 else scipy.stats.norm
    if total <= 1e-15:
        return ReaderMean(mean, reason="the variance is 0")
    error = float(np.sqrt(total / r))
    half = float(law.isf((1 - level) / 2)) * error
    return ReaderMean(mean, mean - half, mean + half, float(2 * law.sf(abs(mean) / error)))


def modality_mean(auc: Array, covariance: Array, design: str, level: float) -> Interval:
    """Return the mean AUC of one modality over its readers, with bounds clipped to [0, 1].

    Parameters
    ----------
    auc, covariance, design, level
        As in `reader_mean`.
    """
    result = reader_mean(auc, covariance, design, level)
    return Interval(
        estimate=result.mean,
        low=None if result.low is None else max(0.0, result.low),
        high=None if result.high is None else min(1.0, result.high),
        level=level,
        method=DESIGNS[design],
        reason=result.reason,
        unit="reader and case",
    )

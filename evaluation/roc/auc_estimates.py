"""The AUC, and its confidence interval for independent or clustered observations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import (
    METHOD_NAMES,
    count_text,
    decimal,
    interval_text,
    not_estimable,
)
from evaluation.roc.auc_variance import (
    bootstrap_aucs,
    delong_covariance,
    obuchowski_covariance,
    placements,
)
from evaluation.validation import (
    Array,
    check_level,
    cluster_codes,
    labels_and_scores,
    one_class_reason,
)

AUC_METHODS = ("delong", "obuchowski", "bootstrap")
# Multiplications of a bootstrap (resamples x patients^2) that take about a fifth of a second.
CHEAP_MULTIPLICATIONS = 2_000_000_000
TIED = "all scores are tied: the variance is 0 and the interval has no width"
SEPARATED = "the scores separate the classes perfectly: the variance is 0 and gives no interval"
NO_WIDTH = (
    "every patient gives the same result: the variance between patients is 0 and gives no interval"
)
ONE_PATIENT = (
    "all observations come from one patient: the variance between patients cannot be estimated"
)


class Auc(float):
    """An AUC: a float with its sample sizes; nan, with a reason, where it is not estimable.

    Attributes
    ----------
    reason : str or None
        Why there is no AUC.
    positives, negatives : int
        Numbers of observations of each class.
    """

    reason: str | None
    positives: int
    negatives: int

    def __new__(
        cls, value: float | None, reason: str | None = None, positives: int = 0, negatives: int = 0
    ) -> Auc:
        # A float is immutable, so the value is set in __new__.
        number = super().__new__(cls, float("nan") if value is None else value)
        number.reason, number.positives, number.negatives = reason, positives, negatives
        return number

    @property
    def estimate(self) -> float | None:
        """Return the AUC as a plain float, or None."""
        return None if self.reason else float(self)

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        value = not_estimable(self.reason) if self.reason else decimal(float(self))
        return (
            f"AUC {value} ({self.positives} positive and {self.negatives} negative observations)."
        )


def auc(y: Any, score: Any) -> Auc:
    """Compute the area under the empirical ROC curve.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    score : array_like of float, shape (n,)
        Higher scores indicate positives. Infinite scores are allowed.

    Returns
    -------
    Auc
        nan with `reason` where only one class is present.

    Raises
    ------
    ValueError
        If a label is not 0 or 1, or a score is missing.

    Notes
    -----
    The Mann-Whitney estimate: the share of positive-negative pairs in which the positive has the
    higher score, ties 1/2. It equals the trapezoidal area.

    Checked against: all pairs, scipy `mannwhitneyu` and scikit-learn `roc_auc_score` (1e-12).

    References
    ----------
    Hanley JA, McNeil BJ. Radiology 1982;143:29-36.

    Examples
    --------
    >>> auc([1, 1, 0, 1, 1, 0, 1, 0, 0, 0], range(10, 0, -1))
    0.84
    """
    labels, scores = labels_and_scores(y, score)
    reason = one_class_reason(labels)
    # placements needs both classes.
    value = None if reason else float(placements(labels, scores[None]).auc[0])
    return Auc(value, reason, int(labels.sum()), int((~labels).sum()))


@dataclass(frozen=True, kw_only=True)
class AucInterval:
    """An AUC with its standard error and confidence interval.

    Attributes
    ----------
    estimate, standard_error, low, high : float or None
        AUC, standard error (of the bootstrap: standard deviation) and bounds.
    level : float
        Confidence level.
    method : str
        "delong", "obuchowski" or "bootstrap".
    reason : str or None
        Why numbers are missing, or a caveat beside them.
    positives, negatives : int
        Numbers of observations of each class.
    clusters : int or None
        Number of patients; None where observations are taken as independent.
    degenerate, resamples : int
        Bootstrap samples with one class only, which are left out, and samples drawn.
    """

    estimate: float | None = None
    standard_error: float | None = None
    low: float | None = None
    high: float | None = None
    level: float
    method: str
    reason: str | None = None
    positives: int = 0
    negatives: int = 0
    clusters: int | None = None
    degenerate: int = 0
    resamples: int = 0

    @property
    def unit(self) -> str:
        """Return the unit of analysis: what is taken as independent."""
        return "observation" if self.clusters is None else "patient"

    def logit_interval(self) -> tuple[float, float] | None:
        """Return the Wald interval on the logit scale, which lies inside (0, 1).

        None where there is no standard error, or where the area is 0 or 1.
        """
        if self.estimate is None or self.standard_error is None or not 0 < self.estimate < 1:
            return None
        # Delta method: the derivative of the logit is 1 / (A (1 - A)).
        centre = np.log(self.estimate / (1 - self.estimate))
        half = (
            scipy.stats.norm.isf((1 - self.level) / 2)
            * self.standard_error
            / (self.estimate * (1 - self.estimate))
        )
        return float(1 / (1 + np.exp(half - centre))), float(1 / (1 + np.exp(-half - centre)))

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.estimate is None:
            return f"AUC {not_estimable(self.reason)}."
        patients = (
            "taken as independent"
            if self.clusters is None
            else f"from {count_text(self.clusters, 'patient')}"
        )
        return (
            f"AUC {decimal(self.estimate)}"
            f" ({interval_text(self.low, self.high, self.level, self.reason)},"
            f" {METHOD_NAMES[self.method]}; {self.positives} positive and {self.negatives} negative"
            f" observations {patients})."
        )


def auc_interval(
    y: Any,
    score: Any,
    cluster: Any = None,
    method: str = "delong",
    level: float = 0.95,
    resamples: int | None = None,
    seed: int = 1,
) -> AucInterval:
    """Compute the AUC with a confidence interval.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    score : array_like of float, shape (n,)
        Higher scores indicate positives.
    cluster : sequence of hashable, shape (n,), optional
        Patient of each observation. Required for "obuchowski", ignored by "delong".
    method : {"delong", "obuchowski", "bootstrap"}
        Independent observations; patients as clusters; percentiles over resampled patients.
    level : float
        Confidence level in (0, 1).
    resamples : int, optional
        Number of bootstrap samples; by default 2,000, and up to 20,000 for few patients.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    AucInterval
        Without bounds, and with the reason, for one class, one patient, perfect separation
        (variance 0, never the interval [1, 1]) and zero variance between patients.

    Raises
    ------
    ValueError
        If labels, scores, patients or the method are invalid.

    Notes
    -----
    "delong" and "obuchowski" are Wald intervals clipped to [0, 1]. Patches of one patient are not
    independent: use "obuchowski" or "bootstrap" for them.

    Checked against: R 4.2 pROC `ci.auc` (DeLong, 1e-9), an independent implementation of
    Obuchowski's formula (1e-10), and a patient bootstrap with another generator (.006 on a bound).

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. Obuchowski NA. Biometrics
    1997;53:567-578. Field CA, Welsh AH. J R Stat Soc B 2007;69:369-390.

    Examples
    --------
    >>> y, score = [1, 1, 0, 1, 1, 0, 1, 0, 0, 0], range(10, 0, -1)
    >>> independent = auc_interval(y, score)
    >>> round(independent.estimate, 2), round(independent.low, 3), round(independent.high, 3)
    (0.84, 0.568, 1.0)
    >>> clustered = auc_interval(y, score, list("aabbccddee"), "obuchowski")
    >>> round(clustered.standard_error, 3), clustered.clusters
    (0.155, 5)
    """
    labels, scores = labels_and_scores(y, score)
    check_level(level)
    if method not in AUC_METHODS:
        raise ValueError(f"the method is {method!r}: it must be one of {', '.join(AUC_METHODS)}")
    if cluster is None and method == "obuchowski":
        raise ValueError(
            "the method 'obuchowski' needs the patient of each observation: give cluster"
        )
    # Without patients each observation is a cluster of its own, which the bootstrap draws.
    codes, clusters = cluster_codes(
        np.arange(len(labels)) if cluster is None else cluster, len(labels)
    )
    shared: dict[str, Any] = {
        "level": level,
        "method": method,
        "positives": int(labels.sum()),
        "negatives": int((~labels).sum()),
        "clusters": None if cluster is None or method == "delong" else clusters,
    }
    reason = one_class_reason(labels)
    if reason:
        return AucInterval(reason=reason, **shared)
    shared["estimate"] = float(placements(labels, scores[None]).auc[0])
    # An exact comparison: `placements` yields exactly 0 or 1 under perfect separation.
    if shared["estimate"] in (0.0, 1.0):
        return AucInterval(reason=SEPARATED, **shared)
    if method == "bootstrap":
        if resamples is None:
            # More samples reduce Monte Carlo error where they cost little time.
            resamples = int(np.clip(CHEAP_MULTIPLICATIONS // clusters**2, 2_000, 20_000))
        return _bootstrap_interval(labels, scores, codes, clusters, resamples, seed, shared)
    return _wald_interval(
        labels, scores, codes if method == "obuchowski" else None, clusters, shared
    )


def covariance_or_reason(
    labels: Array, scores: Array, codes: Array | None, clusters: int
) -> tuple[Array | None, str | None]:
    """Estimate the covariance of k AUCs by DeLong, or by Obuchowski where `codes` are given.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
    scores : ndarray of float, shape (k, n)
    codes : ndarray of int, shape (n,), or None
        Patient of each observation.
    clusters : int
        Number of patients.

    Returns
    -------
    covariance : ndarray of float64, shape (k, k), or None
    reason : str or None
        Why there is no covariance.
    """
    placed = placements(labels, scores)
    if codes is not None:
        return obuchowski_covariance(placed, labels, codes, clusters)
    covariance = delong_covariance(placed)
    if covariance is None:
        return None, "one class has a single observation: its variance cannot be estimated"
    return covariance, None


def _wald_interval(
    labels: Array, scores: Array, codes: Array | None, clusters: int, shared: dict[str, Any]
) -> AucInterval:
    covariance, reason = covariance_or_reason(labels, np.atleast_2d(scores), codes, clusters)
    if covariance is None:
        return AucInterval(reason=reason, **shared)
    error, tied = float(np.sqrt(max(0.0, covariance[0, 0]))), _are_tied(scores)
    # With tied scores every sample gives .5. The bounds stay, and the reason stands beside them.
    if error < 1e-12 and not tied:
        return AucInterval(reason=NO_WIDTH, **shared)
    area, half = shared["estimate"], float(scipy.stats.norm.isf((1 - shared["level"]) / 2)) * error
    return AucInterval(
        standard_error=error,
        low=max(0.0, area - half),
        high=min(1.0, area + half),
        reason=TIED if tied else None,
        **shared,
    )


def _are_tied(scores: Array) -> bool:
    # Compared, not subtracted: infinite scores have no difference.
    return bool(scores.min() == scores.max())


def _bootstrap_interval(
    labels: Array,
    scores: Array,
    codes: Array,
    clusters: int,
    resamples: int,
    seed: int,
    shared: dict[str, Any],
) -> AucInterval:
    if clusters < 2:
        return AucInterval(reason=ONE_PATIENT, **shared)
    areas = bootstrap_aucs(labels, scores, codes, clusters, resamples, seed)
    defined = areas[~np.isnan(areas)]
    shared |= {"degenerate": resamples - len(defined), "resamples": resamples}
    if len(defined) < 2:
        return AucInterval(reason="every resample of patients has one class only", **shared)
    level = shared["level"]
    # Samples of one class have no AUC: they are left out and counted.
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    tied = _are_tied(scores)
    if high - low < 1e-12 and not tied:
        return AucInterval(reason=NO_WIDTH, **shared)
    return AucInterval(
        standard_error=float(defined.std(ddof=1)),
        low=float(low),
        high=float(high),
        reason=TIED if tied else None,
        **shared,
    )


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

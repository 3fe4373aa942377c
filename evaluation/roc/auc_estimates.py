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
from evaluation.roc.auc_bounds import area_estimate
from evaluation.roc.auc_variance import (
    Placements,
    bootstrap_aucs,
    delong_covariance,
    obuchowski_covariance,
    patient_contributions,
    placements,
)
from evaluation.validation import (
    Array,
    check_level,
    cluster_codes,
    labels_and_scores,
    one_class_reason,
)

AUC_METHODS = ("logit", "delong", "obuchowski", "bootstrap")
# Multiplications of a bootstrap (resamples x patients^2) that take about a fifth of a second.
CHEAP_MULTIPLICATIONS = 2_000_000_000
TIED = "all scores are tied: the variance is 0 and gives no interval"
SEPARATED = "the scores separate the classes perfectly: the variance is 0 and gives no interval"
NO_WIDTH = (
    "every patient gives the same result: the variance between patients is 0 and gives no interval"
)
ONE_PATIENT = (
    "all observations come from one patient: the variance between patients cannot be estimated"
)
ONE_OBSERVATION = "one class has a single observation: its variance cannot be estimated"
# Printed behind the bounds of Newcombe's method.
SCORE_BOUNDS = "the variance is 0: bounds by Newcombe's score method on the number of patients"


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
        "logit", "delong", "obuchowski" or "bootstrap".
    reason : str or None
        Why numbers are missing, or a caveat beside them.
    positives, negatives : int
        Numbers of observations of each class.
    clusters : int or None
        Number of patients; None where observations are taken as independent.
    degenerate, resamples : int
        Bootstrap samples with one class only, which are left out, and samples drawn.
    df : float or None
        Degrees of freedom of the method "logit".
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
    df: float | None = None

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
    method: str = "logit",
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
        Patient of each observation; by default observations are independent. Required for
        "obuchowski", refused by "delong".
    method : {"logit", "delong", "obuchowski", "bootstrap"}
        Small-sample t interval on the logit scale; Wald intervals of independent observations and
        of patients as clusters; percentiles over resampled patients.
    level : float
        Confidence level in (0, 1).
    resamples : int, optional
        Number of bootstrap samples; by default 2,000, and up to 20,000 for few patients.
    seed : int
        Seed of the bootstrap.

    Returns
    -------
    AucInterval
        Without bounds, and with the reason, for one class and for a class from one patient. Under
        perfect separation, and wherever the variance is 0, "logit" gives the bounds of a score
        method and says so in `reason`; the other methods give no bounds.

    Raises
    ------
    ValueError
        If labels, scores, patients or the method are invalid.

    Notes
    -----
    "logit" holds its level at the sizes at which it is used (benchmarks/COVERAGE.md): variance and
    degrees of freedom are those of `evaluation.roc.auc_bounds.area_estimate`, and
    `evaluation.roc.auc_bounds.newcombe_bounds` replaces it where the variance is 0. "delong" and
    "obuchowski" are Wald intervals clipped to [0, 1], for comparison with other software; their
    coverage falls to 80 % near AUC 1. The standard error of "logit" is that of "obuchowski".

    Checked against: R 4.2 pROC `ci.auc` (DeLong, 1e-9), an independent implementation of
    Obuchowski's formula (1e-10), and a patient bootstrap with another generator (.006 on a bound).

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. Obuchowski NA. Biometrics
    1997;53:567-578. Newcombe RG. Stat Med 2006;25:559-573. Field CA, Welsh AH. J R Stat Soc B
    2007;69:369-390.

    Examples
    --------
    >>> y, score = [1, 1, 0, 1, 1, 0, 1, 0, 0, 0], range(10, 0, -1)
    >>> independent = auc_interval(y, score)
    >>> round(independent.estimate, 2), round(independent.low, 3), round(independent.high, 3)
    (0.84, 0.253, 0.988)
    >>> clustered = auc_interval(y, score, list("aabbccddee"), "obuchowski")
    >>> round(clustered.standard_error, 3), clustered.clusters
    (0.155, 5)
    """
    labels, scores = labels_and_scores(y, score)
    check_level(level)
    _check_method(method, cluster is not None)
    # Without patients each observation is a cluster of its own.
    codes, clusters = cluster_codes(
        np.arange(len(labels)) if cluster is None else cluster, len(labels)
    )
    shared: dict[str, Any] = {
        "level": level,
        "method": method,
        "positives": int(labels.sum()),
        "negatives": int((~labels).sum()),
        "clusters": None if cluster is None else clusters,
    }
    reason = one_class_reason(labels)
    if reason:
        return AucInterval(reason=reason, **shared)
    placed = placements(labels, scores[None])
    shared["estimate"] = float(placed.auc[0])
    if method == "logit":
        return _logit_interval(placed, labels, _are_tied(scores), codes, clusters, shared)
    # An exact comparison: `placements` yields exactly 0 or 1 under perfect separation.
    if shared["estimate"] in (0.0, 1.0):
        return AucInterval(reason=SEPARATED, **shared)
    if method == "bootstrap":
        if resamples is None:
            # More samples reduce Monte Carlo error where they cost little time.
            resamples = int(np.clip(CHEAP_MULTIPLICATIONS // clusters**2, 2_000, 20_000))
        return _bootstrap_interval(labels, scores, codes, clusters, resamples, seed, shared)
    return _wald_interval(
        placed,
        labels,
        _are_tied(scores),
        codes if method == "obuchowski" else None,
        clusters,
        shared,
    )


def _check_method(method: str, has_patients: bool) -> None:
    if method not in AUC_METHODS:
        raise ValueError(f"the method is {method!r}: it must be one of {', '.join(AUC_METHODS)}")
    if not has_patients and method == "obuchowski":
        raise ValueError(
            "the method 'obuchowski' needs the patient of each observation: give cluster"
        )
    if has_patients and method == "delong":
        raise ValueError(
            "the method 'delong' takes observations as independent: with patients use 'logit' or"
            " 'obuchowski'"
        )


def covariance_or_reason(
    placed: Placements, labels: Array, codes: Array | None, clusters: int
) -> tuple[Array | None, str | None]:
    """Estimate the covariance of k AUCs by DeLong, or by Obuchowski where `codes` are given.

    Parameters
    ----------
    placed : Placements
        Placement values of k scores.
    labels : ndarray of bool, shape (n,)
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
    if codes is not None:
        return obuchowski_covariance(placed, labels, codes, clusters)
    covariance = delong_covariance(placed)
    return covariance, ONE_OBSERVATION if covariance is None else None


def _logit_interval(
    placed: Placements,
    labels: Array,
    tied: bool,
    codes: Array,
    clusters: int,
    shared: dict[str, Any],
) -> AucInterval:
    parts, reason = patient_contributions(placed, labels, codes, clusters)
    if parts is None:
        return AucInterval(
            reason=ONE_OBSERVATION if shared["clusters"] is None else reason, **shared
        )
    if tied:
        return AucInterval(reason=TIED, **shared)
    estimate = area_estimate(parts, 0, shared["estimate"])
    low, high = estimate.bounds(shared["level"])
    return AucInterval(
        standard_error=float(np.sqrt(max(0.0, parts.covariance()[0, 0]))),
        low=low,
        high=high,
        df=estimate.df if estimate.varies else None,
        reason=None if estimate.varies else SCORE_BOUNDS,
        **shared,
    )


def _wald_interval(
    placed: Placements,
    labels: Array,
    tied: bool,
    codes: Array | None,
    clusters: int,
    shared: dict[str, Any],
) -> AucInterval:
    covariance, reason = covariance_or_reason(placed, labels, codes, clusters)
    if covariance is None:
        return AucInterval(reason=reason, **shared)
    error = float(np.sqrt(max(0.0, covariance[0, 0])))
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

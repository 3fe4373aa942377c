"""Calibration of probabilities, and the net benefit of acting on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.clustered import korn_graubard_interval
from evaluation.intervals import Interval, decimal, interval_text, join_reasons, not_estimable
from evaluation.proportion import proportion_interval
from evaluation.validation import Array, cluster_codes, labels_and_probabilities, one_class_reason

BINS = 10
# A network's softmax reaches exactly 0 and 1 in float32; their logit must stay finite.
SMALLEST_PROBABILITY = 1e-12
MAX_NEWTON_STEPS = 100


@dataclass(frozen=True)
class CalibrationBin:
    """One bin of the calibration curve.

    Attributes
    ----------
    low, high : float
        Edges of the bin.
    n : int
        Number of probabilities in the bin.
    predicted : float or None
        Mean predicted probability.
    observed : Interval
        Observed proportion.
    """

    low: float
    high: float
    n: int
    predicted: float | None
    observed: Interval


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration of probabilities.

    Attributes
    ----------
    n : int
        Number of probabilities.
    slope, intercept : float or None
        Logistic recalibration y ~ logit(p); slope 1 and intercept 0 are ideal.
    in_the_large : float or None
        Calibration in the large: intercept with logit(p) as offset; 0 is ideal.
    slope_standard_error, in_the_large_standard_error : float or None
        Standard errors, robust to dependence where patients are given.
    observed_expected : float or None
        Observed positives divided by the sum of probabilities.
    brier, brier_scaled : float or None
        Brier score, and 1 - Brier score / that of the prevalence.
    log_loss : float or None
        Mean negative log likelihood.
    ece : float or None
        Expected calibration error over the bins.
    bins : tuple of CalibrationBin
    level, method, unit : float, str, str
        Confidence level, method and unit of analysis.
    reason : str or None
        Why numbers are missing.
    """

    n: int
    slope: float | None = None
    slope_standard_error: float | None = None
    intercept: float | None = None
    in_the_large: float | None = None
    in_the_large_standard_error: float | None = None
    observed_expected: float | None = None
    brier: float | None = None
    brier_scaled: float | None = None
    log_loss: float | None = None
    ece: float | None = None
    bins: tuple[CalibrationBin, ...] = ()
    level: float = 0.95
    method: str = "logistic recalibration; ECE over 10 equal-width bins"
    unit: str = "observation, taken as independent"
    reason: str | None = None

    def slope_interval(self) -> Interval:
        """Return the Wald interval of the slope."""
        return _wald_interval(self.slope, self.slope_standard_error, self.level, self.reason)

    def in_the_large_interval(self) -> Interval:
        """Return the Wald interval of calibration in the large."""
        return _wald_interval(
            self.in_the_large, self.in_the_large_standard_error, self.level, self.reason
        )

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.brier is None:
            return f"Calibration {not_estimable(self.reason)}."
        slope = self.slope_interval()
        recalibration = (
            f"slope {decimal(slope.estimate, 2)}"
            f" ({interval_text(slope.low, slope.high, self.level, slope.reason)}), intercept"
            f" {decimal(self.intercept, 2)}, in the large {decimal(self.in_the_large, 2)}"
            if self.slope is not None
            else f"slope {not_estimable(self.reason)}"
        )
        return (
            f"Calibration of {self.n} probabilities: {recalibration}; Brier score"
            f" {decimal(self.brier)}, expected calibration error {decimal(self.ece)}."
        )


def _wald_interval(
    estimate: float | None, error: float | None, level: float, reason: str | None
) -> Interval:
    if estimate is None or not error:
        return Interval.without_bounds(level, "Wald", reason or "its standard error is 0", estimate)
    half = float(scipy.stats.norm.isf((1 - level) / 2)) * error
    return Interval(
        estimate=estimate, low=estimate - half, high=estimate + half, level=level, method="Wald"
    )


def calibration(y: Any, probability: Any, level: float = 0.95, cluster: Any = None) -> Calibration:
    """Compute the calibration of probabilities.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    probability : array_like of float, shape (n,)
        Probabilities in [0, 1].
    level : float
        Confidence level in (0, 1).
    cluster : sequence of hashable, shape (n,), optional
        Patient of each observation. Standard errors are then robust to the dependence of a
        patient's observations, and the bins' intervals are Korn and Graubard's.

    Returns
    -------
    Calibration
        A slope is missing, with the reason, for one class, equal probabilities, or probabilities
        that separate the classes.

    Raises
    ------
    ValueError
        If labels, probabilities or patients are invalid.

    Notes
    -----
    Slope and intercept: logistic regression of y on logit(p). In the large: its intercept with
    slope 1. Robust variance: sandwich with scores summed by patient, times m / (m - 1) for m
    patients. ECE: mean |mean probability - observed proportion| over ten bins [k/10, (k+1)/10),
    weighted by their numbers.

    Checked against: R 4.2 `glm` (1e-6), statsmodels 0.15 `Logit` (1e-7) and scikit-learn
    `log_loss` (1e-10).

    References
    ----------
    Cox DR. Two further applications of a model for binary regression. Biometrika 1958;45:562-565.
    Brier GW. Mon Weather Rev 1950;78:1-3. Liang K-Y, Zeger SL. Biometrika 1986;73:13-22 (robust
    variance). Naeini MP, Cooper GF, Hauskrecht M. AAAI 2015:2901-2907 (ECE).

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> p = rng.uniform(0.05, 0.95, 500)
    >>> result = calibration(rng.random(500) < p, p)
    >>> round(result.slope, 2), round(result.in_the_large, 2), round(result.brier, 3)
    (1.06, -0.16, 0.179)
    """
    labels, p = labels_and_probabilities(y, probability)
    if not len(labels):
        return Calibration(n=0, level=level, reason="there are no observations")
    codes, clusters = (None, 0) if cluster is None else cluster_codes(cluster, len(p))
    bins = _calibration_bins(labels, p, level, codes)
    # Empty bins have neither a predicted nor an observed value.
    ece = float(
        sum(
            part.n * abs(part.predicted - part.observed.estimate)
            for part in bins
            if part.predicted is not None and part.observed.estimate is not None
        )
        / len(p)
    )
    brier, prevalence = float(((p - labels) ** 2).mean()), labels.mean()
    # Keeps the log loss finite for probabilities of exactly 0 or 1.
    clipped = np.clip(p, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return Calibration(
        n=len(p),
        observed_expected=float(labels.sum() / p.sum()) if p.sum() else None,
        brier=brier,
        brier_scaled=float(1 - brier / (prevalence * (1 - prevalence)))
        if 0 < prevalence < 1
        else None,
        log_loss=float(-np.where(labels, np.log(clipped), np.log(1 - clipped)).mean()),
        ece=ece,
        bins=bins,
        level=level,
        unit="observation, taken as independent" if codes is None else "patient",
        **_recalibration(labels, p, codes, clusters),
    )


def _recalibration(labels: Array, p: Array, codes: Array | None, clusters: int) -> dict[str, Any]:
    """Return slope, intercept and calibration in the large, and why any of them is missing."""
    reason = one_class_reason(labels)
    one_patient = (
        "all observations come from one patient: the variance between patients cannot be estimated"
        if clusters == 1
        else None
    )
    # With one patient the estimates are those of independent observations, without standard errors.
    robust = None if one_patient else codes
    # 1 - p is clipped by itself, because 1 - (1 - 1e-12) is not 1e-12 in float64.
    logit = np.log(
        np.clip(p, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
        / np.clip(1 - p, SMALLEST_PROBABILITY, 1)
    )
    fields: dict[str, Any] = {}
    if reason is None:
        ones = np.ones(len(p))
        large = _fit_logistic(ones[:, None], labels, logit, robust)
        if large:
            fields["in_the_large"] = float(large[0][0])
            fields["in_the_large_standard_error"] = float(large[1][0])
        if np.ptp(logit) == 0:
            reason = "all probabilities are equal: a slope does not exist"
        else:
            fit = _fit_logistic(np.column_stack([ones, logit]), labels, np.zeros(len(p)), robust)
            if fit:
                fields["intercept"], fields["slope"] = float(fit[0][0]), float(fit[0][1])
                fields["slope_standard_error"] = float(fit[1][1])
            else:
                reason = "the probabilities separate the classes perfectly: a slope does not exist"
        reason = join_reasons(
            reason,
            None if large else "too many probabilities are 0 or 1 for a calibration in the large",
            one_patient,
        )
    if one_patient:
        fields |= {"slope_standard_error": None, "in_the_large_standard_error": None}
    return {**fields, "reason": reason}


def _fit_logistic(
    design: Array, labels: Array, offset: Array, codes: Array | None = None
) -> tuple[Array, Array] | None:
    """Fit a logistic regression by Newton's method; None where the classes are separated.

    Parameters
    ----------
    design : ndarray, shape (n, k)
    labels : ndarray of bool, shape (n,)
    offset : ndarray, shape (n,)
    codes : ndarray of int, shape (n,), optional
        Patients of the robust variance.

    Returns
    -------
    coefficients, standard_errors : ndarray, shape (k,)
    """
    beta = np.zeros(design.shape[1])
    for _ in range(MAX_NEWTON_STEPS):
        # exp overflows float64 beyond 709.
        mean = 1 / (1 + np.exp(-np.clip(design @ beta + offset, -500, 500)))
        information = (design * (mean * (1 - mean))[:, None]).T @ design
        # Under separation the fitted probabilities tend to 0 and 1 and the information vanishes.
        if np.linalg.cond(information) > 1e14 or np.abs(beta).max() > 1e3:
            return None
        step = np.linalg.solve(information, design.T @ (labels - mean))
        # Steps are limited to 5, so that a long first step does not overshoot.
        beta = beta + step / max(1.0, np.abs(step).max() / 5)
        if np.abs(step).max() < 1e-10:
            scores = design * (labels - mean)[:, None]
            covariance = _coefficient_covariance(np.linalg.inv(information), scores, codes)
            return beta, np.sqrt(np.diag(covariance))
    return None


def _coefficient_covariance(inverse: Array, scores: Array, codes: Array | None) -> Array:
    """Return the inverse information, or the sandwich with scores [n, k] summed by patient."""
    if codes is None:
        return inverse
    # Scores of one patient are summed before squaring, which allows for their dependence.
    sums = np.stack([np.bincount(codes, column) for column in scores.T])
    clusters = sums.shape[1]
    return inverse @ sums @ sums.T @ inverse * clusters / (clusters - 1)


def _calibration_bins(
    labels: Array, p: Array, level: float, codes: Array | None
) -> tuple[CalibrationBin, ...]:
    edges = np.arange(BINS + 1) / BINS
    # Searching the edges, unlike floor(10 p), puts a probability such as .3 into its own bin.
    member = np.minimum(np.searchsorted(edges, p, side="right") - 1, BINS - 1)
    counts, sums = np.bincount(member, minlength=BINS), np.bincount(member, p, BINS)
    bins = []
    for k in range(BINS):
        outcomes = labels[member == k]
        observed = (
            proportion_interval(int(outcomes.sum()), len(outcomes), "wilson", level)
            if codes is None
            else korn_graubard_interval(outcomes, codes[member == k], level)
        )
        bins.append(
            CalibrationBin(
                low=float(edges[k]),
                high=float(edges[k + 1]),
                n=len(outcomes),
                predicted=float(sums[k] / counts[k]) if counts[k] else None,
                observed=observed,
            )
        )
    return tuple(bins)


@dataclass(frozen=True, kw_only=True)
class NetBenefit:
    """Net benefit of acting on probabilities, per observation.

    Attributes
    ----------
    threshold : float
        Probability from which to act.
    model, treat_all, treat_none : float or None
        Net benefit of acting on the model, on all and on no observations.
    n, unit : int, str
        Number of observations and unit of analysis.
    reason : str or None
        Why there is no net benefit.
    """

    threshold: float
    model: float | None
    treat_all: float | None
    treat_none: float = 0.0
    n: int = 0
    unit: str = "observation"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.model is None:
            return f"Net benefit {not_estimable(self.reason)}."
        return (
            f"Net benefit at threshold {decimal(self.threshold, 2)}: {decimal(self.model)} (acting"
            f" on all: {decimal(self.treat_all)}, on none: 0)."
        )


def net_benefit(y: Any, probability: Any, threshold: float) -> NetBenefit:
    """Compute the net benefit at a probability threshold.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    probability : array_like of float, shape (n,)
        Probabilities in [0, 1].
    threshold : float
        In (0, 1); observations with p >= threshold are acted on.

    Returns
    -------
    NetBenefit

    Raises
    ------
    ValueError
        If labels, probabilities or the threshold are invalid.

    Notes
    -----
    Net benefit = TP / n - FP / n x t / (1 - t) at threshold t.

    Checked against: an independent implementation in R 4.2 (1e-6).

    References
    ----------
    Vickers AJ, Elkin EB. Decision curve analysis. Med Decis Making 2006;26:565-574.

    Examples
    --------
    >>> result = net_benefit([1, 0, 1, 0, 0], [0.9, 0.3, 0.4, 0.1, 0.2], 0.25)
    >>> round(result.model, 3), round(result.treat_all, 3)
    (0.333, 0.2)
    """
    labels, p = labels_and_probabilities(y, probability)
    if not 0 < threshold < 1:
        raise ValueError(f"the threshold is {threshold:g}: it must lie between 0 and 1")
    if not len(labels):
        return NetBenefit(
            threshold=threshold, model=None, treat_all=None, reason="there are no observations"
        )
    # The threshold fixes what a false positive weighs against a true one (Vickers and Elkin).
    odds, called = threshold / (1 - threshold), p >= threshold
    model = (labels & called).mean() - (~labels & called).mean() * odds
    return NetBenefit(
        threshold=threshold,
        model=float(model),
        treat_all=float(labels.mean() - (~labels).mean() * odds),
        n=len(p),
    )

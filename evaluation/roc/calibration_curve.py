"""Do probabilities mean what they say, and are they worth acting on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from evaluation.clustered import clustered_proportion
from evaluation.intervals import Interval, decimal, interval_text, join_reasons, not_estimable
from evaluation.proportion import proportion_interval
from evaluation.validation import Array, cluster_codes, one_class_reason, probabilities

BINS = 10
# A network's softmax reaches exactly 0 and 1 in float32; their logit must stay finite.
SMALLEST = 1e-12


@dataclass(frozen=True)
class CalibrationBin:
    """One bin of the calibration curve: mean predicted probability, observed share with its
    interval.
    """

    low: float
    high: float
    n: int
    predicted: float | None
    observed: Interval


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Calibration of probabilities: logistic recalibration (slope, intercept), calibration in the
    large, scores and the binned curve.
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
        """Wald interval of the slope."""
        return _wald(self.slope, self.slope_standard_error, self.level, self.reason)

    def in_the_large_interval(self) -> Interval:
        """Wald interval of calibration in the large."""
        return _wald(self.in_the_large, self.in_the_large_standard_error, self.level, self.reason)

    def sentence(self) -> str:
        """For a results section."""
        if self.brier is None:
            return f"Calibration {not_estimable(self.reason)}."
        slope = self.slope_interval()
        words = (
            f"slope {decimal(slope.estimate, 2)}"
            f" ({interval_text(slope.low, slope.high, self.level, slope.reason)}), intercept"
            f" {decimal(self.intercept, 2)}, in the large {decimal(self.in_the_large, 2)}"
            if self.slope is not None
            else f"slope {not_estimable(self.reason)}"
        )
        return (
            f"Calibration of {self.n} probabilities: {words}; Brier score {decimal(self.brier)},"
            f" expected calibration error {decimal(self.ece)}."
        )


def _wald(
    estimate: float | None, error: float | None, level: float, reason: str | None
) -> Interval:
    if estimate is None or not error:
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=level,
            method="Wald",
            reason=reason or "its standard error is 0",
        )
    half = float(stats.norm.isf((1 - level) / 2)) * error
    return Interval(
        estimate=estimate, low=estimate - half, high=estimate + half, level=level, method="Wald"
    )


def calibration(y: Any, probability: Any, level: float = 0.95, cluster: Any = None) -> Calibration:
    """Slope and intercept of y ~ logit(p); calibration in the large = intercept with logit(p) as
    offset; observed / expected; Brier and scaled Brier (1 - Brier / that of the prevalence); log
    loss; expected calibration error over the bins [k/10, (k+1)/10).

    With `cluster` (patients, any hashable [n]) the standard errors of the regressions are robust to
    their dependence (sandwich by patient, Liang and Zeger 1986, times m/(m-1)), and the bins'
    intervals are Korn and Graubard's on the effective sample size.
    """
    labels, p = probabilities(y, probability)
    if not len(labels):
        return Calibration(n=0, level=level, reason="there are no observations")
    codes, clusters = (None, 0) if cluster is None else cluster_codes(cluster, len(p))
    alone = (
        "all observations come from one patient: nothing is known about other patients"
        if clusters == 1
        else None
    )
    robust = None if alone else codes
    reason = one_class_reason(labels)
    logit = np.log(np.clip(p, SMALLEST, 1 - SMALLEST) / np.clip(1 - p, SMALLEST, 1))
    slope_fit, large_fit = None, None
    if reason is None:
        large_fit = _logistic(np.ones((len(p), 1)), labels, logit, robust)
        if np.ptp(logit) == 0:
            reason = "all probabilities are equal: a slope does not exist"
        else:
            slope_fit = _logistic(
                np.column_stack([np.ones(len(p)), logit]), labels, np.zeros(len(p)), robust
            )
            reason = (
                None
                if slope_fit
                else "the probabilities separate the classes perfectly: a slope does not exist"
            )
        reason = join_reasons(
            reason,
            (
                None
                if large_fit
                else "too many probabilities are 0 or 1 for a calibration in the large"
            ),
            alone,
        )
    bins = _bins(labels, p, level, codes)
    ece = float(
        sum(
            part.n * abs(part.predicted - part.observed.estimate)
            for part in bins
            if part.predicted is not None and part.observed.estimate is not None
        )
        / len(p)
    )
    brier, prevalence, clipped = (
        float(((p - labels) ** 2).mean()),
        labels.mean(),
        np.clip(p, SMALLEST, 1 - SMALLEST),
    )
    slope, slope_error, intercept = (
        (float(slope_fit[0][1]), float(slope_fit[1][1]), float(slope_fit[0][0]))
        if slope_fit
        else (None, None, None)
    )
    large, large_error = (
        (float(large_fit[0][0]), float(large_fit[1][0])) if large_fit else (None, None)
    )
    slope_error, large_error = (None, None) if alone else (slope_error, large_error)
    return Calibration(
        n=len(p),
        slope=slope,
        slope_standard_error=slope_error,
        intercept=intercept,
        in_the_large=large,
        in_the_large_standard_error=large_error,
        observed_expected=float(labels.sum() / p.sum()) if p.sum() else None,
        brier=brier,
        brier_scaled=float(1 - brier / (prevalence * (1 - prevalence)))
        if 0 < prevalence < 1
        else None,
        log_loss=float(-np.where(labels, np.log(clipped), np.log(1 - clipped)).mean()),
        ece=ece,
        bins=bins,
        level=level,
        reason=reason,
        unit="observation, taken as independent" if codes is None else "patient",
    )


def _logistic(
    design: Array, labels: Array, offset: Array, codes: Array | None = None
) -> tuple[Array, Array] | None:
    """Coefficients and standard errors (robust where `codes` gives clusters) of a logistic
    regression by Newton's method; None where the classes are separated.
    """
    beta = np.zeros(design.shape[1])
    for _ in range(100):
        mean = 1 / (1 + np.exp(-np.clip(design @ beta + offset, -500, 500)))
        information = (design * (mean * (1 - mean))[:, None]).T @ design
        # Under separation the fitted probabilities run to 0 and 1 and the information vanishes.
        if np.linalg.cond(information) > 1e14 or np.abs(beta).max() > 1e3:
            return None
        step = np.linalg.solve(information, design.T @ (labels - mean))
        # Halving keeps a long first step from overshooting.
        beta = beta + step / max(1.0, np.abs(step).max() / 5)
        if np.abs(step).max() < 1e-10:
            return beta, np.sqrt(
                np.diag(
                    _covariance(
                        np.linalg.inv(information), design * (labels - mean)[:, None], codes
                    )
                )
            )
    return None


def _covariance(bread: Array, scores: Array, codes: Array | None) -> Array:
    """Covariance of coefficients: the inverse information, or the sandwich with the scores [n, k]
    summed by two clusters or more.
    """
    if codes is None:
        return bread
    sums = np.stack([np.bincount(codes, column) for column in scores.T])
    clusters = sums.shape[1]
    return bread @ sums @ sums.T @ bread * clusters / (clusters - 1)


def _bins(labels: Array, p: Array, level: float, codes: Array | None) -> tuple[CalibrationBin, ...]:
    edges = np.arange(BINS + 1) / BINS
    member = np.minimum(np.searchsorted(edges, p, side="right") - 1, BINS - 1)
    counts, sums = np.bincount(member, minlength=BINS), np.bincount(member, p, BINS)
    bins = []
    for k in range(BINS):
        mine = labels[member == k]
        observed = (
            proportion_interval(int(mine.sum()), len(mine), "wilson", level)
            if codes is None
            else _clustered(mine, codes[member == k], level)
        )
        bins.append(
            CalibrationBin(
                float(edges[k]),
                float(edges[k + 1]),
                len(mine),
                float(sums[k] / counts[k]) if counts[k] else None,
                observed,
            )
        )
    return tuple(bins)


def _clustered(hits: Array, codes: Array, level: float) -> Interval:
    found = clustered_proportion(hits, codes, level=level)
    reason = found.reason and found.reason.replace("right answers", "positives").replace(
        "answers", "observations"
    )
    return Interval(
        estimate=found.estimate,
        low=found.korn_graubard_low,
        high=found.korn_graubard_high,
        level=level,
        method="Korn-Graubard",
        reason=reason,
        unit="patient",
    )


@dataclass(frozen=True, kw_only=True)
class NetBenefit:
    """Net benefit per observation of acting on p >= threshold, beside acting on all and on none (0)
    (Vickers and Elkin 2006).
    """

    threshold: float
    model: float | None
    treat_all: float | None
    treat_none: float = 0.0
    n: int = 0
    unit: str = "observation"
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        if self.model is None:
            return f"Net benefit {not_estimable(self.reason)}."
        return (
            f"Net benefit at threshold {decimal(self.threshold, 2)}: {decimal(self.model)} (acting"
            f" on all: {decimal(self.treat_all)}, on none: 0)."
        )


def net_benefit(y: Any, probability: Any, threshold: float) -> NetBenefit:
    """tp/n - fp/n x t/(1 - t) at the probability threshold t, positive = p >= t."""
    labels, p = probabilities(y, probability)
    if not 0 < threshold < 1:
        raise ValueError(f"the threshold is {threshold:g}: it must lie between 0 and 1")
    if not len(labels):
        return NetBenefit(
            threshold=threshold, model=None, treat_all=None, reason="there are no observations"
        )
    odds, called = threshold / (1 - threshold), p >= threshold
    model = (labels & called).mean() - (~labels & called).mean() * odds
    return NetBenefit(
        threshold=threshold,
        model=float(model),
        treat_all=float(labels.mean() - (~labels).mean() * odds),
        n=len(p),
    )

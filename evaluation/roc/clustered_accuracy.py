"""Intervals of the accuracy of binary calls with patients as clusters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy

from evaluation.clustered import korn_graubard_interval
from evaluation.intervals import Interval
from evaluation.validation import Array

ONE_PATIENT = "all calls come from one patient"
METHOD = "t over patients"
RECOVERED = "recovered from sensitivity and specificity"
FROM_RATIO = "likelihood ratio, at the study's share of positives"


def clustered_share(right: Array, chosen: Array, codes: Array, level: float) -> Interval:
    """Return the proportion right among the chosen observations, after Korn and Graubard.

    Parameters
    ----------
    right, chosen : ndarray of bool, shape (n,)
    codes : ndarray of int, shape (n,)
        Patient of each observation.
    level : float
        Confidence level in (0, 1).
    """
    interval = korn_graubard_interval(right[chosen], codes[chosen], level, "call", "right", "wrong")
    # A caveat beside bounds concerns the intraclass correlation, which is not part of a table of
    # accuracy.
    return interval if interval.low is None else replace(interval, reason=None)


def clustered_balanced_accuracy(
    sensitivity: Interval, specificity: Interval, right: Array, labels: Array, codes: Array
) -> Interval:
    """Return the balanced accuracy with bounds recovered from those of its two parts.

    Parameters
    ----------
    sensitivity, specificity : Interval
        With patients as clusters.
    right, labels : ndarray of bool, shape (n,)
        Whether the call is right, and truth.
    codes : ndarray of int, shape (n,)
        Patient of each observation.

    Notes
    -----
    The correlation of the two parts is that of the patients' deviations; it is 0 where no patient
    has both truths.

    References
    ----------
    Zou GY, Donner A. Stat Med 2008;27:1693-1702.
    """
    level, parts = sensitivity.level, (sensitivity, specificity)
    for part in parts:
        if part.estimate is None or part.low is None or part.high is None:
            estimate = None
            if sensitivity.estimate is not None and specificity.estimate is not None:
                estimate = (sensitivity.estimate + specificity.estimate) / 2
            return Interval.without_bounds(level, RECOVERED, part.reason, estimate, "patient")
    estimates, lows, highs = (
        np.array([getattr(part, name) for part in parts]) for name in ("estimate", "low", "high")
    )
    positive, negative = (_deviations(right, mask, codes) for mask in (labels, ~labels))
    size = np.sqrt((positive**2).sum() * (negative**2).sum())
    correlation = float((positive * negative).sum() / size) if size > 0 else 0.0

    def half_width(distances: Array) -> float:
        """Return the distance of a bound of the mean from those of its parts."""
        product = 2 * correlation * distances.prod()
        return float(np.sqrt(max(0.0, (distances**2).sum() + product)) / 2)

    middle = float(estimates.mean())
    return Interval(
        estimate=middle,
        low=middle - half_width(estimates - lows),
        high=middle + half_width(highs - estimates),
        level=level,
        method=RECOVERED,
        unit="patient",
    )


def clustered_predictive_value(share: Interval, ratio: Interval, odds: float) -> Interval:
    """Return a predictive value with the bounds of its likelihood ratio.

    Parameters
    ----------
    share : Interval
        The predictive value as a proportion of calls, with patients as clusters. Its bounds are
        used where the likelihood ratio has none.
    ratio : Interval
        Likelihood ratio of the predicted truth: positive for the positive predictive value, the
        reciprocal of the negative one for the negative predictive value.
    odds : float
        Odds of the predicted truth in the study.

    Notes
    -----
    The numbers of positives and negatives are set by the design of a study. The predictive value
    then varies by its likelihood ratio alone; as a proportion of calls it would seem to vary more.
    """
    if share.estimate is None or ratio.low is None or ratio.high is None:
        return share
    low, high = (float(bound * odds / (1 + bound * odds)) for bound in (ratio.low, ratio.high))
    return replace(share, low=low, high=high, method=FROM_RATIO)


def reciprocal(ratio: Interval) -> Interval:
    """Return the interval of the reciprocal of a positive ratio."""
    if ratio.low is None or ratio.high is None:
        return ratio
    return replace(ratio, low=1 / ratio.high, high=1 / ratio.low)


def clustered_ratio(
    called: Array, labels: Array, codes: Array, plain: Interval, odds: bool = False
) -> Interval:
    """Return a likelihood ratio or the odds ratio with a t interval over patients.

    Parameters
    ----------
    called, labels : ndarray of bool, shape (n,)
        Call (or its opposite, for the negative likelihood ratio) and truth.
    codes : ndarray of int, shape (n,)
        Patient of each observation.
    plain : Interval
        The ratio under independence. Where it has no bounds, neither has the result.
    odds : bool
        Whether `plain` is the odds ratio.

    Notes
    -----
    Linearised on the logarithmic scale with m - 1 degrees of freedom, for m patients.
    """
    method = f"log scale, {METHOD}"
    if plain.estimate is None or plain.low is None:
        return replace(plain, method=method, unit="patient")
    parts = []
    for mask in (labels, ~labels):
        share = called[mask].mean()
        # Derivative of the logarithm, or of the logit.
        scale = share * (1 - share) if odds else share
        parts.append(_deviations(called, mask, codes) / scale)
    half, reason = _half_width(parts[0] - parts[1], plain.level)
    if reason:
        return Interval.without_bounds(plain.level, method, reason, plain.estimate, "patient")
    return Interval(
        estimate=plain.estimate,
        low=float(plain.estimate * np.exp(-half)),
        high=float(plain.estimate * np.exp(half)),
        level=plain.level,
        method=method,
        unit="patient",
    )


def _deviations(outcome: Array, mask: Array, codes: Array) -> Array:
    """Return what each patient adds to the deviation of a proportion, [patients]."""
    deviations = outcome[mask] - outcome[mask].mean()
    return np.bincount(codes[mask], deviations, int(codes.max()) + 1) / mask.sum()


def _half_width(parts: Array, level: float) -> tuple[float, str | None]:
    """Return the half width of a t interval from patients' parts, or why there is none."""
    m = len(parts)
    if m < 2:
        return 0.0, ONE_PATIENT
    error = np.sqrt(m / (m - 1) * (parts**2).sum())
    if error < 1e-12:
        return 0.0, "every patient is called alike: the variance is 0 and gives no interval"
    return float(scipy.special.stdtrit(m - 1, (1 + level) / 2) * error), None

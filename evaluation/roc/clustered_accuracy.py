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
    right: Array, labels: Array, codes: Array, plain: Interval
) -> Interval:
    """Return the balanced accuracy with a t interval over patients.

    Parameters
    ----------
    right, labels : ndarray of bool, shape (n,)
        Whether the call is right, and truth.
    codes : ndarray of int, shape (n,)
        Patient of each observation.
    plain : Interval
        The estimate, with its level.
    """
    if plain.estimate is None:
        return replace(plain, method=METHOD, unit="patient")
    positive, negative = (_deviations(right, mask, codes) for mask in (labels, ~labels))
    half, reason = _half_width((positive + negative) / 2, plain.level)
    if reason:
        return Interval.without_bounds(plain.level, METHOD, reason, plain.estimate, "patient")
    return Interval(
        estimate=plain.estimate,
        low=max(0.0, plain.estimate - half),
        high=min(1.0, plain.estimate + half),
        level=plain.level,
        method=METHOD,
        unit="patient",
    )


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

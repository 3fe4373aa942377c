"""Proportions and means of answers, with random readers and patients as clusters.

Answers of one reader are correlated, and so are those on one patient. Not every reader needs to
have an answer on every patient: which cases a proportion is about may depend on the answers, as the
cases that a reader answered wrongly at first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import Interval
from evaluation.mrmc.reader_mean import combined_df
from evaluation.validation import Array

LOGIT_METHOD = "logit scale, random readers and patients"
MEAN_METHOD = "random readers and patients"
_FEW = "fewer than two patients"
_ONE_READER = "one reader: does not generalise to readers"
# A variance below this is 0 up to rounding.
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True)
class Answers:
    """Values of answers, with the reader and the patient of each; three arrays of shape (n,)."""

    values: Array
    readers: Array
    patients: Array

    def __len__(self) -> int:
        return len(self.values)


def crossed_variance(
    influence: Array, readers: Any, patients: Any, floor: bool = False
) -> tuple[float, float]:
    """Return the variance of an estimate and its degrees of freedom.

    Parameters
    ----------
    influence : ndarray of float, shape (n,)
        Contribution of each answer to the error of the estimate; the sum is 0.
    readers, patients : sequence of hashable, shape (n,)
        Reader and patient of each answer.
    floor : bool
        Whether the variance between readers is at least that of single answers, see Notes.

    Returns
    -------
    variance : float
    df : float
        0 with fewer than two patients.

    Notes
    -----
    With the sums of the influences of each reader, V_R = R / (R - 1) times the sum of their
    squares; likewise V_P of patients, and V_RP of each reader and patient. The variance is
    V_R + max(V_P - V_RP, 0): what varies between readers contains the variance of single answers,
    and patients add what is common to readers. It has the structure of the analysis of Obuchowski
    and Rockette, MS(T:R) + r max(Cov2 - Cov3, 0), and the degrees of freedom of
    `combined_df`. One reader is fixed: the variance is V_P. The other order, V_P +
    max(V_R - V_RP, 0), covers .92 with four readers who differ.

    V_R of few readers may be small by chance, though its expectation is at least V_RP. With `floor`
    it is max(V_R, V_RP): intervals of means and differences, which have the scale of the answers,
    cover .90 to .93 without it with four readers; those of proportions on the logit scale cover
    .93 to .97 without it and .97 to 1 with it. See benchmarks/READING_ADVICE.md.

    References
    ----------
    Cameron AC, Gelbach JB, Miller DL. Robust inference with multiway clustering. J Bus Econ Stat
    2011;29:238-249 (the three sums of squares).

    Examples
    --------
    >>> variance, df = crossed_variance(np.array([.1, -.1, .1, -.1]), list("aabb"), [1, 2, 1, 2])
    >>> round(variance, 3), df
    (0.12, 1.0)
    """
    by_reader, by_patient = _sums(influence, readers), _sums(influence, patients)
    by_both = _sums(influence, list(zip(readers, patients)))
    r, p = len(by_reader), len(by_patient)
    if p < 2:
        return 0.0, 0.0
    patient_variance = p / (p - 1) * float((by_patient**2).sum())
    if r < 2:
        return patient_variance, p - 1
    reader_variance = r / (r - 1) * float((by_reader**2).sum())
    single_variance = float((by_both**2).sum())
    shared = max(patient_variance - single_variance, 0.0)
    if floor:
        reader_variance = max(reader_variance, single_variance)
    return reader_variance + shared, float(combined_df(reader_variance, r - 1, shared, p - 1))


def _sums(influence: Array, groups: Sequence[Any]) -> Array:
    """Return the sum of the influences of each group."""
    codes: dict[Any, int] = {}
    index = np.array([codes.setdefault(group, len(codes)) for group in groups], dtype=int)
    return np.bincount(index, influence, minlength=len(codes))


def crossed_proportion(answers: Answers, level: float = 0.95) -> Interval:
    """Estimate a proportion of answers.

    Parameters
    ----------
    answers : Answers
        Values are 0 or 1.
    level : float
        Confidence level in (0, 1).

    Returns
    -------
    Interval
        On the logit scale with a t quantile. Where all answers are equal, or the variance is 0, the
        bounds are those of Clopper and Pearson on the number of patients.

    Examples
    --------
    >>> answers = Answers(np.array([1, 0, 1, 1, 1, 0.]), np.array(list("aabbcc")), np.arange(6))
    >>> interval = crossed_proportion(answers)
    >>> round(interval.estimate, 3), round(interval.low, 2), round(interval.high, 2)
    (0.667, 0.13, 0.97)
    """
    n = len(answers)
    if not n:
        return Interval.without_bounds(
            level, LOGIT_METHOD, "there is no such answer", unit=_unit(2)
        )
    p = float(answers.values.mean())
    patients = len(set(answers.patients))
    readers = len(set(answers.readers))
    shared: dict[str, Any] = {"estimate": p, "level": level, "unit": _unit(readers)}
    if patients < 2:
        return Interval(low=None, high=None, method=LOGIT_METHOD, reason=_FEW, **shared)
    variance, df = crossed_variance((answers.values - p) / n, answers.readers, answers.patients)
    caveat = _ONE_READER if readers < 2 else None
    if variance < _NEGLIGIBLE:
        low, high = _counted_patients(p, patients, level)
        return Interval(
            low=low,
            high=high,
            method="Clopper-Pearson on the number of patients",
            reason=caveat,
            **shared,
        )
    half = _quantile(df, level) * variance**0.5 / (p * (1 - p))
    centre = scipy.special.logit(p)
    return Interval(
        low=float(scipy.special.expit(centre - half)),
        high=float(scipy.special.expit(centre + half)),
        method=LOGIT_METHOD,
        reason=caveat,
        **shared,
    )


def _counted_patients(p: float, patients: int, level: float) -> tuple[float, float]:
    tail, x = (1 - level) / 2, p * patients
    low = float(scipy.special.betaincinv(x, patients - x + 1, tail)) if p > 0 else 0.0
    high = float(scipy.special.betainccinv(x + 1, patients - x, tail)) if p < 1 else 1.0
    return low, high


def crossed_mean(answers: Answers, level: float = 0.95) -> Interval:
    """Estimate a mean over answers, such as that of the changes -1, 0 and 1.

    Returns
    -------
    Interval
        Estimate and t quantile times the standard error; without bounds where the variance is 0.
    """
    if not len(answers):
        return Interval.without_bounds(level, MEAN_METHOD, "there is no such answer", unit=_unit(2))
    mean = float(answers.values.mean())
    influence = (answers.values - mean) / len(answers)
    return _t_interval(mean, influence, answers.readers, answers.patients, level)


def crossed_difference(first: Answers, second: Answers, level: float = 0.95) -> Interval:
    """Estimate a difference of two means or proportions, first minus second.

    Readers and patients may be the same in both, in part or not at all; a common reader or patient
    is one cluster.

    Returns
    -------
    Interval
        Estimate and t quantile times the standard error; without bounds where the variance is 0.

    Examples
    --------
    >>> readers, patients = np.array(list("aabbcc")), np.arange(6)
    >>> first = Answers(np.array([1, 1, 1, 0, 1, 1.]), readers, patients)
    >>> second = Answers(np.array([0, 1, 0, 0, 0, 0.]), readers, patients)
    >>> interval = crossed_difference(first, second)
    >>> round(interval.estimate, 2), round(interval.low, 2), round(interval.high, 2)
    (0.67, -0.03, 1.0)
    """
    if not len(first) or not len(second):
        return Interval.without_bounds(level, MEAN_METHOD, "a group has no answers", unit=_unit(2))
    means = [float(answers.values.mean()) for answers in (first, second)]
    influence = np.concatenate(
        [
            sign * (answers.values - mean) / len(answers)
            for sign, answers, mean in zip((1, -1), (first, second), means)
        ]
    )
    readers = np.concatenate([first.readers, second.readers])
    patients = np.concatenate([first.patients, second.patients])
    return _t_interval(means[0] - means[1], influence, readers, patients, level)


def _t_interval(
    estimate: float, influence: Array, readers: Array, patients: Array, level: float
) -> Interval:
    count = len(set(readers))
    shared: dict[str, Any] = {
        "estimate": estimate,
        "level": level,
        "method": MEAN_METHOD,
        "unit": _unit(count),
    }
    variance, df = crossed_variance(influence, readers, patients, floor=True)
    if variance < _NEGLIGIBLE:
        missing = _FEW if not df else "the variance is 0"
        return Interval(low=None, high=None, reason=missing, **shared)
    half = _quantile(df, level) * variance**0.5
    reason = _ONE_READER if count < 2 else None
    return Interval(
        low=max(-1.0, estimate - half), high=min(1.0, estimate + half), reason=reason, **shared
    )


def _quantile(df: float, level: float) -> float:
    """Return the two-sided t quantile; of the normal law for infinitely many degrees of freedom."""
    tail = (1 + level) / 2
    return float(scipy.special.ndtri(tail) if np.isinf(df) else scipy.special.stdtrit(df, tail))


def _unit(readers: int) -> str:
    return "reader and patient" if readers > 1 else "patient"

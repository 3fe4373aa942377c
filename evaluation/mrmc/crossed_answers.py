"""Proportions and means of answers, with random readers and patients as clusters.

Answers of one reader are correlated, and so are those on one patient. A design may fix how many
cases each stratum has, as each class of truth; what differs between strata then adds no variance.
Which answers a proportion is about may depend on the answers, as the cases that a reader answered
wrongly at first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import Interval
from evaluation.mrmc.reader_mean import combined_df
from evaluation.validation import Array

LOGIT_METHOD = "logit scale, random readers, patients in strata"
MEAN_METHOD = "random readers, patients in strata"
_FEW = "fewer than two patients"
_ONE_READER = "one reader: does not generalise to readers"
# A variance below this is 0 up to rounding.
_NEGLIGIBLE = 1e-15


@dataclass(frozen=True)
class Answers:
    """Answers, with what the design fixes.

    Parameters
    ----------
    values : ndarray, shape (n,)
        Value of each answer.
    readers, patients : ndarray, shape (n,)
        Reader and patient of each answer.
    strata : ndarray, shape (n,), optional
        Stratum of each answer's case, where the design fixes the number of cases in each stratum.
        The default is a single stratum.
    counted : ndarray of bool, shape (n,), optional
        Answers that a proportion or mean is about; the others state how many cases each stratum
        has. The default is all.
    """

    values: Array
    readers: Array
    patients: Array
    strata: Array | None = None
    counted: Array | None = None

    def __len__(self) -> int:
        """Return the number of counted answers."""
        return int(self.is_counted.sum())

    @property
    def is_counted(self) -> Array:
        """Whether each answer counts."""
        return np.ones(len(self.values), dtype=bool) if self.counted is None else self.counted

    @property
    def stratum(self) -> Array:
        """The stratum of each answer."""
        return np.zeros(len(self.values), dtype=int) if self.strata is None else self.strata

    @property
    def mean(self) -> float:
        """Mean of the counted answers."""
        return float(self.values[self.is_counted].mean())

    @property
    def influence(self) -> Array:
        """Contribution of each answer to the error of the mean; 0 where it does not count."""
        return np.where(self.is_counted, (self.values - self.mean) / len(self), 0.0)

    def count(self, groups: Array) -> int:
        """Return the number of readers or patients that have a counted answer."""
        return len(set(groups[self.is_counted]))


def crossed_variance(
    influence: Array, readers: Any, patients: Any, strata: Any
) -> tuple[float, float]:
    """Return the variance of an estimate and its degrees of freedom.

    Parameters
    ----------
    influence : ndarray of float, shape (n,)
        Contribution of each answer to the error of the estimate; the sum is 0.
    readers, patients, strata : sequence of hashable, shape (n,)
        Reader and patient of each answer, and stratum of its case. The design fixes the number of
        cases of a stratum.

    Returns
    -------
    variance : float
    df : float
        0 with fewer than two patients.

    Notes
    -----
    With the sums of the influences of each reader, V_R = R / (R - 1) times the sum of their
    squares. For patients each influence loses the mean of its reader and stratum, and is multiplied
    by the root of m / (m - 1) for the m patients of that reader and stratum; with m = 1 it stays as
    it is. V_P is the sum of squares of what remains of each patient, V_RP of each reader and
    patient. The variance is V_R + max(V_P - V_RP, 0): what varies between readers contains the
    variance of single answers, and patients add what is common to readers. It has the structure of
    the analysis of Obuchowski and Rockette, MS(T:R) + r max(Cov2 - Cov3, 0). One reader is fixed:
    the variance is V_P.

    The expectation of V_R is at least V_RP. The degrees of freedom are those of `combined_df` with
    max(V_R, V_RP) and R - 1, and with the patients' part and patients less strata: few readers who
    are alike by chance would otherwise give many degrees of freedom. Readers whose sums are all
    equal have V_R = 0 by chance, and V_RP takes its place. See benchmarks/READING_ADVICE.md.

    References
    ----------
    Cameron AC, Gelbach JB, Miller DL. Robust inference with multiway clustering. J Bus Econ Stat
    2011;29:238-249 (the three sums of squares). Cochran WG. Sampling techniques. 3rd ed. Wiley
    1977, chapter 5 (stratified sampling). Lumley T. Complex surveys: a guide to analysis using R.
    Wiley 2010 (a stratum of one patient is centred on the whole sample, here on 0; option
    lonely.psu = "adjust").

    Examples
    --------
    >>> variance, df = crossed_variance(
    ...     np.array([.1, -.1, .1, -.1]), list("aabb"), [1, 2, 1, 2], [0] * 4
    ... )
    >>> round(variance, 3), df
    (0.16, 2.0)
    """
    reader, patient, stratum = _codes(readers), _codes(patients), _codes(strata)
    r, p = (int(codes.max(initial=-1)) + 1 for codes in (reader, patient))
    if p < 2:
        return 0.0, 0.0
    deviation, centred = _stratum_deviations(influence, reader, patient, stratum)
    # Patients in several strata can be fewer than their strata.
    patient_df = max(p - centred, 1)
    patient_variance = _sum_of_squares(deviation, patient)
    if r < 2:
        return patient_variance, patient_df
    single_variance = _sum_of_squares(deviation, reader * p + patient)
    reader_variance = r / (r - 1) * _sum_of_squares(influence, reader)
    if reader_variance < _NEGLIGIBLE:
        reader_variance = single_variance
    shared = max(patient_variance - single_variance, 0.0)
    expected = max(reader_variance, single_variance)
    return reader_variance + shared, float(combined_df(expected, r - 1, shared, patient_df))


def _codes(groups: Any) -> Array:
    """Return the number of each element's group, from 0."""
    codes: dict[Any, int] = {}
    return np.array([codes.setdefault(group, len(codes)) for group in groups], dtype=int)


def _sum_of_squares(influence: Array, groups: Array) -> float:
    """Return the sum of squares of the groups' sums."""
    return float((np.bincount(groups, influence) ** 2).sum())


def _stratum_deviations(
    influence: Array, reader: Array, patient: Array, stratum: Array
) -> tuple[Array, int]:
    """Return the influences less the means of reader and stratum, and how many strata that are."""
    cell = reader * (stratum.max() + 1) + stratum
    answers = np.bincount(cell)
    pairs = np.unique(cell * (patient.max() + 1) + patient)
    patients = np.bincount(pairs // (patient.max() + 1), minlength=len(answers))
    is_single = patients < 2
    mean = np.where(is_single, 0.0, np.bincount(cell, influence) / np.maximum(answers, 1))
    factor = np.where(is_single, 1.0, patients / np.maximum(patients - 1, 1))
    deviation = (influence - mean[cell]) * np.sqrt(factor[cell])
    return deviation, len(set(stratum[~is_single[cell]]))


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
        On the logit scale with a t quantile. Where all answers are equal, the variance is 0 and the
        bounds are those of Clopper and Pearson on the number of patients.

    Examples
    --------
    >>> answers = Answers(np.array([1, 0, 1, 1, 1, 0.]), np.array(list("aabbcc")), np.arange(6))
    >>> interval = crossed_proportion(answers)
    >>> round(interval.estimate, 3), round(interval.low, 2), round(interval.high, 2)
    (0.667, 0.07, 0.98)
    """
    if not len(answers):
        return Interval.without_bounds(
            level, LOGIT_METHOD, "there is no such answer", unit=_unit(2)
        )
    p = answers.mean
    patients, readers = answers.count(answers.patients), answers.count(answers.readers)
    shared: dict[str, Any] = {"estimate": p, "level": level, "unit": _unit(readers)}
    if patients < 2:
        return Interval(low=None, high=None, method=LOGIT_METHOD, reason=_FEW, **shared)
    variance, df = _answers_variance(answers)
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
    return _t_interval(answers.mean, (answers,), level)


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
    (0.67, -0.05, 1.0)
    """
    if not len(first) or not len(second):
        return Interval.without_bounds(level, MEAN_METHOD, "a group has no answers", unit=_unit(2))
    if min(side.count(side.patients) for side in (first, second)) < 2:
        # One patient shows no variance, which would count as certainty about that side.
        return Interval(
            estimate=first.mean - second.mean,
            low=None,
            high=None,
            level=level,
            method=MEAN_METHOD,
            reason=f"a group has {_FEW}",
            unit=_unit(2),
        )
    return _t_interval(first.mean - second.mean, (first, second), level)


def _answers_variance(*groups: Answers) -> tuple[float, float]:
    """Return variance and degrees of freedom of a mean, or of a first mean minus a second.

    Strata without a counted answer have no part in the estimate.
    """
    influence, readers, patients, strata = [], [], [], []
    for number, (sign, answers) in enumerate(zip((1, -1), groups)):
        used = _has_counted(answers.stratum, answers) & _has_counted(answers.readers, answers)
        influence.append(sign * answers.influence[used])
        readers.append(answers.readers[used])
        patients.append(answers.patients[used])
        strata += [(number, stratum) for stratum in answers.stratum[used]]
    return crossed_variance(
        np.concatenate(influence), np.concatenate(readers), np.concatenate(patients), strata
    )


def _has_counted(groups: Array, answers: Answers) -> Array:
    """Return for each answer whether its group has a counted answer."""
    codes = _codes(groups)
    return (np.bincount(codes, answers.is_counted) > 0)[codes]


def _t_interval(estimate: float, groups: tuple[Answers, ...], level: float) -> Interval:
    count = len({reader for answers in groups for reader in answers.readers[answers.is_counted]})
    shared: dict[str, Any] = {
        "estimate": estimate,
        "level": level,
        "method": MEAN_METHOD,
        "unit": _unit(count),
    }
    variance, df = _answers_variance(*groups)
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

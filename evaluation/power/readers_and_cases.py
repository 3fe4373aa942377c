"""Power of one arm against chance: several readers, patients with several images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from evaluation.power.binomial import binomial_power
from evaluation.validation import whole_number

_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(64)


@dataclass(frozen=True)
class AnswerCorrelations:
    """Correlations of two answers to the same patient.

    For the proportion correct they are correlations of correctness (0 or 1), for the AUC of the
    ratings within one truth class.

    Attributes
    ----------
    same_image : float
        Two readers, one image.
    same_patient : float
        Two images of one patient.

    Raises
    ------
    ValueError
        If a correlation lies outside [0, 1].
    """

    same_image: float = 0.3
    same_patient: float = 0.2

    def __post_init__(self) -> None:
        for name in ("same_image", "same_patient"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(
                    f"the correlation {name} is {value:g}: it must lie between 0 and 1"
                )


DEFAULT_CORRELATIONS = AnswerCorrelations()


def design_effect(
    readers: int, images_per_patient: int, same_image: float, same_patient: float
) -> float:
    """Return the variance of a mean of answers, divided by that of independent answers.

    Parameters
    ----------
    readers, images_per_patient : int
        Every reader reads every image.
    same_image, same_patient : float
        See `AnswerCorrelations`.

    Returns
    -------
    float
        1 + (readers - 1) same_image + readers (images - 1) same_patient.

    Notes
    -----
    Each answer is correlated with the other readers' answers to its image and with all readers'
    answers to the patient's other images.

    Examples
    --------
    >>> design_effect(3, 2, 0.3, 0.2)
    2.2
    """
    return 1 + (readers - 1) * same_image + readers * (images_per_patient - 1) * same_patient


def proportion_power(
    p1: float,
    patients: int,
    readers: int = 1,
    images_per_patient: int = 1,
    correlations: AnswerCorrelations = DEFAULT_CORRELATIONS,
    alpha: float = 0.05,
    side: str = "greater",
    exact: bool = False,
) -> float:
    """Compute the power of the proportion correct against .5, clustered by patient.

    Parameters
    ----------
    p1 : float
        True proportion correct, in (0, 1).
    patients, readers, images_per_patient : int
        Every reader reads every image of every patient.
    correlations : AnswerCorrelations
    alpha : float
        Significance level, in (0, 1).
    side : {"greater", "two-sided"}
    exact : bool
        Exact binomial test of one reader's answers to independent images. Its power is also
        returned for one answer a patient, where the clustered test rejects from the same count on,
        or from the one before.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    Noncentral t with patients - 1 degrees of freedom; the variance of the estimate is
    p1 (1 - p1) / answers times `design_effect`.

    Checked against: statsmodels 0.15 `TTestPower` (1e-9) and simulated studies
    (benchmarks/READER_STUDIES.md).

    Examples
    --------
    >>> round(proportion_power(0.6, 100, readers=3), 3)
    0.871
    >>> round(proportion_power(0.575, 330, exact=True), 3)
    0.848
    """
    if not 0 < p1 < 1:
        raise ValueError(f"the expected proportion is {p1:g}: it must lie between 0 and 1")
    alpha = _one_sided(alpha, side)
    patients, readers, images_per_patient = _sizes(patients, readers, images_per_patient)
    answers = patients * readers * images_per_patient
    if exact or answers == patients:
        return float(binomial_power(answers, p1, alpha=alpha))
    effect = design_effect(
        readers, images_per_patient, correlations.same_image, correlations.same_patient
    )
    error = np.sqrt(p1 * (1 - p1) * effect / answers)
    return _noncentral_power((p1 - 0.5) / error, patients - 1, alpha, side)


def binormal_auc_variance(auc: float) -> float:
    """Return the variance of a placement value under equal-variance binormal ratings.

    Parameters
    ----------
    auc : float
        In (0, 1).

    Returns
    -------
    float
        Variance of the probability that a random positive exceeds a given negative. The variance
        of an AUC of m positives and n negatives is about (1/m + 1/n) times this value.

    Examples
    --------
    >>> round(binormal_auc_variance(0.5), 6), round(binormal_auc_variance(0.8), 4)
    (0.083333, 0.0472)
    """
    distance = scipy.stats.norm.ppf(auc) * np.sqrt(2)
    placed = scipy.stats.norm.cdf(distance - _NODES)
    return float((_WEIGHTS * placed**2).sum() / _WEIGHTS.sum() - auc**2)


def auc_power(
    auc: float,
    patients: int,
    readers: int = 1,
    images_per_patient: int = 1,
    correlations: AnswerCorrelations = DEFAULT_CORRELATIONS,
    alpha: float = 0.05,
    side: str = "greater",
    prevalence: float = 0.5,
) -> float:
    """Compute the power of the AUC of the ratings against .5, clustered by patient.

    Parameters
    ----------
    auc : float
        True AUC of the ratings, in (0, 1).
    patients, readers, images_per_patient : int
        Every reader reads every image; all images of a patient have one truth.
    correlations : AnswerCorrelations
    alpha, side
        As in `proportion_power`.
    prevalence : float
        Share of malignant patients, in (0, 1).

    Returns
    -------
    float
        0 where a class has fewer than two patients.

    Notes
    -----
    Noncentral t on the logit scale with the patients of the rarer class less 1 as degrees of
    freedom, as in `evaluation.roc.auc_interval`. The variance is that of equal-variance binormal
    ratings; six answer categories are treated as continuous. The AUC is that of all readers'
    ratings together.

    `python -m benchmarks.reader_studies` compares it with simulated studies.

    Examples
    --------
    >>> round(auc_power(0.65, 164), 2), round(auc_power(0.65, 164, readers=3), 2)
    (0.95, 1.0)
    """
    if not 0 < auc < 1 or not 0 < prevalence < 1:
        raise ValueError(f"AUC {auc:g} and prevalence {prevalence:g} must lie between 0 and 1")
    alpha = _one_sided(alpha, side)
    patients, readers, images_per_patient = _sizes(patients, readers, images_per_patient)
    positives = round(patients * prevalence)
    negatives = patients - positives
    if min(positives, negatives) < 2:
        return 0.0
    effect = design_effect(
        readers, images_per_patient, correlations.same_image, correlations.same_patient
    )
    variance = binormal_auc_variance(auc) * (1 / positives + 1 / negatives)
    error = np.sqrt(variance * effect / (readers * images_per_patient)) / (auc * (1 - auc))
    center = scipy.special.logit(auc)
    return _noncentral_power(center / error, min(positives, negatives) - 1, alpha, side)


def _one_sided(alpha: float, side: str) -> float:
    """Return the level that each tested side spends."""
    if not 0 < alpha < 1:
        raise ValueError(f"alpha is {alpha:g}: it must lie between 0 and 1")
    if side not in ("greater", "two-sided"):
        raise ValueError(f"{side!r}: the side must be greater or two-sided")
    return alpha if side == "greater" else alpha / 2


def _sizes(patients: int, readers: int, images_per_patient: int) -> tuple[int, int, int]:
    return (
        whole_number(patients, "the number of patients", 2),
        whole_number(readers, "the number of readers", 1),
        whole_number(images_per_patient, "the number of images a patient", 1),
    )


def _noncentral_power(effect: float, df: float, alpha: float, side: str) -> float:
    """Return the probability that a t statistic with this noncentrality is significant."""
    critical = scipy.stats.t.isf(alpha, df)
    power = scipy.stats.nct.sf(critical, df, effect)
    if side == "two-sided":
        power += scipy.stats.nct.cdf(-critical, df, effect)
    return float(np.clip(power, 0.0, 1.0))

"""Power that a design plans for."""

from __future__ import annotations

import scipy

from evaluation.intervals import percent
from evaluation.power import (
    DEFAULT_CORRELATIONS,
    PAIRED_ENDPOINTS,
    AnswerCorrelations,
    Power,
    SampleSize,
    StudyPower,
    binomial_power,
    binomial_sample_size,
    study_power,
)
from evaluation.reading_study.design.settings import RATING_ANALYSES, Design


def planned_power(design: Design, cases: int) -> tuple[Power, SampleSize]:
    """Return the power of a design for one reader and the sample size for a power of .8.

    The number of cases is divided by the design effect. A two-sided design spends half of its alpha
    on the upper side.

    Parameters
    ----------
    design : Design
        Provides the expected proportion correct, alpha, side and design effect.
    cases : int
        Cases of the primary arm.

    Returns
    -------
    Power
        Power of the one-sided exact binomial test.
    SampleSize
        Cases needed for a power of .8.

    Examples
    --------
    >>> from evaluation.reading_study.design import design_preset
    >>> power, size = planned_power(design_preset("DeepMiner 2021"), 330)
    >>> round(power.power, 3), size.stable_n
    (0.545, 654)
    """
    alpha = design.alpha if design.side == "greater" else design.alpha / 2
    # n clustered answers carry the information of n / design effect independent ones.
    effective = max(1, int(cases / design.design_effect))
    return (
        binomial_power(effective, design.expected_share, alpha=alpha),
        binomial_sample_size(
            design.expected_share, alpha=alpha, design_effect=design.design_effect
        ),
    )


def least_patients(design: Design) -> int:
    """Return the smallest number of patients for which `design_power` gives a power."""
    return 4 if design.primary in ("auc_difference", "advice_change") else 2


def power_assumption(design: Design) -> str:
    """Return the expected proportions correct that the power of a design rests on.

    Examples
    --------
    >>> from evaluation.reading_study.design import design_preset
    >>> power_assumption(design_preset("Reading with advice"))
    '80 % correct final answers after 75 % correct first answers'
    """
    if design.expected_first_share is None:
        return f"{percent(design.expected_share, 0)} correct"
    return (
        f"{percent(design.expected_share, 0)} correct final answers after"
        f" {percent(design.expected_first_share, 0)} correct first answers"
    )


def design_power(design: Design, patients: int, images: int) -> StudyPower:
    """Return the power of a design's primary analysis for its number of readers.

    Parameters
    ----------
    design : Design
        Provides analysis, side, alpha, readers, expected proportion correct and design effect.
    patients, images : int
        Patients and images of the primary arm.

    Returns
    -------
    StudyPower
        With the power, and the assumptions that it rests on.

    Notes
    -----
    For an AUC the expected proportion correct p is converted to AUC = Phi(sqrt(2) Phi^-1(p)), as
    for binormal ratings of equal variance with the best threshold. For a difference of arms the
    other arm is expected at chance; for advice_change the first answers at expected_first_share.
    Both compare two ratings of every image, and the power is that of the two-sided test. A design
    effect D of patients with k images each gives the correlation (D - 1) / (k - 1) of two images;
    without one, published averages are assumed.

    Examples
    --------
    >>> from evaluation.reading_study.design import design_preset
    >>> published = design_power(design_preset("DeepMiner 2021"), 185, 330)
    >>> round(published.power, 3)
    0.545
    """
    exact = design.primary == "exact_binomial" and design.readers == 1
    if exact:
        # The exact test takes images of one patient as independent.
        patients = images
    images_per_patient = max(1, round(images / patients)) if patients else 1
    correlations = DEFAULT_CORRELATIONS
    if images_per_patient > 1 and design.design_effect > 1:
        same_patient = min((design.design_effect - 1) / (images_per_patient - 1), 1.0)
        correlations = AnswerCorrelations(correlations.same_image, same_patient)
    normal = scipy.stats.norm
    auc = float(normal.cdf(2**0.5 * normal.ppf(design.expected_share)))
    endpoint = design.primary if design.primary in RATING_ANALYSES else "proportion"
    other = 0.5
    if design.expected_first_share is not None:
        # Final and first answers are compared as two arms on the same cases.
        other = float(normal.cdf(2**0.5 * normal.ppf(design.expected_first_share)))
    expected = {"proportion": design.expected_share, "auc": auc}.get(endpoint, auc - other)
    return study_power(
        StudyPower(
            endpoint=endpoint,
            expected=expected,
            patients=patients,
            readers=design.readers,
            images_per_patient=images_per_patient,
            alpha=design.alpha,
            side="two-sided" if endpoint in PAIRED_ENDPOINTS else design.side,
            correlations=correlations,
            auc=(auc + other) / 2,
            exact=exact,
        )
    )

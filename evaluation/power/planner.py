"""Planner of a reading study: power over readers, patients and images a patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import pandas as pd

from evaluation.power.reader_comparison import ComparisonVariances, mrmc_power
from evaluation.power.readers_and_cases import (
    DEFAULT_CORRELATIONS,
    AnswerCorrelations,
    auc_power,
    design_effect,
    proportion_power,
)

# Endpoints in print, by the name that commands take.
ENDPOINTS = {
    "proportion": "proportion correct",
    "auc": "AUC of the ratings",
    "auc_difference": "difference in mean AUC between two arms",
    "advice_change": "change in mean AUC from first to final answers",
}
# Two ratings of every case are compared; the test that is planned for is two-sided.
PAIRED_ENDPOINTS = ("auc_difference", "advice_change")

# Sizes of a table where none are given.
DEFAULT_PATIENTS = (40, 60, 80, 120, 160, 240, 330)
DEFAULT_READERS = (1, 2, 3, 5, 8, 12)


@dataclass(frozen=True, kw_only=True)
class StudyPower:
    """Assumptions about a reading study, and the power that follows from them.

    Attributes
    ----------
    endpoint : {"proportion", "auc", "auc_difference", "advice_change"}
    expected : float
        Expected proportion correct, AUC, or difference in mean AUC.
    patients, readers, images_per_patient : int
        Every reader reads every image, for a difference in both arms, for a change twice.
    alpha : float
        Significance level, in (0, 1).
    side : {"greater", "two-sided"}
        The test of a difference is two-sided.
    correlations : AnswerCorrelations
        Correlations of answers to one patient.
    auc : float
        Expected mean AUC of the two arms, or of first and final answers, for a difference.
    variances : ComparisonVariances or None
        Components for a difference, for example of a pilot study; by default those of
        `ComparisonVariances.from_auc`.
    exact : bool
        Exact binomial test for the proportion correct.
    power : float or None
        The power; None before `study_power`.
    """

    endpoint: str = "auc"
    expected: float = 0.65
    patients: int = 100
    readers: int = 3
    images_per_patient: int = 1
    alpha: float = 0.05
    side: str = "greater"
    correlations: AnswerCorrelations = DEFAULT_CORRELATIONS
    auc: float = 0.75
    variances: ComparisonVariances | None = None
    exact: bool = False
    power: float | None = None


def study_power(plan: StudyPower) -> StudyPower:
    """Return the plan with its power.

    Parameters
    ----------
    plan : StudyPower

    Returns
    -------
    StudyPower

    Raises
    ------
    ValueError
        If the endpoint is unknown or an assumption is out of range.

    Examples
    --------
    >>> round(study_power(StudyPower(expected=0.65, patients=60)).power, 2)
    0.85
    """
    if plan.endpoint not in ENDPOINTS:
        raise ValueError(f"{plan.endpoint!r}: the endpoint must be one of {', '.join(ENDPOINTS)}")
    sizes = plan.patients, plan.readers, plan.images_per_patient
    if plan.endpoint == "proportion":
        power = proportion_power(
            plan.expected, *sizes, plan.correlations, plan.alpha, plan.side, plan.exact
        )
    elif plan.endpoint == "auc":
        power = auc_power(plan.expected, *sizes, plan.correlations, plan.alpha, plan.side)
    else:
        variances = plan.variances or ComparisonVariances.from_auc(plan.auc)
        # Further images of a patient reduce the error variance of one reader's AUC.
        effect = design_effect(
            1, plan.images_per_patient, plan.correlations.same_image, plan.correlations.same_patient
        )
        scaled = replace(variances, variance=variances.variance * effect / plan.images_per_patient)
        design = "rrrc" if plan.readers > 1 else "frrc"
        power = mrmc_power(plan.expected, plan.readers, plan.patients, scaled, plan.alpha, design)
    return replace(plan, power=power)


def patients_needed(plan: StudyPower, power: float = 0.8, most: int = 20_000) -> int | None:
    """Return the smallest number of patients that reaches a power; None beyond `most`.

    Parameters
    ----------
    plan : StudyPower
        Its other assumptions.
    power : float
        In (0, 1).
    most : int
        Largest number that is tried.

    Notes
    -----
    The power of an exact test falls slightly at some numbers. For it the result is the number from
    which a search by halving finds the power reached.

    Examples
    --------
    >>> patients_needed(StudyPower(expected=0.65))
    52
    """

    def reached(patients: int) -> bool:
        return (study_power(replace(plan, patients=patients)).power or 0.0) >= power

    low, high = 4, most
    if not reached(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle) else (middle + 1, high)
    return low


def read_plan(
    plan: StudyPower,
    *,
    expected: float | None = None,
    same_image: float | None = None,
    same_patient: float | None = None,
    auc: float | None = None,
    alpha: float = 0.05,
    two_sided: bool = False,
) -> StudyPower:
    """Return a plan with the assumptions that are given; None keeps those of the plan.

    Examples
    --------
    >>> read_plan(StudyPower(), same_image=0.5).correlations
    AnswerCorrelations(same_image=0.5, same_patient=0.2)
    """
    correlations = plan.correlations
    return replace(
        plan,
        expected=plan.expected if expected is None else expected,
        auc=plan.auc if auc is None else auc,
        # Variances of a pilot study do not belong to another AUC.
        variances=plan.variances if auc is None else None,
        alpha=alpha,
        side="two-sided" if two_sided or plan.endpoint in PAIRED_ENDPOINTS else "greater",
        correlations=AnswerCorrelations(
            correlations.same_image if same_image is None else same_image,
            correlations.same_patient if same_patient is None else same_patient,
        ),
    )


def power_table(
    plan: StudyPower,
    patients: Sequence[int],
    readers: Sequence[int],
    images_per_patient: Sequence[int] = (1,),
) -> pd.DataFrame:
    """Return the power for every combination of readers, patients and images a patient.

    Parameters
    ----------
    plan : StudyPower
        Its other assumptions.
    patients, readers, images_per_patient : sequence of int

    Returns
    -------
    DataFrame
        readers, patients, images_per_patient, answers (of one arm) and power.

    Examples
    --------
    >>> power_table(StudyPower(), [60, 120], [1, 3])["power"].round(2).tolist()
    [0.62, 0.88, 0.85, 0.99]
    """
    rows = []
    for r, p, k in product(readers, patients, images_per_patient):
        result = study_power(replace(plan, readers=r, patients=p, images_per_patient=k))
        rows.append((r, p, k, r * p * k, result.power))
    return pd.DataFrame(
        rows, columns=["readers", "patients", "images_per_patient", "answers", "power"]
    )

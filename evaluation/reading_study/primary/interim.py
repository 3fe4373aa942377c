"""Interim looks: how much of the planned information there is, and whether the study stops."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from evaluation.reading_study.design import Design
from evaluation.reading_study.primary.analysis import final_alpha, primary_analysis
from evaluation.reading_study.primary.arm_endpoint import paired_ratings


@dataclass(frozen=True, kw_only=True)
class InterimLook:
    """One interim look, without the estimate or its P.

    Attributes
    ----------
    number : int
        Number of the look among the planned ones, from 1.
    information : float
        Share of the planned information that there was, from 0 to 1.
    answers : int
        Answers to the primary arm that were analysed.
    boundary : float
        Significance level of the look: P at or below it stops the study.
    stops : bool
        Whether the study ended with this look.
    """

    number: int
    information: float
    answers: int
    boundary: float
    stops: bool


def stopping_look(looks: Sequence[InterimLook]) -> int | None:
    """Return the number of the look that stopped the study; None where no look did."""
    return next((taken.number for taken in looks if taken.stops), None)


def information_share(joined: pd.DataFrame, key: pd.DataFrame, design: Design) -> float:
    """Return the share of the planned information that the answers hold.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key, as for `primary_analysis`.
    key : DataFrame
        The sealed key.
    design : Design
        Gives the analysed arms and the planned readers.

    Returns
    -------
    float
        From 0 to 1. Of one arm: answers to its cases, of those of all planned readers. Of a
        comparison of arms: ratings of images that every reader read in both arms, of those planned;
        of several comparisons the smallest share.

    Notes
    -----
    The share depends on which cases were answered, and not on the answers.
    """
    answers = joined[~joined["repeat"].astype(bool)]
    readers = max(design.readers, answers["code"].nunique())
    first = key[key["arm"] == design.arms[0]]
    if design.primary != "auc_difference":
        planned = readers * len(first)
        given = int((answers["arm"] == design.arms[0]).sum())
        return min(1.0, given / planned) if planned else 0.0
    shares = []
    for other in design.compared_arms:
        both = set(first["mammogram_id"]) & set(key.loc[key["arm"] == other, "mammogram_id"])
        ratings = paired_ratings(answers, design.arms[0], other)
        read = 0 if ratings is None else ratings.scores[0].size
        shares.append(read / (readers * len(both)) if both else 0.0)
    return min(1.0, *shares)


def interim_look(
    joined: pd.DataFrame, key: pd.DataFrame, design: Design, number: int
) -> InterimLook:
    """Decide at an interim look whether the study stops.

    Parameters
    ----------
    joined, key, design
        As in `information_share`.
    number : int
        Number of the look, from 1 to the planned looks less 1.

    Returns
    -------
    InterimLook
        It stops if the primary analysis of the present answers is significant at the level of this
        look; of several comparisons, if each of them is. Cases that were not read yet are no
        missing answers. An analysis that is not estimable does not stop the study.

    Raises
    ------
    ValueError
        If the design has no interim look of this number.

    Examples
    --------
    >>> from evaluation.reading_study.design import design_preset
    >>> key = pd.DataFrame({
    ...     "case_number": range(40), "patient_id": range(40), "arm": "explanation",
    ...     "truth": ["malignant", "benign"] * 20,
    ... })
    >>> design = design_preset("Recommended", primary="gee", readers=1, looks=2)
    >>> joined = key[:20].assign(code="R1", repeat=False, malignant=[True, False] * 10, answer=6,
    ...     called_malignant=True, correct=[True] * 18 + [False] * 2)
    >>> look = interim_look(joined, key, design, 1)
    >>> look.information, round(look.boundary, 4), look.stops
    (0.5, 0.0056, True)
    """
    if not 1 <= number < design.looks:
        raise ValueError(f"look {number} is no interim look of {design.looks} planned looks")
    result = primary_analysis(joined, key, design, look_number=number)
    tests = [test.significant for test in result.comparisons] or [result.significant]
    return InterimLook(
        number=number,
        information=information_share(joined, key, design),
        answers=result.n,
        boundary=final_alpha(design, number),
        stops=all(bool(test) for test in tests),
    )

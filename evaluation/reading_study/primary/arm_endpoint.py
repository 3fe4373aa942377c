"""Difference in mean AUC between two arms as the primary endpoint."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from evaluation.mrmc import ObuchowskiRockette, obuchowski_rockette
from evaluation.proportion import adjust
from evaluation.reading_study.design import Design
from evaluation.reading_study.primary.record import FIRST_ANSWERS, ArmHypothesis
from evaluation.validation import Array

_NO_IMAGES = "no image was read by every reader in both arms"
_NO_CHANGES = "no image has a first and a final answer of every reader"


class PairedRatings(NamedTuple):
    """Ratings [2 arms, readers, images], truth and patient [images], of the images of both arms."""

    scores: Array
    truth: Array
    patients: Array


def paired_ratings(joined: pd.DataFrame, first: str, other: str) -> PairedRatings | None:
    """Return the ratings of the images that every reader read in both arms; None without any.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key: code, arm, mammogram_id, patient_id, malignant, answer, repeat.
    first, other : str
        The arms.

    Returns
    -------
    PairedRatings or None
    """
    answers = joined[~joined["repeat"].astype(bool)]
    tables = [
        answers[answers["arm"] == arm].pivot_table(
            index="code", columns="mammogram_id", values="answer"
        )
        for arm in (first, other)
    ]
    # Readers of one arm only have no difference, and are no reason to drop every image.
    readers = tables[0].index.intersection(tables[1].index)
    images = tables[0].columns.intersection(tables[1].columns)
    tables = [table.loc[readers, images] for table in tables]
    is_complete = (tables[0].notna() & tables[1].notna()).all(axis=0)
    images = images[is_complete.to_numpy(dtype=bool)]
    if not len(images) or not len(readers):
        return None
    described = answers.drop_duplicates("mammogram_id").set_index("mammogram_id").loc[images]
    return PairedRatings(
        np.stack([table[images].to_numpy(dtype=float) for table in tables]),
        described["malignant"].to_numpy(dtype=bool),
        described["patient_id"].to_numpy(),
    )


def change_ratings(answers: pd.DataFrame) -> PairedRatings | None:
    """Return final and first ratings of the images that every reader answered; None without any.

    Parameters
    ----------
    answers : DataFrame
        Answers of one arm of a study with advice: code, case_number, patient_id, malignant, answer
        and unaided, the first answer.

    Returns
    -------
    PairedRatings or None
        Final answers first.
    """
    if answers.empty:
        return None
    both = answers.set_index(["code", "case_number"])[["answer", "unaided"]].unstack()
    tables = [both[name].astype(float) for name in ("answer", "unaided")]
    is_complete = (tables[0].notna() & tables[1].notna()).all(axis=0)
    cases = tables[0].columns[is_complete.to_numpy(dtype=bool)]
    if not len(cases) or not len(both):
        return None
    described = answers.drop_duplicates("case_number").set_index("case_number").loc[cases]
    return PairedRatings(
        np.stack([table[cases].to_numpy(dtype=float) for table in tables]),
        described["malignant"].to_numpy(dtype=bool),
        described["patient_id"].to_numpy(),
    )


def compare_with_first_answers(
    joined: pd.DataFrame, design: Design, alpha: float
) -> tuple[ArmHypothesis, ...]:
    """Test the change in mean AUC from first to final answers in the first arm.

    Parameters
    ----------
    joined : DataFrame
        As for `change_ratings`, with arm and repeat. Without first answers, as in answers that were
        not given in this study, nothing can be tested.
    design : Design
        Gives arm and side.
    alpha : float
        Significance level.

    Returns
    -------
    tuple of ArmHypothesis
        One.
    """
    answers = joined[(joined["arm"] == design.arms[0]) & ~joined["repeat"].astype(bool)]
    ratings = change_ratings(answers) if "unaided" in answers.columns else None
    test = _test_pair(FIRST_ANSWERS, ratings, design, alpha)
    if ratings is None:
        test = replace(test, reason=_NO_CHANGES)
    p = test.p_value
    return (replace(test, adjusted_p_value=p, significant=None if p is None else p <= alpha),)


def compare_primary_arms(
    joined: pd.DataFrame, design: Design, alpha: float
) -> tuple[ArmHypothesis, ...]:
    """Test every primary comparison of arms by the prespecified goal, side and multiplicity rule.

    Parameters
    ----------
    joined : DataFrame
        As for `paired_ratings`.
    design : Design
        Gives arms, goal, side, margin and rule.
    alpha : float
        Significance level of the family.

    Returns
    -------
    tuple of ArmHypothesis
    """
    tested = []
    for other in design.compared_arms:
        # A key without image ids, as in older exports, allows no pairing.
        ratings = (
            paired_ratings(joined, design.arms[0], other) if "mammogram_id" in joined else None
        )
        tested.append(_test_pair(other, ratings, design, alpha))
    adjusted = adjusted_p_values([test.p_value for test in tested], design.multiplicity)
    return tuple(
        replace(test, adjusted_p_value=p, significant=None if p is None else p <= alpha)
        for test, p in zip(tested, adjusted)
    )


def _test_pair(
    other: str, ratings: PairedRatings | None, design: Design, alpha: float
) -> ArmHypothesis:
    """Test one comparison; its adjusted P follows from the whole family."""
    if ratings is None:
        return _untested(other, 0, 0, None, _NO_IMAGES)
    readers, images = ratings.scores.shape[1:]
    # The variance between readers needs two readers; one reader is a fixed factor.
    result = obuchowski_rockette(
        ratings.scores,
        ratings.truth,
        "rrrc" if readers > 1 else "frrc",
        cluster=ratings.patients,
    )
    if result.difference is None or result.standard_error is None:
        return _untested(other, images, readers, result.difference, result.reason)
    low, high = _bounds(result, design, alpha)
    return ArmHypothesis(
        other=other,
        estimate=result.difference,
        low=low,
        high=high,
        p_value=_p_value(result, design),
        adjusted_p_value=None,
        significant=None,
        images=images,
        readers=readers,
    )


def _untested(
    other: str, images: int, readers: int, estimate: float | None, reason: str | None
) -> ArmHypothesis:
    return ArmHypothesis(
        other=other,
        estimate=estimate,
        low=None,
        high=None,
        p_value=None,
        adjusted_p_value=None,
        significant=None,
        images=images,
        readers=readers,
        reason=reason,
    )


def _p_value(result: ObuchowskiRockette, design: Design) -> float:
    """Return P of the goal: of equivalence the larger one of the two one-sided tests."""
    difference, error = result.difference, result.standard_error
    assert difference is not None and error is not None
    law, margin = result.law, design.margin or 0.0

    def upper(value: float) -> float:
        """Return P of the null hypothesis that the difference is at most `value`."""
        return float(law.sf((difference - value) / error))

    if design.goal == "noninferiority":
        return upper(-margin)
    if design.goal == "equivalence":
        return max(upper(-margin), 1 - upper(margin))
    if design.side == "greater":
        return upper(margin)
    return 2 * min(upper(0.0), 1 - upper(0.0))


def _bounds(result: ObuchowskiRockette, design: Design, alpha: float) -> tuple[float, float]:
    """Return the interval of the same side as the test, inside [-1, 1]."""
    assert result.difference is not None and result.standard_error is not None
    # Two one-sided tests at alpha belong to the two-sided interval of level 1 - 2 alpha.
    tail = alpha / 2 if design.goal == "superiority" and design.side == "two-sided" else alpha
    half = float(result.law.isf(tail)) * result.standard_error
    high = 1.0 if design.side == "greater" else min(1.0, result.difference + half)
    return max(-1.0, result.difference - half), high


def adjusted_p_values(p_values: list[float | None], rule: str) -> list[float | None]:
    """Return the P values adjusted by a multiplicity rule, in their order.

    Parameters
    ----------
    p_values : list of float or None
        None where a hypothesis could not be tested.
    rule : {"none", "holm", "fixed_sequence"}
        In a fixed sequence a hypothesis is tested only if all before it are shown: its adjusted P
        is the largest so far, and None once one could not be tested.

    Returns
    -------
    list of float or None

    Examples
    --------
    >>> adjusted_p_values([0.03, 0.01, 0.04], "fixed_sequence")
    [0.03, 0.03, 0.04]
    >>> [round(p, 2) for p in adjusted_p_values([0.03, 0.01, 0.04], "holm")]
    [0.06, 0.03, 0.06]
    """
    if rule == "none":
        return p_values
    if rule == "fixed_sequence":
        sequence: list[float | None] = []
        for p in p_values:
            earlier = sequence[-1] if sequence else 0.0
            sequence.append(None if p is None or earlier is None else max(earlier, p))
        return sequence
    # A hypothesis that could not be tested still counts as one of the family.
    adjusted = adjust([1.0 if p is None else p for p in p_values], rule)
    return [None if p is None else float(a) for p, a in zip(p_values, adjusted)]

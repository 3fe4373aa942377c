"""Answers to the further questions and the questionnaire of a reading study, counted by arm."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from core.store.reading.stage_table import CLOSING_QUESTION, QUESTION, question_stage
from evaluation.reading_study.design import Design, Question


@dataclass(frozen=True, kw_only=True)
class QuestionCounts:
    """Answers to one question, in one arm or at the end of the study.

    Parameters
    ----------
    question : Question
        The question.
    arm : str or None
        Arm of the cases; None for the questionnaire, which every reader answers once.
    answers : int
        Answers to the question, empty texts included.
    counts : tuple of int
        Answers with each option, in the order of the options; of free text one number, the texts
        that are not empty.
    """

    question: Question
    arm: str | None
    answers: int
    counts: tuple[int, ...]


def count_question_answers(
    stages: pd.DataFrame, key: pd.DataFrame, design: Design
) -> tuple[QuestionCounts, ...]:
    """Return the answers to every question of a design, by arm, and to its questionnaire.

    Parameters
    ----------
    stages : DataFrame
        As `core.store.reading.stage_table.load_stage_answers` returns it: code, case_number, stage,
        value (the number of the option, from 1, or the text).
    key : DataFrame
        The sealed key with case_number and arm.
    design : Design
        Gives questions and arms.

    Returns
    -------
    tuple of QuestionCounts
        Questions on the cases first. An answer to a case counts with each reader.

    Examples
    --------
    >>> question = Question(text="How sure?", options=("not", "very"))
    >>> stages = pd.DataFrame({
    ...     "code": ["R1", "R2"], "case_number": 1, "stage": "question 1", "value": ["2", "2"],
    ... })
    >>> key = pd.DataFrame({"case_number": [1], "arm": "image"})
    >>> design = Design(arms=("image",), questions=(question,))
    >>> count_question_answers(stages, key, design)[0].counts
    (0, 2)
    """
    arm_of = dict(zip(key["case_number"], key["arm"]))
    arms = stages["case_number"].map(arm_of)
    counted = [
        _counts(question, arm, stages.loc[_is_stage(stages, QUESTION, number) & (arms == arm)])
        for number, question in enumerate(design.questions, start=1)
        for arm in design.arms
    ]
    counted += [
        _counts(question, None, stages.loc[_is_stage(stages, CLOSING_QUESTION, number)])
        for number, question in enumerate(design.questionnaire, start=1)
    ]
    return tuple(counted)


def _is_stage(stages: pd.DataFrame, kind: str, number: int) -> pd.Series:
    return stages["stage"] == question_stage(kind, number)


def _counts(question: Question, arm: str | None, rows: pd.DataFrame) -> QuestionCounts:
    if question.kind == "text":
        counts: tuple[int, ...] = (int((rows["value"].str.strip() != "").sum()),)
    else:
        options = range(1, len(question.options) + 1)
        chosen = rows["value"].astype(int)
        counts = tuple(int((chosen == option).sum()) for option in options)
    return QuestionCounts(question=question, arm=arm, answers=len(rows), counts=counts)

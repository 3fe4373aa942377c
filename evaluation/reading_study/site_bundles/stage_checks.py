"""Check of what the readers of a site bundle entered beside the answers of cases.

A first answer and a prediction precede the answer of a case with advice; further questions follow
it, and a questionnaire follows the last case.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.sessions.reading.advice_statements import gives_advice
from core.store.reading.bundle_table import BundleStage
from core.store.reading.protocol_table import answer_scale
from core.store.reading.stage_table import (
    CLOSING_QUESTION,
    FIRST,
    PREDICTION,
    QUESTION,
    QUESTIONNAIRE_POSITION,
    question_stage,
)


def stage_problem(
    stages: Sequence[BundleStage], answered: int, positions: int, design: Mapping[str, Any]
) -> str | None:
    """Return the first row that the pages of a bundle cannot have produced, in words; else None.

    Parameters
    ----------
    stages : sequence of BundleStage
        Of one reader, in the order of the file.
    answered : int
        Positions with an answer, from the first.
    positions : int
        Length of the reader's order.
    design : mapping
        Settings of the protocol, as stored.

    Examples
    --------
    >>> stage_problem([], 1, 2, {"advice": "class"})
    'the first answer at position 1 is missing'
    >>> stage_problem([], 1, 2, {"advice": "none"})
    """
    before = _stages_before_answer(design)
    after = [question_stage(QUESTION, number) for number in _numbers(design, "questions")]
    required = [
        (position, stage) for position in range(1, answered + 1) for stage in (*before, *after)
    ]
    entered = [(row.position, row.stage) for row in stages]
    for index, (position, stage) in enumerate(required):
        if entered[index : index + 1] != [(position, stage)]:
            return f"the {stage} at position {position} is missing"
    rest = entered[len(required) :]
    closing = [
        (QUESTIONNAIRE_POSITION, question_stage(CLOSING_QUESTION, number))
        for number in _numbers(design, "questionnaire")
    ]
    # Without an answer yet: what precedes that of the next case, or the whole questionnaire.
    next_case = [(answered + 1, stage) for stage in before]
    allowed = [[], closing] if answered == positions else _beginnings(next_case)
    if rest not in allowed:
        position, stage = rest[0]
        return f"the {stage!r} at position {position} is not due after {answered} answers"
    return next((text for row in stages if (text := _value_problem(row, design))), None)


def _stages_before_answer(design: Mapping[str, Any]) -> list[str]:
    if not gives_advice(design):
        return []
    return [FIRST, PREDICTION] if design.get("predict_network") else [FIRST]


def _numbers(design: Mapping[str, Any], questions: str) -> range:
    return range(1, len(design.get(questions, ())) + 1)


def _beginnings(rows: list[Any]) -> list[list[Any]]:
    """Return every beginning of a list, from the empty one."""
    return [rows[:count] for count in range(len(rows) + 1)]


def _value_problem(row: BundleStage, design: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the value or the time of a row; None if nothing is."""
    name = f"the {row.stage} at position {row.position}"
    if row.stage in (FIRST, PREDICTION):
        if row.seconds is not None and row.seconds != round(row.seconds, 3):
            return f"{name} took {row.seconds!r} s; times are stored in milliseconds"
        options = answer_scale(design) if row.stage == FIRST else 2
    else:
        # The page takes no time of a question.
        if row.seconds is not None or row.idle:
            return f"{name} has a time, and questions have none"
        kind = "questionnaire" if row.position == QUESTIONNAIRE_POSITION else "questions"
        question = design[kind][int(row.stage.rsplit(maxsplit=1)[-1]) - 1]
        if question["kind"] == "text":
            return None
        options = len(question["options"])
    if row.value not in map(str, range(1, options + 1)):
        return f"{name} is {row.value[:40]!r}; answers are 1 to {options}"
    return None

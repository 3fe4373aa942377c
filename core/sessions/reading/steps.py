"""Steps of a case in a study with advice, its further questions, and the pause of a crossover.

Advice leaves the server only in the final step, which begins when the first answer (and the
prediction, where the design asks for one) is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from core.errors import RequestRefused
from core.sessions.positions import current_position
from core.sessions.reading.advice_statements import gives_advice
from core.store.blinded_queries import ReadingPosition

FIRST_STEP, PREDICTION_STEP, FINAL_STEP = "first", "prediction", "final"
LONGEST_TEXT_ANSWER = 2000


def current_step(design: Mapping[str, Any], position: ReadingPosition) -> str:
    """Return the step at which a reader is; a study without advice has the final step alone."""
    if not gives_advice(design) or position.revision:
        return FINAL_STEP
    if position.first is None:
        return FIRST_STEP
    if design.get("predict_network") and position.prediction is None:
        return PREDICTION_STEP
    return FINAL_STEP


def locks_answers(design: Mapping[str, Any]) -> bool:
    """Return whether a case, once answered, cannot be answered again.

    In a study with advice, or with further questions, the answers of a case belong together.
    """
    return gives_advice(design) or bool(design.get("questions"))


def washout_end(
    design: Mapping[str, Any], positions: Sequence[ReadingPosition], now: datetime
) -> datetime | None:
    """Return when the next period of a crossover opens (UTC); None where nothing has to wait.

    The pause counts from the last answer of the periods before.
    """
    current = current_position(positions)
    washout = design.get("washout_days")
    if current is None or current.period is None or not washout:
        return None
    earlier = [
        position.made
        for position in positions
        if position.period is not None
        and position.period < current.period
        and position.made is not None
    ]
    if not earlier:
        return None
    opens = max(earlier) + timedelta(days=int(washout))
    return opens if now < opens else None


def valid_question_answers(questions: Sequence[Mapping[str, Any]], answers: Any) -> list[str]:
    """Return the answers to questions as they are stored.

    Parameters
    ----------
    questions : sequence of mapping
        As a design stores them: text, kind, options.
    answers : list
        Of a scale or choice the number of the option, from 1; of a text the text, which may be
        empty.

    Raises
    ------
    RequestRefused
        If an answer is missing or not one of its question.
    """
    answers = [] if answers is None else answers
    if not isinstance(answers, list) or len(answers) != len(questions):
        raise RequestRefused("answer", f"Please answer every question; there are {len(questions)}.")
    stored = []
    for question, answer in zip(questions, answers):
        if question["kind"] == "text":
            is_valid = isinstance(answer, str) and len(answer) <= LONGEST_TEXT_ANSWER
            expected = f"a text of at most {LONGEST_TEXT_ANSWER:,} characters"
        else:
            # bool is a subclass of int.
            is_valid = isinstance(answer, int) and not isinstance(answer, bool)
            is_valid = is_valid and 1 <= answer <= len(question["options"])
            expected = f"a number from 1 to {len(question['options'])}"
        if not is_valid:
            raise RequestRefused(
                "answer", f"The answer to {question['text']!r} must be {expected}."
            )
        stored.append(str(answer))
    return stored

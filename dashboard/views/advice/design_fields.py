"""Settings of advice, and questions to readers, in the form of a design."""

from __future__ import annotations

from typing import Any

import streamlit as st

from evaluation.intervals import count_text, percent
from evaluation.reading_study.design import NO_ADVICE, Design, questions_from_lines

_KIND_NAMES = {"class": "class", "probability_band": "band of the probability"}
_QUESTION_HELP = (
    "One a line: kind: question | option | option. Kinds: scale, choice, text. Example: scale: How"
    " sure are you? | not sure | sure | very sure"
)


def advice_fields(base: Design) -> dict[str, Any]:
    """Render the settings of advice, where the preset gives it, and of questions; return them.

    UserError for a question that is not valid.
    """
    values = {} if base.advice == NO_ADVICE else _advice_settings(base)
    with st.expander("Questions beside the answer"):
        case_column, end_column = st.columns(2)
        questions = case_column.text_area(
            "With every case (at most 2)", key="case_questions", help=_QUESTION_HELP
        )
        questionnaire = end_column.text_area(
            "At the end of the study", key="closing_questions", help=_QUESTION_HELP
        )
    return values | {
        "questions": questions_from_lines(questions),
        "questionnaire": questions_from_lines(questionnaire),
    }


def advice_sentence(design: Design) -> str:
    """Return the settings of advice as one sentence after a blank; "" without advice."""
    if design.advice == NO_ADVICE:
        return ""
    wrong = (
        "wrong decisions as the network makes them"
        if design.wrong_advice is None
        else f"{percent(design.wrong_advice, 0)} wrong decisions,"
        f" {'stated' if design.wrong_advice_told else 'not stated'} to readers"
    )
    parts = [f"Advice states the {_KIND_NAMES[design.advice]}", wrong]
    if design.predict_network:
        parts.append("readers predict the decision first")
    if design.washout_days:
        parts.append(
            f"crossover with {count_text(design.washout_days, 'day')} between periods, within"
            f" {count_text(design.duration_days or 0, 'day')}"
        )
    return f" {'; '.join(parts)}."


def questions_sentence(design: Design) -> str:
    """Return how many questions a design asks as one sentence after a blank; "" without any."""
    parts = [
        f"{count_text(len(questions), 'question')} {where}"
        for questions, where in (
            (design.questions, "with each case"),
            (design.questionnaire, "at the end"),
        )
        if questions
    ]
    return f" {' and '.join(parts)}." if parts else ""


def _advice_settings(base: Design) -> dict[str, Any]:
    kind_column, share_column, told_column, prediction_column = st.columns([2, 1, 2, 2])
    washout_column, duration_column, first_column, _ = st.columns([1, 1, 2, 3])
    share = share_column.number_input(
        "Wrong advice", 0.0, 0.9, base.wrong_advice or 0.0, 0.05, help="0: as the network decides"
    )
    washout = int(
        washout_column.number_input("Washout, days", 0, 365, 0, help="0: each case in one arm")
    )
    duration = int(duration_column.number_input("Duration, days", 0, 3650, 0))
    first = first_column.number_input(
        "Expected proportion correct before advice",
        0.501,
        0.999,
        base.expected_first_share or 0.75,
        0.01,
        format="%.3f",
    )
    return {
        "advice": kind_column.selectbox(
            "Advice states", list(_KIND_NAMES), format_func=_KIND_NAMES.__getitem__
        ),
        "wrong_advice": share or None,
        "wrong_advice_told": told_column.toggle("State the share of wrong advice"),
        "predict_network": prediction_column.toggle("Ask for the network's decision first"),
        "washout_days": washout or None,
        "duration_days": duration or None,
        "expected_first_share": first if base.primary == "advice_change" else None,
    }

"""Table of the answers to the questions that a reading study asks its readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core.sessions.arms import ARM_TITLES
from evaluation.intervals import percent
from evaluation.queries.provenance import MissingInput
from evaluation.reading_study.advice.question_summary import QuestionCounts
from evaluation.reporting.base import load_closed_study
from evaluation.reporting.tables.base import Table, TableColumn

FREE_TEXT = "text written"
_AT_THE_END = "end of the study"


def build_question_table(study: Path) -> Table:
    """Tabulate how often each option was chosen, by arm, and how many free texts were written."""
    protocol, score = load_closed_study(study)
    if not score.questions:
        raise MissingInput("Reading", "the closed reading study asks its readers no question")
    return Table(
        (
            TableColumn("Question", wrap=True),
            TableColumn("Arm", wrap=True),
            TableColumn("Option", wrap=True),
            TableColumn("n"),
            TableColumn("Answers"),
            TableColumn("Share", percent),
        ),
        [row for counts in score.questions for row in _question_rows(counts)],
        f'Questions of the reading study "{protocol.protocol}", version {protocol.version}. n, of'
        " all answers to the question. Every reader's answer to every case counts; each reader"
        " answers the questions at the end once. Free texts are in the export of the answers"
        " (deepminer reading answers).",
        {"readers": len(score.readers)},
    )


def _question_rows(counts: QuestionCounts) -> list[tuple[Any, ...]]:
    """Return one row an option; one row for a free text."""
    arm = _AT_THE_END if counts.arm is None else ARM_TITLES[counts.arm]
    question = counts.question
    return [
        (
            question.text,
            arm,
            option,
            number,
            counts.answers,
            number / counts.answers if counts.answers else None,
        )
        for option, number in zip(question.options or (FREE_TEXT,), counts.counts, strict=True)
    ]

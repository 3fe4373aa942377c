"""What readers are informed of before and while they read: instructions, question and answers.

The hash of what a reading study freezes covers these texts, see `evaluation.reading_study`. Studies
with images have texts of their own where the difference matters to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.sessions.arms import shows_images
from core.sessions.reading.advice_statements import advice_paragraphs, gives_advice
from core.store.reading.protocol_table import answer_scale

_DEGREES = ("Definitely", "Probably", "Possibly")
# What a design states where it names no classes.
_MALIGNANT, _BENIGN = "malignant", "benign"
SIX_POINT_QUESTION = "How likely is it that this breast contains a malignant finding?"
SIX_POINT_EXAM_QUESTION = "How likely is it that this exam shows a malignant finding?"
TWO_POINT_QUESTION = "Do these texts indicate a benign or a malignant finding?"
TWO_POINT_IMAGE_QUESTION = "Does this case indicate a benign or a malignant finding?"
INSTRUCTIONS = (
    "Each case is a list of short descriptions, the most influential first. Base your judgement on"
    " these descriptions only.",
    "Press a number key or click. Your answer is saved at once, and the next case opens when it has"
    " been saved.",
    "Backspace reopens the previous case, and only that one, to correct a mistake. First answers"
    " are kept.",
    "Practice comes first; it does not count, and there is no feedback.",
)
IMAGE_INSTRUCTIONS = (
    "A case shows a mammogram, a map, a list of short descriptions (the most influential first), or"
    " several of these. Base your judgement on the case as shown.",
    "On a mammogram: the wheel zooms, dragging changes window and level, dragging with Shift moves,"
    " a double click resets; the keys Z, W, L and R do the same. A map shows where the program"
    " found signs of malignancy, on the same scale for every case.",
    *INSTRUCTIONS[1:],
)
EXAM_INSTRUCTION = (
    "A case is an exam: up to four films of one patient, the right breast on the left and CC above"
    " MLO. The films zoom, move and change their window together; the key U unlinks them, and the"
    " arrow keys choose the film that the other keys change. Each description names its film."
)


@dataclass(frozen=True)
class ReadingInstructions:
    """The question of a study, its answers from 1, and the paragraphs of its instructions."""

    question: str
    answers: tuple[str, ...]
    paragraphs: tuple[str, ...]


def reading_instructions(design: Mapping[str, Any], has_images: bool) -> ReadingInstructions:
    """Return the question, answers and instructions of a design.

    design: as stored; its own question, if any, replaces the usual one, and the sentence about
    prevalence is the last paragraph.
    has_images: whether any case shows an image.
    """
    is_binary = answer_scale(design) == 2
    is_exam = design.get("case_unit") == "exam"
    positive = str(design.get("positive", _MALIGNANT))
    comparison = str(design.get("comparison", _BENIGN))
    if (positive, comparison) != (_MALIGNANT, _BENIGN):
        shown = "this case" if has_images else "these texts"
        question = f"Does {shown} indicate {comparison} or {positive}?".replace(
            "Does these", "Do these"
        )
    elif not is_binary:
        question = SIX_POINT_EXAM_QUESTION if is_exam else SIX_POINT_QUESTION
    else:
        question = TWO_POINT_IMAGE_QUESTION if has_images else TWO_POINT_QUESTION
    six_points = (
        *(f"{degree} {comparison}" for degree in _DEGREES),
        *(f"{degree} {positive}" for degree in reversed(_DEGREES)),
    )
    prevalence = design.get("told")
    paragraphs: tuple[str, ...] = IMAGE_INSTRUCTIONS if has_images else INSTRUCTIONS
    if gives_advice(design):
        paragraphs = advice_paragraphs(design)
    if is_exam and has_images:
        paragraphs = (paragraphs[0], EXAM_INSTRUCTION, *paragraphs[1:])
    return ReadingInstructions(
        question=str(design.get("question") or question),
        answers=(comparison.capitalize(), positive.capitalize()) if is_binary else six_points,
        paragraphs=(
            *paragraphs,
            *((str(prevalence),) if prevalence else ()),
        ),
    )


def design_shows_images(design: Mapping[str, Any]) -> bool:
    """Return whether any arm of a stored design shows an image."""
    return any(shows_images(arm) for arm in design.get("arms", ()))

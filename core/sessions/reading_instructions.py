"""What readers are informed of before and while they read: instructions, question and answers.

The hash of what a reading study freezes covers these texts, see `evaluation.reading_study`. Studies
with images have texts of their own where the difference matters to the reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.sessions.arms import shows_images, shows_texts
from core.sessions.reading.advice_statements import (
    advice_paragraphs,
    gives_advice,
    map_paragraph,
)
from core.store.reading.protocol_table import answer_scale

_DEGREES = ("Definitely", "Probably", "Possibly")
# What a design states where it names no classes.
_MALIGNANT, _BENIGN = "malignant", "benign"
SIX_POINT_QUESTION = "How likely is it that this breast contains a malignant finding?"
SIX_POINT_EXAM_QUESTION = "How likely is it that this exam shows a malignant finding?"
TWO_POINT_QUESTION = "Do these texts indicate a benign or a malignant finding?"
TWO_POINT_IMAGE_QUESTION = "Does this case indicate a benign or a malignant finding?"
_TEXT_CASES = (
    "Each case is a list of short descriptions, the most influential first. Base your judgement on"
    " these descriptions only."
)
_IMAGE_CASES = (
    "A case shows a mammogram, a map, a list of short descriptions (the most influential first), or"
    " several of these. Base your judgement on the case as shown."
)
_VIEWER = (
    "On a mammogram: the wheel zooms, dragging changes window and level, dragging with Shift moves,"
    " a double click resets; the keys Z, W, L and R do the same."
)
_ANSWER_KEYS = (
    "Press a number key or click. Your answer is saved at once, and the next case opens when it has"
    " been saved."
)
_ADVICE_KEYS = "Press a number key or click. Every answer is saved at once."
_REOPENING = (
    "Backspace reopens the previous case, and only that one, to correct a mistake. First answers"
    " are kept."
)
_PRACTICE = (
    "Practice comes first; it does not count, and there is no feedback. Practice cases explain what"
    " they showed after your answer."
)
EXAM_INSTRUCTION = (
    "A case is an exam: up to four films of one patient, the right breast on the left and CC above"
    " MLO. The films zoom, move and change their window together; the key U unlinks them, and the"
    " arrow keys choose the film that the other keys change."
)
_NAMED_FILMS = " Each description names its film."


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
    return ReadingInstructions(
        question=str(design.get("question") or question),
        answers=(comparison.capitalize(), positive.capitalize()) if is_binary else six_points,
        paragraphs=(
            *_case_paragraphs(design, has_images),
            *_answer_paragraphs(design),
            _PRACTICE,
            *((str(prevalence),) if prevalence else ()),
        ),
    )


def _case_paragraphs(design: Mapping[str, Any], has_images: bool) -> list[str]:
    """Return what a case shows, and how its images are viewed."""
    first, *others = (
        advice_paragraphs(design)
        if gives_advice(design)
        else (_IMAGE_CASES if has_images else _TEXT_CASES,)
    )
    paragraphs = [first]
    if design.get("case_unit") == "exam" and has_images:
        has_texts = any(map(shows_texts, design.get("arms", ())))
        paragraphs.append(EXAM_INSTRUCTION + (_NAMED_FILMS if has_texts else ""))
    paragraphs += others
    if has_images:
        paragraphs.append(_VIEWER)
    if "class_map" in design.get("arms", ()):
        paragraphs.append(map_paragraph(design))
    return paragraphs


def _answer_paragraphs(design: Mapping[str, Any]) -> list[str]:
    """Return how answers are entered, and which questions come beside and after the cases."""
    asked, closing = len(design.get("questions", ())), len(design.get("questionnaire", ()))
    has_advice = gives_advice(design)
    if asked:
        answer = "final answer" if has_advice else "answer"
        # A design has at most two.
        follow = "A further question follows" if asked == 1 else "Two further questions follow"
        paragraphs = [
            f"Press a number key or click. {follow} your {answer} to each case and"
            f" {'is' if asked == 1 else 'are'} saved with it; Esc goes back until then. After that"
            " the case cannot be changed."
        ]
    else:
        paragraphs = [_ADVICE_KEYS] if has_advice else [_ANSWER_KEYS, _REOPENING]
    if closing:
        number = "one question" if closing == 1 else f"{closing} questions"
        paragraphs[-1] += f" After the last case you answer {number} about the study."
    return paragraphs


def design_shows_images(design: Mapping[str, Any]) -> bool:
    """Return whether any arm of a stored design shows an image."""
    return any(shows_images(arm) for arm in design.get("arms", ()))

"""What a practice case showed and why: the worked example of a reader, after the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from core.images import blinded_rendering
from core.sessions.reading.advice_statements import map_paragraph
from core.sessions.reading.displayed_case import DisplayedCase

_TEXTS = (
    "The descriptions name what parts of a neural network, its units, respond to, the most"
    " influential unit first."
)
_NO_ADVICE = "This case had no advice: the study also measures what another look changes by itself."
_BOTH_ANSWERS = "The study compares your first and your final answer."


def practice_note(design: Mapping[str, Any], case: DisplayedCase) -> tuple[str, ...]:
    """Return what a practice case showed and why, without truth, arm or feedback.

    Parameters
    ----------
    design : mapping
        The stored design.
    case : DisplayedCase
        A practice case, in its final step in a study with advice.

    Returns
    -------
    tuple of str
        One paragraph each.
    """
    is_exam = design.get("case_unit") == "exam"
    image = "exam" if is_exam else "image"
    if case.step is None:
        return _single_answer_note(design, case, image)
    practice = f"This was practice: the {image} is not part of the study."
    if case.advice is None:
        return practice, _NO_ADVICE, _BOTH_ANSWERS
    paragraphs = [
        f"{practice} The advice is what the network decided on this {image}, right or wrong. Which"
        " of the two is not shown, because feedback would change later answers."
    ]
    if any(case.advice.texts):
        paragraphs.append(_TEXTS)
    if case.advice.pictures:
        paragraphs.append(map_paragraph(design))
    return *paragraphs, _BOTH_ANSWERS


def _single_answer_note(
    design: Mapping[str, Any], case: DisplayedCase, image: str
) -> tuple[str, ...]:
    """Return the note of a case with one answer, on texts, images or both."""
    kinds = {kind for _, kind, _ in case.pictures}
    shown = ["the image"] if blinded_rendering.MAMMOGRAM in kinds else []
    paragraphs = []
    if any(case.texts):
        shown.append("the descriptions")
        paragraphs.append(f"{_TEXTS} The descriptions of practice are examples.")
    if blinded_rendering.CLASS_MAP in kinds:
        shown.append("the map")
        paragraphs.append(map_paragraph(design))
    if kinds:
        paragraphs.insert(0, f"This was practice: the {image} is not part of the study.")
    paragraphs.append(
        f"You judge from {' and '.join(shown)} alone: the study measures how much a reader can tell"
        " from them. Whether an answer is right is not shown, because feedback would change later"
        " answers."
    )
    return tuple(paragraphs)

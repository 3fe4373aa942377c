"""Step, advice and further questions of a case in the replies of the reading page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from core.sessions.reading.advice_statements import PREDICTION_QUESTION
from core.sessions.reading.displayed_case import DisplayedCase
from core.sessions.reading.steps import FINAL_STEP, PREDICTION_STEP
from dashboard.components.reading.pictures import picture_fields


def advice_fields(
    code: str, design: Mapping[str, Any], case: DisplayedCase, captions: Sequence[str]
) -> dict[str, Any]:
    """Return what a case has beside its usual fields; nothing in a study without these settings.

    captions: of the answers on the scale of the study, from 1.

    The fields before the final step are the same for all cases, so that they reveal no arm.
    """
    fields: dict[str, Any] = {}
    if case.step is not None:
        fields["step"] = case.step
    if case.step == PREDICTION_STEP:
        classes = (design.get("comparison", "benign"), design.get("positive", "malignant"))
        fields["question"] = PREDICTION_QUESTION
        fields["answers"] = [name.capitalize() for name in classes]
    if case.first_answer is not None:
        fields["first_answer"] = case.first_answer
        fields["first_answer_text"] = captions[case.first_answer - 1]
    if case.step == FINAL_STEP:
        fields["advice"] = _advice(code, design, case)
    if case.step in (None, FINAL_STEP) and design.get("questions"):
        fields["questions"] = list(design["questions"])
    return fields


def _advice(code: str, design: Mapping[str, Any], case: DisplayedCase) -> dict[str, Any] | None:
    if case.advice is None:
        return None
    is_exam = design.get("case_unit") == "exam"
    return {
        "statement": case.advice.statement,
        "texts": list(case.advice.texts),
        **picture_fields(code, case.position, case.advice.pictures, is_exam=is_exam),
    }

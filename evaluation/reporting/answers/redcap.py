"""Answers as records of REDCap, with the data dictionary of the project that takes them."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from core.sessions.arms import ARM_TITLES
from evaluation.reading_study.design import NO_ADVICE, TRUTH_RULES, UNPROVEN, Design

FORM = "reading_answers"
# Columns of a data dictionary, as REDCap exports and imports it.
DICTIONARY_COLUMNS = (
    "Variable / Field Name",
    "Form Name",
    "Section Header",
    "Field Type",
    "Field Label",
    "Choices, Calculations, OR Slider Labels",
    "Field Note",
    "Text Validation Type OR Show Slider Number",
    "Text Validation Min",
    "Text Validation Max",
    "Identifier?",
    "Branching Logic (Show field only if...)",
    "Required Field?",
    "Custom Alignment",
    "Question Number (surveys only)",
    "Matrix Group Name",
    "Matrix Ranking?",
    "Field Annotation",
)
_COMPLETE = 2  # REDCap's code of a form that is complete


class RedcapField(NamedTuple):
    """One field: variable, type, label, choices, validation, least and largest value."""

    name: str
    kind: str
    label: str
    choices: str = ""
    validation: str = ""
    least: str = ""
    largest: str = ""


def redcap_records(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one REDCap record for each answer, the identifier first.

    Parameters
    ----------
    rows : DataFrame
        Result of `answer_rows`.

    Returns
    -------
    DataFrame
        The fields of `redcap_dictionary` in their order, and the state of the form. Yes and no are
        1 and 0; empty cells are missing values.
    """
    records = pd.DataFrame(
        {
            "record_id": [
                f"{reader}-{position}-{revision}"
                for reader, position, revision in zip(
                    rows["reader"], rows["position"], rows["revision"]
                )
            ]
        },
        index=rows.index,
    )
    for name in rows.columns:
        column = rows[name]
        if column.dtype == bool:
            column = column.astype(int)
        elif name == "answered_at":
            column = column.dt.strftime("%Y-%m-%d %H:%M:%S")
        records[name] = column
    return records.assign(**{f"{FORM}_complete": _COMPLETE})


def redcap_dictionary(design: Design) -> pd.DataFrame:
    """Return the data dictionary for `redcap_records`, one row for each field.

    Parameters
    ----------
    design : Design
        Gives the arms and the scale of the answers.

    Returns
    -------
    DataFrame
        The columns `DICTIONARY_COLUMNS`.

    Examples
    --------
    >>> redcap_dictionary(Design())["Variable / Field Name"].tolist()[:3]
    ['record_id', 'reader', 'case_number']
    """
    return pd.DataFrame(
        [
            dict.fromkeys(DICTIONARY_COLUMNS, "")
            | {
                "Variable / Field Name": field.name,
                "Form Name": FORM,
                "Field Type": field.kind,
                "Field Label": field.label,
                "Choices, Calculations, OR Slider Labels": field.choices,
                "Text Validation Type OR Show Slider Number": field.validation,
                "Text Validation Min": field.least,
                "Text Validation Max": field.largest,
            }
            for field in _fields(design)
        ]
    )


def _fields(design: Design) -> list[RedcapField]:
    truths = (design.positive, design.comparison, UNPROVEN)
    truth = " | ".join(f"{value}, {value}" for value in truths)
    arms = " | ".join(f"{arm}, {ARM_TITLES[arm]}" for arm in design.arms)
    seconds = (
        "Seconds on the case"
        if design.advice == NO_ADVICE
        else "Seconds from the second look to the final answer"
    )
    return [
        RedcapField("record_id", "text", "Reader, position and revision"),
        RedcapField("reader", "text", "Code of the reader"),
        RedcapField("case_number", "text", "Case", validation="integer", least="1"),
        RedcapField("image", "text", "Pseudonym of the image"),
        RedcapField("patient", "text", "Pseudonym of the patient"),
        RedcapField("arm", "radio", "Arm of the study", arms),
        RedcapField("position", "text", "Place in the order", validation="integer", least="1"),
        RedcapField("hidden_repeat", "yesno", "Second reading of a case"),
        RedcapField("revision", "text", "Revision", validation="integer", least="1"),
        RedcapField("latest", "yesno", "Last revision of this answer"),
        RedcapField(
            "answer",
            "text",
            f"Answer, 1 to {design.scale}; {design.positive} from {design.threshold}",
            validation="integer",
            least="1",
            largest=str(design.scale),
        ),
        RedcapField("seconds", "text", seconds, validation="number", least="0"),
        RedcapField("idle", "yesno", "Pause while the case was shown"),
        RedcapField("answered_at", "text", "Time, UTC", validation="datetime_seconds_ymd"),
        RedcapField("truth", "radio", f"Truth by the rule {design.truth_rule}", truth),
        *(
            RedcapField(f"truth_{rule}", "radio", f"Truth by the rule {rule}", truth)
            for rule in TRUTH_RULES
        ),
        RedcapField("simulated", "yesno", "Answer of a simulated reader"),
    ]

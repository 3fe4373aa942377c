"""A closed reading study with advice and made-up answers, in a copy of the demonstration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.store import participant_table
from core.store.reading import reading_table, stage_table
from core.store.reading.protocol_table import Protocol
from core.store.reading.reading_table import ReadingItem
from evaluation.reading_study import design_preset, reader_order, workflow
from evaluation.reading_study.leakage_issues import WARNING

NAME = "Advice"
READERS = ("R7", "R8")


def freeze_advice_study(study: Path, **changes: Any) -> Protocol:
    """Design, check and freeze a study with advice; changes: of its design."""
    settings = {"name": NAME, "readers": len(READERS), "images_per_patient": None} | changes
    design = design_preset("Reading with advice", **settings)
    workflow.create_protocol(study, NAME, design, "team")
    _, issues = workflow.check_protocol(study, NAME, "team")
    reasons = {issue.field: "accepted" for issue in issues if issue.severity == WARNING}
    return workflow.freeze_protocol(study, NAME, "team", reasons)


def close_advice_study(study: Path, **changes: Any) -> Protocol:
    """Freeze a study, answer it and close it.

    The first answer of a case is right where its number is even; after advice every reader follows
    the network, and without advice keeps the first answer. Each prediction is "malignant".
    """
    frozen = freeze_advice_study(study, **changes)
    design = workflow.protocol_design(frozen)
    with store.write(study) as con:
        cases = reading_table.load_reading_cases(con, NAME, 1)
        key = cases.set_index("case_number")
        for shift, code in enumerate(READERS):
            participant_table.add_participant(con, code, "reader")
            order = [number for number, _ in reader_order(cases, design, code, shift)]
            items = [ReadingItem(number) for number in order]
            reading_table.assign_reading_order(con, NAME, 1, code, items)
            for position, number in enumerate(order, start=1):
                row = key.loc[number]
                called = (row["truth"] == "malignant") == (number % 2 == 0)
                entry = {"protocol": frozen, "code": code, "position": position, "seconds": 5.0}
                value = str(4 + shift if called else 1 + shift)
                stage_table.append_stage_answer(con, **entry, stage="first answer", value=value)
                if design.predict_network:
                    stage_table.append_stage_answer(con, **entry, stage="prediction", value="2")
                if row["arm"] != "no_advice":
                    called = row["predicted"] == "malignant"
                reading_table.append_reading_answer(
                    con, **entry, revision=1, answer=4 + shift if called else 1 + shift
                )
                for question in range(1, len(design.questions) + 1):
                    stage = stage_table.question_stage(stage_table.QUESTION, question)
                    stage_table.append_stage_answer(con, **entry, stage=stage, value="1")
    return workflow.close_protocol(study, NAME, "team", confirm=NAME)

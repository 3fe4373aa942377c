"""Closed reading studies with made-up answers, in a copy of the demonstration."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from core import store
from core.store import participant_table
from core.store.reading import reading_table
from evaluation.reading_study import Design, design_preset, reader_order, workflow
from evaluation.reading_study.leakage_issues import WARNING


def close_study_with_answers(
    study: Path,
    name: str,
    readers: Collection[str],
    skip: Collection[tuple[str, int]] = (),
    **changes: Any,
) -> Design:
    """Design, freeze, answer and close a reading study; skip: (reader, position) left open.

    Every fourth answer of a reader is wrong, at another place for each reader.
    """
    settings = {"repeats": 0, "readers": len(readers), "comparison_share": 1.0} | changes
    design = design_preset("Recommended", name=name, **settings)
    workflow.create_protocol(study, name, design, "team")
    _, issues = workflow.check_protocol(study, name, "team")
    reasons = {issue.field: "accepted" for issue in issues if issue.severity == WARNING}
    frozen = workflow.freeze_protocol(study, name, "team", reasons)
    with store.write(study) as con:
        cases = reading_table.load_reading_cases(con, frozen.protocol, frozen.version)
        truth = dict(zip(cases["case_number"], cases["truth"] == "malignant"))
        for shift, code in enumerate(readers):
            participant_table.add_participant(con, code, "reader", simulated=False)
            order = reader_order(cases, design, code)
            reading_table.assign_reading_order(
                con,
                frozen.protocol,
                frozen.version,
                code,
                [reading_table.ReadingItem(number, repeat=repeat) for number, repeat in order],
            )
            for position, (number, _) in enumerate(order, start=1):
                if (code, position) in skip:
                    continue
                is_right = (int(number) + shift) % 4 > 0
                called = truth[number] == is_right
                rng = np.random.default_rng([7, shift, position])
                answer = int(rng.integers(4, 7) if called else rng.integers(1, 4))
                reading_table.append_reading_answer(
                    con,
                    protocol=frozen,
                    code=code,
                    position=position,
                    revision=1,
                    answer=min(answer, design.scale) if design.scale == 6 else 1 + int(called),
                    seconds=float(6 + position % 5),
                    simulated=False,
                )
    workflow.close_protocol(study, name, "team", confirm=name)
    return design

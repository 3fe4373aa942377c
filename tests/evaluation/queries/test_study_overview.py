"""The Overview's numbers: every reading study shows, planned answers count, and a finished one is
not hidden by a newer.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import store
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import RESULT_STATES
from evaluation.intervals import count_text
from evaluation.queries.provenance import RECORD_SUFFIX
from evaluation.queries.reading_states import load_reading_states
from evaluation.queries.study_overview import RUN_STEPS, StepCard, next_step, step_cards


def test_an_open_reading_study_comes_first_and_its_planned_answers_count(
    demonstration: Path,
) -> None:
    with store.read(demonstration) as con:
        found = load_reading_states(con)
        opened = found[0]
        protocol = protocol_table.load_protocol(con, opened.protocol, opened.version)
        cases = reading_table.load_reading_cases(con, opened.protocol, opened.version)
    assert protocol is not None and opened.state == "frozen" and found[1].state in RESULT_STATES
    planned = int(protocol.design["readers"])
    assert (opened.done, opened.readers) == (0, planned)
    assert opened.total == planned * (len(cases) + int(protocol.design["repeats"])) > 0
    assert found[1].done == found[1].total > 0 and found[1].simulated
    card = next(step for step in step_cards(demonstration) if step.kind == "reading")
    assert (
        card.state == "running"
        and card.headline == f"0 / {opened.total} answers"
        and "1 other finished" in card.lines
    )


def test_a_reader_who_has_begun_is_not_counted_twice(own_study: Path) -> None:
    with store.write(own_study) as con:
        before = load_reading_states(con)[0]
        numbers = reading_table.load_reading_cases(con, before.protocol, before.version)[
            "case_number"
        ].tolist()
        reading_table.assign_reading_order(
            con,
            before.protocol,
            before.version,
            "R1",
            [reading_table.ReadingItem(n) for n in numbers],
        )
        after = load_reading_states(con)[0]
    assert after.readers == before.readers
    assert after.total == len(numbers) + (before.readers - 1) * before.total // before.readers


def test_exports_are_counted_as_things(own_study: Path) -> None:
    (own_study / "exports").mkdir(exist_ok=True)
    (own_study / "exports" / f"x{RECORD_SUFFIX}").write_text(
        json.dumps({"name": "x", "kind": "figure", "inputs": {}, "command": "deepminer figures x"})
    )
    card = next(step for step in step_cards(own_study) if step.kind == "report")
    assert (card.state, card.headline) == ("done", "1 export")
    assert (
        count_text(1, "reader") == "1 reader"
        and count_text(1200, "patient") == "1,200 patients"
        and count_text(0, "film") == "0 films"
    )


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("missing", "Evaluate the classifier."),
        ("stale", "Evaluation is out of date. Evaluate the classifier."),
        ("interrupted", "Evaluation: interrupted. The command continues it."),
    ],
)
def test_the_next_step_is_the_first_that_needs_a_command(state: str, expected: str) -> None:
    def card(kind: str, state: str, command: str = "") -> StepCard:
        return StepCard(kind=kind, title=RUN_STEPS[kind], state=state, headline="", command=command)

    cards = [
        card("patches", "done"),
        card("train", "running", "deepminer train"),
        card("evaluate", state, "deepminer evaluate"),
        card("dissect", "missing", "deepminer dissect"),
    ]
    step = next_step(cards)
    assert step is cards[2] and step.next_task == expected
    assert next_step(cards[:2]) is None

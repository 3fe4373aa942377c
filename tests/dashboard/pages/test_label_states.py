"""States of labels on the pages: the simulated mark, marks of people who left, undo."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import store
from core.lexicon import annotation_answers
from core.store import annotation_table
from core.store.labels import decision_table, label_states
from evaluation.queries.study_overview import study_warnings
from support import synthetic_study
from support.team_page import Open, button, open_section, page_text

RUN = synthetic_study.DISSECT
MASS, OTHER = synthetic_study.mass_answer(), synthetic_study.mass_answer("indistinct")


@pytest.fixture
def small(study: Path) -> Path:
    """A study with two selected units."""
    with store.write(study) as con:
        con.execute("DELETE FROM selected WHERE unit NOT IN (4, 5)")
    return study


def heading(page: AppTest) -> str:
    return next(element.body for element in page.get("html") if "dm-title" in element.body)


def test_simulated_answers_mark_the_page_although_they_name_nothing(
    small: Path, team: Open
) -> None:
    with store.write(small) as con:
        synthetic_study.annotate(con, "E1", 4, MASS)
        assert "SIMULATED" not in heading(team(small, "annotations"))
    with store.write(small) as con:
        nothing = annotation_answers.empty_answer()
        synthetic_study.annotate(con, "E2", 4, nothing, simulated=True)
    # On the first load: agreement and progress on this page count the answer.
    assert "SIMULATED" in heading(team(small, "annotations"))


def test_person_who_left_and_decisions_with_their_undo(small: Path, team: Open) -> None:
    with store.write(small) as con:
        for code in ("E1", "E2"):
            for unit in (4, 5):
                synthetic_study.annotate(con, code, unit, MASS)
        synthetic_study.annotate(con, "E3", 4, OTHER)
    page = team(small, "annotations")
    assert "2 labelled units" in page_text(page) and not study_warnings(small)
    button(page, "Count the answers so far").click().run()
    open_section(page, "Adjudication")
    assert "1 disagreements left, 0 decided, 1 labels agreed" in page_text(page)
    (warning,) = study_warnings(small)
    assert "Experts differ on 1 unit" in warning.sentence
    assert (warning.page, warning.query) == ("annotations", (("section", "Adjudication"),))
    button(page, "Accept D").click().run()
    assert "0 disagreements left, 1 decided, 1 labels agreed" in page_text(page)
    with store.read(small) as con:
        label = label_states.unit_labels(con, RUN, ())[4]
        assert (label.text, label.state) == (
            "Mass with indistinct margin, suspicious",
            label_states.ADJUDICATED,
        )
    page.button(key="undo_decision").click().run()
    assert "1 disagreements left, 0 decided" in page_text(page)
    open_section(page, "Progress")
    page.button(key="undo_mark").click().run()
    open_section(page, "Adjudication")
    assert "0 disagreements left, 0 decided, 2 labels agreed" in page_text(page)
    with store.read(small) as con:
        assert not len(decision_table.load_decisions(con, RUN))


def test_a_whole_group_is_adjudicated_at_once_and_each_unit_undone_alone(
    small: Path, team: Open
) -> None:
    alone = [[unit] for unit in range(synthetic_study.UNITS) if unit not in (4, 5)]
    with store.write(small) as con:
        con.execute(
            "INSERT INTO runs VALUES ('groups-000000000003', 'groups', '{}', ?, ?, ?, 1.0)",
            [json.dumps([RUN]), json.dumps({"groups": [[4, 5], *alone]}), synthetic_study.MADE],
        )
        for unit in (4, 5):
            synthetic_study.annotate(con, "E1", unit, MASS)
            synthetic_study.annotate(con, "E2", unit, OTHER)
    page = team(small, "annotations")
    # Only the open tab is computed.
    assert "disagreements left" not in page_text(page)
    open_section(page, "Adjudication")
    assert "2 disagreements left" in page_text(page)
    page.checkbox(key="whole_group").check().run()
    button(page, "Accept B").click().run()
    assert "0 disagreements left, 2 decided" in page_text(page)
    with store.read(small) as con:
        decisions = decision_table.load_decisions(con, RUN)
        answers = annotation_table.load_annotations(con, RUN)
    assert list(decisions["unit"]) == [4, 5] and decisions["label"].nunique() == 1
    for unit, sources in zip(decisions["unit"], decisions["sources"]):
        source = answers.set_index("annotation_id").loc[sources]
        assert list(source["code"]) == ["E2"] and list(source["unit"]) == [unit]
    page.button(key="undo_decision").click().run()
    assert "1 disagreements left, 1 decided" in page_text(page)

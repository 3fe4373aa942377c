"""States of labels on the pages: the simulated mark, marks of people who left, undo."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import store
from core.lexicon import birads_lexicon
from core.store.labels import decision_table, label_states
from evaluation.queries.study_overview import study_warnings
from support import synthetic_study
from support.team_page import Open, button, page_text

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
        nothing = birads_lexicon.empty_answer()
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
    assert "1 disagreements left, 0 decided, 1 labels agreed" in page_text(page)
    assert "Experts differ on 1 unit" in " ".join(study_warnings(small))
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
    page.button(key="undo_mark").click().run()
    assert "0 disagreements left, 0 decided, 2 labels agreed" in page_text(page)
    with store.read(small) as con:
        assert not len(decision_table.load_decisions(con, RUN))

"""The Reading study page with two versions: each is closed and scored on its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import store
from core.sessions.reading_session import ReadingSession
from core.store import participant_table
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import PROTOCOL_STATES
from evaluation.reading_study import workflow
from support import explained_study
from support.explained_study import NAME
from support.team_page import Open, button, choose_study, page_text


def read(study: Path, code: str, version: int, answer: int) -> None:
    """Give the same answer to every case of a version."""
    with store.write(study) as con:
        participant_table.add_participant(con, code, "reader")
        protocol = protocol_table.find_protocol(con, NAME, version)
        ReadingSession(code, b"secret").assign_order(con, protocol)
        for item in reading_table.load_reading_items(con, NAME, version).itertuples():
            reading_table.append_reading_answer(
                con,
                protocol=protocol,
                code=code,
                position=int(item.position),
                revision=1,
                answer=answer,
                seconds=2.0,
            )


def states(study: Path) -> dict[int, str]:
    with store.read(study) as con:
        return {p.version: p.state for p in protocol_table.list_protocols(con)}


def test_two_versions_are_closed_and_scored_independently(
    tmp_path: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained_study.use_few_permutations(monkeypatch)
    study = explained_study.create_study(tmp_path / "study")
    explained_study.frozen(study)
    read(study, "R1", 1, 4)
    explained_study.frozen(study, seed=2)
    read(study, "R2", 2, 3)
    page = team(study, "reading_study")
    choose_study(page, f"{NAME}, version 1")
    assert "version 1: reading" in page_text(page)
    # No result before closing, also in the page's code.
    assert "Statistics paragraph" not in [area.label for area in page.text_area]
    page.text_input(key="close_name").set_value(NAME).run()
    button(page, "Close and unblind").click().run()
    assert not page.exception and states(study) == {1: "scored", 2: "reading"}
    assert "version 1: closed" in page_text(page) or "version 1: scored" in page_text(page)
    results = page.text_area[0].value
    choose_study(page, f"{NAME}, version 2")
    assert "version 2: reading" in page_text(page) and not page.text_area
    page.text_input(key="close_name").set_value(NAME).run()
    button(page, "Close and unblind").click().run()
    assert not page.exception and states(study) == {1: "scored", 2: "scored"}
    assert page.text_area[0].value != results
    with store.read(study) as con:
        scored = [p.who for p in protocol_table.list_protocols(con)]
    assert scored == ["team", "team"]
    choose_study(page, f"{NAME}, version 1")
    assert page.text_area[0].value == results


def test_the_typed_name_is_checked_where_the_study_is_closed(
    tmp_path: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained_study.use_few_permutations(monkeypatch)
    study = explained_study.create_study(tmp_path / "study")
    explained_study.frozen(study)
    page = team(study, "reading_study")
    asked = {}

    def close_protocol(*arguments: object, **options: object) -> None:
        """Record what the page hands over instead of closing."""
        asked.update(options)

    page.text_input(key="close_name").set_value("zqxstudy").run()
    assert button(page, "Close and unblind").disabled
    page.text_input(key="close_name").set_value(NAME).run()
    monkeypatch.setattr(workflow, "close_protocol", close_protocol)
    button(page, "Close and unblind").click().run()
    assert asked == {"confirm": NAME, "version": 1}


def steps(page: AppTest) -> list[tuple[str, str, str]]:
    """Return mark (done, present or nothing), name and note of each stage on the page."""
    return re.findall(
        r'<li class="(\w*)"(?: aria-current="step")?><b>(?:✓ )?(\w+)</b><span>([^<]*)</span>',
        page_text(page),
    )


def marks(page: AppTest) -> list[str]:
    return [mark for mark, _, _ in steps(page)]


def test_stages_show_the_present_state_and_what_comes_next(
    tmp_path: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained_study.use_few_permutations(monkeypatch)
    study = explained_study.create_study(tmp_path / "study")
    page = team(study, "reading_study")
    assert [name.lower() for _, name, _ in steps(page)] == list(PROTOCOL_STATES)
    assert marks(page) == [""] * 6 and "Next: Save this design" in page_text(page)
    workflow.create_protocol(study, NAME, explained_study.small_design(), "T<1>")
    choose_study(page.run(), f"{NAME}, version 1")
    assert marks(page) == ["present", *[""] * 5]
    assert steps(page)[0][2].endswith(", T&lt;1&gt;")
    assert steps(page)[2][2] == "needs no error, a reason for each warning, the name typed"
    assert "Next: Check version 1 for leakage" in page_text(page)
    button(page, "Check version 1 for leakage").click().run()
    assert marks(page) == ["done", "present", *[""] * 4]
    assert "Next: Freeze version 1" in page_text(page) and button(page, "Freeze version 1").disabled
    with store.read(study) as con:
        reasons = explained_study.accepted(protocol_table.find_protocol(con, NAME))
    workflow.freeze_protocol(study, NAME, "team", reasons)
    assert marks(page.run()) == ["done", "done", "present", "", "", ""]
    assert "Next: Invite readers to version 1" in page_text(page)
    read(study, "R1", 1, 4)
    assert marks(page.run()) == ["done"] * 3 + ["present", "", ""]
    assert steps(page)[3][2] == "1 reader"
    assert "Next: Close version 1" in page_text(page)
    page.text_input(key="close_name").set_value(NAME).run()
    button(page, "Close and unblind version 1").click().run()
    assert marks(page) == ["done"] * 5 + ["present"]
    assert "Next: Read the results below. Version 1 is complete" in page_text(page)

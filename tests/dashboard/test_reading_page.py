"""The Reading study page: messages that survive, the list that follows, what is said where nothing can be estimated, and the word SIMULATED throughout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from test_team_pages import Open, said, team  # noqa: F401 - a fixture

from core import store
from core.store import people, readings
from core.store.reader import Desk
from dashboard import study as served
from evaluation.steps import reading as stages

NAME = "Reading study, version 1"


def read_all(study: Path) -> None:
    """One reader who is right everywhere."""
    with store.write(study) as con:
        people.invite(con, "R1", "reader", "x")
        protocol = Desk("R1", served.secret(study)).protocol(con)
        Desk("R1", served.secret(study)).seat(con, protocol)
        truth = readings.cases(con, protocol.protocol, protocol.version).set_index("case_number")["truth"]
        for item in readings.items(con, protocol.protocol, protocol.version).itertuples():
            answer = 6 if not item.practice and truth[item.case_number] == "malignant" else 1
            readings.append_answer(con, protocol=protocol, code="R1", position=item.position, revision=1, answer=answer, seconds=2.0)


def test_save_lint_freeze_and_a_result_that_cannot_be_estimated(own_study: Path, team: Open) -> None:  # noqa: F811
    page = team(own_study, "reading")
    page.selectbox(key="study").set_value("New design").run()
    assert "SIMULATED" in said(page)
    next(b for b in page.button if b.label == "Save this design").click().run()
    assert page.selectbox(key="study").value == NAME and f"Saved as {NAME}" in page.success[0].value and "SIMULATED" in said(page)
    next(b for b in page.button if b.label == "Lint").click().run()
    assert next(s.value for s in (*page.success, *page.error)).startswith("Linted: ") and "SIMULATED" in said(page)
    page.run()
    assert not page.success                                        # shown once
    for field in page.text_input:
        field.set_value("accepted")
    page.text_input(key="freeze_name").set_value("Reading study").run()
    next(b for b in page.button if b.label == "Freeze").click().run()
    assert page.success[0].value.startswith("Frozen. Hash ") and page.selectbox(key="study").value == NAME and "SIMULATED" in said(page)
    read_all(own_study)
    stages.close(own_study, "Reading study", "team")
    page.run()
    shown = said(page)
    count = stages.scored(own_study, "Reading study")[1].primary
    assert f"{count.correct} of {count.n}" in shown and "not estimable: all answers are right" in shown and "Next, the exact binomial test" in shown
    assert "SIMULATED" in shown and page.text_area[0].value.startswith("SIMULATED FILMS OR LABELS")
    forest = json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    assert [trace["x"] for trace in forest if trace["y"][0].startswith("All, n = ")] == [[1.0]]


def test_saving_what_cannot_be_saved_says_why(own_study: Path, team: Open, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from core.errors import UserError

    def refuse(*_: object, **__: object) -> None:
        raise UserError("No such cases; choose others.")
    page = team(own_study, "reading")
    page.selectbox(key="study").set_value("New design").run()
    monkeypatch.setattr(stages, "create", refuse)
    next(b for b in page.button if b.label == "Save this design").click().run()
    assert page.error[0].value == "No such cases; choose others." and page.selectbox(key="study").value == "New design"


def test_the_code_suggested_is_the_next_of_the_role(own_study: Path, team: Open) -> None:  # noqa: F811
    page = team(own_study, "people")
    assert page.text_input[0].placeholder == "A1"
    page.get("button_group")[0].set_value("reader").run()
    assert page.text_input[0].placeholder == "R1"
    next(b for b in page.button if b.label == "Invite").click().run()
    page.run()
    assert page.get("button_group")[0].value == "reader" and page.text_input[0].placeholder == "R2"      # the role chosen stays
    judged = next(f.value for f in page.dataframe if "Patches judged" in f.value.columns).set_index("Code")["Patches judged"]
    assert judged["SIM-careful"] > 0 and judged["R1"] == 0

"""The Reading study page from design to results, and replay."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from pypdf import PdfReader
from streamlit.testing.v1 import AppTest

from core import store
from core.errors import UserError
from core.sessions.reading_session import ReadingSession
from core.store import participant_table, run_table
from core.store.reading import protocol_table, reading_table
from dashboard.commands.reading_study import create_command
from dashboard.server import context
from evaluation.intervals import decimal
from evaluation.reading_study import design_preset, site_bundles, workflow
from evaluation.reading_study.leakage_issues import WARNING, IssueCode, LeakageIssue
from evaluation.reading_study.workflow import checks
from evaluation.reporting.protocol_pdf import protocol_pdf
from evaluation.reporting.tables.reading_study import build_protocol_table
from support.paths import REFERENCE
from support.requirements import needs_publication
from support.team_page import Open, button, choose_study, page_text

PUBLISHED = REFERENCE / "published_study"
NAME = "Reading study"
TITLE = f"{NAME}, version 1"


def read_correctly(study: Path) -> None:
    """Give the right answer to every case of the open study as reader R1."""
    with store.write(study) as con:
        participant_table.invite_participant(con, "R1", "reader", "x")
        session = ReadingSession("R1", context.study_secret(study))
        protocol = session.protocol(con)
        session.assign_order(con, protocol)
        key = protocol.protocol, protocol.version
        truth = reading_table.load_reading_cases(con, *key).set_index("case_number")["truth"]
        for item in reading_table.load_reading_items(con, *key).itertuples():
            is_malignant = not item.practice and truth[item.case_number] == "malignant"
            reading_table.append_reading_answer(
                con,
                protocol=protocol,
                code="R1",
                position=item.position,
                revision=1,
                answer=protocol.design["scale"] if is_malignant else 1,
                seconds=2.0,
            )


def answer_arms_alike(study: Path) -> None:
    """Make all answers of the closed study right in the first arm and wrong in the others."""
    with store.write(study) as con:
        con.execute(
            """
            UPDATE answers SET answer =
                CASE WHEN (c.truth = 'malignant') = (c.arm = 'explanation') THEN 6 ELSE 1 END
            FROM reading_items i, reading_cases c
            WHERE i.protocol = answers.protocol AND i.version = answers.version
                AND i.code = answers.code AND i.position = answers.position
                AND c.protocol = i.protocol AND c.version = i.version
                AND c.case_number = i.case_number
            """
        )


def check_design(study: Path, name: str = NAME, **changes: Any) -> list[str]:
    """Save and check a design; return the fields of its warnings."""
    workflow.create_protocol(
        study, name, design_preset("Recommended", name=name, **changes), "team"
    )
    issues = workflow.check_protocol(study, name, "team")[1]
    return [issue.field for issue in issues if issue.severity == WARNING]


def find_three_warnings(patch: pytest.MonkeyPatch) -> list[LeakageIssue]:
    """Let the check find three warnings, two about one field, and return them."""
    warnings = [
        LeakageIssue(field=field, severity=WARNING, finding=finding, code=IssueCode.UNCODED)
        for field, finding in (
            ("texts", "only 3 distinct texts for 10 cases"),
            ("texts", "one label dominates"),
            ("patients", "10 cases come from 8 patients"),
        )
    ]
    patch.setattr(checks, "check_leakage", lambda *_, **__: warnings)
    patch.setattr(checks, "reader_order_issues", lambda *_: [])
    return warnings


def freeze(study: Path, name: str, fields: list[str]) -> None:
    workflow.freeze_protocol(study, name, "team", dict.fromkeys(fields, "yes"))


def test_design_to_results(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    assert "SIMULATED" in page_text(page)
    button(page, "Save this design").click().run()
    assert page.selectbox(key="study").value == TITLE
    assert f"Saved as {TITLE}" in page.success[0].value and "SIMULATED" in page_text(page)
    button(page, "Check").click().run()
    message = next(element.value for element in (*page.success, *page.error))
    assert message.startswith("Leakage check: ") and "SIMULATED" in page_text(page)
    page.run()
    assert not page.success  # the message is shown once
    for field in page.text_input:
        field.set_value("accepted")
    page.text_input(key="freeze_name").set_value(NAME).run()
    button(page, "Freeze").click().run()
    assert page.success[0].value.startswith("Frozen. Hash ")
    assert page.selectbox(key="study").value == TITLE and "SIMULATED" in page_text(page)
    read_correctly(own_study)
    workflow.close_protocol(own_study, NAME, "team", confirm=NAME)
    page.run()
    text = page_text(page)
    primary = workflow.score_protocol(own_study, NAME)[1].primary
    assert f"{primary.correct} / {primary.n}" in text
    assert "not estimable: all answers are right" in text
    assert "AUC of the ratings" in text
    assert "SIMULATED" in text
    assert page.text_area[0].value.startswith("SIMULATED MAMMOGRAMS OR LABELS")
    forest = json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    assert [trace["x"] for trace in forest if trace["y"][0].startswith("All, n = ")] == [[1.0]]


def test_refused_design_shows_the_reason(
    own_study: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise UserError("No such cases; choose others.")

    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    monkeypatch.setattr(workflow, "create_protocol", refuse)
    button(page, "Save this design").click().run()
    assert page.error[0].value == "No such cases; choose others."
    assert page.selectbox(key="study").value == "New design"


def test_every_warning_needs_its_own_reason(
    own_study: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings = find_three_warnings(monkeypatch)
    assert len(check_design(own_study)) == len(warnings)
    page = team(own_study, "reading_study")
    fields = [field for field in page.text_input if field.key and field.key.startswith("reason_")]
    assert len(fields) == len(warnings)
    for number, field in enumerate(fields[1:], start=1):
        field.set_value(f"reason {number}")
    page.text_input(key="freeze_name").set_value(NAME).run()
    button(page, "Freeze").click().run()
    assert page.error[0].value.startswith("Not frozen: a warning without a reason: texts: ")
    kinds = [part.type for part in page.main.children.values()]
    # The message is above the button, where it is visible without scrolling.
    assert kinds.index("error") < kinds.index("button", kinds.index("error"))
    next(field for field in page.text_input if field.key == fields[0].key).set_value(
        "reason 0"
    ).run()
    button(page, "Freeze").click().run()
    assert page.success[0].value.startswith("Frozen. Hash ")
    rows = build_protocol_table(own_study).rows
    assert ("comparison share", "0.3333") in rows and ("prevalence told", "no") in rows
    printed = [str(row[1]) for row in rows]
    for number in range(len(warnings)):
        assert sum(f"(accepted: reason {number})" in text for text in printed) == 1, number


def test_reason_without_warning_is_refused(own_study: Path) -> None:
    reasons = dict.fromkeys(check_design(own_study), "yes")
    with pytest.raises(UserError, match="no warning about 'nosuch'"):
        workflow.freeze_protocol(own_study, NAME, "team", reasons | {"nosuch": "yes"})
    assert workflow.freeze_protocol(own_study, NAME, "team", reasons).state == "frozen"


def test_check_page_lists_fixed_settings(own_study: Path, team: Open) -> None:
    check_design(own_study)
    page = team(own_study, "reading_study")
    assert (
        "Primary analysis AUC of ratings, clustered by patient, one-sided, alpha 0.05; truth rule"
        " any malignant" in page.caption[0].value
    )
    assert "Open demonstration, version 1 is frozen and not closed" in page.warning[0].value


def test_arm_without_variance_has_no_interval_of_width_0(own_study: Path, team: Open) -> None:
    answer_arms_alike(own_study)
    with store.read(own_study) as con:
        earlier = len(run_table.load_log(con, "results looked up"))
    page = team(own_study, "reading_study")
    text = page_text(page)
    page.run()
    with store.read(own_study) as con:
        looks = run_table.load_log(con, "results looked up")["detail"].tolist()
    assert len(looks) == earlier + 1  # once a visit
    assert looks[0] == "Simulated demonstration version 1"
    assert "1.000 to 1.000" not in text and ".000 to .000" not in text
    assert "all answers are right: their variance is 0" in text
    assert "every reader's answers of an arm are all right or all wrong" in text
    assert "8  Time and order" in text and "any_malignant" not in text


def test_sections_with_one_arm_are_numbered(own_study: Path, team: Open) -> None:
    freeze(own_study, "One arm", check_design(own_study, "One arm", arms=("explanation",), scale=2))
    read_correctly(own_study)
    workflow.close_protocol(own_study, "One arm", "team", confirm="One arm")
    text = page_text(team(own_study, "reading_study"))
    assert "6  Network alone" in text and "7  Time and order" in text
    assert "malignant = answer 2;" in text


def test_2021_preset_without_folder_rule(own_study: Path, team: Open) -> None:
    design = design_preset("DeepMiner 2021", name="As published", cases_per_class=None)
    with pytest.raises(UserError, match="truth rule folder requires a source"):
        workflow.create_protocol(own_study, "As published", design, "team")
    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    page.selectbox(key="preset").set_value("DeepMiner 2021").run()
    rule = next(box for box in page.selectbox if box.label == "Truth rule")
    assert rule.value == "any_malignant" and "folder" not in rule.options
    assert "folder of the source, is not known" in rule.help


def test_page_and_command_give_the_same_power(
    own_study: Path, team: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    text = page_text(page)
    create_command(own_study, "By command", as_json=True)
    result = json.loads(capsys.readouterr().out)["result"]
    # Power is that of the primary arm.
    assert result["primary_cases"] < result["cases"]
    assert f"<b>{decimal(result['power'], 2)}</b>" in text


def test_bundle_refuses_design_check_close_and_score(own_study: Path, tmp_path: Path) -> None:
    site_bundles.create_bundle(own_study, tmp_path / "bundle", "Open demonstration", "team")
    for action in (
        lambda path: workflow.check_protocol(path, None, "team"),
        workflow.score_protocol,
        lambda path: workflow.create_protocol(path, "x", design_preset("Recommended"), "team"),
        lambda path: workflow.close_protocol(path, None, "team", confirm="Open demonstration"),
    ):
        with pytest.raises(UserError, match="This is a site bundle without ground truth"):
            action(tmp_path / "bundle")


def replay_page() -> None:
    from dashboard.views import reading_replay

    reading_replay.render_replay()


@needs_publication
def test_replay_of_the_published_study() -> None:
    page = AppTest.from_function(replay_page, default_timeout=180).run()
    sheet, answers, key = (
        (PUBLISHED / f"explanations-benchmark{end}.csv").read_bytes()
        for end in ("", "-responses", "-answer-key")
    )
    damaged = answers.replace(b"Cancer or Benign", b"Verdict", 1)
    uploads = (("ours.csv", sheet), ("reader one.csv", damaged), ("truth.csv", key))
    for number, (name, data) in enumerate(uploads):
        page.get("file_uploader")[number].set_value((name, data, "text/csv")).run()
    assert page.error[0].value.startswith(
        "Answers (reader one.csv), line 1: the column 'Cancer or Benign (C/B)?' is missing"
    )
    page.get("file_uploader")[1].set_value(("reader one.csv", answers, "text/csv")).run()
    text = page_text(page)
    assert "is correct in 163 of 330 cases" in text
    assert "Without the 1 unproven: 181 of 329" in text and not page.error


def test_name_is_shown_without_markdown(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    page.text_input(key="protocol").set_value("Ours *one* [x]").run()
    button(page, "Save this design").click().run()
    assert r"Saved as Ours \*one\* \[x\], version 1." in page.success[0].value
    assert page.selectbox(key="study").value == "Ours *one* [x], version 1"


def test_analysis_choices_are_stored_and_printed(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    choices: dict[str, Any] = {
        "Primary analysis": "sign_flip",
        "Side": "two-sided",
        "Cases whose truth rules differ": "in",
        "Images of a patient": "all",
        "Units considered for texts": "all",
        "Alpha": 0.01,
        "Design effect": 1.2,
        "Stopping rule": "Two readers, then stop.",
    }
    for element in (*page.selectbox, *page.number_input, *page.text_input):
        if element.label in choices:
            element.set_value(choices[element.label])
    page.run()
    assert "alpha 0.01" in page_text(page)
    button(page, "Save this design").click().run()
    with store.read(own_study) as con:
        design = protocol_table.list_protocols(con)[-1].design
    stored = {
        "primary": "sign_flip",
        "side": "two-sided",
        "discrepant": "in",
        "images_per_patient": None,
        "depth": None,
        "alpha": 0.01,
        "design_effect": 1.2,
        "stopping": "Two readers, then stop.",
    }
    assert {name: design[name] for name in stored} == stored
    _, issues = workflow.check_protocol(own_study, NAME, "team", "reviewed")
    reasons = {f"{i.field}: {i.finding}": "accepted" for i in issues if i.severity == WARNING}
    frozen = workflow.freeze_protocol(own_study, NAME, "team", reasons)
    page.run()
    assert not page.exception and "patient sign-flip, two-sided, alpha 0.01" in page_text(page)
    assert "Protocol, PDF" in [b.label for b in page.get("download_button")]
    pages = PdfReader(
        io.BytesIO(protocol_pdf(frozen, True, "Evidence record 7, SHA-256 abc"))
    ).pages
    text = " ".join(p.extract_text() for p in pages).replace("\n", " ")
    assert frozen.hash[:40] in text.replace(" ", "") and "two-sided" in text
    assert "Two readers, then stop." in text and "SIMULATED" in text
    assert "Evidence record 7, SHA-256 abc." in text


def test_interim_look_is_taken_on_the_page(own_study: Path, team: Open) -> None:
    design = {"arms": ("explanation",), "looks": 2, "readers": 1, "repeats": 0, "primary": "gee"}
    freeze(own_study, "Looks", check_design(own_study, "Looks", **design))
    page = team(own_study, "reading_study")
    choose_study(page, "Looks, version 1")
    assert "there are 0 %" in page_text(page)
    assert button(page, "Take the interim look").disabled
    read_correctly(own_study)
    page = team(own_study, "reading_study")
    choose_study(page, "Looks, version 1")
    # 8 of 8 correct: nothing about the answers is told before or after, but the decision.
    assert "there are 100 %" in page_text(page)
    page.text_input(key="look_name").set_value("Looks").run()
    button(page, "Take the interim look").click().run()
    assert not page.exception
    assert page.success[0].value == ("Interim look 1, boundary P .0056. Stop: the study is closed.")
    with store.read(own_study) as con:
        assert workflow.find_protocol(con, "Looks", 1).state in ("closed", "scored")

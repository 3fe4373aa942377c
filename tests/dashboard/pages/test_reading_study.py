"""The Reading study page: messages that survive, the list that follows, what is said where nothing
can be estimated, and the word SIMULATED throughout.
"""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from pypdf import PdfReader
from streamlit.testing.v1 import AppTest

from core import store
from core.errors import UserError
from core.sessions.reading_session import Desk
from core.store import participant_table, reading_table
from dashboard.commands.reading_study import create
from dashboard.server import context
from evaluation.intervals import decimal
from evaluation.reading_study import preset, workflow
from evaluation.reading_study.leakage_checks import WARNING
from evaluation.reporting.protocol_pdf import protocol_pdf
from evaluation.reporting.tables.reading_study import protocol_table
from support.paths import REFERENCE
from support.team_page import Open, said

PUBLISHED = REFERENCE / "published_study"
NAME = "Reading study, version 1"


def read_all(study: Path) -> None:
    """One reader who is right everywhere."""
    with store.write(study) as con:
        participant_table.invite(con, "R1", "reader", "x")
        protocol = Desk("R1", context.secret(study)).protocol(con)
        Desk("R1", context.secret(study)).seat(con, protocol)
        truth = reading_table.cases(con, protocol.protocol, protocol.version).set_index(
            "case_number"
        )["truth"]
        for item in reading_table.items(con, protocol.protocol, protocol.version).itertuples():
            answer = (
                protocol.design["scale"]
                if not item.practice and truth[item.case_number] == "malignant"
                else 1
            )
            reading_table.append_answer(
                con,
                protocol=protocol,
                code="R1",
                position=item.position,
                revision=1,
                answer=answer,
                seconds=2.0,
            )


def test_save_lint_freeze_and_a_result_that_cannot_be_estimated(
    own_study: Path,
    team: Open,
) -> None:
    page = team(own_study, "reading_study")
    page.selectbox(key="study").set_value("New design").run()
    assert "SIMULATED" in said(page)
    next(b for b in page.button if b.label == "Save this design").click().run()
    assert (
        page.selectbox(key="study").value == NAME
        and f"Saved as {NAME}" in page.success[0].value
        and "SIMULATED" in said(page)
    )
    next(b for b in page.button if b.label == "Lint").click().run()
    assert next(s.value for s in (*page.success, *page.error)).startswith(
        "Linted: "
    ) and "SIMULATED" in said(page)
    page.run()
    assert not page.success  # shown once
    for field in page.text_input:
        field.set_value("accepted")
    page.text_input(key="freeze_name").set_value("Reading study").run()
    next(b for b in page.button if b.label == "Freeze").click().run()
    assert (
        page.success[0].value.startswith("Frozen. Hash ")
        and page.selectbox(key="study").value == NAME
        and "SIMULATED" in said(page)
    )
    read_all(own_study)
    workflow.close(own_study, "Reading study", "team")
    page.run()
    shown = said(page)
    count = workflow.scored(own_study, "Reading study")[1].primary
    assert (
        f"{count.correct} of {count.n}" in shown
        and "not estimable: all answers are right" in shown
        and "Next, the exact binomial test" in shown
    )
    assert "SIMULATED" in shown and page.text_area[0].value.startswith("SIMULATED FILMS OR LABELS")
    forest = json.loads(page.get("plotly_chart")[0].proto.spec)["data"]
    assert [trace["x"] for trace in forest if trace["y"][0].startswith("All, n = ")] == [[1.0]]


def test_saving_what_cannot_be_saved_says_why(
    own_study: Path,
    team: Open,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from core.errors import UserError

    def refuse(*_: object, **__: object) -> None:
        raise UserError("No such cases; choose others.")

    page = team(own_study, "reading_study")
    page.selectbox(key="study").set_value("New design").run()
    monkeypatch.setattr(workflow, "create", refuse)
    next(b for b in page.button if b.label == "Save this design").click().run()
    assert (
        page.error[0].value == "No such cases; choose others."
        and page.selectbox(key="study").value == "New design"
    )


def test_the_code_suggested_is_the_next_of_the_role(own_study: Path, team: Open) -> None:
    page = team(own_study, "participants")
    assert page.text_input[0].placeholder == "A1"
    page.get("button_group")[0].set_value("reader").run()
    assert page.text_input[0].placeholder == "R1"
    next(b for b in page.button if b.label == "Invite").click().run()
    table = next(f.value for f in page.dataframe if "Last seen" in f.value.columns).set_index(
        "Code"
    )
    assert "4 invited" in said(page) and len(table) == 4 and table["Last seen"]["R1"] == ""
    page.run()
    assert (
        page.get("button_group")[0].value == "reader" and page.text_input[0].placeholder == "R2"
    )  # the role chosen stays
    judged = next(f.value for f in page.dataframe if "Patches judged" in f.value.columns).set_index(
        "Code"
    )["Patches judged"]
    assert judged["SIM-careful"] > 0 and judged["R1"] == 0


def warned(study: Path, name: str) -> list[str]:
    """A saved and linted design's warnings, as their fields."""
    workflow.create(study, name, preset("Recommended", name=name), "team")
    return [f.field for f in workflow.run_lint(study, name, "team")[1] if f.severity == WARNING]


def test_every_warning_needs_a_reason_of_its_own_and_none_is_lost(
    own_study: Path,
    team: Open,
) -> None:
    fields = warned(own_study, "Reading study")
    assert len(fields) > len(set(fields))  # several warnings about one field
    page = team(own_study, "reading_study")
    asked = [field for field in page.text_input if field.key and field.key.startswith("reason_")]
    assert len(asked) == len(fields)
    for number, field in enumerate(asked[1:], start=1):
        field.set_value(f"reason {number}")
    page.text_input(key="freeze_name").set_value("Reading study").run()
    next(b for b in page.button if b.label == "Freeze").click().run()
    assert page.error[0].value.startswith("Not frozen: a warning without a reason: texts: ")
    kinds = [part.type for part in page.main.children.values()]
    assert kinds.index("error") < kinds.index(
        "button", kinds.index("error")
    )  # in sight where the button is
    next(field for field in page.text_input if field.key == asked[0].key).set_value(
        "reason 0"
    ).run()
    next(b for b in page.button if b.label == "Freeze").click().run()
    assert page.success[0].value.startswith("Frozen. Hash ")
    rows = protocol_table(own_study).rows
    assert ("comparison share", "0.3333") in rows and ("prevalence told", "no") in rows
    printed = [str(row[1]) for row in rows]
    for number in range(len(fields)):
        assert sum(f"(accepted: reason {number})" in text for text in printed) == 1, number


def test_a_reason_for_what_was_not_found_is_refused(own_study: Path) -> None:
    fields = warned(own_study, "Reading study")
    with pytest.raises(UserError, match="no warning about 'nosuch'"):
        workflow.freeze(
            own_study, "Reading study", "team", dict.fromkeys(fields, "yes") | {"nosuch": "yes"}
        )
    assert (
        workflow.freeze(own_study, "Reading study", "team", dict.fromkeys(fields, "yes")).state
        == "frozen"
    )


def test_before_freezing_the_page_says_what_is_fixed_and_who_reads_elsewhere(
    own_study: Path,
    team: Open,
) -> None:
    warned(own_study, "Reading study")
    page = team(own_study, "reading_study")
    assert (
        "Primary analysis GEE, clustered by patient, one-sided, alpha 0.05; truth rule any"
        " malignant" in page.caption[0].value
    )
    assert "Open demonstration, version 1 is frozen and not closed" in page.warning[0].value


def test_an_arm_whose_answers_are_all_alike_has_no_bootstrap_interval(
    own_study: Path,
    team: Open,
) -> None:
    text = said(team(own_study, "reading_study"))  # the simulated reader is right everywhere
    assert (
        "1.000 to 1.000" not in text
        and ".000 to .000" not in text
        and "all answers are right: their variance is 0" in text
    )
    assert "8  Time and order" in text and "any_malignant" not in text


def test_sections_are_counted_without_a_gap_where_there_is_one_arm(
    own_study: Path,
    team: Open,
) -> None:
    chosen = preset("Recommended", name="One arm", arms=("explanation",), scale=2)
    workflow.create(own_study, "One arm", chosen, "team")
    fields = [
        f.field for f in workflow.run_lint(own_study, "One arm", "team")[1] if f.severity == WARNING
    ]
    workflow.freeze(own_study, "One arm", "team", dict.fromkeys(fields, "yes"))
    read_all(own_study)
    workflow.close(own_study, "One arm", "team")
    text = said(team(own_study, "reading_study"))
    assert (
        "6  Network alone" in text
        and "7  Time and order" in text
        and "malignant = answer 2;" in text
    )


def test_the_2021_preset_says_that_the_folder_rule_is_unknown_here(
    own_study: Path,
    team: Open,
) -> None:
    with pytest.raises(UserError, match="truth rule folder needs patients"):
        workflow.create(
            own_study,
            "As published",
            preset("DeepMiner 2021", name="As published", cases_per_class=None),
            "team",
        )
    page = team(own_study, "reading_study")
    page.selectbox(key="study").set_value("New design").run()
    page.selectbox(key="preset").set_value("DeepMiner 2021").run()
    rule = next(box for box in page.selectbox if box.label == "Truth rule")
    assert (
        rule.value == "any_malignant"
        and "folder of the source, is not known" in rule.help
        and "folder" not in rule.options
    )


def test_power_is_that_of_the_primary_arm_on_page_and_command_line(
    own_study: Path,
    team: Open,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = team(own_study, "reading_study")
    page.selectbox(key="study").set_value("New design").run()
    shown = said(page)
    create(own_study, "By command", as_json=True)
    result = json.loads(capsys.readouterr().out)["result"]
    assert (
        result["primary_cases"] < result["cases"] and f"<b>{decimal(result['power'])}</b>" in shown
    )


def test_a_bundle_is_designed_linted_and_scored_at_home(own_study: Path, tmp_path: Path) -> None:
    from evaluation.reading_study import site_bundles

    site_bundles.make(own_study, tmp_path / "bundle", "Open demonstration", "team")
    for refused in (
        lambda at: workflow.run_lint(at, None, "team"),
        workflow.scored,
        lambda at: workflow.create(at, "x", preset("Recommended"), "team"),
        lambda at: workflow.close(at, None, "team"),
    ):
        with pytest.raises(UserError, match="This study is a bundle: the truth is not here"):
            refused(tmp_path / "bundle")


def replay_page() -> None:
    from dashboard.views import reading_replay

    reading_replay.show()


@pytest.mark.skipif(
    not PUBLISHED.exists(), reason="the published study is not beside the repository"
)
def test_a_replay_names_the_uploaded_files_and_says_what_the_texts_can_tell() -> None:
    page = AppTest.from_function(replay_page, default_timeout=60).run()
    sheet, answers, key = (
        (PUBLISHED / f"explanations-benchmark{end}.csv").read_bytes()
        for end in ("", "-responses", "-answer-key")
    )
    for place, (name, data) in enumerate(
        (
            ("ours.csv", sheet),
            ("reader one.csv", answers.replace(b"Cancer or Benign", b"Verdict", 1)),
            ("truth.csv", key),
        )
    ):
        page.get("file_uploader")[place].set_value((name, data, "text/csv")).run()
    assert page.error[0].value.startswith(
        "Answers (reader one.csv), line 1: the column 'Cancer or Benign (C/B)?' is missing"
    )
    page.get("file_uploader")[1].set_value(("reader one.csv", answers, "text/csv")).run()
    text = said(page)
    assert (
        "is right in 163 of 330 cases" in text
        and "Without the 1 unproven: 181 of 329" in text
        and not page.error
    )


def test_a_name_is_shown_as_it_was_typed(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    page.selectbox(key="study").set_value("New design").run()
    page.text_input(key="protocol").set_value("Ours *one* [x]").run()
    next(b for b in page.button if b.label == "Save this design").click().run()
    assert (
        r"Saved as Ours \*one\* \[x\], version 1." in page.success[0].value
        and page.selectbox(key="study").value == "Ours *one* [x], version 1"
    )


def test_every_choice_of_the_analysis_is_kept_and_printed_with_the_hash(
    own_study: Path,
    team: Open,
) -> None:
    page = team(own_study, "reading_study")
    page.selectbox(key="study").set_value("New design").run()
    chosen = {
        "Primary analysis": "sign_flip",
        "Side": "two-sided",
        "Cases whose truth rules differ": "in",
        "Images of a patient": "all",
        "Units looked through for texts": "all",
    }
    for box in page.selectbox:
        if box.label in chosen:
            box.set_value(chosen[box.label])
    for box in page.number_input:
        if box.label in ("Alpha", "Design effect"):
            box.set_value({"Alpha": 0.01, "Design effect": 1.2}[box.label])
    next(t for t in page.text_input if t.label == "Stopping rule").set_value(
        "Two readers, then stop."
    )
    page.run()
    assert "alpha 0.01" in said(page)
    next(b for b in page.button if b.label == "Save this design").click().run()
    with store.read(own_study) as con:
        design = reading_table.protocols(con)[-1].design
    kept = (
        "primary",
        "side",
        "discrepant",
        "images_per_patient",
        "depth",
        "alpha",
        "design_effect",
        "stopping",
    )
    assert [design[name] for name in kept] == [
        "sign_flip",
        "two-sided",
        "in",
        None,
        None,
        0.01,
        1.2,
        "Two readers, then stop.",
    ]
    _, findings = workflow.run_lint(own_study, "Reading study", "team", "looked at")
    reasons = {f"{f.field}: {f.finding}": "accepted" for f in findings if f.severity == WARNING}
    frozen = workflow.freeze(own_study, "Reading study", "team", reasons)
    page.run()
    assert not page.exception and "patient sign-flip, two-sided, alpha 0.01" in said(page)
    assert "Protocol, PDF" in [b.label for b in page.get("download_button")]
    text = " ".join(
        p.extract_text() for p in PdfReader(io.BytesIO(protocol_pdf(frozen, simulated=True))).pages
    ).replace("\n", " ")
    assert (
        frozen.hash[:40] in text.replace(" ", "")
        and "two-sided" in text
        and "Two readers, then stop." in text
        and "SIMULATED" in text
    )

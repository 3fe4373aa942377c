"""The Figures page: missing and stale exports, Build; the tables on other pages and commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import store, study_folder
from core.store import run_table, unit_table
from core.store.labels import decision_table
from dashboard.commands.exports import export_tables_command
from dashboard.commands.study import status_command
from evaluation.queries.study_overview import step_cards
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.tables import TABLES
from support.team_page import Open, button, page_text

STALE = '<span class="dm-badge stale">'


def select_exports(page: AppTest, names: set[str]) -> None:
    """Select exactly these exports."""
    for box in page.checkbox:
        if not box.disabled:
            box.set_value(box.key.removeprefix("export ") in names)


def change_label(study: Path) -> None:
    """Decide the label of the first selected unit."""
    with store.write(study) as con:
        run = run_table.latest_run(con, "dissect")
        unit = unit_table.selected_unit_ids(con, run)[0]
        decision_table.record_decision(con, run, unit, "Another label", [], "second review", "team")


def count_openings(study: Path) -> int:
    with store.read(study) as con:
        return len(run_table.load_log(con, "test split opened"))


def test_empty_study_names_missing_steps(tmp_path: Path, open_page: Open) -> None:
    page = open_page(study_folder.create_study(tmp_path / "s"), "figures")
    text = page_text(page)
    for step in (
        "Source",
        "Patches",
        "Evaluation",
        "Units",
        "Explanations",
        "Annotation",
        "Reading",
    ):
        assert step in text
    assert {b.key for b in page.checkbox if not b.disabled} == {
        "export table protocol",
        "export table checklist",
    }
    assert "no classifier has been evaluated yet" in text


def test_build_and_stale_exports(own_study: Path, open_page: Open) -> None:
    page = open_page(own_study, "figures")
    assert {b.key for b in page.checkbox} == {f"export figure {n}" for n in FIGURES} | {
        f"export table {n}" for n in TABLES
    }
    assert {b.key for b in page.checkbox if b.disabled} >= {"export figure annotation_screen"}
    # Another command takes the screenshot: the study lacks no input for it.
    missing = sum(b.disabled for b in page.checkbox) - 1
    total = len(FIGURES) + len(TABLES)
    note = f"{missing} of {total} lack" if missing else "all inputs are available"
    assert note in page_text(page) and "make pictures</span>" in page_text(page)
    assert page_text(page).count(STALE) == 0
    select_exports(page, {"figure coverage", "table units"})
    page.multiselect(key="formats").set_value(["pdf"])
    page.run()
    button(page, "Build 2").click()
    page.run()
    assert not page.exception and "2 built" in page.success[0].value
    # The message is above the long note, so that it is visible without scrolling.
    kinds = [part.type for part in page.columns[0].children.values()]
    assert kinds.index("success") < len(kinds) - 1 - kinds[::-1].index("caption")
    with store.read(own_study) as con:
        details = run_table.load_log(con, "export")["detail"].tolist()
    assert len(details) == 1 and details[0].startswith("coverage ")
    assert ", table_units " in details[0]
    assert (own_study / "exports" / "coverage.pdf").is_file()
    assert (own_study / "exports" / "table_units.xlsx").is_file()
    assert page_text(page).count(" built</span>") == 2
    change_label(own_study)
    page.run()
    assert page_text(page).count(STALE) == 2 and "labels changed since" in page_text(page)


def test_preview_follows_preset(own_study: Path, open_page: Open) -> None:
    page = open_page(own_study, "figures")
    page.selectbox(key="preview").set_value("figure roc")
    page.run()
    assert 'style="width:174mm' in page_text(page) and "SIMULATED" in page_text(page)
    page.selectbox(key="preset").set_value("One column, 85 mm")
    page.run()
    assert 'style="width:85mm' in page_text(page)
    page.selectbox(key="preview").set_value("table cohort")
    page.run()
    assert "Patients" in page.dataframe[0].value["Characteristic"].tolist()
    page.selectbox(key="preview").set_value("figure annotation_screen")
    page.run()
    assert "screenshot" in page.info[0].value


def test_openings_are_builds_and_first_previews(own_study: Path, open_page: Open) -> None:
    before = count_openings(own_study)
    page = open_page(own_study, "figures")
    page.run()
    assert count_openings(own_study) == before  # the framework holds no number of the test split
    for preview in ("figure calibration", "table classifiers", "figure calibration"):
        page.selectbox(key="preview").set_value(preview)
        page.run()
    assert count_openings(own_study) == before + 1
    assert f"opened {before + 1} time" in page_text(page)
    for names, more in (({"table cohort"}, 0), ({"table classifiers", "table architectures"}, 1)):
        earlier = count_openings(own_study)
        select_exports(page, names)
        page.run()
        button(page, "Build").click()
        page.run()
        assert count_openings(own_study) == earlier + more


def test_status_command_lists_stale_exports(
    own_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = own_study / "exports"
    export_tables_command(["units", "cohort"], out, own_study)
    assert "stale" not in capsys.readouterr().out
    change_label(own_study)
    before = count_openings(own_study)
    status_command(own_study)
    output = capsys.readouterr().out
    command = f"deepminer tables units --study {own_study} --out {out}"
    assert f"stale table units: labels changed since; repeat with {command}" in output
    assert "cohort" not in output
    export_tables_command(["cohort"], out, own_study)
    assert command in capsys.readouterr().out
    # Neither table holds numbers of the test split.
    assert count_openings(own_study) == before
    report = next(step for step in step_cards(own_study) if step.kind == "report")
    assert report.state == "stale" and report.headline == "2 exports"
    assert "table_units" in report.note


def test_performance_page_shows_networks(demonstration: Path, open_page: Open) -> None:
    text = page_text(open_page(demonstration, "performance", tab="Networks"))
    assert "SPIE 2018, Table 1" in text and ".8929" in text and "AUC malignant" in text


def test_explanations_page_shows_report_similarity(own_study: Path, open_page: Open) -> None:
    text = page_text(open_page(own_study, "explanations"))
    assert "Explanations against report lines" in text
    assert "Greedy matching" in text and "Concept F1" in text and ".627" in text

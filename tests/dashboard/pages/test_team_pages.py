"""Every team page on the quick demonstration and on an empty study: content, no exception, state
from support.paths import ROOT
from the address.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.class_labels import unit_name, view_name
from core.store import annotation_table, run_table
from core.study_folder import init
from support.team_page import Open, said

PAGES = (
    "overview",
    "data",
    "performance",
    "units",
    "explanations",
    "annotations",
    "reading_study",
    "figures",
    "participants",
)
CONTENT = {
    "overview": "Phantom demonstration", "data": "80 patients", "performance": "One class against the rest", "units": "selected of 64", "explanations": "Predicted", "annotations": "SIM-careful",
    "reading_study": "Correct answers", "figures": "Build", "participants": "SIM-reader",
}  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_every_page_shows_content_without_an_exception(
    name: str, demonstration: Path, team: Open
) -> None:
    page = team(demonstration, name)
    assert not page.exception, [e.message for e in page.exception]
    assert not page.error
    assert CONTENT[name] in said(page) + " ".join(
        str(frame.value) for frame in page.dataframe
    ) + " ".join(b.label for b in page.button)


@pytest.mark.parametrize("name", PAGES)
def test_an_empty_study_says_what_to_do(name: str, tmp_path: Path, team: Open) -> None:
    page = team(init(tmp_path / "empty"), name)
    assert not page.exception, [e.message for e in page.exception]
    if name not in ("participants", "figures"):
        assert "deepminer" in " ".join(code.value for code in page.code) or "deepminer" in said(
            page
        )


def test_the_unit_of_the_address_is_shown(demonstration: Path, team: Open) -> None:
    with store.read(demonstration) as con:
        unit = annotation_table.selected_units(con, run_table.latest(con, "dissect") or "")[0]
    page = team(demonstration, "units", unit=unit_name(unit))
    assert not page.exception
    page.query_params["unit"] = unit_name(unit)
    page.run()
    assert not page.exception and unit_name(unit) in said(page)
    page.query_params["unit"] = "unit_9999"
    page.run()
    assert "There is no unit called unit_9999" in page.error[0].value


def openings(study: Path) -> int:
    with store.read(study) as con:
        return len(run_table.events(con, "test split opened"))


def test_opening_the_test_split_is_logged_and_counted(own_study: Path, team: Open) -> None:
    before = openings(own_study)
    page = team(own_study, "performance")
    page.segmented_control(key="split").set_value("test").run()
    assert not page.exception
    assert openings(own_study) == before + 1
    page.run()
    assert openings(own_study) == before + 1  # looking again is not opening again


def test_the_performance_page_prints_the_stored_auc(demonstration: Path, team: Open) -> None:
    from evaluation.intervals import decimal

    with store.read(demonstration) as con:
        metrics = run_table.metrics(con, run_table.latest(con, "evaluate") or "", "holdout")
    row = metrics[
        (metrics["level"] == "patch")
        & (metrics["class"] == "malignant")
        & (metrics["name"] == "auc")
    ].iloc[0]
    text = said(team(demonstration, "performance"))
    assert (
        f"<b>{decimal(row['estimate'])}</b>" in text
        and f"{decimal(row['low'])} to {decimal(row['high'])}" in text
    )


def test_a_design_is_saved_linted_and_frozen_by_hand(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    page.selectbox(key="study").set_value("New design").run()
    page.text_input(key="protocol").set_value("By hand").run()
    next(b for b in page.button if b.label == "Save this design").click().run()
    assert not page.exception
    page.selectbox(key="study").set_value("By hand, version 1").run()
    next(b for b in page.button if b.label == "Lint").click().run()
    assert not page.exception
    reasons = [field for field in page.text_input if field.key and field.key.startswith("reason_")]
    for field in reasons:
        field.set_value("looked at and accepted")
    page.text_input(key="freeze_name").set_value("By hand").run()
    next(b for b in page.button if b.label == "Freeze").click().run()
    assert not page.exception and not page.error
    assert "No accuracy, no balance of answers" in said(page)


def test_seconds_of_people_and_of_simulated_experts_stay_apart(own_study: Path, team: Open) -> None:
    assert ", 2 experts" in said(team(own_study, "overview"))
    with store.write(own_study) as con:
        con.execute(
            "UPDATE annotations SET simulated = FALSE, seconds = 77 WHERE code = 'SIM-careful'"
        )
    text = said(team(own_study, "overview"))
    assert '<div class="v">77 s</div>' in text and "1 simulated expert apart" in text


def test_what_rests_on_synthetic_films_says_so_in_every_page_head(
    demonstration: Path, team: Open
) -> None:
    for name in ("overview", "data", "performance", "units", "explanations", "figures"):
        head = next(
            part.proto.body
            for part in team(demonstration, name).get("html")
            if "dm-title" in part.proto.body and "<style>" not in part.proto.body
        )
        assert "SIMULATED" in head, name


def test_a_suggested_command_can_be_pasted(tmp_path: Path, team: Open) -> None:
    study = init(tmp_path / "a study")
    page = team(study, "performance")
    assert page.code[0].value == f"deepminer train --study '{study}'"


def test_the_performance_page_waits_for_no_statistics(
    own_study: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All it shows was computed by `evaluate`; on 45,000 patches it would take seconds."""
    from evaluation.queries import performance

    def never(*_: object) -> None:
        raise AssertionError("computed while somebody waits")

    for name in ("observations", "results_of", "points_of", "subgroups", "compare_runs"):
        monkeypatch.setattr(performance, name, never)
    page = team(own_study, "performance")
    for split in ("test", "holdout"):
        page.segmented_control(key="split").set_value(split).run()
        for level in performance.LEVELS:
            page.segmented_control(key="level").set_value(level).run()
            assert not page.exception and not page.error
    words = {
        "Calibration": "Ideal: slope 1",
        "Thresholds": "PPV",
        "Networks": "SPIE 2018, Table 1",
        "Comparison": "One run only",
        "Subgroups": "Image level",
    }
    for tab, word in words.items():
        page.query_params["tab"] = tab
        page.run()
        assert not page.exception and not page.error and word in said(page)


def test_films_of_unknown_view_are_told_apart(own_study: Path, team: Open) -> None:
    with store.write(own_study) as con:
        con.execute("UPDATE mammograms SET laterality = 'UNKNOWN', view = 'UNKNOWN'")
    page = team(own_study, "data")
    assert not page.exception
    (views,) = [g for g in page.get("button_group") if g.label == "View"]
    assert views.options == ["view unknown 1", "view unknown 2"]
    assert (
        view_name("LEFT", "CC"),
        view_name("RIGHT", "UNKNOWN"),
        view_name("UNKNOWN", "MLO"),
    ) == ("left CC", "right", "MLO")


def test_coverage_without_an_interval_says_so(own_study: Path, team: Open) -> None:
    with store.write(own_study) as con:
        con.execute("UPDATE coverage SET low = NULL, high = NULL WHERE name = 'interval'")
    for name in ("overview", "units"):
        page = team(own_study, name)
        assert not page.exception and "not estimable" in said(page) and "nan %" not in said(page), (
            name
        )


def test_a_case_opened_from_a_list_is_never_called_random(demonstration: Path, team: Open) -> None:
    page = team(demonstration, "explanations")

    def how() -> str:
        return next(
            b.label for b in page.button if b.label.startswith("Add to figure")
        ).removeprefix("Add to figure, ")

    def press(label: str) -> None:
        next(b for b in page.button if b.label == label).click().run()

    assert how() == "random"
    press("Next")
    press("Next")
    assert how() == "random"
    third = page.query_params["film"][0]
    press("Previous")
    page.query_params["film"] = third  # as a link from another page does
    page.run()
    assert how() == "hand-picked"
    press("Next")
    assert how() == "hand-picked"


def test_a_mistake_in_the_settings_is_a_sentence_and_not_an_exception(
    own_study: Path, team: Open
) -> None:
    file = own_study / "study.toml"
    file.write_text(file.read_text().replace("printed = 5", "printed = 50"))
    page = team(own_study, "overview")  # the way of every page: app.py looks before it runs one
    assert not page.exception
    (error,) = page.error
    assert (
        "study.toml: explanation.printed" in error.value
        and "less than or equal to 8" in error.value
    )

"""Every team page on the quick demonstration and on an empty study."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlencode

import pytest

from core import settings, store
from core.class_labels import unit_name, view_name
from core.pipeline import ingest
from core.store import run_table, unit_table
from core.study_folder import create_study
from dashboard.components import next_step
from evaluation.intervals import decimal
from evaluation.queries import performance, performance_cache, study_overview
from evaluation.queries.observations import LEVELS
from support.team_page import Open, button, choose_study, page_text

pytestmark = pytest.mark.slow

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
    "overview": "Phantom demonstration",
    "data": "80 patients",
    "performance": "One class against the rest",
    "units": "selected of 64",
    "explanations": "Predicted",
    "annotations": "SIM-careful",
    "reading_study": "AUC of the ratings",
    "figures": "Build",
    "participants": "SIM-reader",
}


@pytest.mark.parametrize("name", PAGES)
def test_page_shows_content(name: str, demonstration: Path, team: Open) -> None:
    """With one heading, and one mark of simulated data in it, which no number is beside."""
    page = team(demonstration, name)
    assert not page.exception, [e.message for e in page.exception]
    assert not page.error
    assert CONTENT[name] in page_text(page) + " ".join(
        str(frame.value) for frame in page.dataframe
    ) + " ".join(b.label for b in page.button)
    bodies = [str(part.proto.body) for part in page.get("html")]
    (heading,) = (body for body in bodies if '<div class="dm-title">' in body)
    assert heading.count("<h1>") == 1
    assert '<div class="dm-sim" role="note">SIMULATED ' in heading
    assert sum(body.count('class="dm-sim"') for body in bodies) == 1


@pytest.mark.parametrize("name", PAGES)
def test_empty_study_shows_the_next_command(
    name: str, tmp_path: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[tuple[str, ...]] = []
    monkeypatch.setattr(next_step, "show_next_step", lambda *texts: steps.append(texts))
    study = create_study(tmp_path / "empty")
    page = team(study, name)
    assert not page.exception, [e.message for e in page.exception]
    if name == "overview":
        command = "deepminer ingest phantom"
        assert steps == [("Ingest images.", command, f"{command} --study {study}")]
    elif name not in ("participants", "figures"):
        assert "deepminer" in page_text(page)


def test_unit_in_the_address(demonstration: Path, team: Open) -> None:
    with store.read(demonstration) as con:
        unit = unit_table.selected_unit_ids(con, run_table.latest_run(con, "dissect") or "")[0]
    page = team(demonstration, "units", unit=unit_name(unit))
    assert not page.exception
    page.query_params["unit"] = unit_name(unit)
    page.run()
    assert not page.exception and unit_name(unit) in page_text(page)
    page.query_params["unit"] = "unit_9999"
    page.run()
    assert "There is no unit called unit_9999" in page.error[0].value


def test_what_needs_attention_links_to_its_page(demonstration: Path, team: Open) -> None:
    page = team(demonstration, "overview")
    links = {(link.proto.page, link.proto.query_string) for link in page.get("page_link")}
    warnings = study_overview.study_warnings(demonstration)
    assert warnings and {(w.page, urlencode(w.query)) for w in warnings} <= links
    page = team(demonstration, "annotations", section="Adjudication")
    assert page.session_state["section"] == "Adjudication"
    page = team(demonstration, "units", sort="Fewest patients")
    assert page.selectbox(key="sort").value == "Fewest patients"


def openings(study: Path) -> int:
    with store.read(study) as con:
        return len(run_table.load_log(con, "test split opened"))


def test_opening_the_test_split_is_logged(own_study: Path, team: Open) -> None:
    before = openings(own_study)
    page = team(own_study, "performance")
    page.segmented_control(key="split").set_value("test").run()
    assert not page.exception
    assert openings(own_study) == before + 1
    page.run()
    assert openings(own_study) == before + 1  # once per visit


def test_performance_page_shows_the_stored_auc(demonstration: Path, team: Open) -> None:
    with store.read(demonstration) as con:
        metrics = run_table.load_metrics(
            con, run_table.latest_run(con, "evaluate") or "", "holdout"
        )
    row = metrics[
        (metrics["level"] == "patch")
        & (metrics["class"] == "malignant")
        & (metrics["name"] == "auc")
    ].iloc[0]
    text = page_text(team(demonstration, "performance"))
    assert (
        f"<b>{decimal(row['estimate'])}</b>" in text
        and f"{decimal(row['low'])} to {decimal(row['high'])}" in text
    )


def test_performance_page_shows_every_stored_interval(demonstration: Path, team: Open) -> None:
    with store.read(demonstration) as con:
        run = run_table.latest_run(con, "evaluate") or ""
    summary = performance_cache.load_summary(demonstration, run, "holdout", "patch")
    text = page_text(team(demonstration, "performance"))
    for result in summary.results:
        for interval in (result.partial_interval, result.specificity_interval):
            assert interval.low is not None and interval.high is not None
            bounds = f"{decimal(interval.low)}–{decimal(interval.high)}"
            assert re.search(rf"{decimal(interval.estimate)}<br><span[^>]*>{bounds}<", text)


def test_coverage_band_draws_the_interval_at_the_split_half_value(
    demonstration: Path, team: Open
) -> None:
    with store.read(demonstration) as con:
        table = unit_table.load_coverage(con, run_table.latest_run(con, "coverage") or "")
    row = table[(table["class"] == 2) & (table["name"] == "split_half")].iloc[0]
    text = page_text(team(demonstration, "units"))
    line = re.search(r'class="split-half"[^>]*>.*?</div>', text[text.index("dm-coverage") :])
    assert line is not None and f'class="point" style="left:{100 * row["estimate"]}%"' in line[0]
    assert f'class="interval" style="left:{100 * row["low"]}%' in line[0]
    assert row["low"] < row["estimate"] < row["high"]
    # Nothing of the interval lies in the bar of the selected units.
    bars = re.findall(r'<div class="track">.*?</div>', text)
    assert bars and not any("interval" in bar for bar in bars)


def test_design_is_checked_and_frozen(own_study: Path, team: Open) -> None:
    page = team(own_study, "reading_study")
    choose_study(page, "New design")
    page.text_input(key="protocol").set_value("By hand").run()
    button(page, "Save this design").click().run()
    assert not page.exception
    choose_study(page, "By hand, version 1")
    button(page, "Check").click().run()
    assert not page.exception
    for field in page.text_input:
        if field.key and field.key.startswith("reason_"):
            field.set_value("reviewed and accepted")
    page.text_input(key="freeze_name").set_value("By hand").run()
    button(page, "Freeze").click().run()
    assert not page.exception and not page.error
    assert "No accuracy, no balance of answers" in page_text(page)


def test_annotation_times_of_simulated_experts_are_excluded(own_study: Path, team: Open) -> None:
    assert ", 2 experts" in page_text(team(own_study, "overview"))
    with store.write(own_study) as con:
        con.execute(
            "UPDATE annotations SET simulated = FALSE, seconds = 77 WHERE code = 'SIM-careful'"
        )
    text = page_text(team(own_study, "overview"))
    assert '<div class="v">77 s</div>' in text and "1 simulated expert excluded" in text


def test_suggested_command_names_the_study(tmp_path: Path, team: Open) -> None:
    study = create_study(tmp_path / "a study")
    page = team(study, "performance")
    assert page.code[0].value == f"deepminer ingest phantom --study '{study}'"


def test_pages_without_a_result_name_the_first_command_on_the_way_to_it(
    tmp_path: Path, team: Open
) -> None:
    chosen = settings.settings_from_preset(settings.PHANTOM_PRESET)
    study = create_study(tmp_path / "study", chosen)
    ingest.ingest(study, chosen, "phantom", None, lambda *_: None, patients=1, width=256)
    for name in ("performance", "units", "annotations", "explanations", "reading_study"):
        page = team(study, name)
        assert [c.value for c in page.code] == [f"deepminer patches --study {study}"], name


def test_performance_page_computes_no_statistics(
    own_study: Path, team: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its results are computed by `evaluate`; on 45,000 patches they would take seconds."""

    def never(*_: object) -> None:
        raise AssertionError("statistics computed for a page")

    for name in (
        "compute_class_results",
        "operating_points",
        "compute_subgroups",
        "compare_observations",
    ):
        monkeypatch.setattr(performance, name, never)
    monkeypatch.setattr(performance_cache, "load_observations", never)
    page = team(own_study, "performance")
    for split in ("test", "holdout"):
        page.segmented_control(key="split").set_value(split).run()
        for level in LEVELS:
            page.segmented_control(key="level").set_value(level).run()
            assert not page.exception and not page.error
    texts = {
        "Calibration": "Ideal: slope 1",
        "Thresholds": "PPV",
        "Networks": "SPIE 2018, Table 1",
        "Comparison": "One run only",
        "Subgroups": "Image level",
    }
    for tab, text in texts.items():
        page.query_params["tab"] = tab
        page.run()
        assert not page.exception and not page.error and text in page_text(page)


def test_mammograms_of_unknown_view_are_numbered(own_study: Path, team: Open) -> None:
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


def test_coverage_without_an_interval(own_study: Path, team: Open) -> None:
    with store.write(own_study) as con:
        con.execute("UPDATE coverage SET low = NULL, high = NULL WHERE name = 'interval'")
    for name in ("overview", "units"):
        page = team(own_study, name)
        assert (
            not page.exception
            and "not estimable" in page_text(page)
            and "nan %" not in page_text(page)
        ), name


def test_case_from_a_link_is_hand_picked(demonstration: Path, team: Open) -> None:
    page = team(demonstration, "explanations")

    def origin() -> str:
        return button(page, "Add to figure").label.removeprefix("Add to figure, ")

    assert origin() == "random"
    button(page, "Next").click().run()
    button(page, "Next").click().run()
    assert origin() == "random"
    third = page.query_params["film"][0]
    button(page, "Previous").click().run()
    page.query_params["film"] = third  # as a link from another page does
    page.run()
    assert origin() == "hand-picked"
    button(page, "Next").click().run()
    assert origin() == "hand-picked"


def test_invalid_settings_show_the_error(own_study: Path, team: Open) -> None:
    file = own_study / "study.toml"
    file.write_text(file.read_text().replace("printed = 5", "printed = 50"))
    page = team(own_study, "overview")  # app.py checks before it runs any page
    assert not page.exception
    (error,) = page.error
    assert (
        "study.toml: explanation.printed" in error.value
        and "less than or equal to 8" in error.value
    )

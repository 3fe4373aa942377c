"""The Figures page: what is missing names its step, Build writes, stale exports carry a badge; and
the tabs added to Performance and Explanations.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from core import store, study_folder
from core.store import annotation_table, run_table
from dashboard.commands.exports import tables
from dashboard.commands.study import status
from dashboard.server import identity
from dashboard.server.context import VARIABLE
from evaluation.queries.study_overview import steps
from evaluation.reporting.figures import FIGURES
from evaluation.reporting.tables import TABLES
from support.paths import ROOT

PAGES = ROOT / "dashboard" / "pages"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch):
    """Opens a page of a study as the team does."""

    def page(name: str, path: Path, **query: str) -> AppTest:
        monkeypatch.setenv(VARIABLE, str(path))
        monkeypatch.setattr(identity, "current", lambda: identity.Identity("T1", "team"))
        shown = AppTest.from_file(str(PAGES / f"{name}.py"), default_timeout=120)
        for key, value in query.items():
            shown.query_params[key] = value
        shown.run()
        assert not shown.exception
        return shown

    return page


def words(page: AppTest) -> str:
    """All HTML and text of a page."""
    return "\n".join(
        [
            *(h.proto.body for h in page.get("html")),
            *(c.value for c in page.caption),
            *(i.value for i in page.info),
        ]
    )


def take(page: AppTest, names: set[str]) -> None:
    """Tick exactly these."""
    for box in page.checkbox:
        if not box.disabled:
            box.set_value(box.key.removeprefix("take ") in names)


def test_an_empty_study_names_the_step_of_everything(tmp_path: Path, opened) -> None:
    page = opened("figures", study_folder.init(tmp_path / "s"))
    shown = words(page)
    for step in (
        "Source",
        "Patches",
        "Evaluation",
        "Units",
        "Explanations",
        "Annotation",
        "Reading",
    ):
        assert step in shown
    assert {b.key for b in page.checkbox if not b.disabled} == {
        "take table protocol",
        "take table checklist",
    }
    assert "no classifier has been evaluated yet" in shown


def test_build_writes_and_a_changed_input_makes_it_stale(own_study: Path, opened) -> None:
    page = opened("figures", own_study)
    assert {b.key for b in page.checkbox} == {f"take figure {n}" for n in FIGURES} | {
        f"take table {n}" for n in TABLES
    }
    assert {b.key for b in page.checkbox if b.disabled} >= {"take figure annotation_screen"}
    # A photograph of the served page is made by another command: it lacks no input of the study.
    lacking = sum(b.disabled for b in page.checkbox) - 1
    said = f"{lacking} of {len(FIGURES) + len(TABLES)} lack" if lacking else "every input is there"
    assert said in words(page) and "make pictures</span>" in words(page)
    assert words(page).count('<span class="dm-badge stale">') == 0
    take(page, {"figure coverage", "table units"})
    page.multiselect(key="formats").set_value(["pdf"])
    page.run()
    next(b for b in page.button if b.label == "Build 2").click()
    page.run()
    assert not page.exception and "2 built" in page.success[0].value
    below = [part.type for part in page.columns[0].children.values()]
    assert below.index("success") < len(below) - 1 - below[::-1].index(
        "caption"
    )  # said before the long remark, so that it is seen unscrolled
    assert (own_study / "exports" / "coverage.pdf").is_file() and (
        own_study / "exports" / "table_units.xlsx"
    ).is_file()
    assert words(page).count(" built</span>") == 2
    with store.write(own_study) as con:
        run = run_table.latest(con, "dissect")
        annotation_table.decide(
            con,
            run,
            annotation_table.selected_units(con, run)[0],
            "Another label",
            [],
            "looked again",
            "team",
        )
    page.run()
    assert words(page).count(
        '<span class="dm-badge stale">'
    ) == 2 and "labels changed since" in words(page)


def test_preview_follows_the_preset_and_shows_what_is_missing(own_study: Path, opened) -> None:
    page = opened("figures", own_study)
    page.selectbox(key="preview").set_value("figure roc")
    page.run()
    assert 'style="width:174mm' in words(page) and "SIMULATED" in words(page)
    page.selectbox(key="preset").set_value("One column, 85 mm")
    page.run()
    assert 'style="width:85mm' in words(page)
    page.selectbox(key="preview").set_value("table cohort")
    page.run()
    assert "Patients" in page.dataframe[0].value["Characteristic"].tolist()
    page.selectbox(key="preview").set_value("figure annotation_screen")
    page.run()
    assert "screenshot" in page.info[0].value


def test_openings_of_the_test_split_are_exports_and_first_previews(own_study: Path, opened) -> None:
    def count() -> int:
        with store.read(own_study) as con:
            return len(run_table.events(con, "test split opened"))

    before = count()
    page = opened("figures", own_study)
    page.run()
    assert count() == before  # the framework holds no number of the test split
    for preview in ("figure calibration", "table classifiers", "figure calibration"):
        page.selectbox(key="preview").set_value(preview)
        page.run()
    assert count() == before + 1 and f"opened {before + 1} time" in words(page)
    for names, more in (({"table cohort"}, 0), ({"table classifiers", "table architectures"}, 1)):
        now = count()
        take(page, names)
        page.run()
        next(b for b in page.button if b.label.startswith("Build")).click()
        page.run()
        assert count() == now + more


def test_the_command_line_says_which_exports_are_stale(
    own_study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = own_study / "exports"
    tables(["units", "cohort"], out, own_study)
    assert "stale" not in capsys.readouterr().out
    with store.write(own_study) as con:
        run = run_table.latest(con, "dissect")
        annotation_table.decide(
            con,
            run,
            annotation_table.selected_units(con, run)[0],
            "Another label",
            [],
            "looked again",
            "team",
        )
        before = len(run_table.events(con, "test split opened"))
    status(None, own_study)
    said = capsys.readouterr().out
    command = f"deepminer tables units --study {own_study} --out {out}"
    assert (
        f"stale table units: labels changed since; made again by {command}" in said
        and "cohort" not in said
    )
    tables(["cohort"], out, own_study)
    assert command in capsys.readouterr().out
    with store.read(own_study) as con:
        assert (
            len(run_table.events(con, "test split opened")) == before
        )  # neither table holds numbers of the test split
    report = next(step for step in steps(own_study) if step.kind == "report")
    assert (
        report.state == "stale" and report.headline == "2 exports" and "table_units" in report.note
    )


def test_architectures_stand_on_the_performance_page(demonstration: Path, opened) -> None:
    shown = words(opened("performance", demonstration, tab="Networks"))
    assert "SPIE 2018, Table 1" in shown and ".8929" in shown and "AUC malignant" in shown


def test_explanations_page_compares_with_the_reports(own_study: Path, opened) -> None:
    shown = words(opened("explanations", own_study))
    assert (
        "Explanations against report lines" in shown
        and "Greedy matching" in shown
        and "Concept F1" in shown
        and ".627" in shown
    )

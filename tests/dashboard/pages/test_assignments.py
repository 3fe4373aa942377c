"""Who names which units: on the pages Participants and Annotations, and by command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core import store
from core.annotation import label_exchange
from core.errors import UserError
from core.store import annotation_table, participant_table, unit_table
from core.store.labels import assignment_table, category_table
from dashboard.cli import app
from evaluation.queries.study_overview import study_warnings
from support import synthetic_study
from support.team_page import Open, button, choose_study, page_text

FIRST, SECOND, THIRD = synthetic_study.DISSECT, "dissect-000000000011", "dissect-000000000012"


@pytest.fixture
def networks(study: Path) -> Path:
    """A study with three dissections, and an annotator who was invited before two of them."""
    with store.write(study) as con:
        participant_table.add_participant(con, "A1", "annotator")
        synthetic_study.add_dissection(con, SECOND, "resnet18", "layer3", 1)
        synthetic_study.add_dissection(con, THIRD, "alexnet", "features.11", 2)
    return study


def deepminer(study: Path, *arguments: str):
    return CliRunner().invoke(app, [*arguments, "--study", str(study), "--json"])


def test_participants_page_assigns(networks: Path, open_page: Open) -> None:
    page = open_page(networks, "participants")
    assert list(page.dataframe[0].value["Names units of"]) == ["last"]
    chosen = page.multiselect(key="assigned_to_A1")
    assert chosen.value == [FIRST] and chosen.options == [
        "last",
        "resnet18, layer3",
        "alexnet, features.11",
    ]
    chosen.set_value([SECOND, THIRD])
    button(page, "Assign").click().run()
    assert "A1 names the units of resnet18, layer3; alexnet" in page.success[0].value
    with store.read(networks) as con:
        assert assignment_table.load_assignments(con) == {"A1": (SECOND, THIRD)}
    page.multiselect(key="assigned_to_A1").set_value([])
    button(page, "Assign").click().run()
    assert "at least one dissection" in page.error[0].value
    with store.read(networks) as con:
        assert assignment_table.load_assignments(con) == {"A1": (SECOND, THIRD)}


def test_overview_warns_of_a_network_without_annotator(networks: Path) -> None:
    warning = "No annotator names the units of alexnet, features.11, the latest dissection"
    assert any(w.sentence.startswith(warning) for w in study_warnings(networks))
    with store.write(networks) as con:
        assignment_table.assign_dissections(con, "A1", [FIRST, THIRD], "team")
    assert not any(w.page == "participants" for w in study_warnings(networks))


def test_no_choice_is_shown_with_one_network(study: Path, open_page: Open) -> None:
    with store.write(study) as con:
        participant_table.add_participant(con, "A1", "annotator")
    assert not open_page(study, "participants").multiselect
    assert not [box for box in open_page(study, "annotations").selectbox if box.key == "run"]


def test_annotations_page_has_a_menu_of_network_and_layer(networks: Path, open_page: Open) -> None:
    with store.write(networks) as con:
        synthetic_study.annotate(con, "A1", 3, synthetic_study.mass_answer())
    page = open_page(networks, "annotations")
    # The newest comes first; nobody names its units.
    assert "assigned to no annotator" in page_text(page)
    page.selectbox(key="run").set_value(FIRST).run()
    assert "assigned to A1" in page_text(page)
    assert list(page.dataframe[0].value["Expert"]) == ["A1"]


def test_commands_assign_and_list(networks: Path) -> None:
    assigned = deepminer(networks, "labels", "assign", "A1", "--dissect", SECOND)
    assert json.loads(assigned.stdout)["result"] == {"code": "A1", "dissect": [SECOND]}
    listed = deepminer(networks, "labels", "assignments")
    rows = json.loads(listed.stdout)["result"]
    assert [(row["dissect"], row["annotators"]) for row in rows] == [
        (FIRST, []),
        (SECOND, ["A1"]),
        (THIRD, []),
    ]
    invited = CliRunner().invoke(app, ["invite", "annotator", "--study", str(networks)])
    assert "A2 (annotator), names the units of alexnet, features.11;" in invited.stdout


def test_label_files_belong_to_a_named_dissection(networks: Path, tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"E1": {"unit_0004": "Calcification, Mass"}}))
    for call in (
        lambda: label_exchange.import_labels(networks, file, "team"),
        lambda: label_exchange.export_labels(networks, tmp_path / "out.json"),
    ):
        with pytest.raises(UserError, match=f"Name the dissection with --dissect; .*{SECOND}"):
            call()
    label_exchange.import_labels(networks, file, "team", SECOND)
    file.write_text(json.dumps({"A1": {"unit_0005": "Mass"}}))
    label_exchange.import_labels(networks, file, "team", SECOND)
    with store.read(networks) as con:
        assert annotation_table.load_annotations(con, FIRST).empty
        assert len(annotation_table.load_annotations(con, SECOND)) == 2
        assert assignment_table.load_assignments(con) == {"E1": (SECOND,), "A1": (FIRST, SECOND)}


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_export_has_the_categories_and_their_state(
    study: Path, tmp_path: Path, suffix: str
) -> None:
    raw = {"E1": {"unit_0004": "Calcification, Mass", "unit_0005": "blurred", "unit_0006": "Mass"}}
    (tmp_path / "labels.json").write_text(json.dumps(raw))
    label_exchange.import_labels(study, tmp_path / "labels.json", "team")
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 6, synthetic_study.mass_answer())
        category_table.confirm_categories(
            con, synthetic_study.DISSECT, 4, "blurred", ["other"], "t"
        )
    out = tmp_path / f"out.{suffix}"
    label_exchange.export_labels(study, out)
    if suffix == "json":
        rows = json.loads(out.read_text())["labels"]
    else:
        rows = list(csv.DictReader(out.read_text().splitlines()))
        for row in rows:
            row["categories"] = json.loads(row["categories"])
    found = {
        (row["set"], row["unit"]): (row["categories"], row["category_state"])
        for row in rows
        if row["set"] in ("A1", "E1")
    }
    assert found == {
        ("E1", "unit_0004"): (["calcification", "mass"], "proposed"),
        ("E1", "unit_0005"): (["other"], "confirmed"),
        ("E1", "unit_0006"): (["mass"], "proposed"),
        ("A1", "unit_0007"): (["mass"], "answered"),
    }


@pytest.mark.parametrize(("label_set", "simulated"), [("R9", False), ("SIM-careful", True)])
def test_mark_of_a_reading_study_follows_the_labels_of_its_design(
    own_study: Path, open_page: Open, label_set: str, simulated: bool
) -> None:
    with store.write(own_study) as con:
        run = unit_table.current_dissection(con) or ""
        participant_table.add_participant(con, "R9", "annotator")
        annotation_table.append_annotation(
            con,
            run=run,
            unit=unit_table.selected_unit_ids(con, run)[0],
            code="R9",
            answer=synthetic_study.mass_answer(),
            seconds=9.0,
            annotation_id="r9",
        )
        con.execute("UPDATE sources SET simulated = FALSE")
        con.execute(
            "UPDATE protocols SET design = json_merge_patch(design, ?)",
            [json.dumps({"label_set": label_set})],
        )
    page = open_page(own_study, "reading_study")
    choose_study(page, "Open demonstration, version 1")
    parts = [str(part.body) for part in page.get("html")]
    heading = next(part for part in parts if "Open demonstration, version 1: " in part)
    assert ("SIMULATED" in heading) == simulated

"""A study of two classes says "other" where three classes say "normal"."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import store
from core.class_labels import MAMMOGRAPHY
from core.lineage import run_class_names
from core.store import run_table
from evaluation.queries import explanations, unit_summaries
from evaluation.queries import units as gallery
from evaluation.reporting.figures.explanations import choose_example_cases
from evaluation.reporting.tables.units import build_coverage_table, build_unit_table


@pytest.fixture
def two_classes(own_study: Path) -> Path:
    """The demonstration as a study of two classes has it: no class 1 among units and decisions."""
    with store.write(own_study) as con:
        run = run_table.latest_run(con, "patches") or ""
        manifest = run_table.load_run(con, run)["manifest"] | {"classes": 2}
        con.execute("UPDATE runs SET manifest = ? WHERE run = ?", [json.dumps(manifest), run])
        for table in ("selected", "coverage", "influences"):
            con.execute(f"DELETE FROM {table} WHERE class = 1")
        con.execute("UPDATE explanations SET predicted = 0 WHERE predicted = 1")
    return own_study


def latest(path: Path, kind: str) -> str:
    with store.read(path) as con:
        return str(run_table.latest_run(con, kind))


def test_names_by_code(demonstration: Path) -> None:
    assert MAMMOGRAPHY.outputs == {0: "normal", 1: "benign", 2: "malignant"}
    assert MAMMOGRAPHY.with_outputs(2).outputs == {0: "other", 2: "malignant"}
    for kind in ("patches", "dissect", "explain", "evaluate"):
        assert run_class_names(demonstration, latest(demonstration, kind)) == MAMMOGRAPHY.outputs


def test_units_and_coverage_say_other(two_classes: Path) -> None:
    dissect = latest(two_classes, "dissect")
    rows = gallery.selected_units(two_classes, dissect)
    assert {name for found in rows["classes"] for name in found} == {"other", "malignant"}
    assert "other" in rows.columns and "normal" not in rows.columns
    assert [row["name"] for row in unit_summaries.coverage_summary(two_classes, dissect)] == [
        "malignant",
        "other",
    ]
    assert {row[0] for row in build_coverage_table(two_classes).rows} == {"other", "malignant"}
    assert (
        "Top 8 other" in build_unit_table(two_classes).printed_frame().columns
        and "Top 8 normal" not in build_unit_table(two_classes).printed_frame().columns
    )


def test_a_benign_film_called_other_is_right(two_classes: Path) -> None:
    run = latest(two_classes, "explain")
    table = explanations.list_explained(two_classes, run, "all", 1)
    benign = table[(table["truth"] == 1) & (table["predicted"] == 0)]
    assert len(benign) and benign["right"].all()
    assert not set(explanations.list_explained(two_classes, run, "wrong", 1)["mammogram_id"]) & set(
        benign["mammogram_id"]
    )
    assert (
        explanations.load_explanation(two_classes, run, benign["mammogram_id"].iloc[0]).predicted
        == "other"
    )
    assert {role.split(",")[0] for role, _, _ in choose_example_cases(two_classes, run, 1)} <= {
        "malignant",
        "other",
    }

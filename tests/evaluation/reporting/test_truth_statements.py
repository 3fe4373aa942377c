"""Results of sources without biopsy state where their truth comes from."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from core import lineage, store
from core.store import dataset_table
from core.study_folder import create_study
from dashboard.cli import app
from evaluation.queries.study_overview import study_warnings
from evaluation.reporting.base import caption_suffix

BIRADS = "Truth from BI-RADS assessment, not biopsy."
TOOL = "Truth from the labels of an annotation project, not biopsy."


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = create_study(tmp_path / "study")
    rows = [
        {
            "source_id": f"s{k}",
            "kind": basis,
            "location": "",
            "options": "{}",
            "simulated": False,
            "image_labels": False,
            "made": datetime(2026, 11, 27),
            "patients": 1,
            "mammograms": 1,
            "skipped": 0,
            "truth_basis": basis,
        }
        for k, basis in enumerate(("birads", "pathology", "annotators", "birads"))
    ]
    with store.write(folder) as con:
        dataset_table.append_rows(con, "sources", pd.DataFrame(rows))
    return folder


def test_every_result_states_the_basis(study: Path) -> None:
    assert lineage.truth_statements(study) == [TOOL, BIRADS]
    assert caption_suffix(study, "") == f" {TOOL} {BIRADS}"
    assert {TOOL, BIRADS} <= {warning.sentence for warning in study_warnings(study)}


def test_status(study: Path) -> None:
    runner = CliRunner()
    assert BIRADS in runner.invoke(app, ["status", "--study", str(study)]).stdout
    answer = runner.invoke(app, ["status", "--study", str(study), "--json"]).stdout
    assert json.loads(answer)["result"]["truth"] == [TOOL, BIRADS]


def test_biopsy_needs_no_statement(study: Path) -> None:
    with store.write(study) as con:
        con.execute("UPDATE sources SET truth_basis = 'pathology'")
    assert lineage.truth_statements(study) == [] and caption_suffix(study, "") == ""

"""Answers leave a study after closing only, and every export is in the log."""

from __future__ import annotations

import io
import json
import shutil
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from core import store
from core.errors import UserError
from core.store import run_table
from core.store.evidence import chain_head, verify_chain
from dashboard.cli import app
from evaluation.queries.provenance import simulated_parts
from evaluation.reading_study import workflow
from evaluation.reporting.answers import EXPORT_FORMATS, answers_archive, export_reading_answers
from support.bundle_answers import NAME, all_rows, answer_all, create_frozen_study


@pytest.fixture(scope="module")
def read_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a study that is frozen and read by two readers."""
    study = create_frozen_study(tmp_path_factory.mktemp("read") / "study")
    answer_all(study, "R1", corrections=True)
    answer_all(study, "R2", 12)
    return study


@pytest.fixture
def study(read_study: Path, tmp_path: Path) -> Path:
    return Path(
        shutil.copytree(read_study, tmp_path / "study", ignore=shutil.ignore_patterns("*.npy"))
    )


@pytest.mark.parametrize("format", EXPORT_FORMATS)
def test_open_study_exports_nothing(study: Path, tmp_path: Path, format: str) -> None:
    before = all_rows(study)
    with pytest.raises(UserError, match="results are hidden until it is closed"):
        export_reading_answers(study, tmp_path / "out" / "answers.csv", format, "team", NAME, 1)
    assert not (tmp_path / "out").exists() and all_rows(study) == before


def test_closed_study_exports_with_log_and_head(study: Path, tmp_path: Path) -> None:
    workflow.close_protocol(study, NAME, "team", version=1, confirm=NAME)
    out = tmp_path / "out" / "answers.csv"
    exported = export_reading_answers(study, out, "csv", "analyst", NAME, 1)
    # 26 answers of R1, of which 5 were corrected, and 7 of R2 after its practice.
    assert (exported.rows, [file.name for file in exported.files]) == (
        38,
        ["answers.csv", "answers.provenance.json"],
    )
    table = pd.read_csv(out)
    assert len(table) == 38 and sorted(set(table["reader"])) == ["R1", "R2"]
    assert "ZQXPATIENT" not in out.read_text() and "ZQXCASE" not in out.read_text()
    record = json.loads(exported.files[-1].read_text())
    with store.read(study) as con:
        log = run_table.load_log(con, "answers exported")
        head = chain_head(con)
        assert verify_chain(con).valid
    assert len(log) == 1 and log["who"].iloc[0] == "analyst"
    assert f"{NAME} version 1 as csv: 38 rows" in log["detail"].iloc[0]
    # The record names the head that seals the entry in the log.
    assert record["evidence"] == head.sentence()
    # The images of the study are synthetic, the answers are not.
    assert record["simulated"] == "images"
    with store.write(study) as con:
        con.execute("UPDATE answers SET simulated = TRUE WHERE position = 7")
    # One simulated answer suffices, where the study itself is not marked.
    assert simulated_parts(study, ("protocol",)) == "images, answers"
    with pytest.raises(UserError, match=r"answers\.csv exists already"):
        export_reading_answers(study, out, "csv", "analyst", NAME, 1)
    with pytest.raises(UserError, match="is not a format of answers"):
        export_reading_answers(study, tmp_path / "x", "spss", "analyst", NAME, 1)
    with store.read(study) as con:
        assert len(run_table.load_log(con, "answers exported")) == 1


def test_archive_holds_the_same_files(study: Path, tmp_path: Path) -> None:
    workflow.close_protocol(study, NAME, "team", version=1, confirm=NAME)
    exported = export_reading_answers(study, tmp_path / "a.csv", "redcap", "team", NAME, 1)
    data = answers_archive(study, "a", "redcap", "T1", NAME, 1)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == [file.name for file in exported.files]
        for file in exported.files[:-1]:
            assert archive.read(file.name).decode() == file.read_text()
    with store.read(study) as con:
        assert run_table.load_log(con, "answers exported")["who"].tolist() == ["T1", "team"]


def test_command(study: Path, tmp_path: Path) -> None:
    out = tmp_path / "answers.csv"
    arguments = ["reading", "answers", "--study", str(study), "--protocol", NAME, "--version", "1"]
    refused = CliRunner().invoke(app, [*arguments, "--out", str(out), "--format", "redcap"])
    assert isinstance(refused.exception, UserError) and not out.exists()
    workflow.close_protocol(study, NAME, "team", version=1, confirm=NAME)
    done = CliRunner().invoke(
        app, [*arguments, "--out", str(out), "--format", "redcap", "--json"], catch_exceptions=False
    )
    result = json.loads(done.stdout)["result"]
    assert (result["protocol"], result["version"], result["rows"]) == (NAME, 1, 38)
    assert [Path(file).name for file in result["files"]] == [
        "answers.csv",
        "answers_dictionary.csv",
        "answers.provenance.json",
    ]
    unknown = CliRunner().invoke(app, [*arguments[:-1], "4", "--out", str(tmp_path / "y.csv")])
    assert "version 4" in str(unknown.exception)

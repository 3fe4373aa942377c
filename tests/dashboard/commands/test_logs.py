"""What `report` writes to the log, and what `doctor` finds missing, on a study without networks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from core import store
from core.store import run_table
from core.study_checks import check_study
from dashboard.cli import app
from evaluation.reporting import report
from support import synthetic_study


def test_a_report_is_an_opening_of_the_test_split(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_report(folder: Path, out: Path, progress: object) -> SimpleNamespace:
        out.write_text("report")
        return SimpleNamespace(name="report", data_hash="0123456789abcdef0123")

    monkeypatch.setattr(report, "write_report", write_report)
    command = ["report", "--study", str(study), "--out", str(tmp_path / "report.html")]

    def openings() -> list[tuple[str, str]]:
        with store.read(study) as con:
            log = run_table.load_log(con, "test split opened")
        return list(zip(log["who"], log["detail"]))

    # Without an evaluated network there is nothing to open.
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert openings() == []
    with store.write(study) as con:
        con.execute(
            "INSERT INTO runs VALUES ('evaluate-1', 'evaluate', '{}', '[]', '{}', ?, 1.0)",
            [synthetic_study.MADE],
        )
    for count in (1, 2):
        assert CliRunner().invoke(app, command).exit_code == 0
        logged = openings()
        assert len(logged) == count and {detail for _, detail in logged} == {"evaluate-1"}
        assert all(who.endswith(", command report") for who, _ in logged)
    with store.read(study) as con:
        exports = run_table.load_log(con, "export")["detail"]
    assert list(exports) == ["report 0123456789abcdef"] * 3


def test_doctor_names_a_missing_working_image(study: Path) -> None:
    def images() -> tuple[bool, str]:
        (check,) = (c for c in check_study(study) if c.check == "working images")
        return check.good, check.finding

    assert images() == (True, "0 missing")
    for number, name in enumerate(("zqxfile003", "zqxfile007"), start=1):
        (study / "images" / f"{name}.npy").unlink()
        assert images() == (False, f"{number} missing, such as zqxfile003")


def test_doctor_names_a_missing_run_folder(study: Path) -> None:
    (check,) = (c for c in check_study(study) if c.check == "run folders")
    # The runs of this study have no manifest.
    assert check.good is False and check.finding.startswith("2 of 2 missing: ")

"""The commands `problems`, `ingest --check` and `withdraw`."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from core import store
from core.errors import UserError
from core.store import problem_table
from dashboard.cli import app
from support import synthetic_study

ROWS = [
    ("ZQXCASE001, finding 1", "the outline lies outside the breast", "outside_breast", 1),
    ("ZQXCASE002", "=the air has a gradient", "doubtful_tissue", None),
]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    study = synthetic_study.create_study(tmp_path / "study")
    with store.write(study) as con:
        problem_table.add_problems(
            con,
            [
                {
                    "source_id": "s",
                    "item": item,
                    "cause": cause,
                    "action": "no patches",
                    "skipped": False,
                    "code": code,
                    "mammogram_id": item.split(",")[0],
                    "finding": finding,
                }
                for item, cause, code, finding in ROWS
            ],
        )
    return study


def run(*arguments: str) -> tuple[int, str, str]:
    """Return exit status, standard output and error of a command."""
    result = CliRunner().invoke(app, list(arguments))
    if isinstance(result.exception, UserError):
        # The entry point prints it and exits with status 1.
        return 1, result.stdout, str(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.stdout, result.stderr


def listed(study: Path, *options: str) -> list[dict]:
    status, output, _ = run("problems", "--study", str(study), "--json", *options)
    assert status == 0
    return json.loads(output)["result"]


def test_problems_are_listed_decided_and_reopened(study: Path) -> None:
    rows = listed(study)
    assert [(row["item"], row["cause"], row["kind"]) for row in rows] == [
        (item, cause, code) for item, cause, code, _ in ROWS
    ]
    assert all(row["decision"] is None and row["source"] == "s" for row in rows)
    first, second = (row["id"] for row in rows)
    decided = listed(study, "--accept", first, "--leave-out", second)
    assert [row["decision"] for row in decided] == ["accepted", "left_out"]
    assert [row["decision"] for row in listed(study, "--reopen", first)] == [None, "left_out"]
    only = listed(study, "--kind", "doubtful_tissue")
    assert [row["item"] for row in only] == ["ZQXCASE002"]


def test_an_unknown_id_changes_nothing(study: Path) -> None:
    first = listed(study)[0]["id"]
    status, _, message = run(
        "problems", "--study", str(study), "--accept", first, "--leave-out", "0000"
    )
    assert status == 1 and "no problem 0000" in message
    assert listed(study)[0]["decision"] is None


def test_problems_as_table_and_sheet(study: Path, tmp_path: Path) -> None:
    table, sheet = tmp_path / "p.csv", tmp_path / "s.png"
    status, output, _ = run(
        "problems", "--study", str(study), "--out", str(table), "--sheet", str(sheet)
    )
    assert status == 0 and ROWS[0][1] in output and sheet.stat().st_size > 1000
    with table.open() as file:
        # The second cause is text of a person that a spreadsheet would take for a formula.
        assert [row["cause"] for row in csv.DictReader(file)] == [ROWS[0][1], f"'{ROWS[1][1]}"]
    status, _, message = run("problems", "--study", str(study), "--sheet", "s.gif")
    assert status == 1 and "must end with .png" in message


def test_check_of_a_source_has_the_status_of_its_problems(study: Path) -> None:
    status, output, _ = run(
        "ingest", "phantom", "--patients", "1", "--check", "--study", str(study), "--json"
    )
    checked = json.loads(output)["result"]["check"]
    assert status == (1 if checked["problems"] else 0)
    assert checked["patients"] == 1
    with store.read(study) as con:
        assert con.execute("SELECT count(*) FROM sources").fetchone() == (1,)
    status, _, message = run("ingest", "manifest", "missing.csv", "--check", "--study", str(study))
    assert status == 1 and "missing.csv" in message


def test_withdrawal_needs_the_code_again(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 1, synthetic_study.mass_answer())
    common = ("withdraw", "participant", "A1", "--study", str(study))
    for wrong in ((), ("--confirm", "A2")):
        status, _, message = run(*common, *wrong)
        assert status == 1 and "Nothing was withdrawn" in message
    status, output, _ = run(*common, "--confirm", "A1", "--json")
    assert status == 0 and json.loads(output)["result"]["removed"] == {"annotations": 1}
    status, _, message = run("withdraw", "film", "X", "--confirm", "X", "--study", str(study))
    assert status == 1 and "cannot be withdrawn" in message


def test_withdrawn_patient_has_no_file_left(tmp_path: Path) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    (study / "images" / "breast_only").mkdir()
    (study / "images" / "breast_only" / "zqxfile002-3.00.npy").touch()
    status, output, _ = run(
        "withdraw", "patient", "ZQXPATIENT001", "--confirm", "ZQXPATIENT001", "--study", str(study)
    )
    assert status == 0 and synthetic_study.PATCHES in output
    left = {path.name for path in (study / "images").rglob("*.npy")}
    assert not {name for name in left if name.startswith(("zqxfile002", "zqxfile003"))}
    assert "zqxfile004.npy" in left


def test_a_whole_kind_is_decided_at_once(study: Path) -> None:
    decided = listed(study, "--accept", "outside_breast")
    assert [row["decision"] for row in decided] == ["accepted", None]
    # Problems that are decided already keep their decision.
    decided = listed(study, "--leave-out", "outside_breast", "--leave-out", "doubtful_tissue")
    assert [row["decision"] for row in decided] == ["accepted", "left_out"]

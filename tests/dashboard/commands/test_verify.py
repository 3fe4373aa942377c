"""`deepminer verify`: exit codes, the record named, heads deposited and compared."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path
from typing import Any

import pytest

from core import store
from core.errors import UserError
from core.store import evidence, run_table
from core.store.reading import protocol_table
from core.study_checks import check_study
from dashboard.commands.common import command_actor
from dashboard.commands.reading_study import close_command, freeze_command
from dashboard.commands.verify import (
    check_deposit_file,
    deposit_study_evidence,
    verify_command,
)
from support import synthetic_study
from support.evidence_attack import execute_sql, rewrite_chain
from support.paths import ROOT


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return synthetic_study.create_study(tmp_path / "study")


def result(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = capsys.readouterr().out.splitlines()
    return json.loads(line)["result"]


def test_valid_study_prints_counts_and_head(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    verify_command(study=study)
    text = capsys.readouterr().out
    assert "4 records, compared with 4 rows (protocol_state 3, reading_cases 1)." in text
    with store.read(study) as con:
        assert f"Evidence record 4, SHA-256 {evidence.chain_head(con).hash}" in text


def test_first_broken_record_is_named(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    execute_sql(study, "UPDATE reading_cases SET truth = 'BENIGN' WHERE case_number = 3")
    with pytest.raises(
        UserError, match="does not hold: record 2 of .*: cases: its row was changed"
    ):
        verify_command(study=study, as_json=True)
    values = result(capsys)
    assert values["valid"] is False
    (fault,) = values["faults"]
    assert (fault["number"], fault["subject"]) == (2, "ZQXSTUDY, version 1: cases")
    check = {c.check: c for c in check_study(study)}["evidence"]
    assert not check.good and "record 2 of" in check.finding


def test_rewritten_chain_is_reported_against_the_deposited_head(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head = tmp_path / "head.json"
    verify_command(study=study, deposit=head)
    deposited = json.loads(head.read_text())
    assert set(deposited) == {"study", "number", "hash", "made"} and deposited["number"] == 4
    with store.write(study) as con:  # what is recorded later continues the deposited head
        run_table.append_log(con, "team", "later")
    capsys.readouterr()
    verify_command(study=study, head=head)
    assert "record 4, matches this evidence." in capsys.readouterr().out
    execute_sql(study, "UPDATE reading_cases SET truth = 'BENIGN' WHERE case_number = 3")
    rewrite_chain(study)
    verify_command(study=study)
    capsys.readouterr()
    with pytest.raises(UserError, match=f"record 4 had hash {deposited['hash']} when.*, now "):
        verify_command(study=study, head=head, as_json=True)
    assert result(capsys)["valid"] is False


def test_broken_evidence_is_not_deposited(study: Path, tmp_path: Path) -> None:
    execute_sql(study, "DELETE FROM reading_cases WHERE case_number = 3")
    with pytest.raises(UserError):
        verify_command(study=study, deposit=tmp_path / "head.json")
    assert not (tmp_path / "head.json").exists()


def test_replaced_records_are_listed(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store.create_backup(study, tmp_path / "b.duckdb")
    with store.write(study) as con:
        run_table.append_log(con, "mallory", "results looked up")
    store.restore_backup(study, tmp_path / "b.duckdb")
    verify_command(study=study)
    text = capsys.readouterr().out
    assert "replaced by the restore of" in text and "results looked up, mallory" in text


def test_command_records_the_real_user_and_the_claimed_name(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = pwd.getpwuid(os.getuid()).pw_name
    for variable in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(variable, "forged")
    store.create_backup(study, tmp_path / "b.duckdb")
    with store.write(study) as con:
        run_table.append_log(con, command_actor("tables"), "export", "")
    with store.read(study) as con:
        assert run_table.load_log(con)["who"].tolist() == [f"{real}, command tables", real]
        rows = con.execute(
            "SELECT actor, claimed FROM evidence WHERE kind = 'log' ORDER BY number"
        ).fetchall()
    assert rows == [(real, "forged"), (f"{real}, command tables", "forged")]


def test_no_command_asks_the_environment_who_acts() -> None:
    for path in sorted(ROOT.glob("dashboard/**/*.py")):
        assert "getpass" not in path.read_text(encoding="utf-8"), path


def test_existing_file_is_refused_before_anything_is_frozen_or_closed(
    study: Path, tmp_path: Path
) -> None:
    head = tmp_path / "head.json"
    head.touch()
    commands = (
        lambda: freeze_command(study=study, protocol="ZQXSTUDY", deposit=head),
        lambda: close_command(study=study, protocol="ZQXSTUDY", confirm="ZQXSTUDY", deposit=head),
    )
    for command in commands:
        with pytest.raises(UserError, match="head.json exists already; name a new file"):
            command()
    with pytest.raises(UserError, match="is not a folder"):
        check_deposit_file(tmp_path / "missing" / "head.json")
    with store.read(study) as con:
        assert protocol_table.load_protocol(con, "ZQXSTUDY", 1).state == "frozen"


def test_head_at_the_end_of_a_command(study: Path, tmp_path: Path) -> None:
    deposit_study_evidence(study, None)
    deposit_study_evidence(study, tmp_path / "head.json")
    assert evidence.read_deposit(tmp_path / "head.json").number == 4

"""Backup and restoration, and what a damaged write-ahead log loses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.store import run_table

COMMITS = """
import os, signal, sys
import duckdb
con = duckdb.connect(sys.argv[1])
for i in range(20):
    con.execute("BEGIN")
    con.execute(
        "INSERT INTO answers VALUES ('P', 1, 'R1', ?, 1, 3, 1.0, FALSE, FALSE, now()::TIMESTAMP)",
        [i + 1],
    )
    con.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_backup_is_complete_and_never_overwrites(empty: Path, tmp_path: Path) -> None:
    with store.write(empty) as con:
        run_table.append_log(con, "t", "precious")
    target = tmp_path / "copy" / "study.duckdb"
    target.parent.mkdir()
    store.create_backup(empty, target)
    with store.read(target.parent) as con:
        assert run_table.load_log(con)["event"].tolist() == ["backup", "precious"]
    with pytest.raises(UserError, match="exists already"):
        store.create_backup(empty, target)


def test_damaged_log_opens_or_is_restored(empty: Path, tmp_path: Path) -> None:
    with store.write(empty) as con:
        con.execute(
            "INSERT INTO answers VALUES ('P', 1, 'R0', 1, 1, 3, 1.0, FALSE, FALSE,"
            " now()::TIMESTAMP)"
        )
    saved, current = tmp_path / "saved.duckdb", empty / "study.duckdb"
    store.create_backup(empty, saved)
    subprocess.run([sys.executable, "-c", COMMITS, str(current)], check=False)
    log_file = empty / "study.duckdb.wal"
    whole, base = log_file.read_bytes(), current.read_bytes()
    opened_after_cut = restored = 0
    for offset in (len(whole) * part // 9 for part in range(1, 9)):
        damaged = whole[:offset] + bytes([whole[offset] ^ 16]) + whole[offset + 1 :]
        for content in (whole[:offset], damaged):
            current.write_bytes(base)
            log_file.write_bytes(content)
            try:
                with store.read(empty) as con:
                    positions = [
                        row[0]
                        for row in con.execute(
                            "SELECT position FROM answers WHERE code = 'R1' ORDER BY position"
                        ).fetchall()
                    ]
                    details = run_table.load_log(con, "recovered")["detail"].tolist()
            except UserError as error:
                assert "deepminer restore" in str(error)
                result = store.restore_backup(empty, saved)
                assert (result.answers, result.lost_answers) == (1, None)
                assert result.kept.exists()
                restored += 1
                continue
            assert positions == list(range(1, len(positions) + 1))
            assert f"{len(positions) + 1} answers are here, the last is of" in details[0]
            opened_after_cut += len(content) < len(whole)
    # A log that was cut short always opens; a damaged one may not.
    assert opened_after_cut == 8 and restored >= 1
    with pytest.raises(UserError, match="not a backup"):
        (tmp_path / "x").write_text("x")
        store.restore_backup(empty, tmp_path / "x")
    with store.read(empty) as con:
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] >= 1

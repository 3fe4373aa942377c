"""Backup and restoration, and what a damaged write-ahead log loses."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.store import backup, evidence, migrations, run_table
from core.store.connection import STORE_NAME
from core.store.key_files import write_key_file
from core.store.locking import StoreLockedError
from core.store.migrations import MIGRATIONS
from support import synthetic_study

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


def test_restoring_counts_what_the_backup_has_and_what_it_lacks(
    study: Path, tmp_path: Path
) -> None:
    def answer(numbers: range) -> None:
        with store.write(study) as con:
            con.executemany(
                "INSERT INTO answers VALUES ('P', 1, 'R1', ?, 1, 3, 1.0, FALSE, FALSE,"
                " TIMESTAMP '2026-11-02 03:04:05')",
                [[number] for number in numbers],
            )
            run_table.append_log(con, "t", f"{len(numbers)} answers")
            for number in numbers[::2]:
                synthetic_study.annotate(con, "A1", number, synthetic_study.mass_answer())

    answer(range(3))
    store.create_backup(study, tmp_path / "saved.duckdb")
    answer(range(3, 10))
    saved = store.restore_backup(study, tmp_path / "saved.duckdb")
    assert (saved.annotations, saved.answers) == (2, 3)
    assert (saved.lost_annotations, saved.lost_answers) == (4, 7)
    assert (saved.lost_records, saved.kept is not None) == (1, True)
    # The replaced store has more than the restored one, which lacks nothing of it.
    again = store.restore_backup(study, saved.kept)
    assert (again.annotations, again.answers) == (6, 10)
    assert (again.lost_annotations, again.lost_answers) == (0, 0)


def test_store_without_a_chain_is_replaced(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that nothing has opened since the first release has no records to lose."""
    old = tmp_path / "old"
    old.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:8])
        store.create(old)
    store.create_backup(empty, tmp_path / "saved.duckdb")
    restored = store.restore_backup(old, tmp_path / "saved.duckdb")
    assert (restored.lost_annotations, restored.lost_answers, restored.lost_records) == (0, 0, 0)
    with store.read(old) as con:
        assert evidence.verify_chain(con).valid


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


def with_keys(study: Path) -> Path:
    """Give a study two keys and return their folder."""
    for number in (1, 2):
        write_key_file(study / "keys" / f"bundle_B{number}.pem", b"secret %d" % number)
    return study / "keys"


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_keys_are_copied_beside_the_backup(empty: Path, tmp_path: Path) -> None:
    keys, target = with_keys(empty), tmp_path / "copy.duckdb"
    mask = os.umask(0)
    try:
        assert store.create_backup(empty, target) == 2
    finally:
        os.umask(mask)
    folder = tmp_path / "copy.duckdb.keys"
    assert contents(folder) == contents(keys)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    # The database itself holds no key.
    assert b"secret 1" not in target.read_bytes()
    target.unlink()
    with pytest.raises(UserError, match=r"copy\.duckdb\.keys exists already"):
        store.create_backup(empty, target)
    assert not target.exists()


def test_missing_keys_are_restored_and_none_is_replaced(empty: Path, tmp_path: Path) -> None:
    keys, target = with_keys(empty), tmp_path / "copy.duckdb"
    store.create_backup(empty, target)
    (keys / "bundle_B1.pem").unlink()
    write_key_file(keys / "bundle_B3.pem", b"later")
    assert store.restore_backup(empty, target).keys == 1
    assert contents(keys) == {
        "bundle_B1.pem": b"secret 1",
        "bundle_B2.pem": b"secret 2",
        "bundle_B3.pem": b"later",
    }
    assert stat.S_IMODE((keys / "bundle_B1.pem").stat().st_mode) == 0o600
    (keys / "bundle_B1.pem").unlink()
    (keys / "bundle_B2.pem").write_bytes(b"of another study")
    before = (empty / "study.duckdb").read_bytes()
    with pytest.raises(UserError, match="are different keys.*Nothing was restored"):
        store.restore_backup(empty, target)
    assert (empty / "study.duckdb").read_bytes() == before
    assert not (keys / "bundle_B1.pem").exists()


def test_backup_and_restoration_wait_until_nobody_reads(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "copy.duckdb"
    store.create_backup(empty, target)
    monkeypatch.setattr(backup, "LOCK_TIMEOUT_S", 0.05)
    before = (empty / STORE_NAME).read_bytes()
    with store.read(empty):
        with pytest.raises(StoreLockedError):
            store.create_backup(empty, tmp_path / "other.duckdb")
        with pytest.raises(StoreLockedError):
            store.restore_backup(empty, target)
    assert (empty / STORE_NAME).read_bytes() == before
    assert not (tmp_path / "other.duckdb").exists()

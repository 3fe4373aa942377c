"""Parts of connections, locks, keys and backups, on both sides of their conditions."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import duckdb
import pytest

from core import store
from core.errors import MissingStudyError, UserError
from core.store import connection, key_files, locking, migrations, run_table
from core.store.connection import check_schema_version, fetch_integer, fetch_records
from core.store.evidence import ChainHead
from core.store.locking import StoreLockedError, store_lock
from core.store.migrations import MIGRATIONS, SCHEMA_VERSION
from support.evidence_attack import execute_sql

MADE = datetime(2026, 2, 3, 4, 5, 6)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def locked(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a store whose lock is held, with no time to wait for it."""
    monkeypatch.setattr(connection, "LOCK_TIMEOUT_S", 0.0)
    monkeypatch.setattr(locking, "_acquire", lambda fd, mode, deadline: _try_once(fd, mode))
    with store_lock(empty, exclusive=True, timeout_s=0):
        yield empty


def _try_once(fd: int, mode: int) -> bool:
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def test_existing_store_in_use_cannot_be_brought_up_to_date(locked: Path) -> None:
    with pytest.raises(StoreLockedError, match="cannot be brought up to date while it is in use"):
        store.create(locked)
    (locked / "study.duckdb").unlink()
    with pytest.raises(StoreLockedError) as refused:
        store.create(locked)
    assert str(refused.value).startswith(f"The study {locked} is busy: process {os.getpid()} (")


def test_every_file_of_a_lock_is_closed(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    with store_lock(empty, exclusive=False, timeout_s=0):
        # The queue is left as soon as the lock is held.
        assert open_descriptors() == before + 1
    assert open_descriptors() == before
    with pytest.raises(RuntimeError), store_lock(empty, exclusive=True, timeout_s=0):
        raise RuntimeError
    assert open_descriptors() == before
    with store_lock(empty, exclusive=True, timeout_s=0):
        with pytest.raises(StoreLockedError), store_lock(empty, exclusive=True, timeout_s=0):
            pass
        assert open_descriptors() == before + 1

    def fail(fd: int, mode: int, deadline: float) -> bool:
        raise OSError

    with monkeypatch.context() as patch:
        patch.setattr(locking, "_acquire", fail)
        with pytest.raises(OSError), store_lock(empty, exclusive=True, timeout_s=0):
            pass
    assert open_descriptors() == before
    (empty / ".lock").unlink()
    (empty / ".lock").mkdir()
    with pytest.raises(UserError, match="cannot be locked"):
        locking._open_lock_files(empty)
    assert open_descriptors() == before


def test_waiting_grows_to_20_ms_and_ends_after_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def refuse(fd: int, mode: int) -> None:
        assert (fd, mode) == (7, fcntl.LOCK_SH | fcntl.LOCK_NB)
        raise BlockingIOError

    monkeypatch.setattr(locking.fcntl, "flock", refuse)
    monkeypatch.setattr(locking.time, "sleep", pauses.append)
    # One whole second between two tries; at the deadline itself there is another one.
    monkeypatch.setattr(locking.time, "monotonic", lambda: float(len(pauses)))
    assert locking._acquire(7, fcntl.LOCK_SH, 9.0) is False
    assert pauses == pytest.approx([min(0.001 * 1.5**n, 0.02) for n in range(10)])
    assert pauses[-2] == pauses[-1] == 0.02


def test_change_token_is_the_size_and_the_time_of_both_files(tmp_path: Path) -> None:
    assert store.change_token(tmp_path) == (0, 0)
    for name, content, time in (("study.duckdb", b"12345", 7), ("study.duckdb.wal", b"123", 5)):
        (tmp_path / name).write_bytes(content)
        os.utime(tmp_path / name, ns=(time, time))
    assert store.change_token(tmp_path) == (8, 7)
    (tmp_path / "study.duckdb.wal").unlink()
    assert store.change_token(tmp_path) == (5, 7)


def test_a_folder_without_a_store_is_no_study(tmp_path: Path) -> None:
    assert not connection.store_exists(tmp_path)
    (tmp_path / "study.duckdb").mkdir()
    assert not connection.store_exists(tmp_path)
    for connect in (store.read, store.write):
        with pytest.raises(MissingStudyError), connect(tmp_path):
            pass


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (0o644, 0o600), (0o755, 0o700), (0o440, 0o400), (0o601, 0o600), (0o610, 0o600),
        (0o600, 0o600), (0o700, 0o700), (0o500, 0o500),
    ],
)  # fmt: skip
def test_access_of_others_is_removed(before: int, after: int, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    file.chmod(before)
    connection.remove_access_of_others(file)
    assert file.stat().st_mode & 0o777 == after
    connection.remove_access_of_others(tmp_path / "none")


def test_version_of_a_store(empty: Path) -> None:
    with store.write(empty) as con:
        assert check_schema_version(con, empty) == SCHEMA_VERSION == len(MIGRATIONS)
        con.execute("INSERT INTO migrations VALUES (?, now()::TIMESTAMP)", [SCHEMA_VERSION + 1])
        with pytest.raises(
            UserError, match=f"store version {SCHEMA_VERSION + 1}, .*up to {SCHEMA_VERSION}"
        ):
            check_schema_version(con, empty)
        con.execute("DELETE FROM migrations")
        assert check_schema_version(con, empty) == 0
        con.execute("INSERT INTO migrations VALUES (2, now()::TIMESTAMP), (1, now()::TIMESTAMP)")
        assert check_schema_version(con, empty) == 2


@pytest.mark.parametrize("connect", [store.read, store.write])
def test_older_store_is_brought_up_to_date_when_it_is_opened(
    connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:-1])
        store.create(tmp_path)
    with connect(tmp_path) as con:
        assert check_schema_version(con, tmp_path) == SCHEMA_VERSION


def test_single_values_and_records(empty: Path) -> None:
    with store.read(empty) as con:
        assert fetch_integer(con, "SELECT 7") == 7
        assert fetch_integer(con, "SELECT ?::INTEGER - ?::INTEGER", (5, 3)) == 2
        heads = fetch_records(con.execute("SELECT 'ab' AS hash, 3 AS number"), ChainHead)
        assert heads == [ChainHead(3, "ab")]
        assert fetch_records(con.execute("SELECT 'a' AS hash WHERE FALSE"), ChainHead) == []


def test_answers_are_counted_and_the_last_one_is_dated() -> None:
    con = duckdb.connect()
    con.execute("CREATE TABLE annotations (made TIMESTAMP)")
    con.execute("CREATE TABLE answers (made TIMESTAMP)")
    assert connection.count_answers(con) == (0, 0, None)
    con.execute("INSERT INTO annotations VALUES ('2026-01-03'), ('2026-01-02'), ('2026-01-01')")
    assert connection.count_answers(con) == (3, 0, datetime(2026, 1, 3))
    con.execute("INSERT INTO answers VALUES ('2026-01-04'), ('2026-01-02')")
    assert connection.count_answers(con) == (3, 2, datetime(2026, 1, 4))
    con.execute("CREATE TABLE audit_answers (made TIMESTAMP)")
    assert connection.count_answers(con) == (3, 2, datetime(2026, 1, 4))
    con.execute("INSERT INTO audit_answers VALUES ('2026-01-05')")
    assert connection.count_answers(con) == (3, 3, datetime(2026, 1, 5))


def test_replay_of_a_log_is_recorded(empty: Path) -> None:
    start = "the previous writer was ended; its log was replayed."
    with store.read(empty) as con:
        before = fetch_integer(con, "SELECT count(*) FROM evidence")
    for count, answers, until in (
        (0, 0, "none is dated"),
        (0, 1, "the last is of 2026-02-03 04:05:06 UTC"),
    ):
        if answers:
            execute_sql(
                empty,
                f"INSERT INTO answers VALUES ('P', 1, 'R1', 3, 1, 5, 1.5, FALSE, FALSE, '{MADE}')",
            )
        with connection._attached_database(empty / "study.duckdb", read_only=False) as con:
            connection._record_replay(con)
        with store.read(empty) as con:
            log = run_table.load_log(con, "recovered")
            assert fetch_integer(con, "SELECT count(*) FROM evidence") == before + 1 + answers
        assert log["detail"][0] == (
            f"{start} {count} annotations and {answers} answers are here, {until}"
        )
        assert set(log["who"]) == {"store"}


def test_tables_are_recorded_inside_the_block_only(empty: Path) -> None:
    with store.read(empty) as con:
        assert isinstance(con, duckdb.DuckDBPyConnection)
    with store.record_tables() as outer:
        with store.record_tables() as inner, store.read(empty) as con:
            con.execute("SELECT * FROM META")
        with store.read(empty) as con:
            con.execute("SELECT metadata FROM (SELECT 1 AS metadata)")
            con.execute("SELECT count(*) FROM log")
    assert (inner, outer) == ({"meta"}, {"log"})
    with store.read(empty) as con:
        assert isinstance(con, duckdb.DuckDBPyConnection)


def test_database_is_used_again_unless_a_block_failed(empty: Path) -> None:
    with store.read(empty):
        pass
    idle = list(connection._idle_connections)
    with store.read(empty):
        assert len(connection._idle_connections) == len(idle) - 1
    assert connection._idle_connections == idle
    with pytest.raises(RuntimeError), store.read(empty):
        raise RuntimeError
    assert connection._idle_connections == idle[:-1]
    for con in (connection._idle_connection(), duckdb.connect()):
        con.close()


def test_error_of_a_database_that_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "study.duckdb"
    busy = connection._open_error(path, duckdb.IOException("Could not set lock on file\nmore"))
    assert isinstance(busy, StoreLockedError)
    assert str(busy).startswith(
        f"The store {path} is open in another program (Could not set lock on file); close it"
    )
    damaged = connection._open_error(path, duckdb.IOException("not a database\nmore"))
    assert not isinstance(damaged, StoreLockedError)
    assert str(damaged).startswith(f"The store {path} cannot be opened (not a database); restore")


def test_copies_of_keys(tmp_path: Path) -> None:
    source, target = tmp_path / "keys", tmp_path / "copy"
    assert key_files.copy_keys(source, target) == 0 and not target.exists()
    (source / "folder").mkdir(parents=True)
    for name in ("b.pem", "a.pem"):
        (source / name).write_text(name)
    assert key_files.copy_keys(source, target) == 2
    assert {file.name: file.read_text() for file in target.iterdir()} == {
        "a.pem": "a.pem",
        "b.pem": "b.pem",
    }
    with pytest.raises(FileExistsError):
        key_files.write_key_file(target / "a.pem", b"other")
    study = tmp_path / "study"
    assert key_files.signing_key_path(study) == study / "keys" / "signing.pem"
    assert key_files.decryption_key_path(study, "B7") == study / "keys" / "bundle_B7.pem"
    beside = tmp_path / "saved.duckdb.keys"
    assert key_files.keys_beside(tmp_path / "saved.duckdb") == beside
    target.rename(beside)
    (study / "keys").mkdir(parents=True)
    (study / "keys" / "b.pem").write_text("b.pem")
    missing = key_files.missing_keys(study, tmp_path / "saved.duckdb")
    assert missing == [beside / "a.pem"]
    key_files.restore_keys(study, missing)
    assert (study / "keys" / "a.pem").read_text() == "a.pem"
    assert key_files.missing_keys(study, tmp_path / "saved.duckdb") == []


def test_restored_older_store_is_brought_up_to_date_at_once(
    empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "older"
    old.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:-1])
        store.create(old)
    (empty / "study.duckdb.restoring.wal").write_bytes(b"of another copy")
    restored = store.restore_backup(empty, old / "study.duckdb")
    assert (restored.annotations, restored.answers, restored.last) == (0, 0, None)
    assert (restored.keys, restored.lost_records) == (0, 0)
    assert restored.kept.name.startswith("study.duckdb.replaced-2")
    assert not list(empty.glob("*.restoring*"))
    with duckdb.connect(str(empty / "study.duckdb"), read_only=True) as con:
        assert con.execute("SELECT max(version) FROM migrations").fetchone() == (SCHEMA_VERSION,)
        ((detail,),) = con.execute("SELECT detail FROM log WHERE event = 'restore'").fetchall()
    assert detail.startswith("from study.duckdb, whose head is record 0; the replaced store ended")
    assert detail.endswith(f"; it is kept as {restored.kept.name}")


def test_backup_of_nothing_is_refused(empty: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none.duckdb does not exist; name a file made by"):
        store.restore_backup(empty, tmp_path / "none.duckdb")
    store.create_backup(empty, tmp_path / "saved.duckdb")
    with pytest.raises(UserError, match="is not a folder; name the study's folder"):
        store.restore_backup(tmp_path / "none", tmp_path / "saved.duckdb")
    with pytest.raises(MissingStudyError):
        store.create_backup(tmp_path / "none", tmp_path / "other.duckdb")


def test_several_readers_at_once(empty: Path) -> None:
    with store.read(empty), store.read(empty, timeout_s=0) as con:
        assert check_schema_version(con, empty) == SCHEMA_VERSION

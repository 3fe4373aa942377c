"""Connections: exclusive writers, many readers, no commit lost between processes, clear errors."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.synchronize import Event
from pathlib import Path

import duckdb
import pytest

from core import store
from core.errors import UserError
from core.store import run_table
from core.store.locking import store_lock

APPEND = """
import sys
from pathlib import Path
from core import store
from core.store import run_table
for i in range(int(sys.argv[3])):
    with store.write(Path(sys.argv[1])) as con:
        run_table.append_log(con, sys.argv[2], 'e', str(i))
    print(i, flush=True)
"""
HOLD = """
import sys
from pathlib import Path
from core import store
with store.write(Path(sys.argv[1])):
    print('in', flush=True)
    sys.stdin.read()
"""


def log_count(study: Path, actor: str | None = None) -> int:
    with store.read(study) as con:
        return con.execute(
            "SELECT count(*) FROM log WHERE ? IS NULL OR who = ?", [actor, actor]
        ).fetchone()[0]


def append_event(study: Path, event: str) -> None:
    with store.write(study) as con:
        run_table.append_log(con, "t", event)


def test_failed_block_is_rolled_back(empty: Path) -> None:
    with pytest.raises(RuntimeError), store.write(empty) as con:
        con.execute("INSERT INTO meta VALUES ('a', 'b')")
        raise RuntimeError("stop")
    with store.read(empty) as con:
        assert con.execute("SELECT count(*) FROM meta").fetchone()[0] == 0


def test_unwritable_folder_is_named(empty: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with (
        pytest.raises(
            UserError, match="cannot be locked .Read-only file system.; its folder must be writable"
        ),
        store.read(empty),
    ):
        pass


def test_full_disk_is_a_user_error(empty: Path) -> None:
    with (
        pytest.raises(UserError, match="No space is left on the disk that holds"),
        store.write(empty),
    ):
        raise duckdb.TransactionException(
            "Failed to commit: Could not write file: No space left on device"
        )
    with pytest.raises(duckdb.CatalogException), store.write(empty) as con:
        con.execute("SELECT * FROM nothing_of_that_name")


def test_readers_cannot_write(empty: Path) -> None:
    with pytest.raises(duckdb.Error), store.read(empty) as con:
        con.execute("INSERT INTO meta VALUES ('a', 'b')")


def test_change_token_changes_with_each_commit(empty: Path) -> None:
    before = store.change_token(empty)
    append_event(empty, "one")
    assert store.change_token(empty) != before


def test_table_versions_change_with_the_rows_of_the_table_alone(empty: Path) -> None:
    def versions() -> dict[str, tuple[int, int]]:
        return store.table_versions(empty, {"meta", "log"})

    def change(query: str) -> None:
        with store.write(empty) as con:
            con.execute(query)

    change("INSERT INTO meta VALUES ('a', '1'), ('b', '2')")
    first = versions()
    append_event(empty, "one")
    after_event = versions()
    assert after_event["meta"] == first["meta"] and after_event["log"] != first["log"]
    # The same cells in other rows.
    change(
        "UPDATE meta SET value = CASE name WHEN 'a' THEN '2' ELSE '1' END WHERE length(name) = 1"
    )
    exchanged = versions()
    assert exchanged["meta"] != first["meta"] and exchanged["log"] == after_event["log"]
    change(
        "UPDATE meta SET value = CASE name WHEN 'a' THEN '1' ELSE '2' END WHERE length(name) = 1"
    )
    assert versions() == after_event
    change("DELETE FROM meta WHERE name = 'a'")
    assert versions()["meta"] != first["meta"]
    assert store.table_versions(empty, ()) == {}


def test_tables_are_recorded_that_connections_read(empty: Path) -> None:
    with store.record_tables() as tables:
        with store.read(empty) as con:
            con.execute("SELECT * FROM Meta").fetchall()
            con.execute(
                "WITH x AS (SELECT who FROM log) SELECT * FROM x WHERE who = ?", ["a"]
            ).fetchall()
        assert tables == {"meta", "log"}
        with pytest.raises(AttributeError), store.read(empty) as con:
            con.sql("SELECT * FROM patients")  # it would not be recorded
        with store.write(empty):
            pass
        assert {"patients", "answers"} < tables


def test_four_writing_processes_lose_nothing(empty: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(empty), f"w{i}", "15"], stdout=subprocess.DEVNULL
        )
        for i in range(4)
    ]
    while any(w.poll() is None for w in workers):
        log_count(empty)  # readers at the same time
    assert [w.returncode for w in workers] == [0] * 4
    assert [log_count(empty, f"w{i}") for i in range(4)] == [15] * 4


def test_timeout_names_the_holder(empty: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(empty)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        for connect in (store.write, store.read):
            with (
                pytest.raises(store.StoreLockedError, match=f"process {holder.pid}"),
                connect(empty, timeout_s=0.3),
            ):
                pass
    finally:
        holder.kill()
        holder.communicate()


def test_an_access_waits_for_the_lock_until_its_time_is_over(empty: Path) -> None:
    """A thread holds the lock until a second access has begun to wait."""
    entered, waiting = threading.Event(), threading.Event()

    def hold() -> None:
        with store_lock(empty, exclusive=True, timeout_s=60):
            entered.set()
            waiting.wait(60)
            time.sleep(0.05)

    with ThreadPoolExecutor(1) as pool:
        holder = pool.submit(hold)
        assert entered.wait(60)
        waiting.set()
        with store_lock(empty, exclusive=True, timeout_s=60):
            assert holder.done() or holder.result(60) is None
        # At the end of its time an access is refused, and the lock is free for others.
        entered.clear()
        waiting.clear()
        holder = pool.submit(hold)
        assert entered.wait(60)
        with (
            pytest.raises(store.StoreLockedError, match="more than 0 s"),
            store_lock(empty, exclusive=False, timeout_s=0),
        ):
            pass
        waiting.set()
        holder.result(60)
    with store_lock(empty, exclusive=False, timeout_s=0):
        pass


def test_acknowledged_write_survives_kill(empty: Path) -> None:
    acknowledged = 0
    for number in range(5):
        worker = subprocess.Popen(
            [sys.executable, "-c", APPEND, str(empty), f"k{number}", "1000"],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert worker.stdout is not None
        worker.stdout.readline()
        time.sleep(0.05 * number)
        os.kill(worker.pid, signal.SIGKILL)
        printed = 1 + len(worker.communicate()[0].splitlines())
        acknowledged += printed
        assert log_count(empty, f"k{number}") >= printed
    append_event(empty, "still usable")
    assert log_count(empty) >= acknowledged + 1


def test_readers_do_not_starve_a_writer(empty: Path) -> None:
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    readers = [context.Process(target=_read_until, args=(empty, stop)) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for i in range(5):
            append_event(empty, str(i))
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert log_count(empty) == 5


def _read_until(study: Path, stop: Event) -> None:
    while not stop.is_set():
        log_count(study)


def test_store_of_a_newer_version_is_refused(empty: Path) -> None:
    with store.write(empty) as con:
        con.execute("INSERT INTO migrations VALUES (999, now()::TIMESTAMP)")
    with pytest.raises(UserError, match="newer DeepMiner"), store.read(empty):
        pass


def test_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a study folder"), store.read(tmp_path):
        pass
    (tmp_path / "study.duckdb").write_bytes(b"not a database at all")
    with pytest.raises(UserError, match="cannot be opened"), store.read(tmp_path):
        pass
    other = tmp_path / "other"
    other.mkdir()
    duckdb.connect(str(other / "study.duckdb")).close()
    with pytest.raises(UserError, match="not a DeepMiner store"), store.read(other):
        pass


def test_two_studies_at_once_and_after_a_fork(empty: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    store.create(other)
    append_event(empty, "first")
    with store.write(empty) as con, store.write(other) as second:
        for connection in (con, second):
            connection.execute("INSERT INTO log VALUES (now()::TIMESTAMP, 't', 'both', '')")
    with pytest.raises(RuntimeError), store.write(empty) as con:
        con.execute("INSERT INTO log VALUES (now()::TIMESTAMP, 't', 'undone', '')")
        raise RuntimeError
    child = multiprocessing.get_context("fork").Process(target=append_event, args=(empty, "child"))
    child.start()
    child.join(20)
    append_event(empty, "after")
    assert child.exitcode == 0
    assert (log_count(empty), log_count(other)) == (4, 1)
    assert not (empty / "study.duckdb.wal").exists()

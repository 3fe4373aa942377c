"""The door: exclusive writers, many readers, nothing lost between processes, sentences for those
who wait in vain.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from core import store
from core.errors import UserError
from core.store import migrations

APPEND = """
import sys
from pathlib import Path
from core import store
from core.store import runs
for i in range(int(sys.argv[3])):
    with store.write(Path(sys.argv[1])) as con:
        runs.log(con, sys.argv[2], 'e', str(i))
    print(i, flush=True)
"""


def count(study: Path, who: str | None = None) -> int:
    with store.read(study) as con:
        return con.execute(
            "SELECT count(*) FROM log WHERE ? IS NULL OR who = ?", [who, who]
        ).fetchone()[0]


def log(study: Path, event: str) -> None:
    from core.store import run_table

    with store.write(study) as con:
        run_table.log(con, "t", event)


def test_a_failed_block_leaves_nothing(empty: Path) -> None:
    with pytest.raises(RuntimeError), store.write(empty) as con:
        con.execute("INSERT INTO meta VALUES ('a', 'b')")
        raise RuntimeError("stop")
    with store.read(empty) as con:
        assert con.execute("SELECT count(*) FROM meta").fetchone()[0] == 0


def test_a_folder_that_cannot_be_written_is_named(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(os, "open", refused)
    with (
        pytest.raises(
            UserError, match="cannot be locked .Read-only file system.; its folder must be writable"
        ),
        store.read(empty),
    ):
        pass


def test_a_disk_that_fills_up_in_the_store_is_a_sentence(empty: Path) -> None:
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


def test_version_changes_with_every_commit(empty: Path) -> None:
    before = store.version(empty)
    log(empty, "one")
    assert store.version(empty) != before


def test_four_processes_writing_at_once_lose_nothing(empty: Path) -> None:
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", APPEND, str(empty), f"w{i}", "15"], stdout=subprocess.DEVNULL
        )
        for i in range(4)
    ]
    while any(w.poll() is None for w in workers):
        count(empty)  # readers come and go meanwhile
    assert [w.returncode for w in workers] == [0] * 4
    assert [count(empty, f"w{i}") for i in range(4)] == [15] * 4


def test_who_waits_in_vain_is_told_who_holds_the_door(empty: Path) -> None:
    hold = (
        "import sys, time; from pathlib import Path; from core import store\nwith"
        " store.write(Path(sys.argv[1])): print('in', flush=True); time.sleep(30)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", hold, str(empty)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        with (
            pytest.raises(store.DoorBusy, match=f"process {holder.pid}"),
            store.write(empty, patience=0.3),
        ):
            pass
        with (
            pytest.raises(store.DoorBusy, match=f"process {holder.pid}"),
            store.read(empty, patience=0.3),
        ):
            pass
    finally:
        holder.kill()
        holder.communicate()


def test_an_acknowledged_write_survives_kill_9(empty: Path) -> None:
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
        seen = 1 + len(worker.communicate()[0].splitlines())
        acknowledged += seen
        assert count(empty, f"k{number}") >= seen
    log(empty, "still usable")
    assert count(empty) >= acknowledged + 1


def test_a_stream_of_readers_does_not_shut_a_writer_out(empty: Path) -> None:
    stop = multiprocessing.get_context("spawn").Event()
    readers = [
        multiprocessing.get_context("spawn").Process(target=_read_until, args=(empty, stop))
        for _ in range(3)
    ]
    for reader in readers:
        reader.start()
    try:
        for i in range(5):
            log(empty, str(i))
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert count(empty) == 5


def _read_until(study: Path, stop) -> None:
    while not stop.is_set():
        count(study)


def test_a_newer_store_is_refused_in_a_sentence(empty: Path) -> None:
    with store.write(empty) as con:
        con.execute("INSERT INTO migrations VALUES (999, now()::TIMESTAMP)")
    with pytest.raises(UserError, match="newer DeepMiner"), store.read(empty):
        pass


def test_a_folder_that_is_no_study_is_refused_in_a_sentence(tmp_path: Path) -> None:
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


def test_an_older_store_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(tmp_path)
    log(tmp_path, "kept")
    later = (*migrations.MIGRATIONS, "CREATE TABLE later (x INTEGER)")
    monkeypatch.setattr(migrations, "MIGRATIONS", later)
    monkeypatch.setattr("core.store.connection.SCHEMA_VERSION", len(later))
    with store.read(tmp_path) as con:
        assert con.execute("SELECT count(*) FROM later").fetchone()[0] == 0
    assert count(tmp_path) == 1


def test_a_failing_migration_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(tmp_path)
    monkeypatch.setattr(
        migrations,
        "MIGRATIONS",
        (*migrations.MIGRATIONS, "CREATE TABLE half (x INTEGER); SELECT nonsense FROM nowhere"),
    )
    with pytest.raises(duckdb.Error):
        store.create(tmp_path)
    with store.read(tmp_path) as con:
        assert (
            con.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_name = 'half'"
            ).fetchone()[0]
            == 0
        )


def test_backup_holds_everything_and_never_overwrites(empty: Path, tmp_path: Path) -> None:
    log(empty, "precious")
    target = tmp_path / "copy" / "study.duckdb"
    target.parent.mkdir()
    store.backup(empty, target)
    assert count(target.parent) == 1
    with pytest.raises(UserError, match="exists already"):
        store.backup(empty, target)


def test_two_studies_can_be_written_at_once_and_after_a_fork(empty: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    store.create(other)
    log(empty, "first")
    with store.write(empty) as con, store.write(other) as second:
        for each in (con, second):
            each.execute("INSERT INTO log VALUES (now()::TIMESTAMP, 't', 'both', '')")
    with pytest.raises(RuntimeError), store.write(empty) as con:
        con.execute("INSERT INTO log VALUES (now()::TIMESTAMP, 't', 'undone', '')")
        raise RuntimeError
    child = multiprocessing.get_context("fork").Process(target=log, args=(empty, "child"))
    child.start()
    child.join(20)
    log(empty, "after")
    assert (
        child.exitcode == 0
        and count(empty) == 4
        and count(other) == 1
        and not (empty / "study.duckdb.wal").exists()
    )


COMMITS = """
import os, signal, sys
import duckdb
con = duckdb.connect(sys.argv[1])
for i in range(20):
    con.execute("BEGIN")
    con.execute("INSERT INTO answers VALUES ('P', 1, 'R1', ?, 1, 3, 1.0, FALSE, FALSE, now()::TIMESTAMP)", [i + 1])
    con.execute("COMMIT")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_cut_or_damaged_log_opens_or_is_restored_with_the_loss_stated(
    empty: Path, tmp_path: Path
) -> None:
    with store.write(empty) as con:
        con.execute(
            "INSERT INTO answers VALUES ('P', 1, 'R0', 1, 1, 3, 1.0, FALSE, FALSE,"
            " now()::TIMESTAMP)"
        )
    saved, here = tmp_path / "saved.duckdb", empty / "study.duckdb"
    store.backup(empty, saved)
    subprocess.run([sys.executable, "-c", COMMITS, str(here)], check=False)
    log_file = empty / "study.duckdb.wal"
    whole, base = log_file.read_bytes(), here.read_bytes()
    cut = restored = 0
    for place in (len(whole) * part // 9 for part in range(1, 9)):
        for content in (
            whole[:place],
            whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :],
        ):
            here.write_bytes(base)
            log_file.write_bytes(content)
            try:
                with store.read(empty) as con:
                    places = [
                        row[0]
                        for row in con.execute(
                            "SELECT position FROM answers WHERE code = 'R1' ORDER BY position"
                        ).fetchall()
                    ]
                    said = con.execute(
                        "SELECT detail FROM log WHERE event = 'recovered'"
                    ).fetchall()
            except UserError as error:
                assert "deepminer restore" in str(error)
                found = store.restore(empty, saved)
                assert (found.answers, found.lost_answers) == (1, None) and found.kept.exists()
                restored += 1
                continue
            assert (
                places == list(range(1, len(places) + 1))
                and f"{len(places) + 1} answers are here, the last is of" in said[0][0]
            )
            cut += len(content) < len(whole)
    assert (
        cut == 8 and restored >= 1
    )  # a log that was cut short always opens; a damaged one may not
    with pytest.raises(UserError, match="not a backup"):
        (tmp_path / "x").write_text("x")
        store.restore(empty, tmp_path / "x")
    with store.read(empty) as con:
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] >= 1

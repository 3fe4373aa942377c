"""One door to the store: a file lock around open, one transaction, close.

DuckDB's own lock is not enough: opened and closed in turn by several processes it lost acknowledged
commits (measured with 2.0.0), and it shuts readers out while a writer holds the file. So every
access takes `STUDY/.lock` (shared to read, exclusive to write) before DuckDB sees the file, and
nothing is computed while the door is open. A second lock file is the queue in front of the door:
without it a stream of readers would keep a writer waiting for ever.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

import duckdb

from core.errors import UserError
from core.store.migrations import SCHEMA_VERSION, migrate
from core.timestamps import now

R = TypeVar("R")
STORE_NAME = "study.duckdb"
PATIENCE_S = 10.0


class DoorBusy(UserError):
    """The door could not be had in time; says who holds it."""


def exists(study: Path) -> bool:
    """Whether this folder holds a store."""
    return (study / STORE_NAME).is_file()


def version(study: Path) -> tuple[int, int]:
    """A value that changes with every commit (size and time of change of the store and its log),
    for caches; opens nothing.
    """
    stamps = [p.stat() for p in (study / STORE_NAME, study / f"{STORE_NAME}.wal") if p.exists()]
    return sum(s.st_size for s in stamps), max((s.st_mtime_ns for s in stamps), default=0)


def _holder(lock: Path) -> str:
    """Who said last that they hold the exclusive lock."""
    text = lock.read_text(errors="replace").strip() if lock.exists() else ""
    return text or "another process (it left no name)"


def _acquire(fd: int, mode: int, deadline: float) -> bool:
    """Poll a lock until the deadline.

    Polling, because a blocking flock cannot be given a time limit per thread.
    """
    pause = 0.001
    while True:
        try:
            fcntl.flock(fd, mode | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(pause)
            pause = min(pause * 1.5, 0.02)


@contextmanager
def _locked(study: Path, exclusive: bool, patience: float) -> Iterator[None]:
    queue, lock = study / ".queue", study / ".lock"
    deadline = time.monotonic() + patience
    try:
        queue_fd = os.open(queue, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise UserError(
            f"The study {study} cannot be locked ({error.strerror}); its folder must be writable"
            " even for reading: check its permissions and its disk."
        ) from error
    try:
        got = _acquire(queue_fd, fcntl.LOCK_EX, deadline) and _acquire(
            lock_fd, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH, deadline
        )
        os.close(queue_fd)
        queue_fd = -1
        if not got:
            raise DoorBusy(
                f"The study {study} is busy: {_holder(lock)} has held its store for more than"
                f" {patience:.0f} s; wait for it or end it, then try again."
            )
        if exclusive:
            os.ftruncate(lock_fd, 0)
            os.pwrite(lock_fd, f"process {os.getpid()} ({' '.join(sys.argv)[:200]})".encode(), 0)
        yield
    finally:
        if queue_fd >= 0:
            os.close(queue_fd)
        os.close(lock_fd)


def _connect(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    try:
        return duckdb.connect(str(path), read_only=read_only, config={"threads": 2})
    except duckdb.Error as error:
        raise _unopened(path, error) from error


def _unopened(path: Path, error: duckdb.Error) -> UserError:
    return UserError(
        f"The store {path} cannot be opened ({str(error).splitlines()[0]}); bring back the last"
        " backup with `deepminer restore FILE`, which says what is lost."
    )


def _check_version(con: duckdb.DuckDBPyConnection, study: Path) -> int:
    try:
        found = con.execute("SELECT max(version) FROM migrations").fetchone()
    except duckdb.CatalogException as error:
        raise UserError(
            f"{study / STORE_NAME} is a DuckDB file but not a DeepMiner store; point --study at a"
            " folder made by `deepminer init`."
        ) from error
    number = int(found[0]) if found and found[0] is not None else 0
    if number > SCHEMA_VERSION:
        raise UserError(
            f"The store of {study} was written by a newer DeepMiner (store version {number}, this"
            f" one knows {SCHEMA_VERSION}); update DeepMiner."
        )
    return number


@contextmanager
def _room(study: Path) -> Iterator[None]:
    """A full disk, as DuckDB tells it, as a sentence."""
    try:
        yield
    except duckdb.Error as error:
        if "No space left" not in str(error):
            raise
        raise UserError(
            f"No space is left on the disk that holds {study}; free some space and run the command"
            " again, nothing that was there is lost."
        ) from error


def create(study: Path) -> None:
    """Make an empty store in an existing folder, or bring an older one up to date.

    Does nothing where it is current.
    """
    with _locked(study, exclusive=True, patience=PATIENCE_S), _room(study):
        replayed = _has_log(study)
        con = _connect(study / STORE_NAME, read_only=False)
        try:
            migrate(con)
            _note_replay(con, replayed)
        finally:
            con.close()


def _has_log(study: Path) -> bool:
    """Whether a write-ahead log lies beside the store: the last writer was killed, or the power
    failed.
    """
    return (study / f"{STORE_NAME}.wal").exists()


def _said(con: duckdb.DuckDBPyConnection) -> tuple[int, int, datetime | None]:
    """How many annotations and answers (of readings and of label audits) a store holds, and when
    the last was given.
    """
    audited = con.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'audit_answers'"
    ).fetchone()  # an older backup has none
    answers = "SELECT made FROM answers" + (
        " UNION ALL SELECT made FROM audit_answers" if audited and audited[0] else ""
    )
    (row,) = con.execute("SELECT count(*), max(made) FROM annotations").fetchall()
    (other,) = con.execute(f"SELECT count(*), max(made) FROM ({answers})").fetchall()
    times = [r[1] for r in (row, other) if r[1] is not None]
    return row[0], other[0], max(times, default=None)


def _note_replay(con: duckdb.DuckDBPyConnection, replayed: bool) -> None:
    """Write into the study's log that a write-ahead log was replayed, and how far the store
    reaches: what was said later is lost.
    """
    if replayed:
        annotations, answers, last = _said(con)
        until = f"the last is of {last:%Y-%m-%d %H:%M:%S} UTC" if last else "none is dated"
        detail = (
            f"the writer before was ended; its log was replayed. {annotations} annotations and"
            f" {answers} answers are here, {until}"
        )
        con.execute("INSERT INTO log VALUES (?, 'store', 'recovered', ?)", [now(), detail])


def _require(study: Path) -> None:
    if not exists(study):
        raise UserError(
            f"{study} is not a study folder (it has no {STORE_NAME}); run `deepminer init {study}`"
            " or give --study."
        )


@contextmanager
def read(study: Path, patience: float = PATIENCE_S) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection; many readers at once.

    DoorBusy after `patience` seconds. Do not compute while it is open.
    """
    _require(study)
    stale = False
    with _locked(study, exclusive=False, patience=patience):
        # A log left by a killed writer can only be replayed by a writer: a read-only open of it
        # would fail.
        if _has_log(study):
            stale = True
        else:
            con = _connect(study / STORE_NAME, read_only=True)
            try:
                stale = _check_version(con, study) < SCHEMA_VERSION
                if not stale:
                    yield con
                    return
            finally:
                con.close()
    if stale:
        create(study)
        with _locked(study, exclusive=False, patience=patience):
            con = _connect(study / STORE_NAME, read_only=True)
            try:
                yield con
            finally:
                con.close()


@contextmanager
def write(study: Path, patience: float = PATIENCE_S) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with one open transaction: committed when the block ends, rolled back when it
    raises. One writer at a time.
    """
    _require(study)
    with _locked(study, exclusive=True, patience=patience), _room(study):
        replayed = _has_log(study)
        with _attached(study / STORE_NAME) as con:
            if _check_version(con, study) < SCHEMA_VERSION:
                migrate(con)
            _note_replay(con, replayed)
            con.execute("BEGIN")
            try:
                yield con
            except BaseException:
                con.execute("ROLLBACK")
                raise
            con.execute("COMMIT")


# In-memory databases of this process that nobody uses just now. A forked child must neither use its
# parent's nor let go of them: their threads did not
# come along, and closing waits for those for ever.
_idle: list[duckdb.DuckDBPyConnection] = []
_inherited: list[duckdb.DuckDBPyConnection] = []


def _forked() -> None:
    _inherited.extend(_idle)
    _idle.clear()


os.register_at_fork(after_in_child=_forked)


def _workshop() -> duckdb.DuckDBPyConnection:
    return _idle.pop() if _idle else duckdb.connect(":memory:", config={"threads": 2})


@contextmanager
def _attached(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The store attached to an empty in-memory database of this process, for the holder of the
    exclusive lock only. Starting a DuckDB costs about 13 ms of processor time and attaching a file
    1 ms (measured with 2.0.0); nothing of the store is kept when it is detached.
    """
    root = _workshop()
    try:
        root.execute("ATTACH '{}' AS study".format(str(path).replace("'", "''")))
    except duckdb.Error as error:
        root.close()
        raise _unopened(path, error) from error
    try:
        with root.cursor() as con:
            con.execute("USE study")
            yield con
        root.execute("DETACH study")
    except BaseException:
        # Whatever state this left, nobody uses it again; closing detaches.
        root.close()
        raise
    _idle.append(root)


def backup(study: Path, target: Path) -> None:
    """Copy the store into a new DuckDB file, inside the door.

    Written under another name first, so that a half-made backup never bears the name.
    """
    if target.exists():
        raise UserError(f"{target} exists already; name a new file for the backup.")
    part = target.with_name(target.name + ".partial")
    part.unlink(missing_ok=True)
    _require(study)
    with _locked(study, exclusive=True, patience=PATIENCE_S):
        con = _connect(study / STORE_NAME, read_only=False)
        try:
            name = con.execute("SELECT current_database()").fetchall()[0][0]
            quoted = str(part).replace("'", "''")
            con.execute(f"ATTACH '{quoted}' AS copy")
            con.execute(f'COPY FROM DATABASE "{name}" TO copy')
            con.execute("DETACH copy")
        finally:
            con.close()
    os.replace(part, target)


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What a restored store holds, until when, and how much more the replaced one held (None: it
    could not be opened). kept: where that one lies now.
    """

    annotations: int
    answers: int
    last: datetime | None
    lost_annotations: int | None
    lost_answers: int | None
    kept: Path


def restore(study: Path, source: Path) -> Restored:
    """Put a backup in the store's place.

    The replaced store and its log are kept beside it under another name. UserError if the backup is
    not one.
    """
    if not source.is_file():
        raise UserError(f"{source} is not there; name a file made by `deepminer backup`.")
    if not study.is_dir():
        raise UserError(f"{study} is not a folder; name the study's folder with --study.")
    with _locked(study, exclusive=True, patience=PATIENCE_S):
        here = study / STORE_NAME
        part = here.with_name(f"{STORE_NAME}.restoring")
        shutil.copyfile(source, part)
        try:
            found = _count(part, study)
        except UserError as error:
            part.unlink()
            raise UserError(
                f"{source} is not a backup of a study's store, or is damaged; name a file made by"
                " `deepminer backup`."
            ) from error
        try:
            before = _count(here, study) if here.exists() else None
        except (UserError, duckdb.Error):
            before = None
        kept = here.with_name(f"{STORE_NAME}.replaced-{now():%Y%m%d-%H%M%S-%f}")
        for ending in ("", ".wal"):
            old = here.with_name(here.name + ending)
            if old.exists():
                os.replace(old, kept.with_name(kept.name + ending))
        os.replace(part, here)
    lost = (
        (None, None)
        if before is None
        else (max(0, before[0] - found[0]), max(0, before[1] - found[1]))
    )
    return Restored(
        annotations=found[0],
        answers=found[1],
        last=found[2],
        lost_annotations=lost[0],
        lost_answers=lost[1],
        kept=kept,
    )


def _count(path: Path, study: Path) -> tuple[int, int, datetime | None]:
    """What a store file holds; UserError if it cannot be opened or is no store."""
    con = _connect(path, read_only=False)
    try:
        _check_version(con, study)
        return _said(con)
    finally:
        con.close()


def fetch_records(cursor: duckdb.DuckDBPyConnection, record: type[R]) -> list[R]:
    """Rows of a query as records whose fields have the names of its columns."""
    names = [column[0] for column in cursor.description or []]
    return [record(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]

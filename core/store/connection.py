"""Connections to a study's database.

Each connection takes the file lock, opens the database, runs one transaction and closes. No code
outside `core.store` contains SQL, and nothing is computed while a connection is open: other
processes wait for it.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import duckdb

from core.errors import DiskFullError, MissingStudyError, UserError
from core.store.evidence import record_row, write_pending
from core.store.key_files import KEYS_FOLDER
from core.store.locking import LOCK_TIMEOUT_S, StoreLockedError, store_lock
from core.store.migrations import SCHEMA_VERSION, migrate
from core.timestamps import utc_now

Connection = duckdb.DuckDBPyConnection
RecordT = TypeVar("RecordT")
STORE_NAME = "study.duckdb"
# The store, its write-ahead log and replaced stores; the server's key; the keys of site bundles.
PRIVATE_FILES = (f"{STORE_NAME}*", ".key", f"{KEYS_FOLDER}/*")
# Where the names of the tables go that this thread reads; None: they are not recorded.
_recorded_tables: ContextVar[set[str] | None] = ContextVar("recorded_tables", default=None)


def store_exists(study: Path) -> bool:
    """Return whether a folder holds a store."""
    return (study / STORE_NAME).is_file()


def require_store(study: Path) -> None:
    """Raise a MissingStudyError if a folder holds no store."""
    if not store_exists(study):
        raise MissingStudyError(study, STORE_NAME)


def change_token(study: Path) -> tuple[int, int]:
    """Return a value that changes with every commit, for caches.

    It is the size and the modification time of the database and its write-ahead log; no file is
    opened.
    """
    # Both are needed: commits within one tick of the file system's clock differ in size only.
    stamps = [p.stat() for p in (study / STORE_NAME, study / f"{STORE_NAME}.wal") if p.exists()]
    return sum(s.st_size for s in stamps), max((s.st_mtime_ns for s in stamps), default=0)


def create(study: Path) -> None:
    """Create an empty store in an existing folder, or migrate an older one.

    A store of the current version stays as it is. StoreLockedError if the store is in use.
    """
    existed = store_exists(study)  # before the lock is held and the file created
    try:
        with (
            store_lock(study, exclusive=True, timeout_s=LOCK_TIMEOUT_S),
            translate_disk_full(study),
        ):
            needs_replay = _has_log(study)
            make_private(study)
            con = open_database(study / STORE_NAME, read_only=False)
            make_private(study)
            try:
                migrate(con)
                if needs_replay:
                    _record_replay(con)
            finally:
                con.close()
    except StoreLockedError as error:
        if not existed:
            raise
        raise StoreLockedError(
            f"The store of {study} cannot be brought up to date while it is in use. {error}"
        ) from error


@contextmanager
def read(study: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[Connection]:
    """Open a read-only connection; several may be open at once.

    StoreLockedError after `timeout_s` seconds. An older store is migrated first.
    """
    require_store(study)
    with store_lock(study, exclusive=False, timeout_s=timeout_s):
        # The log that a killed writer left can only be replayed by a writer; a read-only open of
        # such a database fails.
        if not _has_log(study):
            with _attached_database(study / STORE_NAME, read_only=True) as con:
                if check_schema_version(con, study) == SCHEMA_VERSION:
                    yield _recording(con)
                    return
    create(study)
    with (
        store_lock(study, exclusive=False, timeout_s=timeout_s),
        _attached_database(study / STORE_NAME, read_only=True) as con,
    ):
        yield _recording(con)


class _RecordingConnection:
    """A connection that records which tables its statements name.

    It has `execute` only: a statement that took another way would not be recorded.
    """

    def __init__(self, con: Connection, tables: set[str]) -> None:
        self._con = con
        self._tables = tables
        self._names = re.compile(rf"\b(?:{'|'.join(_table_names(con))})\b", re.IGNORECASE)

    def execute(self, query: str, values: Any = None) -> Connection:
        """Execute a statement, as DuckDB does."""
        # A column of the same name counts too. A table that is read and not named does not exist:
        # the store has no views.
        self._tables.update(name.lower() for name in self._names.findall(query))
        return self._con.execute(query, values)


def _recording(con: Connection) -> Connection:
    """Return the connection, as one that records tables inside `record_tables`."""
    tables = _recorded_tables.get()
    return con if tables is None else cast(Connection, _RecordingConnection(con, tables))


def _table_names(con: Connection) -> list[str]:
    query = "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
    return [row[0] for row in con.execute(query).fetchall()]


@contextmanager
def record_tables() -> Iterator[set[str]]:
    """Collect the names of all tables that connections of the block read.

    Those of `write` count as reading every table. Only connections of the same thread are followed:
    a function that reads the store in threads of its own must not be called inside.
    """
    tables: set[str] = set()
    token = _recorded_tables.set(tables)
    try:
        yield tables
    finally:
        _recorded_tables.reset(token)


def table_versions(study: Path, tables: Collection[str]) -> dict[str, tuple[int, int]]:
    """Return for each table a value that changes with its rows, for caches.

    It is the number of rows and the sum of their hash values, which takes 11 ms for a million rows.
    """
    if not tables:
        return {}
    query = " UNION ALL ".join(
        f"SELECT '{table}', count(*), coalesce(sum(hash(r)), 0) FROM {table} r"
        for table in sorted(tables)
    )
    with read(study) as con:
        rows = con.execute(query).fetchall()
    return {table: (int(count), int(total)) for table, count, total in rows}


@contextmanager
def write(study: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[Connection]:
    """Open a connection with one transaction; one writer at a time.

    The transaction is committed when the block ends and rolled back when the block raises.
    StoreLockedError after `timeout_s` seconds.
    """
    require_store(study)
    with store_lock(study, exclusive=True, timeout_s=timeout_s), translate_disk_full(study):
        needs_replay = _has_log(study)
        make_private(study)
        with _attached_database(study / STORE_NAME, read_only=False) as con:
            if check_schema_version(con, study) < SCHEMA_VERSION:
                migrate(con)
            if needs_replay:
                _record_replay(con)
            if (tables := _recorded_tables.get()) is not None:
                tables.update(_table_names(con))  # what a writer reads is not followed
            con.execute("BEGIN")
            try:
                yield con
                write_pending(con)
            except BaseException:  # also KeyboardInterrupt: no half of a block is committed
                con.execute("ROLLBACK")
                raise
            con.execute("COMMIT")
            # DuckDB makes the log as the system's default allows; until here the folder shields it.
            remove_access_of_others(study / f"{STORE_NAME}.wal")


def make_private(study: Path) -> None:
    """Leave a study's folder, its store, replaced stores and keys to their owner only."""
    remove_access_of_others(study)
    for pattern in PRIVATE_FILES:
        for path in study.glob(pattern):
            remove_access_of_others(path)


def remove_access_of_others(path: Path) -> None:
    """Take the permissions of group and others from a file or folder that exists."""
    # Another account than the owner's may be allowed to write; only the owner can restrict.
    with contextlib.suppress(FileNotFoundError, PermissionError):
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            path.chmod(mode & 0o700)


def open_database(path: Path, read_only: bool) -> Connection:
    """Open a DuckDB file. Call it only inside `store_lock`."""
    try:
        return duckdb.connect(str(path), read_only=read_only, config={"threads": 2})
    except duckdb.Error as error:
        raise _open_error(path, error) from error


def _open_error(path: Path, error: duckdb.Error) -> UserError:
    """Return the UserError for a database that cannot be opened."""
    reason = str(error).splitlines()[0]
    # Programs that do not take this package's lock, such as the DuckDB command line, hold DuckDB's.
    if "Could not set lock" in reason:
        return StoreLockedError(
            f"The store {path} is open in another program ({reason}); close it there, then try"
            " again."
        )
    return UserError(
        f"The store {path} cannot be opened ({reason}); restore the last backup with `deepminer"
        " restore FILE`, which reports what is lost."
    )


def check_schema_version(con: Connection, study: Path) -> int:
    """Return the schema version of a database.

    UserError if it is not a store or was written by a newer DeepMiner.
    """
    try:
        version = fetch_integer(con, "SELECT coalesce(max(version), 0) FROM migrations")
    except duckdb.CatalogException as error:
        raise UserError(
            f"{study / STORE_NAME} is a DuckDB file but not a DeepMiner store; point --study at a"
            " folder made by `deepminer init`."
        ) from error
    if version > SCHEMA_VERSION:
        raise UserError(
            f"The store of {study} was written by a newer DeepMiner (store version {version}, this"
            f" one supports up to {SCHEMA_VERSION}); update DeepMiner."
        )
    return version


@contextmanager
def translate_disk_full(study: Path) -> Iterator[None]:
    """Turn DuckDB's error for a full disk into a UserError."""
    try:
        yield
    except duckdb.Error as error:
        # DuckDB has no error class of its own for it: the commit fails with the system's text.
        if "No space left" not in str(error):
            raise
        raise DiskFullError(study) from error


def _has_log(study: Path) -> bool:
    """Return whether a write-ahead log exists: the last writer was killed or the power failed."""
    return (study / f"{STORE_NAME}.wal").exists()


def count_answers(con: Connection) -> tuple[int, int, datetime | None]:
    """Return the numbers of annotations and of answers, and the time of the last of them.

    Answers are those of reading studies and of label audits.
    """
    has_audits = fetch_integer(
        con, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'audit_answers'"
    )  # a backup from before migration 6 has no such table
    answers = "SELECT made FROM answers" + (
        " UNION ALL SELECT made FROM audit_answers" if has_audits else ""
    )
    ((annotation_count, last_annotation),) = con.execute(
        "SELECT count(*), max(made) FROM annotations"
    ).fetchall()
    ((answer_count, last_answer),) = con.execute(
        f"SELECT count(*), max(made) FROM ({answers})"
    ).fetchall()
    times = [time for time in (last_annotation, last_answer) if time is not None]
    return annotation_count, answer_count, max(times, default=None)


def _record_replay(con: Connection) -> None:
    """Write to the study's log that a write-ahead log was replayed, and the last stored answer.

    Answers that were given later are lost.
    """
    annotations, answers, last = count_answers(con)
    until = f"the last is of {last:%Y-%m-%d %H:%M:%S} UTC" if last else "none is dated"
    detail = (
        f"the previous writer was ended; its log was replayed. {annotations} annotations and"
        f" {answers} answers are here, {until}"
    )
    con.execute("BEGIN")
    stored = con.execute(
        "INSERT INTO log VALUES (?, 'store', 'recovered', ?) RETURNING *", [utc_now(), detail]
    )
    record_row(con, "log", stored, "store")
    write_pending(con)
    con.execute("COMMIT")


# In-memory databases of this process that are not in use. A forked child must neither use those of
# its parent nor close them: their threads do not exist in the child, and closing waits for them for
# ever. The second list keeps them from being garbage collected.
_idle_connections: list[Connection] = []
_inherited_connections: list[Connection] = []


def _set_aside_inherited() -> None:
    _inherited_connections.extend(_idle_connections)
    _idle_connections.clear()


os.register_at_fork(after_in_child=_set_aside_inherited)


def _idle_connection() -> Connection:
    """Return an in-memory database of this process that is not in use."""
    if _idle_connections:
        return _idle_connections.pop()
    return duckdb.connect(":memory:", config={"threads": 2})


@contextmanager
def _attached_database(path: Path, read_only: bool) -> Iterator[Connection]:
    """Attach the store to an empty in-memory database of this process.

    For the holder of the lock only; no data of the store stays in memory once it is detached.
    """
    # Starting a DuckDB instance costs about 13 ms of processor time, attaching a file 1 ms
    # (measured with 2.0.0). Writers run between a reader's key press and its acknowledgement; a
    # page reads some twenty times.
    root = _idle_connection()
    mode = " (READ_ONLY)" if read_only else ""
    try:
        root.execute("ATTACH '{}' AS study{}".format(str(path).replace("'", "''"), mode))
    except duckdb.Error as error:
        root.close()
        raise _open_error(path, error) from error
    try:
        with root.cursor() as con:
            con.execute("USE study")
            yield con
        root.execute("DETACH study")
    except BaseException:
        # The state of the instance is unknown now. It is never used again; closing it detaches.
        root.close()
        raise
    _idle_connections.append(root)


def fetch_integer(con: Connection, query: str, values: Sequence[Any] = ()) -> int:
    """Return the single integer that a query selects."""
    ((value,),) = con.execute(query, list(values)).fetchall()
    return int(value)


def fetch_records(cursor: Connection, record: type[RecordT]) -> list[RecordT]:
    """Return the rows of a query as records whose fields have the names of its columns."""
    names = [column[0] for column in cursor.description or []]
    return [record(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]

"""Backup of a study's store and keys, and their restoration."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from core.errors import UserError
from core.store.connection import (
    STORE_NAME,
    Connection,
    check_schema_version,
    count_answers,
    make_private,
    open_database,
    remove_access_of_others,
    require_store,
)
from core.store.evidence import (
    EMPTY_HEAD,
    ChainHead,
    chain_head,
    operating_system_user,
    write_pending,
)
from core.store.evidence.chain import EvidenceRecord
from core.store.evidence.replaced_records import (
    all_records,
    keep_replaced_records,
    records_beyond,
)
from core.store.key_files import (
    KEYS_FOLDER,
    copy_keys,
    keys_beside,
    missing_keys,
    restore_keys,
)
from core.store.locking import LOCK_TIMEOUT_S, store_lock
from core.store.migrations import migrate
from core.store.run_table import append_log
from core.timestamps import utc_now

# Kinds with very many records; the log counts them, the chain lists each.
_COUNTED_KINDS = ("reading_answer",)


@dataclass(frozen=True, kw_only=True)
class RestoredStore:
    """Content of a restored store, and what the replaced store held beyond it.

    last: time of the last answer. lost_annotations, lost_answers: None if the replaced store could
    not be opened. lost_records: records of the evidence chain that the backup does not have. keys:
    key files that the study lacked and the backup had. kept: path of the replaced store.
    """

    annotations: int
    answers: int
    last: datetime | None
    lost_annotations: int | None
    lost_answers: int | None
    lost_records: int
    keys: int
    kept: Path


@dataclass(frozen=True)
class _StoreContent:
    """Counts and evidence of a store."""

    annotations: int
    answers: int
    last: datetime | None
    head: ChainHead
    records: tuple[EvidenceRecord, ...]


def create_backup(study: Path, target: Path) -> int:
    """Copy the store into a new DuckDB file, and the study's keys into a folder beside it.

    Only their owner can read them. The backup is recorded in the study's log, of which the copy has
    the record.

    Parameters
    ----------
    study : Path
        The study folder.
    target : Path
        New file; the folder of the keys has its name with the ending `.keys`.

    Returns
    -------
    int
        Number of keys. Without keys there is no folder.

    Raises
    ------
    UserError
        If the file or the folder exists.
    """
    for path in (target, keys_beside(target)):
        if path.exists():
            raise UserError(f"{path} exists already; name a new file for the backup.")
    require_store(study)
    with store_lock(study, exclusive=True, timeout_s=LOCK_TIMEOUT_S):
        make_private(study)
        con = open_database(study / STORE_NAME, read_only=False)
        try:
            migrate(con)
            _record(con, "backup", f"to {target.name}")
            return _copy_store(con, study, target)
        finally:
            con.close()


def _copy_store(con: Connection, study: Path, target: Path) -> int:
    """Copy the open database into a file and the keys beside it; return the number of keys."""
    # In a folder of its own first: other accounts cannot enter it, and an interrupted backup never
    # has the final name.
    with tempfile.TemporaryDirectory(prefix=f"{target.name}.", dir=target.parent) as folder:
        partial = Path(folder) / target.name
        name = con.execute("SELECT current_database()").fetchall()[0][0]
        quoted = str(partial).replace("'", "''")
        con.execute(f"ATTACH '{quoted}' AS copy")
        con.execute(f'COPY FROM DATABASE "{name}" TO copy')
        con.execute("DETACH copy")
        remove_access_of_others(partial)
        partial_keys = Path(folder) / KEYS_FOLDER
        count = copy_keys(study / KEYS_FOLDER, partial_keys)
        if count:
            os.replace(partial_keys, keys_beside(target))
        # Last: a database without the keys that belong to it would pass for a complete backup.
        os.replace(partial, target)
    return count


def restore_backup(study: Path, source: Path) -> RestoredStore:
    """Replace the store by a backup.

    The replaced store and its log stay beside it under another name. The restored store gets a
    record of the restoration with every record of the replaced store that the backup lacks. Keys
    that the study lacks are copied from beside the backup; no key is replaced. UserError if the
    file is not a backup, or its keys contradict those of the study.
    """
    if not source.is_file():
        raise UserError(f"{source} does not exist; name a file made by `deepminer backup`.")
    if not study.is_dir():
        raise UserError(f"{study} is not a folder; name the study's folder with --study.")
    with store_lock(study, exclusive=True, timeout_s=LOCK_TIMEOUT_S):
        make_private(study)
        keys = missing_keys(study, source)
        current = study / STORE_NAME
        # The store that is replaced may be the damaged one, the reason for the restoration.
        try:
            replaced = _read_content(current, study) if current.exists() else None
        except (UserError, duckdb.Error):
            replaced = None
        replaced_file = current.with_name(f"{STORE_NAME}.replaced-{utc_now():%Y%m%d-%H%M%S-%f}")
        partial = current.with_name(f"{STORE_NAME}.restoring")
        # Left by a restoration that was killed; it belongs to another copy.
        partial.with_name(f"{partial.name}.wal").unlink(missing_ok=True)
        shutil.copyfile(source, partial)
        try:
            remove_access_of_others(partial)
            restored, lost_records = _record_restoration(
                partial, study, source, replaced, replaced_file.name
            )
        except (UserError, duckdb.Error) as error:
            partial.unlink()
            raise UserError(
                f"{source} is not a backup of a study's store, or is damaged; name a file made by"
                " `deepminer backup`."
            ) from error
        # The log goes with its database: replayed into the restored one it would corrupt it.
        for ending in ("", ".wal"):
            file = current.with_name(current.name + ending)
            if file.exists():
                os.replace(file, replaced_file.with_name(replaced_file.name + ending))
        restore_keys(study, keys)
        os.replace(partial, current)
    return RestoredStore(
        annotations=restored.annotations,
        answers=restored.answers,
        last=restored.last,
        lost_annotations=max(0, replaced.annotations - restored.annotations) if replaced else None,
        lost_answers=max(0, replaced.answers - restored.answers) if replaced else None,
        lost_records=lost_records,
        keys=len(keys),
        kept=replaced_file,
    )


def _read_content(path: Path, study: Path) -> _StoreContent:
    """Return the content of a store file; UserError if it is not a valid store."""
    con = open_database(path, read_only=False)
    try:
        check_schema_version(con, study)
        return _content(con)
    finally:
        con.close()


def _content(con: Connection) -> _StoreContent:
    # A store that nothing has opened since the first release has no chain yet.
    tables = {row[0] for row in con.execute("SHOW TABLES").fetchall()}
    has_chain = "evidence" in tables
    return _StoreContent(
        *count_answers(con),
        chain_head(con) if has_chain else EMPTY_HEAD,
        tuple(all_records(con)) if has_chain else (),
    )


def _record_restoration(
    path: Path, study: Path, source: Path, replaced: _StoreContent | None, kept_name: str
) -> tuple[_StoreContent, int]:
    """Bring a restored store up to date and record the restoration in it.

    Returns its content before, and the number of records that it lacks.
    """
    con = open_database(path, read_only=False)
    try:
        check_schema_version(con, study)
        migrate(con)
        restored = _content(con)
        lost = records_beyond(replaced.records, restored.records) if replaced else []
        detail = f"from {source.name}, whose head is record {restored.head.number}"
        detail += f"; {_describe_replaced(replaced, lost)}; it is kept as {kept_name}"
        _record(con, "restore", detail, lost)
        return restored, len(lost)
    finally:
        con.close()


def _describe_replaced(replaced: _StoreContent | None, lost: Sequence[EvidenceRecord]) -> str:
    """Return what a replaced store held beyond the backup."""
    if replaced is None:
        return "the replaced store could not be opened"
    head = f"the replaced store ended at record {replaced.head.number}, {replaced.head.hash}"
    counts = Counter(record.kind for record in lost)
    parts = [f"{counts[kind]} {kind}" for kind in _COUNTED_KINDS if counts[kind]]
    parts += [
        f"{record.subject} ({record.made:%Y-%m-%d %H:%M:%S} UTC)"
        for record in lost
        if record.kind not in _COUNTED_KINDS
    ]
    return f"{head}, and held beyond the backup: {'; '.join(parts) or 'nothing'}"


def _record(
    con: Connection, event: str, detail: str, lost: Sequence[EvidenceRecord] | None = None
) -> None:
    """Write an event to the log and the chain; of a restoration, also the records that are lost."""
    actor = operating_system_user()
    con.execute("BEGIN")
    append_log(con, actor, event, detail)
    if lost is not None:
        keep_replaced_records(con, utc_now(), lost, actor)
    write_pending(con)
    con.execute("COMMIT")

"""Backup of a study's store, and its restoration."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from core.atomic_files import atomic_write
from core.errors import UserError
from core.store.connection import (
    STORE_NAME,
    check_schema_version,
    count_answers,
    open_database,
    require_store,
)
from core.store.locking import LOCK_TIMEOUT_S, store_lock
from core.timestamps import utc_now


@dataclass(frozen=True, kw_only=True)
class RestoredStore:
    """Content of a restored store, and what the replaced store held beyond it.

    last: time of the last answer. lost_annotations, lost_answers: None if the replaced store could
    not be opened. kept: path of the replaced store.
    """

    annotations: int
    answers: int
    last: datetime | None
    lost_annotations: int | None
    lost_answers: int | None
    kept: Path


def create_backup(study: Path, target: Path) -> None:
    """Copy the store into a new DuckDB file. UserError if the file exists."""
    if target.exists():
        raise UserError(f"{target} exists already; name a new file for the backup.")
    # Written under another name first, so that an interrupted backup never has the final name.
    require_store(study)
    with (
        atomic_write(target) as partial,
        store_lock(study, exclusive=True, timeout_s=LOCK_TIMEOUT_S),
    ):
        con = open_database(study / STORE_NAME, read_only=False)
        try:
            name = con.execute("SELECT current_database()").fetchall()[0][0]
            quoted = str(partial).replace("'", "''")
            con.execute(f"ATTACH '{quoted}' AS copy")
            con.execute(f'COPY FROM DATABASE "{name}" TO copy')
            con.execute("DETACH copy")
        finally:
            con.close()


def restore_backup(study: Path, source: Path) -> RestoredStore:
    """Replace the store by a backup.

    The replaced store and its log stay beside it under another name. UserError if the file is not a
    backup.
    """
    if not source.is_file():
        raise UserError(f"{source} does not exist; name a file made by `deepminer backup`.")
    if not study.is_dir():
        raise UserError(f"{study} is not a folder; name the study's folder with --study.")
    with store_lock(study, exclusive=True, timeout_s=LOCK_TIMEOUT_S):
        current = study / STORE_NAME
        partial = current.with_name(f"{STORE_NAME}.restoring")
        shutil.copyfile(source, partial)
        try:
            annotations, answers, last = _count_in_file(partial, study)
        except UserError as error:
            partial.unlink()
            raise UserError(
                f"{source} is not a backup of a study's store, or is damaged; name a file made by"
                " `deepminer backup`."
            ) from error
        # The store that is replaced may be the damaged one, the reason for the restoration.
        try:
            replaced = _count_in_file(current, study) if current.exists() else None
        except (UserError, duckdb.Error):
            replaced = None
        replaced_file = current.with_name(f"{STORE_NAME}.replaced-{utc_now():%Y%m%d-%H%M%S-%f}")
        # The log goes with its database: replayed into the restored one it would corrupt it.
        for ending in ("", ".wal"):
            file = current.with_name(current.name + ending)
            if file.exists():
                os.replace(file, replaced_file.with_name(replaced_file.name + ending))
        os.replace(partial, current)
    return RestoredStore(
        annotations=annotations,
        answers=answers,
        last=last,
        lost_annotations=max(0, replaced[0] - annotations) if replaced else None,
        lost_answers=max(0, replaced[1] - answers) if replaced else None,
        kept=replaced_file,
    )


def _count_in_file(path: Path, study: Path) -> tuple[int, int, datetime | None]:
    """Return `count_answers` of a store file; UserError if it is not a valid store."""
    con = open_database(path, read_only=False)
    try:
        check_schema_version(con, study)
        return count_answers(con)
    finally:
        con.close()

"""Nobody but the owner can read a study's store, its log, backups, replaced stores and keys."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import store
from core.store import run_table
from core.study_folder import create_study
from support.paths import ROOT

KILLED_AFTER_COMMIT = """
import os, signal, sys
from pathlib import Path
from core.store import connection, run_table
with connection.write(Path(sys.argv[1])) as con:
    run_table.append_log(con, "t", "committed")
    connection.remove_access_of_others = lambda path, original=connection.remove_access_of_others: (
        original(path), os.kill(os.getpid(), signal.SIGKILL)
    )
"""


@pytest.fixture(autouse=True)
def permissive_system() -> Iterator[None]:
    """Make new files readable by everybody, as most systems do."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_new_study_and_its_store(tmp_path: Path) -> None:
    study = create_study(tmp_path / "new")
    assert (mode(study), mode(study / "study.duckdb")) == (0o700, 0o600)


def test_files_of_the_locks(empty: Path) -> None:
    for name in (".lock", ".queue"):
        (empty / name).unlink(missing_ok=True)
    with store.write(empty) as con:
        run_table.append_log(con, "t", "e")
    assert [mode(empty / name) for name in (".lock", ".queue")] == [0o600, 0o600]


def test_backup_and_replaced_store(empty: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "backup.duckdb"
    target.parent.mkdir()
    store.create_backup(empty, target)
    assert mode(target) == 0o600 and list(target.parent.iterdir()) == [target]
    target.chmod(0o644)  # a copy that somebody made
    restored = store.restore_backup(empty, target)
    assert mode(empty / "study.duckdb") == mode(restored.kept) == 0o600


def test_log_that_a_killed_writer_leaves(empty: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED_AFTER_COMMIT, str(empty)], check=False, cwd=ROOT
    )
    assert done.returncode == -9
    assert mode(empty / "study.duckdb.wal") == 0o600


def test_files_of_an_older_study_are_restricted_by_the_next_writer(empty: Path) -> None:
    paths = [
        empty / name
        for name in ("study.duckdb", "study.duckdb.replaced-1", ".key", "keys/bundle_a.pem")
    ]
    (empty / "keys").mkdir()
    for path in paths:
        path.touch()
        path.chmod(0o644)
    empty.chmod(0o755)
    with store.write(empty) as con:
        run_table.append_log(con, "t", "e")
    assert [mode(path) for path in (empty, *paths)] == [0o700, *[0o600] * 4]


def test_another_account_than_the_owner_may_write(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (empty / "study.duckdb").chmod(0o660)
    monkeypatch.setattr(Path, "chmod", refuse)
    with store.write(empty) as con:
        run_table.append_log(con, "t", "e")
    with store.read(empty) as con:
        assert len(run_table.load_log(con)) == 1

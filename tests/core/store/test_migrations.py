"""Migrations: an older store is brought up to date whole or not at all, and never while in use."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from core import store
from core.store import migrations, run_table, unit_table
from core.store.connection import STORE_NAME
from core.store.locking import store_lock
from core.store.migrations import MIGRATIONS, SCHEMA_VERSION
from core.store.migrations.versions import Migration

OLD_RUN = "meaning-000000000007"
KILLED_BEFORE_COMMIT = """
import os, signal, sys
from pathlib import Path
from core import store
from core.store import migrations

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

migrations.utc_now = kill  # called after a migration's statements and before its commit
store.create(Path(sys.argv[1]))
"""
HOLD_DATABASE = """
import sys
import duckdb
con = duckdb.connect(sys.argv[1])
print('in', flush=True)
sys.stdin.read()
"""


@pytest.fixture
def old_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a study of version 7 with a run of kind `meaning`."""
    study = tmp_path / "old"
    study.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "MIGRATIONS", MIGRATIONS[:7])
        store.create(study)
    con = duckdb.connect(str(study / STORE_NAME))
    manifest = json.dumps({"run": OLD_RUN, "kind": "meaning"})
    con.execute(
        "INSERT INTO runs VALUES (?, 'meaning', '{}', '[\"dissect-000000000002\"]', ?,"
        " '2026-11-20', 1.0),"
        " ('dissect-000000000002', 'dissect', '{}', '[]', '{}', '2026-11-20', 1.0)",
        [OLD_RUN, manifest],
    )
    con.execute(
        "INSERT INTO meanings VALUES (?, 3, 'margin: spiculated', 'all', 0.7, 0.6, 0.8, 0.01, 0.02,"
        " 0.1, 12, 9), (?, 4, 'finding', 'all', NULL, NULL, NULL, NULL, NULL, 0.2, 0, 0)",
        [OLD_RUN, OLD_RUN],
    )
    con.close()
    return study


def schema_version(study: Path) -> int:
    """Return the version of a store without migrating it."""
    con = duckdb.connect(str(study / STORE_NAME))
    try:
        return con.execute("SELECT max(version) FROM migrations").fetchone()[0]
    finally:
        con.close()


def test_migrations_are_numbered_and_dated() -> None:
    for number, migration in enumerate(MIGRATIONS, start=1):
        assert re.fullmatch(rf"{number:04d}_[a-z_]+", migration.name)
        assert date.fromisoformat(migration.date) >= date.fromisoformat(
            MIGRATIONS[max(number - 2, 0)].date
        )


def test_older_store_is_brought_up_to_date(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create(tmp_path)
    with store.write(tmp_path) as con:
        run_table.append_log(con, "t", "kept")
    later = Migration("9999_later", "2026-12-31", "CREATE TABLE later (x INTEGER)")
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, later))
    monkeypatch.setattr("core.store.connection.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    with store.read(tmp_path) as con:
        assert con.execute("SELECT count(*) FROM later").fetchone()[0] == 0
        assert run_table.load_log(con)["event"].tolist() == ["kept"]


def test_failing_migration_leaves_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create(tmp_path)
    failing = Migration(
        "9999_failing", "2026-12-31", "CREATE TABLE half (x INTEGER); SELECT nonsense FROM nowhere"
    )
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, failing))
    with pytest.raises(duckdb.Error) as raised:
        store.create(tmp_path)
    assert raised.value.__notes__ == ["in migration 9999_failing"]
    with store.read(tmp_path) as con:
        assert (
            con.execute(
                "SELECT count(*) FROM information_schema.tables WHERE table_name = 'half'"
            ).fetchone()[0]
            == 0
        )


def test_meaning_runs_become_descriptor_associations(old_study: Path) -> None:
    with store.read(old_study) as con:
        run = run_table.load_run(con, OLD_RUN)
        assert run["kind"] == "descriptor_association"
        assert run_table.load_runs(con, "meaning").empty
        assert run_table.latest_run(con, "descriptor_association") == OLD_RUN
        # Lineage goes by the stored kind; the id keeps its old prefix.
        assert run_table.find_ancestor(con, OLD_RUN, "descriptor_association") == OLD_RUN
        assert run_table.ancestor(con, OLD_RUN, "dissect") == "dissect-000000000002"
        frame = unit_table.load_descriptor_associations(con, OLD_RUN)
        assert frame[["unit", "descriptor", "positives"]].values.tolist() == [
            [3, "margin: spiculated", 12],
            [4, "finding", 0],
        ]
        assert unit_table.load_measured_descriptors(con, OLD_RUN) == ["margin: spiculated"]
        tables = {row[0] for row in con.execute("SHOW TABLES").fetchall()}
    assert "descriptor_associations" in tables and "meanings" not in tables


def test_writer_migrates_too(old_study: Path) -> None:
    with store.write(old_study) as con:
        run_table.append_log(con, "t", "after")
        assert run_table.load_run(con, OLD_RUN)["kind"] == "descriptor_association"
    assert schema_version(old_study) == SCHEMA_VERSION


def test_killed_migration_leaves_the_old_store(old_study: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", KILLED_BEFORE_COMMIT, str(old_study)], check=False
    )
    assert process.returncode == -9
    assert schema_version(old_study) == 7
    con = duckdb.connect(str(old_study / STORE_NAME))
    assert con.execute("SELECT count(*) FROM meanings").fetchone()[0] == 2
    assert con.execute("SELECT kind FROM runs WHERE run = ?", [OLD_RUN]).fetchone()[0] == "meaning"
    con.close()
    with store.read(old_study) as con:  # the next access migrates
        assert len(unit_table.load_descriptor_associations(con, OLD_RUN)) == 2


@pytest.mark.parametrize("exclusive", [True, False])
def test_store_in_use_is_not_migrated(
    old_study: Path, exclusive: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.store.connection.LOCK_TIMEOUT_S", 0.2)
    with (
        store_lock(old_study, exclusive=exclusive, timeout_s=1),
        pytest.raises(
            store.StoreLockedError, match="cannot be brought up to date while it is in use.*is busy"
        ),
    ):
        store.create(old_study)
    assert schema_version(old_study) == 7


def test_store_open_in_another_program_is_not_migrated(old_study: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD_DATABASE, str(old_study / STORE_NAME)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "in\n"
        for connect in (store.read, store.write):
            with (
                pytest.raises(store.StoreLockedError, match="is open in another program"),
                connect(old_study),
            ):
                pass
    finally:
        holder.kill()
        holder.communicate()
    assert schema_version(old_study) == 7


def test_run_folder_of_an_older_version_is_registered(empty: Path) -> None:
    folder = empty / "runs" / OLD_RUN
    (folder / "tables").mkdir(parents=True)
    pd.DataFrame(
        {
            "unit": [3],
            "descriptor": ["finding"],
            "contrast": ["all"],
            "iou": [0.1],
            "positives": [1],
            "patients": [1],
        }
    ).to_parquet(folder / "tables" / "meanings.parquet")
    manifest = {
        "run": OLD_RUN,
        "kind": "meaning",
        "settings": {},
        "parents": [],
        "made": "2026-11-20T10:00:00",
        "seconds": 1.0,
    }
    with store.write(empty) as con:
        run_table.register_run(con, folder, manifest)
    with store.read(empty) as con:
        assert run_table.latest_run(con, "descriptor_association") == OLD_RUN
        assert len(unit_table.load_descriptor_associations(con, OLD_RUN)) == 1

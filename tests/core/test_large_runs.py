"""Large tables are stored in slices: short transactions, and no half of a run is ever visible."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from core import runs, store
from core.errors import MissingRunError, UserError
from core.store import dataset_table, run_table, withdrawal
from core.study_folder import create_study

ROWS = 8
REQUEST: tuple[Any, ...] = ("patches", 1, {"a": 1}, [], "data")


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a study whose transactions take three rows."""
    monkeypatch.setattr(run_table, "SLICE_ROWS", 3)
    return create_study(tmp_path / "study")


@pytest.fixture
def appended(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Record the number of stored rows after each slice, before its transaction ends."""
    counts: list[int] = []

    def append_and_count(con: Any, *given: Any) -> None:
        append(con, *given)
        counts.extend(con.execute("SELECT count(*) FROM splits").fetchone())

    append = run_table.append_slice
    monkeypatch.setattr(run_table, "append_slice", append_and_count)
    yield counts


def build(study: Path) -> str:
    with runs.create_run(study, *REQUEST) as run:
        patients = [f"p{number}" for number in range(ROWS)]
        run.add_table("splits", pd.DataFrame({"patient_id": patients, "split": "train"}))
    return run.name


def stored_patients(study: Path) -> list[str]:
    """Return the patients of all rows, whatever their run, in the order of the rows."""
    with store.read(study) as con:
        rows = con.execute("SELECT patient_id FROM splits ORDER BY rowid").fetchall()
    return [row[0] for row in rows]


def interrupt(study: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> Path:
    """Build a run whose process ends after some slices; return its folder."""

    def append_or_end(*given: Any) -> None:
        if len(calls) == after:
            raise KeyboardInterrupt
        calls.append(given)
        append(*given)

    calls: list[Any] = []
    append = run_table.append_slice
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(run_table, "append_slice", append_or_end)
        build(study)
    (folder,) = (study / "runs").iterdir()
    return folder


def test_rows_are_stored_in_slices(study: Path, appended: list[int]) -> None:
    name = build(study)
    # The last two rows enter together with the row of the run.
    assert appended == [3, 6]
    assert stored_patients(study) == [f"p{number}" for number in range(ROWS)]
    with store.read(study) as con:
        assert len(dataset_table.load_splits(con, name)) == ROWS


def test_tables_of_one_slice_need_no_transaction_before_the_last(
    study: Path, monkeypatch: pytest.MonkeyPatch, appended: list[int]
) -> None:
    monkeypatch.setattr(run_table, "SLICE_ROWS", ROWS)
    build(study)
    assert appended == [] and len(stored_patients(study)) == ROWS


@pytest.mark.parametrize("after", [0, 1])
def test_interrupted_run_is_invisible_and_is_completed(
    study: Path, monkeypatch: pytest.MonkeyPatch, appended: list[int], after: int
) -> None:
    folder = interrupt(study, monkeypatch, after)
    assert len(stored_patients(study)) == 3 * after
    with store.read(study) as con:
        assert len(run_table.load_runs(con)) == 0
        with pytest.raises(MissingRunError):
            run_table.load_run(con, folder.name)
    appended.clear()
    assert runs.register_orphans(study) == [folder.name]
    # The rows of the first attempt have been removed.
    assert appended == [3, 6]
    assert stored_patients(study) == [f"p{number}" for number in range(ROWS)]
    assert runs.register_orphans(study) == []


def test_patient_is_withdrawn_while_a_run_is_being_stored(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupt(study, monkeypatch, after=1)
    with store.write(study) as con:
        con.execute(
            "INSERT INTO patients BY NAME SELECT 'p1' AS patient_id, 's' AS source_id,"
            " '{}' AS features"
        )
        con.execute("INSERT INTO top_patches SELECT ?, 'last', 0, 0, 1, 1.0, 0, 0", [folder.name])
        removed = withdrawal.withdraw_patient(con, "p1", "a person").removed
    assert removed == {"splits": 1, "patients": 1}


def test_run_that_another_process_registers_is_left_to_it(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = interrupt(study, monkeypatch, after=1)
    with (folder / ".building").open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert runs.register_orphans(study) == []
        with pytest.raises(UserError, match="being built by another process"):
            build(study)
        assert len(stored_patients(study)) == 3
    assert runs.register_orphans(study) == [folder.name]


def test_run_that_was_registered_meanwhile_stays(study: Path, appended: list[int]) -> None:
    name = build(study)
    appended.clear()
    runs._register(study, study / "runs" / name)
    assert appended == [] and len(stored_patients(study)) == ROWS
    with store.write(study) as con:
        run_table.remove_slices(con, name, [run_table.TableSlice("splits", study, 0, 3)])
    assert len(stored_patients(study)) == ROWS


@pytest.mark.parametrize("is_locked", [False, True])
def test_same_run_of_two_processes_is_stored_once(study: Path, is_locked: bool) -> None:
    """The other process was faster: its run is complete, or is being registered at this moment."""
    name = build(study)
    folder = study / "runs" / name
    with store.write(study) as con:
        for table in ("runs", "splits"):
            con.execute(f"DELETE FROM {table}")
    hidden = folder.rename(study / "hidden")
    with (hidden / ".building").open("r+") as lock:
        if is_locked:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(UserError, match="being built by another process"):
                build_beside(study, hidden, folder)
            assert stored_patients(study) == []
        else:
            build_beside(study, hidden, folder)
            assert len(stored_patients(study)) == ROWS
    assert [path.name for path in (study / "runs").iterdir()] == [name]


def build_beside(study: Path, hidden: Path, folder: Path) -> None:
    """Build a run that appears as the folder of another process meanwhile."""
    with runs.create_run(study, *REQUEST) as run:
        run.add_table("splits", pd.DataFrame({"patient_id": ["other"], "split": "train"}))
        hidden.rename(folder)

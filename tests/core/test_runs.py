"""Runs: named by content, built out of sight, registered whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from core import runs, store
from core.errors import UserError
from core.store import dataset_table, run_table
from core.study_folder import init


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return init(tmp_path / "study")


def build(study: Path, settings: dict | None = None, rows: int = 2) -> str:
    with runs.building(study, "patches", 1, settings or {"a": 1}, [], "data") as run:
        run.table(
            "splits", pd.DataFrame({"patient_id": [f"p{i}" for i in range(rows)], "split": "train"})
        )
    return run.name


def splits(study: Path, run: str) -> int:
    with store.read(study) as con:
        return len(dataset_table.splits(con, run))


def test_the_same_request_is_answered_from_what_is_there(study: Path) -> None:
    name = build(study)
    with pytest.raises(runs.Answered) as found:
        build(study)
    assert found.value.name == name
    assert splits(study, name) == 2


# Makes three runs in a row, then asks for the second one again.
IN_A_ROW = """
import sys
from pathlib import Path
from core import runs, store
from core.store import runs as table
from core.study_folder import init

study = init(Path(sys.argv[1]))
def ask(number):
    try:
        with runs.building(study, "patches", 1, {"a": number}, [], "data") as run:
            return run.name
    except runs.Answered as found:
        return found.name
def latest():
    with store.read(study) as con:
        return table.latest(con, "patches")
for number in (1, 2, 3, 2, 1, 3):
    assert ask(number) == latest(), number
"""


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_the_run_asked_for_last_is_the_current_one_in_every_time_zone_and_within_one_second(
    zone: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IN_A_ROW, str(tmp_path / "study")],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_ingredient_changes_the_name() -> None:
    base = ("train", 1, {"x": 1, "y": [1, 2]}, ["p"], "d")
    others = [
        ("train", 2, *base[2:]),
        ("evaluate", *base[1:]),
        (*base[:2], {"x": 1, "y": [2, 1]}, *base[3:]),
        (*base[:3], ["q"], "d"),
        (*base[:4], "e"),
    ]
    assert len({runs.run_name(*request) for request in (base, *others)}) == 6
    assert runs.run_name(*base) == runs.run_name("train", 1, {"y": [1, 2], "x": 1}, ["p"], "d")


def test_a_failed_step_leaves_nothing_visible_but_its_sentence(study: Path) -> None:
    with pytest.raises(UserError), runs.building(study, "patches", 1, {}, [], "d") as run:
        run.table("splits", pd.DataFrame({"patient_id": ["p"], "split": "train"}))
        raise UserError("the disk is on fire; extinguish it.")
    with store.read(study) as con:
        assert not len(run_table.runs(con))
    (unfinished,) = runs.unfinished(study)
    assert (unfinished["state"], unfinished["message"]) == (
        "failed",
        "the disk is on fire; extinguish it.",
    )
    assert build(study, {})


def test_a_full_disk_says_what_to_do(study: Path) -> None:
    with pytest.raises(OSError), runs.building(study, "patches", 1, {}, [], "d"):
        raise OSError(28, "No space left on device")
    assert "free some space" in runs.unfinished(study)[0]["message"]


def test_a_file_that_may_not_be_written_is_named(study: Path) -> None:
    refused = PermissionError(13, "Permission denied", "films/a.npy")
    assert (
        runs.explain(refused, study)
        == "films/a.npy: permission denied; check its permissions and its disk, then run the"
        " command again."
    )
    assert runs.explain(KeyError("x"), study) == "KeyError: 'x'"


def test_a_run_renamed_but_not_registered_is_registered_by_the_next_command(study: Path) -> None:
    name = build(study)
    with store.write(study) as con:  # as if the process had died between rename and registration
        con.execute("DELETE FROM runs WHERE run = ?", [name])
        con.execute("DELETE FROM splits WHERE run = ?", [name])
    assert runs.register_orphans(study) == [name]
    assert splits(study, name) == 2
    assert runs.register_orphans(study) == []


def test_two_processes_cannot_build_the_same_run(study: Path) -> None:
    with runs.building(study, "patches", 1, {"a": 1}, [], "data") as run:
        with pytest.raises(UserError, match="being made by another process"):
            build(study)
        run.table("splits", pd.DataFrame({"patient_id": ["p"], "split": "train"}))
    assert splits(study, run.name) == 1


def test_a_dead_process_is_shown_as_interrupted(study: Path) -> None:
    folder = study / "runs" / "train-0123456789ab.partial"
    folder.mkdir(parents=True)
    body = {
        "state": "running",
        "message": "",
        "pid": 2**22 + 1,
        "command": "deepminer train",
        "done": 1,
        "total": 2,
        "unit": "steps",
        "started": 0.0,
        "seen": 0.0,
    }
    (folder / "progress.json").write_text(json.dumps(body))
    assert runs.unfinished(study)[0]["state"] == "interrupted"


def test_manifest_says_where_everything_comes_from(study: Path) -> None:
    manifest = json.loads((study / "runs" / build(study) / "manifest.json").read_text())
    assert manifest["settings"] == {"a": 1} and manifest["inputs"] == "data"
    assert {"deepminer", "torch", "duckdb", "python"} <= set(manifest["software"])


def test_a_missing_run_folder_is_a_sentence(study: Path) -> None:
    name = build(study)
    shutil.rmtree(study / "runs" / name)
    with pytest.raises(UserError, match="is missing"):
        runs.folder(study, name)

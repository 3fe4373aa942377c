"""Runs: named by content, invisible until complete, registered in one transaction."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import runs, store
from core.errors import MissingRunError, UserError
from core.store import dataset_table, run_table
from core.study_folder import create_study


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return create_study(tmp_path / "study")


def build(study: Path, settings: dict | None = None, rows: int = 2) -> str:
    with runs.create_run(study, "patches", 1, settings or {"a": 1}, [], "data") as run:
        run.add_table(
            "splits", pd.DataFrame({"patient_id": [f"p{i}" for i in range(rows)], "split": "train"})
        )
    return run.name


def splits(study: Path, run: str) -> int:
    with store.read(study) as con:
        return len(dataset_table.load_splits(con, run))


def test_repeated_request_reuses_run(study: Path) -> None:
    name = build(study)
    with pytest.raises(runs.RunExists) as existing:
        build(study)
    assert existing.value.name == name
    assert splits(study, name) == 2


# Creates three runs, then requests them again in another order.
REPEATED_REQUESTS = """
import sys
from pathlib import Path
from core import runs, store
from core.store import run_table
from core.study_folder import create_study

study = create_study(Path(sys.argv[1]))
def request(number):
    try:
        with runs.create_run(study, "patches", 1, {"a": number}, [], "data") as run:
            return run.name
    except runs.RunExists as existing:
        return existing.name
def latest():
    with store.read(study) as con:
        return run_table.latest_run(con, "patches")
for number in (1, 2, 3, 2, 1, 3):
    assert request(number) == latest(), number
"""


@pytest.mark.parametrize("zone", ["UTC", "America/Los_Angeles", "Asia/Tokyo"])
def test_last_requested_run_is_latest(zone: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPEATED_REQUESTS, str(tmp_path / "study")],
        env={**os.environ, "TZ": zone},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_every_part_of_request_changes_name() -> None:
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


def test_failed_step_keeps_only_its_message(study: Path) -> None:
    with pytest.raises(UserError), runs.create_run(study, "patches", 1, {}, [], "d") as run:
        run.add_table("splits", pd.DataFrame({"patient_id": ["p"], "split": "train"}))
        raise UserError("the file is damaged; restore it.")
    with store.read(study) as con:
        assert not len(run_table.load_runs(con))
    (unfinished,) = runs.unfinished_runs(study)
    assert (unfinished["state"], unfinished["message"]) == (
        "failed",
        "the file is damaged; restore it.",
    )
    assert build(study, {})


def test_full_disk_message(study: Path) -> None:
    with pytest.raises(OSError), runs.create_run(study, "patches", 1, {}, [], "d"):
        raise OSError(28, "No space left on device")
    assert "free some space" in runs.unfinished_runs(study)[0]["message"]


def test_unwritable_file_message(study: Path) -> None:
    error = PermissionError(13, "Permission denied", "images/a.npy")
    assert (
        runs.format_error(error, study)
        == "images/a.npy: permission denied; check its permissions and its disk, then run the"
        " command again."
    )
    assert runs.format_error(KeyError("x"), study) == "KeyError: 'x'"


def test_orphan_is_registered_once(study: Path) -> None:
    name = build(study)
    with store.write(study) as con:  # as if the process had died between rename and registration
        con.execute("DELETE FROM runs WHERE run = ?", [name])
        con.execute("DELETE FROM splits WHERE run = ?", [name])
    assert runs.register_orphans(study) == [name]
    assert splits(study, name) == 2
    assert runs.register_orphans(study) == []


def test_run_is_locked_while_built(study: Path) -> None:
    with runs.create_run(study, "patches", 1, {"a": 1}, [], "data") as run:
        with pytest.raises(UserError, match="being built by another process"):
            build(study)
        run.add_table("splits", pd.DataFrame({"patient_id": ["p"], "split": "train"}))
    assert splits(study, run.name) == 1


def test_dead_process_is_interrupted(study: Path) -> None:
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
    assert runs.unfinished_runs(study)[0]["state"] == "interrupted"


def test_manifest(study: Path) -> None:
    manifest = json.loads((study / "runs" / build(study) / "manifest.json").read_text())
    assert manifest["settings"] == {"a": 1} and manifest["inputs"] == "data"
    assert {"deepminer", "torch", "duckdb", "python"} <= set(manifest["software"])


def test_missing_run_folder(study: Path) -> None:
    name = build(study)
    shutil.rmtree(study / "runs" / name)
    with pytest.raises(MissingRunError, match="is missing"):
        runs.run_folder(study, name)


def test_progress_file_holds_every_field(tmp_path: Path) -> None:
    progress = runs.ProgressFile(path=tmp_path / "p.json", command="deepminer train", started=12.5)
    progress.update(3, 7, "steps")
    progress.write("failed", "The disk is full.")
    body = json.loads(progress.path.read_text())
    assert body.pop("seen") > 12.5 and body.pop("pid") == os.getpid()
    assert body == {
        "state": "failed",
        "message": "The disk is full.",
        "command": "deepminer train",
        "done": 3,
        "total": 7,
        "unit": "steps",
        "started": 12.5,
    }


def test_progress_is_written_at_intervals_and_at_the_end(tmp_path: Path) -> None:
    progress = runs.ProgressFile(path=tmp_path / "p.json", command="train")

    def written(done: int) -> int:
        progress.update(done, 3, "steps")
        return int(json.loads(progress.path.read_text())["done"])

    assert [written(done) for done in (1, 2, 3)] == [1, 1, 3]


def test_command_of_a_run_is_recorded_without_folders(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program, name in (
        ("/env/bin/deepminer", "deepminer"),
        ("scripts/run_all.py", "run_all.py"),
        ("/a/dashboard/cli.py", "deepminer"),
    ):
        monkeypatch.setattr(sys, "argv", [program, "patches", "--study", "/data/a"])
        assert runs._command() == f"{name} patches --study /data/a"
    manifest = json.loads((study / "runs" / build(study) / "manifest.json").read_text())
    assert manifest["command"] == "deepminer patches --study /data/a"


def test_lock_of_a_run_ends_with_its_block(study: Path) -> None:
    name = build(study)
    with pytest.raises(ValueError, match="stop"), runs.create_run(study, "a", 1, {}, [], "") as run:
        raise ValueError("stop")
    for folder in (name, f"{run.name}.partial"):
        with (study / "runs" / folder / ".building").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_unfinished_runs_begin_with_the_latest(study: Path) -> None:
    for name, seen in (("train-1", 5.0), ("two-part-2", 9.0), ("train-3", 7.0)):
        folder = study / "runs" / f"{name}.partial"
        folder.mkdir(parents=True)
        body = {"state": "running", "pid": os.getpid(), "seen": seen}
        (folder / "progress.json").write_text(json.dumps(body))
    (study / "runs" / "x-4.partial").mkdir()
    (study / "runs" / "x-4.partial" / "progress.json").write_text("{")
    found = runs.unfinished_runs(study)
    assert [(row["run"], row["kind"], row["state"]) for row in found] == [
        ("two-part-2", "two-part", "running"),
        ("train-3", "train", "running"),
        ("train-1", "train", "running"),
    ]


def test_files_and_entries_of_a_run(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int, str]] = []
    with runs.create_run(study, "patches", 3, {"b": 2}, ["p", "q"], "data") as run:
        run.save_array("a.npy", np.arange(3))
        (run.folder / "resume.pt").touch()
        run.track_progress(lambda *c: calls.append(c))(2, 2, "films")
        run.manifest["own"] = 5
        monkeypatch.setenv("RANK", "1")
        run.save_array("b.npy", np.arange(3))
        run.add_table("splits", pd.DataFrame())
        run.track_progress(lambda *c: calls.append(c))(9, 9, "steps")
        monkeypatch.delenv("RANK")
        progress = json.loads((run.folder / "progress.json").read_text())
        assert (progress["state"], progress["total"], progress["unit"]) == ("running", 2, "films")
    assert calls == [(2, 2, "films")]
    folder = runs.run_folder(study, run.name)
    assert sorted(path.name for path in folder.iterdir()) == [".building", "a.npy", "manifest.json"]
    assert np.load(folder / "a.npy").tolist() == [0, 1, 2]
    manifest = json.loads((folder / "manifest.json").read_text())
    stated = {
        "run": run.name, "kind": "patches", "version": 3, "settings": {"b": 2},
        "parents": ["p", "q"], "inputs": "data", "own": 5, "software": runs.software_versions(),
    }  # fmt: skip
    assert {key: manifest[key] for key in stated} == stated
    assert manifest["seconds"] >= 0 and run.name == runs.run_name(
        "patches", 3, {"b": 2}, ["p", "q"], "data"
    )
    with pytest.raises(UserError, match=r"none\.txt is missing; repeat the step"):
        runs.file_hash(study / "none.txt")


def test_interruption_by_hand_is_stated(study: Path) -> None:
    with pytest.raises(KeyboardInterrupt), runs.create_run(study, "a", 1, {}, [], ""):
        raise KeyboardInterrupt
    (row,) = runs.unfinished_runs(study)
    assert (row["state"], row["message"]) == ("failed", "stopped by hand")

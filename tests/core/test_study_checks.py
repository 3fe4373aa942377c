"""Checks of a study: every outcome, good and not, with its sentence."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from core import runs, store, study_checks
from core.study_folder import create_study

MADE = "TIMESTAMP '2026-01-02 03:04:05'"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return create_study(tmp_path / "study")


def outcomes(study: Path) -> dict[str, tuple[bool, str]]:
    return {c.check: (c.good, c.finding) for c in study_checks.check_study(study)}


def test_a_new_study(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_checks, "file_system", lambda _: "ext4")
    disk = SimpleNamespace(free=3.26 * 2**30)
    monkeypatch.setattr(study_checks.shutil, "disk_usage", lambda _: disk)
    found = outcomes(study)
    versions = runs.software_versions()
    assert list(found) == [
        *("settings", "disk", "space", "working images", "run folders", "checkpoints"),
        *("evidence", "keys of site bundles", "machine"),
    ]
    assert found["settings"] == (True, "study.toml is valid")
    assert found["disk"] == (True, "the study lies on ext4; locks need a local disk")
    assert found["space"] == (True, "3.3 GiB free")
    assert found["working images"] == (True, "0 missing")
    assert found["run folders"] == (True, "0 of 0 missing")
    assert found["checkpoints"] == (True, "0 changed since training")
    good, finding = found["evidence"]
    assert good and finding.endswith(" records, 0 broken")
    assert found["keys of site bundles"] == (True, "0 of 0 missing")
    assert found["machine"] == (
        True,
        f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, torch {versions['torch']},"
        f" duckdb {versions['duckdb']}, streamlit {versions['streamlit']}",
    )


@pytest.mark.parametrize(("free", "good"), [(2**30, False), (2**30 + 2**20, True), (2**29, False)])
def test_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, good: bool) -> None:
    disk = SimpleNamespace(free=free)
    monkeypatch.setattr(study_checks.shutil, "disk_usage", lambda _: disk)
    _, space = study_checks._disk_checks(tmp_path)
    assert space.good is good


@pytest.mark.parametrize(
    ("kind", "good", "name"),
    [("nfs4", False, "nfs4"), ("", True, "an unnamed file system"), ("xfs", True, "xfs")],
)
def test_kind_of_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, good: bool, name: str
) -> None:
    monkeypatch.setattr(study_checks, "file_system", lambda _: kind)
    disk, _ = study_checks._disk_checks(tmp_path)
    assert (disk.good, disk.finding) == (good, f"the study lies on {name}; locks need a local disk")


MOUNTS = """\
overlay / overlay rw 0 0
/dev/sda1 /data ext4 rw 0 0
server:/x /data/shared nfs4 rw 0 0
tmpfs /data/shared tmpfs rw 0 0
/dev/sdb /data2 xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/a", "overlay"),
        ("/data", "ext4"),
        ("/data/study", "ext4"),
        ("/data/shared/study", "tmpfs"),
        ("/data2", "xfs"),
        ("/data23", "overlay"),
    ],
)
def test_innermost_mount_counts(monkeypatch: pytest.MonkeyPatch, path: str, kind: str) -> None:
    class Mounts:
        exists = staticmethod(lambda: True)
        read_text = staticmethod(lambda: MOUNTS)

    monkeypatch.setattr(study_checks, "Path", lambda _: Mounts())
    assert study_checks.file_system(Path(path)) == kind
    monkeypatch.setattr(Mounts, "exists", staticmethod(lambda: False))
    assert study_checks.file_system(Path(path)) == ""


def test_missing_images_and_run_folders(tmp_path: Path) -> None:
    for name in ("images/a.npy", "runs/train-1/manifest.json", "runs/train-2/other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    images = study_checks._image_check(tmp_path, ["b", "a", "c"])
    assert (images.good, images.finding) == (False, "2 missing, such as b")
    folders = study_checks._run_folder_check(tmp_path, ["train-1", "train-2", "train-3"])
    assert (folders.good, folders.finding) == (False, "2 of 3 missing: train-2")
    keys = [tmp_path / "images" / "a.npy", tmp_path / "k"]
    key = study_checks._key_check(keys)
    assert not key.good and key.finding == (
        f"1 of 2 missing: {tmp_path / 'k'}; copy it from the folder of keys beside a backup"
    )


def test_changed_checkpoints(tmp_path: Path) -> None:
    rows = []
    for name, kind, stored in (
        ("train-1", "train", "as it was"),
        ("train-2", "train", "changed"),
        ("train-3", "train", None),
        ("dissect-4", "dissect", None),
    ):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        (folder / "w.pt").write_text("as it was")
        digest = runs.file_hash(folder / "w.pt")
        (folder / "w.pt").unlink()
        if stored is not None:
            (folder / "w.pt").write_text(stored)
        manifest = {"weights": "w.pt", "checkpoint": digest}
        rows.append({"run": name, "kind": kind, "manifest": manifest})
    check = study_checks._checkpoint_check(tmp_path, pd.DataFrame(rows))
    assert (check.good, check.finding) == (False, "2 changed since training: train-2")
    check = study_checks._checkpoint_check(tmp_path, pd.DataFrame(rows[::3]))
    assert (check.good, check.finding) == (True, "0 changed since training")


def test_broken_chain(monkeypatch: pytest.MonkeyPatch, study: Path) -> None:
    with store.write(study) as con:
        con.execute("INSERT INTO log SELECT now()::TIMESTAMP, 'x', 'forged', 'row'")
    good, finding = outcomes(study)["evidence"]
    assert not good and " broken: " in finding and finding.endswith("`deepminer verify` lists all")
    result = SimpleNamespace(records=7, faults=[1, 2], valid=False, reason="a row is gone")
    check = study_checks._evidence_check(result)  # type: ignore[arg-type]
    assert (check.check, check.good) == ("evidence", False)
    assert check.finding == "7 records, 2 broken: a row is gone; `deepminer verify` lists all"


def test_runs_of_the_store_are_checked(study: Path) -> None:
    with store.write(study) as con:
        con.execute(
            f"INSERT INTO runs VALUES ('patches-1', 'patches', '{{}}', '[]', ?, {MADE}, 1.0)",
            [json.dumps({})],
        )
    found = outcomes(study)
    assert found["run folders"] == (False, "1 of 1 missing: patches-1")

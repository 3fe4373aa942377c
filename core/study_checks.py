"""Integrity checks of a study: settings, disk, working images, run folders and checkpoints."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core import runs, settings, store
from core.store import dataset_table, evidence, run_table
from core.store.key_files import decryption_key_path, signing_key_path
from core.store.reading import bundle_table

# File locks are reliable on these; network file systems emulate or ignore them.
LOCAL_FILE_SYSTEMS = (
    "ext2",
    "ext3",
    "ext4",
    "xfs",
    "btrfs",
    "zfs",
    "overlay",
    "tmpfs",
    "apfs",
    "hfs",
    "f2fs",
)
MIN_FREE_GIB = 1
GIB = 2**30
_REPORTED = ("torch", "duckdb", "streamlit")


@dataclass(frozen=True)
class StudyCheck:
    """The outcome of one check; `good` is False if the study needs attention."""

    check: str
    good: bool
    finding: str


def check_study(study: Path) -> list[StudyCheck]:
    """Run all checks. UserError if study.toml is not valid."""
    settings.load_settings(study)
    with store.read(study) as con:
        run_rows, mammograms = run_table.load_runs(con), dataset_table.load_mammograms(con)
        verification = evidence.verify_chain(con)
        issued, is_bundle = bundle_table.bundle_exports(con), bundle_table.bundle_identity(con)
    keys = [decryption_key_path(study, bundle) for bundle in issued]
    keys += [signing_key_path(study)] if is_bundle else []
    return [
        StudyCheck("settings", True, "study.toml is valid"),
        *_disk_checks(study),
        _image_check(study, list(mammograms["file"])),
        _run_folder_check(study, list(run_rows["run"])),
        _checkpoint_check(study, run_rows),
        _evidence_check(verification),
        _key_check(keys),
        _machine_check(),
    ]


def file_system(path: Path) -> str:
    """Return the type of the file system that holds a path, or "" where it is unknown."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return ""
    best, kind = "", ""
    for line in mounts.read_text().splitlines():
        mount_point, name = line.split()[1:3]
        # The slashes keep /data2 from counting as a part of /data.
        inside = f"{path}/".startswith(mount_point.rstrip("/") + "/")
        # The innermost mount point holds the path; of equal ones the last is mounted on top.
        if inside and len(mount_point) >= len(best):
            best, kind = mount_point, name
    return kind


def _disk_checks(study: Path) -> list[StudyCheck]:
    kind, free_gib = file_system(study), shutil.disk_usage(study).free / GIB
    name = kind or "an unnamed file system"
    return [
        StudyCheck(
            "disk",
            not kind or kind in LOCAL_FILE_SYSTEMS,
            f"the study lies on {name}; locks need a local disk",
        ),
        StudyCheck("space", free_gib > MIN_FREE_GIB, f"{free_gib:.1f} GiB free"),
    ]


def _image_check(study: Path, files: Sequence[str]) -> StudyCheck:
    missing = [file for file in files if not (study / "images" / f"{file}.npy").is_file()]
    example = f", such as {missing[0]}" if missing else ""
    return StudyCheck("working images", not missing, f"{len(missing)} missing{example}")


def _run_folder_check(study: Path, names: Sequence[str]) -> StudyCheck:
    missing = [run for run in names if not (study / "runs" / run / "manifest.json").is_file()]
    example = f": {missing[0]}" if missing else ""
    finding = f"{len(missing)} of {len(names)} missing{example}"
    return StudyCheck("run folders", not missing, finding)


def _checkpoint_check(study: Path, run_rows: pd.DataFrame) -> StudyCheck:
    changed = [
        row["run"]
        for row in run_rows[run_rows["kind"] == "train"].to_dict("records")
        if not _is_unchanged(study, row)
    ]
    example = f": {changed[0]}" if changed else ""
    finding = f"{len(changed)} changed since training{example}"
    return StudyCheck("checkpoints", not changed, finding)


def _is_unchanged(study: Path, row: dict[str, Any]) -> bool:
    manifest = row["manifest"]
    checkpoint = study / "runs" / row["run"] / manifest["weights"]
    return checkpoint.is_file() and runs.file_hash(checkpoint) == manifest["checkpoint"]


def _evidence_check(result: evidence.ChainVerification) -> StudyCheck:
    finding = f"{result.records} records, {len(result.faults)} broken"
    if not result.valid:
        finding += f": {result.reason}; `deepminer verify` lists all"
    return StudyCheck("evidence", result.valid, finding)


def _key_check(keys: Sequence[Path]) -> StudyCheck:
    missing = [key for key in keys if not key.is_file()]
    finding = f"{len(missing)} of {len(keys)} missing"
    if missing:
        finding += f": {missing[0]}; copy it from the folder of keys beside a backup"
    return StudyCheck("keys of site bundles", not missing, finding)


def _machine_check() -> StudyCheck:
    versions = runs.software_versions()
    packages = ", ".join(f"{name} {versions[name]}" for name in versions if name in _REPORTED)
    finding = f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, {packages}"
    return StudyCheck("machine", True, finding)

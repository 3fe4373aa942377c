"""Labelling in several processes: the same patches, and a sentence where a process is killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core import runs, store
from core.errors import UserError
from core.pipeline import patches
from core.pipeline.labelling import mammogram_patches
from core.store import run_table
from support.array_patches import no_progress
from support.strip_study import create_strip_study


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Make a block of each mammogram, and record how many processes each pool was given."""
    counts: list[int] = []

    def start(workers: int, *given: Any) -> Any:
        counts.append(workers)
        return pool(workers, *given)

    pool = mammogram_patches.ProcessPoolExecutor
    monkeypatch.setattr(mammogram_patches, "ProcessPoolExecutor", start)
    monkeypatch.setattr(mammogram_patches, "_BLOCK_SIZE", 1)
    yield counts


def end_process(*_: object) -> None:
    """End the process that labels a block, as the system does when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def label_strips(study: Path, workers: int) -> tuple[dict[str, bytes], list[tuple[int, int, str]]]:
    """Return the tables of a patches run on three mammograms, and its reports of progress."""
    calls: list[tuple[int, int, str]] = []
    settings = create_strip_study(study)
    result = patches.run_patch_extraction(
        study, settings, lambda *call: calls.append(call), workers=workers
    )
    tables = runs.run_folder(study, result.run) / "tables"
    return {path.name: path.read_bytes() for path in tables.iterdir()}, calls


def test_patches_do_not_depend_on_the_number_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    alone = label_strips(tmp_path / "one", workers=1)
    assert started == []
    monkeypatch.setattr(mammogram_patches, "_MIN_MAMMOGRAMS_FOR_WORKERS", 3)
    together = label_strips(tmp_path / "two", workers=2)
    assert started == [2]
    assert together == alone
    assert set(alone[0]) == {"patches.parquet", "splits.parquet"}
    assert alone[1] == [(n, 3, "mammograms") for n in (1, 2, 3)]


def test_few_mammograms_start_no_process(tmp_path: Path, started: list[int]) -> None:
    label_strips(tmp_path / "study", workers=8)
    assert started == []


def test_killed_process_leaves_the_study_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[int]
) -> None:
    study = tmp_path / "study"
    settings = create_strip_study(study)
    monkeypatch.setattr(mammogram_patches, "_MIN_MAMMOGRAMS_FOR_WORKERS", 3)
    with monkeypatch.context() as killed:
        killed.setattr(mammogram_patches, "_label_block", end_process)
        with pytest.raises(UserError, match="was killed, probably because memory ran out"):
            patches.run_patch_extraction(study, settings, no_progress, workers=2)
    assert started == [2]
    with store.read(study) as con:
        assert len(run_table.load_runs(con)) == 0
    assert patches.run_patch_extraction(study, settings, no_progress).created

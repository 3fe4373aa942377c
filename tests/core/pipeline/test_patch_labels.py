"""Labels and strata of mammograms whose truth is not known everywhere; stamps of sources."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from core import settings, store
from core.dataset.patches import PatchRule
from core.errors import UserError
from core.pipeline import patches
from core.pipeline.ingestion import staging
from core.pipeline.labelling.mammogram_patches import (
    FindingOutline,
    LabellingTask,
    label_mammogram,
)
from core.store import dataset_table
from support import synthetic_study

TISSUE = np.ones((64, 64), bool)
SQUARE = [np.array([[0.0, 0.0], [31.0, 0.0], [31.0, 31.0], [0.0, 31.0]])]


@pytest.mark.parametrize(
    ("unlocated", "image_label", "pathologies", "labels"),
    [
        (False, None, [], [0, 0, 0, 0]),
        (False, None, ["MALIGNANT"], [2, 0, 0, 0]),
        # One finding has no outline: it may lie in any patch.
        (True, None, ["MALIGNANT"], []),
        (True, None, [], []),
        (True, "BENIGN", [], []),
        (False, "BENIGN", [], [1, 1, 1, 1]),
        (False, "UNPROVEN", [], []),
        (False, "NORMAL", [], [0, 0, 0, 0]),
        # Outlines come before the label of the image.
        (False, "BENIGN", ["MALIGNANT"], [2, 0, 0, 0]),
    ],
)
def test_labels_of_a_mammogram(unlocated, image_label, pathologies, labels) -> None:
    task = LabellingTask(
        mammogram_id="m",
        file="f",
        image_label=image_label,
        unlocated=unlocated,
        findings=[FindingOutline(1, pathology, SQUARE, True) for pathology in pathologies],
    )
    images = SimpleNamespace(tissue=lambda file: TISSUE)
    result, unreached = label_mammogram(images, task, 32, PatchRule())
    assert unreached == [] and result is not None
    tiles = [
        int(label)
        for y, x, label in zip(result.y, result.x, result.label)
        if y % 32 == 0 and x % 32 == 0
    ]
    assert tiles == labels
    assert (len(result.label) == 0) == (labels == [])


def test_unproven_patients_are_a_stratum_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = synthetic_study.create_study(tmp_path / "study", protocol=False)
    truth = {1: "UNPROVEN", 2: "BENIGN", 4: "MALIGNANT", 5: "UNPROVEN", 7: "BENIGN"}
    with store.write(study) as con:
        for number, label in truth.items():
            con.execute(
                "UPDATE mammograms SET image_label = ? WHERE patient_id = ?",
                [label, f"ZQXPATIENT{number:03d}"],
            )
        # One of this patient's two mammograms is proven.
        con.execute(
            "UPDATE mammograms SET image_label = 'BENIGN' WHERE mammogram_id = 'ZQXCASE010'"
        )
        assert len(dataset_table.load_patients(con)) == 8
    seen: list[pd.DataFrame] = []
    monkeypatch.setattr(patches, "split_patients", lambda table, *_: seen.append(table) or {})
    patches._split_patients(study, settings.load_settings(study))
    strata = seen[0].set_index("id")["stratum"]
    assert [strata[f"ZQXPATIENT{number:03d}"] for number in range(8)] == [
        *("0", "-1", "1", "0"),
        *("2", "1", "0", "1"),
    ]


@dataclass
class Task:
    patient: str
    file: Path


MODULE = SimpleNamespace(task_files=lambda task: [task.file])


def test_stamp_changes_with_rows_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    stamps = [staging.task_stamp(MODULE, Task("p1", file))]
    for content, time in ((b"abc", 1), (b"abc", 2), (b"abcd", 2)):
        file.write_bytes(content)
        os.utime(file, ns=(time * 10**9, time * 10**9))
        stamps.append(staging.task_stamp(MODULE, Task("p1", file)))
        assert staging.task_stamp(MODULE, Task("p1", file)) == stamps[-1]
    stamps.append(staging.task_stamp(MODULE, Task("p2", file)))
    assert len(set(stamps)) == len(stamps) == 5


@pytest.mark.parametrize(
    ("error", "is_left_out"),
    [(UserError("row 3: no such file"), True), (OSError(28, "No space left on device"), False)],
)
def test_only_faults_of_the_source_leave_a_patient_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, is_left_out: bool
) -> None:
    task = Task("p1", tmp_path / "a.png")
    # A new iterator for each call.
    monkeypatch.setattr(staging, "staging_outcomes", lambda *_: iter([(task, error)]))
    module = SimpleNamespace(__name__="source", task_files=MODULE.task_files)

    def stage(skip_bad: bool):
        options = {"workers": 1, "skip_bad": skip_bad, "report": lambda *_: None}
        return staging.stage_patients(module, [task], tmp_path, 64, **options)

    with pytest.raises(type(error)):
        stage(skip_bad=False)
    if is_left_out:
        (problem,) = stage(skip_bad=True)
        assert (problem.item, problem.cause, problem.skipped) == ("p1", str(error), True)
    else:
        # A full disk is no fault of the patient, who would silently be missing.
        with pytest.raises(OSError, match="No space"):
            stage(skip_bad=True)


@pytest.mark.parametrize(
    ("tasks", "workers", "in_this_process"),
    [(9, 1, True), (3, 8, True), (0, 1, True), (4, 2, False)],
)
def test_small_ingestions_start_no_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tasks: int, workers: int, in_this_process: bool
) -> None:
    started: list[int] = []

    def start(count: int, *_: object, **__: object) -> None:
        started.append(count)
        raise InterruptedError

    monkeypatch.setattr(staging, "ProcessPoolExecutor", start)
    monkeypatch.setattr(staging, "_outcomes_in_this_process", lambda *given: [len(given[1])])
    outcomes = staging.staging_outcomes("source", [(None, "")] * tasks, tmp_path, 64, workers)
    if in_this_process:
        assert list(outcomes) == [tasks] and started == []
    else:
        with pytest.raises(InterruptedError):
            list(outcomes)
        assert started == [workers]

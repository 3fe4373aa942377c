"""Parts of core around processes: groups, memory, clocks, intervals of saving, new studies."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn

from core import distributed, networks, process_memory, runs, timestamps, training
from core.errors import DiskFullError, MissingStudyError, RequestRefused, UserError
from core.settings import (
    NEW_STUDY_PRESET,
    SETTINGS_NAME,
    TrainingSettings,
    load_settings,
    settings_from_preset,
)
from core.study_folder import create_study, require_study
from support.array_patches import ArrayPatches, no_progress


@pytest.fixture
def two_processes(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """The second of two processes, whose group only records what it is asked."""
    calls: dict[str, list] = {"init": [], "exit": [], "destroyed": [], "reduced": []}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(distributed, "_solo_depth", 0)
    monkeypatch.setattr(dist, "is_initialized", lambda: bool(calls["init"]))
    monkeypatch.setattr(dist, "init_process_group", lambda *a, **k: calls["init"].append((a, k)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls["destroyed"].append(1))
    monkeypatch.setattr(distributed.atexit, "register", calls["exit"].append)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return calls


def test_a_group_is_made_once(two_processes: dict[str, list]) -> None:
    distributed.ensure_process_group()
    distributed.ensure_process_group()
    assert two_processes["init"] == [(("gloo",), {"timeout": timedelta(hours=2)})]
    assert two_processes["exit"] == [distributed.shutdown]
    distributed.shutdown()
    assert two_processes["destroyed"] == [1] and distributed.world_size() == 1
    distributed.shutdown()
    assert two_processes["destroyed"] == [1]


def test_a_group_on_gpus(two_processes: dict[str, list], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    distributed.ensure_process_group()
    assert two_processes["init"][0][0] == ("cpu:gloo,cuda:nccl",)


def test_a_group_that_does_not_connect(
    two_processes: dict[str, list], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("no port\nmore")

    monkeypatch.setattr(dist, "init_process_group", fail)
    with pytest.raises(UserError, match=r"cannot connect to each other \(no port\); start"):
        distributed.ensure_process_group()
    assert two_processes["exit"] == []
    # Without a group there is nothing to destroy.
    distributed.shutdown()
    assert two_processes["destroyed"] == [] and distributed.world_size() == 1


def test_one_process_needs_no_group(
    two_processes: dict[str, list], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    distributed.ensure_process_group()
    tensor, network = torch.ones(2), nn.Identity()
    distributed.all_reduce_mean([tensor])
    assert distributed.wrap_ddp(network) is network and tensor.tolist() == [1, 1]
    assert two_processes["init"] == []
    distributed.shutdown()
    assert distributed._solo_depth == 0


def test_work_of_the_first_process_alone(two_processes: dict[str, list]) -> None:
    seen = [distributed._run_solo(distributed.world_size)]
    seen.append(distributed._run_solo(lambda: distributed._run_solo(distributed.world_size)))
    with pytest.raises(KeyError):
        distributed._run_solo(lambda: {}["x"])
    assert seen == [1, 1] and distributed.world_size() == 2


def test_means_over_processes(
    two_processes: dict[str, list], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process with ten more at each place."""
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.mul_(2).add_(10))
    first, second = torch.tensor([1.0, 3.0]), torch.tensor([[5.0]])
    distributed.all_reduce_mean([first, second])
    assert first.tolist() == [6, 8] and second.tolist() == [[10]]


def test_a_network_of_several_processes(
    two_processes: dict[str, list], monkeypatch: pytest.MonkeyPatch
) -> None:
    wrapped: list[tuple] = []
    monkeypatch.setattr(
        nn.parallel, "DistributedDataParallel", lambda *a, **k: wrapped.append((a, k)) or "model"
    )
    network = nn.Identity()
    assert distributed.wrap_ddp(network) == "model"
    assert wrapped == [((network,), {"forward_sync_buffers": False})]
    assert len(two_processes["init"]) == 1


@pytest.mark.parametrize("rank", ["0", "1"])
def test_processes_in_other_folders(
    rank: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr(distributed, "world_size", lambda: 3)
    monkeypatch.setattr(distributed, "run_on_rank_zero", lambda work: work())
    seen: list[Any] = []

    def gather(work: Any) -> list:
        seen.append(work())
        return [(True, ["train"], "/a"), (False, ["train"], "/b"), (False, ["train"], "/c")]

    monkeypatch.setattr(distributed, "all_gather_call", gather)
    with pytest.raises(
        UserError,
        match="The study /a of the first process is another folder for process 1 ./b.,"
        " process 2 ./c.;",
    ):
        distributed.check_same_launch(tmp_path)
    assert seen == [(True, sys.argv[1:], str(tmp_path))]
    # Only the first process removes its file.
    assert len(list(tmp_path.iterdir())) == int(rank)


def test_one_process_has_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setattr(distributed, "all_gather_call", lambda _: 1 / 0)
    distributed.check_same_launch(tmp_path)


@pytest.mark.parametrize(
    ("platform", "has_function", "calls"),
    [
        # M_MMAP_THRESHOLD -3 up to 1 GiB, M_TRIM_THRESHOLD -1 never (malloc.h of glibc).
        ("linux", True, [(-3, 2**30), (-1, 2**31 - 1)]),
        ("linux", False, []),
        ("darwin", True, []),
    ],
)
def test_parameters_of_memory(
    platform: str, has_function: bool, calls: list, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []
    library = SimpleNamespace(mallopt=lambda *a: made.append(a)) if has_function else object()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(process_memory.sys, "platform", platform)
    process_memory.keep_freed_memory()
    assert made == calls


def test_times_are_those_of_utc(tmp_path: Path) -> None:
    assert timestamps.from_epoch(1_700_000_000.25) == datetime(2023, 11, 14, 22, 13, 20, 250000)
    (tmp_path / "a").touch()
    os.utime(tmp_path / "a", (5, 86_400))
    assert timestamps.modified_at(tmp_path / "a") == datetime(1970, 1, 2)
    now = timestamps.utc_now()
    assert now.tzinfo is None and abs((now - datetime(2020, 1, 1)).days) > 365


def test_errors_with_their_remedies(tmp_path: Path) -> None:
    full = runs.format_error(OSError(28, "No space left on device"), tmp_path)
    assert full == str(DiskFullError(tmp_path)) and str(tmp_path) in full
    assert (
        runs.format_error(OSError(5, "Input error"), tmp_path) == "OSError: [Errno 5] Input error"
    )
    assert runs.format_error(RequestRefused("stale", "It changed."), tmp_path) == "It changed."
    assert RequestRefused("stale", "It changed.").code == "stale"
    assert runs.RunExists("train-1").name == str(runs.RunExists("train-1")) == "train-1"


def test_names_of_runs_are_hashes_of_the_request() -> None:
    """SHA-256 of the JSON, by another program (sha256sum)."""
    assert runs.canonical_json({"b": [1, None], "a": "ü"}) == '{"a":"\\u00fc","b":[1,null]}'
    # printf '{"inputs":"d","kind":"k","parents":["p"],"settings":{},"version":2}' | sha256sum
    assert runs.run_name("k", 2, {}, ["p"], "d") == "k-4ce08f0ed0f5"


def test_progress_is_written_after_half_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(runs.time, "time", lambda: now[0])
    progress = runs.ProgressFile(path=tmp_path / "p.json", command="train")
    assert (progress.total, progress.done, progress.unit) == (0, 0, "")
    seen = []
    for at, done in ((100.0, 1), (100.5, 2), (100.75, 3), (101.25, 4), (101.26, 9), (101.27, 10)):
        now[0] = at
        progress.update(done, 9, "steps")
        body = json.loads(progress.path.read_text())
        seen.append((body["done"], body["seen"]))
    # At 100.5 and 101.25 exactly half a second has passed.
    assert seen == [(1, 100.0), (1, 100.0), (3, 100.75), (3, 100.75), (9, 101.26), (10, 101.27)]
    assert body["state"] == "running" and body["message"] == ""


def test_new_study_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = settings_from_preset(NEW_STUDY_PRESET).with_changes("training", epochs=77)
    study = create_study(tmp_path / "a" / "study", own)
    assert {path.name for path in study.iterdir()} >= {
        *("images", "runs", "exports", SETTINGS_NAME, "study.duckdb", "consent.md"),
    }
    assert load_settings(study).training.epochs == 77 and require_study(study) == study.resolve()
    with pytest.raises(UserError, match="is a study already"):
        create_study(study)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is a file; name a folder"):
        create_study(tmp_path / "file")
    with pytest.raises(MissingStudyError, match=f"has no {SETTINGS_NAME}"):
        require_study(tmp_path)
    monkeypatch.setattr("core.study_folder.store.create", lambda _: None)
    (tmp_path / "usual").mkdir()
    usual = create_study(tmp_path / "usual")
    assert load_settings(usual) == settings_from_preset(NEW_STUDY_PRESET)


def test_resume_points_are_written_twice_a_minute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps of ten seconds, by a clock that each reading sets forward."""
    clock = iter(np.arange(0.0, 10_000.0, 10.0))
    monkeypatch.setattr(training.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(training, "_train_step", lambda *_: (1.0, 1))
    points: list[tuple[int, int]] = []
    monkeypatch.setattr(
        training, "_save_resume_point", lambda _f, _n, _o, s: points.append((s.epoch, s.step))
    )
    settings = TrainingSettings(
        architecture="small", weights="none", epochs=1, batch=2, units=8, augment=False
    )
    reader = ArrayPatches(np.zeros((26, 1, 8, 8), np.uint8))
    patches = training.LabeledPatches(reader, np.arange(26) % 3)  # type: ignore[arg-type]
    network = networks.build("small", 3, units=8)
    none = training.LabeledPatches(reader, np.zeros(0, int))  # type: ignore[arg-type]
    history, best = training.train_classifier(
        network, patches, none, settings, tmp_path, no_progress
    )
    # After more than thirty seconds: at the fourth step since the last point was written.
    assert points == [(0, 4), (0, 8), (0, 12), (1, 0)]
    assert best == 0 and history[0]["loss"] == 1.0

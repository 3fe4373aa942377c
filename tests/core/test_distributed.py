"""Two real processes (gloo, started by torch.distributed.run) give the results of one process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from core import distributed, settings
from core import study_folder as study
from core.errors import UserError
from core.pipeline import dissect, explain, ingest, patches, train
from dashboard.cli import app
from evaluation.pipeline import evaluate
from support.distributed_worker import quiet
from support.paths import ROOT

pytestmark = pytest.mark.slow

BASE = {
    "architecture": "small",
    "units": 16,
    "epochs": 2,
    "batch": 32,
    "draws": 96,
    "auxiliary": ["density"],
}
FROZEN = {
    "epochs": 2,
    "batch": 15,
    "draws": 75,
    "optimizer": "sgd",
    "learning_rate": 3e-4,
    "weight_decay": 1e-4,
    "freeze_batchnorm": True,
    "rotation": 5.0,
}


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script in two processes on this machine."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *arguments,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300
    )


@dataclass(frozen=True)
class Studies:
    """The same patients in three studies.

    one: all steps by one process; two: trained by two processes; trained: trained by one process,
    the other steps by two; results: what each of the two processes reported.
    """

    one: Path
    two: Path
    trained: Path
    results: dict


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Studies:
    """Three studies of the same patients."""
    one = tmp_path_factory.mktemp("distributed") / "one"
    chosen = settings.settings_from_preset(settings.PHANTOM_PRESET | {"training": BASE})
    study.create_study(one, chosen)
    ingest.ingest(
        one, chosen, "phantom", None, quiet, patients=8, seed=2, width=4 * chosen.images.input_side
    )
    patches.run_patch_extraction(one, chosen, quiet)
    two, trained = one.with_name("two"), one.with_name("trained")
    shutil.copytree(one, two)
    base = train.run_training(one, chosen, quiet).run
    weights = one / "runs" / base / "last.pt"
    chosen = chosen.with_changes("training", weights=str(weights), **FROZEN)
    train.run_training(one, chosen, quiet)
    shutil.copytree(one, trained)
    evaluate.run_evaluation(one, quiet)
    dissect.run_dissection(one, chosen, quiet)
    explain.run_explanation(one, chosen, quiet)
    done = torchrun(
        str(ROOT / "tests" / "support" / "distributed_worker.py"),
        str(two),
        str(trained),
        str(weights),
        json.dumps(FROZEN),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Studies(one, two, trained, json.loads((trained / "results.json").read_text()))


def run_of(study_folder: Path, kind: str, frozen: bool = True) -> Path:
    runs = (study_folder / "runs").glob(f"{kind}-*")
    return next(
        r
        for r in runs
        if json.loads((r / "manifest.json").read_text())["settings"]
        .get("training", {})
        .get("freeze_batchnorm", True)
        == frozen
    )


def difference(a: pd.DataFrame, b: pd.DataFrame) -> float:
    """Return the largest difference of any number in two tables; all else must be equal."""
    assert list(a) == list(b) and len(a) == len(b)
    numbers = [name for name in a if a[name].dtype.kind == "f" and name != "seconds"]
    pd.testing.assert_frame_equal(
        a.drop(columns=[*numbers, "seconds"], errors="ignore"),
        b.drop(columns=[*numbers, "seconds"], errors="ignore"),
    )
    assert (a[numbers].isna() == b[numbers].isna()).all(axis=None)
    return (
        float((a[numbers] - b[numbers]).abs().max(axis=None))
        if numbers and a[numbers].notna().any(axis=None)
        else 0.0
    )


def test_frozen_training_gives_same_weights(studies: Studies) -> None:
    one, two = studies.one, studies.two
    a, b = (torch.load(run_of(s, "train") / "last.pt", weights_only=True) for s in (one, two))
    start = torch.load(run_of(one, "train", frozen=False) / "last.pt", weights_only=True)
    apart = max(float((a[key].double() - b[key].double()).abs().max()) for key in a)
    moved = max(
        float((a[key].double() - start[key].double()).abs().max())
        for key in start
        if key.startswith(("features", "fc"))
    )
    print(f"final weights: largest difference {apart:.2g}, moved by training {moved:.2g}")
    assert apart <= 1e-5 < 1e-4 < moved
    losses, steps = [], []
    for folder in (one, two):
        history = pd.read_parquet(run_of(folder, "train") / "tables" / "history.parquet")
        losses.append(history["loss"])
        steps.append(history[["accuracy", "auc_malignant"]].fillna(0))
    # Accuracy and AUC count patches: two whose scores are equal up to rounding may change places.
    assert (losses[0] - losses[1]).abs().max() <= 1e-5 and (steps[0] - steps[1]).abs().max(
        axis=None
    ) <= 5e-3
    assert json.loads((run_of(two, "train") / "manifest.json").read_text())["processes"] == 2


def test_unfrozen_training_gives_similar_loss(studies: Studies) -> None:
    """Each process normalises its own part of a batch: the final loss may differ by 10 %
    (docs/guides/training.md).
    """
    histories = [
        pd.read_parquet(run_of(s, "train", frozen=False) / "tables" / "history.parquet")
        for s in (studies.one, studies.two)
    ]
    one, two = (h[h["part"] == "train"]["loss"].iloc[-1] for h in histories)
    print(f"final training loss: one process {one:.4f}, two {two:.4f}")
    assert abs(two / one - 1) <= 0.1


@pytest.mark.parametrize("kind", ["evaluate", "dissect", "explain"])
def test_tables_and_arrays_are_equal(studies: Studies, kind: str) -> None:
    a, b = run_of(studies.one, kind), run_of(studies.trained, kind)
    assert a.name == b.name
    tables = sorted((a / "tables").glob("*.parquet"))
    assert [p.name for p in tables] == sorted(
        p.name for p in (b / "tables").glob("*.parquet")
    ) and tables
    for path in tables:
        largest = difference(pd.read_parquet(path), pd.read_parquet(b / "tables" / path.name))
        print(f"{kind}, table {path.stem}: largest difference {largest:.2g}")
        assert largest <= 1e-5
    for path in sorted(a.glob("*.npy")):
        one, two = np.load(path).astype(float), np.load(b / path.name).astype(float)
        tolerance = 1e-5 if path.name != "top_maps.npy" else 1e-2  # stored with half precision
        assert np.abs(one - two).max() <= tolerance * max(1.0, np.abs(one).max()), path.name


def test_work_is_complete_and_errors_are_shared(studies: Studies) -> None:
    assert [row for rows in studies.results["rows"] for row in rows] == list(range(7))
    first, second = studies.results["processes"]
    assert first["slice"] == [0, 3] and second["slice"] == [3, 7]
    assert first["runs"] == second["runs"] and [created for _, created in first["runs"]] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert first["errors"] == second["errors"]
    assert first["errors"]["missing"] == "The image is missing; restore it."
    assert (
        "run its step again" in first["errors"]["no_run"]
        and "another folder for process 1" in first["errors"]["other_folder"]
    )


def test_other_commands_refuse_torchrun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # torchrun tells each process by this variable how many there are.
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = CliRunner().invoke(app, ["patches", "--study", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "only train, evaluate, dissect and explain can be started by torchrun" in str(
        done.exception
    )


def test_one_process_calls_directly() -> None:
    assert (distributed.world_size(), distributed.rank(), distributed.rank_slice(5)) == (
        1,
        0,
        slice(0, 5),
    )
    assert (
        distributed.all_gather_call(lambda: 3) == [3]
        and distributed.run_on_rank_zero(lambda: 4) == 4
    )
    with pytest.raises(UserError, match="direct"):
        distributed.run_on_rank_zero(lambda: (_ for _ in ()).throw(UserError("direct")))


def test_objects_are_gathered_through_the_process_group() -> None:
    """One process that is a group of its own exchanges objects as several do."""
    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        outcome = (True, {"rows": [3, 1]})
        assert distributed._all_gather_object(outcome) == [outcome]
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("other", "is_same"),
    [
        (["train", "--study", "/elsewhere/study", "--epochs", "3"], True),
        (["train", "--epochs", "3", "--study=/b"], True),
        (["train", "--study", "/a", "--epochs", "4"], False),
        (["dissect", "--study", "/a", "--epochs", "3"], False),
        (["train", "--study", "/a"], False),
    ],
)
def test_processes_run_the_same_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: list[str], is_same: bool
) -> None:
    own = ["train", "--study", "/a", "--epochs", "3"]
    launches = [(True, own, "/a"), (True, other, "/b")]
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    monkeypatch.setattr(distributed, "run_on_rank_zero", lambda work: work())
    monkeypatch.setattr(distributed, "all_gather_call", lambda work: launches)
    if is_same:
        distributed.check_same_launch(tmp_path)
    else:
        with pytest.raises(UserError, match="different commands"):
            distributed.check_same_launch(tmp_path)
    assert not list(tmp_path.glob(".together-*"))

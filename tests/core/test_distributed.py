"""A study made by two real processes (gloo, started by torch.distributed.run) equals the same study
made by one.
"""

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

from core import distributed, settings
from core import study_folder as study
from core.errors import UserError
from core.pipeline import dissect, explain, ingest, patches, train
from evaluation.pipeline import evaluate
from support.distributed_worker import quiet
from support.paths import ROOT

BASE = {
    "architecture": "small",
    "units": 16,
    "epochs": 3,
    "batch": 32,
    "draws": 500,
    "auxiliary": ["density"],
}
FROZEN = {
    "epochs": 2,
    "batch": 15,
    "draws": 150,
    "optimizer": "sgd",
    "learning_rate": 1e-4,
    "weight_decay": 1e-4,
    "freeze_batchnorm": True,
    "rotation": 5.0,
}


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    """Two processes on this machine."""
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'evaluation'}",
        "OMP_NUM_THREADS": "1",
    }
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        *words,
    ]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=environment, timeout=300
    )


@dataclass(frozen=True)
class Made:
    """one: a study made by one process; two: the same trained by two; trained: what one process had
    trained, taken through the other steps by two.
    """

    one: Path
    two: Path
    trained: Path
    said: dict


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Three studies of the same patients."""
    one = tmp_path_factory.mktemp("many") / "one"
    chosen = settings.preset(settings.PHANTOM | {"training": BASE})
    study.init(one, chosen)
    ingest.ingest(
        one, chosen, "phantom", None, quiet, patients=15, seed=2, width=4 * chosen.images.input_side
    )
    patches.make(one, chosen, quiet)
    two, trained = one.with_name("two"), one.with_name("trained")
    shutil.copytree(one, two)
    base = train.make(one, chosen, quiet).run
    weights = one / "runs" / base / "last.pt"
    chosen = chosen.changed("training", weights=str(weights), **FROZEN)
    train.make(one, chosen, quiet)
    shutil.copytree(one, trained)
    evaluate.make(one, quiet)
    dissect.make(one, chosen, quiet)
    explain.make(one, chosen, quiet)
    done = torchrun(
        str(ROOT / "tests" / "evaluation" / "together.py"),
        str(two),
        str(trained),
        str(weights),
        json.dumps(FROZEN),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return Made(one, two, trained, json.loads((trained / "said.json").read_text()))


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
    """Largest difference of any number in two tables; everything else must be equal."""
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


def test_training_with_frozen_statistics_ends_at_the_same_weights(made: Made) -> None:
    one, two = made.one, made.two
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


def test_training_without_frozen_statistics_ends_within_the_stated_tolerance(made: Made) -> None:
    """Every process normalises its own part of a batch: the final loss may differ by 10 %
    (docs/guides/training.md).
    """
    histories = [
        pd.read_parquet(run_of(s, "train", frozen=False) / "tables" / "history.parquet")
        for s in (made.one, made.two)
    ]
    one, two = (h[h["part"] == "train"]["loss"].iloc[-1] for h in histories)
    print(f"final training loss: one process {one:.4f}, two {two:.4f}")
    assert abs(two / one - 1) <= 0.1


@pytest.mark.parametrize("kind", ["evaluate", "dissect", "explain"])
def test_every_table_and_array_is_that_of_one_process(made: Made, kind: str) -> None:
    a, b = run_of(made.one, kind), run_of(made.trained, kind)
    assert a.name == b.name
    tables = sorted((a / "tables").glob("*.parquet"))
    assert [p.name for p in tables] == sorted(
        p.name for p in (b / "tables").glob("*.parquet")
    ) and tables
    for path in tables:
        found = difference(pd.read_parquet(path), pd.read_parquet(b / "tables" / path.name))
        print(f"{kind}, table {path.stem}: largest difference {found:.2g}")
        assert found <= 1e-5
    for path in sorted(a.glob("*.npy")):
        mine, theirs = np.load(path).astype(float), np.load(b / path.name).astype(float)
        tolerance = 1e-5 if path.name != "top_maps.npy" else 1e-2  # kept with half precision
        assert np.abs(mine - theirs).max() <= tolerance * max(1.0, np.abs(mine).max()), path.name


def test_nothing_is_left_out_or_repeated_and_both_end_with_the_same_sentence(made: Made) -> None:
    assert [row for rows in made.said["dealt"] for row in rows] == list(range(7))
    first, second = made.said["everybody"]
    assert first["part"] == [0, 3] and second["part"] == [3, 7]
    assert first["runs"] == second["runs"] and [fresh for _, fresh in first["runs"]] == [
        True,
        False,
        True,
        True,
        True,
    ]
    assert first["mistakes"] == second["mistakes"]
    assert first["mistakes"]["lost"] == "The film is lost; find it."
    assert (
        "run its step again" in first["mistakes"]["first"]
        and "another folder for process 1" in first["mistakes"]["elsewhere"]
    )


def test_the_command_line_says_what_runs_in_one_process_only(made: Made) -> None:
    done = torchrun("-m", "dashboard.cli", "patches", "--study", str(made.two))
    assert (
        done.returncode == 1
        and "only train, evaluate, dissect and explain are started by torchrun" in done.stderr
    )


def test_one_process_is_plain_calls() -> None:
    assert (distributed.world(), distributed.rank(), distributed.share(5)) == (1, 0, slice(0, 5))
    assert distributed.every(lambda: 3) == [3] and distributed.once(lambda: 4) == 4
    with pytest.raises(UserError, match="plainly"):
        distributed.once(lambda: (_ for _ in ()).throw(UserError("plainly")))

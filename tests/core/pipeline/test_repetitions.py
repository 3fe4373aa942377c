"""Repeated trainings: what they are asked for, and which units are compared."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from core.pipeline.inputs import StepResult
from core.pipeline.stability import retraining
from core.pipeline.unit_groups import UnitResponses
from core.settings import TrainingSettings
from support.array_patches import no_progress

STUDY = Path("study")


def original(**changes: Any) -> Any:
    dissected = pd.DataFrame(
        {
            "patch_id": [10, 20, 30, 40, 50],
            "split": ["train", "holdout", "train", "holdout", "holdout"],
        }
    )
    fields: dict[str, Any] = {
        "train_run": "train-1", "patches_run": "patches-1", "settings": {"input_side": 32},
        "training": TrainingSettings(architecture="small", seed=4), "layer": "last",
        "precision": "float32", "dissected": dissected,
        "responses": UnitResponses(
            activations=np.array([[1.0, 4.0], [2.0, 1.0], [4.0, 0.0]]), split="holdout",
            top=np.array([[10, 20], [30, 40]]), patches=5,
        ),
    }  # fmt: skip
    return retraining._Original(**(fields | changes))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the comparison of two networks is asked for; the new network has three units."""
    asked: dict[str, Any] = {}
    activations = np.arange(15.0).reshape(5, 3)

    def compute(*given: Any) -> np.ndarray:
        asked["compute"] = given
        return activations

    def similarities(values: np.ndarray, top: np.ndarray, patches: int) -> np.ndarray:
        asked.update(values=values, top=top, patches=patches)
        # Units 0 and 1 are those of the original, 2 to 4 those of the repetition.
        matrix = np.full((5, 5), 9.0)
        matrix[:2, 2:] = [[0.1, 0.6, 0.2], [0.3, 0.25, 0.5]]
        return matrix

    monkeypatch.setattr(retraining, "open_training_images", lambda *given: given)
    monkeypatch.setattr(retraining, "PatchReader", lambda images, table: (images, table))
    monkeypatch.setattr(retraining, "FeatureProbe", lambda network, layer: (network, layer))
    monkeypatch.setattr(retraining, "compute_max_activations", compute)
    rows = SimpleNamespace(rows=np.array([[4, 0], [1, 2], [3, 3]]))
    monkeypatch.setattr(retraining, "compute_top_patches", lambda found: rows)
    monkeypatch.setattr(retraining, "unit_similarities", similarities)
    return asked


def test_most_similar_units_of_a_repetition(compared: dict[str, Any]) -> None:
    given = original()
    network: Any = "network"
    best = retraining._best_similarities(STUDY, given, network, Path("f"), no_progress)
    assert best.tolist() == [0.6, 0.5]
    probe, (images, table), file, precision, report = compared["compute"]
    assert probe == ("network", "last") and images == (STUDY, "train-1")
    assert table is given.dissected and file == Path("f/activations.npy")
    assert precision == "float32" and report is no_progress
    # Hold-out patches are in rows 1, 3 and 4.
    assert compared["values"].tolist() == [
        [1, 4, 3, 4, 5], [2, 1, 9, 10, 11], [4, 0, 12, 13, 14],
    ]  # fmt: skip
    assert compared["top"].tolist() == [[10, 20], [30, 40], [50, 10], [20, 30], [40, 40]]
    assert compared["patches"] == 5


def test_without_hold_out_all_patches_are_compared(compared: dict[str, Any]) -> None:
    responses = UnitResponses(np.zeros((5, 2)), "all", np.zeros((2, 2), int), 5)
    table = original().dissected.assign(split="train")
    given = original(dissected=table, responses=responses)
    network: Any = "network"
    retraining._best_similarities(STUDY, given, network, Path("f"), no_progress)
    assert compared["values"][:, 2:].tolist() == np.arange(15.0).reshape(5, 3).tolist()


def test_training_of_a_repetition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def keep(name: str, result: Any) -> Any:
        return lambda *given: asked.update({name: given}) or result

    loaded: list[Any] = []
    network = SimpleNamespace(
        load_checkpoint_state=loaded.append,
        requires_grad_=lambda flag: asked.update(grad=flag) or network,
        eval=lambda: asked.update(eval=True),
        fuse=lambda: asked.update(fuse=True),
    )
    history = [
        {"epoch": epoch, "part": part, "accuracy": accuracy}
        for epoch, part, accuracy in (
            *((0, "train", 0.1), (0, "holdout", 0.2), (1, "train", 0.3)),
            *((1, "holdout", 0.4), (2, "holdout", 0.5)),
        )
    ]
    monkeypatch.setattr(retraining, "load_patch_table", keep("table", "patches"))
    monkeypatch.setattr(retraining.lineage, "run_classes", keep("classes", MAMMOGRAPHY))
    monkeypatch.setattr(retraining, "fit_auxiliary_columns", keep("fit", "columns"))
    monkeypatch.setattr(retraining, "create_network", keep("create", (network, ["left out"])))
    monkeypatch.setattr(retraining, "load_labeled_patches", keep("load", ("train", "holdout")))
    monkeypatch.setattr(retraining, "train_classifier", keep("fit_network", (history, 1)))
    monkeypatch.setattr(retraining, "read_state", keep("state", "weights"))
    monkeypatch.setattr(retraining.torch, "manual_seed", keep("seed", None))
    chosen = TrainingSettings(architecture="small", seed=4, keep="last", auxiliary=["age"])
    found = retraining._train_again(STUDY, original(training=chosen), 9, tmp_path, no_progress)
    assert found == (network, 0.4) and loaded == ["weights"]
    training = chosen.model_copy(update={"seed": 9})
    assert asked == {
        "table": (STUDY, "patches-1", ["train", "holdout"]),
        "classes": (STUDY, "patches-1"),
        "fit": (STUDY, ["age"], "patches"),
        "seed": (9,),
        "create": (training, {"input_side": 32}, 3, "columns"),
        "load": (STUDY, {"input_side": 32}, "patches", MAMMOGRAPHY, "columns"),
        "fit_network": (network, "train", "holdout", training, tmp_path, no_progress),
        "state": (tmp_path / "last.pt",),
        "grad": False, "eval": True, "fuse": True,
    }  # fmt: skip


def test_repetitions_that_are_finished_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []

    def train_again(_study: Path, _original: Any, seed: int, folder: Path, _: Any) -> tuple:
        assert folder == tmp_path / f"seed-{seed}" and folder.is_dir()
        trained.append(seed)
        return "network", 0.75

    monkeypatch.setattr(retraining, "_train_again", train_again)
    monkeypatch.setattr(
        retraining, "_best_similarities", lambda *given: np.array([0.5, len(trained)])
    )
    run: Any = SimpleNamespace(folder=tmp_path)
    for seed in (5, 6, 5):
        best, accuracy = retraining._repeat(STUDY, original(), run, seed, no_progress)
        assert accuracy == 0.75 and best.tolist() == [0.5, seed - 4]
    assert trained == [5, 6]


def test_request_of_the_repetitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seeds by default, from the one after that of the training."""
    saved: dict[str, Any] = {}
    run = SimpleNamespace(
        track_progress=lambda report: report,
        save_array=lambda name, array: saved.update({name: array.tolist()}),
        manifest={},
        name="stability-1",
    )
    created: list[tuple] = []

    def create_run(*given: Any) -> Any:
        created.append(given)
        return nullcontext(run)

    monkeypatch.setattr(retraining.runs, "create_run", create_run)
    monkeypatch.setattr(retraining.lineage, "resolve_run", lambda *given: f"of {given}")
    monkeypatch.setattr(retraining, "_load_original", lambda *_: original())
    units: list[str] = []

    def repeat(_study: Path, _original: Any, _run: Any, seed: int, report: Any) -> tuple:
        report(1, 2, "steps")
        return np.array([seed, 0.5]), seed / 10

    monkeypatch.setattr(retraining, "_repeat", repeat)
    result = retraining.run_stability(STUDY, lambda *call: units.append(call[2]))
    dissected = f"of {(STUDY, 'dissect', None)}"
    request = {"seeds": [5, 6, 7], "similarity": 0.6}
    assert created == [(STUDY, "stability", 1, request, [dissected], "")]
    assert result == StepResult("stability-1", created=True)
    assert saved == {"best_similarity.npy": [[5, 0.5], [6, 0.5], [7, 0.5]]}
    assert run.manifest == request | {
        "holdout_accuracy": [0.5, 0.6, 0.7], "split": "holdout", "patches": 3,
    }  # fmt: skip
    assert units == [f"steps, training {k} of 3" for k in (1, 2, 3)]

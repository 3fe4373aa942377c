"""Names that come back in repeated trainings: the same network, a random one, a real repetition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from core import runs, store
from core.errors import UserError
from core.interpretation import inference
from core.interpretation.dissection import compute_top_patches
from core.networks import Classifier
from core.pipeline.stability import retraining
from core.pipeline.unit_groups import UnitResponses
from core.store import run_table
from evaluation.annotation.stability import Stability, load_stability
from evaluation.reporting.report import _stability_paragraph
from support.array_patches import no_progress


@pytest.fixture(autouse=True)
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare units on every sixth of the dissected patches, which takes seconds less."""
    load = retraining._load_original

    def load_few(study: Path, dissect: str) -> Any:
        original = load(study, dissect)
        folder = runs.run_folder(study, dissect)
        activations = np.load(folder / "activations.npy")[::6]
        dissected = original.dissected.iloc[::6].reset_index(drop=True)
        ids = dissected["patch_id"].to_numpy()
        assert list(ids) == list(np.load(folder / "patch_ids.npy")[::6])
        responses = UnitResponses(
            activations=activations[dissected["split"] == "holdout"],
            split="holdout",
            top=ids[compute_top_patches(activations).rows],
            patches=len(ids),
        )
        return replace(original, dissected=dissected, responses=responses)

    monkeypatch.setattr(retraining, "_load_original", load_few)


def repeat_with(patch: pytest.MonkeyPatch, change: Callable[[Classifier, int], None]) -> list[int]:
    """Let each repetition be the original network after a change; return the list of its seeds."""
    seeds: list[int] = []

    def train_again(study: Path, original: Any, seed: int, *_: Any) -> tuple[Classifier, float]:
        seeds.append(seed)
        network = inference.load_network(study, original.train_run)
        change(network, seed)
        return network, 0.75

    patch.setattr(retraining, "_train_again", train_again)
    return seeds


def randomize(network: Classifier, seed: int) -> None:
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.05)
    network.fuse()


def result(study: Path) -> Stability:
    with store.read(study) as con:
        dissect = run_table.latest_run(con, "dissect")
    found = load_stability(study, dissect or "")
    assert found is not None
    return found


def test_names_of_the_same_network_come_back_and_those_of_a_random_one_do_not(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first repetition is the original; the second one has random weights and is interrupted.

    The step continues with the second one, and nothing of the study is replaced.
    """
    with store.read(own_study) as con:
        before = {kind: run_table.latest_run(con, kind) for kind in ("train", "dissect")}
        seed = run_table.load_run(con, before["train"] or "")["settings"]["training"]["seed"]

    def change(network: Classifier, number: int) -> None:
        if number > seed + 1:
            if len(seeds) < 3:
                raise RuntimeError("the power fails")
            randomize(network, number)

    seeds = repeat_with(monkeypatch, change)
    with pytest.raises(RuntimeError, match="power"):
        retraining.run_stability(own_study, no_progress, 2)
    run = retraining.run_stability(own_study, no_progress, 2)
    assert seeds == [seed + 1, seed + 2, seed + 2] and run.created
    assert not retraining.run_stability(own_study, no_progress, 2).created
    with store.read(own_study) as con:
        assert before == {kind: run_table.latest_run(con, kind) for kind in before}
    assert not list(runs.run_folder(own_study, run.run).glob("seed-*/"))
    stability = result(own_study)
    assert stability.trainings == 2 and stability.accuracies == (0.75, 0.75)
    assert len(stability.names) > 3 and {name.returned for name in stability.names} == {1}
    count = len(stability.names)
    expected = f"of {count} names, 0 came back in every one of 2 repeated trainings"
    assert expected in stability.sentence() and stability.sentence().startswith("SIMULATED names.")
    paragraph, *_ = _stability_paragraph(own_study)
    assert paragraph.text == stability.sentence()


def test_a_real_repetition_uses_the_other_seed(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every twentieth patch is used, in one epoch of 500 draws, so that it takes seconds."""
    read = retraining.load_patch_table

    def fewer(study: Path, run: str, splits: list[str]) -> Any:
        return read(study, run, splits).iloc[::20].reset_index(drop=True)

    load = retraining._load_original

    def load_then_fewer(study: Path, dissect: str) -> Any:
        original = load(study, dissect)
        monkeypatch.setattr(retraining, "load_patch_table", fewer)
        short = original.training.model_copy(update={"epochs": 1, "draws": 500})
        return replace(original, training=short)

    monkeypatch.setattr(retraining, "_load_original", load_then_fewer)
    retraining.run_stability(own_study, no_progress, 1)
    stability = result(own_study)
    assert stability.trainings == 1 and 0 < stability.accuracies[0] < 1
    assert all(0 < name.similarity < 1 for name in stability.names)


def test_imported_networks_and_no_seed_are_refused(
    own_study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError, match="at least one further seed, not 0"):
        retraining.run_stability(own_study, no_progress, 0)
    load = run_table.load_run

    def imported(con: Any, run: str) -> dict[str, Any]:
        row = load(con, run)
        return row | {"manifest": row["manifest"] | {"imported": {"file": "a.pt"}}}

    monkeypatch.setattr(retraining.run_table, "load_run", imported)
    with pytest.raises(UserError, match="was imported and not trained here"):
        retraining.run_stability(own_study, no_progress, 1)

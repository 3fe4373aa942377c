"""Step `stability`: train the dissected classifier again with other seeds, and find its units.

Nothing of the study changes: the repeated networks are not kept, and no page ever uses them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core import distributed, lineage, runs, store
from core.errors import UserError
from core.images.working_images import PatchReader
from core.interpretation.dissection import compute_max_activations, compute_top_patches
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.unit_groups import GROUP_SIMILARITY, unit_similarities
from core.networks import Classifier, read_state
from core.pipeline.inputs import StepResult, load_patch_table, open_training_images
from core.pipeline.stability import STABILITY_KIND
from core.pipeline.train import create_network, fit_auxiliary_columns, load_labeled_patches
from core.pipeline.unit_groups import UnitResponses, load_unit_responses
from core.progress import ProgressCallback
from core.runs import Run
from core.settings import TrainingSettings
from core.store import run_table
from core.training import train_classifier

_VERSION = 1
DEFAULT_SEEDS = 3


@dataclass(frozen=True, kw_only=True)
class _Original:
    """The dissected network: its training, the dissected patches, and its units' responses.

    settings: of the train run; dissected: table of the patches that were dissected.
    """

    train_run: str
    patches_run: str
    settings: dict[str, Any]
    training: TrainingSettings
    layer: str
    precision: str
    dissected: pd.DataFrame
    responses: UnitResponses


def run_stability(
    study: Path, report: ProgressCallback, seeds: int = DEFAULT_SEEDS, dissect: str | None = None
) -> StepResult:
    """Repeat the training of a dissect run with other seeds, by default of the latest one.

    Every repetition has the settings and patches of the original. Of each unit of the original the
    similarity of the most similar unit of the repeated network is kept, as `best` [seeds, units] in
    `best_similarity.npy`. An interrupted step continues with the epoch and seed that it had
    reached.

    Raises
    ------
    UserError
        If seeds is below 1, or the network was imported and not trained here.
    """
    if seeds < 1:
        raise UserError(f"Stability needs at least one further seed, not {seeds}; raise --seeds.")
    dissected = lineage.resolve_run(study, "dissect", dissect)
    original = distributed.run_on_rank_zero(lambda: _load_original(study, dissected))
    numbers = [original.training.seed + 1 + i for i in range(seeds)]
    request = {"seeds": numbers, "similarity": GROUP_SIMILARITY}
    try:
        with runs.create_run(study, STABILITY_KIND, _VERSION, request, [dissected], "") as run:
            progress = run.track_progress(report)
            results = [
                _repeat(study, original, run, seed, _named_progress(progress, i, seeds))
                for i, seed in enumerate(numbers)
            ]
            run.save_array("best_similarity.npy", np.stack([best for best, _ in results]))
            run.manifest |= {
                "seeds": numbers,
                "similarity": GROUP_SIMILARITY,
                "holdout_accuracy": [accuracy for _, accuracy in results],
                "split": original.responses.split,
                "patches": len(original.responses.activations),
            }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def _named_progress(report: ProgressCallback, number: int, seeds: int) -> ProgressCallback:
    """Return a callback whose unit names the repetition."""
    return lambda done, total, unit: report(
        done, total, f"{unit}, training {number + 1} of {seeds}"
    )


def _load_original(study: Path, dissected: str) -> _Original:
    train_run = lineage.ancestor_run(study, dissected, "train")
    with store.read(study) as con:
        row = run_table.load_run(con, train_run)
        of_dissection = run_table.load_run(con, dissected)
    if row["manifest"].get("imported"):
        raise UserError(
            f"The network of {dissected} was imported and not trained here, so its training cannot"
            " be repeated; `deepminer train` makes one that can."
        )
    patches_run = lineage.ancestor_run(study, train_run, "patches")
    settings = of_dissection["settings"]["dissection"]
    return _Original(
        train_run=train_run,
        patches_run=patches_run,
        settings=row["settings"],
        training=TrainingSettings.model_validate(row["settings"]["training"]),
        layer=of_dissection["manifest"]["layer"],
        precision=settings["precision"],
        dissected=load_patch_table(study, patches_run, list(settings["splits"])),
        responses=load_unit_responses(study, dissected),
    )


def _repeat(
    study: Path, original: _Original, run: Run, seed: int, report: ProgressCallback
) -> tuple[np.ndarray, float]:
    """Return the best similarity of each unit, float [units], and the hold-out accuracy.

    What an earlier attempt finished is read from its file.
    """
    result = run.folder / f"seed-{seed}.npz"
    if not distributed.run_on_rank_zero(result.is_file):
        folder = run.folder / f"seed-{seed}"
        if distributed.is_rank_zero():
            folder.mkdir(exist_ok=True)
        network, accuracy = _train_again(study, original, seed, folder, report)
        best = _best_similarities(study, original, network, folder, report)
        distributed.run_on_rank_zero(lambda: _keep_result(result, folder, best, accuracy))
    with np.load(result) as arrays:
        return arrays["best"], float(arrays["accuracy"])


def _keep_result(result: Path, folder: Path, best: np.ndarray, accuracy: float) -> None:
    partial = result.with_suffix(".partial.npz")
    np.savez(partial, best=best, accuracy=accuracy)
    partial.rename(result)
    # The weights and activations of a repetition are of no further use.
    shutil.rmtree(folder)


def _train_again(
    study: Path, original: _Original, seed: int, folder: Path, report: ProgressCallback
) -> tuple[Classifier, float]:
    """Return the network trained with another seed, ready for inference, and its accuracy."""
    training = original.training.model_copy(update={"seed": seed})
    table = load_patch_table(study, original.patches_run, ["train", "holdout"])
    classes = lineage.run_classes(study, original.patches_run)
    columns = fit_auxiliary_columns(study, training.auxiliary, table)
    torch.manual_seed(seed)
    network, _ = create_network(training, original.settings, len(classes.outputs), columns)
    train, holdout = load_labeled_patches(study, original.settings, table, classes, columns)
    history, best = train_classifier(network, train, holdout, training, folder, report)
    network.load_checkpoint_state(read_state(folder / f"{training.keep}.pt"))
    network.requires_grad_(False).eval()
    network.fuse()
    (accuracy,) = (
        row["accuracy"] for row in history if row["epoch"] == best and row["part"] == "holdout"
    )
    return network, float(accuracy)


def _best_similarities(
    study: Path, original: _Original, network: Classifier, folder: Path, report: ProgressCallback
) -> np.ndarray:
    """Return the similarity of each original unit's most similar unit, float [units]."""
    probe = FeatureProbe(network, original.layer)
    reader = PatchReader(open_training_images(study, original.train_run), original.dissected)
    activations = compute_max_activations(
        probe, reader, folder / "activations.npy", original.precision, report
    )

    def compare() -> np.ndarray:
        """Return the largest similarity to a unit of the repetition, float [units]."""
        patch_ids = original.dissected["patch_id"].to_numpy()
        is_holdout = (original.dissected["split"] == "holdout").to_numpy()
        rows = np.flatnonzero(is_holdout) if is_holdout.any() else slice(None)
        top = patch_ids[compute_top_patches(activations).rows]
        units = len(original.responses.top)
        # One matrix for the units of both networks, of which the part between them counts.
        similar = unit_similarities(
            np.hstack([original.responses.activations, activations[rows]]),
            np.vstack([original.responses.top, top]),
            original.responses.patches,
        )
        return similar[:units, units:].max(axis=1)

    return distributed.run_on_rank_zero(compare)

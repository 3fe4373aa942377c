"""Pipeline step `train`: fit a classifier to the training patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core import distributed, lineage, networks, runs, store
from core.class_labels import ClassDefinition
from core.errors import UserError
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation.inference import encode_patient_columns, load_patient_columns
from core.networks import Classifier, architectures, auxiliary_inputs, checkpoints, own_modules
from core.networks.auxiliary_inputs import AuxiliaryColumns
from core.networks.device import select_device
from core.pipeline.inputs import (
    StepResult,
    breast_rule,
    load_patch_table,
    load_run_settings,
    named_settings,
    open_images,
)
from core.progress import ProgressCallback
from core.runs import Run
from core.settings import Settings, TrainingSettings
from core.store import run_table
from core.training import LabeledPatches, train_classifier

_VERSION = 1
_SETTINGS_ADDED_LATER = ("rotation", "precision", "auxiliary")


def run_training(
    study: Path, settings: Settings, report: ProgressCallback, patches: str | None = None
) -> StepResult:
    """Train a classifier on a patches run.

    By default the latest one, or the one that differs from it by the published input side of the
    architecture alone.
    """
    patches_run = patches_of_architecture(study, settings.training.architecture, patches)
    table = load_patch_table(study, patches_run, ["train", "holdout"])
    columns = fit_auxiliary_columns(study, settings.training.auxiliary, table)
    lineage.check_named_classes(study, patches_run, settings.class_definition)
    classes = lineage.run_classes(study, patches_run)
    request = {
        "training": run_name_settings(settings.training),
        "classes": len(classes.outputs),
        **network_request(study, settings, settings.training.architecture, patches_run),
    }
    # The content of a weights file names the run, and not its path.
    inputs = distributed.run_on_rank_zero(lambda: _weights_hash(settings.training.weights))
    try:
        with runs.create_run(study, "train", _VERSION, request, [patches_run], inputs) as run:
            # Before the network is created: its initial weights are drawn from this seed.
            torch.manual_seed(settings.training.seed)
            network, left_out = create_network(
                settings.training, request, len(classes.outputs), columns
            )
            train, holdout = load_labeled_patches(study, request, table, classes, columns)
            history, best = train_classifier(
                network, train, holdout, settings.training, run.folder, run.track_progress(report)
            )
            numbers = ["learning_rate", "seconds", *(f"auc_{name}" for name in classes.names)]
            run.add_table("history", pd.DataFrame(history).astype(dict.fromkeys(numbers, float)))
            if distributed.is_rank_zero():
                run.manifest |= _manifest(run, settings.training, network, columns, best)
                run.manifest |= {
                    "settings_from": settings.training_origins(),
                    "left_out": left_out,
                    "train_patches": len(train.labels),
                    "holdout_patches": len(holdout.labels),
                }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


@distributed.rank_zero_query
def patches_of_architecture(study: Path, arch: str, patches: str | None = None) -> str:
    """Return the patches run for an architecture: `patches`, or else the latest one.

    Where the architecture was published for another input side than that of the latest run, the run
    of that side with the same windows, labels and split is taken, if there is one.
    """
    latest = lineage.resolve_run(study, "patches", patches)
    side = None if own_modules.is_own(arch) else architectures.published_side(arch)
    if patches is not None or side is None:
        return latest
    with store.read(study) as con:
        return run_table.patches_at_side(con, latest, side) or latest


def network_request(study: Path, settings: Settings, arch: str, patches_run: str) -> dict[str, Any]:
    """Return what a train run's request states about the network's input.

    Entries beyond the input side are absent where they do not apply, so that runs from before them
    keep their names.
    """
    if not own_modules.is_own(arch):
        architectures.check_architecture(arch)
    patches_settings = load_run_settings(study, patches_run)
    request = {"input_side": patches_settings.get("input_side", settings.images.input_side)}
    if own_modules.is_own(arch):
        request["module"] = own_modules.source_hash(arch)
    elif architectures.family_of(arch).half_normalization:
        request["half_normalization"] = True
    if settings.images.colour:
        request["channels"] = 3
    return request | breast_rule(settings.images)


def check_input_side(network: Classifier, input_side: int) -> None:
    """Raise UserError if a network of fixed input cannot take patches of this side."""
    is_fixed = network.family.kind == "grid" or network.family.tiled
    if is_fixed and network.input_side != input_side:
        raise UserError(
            f"{network.arch} takes patches of {network.input_side} px, not of {input_side}; run"
            f" `deepminer patches --input-side {network.input_side}` first."
        )


def create_network(
    training: TrainingSettings,
    request: Mapping[str, Any],
    classes: int,
    columns: AuxiliaryColumns,
) -> tuple[Classifier, list[str]]:
    """Create the network on its device; return it and the parameters of the file left out.

    UserError if it cannot take the study's patches.
    """
    # Only rank 0 loads the weights; the other ranks receive them from DistributedDataParallel.
    weights = training.weights if distributed.is_rank_zero() else "none"
    is_file = weights not in ("imagenet", "none")
    network = networks.build(
        training.architecture,
        classes,
        "none" if is_file else weights,
        training.units,
        training.pool,
        request.get("channels", 1),
    )
    left_out = []
    if is_file:
        path = Path(weights)
        left_out = checkpoints.load_body(network, networks.read_state(path), path)
    check_input_side(network, request["input_side"])
    network.input_side = request["input_side"]
    network.precision = training.precision
    networks.attach_auxiliary_block(network, columns)
    network.to(select_device())
    return network, left_out


def _manifest(
    run: Run,
    training: TrainingSettings,
    network: Classifier,
    columns: AuxiliaryColumns,
    best_epoch: int,
) -> dict[str, Any]:
    weights_file = f"{training.keep}.pt"
    return {
        "weights": weights_file,
        "architecture": network.arch,
        "best_epoch": best_epoch,
        # `load_network` compares this hash, which reveals a file that was changed later.
        "checkpoint": runs.file_hash(run.folder / weights_file),
        "processes": distributed.world_size(),
        "auxiliary": columns.to_dicts(),
    }


def run_name_settings(training: TrainingSettings) -> dict[str, Any]:
    """Return the settings that enter the name of a train run."""
    return named_settings(training, _SETTINGS_ADDED_LATER)


def _weights_hash(weights: str) -> str:
    """Return the hash of a weights file; "" for "imagenet" and "none"."""
    if weights in ("imagenet", "none"):
        return ""
    if not Path(weights).is_file():
        raise UserError(
            f"There is no weights file {weights}; give an existing file, imagenet or none."
        )
    return runs.file_hash(Path(weights))


def fit_auxiliary_columns(
    study: Path, names: Sequence[str], patches: pd.DataFrame
) -> AuxiliaryColumns:
    """Return the auxiliary columns, standardised on the patients that have training patches."""
    if not names:
        return AuxiliaryColumns()
    table = load_patient_columns(study)
    training_patients = patches.loc[patches["split"] == "train", "patient_id"]
    return auxiliary_inputs.fit_columns(table[table["patient_id"].isin(training_patients)], names)


def load_labeled_patches(
    study: Path,
    request: Mapping[str, Any],
    table: pd.DataFrame,
    classes: ClassDefinition,
    columns: AuxiliaryColumns,
) -> tuple[LabeledPatches, LabeledPatches]:
    """Return the training and the hold-out patches of a table, as a train run's request asks."""
    images = open_images(study, request)
    encoded = {
        split: encode_patient_columns(
            study, columns, table.loc[table["split"] == split, "patient_id"]
        )
        for split in ("train", "holdout")
    }
    train, holdout = (
        _labeled_patches(images, table[table["split"] == split], classes, encoded[split])
        for split in ("train", "holdout")
    )
    return train, holdout


def _labeled_patches(
    images: WorkingImages,
    table: pd.DataFrame,
    classes: ClassDefinition,
    columns: np.ndarray | None,
) -> LabeledPatches:
    return LabeledPatches(
        PatchReader(images, table),
        classes.output_indices(table["label"].to_numpy()),
        columns,
        classes,
    )

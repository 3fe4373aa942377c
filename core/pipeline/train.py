"""Pipeline step `train`: fit a classifier to the training patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core import distributed, lineage, networks, runs
from core.class_labels import CLASSES
from core.errors import UserError
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation.inference import encode_patient_columns, load_patient_columns
from core.networks import Classifier, auxiliary_inputs
from core.networks.auxiliary_inputs import AuxiliaryColumns
from core.networks.device import select_device
from core.pipeline.inputs import StepResult, breast_rule, load_patch_table, open_images
from core.progress import ProgressCallback
from core.runs import Run
from core.settings import Settings, TrainingSettings
from core.training import LabeledPatches, train_classifier

_VERSION = 1
_SETTINGS_ADDED_LATER = ("rotation", "precision", "auxiliary")


def run_training(
    study: Path, settings: Settings, report: ProgressCallback, patches: str | None = None
) -> StepResult:
    """Train a classifier on a patches run, by default the latest one."""
    patches_run = lineage.resolve_run(study, "patches", patches)
    table = load_patch_table(study, patches_run, ["train", "holdout"])
    columns = _fit_auxiliary_columns(study, settings.training.auxiliary, table)
    classes = lineage.class_count(study, patches_run)
    request = {
        "training": run_name_settings(settings.training),
        "classes": classes,
        "input_side": settings.images.input_side,
        # Absent where nothing is masked, so that runs from before the setting keep their names.
        **breast_rule(settings.images),
    }
    # The content of a weights file names the run, and not its path.
    inputs = distributed.run_on_rank_zero(lambda: _weights_hash(settings.training.weights))
    try:
        with runs.create_run(study, "train", _VERSION, request, [patches_run], inputs) as run:
            # Before the network is created: its initial weights are drawn from this seed.
            torch.manual_seed(settings.training.seed)
            network = _create_network(settings, classes, columns)
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
            history, best = train_classifier(
                network, train, holdout, settings.training, run.folder, run.track_progress(report)
            )
            numbers = ["learning_rate", "seconds", *(f"auc_{name}" for name in CLASSES)]
            run.add_table("history", pd.DataFrame(history).astype(dict.fromkeys(numbers, float)))
            if distributed.is_rank_zero():
                run.manifest |= _manifest(run, settings.training, network, columns, best)
                run.manifest |= {
                    "train_patches": len(train.labels),
                    "holdout_patches": len(holdout.labels),
                }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def _create_network(settings: Settings, classes: int, columns: AuxiliaryColumns) -> Classifier:
    """Create the network on its device; UserError if it cannot take the study's patches."""
    training = settings.training
    # Only rank 0 loads the weights; the other ranks receive them from DistributedDataParallel.
    weights = training.weights if distributed.is_rank_zero() else "none"
    network = networks.build(training.architecture, classes, weights, training.units, training.pool)
    # A single linear head on pooled maps takes patches of any size.
    if network.input_side != settings.images.input_side and not network.single_linear:
        raise UserError(
            f"{network.arch} takes patches of {network.input_side} px; set"
            f" images.input_side = {network.input_side} and ingest into a new study."
        )
    network.precision = training.precision
    networks.attach_auxiliary_block(network, columns)
    network.to(select_device())
    return network


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
    """Return the settings that enter the name of a train run.

    Settings that were added later are left out at their default values, so that runs made before
    them keep their names.
    """
    fields = type(training).model_fields
    unused = {
        name
        for name in _SETTINGS_ADDED_LATER
        if getattr(training, name) == fields[name].get_default()
    }
    return training.model_dump(exclude=unused)


def _weights_hash(weights: str) -> str:
    """Return the hash of a weights file; "" for "imagenet" and "none"."""
    if weights in ("imagenet", "none"):
        return ""
    if not Path(weights).is_file():
        raise UserError(
            f"There is no weights file {weights}; give an existing file, imagenet or none."
        )
    return runs.file_hash(Path(weights))


def _fit_auxiliary_columns(
    study: Path, names: Sequence[str], patches: pd.DataFrame
) -> AuxiliaryColumns:
    """Return the auxiliary columns, standardised on the patients that have training patches."""
    if not names:
        return AuxiliaryColumns()
    table = load_patient_columns(study)
    training_patients = patches.loc[patches["split"] == "train", "patient_id"]
    return auxiliary_inputs.fit_columns(table[table["patient_id"].isin(training_patients)], names)


def _labeled_patches(
    images: WorkingImages, table: pd.DataFrame, classes: int, columns: np.ndarray | None
) -> LabeledPatches:
    codes = table["label"].to_numpy()
    # The network's outputs: with two classes 0 (other) and 1 (malignant, code 2).
    labels = codes if classes == 3 else (codes == 2).astype(codes.dtype)
    return LabeledPatches(
        PatchReader(images, table),
        labels,
        columns,
    )

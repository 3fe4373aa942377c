"""Step `train`: a classifier on the training patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from core import distributed, networks, runs
from core.class_labels import CLASSES
from core.errors import UserError
from core.images.working_images import Films, PatchReader
from core.interpretation.inference import patient_numbers, patient_table
from core.networks import auxiliary_inputs
from core.networks.auxiliary_inputs import Columns
from core.networks.device import device
from core.pipeline.inputs import StepResult, classes_of, latest, patch_table
from core.runs import Report
from core.settings import Settings, TrainingSettings
from core.training import Part, fit

VERSION = 1
LATER = ("rotation", "precision", "auxiliary")


def make(study: Path, settings: Settings, report: Report, patches: str | None = None) -> StepResult:
    """Train on a patches run (the newest one if not given)."""
    parent = latest(study, "patches", given=patches)
    frame = patch_table(study, parent, ["train", "holdout"])
    columns = _columns(study, settings.training.auxiliary, frame)
    classes = classes_of(study, parent)
    request = {
        "training": asked(settings.training),
        "classes": classes,
        "input_side": settings.images.input_side,
    }
    weights = settings.training.weights
    inputs = distributed.once(lambda: _weights_hash(weights))
    try:
        with runs.building(study, "train", VERSION, request, [parent], inputs) as run:
            torch.manual_seed(settings.training.seed)
            # Of many processes the first has the weights; the others get them when they join it.
            given = weights if distributed.first() else "none"
            network = networks.build(
                settings.training.architecture,
                classes,
                given,
                settings.training.units,
                settings.training.pool,
            )
            if network.input_side != settings.images.input_side and not network.single_linear:
                raise UserError(
                    f"{network.arch} takes patches of {network.input_side} px; set"
                    f" images.input_side = {network.input_side} and ingest into a new study."
                )
            network.precision = settings.training.precision
            networks.join(network, columns)
            network.to(device())
            drawn, held = (
                _part(study, frame[frame["split"] == split], classes, columns)
                for split in ("train", "holdout")
            )
            history, best = fit(
                network, drawn, held, settings.training, run.folder, run.reporting(report)
            )
            numbers = ["learning_rate", "seconds", *(f"auc_{name}" for name in CLASSES)]
            run.table("history", pd.DataFrame(history).astype(dict.fromkeys(numbers, float)))
            weights_file = f"{settings.training.keep}.pt"
            run.manifest |= (
                {}
                if not distributed.first()
                else {
                    "weights": weights_file,
                    "architecture": network.arch,
                    "best_epoch": best,
                    "checkpoint": runs.file_hash(run.folder / weights_file),
                    "train_patches": len(drawn.labels),
                    "holdout_patches": len(held.labels),
                    "processes": distributed.world(),
                    "auxiliary": columns.as_plain(),
                }
            )
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def asked(training: TrainingSettings) -> dict[str, Any]:
    """Settings that name a train run.

    Those that came later are left out at their defaults: runs made before them keep their names.
    """
    later = {
        name
        for name in LATER
        if getattr(training, name) == type(training).model_fields[name].get_default()
    }
    return training.model_dump(exclude=later)


def _weights_hash(weights: str) -> str:
    """Hash of a weights file; empty for "imagenet" and "none"."""
    if weights in ("imagenet", "none"):
        return ""
    if not Path(weights).is_file():
        raise UserError(
            f"There is no weights file {weights}; give an existing file, imagenet or none."
        )
    return runs.file_hash(Path(weights))


def _columns(study: Path, names: Sequence[str], patches: pd.DataFrame) -> Columns:
    """The auxiliary columns, standardised on the patients that have training patches."""
    if not names:
        return Columns()
    table = patient_table(study)
    return auxiliary_inputs.fit(
        table[table["patient_id"].isin(patches.loc[patches["split"] == "train", "patient_id"])],
        names,
    )


def _part(study: Path, frame: pd.DataFrame, classes: int, columns: Columns) -> Part:
    """Labels as the network's outputs: with two classes 0 (other) and 1 (malignant)."""
    codes = frame["label"].to_numpy()
    labels = codes if classes == 3 else (codes == 2).astype(codes.dtype)
    return Part(
        PatchReader(Films(study), frame),
        labels,
        patient_numbers(study, columns, frame["patient_id"]),
    )

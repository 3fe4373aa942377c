"""Trained classifiers of a study: loading, auxiliary columns of patients, patch predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from core import distributed, runs, store
from core.errors import UserError
from core.images.working_images import PatchReader
from core.networks import (
    Classifier,
    attach_auxiliary_block,
    auxiliary_inputs,
    build,
    own_modules,
    read_state,
)
from core.networks.auxiliary_inputs import AuxiliaryColumns
from core.networks.classifier import IMAGENET_NORMALIZATION
from core.networks.device import select_device
from core.process_memory import keep_freed_memory
from core.progress import ProgressCallback
from core.settings import TrainingSettings
from core.store import dataset_table, run_table

BATCH_SIZE = 64  # patches


def load_network(study: Path, run: str) -> Classifier:
    """Return the classifier of a train run, in evaluation mode on this process's device.

    UserError if the checkpoint was changed after the run.
    """
    row = distributed.run_on_rank_zero(lambda: _load_run(study, run))
    settings = TrainingSettings.model_validate(row["settings"]["training"])
    path = runs.run_folder(study, run) / row["manifest"]["weights"]
    if runs.file_hash(path) != row["manifest"]["checkpoint"]:
        raise UserError(
            f"{path} is not the checkpoint that {run} wrote (its hash differs); restore it or train"
            " again."
        )
    _check_own_source(run, row)
    network = build(
        settings.architecture,
        row["settings"]["classes"],
        str(path),
        settings.units,
        settings.pool,
        row["settings"].get("channels", 1),
    )
    network.precision = settings.precision
    network.input_side = row["settings"].get("input_side", network.input_side)
    if network.family.half_normalization and "half_normalization" not in row["settings"]:
        # Runs of earlier releases trained Inception-v3 on ImageNet's normalisation.
        network.set_normalization(*IMAGENET_NORMALIZATION)
    columns = auxiliary_inputs.columns_from_dicts(row["manifest"].get("auxiliary", []))
    attach_auxiliary_block(network, columns)
    if network.auxiliary is not None:
        # `build` loads the network's own weights only.
        network.load_checkpoint_state(read_state(path))
    network.requires_grad_(False).eval().to(select_device())
    # The memory order in which `Classifier.normalize` passes its input.
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.fuse()
    keep_freed_memory()
    return network


def _check_own_source(run: str, row: dict[str, Any]) -> None:
    """Raise UserError if the file of an own module was changed after the run."""
    stored = row["settings"].get("module")
    arch = row["settings"]["training"]["architecture"]
    if stored is not None and own_modules.source_hash(arch) != stored:
        raise UserError(
            f"The file that defines {arch} was changed after {run}; restore it or train again."
        )


def _load_run(study: Path, run: str) -> dict[str, Any]:
    with store.read(study) as con:
        return run_table.load_run(con, run)


def encode_patient_columns(
    study: Path, columns: AuxiliaryColumns, patients: Sequence[str] | pd.Series
) -> np.ndarray | None:
    """Return the encoded auxiliary columns of patients, float32 [n, encoded width].

    patients: ids, one per patch or mammogram. None if the classifier takes no columns.
    """
    if not columns.columns:
        return None
    table = load_patient_columns(study)
    # Every patient has a row, so that get_indexer never gives -1.
    rows = pd.Index(table["patient_id"]).get_indexer(list(patients))
    return columns.encode(table)[rows]


@distributed.rank_zero_query
def load_patient_columns(study: Path) -> pd.DataFrame:
    """Return patient_id and every auxiliary column of the study, in order of patient_id."""
    with store.read(study) as con:
        patients = dataset_table.load_patients(con)
    return auxiliary_inputs.patient_columns(patients).sort_values("patient_id", ignore_index=True)


@torch.inference_mode()
def predict_probabilities(
    network: Classifier,
    reader: PatchReader,
    report: ProgressCallback,
    batch: int = BATCH_SIZE,
    columns: np.ndarray | None = None,
) -> np.ndarray:
    """Return the class probabilities of every patch of a reader.

    Parameters
    ----------
    network : Classifier
        In evaluation mode.
    reader : PatchReader
        n patches as uint8 batches [batch, 1, side, side].
    report : callable
        Called with (done, total, unit of progress) after each batch.
    batch : int
        Patches per batch.
    columns : ndarray, float32 [n, encoded width], optional
        Auxiliary columns of the patches' patients.

    Returns
    -------
    ndarray, float32 [n, classes]
        Softmax probabilities, in the order of the reader.
    """
    out = np.empty((len(reader), network.classes), np.float32)

    def predict_batch(rows: np.ndarray) -> np.ndarray:
        """Return the probabilities of these rows."""
        numbers = None if columns is None else torch.from_numpy(columns[rows])
        logits = network(torch.from_numpy(reader.batch(rows)), numbers)
        return logits.softmax(1).cpu().numpy()

    batches = distributed.row_blocks(len(reader), batch)
    for rows, probabilities in distributed.map_round_robin(batches, predict_batch):
        out[rows] = probabilities
        report(int(rows[-1]) + 1, len(reader), "patches")
    return out

"""Input tables shared by the pipeline steps.

Database reads run on rank 0 and are broadcast to all ranks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import store
from core.distributed import rank_zero_query
from core.errors import UserError
from core.store import dataset_table


@dataclass(frozen=True)
class StepResult:
    """The run of a step. created: False if the run existed already."""

    run: str
    created: bool


@rank_zero_query
def load_data_hash(study: Path) -> str:
    """Return the hash of all ingested data; UserError if the study holds none."""
    with store.read(study) as con:
        data_hash = dataset_table.get_meta(con, "data_hash")
    if data_hash is None:
        raise UserError(
            f"The study {study} holds no mammograms yet; run `deepminer ingest phantom` or another"
            " source first."
        )
    return data_hash


@rank_zero_query
def load_patch_table(study: Path, run: str, splits: list[str] | None = None) -> pd.DataFrame:
    """Return the patches of a patches run, in order of patch_id.

    Columns: those of the table `patches`, and patient_id and file (the working image).
    """
    with store.read(study) as con:
        patches = dataset_table.load_patches(con, run, splits)
        files = dataset_table.load_mammograms(con)[["mammogram_id", "file"]]
    patches = patches.merge(files, on="mammogram_id", how="left")
    # The order of the rows in activations.npy and in predictions.
    return patches.sort_values("patch_id", ignore_index=True)


@rank_zero_query
def load_mammogram_table(study: Path, patches_run: str, splits: list[str]) -> pd.DataFrame:
    """Return the mammograms of some splits, in order of mammogram_id.

    Columns: mammogram_id, file, has_concepts, patient_id, truth (0 normal, 1 benign, 2 malignant,
    or missing), split.
    """
    with store.read(study) as con:
        mammograms = dataset_table.load_mammograms(con)[["mammogram_id", "file", "has_concepts"]]
        truth = dataset_table.load_image_truth(con)
        patient_splits = dataset_table.load_splits(con, patches_run)
    mammograms = mammograms.merge(truth, on="mammogram_id").merge(patient_splits, on="patient_id")
    # A nullable integer: a mammogram with only unproven findings has no truth.
    mammograms["truth"] = mammograms["truth"].astype("Int64")
    mammograms = mammograms[mammograms["split"].isin(splits)]
    return mammograms.sort_values("mammogram_id", ignore_index=True)

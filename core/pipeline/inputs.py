"""Input tables shared by the pipeline steps.

Database reads run on rank 0 and are broadcast to all ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core import store
from core.distributed import rank_zero_query
from core.errors import UserError
from core.images.working_images import WorkingImages
from core.settings import ImageSettings
from core.settings.sections import SettingsSection
from core.store import dataset_table, run_table

# An image of unknown pixel size counts as this wide, which is that of the usual film and detector.
_USUAL_WIDTH_MM = 240.0


@dataclass(frozen=True)
class StepResult:
    """The run of a step. created: False if the run existed already."""

    run: str
    created: bool


def named_settings(section: SettingsSection, added_later: Sequence[str]) -> dict[str, Any]:
    """Return the settings that enter the name of a run.

    Settings that were added later are left out at their default values, so that runs made before
    them keep their names.
    """
    fields = type(section).model_fields
    unused = {name for name in added_later if getattr(section, name) == fields[name].get_default()}
    return section.model_dump(exclude=unused)


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


def breast_rule(settings: ImageSettings) -> dict[str, Any]:
    """Return what of the image settings a train run depends on; {} where nothing is masked.

    The key names the rule in the run's settings, from which later steps read it.
    """
    if settings.outside_breast == "keep":
        return {}
    rule = {"margin": settings.breast_margin, "unit": settings.breast_margin_unit}
    return {"outside_breast": rule}


def open_training_images(study: Path, train_run: str) -> WorkingImages:
    """Return the working images as the network of a train run has seen them."""
    return open_images(study, load_run_settings(study, train_run))


def open_images(study: Path, request: Mapping[str, Any]) -> WorkingImages:
    """Return the working images at the input side of a train run's request.

    They are masked if the request says so.
    """
    rule = request.get("outside_breast")
    margins = None if rule is None else load_breast_margins(study, rule)
    return WorkingImages(study, margins, request.get("input_side"))


@rank_zero_query
def load_run_settings(study: Path, run: str) -> dict[str, Any]:
    """Return the settings of a run, as its request held them."""
    with store.read(study) as con:
        return run_table.load_run(con, run)["settings"]


def load_breast_rule(study: Path, train_run: str) -> dict[str, Any] | None:
    """Return margin and unit of a train run that masks what lies outside the breast, else None."""
    return load_run_settings(study, train_run).get("outside_breast")


@rank_zero_query
def load_breast_margins(study: Path, rule: Mapping[str, Any] | None = None) -> dict[str, float]:
    """Return the margin around the breast in pixels of each working image, by file name.

    rule: margin and unit as `breast_rule` gives them; None: the default margin.
    """
    default = ImageSettings()
    margin, unit = default.breast_margin, default.breast_margin_unit
    if rule is not None:
        margin, unit = rule["margin"], rule["unit"]
    with store.read(study) as con:
        mammograms = dataset_table.load_mammograms(con)
    if unit == "pixels":
        return dict.fromkeys(mammograms["file"], float(margin))
    width_mm = (mammograms["pixel_mm"] * mammograms["source_width"]).fillna(_USUAL_WIDTH_MM)
    pixels = margin * mammograms["width"] / width_mm
    return dict(zip(mammograms["file"], pixels.astype(float)))


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
        left_out = run_table.load_run(con, patches_run)["manifest"].get("left_out", [])
    mammograms = mammograms[~mammograms["mammogram_id"].isin(left_out)]
    mammograms = mammograms.merge(truth, on="mammogram_id").merge(patient_splits, on="patient_id")
    # A nullable integer: a mammogram with only unproven findings has no truth.
    mammograms["truth"] = mammograms["truth"].astype("Int64")
    mammograms = mammograms[mammograms["split"].isin(splits)]
    return mammograms.sort_values("mammogram_id", ignore_index=True)

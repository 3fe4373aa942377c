"""Network half of step `descriptor_association`: activations and map overlap on a patch sample.

The sample holds all patches that touch a finding (at most 4,000) and 1,000 others, which are
weighted by the inverse of the share drawn. Overlap is the IoU of Network Dissection (Bau et al.
2017) at the unit's quantile threshold over the sample, at the resolution of the unit's map: a cell
counts by its covered share. `evaluation.pipeline.descriptor_association` measures the result.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from core import lineage, runs, store
from core.images.working_images import PatchReader, WorkingImages
from core.interpretation import concept_masks, inference
from core.interpretation.feature_maps import FeatureProbe
from core.interpretation.inference import BATCH_SIZE
from core.pipeline.inputs import load_patch_table, open_training_images
from core.progress import ProgressCallback
from core.store import dataset_table, run_table, unit_table

MAX_TOUCHING, MAX_OTHERS = 4_000, 1_000


@dataclass(frozen=True, kw_only=True)
class DescriptorSample:
    """A sample of dissected patches with known descriptors.

    descriptors: names [d]; present: bool [patches, d]; patients: str [patches]; units: indices of
    the living units; activations: float32 [units, patches]; iou: float [units, d], nan for
    descriptors without a mask; inference: form in which the classifier ran
    (`Classifier.inference`).
    """

    descriptors: list[str]
    present: np.ndarray
    patients: np.ndarray
    units: np.ndarray
    activations: np.ndarray
    iou: np.ndarray
    inference: dict[str, str | float]


def sample_patches(patches: pd.DataFrame, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the sample.

    Returns
    -------
    rows : ndarray of int
        Row numbers of the sample, ascending.
    weights : ndarray of float
        Per row, the inverse of the share that was drawn of its kind.
    """
    covers = [column for column in patches.columns if column.endswith("_cover")]
    touching = patches[covers].max(axis=1).to_numpy() > 0
    rng, rows, weights = np.random.default_rng([seed, 13]), [], []
    for is_kind, most in ((touching, MAX_TOUCHING), (~touching, MAX_OTHERS)):
        available = np.flatnonzero(is_kind)
        drawn = rng.choice(available, min(most, len(available)), replace=False)
        rows.append(drawn)
        weights.append(np.full(len(drawn), len(available) / max(len(drawn), 1)))
    # Ascending rows read the mapped activations in the order of the file.
    order = np.argsort(np.concatenate(rows))
    return np.concatenate(rows)[order], np.concatenate(weights)[order]


def measure_sample(study: Path, dissect_run: str, report: ProgressCallback) -> DescriptorSample:
    """Return the descriptors, activations and overlaps of a sample of a dissect run's patches."""
    patches_run = lineage.ancestor_run(study, dissect_run, "patches")
    with store.read(study) as con:
        run = run_table.load_run(con, dissect_run)
        units = unit_table.load_units(con, dissect_run).sort_values("unit")
        findings = dataset_table.load_findings(con)
        mammograms = dataset_table.load_mammograms(con)
        patients = dataset_table.load_patients(con)
        rule = run_table.load_run(con, patches_run)["settings"]["patches"]
    patches = load_patch_table(study, patches_run, list(run["settings"]["dissection"]["splits"]))
    patches = patches.merge(
        mammograms[["mammogram_id", "view", "has_concepts"]], on="mammogram_id"
    ).merge(patients[["patient_id", "density"]], on="patient_id")
    # The rows of activations.npy are in order of patch_id.
    patches = patches.sort_values("patch_id", ignore_index=True)
    rows, weights = sample_patches(patches, 1)
    patches = patches.iloc[rows].reset_index(drop=True)
    train_run = lineage.ancestor_run(study, dissect_run, "train")
    images = open_training_images(study, train_run)
    truths = list(
        concept_masks.patch_truths(
            WorkingImages(study), patches, findings, rule["min_overlap"], rule["rule"]
        )
    )
    names = sorted({name for truth in truths for name in truth.descriptors})
    activations = np.load(runs.run_folder(study, dissect_run) / "activations.npy", mmap_mode="r")
    # A dead unit is 0 on every patch after ReLU: its AUC would be .5 by ties alone.
    alive = np.flatnonzero(~units["dead"].to_numpy())
    network = inference.load_network(study, train_run)
    iou = compute_overlaps(
        FeatureProbe(network, run["manifest"]["layer"]),
        PatchReader(images, patches),
        truths,
        names,
        weights,
        units["quantile"].to_numpy(np.float32),
        report,
    )
    return DescriptorSample(
        descriptors=names,
        present=np.array([[name in truth.descriptors for name in names] for truth in truths]),
        patients=patches["patient_id"].to_numpy(str),
        units=alive,
        activations=np.array(activations[rows], np.float32).T[alive],
        iou=iou[alive],
        inference=network.inference,
    )


@torch.inference_mode()
def compute_overlaps(
    probe: FeatureProbe,
    reader: PatchReader,
    truths: list[concept_masks.PatchTruth],
    names: list[str],
    weights: np.ndarray,
    quantile: np.ndarray,
    report: ProgressCallback,
) -> np.ndarray:
    """Return the IoU of highlighted regions with descriptor masks.

    Parameters
    ----------
    probe : FeatureProbe
        The layer whose units are measured.
    reader : PatchReader
        The patches, in the order of `truths`.
    truths : list of PatchTruth
        The known content of each patch.
    names : list of str
        Descriptors [d].
    weights : ndarray of float, shape (patches,)
        Weight of each patch.
    quantile : ndarray of float32, shape (units,)
        A unit's region is where its map exceeds this value.
    report : callable
        Progress callback.

    Returns
    -------
    ndarray of float, shape (units, d)
        nan for descriptors without a mask.
    """
    index = {name: i for i, name in enumerate(names)}
    # [batch, unit, y, x]
    level = torch.tensor(quantile)[None, :, None, None]
    both = torch.zeros(len(quantile), len(names))
    region, mask = torch.zeros(len(quantile)), torch.zeros(len(names))
    with probe.attached():
        for start in range(0, len(reader), BATCH_SIZE):
            rows = np.arange(start, min(start + BATCH_SIZE, len(reader)))
            maps = probe.forward(torch.from_numpy(reader.batch(rows)))[0].cpu()
            weight = torch.from_numpy(weights[rows]).float()
            above = (maps > level).float() * weight[:, None, None, None]
            cells = _mask_cells([truths[row] for row in rows], index, maps.shape[2:])
            # Map cells [batch, unit, y, x] with masks [batch, descriptor, y, x].
            both += torch.einsum("buhw,bchw->uc", above, cells)
            region += above.sum((0, 2, 3))
            mask += (cells * weight[:, None, None, None]).sum((0, 2, 3))
            report(int(rows[-1]) + 1, len(reader), "patches of the sample")
    # Inclusion and exclusion of region and mask.
    union = region[:, None] + mask[None] - both
    return torch.where((mask[None] > 0) & (union > 0), both / union, torch.nan).numpy()


def _mask_cells(
    truths: list[concept_masks.PatchTruth], index: dict[str, int], shape: torch.Size
) -> torch.Tensor:
    """Return the covered share of every map cell, float [patches, descriptors, *shape]."""
    cells = torch.zeros(len(truths), len(index), *shape)
    for i, truth in enumerate(truths):
        for name, pixels in truth.masks.items():
            if name in index:
                image = torch.from_numpy(pixels).float()[None]
                cells[i, index[name]] = F.adaptive_avg_pool2d(image, (shape[0], shape[1]))[0]
    return cells

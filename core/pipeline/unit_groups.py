"""Step `group`: groups of units that respond to the same thing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import lineage, runs, store
from core.interpretation.unit_groups import GROUP_SIMILARITY, group_units
from core.pipeline.inputs import StepResult, load_patch_table
from core.progress import ProgressCallback
from core.store import unit_table

_VERSION = 1
RUN_KIND = "groups"


@dataclass(frozen=True)
class UnitResponses:
    """What the similarity of units is measured on.

    activations: float [patches of the split, units]; split: their name; top: int [units, k], ids of
    each unit's top patches; patches: number of patches among which these were found.
    """

    activations: np.ndarray
    split: str
    top: np.ndarray
    patches: int


def load_unit_responses(study: Path, dissect: str) -> UnitResponses:
    """Return the responses of a dissect run's units on hold-out patches, without any on all."""
    patches_run = lineage.ancestor_run(study, dissect, "patches")
    folder = runs.run_folder(study, dissect)
    activations = np.load(folder / "activations.npy", mmap_mode="r")
    patch_ids = np.load(folder / "patch_ids.npy")
    holdout = load_patch_table(study, patches_run, ["holdout"])["patch_id"].to_numpy()
    rows = np.flatnonzero(np.isin(patch_ids, holdout))
    with store.read(study) as con:
        top = unit_table.load_top_patches(con, dissect, patches_run)
    return UnitResponses(
        activations=activations[rows] if len(rows) else activations,
        split="holdout" if len(rows) else "all dissected splits",
        # Rows are in order of unit and rank, and every unit has the same number.
        top=top["patch_id"].to_numpy().reshape(activations.shape[1], -1),
        patches=len(patch_ids),
    )


def run_grouping(study: Path, report: ProgressCallback, dissect: str | None = None) -> StepResult:
    """Group the units of a dissect run, by default of the latest one.

    Correlations are taken on the hold-out patches that were dissected; without any, on all patches
    that were. The groups stand in the manifest of the run.
    """
    dissected = lineage.resolve_run(study, "dissect", dissect)
    try:
        settings = {"similarity": GROUP_SIMILARITY}
        with runs.create_run(study, RUN_KIND, _VERSION, settings, [dissected], "") as run:
            responses = load_unit_responses(study, dissected)
            groups = group_units(responses.activations, responses.top, responses.patches)
            units = len(responses.top)
            run.track_progress(report)(units, units, "units")
            run.manifest |= {
                "groups": groups,
                "split": responses.split,
                "patches": len(responses.activations),
            }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)

"""Step `group`: groups of units that respond to the same thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from core import lineage, runs, store
from core.interpretation.unit_groups import GROUP_SIMILARITY, group_units
from core.pipeline.inputs import StepResult, load_patch_table
from core.progress import ProgressCallback
from core.store import unit_table

_VERSION = 1
RUN_KIND = "groups"


def run_grouping(study: Path, report: ProgressCallback, dissect: str | None = None) -> StepResult:
    """Group the units of a dissect run, by default of the latest one.

    Correlations are taken on the hold-out patches that were dissected; without any, on all patches
    that were. The groups stand in the manifest of the run.
    """
    dissected = lineage.resolve_run(study, "dissect", dissect)
    patches_run = lineage.ancestor_run(study, dissected, "patches")
    try:
        settings = {"similarity": GROUP_SIMILARITY}
        with runs.create_run(study, RUN_KIND, _VERSION, settings, [dissected], "") as run:
            folder = runs.run_folder(study, dissected)
            activations = np.load(folder / "activations.npy", mmap_mode="r")
            patch_ids = np.load(folder / "patch_ids.npy")
            holdout = load_patch_table(study, patches_run, ["holdout"])["patch_id"].to_numpy()
            rows = np.flatnonzero(np.isin(patch_ids, holdout))
            used = activations[rows] if len(rows) else activations
            with store.read(study) as con:
                top = unit_table.load_top_patches(con, dissected, patches_run)
            # [units, k]; rows are in order of unit and rank, and every unit has the same number.
            by_unit = top["patch_id"].to_numpy().reshape(activations.shape[1], -1)
            groups = group_units(used, by_unit, len(patch_ids))
            run.track_progress(report)(len(by_unit), len(by_unit), "units")
            run.manifest |= {
                "groups": groups,
                "split": "holdout" if len(rows) else "all dissected splits",
                "patches": len(used),
            }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)

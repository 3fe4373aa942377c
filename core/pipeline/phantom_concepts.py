"""Pipeline step `concepts`: association of units with the phantom's concepts.

It needs synthetic mammograms, whose concept masks are known.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.annotation.simulated_experts import TOP_PATCHES, ConceptShare, concept_shares
from core.images.working_images import WorkingImages
from core.pipeline.inputs import StepResult
from core.progress import ProgressCallback
from core.sources.phantom.concepts import Concept
from core.store import run_table, unit_table

_VERSION = 2


def run_phantom_concepts(study: Path, report: ProgressCallback, dissect: str) -> StepResult:
    """Store the concept shares and IoU of every living unit of a dissect run."""
    try:
        with runs.create_run(study, "concepts", _VERSION, {}, [dissect], "") as run:
            rows = [
                {
                    "unit": share.unit,
                    "concept": str(share.concept.name).lower(),
                    "share": share.share,
                    "iou": share.iou,
                }
                for share in compute_concept_shares(study, dissect)
            ]
            columns = ["unit", "concept", "share", "iou"]
            run.add_table("concepts", pd.DataFrame(rows, columns=columns))
            report(1, 1, "tables")
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def compute_concept_shares(study: Path, dissect: str) -> list[ConceptShare]:
    """Return the shares of all concepts, in order of unit and falling share."""
    patches_run = lineage.ancestor_run(study, dissect, "patches")
    with store.read(study) as con:
        threshold = run_table.load_run(con, dissect)["settings"]["dissection"]["threshold"]
        units = unit_table.load_units(con, dissect)
        top = unit_table.load_top_patches(con, dissect, patches_run, most=TOP_PATCHES)
    largest = dict(zip(units["unit"].astype(int), units["largest"].astype(float)))
    maps = np.load(runs.run_folder(study, dissect) / "top_maps.npy", mmap_mode="r")
    # A dead unit responds to no patch; ties make the first patches its top ones.
    alive = set(units[~units["dead"]]["unit"])
    living_top = top[top["unit"].isin(alive)]
    return concept_shares(WorkingImages(study), living_top, maps, largest, threshold)


def concept_shares_by_unit(frame: pd.DataFrame) -> dict[int, list[ConceptShare]]:
    """Return the rows of a concepts table by unit, in order of the table."""
    shares: dict[int, list[ConceptShare]] = {}
    for row in frame.itertuples():
        share = ConceptShare(
            unit=int(row.unit),
            concept=Concept[row.concept.upper()],
            share=float(row.share),
            iou=float(row.iou),
        )
        shares.setdefault(share.unit, []).append(share)
    return shares

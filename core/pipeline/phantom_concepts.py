"""Step `concepts`: which of the phantom's concepts each unit answers to.

Only where the mammograms are synthetic and know what they show.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core import runs, store
from core.annotation.simulated_experts import TOP, ConceptShare, concept_shares
from core.images.working_images import Films
from core.pipeline.inputs import StepResult, parent_of
from core.runs import Report
from core.sources.phantom.concepts import Concept
from core.store import run_table, unit_table

VERSION = 1


def make(study: Path, report: Report, dissect: str) -> StepResult:
    """Concept shares and IoU of every living unit of a dissect run."""
    try:
        with runs.building(study, "concepts", VERSION, {}, [dissect], "") as run:
            shares = measure(study, dissect)
            rows = [(s.unit, str(s.concept.name).lower(), s.share, s.iou) for s in shares]
            run.table("concepts", pd.DataFrame(rows, columns=["unit", "concept", "share", "iou"]))
            report(1, 1, "tables")
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def measure(study: Path, dissect: str) -> list[ConceptShare]:
    """Shares in order of unit, best concept first."""
    patches_run = parent_of(study, dissect, "patches")
    with store.read(study) as con:
        threshold = run_table.get(con, dissect)["settings"]["dissection"]["threshold"]
        units = unit_table.units(con, dissect)
        top = unit_table.top_patches(con, dissect, patches_run, most=TOP)
    largest = dict(zip(units["unit"].astype(int), units["largest"].astype(float)))
    maps = np.load(runs.folder(study, dissect) / "top_maps.npy", mmap_mode="r")
    alive = set(units[~units["dead"]]["unit"])
    return concept_shares(Films(study), top[top["unit"].isin(alive)], maps, largest, threshold)


def from_table(frame: pd.DataFrame) -> dict[int, list[ConceptShare]]:
    """A concepts table as shares per unit, best first."""
    found: dict[int, list[ConceptShare]] = {}
    for row in frame.itertuples():
        found.setdefault(int(row.unit), []).append(
            ConceptShare(
                int(row.unit), Concept[row.concept.upper()], float(row.share), float(row.iou)
            )
        )
    return found

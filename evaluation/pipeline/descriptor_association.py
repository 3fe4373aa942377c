"""Step `descriptor_association`: association of units with the descriptors of the reports.

For every living unit and every descriptor: the AUC of the unit's activation, with patients as
clusters, and the overlap of its region with the descriptor's mask. The network runs in
`core.pipeline.descriptor_overlap`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core import runs
from core.interpretation.concept_masks import FINDING_DESCRIPTOR, comparison_group
from core.pipeline.descriptor_overlap import (
    MAX_OTHERS,
    MAX_TOUCHING,
    DescriptorSample,
    measure_sample,
)
from core.pipeline.inputs import StepResult
from core.progress import ProgressCallback
from evaluation.annotation.descriptor_association import adjusted_p_values, descriptor_aucs

_VERSION = 1


def run_descriptor_association(study: Path, report: ProgressCallback, dissect: str) -> StepResult:
    """Measure the units of a dissect run."""
    settings = {"touching": MAX_TOUCHING, "others": MAX_OTHERS}
    try:
        with runs.create_run(
            study, "descriptor_association", _VERSION, settings, [dissect], ""
        ) as run:
            sample = measure_sample(study, dissect, run.track_progress(report))
            run.add_table("descriptor_associations", association_table(sample))
            run.manifest |= {
                "patches": len(sample.patients),
                "descriptors": sample.descriptors,
                "inference": sample.inference,
            }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def association_table(sample: DescriptorSample) -> pd.DataFrame:
    """Return one row per living unit and descriptor.

    Columns: unit, descriptor, contrast, auc, low, high, p, p_adjusted, iou, positives, patients.
    """
    parts = [
        _descriptor_rows(sample, column).assign(
            unit=sample.units.astype(np.int32), iou=sample.iou[:, column]
        )
        for column in range(len(sample.descriptors))
    ]
    table = pd.concat(parts, ignore_index=True)
    # One family of tests: all units and descriptors of the run together.
    return table.assign(p_adjusted=adjusted_p_values(table))


def _descriptor_rows(sample: DescriptorSample, column: int) -> pd.DataFrame:
    """Return the association of every unit with one descriptor.

    Words of a report are compared among patches with a finding, all others among all patches.
    """
    descriptor, positive = sample.descriptors[column], sample.present[:, column]
    contrast, among = comparison_group(descriptor), np.ones(len(positive), bool)
    if contrast == "other findings" and FINDING_DESCRIPTOR in sample.descriptors:
        finding = sample.present[:, sample.descriptors.index(FINDING_DESCRIPTOR)]
        among = positive | finding
    rows = descriptor_aucs(sample.activations[:, among], positive[among], sample.patients[among])
    return rows.assign(
        descriptor=descriptor,
        contrast=contrast,
        positives=int(positive.sum()),
        patients=len(set(sample.patients[positive])),
    )

"""Stored associations of units with descriptors, and checks of the labels in a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from core import store
from core.lexicon.annotation_answers import phenomena_in_label
from core.settings import load_order_of_experts
from core.store import annotation_table, dataset_table, run_table, unit_table
from core.store.labels import label_states
from evaluation.annotation.descriptor_association import LabelCheck, check_label


def association_run(study: Path, dissect: str) -> str | None:
    """Return the descriptor association run of a dissection, or None."""
    with store.read(study) as con:
        return run_table.latest_run(con, "descriptor_association", dissect)


def unit_associations(study: Path, dissect: str, unit: int) -> pd.DataFrame:
    """Return the descriptors of a unit, the largest AUC first.

    Returns
    -------
    DataFrame
        descriptor, contrast, auc, low, high, p, p_adjusted, iou, positives, patients; empty without
        an association run.
    """
    run = association_run(study, dissect)
    if run is None:
        return pd.DataFrame(columns=["descriptor", "auc"])
    with store.read(study) as con:
        # The AUC of a descriptor is missing where too few patients have it.
        return unit_table.load_descriptor_associations(con, run, unit).sort_values(
            "auc", ascending=False, na_position="last", ignore_index=True
        )


def label_checks(
    study: Path, dissect: str, units: Sequence[int] | None = None
) -> dict[int, tuple[LabelCheck, ...]]:
    """Check every descriptor of the labels of a dissection against the reports.

    The labels are those that count now, so that no check belongs to an earlier label.

    Parameters
    ----------
    study : Path
        The study folder.
    dissect : str
        Id of the dissect run.
    units : sequence of int, optional
        0-based units; default all labelled units.

    Returns
    -------
    dict
        Unit to the checks of its descriptors; empty without an association run.
    """
    run = association_run(study, dissect)
    if run is None:
        return {}
    with store.read(study) as con:
        labels = label_states.unit_labels(con, dissect, load_order_of_experts(study))
        # Every version: of a person who left, the answer of that time counts.
        annotations = annotation_table.load_annotations(con, dissect, versions=True)
        associations = unit_table.load_descriptor_associations(con, run)
        lexicon = dataset_table.load_lexicon(con)
    answers = annotations.set_index("annotation_id")["answer"]
    checks = {}
    for unit, label in labels.items():
        if units is None or unit in units:
            # A label may rest on several annotations, and a decision may word it otherwise.
            sources = [answers.loc[i] for i in label.annotation_ids if i in answers.index]
            phenomena = phenomena_in_label(label.text, sources, lexicon)
            checks[unit] = check_label(associations, unit, label.text, {"phenomena": phenomena})
    return checks


def overlap_by_unit(study: Path, dissect: str, descriptor: str | None = None) -> pd.DataFrame:
    """Return the overlap of each unit with one descriptor, or the largest overlap with a finding.

    Returns
    -------
    DataFrame
        One row per unit with unit, descriptor, iou, auc, p_adjusted; empty without an association
        run.
    """
    run = association_run(study, dissect)
    if run is None:
        return pd.DataFrame({"unit": pd.Series(dtype=int), "descriptor": [], "iou": [], "auc": []})
    with store.read(study) as con:
        associations = unit_table.load_descriptor_associations(con, run)
    is_selected = (
        associations["descriptor"] == descriptor
        if descriptor
        else associations["contrast"] == "other findings"
    )
    # The first row of each unit then has its largest overlap.
    ordered = associations[is_selected].sort_values(["unit", "iou"], ascending=[True, False])
    columns = ["unit", "descriptor", "iou", "auc", "p_adjusted"]
    return ordered.drop_duplicates("unit")[columns].reset_index(drop=True)


def list_descriptors(study: Path, dissect: str) -> list[str]:
    """Return the measured descriptors by name; empty without an association run."""
    run = association_run(study, dissect)
    if run is None:
        return []
    with store.read(study) as con:
        return unit_table.load_measured_descriptors(con, run)

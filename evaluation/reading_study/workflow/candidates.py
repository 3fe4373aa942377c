"""Candidate images of a reading study: truth by each rule, network score and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import lineage, store
from core.class_labels import UNPROVEN as UNPROVEN_PATHOLOGY
from core.class_labels import ClassDefinition
from core.errors import UserError
from core.sessions.arms import shows_texts
from core.settings import load_order_of_experts
from core.store import dataset_table, run_table, unit_table
from core.store.connection import Connection
from core.store.labels.label_sets import DEFAULT_SET, load_label_set
from evaluation.reading_study.case_selection import explanation_texts
from evaluation.reading_study.design import UNPROVEN, Design, design_for_classes
from evaluation.roc.diagnostic import fixed_threshold

# Most influential units that an explain run stores per mammogram and class.
MAX_INFLUENTIAL_UNITS = 64
# Second seed of the arm random_units, so that its draws are independent of the case selection.
_RANDOM_UNITS_STREAM = 11


def has_simulated_material(study: Path, explain: str, label_set: str = DEFAULT_SET) -> bool:
    """Return whether the mammograms or the labels of a set behind an explain run are simulated."""
    return lineage.has_simulated_images(study) or lineage.has_simulated_labels(
        study, explain, label_set
    )


def study_design(study: Path, explain: str, design: Design) -> Design:
    """Return a design about the positive and the comparison class of an explain run's study."""
    classes = lineage.run_classes(study, explain)
    return design_for_classes(design, classes.positive, classes.comparison)


def candidate_images(study: Path, explain: str, design: Design) -> pd.DataFrame:
    """Return every explained mammogram as a candidate for `case_selection.choose_cases`.

    Parameters
    ----------
    study : Path
        The study folder.
    explain : str
        Id of the explain run.
    design : Design
        Decides the texts.

    Returns
    -------
    DataFrame
        mammogram_id, patient_id, split, network_score, predicted (lesion class), texts,
        random_texts (of randomly drawn labelled units) and the columns of `truth_by_rule`.

    Raises
    ------
    UserError
        If the truth rule is unavailable, or texts are needed and no unit is labelled.
    """
    dissect = lineage.ancestor_run(study, explain, "dissect")
    with store.read(study) as con:
        frame = unit_table.load_explanations(con, explain)
        influences = unit_table.load_top_influences(con, explain, MAX_INFLUENTIAL_UNITS)
        unit_labels = load_label_set(con, dissect, design.label_set, load_order_of_experts(study))
        truth = load_truth_by_rule(con, design)
        classes = run_table.run_classes(con, explain)
    # A mammogram without segmented tissue has neither a decision nor a score.
    frame = frame[frame["predicted"] >= 0]
    labels = {unit: label.text for unit, label in unit_labels.items()}
    if design.truth_rule == "folder" and truth["folder"].isna().all():
        raise UserError(
            "The truth rule folder requires a source that files its patients by diagnosis, and this"
            " study has none; choose the rule any malignant or first abnormality."
        )
    if not labels and any(map(shows_texts, design.arms)):
        raise UserError(
            "No unit is labelled yet, so no explanation has texts; let an expert annotate"
            " (Participants page), decide where experts differ (Annotations page, Adjudication), or"
            " name another label set."
        )
    predicted = [_compared_class(row, classes, design) for row in frame.to_dict("records")]
    positive = classes.positive_code
    codes = [
        classes.names.index(name) if design.influence_class == "predicted" else positive
        for name in predicted
    ]
    texts, random_texts = _case_texts(frame, codes, influences, labels, design)
    return pd.DataFrame(
        {
            "mammogram_id": frame["mammogram_id"],
            "patient_id": frame["patient_id"],
            "split": frame["split"],
            "network_score": frame[f"p_{design.positive}"],
            "predicted": predicted,
            "texts": texts,
            "random_texts": random_texts,
        }
    ).merge(truth, on="mammogram_id", how="left")


def _compared_class(row: Mapping[str, Any], classes: ClassDefinition, design: Design) -> str:
    """Return which of the two compared classes a mammogram is predicted as, ties positive."""
    if not {design.positive, design.comparison} <= set(classes.scored):
        # Of two outputs, what is not positive.
        return classes.names[int(row["lesion_class"])]
    is_positive = row[f"p_{design.positive}"] >= row[f"p_{design.comparison}"]
    return design.positive if is_positive else design.comparison


def _case_texts(
    frame: pd.DataFrame,
    codes: Sequence[int],
    influences: pd.DataFrame,
    labels: Mapping[int, str],
    design: Design,
) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    """Return the texts of each explained mammogram: by influence, and of randomly drawn units."""
    units_by_influence: dict[tuple[str, int], Sequence[int]] = {
        key: rows["unit"].tolist() for key, rows in influences.groupby(["mammogram_id", "class"])
    }
    generator = np.random.default_rng([design.seed, _RANDOM_UNITS_STREAM])
    # Sorted, so that the draws depend on the seed and not on the order of the rows.
    labelled_units = sorted(labels)
    # Drawn units are all labelled, so a depth would shorten the texts of this arm only.
    any_depth = replace(design, depth=None)
    texts, random_texts = [], []
    for mammogram_id, code in zip(frame["mammogram_id"], codes):
        units = units_by_influence.get((mammogram_id, code), [])
        texts.append(explanation_texts(units, labels, design))
        drawn = list(generator.permutation(labelled_units))
        random_texts.append(explanation_texts(drawn, labels, any_depth))
    return texts, random_texts


def load_truth_by_rule(con: Connection, design: Design) -> pd.DataFrame:
    """Return the truth of every mammogram by each truth rule.

    Parameters
    ----------
    con : Connection
        To the store of the study.
    design : Design
        Names the two classes that are compared.

    Returns
    -------
    DataFrame
        mammogram_id and, as malignant (the positive class), benign (the compared class), unproven
        or None (another class): any_malignant (the worst finding), first_abnormality, and folder
        (the diagnosis under which the source files the patient; None if the source does not).
    """
    patients = dataset_table.load_patients(con)[["patient_id", "filed_as"]]
    diagnoses = {
        patient: diagnosis if isinstance(diagnosis, str) else None
        for patient, diagnosis in patients.itertuples(index=False)
    }
    # The rule first_abnormality follows the numbers that DDSM gives to the abnormalities.
    first_pathology = dataset_table.load_first_pathologies(con)
    classes = dataset_table.load_classes(con)
    compared = (design.positive, design.comparison)

    def compared_name(code: int) -> str | None:
        """Return the name of a class that is compared, else None."""
        return classes.names[code] if classes.names[code] in compared else None

    def pathology_truth(pathology: str | None) -> str | None:
        """Return the truth of a finding's pathology."""
        if pathology in classes.pathology_codes:
            return compared_name(classes.pathology_codes[pathology])
        return UNPROVEN if pathology == UNPROVEN_PATHOLOGY else None

    rows = []
    for mammogram in dataset_table.load_image_truth(con).to_dict("records"):
        code = mammogram["truth"]
        # A missing code means that the findings of the image are unproven.
        worst = UNPROVEN if pd.isna(code) else compared_name(int(code))
        rows.append(
            {
                "mammogram_id": mammogram["mammogram_id"],
                "any_malignant": worst,
                "first_abnormality": (
                    pathology_truth(first_pathology[mammogram["mammogram_id"]])
                    if mammogram["mammogram_id"] in first_pathology
                    else worst
                ),
                "folder": pathology_truth(diagnoses.get(mammogram["patient_id"])),
            }
        )
    return pd.DataFrame(rows)


def holdout_threshold(study: Path, explain: str, design: Design) -> float | None:
    """Return the network's threshold for malignant against benign, fixed on the hold-out split.

    These are the two classes that the design compares.

    The threshold has the largest Youden index in the evaluate run that the explain run is based on.
    Other mammograms are excluded because they are not cases of a reading study.

    Parameters
    ----------
    study : Path
        The study folder.
    explain : str
        Id of the explain run.
    design : Design
        Names the two classes.

    Returns
    -------
    float or None
        None if the hold-out split lacks one of the two classes.
    """
    with store.read(study) as con:
        run = run_table.ancestor(con, explain, "evaluate")
        scores = unit_table.load_image_scores(con, run, "holdout")
        names = run_table.run_classes(con, run).names
    compared = [names.index(name) for name in (design.comparison, design.positive)]
    scores = scores[scores["truth"].isin(compared)]
    positive = (scores["truth"] == compared[1]).to_numpy(bool)
    if positive.all() or not positive.any():
        return None
    return fixed_threshold(positive, scores[f"s_{design.positive}"].to_numpy(float), "youden")

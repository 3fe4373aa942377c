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
from evaluation.reading_study.case_texts import explaining_units, explanation_texts
from evaluation.reading_study.design import UNPROVEN, Design, design_for_classes
from evaluation.reading_study.workflow.exams import pool_exams, pool_influences
from evaluation.roc.diagnostic import fixed_threshold

# Most influential units that an explain run stores per mammogram and class.
MAX_INFLUENTIAL_UNITS = 64
# Second seed of the arm random_units, so that its draws are independent of the case selection.
_RANDOM_UNITS_STREAM = 11
# Stands for a pathology of no class.
_OTHER_CLASS = -1.0


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
        random_texts (of randomly drawn labelled units) and the columns of `truth_by_rule`. For a
        design of exams one row per patient, with films, fits (see `exams.pool_exams`) and
        text_films, the film of each text.

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
        ingested = dataset_table.load_mammograms(con)["patient_id"].value_counts()
        associations = dataset_table.load_lexicon(con).association_names
    # A mammogram without segmented tissue has neither a decision nor a score.
    frame = frame[frame["predicted"] >= 0]
    if design.case_unit == "exam":
        influences = pool_influences(influences, frame)
        frame = pool_exams(frame, ingested, classes)
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
    decisions = decision_columns(frame, classes, design)
    predicted = decisions["predicted"]
    positive = classes.positive_code
    codes = [
        classes.names.index(name) if design.influence_class == "predicted" else positive
        for name in predicted
    ]
    texts = _case_texts(frame, codes, influences, labels, design, associations)
    columns = ["films", "fits"] if design.case_unit == "exam" else []
    candidates = pd.DataFrame(
        {
            "mammogram_id": frame["mammogram_id"],
            "patient_id": frame["patient_id"],
            "split": frame["split"],
            "network_score": frame[f"p_{design.positive}"],
            **decisions,
        }
    )
    return candidates.join(texts).join(frame[columns]).merge(truth, on="mammogram_id", how="left")


def decision_columns(
    frame: pd.DataFrame, classes: ClassDefinition, design: Design
) -> dict[str, list[Any]]:
    """Return the network's decision between the two compared classes for explained images.

    Parameters
    ----------
    frame : DataFrame
        Explained images with lesion_class and the probability of each class.
    classes : ClassDefinition
        Of the explain run.
    design : Design
        Names the two classes.

    Returns
    -------
    dict
        predicted, the name of the class, and advice_probability, that of the positive class among
        the two.
    """
    positive = frame[f"p_{design.positive}"].astype(float)
    total = 1.0
    if {design.positive, design.comparison} <= set(classes.scored):
        total = positive + frame[f"p_{design.comparison}"].astype(float)
    return {
        "predicted": [_compared_class(row, classes, design) for row in frame.to_dict("records")],
        # Without any probability of the two neither is preferred.
        "advice_probability": (positive / total).fillna(0.5).tolist(),
    }


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
    associations: Sequence[str],
) -> pd.DataFrame:
    """Return the texts of each case: by influence, and of randomly drawn units.

    The index is that of `frame`. For exams also text_films, the film of each text.
    """
    key = "patient_id" if design.case_unit == "exam" else "mammogram_id"
    by_case = dict(iter(influences.groupby([key, "class"])))
    none = influences.iloc[:0]
    generator = np.random.default_rng([design.seed, _RANDOM_UNITS_STREAM])
    # Sorted, so that the draws depend on the seed and not on the order of the rows.
    labelled_units = sorted(labels)
    # Drawn units are all labelled, so a depth would shorten the texts of this arm only.
    any_depth = replace(design, depth=None)
    rows: dict[str, list[tuple[str, ...]]] = {"texts": [], "random_texts": []}
    if design.case_unit == "exam":
        rows["text_films"] = []
    for case, code in zip(frame[key], codes, strict=True):
        ranked = by_case.get((case, code), none)
        chosen = explaining_units(ranked["unit"].tolist(), labels, design, associations)
        drawn = list(generator.permutation(labelled_units))
        rows["texts"].append(tuple(text for _, text in chosen))
        rows["random_texts"].append(explanation_texts(drawn, labels, any_depth, associations))
        if design.case_unit == "exam":
            films = dict(zip(ranked["unit"], ranked["film"], strict=True))
            rows["text_films"].append(tuple(films[unit] for unit, _ in chosen))
    return pd.DataFrame(rows, frame.index)


def load_truth_by_rule(con: Connection, design: Design) -> pd.DataFrame:
    """Return the truth of every mammogram by each truth rule.

    Parameters
    ----------
    con : Connection
        To the store of the study.
    design : Design
        Names the two classes that are compared, and says whether a case is an exam.

    Returns
    -------
    DataFrame
        mammogram_id and, as malignant (the positive class), benign (the compared class), unproven
        or None (another class): any_malignant (the worst finding), first_abnormality, and folder
        (the diagnosis under which the source files the patient; None if the source does not). The
        truth of an exam, the worst known one of its films, stands beside each film.
    """
    patients = dataset_table.load_patients(con)
    diagnoses = {
        patient: diagnosis if isinstance(diagnosis, str) else None
        for patient, diagnosis in zip(patients["patient_id"], patients["filed_as"])
    }
    # The rule first_abnormality follows the numbers that DDSM gives to the abnormalities.
    first_pathology = dataset_table.load_first_pathologies(con)
    classes = dataset_table.load_classes(con)
    codes = classes.pathology_codes
    compared = {design.positive, design.comparison}

    def pathology_code(pathology: str | None) -> float | None:
        """Return the code of a pathology: None if unproven, _OTHER_CLASS if it has none."""
        if pathology in codes:
            return codes[pathology]
        return None if pathology == UNPROVEN_PATHOLOGY else _OTHER_CLASS

    def compared_name(code: float) -> str | None:
        """Return the name of a class that is compared, else None."""
        if pd.isna(code):
            return UNPROVEN
        name = classes.names[int(code)] if code != _OTHER_CLASS else None
        return name if name in compared else None

    images = dataset_table.load_image_truth(con)
    # A missing code means that the findings of the image are unproven.
    worst = images["truth"].astype(float)
    first = pd.Series(
        [
            pathology_code(first_pathology[image]) if image in first_pathology else code
            for image, code in zip(images["mammogram_id"], worst, strict=True)
        ],
        index=images.index,
        dtype=float,
    )
    filed = [pathology_code(diagnoses.get(patient)) for patient in images["patient_id"]]
    if design.case_unit == "exam":
        # The largest known code; missing only where no film has a known one.
        of_patient = images["patient_id"]
        worst, first = (known.groupby(of_patient).transform("max") for known in (worst, first))
    return pd.DataFrame(
        {
            "mammogram_id": images["mammogram_id"],
            "any_malignant": [compared_name(code) for code in worst],
            "first_abnormality": [compared_name(code) for code in first],
            "folder": [compared_name(code) for code in pd.Series(filed, dtype=float)],
        }
    )


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

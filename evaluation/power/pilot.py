"""Assumptions of a planned study from the answers of one that has been read."""

from __future__ import annotations

import numpy as np
import pandas as pd

from evaluation.power.planner import StudyPower
from evaluation.power.reader_comparison import ComparisonVariances
from evaluation.power.readers_and_cases import DEFAULT_CORRELATIONS, AnswerCorrelations
from evaluation.roc.auc_variance import placements
from evaluation.validation import Array


def answer_correlations(values: Array, images: Array, patients: Array) -> AnswerCorrelations:
    """Estimate the correlations of answers to one image and to one patient.

    Parameters
    ----------
    values : ndarray of float, shape (n,)
        One value an answer, centred: correctness less its mean, or placement values less the AUC.
    images, patients : ndarray, shape (n,)
        Image and patient of each answer.

    Returns
    -------
    AnswerCorrelations
        Mean product of two answers divided by the mean square, within [0, 1]; the default of
        `AnswerCorrelations` for a kind of pair that does not occur.

    Examples
    --------
    >>> values = np.array([0.5, 0.5, 0.5, -0.5, -0.5, -0.5])
    >>> answer_correlations(values, np.array([0, 0, 1, 2, 2, 3]), np.array([0, 0, 0, 1, 1, 1]))
    AnswerCorrelations(same_image=1.0, same_patient=1.0)
    """
    table = pd.DataFrame({"value": values, "image": images, "patient": patients})
    square = float((values**2).sum())

    def products(columns: list[str]) -> tuple[float, float]:
        """Return sum and number of products over ordered pairs of a group, itself included."""
        groups = table.groupby(columns)["value"].agg(["sum", "size"])
        return float((groups["sum"] ** 2).sum()), float((groups["size"] ** 2).sum())

    image_sum, image_pairs = products(["patient", "image"])
    patient_sum, patient_pairs = products(["patient"])
    mean_square = square / len(values) if len(values) else 0.0

    def correlation(total: float, pairs: float, default: float) -> float:
        """Return the mean product of pairs over the mean square; the default without pairs."""
        if not pairs or not mean_square:
            return default
        return float(np.clip(total / pairs / mean_square, 0.0, 1.0))

    return AnswerCorrelations(
        same_image=correlation(
            image_sum - square, image_pairs - len(values), DEFAULT_CORRELATIONS.same_image
        ),
        same_patient=correlation(
            patient_sum - image_sum, patient_pairs - image_pairs, DEFAULT_CORRELATIONS.same_patient
        ),
    )


def pilot_plan(joined: pd.DataFrame, endpoint: str, arms: tuple[str, ...]) -> StudyPower:
    """Return the plan whose assumptions are those of a study that has been read.

    Parameters
    ----------
    joined : DataFrame
        Answers with their key: code, mammogram_id, patient_id, arm, repeat, malignant, answer,
        correct; unaided (the first answer) for a change.
    endpoint : {"proportion", "auc", "auc_difference", "advice_change"}
    arms : tuple of str
        Arms of the study; the first one is used, for a difference the first two.

    Returns
    -------
    StudyPower
        Expected value, numbers of readers, patients and images, and correlations or variances of
        the pilot study.

    Raises
    ------
    ValueError
        If the pilot study does not give the assumptions.
    """
    answers = joined[~joined["repeat"].astype(bool)]
    primary = answers[answers["arm"] == arms[0]]
    if primary.empty or primary["malignant"].nunique() < 2:
        raise ValueError("the pilot study needs answers to benign and malignant cases")
    if endpoint == "auc_difference":
        if len(arms) < 2:
            raise ValueError("the pilot study has one arm: a difference of arms needs two")
        sides = [(answers[answers["arm"] == arm], "answer") for arm in arms[:2]]
        return _paired_plan(endpoint, answers, sides)
    if endpoint == "advice_change":
        if "unaided" not in primary.columns:
            raise ValueError("the pilot study has no first answers: it gives no advice")
        return _paired_plan(endpoint, primary, [(primary, "answer"), (primary, "unaided")])
    truth, patients = primary["malignant"].to_numpy(dtype=bool), primary["patient_id"].nunique()
    if endpoint == "proportion":
        values = primary["correct"].to_numpy(dtype=float)
        expected = float(values.mean())
        values = values - expected
    else:
        placed = placements(truth, primary["answer"].to_numpy(dtype=float)[None])
        expected = float(placed.auc[0])
        values = np.empty(len(truth))
        values[truth], values[~truth] = placed.positive[0] - expected, placed.negative[0] - expected
    return StudyPower(
        endpoint=endpoint,
        expected=float(np.clip(expected, 0.01, 0.99)),
        correlations=answer_correlations(
            values, primary["mammogram_id"].to_numpy(), primary["patient_id"].to_numpy()
        ),
        patients=patients,
        readers=primary["code"].nunique(),
        images_per_patient=max(1, round(primary["mammogram_id"].nunique() / patients)),
    )


def _paired_plan(
    endpoint: str, answers: pd.DataFrame, sides: list[tuple[pd.DataFrame, str]]
) -> StudyPower:
    """Return the plan from two ratings of each image: answers and their column, of both sides."""
    from evaluation.mrmc import obuchowski_rockette

    tables = [
        rows.pivot_table(index="code", columns="mammogram_id", values=name) for rows, name in sides
    ]
    complete = (
        tables[0]
        .columns[tables[0].notna().all()]
        .intersection(tables[1].columns[tables[1].notna().all()])
    )
    readers = tables[0].index.intersection(tables[1].index)
    facts = answers.drop_duplicates("mammogram_id").set_index("mammogram_id").loc[complete]
    scores = np.stack([table.loc[readers, complete].to_numpy(dtype=float) for table in tables])
    result = obuchowski_rockette(
        scores,
        facts["malignant"].to_numpy(dtype=bool),
        covariance="delong",
        cluster=facts["patient_id"].to_numpy(),
    )
    if result.auc is None or result.p_value is None:
        raise ValueError(f"the pilot study gives no variance components: {result.reason}")
    patients = facts["patient_id"].nunique()
    return StudyPower(
        endpoint=endpoint,
        # Planning for the difference that a small pilot study happened to find is misleading, so
        # its size is kept and its sign dropped.
        expected=abs(float(result.auc[0].mean() - result.auc[1].mean())),
        side="two-sided",
        auc=float(result.auc.mean()),
        variances=ComparisonVariances.from_pilot(result, patients),
        patients=patients,
        readers=len(readers),
    )

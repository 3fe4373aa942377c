"""Confusion matrix and subgroups of small tables by hand: ties, both directions, empty groups."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from core.class_labels import MAMMOGRAPHY
from evaluation.queries.observations import Observations
from evaluation.queries.performance import compute_subgroups, confusion_matrix
from evaluation.roc import auc

CLASSES = MAMMOGRAPHY.names


def observations(truth: list[int], scores: list[list[float]]) -> Observations:
    names = CLASSES if len(scores[0]) == 3 else ("malignant",)
    n = len(truth)
    return Observations(
        classes=names,
        key=np.arange(n),
        truth=np.array(truth),
        scores=np.array(scores),
        patient=np.arange(n).astype(str),
        definition=MAMMOGRAPHY.with_outputs(len(CLASSES) if names == CLASSES else 2),
    )


def test_mammograms_are_normal_at_the_threshold_and_malignant_at_a_tie():
    seen = observations(
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        [
            [0.6, 0.9, 0.1],  # normal at the threshold itself
            [0.59, 0.5, 0.5],  # malignant, as likely as benign
            [0.1, 0.6, 0.5],  # benign
            [0.0, 0.6, 0.5],  # benign
            [0.5, 0.7, 0.2],  # benign
            [0.9, 0.1, 0.2],  # normal
            [0.2, 0.2, 0.3],  # malignant
            [0.3, 0.4, 0.4],  # malignant, as likely as benign
            [0.1, 0.5, 0.4],  # benign
        ],
    )
    counts = confusion_matrix(seen, "image", 0.6)
    assert counts.to_numpy().tolist() == [[1, 1, 1], [1, 2, 0], [0, 1, 2]]
    assert list(counts.index) == list(counts.columns) and len(set(counts.index)) == 3


def test_patches_have_the_class_of_the_largest_probability():
    seen = observations(
        [0, 1, 2, 2], [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.2, 0.3, 0.5]]
    )
    # The threshold of mammograms plays no part.
    assert confusion_matrix(seen, "patch", 0.1).to_numpy().tolist() == [
        [1, 0, 0],
        [0, 0, 1],
        [0, 1, 1],
    ]


@pytest.mark.parametrize(
    ("level", "threshold", "expected"),
    [("patch", 0.9, [[1, 2], [1, 3]]), ("image", 0.3, [[0, 3], [1, 3]])],
)
def test_two_classes_are_malignant_at_the_threshold(level, threshold, expected):
    seen = observations([0, 1, 0, 2, 2, 2, 2], [[0.5], [0.3], [0.6], [0.2], [0.5], [0.7], [0.9]])
    assert confusion_matrix(seen, level, threshold).to_numpy().tolist() == expected


def test_subgroups_of_malignant_findings():
    """A benign finding beside the malignant one does not put the mammogram into its group."""
    n = 12
    scores = pd.DataFrame(
        {
            "mammogram_id": [f"m{i}" for i in range(3 * n)],
            "patient_id": [f"p{i}" for i in range(3 * n)],
            # The last mammogram has no truth.
            "truth": [2.0] * n + [1.0] * n + [0.0] * (n - 1) + [np.nan],
            "s_malignant": np.random.default_rng(4).permutation(3 * n) / (3 * n),
            "view": ["CC"] * n + ["MLO"] * 2 * n,
            "scanner": "A",
        }
    )
    patients = pd.DataFrame({"patient_id": scores["patient_id"], "density": 3.0})
    findings = pd.DataFrame(
        [
            # The first 7 malignant mammograms show a mass, of which 3 beside a benign
            # calcification; the other 5 show a calcification.
            *((f"m{i}", "MALIGNANT", "MASS", 4) for i in range(7)),
            *((f"m{i}", "BENIGN", "CALCIFICATION", 5) for i in range(3)),
            *((f"m{i}", "MALIGNANT", "CALCIFICATION", None) for i in range(7, 12)),
            *((f"m{i}", "BENIGN", "ASYMMETRY", 2) for i in range(12, 24)),
        ],
        columns=["mammogram_id", "pathology", "lesion_type", "subtlety"],
    )
    groups = {
        (g.variable, g.value): g for g in compute_subgroups(scores, patients, findings, MAMMOGRAPHY)
    }
    # Views hold one class only, or fewer than five of one.
    assert set(groups) == {
        ("density", "3"),
        ("scanner", "a"),
        ("lesion type", "mass"),
        ("lesion type", "calcification"),
        ("subtlety", "4"),
    }
    controls = scores[(scores["truth"] != 2) & scores["truth"].notna()]["s_malignant"]
    for name, cases in {"mass": range(7), "calcification": range(7, 12)}.items():
        group = groups[("lesion type", name)]
        values = np.concatenate([scores["s_malignant"].iloc[list(cases)], controls])
        truth = np.arange(len(values)) < len(cases)
        assert (group.n, group.patients) == (len(values), len(values))
        assert group.auc.estimate == pytest.approx(auc(truth, values))
    assert groups[("scanner", "a")].n == 3 * n - 1

"""Image scores, predicted class and labelled units, after docs/reference/definitions.md."""

from __future__ import annotations

import numpy as np
import pytest

from core.interpretation.explanation import (
    ImageScores,
    compute_image_scores,
    displayed_phenomena,
    lesion_output,
    most_influential_units,
    predicted_output,
    reading_texts,
)
from core.interpretation.feature_maps import tissue_positions


def test_image_scores() -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 1, 1], (6, 5)).transpose(2, 0, 1)
    tissue = rng.uniform(size=(6, 5)) < 0.5
    inside = [
        (p[0, y, x], p[1, y, x], p[2, y, x]) for y in range(6) for x in range(5) if tissue[y, x]
    ]
    scores = compute_image_scores(p, tissue)
    assert scores.lesions == (max(b for _, b, _ in inside), max(m for _, _, m in inside))
    assert scores.normal == pytest.approx(1 - max(b + m for _, b, m in inside))
    assert compute_image_scores(p, np.zeros((6, 5), bool)) == ImageScores(None, ())


def test_score_of_normal_is_not_rounded_below_zero() -> None:
    certain = np.array([[[1e-9]], [[0.75]], [[0.25 + 2**-23]]], np.float32)
    assert float(certain[1:].sum()) > 1
    scores = compute_image_scores(certain, np.ones((1, 1), bool))
    assert scores.normal == np.float32(1e-9) and predicted_output(scores, 0.0) == 0


def test_predicted_output() -> None:
    assert predicted_output(ImageScores(0.5, (0.2, 0.4)), 0.5) == 0
    assert predicted_output(ImageScores(0.49, (0.2, 0.4)), 0.5) == 2
    assert predicted_output(ImageScores(0.49, (0.5, 0.4)), 0.5) == 1
    assert lesion_output(ImageScores(0.9, (0.5, 0.4))) == 1
    assert predicted_output(ImageScores(None, (0.7,)), 0.6) == 1
    assert predicted_output(ImageScores(None, (0.5,)), 0.6) == 0
    assert predicted_output(ImageScores(None, ()), 0.5) is None


def test_tissue_positions_are_half_full_or_fullest() -> None:
    tissue = np.zeros((16, 16), bool)
    assert not tissue_positions(tissue, (4, 4)).any()
    tissue[0, 0] = True
    assert tissue_positions(tissue, (4, 4)).sum() == 1
    tissue[:8] = True
    expected = np.arange(4)[:, None] < np.full((1, 4), 2)
    assert np.array_equal(tissue_positions(tissue, (4, 4)), expected)


def test_only_labelled_units_are_displayed() -> None:
    labels = {3: "c", 5: "e", 9: "i"}
    assert reading_texts([1, 3, 2, 5, 9], labels, number=2) == ["c", "e"]
    assert reading_texts([1, 2, 3], labels, depth=2) == []
    influence = np.array([0.0, 0, 0, 4, 1, 3, 2, 0, 0, 9])
    units = most_influential_units(influence, labels, depth=8)
    assert [(u.rank, u.unit, u.label) for u in units[:3]] == [(1, 9, "i"), (2, 3, "c"), (3, 5, "e")]
    assert [shown.label for shown in displayed_phenomena(units, 2)] == ["i", "c"]


def test_a_label_of_several_units_is_displayed_once_with_their_number() -> None:
    labels = {3: "mass", 5: "vessel", 9: "mass"}
    influence = np.array([0.0, 0, 0, 4, 1, 3, 2, 0, 0, 9])
    shown = displayed_phenomena(most_influential_units(influence, labels))
    assert [phenomenon.text for phenomenon in shown] == ["mass (2 units)", "vessel"]
    assert [unit.unit for unit in shown[0].units] == [9, 3] and shown[0].leading.rank == 1


def test_tie_of_benign_and_malignant_is_malignant() -> None:
    assert lesion_output(ImageScores(0.1, (0.45, 0.45))) == 2
    assert lesion_output(ImageScores(0.1, (0.46, 0.45))) == 1
    assert predicted_output(ImageScores(0.1, (0.45, 0.45)), 0.5) == 2

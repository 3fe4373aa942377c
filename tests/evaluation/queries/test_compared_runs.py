"""Comparison of two runs, extreme errors and scores of a class, by hand."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.class_labels import MAMMOGRAPHY
from core.store import run_table, unit_table
from evaluation.queries import performance
from evaluation.queries.observations import Observations, to_observations
from evaluation.roc import compare_aucs


def observations(key: list[int], truth: list[int], score: list[float]) -> Observations:
    """Return observations of three classes; patients hold two keys each."""
    malignant = np.array(score)
    return Observations(
        classes=MAMMOGRAPHY.names,
        key=np.array(key),
        truth=np.array(truth),
        scores=np.column_stack([malignant / 3, malignant / 7, malignant]),
        patient=np.array([f"p{k // 2}" for k in key]),
        definition=MAMMOGRAPHY,
    )


FIRST = ([5, 1, 9, 3, 8, 2, 6], [2, 0, 1, 2, 0, 2, 1], [0.9, 0.3, 0.4, 0.35, 0.2, 0.8, 0.7])
SECOND = ([2, 3, 4, 5, 6, 8, 9], [2, 2, 2, 2, 1, 0, 1], [0.3, 0.5, 0.1, 0.6, 0.8, 0.4, 0.2])


def test_runs_are_compared_on_what_both_observed() -> None:
    found = performance.compare_observations(observations(*FIRST), observations(*SECOND))
    # Common keys 2, 3, 5, 6, 8, 9; malignant are 2, 3 and 5.
    truth, patient = [1, 1, 1, 0, 0, 0], ["p1", "p1", "p2", "p3", "p4", "p4"]
    first, second = [0.8, 0.35, 0.9, 0.7, 0.2, 0.4], [0.3, 0.5, 0.6, 0.8, 0.4, 0.2]
    assert found == compare_aucs(truth, first, second, patient, method="logit")
    # Of nine pairs: 2 and 5 beat all, 3 beats 8; then 2 beats 9, 3 and 5 beat 8 and 9.
    assert (found.first, found.second) == pytest.approx((7 / 9, 5 / 9))
    with pytest.raises(ValueError, match="share no observation"):
        performance.compare_observations(
            observations([1], [2], [0.5]), observations([3], [2], [0.5])
        )


def test_runs_are_named_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performance, "load_observations", lambda *named: named)
    monkeypatch.setattr(performance, "compare_observations", lambda *sides: sides)
    compare: Any = performance.compare_runs.__wrapped__
    assert compare(Path("s"), "a", "b", "test", "case") == (
        (Path("s"), "a", "test", "case"),
        (Path("s"), "b", "test", "case"),
    )


def test_extreme_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = pd.DataFrame(
        {
            "mammogram_id": [f"m{n}" for n in range(8)],
            "patient_id": [f"p{n}" for n in range(8)],
            "truth": [0, 2, 1, 0, 2, 0, 2, None],
            "s_malignant": [0.7, 0.4, 0.99, 0.2, 0.1, 0.9, 0.8, 0.95],
            "s_benign": [0.1] * 8,
        }
    )
    monkeypatch.setattr(store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(run_table, "run_classes", lambda con, run: MAMMOGRAPHY)
    asked = []
    monkeypatch.setattr(
        unit_table, "load_image_scores", lambda *named: asked.append(named) or scores
    )
    load: Any = performance.load_extreme_errors.__wrapped__
    found = load(Path("s"), "evaluate-1", "test", 2)
    assert asked == [(Path("s"), "evaluate-1", "test")]
    assert found.to_dict("split") == {
        "index": [0, 1, 2, 3],
        "columns": ["kind", "mammogram_id", "patient_id", "score"],
        "data": [
            ["malignant, scored low", "m4", "p4", 0.1],
            ["malignant, scored low", "m1", "p1", 0.4],
            ["normal, scored high", "m5", "p5", 0.9],
            ["normal, scored high", "m0", "p0", 0.7],
        ],
    }
    many = pd.concat([scores] * 3, ignore_index=True)
    monkeypatch.setattr(unit_table, "load_image_scores", lambda *named: many)
    assert load(Path("s"), "evaluate-1", "test")["kind"].value_counts().tolist() == [8, 8]


def test_printed_subgroups() -> None:
    class Group:
        def __init__(self, n: int) -> None:
            self.n = n

    groups: Any = [Group(7), Group(8), Group(9)]
    assert performance.printed_subgroups(groups, 8) == groups[:1]


def test_observations_of_each_level() -> None:
    patches = pd.DataFrame(
        {"patch_id": [7, 8], "patient_id": ["p1", "p2"], "label": [2, 0]}
        | {f"p_{name}": [0.1 * k, 0.2 * k] for k, name in enumerate(MAMMOGRAPHY.scored, 1)}
    )
    found = to_observations(patches, "patch", MAMMOGRAPHY)
    assert (found.key.tolist(), found.truth.tolist()) == ([7, 8], [2, 0])
    assert found.patient.tolist() == ["p1", "p2"] and found.patients == 2
    assert found.classes == MAMMOGRAPHY.scored and found.definition is MAMMOGRAPHY
    columns = range(1, 1 + len(MAMMOGRAPHY.scored))
    assert found.scores == pytest.approx(np.array([[0.1 * k, 0.2 * k] for k in columns]).T)
    truth, score = found.positive_against_rest()
    place = MAMMOGRAPHY.scored.index("malignant")
    assert truth.tolist() == [True, False] and score.tolist() == found.scores[:, place].tolist()
    images = pd.DataFrame(
        {
            "mammogram_id": ["a", "b", "c"],
            "patient_id": ["p1", "p1", "p2"],
            "truth": [1.0, None, 2.0],
        }
        | {f"s_{name}": [0.1 * k, 0.9, 0.2 * k] for k, name in enumerate(MAMMOGRAPHY.scored, 1)}
    )
    found = to_observations(images, "image", MAMMOGRAPHY)
    assert (found.key.tolist(), found.truth.tolist()) == (["a", "c"], [1, 2])
    assert found.scores[:, 0] == pytest.approx([0.1, 0.2])
    found = to_observations(images, "case", MAMMOGRAPHY)
    assert (found.key.tolist(), found.truth.tolist()) == (["p1", "p2"], [1, 2])
    assert found.scores[:, 0] == pytest.approx([0.1, 0.2])

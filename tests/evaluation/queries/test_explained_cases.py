"""Every field of an explained mammogram, and lists of them, on the small study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import store
from core.class_labels import MAMMOGRAPHY
from core.interpretation.explanation import NamedUnit
from evaluation.queries.architectures import EvaluatedRun, StudyContext, load_study_context
from evaluation.queries.explanations import list_explained, load_explanation
from evaluation.queries.report_similarity import _label_texts
from support import explained_study
from support.explained_study import EVALUATE, EXPLAIN
from support.synthetic_study import MADE, PATCHES

CASE, OTHER = "ZQXCASE005", "ZQXCASE006"
ORDER = [7, 30, 2, 5, 0, 1, 3, 4, 12, 6]
TRAIN = "train-000000000009"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = explained_study.create_study(tmp_path_factory.mktemp("cases") / "study")
    rng = np.random.default_rng(5)
    folder = study / "runs" / EXPLAIN
    (folder / "manifest.json").write_text("{}")
    for number in (5, 6):
        np.savez(
            folder / f"maps{number:03d}.npz",
            probability=rng.random((3, 8, 8)).astype(np.float16),
            units=np.array(ORDER),
            maps=rng.normal(size=(10, 4, 4)).astype(np.float16),
        )
    with store.write(study) as con:
        con.execute(
            "INSERT INTO runs VALUES (?, 'train', '{}', ?, ?, ?, 1.0)",
            [TRAIN, json.dumps([PATCHES]), json.dumps({"architecture": "resnet18"}), MADE],
        )
        con.execute(
            "UPDATE runs SET parents = ? WHERE run = ?", [json.dumps([TRAIN, PATCHES]), EVALUATE]
        )
        con.execute(
            "UPDATE runs SET manifest = ? WHERE run = ?",
            [json.dumps({"classes": 3, "largest_unit_contribution": 6.5}), EXPLAIN],
        )
        values = "predicted = 1, truth = 0, p_normal = 0.6, p_benign = 0.3, outside = 0.125"
        con.execute(f"UPDATE explanations SET {values} WHERE mammogram_id = ?", [CASE])
        values = "predicted = -1, truth = NULL, p_benign = NULL, outside = NULL"
        con.execute(f"UPDATE explanations SET {values} WHERE mammogram_id = ?", [OTHER])
        con.execute("DELETE FROM influences WHERE mammogram_id IN (?, ?)", [CASE, OTHER])
        for case, code in ((CASE, 1), (CASE, 2), (OTHER, 2)):
            for rank, unit in enumerate(ORDER, start=1):
                # The tenth unit has a negative influence.
                value = 10 * code - rank + 0.5 if rank < 10 else -0.25
                row = [EXPLAIN, case, code, rank, unit, value]
                con.execute("INSERT INTO influences VALUES (?, ?, ?, ?, ?, ?)", row)
    return study


def test_fields_of_an_explained_mammogram(study: Path) -> None:
    found = load_explanation(study, EXPLAIN, CASE)
    with np.load(study / "runs" / EXPLAIN / "maps005.npz") as arrays:
        np.testing.assert_array_equal(found.class_map, arrays["probability"][1])
        np.testing.assert_array_equal(found.unit_maps, arrays["maps"])
    assert (found.mammogram_id, found.patient_id) == (CASE, "ZQXPATIENT002")
    assert (found.image_file, found.width, found.height) == ("zqxfile005", 256, 320)
    assert (found.view, found.split) == ("left CC", "test")
    assert (found.predicted, found.truth, found.verdict) == ("benign", "normal", "true negative")
    with store.read(study) as con:
        (score,) = con.execute(
            "SELECT p_malignant FROM explanations WHERE mammogram_id = ?", [CASE]
        ).fetchone()
    assert found.scores == pytest.approx({"normal": 0.6, "benign": 0.3, "malignant": score})
    named = [
        NamedUnit(
            rank,
            unit,
            10.5 - rank,
            f"Label {unit}" if unit < 8 else None,
            "provisional" if unit < 8 else "",
        )
        for rank, unit in enumerate(ORDER, start=1)
    ]
    assert found.units == tuple(named[:8])
    # Of the units after the eighth only those of positive influence.
    assert found.further == (named[8],)
    assert (found.scale, found.outside, found.label_set) == (6.5, 0.125, "default")
    assert (found.simulated, len(found.findings), found.classes) == (False, 1, MAMMOGRAPHY)


def test_mammogram_without_a_decision(study: Path) -> None:
    """It is explained for the positive class."""
    found = load_explanation(study, EXPLAIN, OTHER, "A1")
    assert (found.predicted, found.truth, found.verdict, found.outside) == (None, None, "", None)
    assert found.scores["benign"] is None and found.label_set == "A1"
    assert [unit.influence for unit in found.units] == [20.5 - rank for rank in range(1, 9)]
    with np.load(study / "runs" / EXPLAIN / "maps006.npz") as arrays:
        np.testing.assert_array_equal(found.class_map, arrays["probability"][2])
    with store.write(study) as con:
        manifest = {"classes": 3, "largest_unit_contribution": 0.0}
        con.execute("UPDATE runs SET manifest = ? WHERE run = ?", [json.dumps(manifest), EXPLAIN])
    try:
        assert load_explanation(study, EXPLAIN, OTHER).scale == 1
    finally:
        with store.write(study) as con:
            manifest["largest_unit_contribution"] = 6.5
            con.execute(
                "UPDATE runs SET manifest = ? WHERE run = ?", [json.dumps(manifest), EXPLAIN]
            )


def test_lists_of_explained_mammograms(study: Path) -> None:
    whole = list_explained(study, EXPLAIN, "all", 1)
    order = np.random.default_rng([1, 3]).permutation(16)
    with store.read(study) as con:
        names = [f"ZQXCASE{i:03d}" for i in range(16)]
        stored = con.execute("SELECT mammogram_id FROM mammograms ORDER BY 1").fetchall()
    assert [name for (name,) in stored] == names
    assert whole["mammogram_id"].tolist() == [names[i] for i in order]
    assert list_explained(study, EXPLAIN, "all", 2)["mammogram_id"].tolist() != (
        whole["mammogram_id"].tolist()
    )
    right = {row.mammogram_id: row.right for row in whole.itertuples()}
    # All but two are called malignant; every second patient is.
    for i, name in enumerate(names):
        if name == OTHER:
            assert pd.isna(right[name])
            continue
        assert right[name] == (explained_study.is_malignant(i) and name != CASE)
    wrong = list_explained(study, EXPLAIN, "wrong", 1)
    expected = {name for name in names if name != OTHER and not right[name]}
    assert set(wrong["mammogram_id"]) == expected
    assert list_explained(study, EXPLAIN, "benign", 1)["mammogram_id"].tolist() == [CASE]
    assert len(list_explained(study, EXPLAIN, "malignant", 1)) == 14
    assert list_explained(study, EXPLAIN, "normal", 1).empty


def test_runs_of_the_performance_page(study: Path) -> None:
    assert load_study_context(study) == StudyContext(
        (EvaluatedRun(EVALUATE, TRAIN, "resnet18"),), 0, True
    )


def test_labels_behind_each_decision() -> None:
    explained = pd.DataFrame({"mammogram_id": list("abc"), "predicted": [1, -1, 2]})
    influences = pd.DataFrame(
        [("a", 2, 9), ("a", 1, 4), ("a", 1, 3), ("b", 2, 3), ("b", 1, 4)],
        columns=["mammogram_id", "class", "unit"],
    )
    labels = {3: "Three", 4: "Four"}
    assert _label_texts(explained, influences, labels) == [["Four", "Three"], ["Three"], []]

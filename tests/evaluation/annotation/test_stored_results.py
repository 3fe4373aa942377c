"""Results about units as they are read from the store, on rows whose numbers all differ."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.pipeline.stability import STABILITY_KIND
from core.store.labels import decision_table
from evaluation.annotation import association_queries
from evaluation.annotation.stability import NameStability, load_stability
from evaluation.annotation.sufficiency import Sufficiency, latest_sufficiency, load_sufficiency
from support import explained_study, synthetic_study
from support.synthetic_study import DISSECT, MADE

SUFFICIENCY, ASSOCIATION, STABILITY = "sufficiency-1", "association-1", "stability-1"
# Class, subject, name, estimate, low, high, n.
AREAS = [
    (2, "all", "auc", 0.894, None, None, 230),
    (2, "named", "auc", 0.781, 0.702, 0.853, 17),
    (2, "named", "share_above_chance", 0.71, 0.55, 0.83, 17),
    (2, "named", "auc_random_sets", 0.611, 0.522, 0.733, 17),
    (2, "bottleneck", "auc", 0.812, None, None, 9),
    (2, "bottleneck", "auc_drop", 0.082, 0.011, 0.144, 9),
    (2, "selected", "auc", 0.5, 0.4, 0.6, 99),
    (1, "all", "auc", 0.75, None, None, 230),
    (1, "selected", "auc", 0.65, 0.61, 0.69, 33),
    (1, "selected", "share_above_chance", None, None, None, 33),
]
ASSOCIATED = [
    # Unit, descriptor, contrast, AUC, low, high, P, adjusted P, IoU.
    (0, "mass", "other findings", 0.81, 0.71, 0.91, 0.001, 0.004, 0.11),
    (0, "view: CC", "all other patches", 0.95, 0.9, 0.99, 0.0001, 0.0004, 0.9),
    (0, "mass margin: spiculated", "other findings", 0.62, 0.52, 0.72, 0.02, 0.03, 0.22),
    (0, "rare", "other findings", None, None, None, None, None, 0.05),
    (3, "mass", "other findings", 0.41, 0.31, 0.49, 0.04, 0.06, 0.33),
]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    study = explained_study.create_study(tmp_path_factory.mktemp("stored") / "study")
    manifests: dict[str, tuple[str, dict[str, Any]]] = {
        SUFFICIENCY: ("sufficiency", {"living_units": 230, "patches": 1234, "patients": 41}),
        ASSOCIATION: ("descriptor_association", {}),
        STABILITY: (
            STABILITY_KIND,
            {"similarity": 0.5, "seeds": [4, 5, 6], "holdout_accuracy": [0.61, 0.72, 0.83]},
        ),
    }
    areas = pd.DataFrame(
        AREAS, columns=["class", "subject", "name", "estimate", "low", "high", "n"]
    ).assign(run=SUFFICIENCY, method="m", step=None)
    names = ["unit", "descriptor", "contrast", "auc", "low", "high", "p", "p_adjusted", "iou"]
    associations = pd.DataFrame(ASSOCIATED, columns=names).assign(
        run=ASSOCIATION, positives=7, patients=5
    )
    with store.write(study) as con:
        for run, (kind, manifest) in manifests.items():
            con.execute(
                "INSERT INTO runs VALUES (?, ?, '{}', ?, ?, ?, 1.0)",
                [run, kind, json.dumps([DISSECT]), json.dumps(manifest), MADE],
            )
        synthetic_study.insert_rows(con, "ablations", areas)
        synthetic_study.insert_rows(con, "descriptor_associations", associations)
        # Two units have one name.
        decision_table.record_decision(con, DISSECT, 1, "Label 0", [], "seen", "T1")
    folder = study / "runs" / STABILITY
    folder.mkdir()
    (folder / "manifest.json").write_text("{}")
    best = np.zeros((3, 40))
    best[:, 0], best[:, 1] = (0.2, 0.9, 0.5), (0.6, 0.1, 0.45)
    best[:, 2], best[:, 5] = (0.9, 0.8, 0.7), (0.55, 0.5, 0.95)
    best[:, 7] = (0.1, 0.49, 0.2)
    np.save(folder / "best_similarity.npy", best)
    return study


@pytest.fixture
def changed(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study"))


def test_stored_sufficiency(study: Path) -> None:
    assert latest_sufficiency(study, DISSECT) == SUFFICIENCY
    assert load_sufficiency(study, DISSECT) == Sufficiency(
        class_name="malignant",
        subject="named",
        units=17,
        living=230,
        patches=1234,
        patients=41,
        auc=0.781,
        low=0.702,
        high=0.853,
        whole=0.894,
        share=0.71,
        share_low=0.55,
        share_high=0.83,
        random=0.611,
        random_low=0.522,
        random_high=0.733,
        bottleneck=0.812,
        bottleneck_units=9,
        drop=0.082,
        drop_low=0.011,
        drop_high=0.144,
    )
    # Without names the selected units count; what was not measured is missing.
    benign = load_sufficiency(study, DISSECT, 1)
    assert benign is not None
    assert (benign.class_name, benign.subject, benign.units) == ("benign", "selected", 33)
    assert (benign.auc, benign.low, benign.high, benign.whole) == (0.65, 0.61, 0.69, 0.75)
    for name in ("share", "share_low", "random", "random_low", "bottleneck", "drop", "drop_low"):
        assert getattr(benign, name) is None, name
    assert benign.bottleneck_units == 0 and benign.comparison == ""
    assert load_sufficiency(study, "other") is None and latest_sufficiency(study, "other") is None


def test_stored_stability(study: Path, changed: Path) -> None:
    result = load_stability(study, DISSECT)
    assert result is not None
    # Of the units 0 and 1 the more similar one counts; names as often are ranked by similarity.
    assert result.names[:4] == (
        NameStability(name="Label 2", units=1, returned=3, similarity=0.8),
        NameStability(name="Label 0", units=2, returned=3, similarity=0.6),
        NameStability(name="Label 5", units=1, returned=3, similarity=0.55),
        NameStability(name="Label 7", units=1, returned=0, similarity=0.2),
    )
    assert [name.name for name in result.names[4:]] == ["Label 3", "Label 4", "Label 6"]
    assert (result.trainings, result.threshold, result.simulated) == (3, 0.5, False)
    assert result.accuracies == (0.61, 0.72, 0.83)
    with store.write(changed) as con:
        con.execute("UPDATE annotations SET simulated = TRUE WHERE unit = 6")
    simulated = load_stability(changed, DISSECT)
    assert simulated is not None and simulated.simulated
    with store.write(changed) as con:
        con.execute("DELETE FROM runs WHERE run = ?", [STABILITY])
    assert load_stability(changed, DISSECT) is None


def test_descriptors_of_units(study: Path, changed: Path) -> None:
    assert association_queries.association_run(study, DISSECT) == ASSOCIATION
    table = association_queries.unit_associations(study, DISSECT, 0)
    assert table["descriptor"].tolist() == ["view: CC", "mass", "mass margin: spiculated", "rare"]
    assert table["iou"].tolist() == [0.9, 0.11, 0.22, 0.05]
    # The largest overlap with a finding; an overlap with all other patches is none.
    columns = ["unit", "descriptor", "iou", "auc", "p_adjusted"]
    largest = association_queries.overlap_by_unit(study, DISSECT)
    assert list(largest.columns) == columns
    assert largest.to_numpy().tolist() == [
        [0, "mass margin: spiculated", 0.22, 0.62, 0.03],
        [3, "mass", 0.33, 0.41, 0.06],
    ]
    mass = association_queries.overlap_by_unit(study, DISSECT, "mass")
    assert mass["iou"].tolist() == [0.11, 0.33]
    assert association_queries.list_descriptors(study, DISSECT) == [
        "mass",
        "mass margin: spiculated",
        "view: CC",
    ]
    checks = association_queries.label_checks(study, DISSECT)
    assert set(checks) == set(range(8))
    verdicts = [(check.descriptor, check.verdict) for check in checks[3]]
    assert ("mass", "contradicted") in verdicts and {check.unit for check in checks[3]} == {3}
    assert {check.label for check in checks[3]} == {"Label 3"}
    assert set(association_queries.label_checks(study, DISSECT, [3, 99])) == {3}
    with store.write(changed) as con:
        con.execute("DELETE FROM runs WHERE run = ?", [ASSOCIATION])
    assert association_queries.label_checks(changed, DISSECT) == {}
    assert association_queries.list_descriptors(changed, DISSECT) == []
    assert association_queries.unit_associations(changed, DISSECT, 0).empty
    empty = association_queries.overlap_by_unit(changed, DISSECT)
    assert empty.empty and list(empty.columns) == ["unit", "descriptor", "iou", "auc"]

"""Auxiliary columns through a whole study: named in study.toml, trained, evaluated, explained;
weights per mammogram in the store.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core import runs, settings, store, study_folder
from core.errors import UserError
from core.interpretation import inference
from core.pipeline import dissect, explain, ingest, patches, train
from core.store import dataset_table, run_table, unit_table
from core.store.labels import decision_table
from evaluation.pipeline import evaluate
from evaluation.queries.explanations import load_attention_weights, load_explanation
from support.distributed_worker import quiet

TRAINING = {
    "architecture": "small",
    "units": 16,
    "epochs": 2,
    "batch": 32,
    "draws": 200,
    "optimizer": "adamw",
    "learning_rate": 0.01,
}


@pytest.fixture(scope="module")
def chosen() -> settings.Settings:
    return settings.settings_from_preset(
        settings.PHANTOM_PRESET | {"training": {**TRAINING, "auxiliary": ["density", "age"]}}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, chosen: settings.Settings) -> Path:
    """A small phantom study of a network with two columns."""
    made = tmp_path_factory.mktemp("attention") / "study"
    study_folder.create_study(made, chosen)
    ingest.ingest(
        made,
        chosen,
        "phantom",
        None,
        quiet,
        patients=15,
        seed=2,
        width=4 * chosen.images.input_side,
    )
    patches.run_patch_extraction(made, chosen, quiet)
    train.run_training(made, chosen, quiet)
    evaluate.run_evaluation(made, quiet)
    dissect.run_dissection(made, chosen, quiet)
    explain.run_explanation(made, chosen, quiet)
    return made


def newest(folder: Path, kind: str) -> str:
    with store.read(folder) as con:
        run = run_table.latest_run(con, kind)
    assert run is not None
    return run


def test_weights_of_every_mammogram_are_kept_and_sum_to_one(folder: Path) -> None:
    explained = newest(folder, "explain")
    scores = pd.read_parquet(
        runs.run_folder(folder, newest(folder, "evaluate")) / "tables" / "image_scores.parquet"
    )
    with store.read(folder) as con:
        density = dataset_table.load_patients(con).set_index("patient_id")["density"]
        owner = dataset_table.load_mammograms(con).set_index("mammogram_id")["patient_id"]
    for mammogram in scores["mammogram_id"]:
        found = load_attention_weights(folder, explained, mammogram)
        assert [a.name for a in found] == ["image", "density", "age"] and found[0].value is None
        assert (
            sum(a.weight for a in found) == pytest.approx(1, abs=1e-6)
            and min(a.weight for a in found) >= 0
        )
        assert found[1].value == str(int(density[owner[mammogram]])) and not found[1].missing


def test_explanation_and_evaluation_see_the_same_columns(folder: Path) -> None:
    scores = pd.read_parquet(
        runs.run_folder(folder, newest(folder, "evaluate")) / "tables" / "image_scores.parquet"
    ).set_index("mammogram_id")
    explained = pd.read_parquet(
        runs.run_folder(folder, newest(folder, "explain")) / "tables" / "explanations.parquet"
    ).set_index("mammogram_id")
    assert np.allclose(scores["s_malignant"], explained["p_malignant"].loc[scores.index], atol=1e-6)
    network = inference.load_network(folder, newest(folder, "train"))
    assert network.auxiliary is not None and [c.name for c in network.columns.columns] == [
        "density",
        "age",
    ]
    manifest = json.loads(
        (runs.run_folder(folder, newest(folder, "train")) / "manifest.json").read_text()
    )
    assert [c["name"] for c in manifest["auxiliary"]] == ["density", "age"]


def test_the_history_holds_the_areas_on_hold_out(folder: Path) -> None:
    with store.read(folder) as con:
        history = run_table.load_training_history(con, newest(folder, "train"))
    held = history[history["part"] == "holdout"]
    assert (
        len(held) == 2
        and held["auc_malignant"].between(0, 1).all()
        and held["auc_normal"].between(0, 1).all()
    )
    assert history[history["part"] == "train"]["auc_malignant"].isna().all()


def test_an_unknown_column_is_a_sentence(folder: Path, chosen: settings.Settings) -> None:
    with pytest.raises(
        UserError,
        match=(
            r"training\.auxiliary names 'weight', which no patient has; the study's columns are"
            r" age, density"
        ),
    ):
        train.run_training(folder, chosen.with_changes("training", auxiliary=["weight"]), quiet)


def test_a_network_without_columns_has_no_weights(demonstration: Path) -> None:
    with store.read(demonstration) as con:
        explained = run_table.latest_run(con, "explain")
        mammogram = dataset_table.load_mammograms(con)["mammogram_id"].iloc[0]
    assert (
        explained is not None and load_attention_weights(demonstration, explained, mammogram) == ()
    )


def test_explanation_by_groups_names_as_many_phenomena_further_down(own_study: Path) -> None:
    """The first eight units carry one label; the published rule stops there, groups go on."""
    published = newest(own_study, "explain")
    current = settings.load_settings(own_study)
    by_groups = current.with_changes("dissection", rule="groups")
    dissected = dissect.run_dissection(own_study, by_groups, quiet).run
    with store.read(own_study) as con:
        row = unit_table.load_explanations(con, published).iloc[0]
        old = run_table.ancestor(con, published, "dissect")
        influences = unit_table.load_influences(con, published, row["mammogram_id"])
    ranked = influences[influences["class"] == row["predicted"]]
    order = ranked["unit"].astype(int).tolist()
    # Two units a label after the first eight; the fourth of them has none.
    labels = dict.fromkeys(order[:8], "Label 0") | {
        unit: f"Label {1 + place // 2}" for place, unit in enumerate(order[8:]) if place != 3
    }
    with store.write(own_study) as con:
        for run in (old, dissected):
            for unit, label in labels.items():
                decision_table.record_decision(con, run, unit, label, [], "seen", "team")
    made = explain.run_explanation(
        own_study, by_groups, quiet, dissected, mammograms=[row["mammogram_id"]]
    )
    case = load_explanation(own_study, made.run, row["mammogram_id"], "consensus")
    before = load_explanation(own_study, published, row["mammogram_id"], "consensus")
    assert [phenomenon.text for phenomenon in before.phenomena(5)] == ["Label 0 (8 units)"]
    assert before.further == () and before.rank_text(before.units[0]) == "1 of 8"
    assert case.units == before.units
    positive = ranked.iloc[8:32][ranked.iloc[8:32]["influence"] > 0]["unit"].tolist()
    assert [unit.unit for unit in case.further] == positive and len(positive) >= 9
    assert [phenomenon.text for phenomenon in case.phenomena(5)] == [
        "Label 0 (8 units)",
        "Label 1 (2 units)",
        "Label 2",
        "Label 3 (2 units)",
        "Label 4 (2 units)",
    ]
    # Each phenomenon has the map of its leading unit, at its own rank.
    assert [phenomenon.leading.rank for phenomenon in case.phenomena(5)] == [1, 9, 11, 13, 15]
    assert case.unit_maps.shape[0] == 32 and len(before.unit_maps) == 8
    np.testing.assert_array_equal(case.unit_maps[:8], before.unit_maps)
    assert case.outside == before.outside

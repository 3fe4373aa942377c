"""Small steps on a copy of the demonstration: what their runs store, and versions of all steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.interpretation.unit_groups import group_units
from core.pipeline import (
    dissect,
    explain,
    import_checkpoint,
    patches,
    phantom_concepts,
    predict,
    train,
)
from core.pipeline import unit_groups as grouping
from core.pipeline.stability import retraining
from core.sources.phantom.concepts import Concept
from core.store import run_table, unit_table
from support.array_patches import no_progress


def latest(study: Path, kind: str) -> dict[str, Any]:
    with store.read(study) as con:
        return run_table.load_run(con, str(run_table.latest_run(con, kind)))


def test_versions_of_steps_are_part_of_the_names_of_runs() -> None:
    """Another version gives every study new runs: change it with the computation only."""
    modules = (patches, train, explain, import_checkpoint, grouping, phantom_concepts, retraining)
    assert [module._VERSION for module in modules] == [3, 1, 1, 1, 1, 2, 1]
    assert (dissect._VERSION, dissect._SPIE_VERSION) == (2, 3)


def test_stored_groups(own_study: Path) -> None:
    dissected = latest(own_study, "dissect")["run"]
    calls: list[tuple[int, int, str]] = []
    result = grouping.run_grouping(own_study, lambda *c: calls.append(c))
    assert result.created and calls == [(64, 64, "units")]
    assert not grouping.run_grouping(own_study, no_progress, dissected).created
    run = latest(own_study, "groups")
    responses = grouping.load_unit_responses(own_study, dissected)
    groups = group_units(responses.activations, responses.top, responses.patches)
    assert run["run"] == result.run and run["parents"] == [dissected]
    assert run["settings"] == {"similarity": 0.6}
    manifest = run["manifest"]
    assert manifest["groups"] == groups and manifest["split"] == "holdout"
    assert manifest["patches"] == len(responses.activations)
    assert sorted(unit for group in groups for unit in group) == list(range(64))


def test_stored_concepts(own_study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dissected = latest(own_study, "dissect")["run"]
    share = phantom_concepts.ConceptShare
    shares = [share(3, Concept.LYMPH_NODE, 0.5, 0.25), share(3, Concept.NIPPLE, 0.25, 0.125)]
    asked: list[tuple] = []

    def compute(*arguments: Any) -> list:
        asked.append(arguments)
        return shares

    monkeypatch.setattr(phantom_concepts, "compute_concept_shares", compute)
    with store.write(own_study) as con:
        # The demonstration holds the run of the same name.
        con.execute("DELETE FROM runs WHERE kind = 'concepts'")
        con.execute("DELETE FROM concepts")
    for folder in (own_study / "runs").glob("concepts-*"):
        folder.rename(own_study / folder.name)
    calls: list[tuple[int, int, str]] = []
    result = phantom_concepts.run_phantom_concepts(own_study, lambda *c: calls.append(c), dissected)
    assert result.created and asked == [(own_study, dissected)] and calls == [(1, 1, "tables")]
    assert not phantom_concepts.run_phantom_concepts(own_study, no_progress, dissected).created
    with store.read(own_study) as con:
        table = unit_table.load_concepts(con, result.run)
    assert table.to_numpy().tolist() == [[3, "lymph_node", 0.5, 0.25], [3, "nipple", 0.25, 0.125]]
    assert list(table.columns) == ["unit", "concept", "share", "iou"]
    assert phantom_concepts.concept_shares_by_unit(table) == {3: shares}
    assert latest(own_study, "concepts")["parents"] == [dissected]


def test_progress_of_a_repetition_names_it() -> None:
    calls: list[tuple[int, int, str]] = []
    report = retraining._named_progress(lambda *c: calls.append(c), 1, 3)
    report(4, 9, "steps")
    assert calls == [(4, 9, "steps, training 2 of 3")]


def test_result_of_a_repetition_is_kept_alone(tmp_path: Path) -> None:
    folder = tmp_path / "seed-4"
    folder.mkdir()
    (folder / "last.pt").touch()
    retraining._keep_result(tmp_path / "seed-4.npz", folder, np.array([0.5, 0.25]), 0.75)
    assert [path.name for path in tmp_path.iterdir()] == ["seed-4.npz"]
    with np.load(tmp_path / "seed-4.npz") as arrays:
        assert arrays["best"].tolist() == [0.5, 0.25] and float(arrays["accuracy"]) == 0.75


def test_concepts_by_unit() -> None:
    frame = pd.DataFrame(
        {
            "unit": [4, 2, 4],
            "concept": ["vessel", "nipple", "lymph_node"],
            "share": [0.5, 0.25, 0.75],
            "iou": [0.1, 0.2, 0.3],
        }
    )
    share = phantom_concepts.ConceptShare
    assert phantom_concepts.concept_shares_by_unit(frame) == {
        4: [share(4, Concept.VESSEL, 0.5, 0.1), share(4, Concept.LYMPH_NODE, 0.75, 0.3)],
        2: [share(2, Concept.NIPPLE, 0.25, 0.2)],
    }


def test_attention_of_each_input() -> None:
    columns = predict.AuxiliaryColumns(tuple(predict_column(name) for name in ("age", "scanner")))
    mammograms = pd.DataFrame({"mammogram_id": ["m1", "m2"], "patient_id": ["q", "p"]})
    patients = pd.DataFrame(
        {"patient_id": ["p", "q"], "age": [61.5, np.nan], "scanner": [None, "LUMISYS"]}
    )
    weights = [np.array([0.5, 0.3, 0.2]), np.array([0.7, 0.1, 0.25])]
    rows = predict.attention_rows(columns, mammograms, patients, weights)
    assert list(rows.columns) == ["mammogram_id", "place", "source", "value", "missing", "weight"]
    assert rows.to_numpy().tolist() == [
        ["m1", 0, "image", "", False, 0.5],
        ["m1", 1, "age", "", True, 0.3],
        ["m1", 2, "scanner", "LUMISYS", False, 0.2],
        ["m2", 0, "image", "", False, 0.7],
        ["m2", 1, "age", "61.5", False, 0.1],
        ["m2", 2, "scanner", "", True, 0.25],
    ]


def predict_column(name: str) -> Any:
    class Column:
        """A column that is known by its name."""

    column = Column()
    column.name = name  # type: ignore[attr-defined]
    return column

"""Lineage: which run is built on which, by the stored kind, and caveats of a study."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import lineage, store
from core.errors import MissingRunError, UserError
from core.store import run_table
from core.study_folder import create_study

# Ids whose first part is not the kind: only the stored kind may decide.
RUNS = (
    ("a-1", "patches", [], {"classes": 3}),
    ("a-2", "patches", [], {"classes": 2}),
    ("b-1", "train", ["a-1"], {}),
    ("b-2", "train", ["a-2"], {}),
    ("c-1", "evaluate", ["b-1", "a-1"], {}),
    ("d-1", "dissect", ["b-1", "a-1"], {}),
    ("e-1", "explain", ["d-1", "c-1", "b-1"], {}),
)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with rows of runs only."""
    folder = create_study(tmp_path / "runs_only")
    with store.write(folder) as con:
        for second, (name, kind, parents, manifest) in enumerate(RUNS):
            con.execute(
                "INSERT INTO runs VALUES (?, ?, '{}', ?, ?, make_timestamp(?), 1)",
                [name, kind, json.dumps(parents), json.dumps(manifest), 1_000_000 * second],
            )
    return folder


def test_ancestors(study: Path) -> None:
    assert lineage.ancestor_run(study, "e-1", "patches") == "a-1"
    assert lineage.ancestor_run(study, "e-1", "evaluate") == "c-1"
    assert lineage.ancestor_run(study, "d-1", "dissect") == "d-1"
    assert [len(lineage.run_classes(study, run).outputs) for run in ("e-1", "b-2")] == [3, 2]
    with pytest.raises(MissingRunError, match="was not built on any dissect run"):
        lineage.ancestor_run(study, "c-1", "dissect")
    with pytest.raises(MissingRunError, match="There is no run x"):
        lineage.ancestor_run(study, "x", "dissect")
    with store.read(study) as con:
        assert run_table.find_ancestor(con, "c-1", "dissect") is None


def test_resolve_run(study: Path) -> None:
    assert lineage.resolve_run(study, "train") == "b-2"
    assert lineage.resolve_run(study, "train", "b-1") == "b-1"
    assert lineage.resolve_run(study, "train", parent="a-1") == "b-1"
    with pytest.raises(UserError, match="a-1 is a patches run; a train run is needed"):
        lineage.resolve_run(study, "train", "a-1")
    with pytest.raises(MissingRunError, match="run `deepminer ablate` first"):
        lineage.resolve_run(study, "ablate")


def test_caveats(study: Path, own_study: Path) -> None:
    assert not lineage.has_simulated_images(study) and not lineage.has_image_level_labels(study)
    explain = lineage.resolve_run(own_study, "explain")
    assert lineage.has_simulated_images(own_study)
    assert lineage.has_simulated_labels(own_study, explain)
    assert lineage.has_simulated_answers(own_study, explain)
    with store.write(own_study) as con:
        con.execute("UPDATE sources SET simulated = FALSE, image_labels = TRUE")
    assert not lineage.has_simulated_images(own_study)
    assert lineage.has_image_level_labels(own_study)

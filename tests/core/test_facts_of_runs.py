"""Facts that follow from runs, and the tables of a study reader, column by column."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import core
from core import distributed, lineage, store
from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.errors import MissingRunError, UserError
from core.store.labels import decision_table
from support import synthetic_study
from support.synthetic_study import DISSECT, MADE, PATCHES

SECOND = "dissect-00000000000b"


def add_run(study: Path, name: str, kind: str, parents: list[str], **manifest: Any) -> None:
    with store.write(study) as con:
        con.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, 1.0)",
            [
                name,
                kind,
                "{}",
                json.dumps(parents),
                json.dumps(manifest),
                MADE + timedelta(hours=1 + len(name)),
            ],
        )


def test_a_dissection_is_named_where_there_are_several(study: Path) -> None:
    assert lineage.choose_dissection(study) == lineage.choose_dissection(study, DISSECT) == DISSECT
    with store.write(study) as con:
        synthetic_study.add_dissection(con, SECOND, "vgg16", "features.5", 1)
    with pytest.raises(UserError, match="Name the dissection with --dissect; the study has") as e:
        lineage.choose_dissection(study)
    assert f"{SECOND} (vgg16, features.5)" in str(e.value) and DISSECT in str(e.value)
    assert lineage.choose_dissection(study, SECOND) == SECOND
    with pytest.raises(UserError, match=f"{PATCHES} is a patches run; a dissect run is needed"):
        lineage.choose_dissection(study, PATCHES)
    assert lineage.resolve_run(study, "dissect") == SECOND
    assert lineage.resolve_run(study, "dissect", parent=PATCHES) == SECOND
    with pytest.raises(MissingRunError, match="has no dissect run yet"):
        lineage.resolve_run(study, "dissect", parent="patches-x")


def test_classes_of_a_run(study: Path) -> None:
    assert lineage.run_class_names(study, DISSECT) == {0: "normal", 1: "benign", 2: "malignant"}
    lineage.check_named_classes(study, DISSECT, MAMMOGRAPHY.with_outputs(2))
    pets = ClassDefinition(("empty", "cat"), "cat", "cat")
    with pytest.raises(
        UserError, match="names the classes empty, cat, but dissect.* was made with"
    ):
        lineage.check_named_classes(study, DISSECT, pets)


def test_note_on_influence(study: Path) -> None:
    assert lineage.influence_note(study, DISSECT) == ""
    add_run(study, "d2", "dissect", [PATCHES], influence="activation x weight")
    add_run(study, "d3", "dissect", [PATCHES], influence="activation x gradient")
    add_run(study, "e3", "explain", ["d3"], label_set="consensus")
    assert lineage.influence_note(study, "d2") == ""
    note = (
        "Influence is activation x gradient of the class score: no single linear layer follows"
        " these units."
    )
    assert lineage.influence_note(study, "d3") == lineage.influence_note(study, "e3") == note
    assert lineage.run_label_set(study, "e3") == "consensus"
    assert lineage.run_label_set(study, "d3") == "default"


def test_statements_on_truth(study: Path) -> None:
    assert lineage.truth_statements(study) == []
    with store.write(study) as con:
        for basis in ("birads", "pathology", "annotators"):
            con.execute(
                "INSERT INTO sources SELECT * REPLACE (? AS source_id, ? AS truth_basis)"
                " FROM sources WHERE source_id = 's'",
                [basis, basis],
            )
    assert lineage.truth_statements(study) == [
        "Truth from the labels of an annotation project, not biopsy.",
        "Truth from BI-RADS assessment, not biopsy.",
    ]


def test_simulated_labels_by_set(study: Path) -> None:
    mass = synthetic_study.mass_answer()
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 1, mass)
        synthetic_study.annotate(con, "A2", 2, mass, simulated=True)
        decision_table.record_decision(con, DISSECT, 1, "Mass", ["a0"], "seen", "T1")
    add_run(study, "e1", "explain", [DISSECT], label_set="A2")
    assert lineage.has_simulated_answers(study, DISSECT)
    assert lineage.has_simulated_labels(study, DISSECT, "A2")
    assert not lineage.has_simulated_labels(study, DISSECT, "A1")
    assert not lineage.has_simulated_labels(study, DISSECT, "consensus")
    assert lineage.has_simulated_labels(study, "e1")
    assert not lineage.has_simulated_labels(study, "e1", "A1")
    lineage.check_label_set(study, DISSECT, "A1")
    with pytest.raises(UserError, match="'A3' names no unit"):
        lineage.check_label_set(study, DISSECT, "A3")


def test_units_of_a_reader(study: Path) -> None:
    """Class c selects the units (7 c + r) % 20 of rank r, counted 20 - r times."""
    influence = np.random.default_rng(0).normal(size=(5, 3, 40)).astype(np.float32)
    folder = study / "runs" / DISSECT
    np.save(folder / "influence.npy", influence)
    (folder / "manifest.json").write_text("{}")
    with store.write(study) as con:
        con.execute(
            "UPDATE runs SET manifest = ? WHERE run = ?",
            [json.dumps({"mammograms": ["m"] * 16}), DISSECT],
        )
        con.execute("UPDATE units SET largest = unit + 0.5, quantile = unit / 8")
    reader = core.open_study(study)
    units = reader.units()
    rows = [(c, r, (7 * c + r) % 20, 20 - r) for c in range(3) for r in range(8)]
    assert units[["class", "rank", "unit", "count"]].to_numpy().tolist() == [*map(list, rows)]
    assert units["name"].tolist() == [f"unit_{unit + 1:04d}" for _, _, unit, _ in rows]
    assert units["share"].tolist() == [count / 16 for *_, count in rows]
    expected = [influence[:, c, unit].mean() for c, _, unit, _ in rows]
    assert units["mean_influence"].to_numpy() == pytest.approx(expected, rel=1e-5)
    assert units["largest"].tolist() == [unit + 0.5 for _, _, unit, _ in rows]
    assert "coverage" not in units
    add_run(study, "coverage-1", "coverage", [DISSECT])
    with store.write(study) as con:
        frame = pd.DataFrame(
            {
                "run": "coverage-1",
                "class": [1, 1, 0, 1],
                "name": ["curve_2", "curve_3", "curve_2", "curve"],
                "estimate": [0.25, 0.375, 0.5, 0.75],
                "method": "",
                "n": 5,
            }
        )
        synthetic_study.insert_rows(con, "coverage", frame)
    covered = reader.units()[["class", "rank", "coverage"]].dropna().to_numpy().tolist()
    assert covered == [[0, 2, 0.5], [1, 2, 0.25], [1, 3, 0.375]]
    assert repr(reader) == f"StudyReader({str(study)!r})"


def test_labels_and_runs_of_a_reader(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.annotate(con, "A1", 4, synthetic_study.mass_answer(), simulated=True)
        decision_table.record_decision(con, DISSECT, 2, "Nipple", [], "seen", "T1")
    reader = core.open_study(study)
    assert reader.labels().to_numpy().tolist() == [
        [2, "unit_0003", "Nipple", "adjudicated", False],
        [4, "unit_0005", "Mass with spiculated margin, suspicious", "provisional", True],
    ]
    assert list(reader.labels().columns) == ["unit", "name", "label", "state", "simulated"]
    assert reader.runs("patches")["run"].tolist() == [PATCHES]
    assert reader.runs()["run"].tolist() == [DISSECT, PATCHES]
    assert len(reader.patients()) == 8 and len(reader.patches(PATCHES)) == 320


@pytest.mark.parametrize(
    ("size", "items", "parts"),
    [
        (1, 5, [(0, 5)]),
        (2, 7, [(0, 3), (3, 7)]),
        (3, 7, [(0, 2), (2, 4), (4, 7)]),
        (3, 2, [(0, 0), (0, 1), (1, 2)]),
    ],
)
def test_parts_of_each_rank(
    monkeypatch: pytest.MonkeyPatch, size: int, items: int, parts: list[tuple[int, int]]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(size))
    for rank, (start, stop) in enumerate(parts):
        monkeypatch.setenv("RANK", str(rank))
        assert distributed.rank_slice(items) == slice(start, stop)
        assert distributed.is_rank_zero() is (rank == 0)


def test_work_of_several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the group gives what this rank and two others would have given."""
    monkeypatch.setenv("WORLD_SIZE", "3")
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr(distributed, "ensure_process_group", lambda: None)
    others: list[Any] = [(True, "zero"), None, (True, "two")]
    monkeypatch.setattr(distributed, "_all_gather_object", lambda own: [others[0], own, others[2]])
    assert distributed.all_gather_call(lambda: "one") == ["zero", "one", "two"]
    assert distributed.run_on_rank_zero(lambda: "never") == "zero"
    pairs = distributed.map_round_robin("abcd", str.upper)
    assert list(pairs) == [("a", "zero"), ("b", "B"), ("c", "two"), ("d", "zero")]
    others[0] = (False, "The image is missing.")
    with pytest.raises(UserError, match=r"The image is missing\.") as shared:
        distributed.all_gather_call(lambda: "one")
    assert distributed.already_reported(shared.value)

    def fail() -> None:
        raise ValueError("own")

    with pytest.raises(ValueError, match="own") as own:
        distributed.all_gather_call(fail)
    assert distributed.already_reported(own.value)
    assert not distributed.already_reported(ValueError("another"))
    monkeypatch.setenv("RANK", "0")
    assert not distributed.already_reported(own.value)
    assert distributed._message(UserError("x")) == "x"
    assert distributed._message(KeyError("x")) == "KeyError: 'x'"
    ended = pytest.raises(
        distributed.PeerProcessError, match="Another of the 3 processes has ended"
    )
    with ended, distributed.translate_peer_failure():
        raise RuntimeError("closed")
    monkeypatch.setenv("WORLD_SIZE", "1")
    with pytest.raises(RuntimeError, match="closed"), distributed.translate_peer_failure():
        raise RuntimeError("closed")


def test_rows_of_blocks() -> None:
    blocks = distributed.row_blocks(7, 3, 1)
    assert [block.tolist() for block in blocks] == [[1, 2, 3], [4, 5, 6]]
    assert [block.tolist() for block in distributed.row_blocks(4, 3)] == [[0, 1, 2], [3]]
    assert distributed.row_blocks(3, 3, 3) == []

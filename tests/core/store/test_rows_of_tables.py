"""Rows and columns that the tables return, filters and defaults on both sides, by hand."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.errors import MissingRunError, UserError
from core.store import (
    annotation_table,
    audit_table,
    dataset_table,
    participant_table,
    run_table,
    unit_table,
)
from core.store.connection import Connection, fetch_integer
from support import synthetic_study
from support.synthetic_study import DISSECT, MADE, PATCHES, insert_rows


def add_run(con: Connection, name: str, kind: str, day: int, **parts: Any) -> None:
    """Add a row of a run; parts: settings, parents, manifest."""
    texts = [json.dumps(parts.get(n, d)) for n, d in (("settings", {}), ("parents", []))]
    manifest = json.dumps(parts.get("manifest", {}))
    made = MADE + timedelta(days=day)
    con.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?)", [name, kind, *texts, manifest, made, day]
    )


def insert_partial(con: Connection, table: str, frame: pd.DataFrame) -> None:
    """Insert rows; columns that need a value and have none get 0 or ""."""
    columns = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns()"
        " WHERE table_name = ? AND NOT is_nullable",
        [table],
    ).fetchall()
    missing = {name: "" if kind == "VARCHAR" else 0 for name, kind in columns if name not in frame}
    insert_rows(con, table, frame.assign(**missing))


def test_runs_in_order_of_use(empty: Path) -> None:
    with store.write(empty) as con:
        add_run(con, "b", "train", 3, settings={"x": 1}, parents=["p"], manifest={"m": 2})
        add_run(con, "a", "train", 2)
        add_run(con, "p", "patches", 1)
        add_run(con, "e", "explain", 4, settings={"mammograms": ["m1"]})
        add_run(con, "f", "explain", 3, parents=["d"])
        frame = run_table.load_runs(con)
        assert list(frame["run"]) == ["p", "a", "b", "f", "e"]
        row = frame[frame["run"] == "b"].iloc[0]
        assert (row["settings"], row["parents"], row["manifest"]) == ({"x": 1}, ["p"], {"m": 2})
        assert (row["kind"], row["seconds"]) == ("train", 3)
        assert run_table.load_run(con, "b") == row.to_dict()
        # A request of the older one makes it the latest of its kind.
        assert run_table.latest_run(con, "train") == "b"
        con.execute("INSERT INTO uses VALUES ('a', ?)", [MADE + timedelta(days=9)])
        con.execute("INSERT INTO uses VALUES ('a', ?)", [MADE + timedelta(days=1)])
        assert run_table.latest_run(con, "train") == "a"
        assert run_table.latest_run(con, "train", "p") == "b"
        assert run_table.latest_run(con, "train", "q") is None
        # Single mammograms are never the latest explanation.
        assert run_table.latest_run(con, "explain") == "f"
        assert (
            run_table.latest_run(con, "ablate") is run_table.latest_run(con, "ablate", "p") is None
        )
        with pytest.raises(MissingRunError, match="no run z; the study has p, b, f, e, a"):
            run_table.load_run(con, "z")
    assert list(frame[frame["kind"] == "patches"]["run"]) == ["p"]


def test_nearest_ancestor(empty: Path) -> None:
    with store.write(empty) as con:
        classes = {"names": ["no", "yes"], "positive": "yes", "comparison": "yes"}
        add_run(con, "p1", "patches", 1, manifest={"class_definition": classes})
        add_run(con, "p2", "patches", 2)
        add_run(con, "t", "train", 3, parents=["p1"])
        add_run(con, "d", "dissect", 4, parents=["gone", "t", "p2"])
        add_run(con, "x", "explain", 5, parents=["d", "t"])
        find = run_table.find_ancestor
        # Breadth first: p2 and p1 are two steps from x, and d comes first among its parents.
        assert find(con, "d", "patches") == "p2" and find(con, "x", "patches") == "p2"
        assert find(con, "t", "patches") == "p1"
        assert find(con, "x", "explain") == "x" and find(con, "t", "dissect") is None
        assert find(con, "gone", "patches") is None
        assert run_table.ancestor(con, "x", "train") == "t"
        named = run_table.run_classes(con, "t")
        assert named == ClassDefinition(("no", "yes"), "yes", "yes")
        assert run_table.run_classes(con, "p2") == MAMMOGRAPHY
        with pytest.raises(MissingRunError, match="t was not built on any dissect run"):
            run_table.ancestor(con, "t", "dissect")


def test_tables_of_a_run_are_registered_once(empty: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    (folder / "tables").mkdir(parents=True)
    frame = pd.DataFrame(
        {
            "epoch": [0],
            "part": ["train"],
            "loss": [0.5],
            "accuracy": [0.25],
            "auc_old dog": [0.75],
        }
    )
    frame.to_parquet(folder / "tables" / "history.parquet")
    manifest = {
        "run": "train-1", "kind": "train", "settings": {"a": 1}, "parents": ["p"],
        "made": "2026-02-03T04:05:06", "seconds": 7.5, "extra": "kept",
    }  # fmt: skip
    with store.write(empty) as con:
        run_table.register_run(con, folder, manifest)
        run_table.register_run(con, folder, manifest | {"seconds": 9})
        row = run_table.load_run(con, "train-1")
        history = run_table.load_training_history(con, "train-1")
    assert row["made"] == datetime(2026, 2, 3, 4, 5, 6) and row["seconds"] == 7.5
    assert (row["kind"], row["settings"], row["parents"]) == ("train", {"a": 1}, ["p"])
    assert row["manifest"]["extra"] == "kept"
    assert len(history) == 1 and history["auc_old dog"].iloc[0] == 0.75
    (folder / "tables" / "history.parquet").rename(folder / "tables" / "people.parquet")
    with store.write(empty) as con, pytest.raises(UserError, match="is not a table of the store"):
        run_table.register_run(con, folder, manifest | {"run": "train-2"})
    # A column that belongs to no class is no column of the table.
    frame = pd.DataFrame({"epoch": [0], "part": ["train"], "secret": [0.75]})
    frame.to_parquet(folder / "tables" / "history.parquet")
    (folder / "tables" / "people.parquet").unlink()
    with pytest.raises(Exception, match="secret"), store.write(empty) as con:
        run_table.register_run(con, folder, manifest | {"run": "train-3"})


def test_log_and_history_in_order(empty: Path) -> None:
    with store.write(empty) as con:
        for number, event in enumerate(("one", "two", "one")):
            run_table.append_log(con, f"P{number}", event, f"detail {number}")
        con.execute("UPDATE log SET made = ? + to_days(right(who, 1)::INTEGER)", [MADE])
        everything, ones = run_table.load_log(con), run_table.load_log(con, "one")
        run_table.append_log(con, "P9", "plain")
        assert run_table.load_log(con, "plain")["detail"].tolist() == [""]
        rows = [(e, p, e + 0.5) for e in (1, 0) for p in ("holdout", "train")]
        frame = pd.DataFrame(rows, columns=["epoch", "part", "loss"]).assign(run="t")
        insert_partial(con, "history", frame)
        history = run_table.load_training_history(con, "t")
    assert everything["who"].tolist() == ["P2", "P1", "P0"]
    assert ones["detail"].tolist() == ["detail 2", "detail 0"]
    assert history[["epoch", "part"]].to_numpy().tolist() == [
        *([0, "train"], [0, "holdout"], [1, "train"], [1, "holdout"])
    ]


def test_metrics_of_a_split(empty: Path) -> None:
    with store.write(empty) as con:
        for run, split, estimate in (("r", "test", 0.1), ("r", "holdout", 0.2), ("s", "test", 0.3)):
            frame = pd.DataFrame(
                {"run": [run], "split": split, "estimate": estimate, "name": "auc"}
            )
            insert_partial(con, "metrics", frame)
        assert run_table.load_metrics(con, "r", "test")["estimate"].tolist() == [0.1]
        assert sorted(run_table.load_metrics(con, "r")["estimate"]) == [0.1, 0.2]


def test_filters_of_unit_tables(study: Path) -> None:
    with store.write(study) as con:
        for run, unit, descriptor, auc in (
            ("m", 2, "b", 0.7), ("m", 1, "a", None), ("m", 1, "c", 0.6), ("n", 1, "d", 0.9),
        ):  # fmt: skip
            row = {"run": [run], "unit": unit, "descriptor": descriptor, "auc": auc}
            insert_partial(con, "descriptor_associations", pd.DataFrame(row).astype({"auc": float}))
        associations = unit_table.load_descriptor_associations(con, "m")
        assert associations["descriptor"].tolist() == ["a", "c", "b"]
        one = unit_table.load_descriptor_associations(con, "m", 1)
        assert one["descriptor"].tolist() == ["a", "c"]
        assert unit_table.load_measured_descriptors(con, "m") == ["b", "c"]
        influences = pd.DataFrame(
            {
                "run": "x",
                "mammogram_id": ["ZQXCASE003"] * 4 + ["ZQXCASE000"],
                "class": [2, 0, 0, 0, 0],
                "rank": [1, 2, 1, 3, 1],
                "unit": [9, 8, 7, 6, 5],
                "influence": [0.5, 0.4, 0.3, 0.2, 0.1],
            }
        )
        insert_partial(con, "influences", influences)
        own = unit_table.load_influences(con, "x", "ZQXCASE003")
        assert own["unit"].tolist() == [7, 8, 6, 9]
        top = unit_table.load_top_influences(con, "x", 2)
        assert top[["class", "patient_id", "rank", "unit"]].to_numpy().tolist() == [
            *([0, "ZQXPATIENT000", 1, 5], [0, "ZQXPATIENT001", 1, 7]),
            *([0, "ZQXPATIENT001", 2, 8], [2, "ZQXPATIENT001", 1, 9]),
        ]
        unit_table.record_figure_pick(con, "x", "ZQXCASE003", "random", "ANNA")
        (pick,) = unit_table.load_figure_picks(con, "x")
        assert (pick["mammogram_id"], pick["how"], pick["who"]) == ("ZQXCASE003", "random", "ANNA")
        assert unit_table.load_figure_picks(con, "y") == []
        assert unit_table.unit_count(con, DISSECT) == 40 and unit_table.unit_count(con, "x") == 0
        assert unit_table.selection_slot_count(con, DISSECT) == 24
        # (7 c + r) % 20 of the classes c 0 to 2 and ranks r 0 to 7: 0 to 19 and the first again.
        assert unit_table.selected_unit_ids(con, DISSECT) == list(range(20))
        assert unit_table.current_dissection(con) == DISSECT
        few = unit_table.load_top_patches(con, DISSECT, PATCHES, [3, 1], most=2)
        assert few[["unit", "rank"]].to_numpy().tolist() == [[1, 0], [1, 1], [3, 0], [3, 1]]
        assert len(unit_table.load_top_patches(con, DISSECT, PATCHES)) == 40 * 64
        assert len(unit_table.load_tiles(con, DISSECT, 3)) == 32
        assert [t.rank for t in unit_table.load_tiles(con, DISSECT, 3, 3)] == [0, 1, 2]


def test_scores_and_predictions_of_a_split(study: Path) -> None:
    with store.write(study) as con:
        scores = pd.DataFrame(
            {
                "run": "e",
                "mammogram_id": ["ZQXCASE002", "ZQXCASE001", "ZQXCASE000"],
                "split": ["test", "holdout", "test"],
                "s_malignant": [0.75, 0.5, 0.25],
            }
        )
        insert_partial(con, "image_scores", scores)
        con.execute("UPDATE patches SET split = 'test' WHERE patch_id IN (7, 5)")
        predictions = pd.DataFrame(
            {"run": "e", "patch_id": [7, 5, 4], "p_malignant": [0.75, 0.5, 0.25]}
        )
        insert_partial(con, "predictions", predictions)
        test = unit_table.load_image_scores(con, "e", "test")
        assert test["s_malignant"].tolist() == [0.25, 0.75]
        assert test["patient_id"].tolist() == ["ZQXPATIENT000", "ZQXPATIENT001"]
        assert unit_table.load_image_scores(con, "e")["s_malignant"].tolist() == [0.25, 0.5, 0.75]
        patches = unit_table.load_predictions(con, "e", PATCHES, "test")
        assert patches[["patch_id", "p_malignant"]].to_numpy().tolist() == [[5, 0.5], [7, 0.75]]
        by_id = dataset_table.load_patches_by_id(con, PATCHES, [21, 4])
        assert by_id[["patch_id", "mammogram_id", "patient_id", "y", "x"]].to_numpy().tolist() == [
            [4, "ZQXCASE000", "ZQXPATIENT000", 32, 0],
            [21, "ZQXCASE001", "ZQXPATIENT000", 0, 32],
        ]
        assert set(dataset_table.load_patches(con, PATCHES, ["test"])["patch_id"]) == {5, 7}
        assert len(dataset_table.load_patches(con, PATCHES)) == 320
        assert len(dataset_table.load_patches(con, PATCHES, [])) == 0
        labels = dataset_table.load_patch_labels(con, PATCHES)
        every = dataset_table.load_patches(con, PATCHES)
        assert labels["patch_id"].tolist() == every["patch_id"].tolist()
        assert labels["label"].tolist() == every["label"].tolist()
        own = dataset_table.load_mammogram_patches(con, PATCHES, "ZQXCASE001")
        assert own["patch_id"].tolist() == list(range(20, 40))
        counts = dataset_table.load_patch_counts(con, PATCHES)
        tests = counts[counts["split"] == "test"]
        assert tests["patches"].sum() == 2 and set(tests["mammograms"]) == {1}
        assert dataset_table.dataset_counts(con) == {
            "patients": 8, "mammograms": 16, "findings": 0,
        }  # fmt: skip


def test_findings_and_properties(study: Path) -> None:
    finding = {
        "mammogram_id": "ZQXCASE004", "number": 2, "pathology": "BENIGN", "lesion_type": "MASS",
        "descriptors": '{"shape": "OVAL"}', "outline": "[[[1, 2], [3, 4]], [[5, 6]]]",
        "nested": "[[[7, 8]]]", "report": "",
    }  # fmt: skip
    with store.write(study) as con:
        rows = [finding, finding | {"number": 1, "outline": "[]"}]
        dataset_table.append_rows(con, "findings", pd.DataFrame(rows))
        dataset_table.append_rows(
            con, "findings", pd.DataFrame([finding | {"mammogram_id": "ZQXCASE001"}])
        )
        dataset_table.append_rows(con, "findings", pd.DataFrame())
        found = dataset_table.load_findings(con, ["ZQXCASE004"])
        assert found["number"].tolist() == [1, 2] and found["outline"][0] == []
        outline, nested = found["outline"][1], found["nested"][1]
        assert [p.tolist() for p in outline] == [[[1, 2], [3, 4]], [[5, 6]]]
        assert nested[0].tolist() == [[7, 8]] and nested[0].dtype == np.float64
        assert found["descriptors"][1] == {"shape": "OVAL"}
        assert dataset_table.load_findings(con)["mammogram_id"].tolist() == [
            *("ZQXCASE001", "ZQXCASE004", "ZQXCASE004")
        ]
        assert len(dataset_table.load_findings(con, [])) == 0
        assert len(dataset_table.load_report_lines(con)) == 0
        other = finding | {"mammogram_id": "ZQXCASE000", "report": "MASS"}
        lines = [other, other | {"number": 1, "report": "CALC"}]
        dataset_table.append_rows(con, "findings", pd.DataFrame(lines))
        assert dataset_table.load_report_lines(con).to_numpy().tolist() == [
            *(["ZQXCASE000", "CALC"], ["ZQXCASE000", "MASS"])
        ]
        with pytest.raises(ValueError, match="people is not a data table"):
            dataset_table.append_rows(con, "people", pd.DataFrame(rows))
        mammogram = dataset_table.load_mammogram(con, "ZQXCASE004")
        assert mammogram is not None and mammogram["file"] == "zqxfile004"
        assert dataset_table.load_mammogram(con, "none") is None
        dataset_table.set_meta(con, "a", "1")
        dataset_table.set_meta(con, "a", "2")
        assert dataset_table.get_meta(con, "a") == "2" and dataset_table.get_meta(con, "b") is None
        assert dataset_table.load_classes(con) == MAMMOGRAPHY
        pets = ClassDefinition(("empty", "cat", "dog"), "cat", "dog")
        dataset_table.save_classes(con, pets)
        assert dataset_table.load_classes(con) == pets
        assert dataset_table.load_truth_bases(con) == ["synthetic"]
        assert dataset_table.any_simulated_source(con) and not dataset_table.any_image_level_source(
            con
        )


def test_stamps_and_sources_of_an_origin(study: Path) -> None:
    with store.write(study) as con:
        dataset_table.save_stamps(con, "o", {"ZQXPATIENT001": "old", "ZQXPATIENT002": "b"})
        dataset_table.save_stamps(con, "q", {})
        dataset_table.save_stamps(con, "o", {"ZQXPATIENT001": "new"})
        assert dataset_table.load_stamps(con, "o") == {"ZQXPATIENT001": "new", "ZQXPATIENT002": "b"}
        assert dataset_table.load_stamps(con, "q") == {}
        con.execute(
            "INSERT INTO sources SELECT * REPLACE ('t' AS source_id, ? AS made) FROM sources",
            [MADE - timedelta(days=1)],
        )
        con.execute("UPDATE patients SET source_id = 't' WHERE patient_id = 'ZQXPATIENT002'")
        assert dataset_table.origin_sources(con, "o") == ["t", "s"]
        assert dataset_table.origin_sources(con, "q") == []
        removed = dataset_table.remove_patients(con, ["ZQXPATIENT001", "nobody"])
        assert sorted(removed) == ["zqxfile002", "zqxfile003"]
        dataset_table.refresh_source_counts(con)
        sources = dataset_table.load_sources(con)
        assert sources[["source_id", "patients", "mammograms", "skipped"]].to_numpy().tolist() == [
            *(["t", 1, 2, 0], ["s", 6, 12, 0])
        ]
        dataset_table.remove_patients(con, ["ZQXPATIENT002"])
        dataset_table.refresh_source_counts(con)
        assert list(dataset_table.load_sources(con)["source_id"]) == ["s"]


def test_codes_and_links_of_participants(empty: Path) -> None:
    table = participant_table
    with store.write(empty) as con:
        assert table.next_free_code(con, "reader") == "R1"
        for code, role in (("R1", "reader"), ("R3", "reader"), ("A1", "annotator")):
            table.invite_participant(con, code, role, f"hash {code}")
        assert [table.next_free_code(con, role) for role in table.ROLES] == ["T1", "A2", "R2"]
        with pytest.raises(UserError, match="'chief' is not a role; choose one of team, annotator"):
            table.next_free_code(con, "chief")
        assert table.participant_role(con, "R9") is None
        table.reissue_invitation(con, "R1", "second")
        assert table.valid_token_hashes(con, "R1") == ["second"]
        assert table.revoked_invitation_count(con, "R1") == 1
        assert not table.has_revoked_link_only(con, "R1")
        assert table.valid_invitations(con) == {
            "second": table.Participant("R1", "reader"),
            "hash R3": table.Participant("R3", "reader"),
            "hash A1": table.Participant("A1", "annotator"),
        }
        table.revoke_invitations(con, "R1")
        assert table.has_revoked_link_only(con, "R1") and not table.has_revoked_link_only(con, "R3")
        assert table.has_consented(con, "R1") is False
        table.record_consent(con, "R1", "x" * 200, "text")
        assert table.has_consented(con, "R1") is True
        with pytest.raises(UserError, match="more than 200 characters"):
            table.record_consent(con, "R1", "x" * 201, "text")
        assert fetch_integer(con, "SELECT count(*) FROM annotation_assignments") == 0


def test_audits_one_after_another(study: Path) -> None:
    with store.write(study) as con:
        assert audit_table.current_audit(con) is None
        with pytest.raises(UserError, match="No label audit is open"):
            audit_table.close_audit(con, "T1")
        with pytest.raises(UserError, match="No unit carries a label yet"):
            audit_table.create_audit(con, DISSECT, 7, 2, "T1", [])
        first = synthetic_study.add_audit(con, units=1, each=1)
        assert (first.audit, first.run, first.seed, first.patches) == ("audit-1", DISSECT, 7, 1)
        assert (first.simulated, first.who, first.ended, first.label_set) == (
            *(False, "team", None, "default"),
        )
        with pytest.raises(UserError, match="The audit audit-1 is still open"):
            synthetic_study.add_audit(con, units=1, each=1)
        closed = audit_table.close_audit(con, "T2")
        assert closed.audit == "audit-1" and closed.ended is not None
        items = audit_table.load_audit_items(con, "audit-1")
        second = audit_table.create_audit(con, DISSECT, 8, 3, "T3", items[:1], True, "E1")
        assert (second.audit, second.simulated, second.label_set) == ("audit-2", True, "E1")
        assert audit_table.current_audit(con) == second
        assert len(audit_table.load_audit_items(con, "audit-2")) == 1
        assert [audit.audit for audit in audit_table.list_audits(con)] == ["audit-1", "audit-2"]


def test_answers_of_one_expert(study: Path) -> None:
    mass = synthetic_study.mass_answer()
    with store.write(study) as con:
        for code, unit, options in (
            ("A1", 5, {}),
            ("A2", 4, {}),
            ("A1", 6, {"practice": True}),
            ("A1", 5, {"repeat": True}),
        ):
            synthetic_study.annotate(con, code, unit, mass, **options)
        own = annotation_table.load_expert_annotations(con, DISSECT, "A1")
        assert set(own["unit"]) == {5, 6} and len(own) == 3
        assert annotation_table.latest_answered_run(con, "A1") == DISSECT
        assert annotation_table.latest_answered_run(con, "A9") is None
        assert annotation_table.practised_runs(con, "A1") == {DISSECT}
        assert annotation_table.practised_runs(con, "A2") == set()
        assert annotation_table.count_annotators(con, DISSECT) == 2
        load = annotation_table.load_latest_answer
        key = {"run": DISSECT, "unit": 5, "code": "A1", "practice": False}
        answer = load(con, **key, repeat=True)
        assert answer is not None and answer["confidence"] == 3
        assert load(con, **(key | {"code": "A2"}), repeat=False) is None
        assert not annotation_table.is_group_answer(answer)
        found = annotation_table.find_annotation(con, "a3")
        assert found is not None and (found.unit, found.repeat, found.practice) == (5, True, False)
        assert (found.run, found.code, found.version) == (DISSECT, "A1", 1)
        assert annotation_table.find_annotation(con, "none") is None
        ranks = annotation_table.expert_ranks(con, DISSECT, ("A2", "A7"))
        assert ranks == {"A2": 0, "A7": 1, "A1": 2}

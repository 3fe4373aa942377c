"""Records of exports, and the inputs that they need."""

from __future__ import annotations

import json
import os
from pathlib import Path

from evaluation.queries import provenance
from evaluation.queries.provenance import (
    MissingInput,
    ProvenanceRecord,
    StaleExport,
    changed_inputs,
    export_records,
    first_missing_input,
    hash_tables,
    load_records,
)

RECORD = ProvenanceRecord(
    name="table_units",
    kind="table",
    title="T",
    caption="C – ü",
    counts={"patients": 3},
    method="M",
    seed=5,
    simulated="",
    inputs={"data": "d1", "evaluate": "e1", "labels": "l1"},
    data_hash="0" * 64,
    command="deepminer tables units",
    software={},
    files=("units.csv",),
)


def test_records_of_exports(tmp_path: Path) -> None:
    path = RECORD.write(tmp_path)
    assert path == tmp_path / "table_units.provenance.json"
    assert "C – ü" in path.read_text(encoding="utf-8") and '\n "kind"' in RECORD.text()
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored == vars(RECORD) | {"files": ["units.csv"]}
    assert (stored["width_mm"], stored["evidence"]) == (None, "")
    (tmp_path / "a.provenance.json").write_text('{"name": "a"}')
    (tmp_path / "a.json").write_text("no record")
    assert [record["name"] for record in load_records(tmp_path)] == ["a", "table_units"]
    current = {"data": "d1", "evaluate": "e2"}
    assert changed_inputs(stored, current) == ["evaluate", "labels"]
    assert changed_inputs(stored, stored["inputs"]) == []
    stale = StaleExport("table_units", "table", ("evaluate", "labels"), "deepminer x")
    assert stale.sentence() == (
        "stale table units: evaluate, labels changed since; repeat with deepminer x"
    )
    assert hash_tables({"b": "1", "a": "2"}) == hash_tables({"a": "2", "b": "1"}) != ""
    study = tmp_path / "study"
    folder = study / "exports" / "deep"
    folder.mkdir(parents=True)
    assert export_records(study) == []
    for name, time in (("new", 2_000_000), ("old", 1_000_000)):
        file = folder / f"{name}.provenance.json"
        file.write_text("{}")
        os.utime(file, (time, time))
    assert [file.name.split(".")[0] for file in export_records(study)] == ["old", "new"]


def test_inputs_that_are_missing() -> None:
    current = {"data": "d", "patches": "", "explain": "e"}
    missing = first_missing_input(["data", "patches", "train"], current)
    assert isinstance(missing, MissingInput)
    assert (missing.step, missing.reason, missing.command, str(missing)) == (
        *("Patches", "there is no patches run yet", "deepminer patches"),
        "there is no patches run yet",
    )
    assert first_missing_input(["data", "explain"], current) is None
    assert MissingInput("Source", "why").command == ""
    # Each input that is required somewhere has a command, and each kind of run is an input.
    assert set(provenance.MISSING_INPUTS) <= set(provenance.INPUT_NAMES)
    assert {"evaluate", "explain", "ablate", "sufficiency"} == provenance.TEST_SPLIT_INPUTS


def test_every_missing_input_names_a_page_a_reason_and_a_command() -> None:
    parts = list(provenance.MISSING_INPUTS.values())
    assert {command.split()[0] for _, _, command in parts} == {"deepminer", "make"}
    assert all(name[0].isupper() and " " not in name for name, _, _ in parts)
    assert all(reason[0].islower() and reason.count(" ") >= 4 for _, reason, _ in parts)

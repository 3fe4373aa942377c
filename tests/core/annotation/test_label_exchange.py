"""Counts, notes and order of rows of imported and exported labels, by hand."""

from __future__ import annotations

import json
from pathlib import Path

from core import store
from core.annotation import label_exchange
from core.lexicon import annotation_answers
from core.store import participant_table
from core.store.labels import decision_table
from support import synthetic_study

RUN = synthetic_study.DISSECT
# Unit 1: one of two answers names something; unit 2: neither; unit 3: one expert.
RAW = {
    "E1": {"unit_0001": "Mass", "unit_0002": "N/A", "unit_0003": "Round calcifications"},
    "E2": {"unit_0001": "N/A", "unit_0002": "nothing"},
}
# Unit 4 has no answer of anybody.
CONSENSUS = {
    "unit_0001": "Mass",
    "unit_0002": "Spiculated mass",
    "unit_0003": "n/a",
    "unit_0004": "Nipple",
}


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_import_counts_and_notes(study: Path, tmp_path: Path) -> None:
    with store.write(study) as con:
        # A practice answer names something, and is no label of its unit.
        synthetic_study.annotate(con, "E9", 30, synthetic_study.mass_answer(), practice=True)
    raw = label_exchange.import_labels(study, write_json(tmp_path / "raw.json", RAW), "team")
    assert (raw.answers, raw.substantive) == ({"E1": 3, "E2": 2}, {"E1": 2, "E2": 0})
    assert (raw.units, raw.decided, raw.traced, raw.flagged, raw.without) == (2, 0, 0, (), ())
    path = write_json(tmp_path / "consensus.json", CONSENSUS)
    cleaned = label_exchange.import_labels(study, path, "ANNA")
    assert (cleaned.answers, cleaned.substantive, cleaned.units) == ({}, {}, 2)
    assert (cleaned.decided, cleaned.traced) == (4, 3)
    assert cleaned.flagged == ("unit_0002",) and cleaned.without == ("unit_0004",)
    with store.read(study) as con:
        stored = decision_table.load_decisions(con, RUN, imported=True).set_index("unit")
    start = "imported from consensus.json"
    assert stored["label"].to_dict() == {0: "Mass", 1: "Spiculated mass", 2: "", 3: "Nipple"}
    assert stored["reason"].to_dict() == {
        0: start,
        1: f"{start}; every raw answer names nothing",
        2: start,
        3: f"{start}; no raw answer is known",
    }
    assert [len(sources) for sources in stored.sort_index()["sources"]] == [2, 2, 1, 0]
    assert set(stored["decided_by"]) == {"ANNA"}


def test_rows_are_exported_by_unit_and_set(study: Path, tmp_path: Path) -> None:
    """Answers of experts by code, then the consensus, then the label in use; latest first here."""
    with store.write(study) as con:
        for code, unit in (("E2", 5), ("E1", 5), ("E1", 3)):
            synthetic_study.annotate(con, code, unit, synthetic_study.mass_answer())
        synthetic_study.annotate(con, "E2", 3, annotation_answers.empty_answer("unsure"))
        participant_table.add_participant(con, "AAA", "annotator")
        synthetic_study.annotate(con, "AAA", 9, synthetic_study.mass_answer("obscured"))
        decision_table.record_decision(con, RUN, 5, "Mass, decided", ["a0"], "seen", "ANNA")
    result = label_exchange.export_labels(study, tmp_path / "labels.json")
    rows = json.loads((tmp_path / "labels.json").read_text())["labels"]
    expert = {"E1": "Mass with spiculated margin, suspicious"}
    expected = [
        ("unit_0004", "E1", expert["E1"]),
        ("unit_0004", "E2", ""),
        ("unit_0006", "E1", expert["E1"]),
        ("unit_0006", "E2", expert["E1"]),
        ("unit_0006", "consensus", "Mass, decided"),
        ("unit_0006", "label", "Mass, decided"),
        ("unit_0010", "AAA", "Mass with obscured margin, suspicious"),
    ]
    assert [(row["unit"], row["set"], row["label"]) for row in rows] == expected
    assert result["rows"] == 7
    assert result["sets"] == {"AAA": 1, "E1": 2, "E2": 1, "consensus": 1, "label": 1}
    pairs = {
        (pair["first"], pair["second"]): (pair["both"], pair["same_words"])
        for pair in result["pairs"]
    }
    assert pairs[("E1", "E2")] == (1, 1) and pairs[("E1", "consensus")] == (1, 0)
    assert pairs[("AAA", "E1")] == (0, 0) and pairs[("consensus", "label")] == (1, 1)

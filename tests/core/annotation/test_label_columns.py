"""Columns of exported labels, and what an import stores, all fields by hand."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import pytest

from core import store
from core.annotation import category_confirmation, label_exchange, label_files
from core.annotation.label_files import read_label_file
from core.errors import UserError
from core.lexicon.birads_categories import BIRADS
from core.store import annotation_table, participant_table
from core.store.labels import (
    assignment_table,
    category_table,
    decision_table,
    finished_annotators,
    label_states,
)
from support import synthetic_study

RUN = synthetic_study.DISSECT
MASS = {"category": "mass", "terms": {"margin": "spiculated"}, "association": "suspicious"}
MASS_LABEL = "Mass with spiculated margin, suspicious"
COLUMNS = (
    "unit,set,label,state,words,recognisable,phenomena,categories,category_state,confidence,"
    "seconds,version,annotation_ids,reason,decided_by,simulated,origin,made"
)


def write_json(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def answered(study: Path) -> Path:
    """E1 names unit 3 by structure and was simulated; E2 wrote free words; unit 3 is decided."""
    with store.write(study) as con:
        answer = synthetic_study.mass_answer(confidence=2) | {"words": "at the edge"}
        synthetic_study.annotate(con, "E1", 2, answer, simulated=True)
        annotation_table.append_imported_annotation(
            con,
            run=RUN,
            unit=2,
            code=add_annotator("E2", con),
            answer=label_files.annotation_answers.free_answer("Calcified vessels"),
            annotation_id="b7",
            origin="old.json: 4",
        )
        decision_table.record_decision(con, RUN, 2, "Round mass", ["a0", "b7"], "both", "ANNA")
        con.execute("UPDATE annotations SET made = TIMESTAMP '2026-02-03 04:05:06'")
        con.execute("UPDATE decisions SET made = TIMESTAMP '2026-03-04 05:06:07'")
    return study


def add_annotator(code: str, con: object) -> str:
    participant_table.add_participant(con, code, "annotator")  # type: ignore[arg-type]
    return code


def test_every_field_of_an_export(answered: Path, tmp_path: Path) -> None:
    result = label_exchange.export_labels(answered, tmp_path / "l.json")
    content = json.loads((tmp_path / "l.json").read_text())
    assert {key: content[key] for key in content if key != "labels"} == {
        "schema": 1,
        "run": RUN,
        "simulated": True,
    }
    structured, free, consensus, used = content["labels"]
    assert structured == {
        "unit": "unit_0003",
        "set": "E1",
        "label": MASS_LABEL,
        "state": "",
        "words": "at the edge",
        "recognisable": "yes",
        "phenomena": [MASS],
        "categories": ["mass"],
        "category_state": "answered",
        "confidence": 2,
        "seconds": 10.0,
        "version": 1,
        "annotation_ids": ["a0"],
        "reason": "",
        "decided_by": "",
        "simulated": True,
        "origin": "",
        "made": "2026-02-03 04:05:06",
    }
    assert free == structured | {
        "set": "E2",
        "label": "Calcified vessels",
        "words": "Calcified vessels",
        "phenomena": [],
        "categories": ["calcification"],
        "category_state": "proposed",
        "confidence": None,
        "seconds": None,
        "annotation_ids": ["b7"],
        "simulated": False,
        "origin": "old.json: 4",
    }
    neutral = {"words": "", "phenomena": [], "confidence": None, "seconds": None, "version": None}
    assert consensus == structured | neutral | {
        "set": "consensus",
        "label": "Round mass",
        "state": "adjudicated",
        "categories": ["mass"],
        "category_state": "proposed",
        "annotation_ids": ["a0", "b7"],
        "reason": "both",
        "decided_by": "ANNA",
        "simulated": False,
        "made": "2026-03-04 05:06:07",
    }
    assert used == consensus | {
        "set": "label",
        "reason": "",
        "decided_by": "",
        "simulated": True,
        "made": "",
    }
    assert result["file"] == str(tmp_path / "l.json") and result["run"] == RUN


def test_every_column_of_a_csv(answered: Path, tmp_path: Path) -> None:
    label_exchange.export_labels(answered, tmp_path / "l.csv")
    text = (tmp_path / "l.csv").read_text(encoding="utf-8")
    assert text.splitlines()[0] == COLUMNS
    structured, _, consensus, used = csv.DictReader(text.splitlines())
    assert list(structured.values()) == [
        *("unit_0003", "E1", MASS_LABEL, "", "at the edge", "yes"),
        *(json.dumps([MASS]), '["mass"]', "answered", "2", "10.0", "1", '["a0"]', "", ""),
        *("True", "", "2026-02-03 04:05:06"),
    ]
    assert consensus["annotation_ids"] == '["a0", "b7"]' and used["set"] == "label"


def test_simulated_mark_of_a_file(study: Path, tmp_path: Path) -> None:
    with store.write(study) as con:
        synthetic_study.annotate(con, "E1", 2, synthetic_study.mass_answer())
    label_exchange.export_labels(study, tmp_path / "l.json")
    assert json.loads((tmp_path / "l.json").read_text())["simulated"] is False


def test_what_an_import_stores(study: Path, tmp_path: Path) -> None:
    with store.write(study) as con:
        participant_table.add_participant(con, "E2", "annotator")
        con.execute("DELETE FROM annotation_assignments")
    file = write_json(
        tmp_path / "raw.json", {"E2": {"unit_0005": "Mass"}, "E3": {"unit_0006": "-"}}
    )
    result = label_exchange.import_labels(study, file, "team")
    assert (result.run, result.proposed, result.kept, result.disputed) == (RUN, 1, (), ())
    with store.read(study) as con:
        rows = annotation_table.load_annotations(con, RUN).sort_values("unit")
        assert assignment_table.load_assignments(con) == {"E2": (RUN,), "E3": (RUN,)}
        assert participant_table.participant_role(con, "E3") == "annotator"
    assert [(row.unit, row.code, row.simulated) for row in rows.itertuples()] == [
        (4, "E2", False),
        (5, "E3", False),
    ]
    content = [f"{RUN}|E2|4|Mass", f"{RUN}|E3|5|-"]
    assert list(rows["annotation_id"]) == [
        hashlib.sha256(text.encode()).hexdigest()[:32] for text in content
    ]
    first, second = rows["answer"]
    assert first["label"] == first["words"] == "Mass" and first["recognisable"] == "yes"
    assert first["origin"] == "raw.json: E2, unit_0005"
    assert second["words"] == "-" and second["recognisable"] == "nothing" and not second["label"]


def test_kept_and_disputed_units(study: Path, tmp_path: Path) -> None:
    """Unit 0: agreed; unit 1: adjudicated; unit 2: named by one; unit 3 becomes disputed."""
    with store.write(study) as con:
        for unit in (0, 3):
            for code in ("E1", "E2"):
                synthetic_study.annotate(con, code, unit, synthetic_study.mass_answer())
        synthetic_study.annotate(con, "E1", 2, synthetic_study.mass_answer())
        decision_table.record_decision(con, RUN, 1, "Nipple", [], "seen", "ANNA")
        for code in ("E1", "E2"):
            finished_annotators.mark_finished(con, RUN, code, "ANNA")
        assert label_states.unit_states(con, RUN, ())[0].state == "agreed"
    names = {f"unit_{n:04d}": text for n, text in ((1, "Halo"), (2, "Skin"), (3, "Vessel"))}
    consensus = label_exchange.import_labels(
        study, write_json(tmp_path / "c.json", names), "team", dissect=RUN
    )
    assert consensus.kept == ("unit_0001", "unit_0002") and consensus.disputed == ()
    raw = write_json(tmp_path / "raw.json", {"E9": {"unit_0004": "Vessel", "unit_0009": "Skin"}})
    imported = label_exchange.import_labels(study, raw, "team")
    assert imported.disputed == ("unit_0004",) and imported.kept == ()


def test_consensus_is_imported_once_whatever_its_spaces(study: Path, tmp_path: Path) -> None:
    first = write_json(tmp_path / "c.json", {"unit_0001": " Mass  of fat"})
    label_exchange.import_labels(study, first, "team")
    again = write_json(tmp_path / "d.json", {"unit_0001": "Mass of   fat "})
    with pytest.raises(UserError, match=r"d\.json, unit_0001: this label is in the study already"):
        label_exchange.import_labels(study, again, "team")
    # The same words on another unit are another label.
    other = write_json(tmp_path / "e.json", {"unit_0002": "Mass of fat"})
    assert label_exchange.import_labels(study, other, "team").decided == 1
    with store.read(study) as con:
        assert len(decision_table.load_decisions(con, RUN, imported=True)) == 2


def test_order_of_experts_decides_the_words(study: Path, tmp_path: Path) -> None:
    with store.write(study) as con:
        for code in ("E1", "E2"):
            answer = synthetic_study.mass_answer(confidence=1 if code == "E1" else 3)
            synthetic_study.annotate(con, code, 4, answer)
            finished_annotators.mark_finished(con, RUN, code, "ANNA")
    ids = {}
    for order in ('["E1", "E2"]', '["E2", "E1"]'):
        (study / "study.toml").write_text(f"[annotation]\norder_of_experts = {order}\n")
        label_exchange.export_labels(study, tmp_path / "l.json")
        (row,) = [
            r
            for r in json.loads((tmp_path / "l.json").read_text())["labels"]
            if r["set"] == "label"
        ]
        assert row["state"] == "agreed"
        ids[order] = row["annotation_ids"]
    assert list(ids.values()) == [["a0", "a1"], ["a1", "a0"]]


@pytest.mark.parametrize(
    ("row", "text", "answer"),
    [
        ({"label": "Mass"}, "Mass", {"label": "Mass", "words": "Mass"}),
        # Words are the text of an answer without a label, but never of a consensus.
        ({"words": "a halo"}, "a halo", {"label": "a halo", "words": "a halo"}),
        ({"set": "consensus", "words": "a halo"}, "", {"recognisable": "nothing", "label": ""}),
        ({"label": "N/A"}, "N/A", {"recognisable": "nothing", "words": "N/A"}),
        ({"label": "–"}, "–", {"recognisable": "nothing", "words": "–"}),
        ({"label": " NA "}, " NA ", {"recognisable": "nothing", "words": "NA"}),
        ({"label": "none"}, "none", {"recognisable": "nothing", "words": "none"}),
        ({"recognisable": "unsure"}, "", {"recognisable": "unsure", "confidence": None}),
        ({"recognisable": "nothing"}, "", {"recognisable": "nothing", "confidence": None}),
        (
            {"label": MASS_LABEL, "phenomena": [MASS], "confidence": "2", "words": "edge"},
            MASS_LABEL,
            {"recognisable": "yes", "confidence": 2, "words": "edge", "phenomena": [MASS]},
        ),
        (
            {"label": MASS_LABEL, "phenomena": json.dumps([MASS]), "confidence": 3},
            MASS_LABEL,
            {"confidence": 3, "phenomena": [MASS], "label": MASS_LABEL},
        ),
    ],
)
def test_answers_of_rows(tmp_path: Path, row: dict, text: str, answer: dict) -> None:
    whole = {"unit": "unit_0007", "set": " E1 ", "label": "", "reason": "seen"} | row
    label = whole | {"set": "label"}
    path = write_json(tmp_path / "l.json", {"labels": [label, whole]})
    (entry,) = read_label_file(path, BIRADS)
    assert (entry.position, entry.unit, entry.text, entry.reason) == ("entry 2", 6, text, "seen")
    assert entry.set == whole["set"].strip()
    assert {name: entry.answer[name] for name in answer} == answer


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"phenomena": "[", "label": "Mass"}, "entry 1: phenomena must be JSON"),
        ({"phenomena": [MASS], "confidence": "high"}, "entry 1: phenomena must be JSON"),
        ({"phenomena": [MASS], "confidence": 4}, "entry 1: "),
        ({"label": "x" * 2001}, "2001 characters"),
        ({"unit": 7}, "entry 1: every entry needs the texts"),
        ({"label": None}, "entry 1: every entry needs the texts"),
    ],
)
def test_faulty_rows(tmp_path: Path, row: dict, message: str) -> None:
    whole = {"unit": "unit_0007", "set": "E1", "label": ""} | row
    with pytest.raises(UserError, match=message):
        read_label_file(write_json(tmp_path / "l.json", {"labels": [whole]}), BIRADS)


def test_longest_text_and_byte_order_mark(tmp_path: Path) -> None:
    limit = label_files.annotation_answers.MAX_CHARACTERS
    path = tmp_path / "l.csv"
    path.write_text(f" unit , set,label\nunit_1,E1,{'x' * limit}\n", encoding="utf-8-sig")
    (entry,) = read_label_file(path, BIRADS)
    assert (len(entry.text), entry.position, entry.unit) == (limit, "line 2", 0)
    path.write_bytes("unit,set,label\nunit_0001,E1,Mässe\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"is not text in UTF-8 \(byte 29\)"):
        read_label_file(path, BIRADS)
    with pytest.raises(UserError, match="cannot be read"):
        read_label_file(tmp_path / "none.csv", BIRADS)
    with pytest.raises(UserError, match=r"ends in \.json or \.csv"):
        label_files.write_label_file(tmp_path / "l.txt", [], {})


def test_listed_texts_and_their_confirmation(study: Path, tmp_path: Path) -> None:
    raw = {"E1": {"unit_0002": "Halo", "unit_0001": "Mass"}, "E2": {"unit_0001": "Dense mass"}}
    label_exchange.import_labels(study, write_json(tmp_path / "r.json", raw), "team")
    listed = category_confirmation.list_texts(study)
    dense = {"unit": "unit_0001", "text": "Dense mass", "sets": ["E2"]}
    mass = {"unit": "unit_0001", "text": "Mass", "sets": ["E1"], "categories": ["mass"]}
    assert listed[0]["text"] == "Dense mass" and listed[0]["sets"] == ["E2"]
    assert [dense | {k: listed[0][k] for k in ("categories", "state")}] == listed[:1]
    assert listed[1] == mass | {"state": "proposed"}
    assert listed[2] == {
        "unit": "unit_0002",
        "text": "Halo",
        "sets": ["E1"],
        "categories": [],
        "state": "unknown",
    }
    # A unit with one text needs no set; the answer states what was stored.
    confirmed = category_confirmation.confirm_text(study, "unit_0002", ["mass"], None, "ANNA", RUN)
    assert confirmed == listed[2] | {"categories": ["mass"], "state": "confirmed"}
    with store.read(study) as con:
        assert category_table.confirmed_categories(con, RUN) == {
            (1, category_table.label_key("HALO ")): ("mass",)
        }
        (row,) = con.execute("SELECT version, who FROM label_categories").fetchall()
    assert row == (1, "ANNA")
    undone = category_confirmation.undo_text(study, "unit_0002", None, "BERT", RUN)
    assert undone == listed[2]
    with pytest.raises(UserError, match="in the set 'E2'"):
        category_confirmation.confirm_text(study, "unit_0002", ["mass"], "E2", "ANNA")

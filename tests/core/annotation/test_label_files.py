"""Import and export of label files: the published ones, round trips, and invalid files."""

from __future__ import annotations

import json
import os
from pathlib import Path

import joblib
import pytest

from core import store
from core.annotation import label_exchange
from core.annotation.label_files import read_label_file
from core.errors import UserError
from core.lexicon import annotation_answers
from core.lexicon.birads_categories import BIRADS
from core.store import annotation_table, participant_table
from core.store.labels import decision_table, label_states
from evaluation.annotation import category_agreement
from support import synthetic_study
from support.paths import REFERENCE
from support.requirements import needs_publication

PUBLISHED = REFERENCE / "unit_labels"
RUN = synthetic_study.DISSECT


@pytest.fixture
def large(study: Path) -> Path:
    """A study whose dissection has 2048 units."""
    with store.write(study) as con:
        con.execute(
            "INSERT INTO units (run, layer, unit, largest, quantile, dead, top_patients)"
            " SELECT ?, 'last', range, 1.0, 0.5, FALSE, 8 FROM range(?, 2048)",
            [RUN, synthetic_study.UNITS],
        )
    return study


def write_labels(folder: Path, content: object, name: str = "labels.json") -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


@needs_publication
def test_published_labels(large: Path, tmp_path: Path) -> None:
    raw = label_exchange.import_labels(large, PUBLISHED / "raw_by_expert.json", "team")
    assert (
        raw.substantive == {"expert_1": 16, "expert_2": 50}
        and raw.answers == {"expert_1": 16, "expert_2": 58}
        and raw.units == 51
    )
    with store.read(large) as con:
        # The two experts agree on no unit in the same words.
        assert label_states.unit_labels(con, RUN, []) == {}
        frame = annotation_table.load_annotations(con, RUN)
    answer = frame[(frame["code"] == "expert_1") & (frame["unit"] == 587)].iloc[0]["answer"]
    assert (
        answer["words"]
        == answer["label"]
        == "Masses with spiculations, suspicious for breast cancer"
        and "raw_by_expert.json: expert_1, unit_0588" in answer["origin"]
    )
    cleaned = label_exchange.import_labels(large, PUBLISHED / "cleaned.json", "team")
    assert (cleaned.decided, cleaned.traced, cleaned.without) == (
        46,
        46,
        (),
    ) and cleaned.flagged == ("unit_1065", "unit_1118", "unit_1405")
    with store.read(large) as con:
        labels = label_states.unit_labels(con, RUN, [])
    assert (
        labels[587].text == "Masses with spiculations, suspicious for breast cancer"
        and answer is not None
    )
    ids = set(frame["annotation_id"])
    assert all(set(one.annotation_ids) <= ids and one.annotation_ids for one in labels.values())
    for name in ("raw_by_expert.json", "cleaned.json"):
        with pytest.raises(UserError, match=rf"{name}, .*nothing was imported"):
            label_exchange.import_labels(large, PUBLISHED / name, "team")
    exported = label_exchange.export_labels(large, tmp_path / "all.csv")
    assert exported["sets"] == {"consensus": 46, "expert_1": 16, "expert_2": 50, "label": 46}
    assert {"first": "expert_1", "second": "expert_2", "both": 15, "same_words": 0} in exported[
        "pairs"
    ]
    rows = (
        category_agreement.naming_agreement(frame),
        category_agreement.first_category_agreement(frame),
        category_agreement.category_overlap(frame),
    )
    assert (
        rows[0].n == 16
        and rows[1].estimate is None
        and rows[2].estimate is None
        and category_agreement.agreement_by_category(frame, ["mass"]) == []
    )
    assert len(category_agreement.list_disagreements(frame)) == 16


@pytest.mark.parametrize("name", ["out.json", "out.csv"])
def test_export_import_round_trip(large: Path, tmp_path: Path, name: str) -> None:
    with store.write(large) as con:
        synthetic_study.annotate(con, "E1", 3, synthetic_study.mass_answer("spiculated"))
        synthetic_study.annotate(con, "E2", 3, annotation_answers.empty_answer("unsure"))
        synthetic_study.annotate(
            con,
            "E2",
            5,
            {**synthetic_study.mass_answer(), "words": 'message "so",\nand <b>more</b>'},
        )
        decision_table.record_decision(
            con, RUN, 3, "Mass; seen by one", ["a0"], "looked again", "team"
        )
    first = label_exchange.export_labels(large, tmp_path / name)
    other = synthetic_study.create_study(tmp_path / "other")
    label_exchange.import_labels(other, tmp_path / name, "team")
    with store.read(other) as con:
        again = {
            (r.code, int(r.unit)): r.answer
            for r in annotation_table.load_annotations(con, RUN).itertuples()
        }
        assert decision_table.load_decisions(con, RUN, True).iloc[0]["label"] == "Mass; seen by one"
    with store.read(large) as con:
        before = {
            (r.code, int(r.unit)): r.answer
            for r in annotation_table.load_annotations(con, RUN).itertuples()
        }
    assert {
        k: {n: v for n, v in a.items() if n != "origin"} for k, a in again.items()
    } == before and all("origin" in a for a in again.values())
    assert label_exchange.export_labels(other, tmp_path / f"again_{name}")["sets"] == first["sets"]


CSV = "unit,set,label\n"


@pytest.mark.parametrize(
    ("content", "name", "message"),
    [
        (
            {"E1": {"unit_0001": "Mass", "unit_9999": "Mass"}},
            "x.json",
            "E1, unit_9999: there is no unit_9999",
        ),
        (
            '{"E1": {"unit_0001": "Mass", "unit_0001": "Mass"}}',
            "x.json",
            "unit_0001': the name occurs 2 times",
        ),
        ({"E1": {"unit_0001": "Mass", "unit_001": "Mass"}}, "x.json", "unit occurs twice"),
        ({"E1": {"unit_0001": "Mass"}, "unit_0002": "Mass"}, "x.json", "mixed on one level"),
        ({"E1": {"unit_0000": "Mass"}}, "x.json", "is not a unit name"),
        ({"E1": {"unit_0001": 5}}, "x.json", "a label is a text"),
        ({"E1": {"unit_0001": "x" * 10_000_000}}, "x.json", "10000000 characters"),
        ({"Dr. <b>Anna</b> Schmidt": {"unit_0001": "Mass"}}, "x.json", "is not a code"),
        ({"R" * 300: {"unit_0001": "Mass"}}, "x.json", "is not a code"),
        ({"READER": {"unit_0001": "Mass"}}, "x.json", "READER is a reader"),
        ("[1]", "x.json", "something else"),
        ("{", "x.json", "is not JSON"),
        ({}, "x.json", "holds no label"),
        ("a", "x.txt", "label files end in .json, .csv, .jbl"),
        (
            CSV + "unit_0001,E1,Mass\nunit_0001,E1,Mass\n",
            "x.csv",
            "line 3: the unit occurs twice",
        ),
        (CSV + "unit_0001,E1\n", "x.csv", "line 2: every entry needs"),
        ("unit,label\nunit_0001,Mass\n", "x.csv", "column 'set' is missing"),
        (CSV + 'unit_0001,E1,"Mass\n', "x.csv", "not a CSV file"),
        (CSV + "unit_0001,E1,Mass,more\n", "x.csv", "line 2: every entry needs"),
    ],
)
def test_invalid_file(
    study: Path, tmp_path: Path, content: object, name: str, message: str
) -> None:
    with store.write(study) as con:
        participant_table.add_participant(con, "READER", "reader")
    with pytest.raises(UserError) as error:
        label_exchange.import_labels(study, write_labels(tmp_path, content, name), "team")
    assert message in str(error.value) and name in str(error.value) and len(str(error.value)) < 600
    with store.read(study) as con:
        assert (
            not len(annotation_table.load_annotations(con))
            and len(participant_table.load_participants(con)) == 1
        )


def test_without_dissection(tmp_path: Path) -> None:
    from core.study_folder import create_study

    with pytest.raises(UserError, match="no dissect run yet; run `deepminer dissect`"):
        label_exchange.import_labels(
            create_study(tmp_path / "empty"), write_labels(tmp_path, {"unit_0001": "Mass"}), "team"
        )
    assert [e.unit for e in read_label_file(tmp_path / "labels.json", BIRADS)] == [0]


@pytest.mark.parametrize("suffix", [".jbl", ".joblib", ".pkl"])
def test_published_joblib_files(suffix: str, tmp_path: Path) -> None:
    cleaned = {"unit_0003": "Dense tissue", "unit_0588": "Mass"}
    for content in (cleaned, {"expert_1": cleaned, "expert_2": {"unit_0003": "N/A"}}):
        binary = tmp_path / f"labels{suffix}"
        joblib.dump(content, binary)
        assert read_label_file(binary, BIRADS) == read_label_file(
            write_labels(tmp_path, content), BIRADS
        )


def test_joblib_file_that_wants_to_run_code(tmp_path: Path) -> None:
    target = tmp_path / "written"

    class Attack:
        """Creates a folder when it is unpickled."""

        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(target),)

    joblib.dump({"unit_0003": Attack()}, tmp_path / "labels.jbl")
    with pytest.raises(UserError, match=r"labels.jbl contains .*Nothing was executed"):
        read_label_file(tmp_path / "labels.jbl", BIRADS)
    assert not target.exists()
    joblib.load(tmp_path / "labels.jbl")  # a reader that runs code creates it
    assert target.exists()

"""Counts and versions that pages and exports show, on rows whose numbers are all different."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from core import store
from core.sessions.reading_session import ReadingSession
from core.sessions.tokens import load_secret_key
from core.store import annotation_table, dataset_table, participant_table
from core.store.labels import decision_table, label_states
from core.store.reading import bundle_table
from support import synthetic_study

RUN = synthetic_study.DISSECT


def test_progress_of_an_annotator(study: Path) -> None:
    """Five units, of which two revised and one without a label, one repeat, two practice units."""
    mass, other = synthetic_study.mass_answer(), synthetic_study.mass_answer("obscured")
    nothing = {
        "recognisable": "nothing",
        "phenomena": [],
        "confidence": 1,
        "words": "",
        "label": "",
    }
    with store.write(study) as con:
        for unit, answer, options in (
            *((unit, mass, {}) for unit in (1, 2, 3, 4)),
            (2, other, {}),
            (3, other, {}),
            (3, mass, {}),
            (5, nothing, {}),
            (1, other, {"repeat": True}),
            (20, mass, {"practice": True}),
            (21, mass, {"practice": True}),
            (20, other, {"practice": True}),
        ):
            synthetic_study.annotate(con, "A1", unit, answer, **options)
        synthetic_study.annotate(con, "A2", 9, mass, simulated=True)
        progress = annotation_table.annotation_progress_by_expert(con, RUN).set_index("code")
        participants = participant_table.load_participants(con).set_index("code")
    names = ["units", "named", "revised", "repeats"]
    assert progress.loc["A1", names].tolist() == [5, 4, 2, 1]
    assert progress.loc["A2", names].tolist() == [1, 1, 0, 0]
    assert list(progress["simulated"]) == [False, True]
    # Units 1 to 5; practice and repeats are no further units.
    assert participants.loc["A1", "annotated"] == 5


def test_cases_read_do_not_count_practice(study: Path) -> None:
    session = ReadingSession("R1", load_secret_key(study))
    with store.write(study) as con:
        participant_table.add_participant(con, "R1", "reader")
        participant_table.record_consent(con, "R1", "", "text")
        session.assign_order(con, session.protocol(con))
        for _ in range(5 + 3):
            case = session.displayed_case(con, session.protocol(con))
            session.save_answer(con, case.token, 3, 1.0, False)
        session.reopen_previous(con, session.protocol(con))
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] >= 8
        participants = participant_table.load_participants(con).set_index("code")
    assert participants.loc["R1", "answered"] == 3


def test_the_last_consent_counts_and_a_bundle_holds_all(study: Path) -> None:
    with store.write(study) as con:
        participant_table.add_participant(con, "R1", "reader")
        for number in (1, 2, 3):
            participant_table.record_consent(con, "R1", f"{number} years", f"text {number}")
        participants = participant_table.load_participants(con).set_index("code")
        reader = bundle_table.load_bundle_reader(con, "ZQXSTUDY", 1, "R1")
    assert participants.loc["R1", "experience"] == "3 years"
    assert [(c.experience, c.text) for c in reader.consents] == [
        (f"{number} years", f"text {number}") for number in (1, 2, 3)
    ]


def test_the_last_decision_on_a_unit_counts(study: Path) -> None:
    with store.write(study) as con:
        for unit, label in ((7, "First"), (3, "Other"), (7, "Second"), (7, "Third")):
            decision_table.record_decision(con, RUN, unit, label, [], f"why {label}", "T1")
        decisions = decision_table.load_decisions(con, RUN)
        labels = label_states.unit_labels(con, RUN, [])
    assert decisions[["unit", "label", "reason"]].to_numpy().tolist() == [
        [3, "Other", "why Other"],
        [7, "Third", "why Third"],
    ]
    assert {unit: label.text for unit, label in labels.items()} == {3: "Other", 7: "Third"}


def add_findings(con, rows: list[tuple[str, int, str]], outline: list | None = None) -> None:
    frame = pd.DataFrame(rows, columns=["mammogram_id", "number", "pathology"]).assign(
        lesion_type="MASS", descriptors="{}", nested="[]", report="", assessment=None, subtlety=None
    )
    frame["outline"] = [outline or [[1.0, 2.0], [3.0, 4.0], [5.0, 1.0]]] * len(frame)
    dataset_table.append_rows(con, "findings", frame)


@pytest.mark.parametrize(
    ("image_label", "findings", "truth"),
    [
        (None, [], 0),
        ("NORMAL", [], 0),
        ("BENIGN", [], 1),
        ("BENIGN_WITHOUT_CALLBACK", [], 1),
        ("MALIGNANT", [], 2),
        ("UNPROVEN", [], None),
        ("BENIGN", ["MALIGNANT"], 2),
        ("MALIGNANT", ["BENIGN"], 1),
        ("BENIGN", ["UNPROVEN"], None),
        (None, ["UNPROVEN", "BENIGN"], 1),
        (None, ["BENIGN", "MALIGNANT", "UNPROVEN"], 2),
        (None, ["BENIGN_WITHOUT_CALLBACK"], 1),
    ],
)
def test_truth_of_a_mammogram(study: Path, image_label, findings, truth) -> None:
    """Findings come before the label of the image; nothing unproven becomes normal."""
    with store.write(study) as con:
        con.execute(
            "UPDATE mammograms SET image_label = ? WHERE mammogram_id = 'ZQXCASE003'", [image_label]
        )
        add_findings(con, [("ZQXCASE003", i, p) for i, p in enumerate(findings, start=1)])
        table = dataset_table.load_image_truth(con).set_index("mammogram_id")
    got = table.loc["ZQXCASE003", "truth"]
    assert (None if pd.isna(got) else int(got)) == truth
    assert (table["truth"].drop("ZQXCASE003") == 0).all()


def test_data_hash_covers_what_the_results_rest_on(study: Path) -> None:
    mammogram = "WHERE mammogram_id = 'ZQXCASE003'"
    with store.write(study) as con:
        add_findings(con, [("ZQXCASE003", 1, "BENIGN")])
        hashes = [dataset_table.content_hash(con)]
        for change in (
            "UPDATE findings SET outline = '[[1, 2], [3, 4], [6, 1]]'",
            "UPDATE findings SET pathology = 'MALIGNANT'",
            "UPDATE findings SET lesion_type = 'CALCIFICATION'",
            "UPDATE findings SET subtlety = 3",
            "UPDATE findings SET assessment = 4",
            f"UPDATE mammograms SET image_label = 'BENIGN' {mammogram}",
            f"UPDATE mammograms SET pixel_hash = 'x' {mammogram}",
            f"UPDATE mammograms SET laterality = 'RIGHT' {mammogram}",
            f"UPDATE mammograms SET view = 'MLO' {mammogram}",
            f"UPDATE mammograms SET patient_id = 'ZQXPATIENT000' {mammogram}",
            "UPDATE patients SET density = 3 WHERE patient_id = 'ZQXPATIENT001'",
            "UPDATE patients SET age = 51 WHERE patient_id = 'ZQXPATIENT001'",
        ):
            con.execute(change)
            hashes.append(dataset_table.content_hash(con))
            assert hashes[-1] not in hashes[:-1], change
        # Where the data were read from plays no part.
        con.execute(f"UPDATE mammograms SET file = 'elsewhere' {mammogram}")
        assert dataset_table.content_hash(con) == hashes[-1]


def test_first_pathology_has_the_lowest_number(study: Path) -> None:
    rows = [
        ("ZQXCASE000", 2, "MALIGNANT"),
        ("ZQXCASE000", 1, "BENIGN"),
        ("ZQXCASE001", 3, "NORMAL"),
    ]
    names = ["mammogram_id", "number", "pathology"]
    findings = pd.DataFrame(rows, columns=names).assign(
        lesion_type="MASS", descriptors="{}", outline="[]", nested="[]", report=""
    )
    with store.write(study) as con:
        con.execute("DELETE FROM findings")
        dataset_table.append_rows(con, "findings", findings)
        first = dataset_table.load_first_pathologies(con)
    assert first == {"ZQXCASE000": "BENIGN", "ZQXCASE001": "NORMAL"}

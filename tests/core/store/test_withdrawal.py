"""Withdrawal of a patient or a participant: what goes, what stays, and the chain afterwards."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import pytest

from core import store
from core.errors import UserError
from core.sessions.reading_session import ReadingSession
from core.store import (
    annotation_table,
    audit_table,
    dataset_table,
    participant_table,
    run_table,
)
from core.store.evidence import verify_chain
from core.store.evidence.chain import load_records
from core.store.reading import protocol_table, reading_table
from core.store.withdrawal import (
    Withdrawal,
    check_not_shown,
    withdraw_participant,
    withdraw_patient,
    withdrawn_patients,
)
from support import read_rows, synthetic_study
from support.study_templates import copy_template

PATIENT, KEPT = "ZQXPATIENT001", "ZQXPATIENT002"
# Tables that hold rows of a patient, with the way to count them.
OF_PATIENT = {
    "patients": "patient_id = '{0}'",
    "mammograms": "patient_id = '{0}'",
    "splits": "patient_id = '{0}'",
    "patches": "mammogram_id IN ({1})",
    "findings": "mammogram_id IN ({1})",
    "explanations": "mammogram_id IN ({1})",
    "influences": "mammogram_id IN ({1})",
    "image_scores": "mammogram_id IN ({1})",
    "problems": "split_part(item, ', ', 1) IN ({1})",
    "ingested_patients": "patient_id = '{0}'",
    "predictions": "patch_id IN (SELECT patch_id FROM patches WHERE mammogram_id IN ({1}))",
    "top_patches": "patch_id IN (SELECT patch_id FROM patches WHERE mammogram_id IN ({1}))",
}


@pytest.fixture
def study(tmp_path):
    return synthetic_study.create_study(tmp_path / "study")


def row_counts(con, patient: str) -> dict[str, int]:
    number = int(patient[-3:])
    mammograms = f"'ZQXCASE{2 * number:03d}', 'ZQXCASE{2 * number + 1:03d}'"
    return {
        table: con.execute(
            f"SELECT count(*) FROM {table} WHERE {condition.format(patient, mammograms)}"
        ).fetchone()[0]
        for table, condition in OF_PATIENT.items()
    }


def close_study(con) -> None:
    current = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
    protocol_table.append_protocol_state(
        con,
        protocol="ZQXSTUDY",
        version=1,
        state="closed",
        design=current.design,
        hash=current.hash,
    )


def test_a_patient_in_an_open_study_is_not_withdrawn(study):
    with store.write(study) as con, pytest.raises(UserError, match="is open; close it"):
        withdraw_patient(con, PATIENT, "team")
    with store.read(study) as con:
        assert row_counts(con, PATIENT)["mammograms"] == 2
        assert not withdrawn_patients(con)


def add_missing_rows(con) -> None:
    """Add a row of every patient to the tables that the synthetic study leaves empty."""
    for number in range(6):
        name = f"ZQXCASE{number:03d}"
        con.execute(
            "INSERT INTO findings VALUES (?, 1, 'BENIGN', '', '{}', NULL, NULL, '[]', '[]', '')",
            [name],
        )
        con.execute(
            "INSERT INTO image_scores VALUES (?, ?, .1, .2, .7, 2, 2, 'test')",
            [synthetic_study.DISSECT, name],
        )
        con.execute(
            "INSERT INTO problems (source_id, item, cause, action, skipped, code)"
            " VALUES ('s', ?, 'outline clipped', 'used', false, '')",
            [f"{name}, finding 1"],
        )
        con.execute(
            "INSERT INTO influences VALUES (?, ?, 2, 1, 5, .5)", [synthetic_study.DISSECT, name]
        )
        con.execute(
            "INSERT INTO explanations (run, mammogram_id, split, predicted, lesion_class,"
            " p_malignant, file) VALUES (?, ?, 'test', 2, 2, .7, 'f')",
            [synthetic_study.DISSECT, name],
        )
    con.execute(
        "INSERT INTO predictions SELECT ?, patch_id, .1, .2, .7 FROM patches",
        [synthetic_study.DISSECT],
    )
    for number in range(3):
        patient = f"ZQXPATIENT{number:03d}"
        con.execute("INSERT INTO splits VALUES (?, ?, 'test')", [synthetic_study.PATCHES, patient])
        con.execute("INSERT INTO ingested_patients VALUES ('o', ?, 'x')", [patient])


def test_withdrawn_patient_leaves_no_row_and_others_keep_theirs(study):
    with store.write(study) as con:
        close_study(con)
        add_missing_rows(con)
        before, kept = row_counts(con, PATIENT), row_counts(con, KEPT)
        data_hash = dataset_table.content_hash(con)
        done = withdraw_patient(con, PATIENT, "team")
    with store.read(study) as con:
        after = row_counts(con, PATIENT)
        assert row_counts(con, KEPT) == kept
        assert withdrawn_patients(con) == {PATIENT}
        assert verify_chain(con).valid
        log = run_table.load_log(con, "patient withdrawn")
        recorded = dataset_table.get_meta(con, "data_hash")
        assert recorded == dataset_table.content_hash(con) != data_hash
        # The sealed key keeps the pseudonym: its hash covers every case.
        cases = reading_table.load_reading_cases(con, "ZQXSTUDY", 1)
        assert PATIENT in set(cases["patient_id"])
    assert all(before.values()), "each table is tested with rows"
    assert not any(after.values())
    assert {table: done.removed.get(table, 0) for table in before} == before
    assert done.studies == ("ZQXSTUDY, version 1",)
    assert done.files == ("zqxfile002", "zqxfile003")
    assert set(done.runs) >= {synthetic_study.PATCHES, synthetic_study.DISSECT}
    assert log["detail"].tolist() == [f"patient {PATIENT}"] and log["who"].tolist() == ["team"]


def read_two_cases(con, code: str) -> None:
    participant_table.add_participant(con, code, "reader")
    participant_table.record_consent(con, code, "10 years", "consent")
    session = ReadingSession(code, b"secret")
    session.start_study(con, "")
    for _ in range(2):
        protocol = session.protocol(con)
        shown = session.displayed_case(con, protocol)
        session.save_answer(con, shown.token, 2, 3.0, False)


def test_withdrawn_reader_leaves_no_answer_and_the_chain_is_valid(study):
    with store.write(study) as con:
        for code in ("R1", "R2"):
            read_two_cases(con, code)
    with store.write(study) as con:
        close_study(con)
    with store.write(study) as con:
        done = withdraw_participant(con, "R1", "team")
    with store.read(study) as con:
        left = con.execute("SELECT DISTINCT code FROM answers").fetchall()
        orders = con.execute("SELECT DISTINCT code FROM reading_items").fetchall()
        verification = verify_chain(con)
        participants = participant_table.load_participants(con).set_index("code")
    assert left == orders == [("R2",)]
    assert done.removed["answers"] == 2 and done.studies == ("ZQXSTUDY, version 1",)
    assert verification.valid, verification.reason
    # The code stays, without content and without a link.
    assert participants.loc["R1", "answered"] == 0 and not participants.loc["R1", "link"]


def test_an_answer_that_is_deleted_without_a_withdrawal_is_still_found(study):
    with store.write(study) as con:
        read_two_cases(con, "R1")
    with store.write(study) as con:
        con.execute("DELETE FROM answers WHERE code = 'R1'")
    with store.read(study) as con:
        assert "its row is gone" in verify_chain(con).reason


def test_withdrawn_annotator(study):
    with store.write(study) as con:
        for code in ("A1", "A2"):
            synthetic_study.annotate(con, code, 1, synthetic_study.mass_answer())
        done = withdraw_participant(con, "A1", "team")
        progress = annotation_table.annotation_progress_by_expert(con, synthetic_study.DISSECT)
    assert done.removed == {"annotations": 1} and done.runs == (synthetic_study.DISSECT,)
    assert progress["code"].tolist() == ["A2"]


@pytest.mark.parametrize("withdraw", [withdraw_patient, withdraw_participant])
def test_unknown_codes_are_refused(study, withdraw):
    with store.write(study) as con, pytest.raises(UserError, match="nobody"):
        withdraw(con, "nobody", "team")


def test_every_row_of_a_reader_goes_with_a_record_of_its_removal(tmp_path):
    path = copy_template(read_rows.build_reading, tmp_path / "read")
    nothing = hashlib.sha256(b'{"rows":[]}').hexdigest()
    with store.write(path) as con:
        before = len(load_records(con))
        participant_table.invite_participant(con, "R9", "reader", "hash")
        done = withdraw_participant(con, "R1", "team")
        records = load_records(con)[before + 1 :]
        left = con.execute(
            "SELECT (SELECT count(*) FROM answers), (SELECT count(*) FROM reading_stages),"
            " (SELECT count(*) FROM reading_items)"
        ).fetchone()
        assert verify_chain(con).removed == 6 + 7 + 1
    # R2 has an answer and two positions, R3 two positions.
    assert left == (1, 0, 4)
    assert done == Withdrawal(
        removed={"answers": 6, "reading_stages": 7, "reading_items": 5},
        runs=(),
        studies=("Masses, version 2",),
    )
    version = "Masses, version 2"
    subjects = [
        f"{version}: answer of reader R1 at position {position}, revision {revision}"
        for position, revision in ((1, 1), (2, 1), (2, 2), (2, 3), (3, 1), (5, 1))
    ]
    subjects += [
        f"{version}: {stage} of reader R1 at position {position}"
        for position, stage in (
            (0, "closing question 1"), (1, "first answer"), (2, "first answer"),
            (2, "prediction"), (2, "question 1"), (5, "first answer"), (5, "prediction"),
        )
    ]  # fmt: skip
    subjects.append(f"{version}: order of reader R1")
    assert [(r.kind, r.subject) for r in records[:-1]] == [
        *(("reading_answer", subject) for subject in subjects[:6]),
        *(("reading_stage", subject) for subject in subjects[6:13]),
        ("reading_order", subjects[13]),
    ]
    assert {(r.content_hash, r.actor) for r in records[:-1]} == {(nothing, "team")}
    assert records[-1].kind == "log" and records[-1].subject.endswith("participant withdrawn, team")


def test_rows_of_an_annotator_are_counted_by_table(study):
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=1, each=1)
        synthetic_study.add_dissection(con, "dissect-b", "vgg16", "last", 1)
        for unit in (1, 2):
            synthetic_study.annotate(con, "A1", unit, synthetic_study.mass_answer())
        con.execute("UPDATE annotations SET run = 'dissect-b' WHERE unit = 1")
        for unit in (3, 4, 5):
            annotation_table.record_skip(con, synthetic_study.DISSECT, unit, "A1")
        for item in (1, 2, 3, 4):
            audit_table.append_audit_answer(con, audit.audit, "A1", item, 1, "yes", 1.0)
        participant_table.reissue_invitation(con, "A1", "hash")
        done = withdraw_participant(con, "A1", "team")
        assert done == Withdrawal(
            removed={"annotations": 2, "skips": 3, "audit_answers": 4},
            runs=(synthetic_study.DISSECT, "dissect-b"),
            studies=(),
        )
        # Every link has ended; the code stays.
        assert participant_table.valid_token_hashes(con, "A1") == []
        assert participant_table.participant_role(con, "A1") == "annotator"
        assert run_table.load_log(con, "participant withdrawn")["detail"][0] == "participant A1"


def test_patients_that_an_open_study_shows(study):
    with store.write(study) as con:
        check_not_shown(con, ["nobody"], "go on")
        check_not_shown(con, [], "go on")
        with pytest.raises(UserError) as refused:
            check_not_shown(con, ["nobody", KEPT, PATIENT], "go on")
        assert str(refused.value) == (
            f"ZQXSTUDY, version 1 shows images or explanations of patient {PATIENT} and is open;"
            " close it, then go on."
        )
        with pytest.raises(UserError, match="close it, then withdraw the patient."):
            withdraw_patient(con, PATIENT, "team")
        close_study(con)
        check_not_shown(con, [PATIENT], "go on")
        # A design that is not frozen shows nothing yet.
        synthetic_study.add_protocol(con, version=2, state="checked")
        check_not_shown(con, [PATIENT], "go on")


def test_only_runs_that_rest_on_the_patient_are_named(study):
    with store.write(study) as con:
        close_study(con)
        for name, kind, parents, day in (
            ("patches-b", "patches", [], 3), ("train-b", "train", ["patches-b"], 4),
            ("train-a", "train", [synthetic_study.PATCHES], 5), ("patches-c", "patches", [], 6),
        ):  # fmt: skip
            con.execute(
                "INSERT INTO runs VALUES (?, ?, '{}', ?, '{}', ?, 1.0)",
                [name, kind, json.dumps(parents), synthetic_study.MADE + timedelta(days=day)],
            )
        # patches-c has the patient in its split alone, patches-b another one.
        con.execute("INSERT INTO splits VALUES ('patches-c', ?, 'test')", [PATIENT])
        con.execute("INSERT INTO splits VALUES ('patches-b', ?, 'test')", [KEPT])
        done = withdraw_patient(con, PATIENT, "team")
        row = con.execute("SELECT patient_id, who FROM withdrawn_patients").fetchall()
    runs = (synthetic_study.DISSECT, synthetic_study.PATCHES, "train-a", "patches-c")
    assert done.runs == runs and row == [(PATIENT, "team")]
    assert set(done.removed.values()).isdisjoint({0})

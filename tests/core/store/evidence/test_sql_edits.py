"""Edits with SQL are named; of a chain that is rewritten whole, the deposited head tells."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from core import store
from core.store import evidence
from core.store.evidence.deposits import Deposit
from support.evidence_attack import execute_sql, rewrite_chain


class Edit(NamedTuple):
    """SQL; kind, subject and reason of the fault that it leaves; whether a record names it."""

    sql: str
    kind: str
    subject: str
    reason: str
    recorded: bool = True


ANSWER = "ZQXSTUDY, version 1: answer of reader {} at position {}, revision {}"
EDITS = {
    "answer changed": Edit(
        "UPDATE answers SET answer = 6 WHERE code = 'R03' AND position = 7",
        "reading_answer",
        ANSWER.format("R03", 7, 1),
        "its row was changed",
    ),
    "revision changed": Edit(
        "UPDATE answers SET answer = 5 WHERE code = 'R03' AND position = 4 AND revision = 2",
        "reading_answer",
        ANSWER.format("R03", 4, 2),
        "its row was changed",
    ),
    "time of an answer changed": Edit(
        "UPDATE answers SET seconds = 3 WHERE code = 'R05' AND position = 2",
        "reading_answer",
        ANSWER.format("R05", 2, 1),
        "its row was changed",
    ),
    "wrong answer removed": Edit(
        "DELETE FROM answers WHERE code = 'R05' AND position = 3",
        "reading_answer",
        ANSWER.format("R05", 3, 1),
        "its row is gone",
    ),
    "answer inserted": Edit(
        "INSERT INTO answers SELECT * REPLACE (3 AS revision, 6 AS answer) FROM answers"
        " WHERE code = 'R03' AND position = 4 AND revision = 2",
        "reading_answer",
        ANSWER.format("R03", 4, 3),
        "no record covers this row",
        False,
    ),
    "order changed": Edit(
        "UPDATE reading_items SET case_number = 30 WHERE code = 'R05' AND position = 2",
        "reading_order",
        "ZQXSTUDY, version 1: order of reader R05",
        "its row was changed",
    ),
    "repeat taken away": Edit(
        "UPDATE reading_items SET repeat = FALSE WHERE code = 'R03' AND position = 8",
        "reading_order",
        "ZQXSTUDY, version 1: order of reader R03",
        "its row was changed",
    ),
    "truth changed": Edit(
        "UPDATE reading_cases SET truth = 'BENIGN' WHERE case_number = 9",
        "reading_cases",
        "ZQXSTUDY, version 1: cases",
        "its row was changed",
    ),
    "reader inserted": Edit(
        "INSERT INTO people VALUES ('R9', 'reader', FALSE, '2026-01-01')",
        "participant",
        "participant R9",
        "no record covers this row",
        False,
    ),
    "order of a reader inserted": Edit(
        "INSERT INTO reading_items SELECT * REPLACE ('R9' AS code) FROM reading_items"
        " WHERE code = 'R03'",
        "reading_order",
        "ZQXSTUDY, version 1: order of reader R9",
        "no record covers this row",
        False,
    ),
    "consent removed": Edit(
        "DELETE FROM consents WHERE code = 'R05'", "consent", "consent of R05", "its row is gone"
    ),
    "log changed": Edit(
        "UPDATE log SET detail = 'other' WHERE event = 'reading study frozen'",
        "log",
        "reading study frozen, team",
        "its row was changed",
    ),
    "log removed": Edit("DELETE FROM log", "log", "reading study frozen, team", "its row is gone"),
    "hash of the protocol changed": Edit(
        "UPDATE protocols SET hash = 'other' WHERE state = 'frozen'",
        "protocol_state",
        "ZQXSTUDY, version 1: state frozen",
        "its row was changed",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_is_named_or_shows_against_the_deposited_head(name: str, reading_study: Path) -> None:
    edit = EDITS[name]
    with store.read(reading_study) as con:
        before = evidence.verify_chain(con)
    assert before.valid and before.records == before.rows == 30 and before.reason == ""
    execute_sql(reading_study, edit.sql)
    with store.read(reading_study) as con:
        fault = evidence.verify_chain(con).first_broken
    assert fault is not None
    assert (fault.kind, fault.reason) == (edit.kind, edit.reason)
    assert edit.subject in fault.subject and edit.subject in fault.sentence()
    assert (fault.number is not None) == edit.recorded
    rewrite_chain(reading_study)
    deposit = Deposit("study", before.head.number, before.head.hash, "2026-11-27T10:00:00Z")
    with store.read(reading_study) as con:
        assert evidence.verify_chain(con).valid, "the attacker hides the edit from the chain alone"
        contradiction = evidence.compare_with_deposit(con, deposit)
    if edit.recorded:
        assert before.head.hash in contradiction
    else:
        # A record appended later contradicts nothing that was deposited earlier.
        assert contradiction == ""


def test_edited_record_is_named(reading_study: Path) -> None:
    execute_sql(reading_study, "UPDATE evidence SET actor = 'X' WHERE number = 12")
    with store.read(reading_study) as con:
        result = evidence.verify_chain(con)
    assert [fault.number for fault in result.faults] == [12]
    assert "does not match its fields" in result.reason


def test_removed_record_and_its_row_leave_a_gap(reading_study: Path) -> None:
    with store.read(reading_study) as con:
        records = evidence.verify_chain(con).records
        number, subject = con.execute(
            "SELECT number, subject FROM evidence WHERE kind = 'reading_answer' ORDER BY number"
        ).fetchall()[3]
    assert subject == ANSWER.format("R03", 4, 1)
    execute_sql(
        reading_study,
        f"DELETE FROM evidence WHERE number = {number}",
        "DELETE FROM answers WHERE code = 'R03' AND position = 4 AND revision = 1",
    )
    with store.read(reading_study) as con:
        result = evidence.verify_chain(con)
    assert (result.records, result.first_broken.number) == (records - 1, number + 1)
    assert "is missing" in result.reason


def test_record_that_was_sealed_anew_breaks_the_next_one(reading_study: Path) -> None:
    from support.evidence_attack import sha256_of_json

    with store.read(reading_study) as con:
        cursor = con.execute("SELECT * EXCLUDE (hash) FROM evidence WHERE number = 9")
        names = [column[0] for column in cursor.description]
        record = dict(zip(names, cursor.fetchone(), strict=True)) | {"actor": "X"}
    hash = sha256_of_json(record)
    execute_sql(reading_study, f"UPDATE evidence SET actor = 'X', hash = '{hash}' WHERE number = 9")
    with store.read(reading_study) as con:
        result = evidence.verify_chain(con)
    assert [fault.number for fault in result.faults] == [10]
    assert "does not continue record 9" in result.reason


def test_chain_cut_short_shows_against_the_deposited_head(reading_study: Path) -> None:
    with store.read(reading_study) as con:
        head = evidence.chain_head(con)
    execute_sql(
        reading_study,
        f"DELETE FROM evidence WHERE number = {head.number}",
        "DELETE FROM answers WHERE code = 'R03' AND position = 4 AND revision = 2",
    )
    deposit = Deposit("study", head.number, head.hash, "2026-11-27T10:00:00Z")
    with store.read(reading_study) as con:
        assert evidence.verify_chain(con).valid
        text = evidence.compare_with_deposit(con, deposit)
    assert text.endswith(f"the chain now ends at record {head.number - 1}")

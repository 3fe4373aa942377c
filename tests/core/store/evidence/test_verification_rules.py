"""Rules of the verification, on records and contents that are written by hand."""

from __future__ import annotations

import hashlib
import json
import os
import pwd
from datetime import datetime
from pathlib import Path

import pytest

from core import store
from core.errors import UserError
from core.store import evidence
from core.store.evidence import actor as actors
from core.store.evidence import adoption, chain, covered_rows, deposits, verification
from core.store.evidence.chain import EvidenceRecord
from core.store.evidence.covered_rows import CoveredContent
from core.store.evidence.replaced_records import records_beyond
from core.store.evidence.verification import ChainVerification, Fault

MADE = datetime(2026, 3, 4, 5, 6, 7, 89)
NO_ROWS = hashlib.sha256(b'{"rows":[]}').hexdigest()
ANSWER = "P, version 1: answer of reader R1 at position 3, revision 1"


def record(
    number: int, kind: str, subject: str, content: str, previous: str = ""
) -> EvidenceRecord:
    """Return a record whose hash is that of the documented text."""
    fields = {
        "actor": "team",
        "claimed": "",
        "content_hash": content,
        "kind": kind,
        "number": number,
        "previous_hash": previous,
        "subject": subject,
    }
    text = json.dumps(
        fields | {"made": "2026-03-04T05:06:07.000089"}, sort_keys=True, separators=(",", ":")
    )
    digest = hashlib.sha256(text.encode()).hexdigest()
    return EvidenceRecord(**fields, made=MADE, hash=digest)


def chain_of(*parts: tuple[str, str, str]) -> list[EvidenceRecord]:
    """Return records of (kind, subject, content hash) that continue each other."""
    records: list[EvidenceRecord] = []
    previous = hashlib.sha256(b"DeepMiner evidence chain").hexdigest()
    for number, (kind, subject, content) in enumerate(parts, start=1):
        records.append(record(number, kind, subject, content, previous))
        previous = records[-1].hash
    return records


def outcomes(faults) -> list[tuple[int | None, str]]:
    return [(fault.number, fault.reason) for fault in faults]


def test_chain_faults_name_gaps_changes_and_breaks() -> None:
    whole = chain_of(("log", "a", "1"), ("log", "b", "2"), ("log", "c", "3"), ("log", "d", "4"))
    assert outcomes(verification._chain_faults(whole)) == []
    missing = "the record before it is missing; it follows record"
    assert outcomes(verification._chain_faults([whole[0], *whole[2:]])) == [(3, f"{missing} 1")]
    assert outcomes(verification._chain_faults(whole[1:])) == [(2, f"{missing} 0")]
    other = record(2, "log", "x", "2", whole[0].hash)
    assert outcomes(verification._chain_faults([whole[0], other, *whole[2:]])) == [
        (3, "it does not continue record 2, which was changed")
    ]
    edited = EvidenceRecord(**{**vars(whole[1]), "actor": "other"})
    assert outcomes(verification._chain_faults([whole[0], edited, *whole[2:]])) == [
        (2, "the record was changed: its hash does not match its fields")
    ]


@pytest.mark.parametrize("kind", covered_rows.ENDED_KINDS)
def test_only_rows_of_a_closed_version_are_late(kind: str) -> None:
    records = [
        record(1, kind, "P, version 1: x", "1"),
        record(2, "log", "P, version 1: state closed", "1"),
        record(3, kind, "P, version 1: x", "1"),
        record(4, "protocol_state", "P, version 1: state frozen", "1"),
        record(5, kind, "P, version 1: x", "1"),
        record(6, "protocol_state", "P, version 1: state closed", "1"),
        record(7, kind, "P, version 2: x", "1"),
        record(8, "log", "P, version 1: x", "1"),
        record(9, kind, "P, version 1: x", NO_ROWS),
        record(10, kind, "P, version 1: x", "1"),
    ]
    assert outcomes(verification._late_records(records)) == [
        (10, "it was recorded after the reading study was closed")
    ]


def row_faults(
    parts: list[tuple[str, str, str]], contents: list[tuple[str, str, str]]
) -> tuple[list[tuple[int | None, str]], list[Fault]]:
    broken, uncovered = verification._row_faults(
        chain_of(*parts), [CoveredContent(*content) for content in contents]
    )
    return outcomes(broken), uncovered


def test_rows_are_compared_with_their_records() -> None:
    log, answer, cases = "log of then", ANSWER, "P, version 1: cases"
    changed, gone = "its row was changed", "its row is gone"
    # Two equal records need two equal rows.
    twice = [("log", log, "a"), ("log", log, "a")]
    assert row_faults(twice, twice) == ([], [])
    assert row_faults(twice, twice[:1]) == ([(2, gone)], [])
    assert row_faults(twice[:1], twice) == ([], [Fault("log", log, "no record covers this row")])
    assert row_faults(twice, [("log", log, "b"), ("log", log, "a")]) == ([(2, changed)], [])
    assert row_faults([*twice, ("log", log, "c")], [("log", log, "b"), ("log", log, "c")]) == (
        [(1, changed), (2, gone)],
        [],
    )
    # Of what may be replaced, the last record counts; of an answer, every one.
    assert row_faults(
        [("reading_cases", cases, "a"), ("reading_cases", cases, "b")],
        [("reading_cases", cases, "b")],
    ) == ([], [])
    assert row_faults(
        [("reading_cases", cases, "a"), ("reading_cases", cases, "b")],
        [("reading_cases", cases, "a")],
    ) == ([(2, changed)], [])
    assert row_faults(
        [("reading_answer", answer, "a"), ("reading_answer", answer, "b")],
        [("reading_answer", answer, "b")],
    ) == ([(1, gone)], [])
    # After a recorded removal only later records count.
    removed = [("reading_answer", answer, "a"), ("reading_answer", answer, NO_ROWS)]
    assert row_faults(removed, []) == ([], [])
    assert row_faults(removed, [("reading_answer", answer, "a")]) == (
        [],
        [Fault("reading_answer", answer, "no record covers this row")],
    )
    again = [*removed, ("reading_answer", answer, "c")]
    assert row_faults(again, [("reading_answer", answer, "c")]) == ([], [])
    assert row_faults(again, []) == ([(3, gone)], [])
    # Records of acts describe no row; the same subject of another kind is another row.
    assert row_faults([("adoption", "x", "a")], []) == ([], [])
    assert row_faults([("log", "x", "a")], [("consent", "x", "a")]) == (
        [(1, gone)],
        [Fault("consent", "x", "no record covers this row")],
    )


def test_removed_orders_and_answers_are_counted() -> None:
    other = ANSWER.replace("position 3", "position 4")
    records = chain_of(
        ("reading_answer", ANSWER, "a"),
        ("reading_answer", ANSWER, NO_ROWS),
        ("reading_answer", other, NO_ROWS),
        ("reading_answer", other, "b"),
        ("reading_order", "P, version 1: order of reader R1", NO_ROWS),
        ("reading_cases", "P, version 1: cases", NO_ROWS),
        ("participant", "participant R1", NO_ROWS),
    )
    assert verification._count_removed(records) == 2
    assert verification._count_removed([]) == 0


def test_fault_is_a_sentence_with_its_record() -> None:
    assert Fault("log", "s", "r").sentence() == "s (log): r"
    assert Fault("log", "s", "r", 4).sentence() == "s (log): r"
    assert Fault("log", "s", "r", None, MADE).sentence() == "s (log): r"
    with_record = Fault("log", "s", "r", 4, MADE)
    assert with_record.sentence() == "record 4 of 2026-03-04 05:06:07 UTC (log), s: r"
    numbers = {"records": 4, "rows": 3, "removed": 0, "head": evidence.EMPTY_HEAD, "counts": {}}
    faulty = ChainVerification(**numbers, faults=(with_record, Fault("x", "y", "z")), replaced=())
    assert (faulty.valid, faulty.first_broken, faulty.reason) == (
        False,
        with_record,
        with_record.sentence(),
    )
    whole = ChainVerification(**numbers, faults=(), replaced=())
    assert (whole.valid, whole.first_broken, whole.reason) == (True, None, "")


def test_faults_of_a_chain_are_in_order_and_one_a_record(reading_study: Path) -> None:
    with store.write(reading_study) as con:
        # The record of position 9 is damaged, and its row is changed as well.
        con.execute("UPDATE evidence SET actor = 'X' WHERE subject LIKE '%R03 at position 9,%'")
        con.execute("UPDATE answers SET answer = 6 WHERE code = 'R03' AND position IN (2, 9)")
        con.execute("INSERT INTO people VALUES ('R9', 'reader', FALSE, '2026-01-01')")
        result = evidence.verify_chain(con)
        numbers = con.execute(
            "SELECT number FROM evidence WHERE kind = 'reading_answer' AND"
            " regexp_matches(subject, 'R03 at position (2|9),') ORDER BY number"
        ).fetchall()
    assert outcomes(result.faults) == [
        (numbers[0][0], "its row was changed"),
        (numbers[1][0], "the record was changed: its hash does not match its fields"),
        (None, "no record covers this row"),
    ]
    assert (result.records, result.rows, result.removed) == (30, 31, 0)


def test_canonical_form_of_a_content() -> None:
    content = {"b": MADE, "a": [None, True, 1.5, "ü"]}
    text = '{"a":[null,true,1.5,"ü"],"b":"2026-03-04T05:06:07.000089"}'
    assert chain.content_hash(content) == hashlib.sha256(text.encode()).hexdigest()
    whole = datetime(2026, 3, 4, 5, 6, 7)
    text = '{"b":"2026-03-04T05:06:07.000000"}'
    assert chain.content_hash({"b": whole}) == hashlib.sha256(text.encode()).hexdigest()
    for value in (MADE.date(), Path("x"), {1}):
        with pytest.raises(TypeError, match="has no canonical form"):
            chain.content_hash({"a": value})


def test_empty_columns_do_not_count_and_no_rows_are_a_removal() -> None:
    rows = [{"a": 1, "b": None}, {"a": 0, "b": ""}]
    text = b'{"rows":[{"a":1},{"a":0,"b":""}]}'
    assert covered_rows.rows_hash(rows) == hashlib.sha256(text).hexdigest()
    assert covered_rows.rows_hash([]) == NO_ROWS


def test_claimed_name_is_the_given_one_else_the_actors(empty: Path) -> None:
    with store.write(empty) as con:
        evidence.append_evidence(con, "note", "1", {}, evidence.Actor("a", "b"))
        evidence.append_evidence(con, "note", "2", {}, evidence.Actor("a", "b"), "c")
        evidence.append_evidence(con, "note", "3", {}, "a")
        rows = [(r.subject, r.actor, r.claimed) for r in chain.load_records(con)]
    assert rows == [("1", "a", "b"), ("2", "a", "c"), ("3", "a", "")]


@pytest.mark.parametrize(
    ("variables", "claimed"),
    [
        ({}, ""),
        ({"LOGNAME": "ann", "USER": "bob"}, "ann"),
        ({"LOGNAME": "", "USER": "bob"}, "bob"),
        ({"USER": "bob"}, "bob"),
        ({"LOGNAME": "real", "USER": "bob"}, ""),
    ],
)
def test_claimed_name_of_the_operating_systems_user(
    variables: dict[str, str], claimed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = pwd.getpwuid(os.getuid())
    fields = ["real", *list(entry)[1:]]
    monkeypatch.setattr(actors.pwd, "getpwuid", lambda number: pwd.struct_passwd(fields))
    for name in ("LOGNAME", "USER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = actors.operating_system_user()
    assert (found, found.claimed) == ("real", claimed)


def test_user_without_an_entry_is_named_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(number: int) -> None:
        raise KeyError(number)

    monkeypatch.setattr(actors.pwd, "getpwuid", unknown)
    monkeypatch.setenv("LOGNAME", "ann")
    found = actors.operating_system_user()
    assert (found, found.claimed) == (f"user {os.getuid()}", "ann")


def test_chain_is_begun_once(empty: Path) -> None:
    with store.write(empty) as con:
        adoption.adopt_existing_rows(con)
        assert evidence.chain_head(con) == evidence.EMPTY_HEAD
        con.execute("INSERT INTO people VALUES ('R1', 'reader', FALSE, '2026-01-01')")
        con.execute("INSERT INTO people VALUES ('R2', 'reader', FALSE, '2026-01-02')")
        con.execute("INSERT INTO log VALUES ('2026-01-03', 't', 'e', 'd')")
        adoption.adopt_existing_rows(con)
        records = chain.load_records(con)
        adoption.adopt_existing_rows(con)
        assert chain.load_records(con) == records
    assert [(r.number, r.kind, r.subject, r.actor, r.claimed) for r in records] == [
        (
            *(1, "adoption", "existing rows adopted at migration: 2 participant, 1 log"),
            *("migration", ""),
        ),
        (2, "participant", "participant R1", "migration", ""),
        (3, "participant", "participant R2", "migration", ""),
        (4, "log", "log of 2026-01-03 00:00:00: e, t", "migration", ""),
    ]
    row = '{"code":"R1","made":"2026-01-01T00:00:00.000000","role":"reader","simulated":false}'
    digest = hashlib.sha256(f'{{"rows":[{row}]}}'.encode()).hexdigest()
    assert records[1].content_hash == digest
    contents = json.dumps(
        {"contents": [[r.kind, r.subject, r.content_hash] for r in records[1:]]},
        separators=(",", ":"),
    )
    assert records[0].content_hash == hashlib.sha256(contents.encode()).hexdigest()


def test_deposit_holds_the_head_and_the_name_of_the_study(empty: Path, tmp_path: Path) -> None:
    file = tmp_path / "head.json"
    written = evidence.deposit_head(empty, evidence.ChainHead(3, "ab"), file)
    values = json.loads(file.read_text(encoding="utf-8"))
    assert values == {"study": empty.name, "number": 3, "hash": "ab", "made": written.made}
    assert (
        datetime.strptime(written.made, "%Y-%m-%dT%H:%M:%SZ")
        and evidence.read_deposit(file) == written
    )
    with pytest.raises(UserError, match="cannot be written .*name another file"):
        evidence.deposit_head(empty, evidence.ChainHead(3, "ab"), file / "below.json")
    for number, digest in ((3, 4), ("3", "x"), (None, "x")):
        file.write_text(json.dumps({**values, "number": number, "hash": digest}))
        with pytest.raises(UserError, match="is not a deposited head"):
            evidence.read_deposit(file)


def test_chain_that_continues_a_deposit_contradicts_nothing(reading_study: Path) -> None:
    def contradiction(number: int, digest: str) -> str:
        deposit = deposits.Deposit("study", number, digest, "then")
        with store.read(reading_study) as con:
            return evidence.compare_with_deposit(con, deposit)

    with store.read(reading_study) as con:
        records = chain.load_records(con)
    assert len(records) == 30
    assert contradiction(0, "x") == contradiction(7, records[6].hash) == ""
    start = "record 7 had hash x when it was deposited on then"
    assert contradiction(7, "x") == (f"{start}, now {records[6].hash}: the chain was rewritten")
    assert contradiction(31, "x") == (
        "record 31 had hash x when it was deposited on then; the chain now ends at record 30"
    )


def test_records_that_a_restored_chain_lacks() -> None:
    first, second, third = chain_of(("log", "a", "1"), ("log", "b", "2"), ("log", "c", "3"))
    assert records_beyond([first, second, third], [first, third]) == [second]
    assert records_beyond([first], []) == [first] and records_beyond([], [first]) == []

"""Every column of protocols and site bundles, refusals, and which study a reader reads."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.store import evidence, run_table
from core.store.evidence.chain import load_records
from core.store.reading import (
    bundle_table,
    interim_table,
    protocol_table,
    reading_table,
)
from core.store.reading.protocol_states import next_command, require_results, require_state
from core.store.reading.reading_table import ReadingItem
from support.read_rows import (
    ANSWERS,
    DESIGN,
    ITEMS,
    NAME,
    STAGES,
    START,
    append_state,
    build_reading,
    cells,
    minutes,
)
from support.study_templates import copy_template


@pytest.fixture
def read_study(tmp_path: Path) -> Path:
    return copy_template(build_reading, tmp_path / "study")


def test_interim_looks_in_order(empty: Path) -> None:
    look = {"information": 0.5, "answers": 40, "boundary": 0.01, "stops": False, "actor": "T1"}
    with store.write(empty) as con:
        later = {"information": 1.0, "answers": 80, "boundary": 0.04, "stops": True}
        interim_table.add_interim_look(con, NAME, 2, number=2, **(look | later))
        interim_table.add_interim_look(con, NAME, 2, number=1, **look)
        del look["actor"]
        assert interim_table.load_interim_looks(con, NAME, 2) == [
            {"number": 1, **look},
            {"number": 2, **later},
        ]
        assert interim_table.load_interim_looks(con, NAME, 1) == []
        assert [(r.kind, r.actor) for r in load_records(con)] == [("interim_look", "T1")] * 2
        assert evidence.verify_chain(con).valid


def test_every_column_of_a_protocol(empty: Path) -> None:
    lint, content = [{"field": "x", "reason": "y"}], {"texts": "t", "pictures": "p"}
    whole = {"lint": lint, "content": content, "simulated": True, "run": "explain-2"}
    with store.write(empty) as con:
        assert protocol_table.load_protocol(con, NAME, 2) is None
        append_state(con, "design", actor="T1", run="")
        append_state(con, "checked", **whole, actor="T2", hash="")
        append_state(con, "frozen", **whole, actor="T3")
        append_state(con, "design", 3, design={"name": NAME, "b": 1})
        con.execute("UPDATE protocols SET made = ? + to_days(version)", [START])
        found = protocol_table.load_protocol(con, NAME, 2)
        times = protocol_table.load_state_times(con, NAME, 2)
        draft = protocol_table.load_protocol(con, NAME, 3)
        assert protocol_table.load_state_times(con, NAME, 1) == {}
    assert found == protocol_table.Protocol(
        protocol=NAME, version=2, state="frozen", design=DESIGN, lint=lint, hash="H",
        run="explain-2", simulated=True, who="T3", made=START + timedelta(days=2), content=content,
    )  # fmt: skip
    # printf '{"pictures":"p","texts":"t"}' | sha256sum
    assert found.content_hash == "d3249ccf4f3eaaa104dd5624e2d4a9fc6a29add42905715ebc074d0131ede22d"
    unsorted = replace(found, content={"texts": "t", "pictures": "p"})
    assert unsorted.content_hash == found.content_hash
    assert times == {
        "design": (START + timedelta(days=2), "T1"),
        "checked": (START + timedelta(days=2), "T2"),
        "frozen": (START + timedelta(days=2), "T3"),
    }
    assert draft is not None
    assert (draft.content, draft.content_hash, draft.lint, draft.simulated) == ({}, "", [], False)


def test_refusals_name_version_and_states(empty: Path) -> None:
    with store.write(empty) as con:
        with pytest.raises(UserError, match="Masses, version 2, is not designed and cannot become"):
            append_state(con, "frozen")
        append_state(con, "design")
        append_state(con, "checked")
        append_state(con, "frozen")
        with pytest.raises(UserError, match="Masses, version 2, is frozen; a change needs a new v"):
            append_state(con, "design")
        with pytest.raises(UserError, match="begins with a reader's order and is not recorded"):
            append_state(con, "reading")
        for changes in ({"hash": "h"}, {"design": DESIGN | {"b": 1}}, {"content": {"t": "u"}}):
            with pytest.raises(UserError, match="Masses, version 2, was altered; restore it"):
                append_state(con, "closed", **changes)
        append_state(con, "closed")
        for changes in ({"hash": "h"}, {"design": {}}, {"content": {"t": "u"}}):
            with pytest.raises(UserError, match="was altered"):
                append_state(con, "scored", **changes)
    with pytest.raises(
        UserError, match="M, version 7, is frozen; this needs a version that is design or closed."
    ):
        require_state("M", 7, "frozen", ("closed", "design"))
    require_state("M", 7, "frozen", ("frozen",))
    commands = [next_command("M", 7, state) for state in protocol_table.STORED_STATES]
    assert commands == [
        f"deepminer reading {command} --protocol 'M' --version 7"
        for command in ("lint", "freeze", "close", "score", "score")
    ]
    with pytest.raises(UserError, match=re.escape(f"closed (next: `{commands[0]}`)")):
        require_results("M", 7, "design")


def test_defaults_of_a_recorded_state(empty: Path) -> None:
    with store.write(empty) as con:
        protocol_table.append_protocol_state(
            con, protocol=NAME, version=1, state="design", design={"b": 1, "a": 2}
        )
        row = con.execute(
            "SELECT design, lint, hash, run, simulated, who, content FROM protocols"
        ).fetchone()
        subjects = [record.subject for record in load_records(con)]
    assert row == ('{"a": 2, "b": 1}', "[]", "", "", False, "", "{}")
    # No check was discarded, so no removal is recorded.
    assert subjects == ["Masses, version 1: state design"]


def test_which_study_a_reader_reads(empty: Path) -> None:
    with store.write(empty) as con:
        current, following = protocol_table.current_reading_study, protocol_table.next_reading_study

        def key(protocol) -> tuple[str, int] | None:
            return protocol and (protocol.protocol, protocol.version)

        for version, days, simulated in ((1, 3, False), (2, 5, False), (3, 4, False), (4, 9, True)):
            for state in ("design", "checked", "frozen"):
                append_state(con, state, version, simulated=simulated)
            con.execute(
                "UPDATE protocols SET made = ? WHERE version = ?",
                [START + timedelta(days=days), version],
            )
        append_state(con, "design", 5)
        assert current(con, "R1") is None
        assert (
            key(following(con, "R1")) == key(protocol_table.newest_open_protocol(con)) == (NAME, 2)
        )
        for version in (2, 3):
            reading_table.assign_reading_order(con, NAME, version, "R1", [ReadingItem(1)] * 2)
        assert key(following(con, "R1")) == (NAME, 1) and key(following(con, "R2")) == (NAME, 2)
        # Nothing is answered: of two that are begun, the one frozen first.
        found, finished = current(con, "R1")
        assert (key(found), found.state, finished) == ((NAME, 3), "reading", False)
        for version, positions in ((2, (1, 2)), (3, (1,))):
            for position in positions:
                reading_table.append_reading_answer(
                    con, protocol=protocol_table.find_protocol(con, NAME, version), code="R1",
                    position=position, revision=1, answer=1, seconds=None,
                )  # fmt: skip
        con.execute("UPDATE answers SET made = ? + to_days(10 - version)", [START])
        # The unfinished one comes before the one that was answered last.
        assert (key(current(con, "R1")[0]), current(con, "R1")[1]) == ((NAME, 3), False)
        append_state(con, "closed", 3)
        assert (key(current(con, "R1")[0]), current(con, "R1")[1]) == ((NAME, 2), True)
        con.execute("UPDATE answers SET made = ? WHERE version = 3", [START + timedelta(days=30)])
        found, finished = current(con, "R1")
        assert (key(found), found.state, finished) == ((NAME, 3), "closed", False)


def test_bundles_of_a_study(read_study: Path) -> None:
    exported = datetime(2026, 6, 7, 8, 9, 10)
    with store.write(read_study) as con:
        assert bundle_table.bundle_exports(con) == {}
        assert bundle_table.bundle_identity(con) is bundle_table.load_seat(con, "R9") is None
        bundle_table.check_reader_seat(con, "R9")
        for name in ("B2", "B1"):
            bundle_table.record_bundle_export(con, name, {"version": 2, "imported": None})
        bundle_table.record_bundle_import(con, "B1", exported, {"file": "f"}, "T4")
        assert list(bundle_table.bundle_exports(con).items()) == [
            ("B1", {"version": 2, "imported": "2026-06-07T08:09:10"}),
            ("B2", {"version": 2, "imported": None}),
        ]
        last = load_records(con)[-1]
        assert (last.kind, last.subject, last.actor) == (
            *("bundle_import", "answers of bundle B1, exported 2026-06-07 08:09:10 UTC"),
            "T4",
        )
        seats = {"S1": bundle_table.seat_rows(ITEMS[:2]), "S2": []}
        bundle_table.record_bundle_identity(con, {"id": "B1", "seats": seats})
        assert bundle_table.bundle_identity(con) == {
            "id": "B1",
            "seats": {"S1": [[-1, False, True], [2, False, False]], "S2": []},
        }
        assert bundle_table.load_seat(con, "S1") == [ReadingItem(-1, False, True), ReadingItem(2)]
        with pytest.raises(RequestRefused, match="is for the readers S1, S2; please") as refused:
            bundle_table.load_seat(con, "R1")
        assert refused.value.code == "empty"
        bundle_table.check_reader_seat(con, "S2")
        with pytest.raises(UserError, match="has seats for S1, S2 and none for R1; invite one"):
            bundle_table.check_reader_seat(con, "R1")


def test_cases_that_a_bundle_holds(read_study: Path, empty: Path) -> None:
    with store.read(read_study) as con:
        cases = bundle_table.load_bundle_cases(con, NAME, 2)
        assert bundle_table.load_bundle_cases(con, NAME, 1) == []
    assert cases == [(1, ["ü", "b"], "{}"), (2, ["c"], "[1]"), (3, [])]
    with store.write(empty) as con:
        append_state(con, "design")
        bundle_table.add_bundle_cases(con, NAME, 2, cases)
        frame = reading_table.load_reading_cases(con, NAME, 2)
    assert cells(frame) == [
        [1, "", "", "", ["ü", "b"], None, None, None, None, "{}"],
        [2, "", "", "", ["c"], None, None, None, None, "[1]"],
        [3, "", "", "", [], None, None, None, None, None],
    ]


def test_reader_of_a_bundle_in_another_study(read_study: Path, empty: Path) -> None:
    with store.write(read_study) as con:
        for days in (2, 1):
            con.execute(
                "INSERT INTO consents VALUES ('R1', ?, ?, ?, '')",
                [f"{days} years", f"text {days}", START + timedelta(days=days)],
            )
        readers = bundle_table.load_bundle_readers(con, NAME, 2)
        assert bundle_table.load_bundle_readers(con, NAME, 1) == []
        reader = bundle_table.load_bundle_reader(con, NAME, 2, "R1")
    assert [one.code for one in readers] == ["R1", "R2", "R3"] and readers[0] == reader
    assert [(c.experience, c.text, c.made) for c in reader.consents] == [
        (f"{days} years", f"text {days}", START + timedelta(days=days)) for days in (1, 2)
    ]
    assert reader.items == tuple(
        ReadingItem(item.case_number, item.repeat, item.practice) for item in ITEMS
    )
    assert [
        (a.position, a.revision, a.answer, a.seconds, a.idle, a.made) for a in reader.answers
    ] == [
        (position, revision, answer, seconds, idle, minutes(10 * position + revision))
        for code, position, revision, answer, seconds, idle, _ in ANSWERS
        if code == "R1"
    ]
    # By position and in the order in which they are entered; the questionnaire is last.
    expected = [STAGES[5], *STAGES[:5], STAGES[6]]
    assert [(s.position, s.stage, s.value, s.seconds, s.idle, s.made) for s in reader.stages] == [
        (position, stage, value, seconds, False, minutes(10 * position))
        for _, position, stage, value, seconds in expected
    ]
    with store.write(empty) as con:
        bundle_table.add_bundle_consents(con, "S1", reader.consents)
        bundle_table.add_bundle_answers(con, NAME, 2, "S1", reader.answers)
        bundle_table.add_bundle_answers(con, NAME, 2, "S2", ())
        bundle_table.add_bundle_stages(con, NAME, 2, "S1", reader.stages)
        copy = bundle_table.load_bundle_reader(con, NAME, 2, "S1")
        assert (copy.consents, copy.answers, copy.stages) == (
            *(reader.consents, reader.answers),
            reader.stages,
        )
        simulated = con.execute(
            "SELECT DISTINCT simulated FROM (SELECT simulated FROM answers UNION ALL"
            " SELECT simulated FROM reading_stages)"
        ).fetchall()
        assert simulated == [(False,)]
        records = [(r.kind, r.actor, r.claimed) for r in load_records(con)]
        assert evidence.verify_chain(con).valid
    assert records == [
        (kind, "import", "S1")
        for kind, count in (("consent", 2), ("reading_answer", 6), ("reading_stage", 7))
        for _ in range(count)
    ]


def test_version_of_a_study_is_found(read_study: Path) -> None:
    with store.write(read_study) as con:
        log = len(run_table.load_log(con))
        assert protocol_table.find_protocol(con).version == 2
        assert protocol_table.find_protocol(con, NAME).state == "reading"
        protocol_table.check_designable(con, NAME, 3)
        with pytest.raises(UserError, match="Masses, version 2, is reading; this needs a version"):
            protocol_table.check_designable(con, NAME, 2)
        protocol_table.append_protocol_state(
            con, protocol="Later", version=1, state="design", design={}
        )
        protocol_table.check_designable(con, "Later", 1)
        assert protocol_table.find_protocol(con).protocol == "Later"
        with pytest.raises(UserError) as unknown:
            protocol_table.find_protocol(con, "Other")
        assert str(unknown.value).startswith(
            "There is no reading study called 'Other' yet (there is 'Masses', 'Later'); run"
        )
        con.execute("DELETE FROM protocols")
        with pytest.raises(UserError, match="There is no reading study yet; run `deepminer rea"):
            protocol_table.find_protocol(con)
        assert len(run_table.load_log(con)) == log

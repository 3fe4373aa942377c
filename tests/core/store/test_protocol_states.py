"""States of a reading study: one table of transitions, versions apart, migration of old names."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from core import store
from core.errors import UserError
from core.store.connection import Connection
from core.store.migrations.versions import MIGRATIONS
from core.store.reading import protocol_states, protocol_table, reading_table
from core.store.reading.protocol_states import PROTOCOL_STATES, TRANSITIONS, check_transition
from core.store.reading.reading_table import ReadingItem
from support import synthetic_study

NAME = "ZQXSTUDY"
# Written out a second time: every pair that is not here must be refused.
ALLOWED = {
    (None, "design"),
    ("design", "design"),
    ("design", "checked"),
    ("checked", "design"),
    ("checked", "checked"),
    ("checked", "frozen"),
    ("frozen", "reading"),
    ("frozen", "closed"),
    ("reading", "reading"),
    ("reading", "closed"),
    ("closed", "scored"),
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    return synthetic_study.create_study(tmp_path / "study", protocol=False)


def append(con: Connection, state: str, version: int = 1, **changes: object) -> None:
    values = {"design": {"name": NAME}, "hash": "h", **changes}
    protocol_table.append_protocol_state(con, protocol=NAME, version=version, state=state, **values)


@pytest.mark.parametrize("current", [None, *PROTOCOL_STATES])
@pytest.mark.parametrize("state", PROTOCOL_STATES)
def test_only_these_transitions_are_allowed(current: str | None, state: str) -> None:
    assert set(TRANSITIONS) == {None, *PROTOCOL_STATES}
    if (current, state) in ALLOWED:
        check_transition(NAME, 1, current, state)
    else:
        with pytest.raises(UserError, match="ZQXSTUDY, version 1, is"):
            check_transition(NAME, 1, current, state)


def test_unknown_state_is_refused() -> None:
    with pytest.raises(UserError, match="'lint' is not a state"):
        check_transition(NAME, 1, "design", "lint")


def test_designing_again_discards_the_check(study: Path) -> None:
    with store.write(study) as con:
        append(con, "design")
        append(con, "checked")
        append(con, "design", design={"name": NAME, "seed": 2})
        states = con.execute("SELECT state FROM protocols").fetchall()
        assert states == [("design",)]
        with pytest.raises(UserError, match="only a version that is checked can"):
            append(con, "frozen", design={"name": NAME, "seed": 2})


def test_check_and_freezing_carry_the_same_design(study: Path) -> None:
    with store.write(study) as con:
        append(con, "design", design={"seed": 1})
        with pytest.raises(UserError, match="designed differently"):
            append(con, "checked", design={"seed": 77})
        append(con, "checked", design={"seed": 1}, content={"texts": "t"})
        for changes in (
            {"design": {"seed": 77}, "content": {"texts": "t"}},
            {"design": {"seed": 1}, "content": {"texts": "u"}},
            {"design": {"seed": 1}, "content": {}},
            {"design": {"seed": 1}, "content": {"texts": "t"}, "lint": [{"field": "x"}]},
        ):
            with pytest.raises(UserError, match="is not what was checked"):
                append(con, "frozen", **changes)
        append(con, "frozen", design={"seed": 1, "reasons": {}}, content={"texts": "t", "r": "s"})


def test_cases_change_only_in_a_design(study: Path) -> None:
    with store.write(study) as con:
        append(con, "design")
        reading_table.add_reading_cases(con, NAME, 1, [])
        append(con, "checked")
        with pytest.raises(UserError, match="is checked; this needs a version that is design"):
            reading_table.add_reading_cases(con, NAME, 1, [])


def test_first_order_begins_reading_and_only_in_an_open_version(study: Path) -> None:
    with store.write(study) as con:
        append(con, "design")
        with pytest.raises(UserError, match="cannot become reading"):
            reading_table.assign_reading_order(con, NAME, 1, "R1", [ReadingItem(1)])
        append(con, "checked")
        append(con, "frozen")
        reading_table.assign_reading_order(con, NAME, 1, "R1", [ReadingItem(1)])
        version = protocol_table.find_protocol(con, NAME, 1)
        assert version.state == "reading"
        assert protocol_table.newest_open_protocol(con) == version
        append(con, "closed")
        with pytest.raises(UserError, match="is closed and cannot become reading"):
            reading_table.assign_reading_order(con, NAME, 1, "R2", [ReadingItem(1)])


def test_a_version_is_named_once_there_are_two(study: Path) -> None:
    with store.write(study) as con:
        with pytest.raises(UserError, match="no reading study yet"):
            protocol_table.find_protocol(con)
        append(con, "design")
        assert protocol_table.find_protocol(con, NAME).version == 1
        append(con, "checked")
        append(con, "frozen")
        append(con, "design", 2)
        for name in (NAME, None):
            with pytest.raises(UserError, match=r"versions 1 \(frozen\), 2 \(design\); name one"):
                protocol_table.find_protocol(con, name)
        assert protocol_table.find_protocol(con, NAME, 1).state == "frozen"
        assert protocol_table.find_protocol(con, None, 2).state == "design"
        with pytest.raises(UserError, match=r"no version 3; it has 1 \(frozen\), 2 \(design\)"):
            protocol_table.find_protocol(con, NAME, 3)
        with pytest.raises(UserError, match="no reading study called 'other' yet"):
            protocol_table.find_protocol(con, "other")


def test_scoring_does_not_change_which_version_is_newest(study: Path) -> None:
    with store.write(study) as con:
        for version in (1, 2):
            for state in ("design", "checked", "frozen", "closed"):
                append(con, state, version)
        append(con, "scored", 1)
        versions = protocol_table.list_protocols(con)
    assert [(p.version, p.state) for p in versions] == [(1, "scored"), (2, "closed")]


def test_migration_renames_the_states_of_the_first_release() -> None:
    con = duckdb.connect()
    at = next(i for i, m in enumerate(MIGRATIONS) if m.name.endswith("reading_study_states"))
    for migration in MIGRATIONS[:at]:
        con.execute(migration.sql)
    for version, states in (
        (1, ("design", "lint", "frozen", "closed", "unblinded")),
        (2, ("lint",)),
    ):
        for state in states:
            con.execute(
                "INSERT INTO protocols VALUES (?, ?, ?, '{}', '[]', 'h', '', FALSE, 'T', now())",
                [NAME, version, state],
            )
    con.execute("BEGIN")
    con.execute(MIGRATIONS[at].sql)
    con.execute("COMMIT")
    found = {p.version: p for p in protocol_table.list_protocols(con)}
    assert {v: p.state for v, p in found.items()} == {1: "scored", 2: "checked"}
    assert found[1].content == {} and found[1].content_hash == ""
    stored = con.execute("SELECT DISTINCT state FROM protocols").fetchall()
    assert {row[0] for row in stored} == set(protocol_states.STORED_STATES)


@pytest.mark.parametrize("state", PROTOCOL_STATES)
def test_results_are_those_of_closed_versions_only(state: str) -> None:
    if state in ("closed", "scored"):
        protocol_states.require_results(NAME, 2, state)
    else:
        with pytest.raises(UserError, match=f"ZQXSTUDY, version 2, is {state}: results are hidden"):
            protocol_states.require_results(NAME, 2, state)

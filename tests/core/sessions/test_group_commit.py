"""Group commit: appends share transactions, none is lost, and a failing one harms no other."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest

from core import store
from core.errors import UserError
from core.sessions.group_commit import GroupCommitWriter
from core.sessions.reading_session import ReadingSession
from core.store import participant_table
from core.store.locking import StoreLockedError

SECRET = b"key"


def test_concurrent_appends_lose_nothing(study: Path) -> None:
    sessions = [ReadingSession(f"R{i}", SECRET) for i in range(8)]
    with store.write(study) as con:
        for session in sessions:
            participant_table.add_participant(con, session.code, "reader")
            participant_table.record_consent(con, session.code, "", "yes")
            session.assign_order(con, session.protocol(con))
    writer = GroupCommitWriter(study)

    def answer_next(con, session: ReadingSession) -> None:
        case = session.displayed_case(con, session.protocol(con))
        session.save_answer(con, case.token, 3, 1.0, False)

    def answer_ten(session: ReadingSession) -> None:
        for _ in range(10):
            writer.run(lambda con: answer_next(con, session))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(answer_ten, sessions))
    writer.close()
    with store.read(study) as con:
        assert con.execute(
            "SELECT count(*), count(DISTINCT (code, position)) FROM answers"
        ).fetchone() == (80, 80)


def test_locked_store_fails_all_at_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(path: Path):
        raise StoreLockedError("busy")

    monkeypatch.setattr(store, "write", locked)
    writer = GroupCommitWriter(study)
    futures = [writer.submit(lambda con: None) for _ in range(5)]
    for future in futures:
        with pytest.raises(StoreLockedError):
            future.result(5)
    writer.close()


def test_failing_append_harms_no_other(study: Path) -> None:
    writer = GroupCommitWriter(study)

    def add(code: str):
        return writer.submit(lambda con: participant_table.add_participant(con, code, "reader"))

    succeeding = [add(f"R{i}") for i in range(3)]
    duplicate = writer.submit(
        lambda con: con.execute(
            "INSERT INTO people VALUES ('R0', 'reader', FALSE, now()::TIMESTAMP)"
        )
    )
    invalid = writer.submit(lambda con: con.execute("SELECT * FROM no_such_table"))
    refused = add("R1")
    succeeding += [add(f"R{i}") for i in range(3, 6)]
    for future in succeeding:
        future.result(10)
    for future, error in (
        (duplicate, duckdb.ConstraintException),
        (invalid, duckdb.CatalogException),
        (refused, UserError),
    ):
        with pytest.raises(error):
            future.result(10)
    writer.close()
    with store.read(study) as con:
        assert con.execute("SELECT count(*) FROM people").fetchone()[0] == 6

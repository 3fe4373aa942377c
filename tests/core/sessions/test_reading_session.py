"""Reading studies in the store: stages that cannot be skipped, answers that are only added, a desk
that gives nothing away.
"""

from __future__ import annotations

import inspect
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import duckdb
import pytest

from core import store
from core.errors import UserError
from core.sessions import reading_session
from core.sessions.group_commit import Together
from core.sessions.reading_session import Desk
from core.sessions.tokens import Refused, key
from core.store import participant_table, reading_table
from core.store.connection import DoorBusy
from support import synthetic_study

NAME = "ZQXSTUDY"


def seated(study: Path, code: str = "R1") -> Desk:
    at = Desk(code, key(study))
    with store.write(study) as con:
        participant_table.add(con, code, "reader")
        participant_table.consent(con, code, "", "yes")
        at.seat(con, at.protocol(con))
    return at


def answer(con, at: Desk, value: int = 3):
    return at.answer(con, at.show(con, at.protocol(con)).token, value, 1.0, False)


def seven_read(con, at: Desk) -> str:
    """Answers the first seven texts; the token of the eighth."""
    for _ in range(7):
        answer(con, at)
    return at.show(con, at.protocol(con)).token


def state(con, name: str, **more) -> None:
    now = reading_table.get(con, NAME, 1)
    reading_table.append_state(
        con,
        **{
            "protocol": NAME,
            "version": 1,
            "state": name,
            "design": now.design,
            "hash": now.hash,
            **more,
        },
    )


def test_stages_cannot_be_skipped_or_altered(study: Path) -> None:
    with store.write(study) as con:
        with pytest.raises(UserError, match="new version"):
            state(con, "design")
        with pytest.raises(UserError, match="cannot change"):
            reading_table.add_cases(con, NAME, 1, [])
        with pytest.raises(UserError, match="stage closed"):
            state(con, "unblinded")
        with pytest.raises(UserError, match="altered"):
            state(con, "closed", design={"seed": 6})
        assert reading_table.open_protocol(con).protocol == NAME
        state(con, "closed")
        assert reading_table.open_protocol(con) is None
        state(con, "unblinded")
        synthetic_study.add_protocol(con, version=2, state="lint")
        assert reading_table.open_protocol(con) is None
        assert [(p.version, p.state) for p in reading_table.protocols(con)] == [
            (1, "unblinded"),
            (2, "lint"),
        ]


def test_a_reader_goes_through_practice_and_cases(study: Path) -> None:
    at = seated(study)
    with store.write(study) as con:
        for i in range(5):
            shown = at.show(con, at.protocol(con))
            assert shown.practice and (shown.number, shown.total) == (i + 1, 5)
            answer(con, at)
        with pytest.raises(Refused, match="no earlier case"):
            at.reopen(con, at.protocol(con))
        for i in range(32):
            shown = at.show(con, at.protocol(con))
            assert not shown.practice and (shown.number, shown.total) == (i + 1, 32)
            assert len(shown.texts) == 3 and all(shown.texts)
            answer(con, at, 1 + i % 6)
        assert at.show(con, at.protocol(con)) is None
        found = reading_table.answers(con, NAME, 1)
        assert (
            len(found) == 32
            and found["repeat"].sum() == 2
            and sorted(found.loc[~found["repeat"], "case_number"]) == list(range(1, 31))
        )
        monitor = reading_table.progress(con, NAME, 1)
    assert monitor[["code", "total", "done", "missing", "corrections"]].values.tolist() == [
        ["R1", 32, 32, 0, 0]
    ]
    assert set(monitor.columns) == {
        "code",
        "total",
        "done",
        "missing",
        "median_seconds",
        "corrections",
        "last_seen",
        "simulated",
    }


def test_only_the_previous_case_can_be_corrected(study: Path) -> None:
    at = seated(study)
    with store.write(study) as con:
        for _ in range(5):
            answer(con, at)
        tokens = []
        for value in (1, 2, 3):
            tokens.append(at.show(con, at.protocol(con)).token)
            answer(con, at, value)
        again = at.reopen(con, at.protocol(con))
        assert again.given == 3 and again.number == 3
        at.answer(con, again.token, 6, 1.0, False)
        with pytest.raises(Refused, match="another window"):
            at.answer(con, tokens[1], 6, 1.0, False)  # the one before the previous
        with pytest.raises(Refused, match="another window"):
            at.answer(con, again.token, 5, 1.0, False)  # a used token with another answer
        assert reading_table.answers(con, NAME, 1)["answer"].tolist() == [1, 2, 6]
        assert reading_table.answers(con, NAME, 1, first=True)["answer"].tolist() == [1, 2, 3]
        assert reading_table.progress(con, NAME, 1)["corrections"].tolist() == [1]


def test_a_repeated_request_is_answered_as_before_without_a_new_row(study: Path) -> None:
    at = seated(study)
    with store.write(study) as con:
        token = at.show(con, at.protocol(con)).token
        first = at.answer(con, token, 4, 1.0, False)
        again = at.answer(con, token, 4, 5.0, False)
        assert first[0] == again[0] and first[1] == again[1]
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] == 1


@pytest.mark.parametrize("value", [0, 7, "3", None, True, 2.5, [1]])
def test_answers_off_the_scale_are_refused(study: Path, value) -> None:
    at = seated(study)
    with store.write(study) as con:
        with pytest.raises(UserError):
            at.answer(con, at.show(con, at.protocol(con)).token, value, 1.0, False)
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] == 0


def test_no_answer_after_closing_nor_without_consent(study: Path) -> None:
    at = seated(study)
    with store.write(study) as con:
        token = at.show(con, at.protocol(con)).token
        con.execute("DELETE FROM consents")
        with pytest.raises(Refused, match="consent"):
            at.answer(con, token, 3, 1.0, False)
        participant_table.consent(con, "R1", "", "yes")
        state(con, "closed")
        with pytest.raises(Refused, match="closed"):
            at.answer(con, token, 3, 1.0, False)
        with pytest.raises(Refused, match="has been closed"):
            at.protocol(con)


def test_a_reader_stays_with_the_study_begun_until_it_is_finished(study: Path) -> None:
    at = seated(study)
    with store.write(study) as con:
        token = seven_read(con, at)
        synthetic_study.add_protocol(con, version=2)  # frozen meanwhile, and the newest
        assert (
            reading_table.open_protocol(con).version == 2
            and at.protocol(con).version == at.protocol(con, onward=True).version == 1
        )
        saved, following, protocol = at.answer(con, token, 4, 1.0, False)
        assert (protocol.version, saved.position, following.position) == (1, 8, 9)
        assert Desk("R2", key(study)).protocol(con).version == 2  # somebody new reads the newest
        at.begin(con, at.ticket(reading_table.open_to(con, "R1")))  # asked for too early
        assert not reading_table.is_assigned(con, NAME, 2, "R1")
        while at.show(con, at.protocol(con)) is not None:
            answer(con, at)
        assert at.protocol(con).version == 1 and at.has_next(
            con
        )  # finished: the last case can still be reopened, and the next one begun
        assert (
            at.reopen(con, at.protocol(con)).number == 32
            and at.protocol(con, onward=True).version == 2
        )
        for wrong in ("", "0" * 32, at.ticket(reading_table.get(con, NAME, 1))):
            at.begin(con, wrong)
            assert at.protocol(con).version == 1
        at.begin(con, at.ticket(reading_table.get(con, NAME, 2)))
        assert at.protocol(con).version == 2 and not at.has_next(con)
        answer(con, at)
        state(con, "closed")  # the first one, read to its end: nothing to do with what is read now
        assert at.protocol(con).version == 2 and len(at.sheet(con, at.protocol(con))) == 37


def test_a_study_closed_while_read_is_said_before_another_one(study: Path) -> None:
    at = seated(study)
    with store.write(study) as con:
        token = seven_read(con, at)
        state(con, "closed")
        assert not at.has_next(con)
        with pytest.raises(Refused, match="has been closed"):
            at.protocol(con, onward=True)
        synthetic_study.add_protocol(con, version=2)
        for refused in (lambda: at.protocol(con), lambda: at.answer(con, token, 4, 1.0, False)):
            with pytest.raises(Refused, match="has been closed") as found:
                refused()
            assert found.value.code == "closed"
        assert at.has_next(con)
        at.begin(con, "")  # an old window's
        assert not reading_table.is_assigned(con, NAME, 2, "R1")
        at.begin(con, at.ticket(at.protocol(con, onward=True)))
        assert at.protocol(con).version == 2
        with pytest.raises(Refused, match="another window"):
            at.answer(con, token, 4, 1.0, False)
        # Closed before anything was answered in it: that is said too, and not that the first study
        # was finished.
        now = reading_table.get(con, NAME, 2)
        reading_table.append_state(
            con, protocol=NAME, version=2, state="closed", design=now.design, hash=now.hash
        )
        assert reading_table.begun(con, "R1")[0].version == 2
        assert len(reading_table.answers(con, NAME, 1)) == 2


def test_tokens_are_the_readers_own(study: Path) -> None:
    one, two = seated(study, "R1"), seated(study, "R2")
    with store.write(study) as con:
        token = one.show(con, one.protocol(con)).token
        with pytest.raises(Refused):
            two.answer(con, token, 3, 1.0, False)
        tokens = [r[0] for r in con.execute("SELECT token FROM reading_items").fetchall()]
        assert len(set(tokens)) == len(tokens) == 2 * 37
        orders = reading_table.items(con, NAME, 1).groupby("code")["case_number"].apply(list)
        assert orders["R1"] != orders["R2"]
        with pytest.raises(UserError, match="never changed"):
            reading_table.assign(con, NAME, 1, "R1", [reading_table.Item(1)])


def test_the_order_is_the_one_that_is_linted(study: Path) -> None:
    from evaluation.reading_study.design import order_of, preset

    seated(study, "R1")
    with store.read(study) as con:
        cases = reading_table.cases(con, NAME, 1)
        items = reading_table.items(con, NAME, 1)
    mine = items[~items["practice"]].sort_values("position")
    expected = order_of(
        cases.sample(frac=1, random_state=1),
        preset("Recommended", name=NAME, seed=5, repeats=2),
        "R1",
    )
    assert list(zip(mine["case_number"], mine["repeat"])) == expected


def test_what_is_shown_holds_no_secret_and_no_query_of_the_desk_names_one(study: Path) -> None:
    at = seated(study)
    with store.write(study) as con:
        for _ in range(12):
            shown = asdict(at.show(con, at.protocol(con)))
            assert (
                "ZQX" not in str(shown)
                and set(shown)
                == {
                    "token",
                    "texts",
                    "number",
                    "total",
                    "practice",
                    "given",
                    "position",
                    "may_reopen",
                    "picture",
                }
                and shown["picture"] is None
            )
            answer(con, at)
    source = inspect.getsource(reading_session).split('"""', 2)[2]
    for column in ("truth", "network_score", "predicted", "mammogram_id", "arm"):
        assert not re.search(rf"\b{column}\b", source)


def test_a_study_with_images_is_not_shown_without_them(study: Path) -> None:
    with store.write(study) as con:
        state(con, "closed")
        synthetic_study.add_protocol(con, version=2, design={"arms": ["explanation", "image"]})
        with pytest.raises(Refused, match="needs images"):
            Desk("R1", key(study)).protocol(con)


def test_many_appends_share_commits_and_none_is_lost(study: Path) -> None:
    desks = [seated(study, f"R{i}") for i in range(8)]
    together = Together(study)

    def read(at: Desk) -> None:
        for _ in range(10):
            together.run(lambda con: answer(con, at))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, desks))
    together.close()
    with store.read(study) as con:
        assert con.execute(
            "SELECT count(*), count(DISTINCT (code, position)) FROM answers"
        ).fetchone() == (80, 80)


def test_a_shut_door_is_said_to_everybody_at_once(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shut(path: Path):
        raise DoorBusy("busy")

    monkeypatch.setattr(store, "write", shut)
    together = Together(study)
    futures = [together.submit(lambda con: None) for _ in range(5)]
    for future in futures:
        with pytest.raises(DoorBusy):
            future.result(5)
    together.close()


def test_a_broken_append_harms_nobody_else(study: Path) -> None:
    together = Together(study)
    good = [
        together.submit(lambda con, i=i: participant_table.add(con, f"R{i}", "reader"))
        for i in range(3)
    ]
    bad = together.submit(
        lambda con: con.execute(
            "INSERT INTO people VALUES ('R0', 'reader', FALSE, now()::TIMESTAMP)"
        )
    )
    worse = together.submit(lambda con: con.execute("SELECT * FROM no_such_table"))
    refused = together.submit(lambda con: participant_table.add(con, "R1", "reader"))
    more = [
        together.submit(lambda con, i=i: participant_table.add(con, f"R{i}", "reader"))
        for i in range(3, 6)
    ]
    for future in (*good, *more):
        future.result(10)
    for future, error in (
        (bad, duckdb.ConstraintException),
        (worse, duckdb.CatalogException),
        (refused, UserError),
    ):
        with pytest.raises(error):
            future.result(10)
    together.close()
    with store.read(study) as con:
        assert con.execute("SELECT count(*) FROM people").fetchone()[0] == 6

"""Reading sessions: fixed stages, append-only answers, and pages that reveal nothing."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.sessions.reading.crossover import PERIOD_BLOCKS, crossover_case_order
from core.sessions.reading_session import ReadingSession
from core.sessions.tokens import load_secret_key
from core.store import blinded_queries, participant_table
from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table
from support import synthetic_study
from support.stored_answers import stored_answers

NAME = "ZQXSTUDY"


def start_session(study: Path, code: str = "R1") -> ReadingSession:
    session = ReadingSession(code, load_secret_key(study))
    with store.write(study) as con:
        participant_table.add_participant(con, code, "reader")
        participant_table.record_consent(con, code, "", "yes")
        session.assign_order(con, session.protocol(con))
    return session


def save_answer(con: Connection, session: ReadingSession, value: int = 3):
    return session.save_answer(
        con, session.displayed_case(con, session.protocol(con)).token, value, 1.0, False
    )


def answer_seven(con: Connection, session: ReadingSession) -> str:
    """Answer the first seven cases; return the token of the eighth."""
    for _ in range(7):
        save_answer(con, session)
    return session.displayed_case(con, session.protocol(con)).token


def append_state(con: Connection, name: str, **changes) -> None:
    current = protocol_table.load_protocol(con, NAME, 1)
    protocol_table.append_protocol_state(
        con,
        **{
            "protocol": NAME,
            "version": 1,
            "state": name,
            "design": current.design,
            "hash": current.hash,
            **changes,
        },
    )


def test_stages_cannot_be_skipped_or_altered(study: Path) -> None:
    with store.write(study) as con:
        with pytest.raises(UserError, match="new version"):
            append_state(con, "design")
        with pytest.raises(UserError, match="design"):
            reading_table.add_reading_cases(con, NAME, 1, [])
        with pytest.raises(UserError, match="only a version that is closed"):
            append_state(con, "scored")
        with pytest.raises(UserError, match="altered"):
            append_state(con, "closed", design={"seed": 6})
        assert protocol_table.newest_open_protocol(con).protocol == NAME
        append_state(con, "closed")
        assert protocol_table.newest_open_protocol(con) is None
        append_state(con, "scored")
        synthetic_study.add_protocol(con, version=2, state="checked")
        assert protocol_table.newest_open_protocol(con) is None
        assert [(p.version, p.state) for p in protocol_table.list_protocols(con)] == [
            (1, "scored"),
            (2, "checked"),
        ]


def test_reader_goes_through_practice_and_cases(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        for i in range(5):
            case = session.displayed_case(con, session.protocol(con))
            assert case.practice and (case.number, case.total) == (i + 1, 5)
            save_answer(con, session)
        with pytest.raises(RequestRefused, match="no earlier case"):
            session.reopen_previous(con, session.protocol(con))
        for i in range(32):
            case = session.displayed_case(con, session.protocol(con))
            assert not case.practice and (case.number, case.total) == (i + 1, 32)
            assert len(case.texts) == 3 and all(case.texts)
            save_answer(con, session, 1 + i % 6)
        assert session.displayed_case(con, session.protocol(con)) is None
        answers = stored_answers(con, NAME, 1)
        assert len(answers) == 32 and answers["repeat"].sum() == 2
        first = answers[~answers["repeat"]]
        assert sorted(first["case_number"]) == list(range(1, 31))
        monitor = reading_table.reading_progress_by_reader(con, NAME, 1)
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
    session = start_session(study)
    with store.write(study) as con:
        for _ in range(5):
            save_answer(con, session)
        tokens = []
        for value in (1, 2, 3):
            tokens.append(session.displayed_case(con, session.protocol(con)).token)
            save_answer(con, session, value)
        again = session.reopen_previous(con, session.protocol(con))
        assert again.answer == 3 and again.number == 3
        session.save_answer(con, again.token, 6, 1.0, False)
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(con, tokens[1], 6, 1.0, False)  # the one before the previous
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(con, again.token, 5, 1.0, False)  # a used token with another answer
        assert stored_answers(con, NAME, 1)["answer"].tolist() == [1, 2, 6]
        assert stored_answers(con, NAME, 1, first=True)["answer"].tolist() == [
            1,
            2,
            3,
        ]
        assert reading_table.reading_progress_by_reader(con, NAME, 1)["corrections"].tolist() == [1]


def test_repeated_request_adds_no_row(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        token = session.displayed_case(con, session.protocol(con)).token
        first = session.save_answer(con, token, 4, 1.0, False)
        again = session.save_answer(con, token, 4, 5.0, False)
        assert first[0] == again[0] and first[1] == again[1]
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] == 1


@pytest.mark.parametrize("value", [0, 7, "3", None, True, 2.5, [1]])
def test_answers_off_the_scale_are_refused(study: Path, value) -> None:
    session = start_session(study)
    with store.write(study) as con:
        with pytest.raises(UserError):
            session.save_answer(
                con, session.displayed_case(con, session.protocol(con)).token, value, 1.0, False
            )
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] == 0


def test_consent_and_open_study_are_required(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        token = session.displayed_case(con, session.protocol(con)).token
        con.execute("DELETE FROM consents")
        with pytest.raises(RequestRefused, match="consent"):
            session.save_answer(con, token, 3, 1.0, False)
        participant_table.record_consent(con, "R1", "", "yes")
        append_state(con, "closed")
        with pytest.raises(RequestRefused, match="closed"):
            session.save_answer(con, token, 3, 1.0, False)
        with pytest.raises(RequestRefused, match="has been closed"):
            session.protocol(con)


def test_reader_finishes_a_study_before_the_next(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        token = answer_seven(con, session)
        synthetic_study.add_protocol(con, version=2)  # frozen meanwhile, and the newest
        assert protocol_table.newest_open_protocol(con).version == 2
        assert session.protocol(con).version == 1
        assert session.protocol(con, next_study=True).version == 1
        saved, following, protocol = session.save_answer(con, token, 4, 1.0, False)
        assert (protocol.version, saved.position, following.position) == (1, 8, 9)
        # A new reader reads the newest one.
        assert ReadingSession("R2", load_secret_key(study)).protocol(con).version == 2
        # Requested too early: the first study is unfinished.
        session.start_study(con, session.start_token(protocol_table.next_reading_study(con, "R1")))
        assert not reading_table.has_reading_order(con, NAME, 2, "R1")
        while session.displayed_case(con, session.protocol(con)) is not None:
            save_answer(con, session)
        # Finished: the last case can still be reopened, and the next study begun.
        assert session.protocol(con).version == 1 and session.has_next_study(con)
        assert session.reopen_previous(con, session.protocol(con)).number == 32
        assert session.protocol(con, next_study=True).version == 2
        for token in (
            "",
            "0" * 32,
            session.start_token(protocol_table.load_protocol(con, NAME, 1)),
        ):
            session.start_study(con, token)
            assert session.protocol(con).version == 1
        session.start_study(con, session.start_token(protocol_table.load_protocol(con, NAME, 2)))
        assert session.protocol(con).version == 2 and not session.has_next_study(con)
        save_answer(con, session)
        append_state(con, "closed")  # the first study, which is finished, not the present one
        assert session.protocol(con).version == 2
        assert len(session.reading_progress(con, session.protocol(con))) == 37


def test_closed_study_is_reported_before_the_next(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        token = answer_seven(con, session)
        append_state(con, "closed")
        assert not session.has_next_study(con)
        with pytest.raises(RequestRefused, match="has been closed"):
            session.protocol(con, next_study=True)
        synthetic_study.add_protocol(con, version=2)
        for request in (
            lambda: session.protocol(con),
            lambda: session.save_answer(con, token, 4, 1.0, False),
        ):
            with pytest.raises(RequestRefused, match="has been closed") as raised:
                request()
            assert raised.value.code == "closed"
        assert session.has_next_study(con)
        session.start_study(con, "")  # from an old window
        assert not reading_table.has_reading_order(con, NAME, 2, "R1")
        session.start_study(con, session.start_token(session.protocol(con, next_study=True)))
        assert session.protocol(con).version == 2
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(con, token, 4, 1.0, False)
        # Closed before any answer: this study stays the current one, not the finished first study.
        second = protocol_table.load_protocol(con, NAME, 2)
        protocol_table.append_protocol_state(
            con, protocol=NAME, version=2, state="closed", design=second.design, hash=second.hash
        )
        assert protocol_table.current_reading_study(con, "R1")[0].version == 2
        assert len(stored_answers(con, NAME, 1)) == 2


def test_tokens_and_orders_are_individual(study: Path) -> None:
    one, two = start_session(study, "R1"), start_session(study, "R2")
    with store.write(study) as con:
        token = one.displayed_case(con, one.protocol(con)).token
        with pytest.raises(RequestRefused):
            two.save_answer(con, token, 3, 1.0, False)
        tokens = [r[0] for r in con.execute("SELECT token FROM reading_items").fetchall()]
        assert len(set(tokens)) == len(tokens) == 2 * 37
        orders = (
            reading_table.load_reading_items(con, NAME, 1)
            .groupby("code")["case_number"]
            .apply(list)
        )
        assert orders["R1"] != orders["R2"]
        with pytest.raises(UserError, match="never changed"):
            reading_table.assign_reading_order(con, NAME, 1, "R1", [reading_table.ReadingItem(1)])


def test_order_equals_the_checked_order(study: Path) -> None:
    from evaluation.reading_study import design_preset, reader_order

    start_session(study, "R1")
    with store.read(study) as con:
        cases = reading_table.load_reading_cases(con, NAME, 1)
        items = reading_table.load_reading_items(con, NAME, 1)
    order = items[~items["practice"]].sort_values("position")
    expected = reader_order(
        cases.sample(frac=1, random_state=1),
        design_preset("Recommended", name=NAME, seed=5, repeats=2),
        "R1",
    )
    assert list(zip(order["case_number"], order["repeat"], strict=True)) == expected


def test_readers_of_a_crossover_begin_with_another_arm_each(study: Path) -> None:
    """The rotation of a reader is the number of readers that began before."""
    with store.write(study) as con:
        design = protocol_table.load_protocol(con, NAME, 1).design | {"washout_days": 28}
        con.execute("UPDATE protocols SET design = ?", [json.dumps(design)])
        con.execute("UPDATE reading_cases SET block = ? * (case_number % 3)", [PERIOD_BLOCKS])
        cases = blinded_queries.load_cases_to_order(con, NAME, 1)
    numbers, patients, texts, blocks = cases
    periods = []
    for rotation, code in enumerate(("R1", "R2")):
        start_session(study, code)
        with store.read(study) as con:
            own = con.execute(
                "SELECT case_number, period FROM reading_items WHERE code = ? AND NOT practice"
                " ORDER BY position",
                [code],
            ).fetchall()
        expected = crossover_case_order(
            numbers, patients, texts, [b or 0 for b in blocks], design["seed"], code, rotation
        )
        assert own == expected
        periods.append(dict(expected))
    assert periods[0] != periods[1]


def test_displayed_case_reveals_nothing(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        for _ in range(12):
            case = asdict(session.displayed_case(con, session.protocol(con)))
            assert "ZQX" not in str(case)  # the prefix of every withheld value
            assert set(case) == {
                "token",
                "texts",
                "number",
                "total",
                "practice",
                "answer",
                "position",
                "can_reopen",
                "pictures",
                "step",
                "first_answer",
                "advice",
            }
            assert case["pictures"] == ()
            assert case["step"] is case["first_answer"] is case["advice"] is None
            save_answer(con, session)


def test_images_are_required_by_image_arms(study: Path) -> None:
    with store.write(study) as con:
        append_state(con, "closed")
        synthetic_study.add_protocol(con, version=2, design={"arms": ["explanation", "image"]})
        with pytest.raises(RequestRefused, match="needs images"):
            ReadingSession("R1", load_secret_key(study)).protocol(con)

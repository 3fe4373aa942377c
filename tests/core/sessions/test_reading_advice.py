"""Reading with advice in a session: steps, locked answers, questions, periods of a crossover."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused
from core.sessions import reading_session
from core.sessions.reading.advice_statements import advice_statement, probability_band
from core.sessions.reading.crossover import crossover_blocks, crossover_case_order
from core.sessions.reading_session import ReadingSession
from core.sessions.tokens import load_secret_key, one_time_token
from core.store import evidence, withdrawal
from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table, stage_table
from core.timestamps import utc_now
from support import synthetic_study
from support.advice_study import NAME, QUESTIONS, add_advice_study


@pytest.fixture
def advice_folder(tmp_path: Path) -> Path:
    """The synthetic study without a reading study."""
    return synthetic_study.create_study(tmp_path / "study", protocol=False)


class Reader:
    """A session with what it does next, on one connection."""

    def __init__(self, study: Path, con: Connection, code: str = "R1") -> None:
        self.session, self.con = ReadingSession(code, load_secret_key(study)), con
        self.protocol = self.session.protocol(con)
        self.session.assign_order(con, self.protocol)

    def case(self):
        return self.session.displayed_case(self.con, self.protocol)

    def answer(self, value: int, questions: object = None, token: str | None = None):
        token = token or self.case().token
        return self.session.save_answer(self.con, token, value, 2.0, False, questions)

    def finish_practice(self) -> None:
        while self.case().practice:
            self.answer(2)


def stages_of(con: Connection) -> list[tuple]:
    return con.execute(
        "SELECT position, stage, value FROM reading_stages ORDER BY made, stage"
    ).fetchall()


def test_a_case_goes_from_the_locked_answer_to_the_final_one(advice_folder: Path) -> None:
    add_advice_study(advice_folder, predict_network=True, questions=QUESTIONS)
    with store.write(advice_folder) as con:
        reader = Reader(advice_folder, con)
        steps = []
        for value, questions in ((5, None), (2, None), (1, [3])):
            case = reader.case()
            steps.append((case.step, case.first_answer, case.advice is not None, case.texts))
            reader.answer(value, questions)
        assert steps == [
            ("first", None, False, ()),
            ("prediction", 5, False, ()),
            ("final", 5, True, ()),
        ]
        assert stages_of(con) == [
            (1, "first answer", "5"),
            (1, "prediction", "2"),
            (1, "question 1", "3"),
        ]
        assert con.execute("SELECT position, revision, answer FROM answers").fetchall() == [
            (1, 1, 1)
        ]
    with store.read(advice_folder) as con:
        assert evidence.verify_chain(con).valid


def test_controls_look_like_other_cases_until_the_first_answer(advice_folder: Path) -> None:
    add_advice_study(advice_folder)
    with store.write(advice_folder) as con:
        reader = Reader(advice_folder, con)
        reader.finish_practice()
        arms = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")["arm"]
        for _ in range(6):
            position = reading_session.current_position(
                reader.session.reading_progress(con, reader.protocol)
            )
            arm = arms[position.case_number]
            first = reader.case()
            assert (first.step, first.texts, first.advice, first.can_reopen) == (
                "first",
                (),
                None,
                False,
            )
            assert [slot for slot, _, _ in first.pictures] == [0]
            reader.answer(4)
            final = reader.case()
            if arm == "no_advice":
                assert final.advice is None
            else:
                assert "ZQXCLASS" in final.advice.statement and len(final.advice.texts) == 1
                assert [slot for slot, _, _ in final.advice.pictures] == (
                    [4] if arm == "advice_units_map" else []
                )
            reader.answer(4)
        assert reader.case() is None


def test_a_new_session_goes_on_at_the_reveal(advice_folder: Path) -> None:
    add_advice_study(advice_folder)
    with store.write(advice_folder) as con:
        Reader(advice_folder, con).answer(5)
    with store.write(advice_folder) as con:
        case = Reader(advice_folder, con).case()
        assert (case.step, case.first_answer) == ("final", 5) and case.advice is not None


def test_forged_answers_are_refused(advice_folder: Path) -> None:
    add_advice_study(advice_folder, predict_network=True, questions=QUESTIONS)
    with store.write(advice_folder) as con:
        reader = Reader(advice_folder, con)
        positions = reader.session.reading_progress(con, reader.protocol)
        final = reader.session._token(positions[0], 1)
        prediction = reader.session._lock_token(positions[0], "prediction")
        for early in (final, prediction):
            with pytest.raises(RequestRefused, match="another window"):
                reader.answer(3, [1], token=early)
        first = reader.case().token
        stored = reader.answer(5, token=first)[0]
        # The same request again is acknowledged; another first answer is not taken.
        assert reader.answer(5, token=first)[0] == stored
        for token in (first, final):
            with pytest.raises(RequestRefused, match="another window"):
                reader.answer(2, [1], token=token)
        with pytest.raises(RequestRefused, match="answers are 1 to 2"):
            reader.answer(3)
        reader.answer(1)
        for wrong in (None, [], [1, 2], ["1"], [4], [0], [True], "1"):
            with pytest.raises(RequestRefused) as refusal:
                reader.answer(3, wrong)
            assert refusal.value.code == "answer"
        assert con.execute("SELECT count(*) FROM answers").fetchone()[0] == 0
        reader.answer(3, [1], token=final)
        with pytest.raises(RequestRefused, match="no earlier case"):
            reader.session.reopen_previous(con, reader.protocol)
        # A used token with another answer would be a correction of a locked case.
        with pytest.raises(RequestRefused, match="another window"):
            reader.answer(4, [1], token=final)
        assert [value for _, stage, value in stages_of(con) if stage == "first answer"] == ["5"]
        # Nor does a token for a second revision open the case before the present one.
        for value, questions in ((5, None), (1, None), (3, [1])):
            reader.answer(value, questions)
        answered = reader.session.reading_progress(con, reader.protocol)[1]
        with pytest.raises(RequestRefused, match="another window"):
            reader.answer(4, [1], token=reader.session._token(answered, 2))


def test_no_stage_is_written_twice_or_after_closing(advice_folder: Path) -> None:
    protocol = add_advice_study(advice_folder)
    entry = {"code": "R1", "position": 1, "stage": "first answer", "value": "3"}
    with store.write(advice_folder) as con:
        stage_table.append_stage_answer(con, protocol=protocol, **entry)
    with (
        pytest.raises(store.connection.duckdb.ConstraintException),
        store.write(advice_folder) as con,
    ):
        stage_table.append_stage_answer(con, protocol=protocol, **entry)
    with store.write(advice_folder) as con:
        with pytest.raises(Exception, match="results are hidden"):
            stage_table.load_stage_answers(con, NAME, 1)
        protocol_table.append_protocol_state(
            con,
            protocol=NAME,
            version=1,
            state="closed",
            design=protocol.design,
            hash=protocol.hash,
        )
        closed = protocol_table.load_protocol(con, NAME, 1)
        with pytest.raises(RequestRefused, match="closed"):
            stage_table.append_stage_answer(con, protocol=closed, **(entry | {"position": 2}))
        assert stage_table.load_stage_answers(con, NAME, 1)["value"].tolist() == ["3"]


def test_questionnaire_follows_the_last_case_once(advice_folder: Path) -> None:
    asked = [{"text": "Remarks", "kind": "text", "options": []}, *QUESTIONS]
    add_advice_study(advice_folder, count=2, questionnaire=asked)
    with store.write(advice_folder) as con:
        reader = Reader(advice_folder, con)
        while reader.case() is not None:
            assert reader.session.questionnaire_token(con, reader.protocol) is None
            reader.answer(2)
        token = reader.session.questionnaire_token(con, reader.protocol)
        for wrong in ([], ["x"], ["x" * 2001, 1], ["x", 4]):
            with pytest.raises(RequestRefused, match="must be|every question"):
                reader.session.save_questionnaire(con, token, wrong)
        reader.session.save_questionnaire(con, token, ["", 2])
        assert reader.session.questionnaire_token(con, reader.protocol) is None
        with pytest.raises(RequestRefused, match="already"):
            reader.session.save_questionnaire(con, token, ["", 2])
        closing = [row for row in stages_of(con) if row[0] == 0]
        assert closing == [(0, "closing question 1", ""), (0, "closing question 2", "2")]


def test_the_next_period_opens_after_the_washout(
    advice_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_advice_study(advice_folder, count=4, washout_days=14, duration_days=60)
    with store.write(advice_folder) as con:
        reader = Reader(advice_folder, con)
        reader.finish_practice()
        periods = [p.period for p in reader.session.reading_progress(con, reader.protocol)]
        assert periods == [None, 0, 0, 1, 1]
        for _ in range(4):  # two answers to each case of the first period
            reader.answer(2)
        assert reader.case() is None
        opens = reader.session.washout_end(con, reader.protocol)
        assert timedelta(13.9) < opens - utc_now() <= timedelta(14)
        later = reader.session.reading_progress(con, reader.protocol)[3]
        with pytest.raises(RequestRefused, match="another window"):
            reader.answer(2, token=reader.session._lock_token(later, "first"))
        assert reader.session.questionnaire_token(con, reader.protocol) is None
        monkeypatch.setattr(reading_session, "utc_now", lambda: opens - timedelta(seconds=1))
        assert reader.case() is None
        monkeypatch.setattr(reading_session, "utc_now", lambda: opens)
        assert reader.case().step == "first"
        reader.answer(3)


def test_crossover_holds_each_case_once_a_period_and_rotates_the_arms() -> None:
    """Six images in three arms: case 10 * image + arm, base period (image + arm) mod 3."""
    arms = [f"arm {arm}" for _ in range(6) for arm in range(3)]
    numbers = [10 * image + arm for image in range(6) for arm in range(3)]
    patients = [image for image in range(6) for _ in range(3)]
    base = [(image + arm) % 3 for image in range(6) for arm in range(3)]
    blocks = crossover_blocks(base, arms, patients, numbers, 3)
    for rotation in range(3):
        order = crossover_case_order(
            numbers, patients, [()] * 18, blocks, 3, f"R{rotation}", rotation
        )
        assert [period for _, period in order] == [0] * 6 + [1] * 6 + [2] * 6
        for period in range(3):
            read = [number for number, at in order if at == period]
            assert sorted(number // 10 for number in read) == list(range(6))
            assert sorted(number % 10 for number in read) == [0, 0, 1, 1, 2, 2]
            assert all((number // 10 + number % 10 + rotation) % 3 == period for number in read)


def test_bands_lie_on_the_side_of_the_decision() -> None:
    shown = [probability_band(p / 100, p >= 50) for p in (0, 9, 10, 49.9, 50, 69, 70, 90, 100)]
    assert shown == [
        "0-10",
        "0-10",
        "10-30",
        "30-50",
        "50-70",
        "50-70",
        "70-90",
        "90-100",
        "90-100",
    ]
    own = {"advice": "probability_band", "positive": "cat"}
    assert advice_statement(own, "90-100") == "The network's probability of cat: 90 to 100 %"


def test_withdrawn_reader_leaves_no_stage(advice_folder: Path) -> None:
    add_advice_study(advice_folder)
    with store.write(advice_folder) as con:
        Reader(advice_folder, con).answer(5)
        withdrawal.withdraw_participant(con, "R1", "team")
        assert stages_of(con) == []
    with store.read(advice_folder) as con:
        assert evidence.verify_chain(con).valid


def test_requests_are_refused_in_the_order_consent_study_state(advice_folder: Path) -> None:
    protocol = add_advice_study(advice_folder, questionnaire=QUESTIONS)
    session = ReadingSession("R1", load_secret_key(advice_folder))
    stranger = ReadingSession("R9", load_secret_key(advice_folder))

    def codes(con: Connection, reader: ReadingSession) -> list[str]:
        refused = []
        for request in (
            lambda: reader.save_answer(con, "token", 2, 1.0, False),
            lambda: reader.save_questionnaire(con, "token", [1]),
        ):
            with pytest.raises(RequestRefused) as error:
                request()
            refused.append(error.value.code)
        return refused

    with store.write(advice_folder) as con:
        assert codes(con, stranger) == ["consent"] * 2
        # Nothing is begun, then nothing is due, then the study is closed.
        assert codes(con, session) == ["stale"] * 2
        session.assign_order(con, protocol)
        assert codes(con, session) == ["stale"] * 2
        protocol_table.append_protocol_state(
            con,
            protocol=NAME,
            version=1,
            state="closed",
            design=protocol.design,
            hash=protocol.hash,
        )
        assert codes(con, session) == ["closed"] * 2
        con.execute("DELETE FROM consents")
        assert codes(con, session) == ["consent"] * 2


def test_lost_acknowledgement_of_each_step_comes_again(advice_folder: Path) -> None:
    add_advice_study(advice_folder, predict_network=True)
    with store.write(advice_folder) as con:
        reader = Reader(advice_folder, con)
        for value, step, revision in ((5, "prediction", 0), (1, "final", 0), (4, "first", 1)):
            token = reader.case().token
            saved, following, protocol = reader.answer(value, token=token)
            assert (saved.position, saved.revision, saved.answer) == (1, revision, value)
            assert following.step == step and protocol.protocol == NAME
            again, same, _ = reader.answer(value, token=token)
            assert again == saved and same == following
            with pytest.raises(RequestRefused) as refused:
                reader.answer(value + 1 if value < 2 else value - 1, token=token)
            assert refused.value.code == "stale"
        times = con.execute("SELECT seconds, idle FROM reading_stages").fetchall()
        assert times == [(2.0, False)] * 2


def test_questionnaire_needs_its_own_token(
    advice_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = utc_now()
    monkeypatch.setattr(reading_session, "utc_now", lambda: now)
    add_advice_study(advice_folder, count=1, questionnaire=QUESTIONS)
    with store.write(advice_folder) as con:
        reader = Reader(advice_folder, con)
        while reader.case() is not None:
            reader.answer(2)
        token = reader.session.questionnaire_token(con, reader.protocol)
        assert token == one_time_token(
            load_secret_key(advice_folder), "questionnaire", "R1", NAME, 1
        )
        with pytest.raises(RequestRefused, match="not due, or were answered") as refused:
            reader.session.save_questionnaire(con, token[:-1], [2])
        assert refused.value.code == "stale"
        made, protocol = reader.session.save_questionnaire(con, token, [2])
        assert (protocol.protocol, made) == (NAME, now)
        rows = con.execute(
            "SELECT position, stage, value, seconds, idle, simulated FROM reading_stages"
            " WHERE position = 0"
        ).fetchall()
    assert rows == [(0, "closing question 1", "2", None, False, False)]

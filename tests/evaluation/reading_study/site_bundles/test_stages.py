"""Site bundles of a study with advice: first answers, predictions, questions and questionnaire."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core import store
from core.errors import UserError
from core.sessions import tokens
from core.sessions.reading_session import DisplayedCase, ReadingSession
from core.store import participant_table
from core.store.evidence import verify_chain
from core.store.reading import protocol_table, reading_table
from evaluation.reading_study import site_bundles
from support import synthetic_study
from support.advice_study import ARMS, NAME, QUESTIONS, add_advice_study
from support.bundle_answers import all_rows, opened_answers, write_forged

CASES = 3
TEXT = [{"text": "What would have helped?", "kind": "text", "options": []}]
STAGE_COLUMNS = "position, stage, value, seconds, idle, simulated, made"
Rows = list[dict[str, Any]]


def create_study(folder: Path, **changes: Any) -> Path:
    """Create a study with advice of three cases that nobody has read."""
    study = synthetic_study.create_study(folder, protocol=False)
    settings = {"predict_network": True, "questions": QUESTIONS, "questionnaire": TEXT}
    add_advice_study(study, CASES, readers=(), **settings | changes)
    return study


class Reader:
    """Reader R1 of a bundle, who answers step by step."""

    def __init__(self, bundle: Path) -> None:
        self.bundle, self.shown = bundle, list[DisplayedCase]()
        self.session = ReadingSession("R1", tokens.load_secret_key(bundle))

    def begin(self) -> None:
        """Consent and get the order."""
        with store.write(self.bundle) as con:
            participant_table.add_participant(con, "R1", "reader")
            participant_table.record_consent(con, "R1", "", "agreed")
            self.session.assign_order(con, self.session.protocol(con))

    def answer(self, steps: int) -> None:
        """Answer as many steps of cases, three a case."""
        with store.write(self.bundle) as con:
            for _ in range(steps):
                case = self.session.displayed_case(con, self.session.protocol(con))
                assert case is not None
                self.shown.append(case)
                value = {"first": 5, "prediction": 2, "final": 3}[case.step]
                questions = [2] if case.step == "final" else None
                self.session.save_answer(con, case.token, value, 2.5, False, questions)

    def finish(self) -> None:
        """Answer the questionnaire."""
        with store.write(self.bundle) as con:
            token = self.session.questionnaire_token(con, self.session.protocol(con))
            self.session.save_questionnaire(con, token, ["<b>A prior film</b>"])


def stage_rows(study: Path, code: str) -> list[tuple]:
    with store.read(study) as con:
        return con.execute(
            f"SELECT {STAGE_COLUMNS} FROM reading_stages WHERE code = ? ORDER BY position, stage",
            [code],
        ).fetchall()


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Reader]:
    """Return a study, its bundle, and the reader who has answered everything there.

    The study has imported an export made when the first answer to case 2 was locked.
    """
    folder = tmp_path_factory.mktemp("advised")
    home, away = create_study(folder / "home"), folder / "away"
    site_bundles.create_bundle(home, away, None, "team", readers=1)
    reader = Reader(away)
    reader.begin()
    # Practice, case 1, and the first answer of case 2.
    reader.answer(3 + 3 + 1)
    site_bundles.export_answers(away, folder / "early.json", "site")
    imported = site_bundles.import_answers(home, folder / "early.json", "team")
    assert (imported.readers, imported.added) == ({"B1-R1": 1}, 2)
    assert len(stage_rows(home, "B1-R1")) == 3 + 3 + 1
    reader.answer(3 * CASES - 4)
    reader.finish()
    return home, away, reader


@pytest.fixture
def home(read: tuple[Path, Path, Reader], tmp_path: Path) -> Path:
    return Path(shutil.copytree(read[0], tmp_path / "home"))


@pytest.fixture
def file(read: tuple[Path, Path, Reader], tmp_path: Path) -> Path:
    path = tmp_path / "answers.json"
    site_bundles.export_answers(read[1], path, "site")
    return path


def test_a_bundle_holds_advice_and_no_arm(read: tuple[Path, Path, Reader]) -> None:
    home, away, _ = read
    with store.read(away) as con, store.read(home) as original:
        design = protocol_table.load_protocol(con, NAME, 1).design
        cases = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")
        key = reading_table.load_reading_cases(original, NAME, 1).set_index("case_number")
    assert not {"arms", "seed", "repeats", "truth_rule"} & set(design)
    assert (cases["arm"] == "").all() and cases[["truth", "predicted"]].isna().all().all()
    assert cases["advice"].to_dict() == key["advice"].to_dict()
    assert cases["advice"].isna().sum() == 1 and len(ARMS) == CASES


def test_advice_is_shown_after_the_lock_alone(read: tuple[Path, Path, Reader]) -> None:
    shown = read[2].shown
    assert [case.step for case in shown] == ["first", "prediction", "final"] * (1 + CASES)
    for case in shown:
        assert case.texts == ()
        assert case.step == "final" or case.advice is None
    # Practice and two of the three arms show advice.
    assert sum(case.advice is not None for case in shown) == 3


def test_stages_are_imported_unchanged_and_once(
    read: tuple[Path, Path, Reader], home: Path, file: Path
) -> None:
    imported = site_bundles.import_answers(home, file, "team")
    assert (imported.readers, imported.added) == ({"B1-R1": CASES}, CASES - 1)
    rows = stage_rows(home, "B1-R1")
    assert rows == stage_rows(read[1], "R1")
    # First answer, prediction and one question a position, practice included; the questionnaire.
    assert len(rows) == 3 * (1 + CASES) + 1
    assert rows[0][:3] == (0, "closing question 1", "<b>A prior film</b>")
    with store.read(home) as con:
        assert verify_chain(con).faults == ()
    assert site_bundles.import_answers(home, file, "team").added == 0
    assert stage_rows(home, "B1-R1") == rows


def remove(position: int, stage: str) -> Callable[[Rows], object]:
    """Return a change that removes a row."""
    return lambda rows: rows.remove(find(rows, position, stage))


def change(at: int, kind: str, **values: Any) -> Callable[[Rows], object]:
    """Return a change of the row of a position and stage."""
    return lambda rows: find(rows, at, kind).update(values)


def find(rows: Rows, position: int, stage: str) -> dict[str, Any]:
    return next(row for row in rows if (row["position"], row["stage"]) == (position, stage))


@pytest.mark.parametrize(
    ("forge", "message"),
    [
        (remove(2, "first answer"), "the first answer at position 2 is missing"),
        (remove(3, "prediction"), "the prediction at position 3 is missing"),
        (remove(4, "question 1"), "the question 1 at position 4 is missing"),
        (lambda rows: rows.append(rows[0]), "is not due after 4 answers"),
        (change(2, "first answer", stage="second answer"), "first answer at position 2 is missing"),
        (change(2, "first answer", value="7"), "is '7'; answers are 1 to 6"),
        (change(2, "first answer", value="05"), "is '05'; answers are 1 to 6"),
        (change(2, "prediction", value="3"), "is '3'; answers are 1 to 2"),
        (change(2, "question 1", value="4"), "is '4'; answers are 1 to 3"),
        (change(2, "question 1", seconds=1.0), "has a time, and questions have none"),
        (change(2, "first answer", seconds=1.23456), "stored in milliseconds"),
        (change(2, "first answer", made="2020-01-01T00:00:00"), "is of 2020-01-01"),
        (change(3, "first answer", value="4"), "differs from what was imported earlier"),
        (change(0, "closing question 1", value="x" * 2001), "at most 2000 characters"),
        (change(2, "first answer", value=5), "valid string"),
    ],
)
def test_forged_stages_are_refused(
    read: tuple[Path, Path, Reader], home: Path, file: Path, forge: Any, message: str
) -> None:
    content = opened_answers(home, file)
    forge(content["readers"][0]["stages"])
    write_forged(read[1], file, content)
    before = all_rows(home)
    with pytest.raises(UserError, match=message):
        site_bundles.import_answers(home, file, "team")
    assert all_rows(home) == before


def test_corrections_of_locked_answers_are_refused(
    read: tuple[Path, Path, Reader], home: Path, file: Path
) -> None:
    content = opened_answers(home, file)
    answers = content["readers"][0]["answers"]
    answers.append(answers[-1] | {"revision": 2})
    write_forged(read[1], file, content)
    with pytest.raises(UserError, match="answers of this study are final"):
        site_bundles.import_answers(home, file, "team")


def test_crossovers_stay_on_one_server_and_an_untold_share_stays_at_home(tmp_path: Path) -> None:
    crossover = create_study(tmp_path / "crossover", washout_days=28, duration_days=90)
    with pytest.raises(UserError, match="is a crossover"):
        site_bundles.create_bundle(crossover, tmp_path / "b", None, "team")
    assert not (tmp_path / "b").exists()
    for told in (False, True):
        study = create_study(tmp_path / f"told {told}", wrong_advice=0.3, wrong_advice_told=told)
        bundle = tmp_path / f"bundle {told}"
        site_bundles.create_bundle(study, bundle, None, "team", readers=1)
        with store.read(bundle) as con:
            design = protocol_table.load_protocol(con, NAME, 1).design
        assert design.get("wrong_advice") == (0.3 if told else None)

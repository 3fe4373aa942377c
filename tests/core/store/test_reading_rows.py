"""Every column of cases, images, orders, answers and stages of a reading study, by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.store import blinded_queries
from core.store.evidence.chain import load_records
from core.store.reading import (
    protocol_table,
    reading_table,
    stage_table,
)
from core.store.reading.reading_table import CasePicture
from support.read_rows import ITEMS, NAME, append_state, build_reading, cells, minutes
from support.study_templates import copy_template


@pytest.fixture
def read_study(tmp_path: Path) -> Path:
    return copy_template(build_reading, tmp_path / "study")


def test_cases_with_the_sealed_key(read_study: Path) -> None:
    with store.read(read_study) as con:
        frame = reading_table.load_reading_cases(con, NAME, 2)
        assert len(reading_table.load_reading_cases(con, NAME, 1)) == 0
        actors = [(r.kind, r.actor) for r in load_records(con) if r.kind.startswith("reading_")]
    assert list(frame.columns) == [
        *("case_number", "mammogram_id", "patient_id", "arm", "texts", "truth", "network_score"),
        *("predicted", "block", "advice"),
    ]
    assert cells(frame) == [
        [1, "m1", "p1", "advice", ["ü", "b"], "MALIGNANT", 0.75, "malignant", 2, "{}"],
        [2, "m2", "p1", "advice", ["c"], None, None, None, 1, "[1]"],
        [3, "m3", "p2", "image", [], "BENIGN", 0.25, "benign", None, None],
    ]
    # The latest actor of the version stands in the record of its cases and of its images.
    assert actors[:3] == [("reading_cases", "T1")] * 2 + [("reading_pictures", "T3")]
    assert actors[3:6] == [("reading_order", code) for code in ("R2", "R1", "R3")]


def test_images_of_cases(read_study: Path) -> None:
    with store.write(read_study) as con:
        assert reading_table.load_case_pictures(con, NAME, 2) == [
            CasePicture(-1, "film", "own", 1),
            CasePicture(1, "film", "m1", 0),
            CasePicture(1, "map", "m1.png", 4),
            CasePicture(3, "film", "m3", 0),
        ]
        with pytest.raises(UserError, match="Version 2 of Masses has its pictures already"):
            reading_table.add_case_pictures(con, NAME, 2, [])
        before = len(load_records(con))
        reading_table.add_case_pictures(con, NAME, 7, [])
        assert len(load_records(con)) == before
        assert blinded_queries.has_case_pictures(con, NAME, 2)
        assert not blinded_queries.has_case_pictures(con, NAME, 1)
        assert not blinded_queries.has_case_pictures(con, "Other", 2)


def test_content_and_advice_of_one_case(read_study: Path) -> None:
    content, advice = blinded_queries.load_case_content, blinded_queries.load_case_advice
    film, heat_map = (0, "film", "m1"), (4, "map", "m1.png")
    with store.read(read_study) as con:
        assert content(con, NAME, 2, 1, 4) == (["ü", "b"], [film])
        assert content(con, NAME, 2, 1, 5) == (["ü", "b"], [film, heat_map])
        assert content(con, NAME, 2, 1, 0) == (["ü", "b"], [])
        assert content(con, NAME, 2, 3, 4) == ([], [(0, "film", "m3")])
        assert content(con, NAME, 2, -1, 4) == (None, [(1, "film", "own")])
        assert content(con, NAME, 1, 1, 4) == (None, [])
        assert advice(con, NAME, 2, 1, 4) == ("{}", [heat_map])
        assert advice(con, NAME, 2, 1, 0) == ("{}", [film, heat_map])
        assert advice(con, NAME, 2, 1, 5) == ("{}", [])
        assert advice(con, NAME, 2, 3, 4) == (None, [])
        assert advice(con, NAME, 2, -1, 1) == (None, [(1, "film", "own")])
        numbers, patients, texts, blocks = blinded_queries.load_cases_to_order(con, NAME, 2)
    assert sorted(zip(numbers, patients, texts, blocks)) == [
        (1, "p1", ["ü", "b"], 2),
        (2, "p1", ["c"], 1),
        (3, "p2", [], None),
    ]


def test_positions_of_one_reader(read_study: Path) -> None:
    with store.read(read_study) as con:
        positions = blinded_queries.load_reading_positions(con, NAME, 2, "R1")
        other = blinded_queries.load_reading_positions(con, NAME, 2, "R2")
        assert blinded_queries.load_reading_positions(con, NAME, 1, "R1") == []
    rows = [
        (
            *(p.position, p.case_number, p.practice, p.revision, p.answer, p.made),
            *(p.period, p.first, p.prediction, p.locked_at),
        )
        for p in positions
    ]
    assert rows == [
        (1, -1, True, 1, 6, minutes(11), None, 3, None, minutes(10)),
        (2, 2, False, 3, 3, minutes(23), 0, 6, 2, minutes(20)),
        (3, 3, False, 1, 2, minutes(31), 1, None, None, None),
        (4, 1, False, 0, None, None, 1, None, None, None),
        (5, 2, False, 1, 1, minutes(51), 1, 1, 3, minutes(50)),
    ]
    tokens = {p.token for p in positions}
    assert len(tokens) == 5 and all(re.fullmatch("[0-9a-f]{32}", token) for token in tokens)
    assert [(p.position, p.revision, p.answer, p.first) for p in other] == [
        (1, 0, None, None),
        (2, 1, 6, None),
    ]


def test_questionnaire_of_one_reader(read_study: Path) -> None:
    answered = blinded_queries.has_questionnaire_answers
    with store.read(read_study) as con:
        assert answered(con, NAME, 2, "R1") and not answered(con, NAME, 2, "R2")
        assert not answered(con, NAME, 1, "R1") and not answered(con, "Other", 2, "R1")


def test_orders_are_given_once(read_study: Path) -> None:
    with store.write(read_study) as con:
        assert reading_table.has_reading_order(con, NAME, 2, "R3")
        assert not reading_table.has_reading_order(con, NAME, 2, "R4")
        assert not reading_table.has_reading_order(con, NAME, 3, "R3")
        assert not reading_table.has_reading_order(con, NAME, 1, "R3")
        assert reading_table.count_reading_orders(con, NAME, 2) == 3
        assert reading_table.count_reading_orders(con, NAME, 1) == 0
        with pytest.raises(UserError, match="The reader R3 has an order in Masses, version 2"):
            reading_table.assign_reading_order(con, NAME, 2, "R3", ITEMS)
        items = reading_table.load_reading_items(con, NAME, 2)
        reading_table.assign_reading_order(con, NAME, 2, "R4", ITEMS[:1])
        assert reading_table.has_reading_order(con, NAME, 2, "R4")
    assert list(items.columns) == ["code", "position", "case_number", "repeat", "practice"]
    order = [[-1, False, True], [2, False, False], [3, False, False], [1, False, False]]
    order += [[2, True, False]]
    rows = {"R1": order, "R2": order[1:3], "R3": order[:2]}
    assert cells(items) == [
        [code, position, *row]
        for code, positions in rows.items()
        for position, row in enumerate(positions, start=1)
    ]


LATEST = [
    ["R1", 2, 2, False, 3, 3, 80.0, False, False, minutes(23)],
    ["R1", 3, 3, False, 2, 1, 30.0, False, False, minutes(31)],
    ["R1", 5, 2, True, 1, 1, 50.0, False, False, minutes(51)],
    ["R2", 2, 3, False, 6, 1, None, False, True, minutes(21)],
]
EARLIER = [
    ["R1", 2, 2, False, 5, 1, 10.0, True, False, minutes(21)],
    ["R1", 2, 2, False, 4, 2, 70.0, False, False, minutes(22)],
]


def test_answers_before_and_after_closing(read_study: Path) -> None:
    hidden = "Masses, version 2, is reading: results are hidden until it is closed"
    loaders = (
        reading_table.load_reading_answers,
        reading_table.load_answer_revisions,
        stage_table.load_stage_answers,
    )
    with store.write(read_study) as con:
        for load in loaders:
            with pytest.raises(UserError, match=hidden):
                load(con, NAME, 2)
            with pytest.raises(UserError, match="Masses, version 1, is design: results are"):
                load(con, NAME, 1)
        interim = reading_table.load_interim_answers(con, NAME, 2)
        assert cells(interim) == LATEST
        append_state(con, "closed")
        with pytest.raises(UserError, match="is closed; this needs a version that is frozen or r"):
            reading_table.load_interim_answers(con, NAME, 2)
        latest = reading_table.load_reading_answers(con, NAME, 2)
        first = reading_table.load_reading_answers(con, NAME, 2, first=True)
        revisions = reading_table.load_answer_revisions(con, NAME, 2)
        stages = stage_table.load_stage_answers(con, NAME, 2)
    columns = ["code", "position", "case_number", "repeat", "answer", "revision", "seconds"]
    columns += ["idle", "simulated", "made"]
    for frame in (interim, latest, first, revisions):
        assert list(frame.columns) == columns
    assert cells(latest) == LATEST
    assert cells(first) == [EARLIER[0], *LATEST[1:]]
    assert cells(revisions) == [*EARLIER, *LATEST]
    assert list(stages.columns) == [
        *("code", "position", "case_number", "stage", "value", "seconds", "idle", "simulated"),
        "made",
    ]
    # Practice is left out; the questionnaire has no case.
    assert cells(stages) == [
        ["R1", 0, None, "closing question 1", "none", 9.0, False, False, minutes(0)],
        ["R1", 2, 2, "first answer", "6", 1.5, False, False, minutes(20)],
        ["R1", 2, 2, "prediction", "2", 2.0, False, False, minutes(20)],
        ["R1", 2, 2, "question 1", "large", 1000.0, False, False, minutes(20)],
        ["R1", 5, 2, "first answer", "1", None, False, False, minutes(50)],
        ["R1", 5, 2, "prediction", "3", 4.0, False, False, minutes(50)],
    ]


@pytest.mark.parametrize(
    ("looks", "planned"), [({}, False), ({"looks": 1}, False), ({"looks": 2}, True)]
)
def test_interim_answers_of_a_design_with_looks_alone(
    looks: dict[str, int], planned: bool, empty: Path
) -> None:
    design = {"name": NAME, **looks}
    with store.write(empty) as con:
        with pytest.raises(UserError, match="is design; this needs a version that is frozen"):
            reading_table.load_interim_answers(con, NAME, 2)
        for state in ("design", "checked", "frozen"):
            append_state(con, state, design=design)
        if planned:
            assert len(reading_table.load_interim_answers(con, NAME, 2)) == 0
        else:
            with pytest.raises(UserError, match="plans no interim look; its results are hidden"):
                reading_table.load_interim_answers(con, NAME, 2)


def test_answers_are_whole_numbers_on_the_scale(read_study: Path) -> None:
    for answer in (1, 6):
        reading_table.check_answer(answer, 6)
    for answer in (0, 7, True, 3.0, "3", None):
        with pytest.raises(UserError, match="is not an answer of this study; answers are 1 to 6"):
            reading_table.check_answer(answer, 6)
    with pytest.raises(UserError, match="3 is not an answer of this study; answers are 1 to 2"):
        reading_table.check_answer(3, 2)
    scales = [{}, {"scale": 6}, {"scale": "6"}, {"scale": 2}, {"scale": "2"}, {"scale": "binary"}]
    assert [protocol_table.answer_scale(design) for design in scales] == [6, 6, 6, 2, 2, 2]
    with store.write(read_study) as con:
        protocol = protocol_table.find_protocol(con)
        part = {"protocol": protocol, "code": "R3", "position": 2, "revision": 1}
        with pytest.raises(UserError, match="7 is not an answer"):
            reading_table.append_reading_answer(con, **part, answer=7, seconds=1.0)
        saved = reading_table.append_reading_answer(con, **part, answer=6, seconds=1.0)
        row = con.execute("SELECT * FROM answers WHERE code = 'R3'").fetchone()
        assert (saved.position, saved.revision, saved.answer) == (2, 1, 6)
        assert row == (NAME, 2, "R3", 2, 1, 6, 1.0, False, False, saved.made)
        append_state(con, "closed")
        closed = protocol_table.find_protocol(con)
        with pytest.raises(RequestRefused, match="has been closed; no further") as refused:
            reading_table.append_reading_answer(
                con, **(part | {"protocol": closed, "revision": 2}), answer=1, seconds=1.0
            )
        assert refused.value.code == "closed"


def test_progress_of_an_open_study(read_study: Path) -> None:
    with store.read(read_study) as con:
        frame = reading_table.reading_progress_by_reader(con, NAME, 2)
        answered = [
            reading_table.count_answered(con, *version, arm)
            for version, arm in (((NAME, 2), "advice"), ((NAME, 2), "image"), ((NAME, 1), "image"))
        ]
    assert list(frame.columns) == [
        *("code", "total", "done", "missing", "median_seconds", "corrections", "last_seen"),
        "simulated",
    ]
    # First answers of R1: 10 + 1.5 + 2 and 30; of the repeat, one time of advice is not known.
    assert cells(frame) == [
        ["R1", 4, 3, 1, 21.75, 2, minutes(51), False],
        ["R2", 2, 1, 1, None, 0, minutes(21), True],
        ["R3", 1, 0, 1, None, 0, None, False],
    ]
    # Without practice and repeats: case 2 of R1; case 3 of R1 and R2.
    assert answered == [1, 2, 0]


def test_stages_are_stored_as_they_were_entered(read_study: Path) -> None:
    with store.write(read_study) as con:
        protocol = protocol_table.find_protocol(con)
        part = {"protocol": protocol, "code": "R3", "position": 2}
        made = stage_table.append_stage_answer(con, **part, stage="question 1", value="x")
        stage_table.append_stage_answer(
            con, **part, stage="question 2", value="y", seconds=2.5, idle=True, simulated=True
        )
        rows = con.execute("SELECT * EXCLUDE made FROM reading_stages WHERE code = 'R3' ORDER BY 5")
        assert rows.fetchall() == [
            (NAME, 2, "R3", 2, "question 1", "x", None, False, False),
            (NAME, 2, "R3", 2, "question 2", "y", 2.5, True, True),
        ]
        stored = con.execute("SELECT made FROM reading_stages WHERE stage = 'question 1'")
        assert (made,) in stored.fetchall()
    stages = ["first answer", "prediction", "question 1", "question 2", "closing question 3"]
    assert [stage_table.stage_number(stage) for stage in stages] == [0, 1, 2, 3, 4]
    assert stage_table.QUESTIONNAIRE_POSITION == 0


def test_texts_are_stored_as_they_are_written(read_study: Path) -> None:
    with store.read(read_study) as con:
        rows = con.execute("SELECT texts FROM reading_cases ORDER BY case_number").fetchall()
    assert rows == [('["ü", "b"]',), ('["c"]',), ("[]",)] and json.loads(rows[0][0]) == ["ü", "b"]

"""Limits of what a site bundle can have produced: the last value accepted, the first refused."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from core.errors import UserError
from core.store.reading.bundle_table import BundleReader, BundleStage
from evaluation.reading_study.site_bundles.payload import check_readers, parse_payload
from evaluation.reading_study.site_bundles.stage_checks import stage_problem

MADE, EXPORTED = datetime(2026, 3, 1, 8, 0), datetime(2026, 3, 2, 9, 30)
NOW = datetime(2026, 3, 4, 10, 0)
HOUR, SECOND = timedelta(hours=1), timedelta(seconds=1)
# Case number, hidden repeat, practice.
SEATS = {"R1": [[-1, False, True], [7, False, False], [3, False, False], [7, True, False]]}
ADVICE = {"scale": 6, "advice": "class", "predict_network": True}
CHOICE = {"text": "Sure?", "kind": "scale", "options": ["no", "partly", "yes"]}
REMARK = {"text": "Remark", "kind": "text", "options": []}


def at(minutes: float) -> str:
    return (MADE + timedelta(minutes=minutes)).isoformat()


def answer(position: int, minutes: float, **changes: Any) -> dict[str, Any]:
    row = {"position": position, "revision": 1, "answer": 2, "seconds": 3.5, "idle": False}
    return row | {"made": at(minutes)} | changes


def content(**changes: Any) -> dict[str, Any]:
    reader = {
        "code": "R1",
        "consents": [{"experience": "9 years", "text": "I agree.", "made": at(10)}],
        "items": SEATS["R1"],
        "answers": [answer(1, 20), answer(2, 30), answer(2, 40, revision=2), answer(3, 50)],
    }
    payload = {
        "protocol": "P",
        "version": 1,
        "hash": "h",
        "seal": "s",
        "exported": EXPORTED.isoformat(),
        "head": {"number": 5, "hash": "a" * 64},
    }
    of_reader = {key: value for key, value in changes.items() if key not in payload}
    of_payload = {key: value for key, value in changes.items() if key in payload}
    return payload | of_payload | {"readers": [reader | of_reader]}


def check(design: dict[str, Any] | None = None, **changes: Any) -> BundleReader:
    (reader,) = check_readers(
        "the file",
        parse_payload("the file", json.dumps(content(**changes)).encode()),
        seats=SEATS,
        design=design or {"scale": 6},
        created_at=MADE,
        now=NOW,
    )
    return reader


def refusal(design: dict[str, Any] | None = None, **changes: Any) -> str:
    with pytest.raises(UserError) as caught:
        check(design, **changes)
    return str(caught.value)


def consent(**changes: Any) -> list[dict[str, Any]]:
    return [{"experience": "", "text": "t", "made": at(10)} | changes]


AGAIN = "nothing was imported. Ask the other site to export the answers again."
BETWEEN = "which is not between the creation of the bundle (2026-03-01 08:00 UTC) and"
CLOCK = "nothing was imported. Check the clock of the other site."


def test_what_is_read_is_what_was_written() -> None:
    reader = check()
    assert (reader.code, len(reader.consents), reader.stages) == ("R1", 1, ())
    assert (reader.consents[0].experience, reader.consents[0].text) == ("9 years", "I agree.")
    rows = [[item.case_number, item.repeat, item.practice] for item in reader.items]
    assert rows == SEATS["R1"]
    assert [(a.position, a.revision, a.made) for a in reader.answers] == [
        (1, 1, MADE + 20 * timedelta(minutes=1)),
        (2, 1, MADE + 30 * timedelta(minutes=1)),
        (2, 2, MADE + 40 * timedelta(minutes=1)),
        (3, 1, MADE + 50 * timedelta(minutes=1)),
    ]


def test_times_within_an_hour_of_creation_and_export() -> None:
    for exported, printed in ((MADE - HOUR, "2026-03-01 06:59"), (NOW + HOUR, "2026-03-04 11:00")):
        beyond = exported - SECOND if exported < MADE else exported + SECOND
        quiet = {"consents": consent(made=exported.isoformat()), "answers": []}
        check(exported=exported.isoformat(), **quiet)
        assert refusal(exported=beyond.isoformat(), **quiet) == (
            f"the file: the export is of {printed} UTC, {BETWEEN} 2026-03-04 10:00 UTC; {CLOCK}"
        )
    end = EXPORTED + HOUR
    for time, printed in ((MADE - HOUR, "2026-03-01 06:59"), (end, "2026-03-02 10:30")):
        beyond = time - SECOND if time < MADE else time + SECOND
        check(consents=consent(made=time.isoformat()), answers=[])
        assert refusal(consents=consent(made=beyond.isoformat()), answers=[]) == (
            f"the file: the consent of R1 is of {printed} UTC, {BETWEEN} 2026-03-02 09:30 UTC;"
            f" {CLOCK}"
        )
    late = answer(1, 20, made=end.isoformat())
    check(answers=[late])
    late["made"] = (end + SECOND).isoformat()
    assert refusal(answers=[late]).startswith(
        "the file: the answer of R1 at position 1, revision 1 is of 2026-03-02 10:30 UTC,"
    )


def test_entries_follow_each_other_within_an_hour() -> None:
    check(answers=[answer(1, -50), answer(2, -60)])
    assert refusal(consents=consent(made=at(40)), answers=[answer(1, -21)]) == (
        "the file: the answer of R1 at position 1, revision 1 is of 2026-03-01 07:39 UTC, before"
        f" the consent of R1 (2026-03-01 08:40 UTC); {AGAIN}"
    )
    check(consents=consent(made=at(40)), answers=[answer(1, -20)])
    # The first consent counts.
    check(consents=[*consent(made=at(10)), *consent(made=at(300))], answers=[answer(1, 20)])
    assert "before the answer of R1 at position 1, revision 1 (2026-03-01 11:20 UTC)" in refusal(
        answers=[answer(1, 200), answer(2, 139)]
    )


@pytest.mark.parametrize(
    ("accepted", "refused", "place"),
    [
        (
            {"consents": consent(experience="x" * 200)},
            {"consents": consent(experience="x" * 201)},
            "reader 1, row of consents 1, experience",
        ),
        (
            {"consents": consent(text="x" * 65536)},
            {"consents": consent(text="x" * 65537)},
            "reader 1, row of consents 1, text",
        ),
        ({"consents": consent() * 100}, {"consents": consent() * 101}, "reader 1, row of consents"),
        (
            {"answers": [answer(1, 20, seconds=86400)]},
            {"answers": [answer(1, 20, seconds=86400.001)]},
            "reader 1, row of answers 1, seconds",
        ),
        (
            {"answers": [answer(1, 20, seconds=0)]},
            {"answers": [answer(1, 20, seconds=-0.001)]},
            "reader 1, row of answers 1, seconds",
        ),
        (
            {"answers": [answer(1, 20, seconds=None)]},
            {"answers": [answer(0, 20)]},
            "reader 1, row of answers 1, position",
        ),
        ({"head": {"number": 0, "hash": "0" * 64}}, {"head": {"number": -1, "hash": "0" * 64}}, ""),
        ({}, {"head": {"number": 1, "hash": "0" * 65}}, "head, hash"),
        ({}, {"code": "x" * 33}, "reader 1, code"),
        ({}, {"items": [*SEATS["R1"][:3], [7, True, 0]]}, "reader 1, row of the order 4, column 3"),
    ],
)
def test_ranges_and_lengths(accepted: dict, refused: dict, place: str) -> None:
    check(**accepted)
    text = refusal(**refused)
    assert text.startswith(f"the file: {place or 'head, number'} is ") and text.endswith(AGAIN)


def test_long_values_are_cut_in_messages() -> None:
    # 60 letters of the value, its quotation mark among them.
    assert f"code is '{'x' * 59}...: String should have" in refusal(code="x" * 90)
    assert f"code is {'x' * 58!r}: String should have" in refusal(code="x" * 58)


def test_orders_of_answers() -> None:
    name = "the file: the answer of R1 at position"
    assert refusal(answers=[answer(1, 20), answer(3, 30)]) == (
        f"{name} 3, revision 1 does not follow position 1, revision 1, and the order has 4"
        f" positions; {AGAIN}"
    )
    assert refusal(answers=[answer(1, 20), answer(2, 30, revision=2)]) == (
        f"{name} 2, revision 2 does not follow position 1, revision 1, and the order has 4"
        f" positions; {AGAIN}"
    )
    # Practice cases can be corrected, but the last one only before the cases begin.
    assert refusal(answers=[answer(1, 20), answer(1, 21, revision=2)]) == (
        f"{name} 1, revision 2 corrects the last practice case, which cannot be reopened; {AGAIN}"
    )
    corrected = [answer(1, 20), answer(2, 30), answer(2, 31, revision=2)]
    check(answers=corrected)
    stages = [stage("question 1", 1, "2"), stage("question 1", 2, "3")]
    asked = {"questions": [CHOICE], "scale": 6}
    assert refusal(asked, answers=corrected, stages=stages) == (
        f"{name} 2, revision 2 is a correction, and answers of this study are final; {AGAIN}"
    )
    assert refusal({"scale": 2}, answers=[answer(1, 20, answer=3)]) == (
        f"{name} 1, revision 1 is 3; answers are 1 to 2; {AGAIN}"
    )
    check({"scale": 2}, answers=[answer(1, 20, answer=2)])
    assert refusal(answers=[answer(1, 20, seconds=0.1234)]) == (
        f"{name} 1, revision 1 took 0.1234 s; times are stored in milliseconds; {AGAIN}"
    )
    assert refusal(items=SEATS["R1"][:3]) == (
        f"the file: the order of R1 has 3 positions and must have 4; {AGAIN}"
    )
    assert refusal(items=[*SEATS["R1"][:2], [5, False, False], SEATS["R1"][3]]) == (
        f"the file: position 3 of R1 shows case 5, which is not the order of this reader; {AGAIN}"
    )
    assert refusal(code="R2") == (
        f"the file: the bundle has no seat for the reader 'R2', only for R1; {AGAIN}"
    )


def stage(name: str, position: int, value: str, minutes: float = 20, **more: Any) -> dict:
    row = {"position": position, "stage": name, "value": value, "seconds": None, "idle": False}
    return row | {"made": at(minutes)} | more


def test_stages_stand_before_and_after_their_answer() -> None:
    design = {"scale": 6, "questions": [CHOICE], "questionnaire": [REMARK]}
    answers = [answer(position, 10 * position) for position in range(1, 5)]
    asked = [stage("question 1", position, "3", 10 * position + 65) for position in range(1, 5)]
    closing = stage("closing question 1", 0, "", 300)
    reader = check(design, answers=answers, stages=[*asked, closing])
    assert [(s.stage, s.position, s.value) for s in reader.stages][3:] == [
        ("question 1", 4, "3"),
        ("closing question 1", 0, ""),
    ]
    # The answer at position 2 is 61 minutes before the question that it follows.
    asked[0]["made"] = at(81)
    assert refusal(design, answers=answers, stages=[*asked, closing]) == (
        "the file: the answer of R1 at position 2, revision 1 is of 2026-03-01 08:20 UTC, before"
        f" the question 1 of R1 at position 1 (2026-03-01 09:21 UTC); {AGAIN}"
    )
    first = [stage("first answer", 1, "4", 85), stage("prediction", 1, "2", 86)]
    assert refusal(ADVICE, answers=[answer(1, 20)], stages=first).startswith(
        "the file: the answer of R1 at position 1, revision 1 is of 2026-03-01 08:20 UTC, before"
        " the prediction of R1 at position 1 (2026-03-01 09:26 UTC)"
    )
    closing["made"] = at(-50)
    asked[0]["made"] = at(75)
    assert "the closing question 1 of R1 at position 0 is of 2026-03-01 07:10 UTC, before the" in (
        refusal(design, answers=answers, stages=[*asked, closing])
    )


def problem(
    rows: list[tuple[str, int, str]], answered: int, design: dict[str, Any], **more: Any
) -> str | None:
    values = {"seconds": None, "idle": False, "made": MADE} | more
    stages = [BundleStage(stage=s, position=p, value=v, **values) for s, p, v in rows]
    return stage_problem(stages, answered, 2, design)


def test_rows_of_stages_that_are_due() -> None:
    one = [("first answer", 1, "6"), ("prediction", 1, "2")]
    two = [("first answer", 2, "1"), ("prediction", 2, "1")]
    for rows, answered in ((one, 1), ([*one, *two[:1]], 1), ([*one, *two], 1), ([*one, *two], 2)):
        assert problem(rows, answered, ADVICE) is None
    assert problem(one[:1], 1, ADVICE) == "the prediction at position 1 is missing"
    assert problem([one[1], one[0]], 1, ADVICE) == "the first answer at position 1 is missing"
    assert problem([*one, two[1]], 1, ADVICE) == (
        "the 'prediction' at position 2 is not due after 1 answers"
    )
    # Without a prediction, and without advice.
    plain = {"scale": 6, "advice": "class", "predict_network": False}
    assert problem(one[:1], 1, plain) is None
    assert "not due" in str(problem(one[:1], 1, {"scale": 6}))
    asked = {"scale": 6, "questions": [CHOICE], "questionnaire": [REMARK, CHOICE]}
    rows = [("question 1", 1, "1"), ("question 1", 2, "3")]
    closing = [("closing question 1", 0, "anything"), ("closing question 2", 0, "2")]
    assert problem([*rows, *closing], 2, asked) is None and problem(rows, 2, asked) is None
    # The questionnaire is entered as a whole, after the last answer.
    assert problem([*rows, closing[0]], 2, asked) == (
        "the 'closing question 1' at position 0 is not due after 2 answers"
    )
    assert problem([rows[0], *closing], 1, asked) == (
        "the 'closing question 1' at position 0 is not due after 1 answers"
    )
    assert problem([*rows, closing[0], ("closing question 2", 0, "4")], 2, asked) == (
        "the closing question 2 at position 0 is '4'; answers are 1 to 3"
    )
    timed = "the question 1 at position 1 has a time, and questions have none"
    assert problem(rows[:1], 1, asked, seconds=1.0) == timed
    assert problem(rows[:1], 1, asked, idle=True) == timed


def test_values_of_stages() -> None:
    for value, is_right in (("0", False), ("1", True), ("6", True), ("7", False), ("x", False)):
        found = problem([("first answer", 1, value), ("prediction", 1, "1")], 1, ADVICE)
        expected = f"the first answer at position 1 is {value!r}; answers are 1 to 6"
        assert found == (None if is_right else expected)
    assert problem([("first answer", 1, "1"), ("prediction", 1, "3")], 1, ADVICE) == (
        "the prediction at position 1 is '3'; answers are 1 to 2"
    )
    two = ADVICE | {"scale": 2}
    assert "answers are 1 to 2" in str(
        problem([("first answer", 1, "3"), ("prediction", 1, "1")], 1, two)
    )
    rows = [("first answer", 1, "1"), ("prediction", 1, "1")]
    assert problem(rows, 1, ADVICE, seconds=1.2345) == (
        "the first answer at position 1 took 1.2345 s; times are stored in milliseconds"
    )
    assert problem(rows, 1, ADVICE, seconds=1.234) is None
    long = [("first answer", 1, "9" * 50)]
    assert problem([*long, ("prediction", 1, "1")], 1, ADVICE) == (
        f"the first answer at position 1 is {'9' * 40!r}; answers are 1 to 6"
    )

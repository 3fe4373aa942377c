"""Whatever a bundle cannot have produced is refused, though it is signed with the bundle's key."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core import store
from core.errors import UserError
from core.store.reading import bundle_table
from core.timestamps import utc_now
from evaluation.reading_study import site_bundles
from evaluation.reading_study.site_bundles.payload import check_readers, parse_payload
from support.bundle_answers import all_rows, answer_all, opened_answers, write_forged

Content = dict[str, Any]
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def issued(pair: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the study's record of the bundle, and an export of two readers with corrections."""
    folder = tmp_path_factory.mktemp("issued")
    away = Path(shutil.copytree(pair / "away", folder / "away"))
    answer_all(away, "R2", 11, corrections=True)
    file = folder / "answers.json"
    site_bundles.export_answers(away, file, "site")
    with store.read(pair / "home") as con:
        record = bundle_table.bundle_exports(con)["B1"]
    return {"record": record, "content": opened_answers(pair / "home", file), "now": utc_now()}


@pytest.fixture(scope="module")
def forgery(
    pair: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Path, Path, Path, Content]]:
    """Return study, bundle, a file, and the content of an export; nothing in the study changes."""
    folder = tmp_path_factory.mktemp("forgery")
    for name in ("home", "away"):
        shutil.copytree(pair / name, folder / name)
    home, away, file = folder / "home", folder / "away", folder / "answers.json"
    site_bundles.export_answers(away, file, "site")
    before = all_rows(home)
    yield home, away, file, opened_answers(home, file)
    assert all_rows(home) == before


def accepts(text: str, record: dict[str, Any], now: datetime, scale: int = 6) -> bool:
    """Return whether the check of the original study accepts a content."""
    try:
        check_readers(
            "file",
            parse_payload("file", text.encode()),
            seats=record["seats"],
            design={"scale": scale},
            created_at=datetime.fromisoformat(record["made"]),
            now=now,
        )
    except UserError as error:
        assert "nothing was imported" in str(error)
        return False
    return True


def is_time(value: object, low: datetime, high: datetime) -> bool:
    if type(value) is not str:
        return False
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        return False
    return time.tzinfo is None and low - HOUR <= time <= high + HOUR


def is_possible(content: Any, record: dict[str, Any], now: datetime) -> bool:
    """Return whether a bundle can have produced a content, by a simulation of its reading page."""
    made = datetime.fromisoformat(record["made"])
    keys = {"protocol", "version", "hash", "seal", "exported", "head", "readers"}
    if type(content) is not dict or set(content) != keys or type(content["version"]) is not int:
        return False
    if any(type(content[key]) is not str for key in ("protocol", "hash", "seal")):
        return False
    if not is_time(content["exported"], made, now):
        return False
    head = content["head"]
    if type(head) is not dict or set(head) != {"number", "hash"} or type(head["number"]) is not int:
        return False
    if head["number"] < 0 or type(head["hash"]) is not str or len(head["hash"]) != 64:
        return False
    if not set(head["hash"]) <= set("0123456789abcdef"):
        return False
    exported = datetime.fromisoformat(content["exported"])
    readers = content["readers"]
    if type(readers) is not list or not readers or not all(type(r) is dict for r in readers):
        return False
    codes = [reader.get("code") for reader in readers]
    return len({str(code) for code in codes}) == len(codes) and all(
        is_possible_reader(reader, record["seats"], made, exported) for reader in readers
    )


def is_possible_reader(
    reader: Content, seats: dict[str, Any], made: datetime, exported: datetime
) -> bool:
    if set(reader) != {"code", "consents", "items", "answers"}:
        return False
    if type(reader["code"]) is not str or reader["code"] not in seats:
        return False
    # As text, because True == 1.
    if json.dumps(reader["items"]) != json.dumps(seats[reader["code"]]):
        return False
    consents, answers = reader["consents"], reader["answers"]
    if type(consents) is not list or type(answers) is not list or not 1 <= len(consents) <= 100:
        return False
    for consent in consents:
        if type(consent) is not dict or set(consent) != {"experience", "text", "made"}:
            return False
        texts = [consent["experience"], consent["text"]]
        if any(type(text) is not str for text in texts) or not texts[1]:
            return False
        if len(texts[0]) > 200 or len(texts[1]) > 65536 or texts[0] != " ".join(texts[0].split()):
            return False
        if not is_time(consent["made"], made, exported):
            return False
    # The page shows one position at a time; it can go back by one case, not into practice.
    shown, practice = 1, sum(item[2] for item in reader["items"])
    revisions: dict[int, int] = {}
    last = datetime.fromisoformat(consents[0]["made"])
    fields = {"position", "revision", "answer", "seconds", "idle", "made"}
    for answer in answers:
        if type(answer) is not dict or set(answer) != fields or type(answer["idle"]) is not bool:
            return False
        if any(type(answer[name]) is not int for name in ("position", "revision", "answer")):
            return False
        seconds = answer["seconds"]
        if seconds is not None and (
            type(seconds) not in (int, float)
            or not 0 <= seconds <= 86400
            or seconds != round(seconds, 3)
        ):
            return False
        position = answer["position"]
        again = position == shown - 1 and not (shown > practice >= position)
        if not (position == shown <= len(reader["items"]) or again):
            return False
        if answer["revision"] != revisions.get(position, 0) + 1 or not 1 <= answer["answer"] <= 6:
            return False
        if not is_time(answer["made"], made, exported):
            return False
        time = datetime.fromisoformat(answer["made"])
        if time < last - HOUR:
            return False
        revisions[position], last, shown = answer["revision"], time, max(shown, position + 1)
    return True


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths to every value inside a JSON value."""
    children = value.items() if type(value) is dict else enumerate(value)
    found = []
    for key, child in children:
        found.append((*path, key))
        if type(child) in (dict, list):
            found += paths(child, (*path, key))
    return found


ODD_VALUES = st.one_of(
    st.sampled_from([None, True, False, "", "3", [], {}, 0, 1, 2, 6, 7, -1, 3.7, 3.0, -1e9, 86401]),
    st.sampled_from([1e300, 10**30, "1970-01-01T00:00:00", "2099-01-01T00:00:00", "x" * 14_000]),
    st.sampled_from(["R1", "R2", "R3"]),
    st.integers(-3, 40),
    st.floats(-10, 100_000, allow_nan=False),
    st.text(max_size=5),
)


@st.composite
def mutations(draw: st.DrawFn) -> Callable[[Content], None]:
    """Draw one to three changes of arbitrary places of a content."""
    steps = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["set", "delete", "double", "swap", "shift"]),
                st.integers(0, 10**6),
                ODD_VALUES,
            ),
            min_size=1,
            max_size=3,
        )
    )

    def change(content: Content) -> None:
        for kind, where, value in steps:
            places = paths(content)
            if not places:
                return
            # The depth is drawn first: else nearly all changes would fall on rows of answers.
            depths = sorted({len(place) for place in places})
            wanted = depths[where % len(depths)]
            at = [place for place in places if len(place) == wanted]
            *parents, key = at[where // 7 % len(at)]
            parent: Any = content
            for step in parents:
                parent = parent[step]
            if kind == "set":
                parent[key] = value
            elif kind == "delete":
                del parent[key]
            elif kind == "double" and type(parent) is list:
                parent.insert(key, copy.deepcopy(parent[key]))
            elif kind == "swap" and type(parent) is list:
                other = where % len(parent)
                parent[key], parent[other] = parent[other], parent[key]
            elif kind == "shift" and type(parent[key]) is int:
                parent[key] += 1

    return change


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(change=mutations())
def test_exactly_what_a_bundle_can_produce_is_accepted(
    issued: dict[str, Any], change: Callable[[Content], None]
) -> None:
    content = copy.deepcopy(issued["content"])
    change(content)
    expected = is_possible(content, issued["record"], issued["now"])
    assert accepts(json.dumps(content), issued["record"], issued["now"]) == expected


def test_simulation_of_the_page_accepts_the_real_export(issued: dict[str, Any]) -> None:
    assert is_possible(issued["content"], issued["record"], issued["now"])
    assert accepts(json.dumps(issued["content"]), issued["record"], issued["now"])


def test_binary_scale_has_two_answers(issued: dict[str, Any]) -> None:
    content = copy.deepcopy(issued["content"])
    for reader in content["readers"]:
        for answer in reader["answers"]:
            answer["answer"] = 1 + answer["answer"] % 2
    assert accepts(json.dumps(content), issued["record"], issued["now"], scale=2)
    content["readers"][0]["answers"][9]["answer"] = 3
    assert not accepts(json.dumps(content), issued["record"], issued["now"], scale=2)


@pytest.mark.parametrize(("minutes", "accepted"), [(50, True), (100, False)])
def test_time_order_allows_for_a_corrected_clock(
    issued: dict[str, Any], minutes: int, accepted: bool
) -> None:
    """An answer before the one it follows: a clock may be set back, by less than an hour."""
    made = datetime.fromisoformat(issued["record"]["made"])
    record = issued["record"] | {"made": (made - 5 * HOUR).isoformat()}
    content = copy.deepcopy(issued["content"])
    answer = content["readers"][0]["answers"][9]
    earlier = datetime.fromisoformat(answer["made"]) - timedelta(minutes=minutes)
    answer["made"] = earlier.isoformat()
    assert accepts(json.dumps(content), record, issued["now"]) is accepted


@pytest.mark.parametrize(("minutes", "accepted"), [(50, True), (100, False)])
def test_consent_is_first_in_the_time_order(
    issued: dict[str, Any], minutes: int, accepted: bool
) -> None:
    """The first answer is dated before the consent; all answers follow each other."""
    made = datetime.fromisoformat(issued["record"]["made"])
    record = issued["record"] | {"made": (made - 5 * HOUR).isoformat()}
    content = copy.deepcopy(issued["content"])
    reader = content["readers"][0]
    consent = datetime.fromisoformat(reader["consents"][0]["made"])
    for number, answer in enumerate(reader["answers"]):
        given = consent - timedelta(minutes=minutes) + timedelta(seconds=number)
        answer["made"] = given.isoformat()
    assert is_possible(content, record, issued["now"]) is accepted
    assert accepts(json.dumps(content), record, issued["now"]) is accepted


def _answer(row: int, **values: Any) -> Callable[[Content], None]:
    return lambda content: content["readers"][0]["answers"][row].update(values)


def _reader(**values: Any) -> Callable[[Content], None]:
    return lambda content: content["readers"][0].update(values)


def _consent(**values: Any) -> Callable[[Content], None]:
    return lambda content: content["readers"][0]["consents"][0].update(values)


def _rows(name: str, change: Callable[[list[Any]], object]) -> Callable[[Content], None]:
    return lambda content: change(content["readers"][0][name])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_answer(7, answer=3.7), "reader 1, row of answers 8, answer is 3.7"),
        (_answer(7, answer=True), "reader 1, row of answers 8, answer is True"),
        (_answer(7, answer="3"), "row of answers 8, answer is '3'"),
        (_answer(7, answer=0), "row of answers 8, answer is 0"),
        (_answer(7, answer=7), "row of answers 8, answer is 7"),
        (_answer(7, seconds=-1e9), "row of answers 8, seconds is -1000000000.0"),
        (_answer(7, seconds=86400.5), "row of answers 8, seconds is 86400.5"),
        (_answer(7, seconds=True), "row of answers 8, seconds is True"),
        (_answer(7, seconds=1.23456), "position 8, revision 1 took 1.23456 s"),
        (_answer(7, idle=1), "row of answers 8, idle is 1"),
        (_answer(7, made="1970-01-01T00:00:00"), "position 8, revision 1 is of 1970-01-01 00:00"),
        (_answer(7, made="2099-01-01T00:00:00"), "position 8, revision 1 is of 2099-01-01 00:00"),
        (_answer(7, made="2026-11-27T12:00:00+00:00"), "row of answers 8, made is"),
        (_answer(7, made=1795780000), "row of answers 8, made is 1795780000"),
        (_answer(7, revision=2), "position 8, revision 2 does not follow position 7, revision 1"),
        (_answer(7, position=99), "position 99, revision 1 does not follow"),
        (_answer(7, score=0.9), "row of answers 8, score is 0.9: Extra inputs"),
        (_rows("answers", lambda rows: rows.pop(7)), "position 9, revision 1 does not follow"),
        (_rows("answers", lambda rows: rows[7].pop("idle")), "row of answers 8, idle is"),
        (
            _rows("answers", lambda rows: rows.append(rows[30] | {"position": 32})),
            "the order has 31 positions",
        ),
        (
            _rows("answers", lambda rows: rows.insert(5, rows[4] | {"revision": 2})),
            "corrects the last practice case",
        ),
        (_rows("items", lambda rows: rows.pop()), "has 30 positions and must have 31"),
        (
            _rows("items", lambda rows: rows[9].__setitem__(0, 999)),
            "position 10 of R1 shows case 9",
        ),
        (
            _rows("items", lambda rows: rows[9].__setitem__(1, None)),
            "row of the order 10, column 2 is None",
        ),
        (_reader(code="R9"), "no seat for the reader 'R9', only for R1, R2"),
        (_reader(code="<b>"), "no seat for the reader '<b>'"),
        (_reader(items=[], answers=[]), "has 0 positions and must have 31"),
        (_consent(experience="x" * 14_000), "row of consents 1, experience is 'xxx"),
        (_consent(experience=" 9  years"), "experience of R1 has stray blanks"),
        (_consent(text="x" * 70_000), "row of consents 1, text is 'xxx"),
        (_consent(text=""), "row of consents 1, text is ''"),
        (_consent(made="2020-01-01T00:00:00"), "the consent of R1 is of 2020-01-01"),
        (_reader(consents=[]), "reader 1, row of consents is \\[\\]"),
        (lambda c: c["readers"].append(c["readers"][0]), "a reader is listed twice"),
        (lambda c: c.update(readers=[]), "reader is \\[\\]"),
        (lambda c: c.pop("readers"), "reader is"),
        (lambda c: c.update(version=2), "version 2 .* as the bundle was issued"),
        (lambda c: c.update(hash="0" * 64), "as the bundle was issued"),
        (lambda c: c.update(seal="x"), "as the bundle was issued"),
        (lambda c: c.update(exported="2099-01-01T00:00:00"), "the export is of 2099-01-01"),
        (lambda c: c.update(exported="2020-01-01T00:00:00"), "the export is of 2020-01-01"),
    ],
)
def test_impossible_value_is_refused_with_its_row(
    forgery: tuple[Path, Path, Path, Content], change: Callable[[Content], None], message: str
) -> None:
    home, away, file, whole = forgery
    content = copy.deepcopy(whole)
    change(content)
    write_forged(away, file, content)
    with pytest.raises(UserError, match=message) as error:
        site_bundles.import_answers(home, file, "team")
    assert str(file) in str(error.value) and "nothing was imported" in str(error.value)


@pytest.mark.parametrize("content", [[], None, 3, "x", {}])
def test_content_of_another_form_is_refused(
    forgery: tuple[Path, Path, Path, Content], content: Any
) -> None:
    home, away, file, _ = forgery
    write_forged(away, file, content)
    with pytest.raises(UserError, match="nothing was imported"):
        site_bundles.import_answers(home, file, "team")


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", '"\\ud800"'])
def test_text_that_no_bundle_writes_is_refused(issued: dict[str, Any], token: str) -> None:
    """JSON outside the standard, which other readers of JSON let pass."""
    text = json.dumps(issued["content"]).replace('"seconds": 3.5', f'"seconds": {token}', 1)
    assert token in text and not accepts(text, issued["record"], issued["now"])

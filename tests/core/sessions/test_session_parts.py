"""Parts of the sessions by themselves: tokens, positions, steps, orders, annotation queues."""

from __future__ import annotations

import hashlib
import hmac
import math
import os
import random
import stat
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.errors import RequestRefused, UserError
from core.sessions import group_commit, reading_session, reply_times, tokens
from core.sessions.annotation_session import (
    AnnotationQueue,
    AnnotationSession,
    QueueSlot,
    _with_status,
    queue_order,
)
from core.sessions.case_order import assign_blocks, reader_case_order
from core.sessions.consent import consent_paragraphs
from core.sessions.positions import current_position, find_stored_answer, previous_position
from core.sessions.reading.crossover import crossover_blocks, crossover_case_order
from core.sessions.reading.steps import (
    current_step,
    locks_answers,
    valid_question_answers,
    washout_end,
)
from core.store.blinded_queries import ReadingPosition
from core.store.reading.protocol_table import Protocol

NOW = datetime(2026, 4, 30, 12)


def token_of(*parts: str) -> str:
    """Return the token of parts that are written as texts, by the documented rule."""
    return hmac.new(b"key", "|".join(parts).encode(), hashlib.sha256).hexdigest()[:32]


def test_tokens_depend_on_every_part_and_the_secret() -> None:
    token = tokens.one_time_token(b"key", "read", 7, True)
    assert token == token_of("read", "7", "True") and len(token) == 32
    others = [
        tokens.one_time_token(b"kez", "read", 7, True),
        tokens.one_time_token(b"key", 7, "read", True),
        tokens.one_time_token(b"key", "read", 8, True),
    ]
    assert len({token, *others}) == 4


def test_secret_key_is_made_once_and_kept(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        key = tokens.load_secret_key(tmp_path)
    finally:
        os.umask(before)
    file = tmp_path / ".key"
    assert len(key) == 32 and bytes.fromhex(file.read_text()) == key
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert tokens.load_secret_key(tmp_path) == key
    file.write_text(f" {'ab' * 32}\n")
    assert tokens.load_secret_key(tmp_path) == b"\xab" * 32
    file.write_text("a" * 63)
    with pytest.raises(UserError, match="is damaged; delete it .everybody then signs in again"):
        tokens.load_secret_key(tmp_path)


@pytest.mark.parametrize(
    ("raw", "seconds"),
    [
        (0, 0.0), (2.34567, 2.346), (86_400, 86_400.0), (86_400.001, None), (-0.001, None),
        (math.nan, None), (math.inf, None), (True, None), ("3", None), (None, None), ([1], None),
    ],
)  # fmt: skip
def test_plausible_times(raw: object, seconds: float | None) -> None:
    assert tokens.valid_seconds(raw) == seconds


def test_only_mistakes_in_an_answer_are_shown() -> None:
    with pytest.raises(RequestRefused, match="^wrong$") as refused, tokens.refuse_invalid_answer():
        raise UserError("wrong")
    assert refused.value.code == "answer"
    with pytest.raises(RequestRefused) as refused, tokens.refuse_invalid_answer():
        raise RequestRefused("stale", "late")
    assert refused.value.code == "stale"
    with pytest.raises(KeyError), tokens.refuse_invalid_answer():
        raise KeyError("x")


@pytest.mark.parametrize(
    ("elapsed", "wait"),
    [(0.0, 0.03), (0.01, 0.02), (0.03, 0.0), (0.031, 0.029), (0.06, 0.0), (0.1, 0.02)],
)
def test_replies_leave_at_multiples_of_30_ms(elapsed: float, wait: float) -> None:
    assert reply_times.seconds_until_reply(elapsed) == pytest.approx(wait)


def position_of(number: int, revision: int = 0, **changes: Any) -> ReadingPosition:
    values: dict[str, Any] = {
        "position": number, "token": f"t{number}", "case_number": number, "practice": False,
        "revision": revision, "answer": 3 if revision else None, "made": NOW if revision else None,
    }  # fmt: skip
    return ReadingPosition(**(values | changes))


def test_current_and_previous_position() -> None:
    def found(revisions: str) -> tuple[int | None, int | None]:
        positions = [position_of(i, int(digit)) for i, digit in enumerate(revisions, start=1)]
        pair = current_position(positions), previous_position(positions)
        return tuple(one and one.position for one in pair)

    assert found("") == (None, None) and found("00") == (1, None) and found("100") == (2, 1)
    assert found("120") == (3, 2) and found("12") == (None, 2) and found("101") == (2, 1)


def test_previous_position_is_of_the_same_kind() -> None:
    practice, first, second = position_of(1, 1, practice=True), position_of(2), position_of(3)
    previous = reading_session._previous_of_kind
    assert previous([practice, first]) is None
    assert previous([practice, replace(first, practice=True)]) == practice
    done = replace(first, revision=1)
    assert previous([practice, done, second]) == done
    # After the last case the last one stays open to a correction.
    assert previous([practice, done]) == done and previous([first]) is None


def test_stored_answer_needs_token_and_answer() -> None:
    positions = [position_of(1, 1), position_of(2, 2, answer=5), position_of(3)]

    def stored(token: str, answer: object) -> int | None:
        one = find_stored_answer(positions, token, answer, lambda p: f"{p.token}/{p.revision}")
        return one and one.position

    assert (stored("t1/1", 3), stored("t2/2", 5)) == (1, 2)
    assert stored("t1/1", 5) is stored("t2/1", 5) is stored("t3/0", None) is None


def test_step_of_a_case() -> None:
    steps = [
        current_step(design, position)
        for design in (
            {}, {"advice": "none"}, {"advice": "class"},
            {"advice": "class", "predict_network": True}, {"predict_network": True},
        )
        for position in (
            position_of(1), position_of(1, first=2), position_of(1, first=2, prediction=1),
            position_of(1, 1), position_of(1, 1, first=2),
        )
    ]  # fmt: skip
    final = ["final"] * 5
    advised = ["first", "final", "final", "final", "final"]
    asked = ["first", "prediction", "final", "final", "final"]
    assert steps == [*final, *final, *advised, *asked, *final]
    designs = ({}, {"questions": []}, {"questions": [{}]}, {"advice": "none"}, {"advice": "class"})
    assert [locks_answers(design) for design in designs] == [False, False, True, False, True]


def test_pause_counts_from_the_last_answer_of_earlier_periods() -> None:
    design, week = {"washout_days": 7}, timedelta(days=7)
    practice = position_of(1, 1, practice=True, made=NOW + timedelta(days=3))
    first = position_of(2, 1, period=0, made=NOW)
    second = position_of(3, 1, period=0, made=NOW - timedelta(days=1))
    third, fourth = position_of(4, period=1), position_of(5, period=1)
    order = [practice, first, second, third, fourth]
    assert washout_end(design, order, NOW) == NOW + week
    assert washout_end(design, order, NOW + week - timedelta(seconds=1)) == NOW + week
    assert washout_end(design, order, NOW + week) is None
    assert washout_end({}, order, NOW) is washout_end({"washout_days": 0}, order, NOW) is None
    # Within a period nothing has to wait, nor after the last case, nor in the first period.
    begun = [first, second, replace(third, revision=1, made=NOW + timedelta(days=8)), fourth]
    assert washout_end(design, begun, NOW + timedelta(days=8)) is None
    assert washout_end(design, begun[:3], NOW) is None
    assert washout_end(design, [first, position_of(3, period=0)], NOW) is None
    assert washout_end(design, [first, position_of(3)], NOW) is None


def test_answers_to_questions() -> None:
    choice = {"text": "How?", "kind": "choice", "options": ["a", "b"]}
    text = {"text": "Why?", "kind": "text", "options": []}
    for answer in (1, 2):
        assert valid_question_answers([choice], [answer]) == [str(answer)]
    assert valid_question_answers([text, choice], ["x" * 2000, 2]) == ["x" * 2000, "2"]
    assert valid_question_answers([text], [""]) == [""] and valid_question_answers([], None) == []
    for answer in (0, 3, True, "1", 1.0, None):
        with pytest.raises(RequestRefused, match="'How.' must be a number from 1 to 2") as refused:
            valid_question_answers([choice], [answer])
        assert refused.value.code == "answer"
    for answer in ("x" * 2001, 1, None):
        with pytest.raises(RequestRefused, match="must be a text of at most 2,000 characters"):
            valid_question_answers([text], [answer])
    for answers in (None, [], [1, 1], (1,), "1", {0: 1}):
        with pytest.raises(RequestRefused, match="every question; there are 1.") as refused:
            valid_question_answers([choice], answers)
        assert refused.value.code == "answer"


def test_crossover_orders_each_period_by_the_rule_of_its_blocks() -> None:
    generator = random.Random(5)
    periods = [row % 3 for row in range(75)]
    generator.shuffle(periods)
    arms = [generator.choice("abc") for _ in range(75)]
    patients = [generator.randrange(30) for _ in range(75)]
    texts = [(generator.choice("tuvwxyz"),) for _ in range(75)]
    blocks = crossover_blocks(periods, arms, patients, texts, 40)
    for period in range(3):
        rows = [row for row in range(75) if periods[row] == period]
        within = assign_blocks(
            [arms[row] for row in rows],
            [patients[row] for row in rows],
            [texts[row] for row in rows],
            40 + period,
        )
        assert max(within) == 3
        assert [blocks[row] for row in rows] == [100_000 * period + block for block in within]
    numbers = generator.sample(range(200), 75)
    for rotation in (0, 2, 4):
        order = crossover_case_order(numbers, patients, texts, blocks, 40, "R1", rotation)
        expected = []
        for period in range(3):
            rows = [row for row in range(75) if (periods[row] + rotation) % 3 == period]
            own = reader_case_order(
                [numbers[row] for row in rows],
                [patients[row] for row in rows],
                [texts[row] for row in rows],
                40,
                f"R1, period {period}",
                blocks=[blocks[row] for row in rows],
            )
            expected += [(number, period) for number, _ in own]
        assert order == expected


def test_texts_have_the_number_of_the_design() -> None:
    def padded(case_texts: tuple[str, ...], **design: object) -> tuple[str, ...]:
        protocol = Protocol(
            protocol="P", version=1, state="frozen", design=design, lint=[], hash="", run="",
            simulated=False, who="", made=NOW,
        )  # fmt: skip
        return reading_session._padded(case_texts, protocol)

    assert padded(("a",)) == ("a", "", "") and padded(()) == ("", "", "")
    assert padded(("a", "b", "c", "d")) == ("a", "b", "c")
    assert padded(("a", "b"), texts=1) == ("a",) and padded(("a",), texts=5) == ("a", *[""] * 4)
    assert padded(("a", "b"), texts=0) == ("a",) and padded((), texts=0) == ()


@pytest.mark.parametrize(
    ("units", "repeats", "count"),
    [(20, 4, 4), (20, 9, 5), (13, 2, 2), (3, 2, 0), (8, 1, 1), (0, 2, 0)],
)
def test_queue_repeats_the_first_units_in_the_last_third(
    units: int, repeats: int, count: int
) -> None:
    ids = [7 * unit + 3 for unit in range(units)]
    order = queue_order(ids, "seed", repeats)
    digests = {unit: hashlib.sha256(f"seed|{unit}".encode()).hexdigest() for unit in ids}
    first = sorted(ids, key=digests.__getitem__)
    assert [unit for unit, repeat in order if not repeat] == first
    assert [unit for unit, repeat in order if repeat] == first[:count]
    # The last repeat stands last; between two of them are equally many other units.
    if count:
        step = max(1, units // (3 * count))
        places = [len(order) - order.index((unit, True)) for unit in first[:count]]
        assert places == [1 + (count - 1 - k) * (step + 1) for k in range(count)]


def slot_of(**changes: Any) -> QueueSlot:
    values = {"run": "r", "unit": 4, "repeat": False, "practice": False, "number": 3}
    return QueueSlot(**(values | changes))


def test_state_of_a_slot() -> None:
    versions = {(4, False, False): 2, (4, True, False): 1, (4, False, True): 3}
    skipped = {(4, False), (4, True), (5, False)}

    def state(slot: QueueSlot, reopened: set[int] = frozenset()) -> tuple[str, int]:
        found = _with_status(slot, versions, skipped, set(reopened))
        assert replace(found, status="todo", version=0) == slot
        return found.status, found.version

    assert state(slot_of()) == ("done", 2) and state(slot_of(), {4}) == ("skipped", 2)
    # A repeat and practice keep their answers when the unit is shown again.
    assert state(slot_of(repeat=True), {4}) == ("done", 1)
    assert state(slot_of(practice=True)) == ("done", 3)
    assert state(slot_of(unit=5)) == ("skipped", 0) and state(slot_of(unit=6)) == ("todo", 0)
    assert state(slot_of(unit=5, practice=True)) == ("todo", 0)
    assert state(slot_of(unit=5, repeat=True)) == ("todo", 0)


def test_practice_comes_first_and_does_not_count() -> None:
    practice = slot_of(practice=True, number=0)
    queue = AnnotationQueue("r", (practice, slot_of(number=1, status="done")))
    assert queue.next() == practice and queue.finished
    assert queue.next(queue.slots[1]) == practice and queue.real == queue.slots[1:]
    done = AnnotationQueue("r", (replace(practice, status="done"), slot_of(status="skipped")))
    assert not done.finished and done.next() == done.slots[1]
    assert AnnotationQueue("r", ()).finished and AnnotationQueue("r", ()).next() is None


def test_names_and_tokens_of_slots() -> None:
    session = AnnotationSession("A1", b"key", 4)
    assert (session.code, session.shows_patch_labels) == ("A1", False)
    slot = slot_of(repeat=True, version=2)
    assert session.slot_name(slot) == token_of("slot", "r", "A1", "4", "True", "False")
    assert session.slot_token(slot) == token_of("annotate", "r", "A1", "4", "True", "False", "3")
    queue = AnnotationQueue("r", ())
    assert session.queue_name(queue) == token_of("dissection", "r", "A1")
    assert AnnotationSession("A1", b"key", 4, True).shows_patch_labels


def test_writer_is_a_thread_that_does_not_keep_the_program_alive(tmp_path: Path) -> None:
    writer = group_commit.GroupCommitWriter(tmp_path)
    thread = writer._thread
    assert (thread.name, thread.daemon, thread.is_alive()) == ("group-commit", True, True)
    writer.close()
    assert not thread.is_alive()


def test_batches_hold_what_is_queued_up_to_64(tmp_path: Path) -> None:
    writer = group_commit.GroupCommitWriter(tmp_path)
    writer.close()
    entries = [(lambda con: None, group_commit.Future()) for _ in range(70)]
    for entry in entries[:65]:
        writer._queue.put(entry)
    assert writer._next_batch() == (entries[:64], False)
    assert writer._next_batch() == (entries[64:65], False)
    for entry in (*entries[65:67], None, *entries[67:]):
        writer._queue.put(entry)
    assert writer._next_batch() == (entries[65:67], True)
    assert writer._next_batch() == (entries[67:], False)
    writer._queue.put(None)
    assert writer._next_batch() == ([], True)


def test_paragraphs_of_a_consent_text() -> None:
    text = "## A  b ##\r\n\r\n\n  c\n d  \n \t\n#\n\ne"
    assert consent_paragraphs(text) == ["A b ##", "c d", "e"]
    assert consent_paragraphs(" \n\n#\n") == []

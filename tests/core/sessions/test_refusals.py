"""Requests that a session must refuse, and the order of skipped units and hidden repeats."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused
from core.sessions.annotation_session import AnnotationQueue, AnnotationSession, QueueSlot
from core.sessions.audit_session import AuditSession
from core.sessions.reading_session import ReadingSession
from core.sessions.spaced_order import PATIENT_GAP, spaced_case_order
from core.sessions.tokens import load_secret_key
from core.store import participant_table
from core.store.connection import Connection
from core.store.reading import protocol_table, reading_table
from support import synthetic_study


def test_without_consent_no_order_and_no_answer(study: Path) -> None:
    reader = ReadingSession("R1", load_secret_key(study))
    annotator = AnnotationSession("A1", load_secret_key(study), 2)
    with store.write(study) as con:
        participant_table.add_participant(con, "R1", "reader")
        participant_table.add_participant(con, "A1", "annotator")
        synthetic_study.add_audit(con)
        queue = annotator.queue(con)
        # Everything but the consent is right, tokens and answers included.
        unit_token = annotator.slot_token(queue.next())
        mass = synthetic_study.mass_answer()
        refused: list[Callable[[], object]] = [
            lambda: reader.start_study(con, ""),
            lambda: annotator.save_answer(con, unit_token, mass, 1.0),
            lambda: AuditSession(annotator, load_secret_key(study)).current_audit(con),
        ]
        for request in refused:
            with pytest.raises(RequestRefused) as error:
                request()
            assert error.value.code == "consent"
        assert protocol_table.current_reading_study(con, "R1") is None

        participant_table.record_consent(con, "R1", "", "text")
        participant_table.record_consent(con, "A1", "", "text")
        reader.start_study(con, "")
        annotator.save_answer(con, unit_token, mass, 1.0)
        con.execute("DELETE FROM consents")
        protocol = reader.protocol(con)
        token = reader.displayed_case(con, protocol).token
        with pytest.raises(RequestRefused) as error:
            reader.save_answer(con, token, 3, 1.0, False)
        assert error.value.code == "consent"
        assert con.execute("SELECT count(*) FROM answers").fetchone() == (0,)
        participant_table.record_consent(con, "R1", "", "text")
        reader.save_answer(con, token, 3, 1.0, False)
        assert con.execute("SELECT count(*) FROM answers").fetchone() == (1,)


def test_practice_units_cannot_be_skipped(study: Path) -> None:
    session = AnnotationSession("A1", load_secret_key(study), 2)
    with store.write(study) as con:
        participant_table.add_participant(con, "A1", "annotator")
        queue = session.queue(con)
        practice = [slot for slot in queue.slots if slot.practice]
        assert len(practice) == 2
        for slot in practice:
            with pytest.raises(RequestRefused) as error:
                session.skip_slot(con, session.slot_token(slot))
            assert error.value.code == "answer"
        assert con.execute("SELECT count(*) FROM skips").fetchone() == (0,)


def queue_of(statuses: str) -> AnnotationQueue:
    """Return a queue without practice; t, s and d for to do, skipped and done."""
    names = {"t": "todo", "s": "skipped", "d": "done"}
    slots = tuple(
        QueueSlot(
            run="run",
            unit=100 + i,
            repeat=False,
            practice=False,
            number=i,
            status=names[status],
        )
        for i, status in enumerate(statuses, start=1)
    )
    return AnnotationQueue("run", slots)


@pytest.mark.parametrize(
    ("statuses", "after", "following"),
    [
        ("ttt", None, 1),
        ("dtt", 1, 2),
        ("tdt", 2, 3),
        ("ttd", 3, 1),  # nothing behind: the first open one
        ("sdst", 2, 4),  # open ones come before skipped ones
        ("sds", 2, 1),  # after an answered unit, the first skipped one
        ("sss", 1, 2),  # after a skipped unit, the next skipped one
        ("sss", 2, 3),
        ("sss", 3, 1),  # and from the last one to the first
        ("dds", 3, 3),
        ("ddd", 3, None),
    ],
)
def test_next_unit(statuses: str, after: int | None, following: int | None) -> None:
    queue = queue_of(statuses)
    slot = queue.next(None if after is None else queue.slots[after - 1])
    assert (slot and slot.number) == following


@pytest.mark.parametrize("seed", range(8))
def test_hidden_repeats_keep_their_distance(seed: int) -> None:
    n, repeats = 44, 10
    order = spaced_case_order(
        [f"p{i}" for i in range(n)], [f"t{i}" for i in range(n)], seed, repeats
    )
    assert sorted(order) == sorted([(i, False) for i in range(n)] + [c for c in order if c[1]])
    for case in (index for index, is_repeat in order if is_repeat):
        first, again = order.index((case, False)), order.index((case, True))
        assert again - first >= PATIENT_GAP and again >= n // 2


def open_study(con: Connection, name: str, simulated: bool) -> None:
    for state in ("design", "checked", "frozen"):
        protocol_table.append_protocol_state(
            con,
            protocol=name,
            version=1,
            state=state,
            design={"name": name, "seed": 5, "scale": 6, "repeats": 0},
            hash="" if state == "design" else "HASH",
            simulated=simulated,
        )
        if state == "design":
            reading_table.add_reading_cases(con, name, 1, [])


@pytest.mark.parametrize("simulated_is_later", [False, True])
def test_studies_of_people_come_before_simulated_ones(
    empty: Path, simulated_is_later: bool
) -> None:
    with store.write(empty) as con:
        for simulated in (not simulated_is_later, simulated_is_later):
            open_study(con, "SIMULATED" if simulated else "PEOPLE", simulated)
        assert protocol_table.newest_open_protocol(con).protocol == "PEOPLE"
        assert protocol_table.next_reading_study(con, "R1").protocol == "PEOPLE"

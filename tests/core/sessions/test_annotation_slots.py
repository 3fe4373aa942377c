"""Slots of an annotator's queues: whose answer is whose, and where practice belongs."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused
from core.sessions.annotation_session import AnnotationSession
from core.store import annotation_table, participant_table
from core.store.labels import assignment_table
from support import synthetic_study
from support.synthetic_study import DISSECT, mass_answer


def practise(con, unit: int, run: str) -> None:
    """Append an answer of A1 on a practice unit."""
    annotation_table.append_annotation(
        con, run=run, unit=unit, code="A1", answer=mass_answer(), seconds=None,
        annotation_id=f"p{unit}", practice=True,
    )  # fmt: skip


def test_latest_answer_on_a_slot_of_the_queue(study: Path) -> None:
    with store.write(study) as con:
        participant_table.add_participant(con, "A1", "annotator")
        participant_table.record_consent(con, "A1", "", "yes")
        session = AnnotationSession("A1", b"key", 4, patch_labels_shown=True)
        queue = session.queue(con)
        practice = queue.slots[0]
        repeat = next(slot for slot in queue.real if slot.repeat)
        first = next(s for s in queue.real if s.unit == repeat.unit and not s.repeat)
        margins = {"spiculated": practice, "obscured": repeat, "indistinct": first}
        for margin, slot in margins.items():
            saved, answered = session.save_answer(
                con, session.slot_token(slot), mass_answer(margin), 2.0004
            )
            assert answered == slot and saved.annotation_id == session.slot_token(slot)
        for margin, slot in margins.items():
            answer = session.latest_answer(con, slot)
            assert answer is not None and f"with {margin} margin" in answer["label"]
        frame = annotation_table.load_annotations(con)
        assert frame["seconds"].tolist() == [2.0] * 3 and all(frame["patch_labels_shown"])
        assert frame["repeat"].tolist() == [False, True, False]
        assert frame["practice"].tolist() == [True, False, False]
        with pytest.raises(RequestRefused, match="was answered in another window"):
            session.save_answer(con, session.slot_token(first), mass_answer(), 1.0)


def test_practice_stays_with_the_dissection_where_it_was_done(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.add_dissection(con, "dissect-b", "vgg16", "last", 1)
        participant_table.add_participant(con, "A1", "annotator", dissection=DISSECT)
        participant_table.record_consent(con, "A1", "", "yes")
        session = AnnotationSession("A1", b"key", 4)
        assign = assignment_table.assign_dissections
        assign(con, "A1", ["dissect-b"], "T1")
        assign(con, "A1", ["dissect-b", DISSECT], "T1")

        def practice() -> dict[str, int]:
            return {
                queue.run: sum(slot.practice for slot in queue.slots)
                for queue in session.queues(con)
            }

        assert practice() == {"dissect-b": 2, DISSECT: 0}
        practise(con, 30, DISSECT)
        assert practice() == {"dissect-b": 0, DISSECT: 2}
        practise(con, 31, "dissect-b")
        assert practice() == {"dissect-b": 2, DISSECT: 2}
        # The queue of the last answer is the one that goes on, else the first one.
        assert session.queue(con).run == "dissect-b"
        con.execute("UPDATE annotations SET made = made + INTERVAL 1 DAY WHERE unit = 30")
        assert session.queue(con).run == DISSECT
        assert session.queue(con, "dissect-b").run == "dissect-b"
        assign(con, "A1", ["dissect-b"], "T1")
        assert session.queue(con).run == "dissect-b"
        with pytest.raises(RequestRefused, match="no longer yours to name") as refused:
            session.queue(con, DISSECT)
        assert refused.value.code == "stale"

"""Annotations are append-only; a session shows one annotator's work and saves once per token."""

from __future__ import annotations

from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.lexicon import annotation_answers
from core.sessions.annotation_session import AnnotationSession, queue_order
from core.sessions.tokens import load_secret_key, one_time_token
from core.store import annotation_table, participant_table, unit_table
from core.store.labels import decision_table, label_states
from support import synthetic_study

RUN = synthetic_study.DISSECT


def start_session(study: Path, code: str = "A1", repeats: int = 4) -> AnnotationSession:
    with store.write(study) as con:
        if participant_table.participant_role(con, code) is None:
            participant_table.add_participant(con, code, "annotator")
            participant_table.record_consent(con, code, "", "yes")
    return AnnotationSession(code, load_secret_key(study), repeats)


def finish_practice(con, session: AnnotationSession) -> None:
    for slot in session.queue(con).slots[:2]:
        assert slot.practice
        session.save_answer(con, session.slot_token(slot), annotation_answers.empty_answer(), 1.0)


def test_versions_are_appended(study: Path) -> None:
    with store.write(study) as con:
        first = synthetic_study.annotate(con, "A1", 3, synthetic_study.mass_answer("spiculated"))
        second = synthetic_study.annotate(con, "A1", 3, synthetic_study.mass_answer("obscured"))
        assert (first.version, second.version) == (1, 2)
        assert len(annotation_table.load_annotations(con, RUN, versions=True)) == 2
        latest = annotation_table.load_annotations(con, RUN)
        assert [a["label"] for a in latest["answer"]] == ["Mass with obscured margin, suspicious"]
        same = annotation_table.append_annotation(
            con,
            run=RUN,
            unit=3,
            code="A1",
            answer=synthetic_study.mass_answer(),
            seconds=1.0,
            annotation_id=second.annotation_id,
        )
        assert same == second
        assert len(annotation_table.load_annotations(con, RUN, versions=True)) == 2
        with pytest.raises(UserError):
            synthetic_study.annotate(con, "A1", 3, {"recognisable": "yes", "phenomena": []})


def test_label_of_a_unit(study: Path) -> None:
    with store.write(study) as con:
        own = synthetic_study.annotate(con, "A1", 4, synthetic_study.mass_answer("obscured"))
        synthetic_study.annotate(con, "A1", 1, annotation_answers.empty_answer())
        second = synthetic_study.annotate(
            con, "A2", 1, synthetic_study.mass_answer("spiculated"), simulated=True
        )
        synthetic_study.annotate(con, "A1", 2, synthetic_study.mass_answer("obscured"))
        # Its author changed the answer on unit 2 to nothing.
        synthetic_study.annotate(con, "A1", 2, annotation_answers.empty_answer())
        other = synthetic_study.annotate(con, "A2", 4, synthetic_study.mass_answer("indistinct"))
        # Repeats and practice give no label.
        synthetic_study.annotate(con, "A1", 5, synthetic_study.mass_answer(), repeat=True)
        synthetic_study.annotate(con, "A1", 6, synthetic_study.mass_answer(), practice=True)
        # Nobody has finished: the answers of the one who began count, and no others.
        labels = label_states.unit_labels(con, RUN, ["A2", "A1"])
        assert set(labels) == {4} and not labels[4].simulated
        assert labels[4].annotation_ids == (own.annotation_id,)
        assert label_states.unit_states(con, RUN, [])[1].label.annotation_ids == (
            second.annotation_id,
        )
        decision_table.record_decision(
            con,
            RUN,
            4,
            "Edge of a mass",
            [own.annotation_id, other.annotation_id],
            "both see it",
            "team",
        )
        decision_table.record_decision(
            con, RUN, 1, "", [second.annotation_id], "not convincing", "team"
        )
        labels = label_states.unit_labels(con, RUN, [])
        assert set(labels) == {4} and labels[4].text == "Edge of a mass"
        assert len(labels[4].annotation_ids) == 2
        assert label_states.annotation_counts(con, RUN, []) == {
            "units_selected": synthetic_study.SELECTED,
            "units_annotated": 1,
            "experts": 2,
        }
        assert label_states.unit_states(con, RUN, [])[1].label is None


def test_queue_order_is_individual_and_blind_to_class(study: Path) -> None:
    units = list(range(20))
    first, second = queue_order(units, "run|A1", 4), queue_order(units, "run|A2", 4)
    assert first != second and first == queue_order(units, "run|A1", 4)
    assert sorted(u for u, again in first if not again) == units
    again = [u for u, repeat in first if repeat]
    assert len(again) == 4 and all(
        first.index((u, True)) - first.index((u, False)) >= 5 for u in again
    )


def test_session_goes_through_the_queue(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        queue = session.queue(con)
        assert len(queue.real) == synthetic_study.SELECTED + 4
        assert sum(s.practice for s in queue.slots) == 2
        assert not {s.unit for s in queue.slots if s.practice} & {s.unit for s in queue.real}
        finish_practice(con, session)
        slot = session.queue(con).next()
        assert slot.number == 1
        session.skip_slot(con, session.slot_token(slot))
        queue = session.queue(con)
        assert queue.real[0].status == "skipped" and queue.next(queue.real[0]).number == 2
        for _ in range(len(queue.real) - 1):
            queue = session.queue(con)
            slot = queue.next()
            assert slot.status == "todo"
            session.save_answer(con, session.slot_token(slot), synthetic_study.mass_answer(), 1.0)
        queue = session.queue(con)
        assert queue.next().number == 1 and queue.next().status == "skipped"
        session.save_answer(
            con, session.slot_token(queue.next()), annotation_answers.empty_answer(), 1.0
        )
        assert session.queue(con).next() is None


def test_an_answered_unit_is_not_postponed(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        finish_practice(con, session)
        token = session.slot_token(session.queue(con).next())
        session.save_answer(con, token, synthetic_study.mass_answer(), 1.0)
        slot = session.queue(con).real[0]
        assert session.skip_slot(con, session.slot_token(slot)).status == "done"
        assert annotation_table.skipped_units(con, slot.run, "A1") == set()
        assert session.queue(con).real[0].status == "done"


def test_token_saves_once(study: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        queue = session.queue(con)
        token = session.slot_token(queue.next())
        saved, _ = session.save_answer(con, token, synthetic_study.mass_answer(), 2.0)
        again, _ = session.save_answer(con, token, synthetic_study.mass_answer(), 9.0)
        assert again.made == saved.made
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(con, token, annotation_answers.empty_answer(), 2.0)
        with pytest.raises(RequestRefused, match="another window"):
            session.save_answer(
                con, one_time_token(b"guess", "annotate"), synthetic_study.mass_answer(), 2.0
            )
        assert con.execute("SELECT count(*), sum(seconds) FROM annotations").fetchone() == (1, 2.0)
        slot = session.find_slot(con, session.slot_name(queue.slots[0]))
        second, _ = session.save_answer(
            con, session.slot_token(slot), synthetic_study.mass_answer("obscured"), None
        )
        assert second.version == 2


def test_sessions_are_separate(study: Path) -> None:
    one, two = start_session(study, "A1"), start_session(study, "A2")
    with store.write(study) as con:
        queue = one.queue(con)
        token = one.slot_token(queue.next())
        one.save_answer(con, token, synthetic_study.mass_answer(), 1.0)
        assert two.latest_answer(con, two.queue(con).slots[0]) is None
        with pytest.raises(RequestRefused):
            two.save_answer(con, token, synthetic_study.mass_answer(), 1.0)
        with pytest.raises(RequestRefused):
            two.find_slot(con, one.slot_name(queue.slots[3]))


def test_consent_and_units_are_required(study: Path, empty: Path) -> None:
    session = start_session(study)
    with store.write(study) as con:
        con.execute("DELETE FROM consents")
        with pytest.raises(RequestRefused, match="consent"):
            session.save_answer(con, "x", synthetic_study.mass_answer(), 1.0)
    with store.read(empty) as con, pytest.raises(RequestRefused, match="no units"):
        AnnotationSession("A1", b"k", 4).queue(con)


def test_tiles_are_the_strongest_patches(study: Path) -> None:
    with store.read(study) as con:
        tiles = unit_table.load_tiles(con, RUN, 7)
        expected = con.execute(
            "SELECT patch_id FROM top_patches WHERE run = ? AND unit = 7 AND rank < 32 ORDER BY"
            " rank",
            [RUN],
        ).fetchall()
    assert [t.patch_id for t in tiles] == [e[0] for e in expected] and len(tiles) == 32
    assert all(t.file.startswith("zqxfile") and t.side == synthetic_study.SIDE for t in tiles)

"""Annotation of groups: one answer for all units, and a group that is split loses nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.sessions.annotation_session import AnnotationSession, QueueSlot
from core.store import annotation_table, participant_table, unit_table
from core.store.connection import Connection
from core.store.labels import finished_annotators, group_table, label_states
from evaluation.annotation.category_agreement import first_category_agreement
from support import synthetic_study
from support.synthetic_study import DISSECT, mass_answer

GROUP, GROUPS_RUN = (7, 8, 9, 10), "groups-000000000003"


@pytest.fixture
def grouped(study: Path) -> Path:
    """Return the study with a group of four units; all others stand alone."""
    alone = [[unit] for unit in range(synthetic_study.UNITS) if unit not in GROUP]
    with store.write(study) as con:
        manifest = json.dumps({"groups": [list(GROUP), *alone]})
        con.execute(
            "INSERT INTO runs VALUES (?, 'groups', '{}', ?, ?, ?, 1.0)",
            [GROUPS_RUN, json.dumps([DISSECT]), manifest, synthetic_study.MADE],
        )
    return study


def start(con: Connection, code: str = "A1") -> AnnotationSession:
    if participant_table.participant_role(con, code) is None:
        participant_table.add_participant(con, code, "annotator")
        participant_table.record_consent(con, code, "", "yes")
    return AnnotationSession(code, b"key", 0, by_group=True)


def group_slot(con: Connection, session: AnnotationSession) -> QueueSlot:
    return next(slot for slot in session.queue(con).real if len(slot.group) > 1)


def save(con: Connection, session: AnnotationSession, slot: QueueSlot, answer: dict) -> None:
    session.save_answer(con, session.slot_token(slot), answer, 20.0)


def answers_of(con: Connection, code: str = "A1") -> dict[int, dict]:
    frame = annotation_table.load_expert_annotations(con, DISSECT, code)
    return {int(row.unit): row.answer for row in frame.itertuples() if not row.practice}


def test_the_queue_has_one_slot_for_a_group(grouped: Path) -> None:
    with store.write(grouped) as con:
        selected = unit_table.selected_unit_ids(con, DISSECT)
        session = start(con)
        slots = session.queue(con).real
        assert len(slots) == len(selected) - 3
        assert {unit for slot in slots for unit in slot.group} == set(selected)
        slot = group_slot(con, session)
        # Units 7 and 8 have the counts 13 + 20 and 12 + 19: the most frequent one stands first.
        assert slot.unit == slot.group[0] == 7 and set(slot.group) == set(GROUP)
        tiles = session.slot_tiles(con, slot)
        assert [unit for unit, _ in tiles[:4]] == list(slot.group)
        assert len({tile.patch_id for _, tile in tiles}) == len(tiles) == 32
        single = AnnotationSession("A1", b"key", 0)
        assert len(single.queue(con).real) == len(selected)


def test_one_answer_names_every_unit_of_the_group(grouped: Path) -> None:
    with store.write(grouped) as con:
        session = start(con)
        slot = group_slot(con, session)
        token = session.slot_token(slot)
        saved, _ = session.save_answer(con, token, mass_answer(), 20.0)
        again, _ = session.save_answer(con, token, mass_answer(), 20.0)
        assert saved == again
        answers = answers_of(con)
        assert set(answers) == set(GROUP)
        assert {answer["label"] for answer in answers.values()} == {
            "Mass with spiculated margin, suspicious"
        }
        assert [u for u, a in answers.items() if not annotation_table.is_group_answer(a)] == [7]
        frame = annotation_table.load_annotations(con, DISSECT)
        assert frame["seconds"].notna().sum() == 1
        # A changed answer changes the whole group.
        save(con, session, group_slot(con, session), mass_answer("obscured"))
        assert {a["label"] for a in answers_of(con).values()} == {
            "Mass with obscured margin, suspicious"
        }


def test_a_unit_that_was_answered_by_itself_keeps_its_answer(grouped: Path) -> None:
    with store.write(grouped) as con:
        session = start(con)
        synthetic_study.annotate(con, "A1", 9, mass_answer("indistinct"))
        save(con, session, group_slot(con, session), mass_answer())
        labels = {unit: answer["label"] for unit, answer in answers_of(con).items()}
        assert labels[9] == "Mass with indistinct margin, suspicious"
        assert labels[10] == "Mass with spiculated margin, suspicious"


def test_a_group_that_is_split_after_annotation_loses_nothing(grouped: Path) -> None:
    with store.write(grouped) as con:
        session = start(con)
        for slot in session.queue(con).slots:
            save(con, session, slot, mass_answer())
        assert session.queue(con).finished
        before = annotation_table.load_annotations(con, DISSECT, versions=True)
        labels = label_states.unit_labels(con, DISSECT, ())
        slot = group_slot(con, session)
        session.separate_slot(con, session.slot_token(slot))
        after = annotation_table.load_annotations(con, DISSECT, versions=True)
        assert after.equals(before) and label_states.unit_labels(con, DISSECT, ()) == labels
        states = finished_annotators.annotator_states(con, DISSECT)
        assert states["A1"].finished
        # The units are shown by themselves, with the answer of the group to start from.
        reopened = {s.unit: s for s in session.queue(con).real if s.unit in GROUP}
        assert {unit: s.status for unit, s in reopened.items()} == {
            7: "done",
            8: "todo",
            9: "todo",
            10: "todo",
        }
        assert all(s.group == (s.unit,) for s in reopened.values())
        assert session.latest_answer(con, reopened[8])["label"].startswith("Mass with spiculated")
        save(con, session, reopened[8], mass_answer("circumscribed", "benign"))
        labels = {unit: answer["label"] for unit, answer in answers_of(con).items()}
        assert labels[8] == "Mass with circumscribed margin, benign"
        assert labels[9] == labels[7] == "Mass with spiculated margin, suspicious"
        assert {s.unit for s in session.queue(con).real if s.status == "todo"} == {9, 10}


def test_a_separation_can_be_undone(grouped: Path) -> None:
    with store.write(grouped) as con:
        session = start(con)
        save(con, session, group_slot(con, session), mass_answer())
        group_table.separate_units(con, DISSECT, [8], "TEAM")
        assert set(group_slot(con, session).group) == {7, 9, 10}
        group_table.rejoin_unit(con, DISSECT, 8, "TEAM")
        assert set(group_slot(con, session).group) == set(GROUP)
        assert group_slot(con, session).status == "done"
        with pytest.raises(UserError, match="unit_0009 was not separated"):
            group_table.rejoin_unit(con, DISSECT, 8, "TEAM")


def test_what_cannot_be_separated_is_refused_and_nothing_is_stored(grouped: Path) -> None:
    with store.write(grouped) as con:
        with pytest.raises(UserError, match="unit_0001 is in no group with other units"):
            group_table.separate_units(con, DISSECT, [8, 0], "TEAM")
        assert group_table.separated_units(con, DISSECT) == set()
        session = start(con)
        alone = next(s for s in session.queue(con).real if len(s.group) == 1)
        with pytest.raises(RequestRefused, match="stands for itself"):
            session.separate_slot(con, session.slot_token(alone))


def test_without_groups_every_unit_stands_for_itself(study: Path) -> None:
    with store.write(study) as con:
        assert group_table.load_groups(con, DISSECT) is None
        selected = unit_table.selected_unit_ids(con, DISSECT)
        assert group_table.annotated_groups(con, DISSECT) == {u: (u,) for u in selected}
        assert len(start(con).queue(con).real) == len(selected)
        with pytest.raises(UserError, match="run `deepminer group` first"):
            group_table.separate_units(con, DISSECT, [7], "TEAM")


def test_agreement_counts_the_answer_of_a_group_once(grouped: Path) -> None:
    with store.write(grouped) as con:
        for code in ("A1", "A2"):
            session = start(con, code)
            save(con, session, group_slot(con, session), mass_answer())
            synthetic_study.annotate(con, code, 3, mass_answer("obscured"))
        frame = annotation_table.load_annotations(con, DISSECT)
    assert len(frame) == 10 and first_category_agreement(frame).n == 2


@pytest.mark.parametrize("labels_shown", [False, True])
def test_answers_of_a_group_name_its_unit_and_what_was_shown(
    grouped: Path, labels_shown: bool
) -> None:
    with store.write(grouped) as con:
        start(con)
        session = AnnotationSession("A1", b"key", 0, labels_shown, by_group=True)
        slot = group_slot(con, session)
        token = session.slot_token(slot)
        session.save_answer(con, token, mass_answer(), 20.0)
        frame = annotation_table.load_annotations(con, DISSECT)
    assert set(frame["patch_labels_shown"]) == {labels_shown}
    assert set(frame["annotation_id"]) == {token, *(f"{token}-{unit}" for unit in (8, 9, 10))}
    named = {int(row.unit): row.answer.get("group_of") for row in frame.itertuples()}
    assert named == {7: None, 8: 7, 9: 7, 10: 7}
    assert frame.set_index("unit")["seconds"].dropna().to_dict() == {7: 20.0}

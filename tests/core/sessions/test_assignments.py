"""Who names the units of which dissection: assignments stay, and queues with them."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from core import lineage, runs, store
from core.errors import RequestRefused, UserError
from core.lexicon import annotation_answers
from core.sessions.annotation_session import AnnotationSession
from core.store import annotation_table, migrations, participant_table, run_table, unit_table
from core.store.connection import STORE_NAME
from core.store.labels import assignment_table
from core.store.migrations.versions import MIGRATIONS
from support import synthetic_study

FIRST = synthetic_study.DISSECT
SECOND, THIRD, FOURTH = (f"dissect-00000000001{digit}" for digit in (1, 2, 3))
ASSIGNMENT_MIGRATION = next(
    number
    for number, migration in enumerate(MIGRATIONS)
    if migration.name == "0018_annotation_assignments"
)


def add_annotator(con, code: str) -> AnnotationSession:
    participant_table.add_participant(con, code, "annotator")
    participant_table.record_consent(con, code, "", "yes")
    return AnnotationSession(code, b"key", 4)


def add_networks(con) -> None:
    """Add dissections of two networks with two layers each; the study's own is another one."""
    synthetic_study.add_dissection(con, SECOND, "resnet18", "layer3", 1)
    synthetic_study.add_dissection(con, THIRD, "resnet18", "layer4", 2)
    synthetic_study.add_dissection(con, FOURTH, "alexnet", "features.11", 3)


def test_queue_stays_when_a_newer_dissection_appears(study: Path) -> None:
    with store.write(study) as con:
        before = add_annotator(con, "A1")
        queue = before.queue(con)
        assert queue.run == FIRST and queue.slots
        add_networks(con)
        assert unit_table.current_dissection(con) == FOURTH
        assert before.queue(con) == queue  # before any answer, and with every number and token
        token = before.slot_token(queue.slots[0])
        before.save_answer(con, token, annotation_answers.empty_answer(), 1.0)
        later = add_annotator(con, "A2")
        assert later.queue(con).run == FOURTH
        run_table.record_use(con, SECOND)
        assert [one.queue(con).run for one in (before, later)] == [FIRST, FOURTH]


def test_team_says_who_annotates_what(study: Path) -> None:
    with store.write(study) as con:
        add_networks(con)
        first, second = add_annotator(con, "A1"), add_annotator(con, "A2")
        assignment_table.assign_dissections(con, "A1", [THIRD, FOURTH], "team")
        assignment_table.assign_dissections(con, "A2", [SECOND], "team")
        assert assignment_table.load_assignments(con) == {"A1": (FOURTH, THIRD), "A2": (SECOND,)}
        assert [queue.run for queue in first.queues(con)] == [FOURTH, THIRD]
        assert [queue.run for queue in second.queues(con)] == [SECOND]
        # Practice belongs to the first queue alone, and nowhere once it is done.
        assert [sum(slot.practice for slot in one.slots) for one in first.queues(con)] == [2, 0]
        orders = [[slot.unit for slot in one.real] for one in first.queues(con)]
        assert orders[0] != orders[1]
        last = first.queues(con)[1].real[3]
        token = first.slot_token(last)
        saved, slot = first.save_answer(con, token, synthetic_study.mass_answer(), 1.0)
        assert (slot.run, slot.unit) == (THIRD, last.unit) and first.queue(con).run == THIRD
        again, _ = first.save_answer(con, token, synthetic_study.mass_answer(), 1.0)
        assert again == saved
        # What was answered stays where an assignment ends, and the queue is there again later.
        assignment_table.assign_dissections(con, "A1", [SECOND], "team")
        assert [queue.run for queue in first.queues(con)] == [SECOND]
        with pytest.raises(RequestRefused) as refused:
            first.queue(con, THIRD)
        assert refused.value.code == "stale"
        with pytest.raises(RequestRefused) as refused:
            first.find_slot(con, first.slot_name(last))
        assert refused.value.code == "stale"
        with pytest.raises(RequestRefused) as refused:
            first.skip_slot(con, first.slot_token(first.queues(con)[0].real[0]) + "0")
        assert refused.value.code == "stale"
        assert len(annotation_table.load_annotations(con, THIRD)) == 1
        assignment_table.assign_dissections(con, "A1", [SECOND, THIRD], "team")
        assert first.queues(con)[1].real[3].status == "done"
        log = run_table.load_log(con, "annotator assigned")
    assert log["detail"].iloc[0] == f"A1: {SECOND}, {THIRD}" and set(log["who"]) == {"team"}


def test_names_of_queues_are_opaque_and_personal(study: Path) -> None:
    with store.write(study) as con:
        add_networks(con)
        sessions = [add_annotator(con, code) for code in ("A1", "A2")]
        for session in sessions:
            assignment_table.assign_dissections(con, session.code, [SECOND, THIRD], "team")
        names = [session.queue_name(queue) for session in sessions for queue in session.queues(con)]
        assert len(set(names)) == 4 and not any("dissect" in name for name in names)
        assert sessions[0].find_queue(con, names[1]).run == THIRD
        with pytest.raises(RequestRefused) as refused:
            sessions[0].find_queue(con, names[2])
        assert refused.value.code == "stale"


def test_titles_name_network_and_layer_and_are_distinct(study: Path) -> None:
    with store.write(study) as con:
        add_networks(con)
        synthetic_study.add_dissection(con, "dissect-00000000ab14", "alexnet", "features.11", 4)
        titles = [dissection.title for dissection in unit_table.list_dissections(con)]
    assert titles == [
        "last",
        "resnet18, layer3",
        "resnet18, layer4",
        "alexnet, features.11, 05 Jan 03:04, 000013",
        "alexnet, features.11, 06 Jan 03:04, 00ab14",
    ]


@pytest.mark.parametrize(
    ("code", "chosen", "message"),
    [
        ("R1", [FIRST], "R1 is a reader of this study"),
        ("A9", [FIRST], "A9 is no participant"),
        ("A1", [], "at least one dissection for A1"),
        ("A1", [FIRST, FIRST], "each once"),
        ("A1", [synthetic_study.PATCHES], "is a patches run"),
        ("A1", ["dissect-none"], "There is no run dissect-none"),
    ],
)
def test_invalid_assignments_are_refused(
    study: Path, code: str, chosen: list[str], message: str
) -> None:
    with store.write(study) as con:
        add_annotator(con, "A1")
        participant_table.add_participant(con, "R1", "reader")
    with pytest.raises(UserError, match=message), store.write(study) as con:
        assignment_table.assign_dissections(con, code, chosen, "team")
    with store.read(study) as con:
        assert assignment_table.load_assignments(con) == {"A1": (FIRST,)}


def test_first_dissection_goes_to_those_who_wait_for_it(empty: Path) -> None:
    with store.write(empty) as con:
        waiting = add_annotator(con, "A1")
        participant_table.add_participant(con, "R1", "reader")
        with pytest.raises(RequestRefused, match="no units"):
            waiting.queue(con)
    names = []
    for number in (1, 2):
        with runs.create_run(empty, "dissect", 1, {"a": number}, [], "") as run:
            names.append(run.name)
    with store.read(empty) as con:
        assert assignment_table.load_assignments(con) == {"A1": (names[0],)}


def test_existing_stores_keep_what_was_answered(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.add_dissection(con, SECOND, "resnet18", "layer3", 1)
        synthetic_study.annotate(con, "A2", 3, synthetic_study.mass_answer())
        participant_table.add_participant(con, "A1", "annotator")
        participant_table.add_participant(con, "R1", "reader")
        run_table.record_use(con, FIRST)
        run_table.record_use(con, SECOND)
    con = duckdb.connect(str(study / STORE_NAME))
    con.execute("DROP TABLE annotation_assignments")
    con.execute("DELETE FROM migrations WHERE version > ?", [ASSIGNMENT_MIGRATION])
    con.execute(MIGRATIONS[ASSIGNMENT_MIGRATION].sql)
    rows = con.execute("SELECT number, code, run, assigned, who FROM annotation_assignments")
    assert sorted(row[1:] for row in rows.fetchall()) == [
        ("A1", SECOND, True, "automatic"),
        ("A2", FIRST, True, "automatic"),
    ]
    con.close()
    assert migrations.SCHEMA_VERSION >= ASSIGNMENT_MIGRATION + 1


def test_a_dissection_is_named_once_there_are_several(study: Path) -> None:
    assert lineage.choose_dissection(study) == FIRST
    with store.write(study) as con:
        synthetic_study.add_dissection(con, SECOND, "resnet18", "layer3", 1)
    with pytest.raises(
        UserError, match=rf"--dissect; .*{FIRST} \(last\), {SECOND} \(resnet18, lay"
    ):
        lineage.choose_dissection(study)
    assert lineage.choose_dissection(study, FIRST) == FIRST

"""Groups, comments, label sets, stages and locks of the store, by hand."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from core import store
from core.errors import RequestRefused, UserError
from core.store import annotation_table, audit_table, backup, locking, participant_table, run_table
from core.store.connection import Connection, count_answers
from core.store.labels import (
    assignment_table,
    comment_table,
    decision_table,
    finished_annotators,
    group_table,
    label_sets,
    label_states,
)
from core.store.reading import protocol_table, stage_table
from support import synthetic_study
from support.synthetic_study import DISSECT, MADE


def add_groups(con: Connection, groups: list[list[int]], day: int) -> None:
    con.execute(
        "INSERT INTO runs VALUES (?, 'groups', '{}', ?, ?, ?, 1.0)",
        [
            f"groups-{day}",
            json.dumps([DISSECT]),
            json.dumps({"groups": groups}),
            MADE + timedelta(days=day),
        ],
    )


def test_groups_and_the_units_that_stand_for_them(study: Path) -> None:
    """Counts of units 0 to 7 are 20 to 13, of 7 to 14 20 to 13 again, of 14 to 19 and 0, 1 too."""
    with store.write(study) as con:
        assert group_table.load_groups(con, DISSECT) is None
        assert group_table.annotated_groups(con, DISSECT) == {u: (u,) for u in range(20)}
        add_groups(con, [[0, 1, 2], [30, 7, 8], [31, 32], [3]], 1)
        assert group_table.load_groups(con, DISSECT) == ((0, 1, 2), (30, 7, 8), (31, 32), (3,))
        # 7 has 13 + 20, 8 has 19; 0 has 20 + 14, 1 has 19 + 13, 2 has 18. 31 and 32 are not chosen.
        assert group_table.annotated_groups(con, DISSECT) == {0: (0, 1, 2), 3: (3,), 7: (7, 8)}
        group_table.separate_units(con, DISSECT, [1, 7], "ANNA")
        assert group_table.separated_units(con, DISSECT) == {1, 7}
        assert group_table.load_groups(con, DISSECT) == (
            *((0, 2), (30, 8), (31, 32), (3,), (1,), (7,)),
        )
        with pytest.raises(UserError, match="unit_0002 is in no group with other units"):
            group_table.separate_units(con, DISSECT, [2, 1], "ANNA")
        assert group_table.separated_units(con, DISSECT) == {1, 7}
        group_table.rejoin_unit(con, DISSECT, 1, "BERT")
        assert group_table.separated_units(con, DISSECT) == {7}
        with pytest.raises(UserError, match="unit_0002 was not separated"):
            group_table.rejoin_unit(con, DISSECT, 1, "BERT")
        who = con.execute("SELECT who, unit, separated FROM group_separations ORDER BY number")
        assert who.fetchall() == [("ANNA", 1, True), ("ANNA", 7, True), ("BERT", 1, False)]
        # Another grouping has separations of its own.
        add_groups(con, [[1, 7]], 2)
        assert group_table.groups_run(con, DISSECT) == "groups-2"
        assert group_table.load_groups(con, DISSECT) == ((1, 7),)


def test_comments_by_unit_and_case(study: Path) -> None:
    with store.write(study) as con:
        comment_table.add_unit_comment(con, DISSECT, 4, "first", "A1")
        comment_table.add_case_comment(con, "ZQXCASE003", "second", "A2")
        comment_table.add_unit_comment(con, DISSECT, 5, "third", "A3")
        table = comment_table.load_comments(con)
        columns = ["number", "kind", "run", "item", "comment", "actor"]
        assert table[columns].to_numpy().tolist() == [
            [1, "unit", DISSECT, "unit_0005", "first", "A1"],
            [2, "case", "", "ZQXCASE003", "second", "A2"],
            [3, "unit", DISSECT, "unit_0006", "third", "A3"],
        ]
        unit = comment_table.load_unit_comments(con, DISSECT, 5)
        assert unit["comment"].tolist() == ["third"]
        assert len(comment_table.load_unit_comments(con, "other", 5)) == 0
        assert comment_table.load_case_comments(con, "ZQXCASE003")["actor"].tolist() == ["A2"]
        assert len(comment_table.load_case_comments(con, "unit_0006")) == 0
        comment_table.remove_comment(con, 2, "T1")
        assert comment_table.load_comments(con)["number"].tolist() == [1, 3]
        log = run_table.load_log(con, "comment removed")
        assert log[["who", "detail"]].to_numpy().tolist() == [["T1", "comment 2 of A2"]]
        with pytest.raises(UserError, match="There is no comment 2"):
            comment_table.remove_comment(con, 2, "T1")
        comment_table.add_unit_comment(con, DISSECT, 6, "fourth", "A1")
        assert comment_table.load_comments(con)["number"].tolist() == [1, 3, 4]


def test_sentences_on_label_sets() -> None:
    assert label_sets.set_sentence("E1") == 'Label set "E1": the latest answers of E1.'
    assert label_sets.set_sentence("published").endswith(
        "consensus labels imported from a file, without decisions made in this study."
    )
    assert label_sets.set_sentence("machine").startswith('Label set "machine": words of a list')
    assert label_sets.set_sentence("default").startswith('Label set "default": adjudicated labels')
    assert label_sets.earlier_set_sentence("E1") == label_sets.set_sentence("E1")
    assert label_sets.earlier_set_sentence("default") == (
        'Label set "default": the adjudicated text, else the first expert\'s latest answer that'
        " names something."
    )


def test_labels_of_each_set(study: Path) -> None:
    mass, other = synthetic_study.mass_answer(), synthetic_study.mass_answer("obscured")
    with store.write(study) as con:
        synthetic_study.annotate(con, "E1", 9, mass)
        synthetic_study.annotate(con, "E1", 2, mass, simulated=True)
        synthetic_study.annotate(con, "E1", 3, other, practice=True)
        decision_table.record_decision(con, DISSECT, 9, "Halo", ["a0", "a1"], "seen", "T1")
        decision_table.record_decision(con, DISSECT, 5, "Old", [], "i", "T1", "imported")
        decision_table.record_decision(con, DISSECT, 9, "Older", ["a0"], "i", "T1", "imported")
        decision_table.record_decision(con, DISSECT, 7, "", [], "none", "T1")
        assert label_sets.list_label_sets(con, DISSECT) == {
            "default": 3, "consensus": 2, "published": 2, "E1": 2,
        }  # fmt: skip

        def rows(name: str) -> list[tuple]:
            found = label_sets.find_label_set(con, DISSECT, name, ())
            return [(u, x.text, x.annotation_ids, x.simulated, x.state) for u, x in found.items()]

        text = "Mass with spiculated margin, suspicious"
        assert rows("E1") == [
            (2, text, ("a1",), True, "provisional"),
            (9, text, ("a0",), False, "provisional"),
        ]
        assert rows("consensus") == [
            (5, "Old", (), False, "published"),
            (9, "Halo", ("a0", "a1"), True, "adjudicated"),
        ]
        assert rows("published") == [
            (5, "Old", (), False, "published"),
            (9, "Older", ("a0",), False, "published"),
        ]
        assert rows("E2") == [] and label_sets.load_label_set(con, DISSECT, "default", ())
        counts = label_states.count_label_states(con, DISSECT)
        assert counts == {
            "provisional": 1, "agreed": 0, "adjudicated": 1, "published": 1, "machine": 0,
        }  # fmt: skip
        assert label_states.sole_expert(con, DISSECT) == "E1"
        note = label_states.single_expert_note(con, DISSECT, ())
        assert "so 1 labels of E1 are used" in note
        numbers = label_states.annotation_counts(con, DISSECT, ())
        assert numbers == {"units_selected": 20, "units_annotated": 3, "experts": 1}


def test_marks_of_finished_annotators(study: Path) -> None:
    with store.write(study) as con:
        with pytest.raises(UserError, match="E1 has not answered on any unit yet"):
            finished_annotators.mark_finished(con, DISSECT, "E1", "T1")
        synthetic_study.annotate(con, "E1", 1, synthetic_study.mass_answer())
        with pytest.raises(UserError, match="were not marked as finished"):
            finished_annotators.undo_mark(con, DISSECT, "E1", "T1")
        assert len(finished_annotators.load_finished_answers(con, DISSECT)) == 0
        finished_annotators.mark_finished(con, DISSECT, "E1", "T1")
        synthetic_study.annotate(con, "E1", 2, synthetic_study.mass_answer())
        # Answers after the mark do not count.
        assert finished_annotators.load_finished_answers(con, DISSECT)["unit"].tolist() == [1]
        state = finished_annotators.annotator_states(con, DISSECT)["E1"]
        assert state.finished and state.until is not None
        finished_annotators.mark_finished(con, DISSECT, "E1", "T2")
        assert sorted(finished_annotators.load_finished_answers(con, DISSECT)["unit"]) == [1, 2]
        finished_annotators.undo_mark(con, DISSECT, "E1", "T1")
        assert finished_annotators.load_finished_answers(con, DISSECT)["unit"].tolist() == [1]
        finished_annotators.undo_mark(con, DISSECT, "E1", "T1")
        assert len(finished_annotators.load_finished_answers(con, DISSECT)) == 0


def test_an_own_answer_beside_imported_ones_is_unfinished(study: Path) -> None:
    imported = {"run": DISSECT, "code": "E1", "answer": synthetic_study.mass_answer()}
    with store.write(study) as con:
        participant_table.add_participant(con, "E1", "annotator")
        for unit in (1, 2):
            annotation_table.append_imported_annotation(
                con, **imported, unit=unit, annotation_id=f"i{unit}", origin="labels.json"
            )
        state = finished_annotators.annotator_states(con, DISSECT)["E1"]
        assert state.state == finished_annotators.IMPORTED and state.finished
        synthetic_study.annotate(con, "E1", 3, synthetic_study.mass_answer())
        state = finished_annotators.annotator_states(con, DISSECT)["E1"]
        assert state.state == finished_annotators.UNFINISHED and not state.finished


def test_one_simulated_expert_makes_the_label_simulated() -> None:
    def row(number: int, simulated: bool) -> SimpleNamespace:
        answer = synthetic_study.mass_answer() | {"label": f"Label {number}"}
        return SimpleNamespace(answer=answer, annotation_id=f"a{number}", simulated=simulated)

    for flags in ((False, False), (False, True), (True, False), (True, True)):
        label = label_states._label_of([row(k, flag) for k, flag in enumerate(flags)], "agreed")
        assert label is not None and label.simulated is (True in flags)
        assert (label.text, label.annotation_ids, label.state) == (
            "Label 0",
            ("a0", "a1"),
            "agreed",
        )


def test_assignments_in_order(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.add_dissection(con, "dissect-b", "vgg16", "last", 1)
        synthetic_study.annotate(con, "E1", 1, synthetic_study.mass_answer())
        assert assignment_table.assigned_dissections(con, "E1") == ("dissect-b",)
        assignment_table.assign_dissections(con, "E1", [DISSECT], "T1")
        assert assignment_table.assigned_dissections(con, "E1") == (DISSECT,)
        assignment_table.assign_dissections(con, "E1", [DISSECT, "dissect-b"], "T1")
        assert assignment_table.load_assignments(con) == {"E1": (DISSECT, "dissect-b")}
        assignment_table.add_assignment(con, "E1", DISSECT)
        rows = con.execute("SELECT run, assigned, who FROM annotation_assignments ORDER BY number")
        assert rows.fetchall() == [
            *(("dissect-b", True, "automatic"), ("dissect-b", False, "T1")),
            *((DISSECT, True, "T1"), ("dissect-b", True, "T1")),
        ]
        titles = assignment_table.assigned_titles(con, "E1")
        assert titles.endswith("; vgg16, last") and assignment_table.assigned_titles(con, "X") == ""
        log = run_table.load_log(con, "annotator assigned")
        assert log["detail"].tolist()[-1] == f"E1: {DISSECT}"


def test_stages_of_a_reading(study: Path) -> None:
    assert stage_table.question_stage("question", 3) == "question 3"
    assert stage_table.stage_number("closing question 4") == 5
    with store.write(study) as con:
        protocol = protocol_table.load_protocol(con, "ZQXSTUDY", 1)
        assert protocol is not None
        made = stage_table.append_stage_answer(
            con,
            protocol=protocol,
            code="R1",
            position=2,
            stage="first answer",
            value="4",
            seconds=2.5,
        )
        (row,) = con.execute("SELECT * FROM reading_stages").fetchall()
        assert row == ("ZQXSTUDY", 1, "R1", 2, "first answer", "4", 2.5, False, False, made)
        with pytest.raises(UserError, match="until it is closed"):
            stage_table.load_stage_answers(con, "ZQXSTUDY", 1)
        closed = type("Closed", (), {"protocol": "ZQXSTUDY", "version": 1, "state": "closed"})()
        with pytest.raises(RequestRefused, match="has been closed") as refused:
            stage_table.append_stage_answer(
                con, protocol=closed, code="R1", position=3, stage="prediction", value="x"
            )
        assert refused.value.code == "closed" and str(refused.value).startswith("This reading")


def test_answers_of_all_kinds_are_counted(study: Path) -> None:
    with store.write(study) as con:
        assert count_answers(con) == (0, 0, None)
        synthetic_study.annotate(con, "E1", 1, synthetic_study.mass_answer())
        audit = synthetic_study.add_audit(con, units=1, each=1)
        for item, version in ((1, 1), (1, 2)):
            audit_table.append_audit_answer(con, audit.audit, "E1", item, version, "yes", 1.0)
        con.execute("UPDATE annotations SET made = ?", [MADE + timedelta(days=2)])
        con.execute("UPDATE audit_answers SET made = ?", [MADE + timedelta(days=1)])
        assert count_answers(con) == (1, 2, MADE + timedelta(days=2))


def test_what_a_restored_store_lacks() -> None:
    head = backup.ChainHead(7, "abc")
    content = backup._StoreContent(3, 4, None, head, ())
    assert backup._describe_replaced(None, []) == "the replaced store could not be opened"
    start = "the replaced store ended at record 7, abc, and held beyond the backup: "
    assert backup._describe_replaced(content, []) == start + "nothing"
    records = [
        type("Record", (), {"kind": kind, "subject": subject, "made": MADE})()
        for kind, subject in (
            ("reading_answer", "x"),
            ("consent", "consent of R1"),
            ("reading_answer", "y"),
        )
    ]
    assert backup._describe_replaced(content, records) == (
        start + "2 reading_answer; consent of R1 (2026-01-02 03:04:05 UTC)"
    )


def test_holder_of_a_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert locking._lock_holder(tmp_path) == "another process (it left no name)"
    monkeypatch.setattr("sys.argv", ["deepminer", "serve", "x" * 300])
    with locking.store_lock(tmp_path, exclusive=True, timeout_s=0):
        first = (tmp_path / ".lock").read_text()
    assert first.startswith("process ") and first.endswith(f"(deepminer serve {'x' * 184})")
    with (
        locking.store_lock(tmp_path, exclusive=False, timeout_s=0),
        locking.store_lock(tmp_path, exclusive=False, timeout_s=0),
        pytest.raises(locking.StoreLockedError, match=r"is busy: process .* more than 0 s"),
        locking.store_lock(tmp_path, exclusive=True, timeout_s=0),
    ):
        raise AssertionError("two readers keep a writer out")
    monkeypatch.setattr("sys.argv", ["b"])
    with locking.store_lock(tmp_path, exclusive=True, timeout_s=0):
        assert (tmp_path / ".lock").read_text().endswith(" (b)")

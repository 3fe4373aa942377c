"""States of labels: what changes them, what does not, and that every decision can be undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from core import store
from core.errors import UserError
from core.lexicon import annotation_answers
from core.lexicon.birads_categories import BIRADS
from core.store import annotation_table
from core.store.connection import Connection
from core.store.labels import decision_table, finished_annotators, label_sets, label_states
from support import synthetic_study

RUN = synthetic_study.DISSECT
UNITS = (0, 1, 2)
NOTHING = annotation_answers.empty_answer()
MASS = synthetic_study.mass_answer("spiculated")
OTHER = synthetic_study.mass_answer("indistinct")
MASS_TEXT = "Mass with spiculated margin, suspicious"


@pytest.fixture
def small(study: Path) -> Path:
    """A study with three selected units."""
    with store.write(study) as con:
        select_units(con)
    return study


def select_units(con: Connection) -> None:
    con.execute("DELETE FROM selected WHERE unit NOT IN (0, 1, 2)")


def answer_all(con: Connection, code: str, answer: dict[str, Any], **options: Any) -> None:
    for unit in UNITS:
        synthetic_study.annotate(con, code, unit, answer, **options)


def texts(con: Connection) -> dict[int, tuple[str, str]]:
    """Return text and state of the labels that count."""
    labels = label_states.unit_labels(con, RUN, ())
    return {unit: (label.text, label.state) for unit, label in labels.items()}


def test_third_expert_changes_nothing_before_the_end(small: Path) -> None:
    """Two experts agree; a third differs on each unit, unit by unit."""
    with store.write(small) as con:
        answer_all(con, "A1", MASS)
        answer_all(con, "A2", MASS)
        agreed = dict.fromkeys(UNITS, (MASS_TEXT, label_states.AGREED))
        assert texts(con) == agreed
        for unit in UNITS[:-1]:
            synthetic_study.annotate(con, "A3", unit, OTHER)
            assert texts(con) == agreed
            assert label_states.disputed_units(con, RUN) == []
        synthetic_study.annotate(con, "A3", UNITS[-1], MASS)
        # A3 has finished: what differs waits for a decision, and nothing else changed.
        assert texts(con) == {UNITS[-1]: agreed[UNITS[-1]]}
        assert label_states.disputed_units(con, RUN) == [0, 1]
        decision_table.record_decision(con, RUN, 0, "Mass", [], "seen again", "T1")
        assert texts(con)[0] == ("Mass", label_states.ADJUDICATED)
        assert label_states.disputed_units(con, RUN) == [1]
        decision_table.record_decision(con, RUN, 0, "", [], "seen once more", "T1")
        assert 0 not in texts(con)
        decision_table.undo_decision(con, RUN, 0, "T1")
        assert texts(con)[0] == ("Mass", label_states.ADJUDICATED)
        decision_table.undo_decision(con, RUN, 0, "T2")
        assert label_states.disputed_units(con, RUN) == [0, 1]
        with pytest.raises(UserError, match="unit_0001 has no decision made in this study"):
            decision_table.undo_decision(con, RUN, 0, "T2")
        assert len(annotation_table.load_annotations(con, RUN, versions=True)) == 9


def test_annotator_who_leaves_in_the_middle(small: Path) -> None:
    """Marked answers count as they were then; the mark can be undone, and later answers wait."""
    with store.write(small) as con:
        answer_all(con, "A1", MASS)
        answer_all(con, "A2", MASS)
        synthetic_study.annotate(con, "A3", 0, OTHER)
        before = texts(con)
        finished_annotators.mark_finished(con, RUN, "A3", "T1")
        assert set(texts(con)) == {1, 2} and label_states.disputed_units(con, RUN) == [0]
        state = finished_annotators.annotator_states(con, RUN)["A3"]
        assert state.finished and (state.state, state.marked_by) == ("marked", "T1")
        # A3 returns: the new answer and the new version wait for the end.
        synthetic_study.annotate(con, "A3", 1, OTHER)
        synthetic_study.annotate(con, "A3", 0, MASS)
        assert set(texts(con)) == {1, 2} and label_states.disputed_units(con, RUN) == [0]
        finished_annotators.undo_mark(con, RUN, "A3", "T1")
        assert texts(con) == before
        for code, message in (("A1", "has finished already"), ("A9", "has not answered")):
            with pytest.raises(UserError, match=f"{code} {message}"):
                finished_annotators.mark_finished(con, RUN, code, "T1")
        with pytest.raises(UserError, match="A3 were not marked"):
            finished_annotators.undo_mark(con, RUN, "A3", "T1")
        assert len(finished_annotators.load_finished_answers(con, RUN)) == 6


def test_single_expert_is_said(small: Path) -> None:
    """One expert's labels count as provisional until a second one has finished."""
    with store.write(small) as con:
        assert label_states.single_expert_note(con, RUN, ()) == ""
        synthetic_study.annotate(con, "A1", 0, MASS)
        assert texts(con) == {0: (MASS_TEXT, label_states.PROVISIONAL)}
        assert "1 labels of A1" in label_states.single_expert_note(con, RUN, ())
        # The second begins, and a setting names that person first: nothing changes.
        synthetic_study.annotate(con, "A2", 0, OTHER)
        synthetic_study.annotate(con, "A2", 1, OTHER)
        assert {u: x.text for u, x in label_states.unit_labels(con, RUN, ["A2"]).items()} == {
            0: MASS_TEXT
        }
        synthetic_study.annotate(con, "A1", 1, MASS)
        synthetic_study.annotate(con, "A1", 2, NOTHING)
        assert set(texts(con)) == {0, 1} and label_states.sole_expert(con, RUN) == "A1"
        synthetic_study.annotate(con, "A2", 2, annotation_answers.empty_answer("unsure"))
        # Both have finished: unit 2 is agreed to have no label, the others wait.
        assert texts(con) == {} and label_states.disputed_units(con, RUN) == [0, 1]
        assert label_states.single_expert_note(con, RUN, ()) == ""
        counts = label_states.count_label_states(con, RUN)
        assert counts == dict.fromkeys(label_states.LABEL_STATES, 0) | {"provisional": 2}


def test_only_expert_who_is_marked(small: Path) -> None:
    """Answers after the mark do not count either where nobody else has answered."""
    with store.write(small) as con:
        synthetic_study.annotate(con, "A1", 0, MASS)
        finished_annotators.mark_finished(con, RUN, "A1", "T1")
        synthetic_study.annotate(con, "A1", 1, MASS)
        assert set(texts(con)) == {0}
        finished_annotators.undo_mark(con, RUN, "A1", "T1")
        assert set(texts(con)) == {0, 1}


def test_precedence_of_sources(small: Path) -> None:
    """Adjudicated labels stay above an import, agreed ones too; an import fills the rest."""
    with store.write(small) as con:
        answer_all(con, "A1", MASS)
        answer_all(con, "A2", MASS)
        synthetic_study.annotate(con, "A2", 2, OTHER)
        decision_table.record_decision(con, RUN, 0, "Edge", [], "seen", "T1")
        for unit in (*UNITS, 9):
            decision_table.record_decision(
                con, RUN, unit, "Published mass", [], "", "T1", decision_table.IMPORTED
            )
        assert texts(con) == {
            0: ("Edge", label_states.ADJUDICATED),
            1: (MASS_TEXT, label_states.AGREED),
            2: ("Published mass", label_states.PUBLISHED),
            9: ("Published mass", label_states.PUBLISHED),
        }
        published = label_sets.load_label_set(con, RUN, "published", ())
        consensus = label_sets.load_label_set(con, RUN, "consensus", ())
        assert set(published) == {*UNITS, 9} and consensus[0].text == "Edge"
        assert consensus[1].text == "Published mass"


def test_published_consensus_of_imported_experts(small: Path) -> None:
    """Experts of a file have finished; their consensus keeps its published words."""
    with store.write(small) as con:
        for code in ("E1", "E2"):
            synthetic_study.annotate(con, code, 0, NOTHING, practice=True)
            annotation_table.append_imported_annotation(
                con,
                run=RUN,
                unit=0,
                code=code,
                answer=annotation_answers.free_answer("Spiculated mass"),
                annotation_id=f"{code}-0",
                origin="file",
            )
        assert texts(con) == {0: ("Spiculated mass", label_states.AGREED)}
        decision_table.record_decision(
            con, RUN, 0, "Spiculated mass, suspicious", ["E1-0"], "", "T1", decision_table.IMPORTED
        )
        assert texts(con) == {0: ("Spiculated mass, suspicious", label_states.PUBLISHED)}


@pytest.mark.parametrize(
    ("first", "second", "is_same"),
    [
        (MASS, MASS | {"confidence": 1}, True),
        (MASS, OTHER, False),
        (MASS, synthetic_study.mass_answer("spiculated", "benign"), False),
        (MASS, NOTHING, False),
        (NOTHING, annotation_answers.empty_answer("unsure"), True),
        (MASS, MASS | {"label": "Mass beside the nipple"}, False),
        (
            annotation_answers.free_answer("Big  mass"),
            annotation_answers.free_answer("big mass"),
            True,
        ),
        (annotation_answers.free_answer("Mass"), annotation_answers.free_answer("Cyst"), False),
    ],
)
def test_which_answers_agree(first: dict[str, Any], second: dict[str, Any], is_same: bool) -> None:
    a, b = (
        answer if not answer["phenomena"] else annotation_answers.validate_answer(answer, BIRADS)
        for answer in (first, second)
    )
    key_a, key_b = (label_states.answer_key(answer, BIRADS) for answer in (a, b))
    assert (key_a == key_b) is is_same


class LabelMachine(RuleBasedStateMachine):
    """Answers, decisions, marks and undos in any order, in one transaction that is rolled back."""

    study: Path

    @initialize()
    def begin(self) -> None:
        self.context = store.write(self.study)
        self.con = self.context.__enter__()
        select_units(self.con)
        # The states before each decision of a unit and each mark of an annotator.
        self.before_decision: dict[int, list[Any]] = {unit: [] for unit in UNITS}
        self.before_mark: dict[str, list[Any]] = {}
        self.answers = 0

    def teardown(self) -> None:
        if hasattr(self, "context"):
            # The transaction of `store.write` is rolled back by an error of its block.
            error = RuntimeError("the example ends")
            self.context.__exit__(type(error), error, None)

    def labels(self) -> Any:
        return label_states.unit_labels(self.con, RUN, ())

    def finished(self) -> set[str]:
        states = finished_annotators.annotator_states(self.con, RUN)
        return {code for code, state in states.items() if state.finished}

    @rule(
        code=st.sampled_from(["A1", "A2", "A3"]),
        unit=st.sampled_from(UNITS),
        answer=st.sampled_from([MASS, OTHER, NOTHING]),
    )
    def answer(self, code: str, unit: int, answer: dict[str, Any]) -> None:
        """An answer of somebody who has not finished changes no label of others."""
        before, finished = self.labels(), self.finished()
        sole = label_states.sole_expert(self.con, RUN)
        marked = finished_annotators.annotator_states(self.con, RUN).get(code)
        synthetic_study.annotate(self.con, code, unit, answer)
        self.answers += 1
        has_no_effect = code not in finished or (marked and marked.state == "marked")
        completed = finished_annotators.annotator_states(self.con, RUN)[code].state == "complete"
        if has_no_effect and not completed and sole not in (None, code):
            assert self.labels() == before
        if has_no_effect and not completed and len(finished) > 1:
            assert self.labels() == before
        # A completed annotator is a new fact: earlier states are no longer what an undo restores.
        if self.labels() != before:
            self._forget()

    def _forget(self) -> None:
        self.before_decision = {unit: [None] * len(b) for unit, b in self.before_decision.items()}
        self.before_mark = {code: [None] * len(b) for code, b in self.before_mark.items()}

    @rule(unit=st.sampled_from(UNITS), label=st.sampled_from(["Edge", "Mass", ""]))
    def decide(self, unit: int, label: str) -> None:
        self.before_decision[unit].append(self.labels().get(unit))
        decision_table.record_decision(self.con, RUN, unit, label, [], "why", "T1")
        decided = self.labels().get(unit)
        assert (decided.text if decided else "") == label
        assert decided is None or decided.state == label_states.ADJUDICATED

    @rule(unit=st.sampled_from(UNITS))
    def undo(self, unit: int) -> None:
        if not self.before_decision[unit]:
            with pytest.raises(UserError):
                decision_table.undo_decision(self.con, RUN, unit, "T1")
            return
        expected = self.before_decision[unit].pop()
        others = {u: label for u, label in self.labels().items() if u != unit}
        decision_table.undo_decision(self.con, RUN, unit, "T1")
        after = self.labels()
        assert {u: label for u, label in after.items() if u != unit} == others
        if expected is not None:
            assert after.get(unit) == expected

    @rule(code=st.sampled_from(["A1", "A2", "A3"]))
    def mark(self, code: str) -> None:
        state = finished_annotators.annotator_states(self.con, RUN).get(code)
        if state is None or state.state == "complete":
            with pytest.raises(UserError):
                finished_annotators.mark_finished(self.con, RUN, code, "T1")
            return
        self.before_mark.setdefault(code, []).append(self.labels())
        before = self.labels()
        finished_annotators.mark_finished(self.con, RUN, code, "T1")
        if self.labels() != before:
            kept = self.before_mark
            self._forget()
            self.before_mark[code] = kept[code]

    @rule(code=st.sampled_from(["A1", "A2", "A3"]))
    def undo_mark(self, code: str) -> None:
        if not self.before_mark.get(code):
            with pytest.raises(UserError):
                finished_annotators.undo_mark(self.con, RUN, code, "T1")
            return
        self.before_mark[code].pop()
        before = self.labels()
        finished_annotators.undo_mark(self.con, RUN, code, "T1")
        if self.labels() != before:
            self._forget()

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "con"):
            assert len(annotation_table.load_annotations(self.con, versions=True)) == self.answers

    @invariant()
    def agreed_labels_rest_on_all_who_finished(self) -> None:
        if not hasattr(self, "con"):
            return
        finished = self.finished()
        for label in self.labels().values():
            if label.state == label_states.AGREED:
                assert len(label.annotation_ids) > 1
            if label.state == label_states.PROVISIONAL:
                assert len(finished) < 2


def test_answers_decisions_and_undos_in_any_order(study: Path) -> None:
    machine = type("Machine", (LabelMachine,), {"study": study})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=6,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )

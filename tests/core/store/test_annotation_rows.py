"""Every column of annotations, audits, decisions and participants, on rows that all differ."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from core import store
from core.errors import UserError
from core.lexicon.birads_categories import BIRADS
from core.store import (
    annotation_table,
    audit_table,
    blinded_queries,
    dataset_table,
    participant_table,
    run_table,
)
from core.store.labels import (
    category_table,
    decision_table,
    finished_annotators,
    label_sets,
    label_states,
    machine_names,
)
from support import synthetic_study
from support.read_rows import cells
from support.synthetic_study import DISSECT, MADE, mass_answer


def days(count: int) -> datetime:
    return MADE + timedelta(days=count)


def save(con, code: str, unit: int, name: str, **changes) -> annotation_table.SavedAnnotation:
    """Append an answer with an id of its own."""
    values = {"answer": mass_answer(), "seconds": 7.0, "run": DISSECT}
    return annotation_table.append_annotation(
        con, **(values | changes), code=code, unit=unit, annotation_id=name
    )


def test_progress_of_experts_has_these_columns(study: Path) -> None:
    with store.write(study) as con:
        nothing = {"recognisable": "nothing"}
        save(con, "A2", 3, "a", seconds=4.0)
        save(con, "A2", 3, "b", seconds=10.0)
        save(con, "A2", 4, "c", seconds=None, answer=nothing)
        save(con, "A2", 5, "d", seconds=1.0)
        save(con, "A2", 3, "e", seconds=3.0, repeat=True)
        save(con, "A2", 9, "f", seconds=500.0, practice=True)
        save(con, "A1", 3, "g", seconds=None, simulated=True)
        con.execute("UPDATE annotations SET made = ? + to_days(ascii(annotation_id) - 97)", [MADE])
        frame = annotation_table.annotation_progress_by_expert(con, DISSECT)
        empty = annotation_table.annotation_progress_by_expert(con, "dissect-other")
    columns = ["code", "simulated", "units", "named", "revised", "repeats", "median_seconds"]
    assert list(frame.columns) == list(empty.columns) == [*columns, "last"] and len(empty) == 0
    # Median of 1, 3, 4 and 10; the last answer that counts is the repeat.
    assert cells(frame) == [
        ["A1", True, 1, 1, 0, 0, None, days(6)],
        ["A2", False, 3, 2, 1, 1, 3.5, days(4)],
    ]


def test_an_answer_is_stored_once_for_its_id(study: Path) -> None:
    with store.write(study) as con:
        first = save(con, "A1", 3, "x", repeat=True, patch_labels_shown=True)
        assert save(con, "A1", 3, "x", answer={"recognisable": "bad"}, seconds=9.0) == first
        second = save(con, "A1", 3, "y", repeat=True)
        assert [first.version, second.version] == [1, 2] and second.annotation_id == "y"
        # Units, experts, repeats and practice have versions of their own.
        others = [
            save(con, "A1", 4, "1", repeat=True),
            save(con, "A2", 3, "2", repeat=True),
            save(con, "A1", 3, "3"),
            save(con, "A1", 3, "4", practice=True),
        ]
        assert [saved.version for saved in others] == [1] * 4
        row = con.execute("SELECT * FROM annotations WHERE annotation_id = 'x'").fetchone()
        stored = annotation_table.find_annotation(con, "x")
    answer = {**mass_answer(), "label": "Mass with spiculated margin, suspicious"}
    assert row == (
        *("x", DISSECT, "last", 3, "A1", 1, True, False, json.dumps(answer), 7.0, True, False),
        first.made,
    )
    assert stored == annotation_table.StoredAnnotation(
        run=DISSECT, unit=3, code="A1", repeat=True, practice=False, answer=answer, version=1,
        made=first.made,
    )  # fmt: skip


@pytest.mark.parametrize("labels_shown", [False, True])
def test_answers_of_groups_and_imports_state_where_they_are_from(
    study: Path, labels_shown: bool
) -> None:
    part = {"run": DISSECT, "code": "A1", "answer": {"label": "x"}}
    with store.write(study) as con:
        annotation_table.append_group_answer(
            con, **part, unit=4, annotation_id="g", group_of=7, patch_labels_shown=labels_shown
        )
        annotation_table.append_imported_annotation(
            con, **part, unit=5, annotation_id="i", origin="f: 3"
        )
        save(con, "A1", 6, "p", practice=True)
        # Practice is no answer on the unit.
        annotation_table.append_imported_annotation(
            con, **part, unit=6, annotation_id="j", origin="f: 4"
        )
        for unit in (4, 5):
            with pytest.raises(UserError, match="A1 has an answer on this unit already"):
                annotation_table.append_imported_annotation(
                    con, **part, unit=unit, annotation_id="k", origin="f"
                )
        frame = annotation_table.load_annotations(con, DISSECT).set_index("annotation_id")
    assert frame.loc["g", "answer"] == {"label": "x", "group_of": 7}
    assert annotation_table.is_group_answer(frame.loc["g", "answer"])
    assert frame.loc["i", "answer"] == {"label": "x", "origin": "f: 3"}
    assert bool(frame.loc["g", "patch_labels_shown"]) is labels_shown
    for name in ("g", "i"):
        row = frame.loc[name]
        assert not row["repeat"] and not row["practice"] and not row["simulated"]
        assert pd.isna(row["seconds"])
    assert not frame.loc["i", "patch_labels_shown"]


def test_which_annotations_are_loaded(study: Path) -> None:
    with store.write(study) as con:
        synthetic_study.add_dissection(con, "dissect-b", "vgg16", "last", 1)
        save(con, "A1", 3, "c")
        save(con, "A1", 3, "b")
        save(con, "A1", 4, "a", run="dissect-b")
        save(con, "A2", 3, "d", simulated=True)
        con.execute(
            "UPDATE annotations SET made = ? + to_days(CASE annotation_id WHEN 'd' THEN 1 ELSE 2"
            " END)",
            [MADE],
        )

        def ids(*args, **options) -> list[str]:
            return list(annotation_table.load_annotations(con, *args, **options)["annotation_id"])

        # By time, then by id; the latest version of each answer.
        assert ids() == ["d", "a", "b"] and ids(DISSECT) == ["d", "b"]
        assert ids(versions=True) == ["d", "a", "b", "c"] and ids("dissect-b") == ["a"]
        assert ids(DISSECT, versions=True) == ["d", "b", "c"]
        own = annotation_table.load_expert_annotations(con, DISSECT, "A1")
        assert list(own["annotation_id"]) == ["b"]
        assert annotation_table.latest_answered_run(con, "A1") == "dissect-b"
        assert annotation_table.count_annotators(con, DISSECT) == 2
        assert annotation_table.count_annotators(con, "dissect-b") == 1
        # People before simulated experts, though they began later.
        assert annotation_table.expert_ranks(con, DISSECT, ()) == {"A1": 0, "A2": 1}
        con.execute("UPDATE annotations SET simulated = FALSE")
        assert annotation_table.expert_ranks(con, DISSECT, ()) == {"A2": 0, "A1": 1}
        assert annotation_table.expert_ranks(con, DISSECT, ("A1",)) == {"A1": 0, "A2": 1}


def test_columns_of_judgements_and_progress_of_an_audit(study: Path) -> None:
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=2, each=1)
        given = (
            ("E2", 4, 1, "no", 3.0, False), ("E1", 1, 1, "no", 2.0, False),
            ("E1", 1, 2, "yes", 50.0, False), ("E1", 6, 1, "unsure", 8.0, True),
            ("E1", 2, 1, "yes", None, False),
        )  # fmt: skip
        for code, item, version, answer, seconds, simulated in given:
            audit_table.append_audit_answer(
                con, audit.audit, code, item, version, answer, seconds, simulated
            )
        con.execute("UPDATE audit_answers SET made = ? + to_days(item + 10 * version)", [MADE])
        frame = audit_table.load_judgements(con, audit)
        every = audit_table.load_judgements(con, audit, versions=True)
        progress = audit_table.audit_progress_by_expert(con, audit.audit)
        patches = dict(con.execute("SELECT item, patch_id FROM audit_items").fetchall())
        assert len(audit_table.audit_progress_by_expert(con, "audit-9")) == 0
        with pytest.raises(UserError, match="'maybe' is not an answer; answer yes, no or unsure"):
            audit_table.append_audit_answer(con, audit.audit, "E1", 3, 1, "maybe", 1.0)
    assert (
        list(frame.columns)
        == list(every.columns)
        == [
            *("code", "item", "unit", "label", "kind", "rank", "activation", "patch_id"),
            *("mammogram_id", "patient_id", "answer", "version", "seconds", "simulated", "made"),
        ]
    )
    labels = synthetic_study.LABELS

    def row(code: str, item: int, version: int, answer: str, seconds, simulated: bool) -> list:
        patch = patches[item]
        return [
            *(code, item, (item - 1) // 3, labels[(item - 1) // 3]),
            *(("top", "middle", "random")[(item - 1) % 3], item - 1),
            *(pytest.approx(0.987654 - (item - 1) / 1000), patch, f"ZQXCASE{patch // 20:03d}"),
            *(f"ZQXPATIENT{patch // 40:03d}", answer, version, seconds, simulated),
            days(item + 10 * version),
        ]

    # By time: days 11 to 16, and the correction at day 21.
    second = row("E1", 1, 2, "yes", 50.0, False)
    later = [
        row("E1", 2, 1, "yes", None, False),
        row("E2", 4, 1, "no", 3.0, False),
        row("E1", 6, 1, "unsure", 8.0, True),
        second,
    ]
    assert cells(frame) == later
    assert cells(every) == [row("E1", 1, 1, "no", 2.0, False), *later]
    assert list(progress.columns) == [
        *("code", "done", "total", "corrections", "median_seconds", "last", "simulated"),
    ]
    assert cells(progress) == [
        ["E1", 3, 6, 1, 5.0, days(21), True],
        ["E2", 1, 6, 0, 3.0, days(14), False],
    ]


def test_patch_of_an_audit_without_rank_and_class(study: Path) -> None:
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=1, each=1)
        con.execute("UPDATE patches SET y = patch_id + 1000, x = patch_id + 2000, side = 63")
        con.execute("UPDATE mammograms SET width = 255, height = 321")
        ((patch,),) = con.execute("SELECT patch_id FROM audit_items WHERE item = 3").fetchall()
        tile = blinded_queries.load_audit_tile(con, audit.audit, DISSECT, 3)
        assert blinded_queries.load_audit_tile(con, audit.audit, DISSECT, 4) is None
        assert blinded_queries.load_audit_tile(con, "audit-9", DISSECT, 3) is None
    assert tile is not None and vars(tile) == {
        "rank": 0, "patch_id": patch, "mammogram_id": f"ZQXCASE{patch // 20:03d}",
        "file": f"zqxfile{patch // 20:03d}", "width": 255, "height": 321, "y": patch + 1000,
        "x": patch + 2000, "side": 63, "label": 0,
    }  # fmt: skip


def test_columns_of_decisions(study: Path) -> None:
    with store.write(study) as con:
        decide = decision_table.record_decision
        decide(con, DISSECT, 7, " a  b ", ["s1", "s2"], " why ", "T1")
        decide(con, DISSECT, 3, "", [], "none", "T2")
        decide(con, DISSECT, 3, "Old", ["s3"], "r", "T3", "imported")
        decide(con, DISSECT, 5, "Own", [], "x", "T3", decision_table.IMPORTED)
        con.execute("UPDATE decisions SET made = ? + to_days(number)", [MADE])
        own = decision_table.load_decisions(con, DISSECT)
        imported = decision_table.load_decisions(con, DISSECT, imported=True)
        consensus = decision_table.load_consensus(con, DISSECT)
        columns = ["unit", "label", "sources", "reason", "decided_by", "made"]
        assert list(own.columns) == columns and list(consensus.columns) == [*columns, "imported"]
        rows = [
            [3, "", [], "none", "T2", days(2)],
            [7, "a b", ["s1", "s2"], "why", "T1", days(1)],
        ]
        published = [[3, "Old", ["s3"], "r", "T3", days(3)], [5, "Own", [], "x", "T3", days(4)]]
        assert cells(own) == rows and cells(imported) == published
        assert cells(consensus) == [
            [*rows[0], False],
            [*published[1], True],
            [*rows[1], False],
        ]
        layers = con.execute("SELECT DISTINCT layer FROM decisions").fetchall()
        assert layers == [("last",)]
        with pytest.raises(UserError, match="unit_0006 has no decision made in this study"):
            decision_table.undo_decision(con, DISSECT, 5, "T1")
        decision_table.undo_decision(con, DISSECT, 7, "T4")
        assert decision_table.load_decisions(con, DISSECT)["unit"].tolist() == [3]
        assert len(decision_table.load_decisions(con, "dissect-other")) == 0
        assert len(decision_table.load_consensus(con, "dissect-other")) == 0
        longest = "x" * 2000
        decide(con, DISSECT, 9, longest, [], longest, "T1")
        for label, reason in ((longest + "x", ""), ("", longest + "x")):
            with pytest.raises(UserError, match="may have 2000 characters each; shorten them"):
                decide(con, DISSECT, 9, label, [], reason, "T1")


def test_confirmations_of_categories(study: Path) -> None:
    key = category_table.label_key
    assert key(" A  b ") == key("a B") == hashlib.sha256(b"a b").hexdigest()[:32] != key("ab")
    with store.write(study) as con:
        confirm = category_table.confirm_categories
        confirm(con, DISSECT, 3, "Halo", ("mass",), "T1")
        confirm(con, DISSECT, 3, "halo ", ("calcification", "mass"), "T2")
        confirm(con, DISSECT, 4, "Halo", ("normal",), "T1")
        confirm(con, "dissect-other", 3, "Halo", ("other",), "T1")
        both = {(3, key("halo")): ("calcification", "mass"), (4, key("halo")): ("normal",)}
        assert category_table.confirmed_categories(con, DISSECT) == both
        with pytest.raises(UserError, match="The categories of 'Ring' are not confirmed"):
            category_table.withdraw_confirmation(con, DISSECT, 3, "Ring", "T1")
        category_table.withdraw_confirmation(con, DISSECT, 3, "HALO", "T3")
        assert category_table.confirmed_categories(con, DISSECT) == {(4, key("halo")): ("normal",)}
        with pytest.raises(UserError, match="'Halo' are not confirmed; there is nothing to undo"):
            category_table.withdraw_confirmation(con, DISSECT, 3, "Halo", "T1")
        assert category_table.used_categories(con) == {"mass", "calcification", "normal", "other"}
        rows = con.execute(
            "SELECT unit, version, categories, state, who FROM label_categories WHERE run = ?"
            " ORDER BY unit, version",
            [DISSECT],
        ).fetchall()
    assert rows == [
        (3, 1, '["mass"]', "confirmed", "T1"),
        (3, 2, '["calcification", "mass"]', "confirmed", "T2"),
        (3, 3, "[]", "withdrawn", "T3"),
        (4, 1, '["normal"]', "confirmed", "T1"),
    ]


def test_columns_of_participants(study: Path) -> None:
    with store.write(study) as con:
        audit = synthetic_study.add_audit(con, units=1, each=1)
        participant_table.invite_participant(con, "T1", "team", "h1")
        participant_table.add_participant(con, "A2", "annotator", simulated=True)
        participant_table.invite_participant(con, "A1", "annotator", "h2")
        participant_table.revoke_invitations(con, "A1")
        participant_table.record_consent(con, "A1", "new", "text")
        for unit in (1, 2, 2):
            save(
                con,
                "A1",
                unit,
                f"a{unit}{con.execute('SELECT count(*) FROM annotations').fetchone()[0]}",
            )
        save(con, "A1", 30, "p", practice=True)
        for item, version in ((1, 1), (1, 2), (3, 1), (5, 1)):
            audit_table.append_audit_answer(con, audit.audit, "A1", item, version, "yes", 1.0)
        participant_table.record_sign_in(con, "T1")
        con.execute("UPDATE people SET made = ? + to_days(ascii(code))", [MADE])
        for number, table in enumerate(("annotations", "consents", "audit_answers", "log"), 1):
            con.execute(f"UPDATE {table} SET made = ?", [days(number)])
        frame = participant_table.load_participants(con)
        log = run_table.load_log(con, "signed in")
    assert list(frame.columns) == [
        *("code", "role", "simulated", "made", "link", "experience", "consented", "annotated"),
        *("audited", "answered", "last_seen"),
    ]
    assert cells(frame) == [
        ["A1", "annotator", False, days(65), False, "new", True, 2, 3, 0, days(3)],
        ["A2", "annotator", True, days(65), False, "", False, 0, 0, 0, None],
        ["T1", "team", False, days(84), True, "", False, 0, 0, 0, days(4)],
    ]
    assert log["who"].tolist() == ["T1"]


def test_codes_of_participants() -> None:
    for code in ("R", "R" * 32, "1", "a_b.c-D"):
        assert participant_table.check_code(code) == code
    for code in ("", "R" * 33, "_R", ".R", "-R", "R 1", "Rü", "R\n"):
        with pytest.raises(UserError, match="is not a code; use 1 to 32 letters"):
            participant_table.check_code(code)
    with pytest.raises(UserError, match=f"^'{'R' * 32}[.]{{3}}' is not a code"):
        participant_table.check_code("R" * 33)
    tokens = {participant_table.new_invitation_token() for _ in range(3)}
    assert len(tokens) == 3 and {len(token) for token in tokens} == {32}
    digest = hashlib.sha256(b"token").hexdigest()
    assert participant_table.hash_token("token") == digest


def test_who_has_finished(study: Path) -> None:
    """Two units are selected; E1 answers both, E2 one, E3 imported one, E4 practice and repeats."""
    with store.write(study) as con:
        con.execute("DELETE FROM selected WHERE unit NOT IN (2, 5)")
        save(con, "E1", 2, "a")
        save(con, "E1", 5, "b")
        save(con, "E1", 9, "c", answer={"recognisable": "unsure"})
        save(con, "E2", 2, "d")
        annotation_table.append_imported_annotation(
            con, run=DISSECT, unit=2, code="E3", answer=mass_answer(), annotation_id="e", origin="f"
        )
        for unit, flags in ((2, {"practice": True}), (5, {"repeat": True})):
            save(con, "E4", unit, f"f{unit}", **flags)
        states = finished_annotators.annotator_states(con, DISSECT)
        assert {code: state.state for code, state in states.items()} == {
            "E1": "complete", "E2": "unfinished", "E3": "imported",
        }  # fmt: skip
        for code in ("E1", "E3"):
            with pytest.raises(UserError, match=f"{code} has finished already; all answers count"):
                finished_annotators.mark_finished(con, DISSECT, code, "T1")
        with pytest.raises(UserError, match="E4 has not answered on any unit yet"):
            finished_annotators.mark_finished(con, DISSECT, "E4", "T1")
        finished_annotators.mark_finished(con, DISSECT, "E2", "T1")
        state = finished_annotators.annotator_states(con, DISSECT)["E2"]
        assert (state.state, state.marked_by, state.finished) == ("marked", "T1", True)
        answers = finished_annotators.load_finished_answers(con, DISSECT)
        assert sorted(answers["annotation_id"]) == ["a", "b", "c", "d", "e"]
        con.execute("DELETE FROM selected")
        states = finished_annotators.annotator_states(con, DISSECT)
        assert states["E1"].state == "unfinished"
        assert finished_annotators.annotator_states(con, "dissect-other") == {}


def test_lexicon_and_classes_of_a_study(study: Path) -> None:
    with store.write(study) as con:
        assert dataset_table.load_lexicon(con) is BIRADS
        dataset_table.save_lexicon(con, BIRADS)
        assert dataset_table.load_lexicon(con) == BIRADS
        with pytest.raises(
            UserError, match="The label set 'E9' names no unit of .*; choose one of default."
        ):
            label_sets.load_label_set(con, DISSECT, "E9", ())
        assert label_sets.load_label_set(con, DISSECT, "default", ()) == {}


def test_machine_names_are_a_set_of_their_own(study: Path) -> None:
    rows = [
        {"unit": 4, "word": "halo", "score": 2.5, "p_adjusted": 0.01, "named": True},
        {"unit": 2, "word": "ring", "score": 1.5, "p_adjusted": 0.2, "named": False},
        {"unit": 9, "word": "mass", "score": 3.5, "p_adjusted": 0.02, "named": True},
    ]
    with store.write(study) as con:
        assert machine_names.load_machine_names(con, DISSECT) is None
        con.execute(
            "INSERT INTO runs VALUES ('names-1', 'machine_names', '{}', ?, ?, ?, 1.0)",
            [json.dumps([DISSECT]), json.dumps({"names": rows}), MADE],
        )
        names = machine_names.load_machine_names(con, DISSECT)
        assert machine_names.load_machine_names(con, "dissect-other") is None
        save(con, "E1", 4, "a")
        assert label_sets.list_label_sets(con, DISSECT) == {"default": 1, "machine": 2, "E1": 1}
        labels = label_sets.load_label_set(con, DISSECT, "machine", ())
        counts = label_states.count_label_states(con, DISSECT)
    assert names == {
        row["unit"]: machine_names.StoredName(
            word=row["word"], score=row["score"], p_adjusted=row["p_adjusted"], named=row["named"]
        )
        for row in rows
    }
    assert labels == {
        4: label_states.UnitLabel("halo", (), False, "machine"),
        9: label_states.UnitLabel("mass", (), False, "machine"),
    }
    assert (counts["machine"], counts["provisional"]) == (2, 1)

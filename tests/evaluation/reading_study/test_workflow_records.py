"""All that the steps of a reading study store, log and say, on one small study."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core import store
from core.errors import UserError
from core.sessions.reading_session import ReadingSession
from core.store import dataset_table, participant_table, run_table, withdrawal
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import CHECKED, DESIGN, SCORED
from evaluation.reading_study import protocol_hash, workflow
from evaluation.reading_study.design import Design
from evaluation.reading_study.leakage_issues import (
    ERROR,
    WARNING,
    truth_conflict_issue,
)
from evaluation.reading_study.primary import InterimLook
from evaluation.reading_study.workflow.candidates import candidate_images
from evaluation.reading_study.workflow.checks import (
    _PIXEL_STEP,
    _count_conflicts,
    _displayed_films,
    _picture_properties,
)
from evaluation.reading_study.workflow.interim_looks import NextLook, taken_looks
from evaluation.reading_study.workflow.lookups import log_lookup
from evaluation.reading_study.workflow.protocols import frozen_label_sentence
from evaluation.reading_study.workflow.scores import load_closed_study
from support import explained_study
from support.explained_study import EXPLAIN, NAME

Steps = dict[str, Any]
LABELS = "the latest answers of A1"


def answer(study: Path, code: str, count: int) -> None:
    """Give the first answers of a reader, practice excluded: 5 at each third position, else 2."""
    with store.write(study) as con:
        protocol = protocol_table.find_protocol(con, NAME, 1)
        for item in (
            reading_table.load_reading_items(con, NAME, 1).query("code == @code").itertuples()
        ):
            if item.practice or item.position > count + 5:
                continue
            reading_table.append_reading_answer(
                con,
                protocol=protocol,
                code=code,
                position=int(item.position),
                revision=1,
                answer=2 if item.position % 3 else 5,
                seconds=float(item.position),
            )


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Steps]:
    """A study of three planned readers, two of whom begin, with each step by another person."""
    with pytest.MonkeyPatch.context() as patch:
        explained_study.use_few_permutations(patch)
        study = explained_study.create_study(tmp_path_factory.mktemp("records") / "study")
        design = explained_study.small_design(
            readers=3, looks=3, primary="exact_binomial", seed=5, label_set="A1", texts=2
        )
        made: Steps = {"study": study, "design": design}
        made["designed"] = workflow.create_protocol(study, NAME, design, "T1")
        with store.read(study) as con:
            made["draft"] = protocol_table.find_protocol(con, NAME, 1)
        made["checked"], made["issues"] = workflow.check_protocol(study, NAME, "T2")
        reasons = explained_study.accepted(made["checked"])
        made["reasons"] = reasons
        made["frozen"] = workflow.freeze_protocol(study, NAME, "T3", reasons)
        with store.write(study) as con:
            made["nobody"] = workflow.unanswered_sentence(con, NAME, 1)
            for code in ("R1", "R4"):
                participant_table.add_participant(con, code, "reader")
                ReadingSession(code, b"secret").assign_order(con, made["frozen"])
        answer(study, "R1", 26)
        answer(study, "R4", 25)
        with store.read(study) as con:
            made["missing"] = workflow.unanswered_sentence(con, NAME, 1)
            made["next"] = workflow.next_look(con, NAME, 1)
        _, made["look"] = workflow.take_interim_look(study, NAME, "T4", confirm=NAME)
        with store.read(study) as con:
            made["after"] = workflow.next_look(con, NAME, 1)
            made["taken"] = taken_looks(con, NAME, 1)
        made["closed"] = workflow.close_protocol(study, NAME, "T5", confirm=NAME)
        with store.read(study) as con:
            made["none"] = workflow.next_look(con, NAME, 1)
        made["scored"], made["score"] = workflow.score_protocol(study, NAME, user="T6")
        log_lookup(study, made["scored"], "T7")
        yield made


def test_log_of_the_steps(steps: Steps) -> None:
    with store.read(steps["study"]) as con:
        log = run_table.load_log(con).iloc[::-1]
    hash_ = steps["frozen"].hash
    rows = [tuple(row) for row in log[["who", "event", "detail"]].itertuples(index=False)]
    assert rows == [
        ("T3", "reading study frozen", f"{NAME} version 1 {hash_}"),
        ("T4", "interim look", f"{NAME} version 1 look 1 {hash_}"),
        ("T5", "reading study closed", f"{NAME} version 1 {hash_}"),
        ("T6", "reading study scored", f"{NAME} version 1 {hash_}"),
        ("T7", "results looked up", f"{NAME} version 1"),
    ]


def test_states_and_their_persons(steps: Steps) -> None:
    who = {"draft": (DESIGN, "T1"), "checked": (CHECKED, "T2"), "frozen": ("frozen", "T3")}
    who |= {"closed": ("closed", "T5"), "scored": (SCORED, "T6")}
    for name, expected in who.items():
        state = steps[name]
        assert (state.state, state.who) == expected
        assert (state.protocol, state.version, state.run) == (NAME, 1, EXPLAIN)
        assert not state.simulated
    for state in (steps["frozen"], steps["closed"], steps["scored"]):
        assert state.lint == steps["checked"].lint and state.hash == steps["frozen"].hash
        assert state.content == steps["frozen"].content and state.design == steps["frozen"].design
    assert steps["draft"].lint == [] and not steps["draft"].hash and not steps["checked"].hash
    assert steps["checked"].lint == [issue.as_dict() for issue in steps["issues"]]


def test_stored_design(steps: Steps) -> None:
    stored = steps["frozen"].design
    added = {"flow", "labels", "reasons", "practice"}
    assert {k: v for k, v in stored.items() if k not in added} == steps["design"].as_dict()
    assert added <= set(stored) and stored["reasons"] == steps["reasons"]
    assert stored["flow"] == [list(step) for step in steps["designed"].flow.steps]
    assert stored["flow"][0] == ["test split", 16, 8]
    assert stored["labels"] == (
        f'Label set "A1": {LABELS}. Labels: 8 provisional (named by one expert, not confirmed).'
    )
    assert frozen_label_sentence(steps["frozen"]) == stored["labels"]
    assert workflow.protocol_design(steps["frozen"]) == steps["design"]
    cases = steps["designed"].cases
    assert steps["frozen"].hash == protocol_hash(steps["design"], cases)
    assert [list(texts) for texts in stored["practice"]] and "told" not in stored


def test_stored_key(steps: Steps) -> None:
    with store.read(steps["study"]) as con:
        stored = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")
    designed = steps["designed"].cases.set_index("case_number").sort_index()
    assert list(stored.index) == list(range(1, 25)) == list(designed.index)
    names = ["mammogram_id", "patient_id", "arm", "truth", "network_score", "predicted", "block"]
    for name in names:
        assert stored[name].tolist() == designed[name].tolist(), name
    assert [list(t) for t in stored["texts"]] == [list(t) for t in designed["texts"]]
    assert stored["advice"].isna().all()
    images = candidate_images(steps["study"], EXPLAIN, steps["design"]).set_index("mammogram_id")
    for row in stored.itertuples():
        number = int(row.mammogram_id[-3:])
        malignant = explained_study.is_malignant(number)
        assert row.truth == ("malignant" if malignant else "benign")
        assert row.network_score == images.loc[row.mammogram_id, "network_score"]
        own = images.loc[row.mammogram_id, "texts"]
        assert len(own) == 2 and (row.arm == "shuffled" or list(row.texts) == list(own))


def test_interim_look_of_the_study(steps: Steps) -> None:
    with store.read(steps["study"]) as con:
        key = reading_table.load_reading_cases(con, NAME, 1).set_index("case_number")
        items = reading_table.load_reading_items(con, NAME, 1)
    read = items[~items["practice"] & ~items["repeat"].astype(bool)]
    read = read[read["position"] <= read["code"].map({"R1": 31, "R4": 30})]
    count = int((read["case_number"].map(key["arm"]) == "explanation").sum())
    # Three readers are planned, with 16 cases of the primary arm each.
    assert count < 32 and count / 48 > 1 / 3
    assert asdict(steps["next"]) == {
        "number": 1,
        "looks": 3,
        "information": count / 48,
        "needed": 1 / 3,
    }
    look = steps["look"]
    assert (look.number, look.answers, look.information, look.stops) == (
        *(1, count),
        *(count / 48, False),
    )
    assert steps["taken"] == (InterimLook(**asdict(look)),)
    assert (steps["after"].number, steps["after"].needed) == (2, 2 / 3)
    assert steps["none"] is None
    assert steps["score"].looks == steps["taken"] and steps["score"].primary.look == 3


def test_a_look_is_due_with_its_share() -> None:
    common = {"number": 2, "looks": 3, "needed": 2 / 3}
    for information, due in ((2 / 3 - 1e-13, True), (2 / 3 - 1e-9, False), (0.7, True)):
        assert NextLook(information=information, **common).is_due is due


def test_missing_answers_in_words(steps: Steps) -> None:
    end = "Analyses of several readers need cases that all of them answered."
    assert steps["nobody"] == (f"Answers are missing: 3 of 3 planned readers have not begun. {end}")
    # 24 cases and two hidden repeats: R1 answered all, R4 all but one.
    assert steps["missing"] == (
        "Answers are missing: R4 has not answered 1 of 26 cases; 1 of 3 planned readers has not"
        f" begun. {end}"
    )


def test_score_uses_what_is_stored(steps: Steps) -> None:
    score = steps["score"]
    assert (score.conduct.answers, score.conduct.missing, score.conduct.repeats) == (51, 1, 4)
    assert (score.simulated, score.synthetic) == (False, True)
    # Seconds are the positions 6 to 31 and 6 to 30.
    assert score.conduct.median_seconds == 18
    assert [reader.code for reader in score.readers] == ["R1", "R4"]
    assert score.network.threshold is not None and score.advice is None and score.questions == ()
    right, n = workflow.count_correct(steps["study"], NAME)
    assert (right, n) == (score.primary.correct, score.primary.n)


def test_readers_whose_orders_are_checked(steps: Steps) -> None:
    study = steps["study"]
    with store.write(study) as con:
        participant_table.add_participant(con, "R9", "reader", simulated=True)
        participant_table.add_participant(con, "A7", "annotator")
    assert workflow.planned_reader_codes(study, Design(readers=4)) == ["R1", "R4", "R2", "R3"]
    assert workflow.planned_reader_codes(study, Design(readers=2)) == ["R1", "R4"]
    assert workflow.planned_reader_codes(study, Design(readers=1)) == ["R1", "R4"]


def test_conflicts_of_truth_rules() -> None:
    rows = [
        ("malignant", "malignant", None),
        ("malignant", "benign", None),
        ("unproven", "unproven", None),
        ("benign", "unproven", None),
        (None, "benign", None),
        ("benign", "benign", None),
    ]
    rules = ["any_malignant", "first_abnormality", "folder"]
    truth = pd.DataFrame(rows, columns=rules)
    # Differing: rows 2, 4 and 5; unproven by both rules: row 3.
    assert _count_conflicts(truth) == 4
    # A rule with a value for any case is missing for all others.
    assert _count_conflicts(truth.assign(folder=["malignant"] + [None] * 5)) == 5


def test_cases_of_a_patient_who_withdrew_are_left_out(steps: Steps, tmp_path: Path) -> None:
    """Scores, counts and looks leave them out; the frozen key keeps them."""
    study = Path(shutil.copytree(steps["study"], tmp_path / "study"))
    with store.write(study) as con:
        key = reading_table.load_reading_cases(con, NAME, 1)
        patient = key["patient_id"].iloc[0]
        gone = set(key.loc[key["patient_id"] == patient, "case_number"])
        withdrawal.withdraw_patient(con, patient, "T8")
        assert len(reading_table.load_reading_cases(con, NAME, 1)) == 24
        answers = reading_table.load_reading_answers(con, NAME, 1)
    _, score = workflow.score_protocol(study, NAME)
    left = answers[~answers["case_number"].isin(gone)]
    assert score.conduct.answers == len(left) < 51
    assert score.patients == 7 and score.arms[0].cases == 16 - 2
    whole = steps["score"].primary
    assert score.primary.n < whole.n and score.network.n == 14
    assert workflow.count_correct(study, NAME) == (score.primary.correct, score.primary.n)
    closed = load_closed_study(study, NAME, 1)
    for table in (closed.answers, closed.first_answers, closed.key):
        assert not set(table["case_number"]) & gone
    practice = closed.items[closed.items["practice"]]
    assert len(practice) == 2 * 5 and not set(closed.items["case_number"]) & gone
    assert score.conduct.missing == len(closed.items) - len(practice) - len(left)


def test_properties_of_the_displayed_pictures(
    steps: Steps, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two mammograms of one patient, in the other order than in the store."""
    study = shutil.copytree(steps["study"], tmp_path / "copy")
    codes = ["ZQXCASE001", "ZQXCASE000"]
    with store.write(study) as con:
        for code, height, width, scanner in zip(codes, (300, 500), (200, 100), "AB", strict=True):
            con.execute(
                "UPDATE mammograms SET height = ?, width = ?, scanner = ? WHERE mammogram_id = ?",
                [height, width, scanner, code],
            )
        stored = dataset_table.load_mammograms(con).set_index("mammogram_id").loc[codes]
    # Of every fourth row and column, 1 of 4 and 3 of 4 pixels show the breast.
    for file, seen in zip(stored["file"], ([[0, 90], [0, 0]], [[10, 20], [0, 60]]), strict=True):
        pixels = np.full((2 * _PIXEL_STEP, 2 * _PIXEL_STEP), 7, np.uint8)
        pixels[::_PIXEL_STEP, ::_PIXEL_STEP] = seen
        np.save(study / "images" / f"{file}.npy", pixels)
    monkeypatch.setattr(
        "evaluation.reading_study.workflow.checks.blinded_rendering.breast_mask",
        lambda pixels: pixels > 0,
    )
    patients = stored["patient_id"].tolist()
    shown = pd.DataFrame(
        {"mammogram_id": codes, "patient_id": patients, "truth": ["malignant", "benign"]}
    )
    rows = [
        (codes[0], True, patients[0], 1.5, 0.25, 90.0, "A"),
        (codes[1], False, patients[1], 5.0, 0.75, 30.0, "B"),
    ]
    table = _picture_properties(study, shown, steps["design"])
    assert list(table.columns) == [
        "mammogram",
        "truth",
        "patient",
        "height",
        "outline",
        "grey",
        "scanner",
    ]
    assert list(table.itertuples(index=False, name=None)) == rows
    # With the number of films of the exam.
    films = _displayed_films(study, shown.iloc[:1])
    assert sorted(films["mammogram_id"]) == sorted(codes)
    assert films["truth"].tolist() == ["malignant"] * 2 and films["films"].tolist() == [2, 2]
    table = _picture_properties(study, shown.assign(films=[2, 3]), steps["design"])
    assert table["films"].tolist() == [2, 3]


def test_only_a_review_makes_conflicting_truth_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    explained_study.use_few_permutations(monkeypatch)
    monkeypatch.setattr("evaluation.reading_study.workflow.checks._count_conflicts", lambda _: 3)
    study = explained_study.create_study(tmp_path / "study")
    workflow.create_protocol(study, NAME, explained_study.small_design(), "T1")
    expected = (
        ("  ", truth_conflict_issue(3), ERROR),
        (" seen ", truth_conflict_issue(3, "T1", "seen"), WARNING),
    )
    for reviewed, issue, severity in expected:
        checked, issues = workflow.check_protocol(study, NAME, "T1", reviewed=reviewed)
        found = [each for each in issues if each.field == issue.field]
        assert found == [issue] and issue.severity == severity
        assert issue.as_dict() in checked.lint


def test_one_arm_with_texts_needs_labels(tmp_path: Path) -> None:
    study = explained_study.create_study(tmp_path / "study")
    with store.write(study) as con:
        con.execute("DELETE FROM annotations")
    mixed = Design(arms=("explanation", "class_map"))
    with pytest.raises(UserError, match="No unit is labelled yet"):
        candidate_images(study, EXPLAIN, mixed)
    assert len(candidate_images(study, EXPLAIN, Design(arms=("class_map", "image")))) == 16

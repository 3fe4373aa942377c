"""Tables of a closed reading study and of its protocol, all cells written down."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core.store.reading.protocol_states import FROZEN_STATES
from evaluation.clustered import clustered_proportion
from evaluation.proportion import exact_binomial_test
from evaluation.queries.provenance import MissingInput
from evaluation.reporting.tables import TABLES, questions, reading_study, select_tables
from support.score_parts import bounds, reading_score

STUDY = Path("study")


def reader(code: str, k: int) -> SimpleNamespace:
    return SimpleNamespace(code=code, share=bounds(k), auc=bounds(k + 1))


PROTOCOL = SimpleNamespace(protocol="Masses", version=2, hash="0123456789abcdef")
CASES = pd.DataFrame(
    {
        "case_number": [5, 2, 9, 4, 1],
        "arm": ["explanation"] * 4 + ["shuffled"],
        "texts": [("e",), ("b", "bb"), ("i",), ("d",), ("a",)],
        "truth": ["malignant", "benign", "benign", "malignant", "benign"],
        "predicted": ["benign", "benign", "malignant", "malignant", "benign"],
        "network_score": [0.5, 0.25, 0.125, 0.75, 0.9],
    }
)


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Put a closed study in the place of one in the store."""
    found = SimpleNamespace(score=reading_score(), answers=pd.DataFrame(), asked=[])
    for module in (reading_study, questions):
        monkeypatch.setattr(module, "load_closed_study", lambda study: (PROTOCOL, found.score))
    monkeypatch.setattr(reading_study, "primary_answers", lambda study: found.answers)
    monkeypatch.setattr(reading_study.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(
        reading_study.reading_table,
        "load_reading_cases",
        lambda con, *given: CASES if given == ("Masses", 2) else None,
    )
    return found


def headings(table: Any) -> list[tuple[str, bool, bool]]:
    return [(c.heading, c.wrap, c.interval) for c in table.columns]


def test_table_of_results(closed: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = ("_primary_results", "_sensitivity_analyses", "_accuracy_results")
    for name in (*parts, "_exploratory_results"):
        monkeypatch.setattr(
            reading_study, name, lambda given, name=name: [(name, 0.5, 3, None, "")]
        )
    monkeypatch.setattr(reading_study, "narrative", lambda given: "narrative")
    closed.score.readers = (reader("R1", 1), reader("R2", 3), reader("R3", 5))
    table = reading_study.build_reading_table(STUDY)
    assert [row[0] for row in table.rows] == [*parts, "_exploratory_results"]
    assert headings(table) == [
        ("Result", True, False),
        ("Value", False, True),
        ("P or remark", True, False),
    ]
    assert [table.columns[1].format(v) for v in (0.5, 1234, None)] == [".500", "1,234", "–"]
    assert table.note == (
        'Reading study "Masses", version 2, protocol 0123456789ab; truth rule any malignant.'
        " Intervals have the level of the heading unless a remark says otherwise, and are clustered"
        " by patient. Sensitivity analyses repeat the primary test of the same answers by other"
        " methods or with another rule for missing answers. Exploratory results were not"
        " prespecified."
    )
    assert table.counts == {"answers": 2222, "patients": 91, "readers": 3}
    assert table.method == "narrative"


def test_table_of_examples(closed: SimpleNamespace) -> None:
    closed.answers = pd.DataFrame(
        {"case_number": [2, 5, 2], "code": ["R2", "R1", "R1"], "answer": [6, 3, 1]}
    )
    table = reading_study.build_example_table(STUDY)
    assert table.rows == [
        (2, "b; bb", "benign", "benign", 0.25, "R2: 6, R1: 1"),
        (4, "d", "malignant", "malignant", 0.75, ""),
        (5, "e", "malignant", "benign", 0.5, "R1: 3"),
    ]
    assert headings(table) == [
        ("Case", False, False),
        ("Texts shown", True, False),
        ("Truth", False, False),
        ("Network", False, False),
        ("Network score", False, False),
        ("Answers", True, False),
    ]
    assert table.columns[4].format(0.25) == ".250" and table.counts == {"cases": 3}
    assert table.note == (
        "The first 3 cases of the frozen protocol, not selected by hand. Answers from 1 to 6; 4 or"
        " higher means malignant."
    )


def test_table_of_truth_rules(closed: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    """P values are computed from the answers of each rule; counts are those of the score."""
    rules = {
        "any_malignant": ["malignant", "malignant", "benign", "benign", "malignant", "benign"],
        "first_abnormality": ["benign", "malignant", "benign", "unproven", "malignant", None],
    }
    ids = [f"m{i}" for i in range(6)]
    patients = list("aabbcd")
    answers = [5, 4, 3, 6, 1, 2]
    closed.answers = pd.DataFrame({"mammogram_id": ids, "patient_id": patients, "answer": answers})
    truth = pd.DataFrame({"mammogram_id": ids, **rules}).iloc[::-1]
    monkeypatch.setattr(reading_study.workflow, "load_truth_by_rule", lambda con, design: truth)
    closed.score.rules = [
        SimpleNamespace(
            rule=rule,
            correct=k,
            n=k + 1,
            unproven=k + 2,
            differing=k + 3,
            binomial=SimpleNamespace(p_value=k / 100, mid_p_value=k / 200),
        )
        for rule, k in (("any_malignant", 10), ("first_abnormality", 20))
    ]
    table = reading_study.build_truth_rule_table(STUDY)
    called = [answer >= 4 for answer in answers]
    for row, (rule, values), k in zip(table.rows, rules.items(), (10, 20), strict=True):
        known = [i for i in range(6) if values[i] in ("malignant", "benign")]
        correct = [(values[i] == "malignant") == called[i] for i in known]
        clusters = clustered_proportion(correct, [patients[i] for i in known])
        exact = exact_binomial_test(sum(correct), len(correct), alternative="two-sided")
        name = "any malignant (primary)" if rule == "any_malignant" else "first abnormality"
        assert row == (
            *(name, k, k + 1, k + 2, k + 3, k / 100, exact.p_value, k / 200),
            *clusters.gee_p_values,
            clusters.sign_flip_p_greater,
            clusters.patient_weighted_p_greater,
        )
    assert [c.heading for c in table.columns] == [
        *("Truth rule", "Correct", "n", "Unproven, excluded", "Differ from primary", "P Exact"),
        *("P Exact, two-sided", "P Mid-p", "P GEE", "P GEE, two-sided", "P Sign-flip"),
        "P Patient-weighted",
    ]
    assert [c.wrap for c in table.columns] == [True] + [False] * 11
    assert {c.format(0.0346) for c in table.columns[5:]} == {".035"}
    assert table.columns[4].format(1234) == "1,234"
    assert table.counts == {"answers": 2222, "patients": 91}
    assert table.note.startswith("Sensitivity analyses of the proportion correct. P values are")


def test_table_of_questions(closed: SimpleNamespace) -> None:
    closed.score.questions = [
        SimpleNamespace(
            question=SimpleNamespace(text="Clear?", options=("yes", "no")),
            arm="shuffled",
            answers=1000,
            counts=(250, 750),
        ),
        SimpleNamespace(
            question=SimpleNamespace(text="More?", options=()), arm=None, answers=0, counts=(0,)
        ),
    ]
    closed.score.readers = (reader("R1", 1), reader("R2", 3))
    table = questions.build_question_table(STUDY)
    assert table.rows == [
        ("Clear?", "shuffled explanation", "yes", 250, 1000, 0.25),
        ("Clear?", "shuffled explanation", "no", 750, 1000, 0.75),
        ("More?", "end of the study", "text written", 0, 0, None),
    ]
    assert headings(table) == [
        *((name, True, False) for name in ("Question", "Arm", "Option")),
        *((name, False, False) for name in ("n", "Answers", "Share")),
    ]
    assert table.columns[5].format(0.25) == "25.0 %" and table.columns[4].format(1000) == "1,000"
    assert table.counts == {"readers": 2}
    assert table.note.startswith('Questions of the reading study "Masses", version 2. n, of all')
    closed.score.questions = []
    with pytest.raises(MissingInput) as error:
        questions.build_question_table(STUDY)
    assert error.value.step == "Reading" and error.value.command == ""
    assert error.value.reason == "the closed reading study asks its readers no question"


def frozen(state: str = "closed", **changes: Any) -> SimpleNamespace:
    design = {
        "name": "left out",
        "arms": ["explanation", "no_advice"],
        "primary": "exact_binomial",
        "alpha": 0.0123456,
        "cases_per_class": None,
        "prevalence_told": True,
        "merge_duplicates": False,
        "hypothesis": "a_b",
        "truth_rule": "any_malignant",
        "practice": [["one", "two"], None],
        "questions": [
            {"text": "Clear?", "kind": "choice", "options": ["yes", "no"]},
            {"text": "More?", "kind": "text", "options": []},
        ],
        "flow": [1],
        "reasons": {"f": "accepted by all"},
        "label_set": "x",
        "labels": "y",
    }
    values = {
        "protocol": "Masses",
        "version": 2,
        "state": state,
        "hash": "ab",
        "content_hash": "cd",
        "run": "explain-1",
        "design": design,
        "lint": [
            {"severity": "warning", "field": "f", "finding": "few"},
            {"severity": "note", "field": "g", "finding": "many"},
        ],
    }
    return SimpleNamespace(**values | changes)


def test_table_of_a_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    module = reading_study
    monkeypatch.setattr(module.workflow, "protocol_design", lambda protocol: "design")
    monkeypatch.setattr(module, "analysis_sentences", lambda design: f"plan of {design}")
    monkeypatch.setattr(
        module.workflow, "frozen_label_sentence", lambda protocol: f"labels of {protocol.protocol}"
    )
    monkeypatch.setattr(
        module,
        "acceptance_reason",
        lambda reasons, field, finding: f"{reasons[field]}, {finding}",
    )
    table = module.frozen_protocol_table(frozen())  # type: ignore[arg-type]
    assert table.rows == [
        ("name", "Masses"),
        ("version", "2"),
        ("state", "closed"),
        ("hash (SHA-256)", "ab"),
        ("content hash (SHA-256)", "cd"),
        ("frozen by", "the team"),
        ("explain run", "explain-1"),
        ("analysis plan", "plan of design"),
        ("labels", "labels of Masses"),
        ("arms", "explanation text, no advice"),
        ("primary", "exact binomial"),
        ("alpha", "0.01235"),
        ("cases per class", "not limited"),
        ("prevalence told", "yes"),
        ("merge duplicates", "no"),
        ("hypothesis", "a_b"),
        ("truth rule", "any malignant"),
        ("practice", "one | two, no advice"),
        ("questions", "Clear? (choice: yes | no), More? (text)"),
        ("leakage warning: f", "few (accepted: accepted by all, few)"),
        ("leakage note: g", "many"),
    ]
    assert headings(table) == [("Item", False, False), ("Value", True, False)]
    assert table.note == "As frozen; any change would have created a new version."
    old = module.frozen_protocol_table(frozen(content_hash=""))  # type: ignore[arg-type]
    assert old.rows[4][1] == "none: frozen by the first release"


def test_newest_frozen_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [SimpleNamespace(state=FROZEN_STATES[0], n=1), SimpleNamespace(state="closed", n=2)]
    listed.append(SimpleNamespace(state="designed", n=3))
    monkeypatch.setattr(reading_study.store, "read", lambda study: nullcontext(study))
    monkeypatch.setattr(reading_study.protocol_table, "list_protocols", lambda con: listed)
    monkeypatch.setattr(reading_study, "frozen_protocol_table", lambda protocol: protocol.n)
    assert reading_study.build_protocol_table(STUDY) == 2
    del listed[:2]
    with pytest.raises(MissingInput) as error:
        reading_study.build_protocol_table(STUDY)
    assert (error.value.step, error.value.reason, error.value.command) == (
        "Reading",
        "no protocol has been frozen",
        "deepminer reading freeze",
    )


def test_inputs_of_the_tables() -> None:
    """Name, title, all inputs, and those without which there is no table."""
    classifier = ("data", "patches", "train", "evaluate")
    assert [(s.name, s.title, s.needs, s.required) for s in TABLES.values()] == [
        ("cohort", "Patients and images by split", ("data", "patches"), ("patches",)),
        ("classifiers", "Performance of the classifier", classifier, ("evaluate",)),
        (
            "operating_points",
            "Sensitivity and specificity at thresholds fixed on hold-out",
            classifier,
            ("evaluate",),
        ),
        ("architectures", "Performance across architectures", classifier, ("evaluate",)),
        (
            "units",
            "Selected units with their labels",
            ("dissect", "labels", "annotations"),
            ("dissect",),
        ),
        (
            "categories",
            "Labelled units by category and network",
            ("dissect", "labels"),
            ("dissect", "labels"),
        ),
        (
            "coverage",
            "Coverage of the selected units",
            ("dissect", "coverage", "labels"),
            ("coverage",),
        ),
        ("examples", "Example explanations", ("protocol",), ("protocol",)),
        ("agreement", "Agreement between annotators", ("dissect", "annotations"), ("annotations",)),
        (
            "similarity",
            "Explanations against report lines",
            ("explain", "labels"),
            ("explain", "labels"),
        ),
        ("reading", "Results of the reading study", ("protocol", "evaluate"), ("protocol",)),
        (
            "questions",
            "Answers to the questions of the reading study",
            ("protocol",),
            ("protocol",),
        ),
        ("truth_rules", "Truth rules and methods", ("protocol",), ("protocol",)),
        ("protocol", "Protocol of the reading study", ("protocol",), ()),
        (
            "checklist",
            "Reporting checklists",
            (*classifier, "dissect", "labels", "protocol"),
            (),
        ),
    ]
    assert all(name == spec.name for name, spec in TABLES.items())
    assert select_tables([]) == list(TABLES)

"""Leakage checks detect planted leaks and pass a clean study."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.class_labels import ClassDefinition
from core.errors import UserError
from evaluation.permutation import PatientPermutations
from evaluation.reading_study.leakage_checks import check_leakage, natural_ranks
from evaluation.reading_study.leakage_issues import (
    IssueCode,
    has_errors,
    parse_issues,
    truth_conflict_issue,
)
from evaluation.reading_study.text_leakage import study_verdicts


def clean(n: int = 120, seed: int = 0, per_patient: int = 1) -> pd.DataFrame:
    """Return a study without leaks, in which every case has three texts of its own."""
    rng = np.random.default_rng(seed)
    labels = [
        "mass with spiculated margin",
        "grouped calcifications",
        "dense tissue",
        "edge of a mass",
        "vessels",
        "skin",
        "round mass",
    ]
    texts = [
        tuple(f"{w} {rng.integers(100):02d}" for w in rng.choice(labels, 3, replace=False))
        for _ in range(n)
    ]
    truth = rng.permutation(np.arange(n) % 2 == 0)
    return pd.DataFrame(
        {
            "case": rng.permutation(n) + 1000,
            "order": np.arange(n),
            "texts": texts,
            "truth": truth,
            "score": rng.random(n),
            "patient": np.arange(n) // per_patient,
        }
    )


def errors(table: pd.DataFrame, **more) -> list[str]:
    """Return the fields with an error."""
    return [issue.field for issue in check_leakage(table, **more) if issue.severity == "error"]


def test_clean_studies_pass():
    # About ten tests at .001 each: one study in a hundred is stopped by chance.
    studies = [check_leakage(clean(seed=seed)) for seed in range(40)]
    assert sum(map(has_errors, studies)) <= 2 and not has_errors(studies[0])
    assert {"case", "order"} <= {issue.field for issue in studies[0]}
    # Numbers have no leading zero.
    messages = " ".join(issue.finding for issue in studies[0])
    assert "AUC .5" in messages and "P = ." in messages and " 0." not in messages


def test_identifier_sorted_by_truth():
    table = clean()
    table["case"] = np.argsort(
        np.argsort(
            -1.0 * table["truth"].to_numpy() + np.random.default_rng(1).random(len(table)) * 0.8
        )
    )
    leak = next(f for f in check_leakage(table) if f.field == "case" and f.severity == "error")
    assert leak.auc > 0.9 and leak.p < 0.001 and "predicts truth" in leak.finding
    assert leak.code is IssueCode.IDENTIFIER_TRUTH


def test_identifier_ranked_by_score():
    table = clean()
    table["case"] = table["score"].rank().astype(int)
    assert (
        "case" in errors(table)
        and "network" in next(f for f in check_leakage(table) if f.severity == "error").finding
    )


@pytest.mark.parametrize("plant", ["parity", "category", "prefix", "length", "both ends", "word"])
def test_other_identifier_leaks(plant):
    table, rng = clean(), np.random.default_rng(2)
    truth, n = table["truth"].to_numpy(), len(table)
    named = {
        "parity": 2 * rng.permutation(len(table)) + truth,
        "category": np.where(truth, "B", "A"),
        "prefix": [f"{'k' if t else 'q'}{i}" for t, i in zip(truth, rng.permutation(900))],
        "length": ["x" * (5 + t) + f"{i:03d}" for t, i in zip(truth, rng.permutation(900))],
        "both ends": (
            rng.permutation(n) + np.where(truth, 500, np.where(rng.random(n) < 0.5, 0, 2000))
        ),
        "word": [f"{'cancer' if t else 'case'}_{i}" for t, i in zip(truth, rng.permutation(900))],
    }
    assert "case" in errors(table.assign(case=named[plant]))


@pytest.mark.parametrize("plant", ["sorted", "alternating", "score"])
def test_order_leaks(plant):
    table = clean()
    if plant == "sorted":
        table = table.sort_values("truth")
    elif plant == "score":
        table = table.sort_values("score")
    else:
        table["position"] = table.groupby("truth").cumcount() * 2 + table["truth"]
        table = table.sort_values("position")
    assert "order" in errors(table.assign(order=range(len(table))))


def test_text_length_and_missing_texts():
    table = clean()
    longer = table.assign(
        texts=[(*t, "and more of it") if m else t for t, m in zip(table["texts"], table["truth"])]
    )
    warnings = {f.field: f for f in check_leakage(longer) if f.severity == "warning"}
    assert {"number of texts", "length of texts"} <= set(warnings)
    assert warnings["length of texts"].p < 0.001
    missing = table.copy()
    missing["texts"] = [() if i == 3 else t for i, t in enumerate(table["texts"])]
    assert "texts" in errors(missing)


def test_warnings():
    table = clean(per_patient=2)
    table["texts"] = [("Malignant calcifications", "vessels")] * 100 + [("vessels",)] * 20
    table["arm"] = ["true", "shuffled"] * 60
    issues = check_leakage(
        table, labels={"unit_0001": "vessels", "unit_0002": "skin"}, annotators=["R1"]
    )
    messages = " ".join(f.finding for f in issues if f.severity == "warning")
    for part in (
        "verdict words",
        "distinct texts",
        "one text is shown for 100",
        "dominates",
        "never appear",
        "not in the list",
        "60 patients",
        "more than one arm",
        "R1",
    ):
        assert part in messages, part


def test_labels_without_verdict_words_are_known():
    table = clean()
    labels = {"unit_0001": "Mass, suspicious", "unit_0002": "Never shown"}
    messages = [
        f.finding
        for f in check_leakage(table.assign(texts=[("Mass",)] * len(table)), labels=labels)
        if f.field == "labels"
    ]
    assert len(messages) == 1 and "the labels of 1 unit never appear" in messages[0]


def test_conflicts_single_class_and_missing_columns():
    assert "truth" in errors(clean(), conflicts=2) and "truth" in errors(clean().assign(truth=True))
    with pytest.raises(UserError, match="'case'"):
        check_leakage(clean().drop(columns="case"))
    with pytest.raises(UserError, match="no cases"):
        check_leakage(clean().iloc[:0])


def test_permutations_keep_patients_together():
    patient = np.repeat(["a", "b", "c", "d"], [2, 2, 2, 1])
    tests = PatientPermutations(patient, 1, 500)
    assert (np.sort(tests.rows, axis=1) == np.arange(7)).all() and (tests.rows[:, 6] == 6).all()
    assert (np.abs(np.diff(tests.rows[:, :6].reshape(500, 3, 2), axis=2)) == 1).all()
    rng, low = np.random.default_rng(0), 0
    for seed in range(100):
        truth = np.repeat(rng.random(30) < 0.5, 2)
        p = (
            PatientPermutations(np.repeat(np.arange(30), 2), seed, 199)
            .ordinal_association(np.repeat(rng.normal(size=30), 2), truth)
            .p
        )
        low += p is not None and p <= 0.05
    assert low <= 12


def test_natural_order():
    assert natural_ranks(pd.Series(["case 10", "case 9", "case 100"])).tolist() == [1, 0, 2]


def test_patient_truth_is_exchanged_between_all_sizes():
    patient = np.repeat(["a", "b", "c"], [1, 2, 3])
    tests = PatientPermutations(patient, 1, 300)
    whole = tests.permuted_truth(patient == "c")
    assert set(whole.sum(axis=1)) == {1, 2, 3} and all(
        len(set(row[1:3])) == 1 and len(set(row[3:])) == 1 for row in whole
    )
    mixed = tests.permuted_truth(np.array([1, 1, 0, 1, 1, 0], dtype=bool))
    assert (mixed.sum(axis=1) == 4).all()


def test_verdict_words_with_their_cases() -> None:
    texts = (
        [("Normal tissue", "Mass")] * 30
        + [("Probably benign mass",)]
        + [("Suspicious mass", "Abnormal vessel")] * 12
    )
    cases = pd.DataFrame(
        {
            "case": range(101, 144),
            "texts": texts,
            "truth": [i % 2 == 0 for i in range(43)],
            "patient": range(43),
        }
    )
    labels = {
        str(i): text
        for i, text in enumerate(
            (
                "Normal tissue",
                "Mass",
                "Mass, suspicious",
                "Probably benign mass",
                "Suspicious mass",
                "Abnormal vessel",
            )
        )
    }
    issue = next(f for f in check_leakage(cases, labels=labels) if "verdict words" in f.finding)
    assert (
        "the texts of 13 of 43 cases" in issue.finding and "'benign' in case 131" in issue.finding
    )
    assert (
        "'suspicious' in cases 132, 133, 134, 135, 136, 137, 138, 139 and 4 more" in issue.finding
        and "'normal'" not in issue.finding
    )
    stripped = cases.assign(
        texts=[("Normal tissue", "Mass")] * 43
    )  # verdict words of labels that no case displays do not count
    assert not [f for f in check_leakage(stripped, labels=labels) if "verdict words" in f.finding]


def test_codes_distinguish_truth_conflicts_from_other_errors() -> None:
    conflict = [i for i in check_leakage(clean(), conflicts=2) if i.field == "truth"]
    assert [i.code for i in conflict] == [IssueCode.TRUTH_CONFLICT]
    single = [i for i in check_leakage(clean().assign(truth=True)) if i.field == "truth"]
    assert [i.code for i in single] == [IssueCode.SINGLE_CLASS]


def test_stored_issues_load_with_and_without_codes() -> None:
    issues = check_leakage(clean(), conflicts=2)
    rows = json.loads(json.dumps([issue.as_dict() for issue in issues]))
    assert list(rows[0]) == ["field", "severity", "finding", "code", "auc", "p"]
    assert tuple(parse_issues(rows)) == issues
    # Rows of the first release have no codes.
    old = [{key: value for key, value in row.items() if key != "code"} for row in rows]
    loaded = parse_issues(old)
    assert [i.finding for i in loaded] == [i.finding for i in issues]
    assert loaded[0].code is IssueCode.TRUTH_CONFLICT
    assert {i.code for i in loaded[1:]} == {IssueCode.UNCODED}
    reviewed = {"field": "truth", "severity": "warning", "finding": "", "auc": None, "p": None}
    assert parse_issues([reviewed])[0].code is IssueCode.TRUTH_CONFLICT_REVIEWED


def test_review_turns_a_truth_conflict_into_a_warning() -> None:
    issue = truth_conflict_issue(2, "T1", "both proven by biopsy")
    assert issue.severity == "warning" and issue.code is IssueCode.TRUTH_CONFLICT_REVIEWED
    assert issue.finding.startswith("2 cases") and "T1: both proven by biopsy" in issue.finding
    assert truth_conflict_issue(2).severity == "error"


def test_names_of_the_classes_of_a_study_are_verdict_words() -> None:
    table = clean()
    texts = [("Old full moons", "sky")] * 3 + [("sky",)] * (len(table) - 3)
    classes = ClassDefinition(("empty", "cat", "full moon"), "cat", "full moon")
    named = study_verdicts(classes, ())

    def findings(**more: Any) -> list[str]:
        """Return the findings about verdict words in the texts."""
        issues = check_leakage(table.assign(texts=texts), **more)
        return [i.finding for i in issues if i.code is IssueCode.TEXT_VERDICT_WORDS]

    (finding,) = findings(verdicts=named)
    assert finding.startswith("the texts of 3 of") and "'full moons' in cases" in finding
    assert findings() == []
    # In file names as well, where the diagnosis may stand.
    files = table.assign(file=[f"cat_{i}" for i in range(len(table))])
    issues = check_leakage(files, identifiers=("file",), verdicts=named)
    assert IssueCode.IDENTIFIER_VERDICT_WORDS in {issue.code for issue in issues}

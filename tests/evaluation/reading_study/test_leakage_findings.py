"""Findings of the leakage checks, word for word; the tests behind them state their results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.permutation import Association
from evaluation.reading_study import leakage_checks
from evaluation.reading_study.leakage_checks import (
    check_leakage,
    design_issues,
    identifier_issues,
    image_issues,
    leakage_table,
    natural_ranks,
    order_issues,
)
from evaluation.reading_study.leakage_issues import (
    ERROR,
    NOTE,
    WARNING,
    LeakageIssue,
    acceptance_reason,
    association_issue,
    has_errors,
    permutation_p_text,
    truth_conflict_issue,
)
from evaluation.reading_study.leakage_issues import IssueCode as Code
from evaluation.reading_study.text_leakage import text_issues

# Stated results: the kind of a test to AUC and P.
LEAK, CLEAN, NONE = Association(0.25, 0.0004), Association(0.625, 0.4), Association(None, None)


class StatedTests:
    """Stands for permutation tests: notes what is tested, and returns stated results in turn."""

    def __init__(self, *results: Association) -> None:
        self.results = list(results)
        self.tested: list[tuple[str, list[float]]] = []

    def _next(self, kind: str, values: np.ndarray) -> Association:
        self.tested.append((kind, np.asarray(values).tolist()))
        return self.results.pop(0) if len(self.results) > 1 else self.results[0]

    def ordinal_association(self, values: np.ndarray, truth: np.ndarray) -> Association:
        assert truth.dtype == bool
        return self._next("ordinal", values)

    def categorical_association(self, codes: np.ndarray, truth: np.ndarray) -> Association:
        assert truth.dtype == bool
        return self._next("categorical", codes)

    def score_correlation(self, values: np.ndarray, score: np.ndarray) -> Association:
        return self._next("score", [*values, *score])

    def runs_test(self, truth: np.ndarray) -> Association:
        return self._next("runs", truth)


def rows(n: int, **columns: Any) -> pd.DataFrame:
    basic = {"truth": [k % 3 == 0 for k in range(n)], "patient": range(n)}
    return pd.DataFrame({"case": range(11, 11 + n), **basic, **columns})


def test_one_result_of_a_test() -> None:
    (issue,) = association_issue(Code.ORDER_TRUTH, "order", "its value", LEAK, "truth", ERROR)
    assert issue == LeakageIssue(
        field="order",
        severity=ERROR,
        finding=(
            "its value predicts truth (AUC .75, smaller values with positive cases, permutation P"
            " < .001, limit .001)"
        ),
        code=Code.ORDER_TRUTH,
        auc=0.75,
        p=0.0004,
    )
    assert issue.sentence() == f"Error, order: {issue.finding}"
    assert issue.as_dict()["code"] == "order_truth"
    (clean,) = association_issue(Code.ORDER_ARM, "order", "it", CLEAN, "the arm", ERROR)
    assert (clean.severity, clean.auc, clean.p) == (NOTE, 0.625, 0.4)
    assert clean.finding == (
        "it is not shown to predict the arm (AUC .62, permutation P = .400, limit .001)"
    )
    # At the limit there is no leak, and an AUC of one half has no direction.
    limit = Association(0.5, 0.001)
    (issue,) = association_issue(Code.ORDER_TEXT, "order", "it", limit, "the texts", WARNING)
    assert (issue.severity, issue.finding) == (
        NOTE,
        "it is not shown to predict the texts (AUC .50, permutation P = .001, limit .001)",
    )
    targets = {"the network's score": "higher scores", "the texts": "the texts"}
    for target, side in targets.items():
        (issue,) = association_issue(Code.ORDER_TEXT, "order", "it", LEAK, target, WARNING)
        assert issue.severity == WARNING and f"smaller values with {side}," in issue.finding
    (issue,) = association_issue(
        Code.ORDER_TEXT, "order", "it", Association(None, 0.0002), "the texts", WARNING
    )
    assert issue.auc is None
    assert issue.finding == "it predicts the texts (permutation P < .001, limit .001)"
    assert association_issue(Code.ORDER_TEXT, "order", "it", NONE, "truth", ERROR) == []
    assert permutation_p_text(0.00099) == "< .001" and permutation_p_text(0.001) == "= .001"


def test_reasons_and_errors() -> None:
    reasons = {"texts": " all ", "texts: one": "this"}
    assert acceptance_reason(reasons, "texts", "one") == "this"
    assert acceptance_reason(reasons, "texts", "two") == "all"
    assert acceptance_reason(reasons, "order", "one") == ""
    conflict, reviewed = truth_conflict_issue(1), truth_conflict_issue(3, "T2", "by biopsy")
    assert conflict.finding == "1 case with conflicting or unproven truth rules, not reviewed"
    assert reviewed.finding == (
        "3 cases with conflicting or unproven truth rules; reviewed by T2: by biopsy"
    )
    assert (conflict.field, conflict.severity, conflict.code) == (
        *("truth", ERROR),
        Code.TRUTH_CONFLICT,
    )
    assert has_errors([reviewed, conflict]) and not has_errors([reviewed]) and not has_errors([])


def test_identifier_with_verdict_words() -> None:
    table = rows(5, file=["IMG_1", "A_Benign_9", "x", "cancer_" + "7" * 50, "y"])
    issues = identifier_issues("file", table["file"], table, StatedTests(NONE))
    (issue,) = issues
    assert issue == LeakageIssue(
        field="file",
        severity=ERROR,
        finding="2 of 5 values of file contain a verdict word such as 'a_benign_9'",
        code=Code.IDENTIFIER_VERDICT_WORDS,
    )
    long = table.assign(file=table["file"].where(table.index != 1, "z"))
    (issue,) = identifier_issues("file", long["file"], long, StatedTests(NONE))
    # Forty letters at most.
    assert issue.finding == (
        f"1 of 5 values of file contain a verdict word such as {'cancer_' + '7' * 33!r}"
    )


def test_what_is_tested_of_an_identifier() -> None:
    """Ten values: two categories at most are tested, of values as of letters and of lengths."""
    site = ["a1", "b22", "a1", "b22", "a1", "a1", "b22", "a1", "a1", "a1"]
    codes = [0, 1, 0, 1, 0, 0, 1, 0, 0, 0]
    table = rows(10, site=site, score=np.linspace(0.1, 0.9, 10))
    tests = StatedTests(CLEAN)
    issues = identifier_issues("site", table["site"], table, tests)
    ranks = [float(code) for code in codes]
    assert tests.tested == [
        ("ordinal", ranks),
        *[("categorical", codes)] * 4,
        # Of two values the second one is at the end of the range.
        ("categorical", [7 * code for code in codes]),
        ("score", [*ranks, *table["score"]]),
    ]
    assert [(i.field, i.severity, i.code) for i in issues] == [
        ("site", NOTE, Code.IDENTIFIER_TRUTH),
        ("site", NOTE, Code.IDENTIFIER_SCORE),
    ]
    # Of several results the first leak is stated.
    names = ("value", "category", "last character", "length", "first character", "range")
    for position, name in enumerate(names):
        tests = StatedTests(*[CLEAN] * position, LEAK, CLEAN)
        issue = identifier_issues("site", table["site"], table, tests)[0]
        assert issue.severity == ERROR and issue.finding.startswith(f"its {name} predicts truth")
    # Three categories of ten, or a single one, are not tested.
    for values in (["a1", "b22", "c333"] * 3 + ["a1"], ["a1"] * 10):
        tests = StatedTests(CLEAN)
        identifier_issues("site", pd.Series(values), table.drop(columns="score"), tests)
        assert [kind for kind, _ in tests.tested] == ["ordinal", "categorical"]
    # A score that is not known for every case is not tested.
    gaps = table.assign(score=[None] + [0.5] * 9)
    tests = StatedTests(CLEAN)
    identifier_issues("site", table["site"], gaps, tests)
    assert "score" not in [kind for kind, _ in tests.tested]
    leaking = StatedTests(*[CLEAN] * 6, LEAK)
    issue = identifier_issues("site", table["site"], table, leaking)[1]
    assert issue.severity == ERROR and issue.finding.startswith(
        "its value predicts the network's score (AUC .75, smaller values with higher scores"
    )


def test_eighths_of_a_range() -> None:
    tests = StatedTests(CLEAN)
    values = pd.Series([3, 10, 17, 16, 24, 31, 38, 45, 52, 59])
    identifier_issues("case", values, rows(10), tests)
    # Ranks 1 to 10 in eighths of their range, 9: 0, 8/9, 24/9, 16/9, 32/9, ... , 8 as 7.
    assert tests.tested[-1] == ("categorical", [0, 0, 2, 1, 3, 4, 5, 6, 7, 7])


def test_natural_order_of_texts() -> None:
    assert natural_ranks(pd.Series(["b2", "a10", "a9", "10", "9", "a9"])).tolist() == [
        *(4, 3, 2),
        *(1, 0, 2),
    ]
    assert natural_ranks(pd.Series([30, 10, 20, 10])).tolist() == [4, 1.5, 3, 1.5]


def test_what_is_tested_of_an_order() -> None:
    table = rows(9, score=np.linspace(0.9, 0.1, 9))
    tests = StatedTests(CLEAN)
    issues = order_issues(table, tests)
    positions = [float(k) for k in range(9)]
    assert tests.tested == [
        ("ordinal", positions),
        ("runs", table["truth"].tolist()),
        ("categorical", [0, 0, 1, 2, 3, 4, 5, 6, 7]),
        ("score", [*positions, *table["score"]]),
    ]
    assert [(i.field, i.severity, i.code) for i in issues] == [
        ("order", NOTE, Code.ORDER_TRUTH),
        ("order", NOTE, Code.ORDER_SCORE),
    ]
    subjects = (
        "the position in the order",
        "the run of neighbouring cases",
        "the eighth of the order",
    )
    for position, subject in enumerate(subjects):
        tests = StatedTests(*[CLEAN] * position, LEAK, CLEAN)
        issue = order_issues(table, tests)[0]
        assert issue.severity == ERROR and issue.finding.startswith(f"{subject} predicts truth")
    scored = order_issues(table, StatedTests(*[CLEAN] * 3, LEAK))[1]
    assert scored.severity == ERROR and "in the order predicts the network's" in scored.finding
    assert len(order_issues(table.drop(columns="score"), StatedTests(CLEAN))) == 1


def test_what_is_tested_of_texts() -> None:
    texts = [("Suspicious mass", "Skin"), ("Vessel",), ("Benign cyst", "Cancer", "Malignant dots")]
    tests = StatedTests(CLEAN, LEAK, Association(0.375, 0.0625))
    number, length, words = text_issues(rows(3, texts=texts), tests, None)
    # The balance is that of words for malignancy less words for another class.
    assert tests.tested == [
        ("ordinal", [2, 1, 3]),
        ("ordinal", [19, 6, 31]),
        ("ordinal", [1, 0, 1]),
    ]
    assert (number.field, number.severity, number.code) == (
        *("number of texts", NOTE),
        Code.TEXT_COUNT_TRUTH,
    )
    assert number.finding.startswith("the number of texts is not shown to predict truth")
    assert (length.field, length.severity, length.code) == (
        *("length of texts", WARNING),
        Code.TEXT_LENGTH_TRUTH,
    )
    assert length.finding.startswith("the length of the texts predicts truth")
    assert words == LeakageIssue(
        field="texts",
        severity=WARNING,
        finding=(
            "the texts of 2 of 3 cases contain verdict words, so that the reader may repeat the"
            " annotator's verdict: 'suspicious' in case 11; 'benign' in case 13; 'cancer' in case"
            " 13; 'malignant' in case 13 (their balance against truth: AUC .38, permutation P ="
            " .062)"
        ),
        code=Code.TEXT_VERDICT_WORDS,
        auc=0.375,
        p=0.0625,
    )
    (untested,) = text_issues(rows(3, texts=texts), StatedTests(NONE), None)
    assert untested.finding.endswith("'malignant' in case 13") and untested.p is untested.auc


def test_what_is_tested_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def tests_of(patients: np.ndarray, seed: int) -> StatedTests:
        made.append((list(patients), seed))
        return StatedTests(LEAK)

    monkeypatch.setattr(leakage_checks, "PatientPermutations", tests_of)
    properties = {"height": [1.0, 2, 3], "outline": [4.0, 5, 6], "grey": [7.0, 8, 9]}
    table = rows(3, scanner=["A", "B", "A"], films=[2, 3, 4], **properties)
    issues = image_issues(table, 5)
    assert made == [([0, 1, 2], 5)]
    names = ("height", "outline", "grey", "films", "scanner")
    assert [(i.field, i.severity, i.code) for i in issues] == [
        ("images", WARNING, Code.IMAGE_TRUTH)
    ] * 5
    assert [i.finding.split(" predicts truth")[0] for i in issues] == [
        f"the mammograms' {name}" for name in names
    ]
    fewer = image_issues(table.drop(columns=["grey", "films"]), 5, "class maps", "the maps'")
    assert [i.finding.split(" predicts truth")[0] for i in fewer] == [
        f"the maps' {name}" for name in ("height", "outline", "scanner")
    ]
    assert {i.field for i in fewer} == {"class maps"}


def test_findings_about_the_design() -> None:
    table = rows(7, arm=["a", "b", "a", "b", "a", "a", "a"])
    table["patient"] = [1, 1, 2, 2, 3, 3, 4]
    assert [(i.field, i.severity, i.code, i.finding) for i in design_issues(table, 2, "BA")] == [
        (
            "patients",
            WARNING,
            Code.REPEATED_PATIENTS,
            "7 cases come from 4 patients: answers are not independent, so the test must account"
            " for clustering",
        ),
        ("arms", WARNING, Code.SHARED_PATIENTS, "2 patients are in more than one arm"),
        (
            "readers",
            WARNING,
            Code.ANNOTATING_READERS,
            "A, B annotated units; as readers they may recognise their own labels",
        ),
        (
            "truth",
            ERROR,
            Code.TRUTH_CONFLICT,
            "2 cases with conflicting or unproven truth rules, not reviewed",
        ),
    ]
    (shared,) = design_issues(table.iloc[:2].assign(truth=[True, False]), 0, [])[1:]
    assert shared.finding == "1 patient is in more than one arm"
    for value in (True, False):
        (single,) = design_issues(rows(3).assign(truth=value), 0, ())
        assert (single.field, single.severity, single.code) == ("truth", ERROR, Code.SINGLE_CLASS)
        assert single.finding == "all cases are of one class: discrimination cannot be measured"
    assert design_issues(rows(3), 0, ()) == []


def test_arms_without_texts_have_no_missing_texts() -> None:
    table = rows(6, texts=[("A",), (), ("B",), ("C",), (), ("D",)])
    arms = ["explanation", "image", "explanation", "explanation", "class_map", "explanation"]
    codes = {issue.code for issue in check_leakage(table.assign(arm=arms))}
    assert Code.MISSING_TEXTS not in codes and Code.TEXT_COUNT_TRUTH not in codes
    assert Code.MISSING_TEXTS in {issue.code for issue in check_leakage(table)}
    none = check_leakage(table.assign(arm="image"))
    assert not {i.field for i in none} & {"texts", "number of texts", "length of texts"}


def test_severities_and_fields_are_in_their_order() -> None:
    n = 40
    table = rows(n, texts=[(f"text {k * 7 % n}", "Vessel") for k in range(n)])
    table["truth"] = [k < 20 for k in range(n)]
    table["order"] = [k * 11 % n for k in range(n)]
    issues = check_leakage(table, conflicts=1, annotators=["R2"], labels={"1": "Vessel"})
    assert [(i.field, i.severity) for i in issues if i.severity != NOTE] == [
        ("case", ERROR),
        ("truth", ERROR),
        ("texts", WARNING),
        ("labels", WARNING),
        ("readers", WARNING),
    ]
    # Without a column of orders the rows are in the order of display.
    fields = [i.field for i in check_leakage(table.drop(columns="order")) if i.severity == ERROR]
    assert fields == ["case", "order"]


def test_table_of_the_key() -> None:
    key = pd.DataFrame(
        {
            "case_number": [5, 3, 9],
            "texts": [("a",), (), ("b", "c")],
            "truth": ["cat", "dog", "cat"],
            "patient_id": ["p1", "p2", "p3"],
            "network_score": [0.5, None, 0.25],
            "arm": ["x", "y", "z"],
        }
    )
    order = [(9, False), (5, False), (9, True), (3, False)]
    table = leakage_table(key, order, "cat")
    assert list(table.columns) == ["case", "texts", "truth", "patient", "score", "arm", "order"]
    assert table["case"].tolist() == [5, 3, 9] and table["truth"].tolist() == [True, False, True]
    assert table["patient"].tolist() == ["p1", "p2", "p3"] and table["order"].tolist() == [1, 3, 0]
    assert table["score"].dropna().tolist() == [0.5, 0.25] and table["arm"].tolist() == list("xyz")
    assert table["texts"].tolist() == [("a",), (), ("b", "c")]
    plain = leakage_table(key.assign(truth=["malignant", "benign", "cat"]))
    assert plain["truth"].tolist() == [True, False, False] and "order" not in plain

"""Each permutation test of an order: its subject, its target, its rows and its P."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from evaluation.permutation import Association, PatientPermutations
from evaluation.reading_study import (
    Design,
    leakage_checks,
    leakage_issues,
    order_checks,
)
from evaluation.reading_study.leakage_checks import leakage_table
from evaluation.reading_study.leakage_issues import (
    ERROR,
    NOTE,
    WARNING,
    IssueCode,
    LeakageIssue,
    association_issue,
    permutation_p_text,
)
from evaluation.reading_study.order_checks import position_by_category, reader_order_issues

SEED = 6
CASES = pd.DataFrame(
    {
        "case_number": [1, 2, 3, 4, 5, 6, 7],
        "patient_id": ["a", "b", "c", "c", "d", "e", "f"],
        "truth": ["malignant", "benign", "benign", "malignant", "malignant", "benign", "benign"],
        "network_score": [0.9, 0.3, 0.5, 0.8, 0.2, 0.4, 0.1],
        "arm": ["image", "explanation", "image", "shuffled", "image", "explanation", "shuffled"],
        "texts": [(), ("A", "B"), (), ("C",), (), ("A", "B"), ("D",)],
    }
)
# The hidden repeats of 5, 2 and 1 lie in the second half.
ORDER = [(3, False), (5, False), (1, False), (7, False), (2, False)]
ORDER += [(5, True), (4, False), (6, False), (2, True), (1, True)]
DESIGN = Design(seed=SEED, repeats=3)
Result = tuple[Any, ...]


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[Result]:
    """The tests of which an issue is made: code, field, subject, target, severity, result."""
    made: list[Result] = []

    def issue(
        code: IssueCode, field: str, subject: str, result: Association, target: str, severity: str
    ) -> list[LeakageIssue]:
        made.append((code, field, subject, target, severity, result))
        return [LeakageIssue(field=field, severity=severity, finding=subject, code=code)]

    monkeypatch.setattr(order_checks, "association_issue", issue)
    return made


def test_hidden_repeats(results: list[Result]) -> None:
    issues = order_checks._repeat_issues(CASES, ORDER, DESIGN)
    # Of ten places the second half begins with the sixth: repeats are at 0, 3 and 4 of it.
    flags = np.array([True, False, False, True, True])
    half = PatientPermutations(range(5), SEED)
    whole = PatientPermutations(range(7), SEED)
    repeated = np.array([True, True, False, False, True, False, False])
    truth = (CASES["truth"] == "malignant").to_numpy()
    scores, arms = CASES["network_score"].to_numpy(), np.array([0, 1, 0, 2, 0, 1, 2])
    place, run = "the position in the second half", "the run of neighbouring cases"
    assert [row[:5] for row in results] == [
        (IssueCode.ORDER_REPEAT, "order", subject, target, ERROR)
        for subject, target in (
            (place, "hidden repeats"),
            (run, "hidden repeats"),
            ("being repeated", "truth"),
            ("being repeated", "the arm"),
            ("being repeated", "the network's score"),
        )
    ]
    assert [row[5] for row in results] == [
        half.ordinal_association(np.arange(5.0), flags),
        half.runs_test(flags),
        whole.ordinal_association(repeated.astype(float), truth),
        whole.categorical_association(arms, repeated),
        whole.ordinal_association(scores, repeated),
    ]
    assert [issue.finding for issue in issues] == [row[2] for row in results]
    # An odd number of places: the middle one belongs to the first half.
    results.clear()
    order_checks._repeat_issues(CASES, ORDER[1:], DESIGN)
    flags = np.array([False, False, True, True])
    assert results[1][5] == PatientPermutations(range(4), SEED).runs_test(flags)
    results.clear()
    plain = [(number, False) for number, _ in ORDER[:5]]
    assert order_checks._repeat_issues(CASES, plain, DESIGN) == [] == results


def test_positions_of_one_reader(monkeypatch: pytest.MonkeyPatch, results: list[Result]) -> None:
    asked: list[tuple[pd.DataFrame, PatientPermutations]] = []
    monkeypatch.setattr(
        order_checks, "order_issues", lambda table, tests: asked.append((table, tests)) or []
    )
    order_checks._position_issues(leakage_table(CASES, ORDER, "malignant"), SEED)
    ((table, tests),) = asked
    # Positions of the first showings: 3, 5, 1, 7, 2, 4, 6.
    assert table["case"].tolist() == [3, 5, 1, 7, 2, 4, 6]
    assert np.array_equal(tests.rows, PatientPermutations(list("cdafbce"), SEED).rows)
    arms = np.array([0, 0, 0, 1, 2, 1, 2])
    # Texts are shown with 7, 2, 4 and 6; those of 2 and 6 are the same.
    texts = np.array([0, 1, 0, 1])
    assert results == [
        (
            *(IssueCode.ORDER_ARM, "order", "the position in the order", "the arm", ERROR),
            position_by_category(arms, PatientPermutations(range(7), SEED)),
        ),
        (
            *(IssueCode.ORDER_TEXT, "order", "the position in the order", "the texts", ERROR),
            position_by_category(texts, PatientPermutations(range(4), SEED)),
        ),
    ]
    results.clear()
    wordless = leakage_table(CASES.assign(texts=[()] * 7), ORDER, "malignant")
    order_checks._position_issues(wordless, SEED)
    assert [row[0] for row in results] == [IssueCode.ORDER_ARM]


def test_mean_position_by_category_by_hand() -> None:
    tests = PatientPermutations(range(5), 3, 300)
    categories = np.array([8, 2, 2, 8, 5])

    def between(positions: np.ndarray) -> float:
        centred = positions - 2
        return sum(
            centred[categories == code].sum() ** 2 / (categories == code).sum()
            for code in (2, 5, 8)
        )

    permuted = np.array([between(row) for row in tests.rows])
    observed = between(np.arange(5))
    # -2 + 1 = -1 of two, -1 + 0 = -1 of two, 2 of one.
    assert observed == pytest.approx(1 / 2 + 1 / 2 + 4)
    found = position_by_category(categories, tests)
    assert found.auc is None
    assert found.p == pytest.approx((1 + (permuted >= observed - 1e-9).sum()) / 301)
    for same in (np.full(5, 8), np.array([], int)):
        assert position_by_category(same, tests) == Association(None, None)


def test_issues_of_readers_and_of_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reader R2 has an error, R1 a warning, and both together another error."""
    monkeypatch.setattr(
        order_checks, "reader_order", lambda cases, design, code, rotation: (code, rotation)
    )
    tables = {("R1", 0): [3.0, 9.0, 4.0], ("R2", 1): [1.0, 5.0, 7.0]}
    monkeypatch.setattr(
        order_checks,
        "leakage_table",
        lambda cases, order=None, positive=None: pd.DataFrame(
            {"order": tables.get(order, [0.0] * 3), "positive": positive}
        ),
    )
    issue = LeakageIssue(field="order", severity=ERROR, finding="f", code=IssueCode.ORDER_ARM)
    seen: list[list[float]] = []

    def positions(table: pd.DataFrame, seed: int) -> list[LeakageIssue]:
        assert seed == SEED and set(table["positive"]) == {"malignant"}
        seen.append(table["order"].tolist())
        warning = replace(issue, severity=WARNING)
        return [warning if table["order"].tolist() == [3, 9, 4] else issue]

    def repeats(cases: Any, order: Any, design: Any) -> list[LeakageIssue]:
        return [replace(issue, code=IssueCode.ORDER_REPEAT)] if order == ("R2", 1) else []

    monkeypatch.setattr(order_checks, "_position_issues", positions)
    monkeypatch.setattr(order_checks, "_repeat_issues", repeats)
    found = reader_order_issues(CASES, DESIGN, ["R1", "R2"])
    # Ranks 1, 3, 2 and 1, 2, 3 together.
    assert seen == [[3, 9, 4], [1, 5, 7], [2, 5, 5]]
    assert [(one.field, one.code, one.severity) for one in found] == [
        ("order of R2", IssueCode.ORDER_ARM, ERROR),
        ("order of R2", IssueCode.ORDER_REPEAT, ERROR),
        ("order of all planned readers", IssueCode.ORDER_ARM, ERROR),
    ]
    seen.clear()
    (note,) = reader_order_issues(CASES, DESIGN, ["R1"])
    assert seen == [[3, 9, 4]]
    assert note == LeakageIssue(
        field="order",
        severity=NOTE,
        finding=(
            "the orders of 1 planned reader (R1) are not shown to predict truth, the network's"
            " score, arm, texts or hidden repeats"
        ),
        code=IssueCode.READER_ORDERS,
    )


@pytest.mark.parametrize(
    ("area", "p", "severity", "finding"),
    [
        (0.75, 0.0005, ERROR, "s predicts truth (AUC .75, permutation P < .001, limit {})"),
        (
            0.5,
            0.5,
            NOTE,
            "s is not shown to predict truth (AUC .50, permutation P = .500, limit {})",
        ),
        (
            *(0.25, 0.5, NOTE),
            "s is not shown to predict truth (AUC .75, smaller values with {high}, permutation P ="
            " .500, limit {})",
        ),
        (None, 0.0005, ERROR, "s predicts truth (permutation P < .001, limit {})"),
    ],
)
def test_issue_of_a_test(area: float | None, p: float, severity: str, finding: str) -> None:

    limit = leakage_issues.LEAKAGE_ALPHA
    (issue,) = association_issue(
        IssueCode.ORDER_TRUTH, "f", "s", Association(area, p), "truth", ERROR
    )
    high = leakage_issues._HIGH["truth"]
    text = finding.replace("{high}", high).replace("{}", f"{limit:.3f}".lstrip("0"))
    assert (issue.field, issue.severity, issue.finding) == ("f", severity, text)
    assert issue.auc == (None if area is None else max(area, 1 - area)) and issue.p == p
    at_limit = Association(area, limit)
    (issue,) = association_issue(IssueCode.ORDER_TRUTH, "f", "s", at_limit, "truth", WARNING)
    # A P of the limit itself is no leak.
    assert issue.severity == NOTE
    nothing = Association(area, None)
    assert association_issue(IssueCode.ORDER_TRUTH, "f", "s", nothing, "truth", ERROR) == []
    assert (permutation_p_text(0.001), permutation_p_text(0.0009)) == ("= .001", "< .001")


def test_eighths_and_display_order() -> None:
    found = leakage_checks._eighths(np.array([10.0, 11.0, 12.0, 13.0, 17.0, 18.0]))
    # Eight ranks from 10 to 18: 11 and 12 lie at 8 / 8 and 16 / 8 of the range.
    assert found.tolist() == [0, 0, 1, 2, 6, 7]
    assert leakage_checks._eighths(np.array([4.0, 4.0])).tolist() == [0, 0]
    table = leakage_table(CASES, ORDER, "benign")
    assert table["order"].tolist() == [2, 4, 0, 6, 1, 7, 3]
    assert table["truth"].tolist() == [False, True, True, False, False, True, True]
    assert "order" not in leakage_table(CASES).columns
    assert leakage_table(CASES)["truth"].sum() == 3

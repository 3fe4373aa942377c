"""Counts and names in the warnings about displayed texts, by hand."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from evaluation.permutation import PatientPermutations
from evaluation.reading_study.leakage_issues import ERROR, WARNING
from evaluation.reading_study.leakage_issues import IssueCode as Code
from evaluation.reading_study.text_leakage import text_issues

# Six cases: a text shown three times, a label shown in four, one case without text.
TEXTS = [
    ("Suspicious mass", "Vessels"),
    ("Vessels", "Skin"),
    ("Vessels",),
    ("Vessels",),
    (" ",),
    ("Cancer", "Benign cyst"),
]


def issues(texts: list[tuple[str, ...]] = TEXTS, labels: Any = None, **columns: Any) -> dict:
    n = len(texts)
    table = pd.DataFrame({"texts": texts, "truth": [k % 2 == 0 for k in range(n)], **columns})
    tests = PatientPermutations(list(range(n)), 1)
    return {issue.code: issue for issue in text_issues(table, tests, labels)}


def test_verdict_words_name_their_cases() -> None:
    found = issues(case=[11.0, 12.0, 13.0, 14.0, 15.0, 16.0])[Code.TEXT_VERDICT_WORDS]
    assert "of 2 of 6 cases" in found.finding and found.severity == WARNING
    for part in ("'suspicious' in case 11", "'cancer' in case 16", "'benign' in case 16"):
        assert part in found.finding
    # Without a column of names the cases are numbered from 1.
    numbered = issues()[Code.TEXT_VERDICT_WORDS].finding
    assert "'suspicious' in case 1;" in numbered and "'cancer' in case 6 (" in numbered
    last = [("Skin",), ("Fat",), ("Malignant mass",)]
    assert "'malignant' in case 3" in issues(last)[Code.TEXT_VERDICT_WORDS].finding
    assert Code.TEXT_VERDICT_WORDS not in issues([("Normal tissue",), ("Skin",), ("Fat",)])


@pytest.mark.parametrize(("count", "names"), [(8, "1, 2, 3, 4, 5, 6, 7, 8"), (10, "8 and 2 more")])
def test_at_most_eight_cases_are_named(count: int, names: str) -> None:
    texts = [("Suspicious",)] * count + [("Skin",)]
    finding = issues(texts)[Code.TEXT_VERDICT_WORDS].finding
    assert names in finding and ("more" in finding) == (count > 8)


def test_variety_of_texts() -> None:
    found = issues()
    assert found[Code.MISSING_TEXTS].finding.startswith("1 of 6 cases have no text")
    assert found[Code.MISSING_TEXTS].severity == ERROR
    assert found[Code.DOMINANT_LABEL].finding == (
        "one label dominates: 'Vessels' is shown in 4 of 6 cases, more than 50 %"
    )
    # Two copies in a small study, half of the cases, and a third of distinct texts are no fault.
    assert Code.REPEATED_TEXT not in found and Code.FEW_DISTINCT_TEXTS not in found
    half = [("A", "B"), ("B", "A"), ("A", "C"), ("D",), ("E",), ("F",)]
    assert Code.DOMINANT_LABEL not in issues(half)
    few = [("A", "B"), ("B", "A"), ("A", "B"), ("A", "B"), ("C",), ("C",), ("A", "B")]
    found = issues(few)
    assert found[Code.FEW_DISTINCT_TEXTS].finding == (
        "only 2 distinct texts (ignoring their order) for 7 cases, fewer than 33 % of them"
    )
    assert found[Code.REPEATED_TEXT].finding == (
        "one text is shown for 4 of 7 cases: 'A, B'; more than 10 %, and more than two"
    )
    third = [("A",), ("A",), ("B",), ("B",), ("A",), ("B",)]
    assert Code.FEW_DISTINCT_TEXTS not in issues(third)


def test_labels_that_are_never_shown_and_texts_that_are_no_labels() -> None:
    labels = {
        "unit_0001": "Vessels",
        "unit_0002": "Skin",
        "unit_0003": "Nipple",
        # Shown without the annotator's verdict.
        "unit_0004": "Suspicious mass, suspicious",
        "unit_0005": "Fat",
        "unit_0006": "Clip",
    }
    found = issues(labels=labels)
    assert found[Code.UNUSED_LABELS].finding == (
        "6 distinct labels for 6 labelled units; the labels of 3 units never appear"
    )
    assert found[Code.UNKNOWN_LABELS].finding == (
        "3 displayed labels not in the list of labels, among them ' '"
    )
    complete = {f"unit_000{k}": text for k, text in enumerate({t for c in TEXTS for t in c})}
    found = issues(labels=complete)
    assert Code.UNUSED_LABELS not in found and Code.UNKNOWN_LABELS not in found
    assert Code.UNUSED_LABELS not in issues()

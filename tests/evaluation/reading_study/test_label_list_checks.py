"""Displayed labels against the list of labelled units."""

from __future__ import annotations

from evaluation.reading_study.leakage_issues import IssueCode
from evaluation.reading_study.text_leakage import _label_issues

LABELS = {"u1": "Mass", "u2": "Fat", "u3": "Skin fold, benign", "u4": "Vessel"}


def found(texts: list[tuple[str, ...]]) -> list[tuple[IssueCode, str]]:
    return [(issue.code, issue.finding) for issue in _label_issues(texts, LABELS, ["benign"])]


def test_labels_that_never_appear_and_labels_of_no_unit() -> None:
    assert found([("Mass", "Fat"), ("Skin fold, benign", "Vessel")]) == []
    one, unknown = found([("Mass", "Fat", "Other"), ("Vessel",)])
    assert one == (
        IssueCode.UNUSED_LABELS,
        "4 distinct labels for 4 labelled units; the labels of 1 unit never appear",
    )
    assert unknown == (
        IssueCode.UNKNOWN_LABELS,
        "1 displayed label not in the list of labels, among them 'Other'",
    )
    [three] = found([("Mass",)])
    assert three[1] == "1 distinct label for 4 labelled units; the labels of 3 units never appear"

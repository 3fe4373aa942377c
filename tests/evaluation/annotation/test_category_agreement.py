"""Agreement between and within experts, against values computed by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from core.lexicon import annotation_answers
from core.lexicon.birads_categories import BIRADS
from evaluation.annotation import category_agreement

CATEGORY_NAMES = [category.name for category in BIRADS.categories]


def answer(*categories: str, association: str = "benign") -> dict:
    """Return an answer that names these categories, or the answer "nothing"."""
    if not categories:
        return annotation_answers.empty_answer()
    return annotation_answers.create_answer(
        [
            {"category": c, "terms": {}, "association": None if c == "normal" else association}
            for c in categories
        ],
        2,
        BIRADS,
    )


def frame(rows: list[tuple]) -> pd.DataFrame:
    """Return annotations from (code, unit, answer[, repeat[, practice]])."""
    return pd.DataFrame(
        [
            {
                "annotation_id": f"a{i}",
                "code": r[0],
                "unit": r[1],
                "answer": r[2],
                "repeat": r[3] if len(r) > 3 else False,
                "practice": r[4] if len(r) > 4 else False,
            }
            for i, r in enumerate(rows)
        ]
    )


TWO = frame(
    [
        ("A", 1, answer("mass")),
        ("B", 1, answer("mass")),
        ("A", 2, answer("mass", "calcification")),
        ("B", 2, answer("mass")),
        ("A", 3, answer()),
        ("B", 3, answer()),
        ("A", 4, answer("normal")),
        ("B", 4, answer("mass")),
        ("A", 5, answer("calcification")),
        ("B", 5, answer("calcification")),
        ("A", 6, answer("mass")),
        ("A", 1, answer("mass"), True),
        ("A", 3, answer("mass"), True),
        ("B", 9, answer("mass"), False, True),
    ]
)


def test_category_overlap() -> None:
    overlap = category_agreement.category_overlap(TWO)
    assert (
        overlap.estimate == pytest.approx((1 + 0.5 + 1 + 0 + 1) / 5)
        and overlap.n == 5
        and overlap.low < overlap.estimate < overlap.high
    )


def test_complete_overlap_has_no_interval() -> None:
    same = category_agreement.category_overlap(
        frame([(code, unit, answer("mass")) for code in "AB" for unit in range(6)])
    )
    assert (same.estimate, same.low, same.high) == (1, None, None) and same.reason


def test_kappa_by_category() -> None:
    rows = {r.name: r for r in category_agreement.agreement_by_category(TWO, CATEGORY_NAMES)}
    observed, chance = 4 / 5, (2 / 5) * (3 / 5) + (3 / 5) * (2 / 5)
    assert (
        rows["mass"].estimate == pytest.approx((observed - chance) / (1 - chance))
        and rows["mass"].n == 5
    )
    assert rows["nothing"].estimate == pytest.approx(1) and "asymmetry" not in rows


def test_category_of_one_expert_has_no_interval() -> None:
    rows = frame(
        [
            (code, unit, answer("mass") if unit or code == "A" else answer("asymmetry"))
            for code in "AB"
            for unit in range(49)
        ]
    )
    asymmetry = next(
        r
        for r in category_agreement.agreement_by_category(rows, CATEGORY_NAMES)
        if r.name == "asymmetry"
    )
    assert (
        asymmetry.estimate == pytest.approx(0, abs=1e-12)
        and asymmetry.low is None
        and asymmetry.high is None
        and "one rater used one category only" in asymmetry.reason
    )


def test_alpha_for_three_experts() -> None:
    three = pd.concat(
        [TWO, frame([("C", u, answer("mass")) for u in range(1, 6)])], ignore_index=True
    )
    assert (
        "alpha" in category_agreement.agreement_by_category(three, CATEGORY_NAMES)[0].method.lower()
        and category_agreement.count_experts(three) == 3
    )


def test_repeat_consistency() -> None:
    assert [(r.name, r.estimate, r.n) for r in category_agreement.repeat_consistency(TWO)] == [
        ("A", 0.5, 2)
    ]


def test_disagreements_by_conflict() -> None:
    with_verdict = pd.concat(
        [
            TWO,
            frame([("A", 7, answer("mass")), ("B", 7, answer("mass", association="suspicious"))]),
        ],
        ignore_index=True,
    )
    disagreements = category_agreement.list_disagreements(with_verdict)
    assert [d.unit for d in disagreements][:2] == [4, 2] and [
        d.conflict for d in disagreements if d.unit in (1, 3, 5)
    ] == [0, 0, 0]
    assert next(d for d in disagreements if d.unit == 7).conflict == 0.5 and 6 not in [
        d.unit for d in disagreements
    ]


def test_one_expert_and_no_answers() -> None:
    alone = TWO[TWO["code"] == "A"].reset_index(drop=True)
    assert (
        category_agreement.category_overlap(alone).estimate is None
        and "two experts" in category_agreement.category_overlap(alone).reason
        and category_agreement.count_experts(alone) == 1
    )
    empty = TWO.iloc[:0]
    assert (
        category_agreement.list_disagreements(empty) == []
        and category_agreement.repeat_consistency(empty) == []
        and category_agreement.count_experts(empty) == 0
    )

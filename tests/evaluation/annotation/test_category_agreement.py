"""Agreement between annotators and with oneself, against values worked out by hand."""

from __future__ import annotations

import pandas as pd
import pytest

from core import birads_lexicon
from evaluation.annotation import category_agreement


def said(*categories: str, association: str = "benign") -> dict:
    """An answer that names these categories; none: nothing."""
    if not categories:
        return birads_lexicon.empty_answer()
    return birads_lexicon.make_answer(
        [
            {"category": c, "terms": {}, "association": None if c == "normal" else association}
            for c in categories
        ],
        2,
    )


def frame(rows: list[tuple]) -> pd.DataFrame:
    """code, unit, answer[, repeat[, practice]]."""
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
        ("A", 1, said("mass")),
        ("B", 1, said("mass")),
        ("A", 2, said("mass", "calcification")),
        ("B", 2, said("mass")),
        ("A", 3, said()),
        ("B", 3, said()),
        ("A", 4, said("normal")),
        ("B", 4, said("mass")),
        ("A", 5, said("calcification")),
        ("B", 5, said("calcification")),
        ("A", 6, said("mass")),
        ("A", 1, said("mass"), True),
        ("A", 3, said("mass"), True),
        ("B", 9, said("mass"), False, True),
    ]
)


def test_jaccard_by_hand() -> None:
    found = category_agreement.jaccard(TWO)
    assert (
        found.estimate == pytest.approx((1 + 0.5 + 1 + 0 + 1) / 5)
        and found.n == 5
        and found.low < found.estimate < found.high
    )


def test_agreeing_everywhere_is_no_certainty() -> None:
    same = category_agreement.jaccard(
        frame([(code, unit, said("mass")) for code in "AB" for unit in range(6)])
    )
    assert (same.estimate, same.low, same.high) == (1, None, None) and same.reason


def test_kappa_per_category_by_hand() -> None:
    rows = {r.name: r for r in category_agreement.per_category(TWO)}
    observed, chance = 4 / 5, (2 / 5) * (3 / 5) + (3 / 5) * (2 / 5)
    assert (
        rows["mass"].estimate == pytest.approx((observed - chance) / (1 - chance))
        and rows["mass"].n == 5
    )
    assert rows["nothing"].estimate == pytest.approx(1) and "asymmetry" not in rows


def test_a_category_that_one_expert_never_used_has_no_interval() -> None:
    rows = frame(
        [
            (code, unit, said("mass") if unit or code == "A" else said("asymmetry"))
            for code in "AB"
            for unit in range(49)
        ]
    )
    found = next(r for r in category_agreement.per_category(rows) if r.name == "asymmetry")
    assert (
        found.estimate == pytest.approx(0, abs=1e-12)
        and found.low is None
        and found.high is None
        and "one rater used one category only" in found.reason
    )


def test_three_experts_are_measured_by_alpha() -> None:
    three = pd.concat(
        [TWO, frame([("C", u, said("mass")) for u in range(1, 6)])], ignore_index=True
    )
    assert (
        "alpha" in category_agreement.per_category(three)[0].method.lower()
        and category_agreement.raters(three) == 3
    )


def test_repeats_within_an_expert() -> None:
    assert [(r.name, r.estimate, r.n) for r in category_agreement.repeats(TWO)] == [("A", 0.5, 2)]


def test_disputes_come_worst_first_and_agreement_last() -> None:
    with_verdict = pd.concat(
        [TWO, frame([("A", 7, said("mass")), ("B", 7, said("mass", association="suspicious"))])],
        ignore_index=True,
    )
    found = category_agreement.disputes(with_verdict)
    assert [d.unit for d in found][:2] == [4, 2] and [
        d.conflict for d in found if d.unit in (1, 3, 5)
    ] == [0, 0, 0]
    assert next(d for d in found if d.unit == 7).conflict == 0.5 and 6 not in [
        d.unit for d in found
    ]


def test_one_rater_and_nobody() -> None:
    alone = TWO[TWO["code"] == "A"].reset_index(drop=True)
    assert (
        category_agreement.jaccard(alone).estimate is None
        and "two experts" in category_agreement.jaccard(alone).reason
        and category_agreement.raters(alone) == 1
    )
    nobody = TWO.iloc[:0]
    assert (
        category_agreement.disputes(nobody) == []
        and category_agreement.repeats(nobody) == []
        and category_agreement.raters(nobody) == 0
    )

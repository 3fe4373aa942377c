"""Every field of the agreement of experts on categories, on six units counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from evaluation.agreement import cohen_kappa, krippendorff_alpha
from evaluation.annotation import category_agreement
from evaluation.annotation.category_agreement import AgreementEstimate


def said(*categories: str, association: str | None = None, label: str = "") -> dict[str, Any]:
    """Return an answer that names categories, or a text without one, or nothing."""
    recognisable = "yes" if categories or label else "nothing"
    phenomena = [{"category": c, "association": association, "terms": {}} for c in categories]
    text = label or ", ".join(categories)
    return {"recognisable": recognisable, "phenomena": phenomena, "label": text}


def frame(*rows: tuple[Any, ...]) -> pd.DataFrame:
    """Return annotations from (code, unit, answer, repeat, practice)."""
    whole = [(f"a{i}", *row, *(False,) * (5 - len(row))) for i, row in enumerate(rows)]
    names = ["annotation_id", "code", "unit", "answer", "repeat", "practice"]
    return pd.DataFrame(whole, columns=names)


# Both experts answer the units 1 to 6; B alone unit 7, and unit 8 only as practice.
PAIRS = (
    (("mass",), ("mass",)),
    (("mass", "calcification"), ("calcification",)),
    ((), ()),
    (("calcification",), ("mass",)),
    (("calcification",), ("calcification",)),
    (("mass", "calcification", "skin"), ("mass", "skin")),
)
TWO = frame(
    *[("B", u, said(*b)) for u, (_, b) in enumerate(PAIRS, start=1)],
    *[("A", u, said(*a)) for u, (a, _) in enumerate(PAIRS, start=1)],
    ("B", 7, said("skin")),
    ("A", 8, said("mass"), False, True),
    ("A", 2, said("mass"), True),
    ("A", 5, said("calcification"), True),
    ("A", 1, said("mass"), True),
    ("B", 9, said("mass"), True),
)
NAMES = ("mass", "calcification", "asymmetry", "skin")


def test_agreement_by_category() -> None:
    estimates = category_agreement.agreement_by_category(TWO, NAMES)
    assert [e.name for e in estimates] == ["mass", "calcification", "skin", "nothing"]
    for estimate in estimates:
        table = np.zeros((2, 2), int)
        for a, b in PAIRS:
            first, second = (int(estimate.name in (named or ("nothing",))) for named in (a, b))
            table[first, second] += 1
        kappa = cohen_kappa(table)
        assert estimate == AgreementEstimate(
            name=estimate.name,
            estimate=kappa.estimate,
            low=kappa.low,
            high=kappa.high,
            method="Cohen's kappa",
            n=6,
            reason=kappa.reason,
        )
    three = pd.concat([TWO, frame(("C", 1, said("mass")), ("C", 7, said()))], ignore_index=True)
    skin = category_agreement.agreement_by_category(three, NAMES)[2]
    ratings = [[0, 0, 0, 0, 0, 1, None], [0, 0, 0, 0, 0, 1, 1], [0, *[None] * 5, 0]]
    assert skin.estimate == pytest.approx(krippendorff_alpha(ratings).estimate)
    assert (skin.name, skin.method, skin.n) == ("skin", "Krippendorff's alpha, nominal", 7)


def test_agreement_on_the_first_category_and_on_naming() -> None:
    first = category_agreement.first_category_agreement(TWO)
    codes = {"calcification": 0, "mass": 1, "nothing": 2, "skin": 3}
    ratings = [
        [codes[(pair[k] or ("nothing",))[0]] for pair in PAIRS] + [3 if k else None] for k in (0, 1)
    ]
    alpha = krippendorff_alpha(ratings)
    assert (first.name, first.n, first.method) == (
        *("first-named category", 6),
        "Krippendorff's alpha, nominal",
    )
    assert (first.estimate, first.low, first.high) == (alpha.estimate, alpha.low, alpha.high)
    naming = category_agreement.naming_agreement(TWO)
    assert (naming.name, naming.estimate, naming.n) == ("names something", 1, 6)
    # Of free text alone there is no category, but whether it names something.
    free = frame(*[(c, u, said(label="dots" if u != 3 else "")) for c in "AB" for u in range(4)])
    assert category_agreement.first_category_agreement(free) == AgreementEstimate(
        name="first-named category",
        estimate=None,
        low=None,
        high=None,
        method="Krippendorff's alpha, nominal",
        n=0,
        reason="the answers are free text without categories",
    )
    assert category_agreement.naming_agreement(free).estimate == 1
    assert category_agreement.agreement_by_category(free, NAMES) == []


def test_categories_of_an_answer() -> None:
    assert category_agreement.answer_categories(said(label=" Bright DOTS ")) == {
        "free text: bright dots"
    }
    assert category_agreement.answer_categories(said("mass", "skin")) == {"mass", "skin"}
    assert category_agreement.is_free_text(said(label="x"))
    assert not category_agreement.is_free_text(said("mass"))
    assert not category_agreement.is_free_text(said())


def test_overlap_of_categories() -> None:
    shares = [1, 1 / 2, 1, 0, 1, 2 / 3]
    overlap = category_agreement.category_overlap(TWO)
    drawn = np.random.default_rng(1).integers(0, 6, (1000, 6))
    low, high = np.quantile(np.array(shares)[drawn].mean(axis=1), [0.025, 0.975])
    assert overlap == AgreementEstimate(
        name="categories shared",
        estimate=pytest.approx(np.mean(shares)),
        low=pytest.approx(low),
        high=pytest.approx(high),
        method="mean Jaccard of categories, bootstrap over units",
        n=6,
    )
    # Five units have an interval, four have none.
    for units, reason in ((5, None), (4, "fewer than five units: no interval")):
        few = category_agreement.category_overlap(TWO[TWO["unit"] <= units])
        assert (few.n, few.reason, few.low is None) == (units, reason, reason is not None)
    none = category_agreement.category_overlap(TWO[TWO["code"] == "A"])
    assert (none.estimate, none.n, none.reason) == (
        *(None, 0),
        "no unit was answered by two experts",
    )


def test_hidden_repeats_of_experts() -> None:
    (estimate,) = category_agreement.repeat_consistency(TWO)
    low, high = proportion_confint(2, 3, method="beta")
    assert estimate == AgreementEstimate(
        name="A",
        estimate=2 / 3,
        low=pytest.approx(low),
        high=pytest.approx(high),
        method="same categories at the hidden repeat, Clopper-Pearson",
        n=3,
    )
    assert category_agreement.count_experts(TWO) == 2


def test_conflicts_of_experts() -> None:
    rows = frame(
        *[
            (c, u, said("mass", association=a))
            for u, pair in ((3, "bs"), (1, "bb"))
            for c, a in zip("BA", pair)
        ],
        *[(c, 2, said(name)) for c, name in zip("CAB", ("mass", "skin", "skin"))],
        ("A", 4, said("mass")),
        ("A", 5, said("mass")),
        ("B", 5, said("skin")),
    )
    found = category_agreement.list_disagreements(rows)
    # Unit 2: of three pairs one agrees.
    assert [(d.unit, d.conflict) for d in found] == [
        (5, 1.0),
        (2, pytest.approx(2 / 3)),
        (3, 0.5),
        (1, 0.0),
    ]
    assert [code for code, _, _ in found[1].answers] == ["A", "B", "C"]
    assert found[0].answers == (("A", "a8", said("mass")), ("B", "a9", said("skin")))

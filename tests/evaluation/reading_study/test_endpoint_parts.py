"""Parts of the primary endpoints: sides, margins, bounds and reasons, by their formulas."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.clustered import clustered_proportion
from evaluation.group_sequential import nominal_levels
from evaluation.proportion import proportion_interval
from evaluation.reading_study import Design, design_preset
from evaluation.reading_study.primary import analysis as primary
from evaluation.reading_study.primary import arm_endpoint, auc_endpoint, interim
from evaluation.reading_study.primary.arm_endpoint import PairedRatings, adjusted_p_values
from evaluation.reading_study.primary.interim import InterimLook, information_share, stopping_look
from evaluation.reading_study.primary.missing_answers import apply_missing_rule, missing_answers
from evaluation.reading_study.primary.proportion_endpoint import estimate_proportion
from evaluation.reading_study.primary.record import FIRST_ANSWERS

ARMS = ("explanation", "image", "shuffled")


def interval_around(centre: float, **fields: Any) -> Any:
    """Return a stand-in for `auc_interval`: bounds at the normal quantiles of an error of .1."""

    def interval(truth: Any, rating: Any, patients: Any, level: float) -> Any:
        assert (truth, rating, patients) == ("t", "r", "p")
        half = 0.1 * stats.norm.isf((1 - level) / 2)
        values = {"estimate": centre, "low": centre - half, "high": centre + half, "df": 5.0}
        values |= {"method": "logit", "reason": None} | fields
        return SimpleNamespace(**values)

    return interval


@pytest.mark.parametrize("estimate", [0.62, 0.5, 0.34, 0.71])
def test_p_of_an_area_inverts_its_interval(
    monkeypatch: pytest.MonkeyPatch, estimate: float
) -> None:
    monkeypatch.setattr(auc_endpoint, "auc_interval", interval_around(estimate))
    truth: Any = "t"
    found = auc_endpoint.estimate_auc(truth, "r", "p", 0.8)
    one = stats.norm.sf((estimate - 0.5) / 0.1)
    assert found.p_one_sided == pytest.approx(one, abs=1e-6)
    assert found.p_two_sided == pytest.approx(2 * min(one, 1 - one), abs=2e-6)
    half = 0.1 * stats.norm.ppf(0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (estimate, estimate - half, estimate + half)
    )
    assert found.method == "logit scale, small-sample t interval, clustered by patient"
    assert found.reason is None


@pytest.mark.parametrize(
    ("estimate", "tail"), [(1.3, 5e-10), (-0.3, 1 - 5e-10), (0.5 + 1e-9, 0.5), (0.5 - 1e-9, 0.5)]
)
def test_p_of_an_area_has_limits(
    monkeypatch: pytest.MonkeyPatch, estimate: float, tail: float
) -> None:
    """Far from one half the P is that of the largest level, close to it one half."""
    monkeypatch.setattr(auc_endpoint, "auc_interval", interval_around(estimate))
    truth: Any = "t"
    found = auc_endpoint.estimate_auc(truth, "r", "p", 0.9).p_one_sided
    assert found == pytest.approx(tail, rel=1e-6, abs=0)


def test_area_without_width(monkeypatch: pytest.MonkeyPatch) -> None:
    truth: Any = "t"
    for fields in (
        {"low": None, "high": None},
        {"low": 0.6, "high": None},
        {"low": None, "high": 0.6},
        {"low": 0.5, "high": 0.5},
        {"estimate": None},
    ):
        interval = interval_around(0.6, **fields, reason="why", method="obuchowski")
        monkeypatch.setattr(auc_endpoint, "auc_interval", interval)
        found = auc_endpoint.estimate_auc(truth, "r", "p", 0.9)
        assert (found.low, found.high, found.p_one_sided) == (None, None, None)
        assert found.p_two_sided is None and found.reason == "why"
        assert found.method == "Obuchowski interval, clustered by patient"
    bounded = interval_around(0.6, df=None)
    monkeypatch.setattr(auc_endpoint, "auc_interval", bounded)
    found = auc_endpoint.estimate_auc(truth, "r", "p", 0.9)
    assert found.method == "Newcombe's score interval on the number of patients"


def planned(**settings: Any) -> Design:
    return design_preset("Recommended", **({"primary": "auc_difference", "arms": ARMS} | settings))


LAW = stats.t(7)
RESULT: Any = SimpleNamespace(difference=0.06, standard_error=0.04, law=LAW, reason=None)


def test_p_values_of_the_goals() -> None:
    def p(**settings: Any) -> float:
        return arm_endpoint._p_value(RESULT, planned(**settings))

    assert p() == pytest.approx(LAW.sf(0.06 / 0.04))
    assert p(margin=0.02) == pytest.approx(LAW.sf(0.04 / 0.04))
    assert p(side="two-sided") == pytest.approx(2 * LAW.sf(1.5))
    inferior = {"goal": "noninferiority", "margin": 0.03}
    assert p(**inferior) == pytest.approx(LAW.sf(0.09 / 0.04))
    equal = {"goal": "equivalence", "margin": 0.05, "side": "two-sided"}
    # The difference lies beyond the upper margin: that test decides.
    assert p(**equal) == pytest.approx(LAW.cdf(0.01 / 0.04))
    lower: Any = SimpleNamespace(difference=-0.06, standard_error=0.04, law=LAW)
    assert arm_endpoint._p_value(lower, planned(**equal)) == pytest.approx(LAW.sf(-0.01 / 0.04))
    both = planned(side="two-sided")
    assert arm_endpoint._p_value(lower, both) == pytest.approx(2 * LAW.sf(1.5))


def test_bounds_of_the_goals() -> None:
    def bounds(result: Any = RESULT, **settings: Any) -> tuple[float, float]:
        return arm_endpoint._bounds(result, planned(**settings), 0.1)

    one, two = 0.04 * LAW.isf(0.1), 0.04 * LAW.isf(0.05)
    assert bounds() == pytest.approx((0.06 - one, 1))
    assert bounds(side="two-sided") == pytest.approx((0.06 - two, 0.06 + two))
    inferior = {"goal": "noninferiority", "margin": 0.03}
    assert bounds(**inferior) == pytest.approx((0.06 - one, 1))
    equal = {"goal": "equivalence", "margin": 0.05, "side": "two-sided"}
    assert bounds(**equal) == pytest.approx((0.06 - one, 0.06 + one))
    wide: Any = SimpleNamespace(difference=0.06, standard_error=4.0, law=LAW)
    assert bounds(wide, side="two-sided") == (-1, 1)


@pytest.mark.parametrize(("readers", "design"), [(1, "frrc"), (2, "rrrc")])
def test_analysis_of_a_pair(monkeypatch: pytest.MonkeyPatch, readers: int, design: str) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        arm_endpoint,
        "obuchowski_rockette",
        lambda *given, **named: asked.append((given, named)) or RESULT,
    )
    ratings = PairedRatings(np.zeros((2, readers, 5)), np.ones(5), np.arange(5))
    found = arm_endpoint._test_pair("image", ratings, planned(), 0.1)
    ((scores, truth, factors), named), *_ = asked
    assert scores is ratings.scores and truth is ratings.truth and factors == design
    assert list(named) == ["cluster"] and named["cluster"] is ratings.patients
    assert (found.other, found.estimate, found.images, found.readers) == ("image", 0.06, 5, readers)
    assert (found.low, found.high) == arm_endpoint._bounds(RESULT, planned(), 0.1)
    assert found.p_value == arm_endpoint._p_value(RESULT, planned())
    assert (found.adjusted_p_value, found.significant, found.reason) == (None, None, None)


def test_pairs_that_cannot_be_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    none = arm_endpoint._test_pair("image", None, planned(), 0.1)
    assert (none.other, none.images, none.readers, none.estimate) == ("image", 0, 0, None)
    assert none.reason == "no image was read by every reader in both arms"
    ratings = PairedRatings(np.zeros((2, 3, 5)), np.ones(5), np.arange(5))
    for difference, error in ((None, None), (0.25, None), (None, 0.1)):
        result = SimpleNamespace(difference=difference, standard_error=error, reason="why")
        monkeypatch.setattr(arm_endpoint, "obuchowski_rockette", lambda *a, r=result, **b: r)
        found = arm_endpoint._test_pair("image", ratings, planned(), 0.1)
        assert (found.estimate, found.images, found.readers) == (difference, 5, 3)
        assert found.low is found.high is found.p_value is found.adjusted_p_value is None
        assert found.significant is None and found.reason == "why"


def hypothesis(p: float | None, **fields: Any) -> Any:
    values: dict[str, Any] = {
        "other": "image",
        "estimate": 0.06,
        "low": 0.01,
        "high": 0.2,
        "p_value": p,
        "adjusted_p_value": p,
        "significant": None,
        "images": 5,
        "readers": 2,
        "reason": "why",
    }
    return arm_endpoint.ArmHypothesis(**(values | fields))


def test_family_of_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    p_values = {"image": 0.04, "shuffled": 0.03}
    asked = []
    monkeypatch.setattr(
        arm_endpoint, "paired_ratings", lambda joined, first, other: asked.append(first) or other
    )
    monkeypatch.setattr(
        arm_endpoint,
        "_test_pair",
        lambda other, ratings, design, alpha: hypothesis(p_values[other], other=ratings or other),
    )
    design = planned(multiplicity="holm")
    joined = pd.DataFrame({"mammogram_id": []})

    def tested(alpha: float) -> list[tuple[str, float | None, bool | None]]:
        found = arm_endpoint.compare_primary_arms(joined, design, alpha)
        return [(one.other, one.adjusted_p_value, one.significant) for one in found]

    assert tested(0.06) == [("image", 0.06, True), ("shuffled", 0.06, True)]
    assert tested(0.0599) == [("image", 0.06, False), ("shuffled", 0.06, False)]
    assert set(asked) == {"explanation"}
    first, _ = arm_endpoint.compare_primary_arms(pd.DataFrame(), design, 0.05)
    assert first.other == "image"
    assert adjusted_p_values([0.5, None, 0.1], "none") == [0.5, None, 0.1]
    assert adjusted_p_values([0.04, 0.01, 0.05], "fixed_sequence") == [0.04, 0.04, 0.05]
    assert adjusted_p_values([None, 0.01], "fixed_sequence") == [None, None]
    assert adjusted_p_values([], "fixed_sequence") == []


def test_final_against_first_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    design = design_preset("Reading with advice", arms=("advice", "no_advice"))
    rows = [("advice", False), ("advice", True), ("no_advice", False)]
    joined = pd.DataFrame(rows, columns=["arm", "repeat"]).assign(unaided=1)
    seen = []
    monkeypatch.setattr(arm_endpoint, "change_ratings", lambda rows: seen.append(len(rows)) or "r")
    monkeypatch.setattr(
        arm_endpoint,
        "_test_pair",
        lambda other, ratings, design, alpha: hypothesis(0.04 if ratings else None, other=other),
    )
    (found,) = arm_endpoint.compare_with_first_answers(joined, design, 0.04)
    assert (found.other, found.adjusted_p_value, found.significant) == (FIRST_ANSWERS, 0.04, True)
    assert seen == [1] and found.reason == "why"
    (found,) = arm_endpoint.compare_with_first_answers(joined, design, 0.039)
    assert found.significant is False
    (none,) = arm_endpoint.compare_with_first_answers(joined.drop(columns="unaided"), design, 0.04)
    assert (none.adjusted_p_value, none.significant) == (None, None)
    assert none.reason == "no image has a first and a final answer of every reader"


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({}, {"p_one_sided": 0.04, "p_two_sided": None, "null": 0.0, "level": 0.9}),
        (
            {"side": "two-sided", "margin": 0.0},
            {"p_one_sided": None, "p_two_sided": 0.04, "null": 0.0, "level": 0.9},
        ),
        ({"margin": 0.02}, {"null": 0.02}),
        ({"goal": "noninferiority", "margin": 0.03}, {"null": -0.03, "level": 0.9}),
        (
            {"goal": "equivalence", "margin": 0.03, "side": "two-sided"},
            {"null": 0.03, "level": 0.8},
        ),
    ],
)
@pytest.mark.parametrize("readers", [1, 2])
def test_result_of_a_comparison(
    monkeypatch: pytest.MonkeyPatch, settings: dict, fields: dict, readers: int
) -> None:
    if settings.get("margin") == 0.0:
        settings = {"side": "two-sided"}
    tests = (hypothesis(0.04, adjusted_p_value=0.07, significant=False, readers=readers),)
    monkeypatch.setattr(primary, "compare_primary_arms", lambda answers, design, alpha: tests)
    shared: Any = {"correct": 1, "n": 2, "side": "s", "alpha": 0.05}
    found = primary._arm_result(pd.DataFrame(), planned(**settings), 0.1, shared)
    assert {name: getattr(found, name) for name in fields} == pytest.approx(fields)
    assert (found.estimate, found.low, found.high) == (0.06, 0.01, 0.2)
    assert (found.p_value, found.significant) == (0.07, False)
    kind = "one reader" if readers == 1 else "random readers"
    assert found.method == f"Obuchowski-Rockette analysis, {kind}, random cases"
    assert (found.endpoint, found.unit, found.reason) == (
        "auc_difference",
        "reader and case",
        "why",
    )
    assert found.comparisons == tests


def test_single_arm_is_tested_on_its_side(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def estimate(rows: Any, analysis: str, level: float) -> Any:
        asked.append((analysis, level))
        return SimpleNamespace(
            estimate=0.6,
            low=bounds[0],
            high=bounds[1],
            p_one_sided=0.03,
            p_two_sided=0.06,
            method="m",
            reason="why",
        )

    monkeypatch.setattr(primary, "_estimate", estimate)
    shared: Any = {"correct": 1, "n": 2, "side": "s", "alpha": 0.05}

    def result(side: str, alpha: float, analysis: str = "gee") -> Any:
        design = design_preset("Recommended", primary=analysis, side=side)
        return primary._single_arm_result(pd.DataFrame(), design, alpha, shared)

    bounds: tuple[float | None, float | None] = (0.4, 0.8)
    one, two = result("greater", 0.03), result("two-sided", 0.059, "auc")
    assert [analysis for analysis, _ in asked] == ["gee", "auc"]
    assert [level for _, level in asked] == pytest.approx([0.94, 0.941])
    assert (one.p_value, one.low, one.high, one.significant) == (0.03, 0.4, 1, True)
    assert (two.p_value, two.low, two.high, two.significant) == (0.06, 0.4, 0.8, False)
    assert (one.endpoint, two.endpoint, one.level) == ("proportion", "auc", 0.97)
    assert one.reason is two.reason is None
    for bounds in ((None, 0.8), (0.4, None)):
        half = result("greater", 0.03)
        assert (half.low, half.high, half.reason) == (*bounds, "why")


def test_levels_of_looks() -> None:
    one = planned(looks=3, side="greater")
    assert primary.final_alpha(one) == nominal_levels(3, 0.05)[2]
    assert primary.final_alpha(one, 1) == nominal_levels(3, 0.05)[0]
    two = planned(looks=3, side="two-sided", alpha=0.04)
    assert primary.final_alpha(two, 2) == 2 * nominal_levels(3, 0.02)[1]
    equal = planned(looks=2, side="two-sided", goal="equivalence", margin=0.1, alpha=0.04)
    assert primary.final_alpha(equal) == nominal_levels(2, 0.04)[1]


def test_proportions_by_each_analysis() -> None:
    correct, patients = np.array([1, 0, 1, 1, 0, 1, 1], bool), np.array(list("aabbccd"))
    clusters = clustered_proportion(correct, patients, level=0.8)
    gee = estimate_proportion("gee", correct, patients, 0.8)
    assert (gee.estimate, gee.low, gee.high) == (clusters.gee_estimate, clusters.low, clusters.high)
    assert (gee.p_one_sided, gee.p_two_sided) == (clusters.p_greater, clusters.p_two_sided)
    flip = estimate_proportion("sign_flip", correct, patients, 0.8)
    assert (flip.estimate, flip.low) == (5 / 7, clusters.korn_graubard_low)
    assert flip.high == clusters.korn_graubard_high
    # The sums right minus wrong are 0, 2, 0 and 1.
    assert (flip.p_one_sided, flip.p_two_sided) == pytest.approx((0.25, 0.5))
    assert flip.method == "patient sign-flip (exact), Korn-Graubard interval"
    exact = estimate_proportion("exact_binomial", correct, patients, 0.8)
    interval = proportion_interval(5, 7, "clopper-pearson", 0.8)
    assert (exact.estimate, exact.low, exact.high) == (5 / 7, interval.low, interval.high)
    assert exact.p_one_sided == pytest.approx(stats.binomtest(5, 7, alternative="greater").pvalue)
    assert exact.p_two_sided == pytest.approx(stats.binomtest(5, 7).pvalue)
    assert gee.reason is flip.reason is exact.reason is None
    right = np.ones(7, bool)
    for analysis in ("gee", "sign_flip"):
        same = estimate_proportion(analysis, right, patients, 0.8)
        assert same.estimate == 1 and same.reason == clustered_proportion(right, patients).reason
        assert same.method.endswith("Clopper-Pearson on the number of patients")
    nothing = estimate_proportion("exact_binomial", right[:0], patients[:0], 0.8)
    assert nothing.reason == "there are no answers"


KEY = pd.DataFrame(
    {
        "case_number": [1, 2, 3, 4, 5, 6],
        "arm": ["explanation", "explanation", "explanation", "image", "image", "shuffled"],
        "truth": ["malignant", "benign", "malignant", "benign", "malignant", "benign"],
        "mammogram_id": ["m1", "m2", "m3", "m1", "m2", "m1"],
        "patient_id": ["p1", "p2", "p3", "p1", "p2", "p1"],
    }
)
GIVEN = pd.DataFrame(
    [("R1", 1, False), ("R1", 2, False), ("R1", 3, True), ("R1", 4, False), ("R2", 1, False)],
    columns=["code", "case_number", "repeat"],
).merge(KEY, on="case_number")


def test_missing_answers_by_hand() -> None:
    found = missing_answers(GIVEN, KEY, ["explanation", "image"])
    assert list(zip(found["code"], found["case_number"])) == [
        ("R2", 2),
        # The hidden repeat of case 3 is no answer to it.
        ("R1", 3),
        ("R2", 3),
        ("R2", 4),
        ("R1", 5),
        ("R2", 5),
    ]
    assert found["malignant"].tolist() == [False, True, True, False, True, True]
    assert not found["repeat"].any()
    other = missing_answers(GIVEN, KEY, ["image"], positive="benign")
    assert other["malignant"].tolist() == [True, False, False]
    design = Design(scale=6)
    joined = GIVEN.assign(answer=3, unaided=3, correct=True, called_malignant=False)
    for rule, answers in (
        ("counted_wrong", [6, 1, 1, 6, 1, 1]),
        ("counted_correct", [1, 6, 6, 1, 6, 6]),
    ):
        filled = apply_missing_rule(joined, found, design, rule)
        assert len(filled) == 11 and filled.index.tolist() == [*range(11)]
        added = filled[5:]
        assert added["answer"].tolist() == added["unaided"].tolist() == answers
        assert added["called_malignant"].tolist() == [answer == 6 for answer in answers]
        assert added["correct"].tolist() == [rule == "counted_correct"] * 6
    assert apply_missing_rule(joined, found, design, "complete_case") is joined
    assert apply_missing_rule(joined, found[:0], design, "counted_wrong") is joined
    bare = apply_missing_rule(joined.drop(columns="unaided"), found, design, "counted_wrong")
    assert "unaided" not in bare.columns


def test_share_of_the_planned_information() -> None:
    single = design_preset("Recommended", primary="gee", readers=4, arms=ARMS)
    # Three answers to the first arm, without the repeat, of four readers' three cases.
    assert information_share(GIVEN, KEY, single) == pytest.approx(3 / 12)
    few = design_preset("Recommended", primary="gee", readers=1, arms=ARMS)
    assert information_share(GIVEN, KEY, few) == pytest.approx(3 / 6)
    assert information_share(GIVEN, KEY[KEY["arm"] == "image"], few) == 0
    answers = pd.concat([GIVEN, GIVEN[-1:].assign(case_number=6, arm="shuffled")]).assign(
        answer=3, malignant=True
    )
    # R1 read m1 in the arms explanation and image; R2 in explanation and shuffled.
    one = planned(readers=2, multiplicity="holm")
    # Of two readers' two common images, and of two readers' one.
    assert information_share(answers, KEY, one) == pytest.approx(min(1 / 4, 1 / 2))
    apart = KEY[KEY["arm"] != "image"]
    assert information_share(answers, apart, one) == 0


def test_look_that_stopped_a_study() -> None:
    looks = [
        InterimLook(number=n, information=0.5, answers=1, boundary=0.01, stops=stops)
        for n, stops in ((1, False), (2, True), (3, True))
    ]
    assert stopping_look(looks) == 2
    assert stopping_look(looks[:1]) is None and stopping_look([]) is None


def test_looks_have_numbers_and_may_be_without_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    design = planned(looks=3, multiplicity="holm", readers=2)
    for number in (0, 3):
        with pytest.raises(ValueError, match=f"look {number} is no interim look of 3 planned"):
            interim.interim_look(GIVEN, KEY, design, number)
    tests = [hypothesis(0.001, significant=True), hypothesis(0.001, significant=True)]
    result = SimpleNamespace(comparisons=tests, significant=None, n=17)
    asked = []

    def analysis(joined: Any, key: Any, design: Any, *, look_number: int) -> Any:
        asked.append((joined is GIVEN, key is KEY, design, look_number))
        return result

    monkeypatch.setattr(interim, "primary_analysis", analysis)
    # Nobody has read an image in both arms: there is no information about the comparison.
    found = interim.interim_look(GIVEN.assign(answer=3, malignant=True)[:2], KEY, design, 1)
    assert found.information == 0
    monkeypatch.setattr(interim, "information_share", lambda joined, key, design: len(joined) / 10)
    found = interim.interim_look(GIVEN, KEY, design, 2)
    boundary = nominal_levels(3, 0.05)[1]
    assert found == InterimLook(
        number=2, information=0.5, answers=17, boundary=boundary, stops=True
    )
    assert asked[-1] == (True, True, design, 2)
    for last in (False, None):
        tests[1] = hypothesis(0.5, significant=last)
        assert not interim.interim_look(GIVEN, KEY, design, 1).stops
    tests.clear()
    for significant in (True, False, None):
        result.significant = significant
        assert interim.interim_look(GIVEN, KEY, design, 1).stops is bool(significant)

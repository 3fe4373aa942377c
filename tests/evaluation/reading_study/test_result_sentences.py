"""Sentences of readers, network and arms, and comparisons of arms by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from core.sessions.arms import ARM_TITLES
from core.store.reading.stage_table import FIRST, PREDICTION
from evaluation.intervals import Interval
from evaluation.mrmc.standalone import StandaloneComparison
from evaluation.proportion import exact_binomial_test, mcnemar
from evaluation.reading_study import Design, arms
from evaluation.reading_study.advice.first_stages import total_seconds, with_first_stages
from evaluation.reading_study.arms import ArmComparison, arm_scores, compare_arms
from evaluation.reading_study.primary import PrimaryResult, primary_interval_text
from evaluation.reading_study.results import NetworkResult, ReaderResult, RuleResult
from evaluation.roc.auc_estimates import AucInterval

AREA = AucInterval(
    estimate=0.812,
    standard_error=0.05,
    low=0.701,
    high=0.893,
    level=0.9,
    method="logit",
    positives=17,
    negatives=23,
    clusters=31,
)
AREA_TEXT = (
    "AUC .812 (90 % CI .701 to .893, logit scale, small-sample t; 17 positive and 23 negative"
    " observations from 31 patients)."
)
SHARE = Interval(estimate=0.6, low=0.45, high=0.75, level=0.9, method="wilson", unit="patient")
SHARE_TEXT = ".600 (90 % CI .450 to .750, Wilson; unit of analysis: patient)"


def test_areas_in_words() -> None:
    assert AREA.sentence() == AREA_TEXT and AREA.unit == "patient"
    alone = replace(AREA, clusters=None, reason="r", method="delong")
    assert alone.unit == "observation"
    assert alone.sentence() == (
        "AUC .812 (90 % CI .701 to .893; r, DeLong; 17 positive and 23 negative observations taken"
        " as independent)."
    )
    assert replace(AREA, estimate=None, reason="r").sentence() == "AUC not estimable: r."


def test_interval_of_an_area_on_the_logit_scale() -> None:
    centre, scale = np.log(0.812 / 0.188), 0.05 / (0.812 * 0.188)
    half = stats.norm.ppf(0.95) * scale
    low, high = 1 / (1 + np.exp(-(centre - half))), 1 / (1 + np.exp(-(centre + half)))
    assert AREA.logit_interval() == pytest.approx((low, high))
    for name, value in (
        ("estimate", None),
        ("standard_error", None),
        ("estimate", 0.0),
        ("estimate", 1.0),
    ):
        assert replace(AREA, **{name: value}).logit_interval() is None


def test_readers_and_truth_rules_in_words() -> None:
    reader = ReaderResult(code="R7", n=40, correct=24, missing=2, share=SHARE, auc=AREA)
    assert reader.sentence() == f"Reader R7: 24 of 40 correct, {SHARE_TEXT}; {AREA_TEXT}"
    test = exact_binomial_test(15, 20)
    rule = RuleResult(
        rule="any_malignant", n=20, correct=15, unproven=3, differing=2, binomial=test
    )
    text = test.sentence()
    assert rule.sentence() == f"Truth by any malignant (3 unproven left out): {text}"
    assert replace(rule, unproven=0).sentence() == f"Truth by any malignant: {text}"


def test_network_in_words() -> None:
    network = NetworkResult(auc=AREA, threshold=0.4, right=28, n=40, against=None)
    assert (network.decision_right, network.decision_differs) == (None, None)
    fixed = " Correct in 28 of 40 at the threshold fixed on hold-out."
    assert network.sentence() == f"The network alone: {AREA_TEXT}{fixed}"
    against = StandaloneComparison(
        difference=-0.05,
        low=-0.12,
        high=0.02,
        p_value=0.16,
        readers_auc=SHARE,
        standalone_auc=0.65,
        level=0.9,
    )
    both = replace(network, against=against)
    assert both.sentence() == f"The network alone: {AREA_TEXT}{fixed} {against.sentence()}"
    assert replace(both, right=None).sentence() == (
        f"The network alone: {AREA_TEXT} {against.sentence()}"
    )


def comparison(**changes: Any) -> ArmComparison:
    values: dict[str, Any] = {
        "first": "explanation",
        "second": "shuffled",
        "difference": replace(SHARE, reason="r"),
        "pairs": 12,
        "mcnemar": mcnemar(5, 2),
        "sign_flip_p_two_sided": 0.031,
        "adjusted_p_two_sided": 0.062,
        "mrmc": None,
    }
    return ArmComparison(**(values | changes))


def test_comparisons_of_arms_in_words() -> None:
    start = (
        f"Arm {ARM_TITLES['explanation']} against arm {ARM_TITLES['shuffled']}: difference in"
        " proportion correct .600 (90 % CI .450 to .750; r, patient bootstrap)"
    )
    tested = f"{start} on 12 pairs of answers; sign-flip test of patients, two-sided, P = .031"
    assert comparison().sentence() == f"{tested} (adjusted by Holm's method, P = .062)."
    assert comparison(adjusted_p_two_sided=0.031).sentence() == f"{tested}."
    assert comparison(adjusted_p_two_sided=None).sentence() == f"{tested}."
    alone = comparison(mcnemar=None).sentence()
    assert alone == f"{start}; no reader read the same image in both arms."
    nothing = Interval.without_bounds(0.9, "patient bootstrap", "an arm has no answers")
    assert comparison(difference=nothing).sentence() == "not estimable: an arm has no answers"


# Arm, reader, image, patient, whether the answer is right, hidden repeat.
ROWS = (
    ("explanation", "R1", "m1", "p1", 1, 0),
    ("explanation", "R1", "m2", "p1", 1, 0),
    ("explanation", "R1", "m3", "p2", 0, 0),
    ("explanation", "R2", "m1", "p1", 1, 0),
    ("explanation", "R2", "m4", "p3", 1, 0),
    ("explanation", "R2", "m4", "p3", 0, 1),
    ("shuffled", "R1", "m1", "p1", 0, 0),
    ("shuffled", "R1", "m2", "p1", 0, 0),
    ("shuffled", "R1", "m3", "p2", 1, 0),
    ("shuffled", "R2", "m1", "p1", 1, 0),
    ("shuffled", "R2", "m5", "p3", 0, 0),
    ("random_units", "R1", "m9", "p9", 1, 0),
)


def joined() -> pd.DataFrame:
    columns = ["arm", "code", "mammogram_id", "patient_id", "correct", "repeat"]
    table = pd.DataFrame(ROWS, columns=columns).astype({"correct": bool, "repeat": bool})
    table["malignant"] = table["mammogram_id"].isin(["m1", "m3"])
    table["answer"] = np.where(table["correct"] == table["malignant"], 5, 2)
    return table.assign(case_number=range(len(table)))


DESIGN = Design(arms=("explanation", "shuffled", "random_units"), alpha=0.1)


def test_arms_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = arm_scores(joined(), DESIGN)
    counts = [(s.arm, s.cases, s.clusters.successes, s.clusters.n) for s in (first, second, third)]
    assert counts == [("explanation", 5, 4, 5), ("shuffled", 5, 2, 5), ("random_units", 1, 1, 1)]
    assert first.clusters.level == 0.9
    assert first.sentence() == f"Arm {ARM_TITLES['explanation']}: {first.clusters.sentence()}"
    paired, unpaired = compare_arms(joined(), DESIGN)
    # Pairs: R1 on m1 and m2 better with explanations, on m3 worse, R2 on m1 equal.
    assert (paired.first, paired.second, paired.pairs) == ("explanation", "shuffled", 4)
    assert (paired.mcnemar.b, paired.mcnemar.c) == (2, 1)
    assert paired.difference.estimate == pytest.approx(1 / 4)
    assert paired.difference.level == 0.9
    # Patient p1 has 2, p2 has -1: |1| is reached by all sign patterns.
    assert paired.sign_flip_p_two_sided == pytest.approx(1)
    assert paired.adjusted_p_two_sided == pytest.approx(1)
    assert (unpaired.first, unpaired.second, unpaired.pairs) == ("explanation", "random_units", 0)
    assert unpaired.mcnemar is unpaired.mrmc is unpaired.sign_flip_p_two_sided is None
    assert unpaired.adjusted_p_two_sided is None
    assert unpaired.difference.estimate == pytest.approx(4 / 5 - 1)
    assert (unpaired.difference.level, unpaired.difference.method) == (0.9, "patient bootstrap")


def test_pairs_of_patients_that_differ() -> None:
    rows = [
        (arm, "R1", f"m{patient}{image}", f"p{patient}", int(arm == better), 0)
        for patient, better in enumerate(["explanation"] * 5 + ["shuffled"])
        for image in range(1 + patient % 2)
        for arm in ("explanation", "shuffled")
    ]
    columns = ["arm", "code", "mammogram_id", "patient_id", "correct", "repeat"]
    table = pd.DataFrame(rows, columns=columns).astype({"correct": bool, "repeat": bool})
    table = table.assign(malignant=table["mammogram_id"].str.endswith("0"), answer=3)
    (found,) = compare_arms(
        table.assign(case_number=range(len(table))), Design(arms=("explanation", "shuffled"))
    )
    # Differences of the patients: 1, 2, 1, 2, 1 and -2; their sum 5 of at most 9.
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T @ [1, 2, 1, 2, 1, 2]
    assert found.sign_flip_p_two_sided == pytest.approx((abs(signs) >= 5).mean())
    assert (found.mcnemar.b, found.mcnemar.c, found.pairs) == (7, 2, 9)
    # A key without images allows no pairing.
    (bare,) = compare_arms(
        table.drop(columns="mammogram_id").assign(case_number=range(len(table))),
        Design(arms=("explanation", "shuffled")),
    )
    assert bare.pairs == 0 and bare.difference.estimate == pytest.approx(7 / 9 - 2 / 9)


def test_arms_without_answers() -> None:
    table = joined()
    for sides in ((table[:0], table), (table, table[:0])):
        found = arms._difference(*sides, 0.8)
        assert (found.estimate, found.low, found.level) == (None, None, 0.8)
        assert (found.reason, found.unit) == ("an arm has no answers", "patient")
        assert found.method == "patient bootstrap"


def test_images_that_every_reader_read() -> None:
    table = joined()
    pairs = table[table["arm"] == "explanation"].merge(
        table[table["arm"] == "shuffled"], on=["code", "mammogram_id"], suffixes=("", "_other")
    )
    # Both readers read m1 only: one image has no area, but an analysis with the reason.
    both = arms._obuchowski_rockette(pairs, 0.9)
    assert both is not None and both.level == 0.9 and both.design == "rrrc"
    single = arms._obuchowski_rockette(pairs[pairs["code"] == "R1"], 0.9)
    assert single is not None and single.design == "frrc"
    apart = pairs[(pairs["code"] == "R1") == (pairs["mammogram_id"] == "m2")]
    assert arms._obuchowski_rockette(apart, 0.9) is None


def test_first_answers_beside_final_ones() -> None:
    answers = pd.DataFrame(
        {"code": ["R1", "R1", "R2"], "position": [1, 2, 1], "seconds": [5.0, 7.0, 11.0]}
    )
    stages = pd.DataFrame(
        [
            ("R1", 1, FIRST, "3", 2.0),
            ("R1", 2, FIRST, "6", 4.0),
            ("R2", 1, FIRST, "1", None),
            ("R1", 1, PREDICTION, "2", 0.5),
            ("R2", 1, PREDICTION, "1", 0.25),
        ],
        columns=["code", "position", "stage", "value", "seconds"],
    )
    found = with_first_stages(answers, stages)
    assert found["unaided"].tolist() == [3, 6, 1]
    assert found["network_prediction"].fillna(0).tolist() == [2, 0, 1]
    assert found["unaided_seconds"].fillna(0).tolist() == [2, 4, 0]
    assert found["prediction_seconds"].fillna(0).tolist() == [0.5, 0, 0.25]
    # A part is missing of the second and of the third case.
    assert found["total_seconds"].fillna(0).tolist() == [7.5, 0, 0]
    # Without predictions the time of none is waited for.
    found = with_first_stages(answers, stages[stages["stage"] == FIRST])
    assert found["total_seconds"].fillna(0).tolist() == [7, 11, 0]
    assert found["network_prediction"].isna().all()
    bare = with_first_stages(answers.drop(columns="seconds"), stages)
    assert "total_seconds" not in bare.columns and bare["unaided"].tolist() == [3, 6, 1]
    times = pd.Series([1.0, None]), pd.Series([2.0, 3.0])
    assert total_seconds(*times).fillna(0).tolist() == [3, 0]


def test_primary_results_in_words() -> None:
    result = PrimaryResult(
        correct=21,
        n=34,
        estimate=0.618,
        low=0.512,
        high=1.0,
        p_value=0.0314,
        p_one_sided=0.0314,
        p_two_sided=0.0628,
        side="greater",
        alpha=0.05,
        method="a method",
        significant=True,
        filled=3,
    )
    assert result.given == 31
    text = f"21 of 34 correct; {result.endpoint_name} .618"
    assert result.sentence() == (
        f"{text} (one-sided 95 % CI from .512; a method), prespecified one-sided P = .031."
    )
    two = replace(result, side="two-sided", high=0.713, level=0.975, reason="r")
    assert two.sentence() == (
        f"{text} (97.5 % CI .512 to .713; r; a method), prespecified two-sided P = .031."
    )
    missing = replace(result, p_value=None, reason="r")
    assert missing.sentence() == (
        f"21 of 34 correct; the primary analysis ({result.endpoint_name}) is not estimable: r."
    )
    assert (result.endpoint, result.null, result.level, result.final_alpha) == (
        *("proportion", 0.5),
        *(0.95, 0.05),
    )
    assert (result.look, result.comparisons, result.missing) == (1, (), 0)
    assert (result.missing_rule, result.unit, result.reason) == ("complete_case", "patient", None)
    for low, high in ((None, 0.5), (0.5, None)):
        text = primary_interval_text(low, high, 0.9, "greater", "r")
        assert text == "90 % CI not estimable: r"
    text = primary_interval_text(0.25, 1, 0.9, "greater", "r")
    assert text == "one-sided 90 % CI from .250; r"

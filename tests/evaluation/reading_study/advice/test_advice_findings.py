"""Findings of the checks of advice, word for word, on both sides of every limit."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from evaluation.reading_study import design_preset
from evaluation.reading_study.advice.advice_checks import advice_issues
from evaluation.reading_study.advice.first_stages import total_seconds
from evaluation.reading_study.advice.reliance import (
    AdviceScore,
    ArmReliance,
    RelianceComparison,
    brief_text,
    score_advice,
)
from evaluation.reading_study.design import Design
from evaluation.reading_study.leakage_issues import ERROR, NOTE, WARNING
from evaluation.reading_study.leakage_issues import IssueCode as Code

M, B = "malignant", "benign"


def designed(*arms: str, **changes: Any) -> Design:
    return design_preset("Reading with advice", arms=arms, **changes)


def key_of(**counts: tuple[int, int]) -> pd.DataFrame:
    """Return cases by arm: (right, wrong) decisions; truth and scores by turns."""
    rows = []
    for arm, (right, wrong) in counts.items():
        for k in range(right + wrong):
            truth = M if k % 2 else B
            is_wrong = k >= right
            predicted = {M: B, B: M}[truth] if is_wrong else truth
            number = len(rows) + 1
            advice = None if arm == "no_advice" else predicted
            rows.append((number, f"m{number}", f"p{number}", arm, truth, 0.5, predicted, advice))
    names = ("case_number", "mammogram_id", "patient_id", "arm", "truth", "network_score")
    return pd.DataFrame(rows, columns=[*names, "predicted", "advice"])


def found(
    cases: pd.DataFrame, design: Design, code: Code, threshold: float | None = None
) -> list[tuple[str, str]]:
    """Return severity and text of the issues of one kind."""
    issues = advice_issues(cases, design, {}, threshold)
    assert {issue.field for issue in issues} == {"advice"}
    return [(issue.severity, issue.finding) for issue in issues if issue.code is code]


BALANCED = key_of(advice_units=(14, 6), no_advice=(15, 5))


def test_balance_of_wrong_advice() -> None:
    design = designed("advice_units", "no_advice")
    assert found(BALANCED, design, Code.ADVICE_BALANCE) == [
        (
            NOTE,
            "the share of wrong advice is balanced over the arms (advice with named units 6 of 20,"
            " no advice 5 of 20; limit: a difference of 10 %)",
        )
    ]
    # 4 of 20 against 2 of 20 is at the limit of .1, 5 of 20 is beyond it; 60 cases leave it at .1.
    at_limit = key_of(advice_units=(16, 4), no_advice=(18, 2))
    ((severity, _),) = found(at_limit, design, Code.ADVICE_BALANCE)
    assert severity == NOTE
    beyond = key_of(advice_units=(40, 20), no_advice=(50, 10))
    assert found(beyond, design, Code.ADVICE_BALANCE) == [
        (
            ERROR,
            "the share of wrong advice differs between the arms (advice with named units 20 of 60,"
            " no advice 10 of 60; limit: a difference of 10 %): differences between arms would be"
            " differences between cases",
        )
    ]
    # Of 5 cases two are no imbalance.
    small = key_of(advice_units=(3, 2), no_advice=(5, 0))
    ((severity, text),) = found(small, design, Code.ADVICE_BALANCE)
    assert severity == NOTE and text.endswith("limit: a difference of 40 %)")


def test_numbers_of_cases_of_each_advice() -> None:
    design = designed("advice_units", "no_advice")
    # Five cases are enough.
    assert found(BALANCED, design, Code.ADVICE_BASE_RATE) == []
    few = key_of(advice_units=(14, 4), no_advice=(1, 6))
    assert found(few, design, Code.ADVICE_BASE_RATE) == [
        (
            WARNING,
            "arm advice with named units has 4 cases of wrong advice, fewer than 5: reliance on"
            " oneself is hardly estimable",
        ),
        (
            WARNING,
            "arm no advice has 1 case of right advice, fewer than 5: reliance on the network is"
            " hardly estimable",
        ),
    ]
    cases = key_of(advice_units=(10, 10), no_advice=(10, 10))
    named = [M] * 32 + [B] * 8
    assert found(cases.assign(predicted=named), design, Code.ADVICE_BASE_RATE) == []
    named[39] = M
    assert found(cases.assign(predicted=named), design, Code.ADVICE_BASE_RATE)[-1:] == [
        (
            WARNING,
            "the network decides malignant in 82 % of the cases, more than 80 %: readers may learn"
            " to expect it",
        )
    ]


def test_share_of_wrong_advice_in_the_instructions() -> None:
    """10 of 40 decisions are wrong, 25 %; .265 differs by less than .02 from it."""
    cases = key_of(advice_units=(14, 6), no_advice=(16, 4))
    arms = ("advice_units", "no_advice")
    for stated, printed in ((0.265, ""), (0.235, ""), (0.28, "28 %"), (0.22, "22 %")):
        told = designed(*arms, wrong_advice=stated, wrong_advice_told=True)
        expected = [
            (
                ERROR,
                f"the instructions state that {printed} of the decisions are wrong, but 25 % of the"
                " cases have a wrong one (limit: a difference of 2 %)",
            )
        ]
        assert found(cases, told, Code.ADVICE_TOLD_SHARE) == expected * bool(printed)
        untold = designed(*arms, wrong_advice=stated)
        assert found(cases, untold, Code.ADVICE_TOLD_SHARE) == []


def test_decisions_at_the_threshold() -> None:
    design = designed("advice_units", "no_advice")
    cases = BALANCED.assign(network_score=[0.5, 0.49, None] + [0.7] * 37)
    at = cases["network_score"].to_numpy(dtype=float)
    # Case 1 is benign by the decision and at the threshold malignant; case 3 has no score.
    assert cases["predicted"].tolist()[:3] == [B, M, B]
    differing = 2 + sum(p == B for p in cases["predicted"][3:])
    assert (at[3:] >= 0.5).all()
    assert found(cases, design, Code.ADVICE_DECISION, threshold=0.5) == [
        (
            NOTE,
            f"the advice is the more probable of the two classes; for {differing} of 39 cases it"
            " differs from the decision at the hold-out threshold of .500",
        )
    ]


def test_advice_that_is_not_the_decision() -> None:
    design = designed("advice_units", "no_advice")
    text = (
        "the advice of case {} is not the network's decision, or stands in an arm without advice;"
        " design the study again"
    )
    assert found(BALANCED, design, Code.ADVICE_STATEMENT) == []
    for row, advice in ((2, M), (3, None), (25, B)):
        cases = BALANCED.copy()
        cases.loc[row, "advice"] = advice
        expected = [(ERROR, text.format(row + 1))]
        assert found(cases, design, Code.ADVICE_STATEMENT) == expected
        bands = designed("advice_units", "no_advice", advice="probability_band")
        # Of a band only the arm is checked.
        is_missing = row != 2
        assert found(cases, bands, Code.ADVICE_STATEMENT) == expected * is_missing


def test_shuffled_units_without_the_arm_that_they_are_a_sham_of() -> None:
    arms = ("advice", "advice_map", "advice_shuffled", "no_advice")
    cases = key_of(**dict.fromkeys(arms, (10, 10)))
    assert found(cases, designed(*arms), Code.ADVICE_SHAM) == [
        (
            WARNING,
            "the arm advice with shuffled units is no sham of advice or of advice with class map:"
            " these arms differ from it in what they show, and not only in whether it belongs to"
            " the case; compare with the arm no advice, or plan the arm advice with named units",
        )
    ]


def test_control_after_advice_and_washout() -> None:
    design = designed("advice_units", "no_advice")
    cases = key_of(advice_units=(8, 8), no_advice=(8, 8))
    # Cases 17 and 18, controls, are of the images of the cases 1 and 2.
    cases.loc[[16, 17], "mammogram_id"] = ["m1", "m2"]
    numbers = cases["case_number"].tolist()
    for orders, count in (({"R1": numbers}, 2), ({"R1": numbers[::-1]}, 0)):
        issues = advice_issues(cases, design, orders)
        texts = [i.finding for i in issues if i.code is Code.ADVICE_REPEATED_CASE]
        expected = (
            f"{count} images read as a control after advice on the same image; put each image in"
            " one arm, or plan a crossover with a washout"
        )
        assert texts == [expected] * bool(count)
    short = designed("advice_units", "no_advice", washout_days=27, duration_days=90)
    assert found(cases, short, Code.ADVICE_WASHOUT) == [
        (
            WARNING,
            "the washout of 27 days is shorter than the usual 28: readers may recall the advice on"
            " a case when they read it as a control",
        )
    ]


def answer(code: str, case: int, arm: str, truth: str, decision: str, *given: int) -> dict:
    first, final, prediction = given
    is_right = (final >= 4) == (truth == M)
    return {
        "code": code,
        "case_number": case,
        "patient_id": f"p{case // 2}",
        "arm": arm,
        "repeat": False,
        "malignant": truth == M,
        "predicted": decision,
        "unaided": first,
        "answer": final,
        "called_malignant": final >= 4,
        "correct": is_right,
        "network_prediction": prediction,
        "unaided_seconds": 10.0 + case,
        "seconds": 5.0 * case,
        "total_seconds": 10.0 + 6 * case,
    }


@pytest.fixture(scope="module")
def advised() -> AdviceScore:
    """Both classes, right and wrong decisions, and predictions of them."""
    rows = [
        answer("R1", 1, "advice_units", M, M, 2, 5, 2),
        answer("R1", 2, "advice_units", M, B, 5, 3, 2),
        answer("R1", 3, "advice_units", B, M, 1, 4, 1),
        answer("R1", 4, "advice_units", B, B, 5, 2, 1),
        answer("R1", 5, "advice_units", B, M, 2, 2, 2),
        answer("R2", 1, "advice_units", M, M, 3, 3, 1),
        answer("R2", 4, "advice_units", B, B, 4, 4, 1),
        answer("R2", 5, "advice_units", B, M, 3, 1, 2),
        answer("R1", 6, "no_advice", M, M, 2, 2, 2),
        answer("R2", 7, "no_advice", B, M, 2, 5, 2),
        answer("R2", 8, "no_advice", B, M, 3, 1, 2),
    ]
    design = designed("advice_units", "no_advice", alpha=0.1)
    return score_advice(pd.DataFrame(rows), design)


def test_reliance_with_both_classes(advised: AdviceScore) -> None:
    units, control = advised.arms
    assert (units.arm, units.answers, units.cases, units.wrong_advice) == ("advice_units", 8, 5, 4)
    # First answers right: case 2, 3, 5 of R1 and 5 of R2; final ones: 1, 4, 5 of R1, 5 of R2.
    assert (units.first_correct.estimate, units.final_correct.estimate) == (4 / 8, 4 / 8)
    assert (units.to_right, units.to_wrong, units.change.estimate) == (2, 2, 0)
    # Wrong first and right decision: 1 and 4 of both readers; R1 follows twice.
    assert units.reliance_on_network.estimate == pytest.approx(2 / 4)
    # Right first and wrong decision: 2, 3, 5 of R1 and 5 of R2; the fives are kept.
    assert units.reliance_on_self.estimate == pytest.approx(2 / 4)
    # Predicted 2 is malignant: right are 1 and 4, 5 of R1, and 4 and 5 of R2.
    assert units.predicted_network.estimate == pytest.approx(5 / 8)
    assert (units.first_seconds, units.final_seconds, units.total_seconds) == (
        *(13.5, 17.5),
        *(31.0,),
    )
    intervals = (units.first_correct, units.final_correct, units.change, units.predicted_network)
    assert {i.level for i in (*intervals, units.reliance_on_network, units.reliance_on_self)} == {
        0.9
    }
    assert (control.answers, control.wrong_advice, control.to_right, control.to_wrong) == (
        *(3, 2),
        *(0, 1),
    )
    (pair,) = advised.comparisons
    assert (pair.arm, pair.control) == ("advice_units", "no_advice")
    assert pair.change.estimate == pytest.approx(0 + 1 / 3) and pair.change.level == 0.9
    assert pair.over_reliance.estimate == pytest.approx(2 / 4 - 1 / 2)
    assert units.auc.level == 0.9


def test_sentences_of_reliance(advised: AdviceScore) -> None:
    units: ArmReliance = advised.arms[0]
    assert units.sentence() == (
        "Arm advice with named units: of 8 answers 2 changed to right and 2 to wrong; mean change"
        f" in correctness {brief_text(units.change)}; relative reliance on the network"
        f" {brief_text(units.reliance_on_network)}, on oneself"
        f" {brief_text(units.reliance_on_self)}."
    )
    assert units.times == (
        "31.0 s a case, 13.5 s to the first answer, 17.5 s from the second look to the final answer"
    )
    pair: RelianceComparison = advised.comparisons[0]
    assert pair.sentence() == (
        "Arm advice with named units minus arm no advice (control): change in correctness"
        f" {brief_text(pair.change)}; over-reliance {brief_text(pair.over_reliance)}."
    )


def test_total_times_need_every_part() -> None:
    parts = [pd.Series([1.0, 2.0, None]), pd.Series([10.0, None, 30.0])]
    assert total_seconds(*parts)[0] == 11 and total_seconds(*parts)[1:].isna().all()
    assert total_seconds(*parts, pd.Series([0.5, 1, 1]))[0] == 11.5

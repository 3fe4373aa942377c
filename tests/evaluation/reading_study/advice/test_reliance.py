"""Reliance on advice: counts by hand, intervals, and their coverage on simulated readers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import reading_advice
from benchmarks.reading_advice import AdviceSetting
from evaluation.mrmc import (
    Answers,
    crossed_difference,
    crossed_mean,
    crossed_proportion,
    obuchowski_rockette,
)
from evaluation.mrmc.crossed_answers import crossed_variance
from evaluation.reading_study import design_preset
from evaluation.reading_study.advice.first_stages import with_first_stages
from evaluation.reading_study.advice.reliance import score_advice
from evaluation.reading_study.primary import primary_analysis

ARMS = ("advice_units", "advice_shuffled", "no_advice")


def answer(arm: str, case: int, code: str, first: int, final: int, network: str) -> dict:
    """Return an answer to a malignant case of a patient of its own."""
    return {
        "code": code,
        "case_number": case,
        "patient_id": f"p{case}",
        "arm": arm,
        "repeat": False,
        "truth": "malignant",
        "malignant": True,
        "predicted": network,
        "unaided": first,
        "answer": final,
        "called_malignant": final >= 4,
        "correct": final >= 4,
        "seconds": 4.0 + case,
        "unaided_seconds": 10.0,
    }


def hand_counted() -> pd.DataFrame:
    """Two readers: four wrong first answers under right advice, three right under wrong advice."""
    rows = [
        # Wrong at first, the network is right: two of four follow it.
        answer("advice_units", 1, "R1", 2, 5, "malignant"),
        answer("advice_units", 2, "R1", 1, 1, "malignant"),
        answer("advice_units", 1, "R2", 3, 6, "malignant"),
        answer("advice_units", 2, "R2", 3, 2, "malignant"),
        # Right at first, the network is wrong: one of three gives in.
        answer("advice_units", 3, "R1", 5, 2, "benign"),
        answer("advice_units", 4, "R1", 6, 6, "benign"),
        answer("advice_units", 3, "R2", 4, 4, "benign"),
        # A change of rating without a change of class is no switch.
        answer("advice_units", 5, "R2", 4, 6, "malignant"),
        answer("advice_shuffled", 6, "R1", 5, 2, "benign"),
        answer("advice_shuffled", 6, "R2", 5, 2, "benign"),
        answer("advice_shuffled", 7, "R1", 5, 5, "benign"),
        answer("no_advice", 8, "R1", 2, 5, "malignant"),
    ]
    return pd.DataFrame(rows)


def test_counts_by_hand() -> None:
    design = design_preset("Reading with advice", arms=ARMS)
    score = score_advice(hand_counted(), design)
    units, sham, control = score.arms
    assert (units.answers, units.cases, units.wrong_advice) == (8, 5, 3)
    assert (units.to_right, units.to_wrong) == (2, 1)
    assert units.first_correct.estimate == 4 / 8 and units.final_correct.estimate == 5 / 8
    assert units.change.estimate == 1 / 8
    assert units.reliance_on_network.estimate == 2 / 4
    assert units.reliance_on_self.estimate == pytest.approx(2 / 3)
    assert sham.reliance_on_self.estimate == pytest.approx(1 / 3)
    assert (units.first_seconds, units.final_seconds) == (10.0, 6.5)
    assert units.predicted_network is None and not units.is_control and sham.is_control
    assert control.reliance_on_self.estimate is None
    against_sham, against_control = score.comparisons
    assert against_sham.over_reliance.estimate == pytest.approx(1 / 3 - 2 / 3)
    assert against_sham.change.estimate == pytest.approx(1 / 8 + 2 / 3)
    assert against_control.over_reliance.estimate is None
    assert "2 changed to right and 1 to wrong" in units.sentence()
    assert "not estimable" in against_control.sentence()


def test_hidden_repeats_and_missing_first_answers_do_not_count() -> None:
    design = design_preset("Reading with advice", arms=ARMS)
    joined = hand_counted()
    joined.loc[0, "unaided"] = np.nan
    joined.loc[1, "repeat"] = True
    assert score_advice(joined, design).arms[0].answers == 6


def test_predictions_are_compared_with_the_network_and_not_with_the_truth() -> None:
    design = design_preset("Reading with advice", arms=ARMS, predict_network=True)
    # R1 predicts malignant (2) for all; the network decides so in 2 of the 4 cases of the arm.
    joined = hand_counted().assign(network_prediction=2)
    joined = joined[joined["code"] == "R1"]
    assert score_advice(joined, design).arms[0].predicted_network.estimate == 2 / 4


def test_stages_are_joined_to_the_final_answers() -> None:
    answers = pd.DataFrame({"code": ["R1", "R1", "R2"], "position": [1, 2, 1], "answer": [5, 2, 6]})
    stages = pd.DataFrame(
        {
            "code": ["R1", "R1", "R2", "R2"],
            "position": [1, 1, 1, 0],
            "stage": ["first answer", "prediction", "first answer", "closing question 1"],
            "value": ["3", "2", "6", "x"],
            "seconds": [8.0, None, 4.0, None],
        }
    )
    got = with_first_stages(answers, stages)
    assert got["unaided"].tolist()[::2] == [3, 6] and np.isnan(got["unaided"][1])
    assert got["unaided_seconds"].tolist()[::2] == [8.0, 4.0]
    assert got["network_prediction"][0] == 2 and got["network_prediction"][1:].isna().all()


def test_primary_analysis_compares_final_with_first_answers() -> None:
    rng = np.random.default_rng(2)
    readers, cases = 4, 40
    truth = np.arange(cases) % 2 == 0
    first = np.clip(np.rint(3 + truth + rng.normal(0, 1.5, (readers, cases))), 1, 6)
    final = np.clip(np.rint(3 + 2 * truth + rng.normal(0, 1.5, (readers, cases))), 1, 6)
    reader, case = (index.ravel() for index in np.indices(first.shape))
    joined = pd.DataFrame(
        {
            "code": reader,
            "case_number": case,
            "patient_id": case,
            "arm": "advice_units",
            "repeat": False,
            "malignant": truth[case],
            "truth": np.where(truth, "malignant", "benign")[case],
            "unaided": first.ravel(),
            "answer": final.ravel(),
            "correct": (final.ravel() >= 4) == truth[case],
        }
    )
    key = joined.drop_duplicates("case_number")[["case_number", "patient_id", "arm", "truth"]]
    result = primary_analysis(joined, key, design_preset("Reading with advice", arms=ARMS))
    expected = obuchowski_rockette(
        np.stack([final, first]), truth, "rrrc", cluster=np.arange(cases)
    )
    assert result.endpoint == "advice_change"
    assert result.estimate == pytest.approx(expected.difference)
    assert result.p_value == pytest.approx(
        expected.law.sf(expected.difference / expected.standard_error)
    )
    without = primary_analysis(
        joined.drop(columns="unaided"), key, design_preset("Reading with advice", arms=ARMS)
    )
    assert without.estimate is None and "first and a final answer" in without.reason


def test_variance_of_independent_answers() -> None:
    """With one answer of each reader on each patient of its own, both kinds of clusters agree."""
    values = np.array([1, 0, 1, 1, 0, 1.0])
    answers = Answers(values, np.arange(6), np.arange(6))
    influence = (values - values.mean()) / 6
    variance, df = crossed_variance(influence, answers.readers, answers.patients)
    # The sum of squares with the small-sample factor, and what patients add: its factor less one.
    squares = float((influence**2).sum())
    assert variance == pytest.approx(6 / 5 * squares + (6 / 5 - 1) * squares)
    assert df > 5


def test_the_floor_is_the_variance_of_single_answers() -> None:
    """Readers with equal sums have no variance between them; their answers still vary."""
    influence = np.array([0.1, -0.1, 0.1, -0.1])
    readers, patients = list("aabb"), [1, 2, 3, 4]
    squares = float((influence**2).sum())
    # Each patient has one answer: what patients add is the factor 4 / 3 less one.
    without, _ = crossed_variance(influence, readers, patients)
    with_floor, _ = crossed_variance(influence, readers, patients, floor=True)
    assert without == pytest.approx(squares / 3)
    assert with_floor == pytest.approx(squares + squares / 3)


def test_readers_who_all_agree_are_no_evidence_of_many_patients() -> None:
    """Ten readers with the same answers have the variance of the patients."""
    values = np.tile([1, 0, 1, 1, 0, 1, 1, 0.0], 10)
    patients, readers = np.tile(np.arange(8), 10), np.repeat(np.arange(10), 8)
    same = crossed_mean(Answers(values, readers, patients))
    one = crossed_mean(Answers(values[:8], readers[:8], patients[:8]))
    assert same.high - same.low > 0.8 * (one.high - one.low)
    assert one.unit == "patient" and "one reader" in one.reason


def test_equal_answers_have_bounds_by_the_number_of_patients() -> None:
    """Clopper and Pearson with 0 or 10 of 10: one bound is 1 - .025^(1/10), or its complement."""
    readers, patients = np.repeat([0, 1], 10), np.tile(np.arange(10), 2)
    bound = 1 - 0.025 ** (1 / 10)
    none_right, all_right = (
        crossed_proportion(Answers(np.full(20, value), readers, patients)) for value in (0.0, 1.0)
    )
    assert (none_right.low, none_right.high) == (0.0, pytest.approx(bound))
    assert (all_right.low, all_right.high) == (pytest.approx(1 - bound), 1.0)


def test_empty_groups_and_single_patients_are_not_estimable() -> None:
    empty = Answers(np.array([]), np.array([]), np.array([]))
    one = Answers(np.array([1.0]), np.array(["R1"]), np.array(["p1"]))
    assert crossed_proportion(empty).estimate is None and crossed_mean(empty).low is None
    assert crossed_proportion(one).low is None and crossed_proportion(one).estimate == 1
    assert crossed_difference(one, empty).estimate is None


def test_intervals_cover_the_reliance_of_simulated_readers() -> None:
    """Committed coverage with 1,000 studies a setting: benchmarks/READING_ADVICE.md."""
    # Readers differ much: with patients as the only clusters the shares are about .7.
    setting = AdviceSetting(8, 40, reader_sd=0.8)
    shares = reading_advice.coverage(setting, studies=80)
    assert set(shares) == set(reading_advice.true_values(setting))
    # Four Monte Carlo errors below .95.
    assert all(share >= 0.85 for share in shares.values()), shares

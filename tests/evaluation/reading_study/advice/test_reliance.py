"""Reliance on advice: counts by hand, intervals, and their coverage on simulated readers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

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
from evaluation.reading_study import design_preset, score_study
from evaluation.reading_study.advice import reliance
from evaluation.reading_study.advice.first_stages import with_first_stages
from evaluation.reading_study.advice.reliance import reliance_table, score_advice
from evaluation.reading_study.narrative import narrative
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
        "total_seconds": 16.0 + case,
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
    assert (units.first_seconds, units.final_seconds, units.total_seconds) == (10.0, 6.5, 18.5)
    assert units.times.startswith("18.5 s a case, 10.0 s to the first answer, 6.5 s from")
    assert units.predicted_network is None and not units.is_control and sham.is_control
    assert control.reliance_on_self.estimate is None
    against_sham, against_control = score.comparisons
    assert against_sham.over_reliance.estimate == pytest.approx(1 / 3 - 2 / 3)
    assert against_sham.change.estimate == pytest.approx(1 / 8 + 2 / 3)
    assert against_control.over_reliance.estimate is None
    assert "2 changed to right and 1 to wrong" in units.sentence()
    assert "not estimable" in against_control.sentence()
    assert (against_sham.kind, against_control.kind) == ("sham comparison", "control")
    other = replace(against_sham, arm="advice_units_map")
    assert "no sham: the arms show other content" in other.sentence()


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
    assert "total_seconds" not in got
    timed = stages.assign(seconds=[8.0, 1.5, 4.0, None])
    got = with_first_stages(answers.assign(seconds=[2.0, 3.0, 5.0]), timed)
    # Where predictions are asked for, a case without one has no total.
    assert got["total_seconds"][0] == 11.5 and got["total_seconds"][1:].isna().all()
    got = with_first_stages(answers.assign(seconds=[2.0, 3.0, 5.0]), timed.drop(index=1))
    assert got["total_seconds"].tolist()[::2] == [10.0, 9.0]


def test_missing_final_answers_are_counted_by_every_rule() -> None:
    """A reader who stopped early leaves no case that every reader answered."""
    key = pd.DataFrame(
        {
            "case_number": range(1, 13),
            "mammogram_id": [f"m{number}" for number in range(1, 13)],
            "patient_id": [f"p{number}" for number in range(1, 13)],
            "arm": "advice_units",
            "texts": [("Mass",)] * 12,
            "truth": ["malignant", "benign"] * 6,
            "network_score": 0.5,
            "predicted": "malignant",
        }
    )
    rows = [
        (code, number, (2 + number % 3, 5 - 3 * (number % 2 == 0)))
        for code, last in (("R1", 12), ("R2", 12), ("R3", 0), ("R4", 5))
        for number in range(1, last + 1)
    ]
    answers = pd.DataFrame(
        [(code, number, False, *pair) for code, number, pair in rows],
        columns=["code", "case_number", "repeat", "unaided", "answer"],
    )
    # R4 did not see a case of R1: with one class left, nothing can be estimated.
    answers = answers[(answers["code"] != "R1") | (answers["case_number"] > 4)]
    design = design_preset("Reading with advice", arms=("advice_units", "no_advice"))
    score = score_study(answers, key, design)
    assert score.primary.p_value is None and score.primary.missing == 4 + 7
    rules = {result.missing_rule: result for result in score.missing_analyses}
    assert set(rules) == {"counted_wrong", "counted_correct"}
    wrong, right = rules["counted_wrong"], rules["counted_correct"]
    assert (wrong.filled, wrong.correct) == (11, score.primary.correct)
    assert right.correct == wrong.correct + 11
    assert wrong.estimate > 0 and 0 < right.estimate < 1
    # No reader reached a case of the control arm.
    assert score.advice.arms[1].auc is None
    text = narrative(score)
    assert "counted as wrong" in text and "11 assigned answers missing" in text


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


def slow_variance(
    influence: np.ndarray, readers: list, patients: list, strata: list
) -> tuple[float, float]:
    """Return variance and degrees of freedom by the text of `crossed_variance`, in loops."""
    answers = list(zip(influence, readers, patients, strata))
    names, people = sorted(set(readers)), sorted(set(patients))

    def squares(centred: list[float], group: Callable[[tuple], object]) -> float:
        total: dict[object, float] = {}
        for value, answer in zip(centred, answers):
            total[group(answer)] = total.get(group(answer), 0.0) + value
        return sum(value**2 for value in total.values())

    centred, used = [], set()
    for value, reader, _, stratum in answers:
        cell = [answer for answer in answers if answer[1] == reader and answer[3] == stratum]
        m = len({patient for _, _, patient, _ in cell})
        if m > 1:
            used.add(stratum)
            value = (value - sum(other[0] for other in cell) / len(cell)) * (m / (m - 1)) ** 0.5
        centred.append(value)
    of_patients = squares(centred, lambda answer: answer[2])
    df = max(len(people) - len(used), 1)
    if len(names) == 1:
        return of_patients, df
    of_both = squares(centred, lambda answer: answer[1:3])
    r = len(names)
    of_readers = r / (r - 1) * squares(list(influence), lambda answer: answer[1]) or of_both
    shared = max(of_patients - of_both, 0.0)
    expected = max(of_readers, of_both)
    error = expected**2 / (r - 1) + shared**2 / df
    return of_readers + shared, (expected + shared) ** 2 / error


@pytest.mark.parametrize("seed", range(6))
def test_variance_equals_the_slow_version(seed: int) -> None:
    """Ragged answers: patients of several images, in several strata and alone in a stratum."""
    rng = np.random.default_rng(seed)
    n, readers = 60, 1 + seed
    reader, patient = rng.integers(0, readers, n), rng.integers(0, 15, n)
    # Every second seed has patients within strata, the others across them; 9 is a lonely patient.
    strata = np.where(patient == 9, 8, patient % 3) if seed % 2 else rng.integers(0, 4, n)
    influence = rng.normal(size=n)
    influence -= influence.mean()
    got = crossed_variance(influence, reader, patient, strata)
    expected = slow_variance(influence, list(reader), list(patient), list(strata))
    assert got == pytest.approx(expected)


def test_variance_of_one_reader_is_that_of_a_bootstrap_within_strata() -> None:
    """Patients are drawn again within their stratum; each stratum keeps its number of patients."""
    rng = np.random.default_rng(3)
    m, draws = 40, 4000
    strata = np.repeat([0, 1], m)
    # The strata differ much: with patients drawn from both together the variance is far larger.
    values = (rng.random(2 * m) < np.where(strata == 0, 0.9, 0.2)).astype(float)
    patients = np.arange(2 * m)
    influence = (values - values.mean()) / len(values)
    drawn = [values[rng.integers(0, m, (draws, m)) + start] for start in (0, m)]
    within = np.concatenate(drawn, axis=1).mean(axis=1).var() * m / (m - 1)
    together = values[rng.integers(0, 2 * m, (draws, 2 * m))].mean(axis=1).var()
    one = np.zeros(2 * m)
    # Five Monte Carlo errors of a variance.
    tolerance = 5 * np.sqrt(2 / draws)
    in_strata = crossed_variance(influence, one, patients, strata)[0]
    assert in_strata == pytest.approx(within, rel=tolerance)
    assert together > 1.5 * within
    assert crossed_variance(influence, one, patients, one)[0] == pytest.approx(
        together, rel=tolerance
    )


def test_answers_outside_a_proportion_count_among_the_cases_of_their_stratum() -> None:
    """The mean of a stratum is over all its cases: 2 of 4 count, 1 of them is 1."""
    counted = np.array([True, True, False, False])
    answers = Answers(np.array([1, 0, 1, 1.0]), np.zeros(4), np.arange(4), np.zeros(4), counted)
    assert answers.mean == 0.5 and len(answers) == 2
    assert answers.influence.tolist() == [0.25, -0.25, 0, 0]
    # Sum of squares .125 times 4 / 3; the influences already have the mean 0.
    expected = crossed_variance(answers.influence, np.zeros(4), np.arange(4), np.zeros(4))
    assert expected == (pytest.approx(0.125 * 4 / 3), 3)
    interval = crossed_proportion(answers)
    half = stats.t.ppf(0.975, 3) * expected[0] ** 0.5 / 0.25
    assert interval.high == pytest.approx(1 / (1 + np.exp(-half)))


def test_readers_with_equal_sums_have_the_variance_of_single_answers() -> None:
    """No variance between readers by chance is no variance of 0: their answers still vary."""
    influence = np.array([0.1, -0.1, 0.1, -0.1])
    variance, df = crossed_variance(influence, list("aabb"), [1, 2, 3, 4], [0] * 4)
    # Each reader has two patients: factor 2. No patient is shared.
    assert (variance, df) == (pytest.approx(2 * 0.04), 1)


def test_the_design_gives_the_strata() -> None:
    """A sampled share fixes right and wrong decisions of each class; a natural one does not."""
    natural = design_preset("Reading with advice", arms=ARMS)
    sampled = design_preset("Reading with advice", arms=ARMS, wrong_advice=0.3)
    joined = hand_counted()
    joined.loc[joined["case_number"] > 4, "malignant"] = False
    strata = [reliance_table(joined, design)["stratum"].nunique() for design in (natural, sampled)]
    assert strata == [2, 4]
    # The first answers are as far from each other in both designs; only the interval differs.
    rng = np.random.default_rng(4)
    setting = AdviceSetting(6, 60, reader_sd=0.1)
    study = reading_advice.simulate_study(rng, setting)
    widths = [score_advice(study, design).arms[0].change for design in (natural, sampled)]
    assert widths[0].estimate == widths[1].estimate
    assert widths[1].high - widths[1].low < 0.9 * (widths[0].high - widths[0].low)


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
    # Certainty about a side of one patient would be certainty from nothing.
    two = Answers(np.array([0, 1.0, 0, 1]), np.array(list("abab")), np.array([1, 1, 2, 2]))
    for sides in ((one, two), (two, one)):
        interval = crossed_difference(*sides)
        assert interval.low is None and "a group has fewer than two patients" in interval.reason


def test_intervals_cover_the_reliance_of_simulated_readers() -> None:
    """Committed coverage with 3,000 studies a setting: benchmarks/READING_ADVICE.md."""
    # Readers differ much: with patients as the only clusters the shares are about .7.
    setting = AdviceSetting(8, 40, reader_sd=0.8)
    shares = reading_advice.coverage(setting, studies=80)
    assert set(shares) == set(reading_advice.true_values(setting))
    # Four Monte Carlo errors below .95.
    assert all(share >= 0.85 for share in shares.values()), shares


@pytest.mark.parametrize(("readers", "method"), [(1, "frrc"), (2, "rrrc"), (5, "rrrc")])
def test_one_reader_is_no_sample_of_readers(
    readers: int, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple] = []
    ratings = SimpleNamespace(scores=np.zeros((2, readers, 4)), truth="truth", patients="patients")
    monkeypatch.setattr(reliance, "change_ratings", lambda rows: ratings)
    monkeypatch.setattr(
        reliance, "obuchowski_rockette", lambda *values, **named: calls.append((*values, named))
    )
    reliance._auc_change(pd.DataFrame(), 0.9)
    options = {"level": 0.9, "cluster": "patients"}
    assert calls == [(ratings.scores, "truth", method, options)]

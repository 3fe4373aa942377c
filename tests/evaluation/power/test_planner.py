"""Power over readers and patients, against other formulas and simulated studies."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower

from benchmarks.reader_studies import auc_rejects, proportion_rejects
from evaluation.clustered import clustered_proportion
from evaluation.mrmc import obuchowski_rockette
from evaluation.power import (
    AnswerCorrelations,
    ComparisonVariances,
    StudyPower,
    answer_correlations,
    auc_power,
    binormal_auc_variance,
    design_effect,
    mrmc_power,
    mrmc_sample_size,
    patients_needed,
    pilot_plan,
    power_table,
    proportion_power,
    read_plan,
    study_power,
)
from evaluation.reading_study.design import design_power, design_preset

INDEPENDENT = AnswerCorrelations(0.0, 0.0)


def test_proportion_power_of_equal_answers_is_that_of_a_t_test():
    """Two readers who always agree are as good as one answer a patient."""
    effect, agreeing = (0.6 - 0.5) / np.sqrt(0.6 * 0.4), AnswerCorrelations(1.0, 0.0)
    for side, name in (("greater", "larger"), ("two-sided", "two-sided")):
        expected = TTestPower().power(effect, 90, 0.05, alternative=name)
        power = proportion_power(0.6, 90, readers=2, correlations=agreeing, side=side)
        assert power == pytest.approx(expected, abs=1e-9)


def test_power_of_one_answer_a_patient_is_exact():
    """The clustered test of 100 single answers rejects from 59 on, as the exact one."""
    assert stats.binom.sf(58, 100, 0.5) <= 0.05 < stats.binom.sf(57, 100, 0.5)
    assert proportion_power(0.62, 100) == pytest.approx(stats.binom.sf(58, 100, 0.62), abs=1e-12)
    p_values = [clustered_proportion(np.arange(100) < n, range(100)).p_greater for n in (58, 59)]
    assert p_values[0] > 0.05 > p_values[1]


def test_design_effect_is_the_variance_of_a_mean():
    # Correlation matrix of 2 images by 3 readers of one patient, written out.
    matrix = np.full((6, 6), 0.2)
    for image in range(2):
        rows = slice(3 * image, 3 * image + 3)
        matrix[rows, rows] = 0.35
    np.fill_diagonal(matrix, 1.0)
    assert design_effect(3, 2, 0.35, 0.2) == pytest.approx(matrix.sum() / 6)


def test_binormal_variance_by_simulation():
    rng = np.random.default_rng(1)
    distance = stats.norm.ppf(0.8) * np.sqrt(2)
    placed = stats.norm.cdf(distance + rng.normal(size=400_000))
    assert binormal_auc_variance(0.8) == pytest.approx(placed.var(), rel=0.01)
    assert binormal_auc_variance(0.5) == pytest.approx(1 / 12, abs=1e-9)


def test_mrmc_power_follows_the_formula():
    variances = ComparisonVariances(
        variance=0.002, patients=80, r1=0.5, r2=0.4, r3=0.3, reader_by_arm=0.0003
    )
    error = 0.002 * 80 / 120
    denominator = 0.0003 + error * (0.5 + 3 * 0.1)
    df = denominator**2 / ((0.0003 + error * 0.4) ** 2 / 3)
    expected = stats.ncf.sf(stats.f.isf(0.05, 1, df), 1, df, 4 * 0.06**2 / 2 / denominator)
    assert mrmc_power(0.06, 4, 120, variances) == pytest.approx(expected)
    fixed = stats.ncx2.sf(stats.chi2.isf(0.05, 1), 1, 4 * 0.06**2 / 2 / (error * 0.8))
    assert mrmc_power(0.06, 4, 120, variances, design="frrc") == pytest.approx(fixed)
    size = mrmc_sample_size(0.06, 8, variances)
    assert mrmc_power(0.06, 8, size.patients, variances) >= 0.8
    assert mrmc_power(0.06, 8, size.patients - 2, variances) < 0.8
    assert "8 readers" in size.sentence()
    impossible = mrmc_sample_size(0.01, 2, variances)
    assert impossible.patients is None and "more readers" in impossible.sentence()


def test_power_grows_with_patients_and_readers():
    for endpoint, expected in (("proportion", 0.58), ("auc", 0.6), ("auc_difference", 0.06)):
        plan = StudyPower(endpoint=endpoint, expected=expected)
        table = power_table(plan, (40, 90, 200), (2, 4, 9))
        wide = table.pivot_table(index="patients", columns="readers", values="power").to_numpy()
        assert (np.diff(wide, axis=0) > 0).all() and (np.diff(wide, axis=1) > 0).all()
        assert table["answers"].tolist() == (table["patients"] * table["readers"]).tolist()
    size = patients_needed(StudyPower(expected=0.6))
    assert study_power(StudyPower(expected=0.6, patients=size)).power >= 0.8
    assert study_power(StudyPower(expected=0.6, patients=size - 2)).power < 0.8
    assert patients_needed(StudyPower(expected=0.5001), most=500) is None


@pytest.mark.parametrize(
    ("plan", "simulate"),
    [
        (StudyPower(endpoint="proportion", expected=0.62, patients=50), proportion_rejects),
        (
            StudyPower(expected=0.62, patients=50, readers=2),
            lambda rng, plan: auc_rejects(rng, plan, 6),
        ),
    ],
)
def test_planned_power_against_simulation(plan, simulate):
    rng = np.random.default_rng(2)
    simulated = np.mean([simulate(rng, plan) for _ in range(250)])
    # Twice the Monte Carlo error; benchmarks/reader_studies.py makes the full comparison.
    assert abs(study_power(plan).power - simulated) < 0.07


def test_pilot_gives_the_correlations_of_its_answers():
    rng = np.random.default_rng(3)
    patients, images, readers = 400, 2, 3
    shape = (patients, images, readers)
    values = (
        np.sqrt(0.2) * rng.normal(size=(patients, 1, 1))
        + np.sqrt(0.25) * rng.normal(size=(patients, images, 1))
        + np.sqrt(0.55) * rng.normal(size=shape)
    ).ravel()
    index = np.indices(shape).reshape(3, -1)
    found = answer_correlations(values, index[0] * images + index[1], index[0])
    assert found.same_image == pytest.approx(0.45, abs=0.05)
    assert found.same_patient == pytest.approx(0.2, abs=0.06)
    alone = answer_correlations(values[:5], np.arange(5), np.arange(5))
    assert alone == AnswerCorrelations()


def pilot_answers() -> pd.DataFrame:
    rng = np.random.default_rng(6)
    rows = [
        (f"R{reader}", f"m{image}", f"p{image}", arm, image % 2 == 0)
        for reader in range(4)
        for image in range(40)
        for arm in ("explanation", "shuffled")
    ]
    table = pd.DataFrame(rows, columns=["code", "mammogram_id", "patient_id", "arm", "malignant"])
    gain = np.where(table["arm"] == "explanation", 1.5, 0.2)
    table["answer"] = gain * table["malignant"] + rng.normal(size=len(table))
    table["correct"] = (table["answer"] > 0.75) == table["malignant"]
    return table.assign(repeat=False)


def test_pilot_plan():
    answers = pilot_answers()
    arms = ("explanation", "shuffled")
    primary = answers[answers["arm"] == "explanation"]
    plan = pilot_plan(answers, "proportion", arms)
    assert plan.expected == pytest.approx(primary["correct"].mean())
    assert (plan.patients, plan.readers, plan.images_per_patient) == (40, 4, 1)
    ratings = primary["answer"].to_numpy()
    wins = ratings[primary["malignant"]][:, None] > ratings[~primary["malignant"]][None, :]
    assert pilot_plan(answers, "auc", arms).expected == pytest.approx(wins.mean())
    difference = pilot_plan(answers, "auc_difference", arms)
    assert difference.expected > 0.15 and difference.variances.patients == 40
    with pytest.raises(ValueError, match="one arm"):
        pilot_plan(answers, "auc_difference", arms[:1])
    with pytest.raises(ValueError, match="no first answers"):
        pilot_plan(answers, "advice_change", arms)
    # First answers that are those of the other arm give the plan of the difference of the arms.
    other = answers[answers["arm"] == "shuffled"].set_index(["code", "mammogram_id"])["answer"]
    pairs = pd.MultiIndex.from_frame(primary[["code", "mammogram_id"]])
    first = primary.assign(unaided=other.reindex(pairs).to_numpy()).dropna(subset="unaided")
    change = pilot_plan(first, "advice_change", arms)
    assert change.endpoint == "advice_change" and change.expected > 0.15
    assert change.expected == pytest.approx(difference.expected)
    assert study_power(change).power == study_power(difference).power
    with pytest.raises(ValueError, match="benign and malignant"):
        pilot_plan(answers[answers["malignant"]], "auc", arms)


def test_design_power():
    published = design_power(design_preset("DeepMiner 2021"), 185, 330)
    # 181 of 330 answers are the smallest significant number.
    assert published.exact
    assert published.power == pytest.approx(stats.binom.sf(180, 330, 0.55))
    ratings = design_power(design_preset("Recommended", primary="auc", readers=3), 60, 60)
    assert ratings.expected == pytest.approx(stats.norm.cdf(np.sqrt(2) * stats.norm.ppf(0.55)))
    assert ratings.power == pytest.approx(auc_power(ratings.expected, 60, readers=3))
    clustered = design_power(
        design_preset("Recommended", primary="gee", design_effect=1.3, images_per_patient=None),
        50,
        150,
    )
    assert clustered.correlations.same_patient == pytest.approx(0.15)


def test_bad_assumptions_are_refused():
    for change, message in (
        ({"endpoint": "kappa"}, "the endpoint must be one of"),
        ({"expected": 1.2}, "between 0 and 1"),
        ({"patients": 1}, "number of patients"),
        ({"alpha": 0}, "alpha"),
        ({"side": "less"}, "the side must be"),
        ({"endpoint": "proportion", "expected": 0}, "the expected proportion is 0"),
        ({"endpoint": "auc", "expected": float("nan")}, "AUC nan and prevalence"),
        ({"endpoint": "auc_difference", "alpha": 1.5}, "alpha is 1.5"),
        ({"endpoint": "auc_difference", "readers": 0}, "the number of readers"),
    ):
        with pytest.raises(ValueError, match=message):
            study_power(replace(StudyPower(), **change))
    with pytest.raises(ValueError, match="the expected AUC is 1"):
        ComparisonVariances.from_auc(1.0)
    single = obuchowski_rockette(np.array([[[1.0, 2, 3, 4]]]), np.array([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="two readers in two arms"):
        ComparisonVariances.from_pilot(single, 4)
    with pytest.raises(ValueError, match="the power is 1"):
        mrmc_sample_size(0.05, 5, ComparisonVariances.from_auc(0.8), power=1)
    with pytest.raises(ValueError, match="same_image"):
        read_plan(StudyPower(), same_image=1.5)
    assert auc_power(0.7, 3) == 0.0

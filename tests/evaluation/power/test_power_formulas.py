"""Power of proportions, areas and differences by its formulas, and limits of the arguments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

from evaluation.power import binomial_power, binomial_sample_size, pilot, planner
from evaluation.power.binomial import _normal_sample_size
from evaluation.power.planner import (
    StudyPower,
    patients_needed,
    power_table,
    read_plan,
    study_power,
)
from evaluation.power.reader_comparison import ComparisonVariances, mrmc_power
from evaluation.power.readers_and_cases import (
    AnswerCorrelations,
    auc_power,
    binormal_auc_variance,
    design_effect,
    proportion_power,
)

UNEVEN = AnswerCorrelations(0.35, 0.15)


def noncentral(effect: float, df: int, alpha: float, side: str = "greater") -> float:
    critical = stats.t.isf(alpha if side == "greater" else alpha / 2, df)
    power = stats.nct.sf(critical, df, effect)
    return power if side == "greater" else power + stats.nct.cdf(-critical, df, effect)


@pytest.mark.parametrize("side", ["greater", "two-sided"])
def test_power_of_a_proportion(side: str) -> None:
    effect = 1 + 2 * 0.35 + 3 * 1 * 0.15
    assert design_effect(3, 2, 0.35, 0.15) == pytest.approx(effect)
    error = np.sqrt(0.6 * 0.4 * effect / (40 * 3 * 2))
    found = proportion_power(0.6, 40, 3, 2, UNEVEN, 0.04, side)
    assert found == pytest.approx(noncentral(0.1 / error, 39, 0.04, side))
    single = proportion_power(0.6, 40, alpha=0.04, side=side)
    level = 0.04 if side == "greater" else 0.02
    assert single == float(binomial_power(40, 0.6, alpha=level))
    exact = proportion_power(0.6, 40, 3, 2, UNEVEN, 0.04, side, exact=True)
    assert exact == float(binomial_power(240, 0.6, alpha=level))


@pytest.mark.parametrize("side", ["greater", "two-sided"])
def test_power_of_an_area(side: str) -> None:
    # Of 50 patients 15 are malignant. The variance of a placement by integration.
    shift = np.sqrt(2) * stats.norm.ppf(0.64)
    mean = integrate.quad(lambda x: stats.norm.cdf(shift - x) ** 2 * stats.norm.pdf(x), -9, 9)[0]
    placed = mean - 0.64**2
    assert binormal_auc_variance(0.64) == pytest.approx(placed, abs=1e-9)
    effect = 1 + 2 * 0.35 + 3 * 1 * 0.15
    error = np.sqrt(placed * (1 / 15 + 1 / 35) * effect / 6) / (0.64 * 0.36)
    found = auc_power(0.64, 50, 3, 2, UNEVEN, 0.04, side, prevalence=0.3)
    assert found == pytest.approx(noncentral(np.log(0.64 / 0.36) / error, 14, 0.04, side), rel=1e-6)
    assert auc_power(0.64, 50, 3, 2, UNEVEN, 0.04, side, prevalence=0.7) == pytest.approx(found)
    assert auc_power(0.64, 10, prevalence=0.1) == 0 < auc_power(0.64, 10, prevalence=0.2)


def test_limits_of_the_assumptions() -> None:
    for value in (0, 1):
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            auc_power(value, 50)
        with pytest.raises(ValueError, match="must lie between 0 and 1"):
            auc_power(0.6, 50, prevalence=value)
        with pytest.raises(ValueError, match="the expected proportion is"):
            proportion_power(value, 50)
        with pytest.raises(ValueError, match="alpha is"):
            proportion_power(0.6, 50, alpha=value)
        with pytest.raises(ValueError, match="alpha is"):
            mrmc_power(0.05, 3, 50, ComparisonVariances.from_auc(0.8), value)
    for sizes in ((1, 1, 1), (2, 0, 1), (2, 1, 0)):
        with pytest.raises(ValueError, match="expected a whole number of at least"):
            proportion_power(0.6, *sizes)
    assert 0 < proportion_power(0.6, 2, 2) < 1
    variances = ComparisonVariances.from_auc(0.8)
    for readers, patients, design in ((1, 50, "rrrc"), (0, 50, "frrc"), (2, 3, "rrrc")):
        with pytest.raises(ValueError, match="expected a whole number of at least"):
            mrmc_power(0.05, readers, patients, variances, design=design)
    assert 0 < mrmc_power(0.05, 2, 4, variances) < mrmc_power(0.05, 2, 40, variances) < 1
    assert mrmc_power(0.05, 1, 4, variances, design="frrc") > 0
    with pytest.raises(ValueError, match="the side must be greater or two-sided"):
        proportion_power(0.6, 50, side="less")
    with pytest.raises(ValueError, match="the endpoint must be one of proportion, auc,"):
        study_power(StudyPower(endpoint="other"))


@pytest.mark.parametrize("endpoint", ["proportion", "auc", "auc_difference", "advice_change"])
@pytest.mark.parametrize("readers", [1, 3])
def test_power_of_a_plan(endpoint: str, readers: int) -> None:
    plan = StudyPower(
        endpoint=endpoint,
        expected=0.08 if endpoint in planner.PAIRED_ENDPOINTS else 0.6,
        patients=60,
        readers=readers,
        images_per_patient=2,
        alpha=0.03,
        side="two-sided",
        correlations=UNEVEN,
        auc=0.8,
    )
    if endpoint == "proportion":
        expected = proportion_power(0.6, 60, readers, 2, UNEVEN, 0.03, "two-sided")
    elif endpoint == "auc":
        expected = auc_power(0.6, 60, readers, 2, UNEVEN, 0.03, "two-sided")
    else:
        plain = ComparisonVariances.from_auc(0.8)
        # Two images a patient: 1 + .15 of the variance of one, over two.
        scaled = replace(plain, variance=plain.variance * 1.15 / 2)
        design = "frrc" if readers == 1 else "rrrc"
        expected = mrmc_power(0.08, readers, 60, scaled, 0.03, design)
        own = replace(plain, variance=plain.variance / 3)
        pilot = study_power(replace(plan, variances=own)).power
        scaled = replace(own, variance=own.variance * 1.15 / 2)
        assert pilot == mrmc_power(0.08, readers, 60, scaled, 0.03, design)
    found = study_power(plan)
    assert found == replace(plan, power=expected) and plan.power is None
    exact = study_power(replace(plan, exact=True)).power
    assert (exact == expected) == (endpoint != "proportion")


def test_assumptions_that_are_given() -> None:
    variances = ComparisonVariances.from_auc(0.7)
    plan = StudyPower(expected=0.62, correlations=UNEVEN, auc=0.72, variances=variances)
    assert read_plan(plan) == plan
    assert read_plan(plan, expected=0.0).expected == 0
    assert read_plan(plan, alpha=0.01, two_sided=True) == replace(
        plan, alpha=0.01, side="two-sided"
    )
    other = read_plan(plan, auc=0.9, same_image=0.0, same_patient=0.05)
    assert (other.auc, other.variances) == (0.9, None)
    assert other.correlations == AnswerCorrelations(0.0, 0.05)
    assert read_plan(plan, same_patient=0.0).correlations == AnswerCorrelations(0.35, 0.0)
    for endpoint, side in (
        ("auc_difference", "two-sided"),
        ("advice_change", "two-sided"),
        ("proportion", "greater"),
    ):
        assert read_plan(replace(plan, endpoint=endpoint)).side == side


def test_numbers_of_patients_and_tables() -> None:
    plan = StudyPower(endpoint="auc", expected=0.66, readers=2)
    needed = patients_needed(plan, 0.7)
    powers = [study_power(replace(plan, patients=n)).power for n in (needed - 1, needed)]
    assert powers[0] < 0.7 <= powers[1]
    assert patients_needed(plan, powers[1]) == needed
    assert patients_needed(plan, 0.7, most=needed) == needed
    assert patients_needed(plan, 0.7, most=needed - 1) is None
    assert patients_needed(plan, 1e-9) == 4
    table = power_table(plan, [30, 50], [1, 3], [1, 2])
    assert table.iloc[:, :4].to_numpy().tolist() == [
        [r, p, k, r * p * k] for r in (1, 3) for p in (30, 50) for k in (1, 2)
    ]
    last = study_power(replace(plan, readers=3, patients=50, images_per_patient=2)).power
    assert table["power"].iloc[-1] == last
    assert power_table(plan, [30], [2])["images_per_patient"].tolist() == [1]


def test_normal_size_and_the_search_behind_it() -> None:
    z_alpha, z_power = stats.norm.ppf(0.96), stats.norm.ppf(0.7)
    spread = z_alpha * np.sqrt(0.55 * 0.45) + z_power * np.sqrt(0.65 * 0.35)
    assert _normal_sample_size(0.65, 0.55, 0.04, 0.7) == pytest.approx((spread / 0.1) ** 2)
    found = binomial_sample_size(0.65, p0=0.55, alpha=0.04, power=0.7)
    # A plain search over all numbers of answers.
    reached = []
    for n in range(1, 401):
        tails = stats.binom.sf(np.arange(-1, n + 1), n, 0.55)
        critical = int((tails <= 0.04).argmax())
        reached.append(stats.binom.sf(critical - 1, n, 0.65))
    enough = np.array(reached) >= 0.7
    assert found.first_n == enough.argmax() + 1
    assert found.stable_n == len(enough) - (~enough[::-1]).argmax() + 1
    assert found.first_power == pytest.approx(reached[found.first_n - 1])


def test_power_of_a_difference() -> None:
    """Hillis, Obuchowski and Berbaum 2011, with Rockette's average correlations."""
    plain = ComparisonVariances(variance=0.002, patients=80)
    assert (plain.r1, plain.r2, plain.r3, plain.reader_by_arm) == (0.47, 0.33, 0.3, 0.0)
    variances = replace(plain, r1=0.5, r2=0.3, r3=0.25, reader_by_arm=0.0004)
    error = 0.002 * 80 / 120
    spread = 0.0004 + error * (1 - 0.5 + 3 * 0.05)
    within = 0.0004 + error * (1 - 0.5 - 0.05)
    df = spread**2 / (within**2 / 3)
    effect = 4 * 0.06**2 / 2 / spread
    expected = stats.ncf.sf(stats.f.isf(0.04, 1, df), 1, df, effect)
    assert mrmc_power(0.06, 4, 120, variances, 0.04) == pytest.approx(expected)
    fixed = 4 * 0.06**2 / 2 / (error * (1 - 0.5 + 3 * 0.05))
    expected = stats.ncx2.sf(stats.chi2.isf(0.04, 1), 1, fixed)
    assert mrmc_power(0.06, 4, 120, variances, 0.04, "frrc") == pytest.approx(expected)
    # A correlation between arms above that within an arm counts as none.
    reversed_order = replace(variances, r2=0.2)
    spread = 0.0004 + error * 0.5
    df, effect = 3.0, 4 * 0.06**2 / 2 / spread
    expected = stats.ncf.sf(stats.f.isf(0.04, 1, df), 1, df, effect)
    assert mrmc_power(0.06, 4, 120, reversed_order, 0.04) == pytest.approx(expected)


def test_components_and_sizes_at_their_limits() -> None:
    found = ComparisonVariances.from_auc(0.8, 0.03, r1=0.6)
    assert found.variance == pytest.approx(binormal_auc_variance(0.8) * (1 / 50 + 1 / 50))
    assert (found.patients, found.r1, found.r2) == (100, 0.6, 0.33)
    assert found.reader_by_arm == pytest.approx(0.0009)
    assert ComparisonVariances.from_auc(0.8).reader_by_arm == pytest.approx(0.0004)
    for auc in (0, 1):
        with pytest.raises(ValueError, match="the expected AUC is"):
            ComparisonVariances.from_auc(auc)
    for share in (-0.01, 1.01):
        with pytest.raises(ValueError, match="the shares are"):
            binomial_power(20, share)
    assert float(binomial_power(20, 1)) == 1 and float(binomial_power(20, 0)) == 0
    plain, wide = (binomial_sample_size(0.65, design_effect=effect) for effect in (1, 1.3))
    assert wide.first_n == int(np.ceil(1.3 * plain.first_n))
    assert wide.stable_n == int(np.ceil(1.3 * plain.stable_n))
    assert (wide.first_effective_n, wide.stable_effective_n) == (plain.first_n, plain.stable_n)


PILOT = pd.DataFrame(
    [
        ("R1", "m1", "p1", True, 5, True),
        ("R1", "m2", "p1", True, 3, False),
        ("R1", "m3", "p2", False, 3, True),
        ("R1", "m4", "p3", False, 1, True),
        ("R2", "m1", "p1", True, 2, False),
        ("R2", "m3", "p2", False, 4, False),
    ],
    columns=["code", "mammogram_id", "patient_id", "malignant", "answer", "correct"],
).assign(arm="image", repeat=False)


def test_plan_from_a_pilot_study(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(pilot, "answer_correlations", lambda *given: asked.append(given) or UNEVEN)
    others = PILOT.assign(arm="shuffled"), PILOT.assign(repeat=True)
    joined = pd.concat([PILOT, *others], ignore_index=True)
    for endpoint in ("proportion", "auc"):
        plan = pilot.pilot_plan(joined, endpoint, ("image", "shuffled"))
        assert (plan.endpoint, plan.correlations) == (endpoint, UNEVEN)
        # Four images of three patients are about one a patient.
        assert (plan.patients, plan.readers, plan.images_per_patient) == (3, 2, 1)
    (values, images, patients), (placed, *_) = asked
    assert values.tolist() == pytest.approx([0.5, -0.5, 0.5, 0.5, -0.5, -0.5])
    assert images.tolist() == list(PILOT["mammogram_id"])
    assert patients.tolist() == list(PILOT["patient_id"])
    # Of nine pairs: 5 beats all; 3 beats 1 and ties 3; 2 beats 1. Placements less the area.
    area = (3 + 1.5 + 1) / 9
    positive, negative = [3 / 3, 1.5 / 3, 1 / 3], [1.5 / 3, 3 / 3, 1 / 3]
    expected = [*positive[:2], *negative[:2], positive[2], negative[2]]
    assert placed.tolist() == pytest.approx([value - area for value in expected])
    assert plan.expected == pytest.approx(area)
    right = pilot.pilot_plan(PILOT.assign(correct=True), "proportion", ("image",))
    wrong = pilot.pilot_plan(PILOT.assign(correct=False), "proportion", ("image",))
    assert (right.expected, wrong.expected) == (0.99, 0.01)
    for table, endpoint, message in (
        (PILOT[:0], "auc", "answers to benign and malignant cases"),
        (PILOT[PILOT["malignant"]], "auc", "answers to benign and malignant cases"),
        (PILOT, "auc_difference", "the pilot study has one arm"),
        (PILOT, "advice_change", "the pilot study has no first answers"),
    ):
        with pytest.raises(ValueError, match=message):
            pilot.pilot_plan(table, endpoint, ("image",))

"""Small-sample intervals of AUCs, partial areas and accuracy against literal formulas and
simulation.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from evaluation.roc import (
    auc,
    auc_interval,
    clustered_diagnostic_table,
    compare_aucs,
    diagnostic_table,
    partial_auc,
    partial_auc_interval,
    roc_curve,
    specificity_at,
    specificity_interval,
)
from evaluation.roc.auc_bounds import newcombe_bounds


def study(seed: int, patients: int = 30, area: float = 0.8, diseased: float = 0.5):
    """Return labels, scores and patients; the images of a patient share its truth."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 6, patients))
    labels = patient < round(diseased * patients)
    noise = np.sqrt(0.4) * rng.normal(size=patients)[patient]
    noise += np.sqrt(0.6) * rng.normal(size=len(patient))
    return labels, np.sqrt(2) * stats.norm.ppf(area) * labels + noise, patient


def mixed_study(seed: int):
    """Return a study in which patients have images of both classes."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(18), rng.integers(1, 5, 18))
    labels = rng.random(len(patient)) < 0.4
    scores = np.round(labels + rng.normal(size=18)[patient] + rng.normal(size=len(labels)), 1)
    return labels, scores, patient


def literal_estimate(labels, scores, patient):
    """Return area, variance and degrees of freedom by loops over pairs, after the docstring."""
    positives, negatives = np.flatnonzero(labels), np.flatnonzero(~labels)
    wins = [
        [
            1.0 if scores[i] > scores[j] else 0.5 if scores[i] == scores[j] else 0.0
            for j in negatives
        ]
        for i in positives
    ]
    m, n = len(positives), len(negatives)
    area = sum(map(sum, wins)) / (m * n)
    a, b = {}, {}
    for row, i in enumerate(positives):
        a[patient[i]] = a.get(patient[i], 0.0) + (sum(wins[row]) / n - area) / m
    for column, j in enumerate(negatives):
        placement = sum(row[column] for row in wins) / m
        b[patient[j]] = b.get(patient[j], 0.0) + (placement - area) / n
    i10, i01, total = len(a), len(b), len(set(patient))
    v10 = i10 / (i10 - 1) * sum(x**2 for x in a.values())
    v01 = i01 / (i01 - 1) * sum(x**2 for x in b.values())
    v11 = 2 * total / (total - 1) * sum(a[p] * b[p] for p in a if p in b)
    variance = v10 * i10 / (i10 - 1) + v01 * i01 / (i01 - 1) + v11
    plain = v10 + v01 + v11
    normal = max(plain**2 / (v10**2 / (i10 - 1) + v01**2 / (i01 - 1)), min(i10, i01) - 1)
    fourth = sum(
        sum(x**4 for x in c.values()) - sum(x**2 for x in c.values()) ** 2 / len(c) for c in (a, b)
    )
    return area, plain, variance, max(min(2 * plain**2 / fourth, normal), min(i10, i01) / 2)


@pytest.mark.parametrize("data", [study(1), study(5, 20, 0.95, 0.2), mixed_study(3)])
def test_logit_interval_by_its_formula(data):
    area, plain, variance, df = literal_estimate(*data)
    for level in (0.8, 0.95):
        got = auc_interval(*data, level=level)
        half = stats.t.ppf((1 + level) / 2, df) * math.sqrt(variance) / (area * (1 - area))
        centre = math.log(area / (1 - area))
        expected = [1 / (1 + math.exp(half - centre)), 1 / (1 + math.exp(-half - centre))]
        assert [got.low, got.high] == pytest.approx(expected, abs=1e-10)
        assert (got.estimate, got.df) == pytest.approx((area, df), abs=1e-9)
        assert got.standard_error == pytest.approx(math.sqrt(plain), abs=1e-12)
        assert got.method == "logit" and got.clusters == len(set(data[2]))


def test_patients_that_are_given_are_used():
    labels, scores, _ = study(2)
    apart = auc_interval(labels, scores)
    doubled = auc_interval(np.tile(labels, 2), np.tile(scores, 2), np.tile(range(len(labels)), 2))
    # Every observation twice under one patient adds nothing.
    assert [doubled.low, doubled.high] == pytest.approx([apart.low, apart.high], abs=1e-10)
    ignored = auc_interval(np.tile(labels, 2), np.tile(scores, 2))
    assert ignored.high - ignored.low < 0.8 * (apart.high - apart.low)


@pytest.mark.parametrize(("area", "m", "n"), [(1.0, 7, 12), (0.9, 7, 12), (0.0, 3, 30)])
def test_newcombe_by_scanning(area, m, n):
    """The interval holds the areas t with |A - t| <= z sqrt(V(t))."""
    z, size = stats.norm.ppf(0.95), (m + n) / 2 - 1
    inside = [
        t
        for t in np.linspace(0, 1, 20_001)
        if abs(area - t)
        <= z
        * math.sqrt(t * (1 - t) * (1 + size * (1 - t) / (2 - t) + size * t / (1 + t)) / (m * n))
    ]
    assert newcombe_bounds(area, m, n, 0.9) == pytest.approx((inside[0], inside[-1]), abs=1e-4)


def test_perfect_separation_has_a_lower_bound():
    labels = np.repeat([False, True], [24, 14])
    patient = np.repeat(np.arange(19), 2)
    for scores, expected in ((labels * 1.0, 1.0), (labels * -1.0, 0.0)):
        scores = scores + np.linspace(0, 0.1, len(labels))
        got = auc_interval(labels, scores, patient)
        assert got.estimate == expected and "Newcombe" in got.reason
        # Seven patients against twelve, whatever their images.
        assert (got.low, got.high) == newcombe_bounds(expected, 7, 12, 0.95)
        assert got.high - got.low < 0.4 and "CI" in got.sentence()


def test_difference_from_both_intervals():
    """Zou's bounds from the two AUCs' intervals, and the P value that belongs to them."""
    labels, first, patient = study(7, 40, 0.9)
    second = first + 1.5 * np.random.default_rng(1).normal(size=len(first))
    got = compare_aucs(labels, first, second, patient, method="logit")
    wald = compare_aucs(labels, first, second, patient)
    assert (got.difference, got.standard_error, got.covariance) == pytest.approx(
        (wald.difference, wald.standard_error, wald.covariance)
    )
    one, two = (auc_interval(labels, s, patient) for s in (first, second))
    r = got.covariance / (one.standard_error * two.standard_error)
    below, above = one.estimate - one.low, two.high - two.estimate
    expected = got.difference - math.sqrt(below**2 + above**2 - 2 * r * below * above)
    assert got.low == pytest.approx(expected, abs=1e-10)
    below, above = two.estimate - two.low, one.high - one.estimate
    expected = got.difference + math.sqrt(below**2 + above**2 - 2 * r * below * above)
    assert got.high == pytest.approx(expected, abs=1e-10)
    at_p = compare_aucs(labels, first, second, patient, 1 - got.p_value, "logit")
    assert 0 < got.p_value < 0.2 and at_p.low == pytest.approx(0, abs=1e-6)
    assert got.p_greater == pytest.approx(got.p_value / 2)
    back = compare_aucs(labels, second, first, patient, method="logit")
    assert (back.low, back.p_value) == pytest.approx((-got.high, got.p_value), abs=1e-9)
    assert back.p_greater == pytest.approx(1 - got.p_greater, abs=1e-9)


def test_difference_exists_where_one_score_separates():
    labels, scores, patient = study(3)
    got = compare_aucs(labels, labels * 1.0, scores, patient, method="logit")
    assert got.first == 1 and got.low < got.difference < got.high and got.p_value < 1


def share_covered(evaluate, datasets: int) -> float:
    return float(np.mean([evaluate(seed) for seed in range(datasets)]))


@pytest.mark.parametrize(("area", "diseased"), [(0.9, 0.2), (0.98, 0.5)])
def test_auc_interval_covers_with_few_patients(area, diseased):
    """Twenty patients: Wald's interval covers .75 to .88, the wanted level is .95."""

    def evaluate(seed: int) -> bool:
        got = auc_interval(*study(seed, 20, area, diseased))
        return got.low <= area <= got.high

    assert share_covered(evaluate, 300) > 0.925


def test_difference_test_holds_its_level():
    """Two scores of one AUC that share half of their variance."""

    def evaluate(seed: int) -> bool:
        labels, shared, patient = study(seed, 40, 0.9)
        first, second = shared + np.random.default_rng(seed).normal(size=(2, len(shared)))
        return compare_aucs(labels, first, second, patient, method="logit").p_value <= 0.05

    assert share_covered(evaluate, 200) < 0.09


def test_curve_intervals_cover_with_few_patients():
    """Twenty patients at AUC .9: percentiles of resampled patients cover .87 to .94 only."""
    mu = np.sqrt(2) * stats.norm.ppf(0.9)
    sensitivities = 0.8 + 0.2 * (np.arange(2000) + 0.5) / 2000
    area = 0.2 * stats.norm.cdf(mu - stats.norm.ppf(sensitivities)).mean()
    truths = (
        area,
        stats.norm.cdf(mu - stats.norm.ppf(0.8)),
        stats.norm.cdf(mu + stats.norm.ppf(0.3)),
    )
    covered = []
    for seed in range(120):
        data = study(seed, 20, 0.9)
        partial = partial_auc_interval(*data, resamples=100)
        specificity = specificity_interval(*data, resamples=100)
        curve = roc_curve(*data, resamples=100)
        bounds = (
            (partial.low, partial.high),
            (specificity.low, specificity.high),
            (curve.low[30], curve.high[30]),
        )
        covered.append([low <= truth <= high for (low, high), truth in zip(bounds, truths)])
    assert (np.mean(covered, axis=0) > 0.93).all(), np.mean(covered, axis=0)


def test_curve_intervals_follow_the_estimates():
    labels, scores, patient = study(4, 60)
    partial = partial_auc_interval(labels, scores, patient)
    assert partial.estimate == partial_auc(labels, scores).raw
    assert partial.low < partial.estimate < partial.high < 0.2 and partial.unit == "patient"
    specificity = specificity_interval(labels, scores, patient, sensitivity=0.7)
    assert specificity.estimate == specificity_at(labels, scores, 0.7).interpolated
    assert partial == partial_auc_interval(labels, scores, patient)
    # Ten copies of each image under one patient leave the width as it is; taken as independent
    # they would make it a third.
    copies = [np.tile(column, 10) for column in (labels, scores, patient)]
    repeated = partial_auc_interval(*copies)
    assert repeated.high - repeated.low == pytest.approx(partial.high - partial.low, rel=0.15)
    apart = partial_auc_interval(*copies[:2])
    assert apart.high - apart.low < 0.5 * (partial.high - partial.low)


def test_curve_intervals_without_data_have_reasons():
    for function in (partial_auc_interval, specificity_interval):
        assert "both classes" in function([1, 1], [1, 2]).reason
        one = function([1, 1, 0, 0], [1, 2, 3, 0], ["a", "a", "b", "c"])
        assert one.low is None and one.estimate is not None and "one patient" in one.reason
        assert "one positive" in function([1, 0, 0], [1, 2, 3]).reason
        with pytest.raises(ValueError, match="score 2 of 2 is not a number"):
            function([0, 1], [1, float("nan")])
    separated = partial_auc_interval([0] * 9 + [1] * 6, range(15))
    assert separated.estimate == separated.high == pytest.approx(0.2) and separated.low < 0.15


def test_band_holds_the_curve():
    labels, scores, patient = study(4, 25)
    curve = roc_curve(labels, scores, patient)
    # The largest sensitivity at or below each false-positive rate.
    for rate, low, high in zip(curve.grid, curve.low, curve.high):
        reached = np.interp(rate, curve.fpr, curve.tpr)
        assert low <= max(reached, curve.tpr[curve.fpr <= rate].max()) <= high + 1e-9


def test_readers_of_the_same_patients_add_no_certainty():
    rng = np.random.default_rng(5)
    truth = np.repeat([1, 0], [22, 31])
    called = np.where(rng.random(53) < 0.75, truth, 1 - truth)
    one = clustered_diagnostic_table(truth, called, np.arange(53))
    three = clustered_diagnostic_table(
        np.tile(truth, 3), np.tile(called, 3), np.tile(np.arange(53), 3)
    )
    pooled = diagnostic_table(three.tp, three.fn, three.fp, three.tn)
    for name in ("sensitivity", "specificity", "accuracy", "ppv", "npv"):
        alone, same, narrow = (getattr(table, name) for table in (one, three, pooled))
        assert same.estimate == pytest.approx(alone.estimate)
        assert [same.low, same.high] == pytest.approx([alone.low, alone.high], abs=0.015), name
        if name in ("sensitivity", "specificity", "accuracy"):
            assert narrow.high - narrow.low < 0.7 * (same.high - same.low)
    for name in ("lr_positive", "lr_negative", "odds_ratio"):
        alone, same = getattr(one, name), getattr(three, name)
        assert [same.low, same.high] == pytest.approx([alone.low, alone.high], rel=1e-9), name
    alone, same = one.balanced_accuracy, three.balanced_accuracy
    assert [same.low, same.high] == pytest.approx([alone.low, alone.high], abs=0.01)


def test_ratios_of_single_calls_reduce_to_the_published_variances():
    """One call a patient: Simel's and Woolf's variance, times n / (n - 1), with a t quantile."""
    tp, fn, fp, tn = 17, 6, 9, 21
    truth = np.repeat([1, 1, 0, 0], [tp, fn, fp, tn])
    called = np.repeat([1, 0, 1, 0], [tp, fn, fp, tn])
    table = clustered_diagnostic_table(truth, called, np.arange(53))
    quantile = stats.t.ppf(0.975, 52) * math.sqrt(53 / 52)
    variances = {
        "lr_positive": 1 / tp - 1 / (tp + fn) + 1 / fp - 1 / (fp + tn),
        "lr_negative": 1 / fn - 1 / (tp + fn) + 1 / tn - 1 / (fp + tn),
        "odds_ratio": 1 / tp + 1 / fn + 1 / fp + 1 / tn,
    }
    for name, variance in variances.items():
        interval = getattr(table, name)
        half = math.log(interval.high / interval.low) / 2
        assert half == pytest.approx(quantile * math.sqrt(variance), rel=1e-9), name
    # The bounds of a predictive value are Bayes' theorem at those of its likelihood ratio.
    half = quantile * math.sqrt(variances["lr_positive"])
    for bound, sign in ((table.ppv.low, -1), (table.ppv.high, 1)):
        ratio = (17 / 23) / (9 / 30) * math.exp(sign * half)
        assert bound == pytest.approx(23 * ratio / (23 * ratio + 30))
    half = quantile * math.sqrt(variances["lr_negative"])
    for bound, sign in ((table.npv.low, 1), (table.npv.high, -1)):
        ratio = (6 / 23) / (21 / 30) * math.exp(sign * half)
        assert bound == pytest.approx(30 / (30 + 23 * ratio))


def test_balanced_accuracy_is_recovered_from_its_parts():
    """Zou and Donner's bounds by hand, for separate and for shared patients."""
    truth = np.repeat([1, 0], [23, 30])
    called = np.repeat([1, 0, 1, 0], [17, 6, 9, 21])
    table = clustered_diagnostic_table(truth, called, np.arange(53))
    se, sp, both = table.sensitivity, table.specificity, table.balanced_accuracy
    assert both.estimate == pytest.approx((17 / 23 + 21 / 30) / 2)
    assert both.estimate - both.low == pytest.approx(
        math.hypot(se.estimate - se.low, sp.estimate - sp.low) / 2
    )
    assert both.high - both.estimate == pytest.approx(
        math.hypot(se.high - se.estimate, sp.high - sp.estimate) / 2
    )
    # Each of 20 patients has both truths, and both calls are right or both are wrong: the parts
    # are one proportion, and so is their mean.
    right = np.arange(20) < 15
    table = clustered_diagnostic_table(
        np.repeat([1, 0], 20), np.concatenate([right, ~right]), np.tile(np.arange(20), 2)
    )
    for name in ("estimate", "low", "high"):
        assert getattr(table.balanced_accuracy, name) == pytest.approx(
            getattr(table.sensitivity, name)
        )


def test_predictive_value_without_a_ratio_is_a_proportion_of_calls():
    truth, called = np.repeat([1, 0], [8, 6]), np.repeat([1, 0], [7, 7])
    table = clustered_diagnostic_table(truth, called, np.arange(14))
    assert table.lr_positive.low is None and table.ppv.estimate == 1
    # All seven positive calls are right: Clopper-Pearson of seven patients.
    assert (table.ppv.low, table.ppv.high) == (pytest.approx(0.025 ** (1 / 7)), 1)


def test_clustered_table_without_variation():
    right = clustered_diagnostic_table([1, 1, 0, 0], [1, 1, 0, 0], list("aabb"))
    assert right.sensitivity.estimate == 1 and right.sensitivity.low is None
    assert "one patient" in right.sensitivity.reason and right.odds_ratio.low is None
    many = clustered_diagnostic_table([1] * 8 + [0] * 3, [1] * 8 + [0] * 3, range(11))
    # All right: Clopper-Pearson of eight patients.
    assert many.sensitivity.low == pytest.approx(0.025 ** (1 / 8)) and many.sensitivity.high == 1
    assert many.sensitivity.method == "Clopper-Pearson on the number of patients"
    assert clustered_diagnostic_table([], [], []).accuracy.estimate is None
    with pytest.raises(ValueError, match="2 calls for 1 labels"):
        clustered_diagnostic_table([1], [1, 0])


def test_auc_is_unchanged_by_the_form_of_its_placements():
    labels, scores, _ = mixed_study(8)
    assert auc(labels, scores) == pytest.approx(literal_estimate(*mixed_study(8))[0], abs=1e-12)

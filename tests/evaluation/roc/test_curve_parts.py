"""Parts of curves, areas and clustered accuracy, from the definitions, on uneven data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from evaluation.clustered import korn_graubard_interval
from evaluation.intervals import Interval
from evaluation.roc import auc, auc_interval, compare_aucs, partial_auc_low_fpr
from evaluation.roc import clustered_accuracy as accuracy
from evaluation.roc import resampled_curves as resampled
from evaluation.roc.auc_comparison import compare_independent_aucs
from evaluation.roc.auc_estimates import AucInterval
from evaluation.roc.calibration_curve import calibration
from evaluation.roc.curve import GRID, RocCurve, roc_curve, thin_curve
from evaluation.roc.partial_area import partial_auc, roc_vertices, specificity_at

# Five positives and four negatives, with ties within and between the classes.
Y = np.array([1, 1, 0, 1, 0, 1, 0, 0, 1])
SCORE = np.array([9.0, 7.0, 7.0, 6.0, 5.0, 5.0, 4.0, 2.0, 1.0])
OTHER = np.array([3.0, 8.0, 1.0, 9.0, 6.0, 2.0, 5.0, 4.0, 7.0])
PATIENT = list("aabbccdee")
# Vertices by hand: thresholds 9, 7, 6, 5, 4, 2, 1.
FPR, TPR = [0, 0, 1 / 4, 1 / 4, 2 / 4, 3 / 4, 1, 1], [0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8, 1]


def test_vertices_and_areas_by_hand() -> None:
    fpr, tpr, thresholds = roc_vertices(Y.astype(bool), SCORE)
    assert (fpr.tolist(), tpr.tolist()) == (pytest.approx(FPR), pytest.approx(TPR))
    assert thresholds.tolist() == [np.inf, 9, 7, 6, 5, 4, 2, 1]
    # Pairs of 20: 9 beats 4, 7 beats 3 and ties 1, 6 beats 3, 5 beats 2 and ties 1, 1 none.
    area = auc(Y, SCORE)
    assert area == pytest.approx(13 / 20) and (area.positives, area.negatives) == (5, 4)
    assert area.sentence() == "AUC .650 (5 positive and 4 negative observations)."
    none = auc([1, 1], [1, 2])
    assert none.estimate is None and area.estimate == pytest.approx(0.65)
    assert none.sentence().startswith("AUC not estimable: all observations are positive")
    # Above sensitivity .7: from .7 to .8 the rate rises from 3/8 to 1/2, then .2 at rate 1.
    part = partial_auc(Y, SCORE, 0.7)
    assert part.raw == pytest.approx(0.1 * (5 / 8 + 1 / 2) / 2)
    assert part.fraction == pytest.approx(part.raw / 0.3)
    assert part.mcclish == pytest.approx(0.5 * (1 + (part.raw - 0.045) / (0.3 - 0.045)))
    assert part.band == "sensitivity from 0.7 to 1" and part.reason is None
    # Up to the rate .375: .3 x .25, then from .6 to .7 over .125.
    low = partial_auc_low_fpr(Y, SCORE, 0.375)
    assert low.raw == pytest.approx(0.25 * (0.2 + 0.4) / 2 + 0.125 * 0.65)
    assert low.fraction == pytest.approx(low.raw / 0.375)
    assert low.band == "false-positive rate from 0 to 0.375"
    assert partial_auc(Y, SCORE, 0).raw == pytest.approx(13 / 20)
    assert partial_auc_low_fpr(Y, SCORE, 1).raw == pytest.approx(13 / 20)
    for rate in (0, 1.001):
        with pytest.raises(ValueError, match=r"false-positive rate is .* must lie in \(0, 1\]"):
            partial_auc_low_fpr(Y, SCORE, rate)
        with pytest.raises(ValueError, match=r"the sensitivity is .* must lie in \(0, 1\]"):
            specificity_at(Y, SCORE, rate)
    for least in (-0.001, 1):
        with pytest.raises(ValueError, match=r"least sensitivity is .* must lie in \[0, 1\)"):
            partial_auc(Y, SCORE, least)
    at = specificity_at(Y, SCORE, 0.7)
    assert (at.interpolated, at.attainable) == pytest.approx((1 - 3 / 8, 1 / 2))
    assert specificity_at(Y, SCORE, 0.8).attainable == pytest.approx(1 / 2)
    assert specificity_at(Y, SCORE, 1).interpolated == 0
    default = specificity_at(Y, SCORE)
    assert default.interpolated == pytest.approx(1 / 2)


def test_areas_and_crossings_of_several_curves() -> None:
    """The second curve is steeper; both are compared with single curves by hand."""
    x = np.array([[0, 0.2, 0.5, 1.0], [0, 0.0, 0.3, 1.0]])
    y = np.array([[0, 0.4, 0.9, 1.0], [0, 0.6, 0.6, 1.0]])
    found = resampled._areas_above(x, y, 0.5)
    # From .5 to .9 x runs from .26 to .5, from .9 to 1 from .5 to 1.
    first = 0.4 * (0.74 + 0.5) / 2 + 0.1 * (0.5 + 0) / 2
    # From .5 to .6 x is 0, from .6 to 1 it runs from .3 to 1.
    second = 0.1 * 1 + 0.4 * (0.7 + 0) / 2
    assert found == pytest.approx([first, second])
    assert resampled._areas_above(x, y, 0.6) == pytest.approx(
        [0.3 * (0.68 + 0.5) / 2 + 0.1 * 0.25, 0.4 * 0.35]
    )
    # y where x first reaches .35: halfway from .4 to .9, and at .05 / .7 from .6 to 1.
    crossed = resampled._crossing(x, y, 0.35)
    assert crossed == pytest.approx([0.65, 0.6 + 0.4 * 0.05 / 0.7])
    assert resampled._crossing(x, y, 0.2)[0] == pytest.approx(0.4)


def test_bins_and_weights_of_patients() -> None:
    scores = np.array([3.0, np.inf, 3.0, -np.inf, 8.0])
    # Equal scores share a bin, the highest score has bin 0.
    assert resampled._score_bins(scores).tolist() == [2, 0, 2, 3, 1]
    labels, codes = np.array([1, 0, 1, 0, 1], bool), np.array([0, 0, 1, 1, 1])
    weights = np.array([[2.0, 3.0], [1.0, 5.0]])
    bins = np.array([2, 0, 2, 2, 1])
    positive, negative = resampled._weighted_counts(labels, bins, codes, 2, weights)
    assert positive.tolist() == [[0, 3, 5], [0, 5, 6]]
    assert negative.tolist() == [[2, 0, 3], [1, 0, 5]]


def test_classes_that_cannot_be_resampled() -> None:
    reason, labels = resampled.class_patients_reason, np.array([1, 1, 0, 0, 0], bool)
    assert reason(labels, None) is None
    assert reason(labels, np.array([0, 1, 0, 1, 1])) is None
    one = "there is one {} observation: it cannot be resampled"
    assert reason(labels[1:], None) == one.format("positive")
    assert reason(~labels[1:], None) == one.format("negative")
    patient = "all {} observations come from one patient: it cannot be resampled"
    assert reason(labels, np.array([0, 0, 0, 1, 1])) == patient.format("positive")
    assert reason(labels, np.array([0, 1, 1, 1, 1])) == patient.format("negative")


def test_percentiles_hold_the_estimate(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        resampled,
        "resampled_rates",
        lambda *given: asked.append(given) or (np.arange(101.0), np.arange(101.0)),
    )

    def found(estimate: float | None, cluster: Any = None) -> Interval:
        return resampled._percentiles(
            Y, SCORE, cluster, estimate, lambda fpr, tpr: (fpr + tpr) / 2, 0.8, 7, 3
        )

    middle = found(50.0, PATIENT)
    assert (middle.estimate, middle.low, middle.high) == pytest.approx((50, 10, 90))
    assert middle.level == 0.8
    assert (middle.unit, middle.method) == ("patient", resampled.METHOD.format(unit="patient"))
    labels, scores, codes, *rest = asked[0]
    assert labels.tolist() == Y.astype(bool).tolist() and scores.tolist() == SCORE.tolist()
    assert codes.tolist() == [0, 0, 1, 1, 2, 2, 3, 4, 4] and rest == [5, 7, 3]
    alone = found(95.0)
    assert (alone.low, alone.high) == pytest.approx((10, 95)) and alone.unit == "observation"
    assert asked[1][2:] == (None, 0, 7, 3) and found(5.0).low == 5
    without = found(None)
    assert (without.estimate, without.low, without.level) == (None, None, 0.8)
    one = resampled._percentiles(Y, SCORE, ["a"] * 9, 1.0, None, 0.8, 7, 3)
    assert (one.estimate, one.unit) == (1.0, "patient") and "one patient" in str(one.reason)
    with pytest.raises(ValueError, match="the level is 1"):
        resampled._percentiles(Y, SCORE, None, 1.0, None, 1, 7, 3)


def test_curves_for_drawing() -> None:
    curve = roc_curve(Y, SCORE, PATIENT, level=0.8, resamples=30)
    assert (curve.fpr.tolist(), curve.tpr.tolist()) == (pytest.approx(FPR), pytest.approx(TPR))
    assert (curve.clusters, curve.level, curve.reason) == (5, 0.8, None)
    assert np.array_equal(curve.grid, GRID) and GRID.tolist() == pytest.approx(
        [n / 100 for n in range(101)]
    )
    # The upper end of the curve at a rate: at 0, 1 / 4 and 1 it is vertical.
    upper = {0: 0.2, 0.25: 0.6, 0.5: 0.8, 0.75: 0.8, 1: 1.0}
    for rate, height in upper.items():
        place = round(100 * rate)
        assert curve.low[place] <= height + 1e-9 and curve.high[place] >= height - 1e-9
    assert (curve.low <= curve.high).all()
    assert roc_curve(Y, SCORE, resamples=5).clusters is None
    assert thin_curve(curve, 8) is curve
    few = thin_curve(curve, 5)
    # Of the path 0 to 2 the places 0, .5, 1, 1.5: the first vertices at or after them, and the end.
    path = np.add(FPR, TPR)
    places = sorted({int((path >= value).argmax()) for value in (0, 0.5, 1, 1.5)} | {7})
    assert few.fpr.tolist() == curve.fpr[places].tolist()
    assert few.tpr.tolist() == curve.tpr[places].tolist()
    assert few.thresholds.tolist() == curve.thresholds[places].tolist()
    empty = roc_curve(np.ones(3), np.arange(3), level=0.8)
    assert isinstance(empty, RocCurve) and len(empty.fpr) == len(empty.tpr) == 0
    assert empty.low is empty.high is empty.clusters is None and empty.level == 0.8
    for level in (0, 1):
        with pytest.raises(ValueError, match="the level is"):
            roc_curve(Y, SCORE, level=level)


def part(estimate: float | None, low: float | None, high: float | None, **more: Any) -> Interval:
    values = {"level": 0.9, "method": "m", "unit": "patient"} | more
    return Interval(estimate=estimate, low=low, high=high, **values)


LABELS, CODES = np.array([1, 1, 1, 0, 0, 0, 0], bool), np.array([0, 1, 2, 0, 1, 3, 3])
RIGHT = np.array([1, 0, 1, 1, 1, 0, 1], bool)


def test_balanced_accuracy_by_hand() -> None:
    sensitivity, specificity = part(2 / 3, 0.3, 0.9), part(3 / 4, 0.5, 0.85)
    found = accuracy.clustered_balanced_accuracy(sensitivity, specificity, RIGHT, LABELS, CODES)
    # Deviations of the patients 0 to 3.
    positive = np.array([1 / 3, -2 / 3, 1 / 3, 0]) / 3
    negative = np.array([1 / 4, 1 / 4, 0, -3 / 4 + 1 / 4]) / 4
    r = positive @ negative / np.sqrt((positive @ positive) * (negative @ negative))
    below, above = (2 / 3 - 0.3, 1 / 4), (0.9 - 2 / 3, 0.1)
    middle = (2 / 3 + 3 / 4) / 2
    widths = [np.sqrt(a**2 + b**2 + 2 * r * a * b) / 2 for a, b in (below, above)]
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (middle, middle - widths[0], middle + widths[1])
    )
    assert (found.level, found.unit, found.method) == (0.9, "patient", accuracy.RECOVERED)
    for one, other, estimate in (
        (part(0.5, None, None, reason="r"), specificity, (0.5 + 0.75) / 2),
        (sensitivity, part(None, None, None, reason="r"), None),
        (part(None, None, None, reason="r"), specificity, None),
        (part(0.5, 0.4, None, reason="r"), specificity, (0.5 + 0.75) / 2),
        (sensitivity, part(0.5, None, 0.9, reason="r"), (2 / 3 + 0.5) / 2),
    ):
        none = accuracy.clustered_balanced_accuracy(one, other, RIGHT, LABELS, CODES)
        assert none.estimate == (None if estimate is None else pytest.approx(estimate))
        assert (none.low, none.high, none.reason, none.level) == (None, None, "r", 0.9)
        assert (none.method, none.unit) == (accuracy.RECOVERED, "patient")


def test_predictive_values_and_reciprocals() -> None:
    share, ratio = part(0.6, 0.1, 0.95), part(3.0, 2.0, 8.0)
    found = accuracy.clustered_predictive_value(share, ratio, 0.5)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.6, 1 / 2, 4 / 5))
    assert found.method == accuracy.FROM_RATIO
    for one, other in (
        (part(None, None, None), ratio),
        (share, part(3.0, None, 8.0)),
        (share, part(3.0, 2.0, None)),
    ):
        assert accuracy.clustered_predictive_value(one, other, 0.5) is one
    turned = accuracy.reciprocal(ratio)
    assert (turned.low, turned.high) == (1 / 8, 1 / 2)
    for half in (part(3.0, None, 8.0), part(3.0, 2.0, None)):
        assert accuracy.reciprocal(half) is half


@pytest.mark.parametrize("odds", [False, True])
def test_ratios_of_patients_by_hand(odds: bool) -> None:
    plain = part(2.5, 0.5, 9.0, level=0.8)
    found = accuracy.clustered_ratio(RIGHT, LABELS, CODES, plain, odds=odds)
    positive = np.array([1 / 3, -2 / 3, 1 / 3, 0]) / 3
    negative = np.array([1 / 4, 1 / 4, 0, -3 / 4 + 1 / 4]) / 4
    scales = (2 / 9, 3 / 16) if odds else (2 / 3, 3 / 4)
    parts = positive / scales[0] - negative / scales[1]
    half = stats.t.ppf(0.9, 3) * np.sqrt(4 / 3 * (parts @ parts))
    assert (found.estimate, found.low, found.high) == pytest.approx(
        (2.5, 2.5 * np.exp(-half), 2.5 * np.exp(half))
    )
    assert (found.level, found.unit) == (0.8, "patient")
    assert found.method == f"log scale, {accuracy.METHOD}"
    for bare in (part(None, 1.0, 2.0), part(2.5, None, None, reason="r", unit="observation")):
        none = accuracy.clustered_ratio(RIGHT, LABELS, CODES, bare, odds=odds)
        assert (none.estimate, none.low, none.unit) == (bare.estimate, bare.low, "patient")
        assert (none.method, none.reason) == (f"log scale, {accuracy.METHOD}", bare.reason)


def test_widths_that_do_not_exist() -> None:
    assert accuracy._half_width(np.array([0.5]), 0.9) == (0.0, accuracy.ONE_PATIENT)
    width, reason = accuracy._half_width(np.zeros(3), 0.9)
    assert width == 0 and reason == (
        "every patient is called alike: the variance is 0 and gives no interval"
    )
    width, reason = accuracy._half_width(np.array([0.25, -0.25]), 0.9)
    assert width == pytest.approx(stats.t.ppf(0.95, 1) * 0.5) and reason is None
    share = accuracy.clustered_share(RIGHT, LABELS, CODES, 0.8)
    plain = korn_graubard_interval([1, 0, 1], [0, 1, 2], 0.8)
    assert (share.estimate, share.low, share.high) == (plain.estimate, plain.low, plain.high)
    # No positive patient has two observations, which does not matter here.
    assert share.reason is None and plain.reason is not None and share.level == 0.8
    single = accuracy.clustered_share(RIGHT, np.array([1, *[0] * 6], bool), CODES, 0.8)
    assert single.low is None and "all calls come from one patient" in str(single.reason)


def test_comparison_of_areas_names_its_method() -> None:
    default = compare_aucs(Y, SCORE, OTHER)
    assert default == compare_aucs(Y, SCORE, OTHER, level=0.95, method="wald")
    assert (default.method, default.unit) == ("DeLong, paired", "observation")
    wald = compare_aucs(Y, SCORE, OTHER, PATIENT, 0.8)
    assert (wald.method, wald.unit) == ("Obuchowski, paired", "patient")
    z = wald.difference / wald.standard_error
    assert wald.statistic == pytest.approx(z)
    assert (wald.p_value, wald.p_greater) == pytest.approx(
        (2 * stats.norm.sf(abs(z)), stats.norm.sf(z))
    )
    half = stats.norm.ppf(0.9) * wald.standard_error
    assert (wald.low, wald.high) == pytest.approx((wald.difference - half, wald.difference + half))
    for cluster, unit in ((None, "observation"), (PATIENT, "patient")):
        logit = compare_aucs(Y, SCORE, OTHER, cluster, method="logit")
        assert (logit.method, logit.unit) == ("logit scale, small-sample t, paired", unit)
        assert logit.statistic == pytest.approx(logit.difference / logit.standard_error)
        back = compare_aucs(Y, OTHER, SCORE, cluster, method="logit")
        assert back.p_value == pytest.approx(logit.p_value)
        assert logit.p_greater + back.p_greater == pytest.approx(1)
        larger = logit if logit.difference > 0 else back
        assert larger.p_greater == pytest.approx(larger.p_value / 2)
    single = compare_aucs([1, 0, 0], [1, 2, 3], [3, 1, 2], method="logit")
    assert single.reason == "one class has a single observation: its variance cannot be estimated"
    patient = compare_aucs([1, 0, 0], [1, 2, 3], [3, 1, 2], list("abc"), method="logit")
    assert "come from one patient" in patient.reason
    same = [compare_aucs(Y, SCORE, 2 * SCORE, PATIENT, method=name) for name in ("wald", "logit")]
    assert same[0].reason == same[1].reason is not None and same[0].p_value is None
    with pytest.raises(ValueError, match="the method is 'other'"):
        compare_aucs(Y, SCORE, OTHER, method="other")
    one = compare_aucs(np.ones(3), [1, 2, 3], [3, 1, 2], level=0.8)
    assert "all observations are positive" in one.reason and one.level == 0.8


def test_areas_of_different_patients() -> None:
    first, second = auc_interval(Y, SCORE, method="delong"), auc_interval(Y, OTHER, method="delong")
    found = compare_independent_aucs(first, second, 0.8)
    one, two = first.standard_error**2, second.standard_error**2
    df = (one + two) ** 2 / (one**2 / 8 + two**2 / 8)
    assert found.df == pytest.approx(df) and found.covariance == 0
    law, error = stats.t(df), np.sqrt(one + two)
    gap = first.estimate - second.estimate
    assert (found.difference, found.standard_error) == pytest.approx((gap, error))
    assert (found.p_value, found.p_greater) == pytest.approx(
        (2 * law.sf(abs(gap) / error), law.sf(gap / error))
    )
    half = law.ppf(0.9) * error
    assert (found.low, found.high) == pytest.approx((gap - half, gap + half))
    assert (found.first, found.second) == (first.estimate, second.estimate)
    assert (found.method, found.unit) == ("DeLong, unpaired", "observation")
    mixed = compare_independent_aucs(first, auc_interval(Y, OTHER, PATIENT))
    assert mixed.df is None and mixed.level == 0.95
    flat = AucInterval(estimate=0.7, standard_error=0.0, level=0.95, method="delong")
    assert compare_independent_aucs(first, flat).reason == "a variance is 0"
    missing = AucInterval(level=0.95, method="delong", reason="r")
    for pair in ((first, missing), (missing, first)):
        assert compare_independent_aucs(*pair).reason == "r"


def test_a_calibration_states_every_reason_in_order() -> None:
    """First the slope, then the calibration in the large, then the patients."""
    labels, certain = np.array([False, False, True, True]), np.array([0.0, 0.0, 1.0, 1.0])
    separated = "the probabilities separate the classes perfectly: a slope does not exist"
    extreme = "too many probabilities are 0 or 1 for a calibration in the large"
    found = calibration(labels, certain)
    assert found.reason == f"{separated}; {extreme}"
    assert (found.slope, found.in_the_large) == (None, None)
    found = calibration(labels, certain, cluster=["p"] * 4)
    assert found.reason is not None and found.reason.startswith(f"{separated}; {extreme}; all obs")

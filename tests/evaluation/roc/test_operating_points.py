"""Partial areas, operating points, diagnostic tables, calibration and net benefit."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import log_loss

from evaluation.roc import (
    auc,
    calibration,
    diagnostic_table,
    fixed_threshold,
    net_benefit,
    operating_point,
    partial_auc,
    partial_auc_low_fpr,
    specificity_at,
)


def test_reference_partial(reference):
    for case in reference("partial_auc")["cases"]:
        y, score, e = case["inputs"]["y"], case["inputs"]["score"], case["expected"]
        for percent in (80, 90):
            got = partial_auc(y, score, percent / 100)
            expected = [
                e[f"sens{percent}_{name}"] for name in ("raw", "fraction_of_max", "mcclish")
            ]
            assert [got.raw, got.fraction, got.mcclish] == pytest.approx(expected, abs=1e-9), (
                case["name"],
                percent,
            )
        assert partial_auc(y, score).deepminer_2021 == pytest.approx(
            e["deepminer_original_formula_thr80"], abs=1e-9
        )
        for percent in (10, 20):
            got = partial_auc_low_fpr(y, score, percent / 100)
            assert [got.raw, got.mcclish] == pytest.approx(
                [e[f"fpr{percent}_raw"], e[f"fpr{percent}_mcclish"]], abs=1e-9
            )
        at = specificity_at(y, score)
        assert [at.interpolated, at.attainable] == pytest.approx(
            [e["spec_at_sens80"], e["spec_at_sens80_attainable"]], abs=1e-9
        )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=4, max_size=40))
def test_whole_band_is_the_auc(rows):
    y, score = zip(*rows)
    if len(set(y)) < 2:
        assert partial_auc(y, score).raw is None and partial_auc(y, score).reason
        return
    assert partial_auc(y, score, 0.0).raw == pytest.approx(auc(y, score), abs=1e-12)
    assert partial_auc_low_fpr(y, score, 1.0).raw == pytest.approx(auc(y, score), abs=1e-12)
    assert 0 <= partial_auc(y, score).raw <= 0.2 + 1e-12


def test_partial_bounds_and_reasons():
    best = partial_auc([0, 0, 1, 1], [1, 2, 3, 4])
    assert (best.raw, best.fraction, best.mcclish) == pytest.approx(
        (0.2, 1, 1)
    ) and "Partial AUC" in best.sentence()
    assert (
        "not estimable" in partial_auc([1, 1], [1, 2]).sentence()
        and partial_auc_low_fpr([1, 1], [1, 2]).reason
    )
    assert specificity_at([0, 0], [1, 2]).interpolated is None
    y = [0, 1]
    for wrong in (
        lambda: partial_auc(y, y, 1.0),
        lambda: partial_auc_low_fpr(y, y, 0),
        lambda: specificity_at(y, y, 0),
    ):
        with pytest.raises(ValueError, match="must lie"):
            wrong()


def test_reference_diagnostic(reference):
    names = {
        "se": "sensitivity",
        "sp": "specificity",
        "diag.ac": "accuracy",
        "pv.pos": "ppv",
        "pv.neg": "npv",
        "lr.pos": "lr_positive",
        "lr.neg": "lr_negative",
        "diag.or": "odds_ratio",
        "balanced_accuracy_wald": "balanced_accuracy",
        "youden": "youden",
        "mcc": "mcc",
        "kappa": "kappa",
        "f1": "f1",
        "fisher_greater": "fisher_p_greater",
    }
    for case in reference("diagnostic_table")["cases"]:
        table = diagnostic_table(**case["inputs"])
        for key, expected in case["expected"].items():
            got = getattr(table, names[key])
            assert (
                got if isinstance(expected, float) else [got.estimate, got.low, got.high]
            ) == pytest.approx(expected, abs=1e-8), key


def test_diagnostic_empty_margins():
    table = diagnostic_table(0, 0, 3, 4)
    assert (
        table.sensitivity.estimate is None
        and table.sensitivity.reason
        and table.youden is None
        and table.lr_positive.reason
    )
    assert (
        diagnostic_table(0, 5, 2, 4).lr_positive.low is None
        and diagnostic_table(5, 0, 0, 5).odds_ratio.estimate is None
    )
    nothing = diagnostic_table(0, 0, 0, 0)
    assert (
        nothing.reason
        and nothing.accuracy.estimate is None
        and "not estimable" in nothing.sentence()
    )
    with pytest.raises(ValueError, match="fn is -1"):
        diagnostic_table(1, -1, 0, 0)


def test_fixed_threshold_and_operating_point():
    y, score = [0, 0, 0, 1, 1, 1, 1, 1], [0.1, 0.2, 0.6, 0.3, 0.5, 0.7, 0.8, 0.9]
    assert fixed_threshold(y, score, "sensitivity", 0.8) == 0.5
    assert fixed_threshold(y, score, "specificity", 1.0) == 0.7
    assert fixed_threshold(y, score, "youden") == 0.3 or fixed_threshold(y, score, "youden") in (
        0.7,
        0.5,
    )
    point = operating_point([0, 1, 1, 0], [0.4, 0.5, 0.2, 0.9], 0.5)
    assert (point.table.tp, point.table.fn, point.table.fp, point.table.tn) == (
        1,
        1,
        1,
        1,
    ) and "0.5" in point.sentence()
    with pytest.raises(ValueError, match="cannot be fixed"):
        fixed_threshold([1, 1], [0, 1])
    with pytest.raises(ValueError, match="rule"):
        fixed_threshold(y, score, "best")


def test_clustered_operating_point():
    rng = np.random.default_rng(0)
    patient = np.repeat(np.arange(60), 5)
    y = np.repeat(rng.random(60) < 0.5, 5)
    score = y + np.repeat(rng.normal(size=60), 5)
    plain, clustered = (
        operating_point(y, score, 0.5).table,
        operating_point(y, score, 0.5, patient).table,
    )
    assert clustered.sensitivity.estimate == plain.sensitivity.estimate
    assert clustered.sensitivity.high - clustered.sensitivity.low > 1.5 * (
        plain.sensitivity.high - plain.sensitivity.low
    )


def test_reference_calibration(reference):
    names = {
        "brier": "brier",
        "slope": "slope",
        "intercept": "intercept",
        "slope_se": "slope_standard_error",
        "citl": "in_the_large",
        "citl_se": "in_the_large_standard_error",
        "oe": "observed_expected",
        "logloss": "log_loss",
        "ece10_equal_width": "ece",
        "brier_scaled": "brier_scaled",
    }
    for case in reference("calibration")["cases"]:
        y, p, e = case["inputs"]["y"], case["inputs"]["p"], case["expected"]
        got, benefit = calibration(y, p), net_benefit(y, p, 0.2)
        for key, name in names.items():
            assert getattr(got, name) == pytest.approx(e[key], abs=1e-6), key
        assert [benefit.model, benefit.treat_all, auc(y, p)] == pytest.approx(
            [e["nb20"], e["nb_all20"], e["auc"]], abs=1e-6
        )


def test_calibration_matches_statsmodels_and_sklearn():
    rng = np.random.default_rng(1)
    p = rng.beta(1, 3, 800)
    y = rng.random(800) < p**1.3
    fit = sm.Logit(y.astype(float), sm.add_constant(np.log(p / (1 - p)))).fit(disp=0)
    got = calibration(y, p)
    assert [got.intercept, got.slope, got.slope_standard_error] == pytest.approx(
        [*fit.params, fit.bse[1]], abs=1e-7
    )
    assert got.log_loss == pytest.approx(log_loss(y, p), abs=1e-10)
    assert (
        sum(part.n for part in got.bins) == 800
        and got.slope_interval().low < got.slope < got.slope_interval().high
        and "slope" in got.sentence()
    )


def test_calibration_degenerate():
    separated = calibration([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert (
        separated.slope is None
        and "separate" in separated.reason
        and separated.brier == pytest.approx(0.025)
    )
    assert calibration([0, 1], [0.5, 0.5]).reason.startswith("all probabilities are equal")
    assert calibration([1, 1], [0.5, 0.7]).slope is None
    assert calibration([], []).brier is None and "not estimable" in calibration([], []).sentence()
    assert np.isfinite(calibration([0, 1, 0, 1], [0.0, 1.0, 0.5, 0.2]).log_loss)
    with pytest.raises(ValueError, match="between 0 and 1"):
        calibration([0, 1], [0.5, 1.5])
    with pytest.raises(ValueError, match="threshold"):
        net_benefit([0, 1], [0.5, 0.5], 1)
    assert net_benefit([], [], 0.2).model is None

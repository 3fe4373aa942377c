"""Small and degenerate data give numbers or reasons: no warning, no crash, no nan."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.agreement import cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha
from evaluation.clustered import clustered_proportion
from evaluation.mrmc import compare_with_standalone, obuchowski_rockette
from evaluation.roc import (
    auc_interval,
    calibration,
    compare_aucs,
    diagnostic_table,
    multiclass_auc,
    net_benefit,
    operating_point,
    partial_auc,
    partial_auc_interval,
    partial_auc_low_fpr,
    roc_curve,
    specificity_at,
    specificity_interval,
)
from evaluation.roc.calibration_curve import CalibrationBin

QUICK = settings(max_examples=80, deadline=None)
small = st.lists(
    st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3)), max_size=12
)


def assert_sound(result: Any) -> None:
    """Check a result and every result inside it.

    No field is nan or infinite (apart from degrees of freedom). Intervals of zero width and missing
    estimates have a reason, and there is a sentence.
    """
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if isinstance(value, float) and field.name != "df":
            assert math.isfinite(value), (type(result).__name__, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if hasattr(part, "sentence"):
                assert_sound(part)
    if (
        type(result) is not CalibrationBin
        and isinstance(getattr(result, "low", None), float)
        and result.high - result.low < 1e-12
    ):
        assert result.reason, result
    if getattr(result, "estimate", 0) is None or getattr(result, "raw", 0) is None:
        assert result.reason
    if (
        hasattr(result, "low")
        and result.low is not None
        and hasattr(result, "estimate")
        and isinstance(result.low, float)
    ):
        assert result.low <= result.high
    assert isinstance(result.sentence(), str)


@QUICK
@given(small)
def test_roc(rows):
    y, a, b, patient = (list(column) for column in zip(*rows)) if rows else ([], [], [], [])
    for method in ("logit", "obuchowski", "bootstrap"):
        assert_sound(auc_interval(y, a, patient, method, resamples=50))
    assert_sound(auc_interval(y, a, method="delong"))
    for cluster in (None, patient):
        assert_sound(compare_aucs(y, a, b, cluster))
        assert_sound(compare_aucs(y, a, b, cluster, method="logit"))
        assert_sound(partial_auc_interval(y, a, cluster, resamples=40))
        assert_sound(specificity_interval(y, a, cluster, resamples=40))
        assert_sound(roc_curve(y, a, cluster, resamples=40))
        if y:
            assert_sound(operating_point(y, a, 2, cluster).table)
    for result in (
        partial_auc(y, a),
        partial_auc_low_fpr(y, a),
        specificity_at(y, a),
        calibration(y, np.array(a) / 3),
        net_benefit(y, np.array(a) / 3, 0.3),
    ):
        assert_sound(result)
    by_patient = calibration(y, np.array(a) / 3, cluster=patient)
    assert_sound(by_patient)
    assert_sound(by_patient.slope_interval())
    assert_sound(by_patient.in_the_large_interval())


@QUICK
@given(small)
def test_infinite_scores_act_by_rank(rows):
    y, a, b, patient = (list(column) for column in zip(*rows)) if rows else ([], [], [], [])
    infinite = np.array([-np.inf, 0.0, 1.0, np.inf])[np.array(a, dtype=int)]
    for method in ("logit", "obuchowski", "bootstrap"):
        assert auc_interval(y, infinite, patient, method, resamples=50) == auc_interval(
            y, a, patient, method, resamples=50
        )
    assert compare_aucs(y, infinite, b, patient) == compare_aucs(y, a, b, patient)
    assert partial_auc(y, infinite) == partial_auc(y, a)
    assert partial_auc_low_fpr(y, infinite) == partial_auc_low_fpr(y, a)
    assert specificity_at(y, infinite) == specificity_at(y, a)
    assert np.array_equal(
        roc_curve(y, infinite, patient, resamples=40).tpr,
        roc_curve(y, a, patient, resamples=40).tpr,
    )
    for covariance in ("jackknife", "delong", "unbiased"):
        pair = [
            obuchowski_rockette([[scores, b]], y, covariance=covariance) for scores in (infinite, a)
        ]
        assert pair[0].modality_means == pair[1].modality_means


@QUICK
@given(small)
def test_proportions(rows):
    right, patient = [row[0] for row in rows], [row[1] for row in rows]
    assert_sound(clustered_proportion(right, patient))
    assert_sound(clustered_proportion(right, patient, p0=0.3, level=0.9))


@QUICK
@given(st.lists(st.integers(0, 3), min_size=4, max_size=4), st.integers(2, 3))
def test_tables(counts, size):
    assert_sound(diagnostic_table(*counts))
    table = np.resize(counts, (size, size))
    for weights in (None, "linear", "quadratic"):
        assert_sound(cohen_kappa(table, weights))
    assert_sound(gwet_ac1(table))


@QUICK
@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=3, max_size=3),
        min_size=1,
        max_size=8,
    )
)
def test_ratings(items):
    ratings = np.array(items, dtype=object).T
    for metric in ("nominal", "ordinal", "interval", "ratio"):
        assert_sound(krippendorff_alpha(ratings, metric))
    whole = [item for item in items if None not in item]
    if whole:
        assert_sound(fleiss_kappa([np.bincount(item, minlength=3) for item in whole]))


@QUICK
@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.booleans(), min_size=0, max_size=8),
    st.integers(0, 1000),
    st.sampled_from(["rrrc", "rrfc", "frrc"]),
)
def test_readers(modalities, readers, truth, seed, design):
    scores = np.random.default_rng(seed).integers(0, 3, (modalities, readers, len(truth)))
    for covariance in ("jackknife", "delong", "unbiased"):
        result = obuchowski_rockette(scores, truth, design, covariance)
        assert_sound(result)
        assert result.p_value is not None or result.reason
        assert_sound(compare_with_standalone(scores[0], scores[-1, -1], truth, design, covariance))


@QUICK
@given(st.lists(st.integers(0, 2), min_size=0, max_size=9))
def test_classes(y):
    rows = np.random.default_rng(len(y)).dirichlet([1, 1, 1], len(y)).reshape(-1, 3)
    assert_sound(multiclass_auc(y, rows))

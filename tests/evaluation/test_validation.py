"""Invalid arguments raise clear errors; unusual but valid forms are accepted."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from evaluation.agreement import cohen_kappa, fleiss_kappa, krippendorff_alpha
from evaluation.annotation.descriptor_association import descriptor_aucs
from evaluation.coverage import unit_coverage
from evaluation.mrmc import obuchowski_rockette
from evaluation.power import binomial_power, binomial_sample_size
from evaluation.proportion import (
    adjust,
    clustered_proportion,
    exact_binomial_test,
    mcnemar,
    proportion_interval,
)
from evaluation.roc import (
    auc,
    auc_interval,
    calibration,
    compare_aucs,
    diagnostic_table,
    fixed_threshold,
    multiclass_auc,
    operating_point,
    roc_curve,
)
from evaluation.similarity import corpus_similarity, greedy_matching, report_tokens

NAN, INF = float("nan"), float("inf")
TRUTH = [0, 1, 0, 1]
SCORES = np.ones((2, 2, 4))

INVALID_CALLS = {
    "text for scores": (
        lambda: auc(TRUTH, ["a", "b", "c", "d"]),
        "score must be numeric; found 'a'",
    ),
    "one text among numbers": (
        lambda: auc(TRUTH, [1, 2, "much", 3]),
        "score must be numeric; found 'much'",
    ),
    "dates for scores": (
        lambda: auc(TRUTH, pd.to_datetime(["2020", "2021", "2022", "2023"])),
        "score must be numeric, not values of type datetime64",
    ),
    "complex scores": (
        lambda: auc(TRUTH, [1j, 2, 3, 4]),
        "score must be numeric, not values of type complex128",
    ),
    "a masked score": (
        lambda: auc(TRUTH, np.ma.masked_array([1.0, 2, 3, 4], [0, 1, 0, 0])),
        "score 2 of 4 is not a number",
    ),
    "a masked label": (
        lambda: auc(np.ma.masked_array(TRUTH, [0, 0, 1, 0]), [1, 2, 3, 4]),
        "label 3 of 4 is missing",
    ),
    "ragged labels": (lambda: auc([[0, 1], [1]], [1, 2]), "labels: rows of different lengths"),
    "a patient missing among names": (
        lambda: clustered_proportion([0, 1, 1], ["a", NAN, "b"]),
        "observation 2 of 3 has no patient",
    ),
    "patients in two columns": (
        lambda: clustered_proportion([0, 1], np.ones((2, 2))),
        "patients of shape (2, 2) for 2 observations",
    ),
    "a missing count": (lambda: exact_binomial_test(None, 5), "None of 5 is not a count"),
    "an infinite count": (lambda: exact_binomial_test(3, INF), "3 of inf is not a count"),
    "a count as text": (lambda: proportion_interval("three", 5), "three of 5 is not a count"),
    "an array of counts": (
        lambda: exact_binomial_test(np.array([1, 0]), 5),
        "[1 0] of 5 is not a count",
    ),
    "missing pairs": (lambda: mcnemar(NAN, 3), "the number of discordant pairs is nan"),
    "text for p": (lambda: adjust(["a"]), "p-values must be numeric; found 'a'"),
    "a missing cell": (lambda: diagnostic_table(NAN, 0, 0, 1), "tp is nan"),
    "an infinite cell of 2 x 2": (lambda: diagnostic_table(1, INF, 0, 1), "fn is inf"),
    "infinite answers": (lambda: binomial_power(INF, 0.6), "the number of answers is inf"),
    "an infinite design effect": (
        lambda: binomial_sample_size(0.6, design_effect=INF),
        "the design effect is inf",
    ),
    "text in a table": (
        lambda: cohen_kappa([["a", 2], [1, 2]]),
        "the table's counts must be numeric; found 'a'",
    ),
    "an infinite cell": (
        lambda: cohen_kappa([[INF, 2], [1, 2]]),
        "the table must be square and hold counts",
    ),
    "a ragged table": (lambda: cohen_kappa([[1], [1, 2]]), "rows of different lengths"),
    "infinitely many raters": (
        lambda: fleiss_kappa([[INF, 1], [1, 2]]),
        "counts must hold whole numbers",
    ),
    "an infinite rating": (
        lambda: krippendorff_alpha([[1, INF, 2], [1, 2, 2]], "interval"),
        "the metric interval needs finite numbers",
    ),
    "text for readers": (
        lambda: obuchowski_rockette([[["a"] * 4] * 2] * 2, TRUTH),
        "scores must be numeric; found 'a'",
    ),
    "text for classes": (
        lambda: multiclass_auc(["x", "y"], np.eye(2)),
        "class 'x' is not one of 0 to 1",
    ),
    "a class too many": (
        lambda: multiclass_auc([0, 2], np.eye(2)),
        "class '2' is not one of 0 to 1",
    ),
    "an infinite activation": (
        lambda: unit_coverage(np.full((2, 9), INF), np.zeros((1, 9))),
        "not a finite number",
    ),
    "no classes": (lambda: unit_coverage(np.ones((2, 9)), np.ones((0, 9))), "there are no classes"),
    "a broken word vector": (
        lambda: greedy_matching(["a"], ["b"], {"a": [NAN, 1], "b": [1, 1]}),
        "not a list of finite numbers",
    ),
    "vectors of two lengths": (
        lambda: greedy_matching(["a"], ["b"], {"a": [1, 2, 3], "b": [1, 1]}),
        "word vectors of 3 and of 2 numbers",
    ),
}


@pytest.mark.parametrize("name", INVALID_CALLS)
def test_invalid_argument_message(name):
    call, message = INVALID_CALLS[name]
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


def test_patients_may_be_anything_hashable():
    right = [0, 1, 1, 0, 1]
    plain = clustered_proportion(right, [1, 1, 2, 3, 3])
    for patients in (
        [("a", 1), ("a", 1), ("b", 1), ("c", 2), ("c", 2)],
        ["x", "x", "y", "z", "z"],
        [1, 1, "b", 2.5, 2.5],
        pd.Series([7, 7, 8, 9, 9], index=[3, 3, 1, 0, 2]),
        pd.Categorical(["p", "p", "q", "r", "r"], categories=["p", "q", "r", "s"]),
    ):
        assert clustered_proportion(right, patients) == plain


def test_pandas_ratings_with_gaps():
    table = pd.DataFrame(
        {
            "first": pd.array([1, None], dtype="Int64"),
            "second": pd.array([1, 2], dtype="Int64"),
            "third": pd.array([2, 1], dtype="Int64"),
        }
    )
    assert (
        krippendorff_alpha(table).estimate == krippendorff_alpha([[1, 1, 2], [None, 2, 1]]).estimate
    )
    assert krippendorff_alpha([[], []]).reason == "no item was rated twice"


def test_small_numpy_integers_do_not_overflow():
    assert mcnemar(np.uint8(3), np.uint8(9)) == mcnemar(3, 9)
    assert mcnemar(np.int8(100), np.int8(100)) == mcnemar(100, 100)
    assert diagnostic_table(*np.array([200, 100, 60, 250], dtype=np.uint8)) == diagnostic_table(
        200, 100, 60, 250
    )


def test_infinite_scores_of_two_signs():
    y, score = [0, 1, 0, 1, 1], [INF, INF, -INF, 1, -INF]
    assert auc(y, score) == 0.5
    assert list(roc_curve(y, score, resamples=40).thresholds) == [INF, INF, 1, -INF]


def test_zero_variance_between_patients_gives_no_interval():
    # Not tied, yet both patients give the same result: each wins half of all pairs.
    for method in ("obuchowski", "bootstrap"):
        result = auc_interval([1, 0, 1, 0], [2, 2, 1, 1], ["a", "a", "b", "b"], method)
        assert result.estimate == 0.5
        assert (result.standard_error, result.low, result.high) == (None, None, None)
        assert "every patient gives the same result" in result.reason
    # One patient per class: every resample with both classes is the sample itself.
    assert auc_interval([1, 1, 0, 0], [2, 3, 1, 2.5], ["a", "a", "b", "b"], "bootstrap").low is None


def test_one_swapped_pair_in_many_is_detected():
    y, perfect = np.repeat([False, True], 20_000), np.arange(40_000.0)
    swapped = perfect.copy()
    swapped[[19_999, 20_000]] = swapped[[20_000, 19_999]]
    result = compare_aucs(y, perfect, swapped)
    assert result.reason is None
    # DeLong: the swapped pair is the only source of variance.
    assert result.standard_error == pytest.approx(np.sqrt(2) / 20_000**2, rel=1e-6)


def test_identical_calls_have_no_ratio_interval():
    table = diagnostic_table(5, 0, 4, 0)
    assert (table.lr_positive.estimate, table.lr_positive.low) == (1, None)
    assert (table.balanced_accuracy.estimate, table.balanced_accuracy.low) == (0.5, None)
    assert "the variance is 0" in table.lr_positive.reason
    assert "the variance is 0" in diagnostic_table(5, 0, 0, 4).balanced_accuracy.reason


def test_perfect_agreement_of_four_items_is_no_certainty():
    for result in (
        fleiss_kappa([[3, 0], [0, 3], [3, 0], [0, 3]]),
        krippendorff_alpha([[0, 1, 2, 1], [0, 1, 2, 1]]),
    ):
        assert (result.estimate, result.high) == (1, 1) and result.low < 0.5


def test_singular_nouns():
    assert "1 of 1 answer from 1 patient (" in clustered_proportion([1], ["a"]).sentence()
    assert (
        "from 1 patient)"
        in auc_interval([1, 0, 1, 0], [2, 3, 1, 1], ["a"] * 4, "bootstrap").sentence()
    )
    assert "; 1 item)" in cohen_kappa([[0, 1], [0, 0]]).sentence()


def test_identical_patients_have_no_interval():
    texts = [("mass",), ("calcification",), ("oval",)]
    result = corpus_similarity(texts, texts, ["a", "b", "c"], None)
    assert (result.mean.estimate, result.mean.low, result.mean.high) == (1, None, None)
    assert "not estimable" in result.sentence()
    activations = np.array([[0.1, 0.1, 0.2, 0.2, 0.7, 0.7, 0.4, 0.4]])
    row = descriptor_aucs(activations, np.tile([True, False], 4), np.repeat([0, 1, 2, 3], 2)).iloc[
        0
    ]
    assert row["auc"] == 0.5
    assert row[["low", "high", "p"]].isna().all()


def test_all_right_has_bounds_from_the_number_of_patients():
    result = clustered_proportion([1, 1, 1], ["a", "b", "b"])
    # Clopper-Pearson of 2 of 2: the upper bound is 1, the lower one is the root of .025.
    assert (result.low, result.high) == pytest.approx((0.025**0.5, 1))
    assert result.gee_low is None and "all answers are right" in result.reason


def test_calibration_from_one_patient():
    result = calibration([1, 0, 1, 0, 1], [0.9, 0.8, 0.3, 0.2, 0.5], cluster=["a"] * 5)
    slope = result.slope_interval()
    assert slope.estimate is not None
    assert (slope.low, slope.high) == (None, None)
    assert "one patient" in slope.reason
    assert "one patient" in result.sentence()


def test_threshold_without_positive_calls_is_finite():
    y, score = [0, 1, 0, 1], [4.0, 1.0, 3.0, 2.0]
    threshold = fixed_threshold(y, score, "youden")
    assert 4 < threshold < 4.001
    assert (
        operating_point(y, score, threshold).table.tp
        + operating_point(y, score, threshold).table.fp
        == 0
    )


def test_not_applicable_is_dropped():
    assert report_tokens("N/A/MASS") == ("mass",)
    assert report_tokens("TYPE_N/A-ROUND/OVAL (n/a).") == ("round", "oval")
    assert report_tokens("on/around") == ("on", "around")

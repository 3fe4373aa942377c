"""AUCs, their intervals and comparisons against the reference answers, pair matrices and
scikit-learn.
"""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
import scipy
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evaluation.resampling import cluster_bootstrap_weights
from evaluation.roc import (
    AucInterval,
    auc,
    auc_interval,
    compare_aucs,
    compare_independent_aucs,
    hanley_mcneil_variance,
    multiclass_auc,
    roc_curve,
)
from evaluation.roc.auc_variance import bootstrap_aucs

NAN = float("nan")


def slow_auc(y, score) -> float:
    """Compare every pair."""
    y, score = np.asarray(y, bool), np.asarray(score, float)
    difference = score[y][:, None] - score[~y][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def study(seed: int, patients: int = 40, ties: bool = False):
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    y = rng.random(len(patient)) < 0.4
    score = y * 0.8 + rng.normal(size=patients)[patient] * 0.6 + rng.normal(size=len(y))
    return y, np.round(score, 0 if ties else 6), patient


def test_reference_ties(reference):
    for case in reference("auc_ties")["cases"]:
        got, expected = auc(case["inputs"]["y"], case["inputs"]["score"]), case["expected"]["auc"]
        if expected is None:
            assert (
                got.estimate is None
                and got.reason
                and np.isnan(got)
                and "not estimable" in got.sentence()
            )
        else:
            assert got == pytest.approx(expected, abs=1e-12) and got.estimate == float(got)


def test_reference_delong(reference):
    for case in reference("auc_delong")["cases"]:
        y, score, e = case["inputs"]["y"], case["inputs"]["score"], case["expected"]
        got = auc_interval(y, score, method="delong")
        narrow = auc_interval(y, score, method="delong", level=0.9)
        assert got.estimate == pytest.approx(
            e["auc"], abs=1e-9
        ) and got.standard_error**2 == pytest.approx(e["var"], abs=1e-9)
        assert [got.low, got.estimate, got.high] == pytest.approx(e["ci95"], abs=1e-9)
        assert [narrow.low, narrow.estimate, narrow.high] == pytest.approx(e["ci90"], abs=1e-9)
        logit = got.logit_interval()
        assert [logit[0], got.estimate, logit[1]] == pytest.approx(e["ci95_logit"], abs=1e-9)
        assert hanley_mcneil_variance(got.estimate, got.positives, got.negatives) == pytest.approx(
            e["hanley_mcneil_var"], abs=1e-9
        )


def test_reference_paired(reference):
    names = {
        "diff": "difference",
        "se_diff": "standard_error",
        "cov": "covariance",
        "z": "statistic",
        "p": "p_value",
        "p_greater": "p_greater",
        "auc1": "first",
        "auc2": "second",
    }
    for case in reference("auc_delong_paired")["cases"]:
        got, e = (
            compare_aucs(case["inputs"]["y"], case["inputs"]["score1"], case["inputs"]["score2"]),
            case["expected"],
        )
        for key, name in names.items():
            assert getattr(got, name) == pytest.approx(e[key], abs=1e-8), key
        assert [got.low, got.high] == pytest.approx(e["ci_diff"], abs=1e-8)


def test_reference_obuchowski(reference, published):
    for case in reference("auc_clustered_obuchowski")["cases"]:
        i, e = case["inputs"], case["expected"]
        if isinstance(i, str):
            got = auc_interval(
                published["prefix"], published["prob"], published["patient"], "obuchowski"
            )
            assert [got.estimate, got.standard_error] == pytest.approx(
                [e["auc"][0], e["se"]], abs=1e-10
            ) and got.clusters == e["I"]
            assert [got.low, got.high] == pytest.approx(e["ci95"], abs=1e-10)
            continue
        for index, name in enumerate(("s1", "s2")):
            got = auc_interval(i["y"], i[name], i["id"], "obuchowski")
            assert got.standard_error == pytest.approx(e["se"][index], abs=1e-10)
            assert [got.low, got.high] == pytest.approx(e["ci95"][index], abs=1e-10)
        paired = compare_aucs(i["y"], i["s1"], i["s2"], i["id"])
        values = [
            paired.difference,
            paired.standard_error,
            paired.statistic,
            paired.p_value,
            paired.covariance,
        ]
        assert values == pytest.approx(
            [e["diff"], e["se_diff"], e["z"], e["p"], e["V"][0][1]], abs=1e-10
        )


def test_reference_bootstrap(reference):
    for case in reference("auc_cluster_bootstrap")["cases"]:
        i, e = case["inputs"], case["expected"]
        got = auc_interval(i["y"], i["s"], i["id"], "bootstrap")
        assert [got.low, got.high] == pytest.approx(
            e["percentile95"], abs=0.006
        ) and got.standard_error == pytest.approx(e["sd"], abs=0.0015)
        assert got.degenerate == e["degenerate_resamples"]


def test_reference_multiclass(reference):
    for case in reference("auc_multiclass")["cases"]:
        got, e = multiclass_auc(case["inputs"]["y"], case["inputs"]["prob"]), case["expected"]
        assert got.per_class == pytest.approx(e["ovr"], abs=1e-9)
        expected = [e[key] for key in ("macro", "weighted", "micro", "handtill")]
        assert [got.macro, got.weighted, got.micro, got.hand_till] == pytest.approx(
            expected, abs=1e-9
        )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=2, max_size=40))
def test_auc_is_the_share_of_won_pairs(rows):
    y, score = zip(*rows)
    got = auc(y, score)
    if len(set(y)) < 2:
        assert got.estimate is None
    else:
        assert got == pytest.approx(slow_auc(y, score), abs=1e-12)
        assert auc(y, [-s for s in score]) == pytest.approx(1 - got, abs=1e-12)
        assert got == pytest.approx(roc_auc_score(y, score), abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_bootstrap_equals_resampling_rows(monkeypatch, ties):
    y, score, patient = study(5, ties=ties)
    fast = bootstrap_aucs(y, score, patient, 40, 50, 7)
    monkeypatch.setattr("evaluation.roc.auc_variance.DENSE_PATIENTS", 0)
    sorted_once = bootstrap_aucs(y, score, patient, 40, 50, 7)
    slow = []
    for weights in cluster_bootstrap_weights(40, 50, 7):
        rows = np.repeat(np.arange(len(y)), weights[patient].astype(int))
        slow.append(slow_auc(y[rows], score[rows]))
    assert fast == pytest.approx(slow, abs=1e-12) and sorted_once == pytest.approx(slow, abs=1e-12)


def test_bootstrap_counts_samples_of_one_class():
    got = auc_interval([1, 0, 0, 0], [2, 1, 3, 0], [1, 2, 3, 4], "bootstrap")
    assert got.degenerate > 0 and got.low is not None and got.resamples == 20_000
    assert (
        auc_interval([1, 0, 0, 1], [2, 1, 3, 0], [1, 2, 3, 4], "bootstrap", resamples=50).resamples
        == 50
    )


def test_auc_can_be_pickled():
    for y in ([0, 1, 1], [1, 1, 1]):
        before = auc(y, [1, 0, 2])
        after = pickle.loads(pickle.dumps(before))
        assert (after.estimate, after.reason, after.positives) == (
            before.estimate,
            before.reason,
            before.positives,
        )


def test_obuchowski_is_delong_for_singletons():
    y, score, _ = study(2)
    alone, clustered = (
        auc_interval(y, score, method="delong"),
        auc_interval(y, score, np.arange(len(y)), "obuchowski"),
    )
    # Obuchowski adds the covariance of a positive and a negative of one patient: 0 for singletons.
    assert clustered.standard_error == pytest.approx(alone.standard_error, abs=1e-12)


def test_clustered_interval_is_wider_when_patients_matter():
    rng = np.random.default_rng(1)
    patient = np.repeat(np.arange(30), 20)
    y = np.repeat(rng.random(30) < 0.5, 20)
    score = np.repeat(rng.normal(size=30) + 0.8 * y[::20], 20) + 0.1 * rng.normal(size=600)
    assert (
        auc_interval(y, score, patient, "obuchowski").standard_error
        > 2 * auc_interval(y, score).standard_error
    )


@pytest.mark.parametrize("method", ["delong", "obuchowski", "bootstrap"])
def test_perfect_separation_is_not_estimable(method):
    for score in ([1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1]):
        cluster = None if method == "delong" else range(6)
        got = auc_interval([0, 0, 0, 1, 1, 1], score, cluster, method)
        assert got.estimate in (0, 1) and got.low is got.high is got.standard_error is None
        assert "perfectly" in got.reason and "not estimable" in got.sentence()


def test_one_class_one_patient_ties_nan():
    for y in ([], [1, 1], [0, 0]):
        got = auc_interval(y, np.arange(len(y)))
        assert got.estimate is None and got.reason and "not estimable" in got.sentence()
        assert compare_aucs(y, np.arange(len(y)), np.arange(len(y))).reason
    tied = auc_interval([0, 1, 0, 1], [1, 1, 1, 1], method="delong")
    assert (
        (tied.estimate, tied.standard_error, tied.low) == (0.5, 0, 0.5)
        and "tied" in tied.reason
        and "tied" in tied.sentence()
    )
    assert "tied" in auc_interval([0, 1, 0, 1], [1] * 4, range(4), "bootstrap").reason
    no_bounds = auc_interval([0, 1, 0, 1], [1, 1, 1, 1], range(4))
    assert no_bounds.low is None and "tied" in no_bounds.reason
    for method in ("logit", "obuchowski", "bootstrap"):
        alone = auc_interval([0, 1, 0, 1], [1, 2, 3, 4], ["a"] * 4, method)
        assert alone.low is None and "one patient" in alone.reason
    for method in ("logit", "delong"):
        single = auc_interval([1, 0, 0], [2, 1, 3], method=method)
        assert single.estimate == 0.5 and single.low is None and "single" in single.reason
    for call in (
        lambda: auc([0, 1], [NAN, 1]),
        lambda: auc_interval([0, 1], [1, NAN]),
        lambda: compare_aucs([0, 1], [1, 2], [NAN, 1]),
    ):
        with pytest.raises(ValueError, match="not a number"):
            call()
    for labels in ([0, 2], ["C", "B"], [None, 1]):
        with pytest.raises(ValueError, match="labels must be 0 or 1"):
            auc(labels, [1, 2])
    assert auc([0, 1], [-np.inf, np.inf]) == 1
    with pytest.raises(ValueError, match="needs the patient"):
        auc_interval([0, 1], [1, 2], method="obuchowski")
    with pytest.raises(ValueError, match="the method is"):
        auc_interval([0, 1], [1, 2], method="hanley")
    with pytest.raises(ValueError, match="the method is"):
        compare_aucs([0, 1], [1, 2], [2, 1], method="hanley")
    with pytest.raises(ValueError, match="takes observations as independent"):
        auc_interval([0, 1], [1, 2], [1, 2], "delong")


def test_comparing_equal_scores_is_not_estimable():
    y, score, patient = study(9)
    for cluster, method in itertools.product((None, patient), ("wald", "logit")):
        got = compare_aucs(y, score, 3 * score, cluster, method=method)
        assert got.difference == 0 and got.p_value is None and "variance" in got.reason


def test_unpaired_comparison():
    first, second = (auc_interval(*study(seed)[:2], method="delong") for seed in (1, 2))
    got = compare_independent_aucs(first, second)
    assert got.standard_error == pytest.approx(
        np.hypot(first.standard_error, second.standard_error)
    )
    assert got.p_value == pytest.approx(2 * min(got.p_greater, 1 - got.p_greater))
    assert compare_independent_aucs(first, auc_interval([1, 1], [1, 2])).p_value is None


def test_multiclass_missing_class_and_bad_rows():
    got = multiclass_auc([0, 0, 1], [[0.5, 0.3, 0.2]] * 3)
    assert got.per_class[2] is None and got.macro is None and "class 2" in got.reason
    with pytest.raises(ValueError, match="not a number"):
        multiclass_auc([0, 1], [[NAN, 1], [0, 1]])
    with pytest.raises(ValueError, match="not one of"):
        multiclass_auc([0, 3], [[1, 0], [0, 1]])
    with pytest.raises(ValueError, match="one row per label"):
        multiclass_auc([0], [[1, 0], [0, 1]])


def test_curve_and_band():
    y, score, patient = study(4, patients=120)
    for cluster in (None, patient):
        curve = roc_curve(y, score, cluster)
        assert np.trapezoid(curve.tpr, curve.fpr) == pytest.approx(auc(y, score), abs=1e-12)
        middle = np.interp(0.3, curve.fpr, curve.tpr)
        assert (
            curve.low[30] < middle < curve.high[30]
            and (np.diff(curve.low) >= -1e-12).all()
            and curve.sentence()
        )
    assert roc_curve([1, 1], [1, 2]).reason and roc_curve([0, 1], [1, 2], ["a", "a"]).low is None


def test_unpaired_comparison_by_hand():
    """Welch's t for variances .03^2 of 50 and .04^2 of 25 observations."""
    shared = {"low": None, "high": None, "level": 0.95, "method": "delong"}
    first = AucInterval(estimate=0.85, standard_error=0.03, positives=20, negatives=30, **shared)
    second = AucInterval(estimate=0.75, standard_error=0.04, positives=16, negatives=9, **shared)
    got = compare_independent_aucs(first, second)
    # .0025^2 / (.0009^2 / 49 + .0016^2 / 24); t = .1 / .05.
    assert got.df == pytest.approx(50.7316, abs=1e-4)
    assert (got.statistic, got.standard_error) == (pytest.approx(2), pytest.approx(0.05))
    assert got.p_greater == pytest.approx(scipy.stats.t.sf(2, 50.7316), rel=1e-4)
    assert got.p_value == pytest.approx(2 * got.p_greater)
    assert got.low == pytest.approx(0.1 - 0.05 * scipy.stats.t.isf(0.025, 50.7316), rel=1e-4)
    back = compare_independent_aucs(second, first)
    assert (back.statistic, back.p_greater) == (pytest.approx(-2), pytest.approx(1 - got.p_greater))
    # Another variance than DeLong's has no such degrees of freedom.
    normal = compare_independent_aucs(replace(first, method="obuchowski"), second)
    assert normal.df is None and normal.p_greater == pytest.approx(scipy.stats.norm.sf(2))

"""Multi-reader analysis of patients with several images, against deletion and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.reader_studies import comparison_rejects, distance_of, simulate_ratings
from evaluation.mrmc import auc_covariance, compare_with_standalone, obuchowski_rockette
from evaluation.mrmc.covariances import disjoint_products
from evaluation.roc.auc_variance import placements


def clustered_study(readers: int = 3, mixed: bool = False):
    rng = np.random.default_rng(7)
    study = simulate_ratings(
        rng,
        patients=14,
        images=3,
        readers=readers,
        distances=(1.4, 0.9),
        icc=0.5,
        reader_sd=0.2,
    )
    truth = np.arange(len(study.truth)) % 3 == 0 if mixed else study.truth
    return np.round(study.scores, 1), truth, study.patients


@pytest.mark.parametrize("mixed", [False, True])
def test_jackknife_leaves_out_whole_patients(mixed):
    scores, truth, patients = clustered_study(mixed=mixed)
    flat = scores.reshape(6, -1)
    left_out = np.array(
        [
            [placements(truth[patients != p], s[None, patients != p]).auc[0] for p in range(14)]
            for s in flat
        ]
    )
    assert auc_covariance(truth, flat, "jackknife", patients) == pytest.approx(
        np.cov(left_out) * 13 * 13 / 14, abs=1e-12
    )


@pytest.mark.parametrize("mixed", [False, True])
def test_unbiased_covariance_by_enumeration_of_comparisons(mixed):
    scores, truth, patients = clustered_study(readers=1, mixed=mixed)
    keep = patients < 5 if mixed else np.isin(patients, (0, 1, 2, 12, 13))
    flat, truth, patients = scores.reshape(2, -1)[:, keep], truth[keep], patients[keep]
    pairs = [(i, j) for i in np.flatnonzero(truth) for j in np.flatnonzero(~truth)]
    win = [{(i, j): (s[i] > s[j]) + 0.5 * (s[i] == s[j]) for i, j in pairs} for s in flat]
    products = [
        win[0][a] * win[1][b]
        for a in pairs
        for b in pairs
        if not {patients[a[0]], patients[a[1]]} & {patients[b[0]], patients[b[1]]}
    ]
    areas = [np.mean(list(w.values())) for w in win]
    # Codes from 0, as the product passes them.
    codes = np.unique(patients, return_inverse=True)[1]
    assert auc_covariance(truth, flat, "unbiased", codes)[0, 1] == pytest.approx(
        areas[0] * areas[1] - np.mean(products), abs=1e-12
    )


def test_one_case_a_patient_gives_the_unclustered_covariances():
    scores, truth, _ = clustered_study()
    own = np.arange(len(truth))
    for method in ("jackknife", "delong", "unbiased"):
        assert auc_covariance(truth, scores.reshape(6, -1), method, own) == pytest.approx(
            auc_covariance(truth, scores.reshape(6, -1), method), abs=1e-12
        )
    plain = obuchowski_rockette(scores, truth)
    assert obuchowski_rockette(scores, truth, cluster=own).p_value == plain.p_value


def test_disjoint_products_by_enumeration():
    rng = np.random.default_rng(3)
    first, second = rng.random((2, 4, 4))
    total = sum(
        first[a, b] * second[c, d]
        for a in range(4)
        for b in range(4)
        for c in range(4)
        for d in range(4)
        if not {a, b} & {c, d}
    )
    assert disjoint_products(first, second) == pytest.approx(total, abs=1e-12)


def test_degrees_of_freedom_count_readers_and_patients():
    scores, truth, patients = clustered_study()
    result = obuchowski_rockette(scores, truth, covariance="delong", cluster=patients)
    case_part = 3 * (result.cov2 - result.cov3)
    assert case_part > 0
    total = result.ms_tr + case_part
    df = total**2 / (result.ms_tr**2 / 2 + case_part**2 / 13)
    assert result.df == pytest.approx(df)
    assert result.p_value == pytest.approx(stats.f.sf(result.ms_t / total, 1, df))
    assert "14 patients as clusters" in result.method
    one = obuchowski_rockette(scores[:, :1], truth, "frrc", "delong", cluster=patients)
    assert one.df == 13
    assert one.p_value == pytest.approx(2 * stats.t.sf(abs(one.statistic), 13))


def test_standalone_comparison_uses_patients():
    scores, truth, patients = clustered_study()
    network = scores[1, 0]
    plain = compare_with_standalone(scores[0], network, truth)
    clustered = compare_with_standalone(scores[0], network, truth, cluster=patients)
    assert plain.difference == clustered.difference
    assert clustered.high - clustered.low > plain.high - plain.low


def test_reasons_instead_of_variances():
    scores, truth, _ = clustered_study()
    one_positive_patient = np.where(truth, 0, np.arange(len(truth)))
    result = obuchowski_rockette(scores, truth, cluster=one_positive_patient)
    assert result.p_value is None and "come from one patient" in result.reason
    with pytest.raises(ValueError, match="the convention of"):
        obuchowski_rockette(scores, truth, convention="other")
    perfect = np.stack([truth + 0.1 * np.arange(2)[:, None]] * 2).astype(float)
    mean = obuchowski_rockette(perfect, truth).modality_means[0]
    assert mean.estimate == 1 and mean.low is None and mean.reason


def test_vanishing_interaction_has_a_finite_p():
    # Both readers gain exactly the same: the interaction mean square is 0.
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1], 15)
    base = truth + rng.normal(size=(2, 30))
    scores = np.stack([base[[0, 0]], base[[1, 1]]])
    result = obuchowski_rockette(scores, truth)
    assert result.ms_tr == pytest.approx(0, abs=1e-15) and np.isinf(result.df)
    assert result.p_value == pytest.approx(2 * stats.norm.sf(abs(result.statistic)))
    assert 0 < result.p_value < 1


def test_type_one_error_holds_with_four_images_a_patient():
    rng = np.random.default_rng(11)
    rejected = [comparison_rejects(rng, patients=40, images=4, readers=3) for _ in range(200)]
    # Independent images would give .12 to .21; twice the Monte Carlo error here is .03.
    assert np.mean(rejected) < 0.08


def test_mean_interval_covers_near_one():
    rng = np.random.default_rng(13)
    covered = []
    for _ in range(200):
        study = simulate_ratings(
            rng,
            patients=40,
            images=1,
            readers=3,
            distances=(distance_of(0.96, 0.3),),
            icc=0.0,
            reader_sd=0.3,
        )
        mean = obuchowski_rockette(study.scores, study.truth, covariance="delong")
        interval = mean.modality_means[0]
        covered.append(interval.low is not None and interval.low <= 0.96 <= interval.high)
    # On the scale of the AUC the same intervals cover .86.
    assert np.mean(covered) > 0.91

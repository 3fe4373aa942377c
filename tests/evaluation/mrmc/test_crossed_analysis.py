"""Multi-reader analysis against reference answers, enumeration and deletion."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from evaluation.mrmc import auc_covariance, compare_with_standalone, obuchowski_rockette
from evaluation.mrmc.crossed_analysis import modality_test
from evaluation.roc.auc_variance import delong_covariance, placements


def crossed_data(reference):
    table = pd.DataFrame(reference("mrmc_obuchowski_rockette")["synthetic_data"])
    scores = table.pivot_table(
        index=["modality", "reader"], columns="case", values="rating"
    ).to_numpy()
    return (
        scores.reshape(table["modality"].nunique(), table["reader"].nunique(), -1),
        table.groupby("case")["truth"].first().to_numpy(),
    )


def test_reference_mrmc(reference):
    scores, truth = crossed_data(reference)
    designs = {
        "random readers, random cases (Hillis ddf)": "rrrc",
        "random readers, fixed cases": "rrfc",
        "fixed readers, random cases": "frrc",
    }
    for case in reference("mrmc_obuchowski_rockette")["cases"]:
        e, settings = case["expected"], case["settings"]
        design = designs[settings["design"]]
        if not case["inputs"].startswith("data in field"):
            # The data are not included: test from the published mean squares and covariances.
            auc = np.array(list(e["auc"].values())).reshape(2, -1)
            parts = {
                "ms_t": e["MS_T"],
                "ms_tr": e["MS_TR"],
                "var_error": e["Var_error"],
                "cov1": e["Cov1"],
                "cov2": e["Cov2"],
                "cov3": e["Cov3"],
            }
            result = modality_test(auc, parts, {"design": design, "level": 0.95})
            assert result.f == pytest.approx(e.get("F", e.get("X2")), abs=1e-9)
        else:
            result = obuchowski_rockette(scores, truth, design, settings["covariance"])
            assert result.auc.ravel() == pytest.approx(list(e["auc"].values()), abs=1e-9)
            names = {
                "MS_T": "ms_t",
                "MS_R": "ms_r",
                "MS_TR": "ms_tr",
                "Var_error": "var_error",
                "Cov1": "cov1",
                "Cov2": "cov2",
                "Cov3": "cov3",
                "var_reader": "var_reader",
                "var_mod_reader": "var_modality_reader",
                "F": "f",
            }
            for key, name in names.items():
                assert getattr(result, name) == pytest.approx(e[key], abs=1e-9), (case["name"], key)
        expected = [
            e["diff"],
            e["se_diff"],
            e.get("df2", e.get("df")),
            e["p"],
            *e["ci_diff"],
            e.get("t", e.get("z")),
        ]
        values = [
            result.difference,
            result.standard_error,
            result.df,
            result.p_value,
            result.low,
            result.high,
            result.statistic,
        ]
        assert values == pytest.approx(expected, abs=1e-9), case["name"]


def test_covariances_by_enumeration_and_deletion():
    rng = np.random.default_rng(2)
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0], dtype=bool)
    scores = np.round(rng.normal(size=(2, 9)) + truth, 1)
    win = [[[float(a > b) + 0.5 * (a == b) for b in s[~truth]] for a in s[truth]] for s in scores]
    products = [
        win[0][i][j] * win[1][k][m]
        for i in range(4)
        for j in range(5)
        for k in range(4)
        for m in range(5)
        if i != k and j != m
    ]
    areas = [np.mean(w) for w in win]
    assert auc_covariance(truth, scores, "unbiased")[0, 1] == pytest.approx(
        areas[0] * areas[1] - np.mean(products), abs=1e-12
    )
    left_out = np.array(
        [
            [placements(np.delete(truth, c), np.delete(s, c)[None]).auc[0] for c in range(9)]
            for s in scores
        ]
    )
    assert auc_covariance(truth, scores, "jackknife") == pytest.approx(
        np.cov(left_out) * 8 * 8 / 9, abs=1e-12
    )


def test_mrmc_degenerate(reference):
    scores, truth = crossed_data(reference)
    one_reader = obuchowski_rockette(scores[:, :1], truth)
    assert (
        one_reader.p_value is None
        and "one reader" in one_reader.reason
        and "not estimable" in one_reader.sentence()
    )
    fixed = obuchowski_rockette(scores[:, :1], truth, "frrc", "delong")
    pair = delong_covariance(placements(truth.astype(bool), scores[:, 0]))
    z = fixed.difference / np.sqrt(pair[0, 0] + pair[1, 1] - 2 * pair[0, 1])
    assert fixed.p_value == pytest.approx(2 * stats.norm.sf(abs(z)), abs=1e-12)
    single = obuchowski_rockette(scores[:1], truth)
    assert (
        single.p_value is None
        and single.modality_means[0].low
        < single.modality_means[0].estimate
        < single.modality_means[0].high
    )
    assert obuchowski_rockette(scores, np.ones(scores.shape[2])).reason.startswith(
        "all observations are positive"
    )
    three = obuchowski_rockette(
        np.concatenate(
            [scores, scores[:1] + 1e-9 * np.random.default_rng(0).normal(size=scores[:1].shape)]
        ),
        truth,
    )
    assert three.df1 == 2 and three.p_value is not None
    assert (
        "variance of the difference is 0"
        in obuchowski_rockette(np.stack([scores[0], scores[0]]), truth, "rrfc").reason
    )
    incomplete = scores.astype(float)
    incomplete[0, 1, 2] = np.nan
    with pytest.raises(ValueError, match="modality 1, reader 2, case 3"):
        obuchowski_rockette(incomplete, truth)
    with pytest.raises(ValueError, match="the design must be"):
        obuchowski_rockette(scores, truth, "both")
    with pytest.raises(ValueError, match="is needed"):
        obuchowski_rockette(scores[0], truth)
    with pytest.raises(ValueError, match="must have a number for every case"):
        compare_with_standalone(incomplete[0], np.arange(len(truth)), truth)
    for labels, message in (
        (np.zeros_like(truth), "both classes are needed"),
        (np.arange(len(truth)) == 0, "one class has a single case"),
    ):
        one_class = obuchowski_rockette(scores, labels)
        assert one_class.p_value is None and message in one_class.reason


def test_fixed_readers_give_a_chi_square_test_of_three_modalities() -> None:
    auc = np.array([[0.8, 0.7], [0.6, 0.75], [0.9, 0.85]])
    parts = {"ms_t": 0.0195, "var_error": 0.004, "cov1": 0.001, "cov2": 0.002, "cov3": 0.0005}
    result = modality_test(auc, parts, {"design": "frrc", "level": 0.95})
    # Mean square over var - cov1 + (r - 1) (cov2 - cov3), times t - 1.
    statistic = 2 * 0.0195 / (0.004 - 0.001 + (0.002 - 0.0005))
    assert result.f == pytest.approx(statistic) and result.df == result.df1 == 2
    assert result.p_value == pytest.approx(stats.chi2.sf(statistic, 2))

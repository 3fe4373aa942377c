"""Agreement, sample size and multi-reader analysis against the reference answers and slow versions."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as their_fleiss

from evaluation import mrmc
from evaluation.agreement import cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha
from evaluation.mrmc import obuchowski_rockette
from evaluation.power import binomial_power, binomial_sample_size
from evaluation.roc.auc_variance import delong_covariance, placements

N = None
# Krippendorff, "Computing Krippendorff's alpha-reliability": four observers, twelve units; .743 /
# .815 / .849 / .797.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]


def test_reference_agreement(reference):
    for case in reference("agreement")["cases"]:
        inputs, e = case["inputs"], case["expected"]
        if "counts" in inputs:
            got = fleiss_kappa(inputs["counts"])
            values = [got.estimate, got.observed, got.expected, got.standard_error, got.z]
            assert values == pytest.approx(
                [e[k] for k in ("kappa", "Pbar", "Pe", "se0", "z")], abs=1e-9
            )
        elif "unw" in e:
            for weights, key in ((None, "unw"), ("linear", "eq"), ("quadratic", "quad")):
                got = cohen_kappa(inputs["table"], weights)
                assert [got.estimate, got.standard_error] == pytest.approx(
                    [e[key], e[f"{key}_ase"]], abs=1e-9
                )
            assert gwet_ac1(inputs["table"]).estimate == pytest.approx(e["gwet_ac1"], abs=1e-9)
        elif e.get("kappa", 0) is None:
            got = cohen_kappa(inputs["table"])
            assert got.estimate is None and got.reason and "not estimable" in got.sentence()


@pytest.mark.parametrize(
    "table",
    [
        [[0, 0], [3, 5]],
        [[46, 3], [0, 0]],
        [[0, 2], [0, 49]],
        [[0, 1], [0, 6]],
        [[3, 0, 0], [11, 0, 0], [7, 0, 0]],
    ],
)
@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_a_rater_of_one_category_has_kappa_0_without_an_interval(table, weights):
    got = cohen_kappa(table, weights)
    assert (
        got.estimate == pytest.approx(0, abs=1e-12)
        and got.standard_error == 0
        and got.low is None
        and got.high is None
    )
    assert (
        "one rater used one category only" in got.reason
        and "not estimable: one rater used one category only" in got.sentence()
    )


@pytest.mark.parametrize("n", [3, 49, 5_000, 1_000_003])
def test_perfect_agreement_leaves_no_interval_by_rounding(n):
    got = cohen_kappa([[n, 0], [0, 1]])
    assert (
        got.estimate == pytest.approx(1)
        and (got.standard_error, got.low, got.high) == (0, None, None)
        and "variance is 0" in got.reason
    )


def test_krippendorff_published_example():
    for metric, expected in (
        ("nominal", 0.743),
        ("ordinal", 0.815),
        ("interval", 0.849),
        ("ratio", 0.797),
    ):
        got = krippendorff_alpha(OBSERVERS, metric)
        assert (
            got.estimate == pytest.approx(expected, abs=6e-4)
            and got.low < got.estimate < got.high
            and got.n == 11
        )


def test_cohen_equals_statsmodels_and_gwet_variance_is_sampling_variance():
    table = [[22, 4, 3], [5, 18, 6], [1, 7, 30]]
    for ours, theirs in ((None, None), ("linear", "linear"), ("quadratic", "quadratic")):
        result = cohens_kappa(table, wt=theirs)
        got = cohen_kappa(table, ours)
        assert [got.estimate, got.standard_error] == pytest.approx(
            [result.kappa, result.std_kappa], abs=1e-9
        )
    rng, n = np.random.default_rng(0), np.sum(table)
    drawn = rng.multinomial(n, np.ravel(table) / n, 1500)
    spread = np.std([gwet_ac1(counts.reshape(3, 3)).estimate for counts in drawn])
    assert gwet_ac1(table).standard_error == pytest.approx(spread, rel=0.08)


def test_fleiss_equals_statsmodels():
    counts = np.random.default_rng(1).multinomial(5, [0.5, 0.3, 0.2], 30)
    got = fleiss_kappa(counts)
    assert (
        got.estimate == pytest.approx(their_fleiss(counts), abs=1e-12)
        and got.low < got.estimate < got.high
    )


def test_agreement_degenerate():
    assert (
        cohen_kappa([[0, 0], [0, 0]]).reason
        and gwet_ac1([[5]]).reason
        and fleiss_kappa(np.empty((0, 2))).reason
    )
    assert cohen_kappa([[5, 0], [0, 5]]).estimate == 1 and cohen_kappa([[5, 0], [0, 5]]).low is None
    assert gwet_ac1([[10, 0], [0, 0]]).estimate == 1
    assert (
        "same" in fleiss_kappa([[3, 0], [3, 0]]).reason
        and "same" in krippendorff_alpha([[1, 1], [1, 1]]).reason
    )
    assert krippendorff_alpha([[1, None], [None, 2]]).reason == "no item was rated twice"
    assert krippendorff_alpha([["a", "b", "a", "b"], ["a", "b", "b", "b"]]).estimate is not None
    for wrong, words in (
        (lambda: cohen_kappa([[1, 2]]), "square"),
        (lambda: cohen_kappa([[1, 2], [3, 4]], "cubic"), "weights"),
        (lambda: fleiss_kappa([[1, 2], [2, 2]]), "3 to 4 raters"),
        (lambda: krippendorff_alpha([[1]], "cosine"), "metric"),
        (lambda: krippendorff_alpha([["a"], ["b"]], "interval"), "needs numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()


def test_reference_power(reference):
    for case in reference("power_exact_binomial")["cases"]:
        i, e = case["inputs"], case["expected"]
        if "p1" not in i:
            powers = [
                binomial_power(i["n"], p, alpha=i["alpha_one_sided"]) for p in (0.55, 0.575, 0.6)
            ]
            assert powers == pytest.approx(
                [e["power_p55"], e["power_p575"], e["power_p60"]], abs=1e-9
            )
            assert powers[0].critical_count == e["critical_x"] and powers[0].size == pytest.approx(
                e["size"], abs=1e-9
            )
            continue
        got = binomial_sample_size(i["p1"], i["p0"], i["alpha_one_sided"], i["power"])
        counts = [e[name] for name in ("first_n", "first_crit", "stable_n", "stable_crit")]
        assert [got.first_n, got.first_critical, got.stable_n, got.stable_critical] == counts
        assert [got.first_power, got.stable_power] == pytest.approx(
            [e["first_power"], e["stable_power"]], abs=1e-9
        )
        after = binomial_power(got.first_n + 1, i["p1"], i["p0"], i["alpha_one_sided"])
        assert after == pytest.approx(e["power_at_first_plus1"], abs=1e-9)


def test_power_by_summation_and_saw_tooth():
    for n in (7, 30, 61):
        mass0, mass1 = (
            [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)] for p in (0.5, 0.65)
        )
        critical = next(x for x in range(n + 2) if sum(mass0[x:]) <= 0.05)
        got = binomial_power(n, 0.65)
        assert got.critical_count == critical and got == pytest.approx(
            sum(mass1[critical:]), abs=1e-12
        )
    size = binomial_sample_size(0.65)
    later = [binomial_power(n, 0.65) for n in range(size.first_n, size.stable_n + 300)]
    assert later[0] >= 0.8 and binomial_power(size.first_n - 1, 0.65) < 0.8
    assert (
        binomial_power(size.stable_n - 1, 0.65) < 0.8
        and min(later[size.stable_n - size.first_n :]) >= 0.8
    )


def test_design_effect_and_impossible_sizes():
    plain, clustered = binomial_sample_size(0.6), binomial_sample_size(0.6, design_effect=1.5)
    assert (
        clustered.stable_n == math.ceil(1.5 * plain.stable_n)
        and clustered.stable_effective_n == plain.stable_n
    )
    assert clustered.stable_power == plain.stable_power and "1.50" in clustered.sentence()
    assert (
        binomial_sample_size(0.5).first_n is None
        and "does not lie above" in binomial_sample_size(0.5).reason
    )
    assert (
        binomial_sample_size(0.5002).reason
        and "not estimable" in binomial_sample_size(0.5002).sentence()
    )
    assert binomial_sample_size(0.51).stable_n > 10_000
    small = binomial_power(3, 0.9)
    assert small == 0 and small.critical_count is None and "no result" in small.sentence()
    for wrong in (
        lambda: binomial_power(0, 0.6),
        lambda: binomial_sample_size(1.2),
        lambda: binomial_sample_size(0.6, alpha=0),
        lambda: binomial_sample_size(0.6, design_effect=0.5),
        lambda: binomial_sample_size(0.6, power=1),
    ):
        with pytest.raises(ValueError):
            wrong()


def crossed(reference):
    table = pd.DataFrame(reference("mrmc_obuchowski_rockette")["synthetic_data"])
    scores = table.pivot_table(
        index=["modality", "reader"], columns="case", values="rating"
    ).to_numpy()
    return (
        scores.reshape(table["modality"].nunique(), table["reader"].nunique(), -1),
        table.groupby("case")["truth"].first().to_numpy(),
    )


def test_reference_mrmc(reference):
    scores, truth = crossed(reference)
    designs = {
        "random readers, random cases (Hillis ddf)": "rrrc",
        "random readers, fixed cases": "rrfc",
        "fixed readers, random cases": "frrc",
    }
    for case in reference("mrmc_obuchowski_rockette")["cases"]:
        e, settings = case["expected"], case["settings"]
        design = designs[settings["design"]]
        if not case["inputs"].startswith("data in field"):
            # The data are not at hand; the test from the printed mean squares and covariances is.
            auc = np.array(list(e["auc"].values())).reshape(2, -1)
            parts = {
                "ms_t": e["MS_T"],
                "ms_tr": e["MS_TR"],
                "var_error": e["Var_error"],
                "cov1": e["Cov1"],
                "cov2": e["Cov2"],
                "cov3": e["Cov3"],
            }
            got = mrmc._test(auc, parts, {"design": design, "level": 0.95})
            assert got.f == pytest.approx(e.get("F", e.get("X2")), abs=1e-9)
        else:
            got = obuchowski_rockette(scores, truth, design, settings["covariance"])
            assert got.auc.ravel() == pytest.approx(list(e["auc"].values()), abs=1e-9)
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
                assert getattr(got, name) == pytest.approx(e[key], abs=1e-9), (case["name"], key)
        expected = [
            e["diff"],
            e["se_diff"],
            e.get("df2", e.get("df")),
            e["p"],
            *e["ci_diff"],
            e.get("t", e.get("z")),
        ]
        values = [
            got.difference,
            got.standard_error,
            got.df,
            got.p_value,
            got.low,
            got.high,
            got.statistic,
        ]
        assert values == pytest.approx(expected, abs=1e-9), case["name"]


def test_unbiased_covariance_by_enumeration_and_jackknife_by_deletion():
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
    assert mrmc.auc_covariance(truth, scores, "unbiased")[0, 1] == pytest.approx(
        areas[0] * areas[1] - np.mean(products), abs=1e-12
    )
    left_out = np.array(
        [
            [placements(np.delete(truth, c), np.delete(s, c)[None]).auc[0] for c in range(9)]
            for s in scores
        ]
    )
    assert mrmc.auc_covariance(truth, scores, "jackknife") == pytest.approx(
        np.cov(left_out) * 8 * 8 / 9, abs=1e-12
    )


def test_mrmc_degenerate(reference):
    scores, truth = crossed(reference)
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
    gap = scores.astype(float)
    gap[0, 1, 2] = np.nan
    with pytest.raises(ValueError, match="modality 1, reader 2, case 3"):
        obuchowski_rockette(gap, truth)
    with pytest.raises(ValueError, match="the design must be"):
        obuchowski_rockette(scores, truth, "both")
    with pytest.raises(ValueError, match="is needed"):
        obuchowski_rockette(scores[0], truth)


def test_alpha_of_measurements_needs_no_table_of_all_values():
    """As many values as ratings: a dense table of pairs for every item would take gigabytes."""
    ratings = np.random.default_rng(1).normal(size=(3, 1500))
    for metric, place in (("interval", lambda x: x), ("ordinal", stats.rankdata)):
        placed = place(ratings.ravel()).reshape(ratings.shape)
        observed, expected = placed.var(axis=0, ddof=1).mean(), placed.var(ddof=1)
        found = krippendorff_alpha(ratings, metric)
        assert found.estimate == pytest.approx(1 - observed / expected, rel=1e-9)
        assert found.low < found.estimate < found.high

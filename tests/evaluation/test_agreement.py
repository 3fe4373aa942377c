"""Agreement coefficients against reference answers, statsmodels and published examples."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from evaluation.agreement import cohen_kappa, fleiss_kappa, gwet_ac1, krippendorff_alpha

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
            result = fleiss_kappa(inputs["counts"])
            values = [
                result.estimate,
                result.observed,
                result.expected,
                result.standard_error,
                result.z,
            ]
            assert values == pytest.approx(
                [e[k] for k in ("kappa", "Pbar", "Pe", "se0", "z")], abs=1e-9
            )
        elif "unw" in e:
            for weights, key in ((None, "unw"), ("linear", "eq"), ("quadratic", "quad")):
                result = cohen_kappa(inputs["table"], weights)
                assert [result.estimate, result.standard_error] == pytest.approx(
                    [e[key], e[f"{key}_ase"]], abs=1e-9
                )
            assert gwet_ac1(inputs["table"]).estimate == pytest.approx(e["gwet_ac1"], abs=1e-9)
        elif e.get("kappa", 0) is None:
            result = cohen_kappa(inputs["table"])
            assert (
                result.estimate is None and result.reason and "not estimable" in result.sentence()
            )


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
def test_single_category_rater_has_kappa_0_without_interval(table, weights):
    result = cohen_kappa(table, weights)
    assert (
        result.estimate == pytest.approx(0, abs=1e-12)
        and result.standard_error == 0
        and result.low is None
        and result.high is None
    )
    assert (
        "one rater used one category only" in result.reason
        and "not estimable: one rater used one category only" in result.sentence()
    )


@pytest.mark.parametrize("n", [3, 49, 5_000, 1_000_003])
def test_perfect_agreement_has_no_interval(n):
    result = cohen_kappa([[n, 0], [0, 1]])
    assert (
        result.estimate == pytest.approx(1)
        and (result.standard_error, result.low, result.high) == (0, None, None)
        and "variance is 0" in result.reason
    )


def test_krippendorff_published_example():
    for metric, expected in (
        ("nominal", 0.743),
        ("ordinal", 0.815),
        ("interval", 0.849),
        ("ratio", 0.797),
    ):
        result = krippendorff_alpha(OBSERVERS, metric)
        assert (
            result.estimate == pytest.approx(expected, abs=6e-4)
            and result.low < result.estimate < result.high
            and result.n == 11
        )


def test_cohen_matches_statsmodels_and_gwet_the_sampling_variance():
    table = [[22, 4, 3], [5, 18, 6], [1, 7, 30]]
    for weights, their_weights in ((None, None), ("linear", "linear"), ("quadratic", "quadratic")):
        expected = cohens_kappa(table, wt=their_weights)
        got = cohen_kappa(table, weights)
        assert [got.estimate, got.standard_error] == pytest.approx(
            [expected.kappa, expected.std_kappa], abs=1e-9
        )
    rng, n = np.random.default_rng(0), np.sum(table)
    samples = rng.multinomial(n, np.ravel(table) / n, 1500)
    spread = np.std([gwet_ac1(counts.reshape(3, 3)).estimate for counts in samples])
    assert gwet_ac1(table).standard_error == pytest.approx(spread, rel=0.08)


def test_fleiss_matches_statsmodels():
    counts = np.random.default_rng(1).multinomial(5, [0.5, 0.3, 0.2], 30)
    result = fleiss_kappa(counts)
    assert (
        result.estimate == pytest.approx(statsmodels_fleiss(counts), abs=1e-12)
        and result.low < result.estimate < result.high
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
    for wrong, message in (
        (lambda: cohen_kappa([[1, 2]]), "square"),
        (lambda: cohen_kappa([[1, 2], [3, 4]], "cubic"), "weights"),
        (lambda: fleiss_kappa([[1, 2], [2, 2]]), "3 to 4 raters"),
        (lambda: krippendorff_alpha([[1]], "cosine"), "metric"),
        (lambda: krippendorff_alpha([["a"], ["b"]], "interval"), "needs numbers"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_alpha_of_continuous_ratings():
    """A dense table of value pairs for every item would need gigabytes."""
    ratings = np.random.default_rng(1).normal(size=(3, 1500))
    for metric, to_position in (("interval", lambda x: x), ("ordinal", stats.rankdata)):
        positions = to_position(ratings.ravel()).reshape(ratings.shape)
        observed, expected = positions.var(axis=0, ddof=1).mean(), positions.var(ddof=1)
        result = krippendorff_alpha(ratings, metric)
        assert result.estimate == pytest.approx(1 - observed / expected, rel=1e-9)
        assert result.low < result.estimate < result.high

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
def test_perfect_agreement_has_a_lower_bound(n):
    bounds = []
    for result in (
        cohen_kappa([[n, 0], [0, n - 1]]),
        gwet_ac1([[n, 0], [0, n - 1]]),
        fleiss_kappa([[3, 0]] * min(n, 49) + [[0, 3]] * min(n, 49)),
    ):
        assert result.estimate == pytest.approx(1) and result.high == pytest.approx(1)
        assert result.reason is None and result.low < 1
        bounds.append(result.low)
    # Exact one-sided bound of the observed agreement of 2n - 1 items, turned into kappa.
    agreed = 0.025 ** (1 / (2 * n - 1))
    assert bounds[0] == pytest.approx(2 * agreed - 1, abs=0.1 if n > 3 else 0.5)


def literal_kappa(p: np.ndarray) -> float:
    chance = sum(p[i].sum() * p[:, i].sum() for i in range(len(p)))
    return (np.trace(p) - chance) / (1 - chance)


def literal_ac1(p: np.ndarray) -> float:
    shares = [(p[i].sum() + p[:, i].sum()) / 2 for i in range(len(p))]
    chance = sum(share * (1 - share) for share in shares) / (len(p) - 1)
    return (np.trace(p) - chance) / (1 - chance)


def test_intervals_are_quantiles_of_a_dirichlet_distribution():
    """A prior of one agreeing item and .75 differing items, spread over the cells."""
    table = np.array([[9, 3, 1], [2, 6, 0], [1, 2, 4]])
    prior = np.full((3, 3), 0.75 / 6)
    np.fill_diagonal(prior, 1 / 3)
    draws = stats.dirichlet((table + prior).ravel()).rvs(6_000, random_state=2).reshape(-1, 3, 3)
    for function, literal in ((cohen_kappa, literal_kappa), (gwet_ac1, literal_ac1)):
        got = function(table)
        expected = np.quantile([literal(draw) for draw in draws], [0.025, 0.975])
        assert [got.low, got.high] == pytest.approx(expected, abs=0.02)


def test_item_intervals_match_the_table_of_two_raters():
    """Two raters: alpha of weighted items and kappa of a weighted table differ by O(1 / n)."""
    counts = np.array([[40, 12], [9, 59]])
    first = np.repeat([0, 0, 1, 1], counts.ravel())
    second = np.repeat([0, 1, 0, 1], counts.ravel())
    alpha, kappa = krippendorff_alpha([first, second]), cohen_kappa(counts)
    assert [alpha.low, alpha.high] == pytest.approx([kappa.low, kappa.high], abs=0.03)
    fleiss = fleiss_kappa([np.bincount(pair, minlength=2) for pair in zip(first, second)])
    assert [fleiss.low, fleiss.high] == pytest.approx([alpha.low, alpha.high], abs=1e-4)


def test_kappa_covers_with_24_items():
    """Wald's interval covers .75 here."""
    margin = np.array([0.85, 0.15])
    table = 0.3 * np.diag(margin) + 0.7 * np.outer(margin, margin)
    rng, kappas, coefficients = np.random.default_rng(5), [], []
    truth = literal_ac1(table)
    for _ in range(200):
        counts = rng.multinomial(24, table.ravel()).reshape(2, 2)
        kappa, ac1 = cohen_kappa(counts), gwet_ac1(counts)
        coefficients.append(ac1.low <= truth <= ac1.high)
        if kappa.low is not None:
            kappas.append(kappa.low <= 0.3 <= kappa.high)
    assert len(kappas) > 150 and np.mean(kappas) > 0.92 and np.mean(coefficients) > 0.92


def test_alpha_covers_with_24_items():
    """Two raters of a rare category who nearly always agree: percentiles cover .78."""
    rng, covered = np.random.default_rng(6), []
    trait = np.sqrt(0.95) * rng.normal(size=200_000)
    whole = trait + np.sqrt(0.05) * rng.normal(size=(2, 200_000)) > 0.84
    differ, share = (whole[0] != whole[1]).mean(), whole.mean()
    truth = 1 - differ / (2 * share * (1 - share))
    for _ in range(100):
        items = rng.choice(200_000, 24)
        result = krippendorff_alpha(whole[:, items].astype(int))
        if result.low is not None:
            covered.append(result.low <= truth <= result.high)
    assert len(covered) > 90 and np.mean(covered) > 0.9


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
    spread = np.std([literal_ac1(counts.reshape(3, 3) / n) for counts in samples])
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
    assert cohen_kappa([[5, 0], [0, 5]]).estimate == 1 and cohen_kappa([[5, 0], [0, 5]]).low < 0.8
    assert "three items" in krippendorff_alpha([[1, 2], [1, 1]]).reason
    assert "three items" in fleiss_kappa([[2, 0], [1, 1]]).reason
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


def test_result_without_data_keeps_its_level_and_reason():
    no_items = fleiss_kappa(np.zeros((0, 3)), level=0.9)
    assert (no_items.estimate, no_items.low, no_items.high) == (None, None, None)
    assert (no_items.reason, no_items.level, no_items.n) == ("there are no items", 0.9, 0)
    assert no_items.method == "Fleiss' kappa"
    same = fleiss_kappa([[4, 0], [4, 0], [4, 0]], level=0.9)
    assert same.reason == "all ratings are the same: chance agreement is 1"
    assert (same.estimate, same.level, same.n) == (None, 0.9, 3)
    two = fleiss_kappa([[3, 1], [0, 4]], level=0.9)
    assert (two.low, two.n, two.reason) == (None, 2, "fewer than three items: no interval")
    assert two.estimate is not None and two.level == 0.9

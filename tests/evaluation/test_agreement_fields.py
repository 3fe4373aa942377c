"""Every field of an agreement result, by the formulas of its definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import scipy

from evaluation.agreement import (
    Agreement,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
)
from evaluation.agreement.posterior import _prior_items
from evaluation.resampling import bayesian_bootstrap_weights

TABLE = np.array([[9, 3, 1], [2, 6, 0], [1, 2, 4]])
N = None
RATINGS = [
    [1, 2, 3, 3, N, 1, 4],
    [1, 2, 2, 3, 2, N, 4],
    [1, 3, 2, N, 2, 4, 1],
    [N, 2, 3, 3, 2, 1, 4],
]


def test_cohen_kappa_and_its_weights() -> None:
    p = TABLE / 28
    for weights, power, name in (
        ("linear", 1, ", linear weights"),
        ("quadratic", 2, ", quadratic weights"),
    ):
        result = cohen_kappa(TABLE, weights, level=0.9)
        agree = [[1 - (abs(i - j) / 2) ** power for j in range(3)] for i in range(3)]
        observed = sum(agree[i][j] * p[i, j] for i in range(3) for j in range(3))
        chance = sum(agree[i][j] * p[i].sum() * p[:, j].sum() for i in range(3) for j in range(3))
        assert result.method == f"Cohen's kappa{name}"
        assert (result.n, result.level, result.reason) == (28, 0.9, None)
        assert (result.observed, result.expected) == pytest.approx((observed, chance))
        assert result.estimate == pytest.approx((observed - chance) / (1 - chance))
        narrower = cohen_kappa(TABLE, weights, level=0.8)
        assert result.low < narrower.low < result.estimate < narrower.high < result.high
    plain = cohen_kappa(TABLE)
    assert (plain.method, plain.level, plain.z, plain.p_value) == (
        "Cohen's kappa",
        0.95,
        None,
        None,
    )
    assert plain.unit == "rated item, taken as independent"
    assert plain.observed == pytest.approx(19 / 28)
    assert plain.expected == pytest.approx((13 * 12 + 8 * 11 + 7 * 5) / 28**2)


def test_cohen_kappa_that_is_not_estimable() -> None:
    none = cohen_kappa(np.zeros((2, 2)), level=0.8)
    assert (none.reason, none.n, none.level) == ("no item was rated by both raters", 0, 0.8)
    one = cohen_kappa([[0, 0], [0, 7]], "linear", 0.8)
    assert (one.reason, one.n, one.level) == (
        *("both raters used one and the same category: chance agreement is 1", 7),
        0.8,
    )
    assert (one.estimate, one.observed, one.method) == (
        *(None, None),
        "Cohen's kappa, linear weights",
    )
    single = cohen_kappa([[3, 4], [0, 0]], level=0.8)
    assert (single.n, single.level) == (7, 0.8)
    assert (single.observed, single.expected) == pytest.approx((3 / 7, 3 / 7))
    # The second rater alone used a single category.
    assert cohen_kappa([[3, 0], [4, 0]]).low is None


def test_gwet_ac1() -> None:
    result = gwet_ac1(TABLE, 0.9)
    shares = [25 / 56, 19 / 56, 12 / 56]
    chance = sum(share * (1 - share) for share in shares) / 2
    assert (result.method, result.n, result.level) == ("Gwet's AC1", 28, 0.9)
    assert (result.observed, result.expected) == pytest.approx((19 / 28, chance))
    assert result.estimate == pytest.approx((19 / 28 - chance) / (1 - chance))
    assert gwet_ac1(TABLE).level == 0.95 and gwet_ac1(TABLE).low < result.low
    for table, n in (([[5]], 5), (np.zeros((2, 2)), 0)):
        none = gwet_ac1(table, 0.8)
        assert (none.reason, none.n, none.level) == (
            *("at least two categories and one rated item are needed", n),
            0.8,
        )


def test_fleiss_kappa() -> None:
    counts = np.array([[4, 0, 0], [3, 1, 0], [0, 4, 0], [1, 1, 2], [2, 2, 0], [0, 1, 3]])
    result = fleiss_kappa(counts, 0.9)
    pairs = [sum(c * (c - 1) for c in row) / 12 for row in counts]
    shares = counts.sum(axis=0) / 24
    observed, chance = np.mean(pairs), (shares**2).sum()
    assert (result.observed, result.expected) == pytest.approx((observed, chance))
    kappa = (observed - chance) / (1 - chance)
    # Fleiss, Nee and Landis 1979, equation 13.
    unlike = sum(s * (1 - s) for s in shares)
    skew = sum(s * (1 - s) * (1 - 2 * s) for s in shares)
    error = np.sqrt(2 / (6 * 4 * 3)) * np.sqrt(unlike**2 - skew) / unlike
    assert (result.estimate, result.standard_error) == pytest.approx((kappa, error))
    assert result.z == pytest.approx(kappa / error)
    assert result.p_value == pytest.approx(2 * scipy.stats.norm.cdf(-kappa / error))
    assert (result.method, result.n, result.level, result.reason) == ("Fleiss' kappa", 6, 0.9, None)
    assert fleiss_kappa(counts).level == 0.95
    assert fleiss_kappa(counts[[1, 3, 5]]).low is not None
    # Disagreement has a two-sided P as well.
    opposed = fleiss_kappa([[1, 1]] * 5)
    assert opposed.z < 0 and opposed.p_value == pytest.approx(2 * scipy.stats.norm.cdf(opposed.z))
    for wrong in ([[1.5, 0.5]], [[-1, 3]], [[np.inf, 1]], [1, 2]):
        with pytest.raises(ValueError, match="counts"):
            fleiss_kappa(wrong)
    with pytest.raises(ValueError, match="1 to 1 raters"):
        fleiss_kappa([[1, 0], [0, 1]])


def literal_alpha(items: list[dict[int, float]], weights: np.ndarray) -> np.ndarray:
    """Return nominal alpha of weighted items in a large population, for each row of weights."""
    sizes = np.array([sum(item.values()) for item in items])
    unlike = np.array([sum(a * (m - a) for a in item.values()) for item, m in zip(items, sizes)])
    total = weights @ sizes
    observed = weights @ (unlike / (sizes - 1)) / total
    shares = [weights @ np.array([item.get(v, 0) for item in items]) / total for v in (1, 2, 3, 4)]
    return 1 - observed / (1 - sum(share**2 for share in shares))


def test_krippendorff_alpha_and_its_interval() -> None:
    columns = [[rater[i] for rater in RATINGS if rater[i] is not None] for i in range(7)]
    items = [{v: float(column.count(v)) for v in set(column)} for column in columns]
    mean = sum(map(len, columns)) / 7
    values = (1, 2, 3, 4)
    prior = [{a: mean / 2, b: mean / 2} for a, b in combinations(values, 2)]
    prior += [{v: mean} for v in values]
    shapes = np.array([1.0] * 7 + [0.75 / 6] * 6 + [1 / 4] * 4)
    for seed in (1, 3):
        draws = literal_alpha(items + prior, bayesian_bootstrap_weights(shapes, 2000, seed))
        result = krippendorff_alpha(RATINGS, level=0.9, seed=seed)
        assert (result.low, result.high) == pytest.approx(
            tuple(np.quantile(draws, [0.05, 0.95])), abs=1e-5
        )
    default = krippendorff_alpha(RATINGS)
    assert default == krippendorff_alpha(RATINGS, "nominal", 0.95, 1)
    assert (result.method, result.n, result.level) == ("Krippendorff's alpha, nominal", 7, 0.9)
    pairs = [sum(a != b for a in c for b in c) / (len(c) - 1) for c in columns]
    whole = [value for column in columns for value in column]
    n = len(whole)
    chance = sum(a != b for a in whole for b in whole) / (n * (n - 1))
    assert (result.observed, result.expected) == pytest.approx((sum(pairs) / n, chance))
    assert result.estimate == pytest.approx(1 - sum(pairs) / n / chance)
    assert (result.standard_error, result.z, result.p_value) == (None, None, None)


@pytest.mark.parametrize("metric", ["interval", "ratio", "ordinal"])
def test_distances_of_krippendorff_alpha(metric: str) -> None:
    ratings = [[0, 2, 5, 9, N, 1], [0, 3, 5, N, 7, 1], [N, 2, 9, 9, 7, 4]]
    columns = [[rater[i] for rater in ratings if rater[i] is not None] for i in range(6)]
    whole = sorted(value for column in columns for value in column)

    def distance(a: float, b: float) -> float:
        if metric == "interval":
            return (a - b) ** 2
        if metric == "ratio":
            return ((a - b) / (a + b)) ** 2 if a + b else 0.0
        low, high = sorted((a, b))
        between = [v for v in whole if low <= v <= high]
        return (len(between) - (whole.count(a) + whole.count(b)) / 2) ** 2 if a != b else 0.0

    n = len(whole)
    observed = sum(sum(distance(a, b) for a in c for b in c) / (len(c) - 1) for c in columns) / n
    chance = sum(distance(a, b) for a in whole for b in whole) / (n * (n - 1))
    result = krippendorff_alpha(ratings, metric)
    assert result.method == f"Krippendorff's alpha, {metric}"
    assert (result.observed, result.expected) == pytest.approx((observed, chance))
    assert result.estimate == pytest.approx(1 - observed / chance)


def test_krippendorff_alpha_that_is_not_estimable() -> None:
    none = krippendorff_alpha([[1, None], [None, 2]], "ratio", 0.8)
    assert (none.n, none.level, none.method) == (0, 0.8, "Krippendorff's alpha, ratio")
    same = krippendorff_alpha([[2, 2, 2], [2, 2, 2]], level=0.8)
    assert (same.estimate, same.n, same.level) == (None, 3, 0.8)
    assert same.reason == "all ratings are the same: there is no disagreement to expect"
    two = krippendorff_alpha([[1, 2], [1, 1]], level=0.8)
    assert (two.n, two.level, two.low) == (2, 0.8, None)
    assert (two.observed, two.expected, two.estimate) == pytest.approx((0.5, 0.5, 0))
    # Three items have an interval.
    assert krippendorff_alpha([[1, 2, 1], [1, 1, 1]]).low is not None
    for ratings, metric, message in (
        ([[1.0, -1], [1, 2]], "ratio", "values of at least 0"),
        ([[1.0, np.inf], [1, 2]], "interval", "finite numbers"),
        ([["b", "c"], ["b", "c"]], "interval", "but 'b' was rated"),
        ([1, 2], "nominal", "must be a table"),
        ([[1, 2], [1]], "nominal", "must be a table"),
    ):
        with pytest.raises(ValueError, match=message):
            krippendorff_alpha(ratings, metric)
    # Nominal values of two types have no common order.
    assert krippendorff_alpha([[1, "a", 2], [1, "a", "b"]]).estimate == pytest.approx(
        1 - (2 / 6) / ((36 - (4 + 4 + 1 + 1)) / 30)
    )
    assert krippendorff_alpha([[0, 1, 2], [0, 1, 1]], "ratio").estimate is not None


def test_prior_of_many_values() -> None:
    """Up to 12 values every pair has a part of the prior; of 13 values 66 pairs are drawn."""
    for values, differing, agreeing in ((12, 66, 12), (13, 66, 12), (4, 6, 4)):
        counts = scipy.sparse.csr_array(np.full((5, values), 0.5))
        table, weights = _prior_items(counts, 1)
        dense = table.toarray()
        assert dense.shape == (differing + agreeing, values)
        assert dense.sum(axis=1) == pytest.approx(values / 2)
        assert ((dense > 0).sum(axis=1) == [2] * differing + [1] * agreeing).all()
        assert weights == pytest.approx([0.75 / differing] * differing + [1 / agreeing] * agreeing)
        assert np.nonzero(dense[-1])[0] == [values - 1] and dense[differing, 0] > 0
    drawn = _prior_items(scipy.sparse.csr_array(np.full((5, 13), 0.5)), 2)[0]
    other = _prior_items(scipy.sparse.csr_array(np.full((5, 13), 0.5)), 3)[0]
    assert (drawn != other).nnz and len(np.unique(drawn.toarray()[:66], axis=0)) > 40
    # Every value is drawn equally often: 2 x 66 values a seed.
    shares = sum(
        (_prior_items(scipy.sparse.csr_array(np.full((5, 13), 0.5)), seed)[0][:66] > 0).sum(axis=0)
        for seed in range(100)
    ) / (2 * 66 * 100)
    assert shares == pytest.approx(1 / 13, rel=0.1)
    # Both values of a pair take every place.
    assert (drawn.toarray()[:66] > 0).any(axis=0).all()


def test_sentence_of_an_agreement() -> None:
    result = Agreement(
        estimate=0.512, standard_error=0.1, low=0.301, high=0.723, method="M", level=0.9, n=1
    )
    assert result.sentence() == "M .512 (90 % CI .301 to .723; 1 item)."
    tested = Agreement(
        estimate=-0.1,
        standard_error=0.1,
        low=None,
        high=None,
        reason="r",
        method="M",
        n=7,
        p_value=0.02,
    )
    assert tested.sentence() == (
        "M −.100 (95 % CI not estimable: r; 7 items, against no agreement P = .020)."
    )
    missing = Agreement.without_interval("M", "r", 0.9, 3)
    assert missing.sentence() == "M not estimable: r."
    whole = Agreement.without_interval("M", "r", 0.9, 3, 0.1, 0.2, 0.3, 0.4)
    assert (whole.estimate, whole.standard_error, whole.observed, whole.expected) == (
        *(0.1, 0.2),
        *(0.3, 0.4),
    )

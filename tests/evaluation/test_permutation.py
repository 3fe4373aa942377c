"""Permutation tests by their formulas, and the sign-flip test by enumeration."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

from evaluation import permutation
from evaluation.permutation import PatientPermutations, sign_flip


@pytest.mark.parametrize(
    "differences", [[3, -1, 2], [4, 1, 1, -5, 2], [-3, -2, 0, 1], [2, 2, -2, -2], [0, 0], []]
)
def test_sign_flip_by_enumeration(differences):
    signs = np.array(list(itertools.product((-1, 1), repeat=len(differences))))
    sums, observed = signs @ np.abs(np.array(differences, int)), sum(differences)
    greater, two_sided, method = sign_flip(differences)
    assert greater == pytest.approx((sums >= observed).mean(), abs=1e-12)
    assert two_sided == pytest.approx((np.abs(sums) >= abs(observed)).mean(), abs=1e-12)
    assert method == "exact"


def test_sign_flip_by_the_normal_distribution(monkeypatch):
    # The sum is 21 and its variance 49 + 9 + 25 + 4 + 81 + 1 = 169, so z = 21 / 13.
    monkeypatch.setattr(permutation, "EXACT_SIGN_FLIP_LIMIT", 26)
    differences = [7, -3, 5, 2, 9, 1, 0]
    greater, two_sided, method = sign_flip(differences)
    assert method == "normal approximation"
    assert greater == pytest.approx(0.0531137, abs=1e-7)
    assert two_sided == pytest.approx(2 * 0.0531137, abs=2e-7)
    less, same, _ = sign_flip([-value for value in differences])
    assert less == pytest.approx(1 - 0.0531137, abs=1e-7) and same == two_sided
    # At the limit itself the test is exact.
    monkeypatch.setattr(permutation, "EXACT_SIGN_FLIP_LIMIT", 27)
    assert sign_flip(differences)[2] == "exact"


SIX = list("aabccd")


def literal_p(observed: float, permuted: list[float]) -> float:
    """Return (1 + permutations at least as extreme) / (1 + permutations), ties by 1e-9."""
    return (1 + sum(value >= observed - 1e-9 for value in permuted)) / (1 + len(permuted))


def test_patients_change_places_with_patients_of_their_size():
    tests = PatientPermutations(SIX, seed=5, permutations=400)
    assert (tests.clusters, tests.codes.tolist()) == (4, [0, 0, 1, 2, 2, 3])
    assert (tests.rows.shape, tests.rows.dtype) == ((400, 6), np.int32)
    # The two patients of two rows and the two of one row are exchanged, rows in their order.
    orders = {tuple(row) for row in tests.rows.tolist()}
    assert orders == {
        (0, 1, 2, 3, 4, 5),
        (3, 4, 2, 0, 1, 5),
        (0, 1, 5, 3, 4, 2),
        (3, 4, 5, 0, 1, 2),
    }
    assert len(PatientPermutations(SIX, seed=5).rows) == permutation.TEST_PERMUTATIONS == 4_999
    assert PatientPermutations([], seed=5, permutations=3).rows.shape == (3, 0)
    same = PatientPermutations(SIX, seed=5, permutations=400)
    assert np.array_equal(same.rows, tests.rows)
    assert not np.array_equal(PatientPermutations(SIX, seed=6, permutations=400).rows, tests.rows)


def test_truth_of_patients_is_exchanged_whatever_their_size():
    tests = PatientPermutations(SIX, seed=5, permutations=300)
    # One truth a patient: the only positive patient becomes each of the four.
    truth = np.array([True, True, False, False, False, False])
    drawn = {tuple(row) for row in tests.permuted_truth(truth).tolist()}
    assert drawn == {tuple(name == one for name in SIX) for one in "abcd"}
    # The orders have a random stream of their own: that of the following seed.
    orders = np.argsort(np.random.default_rng(6).random((300, 4)), axis=1)
    expected = np.array([True, False, False, False])[orders][:, tests.codes]
    assert np.array_equal(tests.permuted_truth(truth), expected)
    # Patient a with two truths: rows change places as in `rows`.
    mixed = np.array([True, False, False, False, False, True])
    assert np.array_equal(tests.permuted_truth(mixed), mixed[tests.rows])


def test_p_values_count_ties_and_never_vanish():
    tests = PatientPermutations(SIX, seed=5, permutations=3)
    assert tests.p_value(2.0, np.array([1.0, 2.0, 2.0 - 1e-10, 3.0])) == 4 / 5
    assert tests.p_value(2.0, np.array([2.0 - 1e-8, 0.0])) == 1 / 3
    # The tolerance grows with the statistic: 1e-9 of a thousand.
    assert tests.p_value(1000.0, np.array([1000.0 - 5e-7, 1000.0 - 2e-6])) == 2 / 3


def test_ordinal_association_by_hand():
    tests = PatientPermutations(list("abcdefg"), seed=2, permutations=200)
    values = np.array([3.0, 1.0, 3.0, 5.0, 2.0, 8.0, 2.0])
    truth = np.array([True, False, False, True, False, False, True])
    # Of 12 pairs: 3 beats 1 and 2, ties 3; 5 beats 1, 3, 2; 2 beats 1, ties 2: 6 + 2 / 2.
    found = tests.ordinal_association(values, truth)
    assert found.auc == pytest.approx(7 / 12)
    ranks = stats.rankdata(values)
    shifts = [abs(ranks[row].sum() - 3 * 4) for row in tests.permuted_truth(truth)]
    assert found.p == pytest.approx(literal_p(abs(ranks[truth].sum() - 12), shifts))
    for same in (np.ones(7), np.zeros(7)):
        assert tests.ordinal_association(values, same.astype(bool)).auc is None
    constant = tests.ordinal_association(np.full(7, 4.0), truth)
    assert (constant.auc, constant.p) == (None, None)
    # Two values that differ are enough for a test.
    assert tests.ordinal_association(np.array([1.0] * 6 + [1.5]), truth).auc == pytest.approx(2 / 3)


def test_categorical_association_by_hand():
    tests = PatientPermutations(list("abcdefg"), seed=4, permutations=200)
    codes = np.array([7, 3, 7, 3, 9, 9, 9])
    truth = np.array([True, False, True, True, False, False, True])
    found = tests.categorical_association(codes, truth)
    # Proportions: 7 has 1, 3 has 1/2, 9 has 1/3. Positives 1, 1, 1/2, 1/3; negatives 1/2, 1/3, 1/3.
    # Pairs of 12: 3 + 3 + (2 + 1/2) + (1/2 + 1/2).
    assert found.auc == pytest.approx(9.5 / 12)

    def between(labels: np.ndarray) -> float:
        sums = [labels[codes == code].sum() ** 2 / (codes == code).sum() for code in (3, 7, 9)]
        return sum(sums) - labels.sum() ** 2 / 7

    permuted = [between(row) for row in tests.permuted_truth(truth)]
    assert found.p == pytest.approx(literal_p(between(truth), permuted))
    for values, labels in ((np.full(7, 3), truth), (codes, truth | True), (codes, truth & False)):
        nothing = tests.categorical_association(values, labels)
        assert (nothing.auc, nothing.p) == (None, None)
    # The number of positives differs between permutations of patients of different size.
    sized = PatientPermutations(SIX, seed=4, permutations=150)
    codes, truth = np.array([1, 2, 1, 2, 2, 1]), np.array([1, 1, 0, 0, 0, 1], dtype=bool)

    def spread(labels: np.ndarray) -> float:
        sums = [labels[codes == code].sum() ** 2 / 3 for code in (1, 2)]
        return sum(sums) - labels.sum() ** 2 / 6

    permuted = [spread(row) for row in sized.permuted_truth(truth)]
    found = sized.categorical_association(codes, truth)
    assert found.p == pytest.approx(literal_p(spread(truth), permuted))


def test_score_correlation_by_hand():
    tests = PatientPermutations(list("abcdef"), seed=9, permutations=200)
    values = np.array([2.0, 7.0, 5.0, 5.0, 1.0, 9.0])
    score = np.array([0.2, 0.4, 0.9, 0.4, 0.1, 0.8])
    found = tests.score_correlation(values, score)
    # The median is .4: 5 and 9 lie above it. Pairs of 8: 5 beats 2 and 1, ties 5; 9 beats all.
    assert found.auc == pytest.approx(6.5 / 8)
    first, second = stats.rankdata(values) - 3.5, stats.rankdata(score) - 3.5
    permuted = [abs(second[row] @ first) for row in tests.rows]
    assert found.p == pytest.approx(literal_p(abs(first @ second), permuted))
    # The sign has no effect.
    reversed_score = tests.score_correlation(-values, score)
    assert (reversed_score.auc, reversed_score.p) == (pytest.approx(1.5 / 8), found.p)
    for one, other in (
        (np.ones(6), score),
        (values, np.ones(6)),
        # No score lies above the median.
        (values, np.array([0.1, 0.5, 0.5, 0.5, 0.5, 0.5])),
    ):
        nothing = tests.score_correlation(one, other)
        assert (nothing.auc, nothing.p) == (None, None)


def test_runs_by_hand():
    tests = PatientPermutations(list("abcdefg"), seed=3, permutations=200)
    truth = np.array([True, False, True, False, True, False, False])
    found = tests.runs_test(truth)
    changes = [
        sum(a != b for a, b in itertools.pairwise(row)) for row in tests.permuted_truth(truth)
    ]
    centre = np.mean(changes)
    assert found.auc is None
    assert found.p == pytest.approx(literal_p(abs(5 - centre), [abs(n - centre) for n in changes]))
    for same in (truth | True, truth & False):
        nothing = tests.runs_test(same)
        assert (nothing.auc, nothing.p) == (None, None)

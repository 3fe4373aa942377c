"""Sign-flip test against enumeration and against the normal distribution, by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from evaluation import permutation
from evaluation.permutation import sign_flip


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

"""Groups of units: planted common causes, definitions by hand, selection by group."""

from __future__ import annotations

import numpy as np
import pytest

from core.interpretation import unit_groups
from core.interpretation.unit_groups import (
    activation_correlations,
    group_units,
    select_frequent_groups,
    top_patch_agreement,
)


def top_rows(activations: np.ndarray, k: int) -> np.ndarray:
    return np.argsort(-activations, axis=0, kind="stable")[:k].T


def planted(noise: float, patches: int = 600) -> np.ndarray:
    """Return activations of three causes with four units each, and two units of their own."""
    rng = np.random.default_rng(5)
    causes = rng.gamma(0.4, 1.0, (patches, 5))
    cause_of = [0, 1, 2] * 4 + [3, 4]
    scale = rng.uniform(0.5, 3.0, 14)
    return (causes[:, cause_of] + noise * rng.random((patches, 14))) * scale


def test_units_of_one_cause_form_a_group() -> None:
    activations = planted(noise=0.2)
    groups = group_units(activations, top_rows(activations, 32), 600)
    assert groups == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11], [12], [13]]


def test_unrelated_units_stay_alone() -> None:
    activations = np.random.default_rng(2).gamma(0.4, 1.0, (600, 30))
    groups = group_units(activations, top_rows(activations, 32), 600)
    assert groups == [[unit] for unit in range(30)]


def test_equal_top_patches_alone_or_correlation_alone_do_not_join_units() -> None:
    rng = np.random.default_rng(3)
    # The same top patches in random order, and unrelated values below.
    activations = rng.random((400, 2))
    activations[:20] += 10 * rng.random((20, 2)) ** 8 + 1
    assert len(set(map(frozenset, top_rows(activations, 20)))) == 1
    assert np.corrcoef(activations.T)[0, 1] < 0.6 * 2 - 0.9
    apart = np.stack([np.arange(40), np.arange(20, 60)])
    assert group_units(activations, apart, 400) == [[0], [1]]


def test_correlations_are_pearsons_over_all_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    activations = planted(noise=1.0).astype(np.float32)
    activations[:, 3] = 2.5
    expected = np.corrcoef(np.delete(activations, 3, axis=1).astype(float).T)
    for rows in (4096, 37):
        monkeypatch.setattr(unit_groups, "_BLOCK_ROWS", rows)
        found = activation_correlations(activations)
        # A unit with one value is related to nothing but itself.
        assert found[3].tolist() == [0, 0, 0, 1] + 10 * [0]
        assert np.delete(np.delete(found, 3, 0), 3, 1) == pytest.approx(expected, abs=1e-5)


def test_agreement_of_top_patches_is_zero_on_average_for_independent_units() -> None:
    rng = np.random.default_rng(1)
    top = np.stack([rng.permutation(50)[:10] for _ in range(120)])
    found = top_patch_agreement(top, 50)
    pair = (len(set(top[4]) & set(top[9])) / 10 - 0.2) / 0.8
    assert found[4, 9] == pytest.approx(pair)
    assert abs(found[~np.eye(120, dtype=bool)].mean()) < 0.01
    # Where every patch is a top patch, having them in common says nothing.
    assert top_patch_agreement(np.stack([np.arange(5)] * 2), 5).tolist() == np.eye(2).tolist()


def test_groups_are_selected_by_the_slots_of_all_their_units() -> None:
    top = np.array([[4, 0], [4, 1], [4, 2], [3, 2]])
    # Unit 4 is the most frequent one, but the group of 0, 1 and 2 has more slots.
    chosen = select_frequent_groups(top, [[0, 1, 2, 5], [4], [3]], number=1)
    assert chosen.units.tolist() == [2, 0, 1] and chosen.counts.tolist() == [2, 1, 1]
    both = select_frequent_groups(top, [[0, 1, 2, 5], [4], [3]], number=2)
    assert both.units.tolist() == [2, 0, 1, 4]


def test_few_units_and_no_patches() -> None:
    assert group_units(np.ones((3, 1)), np.zeros((1, 2), int), 3) == [[0]]
    two = np.random.default_rng(1).random((20, 1)) * [1, 3]
    assert group_units(two, top_rows(two, 4), 20) == [[0, 1]]
    assert activation_correlations(np.ones((0, 2))).tolist() == [[1, 0], [0, 1]]

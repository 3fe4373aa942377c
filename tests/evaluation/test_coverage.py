"""Unit coverage against reference answers and counting, and its companions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from evaluation.coverage import (
    coverage_curve,
    coverage_from_top_units,
    fixed_selection_coverage,
    held_out_coverage,
    labelled_coverage,
    split_half_coverage,
    top_influential_units,
    unit_coverage,
)
from evaluation.resampling import multinomial_bootstrap_weights, percentile_bounds


def test_reference_coverage(reference):
    file = reference("unit_coverage")
    for case in file["cases"]:
        inputs, e = case.get("inputs"), case["expected"]
        got = unit_coverage(
            file["inputs"]["max_activation"],
            file["inputs"]["class_weight"],
            inputs["top"],
            inputs["n_select"],
        )
        for key, part in e["per_class"].items():
            ours = got.per_class[int(key)]
            assert [unit + 1 for unit in ours.selected] == part["selected_units_1based"] and list(
                ours.counts
            ) == part["counts"]
            assert ours.coverage_percent == pytest.approx(part["coverage_percent"], abs=1e-9)
        assert [unit + 1 for unit in got.union] == e["union"] and len(got.union) == e["union_size"]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_coverage_by_counting(seed):
    rng = np.random.default_rng(seed)
    activations, weights = (
        rng.integers(0, 4, (9, 12)).astype(float),
        rng.integers(-2, 3, (2, 12)).astype(float),
    )
    got = unit_coverage(activations, weights, top=3, select=4)
    for c in range(2):
        counter = Counter()
        for image in activations:
            influence = image * weights[c]
            counter.update(sorted(range(12), key=lambda u: (-influence[u], u))[:3])
        chosen = sorted(counter, key=lambda u: (-counter[u], u))[:4]
        assert got.per_class[c].selected == tuple(chosen)
        assert got.per_class[c].coverage == pytest.approx(sum(counter[u] for u in chosen) / 27)


def noise_tops(images: int = 60, units: int = 200):
    rng = np.random.default_rng(0)
    return (
        top_influential_units(rng.random((images, units)), rng.random((2, units)), 8),
        units,
        np.repeat(np.arange(images // 2), 2),
    )


def test_split_half_is_below_optimistic_coverage():
    tops, units, patients = noise_tops()
    optimistic = coverage_from_top_units(tops, units).per_class[0].coverage
    split_half = split_half_coverage(tops, patients, units)[0]
    assert (
        split_half.estimate < optimistic
        and split_half.low <= split_half.estimate <= split_half.high
    )
    whole = held_out_coverage(tops, tops, units)
    assert whole[0] == pytest.approx(optimistic)
    # Twenty units are selected, as in the publication.
    twenty, more = (split_half_coverage(tops, patients, units, n)[0].estimate for n in (20, 21))
    assert split_half.estimate == twenty < more


def test_split_half_by_its_formula():
    """Every split by loops over patients; a t interval of the mean share on the logit scale."""
    rng = np.random.default_rng(3)
    patients = np.repeat(np.arange(11), rng.integers(1, 4, 11))
    tops = rng.integers(0, 9, (1, len(patients), 3)) % rng.integers(1, 10, (1, len(patients), 3))
    got = split_half_coverage(tops, patients, 9, select=2, repeats=6, seed=4)[0]
    generator, shares, variances = np.random.default_rng(4), [], []
    for _ in range(6):
        drawn = set(generator.permutation(11)[:5].tolist())
        for half in (drawn, set(range(11)) - drawn):
            counter = Counter(
                int(unit) for row, p in zip(tops[0], patients) if p in half for unit in row
            )
            chosen = sorted(counter, key=lambda u: (-counter[u], u))[:2]
            rest = sorted(set(range(11)) - half)
            hits = [np.isin(tops[0][patients == p], chosen).sum() for p in rest]
            sizes = [3 * (patients == p).sum() for p in rest]
            share = sum(hits) / sum(sizes)
            squares = sum((h - share * n) ** 2 for h, n in zip(hits, sizes))
            variances.append(len(rest) / (len(rest) - 1) * squares / sum(sizes) ** 2)
            shares.append(share)
    p, error = np.mean(shares), np.sqrt(np.mean(variances) / 2)
    centre, half = np.log(p / (1 - p)), stats.t.ppf(0.975, 4) * error / (p * (1 - p))
    expected = [p, 1 / (1 + np.exp(half - centre)), 1 / (1 + np.exp(-half - centre))]
    assert [got.estimate, got.low, got.high] == pytest.approx(expected, abs=1e-10)


def test_split_half_covers_without_optimism():
    """The coverage of the units that chance selected from equal ones is 4 / 40."""
    rng, covered = np.random.default_rng(8), []
    for _ in range(120):
        tops = rng.permuted(np.tile(np.arange(40), (1, 24, 1)), axis=2)[:, :, :6]
        interval = split_half_coverage(tops, np.arange(24), 40, select=4, repeats=10)[0]
        covered.append(interval.low <= 0.1 <= interval.high)
        assert interval.high < coverage_from_top_units(tops, 40, 4).per_class[0].coverage + 0.05
    assert np.mean(covered) > 0.92


def test_coverage_curve_and_labels():
    tops, units, _ = noise_tops()
    plain = coverage_from_top_units(tops, units)
    curve = coverage_curve(tops, units, 30)
    assert (
        curve[0, 19] == pytest.approx(plain.per_class[0].coverage)
        and (np.diff(curve, axis=1) >= 0).all()
    )
    selected = plain.per_class[0].selected
    assert labelled_coverage(tops[0], selected, selected) == pytest.approx(
        plain.per_class[0].coverage
    )
    assert (
        labelled_coverage(tops[0], selected, []) == 0
        and plain.per_class[0].chance == 0.1
        and "%" in plain.sentence()
    )


def test_coverage_degenerate():
    empty = unit_coverage(np.empty((0, 30)), np.ones((1, 30)))
    assert (
        empty.per_class[0].coverage is None
        and empty.per_class[0].reason
        and "not estimable" in empty.sentence()
    )
    tops, units, _ = noise_tops()
    one = ["a"] * 60
    assert (
        "1 patient cannot be split" in split_half_coverage(tops, one, units)[0].reason
        and fixed_selection_coverage(tops, one, [1])[0].reason
    )
    everything = split_half_coverage(tops, list("abcdef") * 10, units, select=units)[0]
    assert everything.low is None or everything.high < 1
    constant = split_half_coverage(np.zeros((1, 8, 1), dtype=int), np.arange(8), 3, select=1)[0]
    assert (
        constant.estimate == 1
        and constant.low is None
        and constant.reason == "every half of the patients gives the same share"
    )
    for wrong in (
        lambda: unit_coverage(np.ones((2, 5)), np.ones((1, 4))),
        lambda: unit_coverage(np.ones((2, 5)), np.ones((1, 5))),
        lambda: unit_coverage(np.full((2, 9), np.nan), np.ones((1, 9))),
        lambda: coverage_from_top_units(tops, units, 0),
    ):
        with pytest.raises(ValueError):
            wrong()


def test_fields_and_sentence_of_a_coverage():
    """Two classes of three images; of the units 5, 1, 0, ... the most frequent and lowest count."""
    tops = np.array([[[5, 1], [5, 0], [1, 5]], [[2, 3], [3, 4], [0, 3]]])
    found = coverage_from_top_units(tops, 8, select=2)
    first, second = found.per_class
    assert (first.selected, first.counts, first.coverage) == ((5, 1), (3, 2), 5 / 6)
    assert (second.selected, second.counts, second.coverage) == ((3, 0), (3, 1), 4 / 6)
    assert (first.chance, first.images, first.slots, first.reason) == (2 / 8, 3, 6, None)
    assert (found.union, found.top, found.select, found.unit) == ((0, 1, 3, 5), 2, 2, "image")
    assert first.coverage_percent == pytest.approx(500 / 6)
    assert found.sentence() == (
        "The 2 units most often among the 2 most influential take 83.33 % / 66.67 % of the slots of"
        " each class (4 distinct units; measured on the images that chose the units: optimistic)."
    )
    # Units that never occur are not selected, and chance is at most 1.
    whole = coverage_from_top_units(tops, 8).per_class[0]
    assert whole.selected == (5, 1, 0) and (whole.coverage, whole.chance) == (1, 1)
    assert coverage_from_top_units(tops, 8, 1).select == 1
    assert coverage_curve(tops, 8, 3).tolist() == [[3 / 6, 5 / 6, 1], [3 / 6, 4 / 6, 5 / 6]]
    other = np.array([[[1, 1], [7, 7]], [[3, 0], [0, 5]]])
    assert held_out_coverage(tops, other, 8, 2) == (2 / 4, 3 / 4)
    assert held_out_coverage(tops, other[:, :0], 8, 2) == (None, None)
    assert held_out_coverage(tops, other, 8) == (2 / 4, 3 / 4)
    assert unit_coverage(np.ones((3, 30)), np.ones((1, 30))).top == 8
    assert top_influential_units([[1, 5, 2]], [[1, -1, 4]], 3).tolist() == [[[2, 0, 1]]]
    assert top_influential_units([[1, 1]], [[1, 1]], 1).tolist() == [[[0]]]
    for wrong, message in (
        (lambda: top_influential_units([[1, 2]], np.empty((0, 2)), 1), "no classes"),
        (lambda: top_influential_units([[1, 2]], [[1, 2]], 0), "0 top units of 2"),
        (lambda: top_influential_units([[1, 2]], [[1, np.inf]], 1), "not a finite number"),
        (lambda: top_influential_units([1, 2], [[1, 2]], 1), "are needed"),
    ):
        with pytest.raises(ValueError, match=message):
            wrong()


def test_bounds_of_a_given_selection():
    """Expanded percentiles of resampled patients of unequal size."""
    rng = np.random.default_rng(2)
    patients = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5, 5])
    tops = rng.integers(0, 5, (2, 10, 3))
    found = fixed_selection_coverage(tops, patients, [1, 3], level=0.9, seed=4)
    weights = multinomial_bootstrap_weights(6, 1000, 4)
    for part, interval in zip(tops, found):
        hits = [np.isin(part[patients == p], [1, 3]).sum() for p in range(6)]
        slots = [3 * (patients == p).sum() for p in range(6)]
        expected = percentile_bounds((weights @ hits) / (weights @ slots), 0.9, 6)
        assert (interval.low, interval.high) == pytest.approx(expected)
        assert interval.estimate == pytest.approx(np.isin(part, [1, 3]).mean())
        assert (interval.level, interval.unit) == (0.9, "patient")
        assert interval.method == "patient bootstrap, 1000 resamples, units given"
    default = fixed_selection_coverage(tops, patients, [1, 3])
    assert default == fixed_selection_coverage(tops, patients, [1, 3], 0.95, 1000, 1)
    (same,) = fixed_selection_coverage(tops[:1], patients, range(5))
    assert (same.estimate, same.low, same.reason) == (
        *(1, None),
        "every resample gives the same share",
    )
    assert fixed_selection_coverage(tops, [0] * 5 + [1] * 5, [1])[0].low is not None
    halves = split_half_coverage(tops, patients, 5, 2, 0.8)[0]
    assert halves == split_half_coverage(tops, patients, 5, 2, 0.8, 100, 1)[0]
    assert (halves.level, halves.method) == (0.8, "split-half by patient, 100 splits")
    assert split_half_coverage(tops, patients, 5)[0].level == 0.95
    # Three patients cannot be split, four can.
    few = split_half_coverage(tops, [0, 1, 2] * 3 + [0], 5, 2, 0.8)[0]
    assert (few.reason, few.level, few.estimate) == (
        *("3 patients cannot be split into halves of two or more", 0.8),
        None,
    )
    assert split_half_coverage(tops, [0, 1, 2, 3] * 2 + [0, 1], 5, 2)[0].estimate is not None

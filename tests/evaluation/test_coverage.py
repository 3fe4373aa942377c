"""Unit coverage against reference answers and counting, and its companions."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluation.coverage import (
    coverage_curve,
    coverage_from_top_units,
    coverage_interval,
    held_out_coverage,
    labelled_coverage,
    split_half_coverage,
    top_influential_units,
    unit_coverage,
)


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


def test_coverage_interval_curve_and_labels():
    tops, units, patients = noise_tops()
    plain = coverage_from_top_units(tops, units)
    interval = coverage_interval(tops, patients, units)[0]
    # Selecting anew in each resample adds optimism: the interval may lie above the estimate but
    # never far from it.
    assert (
        interval.estimate == plain.per_class[0].coverage
        and abs(interval.low - interval.estimate) < 0.15
    )
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
        split_half_coverage(tops, one, units)[0].reason
        and coverage_interval(tops, one, units)[0].reason
    )
    everything = coverage_interval(tops, ["a", "b"] * 30, units, select=units)[0]
    assert (
        everything.estimate == 1
        and everything.low is None
        and everything.reason == "every resample gives the same share"
    )
    for wrong in (
        lambda: unit_coverage(np.ones((2, 5)), np.ones((1, 4))),
        lambda: unit_coverage(np.ones((2, 5)), np.ones((1, 5))),
        lambda: unit_coverage(np.full((2, 9), np.nan), np.ones((1, 9))),
        lambda: coverage_from_top_units(tops, units, 0),
    ):
        with pytest.raises(ValueError):
            wrong()

"""The comparison of attention for the image and for groups of units, on small SIMULATED data."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import unit_group_attention as benchmark


def test_only_scores_that_see_the_columns_tell_groups_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(benchmark, "STEPS", 60)
    data = benchmark.simulate_patients(np.random.default_rng(1), 600, 2.0)
    test = benchmark.simulate_patients(np.random.default_rng(2), 600, 2.0)
    slopes = {
        name: benchmark.measure(benchmark.fit(form, data, 1), test)[1]
        for name, form in benchmark.FORMS.items()
    }
    assert np.allclose(slopes["image"], 0, atol=1e-5)
    assert np.abs(slopes["groups"]).max() < 0.05
    seen = slopes["groups, score depends on columns"]
    assert seen.argmax() == benchmark.PRODUCT_GROUP and seen.max() > 0.1


def test_regression_finds_the_product_and_nothing_else() -> None:
    data = benchmark.simulate_patients(np.random.default_rng(3), 2000, 1.0)
    _, p_values = benchmark.fit_products(data)
    assert p_values[benchmark.PRODUCT_GROUP] < 0.001
    assert (np.delete(p_values, benchmark.PRODUCT_GROUP) > 0.01).all()

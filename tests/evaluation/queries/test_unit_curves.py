"""Curves of a unit's activations, and the units most similar to it, on small arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from evaluation.queries import units


def test_curves_of_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    by_class = {
        "a": np.array([0, 0, 0.5, 1.0, 1.5, 2.0, 2.5, 8.0]),
        "b": np.array([0.0, 3.0]),
        "c": np.array([0.0, 1.0, 1.0]),
        "d": np.array([0.0]),
    }
    monkeypatch.setattr(units, "activations_by_class", lambda *_: by_class)
    curves = units.activation_curves(Path(), "d", 1)
    assert curves.values == pytest.approx((np.arange(200) + 0.5) * 0.04)
    assert curves.zero_share == 5 / 14 and list(curves.densities) == ["a"]
    # Silverman: .9 of the smaller of standard deviation and interquartile range / 1.34, n^-1/5.
    given = by_class["a"][2:]
    q = np.quantile(given, [0.25, 0.75])
    width = 0.9 * min(given.std(), (q[1] - q[0]) / 1.34) * 6**-0.2
    counts = np.histogram(given, np.linspace(0, 8, 201))[0].astype(float)
    smooth = gaussian_filter1d(counts, width / 0.04)
    assert curves.densities["a"] == pytest.approx(smooth / smooth.max())
    # Half of the values are equal: the standard deviation is left.
    by_class["a"] = np.array([1.0, 1, 1, 1, 5])
    curves = units.activation_curves(Path(), "d", 1, 50)
    counts = np.histogram(by_class["a"], np.linspace(0, 5, 51))[0].astype(float)
    smooth = gaussian_filter1d(counts, 0.9 * by_class["a"].std() * 5**-0.2 / 0.1)
    assert curves.densities["a"] == pytest.approx(smooth / smooth.max())
    by_class.update(dict.fromkeys("abcd", np.array([-2.0, -1.0, 0.0])))
    negative = units.activation_curves(Path(), "d", 1, 4)
    assert negative.values == pytest.approx([-1.625, -0.875, -0.125, 0.625])


def test_similar_units(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    activations = rng.random((30, 5))
    top = np.array([[0, 1, 2], [1, 2, 3], [4, 5, 6], [2, 1, 0], [7, 8, 9]])
    similar = np.array([[1, 0.4, 0.7, 0.4, 0.1]] + [[0.0] * 5] * 4)
    responses = units.UnitResponses(
        **dict.fromkeys(units.UnitResponses.__dataclass_fields__)
        | {"activations": activations, "top": top, "split": "holdout"}
    )
    monkeypatch.setattr(units, "_similarity_matrices", lambda *_: (similar, responses))
    found = units.similar_units(Path(), "d", 0, 3)
    # Of equal similarity the first.
    assert [(one.unit, one.similarity, one.shared) for one in found] == [
        (2, 0.7, 0),
        (1, 0.4, 2),
        (3, 0.4, 3),
    ]
    for one in found:
        expected = np.corrcoef(activations[:, 0], activations[:, one.unit])[0, 1]
        assert one.correlation == pytest.approx(expected)
        assert (one.top, one.patches, one.split) == (3, 30, "holdout")
    assert len(units.similar_units(Path(), "d", 0)) == 4

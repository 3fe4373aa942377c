from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from core.errors import UserError
from core.images.polygons import fill_polygons, scale_polygons, trace_mask


def test_fill_polygons() -> None:
    square = np.array([[1, 1], [4, 1], [4, 3], [1, 3]], float)
    mask = fill_polygons([square], (6, 6))
    assert mask.sum() == 12 and mask[1:4, 1:5].all()
    assert fill_polygons([square + 3], (6, 6)).sum() == 4, "columns 4 and 5, rows 4 and 5"
    assert fill_polygons([np.array([[2.2, 3.3]])], (6, 6)).sum() == 1, "a point has one pixel"
    assert (
        not fill_polygons([np.zeros((0, 2))], (6, 6)).any() and not fill_polygons([], (6, 6)).any()
    )


def test_point_that_is_not_a_number() -> None:
    with pytest.raises(UserError, match="Point 2 of an outline is not a number"):
        fill_polygons([np.array([[1, 1], [np.nan, 2], [3, 3]])], (6, 6))


def test_union_of_polygons() -> None:
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2]], float)
    assert fill_polygons([square, square + 1], (6, 6)).sum() == 14


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.floats(0.1, 0.95))
def test_traced_mask_fills_to_itself(seed: int, height: int, width: int, density: float) -> None:
    mask = np.random.default_rng(seed).uniform(size=(height, width)) < density
    assert (fill_polygons(trace_mask(mask), mask.shape) == ndimage.binary_fill_holes(mask)).all()


def test_traced_ellipse() -> None:
    y, x = np.mgrid[:200, :300]
    mask = ((x - 150) / 120) ** 2 + ((y - 90) / 60) ** 2 < 1
    polygons = trace_mask(mask)
    assert len(polygons) == 1 and (fill_polygons(polygons, mask.shape) == mask).all()


def test_scale_polygons() -> None:
    square = np.array([[9.5, 19.5], [49.5, 19.5], [49.5, 79.5], [9.5, 79.5]])
    half = fill_polygons(scale_polygons([square], (0.5, 0.5)), (60, 60))
    assert abs(int(half.sum()) - 600) <= 60
    ys, xs = np.nonzero(half)
    assert abs(xs.mean() - 14.5) <= 0.5 and abs(ys.mean() - 24.5) <= 0.5

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from core.errors import UserError
from core.images.polygons import _corners, fill_polygons, scale_polygons, trace_mask


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


@pytest.mark.parametrize(
    ("contour", "corners"),
    [
        # Repeated points and points of straight sides go, also where the contour begins with one.
        (
            [[0, 0], [1, 0], [2, 0], [2, 0], [2, 1], [1, 1], [0, 1], [0, 0]],
            [[0, 0], [2, 0], [2, 1], [0, 1]],
        ),
        ([[1, 0], [2, 0], [2, 1], [0, 1], [0, 0], [1, 0]], [[2, 0], [2, 1], [0, 1], [0, 0]]),
        ([[0, 0], [2, 0], [2, 1]], [[0, 0], [2, 0], [2, 1]]),
        ([[0, 0], [3, 0], [0, 0]], [[0, 0], [3, 0]]),
        ([[3, 4], [3, 4], [3, 4]], [[3, 4]]),
        ([[3, 4]], [[3, 4]]),
    ],
)
def test_corners_of_contours(contour: list[list[int]], corners: list[list[int]]) -> None:
    assert _corners(np.array(contour)).tolist() == corners


def test_scaled_corners_by_hand() -> None:
    """Pixel 0 covers -.5 to .5: doubled it covers -.5 to 1.5, and its centre is at .5."""
    first, second = scale_polygons([np.array([[0, 0], [2, 1]]), np.array([[4, 9]])], (2.0, 3.0))
    assert first.tolist() == [[0.5, 1.0], [4.5, 4.0]] and second.tolist() == [[8.5, 28.0]]


def test_traced_pixels() -> None:
    assert trace_mask(np.zeros((3, 4), bool)) == ()
    mask = np.zeros((5, 7), bool)
    mask[3, 5] = mask[0, 1] = mask[0, 2] = True
    found = {tuple(map(tuple, polygon.tolist())) for polygon in trace_mask(mask)}
    assert {frozenset(polygon) for polygon in found} == {
        frozenset({(5.0, 3.0)}), frozenset({(1.0, 0.0), (2.0, 0.0)}),
    }  # fmt: skip

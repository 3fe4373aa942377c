"""Outlines that cannot be right are recognised, and plausible ones are not doubted."""

from __future__ import annotations

import numpy as np
import pytest

from core.images.finding_checks import check_finding, outline_plausibility, pixel_count
from core.images.polygons import fill_polygons

SHAPE = (300, 200)


@pytest.fixture
def breast() -> np.ndarray:
    """Return a breast at the left edge, in the lower part of the film."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (x / 110) ** 2 + ((y - 190) / 90) ** 2 < 1


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)


def issue_codes(breast: np.ndarray, *corners: float, scale: float = 1.0, **more: bool) -> list[str]:
    polygon = box(*corners)
    mask = fill_polygons([polygon], SHAPE)
    return [i.code for i in check_finding(mask, breast, pixel_count([polygon * scale]), **more)]


def test_plausible_outlines(breast: np.ndarray) -> None:
    assert issue_codes(breast, 20, 150, 60, 190) == []
    assert issue_codes(breast, 0, 170, 30, 200) == []  # at the chest wall
    # A fifth of the box is on the skin side of the border.
    assert issue_codes(breast, 70, 170, 115, 210) == []


def test_outlines_outside_the_breast(breast: np.ndarray) -> None:
    assert issue_codes(breast, 139, 150, 179, 190) == ["outside_breast"]  # flipped left to right
    assert issue_codes(breast, 20, 40, 60, 80) == ["outside_breast"]  # flipped top to bottom
    mask = fill_polygons([box(139, 150, 179, 190)], SHAPE)
    [issue] = check_finding(mask, breast, 1600.0)
    assert issue.cause == (
        "100% of the outline is outside the breast; mirrored left to right, 100% would be inside:"
        " flipped?"
    )
    [issue] = check_finding(fill_polygons([box(170, 2, 195, 30)], SHAPE), breast, 700.0)
    assert issue.cause == "100% of the outline is outside the breast: other units?"


def test_mirrored_position_is_more_plausible(breast: np.ndarray) -> None:
    # A quarter is outside at the upper border; mirrored it is inside.
    assert issue_codes(breast, 10, 94, 60, 134) == ["mirrored_position"]


def test_shares_inside_by_hand() -> None:
    breast = np.zeros((4, 4), bool)
    breast[3, :3] = True
    mask = np.zeros((4, 4), bool)
    mask[0, 2:] = True
    shares = outline_plausibility(mask, breast)
    assert (shares.as_given, shares.mirrored_x, shares.mirrored_y, shares.rotated) == (
        0.0,
        0.0,
        0.5,
        1.0,
    )


def test_border_and_whole_film(breast: np.ndarray) -> None:
    assert issue_codes(breast, 0, 40, 1, 200) == ["border_only"]
    assert issue_codes(breast, 50, 299, 90, 299) == ["border_only"]
    assert issue_codes(breast, 0, 0, 199, 299) == ["whole_film"]
    assert issue_codes(breast, 0, 95, 115, 285) == ["whole_film"]  # the whole breast


def test_small_outlines(breast: np.ndarray) -> None:
    assert issue_codes(breast, 40, 150, 41, 151) == ["too_small"]  # 4 pixels
    assert issue_codes(breast, 40, 150, 42, 152) == []  # 9 pixels
    assert issue_codes(breast, 40, 150, 41, 151, is_calcification=True) == []
    # The size in the source image counts, not that in the working image.
    assert issue_codes(breast, 40, 150, 41, 151, scale=4) == []


def test_unknown_breast_gives_no_position() -> None:
    nothing = np.zeros(SHAPE, bool)
    assert issue_codes(nothing, 139, 150, 179, 190) == []


def test_pixel_count_of_filled_masks() -> None:
    """Pick's theorem gives the number of filled pixels of lattice polygons."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        left, top, width, height = rng.integers(1, 40, 4)
        polygon = box(left, top, left + width, top + height)
        assert pixel_count([polygon]) == fill_polygons([polygon], SHAPE).sum()

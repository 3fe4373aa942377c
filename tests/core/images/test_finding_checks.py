"""Outlines that cannot be right are recognised, and plausible ones are not doubted."""

from __future__ import annotations

import numpy as np
import pytest

from core.images.finding_checks import (
    PlacedOutline,
    check_finding,
    check_outlines_jointly,
    films_of_other_side,
    fits_scaled,
    outline_plausibility,
    pixel_count,
    usual_size_factors,
)
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


def test_a_small_difference_suffices_where_the_mirrored_outline_fits(breast: np.ndarray) -> None:
    # 91 % of it are inside, then 96 %; mirrored top to bottom, all of it would be.
    assert issue_codes(breast, 2, 100, 42, 130) == ["mirrored_position"]
    assert issue_codes(breast, 2, 102, 42, 132) == []


def test_small_outlines_that_fit_when_enlarged(breast: np.ndarray) -> None:
    """An outline in units of an image of a quarter of the width lies in the upper left corner."""
    whole = np.ones(SHAPE, bool)
    original = box(40, 180, 60, 200)
    mask = fill_polygons([original / 4], SHAPE)
    assert [i.code for i in check_finding(mask, whole, 400.0)] == ["other_units"]
    assert check_finding(mask, whole, 400.0, is_calcification=True) == []
    # Enlarged it would lie in the air, or leave the film, or it is not small.
    assert check_finding(mask, whole & (np.arange(SHAPE[1]) < 30), 400.0) == []
    assert check_finding(fill_polygons([box(60, 20, 65, 25)], SHAPE), whole, 400.0) == []
    assert check_finding(fill_polygons([box(20, 20, 27, 27)], SHAPE), whole, 400.0) == []


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


def test_small_outlines_are_doubtful_unless_they_are_calcifications() -> None:
    breast = np.zeros((400, 300), bool)
    breast[100:300, :150] = True
    # 2 pixels of 300 are below 1 % of the width; 20 source pixels are more than enough.
    mask = np.zeros_like(breast)
    mask[200:202, 50:52] = True
    assert [issue.code for issue in check_finding(mask, breast, 20.0)] == ["too_small"]
    assert check_finding(mask, breast, 20.0, is_calcification=True) == []
    mask[200:203, 50:53] = True
    assert check_finding(mask, breast, 20.0) == []


def outlines(spans: list[tuple[float, float]], misplaced: int = 0) -> list[PlacedOutline]:
    return [PlacedOutline(top, bottom, k < misplaced) for k, (top, bottom) in enumerate(spans)]


def test_outlines_of_a_source_together() -> None:
    spread = [(0.2, 0.3), (0.7, 0.8)] * 15
    assert check_outlines_jointly(outlines(spread)) == ""
    # Two misplaced outlines, or less than a tenth, are faults of single films.
    assert check_outlines_jointly(outlines(spread[:8], misplaced=2)) == ""
    assert check_outlines_jointly(outlines(spread + spread[:1], misplaced=3)) == ""
    assert check_outlines_jointly(outlines(spread, misplaced=3)) == (
        "3 of the 30 outlines of the source are misplaced: flipped, or other units?"
    )
    # All at the top or at the bottom: eight are enough, seven are not, nor are seven and another.
    for low, span in (("top", (0.1, 0.39)), ("bottom", (0.61, 0.9))):
        assert f"at the {low} of their films" in check_outlines_jointly(outlines([span] * 8))
        assert check_outlines_jointly(outlines([span] * 7)) == ""
        assert check_outlines_jointly(outlines([span] * 8 + [(0.45, 0.55)])) == ""
    assert check_outlines_jointly([]) == ""


def test_films_of_the_other_side() -> None:
    usual = {f"L{k}": ("LEFT", "left") for k in range(10)}
    usual |= {f"R{k}": ("RIGHT", "right") for k in range(10)}
    assert films_of_other_side(usual) == []
    assert films_of_other_side(usual | {"X": ("RIGHT", "left")}) == ["X"]
    # The convention may be the opposite one.
    other = {"LEFT": "right", "RIGHT": "left"}
    opposite = {name: (side, other[side]) for name, (side, _) in usual.items()}
    assert films_of_other_side(opposite | {"X": ("RIGHT", "right")}) == ["X"]
    # Sources that show every chest wall at the left, films of unknown side, and small sources.
    assert films_of_other_side({name: (side, "left") for name, (side, _) in usual.items()}) == []
    assert films_of_other_side(usual | {"X": ("UNKNOWN", "left"), "Y": ("LEFT", "")}) == []
    # A third of the films may deviate, and one film of a source with all chest walls at the left.
    many = {f"X{k}": ("LEFT", "right") for k in range(9)}
    assert films_of_other_side(usual | many) == sorted(many)
    at_left = {name: (side, "left") for name, (side, _) in usual.items()}
    assert films_of_other_side(at_left | {"X": ("RIGHT", "right")}) == ["X"]
    few = dict(list(usual.items())[:18])
    assert films_of_other_side(few | {"X": ("RIGHT", "left")}) == []


def test_factors_of_outlines_of_unusual_size() -> None:
    usual = [0.1 + 0.001 * k for k in range(20)]
    assert usual_size_factors(usual) == [None] * 20
    # Half as much again as the range of the middle 80 % is usual, both ways; more is not.
    low, median, high = np.quantile([*usual, 0.2], [0.1, 0.5, 0.9])
    assert 1.5 * high < 0.2 and usual_size_factors([*usual, 0.2])[-1] == median / 0.2
    assert 1.5 * high > 0.17 and usual_size_factors([*usual, 0.17])[-1] is None
    low, median, high = np.quantile([*usual, 0.06], [0.1, 0.5, 0.9])
    assert low / 1.5 > 0.06 and usual_size_factors([*usual, 0.06])[-1] == median / 0.06
    assert low / 1.5 < 0.072 and usual_size_factors([*usual, 0.072])[-1] is None
    # A few large outlines do not hide another.
    assert [factor is None for factor in usual_size_factors([*usual, 0.5, 0.5])[-3:]] == [
        True,
        False,
        False,
    ]
    # Few outlines do not show what is usual.
    assert usual_size_factors([*usual[:18], 0.5]) == [None] * 19
    assert usual_size_factors([]) == []


def test_scaled_outlines_in_the_breast() -> None:
    breast = np.zeros((100, 80), bool)
    breast[40:90, :50] = True
    square = [np.array([[20, 50], [30, 50], [30, 60], [20, 60]])]
    assert fits_scaled(square, breast, 1.0) and fits_scaled(square, breast, 1.4)
    # Above the breast, beside it, and beyond the film.
    assert not fits_scaled(square, breast, 0.5)
    assert not fits_scaled([square[0] * [2, 1]], breast, 1.0)
    assert not fits_scaled(square, breast, 3.0)
    assert not fits_scaled(square, np.zeros_like(breast), 1.0)

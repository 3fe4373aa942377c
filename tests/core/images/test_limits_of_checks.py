"""Checks of findings and images exactly at their limits, and grey values by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from core.images import decoding
from core.images.decoding import DecodedImage
from core.images.finding_checks import (
    PlacedOutline,
    Plausibility,
    _position_issues,
    check_finding,
    check_outlines_jointly,
    films_of_other_side,
    fits_scaled,
    outline_plausibility,
    pixel_count,
    usual_size_factors,
)


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Return a mask of 200 x 100 pixels with this box."""
    mask = np.zeros((200, 100), bool)
    mask[top:bottom, left:right] = True
    return mask


BREAST = box(20, 180, 0, 60)


def codes(mask: np.ndarray, pixels: float = 500.0, breast: np.ndarray = BREAST, **options) -> list:
    return [issue.code for issue in check_finding(mask, breast, pixels, **options)]


def test_small_outlines_at_the_limits() -> None:
    mask = box(90, 110, 20, 40)
    assert codes(mask, 9.0) == [] and codes(mask, 8.9) == ["too_small"]
    assert codes(mask, 8.9, is_calcification=True) == []
    # 1 % of the width of 100 pixels is one pixel, of 200 pixels two.
    wide = np.zeros((400, 200), bool)
    wide[150:151, 100:101] = True
    breast = np.kron(BREAST, np.ones((2, 2), bool))
    assert codes(wide, breast=breast) == ["too_small"]
    assert codes(wide, breast=breast, is_calcification=True) == []
    wide[150:152, 100:101] = True
    assert codes(wide, breast=breast) == []
    assert codes(box(0, 0, 0, 0)) == ["outside_breast"]
    assert codes(box(0, 0, 0, 0), 3.0) == ["too_small", "outside_breast"]


def test_large_outlines_at_the_limits() -> None:
    """Of the film 80 % and of the breast 95 % are the whole."""
    assert codes(box(0, 160, 0, 100)) == ["whole_film"]
    assert "whole_film" not in codes(box(0, 159, 0, 100))
    assert codes(box(20, 172, 0, 60)) == ["whole_film"]
    assert codes(box(20, 171, 0, 60)) == []
    assert "whole_film" not in codes(box(20, 172, 0, 60), breast=np.zeros_like(BREAST))


@pytest.mark.parametrize(
    ("thin", "thicker"),
    [
        (box(0, 1, 10, 60), box(0, 2, 10, 60)),
        (box(199, 200, 10, 60), box(198, 200, 10, 60)),
        (box(50, 90, 0, 1), box(50, 90, 0, 2)),
        (box(50, 90, 99, 100), box(50, 90, 98, 100)),
    ],
)
def test_outlines_at_the_border(thin: np.ndarray, thicker: np.ndarray) -> None:
    """One pixel is 1 % of the width."""
    assert codes(thin) == ["border_only"] and "border_only" not in codes(thicker)


@pytest.mark.parametrize(
    ("inside", "mirrors", "code", "words"),
    [
        (0.49, (0.98, 0.1, 0.2), "outside_breast", "51% of the outline is outside the breast: oth"),
        (0.49, (0.99, 0.1, 0.2), "outside_breast", "mirrored left to right, 99% would be inside"),
        (0.5, (0.1, 0.94, 0.2), None, ""),
        (0.5, (0.1, 0.95, 0.2), "mirrored_position", "50% .*; mirrored top to bottom, all of it"),
        (0.92, (0.2, 0.1, 0.965), None, ""),
        (0.92, (0.2, 0.1, 0.98), "mirrored_position", "8% .*; rotated by half a turn, all of it"),
        (1.0, (1.0, 1.0, 1.0), None, ""),
    ],
)
def test_positions_at_the_limits(
    inside: float, mirrors: tuple[float, float, float], code: str | None, words: str
) -> None:
    x, y, rotated = mirrors
    found = _position_issues(
        Plausibility(as_given=inside, mirrored_x=x, mirrored_y=y, rotated=rotated)
    )
    assert [issue.code for issue in found] == ([] if code is None else [code])
    if code is not None:
        assert re.search(words, found[0].cause)


def test_shares_of_each_turn() -> None:
    # Four boxes of the breast, one in each quarter: 1, 2, 3 and 4 rows.
    breast = box(0, 1, 0, 10) | box(0, 2, 90, 100) | box(197, 200, 0, 10) | box(196, 200, 90, 100)
    found = outline_plausibility(box(0, 4, 0, 10), breast)
    assert found == Plausibility(as_given=0.25, mirrored_x=0.5, mirrored_y=0.75, rotated=1.0)
    assert found.best_mirror == ("rotated by half a turn", 1.0)


def test_small_outlines_that_fit_enlarged() -> None:
    """Up to 3 % of the width; four times its coordinates lie in the breast."""
    breast = box(60, 180, 0, 60)
    assert codes(box(20, 23, 5, 8), breast=breast) == ["outside_breast"]
    whole = np.ones_like(BREAST)
    assert codes(box(20, 23, 5, 8), breast=whole) == ["other_units"]
    assert codes(box(20, 23, 5, 8), breast=whole, is_calcification=True) == []
    assert codes(box(20, 24, 5, 8), breast=whole) == []
    assert codes(box(20, 23, 24, 27), breast=whole) == []


def test_shares_of_small_outlines() -> None:
    """Nineteen of twenty pixels are 95 %; four of 400 columns are 1 %."""
    breast, mask = np.ones((400, 400), bool), np.zeros((400, 400), bool)
    mask[20:25, 30:34] = True
    breast[80, 120] = False
    assert codes(mask, breast=breast) == ["other_units"]
    breast[84, 124] = False
    assert codes(mask, breast=breast) == []
    for thickness, expected in ((4, ["border_only"]), (5, [])):
        strip = np.zeros((400, 400), bool)
        strip[:thickness, 100:200] = True
        assert codes(strip, breast=breast) == expected
        assert codes(strip.T[:, ::-1], breast=breast) == expected


def outlines(count: int, misplaced: int, top: float = 0.3, bottom: float = 0.7) -> list:
    return [PlacedOutline(top, bottom, i < misplaced) for i in range(count)]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (outlines(30, 3), "3 of the 30 outlines"),
        (outlines(31, 3), ""),
        (outlines(5, 2), ""),
        (outlines(3, 3), "3 of the 3 outlines"),
        (outlines(8, 0, 0.1, 0.399), "all 8 outlines of the source lie at the top"),
        (outlines(8, 0, 0.1, 0.4), ""),
        (outlines(7, 0, 0.1, 0.2), ""),
        (outlines(8, 0, 0.601, 0.9), "all 8 outlines of the source lie at the bottom"),
        (outlines(8, 0, 0.6, 0.9), ""),
        ([*outlines(8, 0, 0.1, 0.2), PlacedOutline(0.5, 0.6, False)], ""),
        ([*outlines(8, 0, 0.7, 0.9), PlacedOutline(0.5, 0.6, False)], ""),
    ],
)
def test_outlines_of_a_source_at_the_limits(given: list[PlacedOutline], words: str) -> None:
    found = check_outlines_jointly(given)
    assert found.startswith(words) if words else found == ""


def test_films_of_the_other_side_by_each_rule() -> None:
    usual = {f"L{k}": ("LEFT", "left") for k in range(10)}
    usual |= {f"R{k}": ("RIGHT", "right") for k in range(9)}
    odd = {"x": ("RIGHT", "left"), "u": ("UNKNOWN", "left"), "v": ("LEFT", "")}
    assert films_of_other_side(usual | odd) == ["x"]
    assert films_of_other_side(dict(list(usual.items())[1:]) | odd) == []
    turned = {name: (side, {"left": "right", "right": "left"}[wall])
              for name, (side, wall) in usual.items()}  # fmt: skip
    assert films_of_other_side(turned | {"x": ("LEFT", "left")}) == ["x"]
    for wall, other in (("left", "right"), ("right", "left")):
        same = {name: (side, wall) for name, (side, _) in usual.items()}
        assert films_of_other_side(same | {"x": ("RIGHT", other)}) == ["x"]


def test_unusual_sizes_at_the_limits() -> None:
    """The middle 80 % of 20 equal sizes reach from .2 to .2: .3 and .1333 are the limits."""
    base = [0.2] * 30
    for size, factor in ((0.3, None), (0.31, 0.2 / 0.31), (0.134, None), (0.13, 0.2 / 0.13)):
        found = usual_size_factors([*base, size])
        assert found[-1] == (None if factor is None else pytest.approx(factor))
        assert found[:-1] == [None] * 30
    assert usual_size_factors([0.2] * 18 + [0.9]) == [None] * 19
    # Five of 31 are more than a tenth: their size is a usual one.
    for sizes in ([0.1] * 5 + [0.2] * 26, [0.2] * 26 + [0.4] * 5):
        assert usual_size_factors(sizes) == [None] * 31
    assert usual_size_factors([0.2] * 19 + [0.9])[-1] == pytest.approx(2 / 9)


def test_scaled_outlines_at_the_limits() -> None:
    square = np.array([[10, 30], [29, 30], [29, 49], [10, 49]], float)
    assert fits_scaled([square], BREAST, 1.0) and not fits_scaled([square], BREAST, 0.3)
    # 20 columns, of which 19 in the breast are 95 %.
    breast = box(20, 180, 0, 29)
    assert fits_scaled([square], breast, 1.0)
    assert not fits_scaled([square], box(20, 180, 0, 28), 1.0)
    assert not fits_scaled([square], np.ones_like(BREAST), 4.1)
    # The breast is 100 wide and 200 high: a corner may lie on its edge, but not beyond.
    for corner, fits in (((100, 50), True), ((100.1, 50), False), ((50, 200), True),
                         ((50, 200.1), False)):  # fmt: skip
        outline = np.array([[10, 30], corner, [10, 60]], float)
        assert fits_scaled([outline / 2], np.ones_like(BREAST), 2.0) == fits
    # The whole outline is beyond the edge.
    assert not fits_scaled([np.array([[100.0, 50]])], np.ones_like(BREAST), 1.0)
    triangle = np.array([[0, 0], [4, 0], [4, 3]])
    # Pick: area 6, on the border 4 + 3 + 4 (the longer side of the slope): 6 + 11 / 2 + 1.
    assert pixel_count([triangle]) == 12.5 and pixel_count([triangle, triangle]) == 25.0


def test_grey_values_of_white() -> None:
    for brightest, white in (
        (0, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (16384, 65535),
        (65535, 65535),
    ):  # fmt: skip
        assert decoding.full_scale(np.array([0, brightest], np.uint16)) == white
    assert decoding.full_scale(np.array([3], np.uint8)) == 255
    assert decoding.invert(np.array([0, 100, 300], np.uint16), 255).tolist() == [255, 155, 0]


def test_polarity_of_decoded_images(monkeypatch: pytest.MonkeyPatch) -> None:
    image = DecodedImage(pixels=np.array([[0, 200]], np.uint8), maximum=255, file_hash="h")
    monkeypatch.setattr(decoding, "is_inverted", lambda _: True)
    turned = decoding.ensure_positive_polarity(image)
    assert turned.pixels.tolist() == [[255, 55]] and turned.inverted
    assert not decoding.ensure_positive_polarity(turned).inverted
    colour = DecodedImage(pixels=np.zeros((1, 1, 3), np.uint8), maximum=255, file_hash="h")
    assert decoding.ensure_positive_polarity(colour) is colour
    monkeypatch.setattr(decoding, "is_inverted", lambda _: False)
    assert decoding.ensure_positive_polarity(image) is image


def test_images_without_contrast_are_positive() -> None:
    assert not decoding.is_inverted(np.full((40, 40), 200, np.uint8))
    assert not decoding.is_inverted(np.zeros((3, 3), np.uint8))


def test_averages_of_blocks() -> None:
    pixels = np.arange(7 * 9, dtype=np.uint16).reshape(7, 9)
    # Blocks of 9 // 4 = 2 pixels; the last row and column are cut off.
    expected = [[pixels[y : y + 2, x : x + 2].mean() for x in (0, 2, 4, 6)] for y in (0, 2, 4)]
    assert decoding._block_average(pixels, 4).tolist() == expected
    assert decoding._block_average(pixels, 9).tolist() == pixels.tolist()
    assert decoding._block_average(pixels[:1], 4).tolist() == pixels[:1].tolist()


def test_working_images_by_hand() -> None:
    pixels = np.array([[0, 100, 200, 300], [50, 150, 250, 500]], np.uint16)
    image, factors = decoding.working_image(pixels, 400, 4)
    # 255 / 400 of each; above 400 is white.
    assert image.tolist() == [[0, 64, 128, 191], [32, 96, 159, 255]] and factors == (1.0, 1.0)
    halved, factors = decoding.working_image(pixels, 400, 2)
    # Means of 2 x 2: 75 and 287.5 (500 counts as 400).
    assert halved.tolist() == [[48, 183]] and factors == (0.5, 0.5)
    third, factors = decoding.working_image(np.array([[0, 90, 180, 240]], np.uint8), 255, 3)
    # Each covers 4/3 pixels: (0 + 30), (60 + 120), (60 + 240) of 4/3.
    assert third.tolist() == [[22, 135, 225]] and factors == (0.75, 1.0)
    colours = np.stack([pixels, pixels // 2, pixels * 0], axis=2)
    image, factors = decoding.working_image(colours, 400, 2)
    assert image.tolist() == [[[48, 24, 0], [183, 100, 0]]] and factors == (0.5, 0.5)

"""Each step of the segmentation of tissue, by slow or literal versions, at its limits."""

from __future__ import annotations

import numpy as np
import pytest
import scipy
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from core.images import tissue_segmentation as segmentation
from core.images.tissue_segmentation import (
    air_threshold,
    chest_wall_side,
    segment_tissue,
    with_margin,
)


def columns(*counts: int) -> np.ndarray:
    """Return a mask of 100 rows with so many true pixels in each column."""
    return np.arange(100)[:, None] < np.array(counts)


@pytest.mark.parametrize(
    ("mask", "side"),
    [
        # A difference of a fifth of both is unclear.
        (columns(60, 40), ""),
        (columns(61, 40), "left"),
        (columns(40, 60), ""),
        (columns(40, 61), "right"),
        # The middle column counts for neither.
        (columns(10, 90, 30), "right"),
        (columns(30, 90, 10), "left"),
        (columns(0, 0), ""),
    ],
)
def test_sides_of_the_chest_wall(mask: np.ndarray, side: str) -> None:
    assert chest_wall_side(mask) == side


def test_terms_of_a_surface() -> None:
    terms = segmentation._surface_terms((3, 2))
    expected = [[1, x, y, x * x, x * y, y * y] for y in (-0.5, 0.0, 0.5) for x in (-0.5, 0.5)]
    assert terms.tolist() == expected


@pytest.mark.parametrize(("margin", "count"), [(0.0, 1), (1.0, 5), (1.5, 9), (2.0, 13)])
def test_margins_of_small_images(margin: float, count: int) -> None:
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    assert with_margin(mask, margin).sum() == count
    assert not with_margin(np.zeros((9, 9), bool), margin).any()


@given(
    mask=arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)),
    margin=st.one_of(st.integers(0, 6), st.floats(0, 6)),
)
@example(mask=np.ones((3, 4), bool), margin=2)
@example(mask=np.eye(9, dtype=bool), margin=20)
def test_margins_are_distances(mask: np.ndarray, margin: float) -> None:
    distance = np.full(mask.shape, np.inf)
    for y, x in np.argwhere(mask):
        down, right = np.indices(mask.shape)
        distance = np.minimum(distance, (down - y) ** 2 + (right - x) ** 2)
    assert np.array_equal(with_margin(mask, margin), distance <= margin**2)


def test_margins_of_wide_images() -> None:
    mask = np.zeros((600, 1024), bool)
    mask[200:400, :500] = True
    mask[300, 520] = True
    mask[590:, 1000:] = True
    wide = with_margin(mask, 40.3)
    assert np.array_equal(wide, scipy.ndimage.distance_transform_edt(~mask) <= 40.3)


@given(data=st.data(), steps=st.integers(0, 4))
def test_grown_and_filled_masks_are_those_of_scipy(data: st.DataObject, steps: int) -> None:
    shape = data.draw(array_shapes(min_dims=2, max_dims=2, max_side=12))
    mask, other = (data.draw(arrays(bool, shape)) for _ in range(2))
    assert np.array_equal(segmentation._fill_holes(mask), scipy.ndimage.binary_fill_holes(mask))
    if steps == 0:
        assert np.array_equal(segmentation._grow(mask, 0), mask)
        return
    dilation = scipy.ndimage.binary_dilation
    assert np.array_equal(segmentation._grow(mask, steps), dilation(mask, iterations=steps))
    limit = mask | other
    assert np.array_equal(
        segmentation._grow(mask, steps, limit), dilation(mask, iterations=steps, mask=limit)
    )


def flat(level: float, shape: tuple[int, int] = (40, 50)) -> np.ndarray:
    return np.full(shape, level)


def test_thresholds_above_even_air() -> None:
    """7 % of the brightness, at least 6 levels, above the darkest twentieth, at most 90."""
    dark = flat(10.0)
    dark[:, :30] = 60
    assert np.allclose(air_threshold(dark), 16)
    dark[:, :30] = 110
    assert np.allclose(air_threshold(dark), 17)
    assert np.allclose(air_threshold(flat(95.0)), 96)
    # Three of a hundred pixels are brighter than the 97th percentile.
    few = flat(10.0, (10, 100))
    few[0, :29] = 210
    assert np.allclose(air_threshold(few), 16)
    few[0:2, :] = 210
    assert np.allclose(air_threshold(few), 24)


def uneven(rise: float) -> np.ndarray:
    """Return air that rises from left to right, with a breast of noise at the left."""
    y, x = np.mgrid[:120, :160]
    smooth = 20 + rise * x / 159.0
    inside = (x / 60) ** 2 + ((y - 60) / 40) ** 2 < 1
    breast = 150 + np.random.default_rng(1).normal(0, 20, smooth.shape)
    return np.where(inside, breast, smooth)


def test_fitted_surface_of_uneven_air() -> None:
    smooth, x = uneven(24.0), np.arange(160)
    surface = segmentation._fit_uneven_air(smooth)
    assert surface is not None and np.abs(surface - (20 + 24 * x / 159)).max() < 1
    # The threshold lies at least six levels above it, and 7 % of the brightness.
    threshold = air_threshold(smooth) - surface
    bright = np.percentile(smooth - surface, 97)
    assert np.allclose(threshold, 0.07 * bright) and bright > 100
    assert segmentation._fit_uneven_air(uneven(0.0)) is None
    # Brighter air than 90 is none.
    bright_air = segmentation._fit_uneven_air(uneven(24.0) + 60)
    assert bright_air is not None and bright_air.max() == 90 and bright_air.min() > 75


def test_curved_air_is_fitted() -> None:
    y, x = np.mgrid[:120, :160]
    smooth = 20 + 25 * (x / 159) + 15 * (x / 159) ** 2
    inside = (x / 40) ** 2 + ((y - 60) / 30) ** 2 < 1
    breast = 150 + np.random.default_rng(1).normal(0, 20, smooth.shape)
    surface = segmentation._fit_uneven_air(np.where(inside, breast, smooth))
    # A plane would be wrong by 2.5 at either side.
    assert surface is not None and np.abs(surface - smooth).max() < 0.6


def test_air_that_cannot_be_fitted() -> None:
    rough = np.random.default_rng(2).uniform(0, 200, (60, 60))
    assert segmentation._fit_uneven_air(rough) is None
    # Of 49 sampled pixels there are too few, whatever they hold.
    for pixels, is_fitted in ((49, False), (50, True)):
        found = segmentation._fit_uneven_air(np.linspace(0, 30, 17 * pixels)[None])
        assert (found is not None) == is_fitted


def test_largest_piece() -> None:
    """Of 200 columns the radius is 6: thin lines and small pieces go, holes are filled."""
    above = np.zeros((150, 200), bool)
    above[20:90, :60] = True
    above[40:50, 20:30] = False
    above[100:140, 100:140] = True
    above[10:12, :] = True
    piece = segmentation._largest_piece(above)
    assert piece[50, 25] and piece[21:88, :58].all()
    assert not piece[:, 62:].any() and not piece[:19].any()
    # The corners at the chest wall are kept, because the image continues there.
    assert piece[20, 0] and piece[89, 0]
    assert not segmentation._largest_piece(np.zeros((150, 200), bool)).any()


@pytest.mark.parametrize(("height", "is_breast"), [(162, True), (163, False)])
def test_least_size_of_a_breast(height: int, is_breast: bool) -> None:
    """One percent of the image; the opening by a radius of 6 leaves 324 pixels of a box.

    Of 19 x 20 pixels 7 x 8 are further than 6 from the outside. Grown back these are 56, their
    sides 12 x (7 + 8), and four times the 22 points of a quarter of the disc.
    """
    above = np.zeros((height, 200), bool)
    above[60:79, 80:100] = True
    assert segmentation._largest_piece(above).any() == is_breast


def halves(inner: float, outer: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of two grey levels with the mask of its left half."""
    piece = np.zeros((100, 120), bool)
    piece[:, :60] = True
    return np.where(piece, inner, outer), piece


def test_doubts() -> None:
    smooth, piece = halves(50.0, 10.0)
    doubt = segmentation._doubt
    assert doubt(smooth, piece, piece) == ""
    assert doubt(smooth, piece, piece & False) == "no breast tissue was detected"
    whole = np.ones((100, 100), bool)
    whole[:3] = False
    assert doubt(np.where(whole, 50.0, 10), whole, whole) == ""
    whole[2] = True
    message = "no background was found around the breast"
    assert doubt(np.where(whole, 50.0, 10), whole, whole) == message
    # A second area of a fifth of the breast's 6000 pixels, without the lines beside it.
    for width, other in ((30, ""), (31, "another bright area is nearly as large as the breast")):
        above = piece.copy()
        above[10:50, 80 : 80 + width] = True
        above[70:74, 70:] = True
        assert doubt(smooth, above, piece) == other, width
    faint = "the border of the breast is hardly brighter than the background"
    for step, expected in ((3.0, ""), (2.9, faint)):
        assert doubt(*(halves(10 + step, 10.0)), piece) == expected


def test_border_pixels_that_are_compared() -> None:
    """The three pixels inside, and from the second to the fourth outside."""
    smooth, piece = halves(50.0, 10.0)
    smooth[:, 57:60], smooth[:, 61:64] = 20.0, 18.0
    faint = "the border of the breast is hardly brighter than the background"
    assert segmentation._doubt(smooth, piece, piece) == faint
    smooth[:, 61:64] = 17.0
    assert segmentation._doubt(smooth, piece, piece) == ""
    # The pixel directly outside is blurred, and pixels further away are not compared.
    smooth[:, 60], smooth[:, 64:] = 60.0, 90.0
    assert segmentation._doubt(smooth, piece, piece) == ""


@pytest.mark.parametrize("scale", [1, 3])
def test_segments_of_an_image(scale: int) -> None:
    y, x = np.mgrid[:200, :150]
    inside = (x / 90) ** 2 + ((y - 100) / 70) ** 2 < 1
    image = np.where(inside, 120 + (x * y) % 30, 8).astype(np.uint8)
    image[10:16, 130:140] = 220
    found = segment_tissue(image.repeat(scale, 0).repeat(scale, 1))
    assert found.doubt == "" and found.mask.shape == (200 * scale, 150 * scale)
    mask = found.mask[scale // 2 :: scale, scale // 2 :: scale]
    assert (mask != inside).mean() < 0.015 and not mask[:30].any()


def test_frames_hold_no_tissue() -> None:
    image = np.full((120, 100), 8, np.uint8)
    y, x = np.mgrid[:120, :100]
    inside = (x / 60) ** 2 + ((y - 60) / 45) ** 2 < 1
    image[inside] = 130
    framed = np.full((120, 130), 255, np.uint8)
    framed[:, 30:] = image
    mask = segment_tissue(framed).mask
    assert not mask[:, :30].any() and (mask[:, 30:] != inside).mean() < 0.03


@pytest.mark.parametrize(
    ("shape", "small"),
    [((600, 450), (341, 256)), ((200, 150), (200, 150)), ((1, 600), (1, 256)),
     ((300, 256), (300, 256)), ((514, 257), (512, 256))],
)  # fmt: skip
def test_width_of_the_computation(
    shape: tuple[int, int], small: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    inside = segmentation.inside_of_frame
    monkeypatch.setattr(
        segmentation, "inside_of_frame", lambda grey: seen.append(grey.shape) or inside(grey)
    )
    found = segment_tissue(np.zeros(shape, np.uint8))
    assert seen == [small] and found.mask.shape == shape and not found.mask.any()


def test_darkest_twentieth_is_air(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segmentation, "_fit_uneven_air", lambda _: None)
    smooth = flat(60.0, (10, 100))
    smooth[0, :55] = 10
    assert np.allclose(air_threshold(smooth), 16)
    smooth[0, 45:55] = 60
    assert np.allclose(air_threshold(smooth), 66)


def test_what_takes_part_in_the_fit() -> None:
    y, x = np.mgrid[:120, :160]
    plane = 20 + 24 * x / 159.0
    # A structure 2 to 5 levels above the air changes by 1.5 from pixel to pixel: it stays out,
    # except for the columns at the edges of the image.
    steep = np.where(y < 50, plane + 2 + 3 * (x // 2 % 2), plane)
    surface = segmentation._fit_uneven_air(steep)
    assert surface is not None and np.abs(surface - plane).max() < 1.5
    # The lowest 30 % differ by 3 levels between their 5th and 95th percentile.
    rows = np.ones((100, 1)) * np.arange(150) / 149
    assert segmentation._fit_uneven_air(20 + 12 * rows) is not None
    assert segmentation._fit_uneven_air(20 + 10 * rows) is None


def test_levels_without_a_surface() -> None:
    levels = np.random.default_rng(3).uniform(0, 200, 70)
    assert segmentation._fit_uneven_air(np.repeat(levels, 17)[None]) is None
    surface = segmentation._fit_uneven_air(np.linspace(-5, 25, 1700)[None])
    assert surface is not None and surface.min() == 0 and surface.max() > 24


def test_narrow_images_are_opened_less() -> None:
    """By one pixel up to 49 columns, and other areas up to 79."""
    above = np.zeros((40, 30), bool)
    above[10:20, 10:14] = True
    assert segmentation._largest_piece(above).any()
    piece = np.zeros((100, 60), bool)
    piece[:, :30] = True
    above = piece.copy()
    for column in (33, 38, 43):
        above[:, column : column + 3] = True
    message = "another bright area is nearly as large as the breast"
    assert segmentation._doubt(np.where(piece, 50.0, 10), above, piece) == message


@pytest.mark.parametrize(("width", "radius", "steps"), [(200, 6, 1), (270, 8, 2)])
def test_opened_pieces_grow_back(width: int, radius: int, steps: int) -> None:
    box = np.zeros((90, width), bool)
    box[30:60, 60:100] = True
    y, x = np.nonzero(box)
    core = (y - 30 >= radius) & (59 - y >= radius) & (x - 60 >= radius) & (99 - x >= radius)
    centres = np.stack([y[core], x[core]], 1)
    expected = np.zeros_like(box)
    distance = ((np.stack([y, x], 1)[:, None] - centres) ** 2).sum(2).min(1)
    expected[y, x] = distance <= radius**2
    for _ in range(steps):
        grown = expected.copy()
        grown[1:] |= expected[:-1]
        grown[:-1] |= expected[1:]
        grown[:, 1:] |= expected[:, :-1]
        grown[:, :-1] |= expected[:, 1:]
        expected = grown & box
    assert np.array_equal(segmentation._largest_piece(box), expected) and expected.sum() < box.sum()

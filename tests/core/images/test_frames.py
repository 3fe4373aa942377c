"""Frames of images at the limits of their width, flatness and step."""

from __future__ import annotations

import numpy as np
import pytest

from core.images.frames import inside_of_frame

WHOLE_ROWS, WHOLE_COLUMNS = slice(0, 100), slice(0, 100)


def framed(width: int) -> np.ndarray:
    """Return an image of 100 x 100 pixels of grey level 50 below rows of 200."""
    image = np.full((100, 100), 50.0)
    # Columns of 50 and 130 in turn, so that no other side is constant.
    image[:, ::2] = 130
    image[:width] = 200
    return image


@pytest.mark.parametrize(("width", "found"), [(0, 0), (1, 1), (7, 7), (35, 35), (36, 0), (60, 0)])
def test_a_frame_takes_at_most_35_percent(width: int, found: int) -> None:
    image = framed(width)
    assert inside_of_frame(image) == (slice(found, 100), WHOLE_COLUMNS)
    assert inside_of_frame(image[::-1]) == (slice(0, 100 - found), WHOLE_COLUMNS)
    assert inside_of_frame(image.T) == (WHOLE_ROWS, slice(found, 100))
    assert inside_of_frame(image.T[:, ::-1]) == (WHOLE_ROWS, slice(0, 100 - found))


@pytest.mark.parametrize(("deviation", "found"), [(6.0, 9), (-6.0, 9), (6.5, 3), (-6.5, 3)])
def test_lines_of_a_frame_deviate_by_six_levels(deviation: float, found: int) -> None:
    image = framed(9)
    image[3:9] += deviation
    # Lines 3 to 8 are part of the frame, or what is behind it; then they must differ by 12.
    image[3:9] += 0 if found == 9 else 30 * np.sign(deviation)
    assert inside_of_frame(image)[0] == slice(found, 100)


@pytest.mark.parametrize(("odd", "found"), [(3, 5), (4, 0)])
def test_97_percent_of_a_line_are_flat(odd: int, found: int) -> None:
    image = framed(5)
    image[0, :odd] = 100
    assert inside_of_frame(image)[0] == slice(found, 100)


@pytest.mark.parametrize(
    ("step", "share", "found"), [(12, 100, 0), (12.5, 100, 5), (90, 60, 5), (90, 59, 0)]
)
def test_60_percent_of_the_next_lines_differ_by_12(step: float, share: int, found: int) -> None:
    image = framed(5)
    image[5:7] = 200
    image[5:7, :share] -= step
    assert inside_of_frame(image)[0] == slice(found, 100)


@pytest.mark.parametrize(("step", "share", "found"), [(12, 100, 6), (13, 60, 5), (13, 59, 6)])
def test_one_blurred_line_belongs_to_the_frame(step: float, share: int, found: int) -> None:
    image = framed(5)
    image[5] = 200
    image[5, :share] -= step
    assert inside_of_frame(image)[0] == slice(found, 100)


@pytest.mark.parametrize(
    ("rows", "kept"),
    [
        # Two rows of frame at either end, and one blurred; a quarter of eight rows is kept.
        ([200, 200, 190, 40, 160, 110, 100, 100], slice(3, 5)),
        # Frames that leave less than a quarter are none.
        ([200, 190, 110, 100], slice(0, 4)),
        ([200] * 4 + [190, 40, 60, 160, 110] + [100] * 4, slice(0, 13)),
    ],
)
def test_frames_leave_a_quarter_of_the_image(rows: list[int], kept: slice) -> None:
    image = np.repeat(np.array(rows, np.uint8)[:, None], 20, axis=1)
    assert inside_of_frame(image) == (kept, slice(0, 20))
    assert inside_of_frame(image.T) == (slice(0, 20), kept)

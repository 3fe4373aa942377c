"""Padding of JPEG files: exact sizes, unchanged pixels, other bytes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from core.images.jpeg_padding import MIN_PADDING, pad_jpeg, renew_nonce


@pytest.fixture(scope="module")
def image() -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(3).integers(0, 256, (37, 53), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def pixels_of(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)))


# A segment holds at most 65,537 bytes: sizes on both sides of one and of two full segments.
@pytest.mark.parametrize(
    "extra", [0, 1, 3, 4, 65_532, *range(65_533, 65_540), 131_071, 131_073, 400_000]
)
def test_sizes_are_exact_and_pixels_unchanged(image: bytes, extra: int) -> None:
    size = len(image) + MIN_PADDING + extra
    padded = pad_jpeg(image, size)
    assert len(padded) == size
    assert padded != pad_jpeg(image, size)
    renewed = renew_nonce(padded)
    assert len(renewed) == size
    assert renewed != padded
    for changed in (padded, renewed):
        assert np.array_equal(pixels_of(changed), pixels_of(image))
        opened = Image.open(io.BytesIO(changed))
        assert not opened.getexif()
        assert "comment" not in opened.info
        assert changed[6:10] == b"JFIF"  # the header stays the first segment


def test_files_without_padding_get_a_nonce(image: bytes) -> None:
    first, second = renew_nonce(image), renew_nonce(image)
    assert len(first) == len(second) == len(image) + 68
    assert first != second
    assert np.array_equal(pixels_of(first), pixels_of(image))


def test_impossible_sizes_and_other_files_are_refused(image: bytes) -> None:
    with pytest.raises(ValueError, match="do not hold"):
        pad_jpeg(image, len(image) + MIN_PADDING - 1)
    with pytest.raises(ValueError, match="not a JPEG"):
        renew_nonce(b"\x89PNG")

from __future__ import annotations

import time

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.sources.ljpeg import as_pvrg, decode
from support.ljpeg_writer import encode
from support.paths import SAMPLES
from support.requirements import needs_samples

FOLDER = SAMPLES / "ddsm_ljpeg"


@st.composite
def films(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    precision = draw(st.sampled_from([12, 16]))
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    smooth = draw(st.booleans())
    pixels = (
        rng.integers(0, 1 << precision, shape)
        if not smooth
        else (rng.integers(-3, 4, shape).cumsum(1) + (1 << precision) // 3)
    )
    return pixels.astype(np.uint16), precision


@settings(max_examples=120, deadline=None)
@given(films(), st.integers(1, 7), st.booleans())
def test_pvrg_round_trip(film: tuple[np.ndarray, int], predictor: int, swapped: bool) -> None:
    pixels, precision = film
    shape = pixels.shape[::-1] if swapped else pixels.shape
    got = decode(encode(pixels, precision, predictor), *shape)
    assert got.dtype == np.uint16 and (got == pixels.reshape(shape)).all()


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("precision", [12, 16])
def test_difference_of_standard_and_pvrg(predictor: int, precision: int) -> None:
    pixels = np.random.default_rng(predictor).integers(0, 1 << precision, (9, 7)).astype(np.uint16)
    standard = imagecodecs.ljpeg_decode(encode(pixels, precision, predictor, pvrg=False))
    assert (standard == pixels).all(), "encoder and decoder agree on the standard"
    naive = imagecodecs.ljpeg_decode(encode(pixels, precision, predictor))
    assert (naive == pixels).all() == (predictor in (1, 4, 5))
    assert (as_pvrg(naive, predictor, precision) == pixels).all()


def test_largest_differences() -> None:
    pixels = np.array([[32768, 0, 65535], [0, 32768, 0], [65535, 0, 32768]], np.uint16)
    for predictor in range(1, 8):
        assert (decode(encode(pixels, 16, predictor), 3, 3) == pixels).all(), predictor


@needs_samples
def test_archive_sample() -> None:
    truth = np.load(FOLDER / "truth_800x600_uint16.npy")
    for name in ("LEFT_CC", "LEFT_MLO"):
        assert (
            decode((FOLDER / f"C_9999_1.{name}.LJPEG").read_bytes(), 800, 600) == truth
        ).all(), name


@pytest.mark.parametrize("predictor", [3, 6, 7])
def test_full_size_film_takes_at_most_three_seconds(predictor: int) -> None:
    y, x = np.mgrid[:5491, :2776]
    standard = ((y * 3 + x * 5 + (y * x) % 7) % 4096).astype(np.uint16)
    data = imagecodecs.ljpeg_encode(standard, bitspersample=16)
    start = time.process_time()
    if predictor == 6:  # the one predictor imagecodecs can write
        film = decode(data, 5491, 2776)
    else:
        imagecodecs.ljpeg_decode(data)
        film = as_pvrg(standard, predictor, 16)
    assert film.shape == (5491, 2776) and time.process_time() - start <= 3


def test_damaged_data_never_crash() -> None:
    rng = np.random.default_rng(0)
    whole = encode(rng.integers(0, 4096, (20, 10)).astype(np.uint16), 12, 7)
    refused = 0
    for _ in range(2000):
        data = bytearray(whole)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            data[position] = rng.integers(256)
        try:
            decode(bytes(data), 20, 10)
        except UserError:
            refused += 1
    assert 100 < refused < 2000


def test_truncated_or_mismatched_data() -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (20, 10)).astype(np.uint16)
    data = encode(pixels, 12, 7)
    for size in (3, 40, 60, len(data) - 2, len(data) // 2):
        with pytest.raises(UserError, match=r"cut off|damaged"):
            decode(data[:size], 20, 10)
    with pytest.raises(UserError, match="20 x 10 pixels, but LINES 21"):
        decode(data, 21, 10)
    with pytest.raises(UserError, match="not a JPEG stream"):
        decode(b"P5 10 20 255 ", 20, 10)
    with pytest.raises(UserError, match="not lossless"):
        decode(imagecodecs.jpeg8_encode(np.zeros((20, 10), np.uint8)), 20, 10)

from __future__ import annotations

import time
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.sources.ljpeg import as_pvrg, decode

SAMPLES = Path(__file__).resolve().parents[2] / ".." / "shared" / "samples" / "ddsm_ljpeg"


def predict(pixels: list[list[int]], y: int, x: int, predictor: int, middle: int, pvrg: bool) -> int:
    """The prediction of one pixel from those before it: T.81 table H.1, and PVRG's way with the first row."""
    if y == 0 and x == 0:
        return middle
    if x == 0:
        return pixels[y - 1][0]
    left = pixels[y][x - 1]
    if y == 0 and not pvrg:
        return left
    up, corner = (middle, middle) if y == 0 else (pixels[y - 1][x], pixels[y - 1][x - 1])
    return {
        1: left, 2: up, 3: corner, 4: left + up - corner, 5: left + ((up - corner) >> 1), 6: up + ((left - corner) >> 1), 7: (left + up) >> 1
    }[predictor]  # fmt: skip


def stream(differences: list[int], precision: int, height: int, width: int, predictor: int) -> bytes:
    """A lossless JPEG stream of prediction differences (modulo 2^16), with a Huffman code of five bits for each of the 17 lengths."""
    bits = []
    for difference in differences:
        value = (difference + 32768) % 65536 - 32768
        if value == -32768:
            bits.append(f"{16:05b}")
            continue
        length = abs(value).bit_length()
        bits.append(f"{length:05b}")
        if length:
            bits.append(f"{value if value > 0 else value + (1 << length) - 1:0{length}b}")
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    coded = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    frame = bytes([precision]) + height.to_bytes(2, "big") + width.to_bytes(2, "big") + b"\x01\x00\x11\x00"
    table = bytes([0, 0, 0, 0, 0, 17, *[0] * 11, *range(17)])
    scan = bytes([1, 0, 0, predictor, 0, 0])

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    return b"\xff\xd8" + segment(0xC3, frame) + segment(0xC4, table) + segment(0xDA, scan) + coded + b"\xff\xd9"


def encode(pixels: np.ndarray, precision: int, predictor: int, pvrg: bool = True) -> bytes:
    """A film as the PVRG codec (or the standard) writes it."""
    rows, middle = pixels.tolist(), 1 << (precision - 1)
    differences = [rows[y][x] - predict(rows, y, x, predictor, middle, pvrg) for y in range(len(rows)) for x in range(len(rows[0]))]
    return stream(differences, precision, *pixels.shape, predictor)


@st.composite
def films(draw: st.DrawFn) -> tuple[np.ndarray, int]:
    precision = draw(st.sampled_from([12, 16]))
    shape = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    smooth = draw(st.booleans())
    pixels = rng.integers(0, 1 << precision, shape) if not smooth else (rng.integers(-3, 4, shape).cumsum(1) + (1 << precision) // 3)
    return pixels.astype(np.uint16), precision


@settings(max_examples=120, deadline=None)
@given(films(), st.integers(1, 7), st.booleans())
def test_what_pvrg_writes_comes_back_exactly(film: tuple[np.ndarray, int], predictor: int, swapped: bool) -> None:
    pixels, precision = film
    shape = pixels.shape[::-1] if swapped else pixels.shape
    got = decode(encode(pixels, precision, predictor), *shape)
    assert got.dtype == np.uint16 and (got == pixels.reshape(shape)).all()


@pytest.mark.parametrize("predictor", range(1, 8))
@pytest.mark.parametrize("precision", [12, 16])
def test_the_two_ways_differ_where_they_should(predictor: int, precision: int) -> None:
    pixels = np.random.default_rng(predictor).integers(0, 1 << precision, (9, 7)).astype(np.uint16)
    by_the_standard = imagecodecs.ljpeg_decode(encode(pixels, precision, predictor, pvrg=False))
    assert (by_the_standard == pixels).all(), "our encoder and the decoder agree on the standard"
    naive = imagecodecs.ljpeg_decode(encode(pixels, precision, predictor))
    assert (naive == pixels).all() == (predictor in (1, 4, 5))
    assert (as_pvrg(naive, predictor, precision) == pixels).all()


def test_the_largest_difference_and_overflow_survive() -> None:
    pixels = np.array([[32768, 0, 65535], [0, 32768, 0], [65535, 0, 32768]], np.uint16)
    for predictor in range(1, 8):
        assert (decode(encode(pixels, 16, predictor), 3, 3) == pixels).all(), predictor


def test_the_archives_own_codec() -> None:
    if not SAMPLES.exists():
        pytest.skip("the samples are not beside the repository")
    truth = np.load(SAMPLES / "truth_800x600_uint16.npy")
    for name in ("LEFT_CC", "LEFT_MLO"):
        assert (decode((SAMPLES / f"C_9999_1.{name}.LJPEG").read_bytes(), 800, 600) == truth).all(), name


@pytest.mark.parametrize("predictor", [3, 6, 7])
def test_a_full_size_film_is_rebuilt_in_time(predictor: int) -> None:
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


def test_films_that_are_cut_off_or_of_another_size_are_refused() -> None:
    pixels = np.random.default_rng(0).integers(0, 4096, (20, 10)).astype(np.uint16)
    data = encode(pixels, 12, 7)
    for size in (3, 40, 60, len(data) - 2, len(data) // 2):
        with pytest.raises(UserError, match=r"cut off|damaged"):
            decode(data[:size], 20, 10)
    with pytest.raises(UserError, match="20 x 10 pixels, but LINES 21"):
        decode(data, 21, 10)
    with pytest.raises(UserError, match="no JPEG"):
        decode(b"P5 10 20 255 ", 20, 10)
    with pytest.raises(UserError, match="not lossless"):
        decode(imagecodecs.jpeg8_encode(np.zeros((20, 10), np.uint8)), 20, 10)

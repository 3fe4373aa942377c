from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import UserError
from core.images.decoding import (
    area_weights,
    detect_inverted,
    full_scale,
    read_film,
    read_mask,
    turn,
    working_image,
)
from support.paths import SAMPLES


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_come_in_exactly(tmp_path: Path, suffix: str) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    Image.fromarray(pixels).save(tmp_path / f"film.{suffix}")
    film = read_film(tmp_path / f"film.{suffix}")
    assert (
        film.pixels.dtype == np.uint16
        and (film.pixels == pixels).all()
        and film.maximum == 65535
        and len(film.file_hash) == 64
    )


def test_grey_and_colour_files_of_eight_bits(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "rgb.png")
    Image.fromarray(pixels).convert("LA").save(tmp_path / "alpha.png")
    Image.fromarray(pixels).convert("P").save(tmp_path / "palette.png")
    for name in ("grey", "rgb", "alpha", "palette"):
        film = read_film(tmp_path / f"{name}.png")
        assert (film.pixels == pixels).all() and film.maximum == 255, name
    Image.fromarray(pixels).save(tmp_path / "film.jpg", quality=95)
    assert read_film(tmp_path / "film.jpg").pixels.shape == (20, 30)


def test_a_wrong_extension_does_not_matter(tmp_path: Path) -> None:
    Image.new("L", (5, 4)).save(tmp_path / "film.png")
    (tmp_path / "film.png").rename(tmp_path / "film.jpg")
    assert read_film(tmp_path / "film.jpg").pixels.shape == (4, 5)


def test_films_come_in_as_viewers_turn_them(tmp_path: Path) -> None:
    """A camera's or scanner's orientation tag:

    6 says that the picture is shown turned a quarter to the right.
    """
    upright = (
        np.tile(np.arange(0, 240, 8, dtype=np.uint8), (16, 1))
        + np.arange(16, dtype=np.uint8)[:, None]
    )
    turned = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "tif"):
        turned.save(tmp_path / f"film.{suffix}", exif=exif)
        assert np.array_equal(read_film(tmp_path / f"film.{suffix}").pixels, upright)
    turned.save(tmp_path / "film.jpg", exif=exif, quality=100)
    assert np.abs(read_film(tmp_path / "film.jpg").pixels.astype(int) - upright).max() <= 2


def test_a_cut_tiff_is_a_sentence_and_no_warning(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 65535, (80, 60)).astype(np.uint16)).save(
        tmp_path / "f.tif", compression="tiff_lzw"
    )
    (tmp_path / "f.tif").write_bytes((tmp_path / "f.tif").read_bytes()[:4000])
    with pytest.raises(UserError, match="f.tif"):
        read_film(tmp_path / "f.tif")


def test_films_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), dtype=np.uint8)).save(
        tmp_path / "whole.jpg"
    )
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.zeros((3, 3), np.float32)).save(tmp_path / "float.tif")
    for name in ("cut.jpg", "text.png", "empty.png", "float.tif", "missing.png"):
        with pytest.raises(UserError, match=name):
            read_film(tmp_path / name)


def test_masks_of_two_and_of_many_values(tmp_path: Path) -> None:
    square = np.zeros((9, 9), np.uint8)
    square[2:5, 2:5] = 1
    Image.fromarray(square).save(tmp_path / "ones.png")
    Image.fromarray(square * 250 + 3).save(tmp_path / "soft.png")
    assert read_mask(tmp_path / "ones.png").sum() == 9
    soft = square * 250
    soft[0, 0] = 4
    Image.fromarray(soft).save(tmp_path / "soft.png")
    assert read_mask(tmp_path / "soft.png").sum() == 9


def test_the_scale_is_the_smallest_usual_depth() -> None:
    assert full_scale(np.zeros((2, 2), np.uint8)) == 255
    assert [
        full_scale(np.full((2, 2), v, np.uint16)) for v in (0, 1023, 1024, 4095, 16000, 20000)
    ] == [1023, 1023, 4095, 4095, 16383, 65535]


def literal_average(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Each new pixel is the mean of the old ones under it, by a 60-fold finer grid."""
    h, w = pixels.shape
    fine = pixels.repeat(height, 0).repeat(width, 1).astype(float)
    return fine.reshape(height, h, width, w).mean((1, 3))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_the_working_image_is_an_area_average(h: int, w: int, width: int, seed: int) -> None:
    width = min(width, w)
    pixels = np.random.default_rng(seed).integers(0, 4096, (h, w), dtype=np.uint16)
    got, (fx, fy) = working_image(pixels, 4095, width)
    height = max(1, round(h * width / w))
    assert got.shape == (height, width) and fx == width / w and fy == height / h
    assert np.abs(got - literal_average(pixels, height, width) * 255 / 4095).max() <= 0.51


def test_area_weights_sum_to_one_and_enlarging_keeps_the_range() -> None:
    for old, new in ((7, 3), (10, 10), (2776, 908), (5491, 1796)):
        np.testing.assert_allclose(area_weights(old, new).sum(1), 1, atol=1e-5)
    got, _ = working_image(np.array([[0, 255], [255, 0]], np.uint8), 255, 8)
    assert got.shape == (8, 8) and got.min() == 0 and got.max() == 255


def test_negatives_are_seen_and_turned() -> None:
    y, x = np.mgrid[:200, :150]
    film = np.where(
        (x / 90) ** 2 + ((y - 100) / 80) ** 2 < 1, 120 + 40 * np.sin(x / 3) * np.cos(y / 4), 3
    ).astype(np.uint8)
    assert not detect_inverted(film) and detect_inverted(255 - film)
    assert (turn(255 - film, 255) == film).all()
    assert not detect_inverted(np.full((50, 50), 200, np.uint8)), "without ground nothing is turned"


def test_the_negatives_among_real_films_are_found() -> None:
    folder = SAMPLES / "image_labels"
    if not folder.exists():
        pytest.skip("the samples are not beside the repository")
    films = [read_film(path).pixels for path in sorted(folder.glob("*.jpg"))]
    turned = [detect_inverted(film) for film in films]
    assert len(films) == 160 and sum(turned) == 20, "counted by eye"
    assert [detect_inverted(turn(film, 255)) for film in films] == [not t for t in turned]

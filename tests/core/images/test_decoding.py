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
    full_scale,
    invert,
    is_inverted,
    read_image,
    working_image,
)
from support.paths import SAMPLES
from support.requirements import needs_samples


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_exact(tmp_path: Path, suffix: str) -> None:
    pixels = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    Image.fromarray(pixels).save(tmp_path / f"film.{suffix}")
    film = read_image(tmp_path / f"film.{suffix}")
    assert (
        film.pixels.dtype == np.uint16
        and (film.pixels == pixels).all()
        and film.maximum == 65535
        and len(film.file_hash) == 64
    )


def test_eight_bit_modes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([pixels] * 3, -1)).save(tmp_path / "rgb.png")
    Image.fromarray(pixels).convert("LA").save(tmp_path / "alpha.png")
    Image.fromarray(pixels).convert("P").save(tmp_path / "palette.png")
    for name in ("grey", "rgb", "alpha", "palette"):
        film = read_image(tmp_path / f"{name}.png")
        assert (film.pixels == pixels).all() and film.maximum == 255, name
    Image.fromarray(pixels).save(tmp_path / "film.jpg", quality=95)
    assert read_image(tmp_path / "film.jpg").pixels.shape == (20, 30)


def test_wrong_extension(tmp_path: Path) -> None:
    Image.new("L", (5, 4)).save(tmp_path / "film.png")
    (tmp_path / "film.png").rename(tmp_path / "film.jpg")
    assert read_image(tmp_path / "film.jpg").pixels.shape == (4, 5)


def test_orientation_tag(tmp_path: Path) -> None:
    """Orientation 6 of Exif: viewers rotate the image by 90 degrees clockwise."""
    upright = (
        np.tile(np.arange(0, 240, 8, dtype=np.uint8), (16, 1))
        + np.arange(16, dtype=np.uint8)[:, None]
    )
    rotated = Image.fromarray(np.ascontiguousarray(np.rot90(upright)))
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in ("png", "tif"):
        rotated.save(tmp_path / f"film.{suffix}", exif=exif)
        assert np.array_equal(read_image(tmp_path / f"film.{suffix}").pixels, upright)
    rotated.save(tmp_path / "film.jpg", exif=exif, quality=100)
    assert np.abs(read_image(tmp_path / "film.jpg").pixels.astype(int) - upright).max() <= 2


def test_truncated_tiff(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 65535, (80, 60)).astype(np.uint16)).save(
        tmp_path / "f.tif", compression="tiff_lzw"
    )
    (tmp_path / "f.tif").write_bytes((tmp_path / "f.tif").read_bytes()[:4000])
    with pytest.raises(UserError, match="f.tif"):
        read_image(tmp_path / "f.tif")


def test_unreadable_files(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90), dtype=np.uint8)).save(
        tmp_path / "whole.jpg"
    )
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty.png").write_bytes(b"")
    Image.fromarray(np.zeros((3, 3), np.float32)).save(tmp_path / "float.tif")
    for name in ("cut.jpg", "text.png", "empty.png", "float.tif", "missing.png"):
        with pytest.raises(UserError, match=name):
            read_image(tmp_path / name)


def test_full_scale() -> None:
    assert full_scale(np.zeros((2, 2), np.uint8)) == 255
    assert [
        full_scale(np.full((2, 2), v, np.uint16)) for v in (0, 1023, 1024, 4095, 16000, 20000)
    ] == [1023, 1023, 4095, 4095, 16383, 65535]


def literal_average(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """Return area averages by way of a grid that both images divide evenly."""
    h, w = pixels.shape
    fine = pixels.repeat(height, 0).repeat(width, 1).astype(float)
    return fine.reshape(height, h, width, w).mean((1, 3))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_working_image_equals_literal_average(h: int, w: int, width: int, seed: int) -> None:
    width = min(width, w)
    pixels = np.random.default_rng(seed).integers(0, 4096, (h, w), dtype=np.uint16)
    got, (fx, fy) = working_image(pixels, 4095, width)
    height = max(1, round(h * width / w))
    assert got.shape == (height, width) and fx == width / w and fy == height / h
    assert np.abs(got - literal_average(pixels, height, width) * 255 / 4095).max() <= 0.51


def test_area_weights_and_enlarging() -> None:
    for old, new in ((7, 3), (10, 10), (2776, 908), (5491, 1796)):
        np.testing.assert_allclose(area_weights(old, new).sum(1), 1, atol=1e-5)
    got, _ = working_image(np.array([[0, 255], [255, 0]], np.uint8), 255, 8)
    assert got.shape == (8, 8) and got.min() == 0 and got.max() == 255


def test_polarity() -> None:
    y, x = np.mgrid[:200, :150]
    film = np.where(
        (x / 90) ** 2 + ((y - 100) / 80) ** 2 < 1, 120 + 40 * np.sin(x / 3) * np.cos(y / 4), 3
    ).astype(np.uint8)
    assert not is_inverted(film) and is_inverted(255 - film)
    assert (invert(255 - film, 255) == film).all()
    assert not is_inverted(np.full((50, 50), 200, np.uint8)), (
        "without a background nothing is inverted"
    )


@needs_samples
def test_polarity_of_sample_images() -> None:
    folder = SAMPLES / "image_labels"
    films = [read_image(path).pixels for path in sorted(folder.glob("*.jpg"))]
    inverted = [is_inverted(film) for film in films]
    assert len(films) == 160 and sum(inverted) == 20, "counted manually"
    assert [is_inverted(invert(film, 255)) for film in films] == [not t for t in inverted]

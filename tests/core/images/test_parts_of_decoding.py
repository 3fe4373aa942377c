"""Files of every kind of image, in grey and colour, and what is refused."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.images import decoding
from core.images.decoding import area_weights, is_inverted, read_image, working_image
from support.dicom_writer import write_dicom

GREY = np.array([[0, 10, 200], [30, 255, 7]], np.uint8)
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=2)
# Luminance of ITU-R BT.601.
LUMINANCE = np.rint(COLOUR @ [0.299, 0.587, 0.114])


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_in_grey_and_in_colour(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "a.png", COLOUR, mode)
    grey, colour = read_image(path), read_image(path, colour=True)
    assert grey.pixels.shape == (2, 3) and np.abs(grey.pixels - LUMINANCE).max() <= 1
    assert np.array_equal(colour.pixels, COLOUR) and colour.maximum == 255
    assert (grey.inverted, grey.pixel_mm, grey.laterality, grey.view, grey.scanner) == (
        *(False, None, "", "", ""),
    )
    assert grey.attributes == {}
    assert grey.file_hash == colour.file_hash == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("mode", ["L", "LA", "I", "1"])
def test_grey_files_in_colour(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / ("a.tif" if mode == "I" else "a.png"), GREY, mode)
    grey, colour = read_image(path), read_image(path, colour=True)
    expected = (GREY >= 200) * 255 if mode == "1" else GREY
    assert np.array_equal(grey.pixels, expected) or mode == "1"
    assert np.array_equal(colour.pixels, np.repeat(grey.pixels[..., None], 3, 2))
    assert colour.maximum == grey.maximum == (1023 if mode == "I" else 255)


def test_sixteen_bits_in_colour(tmp_path: Path) -> None:
    pixels = np.array([[5, 1024]], np.uint16)
    found = read_image(save(tmp_path / "a.tif", pixels), colour=True)
    assert found.pixels.tolist() == [[[5] * 3, [1024] * 3]] and found.maximum == 4095
    dicom = read_image(write_dicom(tmp_path / "a.dcm", pixels, ImageLaterality="L"), colour=True)
    assert dicom.pixels.tolist() == [[[5] * 3, [1024] * 3]] and dicom.maximum == 4095
    assert dicom.laterality == "LEFT" and dicom.attributes == {"laterality": "LEFT"}


@pytest.mark.parametrize("channel", [0, 1, 2])
def test_almost_grey_colours(tmp_path: Path, channel: int) -> None:
    """Only three equal channels keep their exact values."""
    pixels = np.repeat(GREY[..., None], 3, axis=2)
    assert np.array_equal(read_image(save(tmp_path / "a.png", pixels)).pixels, GREY)
    pixels[0, 0, channel] = 100
    found = read_image(save(tmp_path / "b.png", pixels)).pixels
    assert found[0, 0] == round(100 * (0.299, 0.587, 0.114)[channel])


@pytest.mark.parametrize(
    ("values", "is_refused"), [([[0, 65535]], False), ([[0, 65536]], True), ([[-1, 9]], True)]
)
def test_grey_values_of_32_bits(tmp_path: Path, values: list, is_refused: bool) -> None:
    path = save(tmp_path / "a.tif", np.array(values, np.int32))
    if is_refused:
        with pytest.raises(UserError, match=f"beyond 16 bits .{values[0][0]} to {values[0][1]}"):
            read_image(path)
    else:
        found = read_image(path)
        assert found.pixels.tolist() == values and found.pixels.dtype == np.uint16


def test_files_of_several_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = [Image.fromarray(GREY), Image.fromarray(GREY)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match=r"a\.tif holds 2 images: export each"):
        read_image(tmp_path / "a.tif")
    # The further images of a camera's file are previews.
    pages[0].save(tmp_path / "a.mpo", save_all=True, append_images=pages[1:])
    assert read_image(tmp_path / "a.mpo").pixels.shape == (2, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "does not exist: check the path"),
        (b"", "is empty .0 bytes"),
        (b"text", "unsupported format"),
        ("folder", "cannot be read .Is a directory"),
    ],
)
def test_files_that_are_no_images(
    tmp_path: Path, content: bytes | str | None, message: str
) -> None:
    path = tmp_path / "a.png"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()
    with pytest.raises(UserError, match=rf"a\.png {message}|a\.png: {message}"):
        read_image(path)


@pytest.mark.parametrize(("air", "is_negative"), [(112, False), (128, True)])
def test_least_brightness_of_negative_air(air: int, is_negative: bool) -> None:
    """Air of 60 % of the range is as far from black as from white: 2 to 198 here, so 120."""
    rng = np.random.default_rng(1)
    # One value on each ring, so that no side is constant.
    pixels = rng.integers(0, 201, (60, 60)).astype(np.uint8)
    pixels[15:45, 20:50] = air
    assert is_inverted(pixels) == is_negative
    assert is_inverted(pixels.repeat(3, 0).repeat(3, 1)) == is_negative


@pytest.mark.parametrize("scale", [1, 100])
def test_frames_do_not_decide_on_polarity(scale: int) -> None:
    """A bright strip of 30 % that is flatter than the air, by two levels of 255."""
    rng = np.random.default_rng(4)
    pixels = rng.integers(0, 13, (100, 100))
    pixels[20:80, 30:70] = rng.integers(60, 200, (60, 40))
    assert not is_inverted((pixels * scale).astype(np.uint16))
    pixels[:, :30] = rng.integers(250, 253, (100, 30))
    assert not is_inverted((pixels * scale).astype(np.uint16))
    # Without a step at its end it is air.
    pixels[:, 30:34] = 240
    pixels[:, 34:38] = rng.integers(190, 253, (100, 4))
    assert is_inverted((pixels * scale).astype(np.uint16))


def test_enlarged_working_images() -> None:
    """Half the way between two pixels is their mean; factors are those of both sides."""
    image, factors = working_image(np.array([[0, 255]], np.uint8), 255, 4)
    assert image.tolist() == [[0, 64, 191, 255]] * 2 and factors == (2.0, 2.0)
    image, factors = working_image(np.array([[0, 300, 900]], np.uint16), 600, 3)
    assert image.tolist() == [[0, 128, 255]] and factors == (1.0, 1.0)
    flat, factors = working_image(np.full((1, 9), 51, np.uint8), 255, 3)
    assert flat.tolist() == [[51, 51, 51]] and factors == (1 / 3, 1.0)
    tall, factors = working_image(np.arange(10, dtype=np.uint8)[:, None] * 10, 100, 1)
    assert tall[:, 0].tolist() == [round(25.5 * k) for k in range(10)] and factors == (1.0, 1.0)


def test_weights_of_areas() -> None:
    """Five pixels become three of 5/3 each: 1, 2/3 | 1/3, 1, 1/3 | 2/3, 1 of 5/3."""
    expected = np.array([[3, 2, 0, 0, 0], [0, 1, 3, 1, 0], [0, 0, 0, 2, 3]]) / 5
    weights = area_weights(5, 3)
    assert np.allclose(weights.toarray(), expected, atol=1e-6) and weights.dtype == np.float32
    assert np.array_equal(area_weights(4, 4).toarray(), np.eye(4, dtype=np.float32))
    # Exact edges reach into no further pixel.
    assert all(area_weights(k * n, n).nnz == k * n for k in (2, 3, 7) for n in (3, 10, 49))


def test_averages_do_not_overflow() -> None:
    pixels = np.full((300, 300), 65535, np.uint16)
    assert (decoding._block_average(pixels) == 65535).all()
    assert decoding._block_average(pixels).shape == (150, 150)
    assert decoding._block_average(pixels[:, :255]).shape == (300, 255)

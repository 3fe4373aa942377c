"""Mask files: two values, chosen classes, black on white; anything doubtful is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.errors import UserError
from core.sources.outlines.mask_files import parse_mask_reference, read_mask_file

SHAPE = (100, 80)


def blank(value: int = 0) -> np.ndarray:
    return np.full(SHAPE, value, np.uint8)


def write(folder: Path, pixels: np.ndarray, name: str = "m.png", **options: int) -> Path:
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


def read(path: Path, words: str = "") -> np.ndarray:
    return read_mask_file(path, parse_mask_reference(f"{path.name} {words}"), SHAPE)


@pytest.mark.parametrize(("ground", "finding"), [(0, 255), (0, 1), (1, 2), (127, 200)])
def test_two_values(tmp_path: Path, ground: int, finding: int) -> None:
    pixels = blank(ground)
    pixels[20:40, 10:37] = finding
    mask = read(write(tmp_path, pixels))
    assert mask.sum() == 20 * 27 and mask[20:40, 10:37].all()


def test_black_on_white(tmp_path: Path) -> None:
    pixels = blank(255)
    pixels[20:40, 10:37] = 0
    path = write(tmp_path, pixels)
    with pytest.raises(UserError, match='marks 93% of the film .*write "m.png inverted"'):
        read(path)
    assert read(path, "inverted")[20:40, 10:37].all() and read(path, "inverted").sum() == 540


def test_inverted_by_mistake(tmp_path: Path) -> None:
    pixels = blank()
    pixels[20:40, 10:37] = 255
    with pytest.raises(UserError, match='remove the word "inverted"'):
        read(write(tmp_path, pixels), "inverted")


@pytest.mark.parametrize("classes", [(1, 2), (85, 170), (9, 250), (254, 255)])
def test_classes(tmp_path: Path, classes: tuple[int, int]) -> None:
    pixels = blank()
    pixels[10:20, 10:37] = classes[0]
    pixels[50:80, 40:61] = classes[1]
    path = write(tmp_path, pixels)
    if classes != (254, 255):
        with pytest.raises(UserError, match=f"several classes, {classes[0]}, {classes[1]}"):
            read(path)
    assert read(path, f"value {classes[0]}").sum() == 270
    assert read(path, f"value {classes[1]}").sum() == 630
    with pytest.raises(UserError, match="no pixel of the value 7"):
        read(path, "value 7")


def test_soft_edges_are_no_classes(tmp_path: Path) -> None:
    pixels = np.zeros((200, 160), np.uint8)
    pixels[40:80, 20:74] = 255
    small = np.asarray(Image.fromarray(pixels).resize((80, 100), Image.Resampling.BICUBIC))
    assert read(write(tmp_path, small)).sum() == pytest.approx(540, rel=0.1)
    exact = blank()
    exact[20:40, 10:37] = 255
    assert read(write(tmp_path, exact, "m.jpg", quality=40)).sum() == pytest.approx(540, rel=0.1)
    with pytest.raises(UserError, match="JPEG, which does not keep"):
        read(tmp_path / "m.jpg", "value 255")


def test_picture_instead_of_a_mask(tmp_path: Path) -> None:
    """A film that is named as its own mask would have its brightest tissue as the finding."""
    tissue = np.random.default_rng(0).normal(120, 25, (100, 80)).clip(40, 255)
    film = np.where(np.arange(80) < 40, tissue, 0).astype(np.uint8)
    with pytest.raises(UserError, match=r"m\.png is a picture: .* shades of grey"):
        read(write(tmp_path, film))
    # The soft edges of a small finding are no picture, even if they are its larger part.
    y, x = np.mgrid[:100, :80]
    soft = (255 * np.clip((6 - np.hypot(x - 40, y - 50)) / 5, 0, 1)).astype(np.uint8)
    assert 30 < read(write(tmp_path, soft)).sum() < 80


def test_unusable_masks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        read(write(tmp_path, blank()))
    with pytest.raises(UserError, match="marks 100% of the film"):
        read(write(tmp_path, blank(255)))
    with pytest.raises(UserError, match="is 9 x 8 pixels, its image 80 x 100"):
        read(write(tmp_path, blank()[:8, :9]))


def test_references() -> None:
    assert parse_mask_reference("a b.png").name == "a b.png"
    assert parse_mask_reference("a b.png VALUE 12").value == 12
    assert parse_mask_reference("value 3") == parse_mask_reference(" value 3 ")

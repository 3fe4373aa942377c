"""Pictures of image arms: what is black, which class map is drawn, and what a source names."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from core.images.blinded_rendering import (
    CLASS_MAP,
    FILM_PLACES,
    MAMMOGRAM,
    breast_mask,
    class_map_source,
    color_class_map,
    mammogram_source,
    original_source,
    prerendered_path,
    prerendered_source,
    render_jpeg,
    source_files,
)
from core.images.tissue_segmentation import tissue_mask

# Colours of matplotlib's inferno at these levels.
INFERNO = {0: (0, 0, 4), 64: (87, 16, 110), 191: (249, 140, 10), 255: (252, 255, 164)}
LABEL = np.s_[8:20, 270:292]


def film(width: int = 300) -> np.ndarray:
    """Return a breast at the left, 300 wide, with a bright label in the corner."""
    y, x = np.mgrid[:200, :300]
    image = np.where((x / 180) ** 2 + ((y - 100) / 80) ** 2 < 1, 140 + (x + y) % 40, 3)
    image[LABEL] = 220
    return image[:, :width].astype(np.uint8)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for part in ("images", "runs/r7", "pictures"):
        (folder / part).mkdir(parents=True)
    np.save(folder / "images" / "f1.npy", film())
    np.save(folder / "images" / "f2.npy", np.stack([film(), film() // 2, film() // 3], axis=2))
    maps = np.stack([np.full((4, 6), share, np.float16) for share in (0.25, 0.75, 1.0)])
    np.savez(folder / "runs" / "r7" / "m.npz", probability=maps)
    (folder / "pictures" / "p9.jpg").write_bytes(b"stored")
    return folder


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=92, optimize=True)
    return buffer.getvalue()


def pixels_of(image: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(image)))


def test_places_of_films() -> None:
    assert [place.name for place in FILM_PLACES] == ["right CC", "left CC", "right MLO", "left MLO"]


def test_sources() -> None:
    assert json.loads(mammogram_source("f1")) == {"film": "f1"}
    assert json.loads(mammogram_source("f1", whole=True)) == {"film": "f1", "whole": True}
    named = {"run": "r7", "maps": "m.npz", "film": "f1"}
    assert json.loads(class_map_source("r7", "m.npz", "f1")) == named
    assert json.loads(class_map_source("r7", "m.npz", "f1", 0)) == named | {"output": 0}
    assert json.loads(class_map_source("r7", "m.npz", "f1", 2, True)) == {
        **named,
        "output": 2,
        "whole": True,
    }
    assert json.loads(prerendered_source("p9")) == {"ready": "p9"}


def test_original_sources() -> None:
    rendered = json.dumps({"film": "f1", "ready": "p9", "whole": True})
    assert json.loads(original_source(rendered)) == {"film": "f1", "whole": True}
    assert original_source(prerendered_source("p9")) == prerendered_source("p9")


def test_files_of_sources(study: Path) -> None:
    image, stored = study / "images" / "f1.npy", study / "pictures" / "p9.jpg"
    maps = study / "runs" / "r7" / "m.npz"
    source = class_map_source("r7", "m.npz", "f1")
    assert source_files(study, MAMMOGRAM, mammogram_source("f1")) == [image]
    assert source_files(study, CLASS_MAP, source) == [image, maps]
    assert source_files(study, CLASS_MAP, prerendered_source("p9")) == [stored]
    assert prerendered_path(study, "p9") == stored
    assert render_jpeg(study, MAMMOGRAM, prerendered_source("p9")) == b"stored"


def test_a_mammogram_is_black_outside_the_breast(study: Path) -> None:
    inside = breast_mask(film())
    expected = np.where(inside, film(), 0).astype(np.uint8)
    assert render_jpeg(study, MAMMOGRAM, mammogram_source("f1")) == jpeg(expected)
    assert not expected[LABEL].any() and expected[100, 100] == 140


def test_a_whole_image_keeps_every_pixel(study: Path) -> None:
    source = mammogram_source("f1", whole=True)
    assert render_jpeg(study, MAMMOGRAM, source) == jpeg(film())
    colour = np.stack([film(), film() // 2, film() // 3], axis=2)
    source = mammogram_source("f2", whole=True)
    assert render_jpeg(study, MAMMOGRAM, source) == jpeg(colour)


@pytest.mark.parametrize(("output", "level"), [(None, 255), (-1, 255), (0, 64), (1, 191)])
def test_a_class_map_is_that_of_its_output(study: Path, output: int | None, level: int) -> None:
    options = {} if output is None else {"output": output}
    drawn = pixels_of(
        render_jpeg(study, CLASS_MAP, class_map_source("r7", "m.npz", "f1", **options))
    )
    assert drawn.shape == (200, 300, 3)
    assert np.abs(drawn[100, 60].astype(int) - INFERNO[level]).max() <= 3
    assert drawn[LABEL].max() <= 8
    whole = class_map_source("r7", "m.npz", "f1", whole=True, **options)
    covered = pixels_of(render_jpeg(study, CLASS_MAP, whole))
    assert np.abs(covered[LABEL].astype(int) - INFERNO[level]).max() <= 3


@pytest.mark.parametrize(("width", "margin"), [(300, 3), (240, 2.4), (60, 1)])
def test_the_margin_of_the_skin_is_one_percent_of_the_width(width: int, margin: float) -> None:
    """At least one pixel; by dilation with a disc."""
    pixels = film(width)
    y, x = np.mgrid[-3:4, -3:4]
    disc = y**2 + x**2 <= margin**2
    tissue = tissue_mask(pixels)
    assert 0 < tissue.sum() < tissue.size
    assert np.array_equal(breast_mask(pixels), ndimage.binary_dilation(tissue, disc))


def test_an_image_without_tissue_has_no_breast() -> None:
    assert not breast_mask(np.zeros((50, 40), np.uint8)).any()


def test_colours_of_a_class_map() -> None:
    """Two columns become four: 0, 1/4, 3/4 and 1 of 255 levels, rounded; outside is black."""
    inside = np.ones((1, 4), bool)
    colours = [[list(INFERNO[level]) for level in (0, 64, 191, 255)]]
    assert color_class_map(np.array([[0, 1]], np.float32), inside).tolist() == colours
    inside[0, 2] = False
    colours[0][2] = [0, 0, 0]
    drawn = color_class_map(np.array([[0, 1]], np.float32), inside)
    assert drawn.tolist() == colours and drawn.dtype == np.uint8
    beyond = color_class_map(np.array([[-0.5, 1.5]], np.float32), np.ones((1, 2), bool))
    assert beyond.tolist() == [[list(INFERNO[0]), list(INFERNO[255])]]

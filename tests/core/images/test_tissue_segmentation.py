from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from core.images.decoding import invert, is_inverted, read_image, working_image
from core.images.tissue_segmentation import tissue_mask
from core.sources import phantom
from core.sources.phantom.concepts import Concept
from support.paths import SAMPLES
from support.requirements import needs_samples


@pytest.fixture(scope="module")
def mammograms() -> list:
    tasks, _ = phantom.list_tasks(patients=12, seed=5)
    return [mammogram for task in tasks for mammogram in phantom.read_patient(task).mammograms]


def test_phantom_breast_without_view_label(mammograms: list) -> None:
    anatomy = Concept.DENSE_TISSUE | Concept.FATTY_TISSUE | Concept.PECTORAL_MUSCLE | Concept.VESSEL
    for mammogram in mammograms:
        mask, concepts = tissue_mask(mammogram.pixels), mammogram.concepts
        breast = ndimage.binary_fill_holes((concepts & int(anatomy)) > 0)
        label = (concepts & int(Concept.VIEW_LABEL)) > 0
        assert (mask & label).sum() <= 0.01 * label.sum(), mammogram.id
        assert (mask & breast).sum() >= 0.95 * breast.sum(), mammogram.id
        far = ndimage.distance_transform_edt(~breast) > 0.06 * mask.shape[1]
        assert not (mask & far).any(), f"{mammogram.id}: air in the tissue mask"


def test_mirroring_and_scaling(mammograms: list) -> None:
    mask = tissue_mask(mammograms[0].pixels)
    assert (
        tissue_mask(np.ascontiguousarray(mammograms[0].pixels[:, ::-1])) == mask[:, ::-1]
    ).mean() > 0.995
    large = tissue_mask(mammograms[0].pixels.repeat(3, 0).repeat(3, 1))
    assert (large[1::3, 1::3] == mask).mean() > 0.99


def test_bright_air(mammograms: list) -> None:
    for mammogram in mammograms[:6]:
        mask = tissue_mask(mammogram.pixels)
        for lift in (30, 60):
            grey = (lift + mammogram.pixels * (1 - lift / 255)).astype(np.uint8)
            assert (tissue_mask(grey) == mask).mean() > 0.98, (mammogram.id, lift)


def test_image_full_of_tissue(mammograms: list) -> None:
    film = next(m for m in mammograms if m.view == "CC")
    inside = ndimage.distance_transform_edt(tissue_mask(film.pixels))
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    half = int(inside.max() * 0.6)
    piece = film.pixels[y - half : y + half, max(0, x - half) : x + half]
    assert tissue_mask(piece).mean() > 0.9


def test_image_without_tissue() -> None:
    assert not tissue_mask(np.zeros((64, 64), np.uint8)).any()
    assert not tissue_mask(np.full((64, 64), 17, np.uint8)).any()
    speck = np.zeros((256, 256), np.uint8)
    speck[10:16, 10:16] = 200
    assert not tissue_mask(speck).any()


@needs_samples
def test_sample_images() -> None:
    folder = SAMPLES / "image_labels"
    for path in sorted(folder.glob("*.jpg"))[::4]:
        pixels = read_image(path).pixels
        pixels = invert(pixels, 255) if is_inverted(pixels) else pixels
        image, _ = working_image(pixels, 255, 256)
        mask = tissue_mask(image)
        assert ndimage.label(mask)[1] == 1, path.name
        assert 0.02 < mask.mean() < 0.85, path.name
        assert mask[:, 0].any() or mask[:, -1].any(), (
            f"{path.name}: the breast touches the chest wall"
        )
        assert np.median(image[~mask]) < 30 < np.median(image[mask]), path.name


@pytest.mark.parametrize(("radius", "is_breast"), [(18, False), (40, True)])
def test_small_bright_piece_is_no_breast(radius: int, is_breast: bool) -> None:
    """Discs of 0.6 % and 3 % of the image; the limit is 1 %."""
    y, x = np.mgrid[:400, :400]
    image = np.where((y - 200) ** 2 + (x - 150) ** 2 <= radius**2, 180, 4).astype(np.uint8)
    assert tissue_mask(image).any() == is_breast

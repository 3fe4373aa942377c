"""Tissue and polarity of real films on uneven grounds, in frames and beside padding strips.

The outlines of the breasts (`tests/data/breast_outlines.json`, x and y in turn, in pixels of the
640 x 640 films) were drawn by a threshold of each film's own and checked by eye.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from core.images.decoding import is_inverted
from core.images.frames import inside_of_frame
from core.images.polygons import fill_polygons
from core.images.tissue_segmentation import segment_tissue, tissue_mask, with_margin
from support.paths import ROOT, SAMPLES

FOLDER = SAMPLES / "image_labels"
SIDE = 640
Film = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def sample_films() -> list[Film]:
    """Return positive films, uint8, with the masks drawn for them."""
    outlines = json.loads((ROOT / "tests" / "data" / "breast_outlines.json").read_text())
    pairs = []
    for name, numbers in outlines.items():
        pixels = np.asarray(Image.open(FOLDER / name).convert("L"))
        mask = fill_polygons([np.array(numbers, float).reshape(-1, 2)], pixels.shape)
        # The films at hand are negative where the air, outside the mask, is bright.
        pixels = 255 - pixels if np.median(pixels[~mask]) > 127 else pixels
        pairs.append((pixels, mask))
    return pairs


def overlaps(films: list[Film], change: Callable[[np.ndarray, np.random.Generator], Film]) -> list:
    """Return the IoU of each film's mask after a change of the film and its region."""
    rng, values = np.random.default_rng(5), []
    for pixels, mask in films:
        changed, region = change(pixels.astype(float), rng)
        measured = tissue_mask(changed.clip(0, 255).astype(np.uint8))
        truth = mask & region
        values.append((measured & truth).sum() / (measured | truth).sum())
    return values


def ramp(angle: float) -> np.ndarray:
    """Return a gradient from 0 to 30 across the film."""
    y, x = np.mgrid[:SIDE, :SIDE]
    rising = np.cos(angle) * x + np.sin(angle) * y
    return 30 * (rising - rising.min()) / np.ptp(rising)


def everywhere() -> np.ndarray:
    return np.ones((SIDE, SIDE), bool)


def inner(top: int, left: int) -> np.ndarray:
    region = np.zeros((SIDE, SIDE), bool)
    region[top:-top, left:-left] = True
    return region


def test_unchanged_films(sample_films: list[Film]) -> None:
    assert len(sample_films) >= 40
    assert min(overlaps(sample_films, lambda film, rng: (film, everywhere()))) > 0.95


def test_added_gradient(sample_films: list[Film]) -> None:
    def add(film: np.ndarray, rng: np.random.Generator) -> Film:
        noise = rng.normal(0, 2, film.shape)
        return film + ramp(rng.uniform(0, 2 * np.pi)) + noise, everywhere()

    assert min(overlaps(sample_films, add)) > 0.9


def test_gradient_of_the_air_alone(sample_films: list[Film]) -> None:
    def lay_below(film: np.ndarray, rng: np.random.Generator) -> Film:
        return np.maximum(film, ramp(rng.uniform(0, 2 * np.pi))), everywhere()

    values = np.array(overlaps(sample_films[::2], lay_below))
    assert (values > 0.8).mean() >= 0.95 and np.median(values) > 0.95


def test_frames_and_collimation(sample_films: list[Film]) -> None:
    def white_frame(film: np.ndarray, rng: np.random.Generator) -> Film:
        region = inner(int(rng.integers(6, 40)), int(rng.integers(6, 40)))
        return np.where(region, film, 255), region

    def collimated(film: np.ndarray, rng: np.random.Generator) -> Film:
        region = inner(40, 60)
        return np.where(region, 0.85 * film + 28, 8), region

    for change in (white_frame, collimated):
        assert min(overlaps(sample_films[::2], change)) > 0.9, change


def test_polarity_beside_a_strip_of_padding(sample_films: list[Film]) -> None:
    for pixels, _ in sample_films[::2]:
        for negative in (False, True):
            for grey in (0, 255):
                film = 255 - pixels if negative else pixels.copy()
                film[:, -128:] = grey
                assert is_inverted(film) == negative


def test_air_beside_a_breast_is_no_frame() -> None:
    y, x = np.mgrid[:200, :150]
    breast = (x / 90) ** 2 + ((y - 100) / 60) ** 2 < 1
    assert inside_of_frame(np.where(breast, 120, 3)) == (slice(0, 200), slice(0, 150))
    framed = np.full((240, 150), 3)
    framed[20:220] = np.where(breast, 120, 40)
    assert inside_of_frame(framed)[0] == slice(20, 220)


def test_doubtful_masks() -> None:
    rng = np.random.default_rng(0)
    air = rng.normal(10, 1, (300, 200))
    breast = air.copy()
    breast[60:240, :90] += 90
    assert segment_tissue(breast.astype(np.uint8)).doubt == ""
    assert "no breast tissue" in segment_tissue(air.astype(np.uint8)).doubt
    two = breast.copy()
    two[60:200, 130:] += 90
    assert "another bright area" in segment_tissue(two.astype(np.uint8)).doubt
    full = rng.normal(120, 25, (300, 200)).clip(0, 255)
    assert "no background" in segment_tissue(full.astype(np.uint8)).doubt


def test_margin_is_a_disc() -> None:
    mask = np.zeros((600, 512), bool)
    mask[200:400, 200:300] = True
    wide = with_margin(mask, 20)
    y, x = np.mgrid[:600, :512]
    distance = np.hypot(np.maximum(200 - y, y - 399).clip(0), np.maximum(200 - x, x - 299).clip(0))
    assert wide[distance <= 17].all() and not wide[distance >= 23].any()
    assert not with_margin(np.zeros((4, 4), bool), 3).any()

"""Detection of planted faults on real films: share found, and share of false alarms.

    python -m benchmarks.problem_detection FOLDER

FOLDER holds mammograms as image files. Every film receives a plausible outline inside the breast;
faults are planted in copies. The breast is located for this purpose by a threshold and not by the
segmentation under test, which holds for films whose air is nearly black.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from core.images.decoding import ensure_positive_polarity, is_inverted, read_image, working_image
from core.images.finding_checks import check_finding, pixel_count
from core.images.polygons import fill_polygons
from core.images.tissue_segmentation import segment_tissue, with_margin

WIDTH = 908
_BLACK = 12
_MIN_IOU = 0.8
_STRIP_SHARE = 0.2
_GRADIENT = 30.0
# Scales of an outline in other units: millimetres, a thumbnail, an enlarged copy.
_SCALES = (0.07, 0.25, 2.5)


@dataclass(frozen=True)
class Film:
    """A positive film uint8 [h, w], its breast by threshold, and a plausible outline [n, 2]."""

    pixels: np.ndarray
    breast: np.ndarray
    outline: np.ndarray


@dataclass(frozen=True)
class DetectionRow:
    """Result of one fault. kept_inside: faulty outlines that still lie inside the breast."""

    fault: str
    planted: int
    detected: int
    kept_inside: int


def load_film(path: Path, rng: np.random.Generator) -> Film:
    """Return a film with an elliptic outline at a random place inside its breast."""
    image = ensure_positive_polarity(read_image(path))
    pixels, _ = working_image(image.pixels, image.maximum, WIDTH)
    labels, count = ndimage.label(ndimage.binary_opening(pixels > _BLACK, iterations=6))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    breast = ndimage.binary_fill_holes(labels == 1 + int(sizes.argmax()))
    radii = rng.uniform(0.02, 0.06, 2) * WIDTH
    # Lesions lie in the tissue and not on its border.
    places = np.argwhere(ndimage.distance_transform_edt(breast) > radii.min())
    y, x = places[rng.integers(len(places))]
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    outline = np.stack([x + radii[0] * np.cos(angle), y + radii[1] * np.sin(angle)], 1)
    return Film(pixels, breast, outline.clip(0, np.array(pixels.shape[::-1]) - 1))


def is_listed(pixels: np.ndarray, outline: np.ndarray) -> bool:
    """Return whether ingestion would list the film or its outline."""
    segmentation = segment_tissue(pixels)
    breast = with_margin(segmentation.mask, 0.01 * WIDTH)
    mask = fill_polygons([outline], breast.shape)
    return bool(segmentation.doubt or check_finding(mask, breast, pixel_count([outline])))


def _mirror(film: Film, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return film.pixels, np.array([WIDTH - 1, 0]) + film.outline * np.array([-1, 1])


def _wrong_side(film: Film, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return np.ascontiguousarray(film.pixels[:, ::-1]), film.outline


def _other_units(film: Film, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return film.pixels, film.outline * rng.choice(_SCALES)


def _shares(film: Film, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return film.pixels, film.outline / np.array(film.pixels.shape[::-1])


OUTLINE_FAULTS: dict[str, Callable[[Film, np.random.Generator], tuple[np.ndarray, np.ndarray]]] = {
    "outline mirrored left to right": _mirror,
    "film of the other side": _wrong_side,
    "other units": _other_units,
    "shares instead of pixels": _shares,
}


def measure_outline_fault(name: str, films: list[Film]) -> DetectionRow:
    """Return how many films with a faulty outline are listed."""
    rng, detected, kept_inside = np.random.default_rng(7), 0, 0
    for film in films:
        pixels, outline = OUTLINE_FAULTS[name](film, rng)
        breast = film.breast if pixels is film.pixels else film.breast[:, ::-1]
        mask = fill_polygons([outline], breast.shape)
        inside = bool(mask.any()) and float((mask & breast).sum() / mask.sum()) >= 0.5
        listed = is_listed(pixels, outline)
        detected += int(listed)
        # No comparison with the breast can reveal these.
        kept_inside += int(inside and not listed)
    return DetectionRow(name, len(films), detected, kept_inside)


def add_padding_strip(film: Film, rng: np.random.Generator) -> np.ndarray:
    """Return the film with a white strip on the side away from the breast."""
    pixels, width = film.pixels.copy(), round(_STRIP_SHARE * WIDTH)
    left_half = film.breast[:, : WIDTH // 2].sum() > film.breast[:, WIDTH // 2 :].sum()
    pixels[:, -width:] = 255 if left_half else pixels[:, -width:]
    pixels[:, :width] = pixels[:, :width] if left_half else 255
    return pixels


def add_gradient(film: Film, rng: np.random.Generator) -> np.ndarray:
    """Return the film on a ground that rises from 0 to 30 in a random direction."""
    y, x = np.mgrid[: film.pixels.shape[0], :WIDTH]
    angle = rng.uniform(0, 2 * np.pi)
    rising = np.cos(angle) * x + np.sin(angle) * y
    ramp = _GRADIENT * (rising - rising.min()) / np.ptp(rising)
    return np.maximum(film.pixels, ramp).astype(np.uint8)


def measure_image_fault(
    name: str, films: list[Film], change: Callable[[Film, np.random.Generator], np.ndarray]
) -> DetectionRow:
    """Return how many changed films are listed, or read with the right polarity and mask."""
    rng, detected = np.random.default_rng(8), 0
    for film in films:
        pixels = change(film, rng)
        strip = (pixels == 255) & (film.pixels != 255)
        segmentation = segment_tissue(pixels)
        truth = film.breast & ~strip
        overlap = (segmentation.mask & truth).sum() / max((segmentation.mask | truth).sum(), 1)
        right = not is_inverted(pixels) and overlap > _MIN_IOU
        detected += int(right or bool(segmentation.doubt))
    return DetectionRow(name, len(films), detected, 0)


def measure(folder: Path) -> tuple[list[DetectionRow], int, int]:
    """Return the rows of all faults, the number of false alarms, and the number of films."""
    rng = np.random.default_rng(6)
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png", ".dcm"))
    films = [load_film(path, rng) for path in paths]
    false_alarms = sum(is_listed(film.pixels, film.outline) for film in films)
    rows = [measure_outline_fault(name, films) for name in OUTLINE_FAULTS]
    rows.append(measure_image_fault("padding strip", films, add_padding_strip))
    rows.append(measure_image_fault("gradient ground", films, add_gradient))
    return rows, false_alarms, len(films)


def main() -> None:
    """Print a table of the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    rows, false_alarms, films = measure(parser.parse_args().folder)
    print("| fault | planted | found or read right | share | of those that leave the breast |")
    print("|---|--:|--:|--:|--:|")
    for row in rows:
        revealed = max(row.planted - row.kept_inside, 1)
        print(
            f"| {row.fault} | {row.planted} | {row.detected} | {row.detected / row.planted:.1%} |"
            f" {row.detected / revealed:.1%} |"
        )
    print(f"False alarms: {false_alarms} of {films} films ({false_alarms / films:.1%}).")


if __name__ == "__main__":
    main()

"""Detection of planted faults on real films: share found, and share of false alarms.

    python -m benchmarks.problem_detection FOLDER

FOLDER holds mammograms as image files. Every film receives a plausible outline inside the breast;
faults are planted in copies, in two forms: in one film of a sound source, and in a whole source.
The breast is located for this purpose by a threshold and not by the segmentation under test, which
holds for films whose air is nearly black. The side of a film is taken from the film itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from core.images.decoding import ensure_positive_polarity, is_inverted, read_image, working_image
from core.images.finding_checks import (
    MISPLACED,
    PlacedOutline,
    check_finding,
    check_outlines_jointly,
    films_of_other_side,
    pixel_count,
)
from core.images.polygons import fill_polygons
from core.images.tissue_segmentation import chest_wall_side, segment_tissue, with_margin

WIDTH = 908
_BLACK = 12
_MIN_IOU = 0.8
_STRIP_SHARE = 0.2
_GRADIENT = 30.0
# Sizes of small sources, and how many are drawn of each.
_SOURCE_SIZES, _DRAWS = (5, 10, 20), 500


@dataclass(frozen=True)
class Film:
    """A positive film uint8 [h, w], its breast by threshold, and a plausible outline [n, 2].

    segmented: the breast of the segmentation under test, with its margin. doubt: that of the
    segmentation.
    """

    name: str
    pixels: np.ndarray
    breast: np.ndarray
    outline: np.ndarray
    segmented: np.ndarray
    doubt: str


@dataclass(frozen=True)
class Check:
    """What the checks of one film say of an outline. codes: of its issues."""

    codes: frozenset[str]
    placed: PlacedOutline


@dataclass(frozen=True)
class OutlineRow:
    """Result of one fault of outlines.

    single: films listed when only they are faulty. whole: films listed when all are faulty.
    sources: share of small sources that are recognised as a whole, by size. missed: names of films
    that are not listed when only they are faulty.
    """

    fault: str
    planted: int
    single: int
    whole: int
    sources: tuple[float, ...]
    missed: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageRow:
    """Result of one fault of images. detected: films listed, or read right (polarity and mask)."""

    fault: str
    planted: int
    detected: int


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
    outline = outline.clip(0, np.array(pixels.shape[::-1]) - 1)
    segmentation = segment_tissue(pixels)
    segmented = with_margin(segmentation.mask, 0.01 * WIDTH)
    return Film(path.stem, pixels, breast, outline, segmented, segmentation.doubt)


def check_film(film: Film, outline: np.ndarray, *, flipped: bool = False) -> Check:
    """Return what the check of one film says of an outline; flipped: the film, not the outline."""
    breast = film.segmented[:, ::-1] if flipped else film.segmented
    mask = fill_polygons([outline], breast.shape)
    codes = frozenset(issue.code for issue in check_finding(mask, breast, pixel_count([outline])))
    height = breast.shape[0]
    top, bottom = float(outline[:, 1].min()) / height, float(outline[:, 1].max()) / height
    return Check(codes, PlacedOutline(top, bottom, bool(codes & set(MISPLACED))))


def _mirror(film: Film) -> Check:
    return check_film(film, np.array([WIDTH - 1, 0]) + film.outline * np.array([-1, 1]))


def _upside_down(film: Film) -> Check:
    height = film.pixels.shape[0]
    return check_film(film, np.array([0, height - 1]) + film.outline * np.array([1, -1]))


def _wrong_side(film: Film) -> Check:
    return check_film(film, film.outline, flipped=True)


def _scaled(factor: float) -> Callable[[Film], Check]:
    return lambda film: check_film(film, film.outline * factor)


def _shares(film: Film) -> Check:
    return check_film(film, film.outline / np.array(film.pixels.shape[::-1]))


OUTLINE_FAULTS: dict[str, Callable[[Film], Check]] = {
    "outline mirrored left to right": _mirror,
    "outline mirrored top to bottom": _upside_down,
    "film of the other side": _wrong_side,
    "other units: factor .07 (millimetres)": _scaled(0.07),
    "other units: factor .25 (thumbnail)": _scaled(0.25),
    "other units: factor 2.5 (enlarged copy)": _scaled(2.5),
    "shares instead of pixels": _shares,
}


def deviating_films(films: Sequence[Film], flipped: str) -> list[str]:
    """Return the films that deviate from the source if one of them is flipped."""
    opposite = {"left": "right", "right": "left", "": ""}
    walls = {}
    for film in films:
        wall = chest_wall_side(film.segmented)
        laterality = wall.upper()
        walls[film.name] = (laterality, opposite[wall] if film.name == flipped else wall)
    return films_of_other_side(walls)


def recognised_share(placed: Sequence[PlacedOutline], size: int, rng: np.random.Generator) -> float:
    """Return the share of random sources of a size that are doubtful as a whole."""
    draws = [rng.choice(len(placed), size, replace=False) for _ in range(_DRAWS)]
    return sum(bool(check_outlines_jointly([placed[k] for k in draw])) for draw in draws) / _DRAWS


def measure_outline_fault(name: str, films: Sequence[Film]) -> OutlineRow:
    """Return how many films with a faulty outline are listed."""
    rng = np.random.default_rng(7)
    checks = [OUTLINE_FAULTS[name](film) for film in films]
    placed = [check.placed for check in checks]
    listed = [bool(check.codes or film.doubt) for check, film in zip(checks, films)]
    if OUTLINE_FAULTS[name] is _wrong_side:
        # Compared with the rest of its source, which is sound.
        listed = [
            alone or film.name in deviating_films(films, film.name)
            for alone, film in zip(listed, films)
        ]
    doubtful = check_outlines_jointly(placed)
    return OutlineRow(
        fault=name,
        planted=len(films),
        single=sum(listed),
        whole=len(films) if doubtful else sum(listed),
        sources=tuple(recognised_share(placed, size, rng) for size in _SOURCE_SIZES),
        missed=tuple(film.name for film, is_listed in zip(films, listed) if not is_listed),
    )


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
    name: str, films: Sequence[Film], change: Callable[[Film, np.random.Generator], np.ndarray]
) -> ImageRow:
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
    return ImageRow(name, len(films), detected)


def load_films(folder: Path) -> list[Film]:
    """Return all films of a folder with their outlines."""
    rng = np.random.default_rng(6)
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png", ".dcm"))
    return [load_film(path, rng) for path in paths]


def main() -> None:
    """Print tables of the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    films = load_films(parser.parse_args().folder)
    sound = [check_film(film, film.outline) for film in films]
    sizes = " | ".join(f"sources of {size}" for size in _SOURCE_SIZES)
    print(f"| fault of outlines | films | single | all films of the source | {sizes} |")
    print("|---|--:|--:|--:|" + "--:|" * len(_SOURCE_SIZES))
    rows = [measure_outline_fault(name, films) for name in OUTLINE_FAULTS]
    for row in rows:
        shares = " | ".join(f"{share:.1%}" for share in row.sources)
        print(
            f"| {row.fault} | {row.planted} | {row.single} ({row.single / row.planted:.1%}) |"
            f" {row.whole} ({row.whole / row.planted:.1%}) | {shares} |"
        )
    print("\n| fault of images | films | found or read right |")
    print("|---|--:|--:|")
    for name, change in (("padding strip", add_padding_strip), ("gradient ground", add_gradient)):
        image_row = measure_image_fault(name, films, change)
        share = image_row.detected / image_row.planted
        print(f"| {name} | {image_row.planted} | {image_row.detected} ({share:.1%}) |")
    alarms = sum(bool(check.codes or film.doubt) for check, film in zip(sound, films))
    rng = np.random.default_rng(9)
    false_sources = ", ".join(
        f"{recognised_share([check.placed for check in sound], size, rng):.1%} of sources of {size}"
        for size in _SOURCE_SIZES
    )
    print(f"\nFalse alarms: {alarms} of {len(films)} films ({alarms / len(films):.1%}), and")
    print(f"{false_sources} as a whole.")
    for row in rows:
        print(f"\nNot listed, {row.fault}: {', '.join(name[:20] for name in row.missed) or 'none'}")


if __name__ == "__main__":
    main()

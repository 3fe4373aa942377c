"""Detection of planted faults on real films: share found, and share of false alarms.

    python -m benchmarks.problem_detection FOLDER

FOLDER holds mammograms as image files. Every film receives plausible outlines inside the breast;
faults are planted in copies, in two forms: in one film of a sound source, and in a whole source.
The breast is located for this purpose by a threshold and not by the segmentation under test, which
holds for films whose air is even. The side of a film is taken from the film itself. Thresholds of
the checks were chosen on every second film, the first included; results of both halves are shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    fits_scaled,
    outline_plausibility,
    pixel_count,
    usual_size_factors,
)
from core.images.polygons import fill_polygons
from core.images.tissue_segmentation import chest_wall_side, segment_tissue, with_margin

WIDTH = 908
# Tissue is brighter than the air by this much.
_BLACK = 12
# Outlines in each film.
_OUTLINES = 5
_FITS = 0.95
_MIN_IOU = 0.8
_STRIP_SHARE = 0.2
_GRADIENT = 30.0
# Sizes of small sources, and how many are drawn of each.
_SOURCE_SIZES, _DRAWS = (5, 10, 20), 500


@dataclass(frozen=True)
class Ellipse:
    """A lesion. x, y: its centre, radius_x, radius_y: half its width and height, in pixels."""

    x: float
    y: float
    radius_x: float
    radius_y: float

    def outline(self, size: float = 1.0) -> np.ndarray:
        """Return the outline [24, 2] of a lesion of this size at the same place."""
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        x = self.x + size * self.radius_x * np.cos(angle)
        return np.stack([x, self.y + size * self.radius_y * np.sin(angle)], 1)

    def box(self) -> np.ndarray:
        """Return the box [4, 2] around the outline."""
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        return np.array([self.x, self.y]) + corners * np.array([self.radius_x, self.radius_y])


@dataclass(frozen=True)
class Film:
    """A positive film uint8 [h, w], its breast by threshold, and plausible lesions.

    segmented: the breast of the segmentation under test, with its margin. doubt: that of the
    segmentation, or that the side of the film is unclear.
    """

    name: str
    pixels: np.ndarray
    breast: np.ndarray
    lesions: tuple[Ellipse, ...]
    segmented: np.ndarray
    doubt: str

    def outlines(self) -> list[np.ndarray]:
        """Return the outlines [n, 2] of the lesions, cut off at the edges of the film."""
        return [self.cut_off(lesion.outline()) for lesion in self.lesions]

    def cut_off(self, outline: np.ndarray) -> np.ndarray:
        """Return an outline [n, 2] without what lies beyond the edges of the film."""
        return outline.clip(0, np.array(self.pixels.shape[::-1]) - 1)


@dataclass(frozen=True)
class Check:
    """What the checks of one film say of an outline. codes: of its issues; outline: in [n, 2].

    mirror_fits: whether the mirrored outline lies in the breast.
    """

    codes: frozenset[str]
    placed: PlacedOutline
    outline: np.ndarray
    mirror_fits: bool = False


@dataclass(frozen=True)
class OutlineRow:
    """Result of one fault of outlines.

    single: share of the outlines that are listed when only one is faulty, of all films and of the
    two halves. whole: share of the films that are listed when all are faulty. sources: share of
    small sources that are recognised as a whole, by size. missed: number of outlines that are not
    listed when only one is faulty. undecidable: those of them that are in the breast as they are
    and mirrored.
    """

    fault: str
    single: tuple[float, float, float]
    whole: float
    sources: tuple[float, ...]
    missed: int
    undecidable: int


@dataclass(frozen=True)
class ImageRow:
    """Result of one fault of images. detected: films listed, or read right (polarity and mask)."""

    fault: str
    planted: int
    detected: int


def even_radii(rng: np.random.Generator) -> np.ndarray:
    """Return half the width and height of a lesion of 4 to 12 % of the film's width, in pixels."""
    return rng.uniform(0.02, 0.06, 2) * WIDTH


def varied_radii(rng: np.random.Generator) -> np.ndarray:
    """Return half the width and height of a lesion whose size is log-normal, in pixels.

    The median is 8 % of the film's width; one in twenty is above 20 %.
    """
    ratio = np.exp(rng.normal(0, 0.2))
    return 0.04 * WIDTH * np.exp(rng.normal(0, 0.5)) * np.array([ratio, 1 / ratio])


def load_film(path: Path) -> Film:
    """Return a film without lesions."""
    image = ensure_positive_polarity(read_image(path))
    pixels, _ = working_image(image.pixels, image.maximum, WIDTH)
    tissue = pixels > _BLACK + np.percentile(pixels, 1)
    labels, count = ndimage.label(ndimage.binary_opening(tissue, iterations=6))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    breast = ndimage.binary_fill_holes(labels == 1 + int(sizes.argmax()))
    segmentation = segment_tissue(pixels)
    segmented = with_margin(segmentation.mask, 0.01 * WIDTH)
    doubt = segmentation.doubt or ("" if chest_wall_side(segmentation.mask) else "unclear side")
    return Film(path.stem, pixels, breast, (), segmented, doubt)


def add_lesions(
    film: Film, draw_radii: Callable[[np.random.Generator], np.ndarray], rng: np.random.Generator
) -> Film:
    """Return the film with ellipses at random places inside its breast."""
    depth = ndimage.distance_transform_edt(film.breast)
    lesions: list[Ellipse] = []
    while len(lesions) < _OUTLINES:
        radii = draw_radii(rng)
        # Lesions lie in the tissue and not on its border.
        places = np.argwhere(depth > radii.min())
        # Small breasts do not hold the largest.
        if len(places):
            y, x = places[rng.integers(len(places))]
            lesions.append(Ellipse(float(x), float(y), *map(float, radii)))
    return replace(film, lesions=tuple(lesions))


def check_film(film: Film, outline: np.ndarray, *, flipped: bool = False) -> Check:
    """Return what the check of one film says of an outline; flipped: the film, not the outline."""
    breast = film.segmented[:, ::-1] if flipped else film.segmented
    mask = fill_polygons([outline], breast.shape)
    codes = frozenset(issue.code for issue in check_finding(mask, breast, pixel_count([outline])))
    height = breast.shape[0]
    top, bottom = float(outline[:, 1].min()) / height, float(outline[:, 1].max()) / height
    placed = PlacedOutline(top, bottom, bool(codes & set(MISPLACED)))
    if not mask.any():
        return Check(codes, placed, outline)
    shares = outline_plausibility(mask, breast)
    return Check(codes, placed, outline, min(shares.as_given, shares.mirrored_x) >= _FITS)


def _mirror(film: Film, outline: np.ndarray) -> Check:
    return check_film(film, np.array([WIDTH - 1, 0]) + outline * np.array([-1, 1]))


def _upside_down(film: Film, outline: np.ndarray) -> Check:
    height = film.pixels.shape[0]
    return check_film(film, np.array([0, height - 1]) + outline * np.array([1, -1]))


def _wrong_side(film: Film, outline: np.ndarray) -> Check:
    return check_film(film, outline, flipped=True)


def _scaled(factor: float) -> Fault:
    return lambda film, outline: check_film(film, outline * factor)


def _shares(film: Film, outline: np.ndarray) -> Check:
    return check_film(film, outline / np.array(film.pixels.shape[::-1]))


Fault = Callable[[Film, np.ndarray], Check]
OUTLINE_FAULTS: dict[str, Fault] = {
    "outline mirrored left to right": _mirror,
    "outline mirrored top to bottom": _upside_down,
    "film of the other side": _wrong_side,
    "other units: factor .07 (millimetres)": _scaled(0.07),
    "other units: factor .15": _scaled(0.15),
    "other units: factor .25 (thumbnail)": _scaled(0.25),
    "other units: factor .33": _scaled(0.33),
    "other units: factor 2.5 (enlarged copy)": _scaled(2.5),
    "shares instead of pixels": _shares,
}
# How the sizes of the lesions are distributed.
SIZES: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "Sizes of 4 to 12 % of the width": even_radii,
    "Sizes that vary more": varied_radii,
}
# Outlines that are sound: no check must list them.
SOUND_OUTLINES: dict[str, Callable[[Ellipse], np.ndarray]] = {
    "ellipses": Ellipse.outline,
    "boxes around them": Ellipse.box,
    "ellipses of a quarter of the size": lambda lesion: lesion.outline(0.25),
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


def outline_size(outline: np.ndarray) -> float:
    """Return the larger side of the box around an outline [n, 2] as a share of the film's width."""
    return float(np.ptp(outline, axis=0).max()) / WIDTH


def is_of_unusual_size(film: Film, outline: np.ndarray, source: Sequence[float]) -> bool:
    """Return whether an outline [n, 2] is listed for its size among those of its source."""
    factor = usual_size_factors([*source, outline_size(outline)])[-1]
    return factor is not None and fits_scaled([outline], film.segmented, factor)


def recognised_share(
    placed: Sequence[Sequence[PlacedOutline]], size: int, rng: np.random.Generator
) -> float:
    """Return the share of random sources of a size that are doubtful as a whole.

    placed: the outlines by film; each film of a source has one of its outlines.
    """
    draws = [rng.choice(len(placed), size, replace=False) for _ in range(_DRAWS)]
    sources = [
        [placed[k][int(rng.integers(len(placed[k])))] for k in map(int, draw)] for draw in draws
    ]
    return sum(bool(check_outlines_jointly(source)) for source in sources) / _DRAWS


def by_halves(listed: Sequence[Sequence[bool]]) -> tuple[float, float, float]:
    """Return the share of listed outlines of all films, and of every second, by their film."""
    both = [float(np.mean(listed[first::2])) for first in (0, 1)]
    return float(np.mean(listed)), both[0], both[1]


def measure_outline_fault(name: str, films: Sequence[Film]) -> OutlineRow:
    """Return how many faulty outlines are listed."""
    rng, fault = np.random.default_rng(7), OUTLINE_FAULTS[name]
    checks = [[fault(film, outline) for outline in film.outlines()] for film in films]
    alone = [[bool(check.codes or film.doubt) for check in own] for own, film in zip(checks, films)]
    # Compared with the rest of its source, which is sound.
    sizes = [outline_size(outline) for film in films for outline in film.outlines()]
    listed = [
        [flag or is_of_unusual_size(film, check.outline, sizes) for flag, check in zip(flags, own)]
        for flags, own, film in zip(alone, checks, films)
    ]
    if fault is _wrong_side:
        listed = [
            [flag or film.name in deviating_films(films, film.name) for flag in own]
            for own, film in zip(listed, films)
        ]
    placed = [[check.placed for check in own] for own in checks]
    doubtful = check_outlines_jointly([outline for own in placed for outline in own])
    missed = [
        check
        for own, flags in zip(checks, listed)
        for check, is_listed in zip(own, flags)
        if not is_listed
    ]
    return OutlineRow(
        fault=name,
        single=by_halves(listed),
        whole=1.0 if doubtful else float(np.mean(alone)),
        sources=tuple(recognised_share(placed, size, rng) for size in _SOURCE_SIZES),
        missed=len(missed),
        undecidable=sum(check.mirror_fits for check in missed),
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
    """Return all films of a folder."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in (".jpg", ".png", ".dcm"))
    return [load_film(path) for path in paths]


def print_sound_outlines(films: Sequence[Film]) -> None:
    """Print how many sound outlines, films and sources are listed: false alarms."""
    print(
        "\n| sound outlines | outlines | listed | first half | second half | sources of 5, 10, 20 |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for name, draw in SOUND_OUTLINES.items():
        rng = np.random.default_rng(9)
        checks = [
            [check_film(film, film.cut_off(draw(lesion))) for lesion in film.lesions]
            for film in films
        ]
        sizes = [outline_size(check.outline) for own in checks for check in own]
        listed = [
            [bool(check.codes) or is_of_unusual_size(film, check.outline, sizes) for check in own]
            for own, film in zip(checks, films)
        ]
        shares = by_halves(listed)
        placed = [[check.placed for check in own] for own in checks]
        sources = ", ".join(f"{recognised_share(placed, n, rng):.1%}" for n in _SOURCE_SIZES)
        cells = " | ".join(f"{share:.2%}" for share in shares)
        print(f"| {name} | {_OUTLINES * len(films)} | {cells} | {sources} |")


def print_sound_films(films: Sequence[Film]) -> None:
    """Print the films that are listed without any fault: false alarms."""
    doubtful = [film for film in films if film.doubt]
    print(f"\nFilms listed for themselves: {len(doubtful)} of {len(films)}")
    for film in doubtful:
        print(f"- {film.name[:20]}: {film.doubt}")
    print(f"Films that deviate from the side of the others: {len(deviating_films(films, ''))}")


def print_outline_faults(films: Sequence[Film]) -> None:
    """Print how many faulty outlines are listed."""
    sizes = " | ".join(f"sources of {size}" for size in _SOURCE_SIZES)
    print(
        f"| fault of outlines | single | first half | second half | all of the source | {sizes} |"
    )
    print("|---|--:|--:|--:|--:|" + "--:|" * len(_SOURCE_SIZES))
    rows = [measure_outline_fault(name, films) for name in OUTLINE_FAULTS]
    for row in rows:
        shares = " | ".join(f"{share:.1%}" for share in (*row.single, row.whole, *row.sources))
        print(f"| {row.fault} | {shares} |")
    print("\n| fault of outlines | not listed | of these, in the breast as they are and mirrored |")
    print("|---|--:|--:|")
    for row in rows:
        print(f"| {row.fault} | {row.missed} | {row.undecidable} |")


def main() -> None:
    """Print tables of the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    films = load_films(parser.parse_args().folder)
    print(f"{len(films)} films, {_OUTLINES} outlines each")
    for title, draw_radii in SIZES.items():
        rng = np.random.default_rng(6)
        outlined = [add_lesions(film, draw_radii, rng) for film in films]
        print(f"\n## {title}\n")
        print_outline_faults(outlined)
        print_sound_outlines(outlined)
    print("\n| fault of images | films | found or read right |")
    print("|---|--:|--:|")
    for name, change in (("padding strip", add_padding_strip), ("gradient ground", add_gradient)):
        row = measure_image_fault(name, films, change)
        print(f"| {name} | {row.planted} | {row.detected} ({row.detected / row.planted:.1%}) |")
    print_sound_films(films)


if __name__ == "__main__":
    main()

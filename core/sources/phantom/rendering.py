"""Rendering of a phantom view: findings placed in a breast, film response, grain, dust and label.

Anatomy and single findings belong in `anatomy` and `findings`. Random numbers are drawn in a fixed
order; keep the order of the draws when you change a function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from core.images.polygons import fill_polygons
from core.sources.phantom.anatomy import (
    Breast,
    BreastParameters,
    linear_structures,
    make_breast,
    noise_field,
    parenchyma,
    pectoral_exposure,
)
from core.sources.phantom.concepts import Concept
from core.sources.phantom.findings import Appearance, draw_finding
from core.sources.phantom.shapes import calcification_specks, mass_shape

# From this width on, anatomy is drawn at half the size and enlarged: its finest structures span two
# pixels then, and drawing takes half the time. Findings and grain are drawn at full size.
_HALF_SIZE_WIDTH = 512
# DDSM rates subtlety from 1 (subtle) to 5 (obvious); 3 has the nominal contrast.
SUBTLETY_CONTRAST = (0.35, 0.62, 1.0, 1.3, 1.65)
# Radius of a ring on the skin, in image widths: about 7 mm.
_RING_RADIUS = 0.03


@dataclass(frozen=True, kw_only=True)
class Lesion:
    """A finding before it is drawn.

    description: its LESION_TYPE line. radius, depth (distance from the nipple): in image widths.
    seed: of its shape. marked: whether a ring lies on the skin above it.
    """

    appearance: Appearance
    pathology: str
    description: str
    assessment: int
    subtlety: int
    radius: float
    depth: float
    seed: int
    marked: bool = False


@dataclass(frozen=True)
class RenderedView:
    """One developed view.

    pixels: uint8 [h, w]. concepts: uint32 [h, w]. outlines: per lesion, [n, 2] in pixels.
    """

    pixels: np.ndarray
    concepts: np.ndarray
    outlines: tuple[np.ndarray, ...]


def render_view(
    seed: list[int],
    name: str,
    body: BreastParameters,
    lesions: list[Lesion],
    shape: tuple[int, int],
    contrast: float,
    mimics: float,
) -> RenderedView:
    """Draw one view, such as "LEFT_CC".

    Anatomy, each finding and the film have random streams of their own, so that a change of one
    leaves the others unchanged. contrast: factor on every finding. mimics: mean number of harmless
    specks; a third as many summation shadows are added.
    """
    mlo, flip = name.endswith("MLO"), name.startswith("RIGHT")
    rng, film = np.random.default_rng([*seed, 0]), np.random.default_rng([*seed, 1])
    half = shape[1] >= _HALF_SIZE_WIDTH
    b = make_breast(rng, body, mlo, (shape[0] // 2, shape[1] // 2) if half else shape)
    gland, net = parenchyma(rng, b, body, mlo)
    fibres, vessels = linear_structures(rng, b)
    areola = (
        np.exp(-((b.x - b.nipple[0] + 0.02) ** 2 + (b.y - b.nipple[1]) ** 2) / 0.0009) * b.thickness
    )
    exposure = (
        _exposure(rng, b, body, gland, net, fibres, vessels)
        + 0.10 * areola
        + pectoral_exposure(rng, b, gland)
    )
    if half:
        b, exposure = _enlarge_breast(b, shape), _enlarge(exposure, shape, Image.Resampling.BICUBIC)
        gland, vessels, areola = (_enlarge(array, shape) for array in (gland, vessels, areola))
    _add_mimics(rng, b, exposure, mimics)

    concepts, outlines = np.zeros(shape, np.uint32), []
    placed: list[tuple[float, float, float]] = []
    for lesion in lesions:
        at = _choose_centre(rng, lesion, b, placed)
        placed.append((*at, lesion.radius))
        outline = _add_lesion(b, lesion, at, exposure, contrast, int(mlo))
        # In LEFT orientation; pixels and concepts are flipped together below.
        concepts[fill_polygons([outline], shape)] |= np.uint32(lesion.appearance.concept)
        if lesion.marked:
            _add_skin_marker(b, lesion, at, exposure, concepts)
        outline = np.stack([shape[1] - 1 - outline[:, 0], outline[:, 1]], 1) if flip else outline
        outlines.append(outline.clip(0, [shape[1] - 1, shape[0] - 1]))
    _mark_anatomy(concepts, b, gland, vessels, areola)
    grey = _develop(film, exposure, b.thickness, body)
    if flip:
        grey, concepts = grey[:, ::-1].copy(), concepts[:, ::-1].copy()
    # After the flip, because the letters of the marker must not be mirrored.
    concepts[_burn_label(film, grey, name)] |= np.uint32(Concept.VIEW_LABEL)
    return RenderedView(grey.clip(0, 255).astype(np.uint8), concepts, tuple(outlines))


def _enlarge(
    array: np.ndarray,
    shape: tuple[int, int],
    filter_: Image.Resampling = Image.Resampling.BILINEAR,
) -> np.ndarray:
    """Return an array as float32 of another shape [h, w]."""
    image = Image.fromarray(array.astype(np.float32)).resize(shape[::-1], filter_)
    return np.array(image)


def _enlarge_breast(b: Breast, shape: tuple[int, int]) -> Breast:
    """Return the anatomy at another shape [h, w]."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float32) / shape[1]
    distance, thickness, pectoral = (
        _enlarge(array, shape) for array in (b.distance, b.thickness, b.pectoral)
    )
    return Breast(x, y, distance, thickness, pectoral, b.nipple)


def _exposure(
    rng: np.random.Generator,
    b: Breast,
    body: BreastParameters,
    gland: np.ndarray,
    net: np.ndarray,
    fibres: np.ndarray,
    vessels: np.ndarray,
) -> np.ndarray:
    """Return the log exposure [h, w] of fat, gland, ligaments, vessels and skin."""
    skin = np.exp(-(((b.distance - 0.006) / 0.006) ** 2))
    slope = 1 + 0.14 * (1 - b.x / b.nipple[0]) + 0.07 * noise_field(rng, b.x.shape, 2.5, (1, 6))
    return (
        b.thickness
        * slope
        * (body.fat + 0.60 * gland + (0.5 + 0.6 * gland) * fibres + 0.07 * net + vessels)
        + 0.03 * skin
    )


def _mark_anatomy(
    concepts: np.ndarray, b: Breast, gland: np.ndarray, vessels: np.ndarray, areola: np.ndarray
) -> None:
    """Set the bits of anatomy in concepts [h, w], in place."""
    inside = b.distance > 0
    areas = {
        Concept.PECTORAL_MUSCLE: b.pectoral > 0.5,
        Concept.NIPPLE: areola > 0.2,
        Concept.SKIN_LINE: np.abs(b.distance - 0.01) < 0.015,
        Concept.DENSE_TISSUE: inside & (gland > 0.5),
        Concept.FATTY_TISSUE: inside & (gland < 0.15),
        Concept.VESSEL: inside & (vessels > 0.035),
    }
    for concept, area in areas.items():
        concepts[area] |= np.uint32(concept)


def _choose_centre(
    rng: np.random.Generator, lesion: Lesion, b: Breast, placed: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """Return a centre (x, y) in the breast at about the depth of the lesion: the best of 400 draws.

    It keeps away from muscle, rim and the lesions placed before, given as (x, y, radius).
    """
    (h, w), radius = b.x.shape, lesion.radius
    x, y = rng.uniform(0.04, b.nipple[0], 400), rng.uniform(0.08, h / w - 0.08, 400)
    ix, iy = (x * w).astype(int).clip(0, w - 1), (y * w).astype(int).clip(0, h - 1)
    node = lesion.appearance.concept == Concept.LYMPH_NODE
    # Leaving the tissue (9) is worse than an overlap (5), the chest wall or the muscle (3).
    cost = np.abs(np.hypot(x - b.nipple[0], y - b.nipple[1]) - lesion.depth) + 9 * (
        b.distance[iy, ix] < 0.55 * radius + 0.04
    )
    # Lymph nodes lie in the axillary tail: the muscle is allowed and a small y preferred.
    cost += 3 * (x < 0.5 * radius) + 3 * (b.pectoral[iy, ix] > 0.3) * (not node) + 0.6 * y * node
    for other_x, other_y, other_radius in placed:
        cost += 5 * (np.hypot(x - other_x, y - other_y) < other_radius + radius)
    best = int(np.argmin(cost))
    return float(x[best]), float(y[best])


def _window(
    b: Breast, at: tuple[float, float], radius: float
) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
    """Return the slices of a square of half-side 2.2 radii about `at`, and its grid u, v [n, n].

    The grid holds offsets from the centre, in radii.
    """
    h, w = b.x.shape
    x0, y0, n = (
        max(0, int((at[0] - 2.2 * radius) * w)),
        max(0, int((at[1] - 2.2 * radius) * w)),
        int(4.4 * radius * w) + 3,
    )
    # At least three pixels remain: the grid spacing is read from neighbours.
    x0, y0 = min(x0, w - 3), min(y0, h - 3)
    box = np.s_[y0 : y0 + n, x0 : x0 + n]
    return box, (b.x[box] - at[0]) / radius, (b.y[box] - at[1]) / radius


def _add_lesion(
    b: Breast,
    lesion: Lesion,
    at: tuple[float, float],
    exposure: np.ndarray,
    contrast: float,
    view: int,
) -> np.ndarray:
    """Add a lesion to exposure [h, w], in place; return its outline [n, 2] in pixels.

    The outline is that in a LEFT breast.

    view: 0 or 1, varies the shape.
    """
    box, u, v = _window(b, at, lesion.radius)
    toward = float(np.arctan2(b.nipple[1] - at[1], b.nipple[0] - at[0]))
    added, outline = draw_finding(
        np.random.default_rng([lesion.seed, view]), lesion.appearance, u, v, toward
    )
    # Attenuation adds up along the beam, and exposure is logarithmic.
    exposure[box] += (
        lesion.appearance.contrast
        * contrast
        * SUBTLETY_CONTRAST[lesion.subtlety - 1]
        * added
        * b.thickness[box] ** 0.5
    )
    return (outline * lesion.radius + np.array(at)) * exposure.shape[1]


def _add_skin_marker(
    b: Breast,
    lesion: Lesion,
    at: tuple[float, float],
    exposure: np.ndarray,
    concepts: np.ndarray,
) -> None:
    """Add a metal ring beside a lesion to exposure and concepts [h, w], in place."""
    # A stream of its own: the lesion is the same with and without a marker.
    angle = np.random.default_rng([lesion.seed, 2]).uniform(0, 2 * np.pi)
    away = 0.6 * lesion.radius
    centre = (at[0] + away * float(np.cos(angle)), at[1] + away * float(np.sin(angle)))
    box, u, v = _window(b, centre, _RING_RADIUS)
    ring = np.exp(-(((np.hypot(u, v) - 0.85) / 0.14) ** 4))
    exposure[box] += 1.5 * ring
    concepts[box] |= np.where(np.hypot(u, v) < 1, np.uint32(Concept.SKIN_MARKER), np.uint32(0))


def _add_mimics(rng: np.random.Generator, b: Breast, exposure: np.ndarray, mean: float) -> None:
    """Add harmless specks (three in four) and soft shadows to exposure [h, w], in place."""
    for i in range(int(rng.poisson(mean * 4 / 3))):
        at = (
            rng.uniform(0.02, b.nipple[0]),
            rng.uniform(0.05, exposure.shape[0] / exposure.shape[1] - 0.05),
        )
        radius = rng.uniform(0.02, 0.06)
        box, u, v = _window(b, at, radius)
        speck = calcification_specks(
            u, v, np.zeros((1, 2)), 0.003 / radius, rng.uniform(0.2, 0.6), rim=rng.uniform() < 0.2
        )
        # Both are drawn every time, so that the random stream does not depend on the choice.
        shadow = 0.12 * mass_shape(rng, u, v, 0.9, 0.12, 1.2, rng.uniform(0.5, 1.0))[0]
        exposure[box] += (speck if i % 4 else shadow) * b.thickness[box]


def _develop(
    rng: np.random.Generator, exposure: np.ndarray, thickness: np.ndarray, body: BreastParameters
) -> np.ndarray:
    """Return grey levels 0..255 [h, w] of an exposure, with grain and a few dust specks.

    The characteristic curve of the film has a toe and a shoulder.
    """
    (h, w), light = exposure.shape, (np.maximum(exposure, 0) / body.speed) ** body.gamma
    fine = rng.standard_normal((h, w), dtype=np.float32)
    grain = 0.5 * fine + 1.3 * ndimage.gaussian_filter(fine, 0.8, truncate=2.5)
    grey = 6 + body.gain * light / (1 + light) + grain * (1.0 + 2.2 * thickness)
    for _ in range(int(rng.integers(0, 4))):
        y, x = int(rng.uniform(0, h - 2)), int(rng.uniform(0, w - 2))
        grey[y : y + 1 + w // 500, x : x + 1 + w // 400] += rng.choice([-25, 60])
    return grey


def _burn_label(rng: np.random.Generator, grey: np.ndarray, name: str) -> np.ndarray:
    """Draw the view marker into grey [h, w], in place; return its mask.

    It lies in the dark corner away from the chest wall.
    """
    w, (side, view) = grey.shape[1], name.split("_")
    size = max(9, int(0.055 * w))
    plate = Image.new(
        "L", (int(size * (1.6 + 0.62 * len(view))), int(size * 1.7)), int(rng.integers(22, 42))
    )
    # The font of Pillow: the marker must not depend on the fonts of a machine.
    pen = ImageDraw.Draw(plate)
    pen.text((size * 0.3, size * 0.2), side[0], fill=84, font=ImageFont.load_default(size * 1.1))
    pen.text((size * 1.1, size * 0.5), view, fill=78, font=ImageFont.load_default(size * 0.8))
    card = np.asarray(
        plate.rotate(float(rng.choice([0, 0, 28, -28, 90])) + rng.normal(0, 3), expand=True),
        np.float32,
    )
    y, x = (
        int(rng.uniform(0.03, 0.08) * w),
        int(0.03 * w) if side == "RIGHT" else w - card.shape[1] - int(0.03 * w),
    )
    box, mask = np.s_[y : y + card.shape[0], x : x + card.shape[1]], np.zeros(grey.shape, bool)
    mask[box], grey[box] = card > 12, np.maximum(grey[box], card)
    return mask

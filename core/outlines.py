"""Outlines and masks: polygons to filled masks and back. A polygon is float [n, 2] of (x, y) in pixels, (0, 0) the centre of the first pixel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import contourpy
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from core.records import Finding


def fill(polygons: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Union of the filled polygons as bool [h, w]. Pixels the border runs through belong to it, so that even the smallest outline has a pixel;
    parts beyond the image are cut off."""
    image = Image.new("L", (shape[1], shape[0]))
    pen = ImageDraw.Draw(image)
    for polygon in polygons:
        points = np.rint(np.asarray(polygon, float)).astype(int)
        if len(points) == 0:
            continue
        corners = [(int(x), int(y)) for x, y in points]
        if len(corners) == 1:
            pen.point(corners, fill=1)
        else:
            pen.polygon(corners, fill=1, outline=1)
    return np.asarray(image, bool)


def scaled(polygons: Iterable[np.ndarray], factors: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Polygons carried from one image to a resized one; factors: (new width / old width, new height / old height). Pixel centres stay pixel centres."""
    by = np.array(factors, float)
    return tuple((np.asarray(polygon, float) + 0.5) * by - 0.5 for polygon in polygons)


def finding_masks(findings: Sequence[Finding], shape: tuple[int, int], factors: tuple[float, float]) -> list[tuple[str, np.ndarray]]:
    """(pathology, bool [h, w]) of every finding with an outline, in a working image of `shape` made with `factors`."""
    return [(finding.pathology, fill(scaled(finding.outline, factors), shape)) for finding in findings if finding.outline]


def trace(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Outer borders of a bool mask [h, w], one polygon per connected part (8-neighbours), holes filled; fill(trace(m)) gives m with holes filled."""
    solid = ndimage.binary_fill_holes(np.asarray(mask, bool))
    parts, _ = ndimage.label(solid, np.ones((3, 3), int))
    polygons = []
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        polygons.append(_border(parts[box] == number) + np.array([box[1].start, box[0].start]))
    return tuple(polygons)


def _border(part: np.ndarray) -> np.ndarray:
    """Border pixels of one solid part as a closed walk [n, 2] of (x, y)."""
    padded = np.pad(part, 1).astype(float)
    # A level just below 1 puts the contour on the centres of the border pixels rather than halfway to their neighbours.
    lines = contourpy.contour_generator(z=padded, name="serial").lines(1 - 1e-6)
    walks = [np.rint(np.asarray(line)) - 1 for line in lines]
    # Parts that hang together by a corner only come as several walks: one polygon may visit them in turn, because a walk back adds no area.
    joined = walks[0]
    for walk in walks[1:]:
        joined = _joined(joined, walk)
    keep = np.r_[True, np.any(np.diff(joined, axis=0) != 0, axis=1)]
    return joined[keep]


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two closed walks as one, by a detour from the point of the first that is nearest to the second."""
    gaps = np.abs(first[:, None] - second[None]).max(-1)
    i, j = np.unravel_index(int(gaps.argmin()), gaps.shape)
    detour = np.concatenate([second[j:], second[: j + 1]])
    return np.concatenate([first[: i + 1], detour, first[i:]])

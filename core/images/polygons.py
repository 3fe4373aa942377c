"""Outlines and masks: polygons to filled masks and back.

A polygon is float [n, 2] of (x, y) in pixels, (0, 0) the centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import contourpy
import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from core.errors import UserError
from core.sources.records import Finding


def fill(polygons: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Union of the filled polygons as bool [h, w].

    Pixels the border runs through belong to it, so that even the smallest outline has a pixel;
    parts beyond the image are cut off. UserError for a point that is not a number.
    """
    image = Image.new("L", (shape[1], shape[0]))
    pen = ImageDraw.Draw(image)
    for polygon in polygons:
        points = np.asarray(polygon, float)
        if len(points) == 0:
            continue
        if not np.isfinite(points).all():
            raise UserError(
                f"Point {int(np.argmin(np.isfinite(points).all(1))) + 1} of an outline is not a"
                " number; correct the outline."
            )
        points = np.rint(points).astype(int)
        corners = [(int(x), int(y)) for x, y in points]
        if len(corners) == 1:
            pen.point(corners, fill=1)
        else:
            pen.polygon(corners, fill=1, outline=1)
    return np.asarray(image, bool)


def scaled(polygons: Iterable[np.ndarray], factors: tuple[float, float]) -> tuple[np.ndarray, ...]:
    """Polygons carried from one image to a resized one; factors:

    (new width / old width, new height / old height). Pixel centres stay pixel centres.
    """
    by = np.array(factors, float)
    return tuple((np.asarray(polygon, float) + 0.5) * by - 0.5 for polygon in polygons)


def finding_masks(
    findings: Sequence[Finding], shape: tuple[int, int], factors: tuple[float, float]
) -> list[tuple[str, np.ndarray]]:
    """(pathology, bool [h, w]) of every finding with an outline, in a working image of `shape` made
    with `factors`.
    """
    return [
        (finding.pathology, fill(scaled(finding.outline, factors), shape))
        for finding in findings
        if finding.outline
    ]


def trace(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Outer borders of a bool mask [h, w] as polygons of border pixels; fill(trace(mask)) gives the
    mask with its holes filled.
    """
    mask = np.asarray(mask, bool)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return ()
    # Only the box around the mask is worked on: a finding is a small part of a film.
    corner = np.array([columns[0], rows[0]])
    solid = ndimage.binary_fill_holes(mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    padded = np.pad(solid, 1).astype(float)
    # A level just below 1 puts the contour on the centres of the border pixels rather than halfway
    # to their neighbours.
    lines = contourpy.contour_generator(z=padded, name="serial").lines(1 - 1e-6)
    return tuple(_corners(np.rint(np.asarray(line)) - 1) + corner for line in lines)


def _corners(walk: np.ndarray) -> np.ndarray:
    """A closed walk [n, 2] without repeated points and without points in the middle of a straight
    run.
    """
    walk = walk[:-1] if len(walk) > 1 and (walk[0] == walk[-1]).all() else walk
    moved = np.any(walk != np.roll(walk, 1, axis=0), axis=1)
    if not moved.any():
        return walk[:1]
    walk = walk[moved]
    before, after = walk - np.roll(walk, 1, axis=0), np.roll(walk, -1, axis=0) - walk
    turns = np.any(before != after, axis=1)
    return walk[turns] if turns.any() else walk

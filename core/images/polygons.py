"""Outlines and masks: polygons to filled masks, and masks to polygons.

Findings that carry outlines belong in `core.sources.records`. A polygon is float [n, 2] of (x, y)
in pixels; (0, 0) is the centre of the first pixel.
"""

from __future__ import annotations

from collections.abc import Iterable

import contourpy
import numpy as np
import scipy
from PIL import Image, ImageDraw

from core.errors import UserError


def fill_polygons(polygons: Iterable[np.ndarray], shape: tuple[int, int]) -> np.ndarray:
    """Return the union of filled polygons.

    Pixels on the border belong to the polygon, so that even the smallest outline has a pixel. Parts
    outside the image are cut off.

    Parameters
    ----------
    polygons : iterable of float arrays, shape [n, 2]
        Corners (x, y) in pixels.
    shape : (int, int)
        Height and width of the mask.

    Returns
    -------
    bool array, shape [h, w]

    Raises
    ------
    UserError
        If a coordinate is not a finite number.

    Examples
    --------
    >>> square = np.array([[1, 1], [4, 1], [4, 3], [1, 3]])
    >>> fill_polygons([square], (6, 6)).sum()
    np.int64(12)
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
        corners = [(int(x), int(y)) for x, y in np.rint(points).astype(int)]
        # Pillow draws nothing for a polygon of one point.
        if len(corners) == 1:
            pen.point(corners, fill=1)
        else:
            pen.polygon(corners, fill=1, outline=1)
    return np.asarray(image, bool)


def scale_polygons(
    polygons: Iterable[np.ndarray], factors: tuple[float, float]
) -> tuple[np.ndarray, ...]:
    """Return polygons transferred to a resized image.

    Parameters
    ----------
    polygons : iterable of float arrays, shape [n, 2]
        Corners (x, y) in pixels of the old image.
    factors : (float, float)
        New width / old width, new height / old height.

    Returns
    -------
    tuple of float arrays, shape [n, 2]
        Corners in pixels of the new image; areas, not pixel indices, are scaled.

    Examples
    --------
    >>> scale_polygons([np.array([[0.5, 0.5]])], (0.5, 0.5))[0].tolist()
    [[0.0, 0.0]]
    """
    by = np.array(factors, float)
    # Pixel k covers [k - 0.5, k + 0.5], so the image begins at -0.5.
    return tuple((np.asarray(polygon, float) + 0.5) * by - 0.5 for polygon in polygons)


def trace_mask(mask: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the outer borders of a mask as polygons of border pixels.

    Parameters
    ----------
    mask : bool array, shape [h, w]

    Returns
    -------
    tuple of float arrays, shape [n, 2]
        Corners (x, y); `fill_polygons` of them is the mask with its holes filled.

    Examples
    --------
    >>> mask = np.zeros((4, 5), bool)
    >>> mask[1:3, 1:4] = True
    >>> [polygon] = trace_mask(mask)
    >>> sorted(polygon.tolist())
    [[1.0, 1.0], [1.0, 2.0], [3.0, 1.0], [3.0, 2.0]]
    """
    mask = np.asarray(mask, bool)
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return ()
    # Work on the bounding box only: a finding is a small part of a mammogram.
    corner = np.array([columns[0], rows[0]])
    solid = scipy.ndimage.binary_fill_holes(
        mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    )
    padded = np.pad(solid, 1).astype(float)
    # A level just below 1 places the contour on the centres of the border pixels instead of halfway
    # to their neighbours.
    lines = contourpy.contour_generator(z=padded, name="serial").lines(1 - 1e-6)
    return tuple(_corners(np.rint(np.asarray(line)) - 1) + corner for line in lines)


def _corners(contour: np.ndarray) -> np.ndarray:
    """Return a closed contour [n, 2] without repeated points and points inside straight runs."""
    if len(contour) > 1 and (contour[0] == contour[-1]).all():
        contour = contour[:-1]
    moved = np.any(contour != np.roll(contour, 1, axis=0), axis=1)
    if not moved.any():
        return contour[:1]
    contour = contour[moved]
    before = contour - np.roll(contour, 1, axis=0)
    after = np.roll(contour, -1, axis=0) - contour
    return contour[np.any(before != after, axis=1)]

"""An outline as its source states it, and its polygons on the film that it belongs to.

Parsing of notations belongs in `core.sources.outlines.notations`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from core.errors import UserError

Points = tuple[tuple[float, float], ...]
Circle = tuple[float, float, float]

# Marks that annotation tools round or drag over the edge of a film end within this share of its
# width or height; more means other units or another film.
FILM_TOLERANCE = 0.02
_CIRCLE_CORNERS = 64
# Rounded shares of a film can exceed 1 a little, and no finding fits into the first two pixels.
_LEAST_EXTENT = 2


@dataclass(frozen=True, kw_only=True)
class Outline:
    """An outline in the coordinates of its source; the finding is the union of all parts.

    polygons: corners (x, y). circles: (x, y, radius). normalised: coordinates are shares of the
    film's width and height, a radius is a share of the width. from_below: y counts from the lower
    edge. notes: what was decided on reading the notation, such as a hole that was filled.
    """

    polygons: tuple[Points, ...] = ()
    circles: tuple[Circle, ...] = ()
    normalised: bool = False
    from_below: bool = False
    notes: tuple[str, ...] = ()


def box_outline(
    left: float, top: float, right: float, bottom: float, *, normalised: bool = False
) -> Outline:
    """Return the outline of a box; UserError if it encloses nothing.

    Examples
    --------
    >>> box_outline(1, 2, 5, 6).polygons
    (((1, 2), (5, 2), (5, 6), (1, 6)),)
    """
    # Written so that NaN fails as well.
    if not (left < right and top < bottom):
        raise UserError(
            f"the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) encloses nothing; give"
            " left, top, right and bottom"
        )
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return Outline(polygons=(corners,), normalised=normalised)


def polygon_points(numbers: Iterable[float]) -> Points:
    """Return the corners of a polygon from its numbers x, y, x, y, ...

    Raises
    ------
    UserError
        If the numbers are no three pairs, or the corners lie on one line.

    Examples
    --------
    >>> polygon_points([1, 1, 4, 1, 4, 3])
    ((1.0, 1.0), (4.0, 1.0), (4.0, 3.0))
    """
    values = [float(number) for number in numbers]
    if len(values) < 6 or len(values) % 2:
        raise UserError(
            f"a polygon has {len(values)} numbers where at least three pairs are needed"
        )
    points = np.array(values).reshape(-1, 2)
    # Decimal commas read as separators put all corners on one line.
    if np.isfinite(points).all() and np.linalg.matrix_rank(points - points[0]) < 2:
        raise UserError("a polygon encloses nothing, its corners lie on one line")
    return tuple((float(x), float(y)) for x, y in points)


def check_units(outline: Outline) -> None:
    """Raise UserError if shares of the film and pixels can have been confused.

    Examples
    --------
    >>> check_units(box_outline(0.2, 0.4, 0.3, 0.5, normalised=True))
    >>> check_units(box_outline(20, 40, 30, 50))
    """
    numbers = [abs(value) for points in outline.polygons for point in points for value in point]
    numbers += [abs(value) for circle in outline.circles for value in circle]
    largest = max(numbers)
    if not outline.normalised and largest < _LEAST_EXTENT:
        raise UserError(
            "its coordinates look like shares of the film between 0 and 1, not like pixels: put"
            ' the word "normalised" before them'
        )
    if outline.normalised and largest > _LEAST_EXTENT:
        raise UserError(
            f"a coordinate is {largest:g}, but normalised coordinates lie between 0 and 1"
        )


def circle_points(circle: Circle) -> np.ndarray:
    """Return the polygon, float [64, 2], of a circle (x, y, radius)."""
    x, y, radius = circle
    angles = np.arange(_CIRCLE_CORNERS) * (2 * np.pi / _CIRCLE_CORNERS)
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def place_on_film(
    outline: Outline, shape: tuple[int, int]
) -> tuple[tuple[np.ndarray, ...], list[tuple[str, str]]]:
    """Return the polygons of an outline in pixels of its film.

    Parameters
    ----------
    outline : Outline
        In the coordinates of the source.
    shape : (int, int)
        Height and width of the film in pixels.

    Returns
    -------
    polygons : tuple of float arrays, shape [n, 2]
        Corners (x, y), all within the film.
    warnings : list of (str, str)
        Cause and action: notes of the outline, and by how much it was clipped at the edge.

    Raises
    ------
    UserError
        If the outline leaves the film by more than FILM_TOLERANCE of the width or height, or is not
        finite.

    Examples
    --------
    >>> polygons, warnings = place_on_film(box_outline(90, 10, 101, 40), (200, 100))
    >>> polygons[0].max(0).tolist(), warnings[0][0]
    ([100.0, 40.0], 'the outline leaves the film (100 x 200 pixels) by up to 1 pixels')
    """
    height, width = shape
    size = np.array([width, height], float)
    polygons = [np.array(points, float) for points in outline.polygons]
    if outline.normalised:
        polygons = [points * size for points in polygons]
        circles = [(x * width, y * height, radius * width) for x, y, radius in outline.circles]
    else:
        circles = list(outline.circles)
    polygons += [circle_points(circle) for circle in circles]
    if outline.from_below:
        polygons = [points * (1, -1) + (0, height) for points in polygons]
    corners = np.concatenate(polygons)
    # A corner may lie on the far edge of the last pixel, at x = width or y = height.
    excess = np.maximum(-corners, corners - size)
    if not np.isfinite(corners).all() or (excess > FILM_TOLERANCE * size).any():
        low, high = corners.min(0), corners.max(0)
        raise UserError(
            f"the outline (x {low[0]:g} to {high[0]:g}, y {low[1]:g} to {high[1]:g}) leaves its"
            f" film ({width} x {height} pixels) by more than {FILM_TOLERANCE:.0%} of it"
        )
    warnings = [(note, "outline used") for note in outline.notes]
    if (excess > 0).any():
        cause = (
            f"the outline leaves the film ({width} x {height} pixels) by up to"
            f" {float(excess.max()):.3g} pixels"
        )
        warnings.append((cause, "outline clipped to the film"))
    return tuple(points.clip(0, size) for points in polygons), warnings

"""Outlines written as JSON: GeoJSON objects, and the nested lists of COCO and of Python programs.

References
----------
RFC 7946 (GeoJSON), section 3.1. COCO data format, "segmentation": a list of polygons
[x1, y1, x2, y2, ...] per object (cocodataset.org/#format-data).
"""

from __future__ import annotations

import json
from typing import Any

from core.errors import UserError
from core.sources.outlines.records import Outline, Points, polygon_points

HOLE_NOTE = "a hole in the outline counts as part of the finding"


def parse_json_outline(text: str) -> Outline:
    """Return the outline of a GeoJSON object or of a nested list.

    Parameters
    ----------
    text : str
        JSON; parentheses of Python tuples are accepted as brackets.

    Returns
    -------
    Outline

    Raises
    ------
    UserError
        If the text is not JSON, or its nesting has no certain meaning.

    Examples
    --------
    >>> two = parse_json_outline("[[1, 1, 4, 1, 4, 3], [7, 7, 9, 7, 9, 9]]")
    >>> len(two.polygons)
    2
    """
    try:
        value = json.loads(text.replace("(", "[").replace(")", "]"))
    except ValueError:
        raise UserError("it begins like JSON but is not JSON") from None
    except RecursionError:
        raise UserError("its lists are nested too deeply") from None
    return outline_from_json(value)


def outline_from_json(value: Any) -> Outline:
    """Return the outline of a parsed GeoJSON object or nested list; UserError as above."""
    if isinstance(value, dict):
        return _from_geojson(value)
    if isinstance(value, list):
        return Outline(polygons=tuple(_polygons_of_list(value)))
    raise UserError("it is neither a GeoJSON object nor a list")


def _from_geojson(value: dict[str, Any]) -> Outline:
    kind = value.get("type")
    if kind == "Feature" and isinstance(value.get("geometry"), dict):
        return _from_geojson(value["geometry"])
    coordinates = value.get("coordinates")
    if kind not in ("Polygon", "MultiPolygon") or not isinstance(coordinates, list):
        shown = kind if isinstance(kind, str) else "without a type"
        raise UserError(f"GeoJSON {shown} has no area: give Polygon, MultiPolygon or a Feature")
    polygons = [coordinates] if kind == "Polygon" else coordinates
    rings = [polygon for polygon in polygons if isinstance(polygon, list) and polygon]
    if not rings:
        raise UserError("the GeoJSON has no coordinates")
    return Outline(
        # The first ring of a polygon is its outer border, the others are holes.
        polygons=tuple(_points_of_pairs(polygon[0]) for polygon in rings),
        notes=(HOLE_NOTE,) if any(len(polygon) > 1 for polygon in rings) else (),
    )


def _polygons_of_list(value: list[Any]) -> list[Points]:
    """Return the polygons of a list: flat numbers, pairs, or a list of either.

    Each inner list stays a polygon of its own.
    """
    if not value:
        raise UserError("its list is empty")
    if _is_numbers(value):
        _check_not_a_box(value)
        return [polygon_points(value)]
    if all(_is_pair(item) for item in value):
        return [_points_of_pairs(value)]
    if not all(isinstance(item, list) and item for item in value):
        raise UserError("its list mixes numbers and lists")
    return [points for item in value for points in _polygon_of_item(item)]


def _polygon_of_item(item: list[Any]) -> list[Points]:
    """Return the polygon of one item of a list of polygons."""
    if _is_numbers(item):
        _check_not_a_box(item)
        return [polygon_points(item)]
    return [_points_of_pairs(item)]


def _check_not_a_box(numbers: list[Any]) -> None:
    if len(numbers) == 4:
        raise UserError(
            "a list of four numbers has no certain meaning (corners, width and height, or rows"
            ' first): write "box left top right bottom"'
        )


def _is_numbers(value: list[Any]) -> bool:
    return all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in value)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and _is_numbers(value)


def _points_of_pairs(value: Any) -> Points:
    if not isinstance(value, list) or not all(_is_pair(item) for item in value):
        raise UserError("its lists are neither numbers x, y, x, y nor pairs [x, y]")
    return polygon_points(number for pair in value for number in pair)

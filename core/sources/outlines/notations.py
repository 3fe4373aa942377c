"""Notations of outlines in a table cell: polygons, boxes, circles, WKT, GeoJSON, lists of COCO.

A notation is recognised with certainty or refused. JSON belongs in
`core.sources.outlines.json_notations`, mask files in `core.sources.outlines.mask_files`.

References
----------
OGC 06-103r4, Simple feature access, section 7 (WKT).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import PurePosixPath

from core.errors import UserError
from core.sources.outlines.json_notations import HOLE_NOTE, parse_json_outline
from core.sources.outlines.records import (
    Circle,
    Outline,
    Points,
    box_outline,
    check_units,
    polygon_points,
)

NOTATIONS = (
    'write a polygon "x y, x y, x y" in pixels (parts separated by |), "box left top right bottom",'
    ' "circle x y radius", WKT, GeoJSON or a list of COCO, each after the word "normalised" if the'
    ' coordinates are shares of the film; or the name of a mask file, followed by "value N" or'
    ' "inverted" where needed'
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_NORMALISED = re.compile(r"^normali[sz]ed\b[\s:]*", re.IGNORECASE)
_SHAPE = re.compile(r"^(box|circle|point)\b[\s:]*", re.IGNORECASE)
_WKT = re.compile(r"^(?:SRID=\d+;\s*)?([A-Z]+)(?:\s+Z?M?)?\s*(\(.*\)|EMPTY)$", re.I | re.S)
_MASK_SUFFIXES = {
    *(".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".dcm", ".dicom"),
}


def is_outline_text(text: str) -> bool:
    """Return whether the cell of an outline holds coordinates and not the name of a mask file.

    Examples
    --------
    >>> is_outline_text("circle 5 5 2"), is_outline_text("masks/a 1.png"), is_outline_text("1 2 3")
    (True, False, True)
    """
    text = text.strip()
    if _NORMALISED.match(text) or text.startswith(("{", "[")):
        return True
    if PurePosixPath(text.replace("\\", "/")).suffix.lower() in _MASK_SUFFIXES:
        return False
    return bool(_SHAPE.match(text) or _WKT.match(text)) or not re.search(
        r"[^\W\d_]", re.sub(_NUMBER, "", text)
    )


def parse_outline(text: str) -> Outline:
    """Return the outline that a cell states.

    Parameters
    ----------
    text : str
        One of NOTATIONS except a mask file.

    Returns
    -------
    Outline

    Raises
    ------
    UserError
        If the text is in no known notation, encloses nothing, or has coordinates that can only be
        shares of the film without the word "normalised".

    Examples
    --------
    >>> parse_outline("normalised box .2 .4 .3 .5").normalised
    True
    >>> parse_outline("POLYGON ((1 1, 9 1, 9 5, 1 1))").polygons
    (((1.0, 1.0), (9.0, 1.0), (9.0, 5.0), (1.0, 1.0)),)
    """
    text = text.strip()
    normalised = bool(_NORMALISED.match(text))
    body = _NORMALISED.sub("", text)
    outline = dataclasses.replace(_parse_body(body), normalised=normalised)
    check_units(outline)
    return outline


def _parse_body(text: str) -> Outline:
    """Return the outline of a cell without the word for its units."""
    if text.startswith(("{", "[")):
        return parse_json_outline(text)
    wkt, shape = _WKT.match(text), _SHAPE.match(text)
    # A third number of a WKT point is a height, not a radius.
    if wkt and wkt.group(1).lower() not in ("box", "circle"):
        return _parse_wkt(wkt.group(1).upper(), wkt.group(2))
    if shape:
        return _parse_shape(shape.group(1).lower(), text[shape.end() :])
    if re.sub(_NUMBER, "", text).strip(" \t,;|()"):
        raise UserError("it cannot be interpreted")
    return Outline(polygons=tuple(polygon_points(_numbers(part)) for part in text.split("|")))


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(_NUMBER, text)]


def _parse_shape(shape: str, text: str) -> Outline:
    """Return a box, or a circle, which may also be written as a point with a radius."""
    rest = re.sub(r"\bradius\b", " ", text, flags=re.IGNORECASE) if shape != "box" else text
    if re.sub(_NUMBER, "", rest).strip(" \t,;()="):
        raise UserError(f"a {shape} is followed by numbers only")
    numbers = _numbers(rest)
    if shape == "box":
        if len(numbers) != 4:
            raise UserError(f"a box has four numbers, not {len(numbers)}")
        return box_outline(*numbers)
    if len(numbers) != 3:
        hint = ": a point needs a radius" if shape == "point" and len(numbers) == 2 else ""
        raise UserError(f"a {shape} has three numbers, not {len(numbers)}{hint}")
    if not numbers[2] > 0:
        raise UserError(f"its radius is {numbers[2]:g}")
    circle: Circle = (numbers[0], numbers[1], numbers[2])
    return Outline(circles=(circle,))


def _parse_wkt(kind: str, text: str) -> Outline:
    """Return the polygons of a WKT text, of which the outer rings count."""
    if kind not in ("POLYGON", "MULTIPOLYGON"):
        raise UserError(f"WKT of kind {kind} has no area: give POLYGON or MULTIPOLYGON")
    if not text.startswith("("):
        raise UserError("the WKT text is empty")
    rings: list[Points] = []
    holes = False
    depth, ring_depth, first_in_polygon = 0, 2 if kind == "POLYGON" else 3, True
    for match in re.finditer(r"[()]|[^()]+", text):
        token = match.group()
        if token == "(":
            depth += 1
            first_in_polygon = first_in_polygon or depth == ring_depth - 1
        elif token == ")":
            depth -= 1
        elif depth == ring_depth:
            ring = _wkt_ring(token)
            if first_in_polygon:
                rings.append(ring)
            holes = holes or not first_in_polygon
            first_in_polygon = False
        elif token.strip(" ,"):
            raise UserError("the parentheses of the WKT text do not match its kind")
    if depth or not rings:
        raise UserError("the WKT text is not complete")
    return Outline(polygons=tuple(rings), notes=(HOLE_NOTE,) if holes else ())


def _wkt_ring(text: str) -> Points:
    """Return the corners of a ring "x y, x y, ..."; further coordinates of a corner are refused."""
    corners = [corner.split() for corner in text.split(",")]
    if any(len(corner) != 2 for corner in corners):
        raise UserError("a corner of the WKT text does not have two coordinates")
    try:
        return polygon_points(float(number) for corner in corners for number in corner)
    except ValueError:
        raise UserError("a coordinate of the WKT text is not a number") from None

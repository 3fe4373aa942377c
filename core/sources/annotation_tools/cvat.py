"""CVAT: the XML file of a "CVAT for images" export.

Boxes, polygons, ellipses and masks are read. Shapes without an area (polyline, points, cuboid), and
tags of the image that state a pathology which no shape shows, are findings without an outline, so
that their images give no patch labels.

References
----------
docs.cvat.ai, "XML annotation format", version 1.1, "Annotation" mode.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from core.errors import UserError
from core.sources.annotation_tools.marks import (
    Mark,
    MarkedImage,
    check_export_size,
    parse_options,
    plan_patients,
)
from core.sources.annotation_tools.run_lengths import cvat_mask_outline
from core.sources.outlines.records import Outline, box_outline, circle_points, polygon_points
from core.sources.plans.reading import plan_files, read_planned_patient
from core.sources.plans.records import PatientPlan
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "annotators"
_SHAPES = {"box", "polygon", "ellipse", "mask", "polyline", "points", "cuboid", "skeleton"}

task_files = plan_files
read_patient = read_planned_patient


def list_tasks(
    path: Path | None,
    images: Path | None = None,
    skip_bad: bool = False,
    pathology_from_birads: str | None = None,
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient, and the problems found; options as for COCO."""
    folder, mapping = parse_options(images, pathology_from_birads)
    if path is None or not Path(path).is_file():
        raise UserError(
            f"{path or 'The source'} is no file: give annotations.xml of a CVAT export."
        )
    check_export_size(Path(path))
    try:
        root = ElementTree.parse(path).getroot()
    except ElementTree.ParseError as error:
        raise UserError(f"{path} is not XML ({error}): export it again.") from None
    if root.tag != "annotations" or root.find("track") is not None:
        raise UserError(
            f'{path} is no "CVAT for images" export: choose this format in CVAT, not the one for'
            " videos."
        )
    marked = [_marked_image(element, Path(path)) for element in root.iter("image")]
    return plan_patients(marked, folder, mapping, skip_bad=skip_bad)


def _marked_image(element: ElementTree.Element, path: Path) -> MarkedImage:
    name = element.get("name", "")
    origin = f"{path}, image {name}"
    marks = []
    for number, shape in enumerate((s for s in element if s.tag in _SHAPES), start=1):
        mark_origin = f"{origin}, {shape.tag} {number}"
        try:
            outline = _outline(shape)
        except UserError as error:
            raise UserError(f"{mark_origin}: {error}; correct it.") from None
        except (KeyError, ValueError) as error:
            raise UserError(
                f"{mark_origin}: its coordinates cannot be read ({error}); export it again."
            ) from None
        marks.append(
            Mark(
                label=shape.get("label", ""),
                attributes=tuple(
                    (a.get("name", "").lower(), (a.text or "").strip())
                    for a in shape.findall("attribute")
                ),
                outline=outline,
                origin=mark_origin,
            )
        )
    width, height = element.get("width"), element.get("height")
    return MarkedImage(
        name=name,
        marks=tuple(marks),
        labels=tuple(tag.get("label", "") for tag in element.findall("tag")),
        size=(int(width), int(height)) if width and height else None,
        origin=origin,
    )


def _outline(shape: ElementTree.Element) -> Outline | None:
    """Return the outline of a shape in pixels, None for a shape without an area."""
    values = shape.attrib
    if shape.tag == "box":
        box = box_outline(*(float(values[name]) for name in ("xtl", "ytl", "xbr", "ybr")))
        corners = np.array(box.polygons[0])
        return _rotated(corners, corners.mean(0), values.get("rotation"))
    if shape.tag == "polygon":
        numbers = [
            float(number) for pair in values["points"].split(";") for number in pair.split(",")
        ]
        return Outline(polygons=(polygon_points(numbers),))
    if shape.tag == "ellipse":
        centre = np.array([float(values["cx"]), float(values["cy"])])
        radii = np.array([float(values["rx"]), float(values["ry"])])
        points = circle_points((0, 0, 1)) * radii + centre
        return _rotated(points, centre, values.get("rotation"))
    if shape.tag == "mask":
        counts = [int(count) for count in values["rle"].split(",")]
        left, top, width, height = (
            int(float(values[name])) for name in ("left", "top", "width", "height")
        )
        return cvat_mask_outline(counts, left, top, width, height)
    return None


def _rotated(points: np.ndarray, centre: np.ndarray, degrees: str | None) -> Outline:
    """Return points rotated clockwise on the screen around a centre."""
    angle = np.deg2rad(float(degrees or 0))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    turned = (points - centre) @ turn + centre
    return Outline(polygons=(tuple((float(x), float(y)) for x, y in turned),))

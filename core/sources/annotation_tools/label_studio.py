"""Label Studio: the JSON export, with coordinates in percent of the image.

Rectangles, polygons and ellipses are read, rotated ones too; other shapes are refused. Choices of a
region are its attributes. Choices of the image that state a pathology which no region shows are a
finding without an outline. Tasks without an annotation are left out and counted. An annotated task
without a mark is normal.

References
----------
labelstud.io/guide/task_format; labelstud.io/tags, RectangleLabels, PolygonLabels, EllipseLabels
(fields of "value").
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np

from core.errors import UserError
from core.sources.annotation_tools.coco import read_json
from core.sources.annotation_tools.marks import (
    Mark,
    MarkedImage,
    parse_options,
    plan_patients,
)
from core.sources.outlines.records import Outline, circle_points
from core.sources.plans.cells import ImageIndex
from core.sources.plans.reading import plan_files, read_planned_patient
from core.sources.plans.records import PatientPlan
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "annotators"
_SHAPES = {"rectanglelabels", "polygonlabels", "ellipselabels"}
# Results that mark nothing. Any other kind may be a mark, and must not make a film normal.
_NO_MARKS = {"choices", "textarea", "rating", "number", "datetime", "relation", "ranker"}
_IMAGE_KEYS = ("image", "img", "dicom")
# Uploaded files get a prefix of eight hexadecimal digits.
_UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")

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
    document = read_json(path, "the JSON export of Label Studio")
    stems = set(ImageIndex(folder).files())
    try:
        marked = [_marked_image(task, Path(str(path)), stems) for task in document]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f"{path} is not a JSON export of Label Studio ({type(error).__name__}: {error}): export"
            " it again as JSON, not JSON-MIN."
        ) from None
    plans, problems = plan_patients(
        [image for image in marked if image is not None], folder, mapping, skip_bad=skip_bad
    )
    waiting = sum(image is None for image in marked)
    if waiting:
        cause = f"{waiting} tasks have no annotation"
        problems.append(Problem("tasks", cause, "these images are not imported"))
    return plans, problems


def _marked_image(task: dict[str, Any], path: Path, stems: set[str]) -> MarkedImage | None:
    """Return the image of a task with its marks, None without an annotation."""
    origin = f"{path}, task {task.get('id', '')}".rstrip()
    annotations = [a for a in task["annotations"] if not a.get("was_cancelled")]
    if not annotations:
        return None
    chosen = [a for a in annotations if a.get("ground_truth")] or annotations
    if len(chosen) > 1:
        raise UserError(
            f"{origin}: it has {len(chosen)} annotations; mark one of them as ground truth in Label"
            " Studio."
        )
    data = task["data"]
    results = [entry for entry in chosen[0]["result"] if entry["type"] not in _NO_MARKS]
    regions = {entry.get("id") for entry in results} - {None}
    choices: dict[Any, list[str]] = {}
    for entry in chosen[0]["result"]:
        if entry["type"] == "choices":
            region = entry.get("id") if entry.get("id") in regions else None
            choices.setdefault(region, []).append(" ".join(map(str, entry["value"]["choices"])))
    return MarkedImage(
        name=_image_name(data, origin, stems),
        marks=tuple(
            _mark(entry, origin, choices.get(entry.get("id"), []) if entry.get("id") else [])
            for entry in results
        ),
        labels=tuple(choices.get(None, [])),
        patient=str(data.get("patient_id") or data.get("patient") or ""),
        size=_size(results),
        origin=origin,
    )


def _image_name(data: dict[str, Any], origin: str, stems: set[str]) -> str:
    """Return the path of the image: its address without server, query and upload prefix."""
    address = next((str(data[key]) for key in _IMAGE_KEYS if data.get(key)), "")
    if not address:
        raise UserError(f"{origin}: it has no image; export it again.")
    path = unquote(address.split("?d=")[-1].split("?")[0])
    path = re.sub(r"^[a-z0-9]+://[^/]*/", "", path).removeprefix("/data/upload/")
    name = path.rsplit("/", 1)[-1]
    if Path(name).stem not in stems:
        # The number of the project stands before the prefix and is no patient.
        return _UPLOAD_PREFIX.sub("", name)
    return path


def _size(results: list[dict[str, Any]]) -> tuple[int, int] | None:
    for entry in results:
        if entry.get("original_width") and entry.get("original_height"):
            return int(entry["original_width"]), int(entry["original_height"])
    return None


def _mark(entry: dict[str, Any], origin: str, choices: list[str]) -> Mark:
    kind, value = entry["type"], entry["value"]
    if float(entry.get("image_rotation") or 0) % 360:
        raise UserError(f"{origin}: the image was rotated for annotation; annotate it unrotated.")
    if kind not in _SHAPES:
        raise UserError(
            f"{origin}: marks of the kind {kind} are not read; use labelled rectangles, polygons or"
            " ellipses."
        )
    labels = value[kind]
    return Mark(
        label=" ".join(str(label) for label in labels),
        attributes=tuple((f"choice {k}", text) for k, text in enumerate(choices, start=1)),
        outline=_outline(kind, value, entry, origin),
        origin=f"{origin}, mark {entry.get('id', '')}".rstrip(),
    )


def _outline(kind: str, value: dict[str, Any], entry: dict[str, Any], origin: str) -> Outline:
    """Return the outline in shares of the image; it is built in pixels, where angles hold."""
    width, height = entry.get("original_width"), entry.get("original_height")
    rotation = float(value.get("rotation") or 0)
    if kind == "polygonlabels":
        points = np.array(value["points"], float) / 100
        return _as_outline(points)
    if (rotation or kind == "ellipselabels") and not (width and height):
        raise UserError(f"{origin}: original_width and original_height are missing; export again.")
    size = np.array([float(width or 1), float(height or 1)])
    corner = np.array([value["x"], value["y"]], float) / 100 * size
    if kind == "ellipselabels":
        radii = np.array([value["radiusX"], value["radiusY"]], float) / 100 * size
        points = circle_points((0, 0, 1)) * radii
    else:
        extent = np.array([value["width"], value["height"]], float) / 100 * size
        points = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * extent
    angle = np.deg2rad(rotation)
    # Clockwise on the screen, around the centre of an ellipse or the first corner of a rectangle.
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return _as_outline((points @ turn + corner) / size)


def _as_outline(points: np.ndarray) -> Outline:
    polygon = tuple((float(x), float(y)) for x, y in points)
    return Outline(polygons=(polygon,), normalised=True)

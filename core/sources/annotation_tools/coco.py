"""COCO: one JSON file with images, categories and annotations.

Each polygon of a segmentation stays a polygon of its own; without a segmentation the box
[x, y, width, height] counts.

References
----------
cocodataset.org/#format-data, "Object Detection".
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from core.errors import UserError
from core.sources.annotation_tools.marks import (
    Mark,
    MarkedImage,
    check_export_size,
    parse_options,
    plan_patients,
)
from core.sources.annotation_tools.run_lengths import coco_mask_outline
from core.sources.outlines.json_notations import outline_from_json
from core.sources.outlines.records import Outline, box_outline, check_units
from core.sources.plans.reading import plan_files, read_planned_patient
from core.sources.plans.records import PatientPlan
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "annotators"

task_files = plan_files
read_patient = read_planned_patient


def list_tasks(
    path: Path | None,
    images: Path | None = None,
    skip_bad: bool = False,
    pathology_from_birads: str | None = None,
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient, and the problems found.

    images: folder of the image files. pathology_from_birads: see
    `core.sources.plans.birads.parse_birads_mapping`.
    """
    folder, mapping = parse_options(images, pathology_from_birads)
    document = read_json(path, "the JSON file of a COCO export")
    try:
        marked = _marked_images(document, Path(str(path)))
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a COCO file ({type(error).__name__}: {error}): export it again."
        ) from None
    return plan_patients(marked, folder, mapping, skip_bad=skip_bad)


def read_json(path: Path | None, content: str) -> Any:
    """Return the content of a JSON file; UserError that says what it should be."""
    if path is None:
        raise UserError(f"The source is missing: give {content}.")
    if not Path(path).is_file():
        raise UserError(f"{path} is not a file: give {content}.")
    check_export_size(Path(path))
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({str(error)[:80]}): give {content}.") from None


def _marked_images(document: Any, path: Path) -> list[MarkedImage]:
    # Files that were merged without new numbers give one mark to several images.
    for key in ("images", "categories"):
        counts = Counter(entry["id"] for entry in document[key])
        repeated = [number for number, count in counts.items() if count > 1]
        if repeated:
            raise UserError(
                f"{path}: several {key} have the id {repeated[0]}, so that annotations belong to"
                " all of them; give each an id of its own."
            )
    categories = {entry["id"]: str(entry["name"]) for entry in document["categories"]}
    marks: dict[Any, list[Mark]] = {}
    ids = {image["id"] for image in document["images"]}
    for number, annotation in enumerate(document["annotations"], start=1):
        origin = f"{path}, annotation {annotation.get('id', number)}"
        if annotation["image_id"] not in ids or annotation["category_id"] not in categories:
            raise UserError(f"{origin}: its image or category is not in the file; export it again.")
        try:
            outline = _outline(annotation)
            check_units(outline)
        except UserError as error:
            raise UserError(f"{origin}: {error}; correct the annotation.") from None
        attributes = annotation.get("attributes") or {}
        mark = Mark(
            label=categories[annotation["category_id"]],
            attributes=tuple((str(k).lower(), str(v)) for k, v in sorted(attributes.items())),
            outline=outline,
            origin=origin,
        )
        marks.setdefault(annotation["image_id"], []).append(mark)
    return [
        MarkedImage(
            name=str(image["file_name"]),
            marks=tuple(marks.get(image["id"], ())),
            patient=str(image.get("patient_id") or image.get("patient") or ""),
            size=(int(image["width"]), int(image["height"])) if image.get("width") else None,
            origin=f"{path}, image {image['file_name']}",
        )
        for image in document["images"]
    ]


def _outline(annotation: dict[str, Any]) -> Outline:
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return coco_mask_outline(segmentation)
    if segmentation:
        return outline_from_json(segmentation)
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise UserError("it has neither a segmentation nor a box of four numbers")
    x, y, width, height = (float(number) for number in box)
    return box_outline(x, y, x + width, y + height)

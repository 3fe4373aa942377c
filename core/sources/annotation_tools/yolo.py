"""YOLO: a text file per image with boxes or polygons in shares of the image.

Layout: labels/**/<image>.txt, class names in data.yaml, obj.names or classes.txt. A line is
"class x_centre y_centre width height" or "class x1 y1 x2 y2 x3 y3 ...". An empty file is an image
without a finding; an image without a file was not annotated and is left out.

References
----------
docs.ultralytics.com/datasets/detect and /segment, "Ultralytics YOLO format".
"""

from __future__ import annotations

import re
from pathlib import Path

from core.errors import UserError
from core.sources.annotation_tools.marks import (
    Mark,
    MarkedImage,
    parse_options,
    plan_patients,
)
from core.sources.outlines.records import Outline, box_outline, polygon_points
from core.sources.plans.cells import ImageIndex, require_folder
from core.sources.plans.reading import plan_files, read_planned_patient
from core.sources.plans.records import PatientPlan
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "annotators"
_NAME_FILES = ("data.yaml", "data.yml", "dataset.yaml", "obj.names", "classes.txt")

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
    root = require_folder(path, "the label files and the class names of a YOLO export")
    classes = _read_classes(root)
    labels: dict[str, Path] = {}
    for file in sorted(root.rglob("*.txt")):
        if file.name in _NAME_FILES or file.name.lower().startswith("readme"):
            continue
        if file.stem in labels:
            raise UserError(
                f"{file} and {labels[file.stem]} have one name, so that the image of each is"
                " uncertain; give images and label files of all folders different names."
            )
        labels[file.stem] = file
    marked, unlabelled = [], 0
    for stem, files in ImageIndex(folder).files().items():
        if stem not in labels:
            unlabelled += len(files)
            continue
        if len(files) > 1:
            raise UserError(
                f"{labels[stem]} fits {len(files)} images, {files[0]} and others; give all images"
                " different names."
            )
        for file in files:
            name = file.relative_to(folder).as_posix()
            marked.append(MarkedImage(name=name, marks=_marks(labels[stem], classes)))
    plans, problems = plan_patients(marked, folder, mapping, skip_bad=skip_bad)
    if unlabelled:
        cause = f"{unlabelled} images have no label file"
        problems.append(Problem("images", cause, "these images are not imported"))
    return plans, problems


def _read_classes(root: Path) -> list[str]:
    """Return the class names by number; UserError if the export has none."""
    for name in _NAME_FILES:
        for folder in (root, root.parent):
            file = folder / name
            if not file.is_file():
                continue
            text = file.read_text(encoding="utf-8-sig")
            is_yaml = file.suffix in (".yaml", ".yml")
            names = _yaml_names(text) if is_yaml else text.rstrip().split("\n")
            classes = [entry.strip() for entry in names]
            # Without their place, the classes behind an empty one would get other numbers.
            if any(classes) and not all(classes):
                raise UserError(
                    f"{file} names no class {classes.index('')}: write a name for each number."
                )
            if any(classes):
                return classes
    raise UserError(
        f"The folder {root} names no classes: add data.yaml with names, or classes.txt with one"
        " name per line."
    )


def _yaml_names(text: str) -> list[str]:
    """Return the entry "names" of data.yaml, which is a list or a map from numbers to names."""
    inline = re.search(r"^names:\s*[\[{](.*?)[\]}]", text, re.MULTILINE | re.DOTALL)
    if inline:
        parts = [part.strip() for part in inline.group(1).split(",") if part.strip()]
    else:
        block = re.search(r"^names:\s*\n((?:[ \t]*(?:-|\d+:)[^\n]*\n?)+)", text, re.MULTILINE)
        parts = [line.strip() for line in block.group(1).splitlines()] if block else []
    numbered: dict[int, str] = {}
    for position, part in enumerate(parts):
        match = re.fullmatch(r"(?:-\s*|(\d+)\s*:\s*)?(.*)", part)
        assert match is not None
        number = int(match.group(1)) if match.group(1) else position
        numbered[number] = match.group(2).strip().strip("'\"")
    return [numbered.get(number, "") for number in range(max(numbered, default=-1) + 1)]


def _marks(file: Path, classes: list[str]) -> tuple[Mark, ...]:
    marks = []
    for line, text in enumerate(file.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not text.strip():
            continue
        origin = f"{file}, row {line}"
        try:
            number, *numbers = (float(word) for word in text.split())
        except ValueError:
            raise UserError(
                f"{origin}: {text[:40]!r} is not a row of numbers; correct it."
            ) from None
        if number != int(number) or not 0 <= number < len(classes):
            raise UserError(
                f"{origin}: there is no class {number:g}, only 0 to {len(classes) - 1}; correct it."
            )
        try:
            outline = _outline(numbers)
        except UserError as error:
            raise UserError(f"{origin}: {error}; correct it.") from None
        marks.append(Mark(label=classes[int(number)], outline=outline, origin=origin))
    return tuple(marks)


def _outline(numbers: list[float]) -> Outline:
    # The unit of a row cannot be read off it, but shares never exceed 1 except by rounding.
    if any(not -0.1 <= number <= 1.1 for number in numbers):
        raise UserError("its coordinates are not shares of the image between 0 and 1")
    if len(numbers) == 4:
        x, y, width, height = numbers
        return box_outline(
            x - width / 2, y - height / 2, x + width / 2, y + height / 2, normalised=True
        )
    if len(numbers) == 5:
        raise UserError("it has six numbers: a box with a confidence is a prediction, not a label")
    return Outline(polygons=(polygon_points(numbers),), normalised=True)

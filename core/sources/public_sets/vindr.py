"""VinDr-Mammo: two CSV tables with boxes, DICOM images in one folder per examination.

Layout: breast-level_annotations.csv (a row per image), finding_annotations.csv (a row per box, and
a row "No Finding" for images without), images/<study_id>/<image_id>.dicom. Only findings that are
not benign were marked. There is no pathology, only BI-RADS.

References
----------
Nguyen HT et al. VinDr-Mammo: a large-scale benchmark dataset for computer-aided diagnosis in
full-field digital mammography. Scientific Data 10, 277 (2023). Pham HH et al. PhysioNet,
doi 10.13026/br2v-7517, version 1.0.0, section "Data Description".
"""

from __future__ import annotations

import ast
from functools import partial
from pathlib import Path

from core.errors import UserError
from core.sources.conventions import parse_laterality, parse_view
from core.sources.csv_table import CsvRow, read_table
from core.sources.outlines.records import box_outline
from core.sources.plans.birads import BiradsMapping, parse_birads, parse_birads_mapping
from core.sources.plans.cells import ImageIndex, find_table, parse_density, require_folder
from core.sources.plans.reading import keep_valid_plans, plan_files, read_planned_patient
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.public_sets.unmarked import assessment_without_place
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "birads"
_IMAGE_COLUMNS: dict[str, tuple[str, ...]] = dict.fromkeys(
    (
        *("study_id", "image_id", "laterality", "view_position", "height", "width"),
        *("breast_birads", "breast_density", "split"),
    ),
    (),
)
_FINDING_COLUMNS: dict[str, tuple[str, ...]] = dict.fromkeys(
    (
        *("study_id", "image_id", "finding_categories", "finding_birads"),
        *("xmin", "ymin", "xmax", "ymax"),
    ),
    (),
)
_SPLITS = {"training": "train", "test": "test"}
_NO_FINDING = "No Finding"

task_files = plan_files
read_patient = read_planned_patient


def list_tasks(
    path: Path | None, skip_bad: bool = False, pathology_from_birads: str | None = None
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per examination, and the problems found.

    pathology_from_birads: see `core.sources.plans.birads.parse_birads_mapping`.
    """
    mapping = parse_birads_mapping(pathology_from_birads)
    root = require_folder(path, "the tables and images of VinDr-Mammo")
    images = read_table(find_table(root, ["breast-level_annotations.csv"]), _IMAGE_COLUMNS)
    boxes: dict[str, list[CsvRow]] = {}
    for row in read_table(find_table(root, ["finding_annotations.csv"]), _FINDING_COLUMNS):
        boxes.setdefault(row.get("image_id"), []).append(row)
    index = ImageIndex(root)
    studies: dict[str, list[CsvRow]] = {}
    for row in images:
        studies.setdefault(row.get("study_id"), []).append(row)

    def build(study: str) -> PatientPlan:
        """Return the plan of an examination, which counts as a patient."""
        rows = studies[study]
        densities = (parse_density(row.get("breast_density")) for row in rows)
        return PatientPlan(
            patient=study,
            films=tuple(
                _film(row, boxes.get(row.get("image_id"), []), index, mapping) for row in rows
            ),
            density=next((density for density in densities if density), None),
            published_split=_SPLITS.get(rows[0].get("split").lower()),
        )

    return keep_valid_plans(
        [(study, partial(build, study)) for study in studies],
        skip_bad=skip_bad,
    )


def _film(row: CsvRow, boxes: list[CsvRow], index: ImageIndex, mapping: BiradsMapping) -> FilmPlan:
    laterality = parse_laterality(row.get("laterality"))
    view = parse_view(row.get("view_position"))
    if laterality is None or view is None:
        raise row.error("unknown laterality or view", "use L or R, CC or MLO")
    image = index.find("images", row.get("study_id"), row.get("image_id"))
    if image is None:
        raise row.error(
            f"its image {row.get('study_id')}/{row.get('image_id')}.dicom is missing",
            "download it or leave the patient out with --skip-bad",
        )
    findings = [
        _finding(box, mapping) for box in boxes if _categories(box) != [_NO_FINDING]
    ] or assessment_without_place(
        parse_birads(row.get("breast_birads")), mapping, f"{row.table}, row {row.line}"
    )
    width, height = row.whole_number("width", 1, 1e6), row.whole_number("height", 1, 1e6)
    return FilmPlan(
        image=image,
        laterality=laterality,
        view=view,
        findings=tuple(findings),
        annotated_size=(width, height) if width and height else None,
        origin=f"{row.table}, row {row.line}",
    )


def _categories(row: CsvRow) -> list[str]:
    """Return the categories of a box, which the table writes as a Python list."""
    try:
        categories = ast.literal_eval(row.get("finding_categories"))
    except (ValueError, SyntaxError):
        categories = None
    if not isinstance(categories, list) or not all(isinstance(name, str) for name in categories):
        raise row.error(
            f"finding_categories is {row.get('finding_categories')!r}", "give a list of names"
        )
    return categories


def _finding(row: CsvRow, mapping: BiradsMapping) -> FindingPlan:
    category = parse_birads(row.get("finding_birads"))
    try:
        box = box_outline(*(float(row.get(name)) for name in ("xmin", "ymin", "xmax", "ymax")))
    except ValueError:
        raise row.error("a coordinate of its box is not a number", "correct it") from None
    except UserError as error:
        raise row.error(str(error), "correct it") from None
    names = [name.removeprefix("Suspicious ") for name in _categories(row)]
    return FindingPlan(
        pathology=mapping.pathology(category),
        lesion_type="+".join(name.upper().replace(" ", "_") for name in names),
        assessment=None if category is None else category.number,
        outline=box,
        report=", ".join([*names, "no assessment" if category is None else category.text]),
        origin=f"{row.table}, row {row.line}",
    )

"""EMBED (open data): a table of findings, a table of images with boxes, DICOM images.

Layout: tables/EMBED_OpenData_clinical*.csv (a row per finding: exam, side, asses, path_severity),
tables/EMBED_OpenData_metadata*.csv (a row per image: anon_dicom_path, FinalImageType,
ImageLateralityFinal, ViewPosition, spot_mag, ROI_coords), images/cohort_<n>/<patient>/<exam>/*.dcm.
Boxes are lists [ymin, xmin, ymax, xmax], rows first; in part they refer to images that were flipped
so that the chest wall is on the left. Boxes carry no link to the findings of their side.

References
----------
Jeong JJ et al. The EMory BrEast imaging Dataset (EMBED). Radiology: Artificial Intelligence 5,
e220047 (2023). github.com/Emory-HITI/EMBED_Open_Data, README, sections IV to VIII; issues 5 and 9.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from core.errors import UserError
from core.sources.conventions import UNKNOWN, parse_laterality, parse_view
from core.sources.csv_table import CsvRow, stream_table
from core.sources.outlines.records import Outline, box_outline
from core.sources.plans.birads import BiradsMapping, parse_birads_mapping
from core.sources.plans.cells import (
    ImageIndex,
    find_table,
    is_missing,
    parse_age,
    parse_density,
    require_folder,
)
from core.sources.plans.reading import keep_valid_plans, plan_files, read_planned_patient
from core.sources.plans.records import FilmPlan, FindingPlan, PatientPlan
from core.sources.public_sets.embed_pathology import (
    SIDES,
    assessment_of_row,
    is_of_other_side,
    pathology_of_row,
)
from core.sources.public_sets.unmarked import assessment_without_place
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "pathology_or_birads"
_CLINICAL = ["EMBED_OpenData_clinical.csv", "EMBED_OpenData_clinical_reduced.csv"]
_METADATA = ["EMBED_OpenData_metadata.csv", "EMBED_OpenData_metadata_reduced.csv"]
_CLINICAL_COLUMNS: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("empi_anon", "acc_anon", "side", "asses", "path_severity"), ()
)
_CLINICAL_OPTIONAL = ("bside", "tissueden", "age_at_study", "massshape", "calcfind", "calcdistri")
_IMAGE_COLUMNS: dict[str, tuple[str, ...]] = {
    "empi_anon": (),
    "acc_anon": (),
    "anon_dicom_path": (),
    "finalimagetype": (),
    "imagelateralityfinal": (),
    "viewposition": (),
    # Later tables give boxes for the DICOM image, and for the flipped PNG, separately.
    "roi_coords": ("dcm_roi_coords",),
}
_IMAGE_OPTIONAL = ("spot_mag",)
_TWO_DIMENSIONAL = {"2d", "cview", "c-view"}
_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?")
_BOXES = re.compile(r"\s*[\[(]\s*(?:[\[(][^\[\]()]*[\])]\s*,?\s*)*[\])]\s*")

task_files = plan_files
read_patient = read_planned_patient


@dataclass(frozen=True)
class _Tables:
    """Rows of the clinical table by exam, and of the image table by patient."""

    findings: dict[str, list[CsvRow]]
    images: dict[str, list[CsvRow]]


def list_tasks(
    path: Path | None, skip_bad: bool = False, pathology_from_birads: str | None = None
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient of whom an image is there, and the problems found.

    Patients without any image are counted in one problem: the set is usually downloaded in part.
    pathology_from_birads: for findings without a biopsy, see
    `core.sources.plans.birads.parse_birads_mapping`.
    """
    mapping = parse_birads_mapping(pathology_from_birads)
    root = require_folder(path, "the tables and images of EMBED")
    index = ImageIndex(root)
    images, problems = _present_images(find_table(root, _METADATA), index)
    findings: dict[str, list[CsvRow]] = {}
    exams = {row.get("acc_anon") for rows in images.values() for row in rows}
    for row in stream_table(find_table(root, _CLINICAL), _CLINICAL_COLUMNS, _CLINICAL_OPTIONAL):
        if row.get("acc_anon") in exams:
            findings.setdefault(row.get("acc_anon"), []).append(row)
    tables = _Tables(findings, images)
    plans, left_out = keep_valid_plans(
        [(patient, partial(_patient, patient, tables, index, mapping)) for patient in images],
        skip_bad=skip_bad,
    )
    return plans, problems + left_out


def _present_images(
    table: Path, index: ImageIndex
) -> tuple[dict[str, list[CsvRow]], list[Problem]]:
    """Return the rows of 2D images by patient, of patients of whom at least one is there."""
    rows: dict[str, list[CsvRow]] = {}
    present: set[str] = set()
    other_kinds = 0
    for row in stream_table(table, _IMAGE_COLUMNS, _IMAGE_OPTIONAL):
        if row.get("finalimagetype").lower() not in _TWO_DIMENSIONAL:
            other_kinds += 1
            continue
        rows.setdefault(row.get("empi_anon"), []).append(row)
        if _find_image(row, index) is not None:
            present.add(row.get("empi_anon"))
    problems = []
    if other_kinds:
        cause = f"{other_kinds} rows are no 2D image (tomosynthesis, screen saves)"
        problems.append(Problem(table.name, cause, "not imported"))
    absent = len(rows) - len(present)
    if absent:
        cause = f"no image of {absent} patients of the table is there"
        problems.append(Problem(table.name, cause, "these patients are not imported"))
    return {patient: rows[patient] for patient in rows if patient in present}, problems


def _find_image(row: CsvRow, index: ImageIndex) -> Path | None:
    """Return the file that the table's path, which begins on the publisher's disk, ends with."""
    path = PurePosixPath(row.get("anon_dicom_path"))
    return index.find(*path.parts[-3:-1], path.stem)


def _patient(
    patient: str, tables: _Tables, index: ImageIndex, mapping: BiradsMapping
) -> PatientPlan:
    rows = tables.images[patient]
    clinical = [row for film in rows for row in tables.findings.get(film.get("acc_anon"), [])]
    densities = (parse_density(row.get("tissueden")) for row in clinical)
    ages = (parse_age(row.get("age_at_study")) for row in clinical)
    films, problems = [], []
    for row in rows:
        film, film_problems = _film(row, tables, index, mapping)
        films.append(film)
        problems += [Problem(patient, cause, action) for cause, action in film_problems]
    return PatientPlan(
        patient=patient,
        films=tuple(films),
        age=next((age for age in ages if age is not None), None),
        density=next((density for density in densities if density), None),
        problems=tuple(problems),
    )


def _film(
    row: CsvRow, tables: _Tables, index: ImageIndex, mapping: BiradsMapping
) -> tuple[FilmPlan, list[tuple[str, str]]]:
    """Return the plan of an image, and its problems as (cause, action)."""
    image = _find_image(row, index)
    if image is None:
        raise row.error(
            f"its image {row.get('anon_dicom_path')} is missing",
            "download it or leave the patient out with --skip-bad",
        )
    side = parse_laterality(row.get("imagelateralityfinal"))
    if side is None:
        raise row.error(f"unknown side {row.get('imagelateralityfinal')!r}", "use L or R")
    problems = []
    if row.get("spot_mag").removesuffix(".0") == "1":
        problems.append((f"{image.name} is a spot or magnification view", "imported"))
    clinical = [
        finding
        for finding in tables.findings.get(row.get("acc_anon"), [])
        # A finding without a side, or of both sides, belongs to all images of the exam.
        if SIDES.get(finding.get("side").upper(), side) == side
    ]
    findings, note = _findings(row, side, clinical, mapping)
    if any(is_of_other_side(finding, side) for finding in clinical):
        cause = f"{image.name}: the biopsy of a finding of its side was of the other breast"
        problems.append((cause, "the pathology is not used for this image"))
    if note:
        problems.append((f"{image.name}: {note}", "its findings are UNPROVEN"))
    view = parse_view(row.get("viewposition")) or UNKNOWN
    film = FilmPlan(
        image=image,
        laterality=side,
        view=view,
        findings=findings,
        may_be_mirrored=True,
        origin=f"{row.table}, row {row.line}",
    )
    return film, problems


def _findings(
    row: CsvRow, side: str, clinical: list[CsvRow], mapping: BiradsMapping
) -> tuple[tuple[FindingPlan, ...], str]:
    """Return the findings of an image, and why their pathology is not known, "" if it is.

    The boxes of an image share the pathology of its side's findings if these agree.
    """
    origin = f"{row.table}, row {row.line}"
    abnormal = [
        (finding, pathology)
        for finding in clinical
        if (pathology := pathology_of_row(finding, side, mapping)) != "NORMAL"
    ]
    outlines = _boxes(row)
    if not outlines and not clinical:
        return assessment_without_place(None, mapping, origin), "its exam is not in the table"
    if not outlines:
        return tuple(_finding_plan(finding, pathology, None) for finding, pathology in abnormal), ""
    pathologies = {pathology for _, pathology in abnormal}
    if len(pathologies) == 1:
        finding, pathology = abnormal[0]
        return tuple(_finding_plan(finding, pathology, outline) for outline in outlines), ""
    note = (
        "its boxes belong to findings of several pathologies"
        if pathologies
        else "it has boxes, but its exam reports no finding"
    )
    plans = (FindingPlan(pathology="UNPROVEN", outline=box, origin=origin) for box in outlines)
    return tuple(plans), note


def _finding_plan(row: CsvRow, pathology: str, outline: Outline | None) -> FindingPlan:
    category = assessment_of_row(row)
    lesions = [
        name
        for name, columns in (
            ("MASS", ("massshape",)),
            ("CALCIFICATION", ("calcfind", "calcdistri")),
        )
        if any(not is_missing(row.get(column)) for column in columns)
    ]
    severity = row.get("path_severity")
    return FindingPlan(
        pathology=pathology,
        lesion_type="+".join(lesions),
        assessment=None if category is None else category.number,
        outline=outline,
        report=f"asses {row.get('asses')}, path_severity {severity or 'none'}",
        origin=f"{row.table}, row {row.line}",
    )


def _boxes(row: CsvRow) -> list[Outline]:
    """Return the boxes of an image; the lists of the table give rows (y) before columns (x)."""
    text = row.get("roi_coords")
    if is_missing(text) or not text.strip("[]() "):
        return []
    numbers = [float(number) for number in _NUMBERS.findall(text)]
    if not _BOXES.fullmatch(text) or len(numbers) % 4:
        raise row.error(
            f"ROI_coords is {text[:60]!r}", "give a list of boxes [ymin, xmin, ymax, xmax]"
        )
    boxes = [numbers[k : k + 4] for k in range(0, len(numbers), 4)]
    try:
        return [box_outline(x0, y0, x1, y1) for y0, x0, y1, x1 in boxes]
    except UserError as error:
        raise row.error(str(error), "correct ROI_coords") from None

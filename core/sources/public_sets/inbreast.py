"""INbreast: a CSV table of films, DICOM images, outlines as XML property lists.

Layout: INbreast.csv (semicolons; File Name, Laterality, View, ACR, Bi-Rads with 4a, 4b, 4c and 6),
AllDICOMs/<file name>_<patient>_MG_<side>_<view>_ANON.dcm, AllXML/<file name>.xml (Images, ROIs with
Name and Point_px "(x, y)"; a calcification can be a single point). There is no pathology, only the
BI-RADS assessment of the film.

References
----------
Moreira IC et al. INbreast: toward a full-field digital mammographic database. Academic Radiology
19, 236-248 (2012).
"""

from __future__ import annotations

import plistlib
from functools import partial
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from core.errors import UserError
from core.sources.conventions import parse_laterality, parse_view
from core.sources.csv_table import CsvRow, read_table
from core.sources.outlines.records import Outline, Points
from core.sources.plans.birads import (
    BiradsCategory,
    BiradsMapping,
    parse_birads,
    parse_birads_mapping,
)
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
from core.sources.public_sets.unmarked import assessment_without_place
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "birads"
_COLUMNS: dict[str, tuple[str, ...]] = {
    "file name": (),
    "laterality": (),
    "view": (),
    "bi-rads": ("birads", "bi-rads score"),
}
# Names of regions as the annotation files spell them.
_LESIONS = {
    "mass": "MASS",
    "calcification": "CALCIFICATION",
    "calcifications": "CALCIFICATION",
    "cluster": "CALCIFICATION",
    "distortion": "ARCHITECTURAL_DISTORTION",
    "asymmetry": "ASYMMETRY",
    "assymetry": "ASYMMETRY",
    "spiculated region": "MASS",
    "espiculated region": "MASS",
}
# Calcifications are marked one by one; together they are one finding.
_SINGLE_CALCIFICATIONS = ("calcification", "calcifications")
_ANATOMY = ("pectoral muscle",)

task_files = plan_files
read_patient = read_planned_patient


def list_tasks(
    path: Path | None, skip_bad: bool = False, pathology_from_birads: str | None = None
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient, and the problems found.

    pathology_from_birads: see `core.sources.plans.birads.parse_birads_mapping`.
    """
    mapping = parse_birads_mapping(pathology_from_birads)
    root = require_folder(path, "INbreast.csv, AllDICOMs and AllXML of INbreast")
    rows = read_table(find_table(root, ["INbreast.csv", "INbreast.xlsx"]), _COLUMNS)
    # <file name>_<patient>_MG_<side>_<view>_ANON
    images = {
        stem.split("_")[0]: (files[0], (*stem.split("_"), "")[1])
        for stem, files in ImageIndex(root).files().items()
    }
    outlines = {file.stem: file for file in root.rglob("*.xml")}
    patients: dict[str, list[tuple[CsvRow, Path]]] = {}
    builders: dict[str, Any] = {}
    for row in rows:
        name = row.get("file name").removesuffix(".0")
        image, patient = images.get(name, (None, ""))
        if image is None:
            builders[name] = partial(_raise_missing, row, name)
        else:
            patients.setdefault(patient or name, []).append((row, image))

    def build(patient: str) -> PatientPlan:
        """Return the plan of a patient."""
        films = patients[patient]
        densities = (parse_density(row.get("acr")) for row, _ in films)
        ages = (parse_age(row.get("patient age")) for row, _ in films)
        return PatientPlan(
            patient=patient,
            films=tuple(_film(row, image, outlines, mapping) for row, image in films),
            age=next((age for age in ages if age is not None), None),
            density=next((density for density in densities if density), None),
        )

    builders |= {patient: partial(build, patient) for patient in patients}
    return keep_valid_plans(list(builders.items()), skip_bad=skip_bad)


def _raise_missing(row: CsvRow, name: str) -> PatientPlan:
    raise row.error(
        f"its image AllDICOMs/{name}_*.dcm is missing",
        "download it or leave the film out with --skip-bad",
    )


def _film(row: CsvRow, image: Path, outlines: dict[str, Path], mapping: BiradsMapping) -> FilmPlan:
    laterality = parse_laterality(row.get("laterality"))
    # File names of the set write ML for its oblique views, the table MLO.
    view = "MLO" if row.get("view").upper() == "ML" else parse_view(row.get("view"))
    if laterality is None or view is None:
        raise row.error("unknown laterality or view", "use L or R, CC or MLO")
    text = row.get("bi-rads")
    category = parse_birads(text)
    if category is None and not is_missing(text):
        raise row.error(f"unknown BI-RADS category {text!r}", "use 0 to 6, or 4a, 4b, 4c")
    origin = f"{row.table}, row {row.line}"
    file = outlines.get(row.get("file name").removesuffix(".0"))
    findings = _findings(file, category, mapping) if file is not None else ()
    return FilmPlan(
        image=image,
        laterality=laterality,
        view=view,
        findings=findings or assessment_without_place(category, mapping, origin),
        origin=origin,
    )


def _findings(
    file: Path, category: BiradsCategory | None, mapping: BiradsMapping
) -> tuple[FindingPlan, ...]:
    """Return the findings of an annotation file: one per region, and one of all calcifications."""
    regions = _read_regions(file)
    calcifications = tuple(
        points for name, points in regions if name.lower() in _SINGLE_CALCIFICATIONS
    )
    parts: list[tuple[str, tuple[Points, ...]]] = [
        (name, (points,))
        for name, points in regions
        if name.lower() not in (*_SINGLE_CALCIFICATIONS, *_ANATOMY)
    ]
    if calcifications:
        parts.append(("Calcification", calcifications))
    return tuple(
        FindingPlan(
            pathology=mapping.pathology(category),
            lesion_type=_LESIONS.get(name.lower(), "OTHER"),
            assessment=None if category is None else category.number,
            outline=Outline(polygons=polygons),
            report=f"{name}, {'no assessment' if category is None else category.text}",
            origin=str(file),
        )
        for name, polygons in parts
    )


def _read_regions(file: Path) -> list[tuple[str, Points]]:
    """Return name and corners of each region; UserError for a file of another structure."""
    try:
        with file.open("rb") as stream:
            images = plistlib.load(stream, fmt=plistlib.FMT_XML)["Images"]
        return [
            (str(region.get("Name", "")).strip(), _points(region["Point_px"]))
            for image in images
            for region in image["ROIs"]
            if region["Point_px"]
        ]
    except (
        *(ExpatError, plistlib.InvalidFileException, AttributeError),
        *(KeyError, TypeError, ValueError),
    ) as error:
        raise UserError(
            f"{file} is not an annotation file of INbreast ({type(error).__name__}): download it"
            " again."
        ) from None


def _points(texts: list[str]) -> Points:
    """Return corners of texts such as "(102.5, 77.1)"."""
    pairs = [text.strip("() ").split(",") for text in texts]
    return tuple((float(x), float(y)) for x, y in pairs)

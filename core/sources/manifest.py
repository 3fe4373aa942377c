"""Own mammograms, listed in a CSV table with one row per finding, or per image without findings.

The syntax of cells belongs in `core.sources.manifest_cells`.

Required columns are image (or file), patient (or patient_id) and pathology, which is one of the
study's classes; laterality and view are required for mammograms without image labels, and are taken
from DICOM tags or the file name if a cell is empty.
outline holds one of the notations of `core.sources.outlines`, the name of a mask file, or nothing.
Optional columns are lesion_type, assessment (0-6), subtlety (1-5), report, age, density (1-4 or
A-D), split, and feature_<name> for auxiliary features. Paths are relative to the folder of the
table.
"""

from __future__ import annotations

import filecmp
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.class_labels import MAMMOGRAMS, ImageDomain
from core.errors import UserError
from core.images.decoding import DecodedImage, ensure_positive_polarity, read_image
from core.images.polygons import trace_mask
from core.sources.conventions import (
    UNKNOWN,
    VIEWS,
    mammogram_from_image,
    normalize_pathology,
    parse_laterality,
    parse_view,
    row_pathology,
    similar_names,
    view_from_file_name,
)
from core.sources.csv_table import CsvRow, control_characters, read_table
from core.sources.manifest_cells import (
    OPTIONAL_COLUMNS,
    breast_density,
    check_images,
    contradicting_values,
    image_path,
    is_file,
    mask_path,
    mask_reference,
    names_mask,
    patient_features,
    patient_id,
    published_split,
    row_outline,
    stated_text,
    unused_columns,
)
from core.sources.outlines.mask_files import read_mask_file
from core.sources.outlines.notations import NOTATIONS
from core.sources.outlines.records import place_on_film
from core.sources.plans.cells import IMAGE_SUFFIXES
from core.sources.plans.reading import unique_film_id
from core.sources.records import Finding, Mammogram, Patient, Problem

SIMULATED = False
TRUTH_BASIS = "table"
_REQUIRED = {"image": ("file", "image_path"), "patient": ("patient_id",), "pathology": ()}
_VIEW_COLUMNS: dict[str, tuple[str, ...]] = {"laterality": ("side",), "view": ()}


@dataclass(frozen=True)
class ManifestTask:
    """The rows of one patient.

    image_labels: an image without outlines takes its pathology as the label of the whole image.
    domain: what the images are.
    """

    patient: str
    rows: tuple[CsvRow, ...]
    image_labels: bool
    domain: ImageDomain = MAMMOGRAMS


def list_tasks(
    path: Path | None,
    image_labels: bool = False,
    skip_bad: bool = False,
    domain: ImageDomain = MAMMOGRAMS,
) -> tuple[list[ManifestTask], list[Problem]]:
    """Return one task per patient, in the order of the table, and the problems found.

    Columns, pathologies, files and the syntax of outlines are checked. UserError for the first
    fault; with skip_bad the patient is left out and listed instead. A patient is left out as a
    whole, because one row less could turn a finding into normal tissue.
    """
    patients = _rows_by_patient(path, image_labels, domain)
    owners, similar = _ImageOwners(), similar_names(patients)
    first_row = next(iter(patients.values()))[0]
    tasks, problems = [], unused_columns(first_row, (*_REQUIRED, *OPTIONAL_COLUMNS))
    for patient, rows in patients.items():
        try:
            if patient in similar:
                raise rows[0].error(
                    f"the patients {similar[patient]!r} and {patient!r} differ only in spelling",
                    "write one name for one patient, so that all images are in one split",
                )
            for row in rows:
                _check_row(row, image_labels, domain)
                # An image with two patients could be in the training and in the test split.
                owners.add(row)
            published_split(rows)
            check_images(rows)
        except UserError as error:
            if not skip_bad:
                raise
            problems.append(Problem(patient, str(error), "patient left out", skipped=True))
        else:
            # A row that was pasted twice would otherwise count as two findings.
            distinct, repeated = _split_repeated(rows)
            problems += [
                Problem(patient, f"row {row.line} repeats an earlier row", "used once")
                for row in repeated
            ]
            tasks.append(ManifestTask(patient, tuple(distinct), image_labels, domain))
    return tasks, problems


def _rows_by_patient(
    path: Path | None, image_labels: bool, domain: ImageDomain
) -> dict[str, list[CsvRow]]:
    """Return the rows of the table by patient; UserError for a table that cannot be used."""
    if path is None:
        raise UserError(
            "The manifest source needs the path of a CSV table: give it after `manifest`."
        )
    rows = read_table(Path(path), _REQUIRED)
    # The cells themselves: a row with a control character is refused or left out with its patient.
    abnormal = any(
        normalize_pathology(row.cells["pathology"]) in domain.pathologies[:-1] for row in rows
    )
    # Without outlines every patch would be labelled normal, also those of cancers.
    if not image_labels and abnormal and not any(row.cells.get("outline") for row in rows):
        raise UserError(
            f"The table {path} outlines no finding: fill a column 'outline', or request weak labels"
            " of whole images with --image-labels."
        )
    needs_views = not image_labels and domain.subject == "breast"
    columns = rows[0].cells.keys()
    if needs_views and not _VIEW_COLUMNS.keys() <= columns:
        rows = read_table(Path(path), _REQUIRED | _VIEW_COLUMNS)
    elif "side" in columns and "laterality" not in columns:
        rows = read_table(Path(path), _REQUIRED | {"laterality": ("side",)})
    patients: dict[str, list[CsvRow]] = {}
    for row in rows:
        patients.setdefault(patient_id(row), []).append(row)
    return patients


def _split_repeated(rows: list[CsvRow]) -> tuple[list[CsvRow], list[CsvRow]]:
    """Return the distinct rows, and the rows that repeat an earlier one in all cells."""
    first: dict[tuple[tuple[str, str], ...], CsvRow] = {}
    repeated = []
    for row in rows:
        if first.setdefault(tuple(sorted(row.cells.items())), row) is not row:
            repeated.append(row)
    return list(first.values()), repeated


def task_files(task: ManifestTask) -> list[Path]:
    """Return the images and masks of the patient."""
    return sorted(
        {image_path(row) for row in task.rows}
        | {mask_path(row) for row in task.rows if names_mask(row.get("outline"))}
    )


def read_patient(task: ManifestTask) -> Patient:
    """Read the images and outlines of one patient.

    UserError that names the row for an unreadable image and for an outline outside its image.
    """
    by_image: dict[Path, list[CsvRow]] = {}
    for row in task.rows:
        by_image.setdefault(image_path(row), []).append(row)
    mammograms: list[Mammogram] = []
    problems: list[Problem] = []
    for path, rows in by_image.items():
        used_ids = {mammogram.id for mammogram in mammograms}
        mammogram, warnings = _read_mammogram(task, path, rows, used_ids)
        mammograms.append(mammogram)
        problems += warnings
    ages = [row.whole_number("age", 0, 120) for row in task.rows]
    densities = [breast_density(row) for row in task.rows]
    problems += [
        Problem(task.patient, cause, "the first value is used")
        for cause in contradicting_values(task.rows)
    ]
    return Patient(
        id=task.patient,
        mammograms=tuple(mammograms),
        age=next((age for age in ages if age is not None), None),
        density=next((density for density in densities if density is not None), None),
        features=patient_features(task.rows),
        published_split=published_split(task.rows),
        problems=tuple(problems),
    )


class _ImageOwners:
    """The first row of each image, to detect an image that two patients share.

    Files are compared in full only if their length and a piece of the middle agree, so that large
    tables are not read twice. Ingestion detects equal pixels in two encodings.
    """

    def __init__(self) -> None:
        self._rows: dict[tuple[int, bytes], list[CsvRow]] = {}
        self._names: set[tuple[str, str]] = set()

    def add(self, row: CsvRow) -> None:
        """Register a row; UserError if its image belongs to another patient."""
        # The further rows of an image say nothing new; there can be thousands of them.
        named = (patient_id(row), row.get("image"))
        if named in self._names:
            return
        self._names.add(named)
        path = image_path(row)
        size = path.stat().st_size
        with path.open("rb") as file:
            # Not the start: the headers of files from one scanner agree.
            file.seek(size // 2)
            piece = hashlib.sha256(file.read(1 << 16)).digest()
        others = self._rows.setdefault((size, piece), [])
        for other in others:
            if patient_id(other) == patient_id(row) or not filecmp.cmp(
                path, image_path(other), shallow=False
            ):
                continue
            same = "" if other.get("image") == row.get("image") else f" as {other.get('image')}"
            raise row.error(
                f"the image {row.get('image')} belongs to patient {row.get('patient')}, but row"
                f" {other.line} gives it{same} to patient {other.get('patient')}",
                "an image has one patient, correct a row",
            )
        others.append(row)


def _check_row(row: CsvRow, image_labels: bool, domain: ImageDomain) -> None:
    """Raise UserError for each fault that can be detected without pixels."""
    row_pathology(row, domain.pathologies)
    for column in ("patient", "image", "outline"):
        hidden = control_characters(row.get(column))
        if hidden:
            raise row.error(f"{column} holds the control character {hidden}", "remove it")
    if not row.get("image"):
        raise row.error("the image is missing", "every row needs a file")
    if not is_file(image_path(row)):
        raise row.error(
            f"the image {str(image_path(row))[:200]} does not exist",
            "correct the path (relative to the folder of the table) or leave the row out",
        )
    for column, parse, allowed in (
        ("laterality", parse_laterality, "LEFT, RIGHT"),
        ("view", parse_view, ", ".join(VIEWS)),
    ):
        if row.get(column) and parse(row.get(column)) is None:
            raise row.error(f"unknown {column} {row.get(column)!r}", f"use {allowed} or UNKNOWN")
    row.whole_number("assessment", 0, 6)
    row.whole_number("subtlety", 1, 5)
    row.whole_number("age", 0, 120)
    breast_density(row)
    _check_outline(row, image_labels, domain)


def _check_outline(row: CsvRow, image_labels: bool, domain: ImageDomain) -> None:
    """Raise UserError for a fault of the outline, as far as it shows without pixels."""
    outline, pathology = row.get("outline"), row_pathology(row, domain.pathologies)
    normal = domain.pathologies[-1]
    if names_mask(outline):
        if not is_file(mask_path(row)):
            is_image_name = mask_path(row).suffix.lower() in IMAGE_SUFFIXES
            fault = (
                f"the mask {str(mask_path(row))[:200]} does not exist"
                if is_image_name
                else f"the outline {outline[:40]!r} is no notation and no mask file"
            )
            raise row.error(fault, f"correct the path, or {NOTATIONS}")
    elif outline:
        row_outline(row)
    elif not image_labels and pathology != normal:
        raise row.error(
            f"{pathology} without an outline",
            "give a polygon, a box or a mask, or request weak labels of whole images with"
            " --image-labels",
        )
    if outline and pathology == normal:
        raise row.error(
            f"a {normal} row has an outline",
            "give the pathology of the finding or remove the outline",
        )


def _read_mammogram(
    task: ManifestTask, path: Path, rows: list[CsvRow], used_ids: set[str]
) -> tuple[Mammogram, list[Problem]]:
    """Return one image with the findings of its rows, under an id that is not used yet."""
    domain = task.domain
    with rows[0].error_context():
        image = read_image(path, domain.colour)
        if domain.subject == "breast" and domain.inversion == "automatic":
            image = ensure_positive_polarity(image)
    outlined = [row for row in rows if row.get("outline")]
    laterality, view = _laterality_and_view(
        rows[0],
        image,
        unknown_allowed=task.image_labels or domain.subject == "any",
        in_names=domain.subject == "breast",
    )
    film_id = unique_film_id(task.patient, laterality, view, path.stem, used_ids)
    findings, problems = [], []
    for number, row in enumerate(outlined, start=1):
        finding, warnings = _finding(number, row, image, domain)
        findings.append(finding)
        problems += [Problem(f"{film_id}, finding {number}", *warning) for warning in warnings]
    mammogram = mammogram_from_image(
        image,
        id=film_id,
        laterality=laterality,
        view=view,
        findings=findings,
        source_file=rows[0].get("image"),
        image_label=(
            _worst_pathology(rows, domain) if task.image_labels and not outlined else None
        ),
        whole_image=domain.subject == "any",
    )
    return mammogram, problems


def _finding(
    number: int, row: CsvRow, image: DecodedImage, domain: ImageDomain
) -> tuple[Finding, list[tuple[str, str]]]:
    """Return the finding of a row, and warnings; UserError if its outline leaves the image."""
    shape = image.pixels.shape
    warnings: list[tuple[str, str]] = []
    if names_mask(row.get("outline")):
        outline = _mask_outline(row, shape, domain)
    else:
        try:
            outline, warnings = place_on_film(row_outline(row), (shape[0], shape[1]))
        except UserError as error:
            raise row.error(f"{error}, {row.get('image')}", "correct it") from None
    finding = Finding(
        number=number,
        pathology=row_pathology(row, domain.pathologies),
        lesion_type=stated_text(row, "lesion_type").upper(),
        assessment=row.whole_number("assessment", 0, 6),
        subtlety=row.whole_number("subtlety", 1, 5),
        outline=outline,
        report=stated_text(row, "report"),
    )
    return finding, warnings


def _mask_outline(row: CsvRow, shape: Sequence[int], domain: ImageDomain) -> tuple[np.ndarray, ...]:
    """Return the outline of the row's mask file, which must fit an image of shape [h, w]."""
    with row.error_context():
        mask = read_mask_file(
            mask_path(row),
            mask_reference(row),
            (shape[0], shape[1]),
            may_fill=domain.subject == "any",
        )
    return trace_mask(mask)


def _laterality_and_view(
    row: CsvRow, image: DecodedImage, *, unknown_allowed: bool, in_names: bool
) -> tuple[str, str]:
    """Return laterality and view: of the row, else of the DICOM tags, else of the file name.

    in_names: whether file names may contain them.
    """
    laterality, view = UNKNOWN, UNKNOWN
    if in_names:
        laterality, view = view_from_file_name(Path(row.get("image")).name)
    laterality = parse_laterality(row.get("laterality")) or image.laterality or laterality
    view = parse_view(row.get("view")) or image.view or view
    for column, value in (("laterality", laterality), ("view", view)):
        if value == UNKNOWN and not row.get(column) and not unknown_allowed:
            raise row.error(
                f"the {column} is missing and neither tags nor the name of {row.get('image')}"
                " contain it",
                "write it, or UNKNOWN",
            )
    return laterality, view


def _worst_pathology(rows: list[CsvRow], domain: ImageDomain) -> str:
    allowed = domain.pathologies
    return min((row_pathology(row, allowed) for row in rows), key=allowed.index)

"""CBIS-DDSM, the curated subset of DDSM: four CSV tables with DICOM images, or with JPEG images.

The tables name series of images; `SeriesIndex` locates them in the layouts of the three downloads.

References
----------
Lee RS et al. A curated mammography data set for use in computer-aided detection and diagnosis
research. Scientific Data 4, 170177 (2017).
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.images.decoding import DecodedImage, read_image
from core.images.polygons import scale_polygons, trace_mask
from core.sources.conventions import (
    mammogram_from_image,
    parse_laterality,
    parse_view,
    resolve_published_split,
    row_pathology,
)
from core.sources.csv_table import CsvRow, read_table
from core.sources.records import Finding, Mammogram, Patient, Problem

SIMULATED = False
TRUTH_BASIS = "pathology"
_IMAGE_SUFFIXES = {".dcm", ".jpg", ".jpeg", ".png", ""}
# The client of the Imaging Data Commons writes the modality before the UID of a series.
_MODALITY_PREFIX = re.compile(r"^[A-Z]{2,4}_")
# Mean difference of the grey values of one film in two encodings, as a share of white.
_SAME_FILM_DIFFERENCE = 0.005
# Case of an image, or of a finding with its number; words behind it tell mask and crop apart.
_FLAT_NAME = re.compile(
    r"^((?:Mass|Calc)-(?:Training|Test)_P_\d{5}_(?:LEFT|RIGHT)_(?:CC|MLO)(?:_\d+)?)"
    r"(?:[-_.](?!\d+[-_.])\w+)*\.(?:dcm|png|jpe?g|tiff?)$",
    re.IGNORECASE,
)
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "patient_id": (),
    "left or right breast": (),
    "image view": (),
    "abnormality id": (),
    "abnormality type": (),
    "assessment": (),
    "pathology": (),
    "subtlety": (),
    "image file path": (),
    "cropped image file path": (),
    "roi mask file path": (),
    # The mass tables write breast_density, the calcification tables breast density.
    "breast density": ("breast_density",),
}
_DESCRIPTORS = {
    "mass shape": "shape",
    "mass margins": "margins",
    "calc type": "type",
    "calc distribution": "distribution",
}


@dataclass(frozen=True)
class CbisRow:
    """A row of the tables, which is one finding, with the image files located for it.

    roi: candidates for the mask; tables and folders sometimes exchange mask and crop.
    """

    row: CsvRow
    image: Path
    roi: tuple[Path, ...]

    @property
    def laterality_and_view(self) -> tuple[str, str]:
        """Laterality and view of the image."""
        return str(parse_laterality(self.row.get("left or right breast"))), str(
            parse_view(self.row.get("image view"))
        )


@dataclass(frozen=True)
class CbisTask:
    """The rows of one patient from all tables."""

    patient: str
    rows: tuple[CbisRow, ...]


class SeriesIndex:
    """Folders and files below a root, by the series they hold.

    Five layouts are recognised. As the tables write it:
    <case>/<study UID>/<series UID>/000000.dcm. As the archive's downloader writes it, with the last
    five digits of each UID: <case>/...-<study UID>/...-<series UID>/1-1.dcm. As the client of the
    Imaging Data Commons writes it: <case>/<study UID>/MG_<series UID>/<instance>.dcm. As the JPEG
    re-release has it: jpeg/<series UID>/1-172.jpg. As flat files named after the case, with words
    such as _mask or _crop behind it: <case>.png.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._by_name: dict[str, list[Path]] = defaultdict(list)
        self._by_case: dict[str, list[Path]] = defaultdict(list)
        self._flat: dict[str, list[Path]] = defaultdict(list)
        for folder, _, files in os.walk(root):
            if files:
                path = Path(folder)
                self._by_name[_MODALITY_PREFIX.sub("", path.name)].append(path)
                self._by_case[path.parent.parent.name].append(path)
            for name in sorted(files):
                match = _FLAT_NAME.match(name)
                if match:
                    self._flat[match.group(1)].append(Path(folder) / name)

    def files(self, cell: str) -> list[Path]:
        """Return the image files of the series that a table's path names.

        The named file comes first; the list is empty if the series is missing.
        """
        parts = cell.replace("\\", "/").split("/")
        if len(parts) < 3:
            return []
        case, series, name = parts[0], parts[-2], parts[-1]
        folders = self._by_name.get(series) or [
            folder
            for folder in self._by_case.get(case, [])
            # Five digits alone can be ambiguous, so only folders of the case are compared.
            if folder.name.endswith("-" + series[-5:])
        ]
        images = [
            file
            for folder in folders
            for file in sorted(folder.iterdir())
            if file.suffix.lower() in _IMAGE_SUFFIXES and file.is_file()
        ] or self._flat.get(case, [])
        # Other files stay candidates, because folders sometimes exchange mask and crop.
        return sorted(images, key=lambda file: file.name != name)


def read_case_table(table: Path) -> list[CsvRow]:
    """Return the checked rows (findings) of one description table.

    UserError that names the row for an unknown pathology, laterality or view.
    """
    rows = read_table(table, _COLUMNS)
    for row in rows:
        _check_row(row)
    return rows


def _check_row(row: CsvRow) -> None:
    """Raise UserError for an invalid cell."""
    row_pathology(row)
    if (
        parse_laterality(row.get("left or right breast")) is None
        or parse_view(row.get("image view")) is None
    ):
        raise row.error(
            f"unknown side or view {row.get('left or right breast')!r}, {row.get('image view')!r}",
            "use LEFT or RIGHT, CC or MLO",
        )
    row.whole_number("assessment", 0, 5)
    row.whole_number("subtlety", 0, 5)
    row.whole_number("breast density", 0, 4)


def list_tasks(path: Path | None, skip_bad: bool = False) -> tuple[list[CbisTask], list[Problem]]:
    """Return one task per patient, ordered by patient, and the problems found.

    Tables (`*case_description*.csv`) may lie anywhere below the folder. Every row is checked and
    its series are located. UserError that names the row for a fault or a missing series; with
    skip_bad the patient is left out and listed instead.
    """
    if path is None or not Path(path).is_dir():
        raise UserError(
            f"{path} is not a folder: give the folder that holds the tables and images of"
            " CBIS-DDSM."
        )
    root = Path(path)
    tables = sorted(root.rglob("*case_description*.csv"))
    if not tables:
        raise UserError(
            f"The folder {root} has no table `*_case_description_*_set.csv`: put the tables of"
            " CBIS-DDSM beside its images."
        )
    index = SeriesIndex(root)
    patients: dict[str, list[CsvRow]] = {}
    for table in tables:
        for row in read_table(table, _COLUMNS):
            patients.setdefault(row.get("patient_id"), []).append(row)
    tasks, problems = [], []
    for patient in sorted(patients):
        try:
            for row in patients[patient]:
                _check_row(row)
            rows = tuple(_locate_files(row, index) for row in patients[patient])
            tasks.append(CbisTask(patient, rows))
        except UserError as error:
            if not skip_bad:
                raise
            problems.append(Problem(patient, str(error), "patient left out", skipped=True))
    if not tasks:
        raise UserError(
            f"No patient of the tables in {root} has images there, for example: {problems[0].cause}"
        )
    return tasks, problems


def task_files(task: CbisTask) -> list[Path]:
    """Return the images and masks of the patient's rows."""
    return sorted({file for row in task.rows for file in (row.image, *row.roi)})


def read_patient(task: CbisTask) -> Patient:
    """Read one patient; findings of all tables that show the same view share one mammogram."""
    # A view with a mass and a calcification occurs in two tables but is one image.
    by_view: dict[tuple[str, str], list[CbisRow]] = {}
    for row in task.rows:
        by_view.setdefault(row.laterality_and_view, []).append(row)
    mammograms, problems = [], []
    for (laterality, view), rows in by_view.items():
        for number, (image, film_rows) in enumerate(_read_films(rows), start=1):
            name = f"{task.patient}.{laterality}_{view}" + (f"_{number}" if number > 1 else "")
            mammogram, warnings = _mammogram(name, laterality, view, image, film_rows)
            mammograms.append(mammogram)
            problems += warnings
    # Some patients are in a training table and in a test table.
    split, split_problems = resolve_published_split(
        task.patient, (_published_split(row.row) for row in task.rows)
    )
    densities = [row.row.whole_number("breast density", 0, 4) for row in task.rows]
    return Patient(
        id=task.patient,
        mammograms=tuple(mammograms),
        # The tables write 0 where the density is unknown.
        density=next((density for density in densities if density), None),
        published_split=split,
        problems=tuple(problems + split_problems),
    )


def _locate_files(row: CsvRow, index: SeriesIndex) -> CbisRow:
    """Return the row with its files; UserError if its image or its mask is missing."""
    image = index.files(row.get("image file path"))
    if not image:
        raise row.error(
            f"its image {row.get('image file path')} is not below {index.root}",
            "download the series or leave the row out",
        )
    named = [row.get(column) for column in ("roi mask file path", "cropped image file path")]
    roi = tuple(dict.fromkeys(file for cell in named for file in index.files(cell)))
    if not roi:
        raise row.error(
            f"its mask {named[0]} is not below {index.root}",
            "download the series or leave the row out",
        )
    return CbisRow(row, image[0], roi)


def _read_films(rows: list[CbisRow]) -> list[tuple[DecodedImage, list[CbisRow]]]:
    """Return the films of one view with their rows.

    A mass and a calcification of one view are in two tables that name two files. Those are mostly
    the same film, but some are two exposures, and an outline belongs to its own exposure.
    """
    films: list[tuple[DecodedImage, list[CbisRow]]] = []
    images: dict[Path, DecodedImage] = {}
    for row in rows:
        if row.image not in images:
            with row.row.error_context():
                images[row.image] = read_image(row.image)
        image = images[row.image]
        same = [film_rows for film, film_rows in films if _is_same_film(film, image)]
        if same:
            same[0].append(row)
        else:
            films.append((image, [row]))
    return films


def _is_same_film(one: DecodedImage, other: DecodedImage) -> bool:
    """Return whether two files show the same film, up to the losses of two encodings."""
    if one.pixels.shape != other.pixels.shape:
        return False
    difference = np.abs(one.pixels / one.maximum - other.pixels / other.maximum)
    return float(difference.mean()) < _SAME_FILM_DIFFERENCE


def _mammogram(
    name: str, laterality: str, view: str, image: DecodedImage, rows: list[CbisRow]
) -> tuple[Mammogram, list[Problem]]:
    """Return one mammogram; its findings are numbered in the order of tables and rows."""
    findings, problems = [], []
    for number, row in enumerate(rows, start=1):
        outline, warnings = _read_outline(row, image)
        findings.append(_finding(number, row.row, outline))
        problems += [
            Problem(f"{name}, finding {number}", cause, action) for cause, action in warnings
        ]
    mammogram = mammogram_from_image(
        image,
        id=name,
        laterality=laterality,
        view=view,
        findings=findings,
        source_file=rows[0].row.get("image file path"),
    )
    return mammogram, problems


def _finding(number: int, row: CsvRow, outline: tuple[np.ndarray, ...]) -> Finding:
    """Return the finding of a row, with a report in the words of DDSM's overlays."""
    descriptors = {
        name: row.get(column).upper() for column, name in _DESCRIPTORS.items() if row.get(column)
    }
    lesion_type, pathology = row.get("abnormality type").upper(), row_pathology(row)
    words = " ".join(f"{name.upper()} {value}" for name, value in descriptors.items())
    return Finding(
        number=number,
        pathology=pathology,
        lesion_type=lesion_type,
        descriptors=descriptors,
        assessment=row.whole_number("assessment", 0, 5),
        # The tables write 0 where the subtlety is unknown.
        subtlety=row.whole_number("subtlety", 0, 5) or None,
        outline=outline,
        report=(
            f"LESION_TYPE {lesion_type} {words} ASSESSMENT {row.get('assessment')} SUBTLETY"
            f" {row.get('subtlety')} PATHOLOGY {pathology}"
        ),
    )


def _read_outline(
    row: CbisRow, image: DecodedImage
) -> tuple[tuple[np.ndarray, ...], list[tuple[str, str]]]:
    """Return the outline of the mask in pixels of the image, and warnings as (cause, action)."""
    height, width = image.pixels.shape
    for file in row.roi:
        with row.row.error_context():
            candidate = read_image(file)
        if not _is_mask(candidate, (height, width), only_file=len(row.roi) == 1):
            continue
        mask = (
            # Masks hold 0 and 1, or 0 and white.
            candidate.pixels > candidate.maximum / 2
            if candidate.pixels.max() > 1
            else candidate.pixels > 0
        )
        if not mask.any():
            raise row.row.error(
                f"its mask {file.name} is empty", "download it again or leave the row out"
            )
        h, w = mask.shape
        if (h, w) == (height, width):
            return trace_mask(mask), []
        warning = (
            f"its mask is {w} x {h} pixels, the image {width} x {height}",
            "outline scaled to the image",
        )
        return scale_polygons(trace_mask(mask), (width / w, height / h)), [warning]
    names = ", ".join(file.name for file in row.roi)
    raise row.row.error(
        f"none of {names} is a mask of the image ({width} x {height} pixels)",
        "download the series again or leave the row out",
    )


def _is_mask(candidate: DecodedImage, shape: tuple[int, int], *, only_file: bool) -> bool:
    """Return whether a file is the mask of an image of this shape, and not the crop.

    Tables and folders sometimes exchange mask and crop, so the content decides: a mask is
    two-valued and has the aspect ratio of the image.
    """
    (h, w), (height, width) = candidate.pixels.shape, shape
    if abs(h * width / (w * height) - 1) > 0.02:
        return False
    # A black-and-white crop can happen to have the aspect ratio of the image; it is much smaller.
    if min(h / height, w / width) < 0.25 and not only_file:
        return False
    brightest = max(int(candidate.pixels.max()), 1)
    # JPEG softens the edges of a mask, so a few intermediate values are allowed.
    intermediate = (candidate.pixels > 0.15 * brightest) & (candidate.pixels < 0.85 * brightest)
    return float(intermediate.mean()) < 0.01


def _published_split(row: CsvRow) -> str:
    """Return the published split, which the name of the table contains."""
    return "test" if "test" in row.table.stem.lower() else "train"

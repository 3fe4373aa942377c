"""CBIS-DDSM: the curated DDSM subset (Lee et al. 2017) with its four tables and DICOM films, or the
re-release of both as JPEG.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.images.decoding import Film, read_film
from core.images.polygons import scaled, trace
from core.sources.cbis_files import SeriesIndex
from core.sources.csv_table import Row, read_table
from core.sources.records import PATHOLOGIES, Finding, Mammogram, Patient, Problem
from core.sources.splits_kept import one_split
from core.sources.views import laterality_of, view_of

simulated = False
COLUMNS = {
    "patient_id": (), "left or right breast": (), "image view": (), "abnormality id": (), "abnormality type": (), "assessment": (), "pathology": (),
    "subtlety": (), "image file path": (), "cropped image file path": (), "roi mask file path": (), "breast density": ("breast_density",),
}  # fmt: skip
DESCRIPTORS = {
    "mass shape": "shape",
    "mass margins": "margins",
    "calc type": "type",
    "calc distribution": "distribution",
}


@dataclass(frozen=True)
class CbisRow:
    """A row of the tables, a finding, with the files found for it."""

    row: Row
    image: Path
    roi: tuple[Path, ...]

    @property
    def place(self) -> tuple[str, str]:
        """Laterality and view."""
        return str(laterality_of(self.row.get("left or right breast"))), str(
            view_of(self.row.get("image view"))
        )


@dataclass(frozen=True)
class CbisTask:
    """One patient's rows of all tables."""

    patient: str
    rows: tuple[CbisRow, ...]


def read_cases(table: Path) -> list[Row]:
    """Rows (findings) of one description table, checked.

    UserError naming the row for a pathology, side or view that is unknown.
    """
    rows = read_table(table, COLUMNS)
    for row in rows:
        _check(row)
    return rows


def _check(row: Row) -> None:
    """UserError for what is wrong in a row."""
    if _pathology(row) not in PATHOLOGIES:
        raise row.wrong(
            f"unknown pathology {row.get('pathology')!r}", f"use one of {', '.join(PATHOLOGIES)}"
        )
    if (
        laterality_of(row.get("left or right breast")) is None
        or view_of(row.get("image view")) is None
    ):
        raise row.wrong(
            f"unknown side or view {row.get('left or right breast')!r}, {row.get('image view')!r}",
            "use LEFT or RIGHT, CC or MLO",
        )
    row.number("assessment", 0, 5)
    row.number("subtlety", 0, 5)
    row.number("breast density", 0, 4)


def tasks(path: Path | None, skip_bad: bool = False) -> tuple[list[CbisTask], list[Problem]]:
    """A task per patient of the tables (`*case_description*.csv`) found beneath the folder, ordered
    by patient. Every row is checked and its series are looked up; UserError naming the row for a
    fault or a missing series, with skip_bad its patient is left out and listed.
    """
    if path is None or not Path(path).is_dir():
        raise UserError(
            f"{path} is no folder: give the folder that holds CBIS-DDSM's tables and images."
        )
    root = Path(path)
    tables = sorted(root.rglob("*case_description*.csv"))
    if not tables:
        raise UserError(
            f"The folder {root} holds no table `*_case_description_*_set.csv`: put CBIS-DDSM's"
            " tables beside its images."
        )
    index = SeriesIndex(root)
    patients: dict[str, list[Row]] = {}
    for table in tables:
        for row in read_table(table, COLUMNS):
            patients.setdefault(row.get("patient_id"), []).append(row)
    found, problems = [], []
    for patient in sorted(patients):
        try:
            for row in patients[patient]:
                _check(row)
            found.append(
                CbisTask(patient, tuple(_located(row, index) for row in patients[patient]))
            )
        except UserError as error:
            if not skip_bad:
                raise
            problems.append(Problem(patient, str(error), "patient left out", skipped=True))
    if not found:
        raise UserError(
            f"No patient of the tables in {root} has its images there, for example:"
            f" {problems[0].cause}"
        )
    return found, problems


def files(task: CbisTask) -> list[Path]:
    """The films and masks found for the patient's rows."""
    return sorted({file for row in task.rows for file in (row.image, *row.roi)})


def read(task: CbisTask) -> Patient:
    """Read one patient: findings of all tables that lie in the same view are united in one film."""
    by_view: dict[tuple[str, str], list[CbisRow]] = {}
    for row in task.rows:
        by_view.setdefault(row.place, []).append(row)
    mammograms, problems = [], []
    for (side, view), rows in by_view.items():
        mammogram, odd = _mammogram(task.patient, side, view, rows)
        mammograms.append(mammogram)
        problems += odd
    split, several = one_split(task.patient, (_split(row.row) for row in task.rows))
    densities = [
        density
        for density in (row.row.number("breast density", 0, 4) for row in task.rows)
        if density
    ]
    return Patient(
        id=task.patient,
        mammograms=tuple(mammograms),
        density=densities[0] if densities else None,
        published_split=split,
        problems=tuple(problems + several),
    )


def _located(row: Row, index: SeriesIndex) -> CbisRow:
    """The row with its files; UserError if its film or its mask is not there."""
    image = index.files(row.get("image file path"))
    if not image:
        raise row.wrong(
            f"its film {row.get('image file path')} is not beneath {index.root}",
            "download the series or leave the row out",
        )
    named = [row.get(column) for column in ("roi mask file path", "cropped image file path")]
    roi = tuple(dict.fromkeys(file for cell in named for file in index.files(cell)))
    if not roi:
        raise row.wrong(
            f"its mask {named[0]} is not beneath {index.root}",
            "download the series or leave the row out",
        )
    return CbisRow(row, image[0], roi)


def _mammogram(
    patient: str, side: str, view: str, rows: list[CbisRow]
) -> tuple[Mammogram, list[Problem]]:
    """One film with the findings of its rows, numbered in the order of tables and rows."""
    try:
        film = read_film(rows[0].image)
    except UserError as error:
        raise UserError(f"{rows[0].row.table}, row {rows[0].row.line}: {error}") from error
    name, problems = f"{patient}.{side}_{view}", []
    findings = []
    for number, row in enumerate(rows, start=1):
        outline, odd = _outline(row, film)
        findings.append(_finding(number, row.row, outline))
        problems += [Problem(f"{name}, finding {number}", cause, action) for cause, action in odd]
    mammogram = Mammogram(
        id=name,
        laterality=side,
        view=view,
        pixels=film.pixels,
        maximum=film.maximum,
        findings=tuple(findings),
        pixel_mm=film.pixel_mm,
        scanner=film.scanner,
        inverted=film.inverted,
        file_hash=film.file_hash,
        source_file=rows[0].row.get("image file path"),
    )
    return mammogram, problems


def _finding(number: int, row: Row, outline: tuple[np.ndarray, ...]) -> Finding:
    words = {
        name: row.get(column).upper() for column, name in DESCRIPTORS.items() if row.get(column)
    }
    subtlety, kind = row.number("subtlety", 0, 5), row.get("abnormality type").upper()
    told = " ".join(f"{name.upper()} {value}" for name, value in words.items())
    report = (
        f"LESION_TYPE {kind} {told} ASSESSMENT {row.get('assessment')} SUBTLETY"
        f" {row.get('subtlety')} PATHOLOGY {_pathology(row)}"
    )
    return Finding(
        number=number,
        pathology=_pathology(row),
        lesion_type=kind,
        descriptors=words,
        assessment=row.number("assessment", 0, 5),
        subtlety=subtlety or None,
        outline=outline,
        report=report,
    )


def _outline(row: CbisRow, film: Film) -> tuple[tuple[np.ndarray, ...], list[tuple[str, str]]]:
    """The mask's outline in the film's pixels, and (cause, action) of what is odd.

    Tables and folders exchange mask and crop at times, so the mask is known by what it is:
    two-valued and of the film's form.
    """
    height, width = film.pixels.shape
    for file in row.roi:
        try:
            candidate = read_film(file)
        except UserError as error:
            raise UserError(f"{row.row.table}, row {row.row.line}: {error}") from error
        h, w = candidate.pixels.shape
        if abs(h * width / (w * height) - 1) > 0.02 or not _two_valued(candidate):
            continue
        if min(h / height, w / width) < 0.25 and len(row.roi) > 1:
            continue  # a black-and-white crop that happens to have the film's form
        mask = (
            candidate.pixels > candidate.maximum / 2
            if candidate.pixels.max() > 1
            else candidate.pixels > 0
        )
        if not mask.any():
            raise row.row.wrong(
                f"its mask {file.name} is empty", "fetch it again or leave the row out"
            )
        if (h, w) == (height, width):
            return trace(mask), []
        odd = (
            f"its mask is {w} x {h} pixels, the film {width} x {height}",
            "outline scaled to the film",
        )
        return scaled(trace(mask), (width / w, height / h)), [odd]
    names = ", ".join(file.name for file in row.roi)
    raise row.row.wrong(
        f"none of {names} is a mask of the film ({width} x {height} pixels)",
        "fetch the series again or leave the row out",
    )


def _two_valued(film: Film) -> bool:
    """Whether nearly all pixels are black or white (JPEG softens the edges)."""
    top = max(int(film.pixels.max()), 1)
    middling = (film.pixels > 0.15 * top) & (film.pixels < 0.85 * top)
    return float(middling.mean()) < 0.01


def _pathology(row: Row) -> str:
    return row.get("pathology").upper().replace(" ", "_")


def _split(row: Row) -> str:
    """The published split, which the table's name tells."""
    return "test" if "test" in row.table.stem.lower() else "train"

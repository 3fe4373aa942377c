"""CMMD: a table with the pathology of each breast, DICOM images that name side and view in tags.

Layout: CMMD_clinicaldata_revision.xlsx (ID1, LeftRight, Age, abnormality, classification; a row per
breast), and the folders of the archive's downloader, <patient>/<study>/<series>/1-1.dcm. No finding
is marked: labels are image-level. A breast without a row is UNPROVEN.

References
----------
Cui C et al. The Chinese Mammography Database (CMMD). The Cancer Imaging Archive (2021),
doi 10.7937/tcia.eqde-4b16, section "Data Access".
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from core.errors import UserError
from core.sources.conventions import UNKNOWN, parse_laterality
from core.sources.csv_table import CsvRow, read_table
from core.sources.plans.cells import find_table, parse_age, require_folder
from core.sources.plans.headers import FileHeader, read_headers
from core.sources.plans.reading import keep_valid_plans, plan_files, read_planned_patient
from core.sources.plans.records import FilmPlan, PatientPlan
from core.sources.records import PATHOLOGIES, Problem

SIMULATED = False
TRUTH_BASIS = "pathology"
_TABLES = ["CMMD_clinicaldata_revision.xlsx", "CMMD_clinicaldata_revision.csv"]
_COLUMNS: dict[str, tuple[str, ...]] = {"id1": (), "leftright": (), "classification": ()}
_CLASSES = ("MALIGNANT", "BENIGN")

task_files = plan_files
read_patient = read_planned_patient


def list_tasks(
    path: Path | None, skip_bad: bool = False
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient of the table, and the problems found."""
    root = require_folder(path, "the table and the images of CMMD")
    table = find_table(root, _TABLES)
    patients: dict[str, list[CsvRow]] = {}
    for row in read_table(table, _COLUMNS):
        patients.setdefault(row.get("id1"), []).append(row)
    files: dict[str, list[FileHeader]] = {}
    headers, without_image = read_headers(root)
    for header in headers:
        files.setdefault(_patient(header, patients), []).append(header)
    problems = [
        Problem(patient, f"not in {table.name}", "not imported", skipped=True)
        for patient in sorted(set(files) - set(patients))
    ]
    problems += [
        Problem(str(file.relative_to(root)), "it holds no readable image", "not imported")
        for file in without_image
    ]

    def build(patient: str) -> PatientPlan:
        """Return the plan of a patient."""
        rows = patients[patient]
        labels = _labels(rows)
        ages = (parse_age(row.get("age")) for row in rows)
        return PatientPlan(
            patient=patient,
            films=tuple(
                _film(header, labels, rows[0])
                for header in sorted(files.get(patient, []), key=lambda header: header.path)
            )
            or _raise_missing(rows[0], patient),
            age=next((age for age in ages if age is not None), None),
        )

    plans, left_out = keep_valid_plans(
        [(patient, partial(build, patient)) for patient in patients], skip_bad=skip_bad
    )
    return plans, problems + left_out


def _patient(header: FileHeader, patients: dict[str, list[CsvRow]]) -> str:
    """Return the patient of a file: by its tag, else by the folder that has a patient's name."""
    if header.patient in patients:
        return header.patient
    named = (part for part in reversed(header.path.parts) if part in patients)
    return next(named, header.patient or header.path.parent.name)


def _raise_missing(row: CsvRow, patient: str) -> tuple[FilmPlan, ...]:
    raise row.error(
        f"no image of {patient} is there", "download it or leave the patient out with --skip-bad"
    )


def _labels(rows: list[CsvRow]) -> dict[str, str]:
    """Return the worst pathology of each breast; UserError for an unknown side or class."""
    labels: dict[str, str] = {}
    for row in rows:
        side, label = parse_laterality(row.get("leftright")), row.get("classification").upper()
        if side in (None, UNKNOWN) or label not in _CLASSES:
            raise row.error(
                f"unknown side or class {row.get('leftright')!r}, {row.get('classification')!r}",
                "use L or R, Benign or Malignant",
            )
        assert side is not None
        labels[side] = min(labels.get(side, label), label, key=PATHOLOGIES.index)
    return labels


def _film(header: FileHeader, labels: dict[str, str], row: CsvRow) -> FilmPlan:
    if header.laterality == UNKNOWN:
        raise UserError(
            f"{header.path} names no side in its tags, so it has no label: download it again or"
            " leave the patient out with --skip-bad."
        )
    return FilmPlan(
        image=header.path,
        laterality=header.laterality,
        view=header.view,
        image_label=labels.get(header.laterality, "UNPROVEN"),
        origin=f"{row.table}, row {row.line}",
    )

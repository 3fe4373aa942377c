"""A folder of DICOM files with a truth table: own data as a PACS exports them.

The table names each image by its SOP instance, or a whole examination by its study or accession
number; see `core.sources.dicom_folder.truth_table`. Patients get pseudonyms; no identifier of a
header or of the table is stored.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

from core.errors import UserError
from core.sources.conventions import similar_names
from core.sources.dicom_folder.pseudonyms import DEFAULT_KEY_FILE, load_key, pseudonym
from core.sources.dicom_folder.truth_table import TruthTable, read_truth_table
from core.sources.plans.cells import parse_age, require_folder
from core.sources.plans.headers import FileHeader, read_headers
from core.sources.plans.reading import keep_valid_plans, plan_files, read_planned_patient
from core.sources.plans.records import FilmPlan, PatientPlan
from core.sources.records import Patient, Problem

SIMULATED = False
TRUTH_BASIS = "table"

task_files = plan_files


def list_tasks(
    path: Path | None,
    truth: Path | None = None,
    pseudonym_key: Path | None = None,
    skip_bad: bool = False,
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient, and the problems found.

    Parameters
    ----------
    path : Path
        Folder with DICOM files at any depth.
    truth : Path
        The truth table.
    pseudonym_key : Path, optional
        Key file of the pseudonyms, created if it is missing; None: DEFAULT_KEY_FILE.
    skip_bad : bool
        Leave out and list a patient with a fault, instead of raising its error.
    """
    root = require_folder(path, "the DICOM files")
    if truth is None:
        raise UserError("The source dicom needs the table of the truth: give it with --truth.")
    table = read_truth_table(Path(truth))
    key = load_key(pseudonym_key or DEFAULT_KEY_FILE)
    headers, without_image = read_headers(root)
    patients: dict[str, list[FileHeader]] = {}
    unlisted = 0
    for header in headers:
        if table.rows_of(header):
            patients.setdefault(header.patient, []).append(header)
        else:
            unlisted += 1
    problems = [
        *table.problems,
        *_count_problems(Path(truth).name, unlisted, len(without_image)),
        *table.unused_rows(headers),
    ]
    counts = Counter(header.sop_instance for header in headers)
    similar = similar_names(patients)

    def plan(patient: str) -> PatientPlan:
        """Return the plan of one patient; UserError for a name or image that is not certain."""
        own = patients[patient]
        if patient in similar:
            raise table.rows_of(own[0])[0].error(
                "the PatientID of its images differs from another one only in spelling",
                "write one PatientID for one patient: its images have to share a split",
            )
        table.check_single(own, counts)
        return _plan(patient, own, key, table)

    plans, left_out = keep_valid_plans(
        [(pseudonym(patient, key), partial(plan, patient)) for patient in patients],
        skip_bad=skip_bad,
    )
    return plans, problems + left_out


def read_patient(task: PatientPlan) -> Patient:
    """Read one patient; a UserError names row and number of the film, not its file."""
    try:
        return read_planned_patient(task)
    except UserError as error:
        text = str(error)
        # Messages are stored with the study, and names of files can identify a patient.
        for number, film in enumerate(task.films, start=1):
            text = text.replace(str(film.image), f"of film {number}")
            text = text.replace(film.image.name, f"film {number}")
        raise UserError(text) from None


def _count_problems(table: str, unlisted: int, without_image: int) -> list[Problem]:
    problems = []
    if unlisted:
        cause = f"{unlisted} images of the folder have no row"
        problems.append(Problem(table, cause, "these images are not imported"))
    if without_image:
        cause = f"{without_image} files hold no readable image (reports, damaged or empty files)"
        problems.append(Problem("folder", cause, "not imported"))
    return problems


def _plan(patient: str, headers: list[FileHeader], key: bytes, table: TruthTable) -> PatientPlan:
    rows = [row for header in headers for row in table.rows_of(header)]
    if not patient:
        raise rows[0].error(
            "an image of it names no patient in its tags",
            "write PatientID into the files: images of one patient have to share a split",
        )
    films: list[FilmPlan] = []
    # By instance and not by path, so that moved folders give the same names.
    for number, header in enumerate(sorted(headers, key=lambda h: h.sop_instance), start=1):
        films.append(table.film_plan(header, f"film{number}"))
    ages = (parse_age(header.age) for header in headers)
    return PatientPlan(
        patient=pseudonym(patient, key),
        films=tuple(films),
        age=table.age(rows) or next((age for age in ages if age is not None), None),
        density=table.density(rows),
        features=tuple(sorted(table.features(rows).items())),
        published_split=table.split(rows),
    )

"""RSNA Screening Mammography: a CSV table with labels of whole breasts, DICOM or PNG images.

Layout: train.csv (a row per image), train_images/<patient_id>/<image_id>.dcm, or the same folders
with PNG. No finding is marked: labels are image-level. Views beside CC and MLO are ML, LM, LMO and
AT. A breast with cancer is MALIGNANT, one without cancer after a biopsy BENIGN, any other NORMAL.

References
----------
RSNA Screening Mammography Breast Cancer Detection, Kaggle (2022), page "Data", field descriptions
of train.csv: cancer, biopsy, BIRADS, density, laterality, view.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from core.sources.conventions import parse_laterality, parse_view
from core.sources.csv_table import CsvRow, read_table
from core.sources.plans.cells import (
    ImageIndex,
    find_table,
    parse_age,
    parse_density,
    require_folder,
)
from core.sources.plans.reading import keep_valid_plans, plan_files, read_planned_patient
from core.sources.plans.records import FilmPlan, PatientPlan
from core.sources.records import Problem

SIMULATED = False
TRUTH_BASIS = "pathology"
_COLUMNS: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("patient_id", "image_id", "laterality", "view", "cancer"), ()
)

task_files = plan_files
read_patient = read_planned_patient


def list_tasks(
    path: Path | None, skip_bad: bool = False
) -> tuple[list[PatientPlan], list[Problem]]:
    """Return one plan per patient, and the problems found."""
    root = require_folder(path, "train.csv and train_images of the RSNA set")
    index = ImageIndex(root)
    patients: dict[str, list[CsvRow]] = {}
    for row in read_table(find_table(root, ["train.csv"]), _COLUMNS):
        patients.setdefault(row.get("patient_id"), []).append(row)

    def build(patient: str) -> PatientPlan:
        """Return the plan of a patient."""
        rows = patients[patient]
        ages = (parse_age(row.get("age")) for row in rows)
        densities = (parse_density(row.get("density")) for row in rows)
        return PatientPlan(
            patient=patient,
            films=tuple(_film(row, index) for row in rows),
            age=next((age for age in ages if age is not None), None),
            density=next((density for density in densities if density), None),
        )

    return keep_valid_plans(
        [(patient, partial(build, patient)) for patient in patients],
        skip_bad=skip_bad,
    )


def _film(row: CsvRow, index: ImageIndex) -> FilmPlan:
    patient, image_id = row.get("patient_id"), row.get("image_id")
    laterality, view = parse_laterality(row.get("laterality")), parse_view(row.get("view"))
    if laterality is None or view is None:
        raise row.error(
            f"unknown laterality or view {row.get('laterality')!r}, {row.get('view')!r}",
            "use L or R and a view such as CC, MLO, ML, LM, LMO or AT",
        )
    # Exports to PNG keep the folders, or join patient and image in the name.
    image = index.find(patient, image_id) or index.find(f"{patient}_{image_id}")
    if image is None:
        raise row.error(
            f"its image {patient}/{image_id} is missing",
            "download it or leave the patient out with --skip-bad",
        )
    return FilmPlan(
        image=image,
        laterality=laterality,
        view=view,
        image_label=_label(row),
        origin=f"{row.table}, row {row.line}",
    )


def _label(row: CsvRow) -> str:
    cancer, biopsy = row.whole_number("cancer", 0, 1), row.whole_number("biopsy", 0, 1)
    if cancer is None:
        raise row.error("cancer is empty", "write 0 or 1")
    if cancer:
        return "MALIGNANT"
    return "BENIGN" if biopsy else "NORMAL"

"""Staged patients against the study: an image must not occur in two patients."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from core import store
from core.errors import UserError
from core.sources.records import Problem
from core.store import dataset_table, withdrawal


def exclude_duplicates(
    study: Path,
    records: list[dict[str, Any]],
    problems: list[Problem],
    skip_bad: bool,
    replaced: Collection[str] = (),
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return the records of patients that share no image with others, and the extended problems.

    Without skip_bad a duplicate raises UserError. One image in two patients would leak between
    splits. replaced: patients of the study that the records replace.
    """
    with store.read(study) as con:
        stored = dataset_table.load_mammograms(con)
        patient_ids = set(dataset_table.load_patients(con)["patient_id"]) - set(replaced)
        withdrawn = withdrawal.withdrawn_patients(con)
    stored = stored[~stored["patient_id"].isin(list(replaced))]
    owners = dict(zip(stored["pixel_hash"], zip(stored["patient_id"], stored["mammogram_id"])))
    mammogram_ids = set(stored["mammogram_id"])
    accepted = []
    for record in records:
        patient = record["patient"]["patient_id"]
        is_stored = patient in patient_ids
        if is_stored and not skip_bad:
            raise UserError(
                f"patient {patient} is in the study already: remove such patients from the source,"
                " or skip them with --skip-bad."
            )
        fault = f"patient {patient} is in the study already" if is_stored else None
        if patient in withdrawn:
            cause = f"patient {patient} was withdrawn from the study"
            problems = [*problems, Problem(patient, cause, "patient left out", skipped=True)]
            continue
        duplicate = _duplicate_fault(record, owners, mammogram_ids)
        fault = fault or duplicate
        if fault and not skip_bad:
            raise UserError(
                f"{fault}: the same image in two patients would leak between splits; correct the"
                " source, or leave such patients out with --skip-bad."
            )
        if fault:
            problems = [*problems, Problem(patient, fault, "patient left out", skipped=True)]
        else:
            accepted.append(record)
            patient_ids.add(patient)
    return accepted, problems


def _duplicate_fault(
    record: dict[str, Any], owners: dict[str, tuple[str, str]], mammogram_ids: set[str]
) -> str | None:
    """Return the first duplicate of a record's mammograms in words, None without one.

    owners (pixel hash to patient and mammogram) and mammogram_ids are extended by the record.
    """
    patient, fault = record["patient"]["patient_id"], None
    for row in record["mammograms"]:
        name = row["mammogram_id"]
        owner, original = owners.setdefault(row["pixel_hash"], (patient, name))
        if owner != patient:
            fault = fault or f"{name} has the same pixels as {original} of patient {owner}"
        elif name in mammogram_ids:
            fault = fault or f"{name} occurs twice"
        mammogram_ids.add(name)
    return fault

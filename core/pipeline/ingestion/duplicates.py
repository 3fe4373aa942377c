"""Staged patients against the study: an image must not occur in two patients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from core import store
from core.errors import UserError
from core.sources.conventions import similar_names
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
    names = [record["patient"]["patient_id"] for record in records]
    similar = similar_names([*sorted(patient_ids), *names])
    similar = {name: other for name, other in similar.items() if other in patient_ids}
    accepted = []
    for record in records:
        patient = record["patient"]["patient_id"]
        if patient in withdrawn:
            cause = f"patient {patient} was withdrawn from the study"
            problems = [*problems, Problem(patient, cause, "patient left out", skipped=True)]
            continue
        copies = _list_copies(record)
        faults = [
            _name_fault(patient, patient_ids, similar),
            _duplicate_fault(record, owners, mammogram_ids),
            _copy_fault(copies),
        ]
        fault = next(filter(None, faults), None)
        if fault is None:
            cause = "they have the same pixels"
            problems = [*problems, *(Problem(pair, cause, "both imported") for pair, _ in copies)]
            accepted.append(record)
            patient_ids.add(patient)
        elif skip_bad:
            problems = [*problems, Problem(patient, fault.cause, "patient left out", skipped=True)]
        else:
            raise UserError(f"{fault.cause}: {fault.remedy}.")
    return accepted, problems


class _Fault(NamedTuple):
    """Why a patient cannot be added, and what to do."""

    cause: str
    remedy: str


def _name_fault(
    patient: str, patient_ids: Collection[str], similar: Mapping[str, str]
) -> _Fault | None:
    """Return the fault of a patient of the study; similar: stored patients by their other name."""
    if patient in patient_ids:
        return _Fault(
            f"patient {patient} is in the study already",
            "remove such patients from the source, or skip them with --skip-bad",
        )
    if patient in similar:
        return _Fault(
            f"patient {patient} is in the study already as {similar[patient]}",
            "write one name for one patient, so that all images are in one split, or skip such"
            " patients with --skip-bad",
        )
    return None


def _copy_fault(copies: Sequence[tuple[str, bool]]) -> _Fault | None:
    """Return the fault of the first pair of mammograms of `_list_copies` that do not agree."""
    for names, agree in copies:
        if not agree:
            return _Fault(
                f"{names} have the same pixels, but other findings",
                "a finding of one would be normal tissue in the other; correct the source, or leave"
                " such patients out with --skip-bad",
            )
    return None


def _list_copies(record: dict[str, Any]) -> list[tuple[str, bool]]:
    """Return the pairs of mammograms of a patient with the same pixels, and whether they agree.

    They agree if they have the same findings and the same label.
    """
    first: dict[str, dict[str, Any]] = {}
    pairs = []
    for row in record["mammograms"]:
        other = first.setdefault(row["pixel_hash"], row)
        if other is not row:
            names = f"{other['mammogram_id']} and {row['mammogram_id']}"
            pairs.append((names, _stated(record, other) == _stated(record, row)))
    return pairs


def _stated(record: dict[str, Any], mammogram: dict[str, Any]) -> tuple[Any, ...]:
    """Return the label of a mammogram, and pathology and outline of its findings."""
    name = mammogram["mammogram_id"]
    findings = [finding for finding in record["findings"] if finding["mammogram_id"] == name]
    outlines = sorted((finding["pathology"], finding["outline"]) for finding in findings)
    return mammogram["image_label"], outlines


def _duplicate_fault(
    record: dict[str, Any], owners: dict[str, tuple[str, str]], mammogram_ids: set[str]
) -> _Fault | None:
    """Return the first duplicate of a record's mammograms, None without one.

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
    if fault is None:
        return None
    return _Fault(
        fault,
        "the same image in two patients would leak between splits; correct the source, or leave"
        " such patients out with --skip-bad",
    )

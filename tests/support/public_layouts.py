"""Trees of public data sets: their tables, and what an importer reads from them."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

from core.pipeline.ingestion.request import source_module
from core.sources.records import Finding, Mammogram, Patient, Problem


def read_source(kind: str, path: Path, **options: Any) -> tuple[dict[str, Patient], list[Problem]]:
    """Return the patients of a source by identifier, and the problems of the source as a whole."""
    module = source_module(kind)
    tasks, problems = module.list_tasks(path, **options)
    return {task.patient: module.read_patient(task) for task in tasks}, problems


def films_by_view(patient: Patient) -> dict[tuple[str, str], Mammogram]:
    """Return the mammograms of a patient by side and view, of which there is one each."""
    films = {(film.laterality, film.view): film for film in patient.mammograms}
    assert len(films) == len(patient.mammograms)
    return films


def box(finding: Finding) -> list[float]:
    """Return left, top, right and bottom of an outline."""
    points = np.concatenate(finding.outline)
    return [float(value) for value in (*points.min(0), *points.max(0))]


def write_csv(path: Path, rows: list[dict[str, str]], delimiter: str = ",") -> None:
    """Write a table with a heading; folders are created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> list[dict[str, str]]:
    """Read a table with a heading."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))

"""Check of a source: read and compare everything, list the problems, write nothing to the study."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store
from core.images.contact_sheet import SheetEntry, save_contact_sheets
from core.pipeline.ingest import duplicate_problems, source_module
from core.pipeline.problem_rows import problem_row
from core.pipeline.staging import load_record, stage_patients
from core.progress import ProgressCallback
from core.settings import Settings
from core.store import dataset_table, problem_table


@dataclass(frozen=True)
class SourceCheck:
    """What an ingestion of a source would give.

    problems: rows with item, cause, action and skipped, and code, mammogram_id and finding where a
    check found them.
    """

    patients: int
    mammograms: int
    findings: int
    problems: list[dict[str, Any]]


def check_source(
    study: Path,
    settings: Settings,
    kind: str,
    path: Path | None,
    report: ProgressCallback,
    *,
    workers: int = 1,
    sheet: Path | None = None,
    **options: Any,
) -> SourceCheck:
    """Read a source as an ingestion would, and return its problems.

    Nothing is written into the study. Patients that cannot be read are listed, and the rest is
    checked as well.

    Parameters
    ----------
    study, settings, kind, path, report, workers
        As in `core.pipeline.ingest.ingest`.
    sheet : Path, optional
        PNG file for contact sheets of the mammograms with their outlines.
    **options
        Options of the source.

    Raises
    ------
    UserError
        If the source cannot be read at all.
    """
    module = source_module(kind)
    tasks, problems = module.list_tasks(path, skip_bad=True, **options)
    # Outside the study: a check may concern data that must never enter it.
    with tempfile.TemporaryDirectory(prefix="deepminer-check-") as name:
        folder = Path(name)
        left_out = stage_patients(
            module,
            tasks,
            folder,
            4 * settings.images.input_side,
            workers=workers,
            skip_bad=True,
            report=lambda done, total: report(done, total, "patients"),
        )
        skipped = {problem.item for problem in left_out}
        records = [load_record(folder, t.patient) for t in tasks if t.patient not in skipped]
        problems = [*problems, *left_out, *duplicate_problems(study, records)]
        rows = [problem_row(problem) for problem in problems]
        rows += [row for record in records for row in record["problems"]]
        if sheet is not None:
            save_contact_sheets(_record_entries(folder, records, rows), sheet)
    return SourceCheck(
        patients=len(records),
        mammograms=sum(len(record["mammograms"]) for record in records),
        findings=sum(len(record["findings"]) for record in records),
        problems=sorted(rows, key=lambda row: (not row["skipped"], row["item"])),
    )


def draw_study_sheets(study: Path, sheet: Path) -> list[Path]:
    """Draw contact sheets of all mammograms with an outline or a problem; return the files.

    Mammograms with a problem come first.
    """
    with store.read(study) as con:
        mammograms = dataset_table.load_mammograms(con)
        findings = dataset_table.load_findings(con)
        problems = problem_table.list_problems(con, open_only=True)
    notes = problems.dropna(subset=["mammogram_id"]).drop_duplicates("mammogram_id")
    causes = dict(zip(notes["mammogram_id"], notes["cause"]))
    outlined = {row.mammogram_id for row in findings.itertuples() if row.outline}
    chosen = mammograms[mammograms["mammogram_id"].isin(outlined | set(causes))]
    is_doubtful = chosen["mammogram_id"].isin(set(causes))
    chosen = pd.concat([chosen[is_doubtful], chosen[~is_doubtful]])
    by_mammogram = dict(tuple(findings.groupby("mammogram_id")))
    entries = (
        SheetEntry(
            film.mammogram_id,
            np.load(study / "images" / f"{film.file}.npy", mmap_mode="r"),
            [
                (polygon, finding.pathology)
                for finding in (
                    by_mammogram[film.mammogram_id].itertuples()
                    if film.mammogram_id in by_mammogram
                    else ()
                )
                for polygon in finding.outline
            ],
            causes.get(film.mammogram_id, ""),
        )
        for film in chosen.itertuples()
    )
    return save_contact_sheets(entries, sheet)


def _record_entries(
    folder: Path, records: list[dict[str, Any]], problems: list[dict[str, Any]]
) -> Iterator[SheetEntry]:
    causes = {row["mammogram_id"]: row["cause"] for row in problems if row.get("mammogram_id")}
    for record in records:
        for film in record["mammograms"]:
            identifier = film["mammogram_id"]
            outlines = [
                (np.array(polygon, float), finding["pathology"])
                for finding in record["findings"]
                if finding["mammogram_id"] == identifier
                for polygon in json.loads(finding["outline"])
            ]
            pixels = np.load(folder / f"{film['file']}.npy")
            yield SheetEntry(identifier, pixels, outlines, causes.get(identifier, ""))

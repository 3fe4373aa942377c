"""Check of a source: read and compare everything, list the problems, write nothing to the study."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from core import store
from core.images.contact_sheet import SheetEntry, draw_contact_sheet, save_contact_sheets
from core.pipeline.ingestion.duplicates import exclude_duplicates
from core.pipeline.ingestion.problem_rows import joint_problem_rows, problem_row
from core.pipeline.ingestion.request import (
    SourceRequest,
    check_options,
    domain_options,
    source_module,
)
from core.pipeline.ingestion.staging import load_record, stage_patients
from core.progress import ProgressCallback
from core.settings import Settings
from core.sources.dicom_folder.pseudonyms import DEFAULT_KEY_FILE
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

    Nothing is written into the study, and no key of pseudonyms is created: without a key file the
    check uses a key of its own. Patients that cannot be read are listed, and the rest is checked as
    well.

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
    options |= domain_options(module, kind, settings)
    check_options(module, kind, options)
    request = SourceRequest(
        kind=kind,
        path=path,
        options=dict(options),
        shard=(1, 1),
        input_side=settings.images.input_side,
        classes=settings.class_definition,
    )
    # Outside the study: a check may concern data that must never enter it.
    with tempfile.TemporaryDirectory(prefix="deepminer-check-") as name:
        folder = Path(name)
        if kind == "dicom" and not (options.get("pseudonym_key") or DEFAULT_KEY_FILE).exists():
            options["pseudonym_key"] = folder / "pseudonym.key"
        tasks, problems = module.list_tasks(path, skip_bad=True, **options)
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
        with store.read(study) as con:
            # Patients of this source would be left as they are, or replaced.
            known = dataset_table.load_stamps(con, request.source_id())
        problems = exclude_duplicates(study, records, [*problems, *left_out], True, known)[1]
        rows = [problem_row(request.without_folders(problem)) for problem in problems]
        rows += [row for record in records for row in record["problems"]]
        rows += (
            []
            if not request.shows_breasts
            else joint_problem_rows(
                [film for record in records for film in record["mammograms"]],
                [
                    finding | {"outline": json.loads(finding["outline"])}
                    for record in records
                    for finding in record["findings"]
                ],
                rows,
                folder,
            )
        )
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
    doubtful = problems["mammogram_id"].dropna()
    outlined = {row.mammogram_id for row in findings.itertuples() if row.outline}
    chosen = mammograms["mammogram_id"]
    chosen = chosen[chosen.isin(outlined | set(doubtful))]
    is_doubtful = chosen.isin(set(doubtful))
    names = [*chosen[is_doubtful], *chosen[~is_doubtful]]
    return save_contact_sheets(_study_entries(study, names), sheet)


def draw_study_sheet(study: Path, mammograms: Sequence[str], columns: int) -> Image.Image:
    """Draw one contact sheet of these mammograms, in this order, with so many in a row."""
    return draw_contact_sheet(_study_entries(study, mammograms), columns)


def _study_entries(study: Path, names: Sequence[str]) -> Iterator[SheetEntry]:
    """Yield the mammograms of a study with their outlines and the first open problem of each."""
    with store.read(study) as con:
        files = dataset_table.load_mammograms(con).set_index("mammogram_id")["file"]
        findings = dataset_table.load_findings(con)
        problems = problem_table.list_problems(con, open_only=True)
    notes = problems.dropna(subset=["mammogram_id"]).drop_duplicates("mammogram_id")
    causes = dict(zip(notes["mammogram_id"], notes["cause"]))
    outlines: dict[str, list[tuple[np.ndarray, str]]] = {}
    for finding in findings.itertuples():
        own = outlines.setdefault(finding.mammogram_id, [])
        own += [(polygon, finding.pathology) for polygon in finding.outline]
    for name in names:
        pixels = np.load(study / "images" / f"{files[name]}.npy", mmap_mode="r")
        yield SheetEntry(name, pixels, outlines.get(name, []), causes.get(name, ""))


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

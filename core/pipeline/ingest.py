"""Ingestion: the patients of a source become working images and database rows of a study.

Its parts belong in `core.pipeline.ingestion`. Ingestion is atomic: only
when all patients are staged in `STUDY/ingest.partial/<source>/` are the images moved and the rows
committed in one transaction. An interrupted ingestion resumes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from core import store, timestamps
from core.errors import UserError
from core.images.working_images import move_working_images, remove_working_images
from core.pipeline.ingestion.duplicates import exclude_duplicates
from core.pipeline.ingestion.problem_rows import JOINT_CODES, joint_problem_rows, problem_row
from core.pipeline.ingestion.request import (
    SourceRequest,
    check_options,
    check_study_classes,
    domain_options,
    source_module,
)
from core.pipeline.ingestion.staging import load_record, stage_patients, task_stamp
from core.progress import ProgressCallback
from core.runs import ProgressFile, format_error
from core.settings import Settings
from core.sources.records import Problem
from core.store import dataset_table, problem_table, withdrawal
from core.store.connection import Connection


@dataclass(frozen=True, kw_only=True)
class IngestionResult:
    """Result of an ingestion.

    patients: added or replaced. replaced: those of them that were in the study with other content.
    inverted_count: mammograms that were inverted. problems: rows with item, cause, action, skipped.
    already_ingested: the study holds this source already and was not changed.
    """

    source_id: str
    patients: int
    mammograms: int
    findings: int
    inverted_count: int
    problems: list[dict[str, Any]]
    already_ingested: bool = False
    replaced: int = 0


def ingest(
    study: Path,
    settings: Settings,
    kind: str,
    path: Path | None,
    report: ProgressCallback,
    *,
    workers: int = 1,
    skip_bad: bool = False,
    shard: tuple[int, int] = (1, 1),
    **options: Any,
) -> IngestionResult:
    """Read a source into the study.

    When a source is ingested again, patients that it has corrected since replace those of the
    study, and new ones are added. What rested on the earlier content becomes out of date.

    Parameters
    ----------
    study : Path
        The study folder.
    settings : Settings
        Its settings; images.input_side determines the size of working images.
    kind : str
        One of `core.pipeline.ingestion.request.SOURCE_MODULES`.
    path : Path or None
        File or folder of the source; None for phantoms.
    report : callable
        Progress callback.
    workers : int
        Number of processes.
    skip_bad : bool
        Leave out and list a patient that cannot be read, instead of stopping.
    shard : (int, int)
        (i, n): every n-th patient only, from the i-th, counted from 1.
    **options
        Options of the source.

    Raises
    ------
    UserError
        For any fault; the study is unchanged.
    """
    module = source_module(kind)
    options |= domain_options(module, kind, settings)
    check_options(module, kind, options)
    request = SourceRequest(
        kind=kind,
        path=path,
        options=options,
        shard=shard,
        input_side=settings.images.input_side,
        classes=settings.class_definition,
    )
    check_study_classes(study, settings)
    waiting = _list_waiting(study, module, request, skip_bad)
    if not waiting.tasks:
        return _without_new_patients(study, request, waiting)
    # The folder does not depend on the content of a table: staged patients of a table that was
    # corrected since are used again.
    folder = study / "ingest.partial" / request.source_id()
    folder.mkdir(parents=True, exist_ok=True)
    progress = ProgressFile(path=folder / "progress.json", command=f"ingest {kind}")

    def report_patients(done: int, total: int) -> None:
        report(done, total, "patients")
        progress.update(done, total, "patients")

    try:
        left_out = stage_patients(
            module,
            waiting.tasks,
            folder,
            4 * settings.images.input_side,
            workers=workers,
            skip_bad=skip_bad,
            report=report_patients,
        )
        skipped = {problem.item for problem in left_out}
        records = [
            load_record(folder, task.patient)
            for task in waiting.tasks
            if task.patient not in skipped
        ]
        records, problems = exclude_duplicates(
            study, records, [*waiting.problems, *left_out], skip_bad, waiting.replaced
        )
        problems = [request.without_folders(problem) for problem in problems]
        waiting = dataclasses.replace(waiting, problems=problems)
        result = _add_records(study, folder, request, bool(module.SIMULATED), records, waiting)
    except Exception as error:
        progress.write("failed", format_error(error, study))
        raise
    # After success only: a repeated command uses the staged patients again.
    shutil.rmtree(folder)
    return result


@dataclass(frozen=True)
class _Waiting:
    """Patients of a source that are not in the study as the source has them now.

    tasks: their tasks. problems: those of the source as a whole. replaced: patients that are in
    the study with other content. stamps: what each patient of the source looks like.
    """

    tasks: list[Any]
    problems: list[Problem]
    replaced: frozenset[str]
    stamps: dict[str, str]


def _list_waiting(
    study: Path, module: ModuleType, request: SourceRequest, skip_bad: bool
) -> _Waiting:
    """Return what has to be read of a source; UserError if it holds no patient."""
    tasks, problems = module.list_tasks(request.path, skip_bad=skip_bad, **request.options)
    problems = [request.without_folders(problem) for problem in problems]
    number, parts = request.shard
    tasks = tasks[number - 1 :: parts]
    if not tasks:
        part = f" in part {number} of {parts}" if parts > 1 else ""
        where = request.location or request.kind
        first = f" The first problem: {problems[0].item}: {problems[0].cause}" if problems else ""
        raise UserError(
            f"{where} holds no patient{part}; check the path and the kind of source.{first}"
        )
    stamps = {task.patient: task_stamp(module, task) for task in tasks}
    with store.read(study) as con:
        known = dataset_table.load_stamps(con, request.source_id())
        stored_ids = set(dataset_table.load_patients(con)["patient_id"])
        source_ids = set(dataset_table.load_sources(con)["source_id"])
    unchanged = {name for name, stamp in stamps.items() if known.get(name) == stamp}
    if not known and request.source_id(request.table_hash()) in source_ids:
        # Ingested before stamps were recorded.
        unchanged = set(stamps)
    return _Waiting(
        tasks=[task for task in tasks if task.patient not in unchanged & stored_ids],
        problems=problems,
        replaced=frozenset((set(stamps) & set(known) & stored_ids) - unchanged),
        stamps=stamps,
    )


def _without_new_patients(
    study: Path, request: SourceRequest, waiting: _Waiting
) -> IngestionResult:
    """Return the result of a source whose patients are all in the study as they are now."""
    with store.write(study) as con:
        source_ids = dataset_table.origin_sources(con, request.source_id())
        rows = [
            problem_row(problem) | {"source_id": source_ids[-1]}
            for problem in waiting.problems
            if source_ids
        ]
        if source_ids:
            problem_table.replace_source_problems(con, source_ids, rows)
            dataset_table.refresh_source_counts(con)
    newest = source_ids[-1] if source_ids else request.source_id(request.table_hash())
    return _earlier_result(study, newest)


def _add_records(
    study: Path,
    folder: Path,
    request: SourceRequest,
    simulated: bool,
    records: list[dict[str, Any]],
    waiting: _Waiting,
) -> IngestionResult:
    """Add new patients and replace changed ones; UserError if there is none at all."""
    with store.read(study) as con:
        # Files that were written again with the same content change nothing.
        replacing = [r for r in records if r["patient"]["patient_id"] in waiting.replaced]
        same = dataset_table.unchanged_patients(con, replacing)
        withdrawal.check_not_shown(con, waiting.replaced - same, "ingest the corrected source")
        source_ids = set(dataset_table.load_sources(con)["source_id"])
    changed = [record for record in records if record["patient"]["patient_id"] not in same]
    read = {record["patient"]["patient_id"]: record["stamp"] for record in records}
    if changed:
        source_id = _unused_id(request.source_id(request.table_hash()), source_ids)
        return _commit(study, folder, source_id, request, simulated, changed, waiting, read)
    with store.write(study) as con:
        dataset_table.save_stamps(con, request.source_id(), read)
        known = bool(dataset_table.origin_sources(con, request.source_id()))
    if not known and not waiting.replaced:
        first = waiting.problems[0]
        raise UserError(
            f"No patient could be imported; the first problem: {first.item}:"
            f" {first.cause.rstrip('.')}."
        )
    return _without_new_patients(study, request, waiting)


def _unused_id(source_id: str, used: set[str]) -> str:
    """Return source_id, or the first of source_id-2, source_id-3, ... that is not used."""
    candidates = (f"{source_id}-{k}" if k > 1 else source_id for k in itertools.count(1))
    return next(name for name in candidates if name not in used)


def _earlier_result(study: Path, source_id: str) -> IngestionResult:
    """Return the result of a source that the study holds already."""
    with store.read(study) as con:
        row = dataset_table.load_sources(con).set_index("source_id").loc[source_id]
        problems = problem_table.list_problems(con)
    own_problems = problems[problems["source_id"] == source_id]
    return IngestionResult(
        source_id=source_id,
        patients=int(row["patients"]),
        mammograms=int(row["mammograms"]),
        findings=0,
        inverted_count=0,
        problems=own_problems[["item", "cause", "action", "skipped"]].to_dict("records"),
        already_ingested=True,
    )


def _commit(
    study: Path,
    folder: Path,
    source_id: str,
    request: SourceRequest,
    simulated: bool,
    records: list[dict[str, Any]],
    waiting: _Waiting,
    stamps: dict[str, str],
) -> IngestionResult:
    """Move the staged images into the study, and add or replace all rows in one transaction."""
    mammograms = pd.DataFrame([row for record in records for row in record["mammograms"]])
    findings = pd.DataFrame([row for record in records for row in record["findings"]])
    patients = pd.DataFrame([record["patient"] | {"source_id": source_id} for record in records])
    replaced = waiting.replaced & set(patients["patient_id"])
    own_problems = [row for record in records for row in record["problems"]]
    source_problems = [
        problem_row(problem) | {"source_id": source_id} for problem in waiting.problems
    ]
    source = {
        "source_id": source_id,
        "kind": request.kind,
        # The name only: a full path can identify people.
        "location": Path(request.location).name,
        "options": json.dumps(request.stored_options(), default=str),
        "simulated": simulated,
        "truth_basis": source_module(request.kind).TRUTH_BASIS,
        "image_labels": bool(mammograms["image_label"].notna().any()),
        "made": timestamps.utc_now(),
        "patients": len(patients),
        "mammograms": len(mammograms),
        "skipped": sum(row["skipped"] for row in source_problems),
    }
    # Images first: files without rows are harmless, rows without files are not.
    move_working_images(folder, study, mammograms)
    with store.write(study) as con:
        earlier = dataset_table.origin_sources(con, request.source_id())
        unused = dataset_table.remove_patients(con, replaced)
        for name, frame in (
            ("sources", pd.DataFrame([source])),
            ("patients", patients),
            ("mammograms", mammograms),
            ("findings", findings),
        ):
            dataset_table.append_rows(con, name, frame)
        # A patient that was left out before and has been repaired is no problem any more.
        problem_table.clear_skipped_problems(con, list(patients["patient_id"]))
        problem_table.replace_source_problems(con, [*earlier, source_id], source_problems)
        problem_table.add_problems(con, [row | {"source_id": source_id} for row in own_problems])
        dataset_table.save_stamps(con, request.source_id(), stamps)
        joint_problems = (
            _check_jointly(con, study, source_id, sorted(waiting.stamps))
            if request.shows_breasts
            else []
        )
        dataset_table.refresh_source_counts(con)
        dataset_table.save_classes(con, request.classes)
        # In the same transaction: a hash without its rows would identify other data.
        dataset_table.set_meta(con, "data_hash", dataset_table.content_hash(con))
    remove_working_images(study, [name for name in unused if name not in set(mammograms["file"])])
    return IngestionResult(
        source_id=source_id,
        patients=len(patients),
        mammograms=len(mammograms),
        findings=len(findings),
        inverted_count=int(mammograms["inverted"].sum()),
        problems=[*map(problem_row, waiting.problems), *own_problems, *joint_problems],
        replaced=len(replaced),
    )


def _check_jointly(
    con: Connection, study: Path, source_id: str, patients: list[str]
) -> list[dict[str, Any]]:
    """Compare the outlines of all patients of a source, list what is doubtful, and return it."""
    mammograms = dataset_table.load_mammograms(con)
    mammograms = mammograms[mammograms["patient_id"].isin(patients)]
    names = list(mammograms["mammogram_id"])
    findings = dataset_table.load_findings(con)
    findings = findings[findings["mammogram_id"].isin(names)]
    listed = problem_table.list_problems(con)
    rows = joint_problem_rows(
        mammograms.to_dict("records"),
        findings.to_dict("records"),
        listed.to_dict("records"),
        study / "images",
    )
    problem_table.replace_open_problems(
        con, JOINT_CODES, [row | {"source_id": source_id} for row in rows], names
    )
    return rows

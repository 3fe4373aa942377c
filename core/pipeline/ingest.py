"""Ingestion: the patients of a source become working images and database rows of a study.

Reading and staging of single patients belong in `core.pipeline.staging`. Ingestion is atomic: only
when all patients are staged in `STUDY/ingest.partial/<source>/` are the images moved and the rows
committed in one transaction. An interrupted ingestion resumes.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd

from core import store, timestamps
from core.errors import UserError
from core.pipeline.problem_rows import problem_row
from core.pipeline.staging import load_record, stage_patients
from core.progress import ProgressCallback
from core.runs import ProgressFile, canonical_json, format_error
from core.settings import Settings
from core.sources.records import Problem
from core.store import dataset_table, problem_table, withdrawal

# Module of core.sources by kind of source.
SOURCE_MODULES = {
    "phantom": "phantom",
    "manifest": "manifest",
    "ddsm": "ddsm",
    "cbis-ddsm": "cbis_ddsm",
    "release": "deepminer_release",
    "dicom": "dicom_folder",
    "vindr": "public_sets.vindr",
    "inbreast": "public_sets.inbreast",
    "rsna": "public_sets.rsna",
    "mini-mias": "public_sets.mini_mias",
    "cmmd": "public_sets.cmmd",
    "embed": "public_sets.embed",
    "coco": "annotation_tools.coco",
    "label-studio": "annotation_tools.label_studio",
    "cvat": "annotation_tools.cvat",
    "yolo": "annotation_tools.yolo",
}
# Options that name a secret key: no content of the source, and never stored.
_KEYS = ("pseudonym_key",)


@dataclass(frozen=True, kw_only=True)
class IngestionResult:
    """Result of an ingestion.

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


@dataclass(frozen=True, kw_only=True)
class _Request:
    """What identifies a source: kind, location, options, shard and input side."""

    kind: str
    path: Path | None
    options: dict[str, Any]
    shard: tuple[int, int]
    input_side: int

    @property
    def location(self) -> str:
        """The path as text, "" without one."""
        return "" if self.path is None else str(self.path)

    def source_id(self, *content: str) -> str:
        """Return the id of the source, which also depends on the given content."""
        text = canonical_json(
            [
                self.kind,
                # A relative path is the same source from every working directory.
                os.path.abspath(self.location) if self.location else "",
                {
                    # A relative path is the same file from every working directory.
                    name: os.path.abspath(value) if isinstance(value, Path) else value
                    for name, value in self.options.items()
                    if value is not None and name not in _KEYS
                },
                self.shard,
                self.input_side,
                *filter(None, content),
            ]
        )
        return f"{self.kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def table_hash(self) -> str:
        """Return the SHA-256 of the files that the source names: a changed table is another source.

        It is "" for folders and for unreadable files; the source reports the latter.
        """
        options = [
            value
            for name, value in self.options.items()
            if isinstance(value, Path) and name not in _KEYS
        ]
        digests = []
        for file in (self.path, *options):
            if file is None or not file.is_file():
                continue
            try:
                with file.open("rb") as opened:
                    digests.append(hashlib.file_digest(opened, "sha256").hexdigest())
            except OSError:
                return ""
        return "".join(digests)

    def stored_options(self) -> dict[str, Any]:
        """Return the options without folders: a full path can identify people."""
        return {
            name: value.name if isinstance(value, Path) else value
            for name, value in self.options.items()
            if name not in _KEYS
        }


def source_module(kind: str) -> ModuleType:
    """Return the module of a kind of source; UserError that lists the kinds for an unknown one."""
    if kind not in SOURCE_MODULES:
        raise UserError(f"There is no source {kind!r}; choose one of {', '.join(SOURCE_MODULES)}.")
    return importlib.import_module(f"core.sources.{SOURCE_MODULES[kind]}")


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

    Parameters
    ----------
    study : Path
        The study folder.
    settings : Settings
        Its settings; images.input_side determines the size of working images.
    kind : str
        One of SOURCE_MODULES.
    path : Path or None
        File or folder of the source; None for phantoms.
    report : callable
        Progress callback.
    workers : int
        Number of processes.
    skip_bad : bool
        Leave out and list a patient that cannot be read, instead of stopping. When the source is
        ingested again, those of them that have been corrected are added.
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
    _check_options(module, kind, options)
    request = _Request(
        kind=kind,
        path=path,
        options=options,
        shard=shard,
        input_side=settings.images.input_side,
    )
    source_id = request.source_id(request.table_hash())
    with store.read(study) as con:
        sources = dataset_table.load_sources(con)
    earlier = sources[sources["source_id"] == source_id]
    if len(earlier) and not earlier["skipped"].iloc[0]:
        return _earlier_result(study, source_id)
    tasks, problems = module.list_tasks(path, skip_bad=skip_bad, **options)
    tasks = tasks[shard[0] - 1 :: shard[1]]
    if len(earlier):
        # Patients that were left out may have been corrected since.
        tasks = _new_patients(study, tasks)
        if not tasks:
            return _earlier_result(study, source_id)
        source_id = _unused_id(source_id, set(sources["source_id"]))
    if not tasks:
        part = f" in part {shard[0]} of {shard[1]}" if shard != (1, 1) else ""
        raise UserError(
            f"{request.location or kind} holds no patient{part}; check the path and the kind of"
            " source."
        )
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
            tasks,
            folder,
            4 * settings.images.input_side,
            workers=workers,
            skip_bad=skip_bad,
            report=report_patients,
        )
        skipped = {problem.item for problem in left_out}
        records = [load_record(folder, t.patient) for t in tasks if t.patient not in skipped]
        problems = [*problems, *left_out]
        records, problems = _exclude_duplicates(study, records, problems, skip_bad)
        if not records and len(earlier):
            return _earlier_result(study, earlier["source_id"].iloc[0])
        if not records:
            raise UserError(
                f"No patient could be imported; the first problem: {problems[0].item}:"
                f" {problems[0].cause.rstrip('.')}."
            )
        result = _commit(
            study, folder, source_id, request, bool(module.SIMULATED), records, problems
        )
    except Exception as error:
        progress.write("failed", format_error(error, study))
        raise
    # After success only: a repeated command uses the staged patients again.
    shutil.rmtree(folder)
    return result


def _check_options(module: ModuleType, kind: str, options: dict[str, Any]) -> None:
    """Raise UserError for an option that the source does not have."""
    accepted = inspect.signature(module.list_tasks).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in accepted.values()):
        return  # the source checks its options itself
    for name, value in options.items():
        if name not in accepted and value is not None:
            raise UserError(
                f"The source {kind} has no option --{name.replace('_', '-')}; leave it out."
            )


def _unused_id(source_id: str, used: set[str]) -> str:
    """Return the first of source_id-2, source_id-3, ... that is not used."""
    candidates = (f"{source_id}-{k}" for k in itertools.count(2))
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


def _new_patients(study: Path, tasks: list[Any]) -> list[Any]:
    """Return the tasks of patients that are not in the study."""
    with store.read(study) as con:
        stored_ids = set(dataset_table.load_patients(con)["patient_id"])
    return [task for task in tasks if task.patient not in stored_ids]


def _exclude_duplicates(
    study: Path, records: list[dict[str, Any]], problems: list[Problem], skip_bad: bool
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Return the records of new patients that share no image, and the extended problems.

    Without skip_bad a duplicate raises UserError. One image in two patients would leak between
    splits.
    """
    with store.read(study) as con:
        stored = dataset_table.load_mammograms(con)
        patient_ids = set(dataset_table.load_patients(con)["patient_id"])
        withdrawn = withdrawal.withdrawn_patients(con)
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


def duplicate_problems(study: Path, records: list[dict[str, Any]]) -> list[Problem]:
    """Return the patients of a source that cannot be added to the study, with the reason."""
    return _exclude_duplicates(study, records, [], skip_bad=True)[1]


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


def _commit(
    study: Path,
    folder: Path,
    source_id: str,
    request: _Request,
    simulated: bool,
    records: list[dict[str, Any]],
    problems: list[Problem],
) -> IngestionResult:
    """Move the staged images into the study and add all rows in one transaction."""
    mammograms = pd.DataFrame([row for record in records for row in record["mammograms"]])
    findings = pd.DataFrame([row for record in records for row in record["findings"]])
    patients = pd.DataFrame([record["patient"] | {"source_id": source_id} for record in records])
    problem_rows = [problem_row(problem) for problem in problems]
    problem_rows += [row for record in records for row in record["problems"]]
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
        "skipped": sum(row["skipped"] for row in problem_rows),
    }
    # Images first: files without rows are harmless, rows without files are not.
    for file in mammograms["file"]:
        for path in folder.glob(f"{file}*.npy"):
            os.replace(path, study / "images" / path.name)
    with store.write(study) as con:
        for name, frame in (
            ("sources", pd.DataFrame([source])),
            ("patients", patients),
            ("mammograms", mammograms),
            ("findings", findings),
        ):
            dataset_table.append_rows(con, name, frame)
        # A patient that was left out before and has been repaired is no problem any more.
        problem_table.clear_skipped_problems(con, list(patients["patient_id"]))
        problem_table.add_problems(con, [row | {"source_id": source_id} for row in problem_rows])
        # In the same transaction: a hash without its rows would identify other data.
        dataset_table.set_meta(con, "data_hash", dataset_table.content_hash(con))
    return IngestionResult(
        source_id=source_id,
        patients=len(patients),
        mammograms=len(mammograms),
        findings=len(findings),
        inverted_count=int(mammograms["inverted"].sum()),
        problems=problem_rows,
    )

"""Ingestion: a source's patients become working images and rows, everything or nothing.

Each patient is read by a worker and laid into `STUDY/ingest.partial/<source>/` (images and one
record); a patient whose record is there is not read again unless its rows or files changed since,
so a killed or refused ingestion goes on where it stopped. Only when every patient is in are the
images moved and the rows committed, in one transaction.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd

from core import store, timestamps
from core.errors import UserError
from core.images import decoding
from core.images import polygons as outlines
from core.images.tissue_segmentation import tissue_mask
from core.runs import Progress, Report, canonical, explain
from core.settings import Settings
from core.sources.records import Finding, Mammogram, Patient, Problem
from core.store import dataset_table

KINDS = {
    "phantom": "phantom",
    "manifest": "manifest",
    "ddsm": "ddsm",
    "cbis-ddsm": "cbis_ddsm",
    "release": "release",
}


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What came in. answered: this very source was in the study already and nothing was done."""

    source_id: str
    patients: int
    mammograms: int
    findings: int
    turned: int
    problems: list[dict[str, Any]]
    answered: bool = False


def source_module(kind: str) -> ModuleType:
    """The module of a kind of source; UserError listing the kinds."""
    if kind not in KINDS:
        raise UserError(f"There is no source {kind!r}; choose one of {', '.join(KINDS)}.")
    return importlib.import_module(f"core.sources.{KINDS[kind]}")


def ingest(
    study: Path,
    settings: Settings,
    kind: str,
    path: Path | None,
    report: Report,
    *,
    workers: int = 1,
    skip_bad: bool = False,
    shard: tuple[int, int] = (1, 1),
    **options: Any,
) -> Ingested:
    """Read a source into the study. shard (i, n): only every n-th patient, from the i-th (1-based).
    skip_bad: leave out a patient that cannot be read and say so, instead of stopping; given again,
    the source brings in those of them that were mended. Further options go to the source. UserError
    leaves the study as it was.
    """
    module = source_module(kind)
    location = "" if path is None else str(path)
    place = _source_id(kind, location, options, shard, settings.images.input_side)
    source_id = _source_id(
        kind, location, options, shard, settings.images.input_side, _table_hash(path)
    )
    with store.read(study) as con:
        known = dataset_table.sources(con)
    earlier = known[known["source_id"] == source_id]
    if len(earlier) and not earlier["skipped"].iloc[0]:
        return _answered(study, source_id)
    tasks, problems = module.tasks(path, skip_bad=skip_bad, **options)
    tasks = tasks[shard[0] - 1 :: shard[1]]
    if len(earlier):  # what was left out then may have been mended
        tasks = _not_here(study, tasks)
        if not tasks:
            return _answered(study, source_id)
        source_id = next(
            name
            for name in (f"{source_id}-{k}" for k in itertools.count(2))
            if name not in set(known["source_id"])
        )
    if not tasks:
        part = f" in part {shard[0]} of {shard[1]}" if shard != (1, 1) else ""
        raise UserError(
            f"{location or kind} holds no patient{part}; check the path and the kind of source."
        )
    folder = study / "ingest.partial" / place
    folder.mkdir(parents=True, exist_ok=True)
    progress = Progress(path=folder / "progress.json", command=f"ingest {kind}")
    try:
        left_out = _read_all(
            module,
            tasks,
            folder,
            4 * settings.images.input_side,
            workers,
            skip_bad,
            report,
            progress,
        )
        records = [
            json.loads((folder / f"{_file_name(t.patient)}.json").read_text())
            for t in tasks
            if t.patient not in {p.item for p in left_out}
        ]
        problems = [*problems, *left_out]
        records, problems = _without_duplicates(study, records, problems, skip_bad)
        if not records and len(earlier):
            return _answered(study, earlier["source_id"].iloc[0])
        if not records:
            raise UserError(
                f"No patient could be taken in; the first problem: {problems[0].item}:"
                f" {problems[0].cause.rstrip('.')}."
            )
        result = _commit(
            study,
            folder,
            source_id,
            kind,
            location,
            options,
            bool(module.simulated),
            records,
            problems,
        )
    except Exception as error:
        progress.write("failed", explain(error, study))
        raise
    shutil.rmtree(folder)
    return result


def _source_id(
    kind: str,
    location: str,
    options: dict[str, Any],
    shard: tuple[int, int],
    side: int,
    *content: str,
) -> str:
    plain = {k: v for k, v in options.items() if v is not None}
    text = canonical(
        [
            kind,
            os.path.abspath(location) if location else "",
            plain,
            shard,
            side,
            *filter(None, content),
        ]
    )
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _table_hash(path: Path | None) -> str:
    """SHA-256 of a source that is one file: a table that was changed is another source. "" for
    folders, and for what cannot be read (the source says so).
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path is not None else ""
    except OSError:
        return ""


def _answered(study: Path, source_id: str) -> Ingested:
    with store.read(study) as con:
        row = dataset_table.sources(con).set_index("source_id").loc[source_id]
        problems = dataset_table.problems(con)
    mine = problems[problems["source_id"] == source_id].drop(columns="source_id")
    return Ingested(
        source_id=source_id,
        patients=int(row["patients"]),
        mammograms=int(row["mammograms"]),
        findings=0,
        turned=0,
        problems=mine.to_dict("records"),
        answered=True,
    )


def _not_here(study: Path, tasks: list[Any]) -> list[Any]:
    """Tasks of patients that are not in the study."""
    with store.read(study) as con:
        people = set(dataset_table.patients(con)["patient_id"])
    return [task for task in tasks if task.patient not in people]


def _file_name(identifier: str) -> str:
    """A file name that any identifier can have, whatever characters it holds."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:20]


def _read_all(
    module: ModuleType,
    tasks: list[Any],
    folder: Path,
    width: int,
    workers: int,
    skip_bad: bool,
    report: Report,
    progress: Progress,
) -> list[Problem]:
    stamped = [(task, _stamp(module, task)) for task in tasks]
    waiting = [
        (task, stamp) for task, stamp in stamped if not _laid_in(folder, task.patient, stamp)
    ]
    done, left_out = len(tasks) - len(waiting), []
    for task, error in _outcomes(module.__name__, waiting, folder, width, workers):
        if error is not None:
            if not skip_bad or not isinstance(error, UserError):
                raise error
            left_out.append(Problem(task.patient, str(error), "patient left out", skipped=True))
        done += 1
        report(done, len(tasks), "patients")
        progress.update(done, len(tasks), "patients")
    return left_out


def _stamp(module: ModuleType, task: Any) -> str:
    """A value that changes with what a patient is made from: its rows, and length and time of
    change of its files.
    """
    files = []
    for file in module.files(task):
        found = file.stat() if file.is_file() else None
        files.append([str(file), found.st_size, found.st_mtime_ns] if found else [str(file)])
    text = json.dumps([dataclasses.asdict(task), files], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _laid_in(folder: Path, patient: str, stamp: str) -> bool:
    """Whether the patient's record is there and made from what the source holds now."""
    path = folder / f"{_file_name(patient)}.json"
    return path.exists() and json.loads(path.read_text()).get("stamp") == stamp


def _outcomes(
    module: str, tasks: list[tuple[Any, str]], folder: Path, width: int, workers: int
) -> Iterator[tuple[Any, Exception | None]]:
    """(task, None or the error) as patients are finished; tasks with their stamps."""
    if workers <= 1 or len(tasks) < 4:
        with (
            ThreadPoolExecutor(1) as ahead
        ):  # decoding lets go of the interpreter: the next patient is read while this one is laid in
            waiting = [ahead.submit(_read, module, task) for task, _ in tasks[:1]]
            for i, (task, stamp) in enumerate(tasks):
                read, waiting = (
                    waiting[0],
                    [
                        ahead.submit(_read, module, following)
                        for following, _ in tasks[i + 1 : i + 2]
                    ],
                )
                yield task, _attempt(read.result, folder, width, stamp)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = {
            pool.submit(_attempt, partial(_read, module, task), folder, width, stamp): task
            for task, stamp in tasks
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "A process of the ingestion was ended from outside, as systems do when memory runs"
                " out: run the command again with fewer --workers, it goes on where it stopped."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _read(module: str, task: Any) -> Patient:
    return importlib.import_module(module).read(task)


def _attempt(read: Callable[[], Patient], folder: Path, width: int, stamp: str) -> Exception | None:
    try:
        _lay_in(read(), folder, width, stamp)
    except (UserError, OSError) as error:
        return error
    return None


def _lay_in(patient: Patient, folder: Path, width: int, stamp: str) -> None:
    """Write one patient's working images, then its record: the record's presence means that all is
    there, as `stamp` says.
    """
    path = folder / f"{_file_name(patient.id)}.json"
    path.unlink(
        missing_ok=True
    )  # of an earlier state of the source: its images are about to be replaced
    films = [_lay_in_film(patient.id, film, folder, width) for film in patient.mammograms]
    record = {
        "stamp": stamp,
        "patient": {
            "patient_id": patient.id,
            "age": patient.age,
            "density": patient.density,
            "features": json.dumps(patient.features),
            "published_split": patient.published_split,
            "stratum": patient.stratum,
            "filed_as": patient.filed_as,
        },
        "mammograms": [film for film, _ in films],
        "findings": [row for _, rows in films for row in rows],
        "problems": (
            [[p.item, p.cause, p.action, p.skipped] for p in patient.problems]
            + [
                [
                    film["mammogram_id"],
                    "no breast tissue is found on it",
                    "comes in, but gives no patches",
                    False,
                ]
                for film, _ in films
                if not film["tissue"]
            ]
        ),
    }
    part = path.with_suffix(".partial")
    part.write_text(json.dumps(record))
    os.replace(part, path)


def _lay_in_film(
    patient_id: str, film: Mammogram, folder: Path, width: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    side = max(width // 4, film.pixels.shape[1] // 4)
    if min(film.pixels.shape) < side:
        raise UserError(
            f"{film.id} ({film.source_file or 'its film'}) is {film.pixels.shape[1]} x"
            f" {film.pixels.shape[0]} px, smaller than a patch of {side} px; leave it out or use"
            " --skip-bad."
        )
    with (
        ThreadPoolExecutor(1) as beside
    ):  # hashing lets go of the interpreter: it costs nothing while the working image is made
        pixel_hash = beside.submit(_pixel_hash, film.pixels)
        working, factors = decoding.working_image(film.pixels, film.maximum, width)
        tissue = tissue_mask(working)
    name = _file_name(film.id)
    np.save(folder / f"{name}.npy", working)
    np.save(folder / f"{name}.tissue.npy", np.packbits(tissue))
    if film.concepts is not None:
        np.save(folder / f"{name}.concepts.npy", film.concepts)
    height, source = working.shape[0], film.pixels.shape
    row = {
        "mammogram_id": film.id,
        "patient_id": patient_id,
        "laterality": film.laterality,
        "view": film.view,
        "file": name,
        "width": width,
        "height": height,
        "source_width": source[1],
        "source_height": source[0],
        "pixel_mm": film.pixel_mm,
        "scanner": film.scanner,
        "image_label": film.image_label,
        "inverted": film.inverted,
        "tissue": float(tissue.mean()),
        "pixel_hash": pixel_hash.result(),
        "has_concepts": film.concepts is not None,
        "unlocated": film.unlocated,
    }
    return row, [_finding_row(film.id, finding, factors) for finding in film.findings]


def _pixel_hash(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _finding_row(
    mammogram_id: str, finding: Finding, factors: tuple[float, float]
) -> dict[str, Any]:
    def text(polygons: tuple[np.ndarray, ...]) -> str:
        return json.dumps([np.round(p, 2).tolist() for p in outlines.scaled(polygons, factors)])

    return {
        "mammogram_id": mammogram_id,
        "number": finding.number,
        "pathology": finding.pathology,
        "lesion_type": finding.lesion_type,
        "descriptors": json.dumps(finding.descriptors),
        "assessment": finding.assessment,
        "subtlety": finding.subtlety,
        "outline": text(finding.outline),
        "nested": text(finding.nested),
        "report": finding.report,
    }


def _without_duplicates(
    study: Path, records: list[dict[str, Any]], problems: list[Problem], skip_bad: bool
) -> tuple[list[dict[str, Any]], list[Problem]]:
    """Refuse (or leave out) patients that are in the study already, and images that two patients
    share: they would leak between splits.
    """
    with store.read(study) as con:
        here = dataset_table.mammograms(con)
        people = set(dataset_table.patients(con)["patient_id"])
    owner = dict(zip(here["pixel_hash"], zip(here["patient_id"], here["mammogram_id"])))
    names = set(here["mammogram_id"])
    kept = []
    for record in records:
        patient = record["patient"]["patient_id"]
        if patient in people and not skip_bad:
            raise UserError(
                f"patient {patient} is in the study already: take such patients out of the source,"
                " or pass over them with --skip-bad."
            )
        fault = f"patient {patient} is in the study already" if patient in people else None
        for film in record["mammograms"]:
            other = owner.setdefault(film["pixel_hash"], (patient, film["mammogram_id"]))
            if other[0] != patient:
                fault = (
                    fault
                    or f"{film['mammogram_id']} has the same pixels as {other[1]} of patient {other[0]}"
                )
            elif film["mammogram_id"] in names:
                fault = fault or f"{film['mammogram_id']} occurs twice"
            names.add(film["mammogram_id"])
        if fault and not skip_bad:
            raise UserError(
                f"{fault}: the same image in two patients would leak between splits; mend the"
                " source, or leave such patients out with --skip-bad."
            )
        if fault:
            problems = [*problems, Problem(patient, fault, "patient left out", skipped=True)]
        else:
            kept.append(record)
            people.add(patient)
    return kept, problems


def _commit(
    study: Path,
    folder: Path,
    source_id: str,
    kind: str,
    location: str,
    options: dict[str, Any],
    simulated: bool,
    records: list[dict[str, Any]],
    problems: list[Problem],
) -> Ingested:
    films = pd.DataFrame([film for record in records for film in record["mammograms"]])
    rows = [finding for record in records for finding in record["findings"]]
    people = pd.DataFrame([record["patient"] | {"source_id": source_id} for record in records])
    said = [(p.item, p.cause, p.action, p.skipped) for p in problems] + [
        tuple(p) for record in records for p in record["problems"]
    ]
    complaints = pd.DataFrame(said, columns=["item", "cause", "action", "skipped"]).assign(
        source_id=source_id
    )
    for file in films["file"]:
        for path in folder.glob(f"{file}*.npy"):
            os.replace(path, study / "images" / path.name)
    sources = pd.DataFrame(
        [
            {
                "source_id": source_id,
                "kind": kind,
                "location": Path(location).name,
                "options": json.dumps(options, default=str),
                "simulated": simulated,
                "image_labels": bool(films["image_label"].notna().any()),
                "made": timestamps.now(),
                "patients": len(people),
                "mammograms": len(films),
                "skipped": int(complaints["skipped"].sum()) if len(complaints) else 0,
            }
        ]
    )
    with store.write(study) as con:
        for name, frame in (
            ("sources", sources),
            ("patients", people),
            ("mammograms", films),
            ("findings", pd.DataFrame(rows)),
            ("problems", complaints),
        ):
            dataset_table.append(con, name, frame)
        dataset_table.set_meta(con, "data_hash", dataset_table.content_hash(con))
    return Ingested(
        source_id=source_id,
        patients=len(people),
        mammograms=len(films),
        findings=len(rows),
        turned=int(films["inverted"].sum()),
        problems=complaints.drop(columns="source_id").to_dict("records"),
    )

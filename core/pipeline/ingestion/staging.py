"""Staging of an ingestion: worker processes read patients and write working images and records.

A staged patient is one JSON record with its image files beside it. The import of staged patients
into a study belongs in `core.pipeline.ingest`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from core.errors import UserError
from core.images.decoding import working_image
from core.images.polygons import scale_polygons
from core.images.tissue_segmentation import Segmentation, chest_wall_side, segment_tissue
from core.images.working_images import SOURCE_SUFFIX, write_source_film
from core.pipeline.ingestion.problem_rows import CHEST_WALL, mammogram_problems, problem_row
from core.process_memory import keep_freed_memory
from core.sources.records import Finding, Mammogram, Patient, Problem

# Starting worker processes takes longer than reading this many patients.
_MIN_TASKS_FOR_WORKERS = 4
# Decoding takes as long as all that follows: two threads beside the writing keep two cores busy.
_PATIENTS_READ_AHEAD = 2
# Version of the staged records: records of an earlier one are staged again.
_RECORD_VERSION = 3


def stage_patients(
    module: ModuleType,
    tasks: Sequence[Any],
    folder: Path,
    width: int,
    *,
    workers: int,
    skip_bad: bool,
    report: Callable[[int, int], None],
) -> list[Problem]:
    """Stage the patients of all tasks; return the patients that were left out.

    A patient that is staged already is read again only if its rows or files have changed since, so
    an interrupted ingestion resumes.

    Parameters
    ----------
    module : module
        The source, see `core.sources.records.Source`.
    tasks : sequence
        Tasks of the source.
    folder : Path
        Folder for images and records.
    width : int
        Width of working images, in pixels.
    workers : int
        Number of processes.
    skip_bad : bool
        Whether a patient that cannot be read is left out instead of raising the error.
    report : callable
        Called with the numbers of finished and of all patients.
    """
    stamped = [(task, task_stamp(module, task)) for task in tasks]
    waiting = [
        (task, stamp) for task, stamp in stamped if not _is_staged(folder, task.patient, stamp)
    ]
    done, left_out = len(tasks) - len(waiting), []
    for task, error in staging_outcomes(module.__name__, waiting, folder, width, workers):
        if error is not None:
            # Other errors, such as a full disk, are no fault of the patient.
            if not skip_bad or not isinstance(error, UserError):
                raise error
            left_out.append(Problem(task.patient, str(error), "patient left out", skipped=True))
        done += 1
        report(done, len(tasks))
    return left_out


def load_record(folder: Path, patient: str) -> dict[str, Any]:
    """Return the record of a staged patient: patient, mammograms, findings and problems."""
    return json.loads(_record_path(folder, patient).read_text())


def _record_path(folder: Path, patient: str) -> Path:
    return folder / f"{_file_name(patient)}.json"


def _file_name(identifier: str) -> str:
    """Return a file name for any identifier, whatever characters it contains."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:20]


def task_stamp(module: ModuleType, task: Any) -> str:
    """Return a value that changes with the rows of a task, and with size and time of its files."""
    files = []
    for file in module.task_files(task):
        status = file.stat() if file.is_file() else None
        files.append([str(file), status.st_size, status.st_mtime_ns] if status else [str(file)])
    text = json.dumps(
        [_RECORD_VERSION, dataclasses.asdict(task), files], sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _is_staged(folder: Path, patient: str, stamp: str) -> bool:
    """Return whether the record of a patient exists and has this stamp."""
    path = _record_path(folder, patient)
    return path.exists() and json.loads(path.read_text()).get("stamp") == stamp


def staging_outcomes(
    module: str, tasks: Sequence[tuple[Any, str]], folder: Path, width: int, workers: int
) -> Iterator[tuple[Any, Exception | None]]:
    """Stage tasks, given with their stamps; yield (task, None or the error) as they finish.

    module: dotted name of the source.
    """
    if workers <= 1 or len(tasks) < _MIN_TASKS_FOR_WORKERS:
        keep_freed_memory()
        yield from _outcomes_in_this_process(module, tasks, folder, width)
        return
    # "spawn": a forked process would inherit the locks of threads that it does not have.
    spawn = get_context("spawn")
    with ProcessPoolExecutor(workers, spawn, initializer=keep_freed_memory) as pool:
        futures = {
            pool.submit(
                _try_stage, partial(_read_patient, module, task), folder, width, stamp
            ): task
            for task, stamp in tasks
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "An ingestion worker was killed, probably because memory ran out. Run the command"
                " again with fewer --workers; finished patients are kept."
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _outcomes_in_this_process(
    module: str, tasks: Sequence[tuple[Any, str]], folder: Path, width: int
) -> Iterator[tuple[Any, Exception | None]]:
    """Stage tasks one by one; the following patients are read meanwhile."""
    # Decoding releases the interpreter lock, so threads suffice.
    with ThreadPoolExecutor(_PATIENTS_READ_AHEAD) as readers:
        reading = deque[Future[Patient]]()
        following = iter(tasks)
        for task, stamp in tasks:
            for next_task, _ in islice(following, 1 + _PATIENTS_READ_AHEAD - len(reading)):
                reading.append(readers.submit(_read_patient, module, next_task))
            yield task, _try_stage(reading.popleft().result, folder, width, stamp)


def _read_patient(module: str, task: Any) -> Patient:
    return importlib.import_module(module).read_patient(task)


def _try_stage(
    read: Callable[[], Patient], folder: Path, width: int, stamp: str
) -> Exception | None:
    """Stage the patient that `read` returns; return the error if the patient cannot be staged."""
    try:
        _stage_patient(read(), folder, width, stamp)
    except (UserError, OSError) as error:
        return error
    return None


def _stage_patient(patient: Patient, folder: Path, width: int, stamp: str) -> None:
    """Write the working images of a patient, then the record."""
    path = _record_path(folder, patient.id)
    # A record of an earlier state of the source must not outlive its images.
    path.unlink(missing_ok=True)
    staged = [_stage_mammogram(patient.id, film, folder, width) for film in patient.mammograms]
    problems = [problem_row(problem) for problem in patient.problems]
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
        "mammograms": [film.row for film in staged],
        "findings": [row for film in staged for row in film.findings],
        "problems": problems + [row for film in staged for row in film.problems],
    }
    # The record appears last and at once: its existence means that all images are complete.
    partial_path = path.with_suffix(".partial")
    partial_path.write_text(json.dumps(record))
    os.replace(partial_path, path)


@dataclasses.dataclass(frozen=True)
class _StagedMammogram:
    """Rows of a mammogram, of its findings and of its problems."""

    row: dict[str, Any]
    findings: list[dict[str, Any]]
    problems: list[dict[str, Any]]


def _stage_mammogram(
    patient_id: str, mammogram: Mammogram, folder: Path, width: int
) -> _StagedMammogram:
    """Write the files of a mammogram; return its rows."""
    pixels = mammogram.pixels
    _check_size(mammogram, width)

    def write_source() -> tuple[str, str]:
        """Write the film at source resolution; return the name of the files and the pixels' hash.

        New content gets new files: a transaction that fails must leave the earlier ones as they
        are. The hash is of the pixels, because one film can occur in two encodings.
        """
        pixel_hash = _hash_pixels(pixels)
        name = _file_name(f"{mammogram.id} {pixel_hash} {mammogram.maximum} {width}")
        write_source_film(folder / f"{name}{SOURCE_SUFFIX}", pixels, mammogram.maximum, width)
        return name, pixel_hash

    # Hashing and encoding release the interpreter lock: they take no time beside the working image.
    with ThreadPoolExecutor(1) as thread:
        source = thread.submit(write_source)
        working, factors = working_image(pixels, mammogram.maximum, width)
        segmentation = (
            Segmentation(np.ones(working.shape[:2], bool))
            if mammogram.whole_image
            else segment_tissue(working)
        )
    tissue = segmentation.mask
    name, pixel_hash = source.result()
    np.save(folder / f"{name}.npy", working)
    np.save(folder / f"{name}.tissue.npy", np.packbits(tissue))
    if mammogram.concepts is not None:
        np.save(folder / f"{name}.concepts.npy", _resize_bits(mammogram.concepts, working.shape))
    row = {
        "mammogram_id": mammogram.id,
        "patient_id": patient_id,
        "laterality": mammogram.laterality,
        "view": mammogram.view,
        "file": name,
        "width": width,
        "height": working.shape[0],
        "source_width": pixels.shape[1],
        "source_height": pixels.shape[0],
        "pixel_mm": mammogram.pixel_mm,
        "scanner": mammogram.scanner,
        "image_label": mammogram.image_label,
        "inverted": mammogram.inverted,
        "tissue": float(tissue.mean()),
        "pixel_hash": pixel_hash,
        "has_concepts": mammogram.concepts is not None,
        "unlocated": mammogram.unlocated,
        "attributes": json.dumps(
            mammogram.attributes | {CHEST_WALL: chest_wall_side(segmentation.mask)}
        ),
    }
    findings = [_finding_row(mammogram.id, finding, factors) for finding in mammogram.findings]
    return _StagedMammogram(row, findings, mammogram_problems(mammogram, segmentation, factors))


def _resize_bits(bits: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return concept bits [h, w] in the pixels of the working image: the nearest of each pixel."""
    # Bits of neighbours cannot be averaged. Positions are pixel centres.
    rows, columns = (
        ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(shape, bits.shape)
    )
    return bits[rows[:, None], columns]


def _check_size(mammogram: Mammogram, width: int) -> None:
    """Raise UserError if a mammogram is smaller than one patch."""
    height, source_width = mammogram.pixels.shape[:2]
    side = max(width // 4, source_width // 4)
    if min(height, source_width) < side:
        raise UserError(
            f"{mammogram.id} ({mammogram.source_file or 'its image'}) is {source_width} x {height}"
            f" px, smaller than a patch of {side} px; leave it out or use --skip-bad."
        )


def _hash_pixels(pixels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()


def _finding_row(
    mammogram_id: str, finding: Finding, factors: tuple[float, float]
) -> dict[str, Any]:
    """Return the row of a finding, with outlines in pixels of the working image."""

    def polygons_json(polygons: tuple[np.ndarray, ...]) -> str:
        return json.dumps([np.round(p, 2).tolist() for p in scale_polygons(polygons, factors)])

    return {
        "mammogram_id": mammogram_id,
        "number": finding.number,
        "pathology": finding.pathology,
        "lesion_type": finding.lesion_type,
        "descriptors": json.dumps(finding.descriptors),
        "assessment": finding.assessment,
        "subtlety": finding.subtlety,
        "outline": polygons_json(finding.outline),
        "nested": polygons_json(finding.nested),
        "report": finding.report,
    }

"""Runs: the immutable result of one pipeline step, named by a hash of its inputs and settings.

A run is a folder `runs/<kind>-<hash12>` with its files, `tables/<table>.parquet` for the store and
`manifest.json`. It is built in `<name>.partial`, renamed when complete, and then registered: every
Parquet table is appended to the table of that name in the store, in one transaction. A run that was
renamed but not registered, because its process was killed in between, is registered by the next
command. A repeated request reuses the existing run.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, store, timestamps
from core.atomic_files import atomic_write, write_text
from core.errors import DiskFullError, MissingRunError, UserError
from core.progress import ProgressCallback
from core.store import run_table
from core.store.labels import assignment_table

_installed_version = functools.cache(importlib.metadata.version)  # reading one takes 5 ms
RECORDED_PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "duckdb",
    "streamlit",
)
PROGRESS_INTERVAL_S = 0.5


def canonical_json(value: Any) -> str:
    """Return JSON with sorted keys and no blanks: equal values have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def run_name(
    kind: str, version: int, settings: dict[str, Any], parents: list[str], inputs: str
) -> str:
    """Return the id of the run that a request determines.

    Parameters
    ----------
    kind : str
        The pipeline step, such as "train".
    version : int
        Version of the step's computation; a new version gives new ids.
    settings : dict
        All settings that influence the result, as plain JSON values.
    parents : list of str
        Ids of the runs it is built on, in the order of the step.
    inputs : str
        Hash of all other inputs, "" without any.

    Returns
    -------
    str
        `<kind>-<first 12 hexadecimal digits of the SHA-256 of the request>`.

    Examples
    --------
    >>> run_name("patches", 1, {"min_overlap": 0.3}, [], "")
    'patches-433ea1a6693a'
    """
    request = {
        "kind": kind,
        "version": version,
        "settings": settings,
        "parents": parents,
        "inputs": inputs,
    }
    return f"{kind}-{hashlib.sha256(canonical_json(request).encode()).hexdigest()[:12]}"


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal text; UserError if it is missing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; repeat the step that writes it.") from error


def software_versions() -> dict[str, str]:
    """Return the versions that are recorded with every run, figure and table, by package."""
    # From the metadata: importing the packages would take seconds.
    packages = {name: _installed_version(name) for name in RECORDED_PACKAGES}
    return {
        "deepminer": _installed_version("deepminer"),
        "python": platform.python_version(),
    } | packages


@dataclass(kw_only=True)
class ProgressFile:
    """Progress of a running step in a small JSON file, which the Overview page reads.

    Written at most twice a second, so that progress costs no time.
    """

    path: Path
    command: str
    total: int = 0
    done: int = 0
    unit: str = ""
    started: float = field(default_factory=time.time)
    _written: float = 0.0

    def update(self, done: int, total: int, unit: str) -> None:
        """Record that `done` of `total` units are complete; `unit` names them."""
        self.done, self.total, self.unit = done, total, unit
        # The last update is always written, so that the file never ends below its total.
        if time.time() - self._written > PROGRESS_INTERVAL_S or done >= total:
            self.write("running")

    def write(self, state: str, message: str = "") -> None:
        """Write the file with a state, "running" or "failed"."""
        self._written = time.time()
        body = {
            "state": state,
            "message": message,
            "pid": os.getpid(),
            "command": self.command,
            "done": self.done,
            "total": self.total,
            "unit": self.unit,
            "started": self.started,
            "seen": self._written,
        }
        write_text(self.path, json.dumps(body))


@dataclass(kw_only=True)
class Run:
    """A run that is being built.

    folder: for the files of the run; manifest: facts that the step adds to `manifest.json`. Only
    rank 0 writes: on other ranks the methods do nothing.
    """

    name: str
    kind: str
    folder: Path
    progress: ProgressFile
    manifest: dict[str, Any] = field(default_factory=dict)

    def add_table(self, name: str, frame: pd.DataFrame) -> None:
        """Add rows for the table of this name in the store, without its `run` column."""
        if not distributed.is_rank_zero():
            return
        folder = self.folder / "tables"
        folder.mkdir(exist_ok=True)
        # Written in place: the folder is not read before its rename.
        frame.to_parquet(folder / f"{name}.parquet", index=False)

    def track_progress(self, report: ProgressCallback) -> ProgressCallback:
        """Return a callback that informs both `report` and the progress file of the run."""
        if not distributed.is_rank_zero():
            return lambda *_: None

        def report_and_record(done: int, total: int, unit: str) -> None:
            report(done, total, unit)
            self.progress.update(done, total, unit)

        return report_and_record

    def save_array(self, name: str, array: np.ndarray) -> None:
        """Write an array to a .npy file of this name, atomically."""
        if not distributed.is_rank_zero():
            return
        # An open file: given a path, np.save would append .npy to the temporary name.
        with atomic_write(self.folder / name) as partial, partial.open("wb") as file:
            np.save(file, array)


class RunExists(Exception):
    """The requested run exists already; `name` is its id."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def register_orphans(study: Path) -> list[str]:
    """Register complete run folders that are missing in the store, and return their names.

    They stem from processes that were killed between renaming and registration. A run that another
    process is registering is left to it.
    """
    folders = sorted(
        p
        for p in (study / "runs").glob("*-*")
        if (p / "manifest.json").is_file() and not p.name.endswith(".partial")
    )
    # Read to the end first, because DuckDB admits no reader beside a writing process.
    with store.read(study) as con:
        registered = run_table.run_ids(con)
    names = []
    for folder in folders:
        if folder.name in registered or (lock := _lock_folder(folder)) is None:
            continue
        try:
            _register(study, folder)
        finally:
            os.close(lock)
        names.append(folder.name)
    return names


def _register(study: Path, folder: Path) -> None:
    """Store the tables of a complete run, then its row; only for the holder of the folder's lock.

    Large tables are stored slice by slice, so that no other access waits long. Their rows are part
    of no run until the row of the run follows in the last transaction.
    """
    manifest = json.loads((folder / "manifest.json").read_text())
    run = manifest["run"]
    with store.read(study) as con:
        if run in run_table.run_ids(con):  # by another process, before the folder was locked
            return
        slices = run_table.list_slices(con, folder)
    if slices:
        with store.write(study) as con:
            run_table.remove_slices(con, run, slices)
    for part in slices:
        with store.write(study) as con:
            run_table.append_slice(con, run, part)
    with store.write(study) as con:
        run_table.register_run(con, folder, manifest, slices)
        if manifest["kind"] == "dissect":
            assignment_table.assign_first_dissection(con, run)


def _find_run(study: Path, name: str) -> bool:
    """Return whether the run is in the store, after registering orphans.

    UserError if another process is registering it.
    """
    register_orphans(study)
    with store.read(study) as con:
        is_registered = name in run_table.run_ids(con)
    if not is_registered and (study / "runs" / name / "manifest.json").is_file():
        raise _busy_error(study, name)
    return is_registered


def _command() -> str:
    """Return the command line of this process without the folder of the program."""
    name = Path(sys.argv[0]).name
    return " ".join(["deepminer" if name == "cli.py" else name, *sys.argv[1:]])


@contextmanager
def create_run(
    study: Path, kind: str, version: int, settings: dict[str, Any], parents: list[str], inputs: str
) -> Iterator[Run]:
    """Build one run in the body of a `with` statement, then rename and register it.

    If the body raises, the folder stays as `<name>.partial` with the error message for the Overview
    page; the next attempt resumes or replaces it. Under torchrun all ranks enter the body, and rank
    0 writes the run.

    Parameters
    ----------
    study : Path
        The study folder.
    kind, version, settings, parents, inputs
        The request, as for `run_name`.

    Yields
    ------
    Run
        The run to fill with files, tables and manifest entries.

    Raises
    ------
    RunExists
        If the request was answered before; the existing run becomes the latest of its kind.
    UserError
        If another process builds the same run.
    """
    name = run_name(kind, version, settings, parents, inputs)
    lock = distributed.run_on_rank_zero(lambda: _lock_run(study, name))
    if lock is None:
        raise RunExists(name)
    folder = study / "runs" / f"{name}.partial"
    progress = ProgressFile(path=folder / "progress.json", command=_command())
    run = Run(name=name, kind=kind, folder=folder, progress=progress)
    started = time.time()
    try:
        with _record_failure(run):
            yield run
        run.manifest |= {
            "run": name,
            "kind": kind,
            "version": version,
            "settings": settings,
            "parents": parents,
            "inputs": inputs,
            "software": software_versions(),
            "made": timestamps.utc_now().isoformat(),
            "seconds": round(time.time() - started, 3),
            "command": _command(),
        }
        distributed.run_on_rank_zero(lambda: _publish(study, run))
    finally:
        if distributed.is_rank_zero():
            os.close(lock)  # a descriptor of rank 0; on other ranks it is a mere number


@contextmanager
def _record_failure(run: Run) -> Iterator[None]:
    """Keep the progress file up to date at the start and when the step fails; only on rank 0."""
    if not distributed.is_rank_zero():
        yield
        return
    try:
        run.progress.write("running")
        yield
    except KeyboardInterrupt:
        # Not covered below, since KeyboardInterrupt is no Exception.
        run.progress.write("failed", "stopped by hand")
        raise
    except Exception as error:
        run.progress.write("failed", format_error(error, run.folder))
        raise


def _lock_run(study: Path, name: str) -> int | None:
    """Create and lock the folder of a run, and return the lock; None if the run exists."""
    if _find_run(study, name):
        # The run that was used last counts as the latest of its kind.
        with store.write(study) as con:
            run_table.record_use(con, name)
        return None
    folder = study / "runs" / f"{name}.partial"
    folder.mkdir(parents=True, exist_ok=True)
    lock = _lock_folder(folder)
    if lock is None:
        raise _busy_error(study, name)
    return lock


def _lock_folder(folder: Path) -> int | None:
    """Lock the folder of a run, under this and any later name; None if another process holds it."""
    # flock, because the kernel releases it when the process is killed; a file that merely exists
    # would block the next attempt. The filelock package does the same and is no dependency here.
    lock = os.open(folder / ".building", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _busy_error(study: Path, name: str) -> UserError:
    return UserError(
        f"{name} is being built by another process in {study}; wait for it, then run the"
        " command again."
    )


def _publish(study: Path, run: Run) -> None:
    """Give a complete run its final name and register it."""
    for leftover in (*run.folder.glob("resume*"), run.folder / "progress.json"):
        leftover.unlink(missing_ok=True)
    # The manifest is the last file: a folder that has one is complete.
    write_text(run.folder / "manifest.json", json.dumps(run.manifest, indent=1, default=str))
    final = study / "runs" / run.name
    if final.exists():  # another process has built the same run since this one began
        shutil.rmtree(run.folder)
        _find_run(study, run.name)
    else:
        os.replace(run.folder, final)
        _register(study, final)


def format_error(error: BaseException, folder: Path) -> str:
    """Return the message of an error for the user.

    A UserError has its own message; a full disk (the one that holds `folder`) and a file that
    cannot be accessed get a remedy; any other error is given by its type and text.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return str(DiskFullError(folder))
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename}: {str(error.strerror).lower()}; check its permissions and its disk,"
            " then run the command again."
        )
    return f"{type(error).__name__}: {error}"


def unfinished_runs(study: Path) -> list[dict[str, Any]]:
    """Return the contents of the progress files of unfinished runs, the most recent first.

    Adds `run` and `kind`. `state` is "running", "failed" or "interrupted" (the process has ended
    without a message).
    """
    bodies = []
    for path in (study / "runs").glob("*.partial/progress.json"):
        try:
            body = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # the run was completed or removed in this moment
        # Only where /proc exists (Linux) can the end of another process be seen.
        if (
            body["state"] == "running"
            and Path("/proc").exists()
            and not Path(f"/proc/{body['pid']}").exists()
        ):
            body["state"] = "interrupted"
        name = path.parent.name.removesuffix(".partial")
        # The store holds complete runs only, so the kind comes from the name here.
        bodies.append(body | {"run": name, "kind": name.rpartition("-")[0]})
    return sorted(bodies, key=lambda body: -body["seen"])


def run_folder(study: Path, name: str) -> Path:
    """Return the folder of a complete run; MissingRunError if it has been removed."""
    path = study / "runs" / name
    if not (path / "manifest.json").is_file():
        raise MissingRunError(
            f"The folder of run {name} is missing in {study / 'runs'}; run its step again."
        )
    return path

"""Runs: what one step produced, immutable and named by content.

A run is a folder `runs/<kind>-<hash12>`: its settings, files, `tables/<table>.parquet` for the
store, and `manifest.json`. It is built as `<name>.partial`, renamed when whole, and then
registered: every Parquet table is appended to the store's table of that name in one transaction. A
run that was renamed but not registered (killed in between) is registered by the next command. The
same request again is answered from what is there.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import distributed, store, timestamps
from core.errors import UserError
from core.store import run_table
from core.study_folder import write_text

Report = Callable[[int, int, str], None]  # done, of how many, of what
PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "scikit-learn",
    "scipy",
    "duckdb",
    "streamlit",
)


def canonical(value: Any) -> str:
    """JSON with sorted keys and no blanks: equal requests have equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def run_name(
    kind: str, version: int, settings: dict[str, Any], parents: list[str], inputs: str
) -> str:
    """`<kind>-<first 12 hex digits of SHA-256>` of everything that determines the result."""
    request = {
        "kind": kind,
        "version": version,
        "settings": settings,
        "parents": parents,
        "inputs": inputs,
    }
    return f"{kind}-{hashlib.sha256(canonical(request).encode()).hexdigest()[:12]}"


def file_hash(path: Path) -> str:
    """SHA-256 of a file; UserError if it is missing."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise UserError(f"{path} is missing; run the step that makes it again.") from error


def software() -> dict[str, str]:
    """Versions that travel with every run, figure and table."""
    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {
        "deepminer": importlib.metadata.version("deepminer"),
        "python": platform.python_version(),
    } | found


@dataclass(kw_only=True)
class Progress:
    """How far a step is, in a small file that the Overview reads while the step runs.

    Written at most twice a second.
    """

    path: Path
    command: str
    total: int = 0
    done: int = 0
    unit: str = ""
    started: float = field(default_factory=time.time)
    _written: float = 0.0

    def update(self, done: int, total: int, unit: str) -> None:
        """Say how many of how many; `unit` names what is counted."""
        self.done, self.total, self.unit = done, total, unit
        if time.time() - self._written > 0.5 or done >= total:
            self.write("running")

    def write(self, state: str, message: str = "") -> None:
        """state: running or failed."""
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
    """A run being built. folder: write files here. table(name, frame): rows for the store. fresh:

    False if an interrupted attempt is continued. Of many processes only the first writes; in the
    others tables and arrays go nowhere.
    """

    name: str
    kind: str
    folder: Path
    progress: Progress
    fresh: bool
    manifest: dict[str, Any] = field(default_factory=dict)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        """Rows for the store's table of this name (without its `run` column)."""
        if not distributed.first():
            return
        folder = self.folder / "tables"
        folder.mkdir(exist_ok=True)
        frame.to_parquet(folder / f"{name}.parquet", index=False)

    def reporting(self, report: Report) -> Report:
        """Report to the caller and to the Overview at once."""
        if not distributed.first():
            return lambda *_: None

        def both(done: int, total: int, unit: str) -> None:
            report(done, total, unit)
            self.progress.update(done, total, unit)

        return both

    def save(self, name: str, array: np.ndarray) -> None:
        """An array beside the tables, written whole or not at all."""
        if not distributed.first():
            return
        part = self.folder / f"{name}.partial"
        with part.open("wb") as file:
            np.save(file, array)
        os.replace(part, self.folder / name)


class Answered(Exception):
    """The requested run exists already; `name` is its id."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def register_orphans(study: Path) -> list[str]:
    """Register whole runs that the store does not know (a process died between rename and
    registration). Returns their names.
    """
    folders = sorted(
        p
        for p in (study / "runs").glob("*-*")
        if (p / "manifest.json").is_file() and not p.name.endswith(".partial")
    )
    with store.read(study) as con:
        known = set(run_table.runs(con)["run"])
    orphans = [p for p in folders if p.name not in known]
    for folder in orphans:
        _register(study, folder)
    return [p.name for p in orphans]


def _register(study: Path, folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    with store.write(study) as con:
        run_table.register(con, folder, manifest)


def request(
    study: Path, kind: str, version: int, settings: dict[str, Any], parents: list[str], inputs: str
) -> tuple[str, bool]:
    """The name of the run that answers this request, and whether it is there."""
    register_orphans(study)
    name = run_name(kind, version, settings, parents, inputs)
    with store.read(study) as con:
        return name, name in set(run_table.runs(con)["run"])


def _command() -> str:
    """How this run was asked for, without the folder the program lies in."""
    name = Path(sys.argv[0]).name
    return " ".join(["deepminer" if name == "cli.py" else name, *sys.argv[1:]])


@contextmanager
def building(
    study: Path, kind: str, version: int, settings: dict[str, Any], parents: list[str], inputs: str
) -> Iterator[Run]:
    """Build one run: raises Answered if it exists; on success it is renamed and registered; on an
    error its folder stays hidden as `.partial` with the error's sentence for the Overview, to be
    resumed or replaced by the next attempt. Of many processes the first builds it, the others take
    part.
    """
    name, fresh, lock = distributed.once(
        lambda: _opened(study, kind, version, settings, parents, inputs)
    )
    if lock is None:
        raise Answered(name)
    folder, mine = study / "runs" / f"{name}.partial", distributed.first()
    try:
        run = Run(
            name=name,
            kind=kind,
            folder=folder,
            progress=Progress(path=folder / "progress.json", command=_command()),
            fresh=fresh,
        )
        started = time.time()
        try:
            if mine:
                run.progress.write("running")
            yield run
        except (KeyboardInterrupt, Exception) as error:
            if mine:
                run.progress.write(
                    "failed",
                    (
                        "stopped by hand"
                        if isinstance(error, KeyboardInterrupt)
                        else explain(error, folder)
                    ),
                )
            raise
        run.manifest |= {
            "run": name,
            "kind": kind,
            "version": version,
            "settings": settings,
            "parents": parents,
            "inputs": inputs,
            "software": software(),
            "made": timestamps.now().isoformat(),
            "seconds": round(time.time() - started, 3),
            "command": _command(),
        }
        distributed.once(lambda: _finished(study, run))
    finally:
        if mine:
            os.close(lock)


def _opened(
    study: Path, kind: str, version: int, settings: dict[str, Any], parents: list[str], inputs: str
) -> tuple[str, bool, int | None]:
    """The run's name, whether nothing was there of it, and the lock on its folder; None for the
    lock if the whole run is there.
    """
    name, there = request(study, kind, version, settings, parents, inputs)
    if there:
        with store.write(study) as con:
            run_table.use(con, name)
        return name, False, None
    folder = study / "runs" / f"{name}.partial"
    fresh = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / ".building", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(lock)
        raise UserError(
            f"{name} is being made by another process in {study}; wait for it, then run the command"
            " again."
        ) from error
    return name, fresh, lock


def _finished(study: Path, run: Run) -> None:
    """Give a whole run its name and tell the store."""
    for leftover in (*run.folder.glob("resume*"), run.folder / "progress.json"):
        leftover.unlink(missing_ok=True)
    write_text(run.folder / "manifest.json", json.dumps(run.manifest, indent=1, default=str))
    final = study / "runs" / run.name
    if final.exists():
        shutil.rmtree(run.folder)
    else:
        os.replace(run.folder, final)
    _register(study, final)


def explain(error: BaseException, where: Path) -> str:
    """One sentence for an error: a UserError's own text, a remedy for a full disk or a file that
    cannot be had, else its type and message.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno == 28:
        return (
            f"No space is left on the disk that holds {where}; free some space and run the command"
            " again, nothing that was there is lost."
        )
    if isinstance(error, OSError) and error.filename:
        return (
            f"{error.filename}: {str(error.strerror).lower()}; check its permissions and its disk,"
            " then run the command again."
        )
    return f"{type(error).__name__}: {error}"


def unfinished(study: Path) -> list[dict[str, Any]]:
    """Progress of runs in the making: state running, interrupted (its process is gone) or failed,
    newest first.
    """
    found = []
    for path in (study / "runs").glob("*.partial/progress.json"):
        try:
            body = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            continue  # finished or being replaced this very moment
        if (
            body["state"] == "running"
            and not Path(f"/proc/{body['pid']}").exists()
            and Path("/proc").exists()
        ):
            body["state"] = "interrupted"
        found.append(
            body
            | {
                "run": path.parent.name.removesuffix(".partial"),
                "kind": path.parent.name.split("-")[0],
            }
        )
    return sorted(found, key=lambda b: -b["seen"])


def folder(study: Path, name: str) -> Path:
    """The folder of a finished run; UserError if it has been removed."""
    path = study / "runs" / name
    if not (path / "manifest.json").is_file():
        raise UserError(
            f"The folder of run {name} is missing in {study / 'runs'}; run its step again."
        )
    return path

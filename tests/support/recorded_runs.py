"""Stand-ins for the store and for the creation of a run, which keep what a step asks and stores."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from core import lineage, runs, store
from core.progress import ProgressCallback


class RecordedRun:
    """A run in memory: the request for it, its tables and its manifest."""

    def __init__(self, folder: Path) -> None:
        self.name = "step-1"
        self.folder = folder
        self.request: tuple[Any, ...] = ()
        self.exists = False
        self.tables: dict[str, pd.DataFrame] = {}
        self.manifest: dict[str, Any] = {}

    def add_table(self, name: str, table: pd.DataFrame) -> None:
        """Keep a table."""
        self.tables[name] = table

    def track_progress(self, report: ProgressCallback) -> ProgressCallback:
        """Return the callback itself."""
        return report


def record_runs(patch: pytest.MonkeyPatch, folder: Path) -> RecordedRun:
    """Let the next steps fill this run; nothing is read from or written to a study."""
    run = RecordedRun(folder)

    @contextmanager
    def create_run(*request: Any) -> Iterator[RecordedRun]:
        run.request = request
        if run.exists:
            raise runs.RunExists(run.name)
        yield run

    patch.setattr(runs, "create_run", create_run)
    patch.setattr(store, "read", lambda study: nullcontext(SimpleNamespace(study=study)))
    patch.setattr(
        lineage, "resolve_run", lambda study, kind, run=None: run or f"newest {kind} of {study}"
    )
    patch.setattr(lineage, "ancestor_run", lambda study, run, kind: f"{kind} of {run}")
    return run

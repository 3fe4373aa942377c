"""Parts of the tests of printed tables: stand-ins for their inputs, and their columns as texts."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest

from core.class_labels import MAMMOGRAPHY
from evaluation.reporting.tables import Table


def replace_inputs(monkeypatch: pytest.MonkeyPatch, module: Any, **functions: Any) -> None:
    """Replace the inputs that tables and figures of a module share, and the given functions."""
    common = {
        "newest_run": lambda study, kind: f"{kind}-1",
        "run_classes": lambda study, run: MAMMOGRAPHY,
        "run_class_names": lambda study, run: dict(enumerate(MAMMOGRAPHY.names)),
        "influence_note": lambda study, run: f"Note of {run}.",
        "set_sentence": lambda name: f"Set {name}.",
    }
    for name, function in (common | functions).items():
        if hasattr(module, name):
            monkeypatch.setattr(module, name, function)
    monkeypatch.setattr(module.store, "read", lambda study: nullcontext(study))


def headings(table: Table) -> list[str]:
    """Return the headings; * marks a column that may be broken, ± one of intervals."""
    return [f"{c.heading}{'*' * c.wrap}{'±' * c.interval}" for c in table.columns]


def formats(table: Table, value: float = 0.125) -> list[str]:
    """Return a number in the format of each column."""
    return [c.format(value) for c in table.columns]

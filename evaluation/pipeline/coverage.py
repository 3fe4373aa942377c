"""Step `coverage`: share of the top influences that the selected units take.

The mammograms that choose the units are also those on which coverage is counted, so coverage is
optimistic. A split-half value and a patient-bootstrap interval stand beside it
(docs/reference/definitions.md, "Units"). Labelled coverage changes with every annotation and is
computed where it is shown (`evaluation.queries.unit_summaries`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import runs, store
from core.pipeline.inputs import StepResult
from core.progress import ProgressCallback
from core.store import run_table, unit_table
from evaluation.coverage import (
    count_units,
    coverage_from_top_units,
    fixed_selection_coverage,
    split_half_coverage,
    top_unit_arrays,
)
from evaluation.intervals import Interval

_VERSION = 2
_COLUMNS = ["class", "name", "estimate", "low", "high", "method", "n"]
_Row = tuple[Any, ...]


def run_coverage(study: Path, report: ProgressCallback, dissect: str) -> StepResult:
    """Measure the selection of a dissect run."""
    try:
        # All settings that matter here belong to the dissect run.
        with runs.create_run(study, "coverage", _VERSION, {}, [dissect], "") as run:
            run.add_table("coverage", coverage_table(study, dissect))
            report(1, 1, "tables")
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def coverage_table(study: Path, dissect: str) -> pd.DataFrame:
    """Return one row per class and measure.

    Columns: class, name, estimate, low, high, method, n. Names: selected, split_half, interval,
    chance, and curve_1 ... curve_n (coverage of the first k units).
    """
    with store.read(study) as con:
        run = run_table.load_run(con, dissect)
        used = run["settings"]["dissection"]
        influences = unit_table.load_top_influences(con, dissect, used["top"])
        chosen = unit_table.load_selected_units(con, dissect)
    codes, tops, patients = top_unit_arrays(influences)
    units = run["manifest"]["units"]
    if used.get("rule") == "spie":
        selected = sorted(set(chosen["unit"].astype(int)))
        rows = _fixed_selection_rows(codes, tops, patients, units, selected)
    elif used.get("rule") == "groups":
        groups = run["manifest"]["groups"]
        group_of = np.empty(units, int)
        for number, group in enumerate(groups):
            group_of[group] = number
        rows = _frequency_selection_rows(
            codes, group_of[tops], patients, len(groups), used["select"], "groups"
        )
    else:
        rows = _frequency_selection_rows(codes, tops, patients, units, used["select"])
    return pd.DataFrame(rows, columns=_COLUMNS)


def _frequency_selection_rows(
    codes: list[int],
    tops: np.ndarray,
    patients: np.ndarray,
    units: int,
    select: int,
    noun: str = "units",
) -> Iterator[_Row]:
    """Yield the rows of the published rule: the units most often among the top ones.

    noun: what is selected, for the texts; groups of units are treated as units are.
    """
    coverage = coverage_from_top_units(tops, units, select)
    halves = split_half_coverage(tops, patients, units, select)
    counts, n = count_units(tops, units), tops.shape[1]
    for i, code in enumerate(codes):
        part = coverage.per_class[i]
        method = f"{len(part.selected)} {noun} most often among the top {tops.shape[2]}"
        yield code, "selected", part.coverage, None, None, method, n
        yield _interval_row(code, "split_half", halves[i], n)
        # The interval is that of the split-half value: one of the optimistic share does not exist.
        yield _interval_row(code, "interval", halves[i], n)
        arbitrary = f"{select} arbitrary of {units} {noun}"
        yield code, "chance", part.chance, None, None, arbitrary, n
        falling = np.sort(counts[i])[::-1]
        for k in range(1, min(units, 3 * select) + 1):
            # The counts of a class sum to its slots.
            share = float(falling[:k].sum() / falling.sum())
            yield code, f"curve_{k}", share, None, None, "selected on the same images", n


def _fixed_selection_rows(
    codes: list[int], tops: np.ndarray, patients: np.ndarray, units: int, chosen: list[int]
) -> Iterator[_Row]:
    """Yield the rows for units that were selected by their top patches (SPIE 2018).

    The selection did not use these mammograms, so splitting them in halves changes nothing.
    """
    n, places, counts = tops.shape[1], tops.shape[2], count_units(tops, units)
    shares = fixed_selection_coverage(tops, patients, chosen)
    for i, (code, share) in enumerate(zip(codes, shares)):
        method = f"{len(chosen)} units chosen by their top patches (SPIE 2018)"
        yield code, "selected", share.estimate, None, None, method, n
        # The column exists for both rules, so that tables and pages need no case of their own.
        same = "not chosen on these images: the halves give the same"
        yield code, "split_half", share.estimate, None, None, same, n
        yield _interval_row(code, "interval", share, n)
        arbitrary = f"{len(chosen)} arbitrary of {units} units"
        yield code, "chance", min(1.0, len(chosen) / units), None, None, arbitrary, n
        cumulated = np.sort(counts[i][chosen])[::-1].cumsum() / (n * places)
        for k, value in enumerate(cumulated, start=1):
            method = "the chosen units, most frequent first"
            yield code, f"curve_{k}", float(value), None, None, method, n


def _interval_row(code: int, name: str, interval: Interval, n: int) -> _Row:
    return code, name, interval.estimate, interval.low, interval.high, interval.method, n

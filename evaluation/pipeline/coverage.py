"""Step `coverage`: how much of the network's top influences the selected units take, with what a
sceptic asks for beside it.

The images that choose the units are also those on which coverage is counted, which flatters it: a
split-half value and a patient-bootstrap interval stand beside it (DEFINITIONS "Units"). Labelled
coverage changes with every answer and is computed where it is shown.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from core import runs, store
from core.pipeline.inputs import StepResult
from core.runs import Report
from core.store import run_table, unit_table
from evaluation.coverage import (
    chosen_coverage,
    count_units,
    coverage_interval,
    coverage_of,
    split_half_coverage,
)

VERSION = 1


def make(study: Path, report: Report, dissect: str) -> StepResult:
    """Measure the selection of a dissect run."""
    try:
        with runs.building(study, "coverage", VERSION, {}, [dissect], "") as run:
            run.table("coverage", measure(study, dissect))
            report(1, 1, "tables")
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def measure(study: Path, dissect: str) -> pd.DataFrame:
    """Rows class, name, estimate, low, high, method, n: selected, split_half, interval, chance, and
    curve_1 ... curve_n (coverage of the first k).
    """
    with store.read(study) as con:
        run = run_table.get(con, dissect)
        influences = unit_table.top_influences(con, dissect, run["settings"]["dissection"]["top"])
        chosen = unit_table.selected(con, dissect)
    select, units = run["settings"]["dissection"]["select"], run["manifest"]["units"]
    codes, tops, patients = tops_of(influences)
    if run["settings"]["dissection"].get("rule") == "spie":
        return _given(codes, tops, patients, units, sorted(set(chosen["unit"].astype(int))))
    coverage = coverage_of(tops, units, select)
    halves, intervals = (
        split_half_coverage(tops, patients, units, select),
        coverage_interval(tops, patients, units, select),
    )
    rows = []
    for c, code in enumerate(codes):
        part, n = coverage.per_class[c], tops.shape[1]
        rows += [
            (
                code,
                "selected",
                part.coverage,
                None,
                None,
                f"{len(part.selected)} units most often among the top {tops.shape[2]}",
                n,
            ),
            (
                code,
                "split_half",
                halves[c].estimate,
                halves[c].low,
                halves[c].high,
                halves[c].method,
                n,
            ),
            (
                code,
                "interval",
                intervals[c].estimate,
                intervals[c].low,
                intervals[c].high,
                intervals[c].method,
                n,
            ),
            (code, "chance", part.chance, None, None, f"{select} arbitrary of {units} units", n),
        ]
        order = np.sort(count_units(tops, units)[c])[::-1]
        rows += [
            (
                code,
                f"curve_{k}",
                float(order[:k].sum() / order.sum()),
                None,
                None,
                "selected on the same images",
                n,
            )
            for k in range(1, min(units, 3 * select) + 1)
        ]
    return pd.DataFrame(rows, columns=["class", "name", "estimate", "low", "high", "method", "n"])


def _given(
    codes: list[int], tops: np.ndarray, patients: np.ndarray, units: int, chosen: list[int]
) -> pd.DataFrame:
    """The same rows for units that their top patches chose: nothing was fitted to these images, so
    halving them changes nothing.
    """
    rows, n, counted = [], tops.shape[1], count_units(tops, units)
    for c, (code, found) in enumerate(zip(codes, chosen_coverage(tops, patients, chosen))):
        rows += [
            (
                code,
                "selected",
                found.estimate,
                None,
                None,
                f"{len(chosen)} units chosen by their top patches (SPIE 2018)",
                n,
            ),
            (
                code,
                "split_half",
                found.estimate,
                None,
                None,
                "not chosen on these images: the halves give the same",
                n,
            ),
            (code, "interval", found.estimate, found.low, found.high, found.method, n),
            (
                code,
                "chance",
                min(1.0, len(chosen) / units),
                None,
                None,
                f"{len(chosen)} arbitrary of {units} units",
                n,
            ),
        ]
        order = np.sort(counted[c][chosen])[::-1].cumsum() / (n * tops.shape[2])
        rows += [
            (
                code,
                f"curve_{k}",
                float(share),
                None,
                None,
                "the chosen units, most frequent first",
                n,
            )
            for k, share in enumerate(order, start=1)
        ]
    return pd.DataFrame(rows, columns=["class", "name", "estimate", "low", "high", "method", "n"])


def tops_of(influences: pd.DataFrame) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Class codes, top units int [class, image, top] and patients [image] from rows of class,
    mammogram_id, patient_id, rank, unit.
    """
    codes = sorted(int(c) for c in influences["class"].unique())
    ordered = influences.sort_values(["class", "mammogram_id", "rank"])
    images = ordered["mammogram_id"].nunique()
    tops = ordered["unit"].to_numpy().reshape(len(codes), images, -1)
    first = ordered[ordered["class"] == codes[0]].drop_duplicates("mammogram_id")
    return codes, tops, first["patient_id"].to_numpy()

"""Is an explanation true of the network?

Statistics of ablation, deletion and localisation, each with patients as clusters, and what pages
show of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import store
from core.store import run_table, unit_table
from evaluation.clustered import bootstrap_ratio
from evaluation.intervals import Interval, decimal, interval_text, percent, percent_range
from evaluation.queries.class_names import class_words
from evaluation.roc import auc
from evaluation.roc.auc_variance import bootstrap_aucs
from evaluation.validation import Array, cluster_codes

LEVEL, RESAMPLES = 0.95, 2_000
SAME = "all patients have the same value"


def clustered_mean(values: Array, patients: Any) -> Interval:
    """Mean of values [n] with a percentile interval of the patient bootstrap; None with its reason
    where nothing or one patient is there, or where all patients have the same mean: resampling them
    gives no width, which is no certainty.
    """
    method = f"patient bootstrap, {RESAMPLES} resamples"
    if not len(values):
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=LEVEL,
            method=method,
            reason="there is nothing to measure",
            unit="patient",
        )
    codes, clusters = cluster_codes(patients, len(values))
    estimate = float(np.mean(values))
    if clusters < 2:
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=LEVEL,
            method=method,
            reason="one patient cannot be resampled",
            unit="patient",
        )
    sums, sizes = (
        np.bincount(codes, np.asarray(values, float), clusters),
        np.bincount(codes, minlength=clusters).astype(float),
    )
    return _with_width(estimate, *bootstrap_ratio(sums, sizes, LEVEL, RESAMPLES), method)


def _with_width(estimate: float, low: float, high: float, method: str) -> Interval:
    if high - low <= 1e-12 * max(1.0, abs(estimate)):
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=LEVEL,
            method=method,
            reason=SAME,
            unit="patient",
        )
    return Interval(
        estimate=estimate,
        low=low,
        high=high,
        level=LEVEL,
        method=method,
        reason=None,
        unit="patient",
    )


def auc_drop(
    labels: Array, before: Array, after: Array, patients: Any, others: list[Array] | None = None
) -> Interval:
    """How much the AUC falls from the scores `before` to `after`; with `others`, how much more than
    with these instead (their mean). Patients resampled, the same ones for every score.
    """
    method = f"patient bootstrap, {RESAMPLES} resamples"
    if labels.all() or not labels.any():
        return Interval(
            estimate=None,
            low=None,
            high=None,
            level=LEVEL,
            method=method,
            reason="one class only",
            unit="patient",
        )
    codes, clusters = cluster_codes(patients, len(labels))
    instead = others or [before]
    estimate = float(np.mean([auc(labels, s) for s in instead])) - float(auc(labels, after))
    if clusters < 2:
        return Interval(
            estimate=estimate,
            low=None,
            high=None,
            level=LEVEL,
            method=method,
            reason="one patient cannot be resampled",
            unit="patient",
        )
    drawn = np.mean(
        [bootstrap_aucs(labels, s, codes, clusters, RESAMPLES, 1) for s in instead], axis=0
    )
    low, high = np.nanquantile(
        drawn - bootstrap_aucs(labels, after, codes, clusters, RESAMPLES, 1),
        [(1 - LEVEL) / 2, (1 + LEVEL) / 2],
    )
    return _with_width(estimate, float(low), float(high), method)


@dataclass(frozen=True)
class Number:
    """A short readable line: what, the number with its interval, and what it is to be held against."""

    title: str
    value: str
    note: str
    good: bool | None


def run_of(study: Path, dissect: str) -> str | None:
    """The newest ablate run of a dissection, or None."""
    with store.read(study) as con:
        return run_table.latest(con, "ablate", dissect)


def table(study: Path, dissect: str) -> pd.DataFrame:
    """Everything an ablate run measured: class, subject, name, step, estimate, low, high, method,
    n. Empty without a run.
    """
    run = run_of(study, dissect)
    if run is None:
        return pd.DataFrame(
            columns=["class", "subject", "name", "step", "estimate", "low", "high", "method", "n"]
        )
    with store.read(study) as con:
        return unit_table.ablations(con, run)


def numbers(study: Path, dissect: str, code: int = 2) -> list[Number]:
    """The readable numbers of one class, for the Explanations and Units pages; empty without a run."""
    frame = table(study, dissect)
    mine = frame[frame["class"] == code]
    rows = {(r["subject"], r["name"]): r for r in mine[mine["step"].isna()].to_dict("records")}
    name, found = class_words(study, dissect)[code], []
    for subject in ("labelled", "selected"):
        if (subject, "logit_beyond_random") not in rows:
            continue
        drop, random, beyond = (
            rows[subject, n] for n in ("logit_drop", "logit_drop_random", "logit_beyond_random")
        )
        areas = rows[subject, "auc_drop"], rows[subject, "auc_beyond_random"]
        found.append(
            Number(
                f"{int(beyond['n'])} {subject} units at zero",
                f"{name} logit falls by {decimal(drop['estimate'], 2)}",
                f"as many random units of equal activation: {decimal(random['estimate'], 2)};"
                f" difference {_with(beyond, 2)}; AUC falls by {decimal(areas[0]['estimate'])},"
                f" {_with(areas[1], 3)} more than with random units",
                _above(beyond),
            )
        )
        break
    if ("map", "mass") in rows:
        mass, area, peak, chance = (rows["map", n] for n in ("mass", "area", "peak", "chance"))
        other_mass, other_peak = rows["random weights", "mass"], rows["random weights", "peak"]
        found.append(
            Number(
                "Class map inside the finding",
                percent(mass["estimate"], 0),
                f"{_range(mass)}{int(mass['n'])} films; an even map {percent(area['estimate'], 0)},"
                f" random weights {percent(other_mass['estimate'], 0)}",
                _estimable(mass) and mass["low"] > area["estimate"],
            )
        )
        found.append(
            Number(
                "Peak of the map on the finding",
                percent(peak["estimate"], 0),
                f"{_range(peak)}{int(peak['n'])} films; by chance {percent(chance['estimate'], 0)},"
                f" random weights {percent(other_peak['estimate'], 0)}",
                _estimable(peak) and peak["low"] > chance["estimate"],
            )
        )
    return found


def _above(row: dict[str, Any]) -> bool:
    return _estimable(row) and row["low"] > 0


def _range(row: dict[str, Any]) -> str:
    """The interval of a share before what it is held against, or why there is none."""
    if not _estimable(row):
        return f"{100 * LEVEL:g} % CI not estimable: one patient, or {SAME}; "
    return f"{100 * LEVEL:g} % CI {percent_range(row['low'], row['high'], 0)}; "


def _estimable(row: dict[str, Any]) -> bool:
    return bool(pd.notna(row["low"]))


def _with(row: dict[str, Any], digits: int) -> str:
    if pd.isna(row["low"]):
        return decimal(row["estimate"], digits)
    return f"{decimal(row['estimate'], digits)} ({interval_text(row['low'], row['high'], LEVEL)})"


def curves(study: Path, dissect: str, code: int = 2) -> pd.DataFrame:
    """Deletion curves of a class: subject ("by influence", "at random"), step (units at zero),
    estimate (mean logit on the class's patches), low, high.
    """
    frame = table(study, dissect)
    mine = frame[(frame["class"] == code) & (frame["name"] == "deletion")]
    return mine[["subject", "step", "estimate", "low", "high"]].sort_values(
        ["subject", "step"], ignore_index=True
    )

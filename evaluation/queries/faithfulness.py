"""Results of an ablate run, as pages and figures show them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from core import store
from core.lineage import run_class_names
from core.settings import load_image_noun
from core.store import run_table, unit_table
from evaluation.intervals import decimal, interval_text, percent, percent_range

SAME_VALUE = "all patients have the same value"
_LEVEL = 0.95
_COLUMNS = ["class", "subject", "name", "step", "estimate", "low", "high", "method", "n"]


@dataclass(frozen=True)
class SummaryLine:
    """A measure in one line.

    title: what is measured; value: the number; note: interval and comparison; good: whether the
    interval excludes the comparison, None if there is no interval.
    """

    title: str
    value: str
    note: str
    good: bool | None


def latest_ablation(study: Path, dissect: str) -> str | None:
    """Return the latest ablate run of a dissect run, or None."""
    with store.read(study) as con:
        return run_table.latest_run(con, "ablate", dissect)


def load_ablation_table(study: Path, dissect: str) -> pd.DataFrame:
    """Return everything that the latest ablate run measured; empty without a run.

    Columns: class, subject, name, step, estimate, low, high, method, n.
    """
    run = latest_ablation(study, dissect)
    if run is None:
        return pd.DataFrame(columns=_COLUMNS)
    with store.read(study) as con:
        return unit_table.load_ablations(con, run)


def deletion_curves(study: Path, dissect: str, code: int = 2) -> pd.DataFrame:
    """Return the deletion curves of a class.

    Columns: subject ("by influence", "at random"), step (units at zero), estimate (mean logit on
    the patches of the class), low, high.
    """
    table = load_ablation_table(study, dissect)
    rows = table[(table["class"] == code) & (table["name"] == "deletion")]
    columns = ["subject", "step", "estimate", "low", "high"]
    return rows[columns].sort_values(["subject", "step"], ignore_index=True)


def summary_lines(study: Path, dissect: str, code: int = 2) -> list[SummaryLine]:
    """Return the measures of one class in lines; an empty list without a run."""
    table = load_ablation_table(study, dissect)
    single = table[(table["class"] == code) & table["step"].isna()]
    rows = {(row["subject"], row["name"]): row for row in single.to_dict("records")}
    lines = []
    # Labelled units first: they are the ones that explanations show.
    for subject in ("labelled", "selected"):
        if (subject, "logit_beyond_random") in rows:
            name = run_class_names(study, dissect)[code]
            lines.append(_ablation_line(rows, subject, name))
            break
    if ("map", "mass") in rows:
        lines += _localization_lines(rows, load_image_noun(study))
    return lines


def _ablation_line(
    rows: dict[tuple[str, str], dict[str, Any]], subject: str, class_name: str
) -> SummaryLine:
    drop, random = rows[subject, "logit_drop"], rows[subject, "logit_drop_random"]
    beyond = rows[subject, "logit_beyond_random"]
    area, area_beyond = rows[subject, "auc_drop"], rows[subject, "auc_beyond_random"]
    return SummaryLine(
        f"{int(beyond['n'])} {subject} units at zero",
        f"{class_name} logit falls by {decimal(drop['estimate'], 2)}",
        f"as many random units of equal activation: {decimal(random['estimate'], 2)};"
        f" difference {_with_interval(beyond, 2)}; AUC falls by {decimal(area['estimate'])},"
        f" {_with_interval(area_beyond, 3)} more than with random units",
        _has_interval(beyond) and beyond["low"] > 0,
    )


def _localization_lines(
    rows: dict[tuple[str, str], dict[str, Any]], noun: str
) -> list[SummaryLine]:
    mass, area, peak, chance = (rows["map", name] for name in ("mass", "area", "peak", "chance"))
    random_mass, random_peak = rows["random weights", "mass"], rows["random weights", "peak"]
    return [
        SummaryLine(
            "Class map inside the finding",
            percent(mass["estimate"], 0),
            f"{_interval_note(mass)}{int(mass['n'])} {noun}s; uniform map"
            f" {percent(area['estimate'], 0)}, random weights"
            f" {percent(random_mass['estimate'], 0)}",
            # A uniform map has the finding's share of the area as its mass: the chance value.
            _has_interval(mass) and mass["low"] > area["estimate"],
        ),
        SummaryLine(
            "Peak of the map on the finding",
            percent(peak["estimate"], 0),
            f"{_interval_note(peak)}{int(peak['n'])} {noun}s; by chance"
            f" {percent(chance['estimate'], 0)}, random weights"
            f" {percent(random_peak['estimate'], 0)}",
            _has_interval(peak) and peak["low"] > chance["estimate"],
        ),
    ]


def _interval_note(row: dict[str, Any]) -> str:
    if not _has_interval(row):
        return f"{100 * _LEVEL:g} % CI not estimable: one patient, or {SAME_VALUE}; "
    return f"{100 * _LEVEL:g} % CI {percent_range(row['low'], row['high'], 0)}; "


def _has_interval(row: dict[str, Any]) -> bool:
    return bool(pd.notna(row["low"]))


def _with_interval(row: dict[str, Any], digits: int) -> str:
    if not _has_interval(row):
        return decimal(row["estimate"], digits)
    interval = interval_text(row["low"], row["high"], _LEVEL)
    return f"{decimal(row['estimate'], digits)} ({interval})"

"""Step `ablate`: faithfulness of explanations, measured on the test split.

Fall of the class logit and of the AUC with units set to zero, against random units of equal
activation; deletion curves; localisation of class maps in outlined findings. The network runs in
`core.pipeline.ablate`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.class_labels import ClassDefinition
from core.pipeline.ablate import (
    EXACT_DRAWS,
    AblationRun,
    DeletionStep,
    UnitAblation,
    ablate_units,
)
from core.pipeline.inputs import StepResult
from core.progress import ProgressCallback
from core.settings import load_order_of_experts
from core.store.labels import label_states
from evaluation.intervals import Interval
from evaluation.resampling import clustered_mean
from evaluation.roc.ablated_scores import auc_drop

_VERSION = 2
_AUC_DRAWS = 10  # random sets whose AUC is computed; each needs a patient bootstrap
_COLUMNS = ["class", "subject", "name", "step", "estimate", "low", "high", "method", "n"]
_Row = dict[str, Any]


def run_ablation(study: Path, report: ProgressCallback, dissect: str | None = None) -> StepResult:
    """Test a dissect run (the latest by default) with its current labels.

    UserError if the test split has no patches.
    """
    dissected = lineage.resolve_run(study, "dissect", dissect)
    with store.read(study) as con:
        order = load_order_of_experts(study)
        labelled = sorted(label_states.unit_labels(con, dissected, order))
    # New labels change the settings, hence the run's name: the step runs again.
    settings = {"labelled": labelled, "draws": EXACT_DRAWS}
    try:
        with runs.create_run(study, "ablate", _VERSION, settings, [dissected], "") as run:
            results = ablate_units(study, dissected, set(labelled), run.track_progress(report))
            run.add_table("ablations", ablation_table(results))
            run.manifest |= {"labelled": labelled, "inference": results.inference}
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def ablation_table(results: AblationRun) -> pd.DataFrame:
    """Return one row per class, subject and measure, with its interval.

    Columns: class, subject, name, step, estimate, low, high, method, n.
    """
    rows: list[_Row] = []
    for group in results.groups:
        if isinstance(group, UnitAblation):
            rows += _set_rows(group, results)
        else:
            rows += _deletion_rows(group, results)
    for subject, table in results.localization.items():
        rows += _localization_rows(subject, table)
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"step": float, "n": "Int64"})


def _row(code: int, subject: str, name: str, interval: Interval, n: int) -> _Row:
    return {
        "class": code,
        "subject": subject,
        "name": name,
        "step": None,
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "method": interval.method,
        "n": n,
    }


def _set_rows(group: UnitAblation, results: AblationRun) -> Iterator[_Row]:
    """Yield the fall of the class logit and of the AUC, with the units and with random units."""
    column, positive = group.column, results.labels == group.column
    drop = (group.before - group.after)[positive, column]
    # A mean over draws per patch keeps the comparison below paired by patch.
    random = np.mean([(group.before - other)[positive, column] for other in group.random], axis=0)
    measures = {
        "logit_drop": drop,
        "logit_drop_random": random,
        "logit_beyond_random": drop - random,
    }
    for name, values in measures.items():
        mean = clustered_mean(values, results.patients[positive])
        row = _row(group.code, group.subject, name, mean, group.units)
        yield row | {"method": f"{mean.method}; {len(group.random)} random draws"}
    # The AUC takes the probability, as `evaluate` does, and not the logit.
    before, after = _probability(group.before, column), _probability(group.after, column)
    random_scores = [_probability(other, column) for other in group.random[:_AUC_DRAWS]]
    for name, reference in (("auc_drop", None), ("auc_beyond_random", random_scores)):
        area = auc_drop(positive, before, after, results.patients, reference)
        yield _row(group.code, group.subject, name, area, group.units)


def _probability(logits: np.ndarray, column: int) -> np.ndarray:
    # Without the largest logit subtracted, exp can overflow.
    shifted = np.exp(logits.astype(float) - logits.max(1, keepdims=True))
    return shifted[:, column] / shifted.sum(1)


def _deletion_rows(group: DeletionStep, results: AblationRun) -> Iterator[_Row]:
    """Yield the mean logit with a number of units at zero, by influence and at random."""
    positive = results.labels == group.column
    count = len(group.by_influence)
    mean = clustered_mean(group.by_influence, results.patients[positive])
    yield _row(group.code, "by influence", "deletion", mean, count) | {"step": group.step}
    means = group.random_means
    yield {
        "class": group.code,
        "subject": "at random",
        "name": "deletion",
        "step": group.step,
        # A range over random orders and not a confidence interval, as `method` states.
        "estimate": float(np.mean(means)),
        "low": float(np.quantile(means, 0.025)),
        "high": float(np.quantile(means, 0.975)),
        "method": f"range of {len(means)} random orders",
        "n": count,
    }


def _localization_rows(subject: str, table: pd.DataFrame) -> Iterator[_Row]:
    for code, scores in table.groupby("class"):
        patients = scores["patient_id"].to_numpy(str)
        for name in ("mass", "peak", "area", "chance"):
            mean = clustered_mean(scores[name].to_numpy(float), patients)
            yield _row(int(code), subject, name, mean, len(scores))


def summary_line(table: pd.DataFrame, classes: ClassDefinition) -> str:
    """Return one line for the terminal: the logit fall beyond random of the selected units."""
    rows = table[(table["subject"] == "selected") & (table["name"] == "logit_beyond_random")]
    return "; ".join(
        f"{classes.names[int(row['class'])]} logit falls {row['estimate']:.2f} more than with"
        f" random units ({row['low']:.2f} to {row['high']:.2f})"
        for row in rows.to_dict("records")
        if pd.notna(row["low"])
    )

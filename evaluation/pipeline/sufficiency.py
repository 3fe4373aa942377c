"""Step `sufficiency`: how much of the classifier the named units carry by themselves.

The AUC with all other units at their hold-out mean, beside the AUC of the whole network and of
random sets of as many units, on the patches of the test split. The network runs in
`core.pipeline.sufficiency`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import lineage, runs, store
from core.errors import UserError
from core.pipeline.inputs import StepResult
from core.pipeline.sufficiency import EXACT_SETS, KeptUnits, SufficiencyRun, keep_units
from core.progress import ProgressCallback
from core.settings import load_order_of_experts
from core.store import unit_table
from core.store.labels import label_states
from evaluation.annotation.sufficiency import ALL_UNITS, BOTTLENECK, NAMED, SELECTED
from evaluation.intervals import Interval
from evaluation.pipeline.bottleneck import Bottleneck, fit_bottleneck
from evaluation.roc import AucInterval, auc, auc_interval
from evaluation.roc.ablated_scores import auc_drop, share_above_chance
from evaluation.validation import Array

_VERSION = 1
_DECIMALS = 4  # of the log odds; differences below are rounding of the network's arithmetic
_COLUMNS = ["class", "subject", "name", "step", "estimate", "low", "high", "method", "n"]


def run_sufficiency(
    study: Path, report: ProgressCallback, dissect: str | None = None
) -> StepResult:
    """Measure what the named and the selected units of a dissect run carry by themselves.

    dissect: the latest dissect run by default; its current labels count. UserError if no unit is
    selected, or the hold-out or the test split has no patches.
    """
    dissected = lineage.resolve_run(study, "dissect", dissect)
    order = load_order_of_experts(study)
    with store.read(study) as con:
        named = sorted(label_states.unit_labels(con, dissected, order))
        selected = unit_table.selected_unit_ids(con, dissected)
    if not selected:
        raise UserError(f"{dissected} has no selected units; run `deepminer dissect` again.")
    # New labels change the settings, hence the run's name: the step runs again.
    settings = {NAMED: named, "random_sets": EXACT_SETS}
    try:
        with runs.create_run(study, "sufficiency", _VERSION, settings, [dissected], "") as run:
            sets = {NAMED: named, SELECTED: selected}
            results = keep_units(study, dissected, sets, run.track_progress(report), named)
            run.add_table("ablations", sufficiency_table(results))
            run.manifest |= {
                "patches": len(results.labels),
                "patients": len(set(results.patients)),
                "living_units": results.living,
                "holdout_patches": results.holdout_patches,
                "inference": results.inference,
            }
        return StepResult(run.name, created=True)
    except runs.RunExists as existing:
        return StepResult(existing.name, created=False)


def sufficiency_table(results: SufficiencyRun) -> pd.DataFrame:
    """Return one row per class, set of units and measure.

    Columns: class, subject, name, step (empty), estimate, low, high, method, n (units).
    """
    rows: list[dict[str, Any]] = []
    data = results.bottleneck
    head = (
        None
        if data is None
        else fit_bottleneck(
            data.train, data.train_labels, data.holdout, data.holdout_labels, data.test
        )
    )
    for column, code in enumerate(results.codes):
        labels = results.labels == column
        whole = class_log_odds(results.full, column)
        area = auc_interval(labels, whole, results.patients)
        rows.append(_row(code, ALL_UNITS, "auc", area, None))
        for units_alone in results.sets:
            rows += _set_rows(code, column, whole, units_alone, results)
        if head is not None:
            rows += _bottleneck_rows(code, column, whole, head, results)
    return pd.DataFrame(rows, columns=_COLUMNS).astype({"step": float, "n": "Int64"})


def class_log_odds(logits: Array, column: int) -> Array:
    """Return the log odds of one class against the others, float [n].

    They rank patches as the probability does, without its rounding near 0 and 1. Rounded to four
    decimals, so that patches which the network cannot distinguish are tied.

    Examples
    --------
    >>> class_log_odds(np.array([[0.0, 2.0], [1.0, 1.0]]), 1).tolist()
    [2.0, 0.0]
    """
    values = np.asarray(logits, float)
    others = np.delete(values, column, axis=1)
    # Without the largest logit subtracted, exp can overflow.
    largest = others.max(1)
    rest = largest + np.log(np.exp(others - largest[:, None]).sum(1))
    return np.round(values[:, column] - rest, _DECIMALS)


def _set_rows(
    code: int, column: int, whole: Array, alone: KeptUnits, results: SufficiencyRun
) -> Iterator[dict[str, Any]]:
    """Yield the AUC of the units alone, its share above chance, and the AUCs of random sets."""
    labels = results.labels == column
    part = class_log_odds(alone.logits, column)
    area = auc_interval(labels, part, results.patients)
    share = share_above_chance(labels, whole, part, results.patients)
    yield _row(code, alone.subject, "auc", area, alone.units)
    yield _row(code, alone.subject, "share_above_chance", share, alone.units)
    if labels.all() or not labels.any():
        return
    random = [float(auc(labels, class_log_odds(logits, column))) for logits in alone.random]
    low, high = np.quantile(random, [0.025, 0.975])
    # A range over random sets and not a confidence interval, as `method` states.
    sets = Interval(
        estimate=float(np.median(random)),
        low=float(low),
        high=float(high),
        level=0.95,
        method=f"median and central 95 % of {len(random)} random sets",
    )
    yield _row(code, alone.subject, "auc_random_sets", sets, alone.units)


def _bottleneck_rows(
    code: int, column: int, whole: Array, head: Bottleneck, results: SufficiencyRun
) -> Iterator[dict[str, Any]]:
    """Yield the AUC of the classifier on named units alone, and what the network has beyond it."""
    labels = results.labels == column
    own = class_log_odds(head.logits, column)
    area = auc_interval(labels, own, results.patients)
    yield _row(code, BOTTLENECK, "auc", area, head.units)
    yield _row(
        code, BOTTLENECK, "auc_drop", auc_drop(labels, whole, own, results.patients), head.units
    )


def _row(
    code: int, subject: str, name: str, result: Interval | AucInterval, units: int | None
) -> dict[str, Any]:
    return {
        "class": code,
        "subject": subject,
        "name": name,
        "step": None,
        "estimate": result.estimate,
        "low": result.low,
        "high": result.high,
        "method": result.method,
        "n": units,
    }

"""The evaluated classifiers of a study side by side, with the published values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from core import store
from core.store import dataset_table, run_table
from evaluation.roc import AucInterval

# Published AUCs at patch level: HDSR 2021 (test split) and SPIE 2018 (validation, malignant against
# all other).
PUBLISHED_AUC = {"normal": 0.862, "benign": 0.844, "malignant": 0.872}
_SPIE = "SPIE 2018, validation, two classes"
PUBLISHED_ARCHITECTURES: dict[str, tuple[dict[str, float], str]] = {
    "alexnet": ({"malignant": 0.8632}, _SPIE),
    "vgg16": ({"malignant": 0.8929}, _SPIE),
    "inception_v3": ({"malignant": 0.8805}, _SPIE),
    "resnet152": (
        {**PUBLISHED_AUC, "malignant (two classes)": 0.8757},
        "HDSR 2021, test; two classes: SPIE 2018, validation",
    ),
}


@dataclass(frozen=True, kw_only=True)
class ArchitectureRow:
    """One evaluate run in the table across architectures (the form of SPIE 2018, Table 1).

    epochs: None for a checkpoint that was imported as it is; auc: by class, without an entry where
    it is missing; published: the same classes of the same architecture as printed in the papers;
    source: paper and split of the published values.
    """

    run: str
    architecture: str
    weights: str
    epochs: int | None
    auc: dict[str, AucInterval]
    n: int
    patients: int
    published: dict[str, float]
    source: str


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluate run, its train run and the architecture."""

    run: str
    train: str
    architecture: str


@dataclass(frozen=True)
class StudyContext:
    """The runs that the Performance page can show, and what it states beside them.

    runs: oldest first; opened: number of accesses to the test split; simulated: whether the
    mammograms are synthetic.
    """

    runs: tuple[EvaluatedRun, ...]
    opened: int
    simulated: bool


def load_study_context(study: Path) -> StudyContext:
    """Return the evaluated runs of a study and their context, in one transaction."""
    with store.read(study) as con:
        evaluated = run_table.load_runs(con, "evaluate")["run"].astype(str)
        trained = run_table.load_runs(con, "train").to_dict("records")
        opened = len(run_table.load_log(con, "test split opened"))
        simulated = dataset_table.any_simulated_source(con)
        train_of = {run: run_table.ancestor(con, run, "train") for run in evaluated}
    architecture = {row["run"]: row["manifest"]["architecture"] for row in trained}
    runs = tuple(EvaluatedRun(run, train, architecture[train]) for run, train in train_of.items())
    return StudyContext(runs, opened, simulated)


def load_architectures(study: Path, split: str, level: str) -> list[ArchitectureRow]:
    """Return every evaluate run, oldest first, with its AUCs and the published values."""
    # A tuple, because the cached function needs hashable arguments.
    runs = tuple(row.run for row in load_study_context(study).runs)
    return load_architecture_rows(study, runs, split, level)


@lru_cache(maxsize=128)  # runs are immutable
def load_architecture_rows(
    study: Path, runs: tuple[str, ...], split: str, level: str
) -> list[ArchitectureRow]:
    """Return these evaluate runs with their AUCs and the published values.

    Published values exist at patch level only.
    """
    with store.read(study) as con:
        trained = {row["run"]: row for row in run_table.load_runs(con, "train").to_dict("records")}
        train_of = {run: run_table.ancestor(con, run, "train") for run in runs}
        metrics = {run: run_table.load_metrics(con, run, split) for run in runs}
    return [_architecture_row(run, trained[train_of[run]], metrics[run], level) for run in runs]


def _architecture_row(
    run: str, train: dict[str, Any], metrics: pd.DataFrame, level: str
) -> ArchitectureRow:
    rows = metrics[(metrics["level"] == level) & (metrics["name"] == "auc")]
    training, name = train["settings"]["training"], train["manifest"]["architecture"]
    published: tuple[dict[str, float], str] = ({}, "")
    if level == "patch":
        published = PUBLISHED_ARCHITECTURES.get(name, published)
    return ArchitectureRow(
        run=run,
        architecture=name,
        weights=Path(training["weights"]).name,
        # A checkpoint that was imported as it is has no training of this study.
        epochs=training.get("epochs"),
        auc={row["class"]: _stored_interval(row) for row in rows.to_dict("records")},
        # The classes of a level share their observations.
        n=int(rows["n"].max()) if len(rows) else 0,
        patients=int(rows["patients"].max()) if len(rows) else 0,
        published=published[0],
        source=published[1],
    )


def _stored_interval(row: dict[str, Any]) -> AucInterval:
    """Return a row of the metrics table as an interval."""
    estimate, low, high = (
        None if pd.isna(row[name]) else float(row[name]) for name in ("estimate", "low", "high")
    )
    return AucInterval(
        estimate=estimate,
        standard_error=None,
        low=low,
        high=high,
        # The metrics table holds 95 % bounds and no standard error.
        level=0.95,
        # Runs of an earlier version hold Wald bounds.
        method="obuchowski" if row["method"].startswith("Obuchowski") else "logit",
        reason=row["reason"] or None,
        positives=int(row["positives"]),
        negatives=int(row["n"]) - int(row["positives"]),
        clusters=int(row["patients"]),
    )

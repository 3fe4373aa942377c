"""Where a study stands: the numbers of `deepminer status` and the Overview page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.class_labels import CLASSES
from core.store import annotation_table, dataset_table, reading_table, run_table, unit_table
from core.store.dataset_table import Connection
from evaluation.reading_study import workflow


def status(study: Path) -> dict[str, Any]:
    """What INTERFACE.md names; what does not exist yet is None."""
    with store.read(study) as con:
        counts: dict[str, Any] = dataset_table.counts(con)
        found = {name: counts[name] or None for name in ("patients", "mammograms", "findings")}
        found |= {
            "patches": _patches(con),
            "runs": _runs(con),
            "coverage": _coverage(con),
            "annotations": _annotations(con),
        }
    return found | {"reading": _reading(study)}


def _patches(con: Connection) -> dict[str, int] | None:
    run = run_table.latest(con, "patches")
    if run is None:
        return None
    counts = dataset_table.patch_counts(con, run).groupby("label")["patches"].sum()
    return {name: int(counts.get(code, 0)) for code, name in enumerate(CLASSES)}


def _runs(con: Connection) -> list[dict[str, Any]] | None:
    """Every run with the architecture of its classifier (the one it rests on; for patches the
    newest trained on them) and that classifier's patch AUC on the test split; None until there is
    one, or until it is evaluated.
    """
    frame = run_table.runs(con)
    parents, manifests = (
        dict(zip(frame["run"], frame["parents"])),
        dict(zip(frame["run"], frame["manifest"])),
    )
    evaluated = {_train_of(run, parents): run for run in frame[frame["kind"] == "evaluate"]["run"]}
    trained = {
        parent: run for run in frame[frame["kind"] == "train"]["run"] for parent in parents[run]
    }
    rows = []
    for run, kind in zip(frame["run"], frame["kind"]):
        train = trained.get(run) if kind == "patches" else _train_of(run, parents)
        architecture = None if train is None else manifests[train]["architecture"]
        rows.append(
            {
                "id": run,
                "kind": kind,
                "architecture": architecture,
                "auc": None if train is None else _auc(con, evaluated.get(train)),
            }
        )
    return rows or None


def _train_of(run: str, parents: dict[str, list[str]]) -> str | None:
    """The train run a run rests on (itself, or the nearest ancestor)."""
    if run.startswith("train-"):
        return run
    return next(
        (found for parent in parents.get(run, []) if (found := _train_of(parent, parents))), None
    )


def _auc(con: Connection, run: str | None) -> dict[str, float | None] | None:
    """Patch AUC per class of an evaluate run on the test split; None for a class that the network
    does not tell apart.
    """
    if run is None:
        return None
    metrics = run_table.metrics(con, run, "test")
    rows = metrics[(metrics["level"] == "patch") & (metrics["name"] == "auc")]
    found = {row["class"]: row["estimate"] for row in rows.to_dict("records")}
    return {name: found.get(name) for name in CLASSES} if found else None


def _coverage(con: Connection) -> dict[str, float | None] | None:
    run = run_table.latest(con, "coverage")
    if run is None:
        return None
    frame = unit_table.coverage(con, run)
    rows = frame[frame["name"] == "selected"]
    found = {CLASSES[int(row["class"])]: row["estimate"] for row in rows.to_dict("records")}
    return {name: found.get(name) for name in CLASSES}


def _annotations(con: Connection) -> dict[str, int] | None:
    run = annotation_table.current_run(con)
    if run is None:
        return None
    return annotation_table.counts(con, run)


def _reading(study: Path) -> dict[str, Any] | None:
    """Numbers of the newest protocol that was closed; where none is, progress of the newest frozen
    one. Cases and answers are those of the primary arm without hidden repeats, of which `correct`
    are right. Nobody sees correct answers and p before closing.
    """
    with store.read(study) as con:
        protocols = reading_table.protocols(con)
        known = [p for p in protocols if p.state in ("closed", "unblinded")] or [
            p for p in protocols if p.state == "frozen"
        ]
        if not known:
            return None
        newest = known[-1]
        cases, answers = (
            reading_table.cases(con, newest.protocol, newest.version),
            reading_table.answers(con, newest.protocol, newest.version),
        )
    primary = set(cases[cases["arm"] == workflow.design_of(newest).arms[0]]["case_number"])
    answered = (
        int((answers["case_number"].isin(primary) & ~answers["repeat"].astype(bool)).sum())
        if len(answers)
        else 0
    )
    found: dict[str, Any] = {
        "cases": len(primary),
        "answered": answered,
        "correct": None,
        "p_greater": None,
    }
    if newest.state == "frozen" or not answered:
        return found
    binomial = workflow.scored(study, newest.protocol)[1].binomial
    return found | {"correct": binomial.successes, "p_greater": binomial.p_value}

"""Where a study stands: the numbers of `deepminer status` and the Overview page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from core import store
from core.naming import CLASSES
from core.store import annotations, data, readings
from core.store import runs as run_table
from core.store import units as unit_table
from core.store.data import Connection
from evaluation.steps import reading as reading_step


def status(study: Path) -> dict[str, Any]:
    """What INTERFACE.md names; what does not exist yet is None."""
    with store.read(study) as con:
        counts: dict[str, Any] = data.counts(con)
        found = {name: counts[name] or None for name in ("patients", "mammograms", "findings")}
        found |= {"patches": _patches(con), "runs": _runs(con), "coverage": _coverage(con), "annotations": _annotations(con)}
    return found | {"reading": _reading(study)}


def _patches(con: Connection) -> dict[str, int] | None:
    run = run_table.latest(con, "patches")
    if run is None:
        return None
    counts = data.patch_counts(con, run).groupby("label")["patches"].sum()
    return {name: int(counts.get(code, 0)) for code, name in enumerate(CLASSES)}


def _runs(con: Connection) -> list[dict[str, Any]] | None:
    frame = run_table.runs(con)
    manifests = dict(zip(frame["run"], frame["manifest"]))
    rows = []
    for row in frame.itertuples():
        train = row.run if row.kind == "train" else next((p for p in row.parents if p.startswith("train-")), None)
        rows.append(
            {
                "id": row.run,
                "kind": row.kind,
                "architecture": manifests[train]["architecture"] if train else None,
                "auc": _auc(con, row.run, row.kind, "test"),
            }
        )
    return rows or None


def _auc(con: Connection, run: str, kind: str, split: str) -> dict[str, float] | None:
    """Patch AUC per class of an evaluate run."""
    if kind != "evaluate":
        return None
    metrics = run_table.metrics(con, run, split)
    rows = metrics[(metrics["level"] == "patch") & (metrics["name"] == "auc")]
    return {row["class"]: row["estimate"] for row in rows.to_dict("records")} or None


def _coverage(con: Connection) -> dict[str, float] | None:
    run = run_table.latest(con, "coverage")
    if run is None:
        return None
    frame = unit_table.coverage(con, run)
    rows = frame[frame["name"] == "selected"]
    return {CLASSES[int(row["class"])]: row["estimate"] for row in rows.to_dict("records")}


def _annotations(con: Connection) -> dict[str, int] | None:
    run = annotations.current_run(con)
    if run is None:
        return None
    return annotations.counts(con, run)


def _reading(study: Path) -> dict[str, Any] | None:
    """Numbers of the newest protocol that was closed; where none is, progress of the newest frozen one. Nobody sees correct answers and p before closing."""
    with store.read(study) as con:
        protocols = readings.protocols(con)
        known = [p for p in protocols if p.state in ("closed", "unblinded")] or [p for p in protocols if p.state == "frozen"]
        if not known:
            return None
        newest = known[-1]
        progress = readings.progress(con, newest.protocol, newest.version)
        cases = len(readings.cases(con, newest.protocol, newest.version))
    answered = int(progress["done"].sum()) if len(progress) else 0
    if newest.state == "frozen" or not answered:
        return {"cases": cases, "answered": answered, "correct": None, "p_greater": None}
    binomial = reading_step.scored(study, newest.protocol)[1].binomial
    return {"cases": cases, "answered": answered, "correct": binomial.successes, "p_greater": binomial.p_value}

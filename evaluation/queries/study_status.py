"""Status of a study: the numbers of `deepminer status` and the Overview page."""

from __future__ import annotations

from collections import Counter
from math import comb
from pathlib import Path
from typing import Any

from core import store
from core.sessions.arms import ARMS
from core.settings import load_order_of_experts
from core.store import dataset_table, run_table, unit_table
from core.store.connection import Connection
from core.store.labels import label_states
from core.store.reading import protocol_table, reading_table
from core.store.reading.protocol_states import OPEN_STATES, RESULT_STATES
from evaluation.annotation.sufficiency import read_sufficiency


def study_status(study: Path) -> dict[str, Any]:
    """Return the numbers of `deepminer status --json`; None for parts that do not exist yet.

    Keys: patients, mammograms, findings, patches, runs, coverage, annotations, labels (by
    state), sufficiency and reading.
    """
    with store.read(study) as con:
        counts: dict[str, Any] = dataset_table.dataset_counts(con)
        result = {name: counts[name] or None for name in ("patients", "mammograms", "findings")}
        result |= {
            "patches": _patches(con),
            "runs": _runs(con),
            "coverage": _coverage(con),
            "annotations": _annotations(con, study),
            "labels": _label_states(con),
            "sufficiency": _sufficiency(con),
        }
    return result | {"reading": _reading(study)}


def _patches(con: Connection) -> dict[str, int] | None:
    run = run_table.latest_run(con, "patches")
    if run is None:
        return None
    frame = dataset_table.load_patch_counts(con, run)
    counts: Counter[int] = Counter()
    for code, patches in zip(frame["label"].tolist(), frame["patches"].tolist()):
        counts[code] += int(patches)
    names = run_table.run_classes(con, run).names
    return {name: counts[code] for code, name in enumerate(names)}


def _runs(con: Connection) -> list[dict[str, Any]] | None:
    """Return every run with the architecture and the test AUC of its classifier; None without runs.

    The classifier of a run is the one it rests on; of a patches run, the newest trained on it.
    Without a classifier, architecture and auc have the value None; auc also before its evaluation.
    """
    frame = run_table.load_runs(con)
    parents, manifests = (
        dict(zip(frame["run"], frame["parents"])),
        dict(zip(frame["run"], frame["manifest"])),
    )
    train_runs = {run: run_table.find_ancestor(con, run, "train") for run in frame["run"]}
    # Runs are in the order of their last use: the newest of equal keys stays.
    evaluated = {train_runs[run]: run for run in frame[frame["kind"] == "evaluate"]["run"]}
    areas = {train: _auc(con, run) for train, run in evaluated.items()}
    trained = {
        parent: run for run in frame[frame["kind"] == "train"]["run"] for parent in parents[run]
    }
    rows = []
    for run, kind in zip(frame["run"], frame["kind"]):
        train = trained.get(run) if kind == "patches" else train_runs[run]
        architecture = None if train is None else manifests[train]["architecture"]
        rows.append(
            {
                "id": run,
                "kind": kind,
                "architecture": architecture,
                "auc": None if train is None else areas.get(train),
            }
        )
    return rows or None


def _auc(con: Connection, run: str) -> dict[str, float | None] | None:
    """Return the patch AUC per class of an evaluate run on the test split.

    None for a class that is no output of the network.
    """
    metrics = run_table.load_metrics(con, run, "test")
    rows = metrics[(metrics["level"] == "patch") & (metrics["name"] == "auc")]
    estimates = {row["class"]: row["estimate"] for row in rows.to_dict("records")}
    names = run_table.run_classes(con, run).names
    return {name: estimates.get(name) for name in names} if estimates else None


def _coverage(con: Connection) -> dict[str, float | None] | None:
    run = run_table.latest_run(con, "coverage")
    if run is None:
        return None
    frame = unit_table.load_coverage(con, run)
    rows = frame[frame["name"] == "selected"]
    names = run_table.run_classes(con, run).names
    estimates = {names[int(row["class"])]: row["estimate"] for row in rows.to_dict("records")}
    return {name: estimates.get(name) for name in names}


def _annotations(con: Connection, study: Path) -> dict[str, int] | None:
    run = unit_table.current_dissection(con)
    if run is None:
        return None
    return label_states.annotation_counts(con, run, load_order_of_experts(study))


def _label_states(con: Connection) -> dict[str, int] | None:
    run = unit_table.current_dissection(con)
    return None if run is None else label_states.count_label_states(con, run)


def _sufficiency(con: Connection) -> dict[str, float | None] | None:
    """Return the AUC of the positive class from the named units alone, and that of random sets."""
    run = unit_table.current_dissection(con)
    result = None if run is None else read_sufficiency(con, run)
    if result is None:
        return None
    return {
        "auc": result.auc,
        "random_low": result.random_low,
        "random_high": result.random_high,
    }


def _reading(study: Path) -> dict[str, Any] | None:
    """Return the numbers of the newest closed protocol, or the progress of the newest frozen one.

    Cases and answers are those of the primary arm, without hidden repeats. `correct` and
    `p_greater` have the value None until the study is closed.
    """
    with store.read(study) as con:
        protocols = protocol_table.list_protocols(con)
        known = [p for p in protocols if p.state in RESULT_STATES] or [
            p for p in protocols if p.state in OPEN_STATES
        ]
        if not known:
            return None
        newest = known[-1]
        # The first arm of a design is its primary arm.
        arm = newest.design.get("arms", ARMS)[0]
        cases = reading_table.load_reading_cases(con, newest.protocol, newest.version)
        answered = reading_table.count_answered(con, newest.protocol, newest.version, arm)
    result: dict[str, Any] = {
        "cases": int((cases["arm"] == arm).sum()),
        "answered": answered,
        "correct": None,
        "p_greater": None,
    }
    # Before closing, correct answers and P would unblind the study.
    if newest.state not in RESULT_STATES or not answered:
        return result
    # Imported here: a third of the time of `deepminer status`, needed for closed studies only.
    from evaluation.reading_study import workflow

    correct, answered = workflow.count_correct(study, newest.protocol, newest.version)
    # The P of `exact_binomial_test` in exact integers: loading scipy costs a third of a second, and
    # scripts ask for the status often. A test compares the two.
    outcomes = sum(comb(answered, count) for count in range(correct, answered + 1))
    return result | {"correct": correct, "p_greater": outcomes / 2**answered}

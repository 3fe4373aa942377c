"""Stored results of evaluate runs, so that pages need not compute statistics.

`evaluate` computes what the Performance page shows and stores it in the run's folder as
`shown/<split>-<level>.json`. For a run without these files, or with files of another version, the
results are computed when they are requested.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from pydantic import ConfigDict, TypeAdapter, ValidationError

from core import lineage, store
from core.atomic_files import write_text
from core.store import run_table
from evaluation.queries import performance
from evaluation.queries.observations import LEVELS, Observations, load_observations
from evaluation.queries.performance import ClassResult
from evaluation.roc import AucDifference
from evaluation.roc.calibration_curve import Calibration, calibration
from evaluation.roc.curve import thin_curve
from evaluation.roc.diagnostic import OperatingPoint
from evaluation.roc.subgroups import Interaction, Subgroup, interactions

SUMMARY_SPLITS = ("holdout", "test")
SUMMARY_FOLDER, COMPARISON_FILE = "shown", "against.json"
# Increase after any change of a stored result: files of another version are computed anew.
FORMAT_VERSION = 3
ObservationLoader = Callable[[str, str], Observations]  # (split, level) -> observations
Comparisons = dict[str, dict[str, AucDifference]]  # run -> "split-level" -> difference
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class PerformanceSummary:
    """Results of a run at one split and level.

    n: observations; patients: their patients; results: per class, with curves thinned to what a
    screen can show; calibrations: per class; names: of the classes; counts: [truth, predicted]
    under these names; points: operating points for malignant at thresholds fixed on hold-out, by
    rule.
    """

    n: int
    patients: int
    results: tuple[ClassResult, ...]
    calibrations: dict[str, Calibration]
    names: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    points: dict[str, OperatingPoint]

    @property
    def point(self) -> OperatingPoint | None:
        """The operating point at the threshold that reaches sensitivity .8 on hold-out."""
        return self.points.get("sensitivity .8")


@dataclass(frozen=True)
class SubgroupSummary:
    """Malignant AUC by subgroup at mammogram level, and the tests of their differences.

    The subgroups carry no observations.
    """

    subgroups: tuple[Subgroup, ...]
    interactions: tuple[Interaction, ...]


@dataclass(frozen=True)
class _File(Generic[T]):
    """A stored result with the version of its format."""

    version: int
    result: T


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    # Statistics of empty or separable data contain nan and infinity, which plain JSON excludes.
    return TypeAdapter(_File[kind], config=ConfigDict(ser_json_inf_nan="constants"))


def to_json(kind: Any, result: Any) -> bytes:
    """Return a result of a type as JSON, with the version of the format."""
    return _adapter(kind).dump_json(_File(FORMAT_VERSION, result))


def from_json(kind: Any, text: bytes) -> Any:
    """Return a result of a type from JSON; None if it has another form or version."""
    try:
        file = _adapter(kind).validate_json(text)
    except ValidationError:
        return None
    return file.result if file.version == FORMAT_VERSION else None


@lru_cache(maxsize=64)
def load_summary(study: Path, run: str, split: str, level: str) -> PerformanceSummary:
    """Return the results of a run at one split and level."""
    stored = _stored(study, run, f"{split}-{level}.json", PerformanceSummary)
    if stored is not None:
        return stored
    with store.read(study) as con:
        threshold = run_table.load_run(con, run)["manifest"]["normal_threshold"]
    return _summarize(_loader(study, run), split, level, threshold)


@lru_cache(maxsize=64)
def load_subgroup_summary(study: Path, run: str, split: str) -> SubgroupSummary:
    """Return the subgroups of a run on one split."""
    stored = _stored(study, run, f"{split}-groups.json", SubgroupSummary)
    if stored is not None:
        return stored
    return _summarize_subgroups(performance.load_subgroups(study, run, split))


@lru_cache(maxsize=256)
def load_comparison(study: Path, first: str, second: str, split: str, level: str) -> AucDifference:
    """Return the malignant AUC of `first` minus that of `second`, paired."""
    key = f"{split}-{level}"
    stored = _comparisons(study, first).get(second, {}).get(key)
    if stored is not None:
        return stored
    reverse = _comparisons(study, second).get(first, {}).get(key)
    if reverse is not None:
        return reverse.reversed()
    return performance.compare_runs(study, first, second, split, level)


@lru_cache(maxsize=32)
def _comparisons(study: Path, run: str) -> Comparisons:
    return _stored(study, run, COMPARISON_FILE, Comparisons) or {}


def _stored(study: Path, run: str, name: str, kind: Any) -> Any:
    path = study / "runs" / run / SUMMARY_FOLDER / name
    return from_json(kind, path.read_bytes()) if path.is_file() else None


def _loader(study: Path, run: str) -> ObservationLoader:
    return lambda split, level: load_observations(study, run, split, level)


def _summarize(
    load: ObservationLoader, split: str, level: str, threshold: float
) -> PerformanceSummary:
    observations = load(split, level)
    results = tuple(
        replace(result, curve=thin_curve(result.curve))
        for result in performance.compute_class_results(observations)
    )
    table = performance.confusion_matrix(observations, level, threshold)
    calibrations = {}
    for result in results:
        truth, score = observations.against_rest(result.name)
        # Scores of mammograms are sums and differences of probabilities: rounding can carry them
        # out of [0, 1].
        calibrations[result.name] = calibration(
            truth, np.clip(score, 0, 1), cluster=observations.patient
        )
    return PerformanceSummary(
        n=len(observations.truth),
        patients=observations.patients,
        results=results,
        calibrations=calibrations,
        names=tuple(table.columns),
        counts=tuple(tuple(int(n) for n in row) for row in table.to_numpy()),
        points=performance.operating_points(observations, load("holdout", level)),
    )


def _summarize_subgroups(groups: list[Subgroup]) -> SubgroupSummary:
    # The run's predictions hold the observations; these files carry results only.
    empty = np.empty(0)
    return SubgroupSummary(
        tuple(replace(group, truth=empty, score=empty, patient=empty) for group in groups),
        tuple(interactions(groups)),
    )


def write_summaries(
    folder: Path,
    load: ObservationLoader,
    threshold: float,
    subgroups: Mapping[str, list[Subgroup]],
    others: Mapping[str, ObservationLoader],
) -> None:
    """Compute and store the results of a run.

    Parameters
    ----------
    folder : Path
        The run's folder.
    load : callable
        Returns the run's observations of a split and level.
    threshold : float
        Threshold of the run's decision rule.
    subgroups : mapping
        Subgroups by split.
    others : mapping
        Loaders of earlier runs on the same patches, by run.
    """
    out = folder / SUMMARY_FOLDER
    out.mkdir(exist_ok=True)
    comparisons: Comparisons = {run: {} for run in others}
    for split in SUMMARY_SPLITS:
        for level in LEVELS:
            summary = _summarize(load, split, level, threshold)
            _write(out / f"{split}-{level}.json", PerformanceSummary, summary)
            for run, load_other in others.items():
                # Runs without a common observation are not compared; the page states this.
                with suppress(ValueError):
                    comparisons[run][f"{split}-{level}"] = performance.compare_observations(
                        load(split, level), load_other(split, level)
                    )
        groups = _summarize_subgroups(subgroups[split])
        _write(out / f"{split}-groups.json", SubgroupSummary, groups)
    # Last, because `ensure_summaries` takes this file for a complete set.
    _write(out / COMPARISON_FILE, Comparisons, comparisons)


def _write(path: Path, kind: Any, result: Any) -> None:
    write_text(path, to_json(kind, result).decode())


def earlier_evaluations(
    study: Path, patches_run: str, run: str = ""
) -> dict[str, ObservationLoader]:
    """Return loaders of the evaluate runs on these patches, except `run`, by run."""
    with store.read(study) as con:
        table = run_table.load_runs(con, "evaluate")
    return {
        row["run"]: _loader(study, row["run"])
        for row in table.to_dict("records")
        # A paired comparison needs the same patches.
        if patches_run in row["parents"] and row["run"] != run
    }


def ensure_summaries(study: Path, run: str) -> None:
    """Store the results of a run that has none, or that has them in another version's form."""
    folder = study / "runs" / run
    complete = _stored(study, run, COMPARISON_FILE, Comparisons) is not None
    if complete or not folder.is_dir():
        return
    with store.read(study) as con:
        row = run_table.load_run(con, run)
    patches_run = lineage.ancestor_run(study, run, "patches")
    write_summaries(
        folder,
        _loader(study, run),
        row["manifest"]["normal_threshold"],
        {split: performance.load_subgroups(study, run, split) for split in SUMMARY_SPLITS},
        earlier_evaluations(study, patches_run, run),
    )

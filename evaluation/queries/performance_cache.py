"""What the Performance page shows of an evaluate run.

`evaluate` computes it once and keeps it in the run's folder, `shown/<split>-<level>.json`, so that
a page never waits for statistics on tens of thousands of patches; for a run without these files it
is computed when asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from core import store
from core.store import run_table
from core.study_folder import write_text
from evaluation.intervals import Interval
from evaluation.queries import performance
from evaluation.queries.performance import LEVELS, ClassResult, Interaction, Observations, Subgroup
from evaluation.queries.serialization import decode, encode
from evaluation.roc import AucDifference, AucInterval
from evaluation.roc.calibration_curve import Calibration, CalibrationBin, calibration
from evaluation.roc.curve import RocCurve, thinned
from evaluation.roc.diagnostic import DiagnosticTable, OperatingPoint
from evaluation.roc.partial_area import PartialAuc, SpecificityAt

SPLITS = ("holdout", "test")
FOLDER, AGAINST = "shown", "against.json"
Look = Callable[[str, str], Observations]  # (split, level) -> observations


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One split and level of a run: n observations of so many patients; per class its areas (curves
    thinned to what a screen can show) and calibration; the confusion counts [truth, predicted]
    under the names; malignant's operating points at thresholds fixed on hold-out, by rule.
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
        """The operating point that is drawn: the threshold that reaches sensitivity .8 on hold-out."""
        return self.points.get("sensitivity .8")


@dataclass(frozen=True)
class Groups:
    """Malignant AUC by subgroup at image level (without the observations themselves), and the tests
    of difference.
    """

    subgroups: tuple[Subgroup, ...]
    interactions: tuple[Interaction, ...]


TYPES = (Shown, Groups, ClassResult, AucInterval, AucDifference, PartialAuc, SpecificityAt, RocCurve, Calibration, CalibrationBin, Interval,
         OperatingPoint, DiagnosticTable, Subgroup, Interaction)  # fmt: skip


def shown(study: Path, run: str, split: str, level: str) -> Shown:
    """What `evaluate` kept, else computed now."""
    return _shown(study, run, split, level)


@lru_cache(maxsize=64)
def _shown(study: Path, run: str, split: str, level: str) -> Shown:
    kept = _kept(study, run, f"{split}-{level}.json")
    if kept is not None:
        return kept
    with store.read(study) as con:
        threshold = run_table.get(con, run)["manifest"]["normal_threshold"]
    return _summary(
        lambda *where: performance.observations(study, run, *where), split, level, threshold
    )


@lru_cache(maxsize=64)
def groups(study: Path, run: str, split: str) -> Groups:
    """Subgroups of a split: what `evaluate` kept, else computed now."""
    kept = _kept(study, run, f"{split}-groups.json")
    return kept if kept is not None else _groups(performance.subgroups(study, run, split))


@lru_cache(maxsize=256)
def comparison(study: Path, first: str, second: str, split: str, level: str) -> AucDifference:
    """Malignant AUC of `first` minus that of `second`, paired: what the later one's `evaluate`
    kept, else computed now.
    """
    found = _against(study, first).get(second, {}).get(f"{split}-{level}")
    if found is not None:
        return found
    found = _against(study, second).get(first, {}).get(f"{split}-{level}")
    return (
        performance.compare_runs(study, first, second, split, level)
        if found is None
        else found.reversed()
    )


def _kept(study: Path, run: str, name: str) -> Any:
    """A file of the run's folder as results, or None where there is none or another version of
    DeepMiner wrote it.
    """
    path = study / "runs" / run / FOLDER / name
    if not path.is_file():
        return None
    try:
        return decode(json.loads(path.read_text(encoding="utf-8")), TYPES)
    except (KeyError, TypeError):
        return None


@lru_cache(maxsize=32)
def _against(study: Path, run: str) -> dict[str, dict[str, AucDifference]]:
    return _kept(study, run, AGAINST) or {}


def _summary(look: Look, split: str, level: str, threshold: float) -> Shown:
    seen = look(split, level)
    results = tuple(replace(r, curve=thinned(r.curve)) for r in performance.results_of(seen))
    table = performance.confusion(seen, level, threshold)
    # Image scores are sums and differences of probabilities: rounding must not carry them out of
    # [0, 1].
    found = {
        r.name: calibration(y, np.clip(score, 0, 1), cluster=seen.patient)
        for r in results
        for y, score in [seen.of(r.name)]
    }
    counts = tuple(tuple(int(n) for n in row) for row in table.to_numpy())
    return Shown(
        n=len(seen.truth),
        patients=seen.patients,
        results=results,
        calibrations=found,
        names=tuple(table.columns),
        counts=counts,
        points=performance.points_of(seen, look("holdout", level)),
    )


def _groups(found: list[Subgroup]) -> Groups:
    nothing = np.empty(0)
    return Groups(
        tuple(replace(g, truth=nothing, score=nothing, patient=nothing) for g in found),
        tuple(performance.interactions(found)),
    )


def write(
    folder: Path,
    look: Look,
    threshold: float,
    subgroups: Mapping[str, list[Subgroup]],
    others: Mapping[str, Look],
) -> None:
    """Compute and keep everything in a run's folder. look: this run's observations; threshold: of
    its decision rule; subgroups: by split; others: the observations of earlier runs on the same
    patches, by run.
    """
    out = folder / FOLDER
    out.mkdir(exist_ok=True)
    against: dict[str, dict[str, AucDifference]] = {run: {} for run in others}
    for split in SPLITS:
        for level in LEVELS:
            mine = look(split, level)
            _write(out / f"{split}-{level}.json", _summary(look, split, level, threshold))
            for run, theirs in others.items():
                # Runs without a common observation are not compared; the page says so.
                with suppress(ValueError):
                    against[run][f"{split}-{level}"] = performance.compared(
                        mine, theirs(split, level)
                    )
        _write(out / f"{split}-groups.json", _groups(subgroups[split]))
    _write(out / AGAINST, against)


def _write(path: Path, value: Any) -> None:
    write_text(path, json.dumps(encode(value), separators=(",", ":")))


def earlier(study: Path, patches_run: str, run: str = "") -> dict[str, Look]:
    """Observations of the evaluate runs on these patches, except `run`, by run."""
    with store.read(study) as con:
        table = run_table.runs(con, "evaluate")
    names = [
        row["run"]
        for row in table.to_dict("records")
        if patches_run in row["parents"] and row["run"] != run
    ]
    return {name: _look(study, name) for name in names}


def _look(study: Path, run: str) -> Look:
    return lambda split, level: performance.observations(study, run, split, level)


def ensure(study: Path, run: str) -> None:
    """Keep the results of a run that an earlier version of DeepMiner evaluated."""
    folder = study / "runs" / run
    if (folder / FOLDER / AGAINST).is_file() or not folder.is_dir():
        return
    with store.read(study) as con:
        row = run_table.get(con, run)
    patches_run = next(p for p in row["parents"] if p.startswith("patches-"))
    found = {split: performance.subgroups(study, run, split) for split in SPLITS}
    write(
        folder,
        _look(study, run),
        row["manifest"]["normal_threshold"],
        found,
        earlier(study, patches_run, run),
    )

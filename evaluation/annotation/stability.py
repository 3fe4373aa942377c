"""Stability of names: which named units come back when the classifier is trained again."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import runs, store
from core.pipeline.stability import STABILITY_KIND
from core.settings import load_order_of_experts
from core.store import run_table
from core.store.labels import label_sets
from evaluation.intervals import count_text, decimal

_MAX_LISTED = 6


@dataclass(frozen=True, kw_only=True)
class NameStability:
    """How often a name comes back.

    units: units that have it; returned: repeated trainings in which a unit responds like one of
    them; similarity: median over the trainings of the most similar unit's similarity.
    """

    name: str
    units: int
    returned: int
    similarity: float


@dataclass(frozen=True, kw_only=True)
class Stability:
    """Result of repeated trainings of one dissected classifier.

    trainings: their number; threshold: least similarity of a unit that comes back; names: those
    that come back most often first; accuracies: hold-out accuracy of each training; simulated:
    whether a name comes from a simulated expert.
    """

    trainings: int
    threshold: float
    names: tuple[NameStability, ...]
    accuracies: tuple[float, ...]
    simulated: bool

    def sentence(self) -> str:
        """Return the result as plain sentences."""
        repeated = f"{self.trainings} repeated " + (
            "training" if self.trainings == 1 else "trainings"
        )
        if not self.names:
            return f"Stability: {repeated}, and no unit has a name yet."
        always = [name.name for name in self.names if name.returned == self.trainings]
        never = [name.name for name in self.names if name.returned == 0]
        text = (
            f"{'SIMULATED names. ' if self.simulated else ''}Stability: of"
            f" {count_text(len(self.names), 'name')}, {len(always)} came back in every one of"
            f" {repeated} with other seeds and {len(never)} in none (a unit of the repeated network"
            f" has a similarity of at least {decimal(self.threshold, 2)})."
        )
        return text + (f" Never: {_listed(never)}." if never else "")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if names[_MAX_LISTED:] else ""
    return "; ".join(names[:_MAX_LISTED]) + more


def load_stability(study: Path, dissect: str) -> Stability | None:
    """Return the stability of the names in use, from the latest run; None without a run.

    A name comes back in a training if the most similar unit of that network to any of the name's
    units is at least as similar as the units of a group (`core.interpretation.unit_groups`).
    """
    with store.read(study) as con:
        run = run_table.latest_run(con, STABILITY_KIND, dissect)
        if run is None:
            return None
        manifest = run_table.load_run(con, run)["manifest"]
        labels = label_sets.load_label_set(
            con, dissect, label_sets.DEFAULT_SET, load_order_of_experts(study)
        )
    best = np.load(runs.run_folder(study, run) / "best_similarity.npy")
    units_of: dict[str, list[int]] = {}
    for unit, label in labels.items():
        units_of.setdefault(label.text, []).append(unit)
    names = [
        _name_stability(name, best[:, units], manifest["similarity"])
        for name, units in units_of.items()
    ]
    return Stability(
        trainings=len(manifest["seeds"]),
        threshold=manifest["similarity"],
        names=tuple(sorted(names, key=lambda n: (-n.returned, -n.similarity, n.name))),
        accuracies=tuple(manifest["holdout_accuracy"]),
        simulated=any(label.simulated for label in labels.values()),
    )


def _name_stability(name: str, best: np.ndarray, threshold: float) -> NameStability:
    """best: float [trainings, units of the name]."""
    of_training = best.max(axis=1)
    return NameStability(
        name=name,
        units=best.shape[1],
        returned=int((of_training >= threshold).sum()),
        similarity=float(np.median(of_training)),
    )

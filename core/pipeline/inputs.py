"""What every step needs: its settings, its parents, its patches.

Of many processes the first one asks the store for all of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core import store
from core.distributed import by_first
from core.errors import UserError
from core.store import dataset_table, run_table


@dataclass(frozen=True)
class StepResult:
    """The run a step was answered with. fresh: made now, not found."""

    run: str
    fresh: bool


@by_first
def latest(study: Path, kind: str, *, parent: str | None = None, given: str | None = None) -> str:
    """The run to build on: the given one, else the newest of its kind.

    UserError naming the command that makes one.
    """
    with store.read(study) as con:
        if given is not None:
            found = run_table.get(con, given)
            if found["kind"] != kind:
                raise UserError(f"{given} is a {found['kind']} run; a {kind} run is needed here.")
            return given
        run = run_table.latest(con, kind, parent)
    if run is None:
        raise UserError(f"The study {study} has no {kind} run yet; run `deepminer {kind}` first.")
    return run


@by_first
def parent_of(study: Path, run: str, kind: str) -> str:
    """The parent of this kind."""
    with store.read(study) as con:
        parents = run_table.get(con, run)["parents"]
    return next(p for p in parents if p.startswith(f"{kind}-"))


@by_first
def data_hash(study: Path) -> str:
    """Hash of all data in the study. UserError where nothing has been ingested."""
    with store.read(study) as con:
        found = dataset_table.get_meta(con, "data_hash")
    if found is None:
        raise UserError(
            f"The study {study} holds no mammograms yet; run `deepminer ingest phantom` or another"
            " source first."
        )
    return found


@by_first
def patch_table(study: Path, run: str, splits: list[str] | None = None) -> pd.DataFrame:
    """Patches of a run with file, patient_id and all label columns, in order of patch_id."""
    with store.read(study) as con:
        patches = dataset_table.patches(con, run, splits)
        files = dataset_table.mammograms(con)[["mammogram_id", "file"]]
    return patches.merge(files, on="mammogram_id", how="left").sort_values(
        "patch_id", ignore_index=True
    )


@by_first
def film_table(study: Path, patches_run: str, splits: list[str]) -> pd.DataFrame:
    """Mammograms of these splits with file, patient_id, split and truth (0, 1, 2 or missing), in
    order of id.
    """
    with store.read(study) as con:
        films = dataset_table.mammograms(con)[["mammogram_id", "file", "has_concepts"]].merge(
            dataset_table.image_truth(con), on="mammogram_id"
        )
        split = dataset_table.splits(con, patches_run)
    films = films.merge(split, on="patient_id")
    films["truth"] = films["truth"].astype("Int64")
    return films[films["split"].isin(splits)].sort_values("mammogram_id", ignore_index=True)


@by_first
def classes_of(study: Path, patches_run: str) -> int:
    """Classes of a patches run:

    3 (normal, benign, malignant) or 2 (malignant against all other).
    """
    with store.read(study) as con:
        return int(run_table.get(con, patches_run)["manifest"]["classes"])


@by_first
def image_labels_only(study: Path) -> bool:
    """Whether any source gave only image-level labels: every number made from them must say so."""
    with store.read(study) as con:
        return bool(dataset_table.sources(con)["image_labels"].any())


@by_first
def simulated_sources(study: Path) -> bool:
    """Whether the mammograms are synthetic."""
    with store.read(study) as con:
        return bool(dataset_table.sources(con)["simulated"].any())


def as_dict(text: str) -> dict[str, object]:
    """JSON text of a settings column."""
    return json.loads(text)

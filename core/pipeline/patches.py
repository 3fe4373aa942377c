"""Step `patches`: the patient split, and every patch with its overlaps and label.

Labels are stored as 0 normal, 1 benign, 2 malignant; with two classes as 0 other, 2 malignant. How
many classes there are says the run's manifest.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core import runs, store
from core.dataset.patches import Patches, PatchRule, label_patches, weak_label_patches
from core.dataset.splits import split_patients
from core.errors import UserError
from core.images.polygons import fill
from core.images.working_images import Films
from core.pipeline.inputs import StepResult, data_hash, image_labels_only
from core.runs import Report
from core.settings import Settings
from core.sources import deepminer_patches
from core.store import dataset_table

VERSION = 3


def make(study: Path, settings: Settings, report: Report, labels: Path | None = None) -> StepResult:
    """Split the patients and label all windows; UserError where no patch is left. labels: the
    folder of the published release, whose windows, labels and split are taken instead (films that
    it does not list have no patches).
    """
    request = {
        "patches": settings.patches.model_dump(),
        "splits": settings.splits.model_dump(),
        "seed": settings.study.seed,
        "input_side": settings.images.input_side,
    }
    inputs = data_hash(study)
    listed, absent = (None, 0) if labels is None else _listed(study, settings, labels)
    if listed is not None:
        settings = settings.changed("splits", published=True)
        request |= {
            "splits": settings.splits.model_dump(),
            "labels": hashlib.sha256(listed.to_csv(index=False).encode()).hexdigest(),
        }
    try:
        with runs.building(study, "patches", VERSION, request, [], inputs) as run:
            split = _split(study, settings, None if listed is None else set(listed["mammogram_id"]))
            frame, dropped = _all_patches(study, settings, split, run.reporting(report), listed)
            classes = settings.patches.classes
            if classes == 3 and image_labels_only(study) and not (frame["label"] == 0).any():
                # Weak labels without a single normal image cannot teach what normal is: the
                # question becomes malignant against all other.
                classes, frame["label"] = 2, np.where(frame["label"] == 2, 2, 0).astype(np.int32)
            run.table(
                "splits", pd.DataFrame({"patient_id": list(split), "split": list(split.values())})
            )
            run.table("patches", frame)
            run.manifest |= {
                "patches": len(frame),
                "dropped": dropped,
                "classes": classes,
                "labels": "own" if listed is None else "published",
            }
            run.manifest |= {"listed_films_absent": absent} if listed is not None else {}
        return StepResult(run.name, fresh=True)
    except runs.Answered as found:
        return StepResult(found.name, fresh=False)


def _listed(study: Path, settings: Settings, labels: Path) -> tuple[pd.DataFrame, int]:
    """The published windows of the study's films, and how many listed films it does not have."""
    with store.read(study) as con:
        known = set(dataset_table.mammograms(con)["mammogram_id"])
    return deepminer_patches.read(labels, settings.patches.classes, known)


def _split(study: Path, settings: Settings, only: set[str] | None = None) -> dict[str, str]:
    """The split of all patients, or of those with one of the mammograms `only`."""
    with store.read(study) as con:
        people, truth = dataset_table.patients(con), dataset_table.image_truth(con)
    if only is not None:
        people = people[
            people["patient_id"].isin(truth.loc[truth["mammogram_id"].isin(only), "patient_id"])
        ]
    worst = truth.groupby("patient_id")["truth"].max().fillna(-1)
    # The source may know better than the worst finding what the splits should balance (phantom: a
    # look of the other pathology).
    strata = [
        s if isinstance(s, str) else str(int(worst.get(p, -1)))
        for p, s in zip(people["patient_id"], people["stratum"])
    ]
    table = pd.DataFrame({"id": people["patient_id"], "stratum": strata})
    published = None
    if settings.splits.published:
        published = {
            p: s
            for p, s in zip(people["patient_id"], people["published_split"])
            if isinstance(s, str)
        }
    fractions = (
        settings.splits.train,
        settings.splits.holdout,
        1 - settings.splits.train - settings.splits.holdout,
    )
    return split_patients(table, fractions, settings.study.seed, published)


def _all_patches(
    study: Path,
    settings: Settings,
    split: dict[str, str],
    report: Report,
    listed: pd.DataFrame | None = None,
) -> tuple[pd.DataFrame, dict[str, int]]:
    rule = PatchRule(
        settings.patches.min_tissue,
        settings.patches.min_overlap,
        settings.patches.rule,
        settings.patches.ambiguous,
        settings.patches.classes,
    )
    with store.read(study) as con:
        films, findings = dataset_table.mammograms(con), dataset_table.findings(con)
    wrong = films[films["width"] != 4 * settings.images.input_side]
    if len(wrong):
        raise UserError(
            f"images.input_side is {settings.images.input_side}, but"
            f" {wrong['mammogram_id'].iloc[0]} was taken in {wrong['width'].iloc[0]} px wide, for"
            f" {wrong['width'].iloc[0] // 4}; set it back, or ingest into a new study."
        )
    if listed is not None:
        films = films[films["mammogram_id"].isin(listed["mammogram_id"])]
    by_film = dict(list(findings.groupby("mammogram_id")))
    windows = {} if listed is None else dict(list(listed.groupby("mammogram_id")))
    opened, frames, dropped = (
        Films(study),
        [],
        {"unproven": 0, "ambiguous": 0, "films_without_tissue": 0},
    )
    for i, film in enumerate(films.itertuples()):
        made = _film_patches(
            opened,
            film,
            by_film.get(film.mammogram_id),
            settings.images.input_side,
            rule,
            windows.get(film.mammogram_id),
        )
        dropped["unproven"] += made.dropped_unproven
        dropped["ambiguous"] += made.dropped_ambiguous
        dropped["films_without_tissue"] += int(len(made) == 0)
        frames.append(_frame(made, film.mammogram_id, split[film.patient_id], rule.classes == 2))
        report(i + 1, len(films), "mammograms")
    frame = pd.concat(frames, ignore_index=True)
    if not len(frame):
        raise UserError(
            f"No patch of {len(films)} mammograms has {settings.patches.min_tissue:.0%} breast"
            " tissue; look at the films on the Data page, or lower patches.min_tissue."
        )
    frame.insert(0, "patch_id", np.arange(len(frame), dtype=np.int32))
    return frame, dropped


def _film_patches(
    films: Films,
    film: Any,
    findings: pd.DataFrame | None,
    side: int,
    rule: PatchRule,
    listed: pd.DataFrame | None = None,
) -> Patches:
    tissue, label = films.tissue(film.file), film.image_label
    rows = [] if findings is None else findings.itertuples()
    masks = [(row.pathology, fill(row.outline, tissue.shape)) for row in rows if len(row.outline)]
    if listed is not None:
        return deepminer_patches.film_patches(
            listed,
            (film.width / film.source_width, film.height / film.source_height),
            tissue,
            masks,
            side,
        )
    if film.unlocated:
        # A finding is known to be somewhere in this film: none of its patches can be called normal.
        return weak_label_patches(tissue, "UNPROVEN", side, rule)
    if isinstance(label, str) and (findings is None or not len(findings)):
        return weak_label_patches(tissue, label, side, rule)
    return label_patches(tissue, masks, side, rule)


def _frame(made: Patches, mammogram_id: str, split: str, two_classes: bool) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "mammogram_id": mammogram_id,
            "y": made.y.astype(np.int32),
            "x": made.x.astype(np.int32),
            "side": np.int32(made.side),
            "tissue": made.tissue,
            "benign_cover": made.union_benign,
            "benign_part": made.share_benign,
            "malignant_cover": made.union_malignant,
            "malignant_part": made.share_malignant,
            "label": made.label.astype(np.int32) * (2 if two_classes else 1),
            "split": split,
        }
    )

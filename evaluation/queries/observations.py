"""Truth and scores of an evaluate run, at patch, mammogram or case level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from core import store
from core.class_labels import CLASSES
from core.store import run_table, unit_table

LEVELS = ("patch", "image", "case")


@dataclass(frozen=True)
class Observations:
    """Observations of one level.

    classes: names of the classes with a score; key: patch, mammogram or patient id [n]; truth: int
    [n] class codes; scores: float [n, classes]; patient: str [n].
    """

    classes: tuple[str, ...]
    key: np.ndarray
    truth: np.ndarray
    scores: np.ndarray
    patient: np.ndarray

    def against_rest(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return truth (bool [n]) and score (float [n]) of one class against the rest."""
        return self.truth == CLASSES.index(name), self.scores[:, self.classes.index(name)]

    @property
    def patients(self) -> int:
        """Number of patients."""
        return len(set(self.patient))


# Runs are immutable, so results that depend on a run's name alone stay valid. Callers must not
# write into a result.
@lru_cache(maxsize=128)
def load_observations(study: Path, run: str, split: str, level: str) -> Observations:
    """Return truth and scores of one level of an evaluate run.

    Observations without a truth (UNPROVEN findings only) are left out.
    """
    with store.read(study) as con:
        classes = run_table.load_run(con, run)["manifest"]["classes"]
        if level == "patch":
            patches_run = run_table.ancestor(con, run, "patches")
            table = unit_table.load_predictions(con, run, patches_run, split)
        else:
            table = unit_table.load_image_scores(con, run, split)
    return to_observations(table, level, classes)


def to_observations(table: pd.DataFrame, level: str, classes: int) -> Observations:
    """Return the observations of one level from a table of one split.

    Parameters
    ----------
    table : DataFrame
        Level patch: patch_id, patient_id, label, p_<class>. Level image or case: mammogram_id,
        patient_id, truth, s_<class>; a case pools its mammograms.
    level : {"patch", "image", "case"}
        Level of the observations.
    classes : int
        2 or 3; with two classes only malignant has a score.
    """
    names = CLASSES if classes == 3 else ("malignant",)
    if level == "patch":
        key, truth, columns = "patch_id", table["label"], [f"p_{name}" for name in names]
    else:
        # Before pooling: the truth of a case is the worst of its known ones.
        table = table[table["truth"].notna()]
        table = pool_cases(table) if level == "case" else table
        key = "mammogram_id" if level == "image" else "patient_id"
        truth, columns = table["truth"], [f"s_{name}" for name in names]
    return Observations(
        names,
        table[key].to_numpy(),
        truth.to_numpy(int),
        table[columns].to_numpy(float),
        table["patient_id"].to_numpy(str),
    )


def pool_cases(mammograms: pd.DataFrame) -> pd.DataFrame:
    """Return one row per patient: pooled scores, and the truth of the worst mammogram.

    s_benign and s_malignant are the largest, s_normal is the smallest of the patient's mammograms.
    """
    return mammograms.groupby("patient_id", as_index=False).agg(
        # 1 - max over all positions of a case is the smallest of its mammograms' values.
        s_normal=("s_normal", "min"),
        s_benign=("s_benign", "max"),
        s_malignant=("s_malignant", "max"),
        # Class codes rise with severity.
        truth=("truth", "max"),
    )

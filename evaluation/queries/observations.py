"""Truth and scores of an evaluate run, at patch, mammogram or case level."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd

from core import store
from core.class_labels import MAMMOGRAPHY, ClassDefinition
from core.store import run_table, unit_table
from evaluation.case_scores import pool_cases

LEVELS = ("patch", "image", "case")


@dataclass(frozen=True, kw_only=True)
class Observations:
    """Observations of one level.

    classes: names of the classes with a score; key: patch, mammogram or patient id [n]; truth: int
    [n] class codes; scores: float [n, classes]; patient: str [n]; definition: of the codes.
    """

    classes: tuple[str, ...]
    key: np.ndarray
    truth: np.ndarray
    scores: np.ndarray
    patient: np.ndarray
    definition: ClassDefinition = MAMMOGRAPHY

    def against_rest(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return truth (bool [n]) and score (float [n]) of one class against the rest."""
        code = self.definition.names.index(name)
        return self.truth == code, self.scores[:, self.classes.index(name)]

    def positive_against_rest(self) -> tuple[np.ndarray, np.ndarray]:
        """Return truth (bool [n]) and score (float [n]) of malignant, the positive class."""
        return self.against_rest(self.definition.positive)

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
        classes = run_table.run_classes(con, run)
        if level == "patch":
            patches_run = run_table.ancestor(con, run, "patches")
            table = unit_table.load_predictions(con, run, patches_run, split)
        else:
            table = unit_table.load_image_scores(con, run, split)
    return to_observations(table, level, classes)


def to_observations(table: pd.DataFrame, level: str, classes: ClassDefinition) -> Observations:
    """Return the observations of one level from a table of one split.

    Parameters
    ----------
    table : DataFrame
        Level patch: patch_id, patient_id, label, p_<class>. Level image or case: mammogram_id,
        patient_id, truth, s_<class>; a case pools its mammograms.
    level : {"patch", "image", "case"}
        Level of the observations.
    classes : ClassDefinition
        Of the run; `scored` names the columns.
    """
    names = classes.scored
    if level == "patch":
        key, truth, columns = "patch_id", table["label"], [f"p_{name}" for name in names]
    else:
        # Before pooling: the truth of a case is the worst of its known ones.
        table = table[table["truth"].notna()]
        table = pool_cases(table, classes) if level == "case" else table
        key = "mammogram_id" if level == "image" else "patient_id"
        truth, columns = table["truth"], [f"s_{name}" for name in names]
    return Observations(
        classes=names,
        key=table[key].to_numpy(),
        truth=truth.to_numpy(int),
        scores=table[columns].to_numpy(float),
        patient=table["patient_id"].to_numpy(str),
        definition=classes,
    )

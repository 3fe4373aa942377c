"""Scores of cases: the mammograms of one patient pooled, see docs/reference/definitions.md."""

from __future__ import annotations

import pandas as pd

from core.class_labels import ClassDefinition


def pool_cases(mammograms: pd.DataFrame, classes: ClassDefinition) -> pd.DataFrame:
    """Return one row per patient: pooled scores, and the truth of the worst mammogram.

    s_normal is the smallest, every other score the largest of the patient's mammograms.
    """
    columns = {
        # 1 - max over all positions of a case is the smallest of its mammograms' values.
        f"s_{name}": (f"s_{name}", "min" if name == classes.normal else "max")
        for name in classes.scored
    }
    # Of several classes the later one decides.
    return mammograms.groupby("patient_id", as_index=False).agg(**columns, truth=("truth", "max"))

"""What a unit's activation says about each known descriptor, and whether a name given to it holds
(Network Dissection; DEFINITIONS "Units").

AUC of the unit's largest activation on a patch for the descriptor, with patients as clusters,
beside the overlap of its region with the outline. Never in place of the expert's words: a unit may
fire on something no report mentions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from core import store
from core.interpretation.concept_masks import of_answer
from core.store import annotation_table, run_table, unit_table
from evaluation.intervals import decimal, p_text
from evaluation.proportion import adjust
from evaluation.roc.auc_variance import obuchowski_covariance, placements
from evaluation.validation import Array, cluster_codes

LEVEL, ALPHA = 0.95, 0.05
FEWEST_PATIENTS = 3
BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class LabelCheck:
    """One unit's name against the reports. verdict: "holds" (AUC above .5, adjusted p < .05),
    "contradicted" (the interval lies below .5), "not shown", or "no word to check" where no report
    has a word for it. descriptor: the one that was checked.
    """

    unit: int
    label: str
    descriptor: str | None
    auc: float | None
    low: float | None
    high: float | None
    p_adjusted: float | None
    iou: float | None
    verdict: str

    def sentence(self) -> str:
        """For the unit's page."""
        if self.descriptor is None:
            return "No report has a word for this name, so it cannot be checked."
        numbers = f"AUC {decimal(self.auc, 2)} ({decimal(self.low, 2)} to {decimal(self.high, 2)})"
        return (
            f"“{self.descriptor}” {self.verdict}: {numbers} among findings, adjusted"
            f" {p_text(self.p_adjusted)}."
        )


def descriptor_aucs(activations: Array, positive: Array, patients: Any) -> pd.DataFrame:
    """One descriptor against many units: auc, low, high, p [units] from activations float [units,
    patches] and bool [patches].

    Obuchowski's variance, Wald interval and two-sided p against .5. No number where either side has
    fewer than 3 patients.
    """
    labels = np.asarray(positive, bool)
    codes, clusters = cluster_codes(patients, len(labels))
    if min(len(set(codes[labels])), len(set(codes[~labels]))) < FEWEST_PATIENTS:
        return pd.DataFrame(
            np.full((len(activations), 4), np.nan), columns=["auc", "low", "high", "p"]
        )
    parts = []
    for start in range(0, len(activations), BLOCK):
        placed = placements(labels, np.asarray(activations[start : start + BLOCK], float))
        covariance, _ = obuchowski_covariance(placed, labels, codes, clusters)
        assert covariance is not None  # several patients on both sides
        parts.append((placed.auc, np.sqrt(np.maximum(np.diag(covariance), 0))))
    auc, error = (np.concatenate(p) for p in zip(*parts))
    error[error < 1e-12] = 0  # what rounding leaves where every patient tells the same
    half = stats.norm.isf((1 - LEVEL) / 2) * error
    z = np.divide(auc - 0.5, error, out=np.full(len(auc), np.nan), where=error > 0)
    bound = np.where(error > 0, half, np.nan)
    return pd.DataFrame(
        {
            "auc": auc,
            "low": np.maximum(0, auc - bound),
            "high": np.minimum(1, auc + bound),
            "p": 2 * stats.norm.sf(np.abs(z)),
        }
    )


def adjusted(frame: pd.DataFrame) -> pd.Series:
    """Benjamini-Hochberg over all units and descriptors of a run."""
    return pd.Series(adjust(frame["p"].to_numpy(float), "bh"), index=frame.index)


def check_label(
    meanings: pd.DataFrame, unit: int, label: str, answer: dict[str, Any]
) -> LabelCheck:
    """Whether the unit fires on findings whose report has the word of the answer, more than on
    other findings. The first of the answer's descriptors that the reports know is checked.
    """
    mine = meanings[meanings["unit"] == unit].set_index("descriptor")
    for descriptor in of_answer(answer):
        if descriptor in mine.index and pd.notna(mine.loc[descriptor, "auc"]):
            row = mine.loc[descriptor]
            values = {
                k: None if pd.isna(row[k]) else float(row[k])
                for k in ("auc", "low", "high", "p_adjusted", "iou")
            }
            return LabelCheck(
                unit=unit, label=label, descriptor=descriptor, **values, verdict=_verdict(values)
            )
    return LabelCheck(
        unit=unit,
        label=label,
        descriptor=None,
        auc=None,
        low=None,
        high=None,
        p_adjusted=None,
        iou=None,
        verdict="no word to check",
    )


def _verdict(values: dict[str, float | None]) -> str:
    auc, high, p = values["auc"] or 0.0, values["high"], values["p_adjusted"]
    if auc > 0.5 and p is not None and p < ALPHA:
        return "holds"
    return "contradicted" if high is not None and high < 0.5 else "not shown"


def run_of(study: Path, dissect: str) -> str | None:
    """The meaning run of a dissection, or None."""
    with store.read(study) as con:
        return run_table.latest(con, "meaning", dissect)


def of_unit(study: Path, dissect: str, unit: int) -> pd.DataFrame:
    """The unit's descriptors, largest AUC first: descriptor, contrast, auc, low, high, p,
    p_adjusted, iou, positives, patients. Empty without a run.
    """
    run = run_of(study, dissect)
    if run is None:
        return pd.DataFrame(columns=["descriptor", "auc"])
    with store.read(study) as con:
        return unit_table.meanings(con, run, unit).sort_values(
            "auc", ascending=False, na_position="last", ignore_index=True
        )


def label_checks(
    study: Path, dissect: str, units: Sequence[int] | None = None
) -> dict[int, LabelCheck]:
    """The check of every labelled unit, by unit. Empty without a meaning run."""
    run = run_of(study, dissect)
    if run is None:
        return {}
    with store.read(study) as con:
        labels, answers = (
            annotation_table.labels(con, dissect),
            annotation_table.answers(con, dissect).set_index("annotation_id"),
        )
        meanings = unit_table.meanings(con, run)
    found = {}
    for unit, label in labels.items():
        if units is None or unit in units:
            known = [answers.loc[i, "answer"] for i in label.annotation_ids if i in answers.index]
            phenomena = [p for answer in known for p in answer["phenomena"]]
            found[unit] = check_label(meanings, unit, label.text, {"phenomena": phenomena})
    return found


def overlap_by_unit(study: Path, dissect: str, descriptor: str | None = None) -> pd.DataFrame:
    """unit, descriptor, iou, auc of the descriptor (or of each unit's largest IoU with a finding):
    for the gallery's order.
    """
    run = run_of(study, dissect)
    if run is None:
        return pd.DataFrame({"unit": pd.Series(dtype=int), "descriptor": [], "iou": [], "auc": []})
    with store.read(study) as con:
        frame = unit_table.meanings(con, run)
    frame = (
        frame[frame["descriptor"] == descriptor]
        if descriptor
        else frame[frame["contrast"] == "other findings"]
    )
    best = frame.sort_values(["unit", "iou"], ascending=[True, False]).drop_duplicates("unit")
    return best[["unit", "descriptor", "iou", "auc", "p_adjusted"]].reset_index(drop=True)


def descriptors(study: Path, dissect: str) -> list[str]:
    """Descriptors that were measured, by name."""
    run = run_of(study, dissect)
    if run is None:
        return []
    with store.read(study) as con:
        return unit_table.measured_descriptors(con, run)

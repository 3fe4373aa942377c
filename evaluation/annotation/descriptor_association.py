"""Association of units with radiological descriptors, and checks of unit labels against reports.

For each descriptor of the reports: the AUC of the unit's maximum activation on a patch, with
patients as clusters, beside the overlap of its region with the outline (Network Dissection, Bau et
al. 2017). The association does not replace the expert's label, because a unit may respond to
something that no report mentions. See `docs/reference/definitions.md`, "Units".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy

from core.interpretation.concept_masks import answer_descriptors
from evaluation.intervals import decimal, p_text
from evaluation.proportion import adjust
from evaluation.roc.auc_variance import obuchowski_covariance, placements
from evaluation.validation import Array, cluster_codes

ASSOCIATION_LEVEL, ASSOCIATION_ALPHA = 0.95, 0.05
MIN_PATIENTS_PER_SIDE = 3
NOT_CHECKED = "not checked"
# Units whose covariance matrix is computed at once: bounds memory at 2,048 units.
_UNIT_BLOCK = 256


@dataclass(frozen=True, kw_only=True)
class LabelCheck:
    """Check of one descriptor of a unit's label against the reports.

    Parameters
    ----------
    unit : int
        0-based unit.
    label : str
        The label.
    descriptor : str or None
        The descriptor; None if the label has none.
    auc, low, high, p_adjusted : float or None
        Association with the descriptor among findings.
    iou : float or None
        Overlap of the unit's region with the outlines of these findings.
    verdict : str
        "holds" (AUC above .5, adjusted P below .05), "contradicted" (interval below .5), "not
        shown", or "not checked" (too few reports have the descriptor).
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
        """Return the check as one sentence for the unit's page."""
        if self.descriptor is None:
            return "The label has no descriptor of the lexicon, so it cannot be checked."
        if self.verdict == NOT_CHECKED:
            return f"“{self.descriptor}” is in too few reports, so it cannot be checked."
        numbers = f"AUC {decimal(self.auc, 2)} ({decimal(self.low, 2)} to {decimal(self.high, 2)})"
        return (
            f"“{self.descriptor}” {self.verdict}: {numbers} among findings, adjusted"
            f" {p_text(self.p_adjusted)}."
        )


def descriptor_aucs(activations: Array, positive: Array, patients: Any) -> pd.DataFrame:
    """Compute the AUC of each unit for one descriptor.

    Obuchowski's (1997) variance for clustered data, Wald interval, two-sided P against .5.

    Parameters
    ----------
    activations : ndarray of float, shape (units, patches)
        Maximum activations.
    positive : ndarray of bool, shape (patches,)
        Patches with the descriptor.
    patients : array-like, shape (patches,)
        Patient of each patch.

    Returns
    -------
    DataFrame
        auc, low, high, p per unit; NaN if either side has fewer than three patients.

    References
    ----------
    Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567-578.

    Examples
    --------
    >>> import numpy as np
    >>> activations = np.array([[5.0, 3.0, 4.0, 1.0, 2.0, 3.5]])
    >>> positive = np.array([True, True, True, False, False, False])
    >>> descriptor_aucs(activations, positive, np.arange(6))["auc"].round(3).tolist()
    [0.889]
    """
    labels = np.asarray(positive, bool)
    codes, clusters = cluster_codes(patients, len(labels))
    # Obuchowski's variance is estimated between patients, on either side.
    if min(len(set(codes[labels])), len(set(codes[~labels]))) < MIN_PATIENTS_PER_SIDE:
        return pd.DataFrame(
            np.full((len(activations), 4), np.nan), columns=["auc", "low", "high", "p"]
        )
    blocks = []
    # The full covariance matrix of all units is not needed, only its diagonal.
    for start in range(0, len(activations), _UNIT_BLOCK):
        placed = placements(labels, np.asarray(activations[start : start + _UNIT_BLOCK], float))
        covariance, _ = obuchowski_covariance(placed, labels, codes, clusters)
        assert covariance is not None  # several patients on both sides
        blocks.append((placed.auc, np.sqrt(np.maximum(np.diag(covariance), 0))))
    auc, error = (np.concatenate(block) for block in zip(*blocks))
    # If all patients give the same placements, only rounding is left of the variance.
    error[error < 1e-12] = 0
    # Without a variance z is undefined, not infinite.
    z = np.divide(auc - 0.5, error, out=np.full(len(auc), np.nan), where=error > 0)
    quantile = scipy.stats.norm.isf((1 - ASSOCIATION_LEVEL) / 2)
    half_width = np.where(error > 0, quantile * error, np.nan)
    return pd.DataFrame(
        {
            "auc": auc,
            # A Wald interval can exceed the range of an AUC.
            "low": np.maximum(0, auc - half_width),
            "high": np.minimum(1, auc + half_width),
            "p": 2 * scipy.stats.norm.sf(np.abs(z)),
        }
    )


def adjusted_p_values(associations: pd.DataFrame) -> pd.Series:
    """Return Benjamini-Hochberg adjusted P over all units and descriptors of a run."""
    # Of 2,048 units without any association about 100 have an unadjusted P below .05.
    values = adjust(associations["p"].to_numpy(float), "bh")
    return pd.Series(values, index=associations.index)


def check_label(
    associations: pd.DataFrame, unit: int, label: str, answer: dict[str, Any]
) -> tuple[LabelCheck, ...]:
    """Check every descriptor of a label: whether its findings activate the unit more than others.

    Parameters
    ----------
    associations : DataFrame
        unit, descriptor, auc, low, high, p_adjusted, iou.
    unit : int
        0-based unit.
    label : str
        The label.
    answer : dict
        The phenomena that the label states.

    Returns
    -------
    tuple of LabelCheck
        One per descriptor, in the order of the label, specific terms before bare categories; a
        single one without a descriptor for a label that has none. A label holds where each of its
        descriptors does: the best of several would hold by chance more often.
    """
    rows = associations[associations["unit"] == unit].set_index("descriptor")
    names: list[str | None] = list(dict.fromkeys(answer_descriptors(answer)))
    return tuple(_check_descriptor(rows, unit, label, name) for name in names or [None])


def _check_descriptor(
    rows: pd.DataFrame, unit: int, label: str, descriptor: str | None
) -> LabelCheck:
    """Return the check of one descriptor; rows: associations of the unit, by descriptor."""
    values: dict[str, float | None] = dict.fromkeys(("auc", "low", "high", "p_adjusted", "iou"))
    verdict = NOT_CHECKED
    if descriptor in rows.index and pd.notna(rows.loc[descriptor, "auc"]):
        row = rows.loc[descriptor]
        values = {name: None if pd.isna(row[name]) else float(row[name]) for name in values}
        verdict = _verdict(values)
    return LabelCheck(unit=unit, label=label, descriptor=descriptor, **values, verdict=verdict)


def _verdict(values: dict[str, float | None]) -> str:
    auc, high, p = values["auc"] or 0.0, values["high"], values["p_adjusted"]
    if auc > 0.5 and p is not None and p < ASSOCIATION_ALPHA:
        return "holds"
    # Not the reverse of "holds": a large P alone is no evidence against a label.
    return "contradicted" if high is not None and high < 0.5 else "not shown"

"""Comparison of readers with one standalone score, such as the network's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.intervals import Interval, decimal, interval_text, not_estimable, p_text
from evaluation.mrmc.covariances import auc_covariance
from evaluation.mrmc.crossed_analysis import (
    patients_with_several_cases,
    rarer_class_df,
    two_patients_reason,
)
from evaluation.mrmc.reader_mean import DESIGNS, modality_mean, reader_mean
from evaluation.roc.auc_variance import placements
from evaluation.validation import binary_labels, check_level, float_array


@dataclass(frozen=True, kw_only=True)
class StandaloneComparison:
    """The readers' mean AUC minus the AUC of a standalone score on the same cases.

    Attributes
    ----------
    difference, low, high : float or None
        Difference with its confidence bounds.
    p_value : float or None
        Two-sided P.
    readers_auc : Interval
        Mean AUC of the readers.
    standalone_auc : float or None
        AUC of the standalone score.
    level, design : float, str
        Arguments of `compare_with_standalone`.
    unit : str
        Unit of analysis.
    reason : str or None
        Why numbers are missing.
    """

    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None
    readers_auc: Interval
    standalone_auc: float | None
    level: float = 0.95
    design: str = "rrrc"
    unit: str = "reader and case"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.difference is None:
            return f"Readers against the network {not_estimable(self.reason)}."
        return (
            f"Readers' mean AUC {decimal(self.readers_auc.estimate)}, network"
            f" {decimal(self.standalone_auc)}: difference {decimal(self.difference)}"
            f" ({interval_text(self.low, self.high, self.level, self.reason)}), two-sided"
            f" {p_text(self.p_value)} (Obuchowski-Rockette on the differences,"
            f" {DESIGNS[self.design]})."
        )


def compare_with_standalone(
    scores: Any,
    standalone: Any,
    truth: Any,
    design: str = "rrrc",
    covariance: str = "jackknife",
    level: float = 0.95,
    cluster: Any = None,
) -> StandaloneComparison:
    """Compare readers with one standalone score on the same cases.

    Parameters
    ----------
    scores : array_like of float, shape (readers, cases)
    standalone : array_like of float, shape (cases,)
        Score of the network.
    truth : array_like of {0, 1}, shape (cases,)
    design : {"rrrc", "rrfc", "frrc"}
        As in `obuchowski_rockette`.
    covariance : {"jackknife", "delong", "unbiased"}
        As in `auc_covariance`.
    level : float
        Confidence level in (0, 1).
    cluster : array_like, shape (cases,), optional
        Patient of each case.

    Returns
    -------
    StandaloneComparison

    Raises
    ------
    ValueError
        If a score is missing or shapes differ.

    Notes
    -----
    The single-modality analysis of Hillis is applied to the readers' differences from the
    standalone AUC. Their covariances follow from the covariance matrix of all AUCs together. With
    `cluster` the degrees of freedom account for the number of patients, see `combined_df`.

    References
    ----------
    Hillis SL. Stat Med 2014;33:330-360. Hillis SL, Obuchowski NA, Berbaum KS. Power estimation for
    multireader ROC methods. Acad Radiol 2011;18:129-142.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> truth = np.repeat([0, 1], 40)
    >>> readers, network = truth + rng.normal(size=(3, 80)), 2 * truth + rng.normal(size=80)
    >>> result = compare_with_standalone(readers, network, truth)
    >>> round(result.difference, 3), round(result.low, 3), round(result.high, 3)
    (-0.224, -0.297, -0.151)
    """
    values, labels = float_array(scores, "scores"), binary_labels(truth)
    check_level(level)
    # All AUCs together, so that readers and standalone score share one covariance matrix.
    both = np.vstack([values, float_array(standalone, "the standalone score")[None]])
    if both.shape[1] != len(labels) or np.isnan(both).any():
        raise ValueError("every reader and the standalone score must have a number for every case")
    patients = patients_with_several_cases(cluster, len(labels))
    reason = two_patients_reason(labels, patients)
    if reason or not len(values):
        return _not_estimable(reason or "there are no readers", design, level)
    areas = placements(labels, both).auc
    matrix = auc_covariance(labels, both, covariance, patients)
    # Cov(A_i - S, A_j - S), where the standalone score S is the last row and column.
    differences = matrix[:-1, :-1] - matrix[:-1, -1:] - matrix[-1:, :-1] + matrix[-1, -1]
    # The standalone score has no reader variance: the differences have one value per reader.
    case_df = np.inf if patients is None else float(patients.max())
    mean = reader_mean(areas[:-1] - areas[-1], differences, design, level, case_df)
    return StandaloneComparison(
        difference=mean.mean,
        low=mean.low,
        high=mean.high,
        p_value=mean.p_value,
        readers_auc=modality_mean(
            areas[:-1], matrix[:-1, :-1], design, level, rarer_class_df(labels, patients)
        ),
        standalone_auc=float(areas[-1]),
        level=level,
        design=design,
        reason=mean.reason,
    )


def _not_estimable(reason: str, design: str, level: float) -> StandaloneComparison:
    return StandaloneComparison(
        difference=None,
        low=None,
        high=None,
        p_value=None,
        readers_auc=Interval.without_bounds(level, DESIGNS[design], reason, unit="reader and case"),
        standalone_auc=None,
        level=level,
        design=design,
        reason=reason,
    )

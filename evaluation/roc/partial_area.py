"""The part of the ROC curve where few cancers are missed (DEFINITIONS, Classifier statistics:
pAUC).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats
from sklearn import metrics

from evaluation.intervals import decimal, not_estimable
from evaluation.validation import Array, labels_and_scores, one_class_reason


@dataclass(frozen=True)
class PartialAuc:
    """A partial area: raw, as a fraction of its largest possible value, and McClish's form (chance
    .5). `deepminer_2021` is the published formula, which is no partial area and must be shown under
    its own name only; None for a band of false-positive rates.
    """

    raw: float | None
    fraction: float | None
    mcclish: float | None
    deepminer_2021: float | None
    reason: str | None = None
    band: str = "sensitivity from 0.8 to 1"
    method: str = "trapezoids under the empirical ROC curve, interpolated across ties"
    unit: str = "observation"

    def sentence(self) -> str:
        """For a results section."""
        if self.raw is None:
            return f"Partial AUC ({self.band}) {not_estimable(self.reason)}."
        return (
            f"Partial AUC over {self.band}: {decimal(self.raw)}, {decimal(self.fraction)} of its"
            f" maximum, McClish {decimal(self.mcclish)}."
        )


@dataclass(frozen=True)
class SpecificityAt:
    """Specificity at a sensitivity: on the interpolated curve, and the best that a threshold of
    these data attains.
    """

    interpolated: float | None
    attainable: float | None
    sensitivity: float
    reason: str | None = None

    def sentence(self) -> str:
        """For a results section."""
        if self.interpolated is None:
            return (
                f"Specificity at sensitivity {decimal(self.sensitivity, 2)}"
                f" {not_estimable(self.reason)}."
            )
        return (
            f"Specificity at sensitivity {decimal(self.sensitivity, 2)}:"
            f" {decimal(self.interpolated)} (attainable {decimal(self.attainable)})."
        )


def vertices(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """False- and true-positive rates of every distinct threshold, from (0, 0) to (1, 1), and the
    thresholds (inf first). Call positive what scores at least the threshold.
    """
    order = np.argsort(-scores, kind="stable")
    # Compared, not subtracted: two infinite scores have no difference.
    ends = np.flatnonzero(np.append(scores[order][1:] < scores[order][:-1], True))
    hits = np.cumsum(labels[order])[ends]
    rates = (ends + 1 - hits) / (~labels).sum(), hits / labels.sum()
    return (
        np.append(0.0, rates[0]),
        np.append(0.0, rates[1]),
        np.append(np.inf, scores[order][ends]),
    )


def _area_above(x: Array, y: Array, floor: float) -> float:
    """Integral of (1 - x) dy along a rising polyline from y = `floor` to 1."""
    start = np.maximum(y[:-1], floor)
    rise = y[1:] - y[:-1]
    inside = (y[1:] > floor) & (rise > 0)
    slope = np.divide(x[1:] - x[:-1], rise, out=np.zeros_like(rise), where=rise > 0)
    x_start = x[:-1] + slope * (start - y[:-1])
    return float((((1 - x_start) + (1 - x[1:])) / 2 * (y[1:] - start))[inside].sum())


def _standardised(raw: float, width: float) -> tuple[float, float]:
    """Fraction of the maximum and McClish's (1989) standardisation of an area over a band of this
    width; chance is width^2 / 2.
    """
    chance = width**2 / 2
    return raw / width, 0.5 * (1 + (raw - chance) / (width - chance))


def partial_auc(y: Any, score: Any, min_sensitivity: float = 0.8) -> PartialAuc:
    """Area between sensitivity `min_sensitivity` and 1:

    A = integral of (1 - FPR) dTPR, largest value 1 - min_sensitivity; A / that; McClish's .5 (1 +
    (A - chance) / (largest - chance)); and "DeepMiner 2021 formula" = (1 - min_sensitivity) x
    integral of TPR dFPR from the first vertex of scikit-learn's `roc_curve` with TPR >=
    min_sensitivity (DEFINITIONS, the pAUC trap).
    """
    labels, scores = labels_and_scores(y, score)
    if not 0 <= min_sensitivity < 1:
        raise ValueError(f"the least sensitivity is {min_sensitivity:g}: it must lie in [0, 1)")
    band, reason = f"sensitivity from {min_sensitivity:g} to 1", one_class_reason(labels)
    if reason:
        return PartialAuc(None, None, None, None, reason, band)
    fpr, tpr, _ = vertices(labels, scores)
    raw = _area_above(fpr, tpr, min_sensitivity)
    return PartialAuc(
        raw,
        *_standardised(raw, 1 - min_sensitivity),
        _deepminer_2021(labels, scores, min_sensitivity),
        None,
        band,
    )


def _deepminer_2021(labels: Array, scores: Array, min_sensitivity: float) -> float:
    # scikit-learn takes finite scores only; ranks give the same curve.
    fpr, tpr, _ = metrics.roc_curve(labels, stats.rankdata(scores))
    kept = tpr >= min_sensitivity
    return float((1 - min_sensitivity) * np.trapezoid(tpr[kept], fpr[kept]))


def partial_auc_low_fpr(y: Any, score: Any, max_fpr: float = 0.2) -> PartialAuc:
    """Area between false-positive rate 0 and `max_fpr` (integral of TPR dFPR), with the same two
    standardisations.
    """
    labels, scores = labels_and_scores(y, score)
    if not 0 < max_fpr <= 1:
        raise ValueError(f"the largest false-positive rate is {max_fpr:g}: it must lie in (0, 1]")
    band, reason = f"false-positive rate from 0 to {max_fpr:g}", one_class_reason(labels)
    if reason:
        return PartialAuc(None, None, None, None, reason, band)
    fpr, tpr, _ = vertices(labels, scores)
    # Turned by 180 degrees this is the same integral: from specificity 1 - max_fpr to 1 of (1 -
    # miss rate).
    raw = _area_above((1 - tpr)[::-1], (1 - fpr)[::-1], 1 - max_fpr)
    return PartialAuc(raw, *_standardised(raw, max_fpr), None, None, band)


def specificity_at(y: Any, score: Any, sensitivity: float = 0.8) -> SpecificityAt:
    """Specificity where the empirical ROC curve reaches a sensitivity, interpolated, and the best
    attained by a threshold at or above it.
    """
    labels, scores = labels_and_scores(y, score)
    if not 0 < sensitivity <= 1:
        raise ValueError(f"the sensitivity is {sensitivity:g}: it must lie in (0, 1]")
    reason = one_class_reason(labels)
    if reason:
        return SpecificityAt(None, None, sensitivity, reason)
    fpr, tpr, _ = vertices(labels, scores)
    after = int(np.searchsorted(tpr, sensitivity - 1e-12))
    share = (sensitivity - tpr[after - 1]) / (tpr[after] - tpr[after - 1])
    return SpecificityAt(
        float(1 - (fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))),
        float(1 - fpr[after]),
        sensitivity,
    )

"""Partial AUCs, and the specificity at a sensitivity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy

from evaluation.intervals import decimal, not_estimable
from evaluation.validation import Array, labels_and_scores, one_class_reason


@dataclass(frozen=True, kw_only=True)
class PartialAuc:
    """Area under a band of the ROC curve.

    Attributes
    ----------
    raw : float or None
        Partial area.
    fraction : float or None
        Partial area divided by its largest possible value.
    mcclish : float or None
        McClish's standardised area, .5 at chance and 1 at best.
    deepminer_2021 : float or None
        Published formula of 2021. It is not a partial area and is printed under this name only.
        None for a band of false-positive rates.
    reason : str or None
        Why there is no area.
    band, method, unit : str
        Band, method and unit of analysis in words.
    """

    raw: float | None = None
    fraction: float | None = None
    mcclish: float | None = None
    deepminer_2021: float | None = None
    reason: str | None = None
    band: str = "sensitivity from 0.8 to 1"
    method: str = "trapezoids under the empirical ROC curve, interpolated across ties"
    unit: str = "observation"

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.raw is None:
            return f"Partial AUC ({self.band}) {not_estimable(self.reason)}."
        return (
            f"Partial AUC over {self.band}: {decimal(self.raw)}, {decimal(self.fraction)} of its"
            f" maximum, McClish {decimal(self.mcclish)}."
        )


@dataclass(frozen=True)
class SpecificityAt:
    """Specificity at a sensitivity.

    Attributes
    ----------
    interpolated : float or None
        Specificity on the interpolated curve.
    attainable : float or None
        Best specificity of a threshold of these data that reaches the sensitivity.
    sensitivity : float
    reason : str or None
        Why there is no specificity.
    """

    interpolated: float | None
    attainable: float | None
    sensitivity: float
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        if self.interpolated is None:
            return (
                f"Specificity at sensitivity {decimal(self.sensitivity, 2)}"
                f" {not_estimable(self.reason)}."
            )
        return (
            f"Specificity at sensitivity {decimal(self.sensitivity, 2)}:"
            f" {decimal(self.interpolated)} (attainable {decimal(self.attainable)})."
        )


def roc_vertices(labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Compute the vertices of the empirical ROC curve, from (0, 0) to (1, 1).

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
        Both classes must be present.
    scores : ndarray of float, shape (n,)

    Returns
    -------
    fpr, tpr : ndarray of float64, shape (v,)
        False- and true-positive rate of every distinct threshold.
    thresholds : ndarray of float64, shape (v,)
        Infinity first; an observation is called positive if its score is at least the threshold.

    Examples
    --------
    >>> fpr, tpr, thresholds = roc_vertices(np.array([True, False, True]), np.array([3.0, 2, 1]))
    >>> fpr.tolist(), tpr.tolist(), thresholds.tolist()
    ([0.0, 0.0, 1.0, 1.0], [0.0, 0.5, 0.5, 1.0], [inf, 3.0, 2.0, 1.0])
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
    """Return the integral of (1 - x) dy along a rising polyline from y = `floor` to 1."""
    # The segment that crosses the floor is cut there.
    start = np.maximum(y[:-1], floor)
    rise = y[1:] - y[:-1]
    # Horizontal segments have no dy and add no area.
    inside = (y[1:] > floor) & (rise > 0)
    slope = np.divide(x[1:] - x[:-1], rise, out=np.zeros_like(rise), where=rise > 0)
    x_start = x[:-1] + slope * (start - y[:-1])
    return float((((1 - x_start) + (1 - x[1:])) / 2 * (y[1:] - start))[inside].sum())


def _standardised(raw: float, width: float) -> tuple[float, float]:
    """Return an area over a band as a fraction of its maximum, and in McClish's form."""
    # The area below the chance diagonal within the band, as McClish's minimum.
    chance = width**2 / 2
    return raw / width, 0.5 * (1 + (raw - chance) / (width - chance))


def partial_auc(y: Any, score: Any, min_sensitivity: float = 0.8) -> PartialAuc:
    """Compute the area between a least sensitivity and 1.

    Parameters
    ----------
    y : array_like of {0, 1}, shape (n,)
    score : array_like of float, shape (n,)
        Higher scores indicate positives.
    min_sensitivity : float
        Lower end of the band, in [0, 1).

    Returns
    -------
    PartialAuc

    Raises
    ------
    ValueError
        If labels or scores are invalid, or the sensitivity is out of range.

    Notes
    -----
    With s the least sensitivity and w = 1 - s:

    - raw: A = integral over TPR from s to 1 of (1 - FPR) dTPR; largest w, at chance w^2 / 2;
    - fraction: A / w; McClish: .5 (1 + (A - w^2/2) / (w - w^2/2));
    - DeepMiner 2021 formula: w x integral of TPR dFPR from the first vertex of scikit-learn's
      `roc_curve` (drop_intermediate=True) with TPR >= s. Its chance value is .036 for s = .8.

    Checked against: worked examples by hand, and R 4.2 pROC `auc` with
    `partial.auc.focus = "sensitivity"` (1e-9).

    References
    ----------
    McClish DK. Analyzing a portion of the ROC curve. Med Decis Making 1989;9:190-195. Jiang Y, Metz
    CE, Nishikawa RM. Radiology 1996;201:745-750 (partial area at high sensitivity).

    Examples
    --------
    >>> result = partial_auc([1, 1, 0, 1, 1, 0, 1, 0, 0, 0], range(10, 0, -1))
    >>> round(result.raw, 3), round(result.mcclish, 4), round(result.deepminer_2021, 3)
    (0.12, 0.7778, 0.152)
    """
    labels, scores = labels_and_scores(y, score)
    if not 0 <= min_sensitivity < 1:
        raise ValueError(f"the least sensitivity is {min_sensitivity:g}: it must lie in [0, 1)")
    band, reason = f"sensitivity from {min_sensitivity:g} to 1", one_class_reason(labels)
    if reason:
        return PartialAuc(reason=reason, band=band)
    fpr, tpr, _ = roc_vertices(labels, scores)
    raw = _area_above(fpr, tpr, min_sensitivity)
    fraction, mcclish = _standardised(raw, 1 - min_sensitivity)
    return PartialAuc(
        raw=raw,
        fraction=fraction,
        mcclish=mcclish,
        deepminer_2021=_deepminer_2021(labels, scores, min_sensitivity),
        band=band,
    )


def _deepminer_2021(labels: Array, scores: Array, min_sensitivity: float) -> float:
    # Imported here: scikit-learn takes longer to load than every other module of this package.
    from sklearn import metrics

    # scikit-learn accepts finite scores only; ranks give the same curve.
    # drop_intermediate=True, the default, decides which vertex is the first to be retained.
    fpr, tpr, _ = metrics.roc_curve(labels, scipy.stats.rankdata(scores))
    retained = tpr >= min_sensitivity
    return float((1 - min_sensitivity) * np.trapezoid(tpr[retained], fpr[retained]))


def partial_auc_low_fpr(y: Any, score: Any, max_fpr: float = 0.2) -> PartialAuc:
    """Compute the area between false-positive rate 0 and a largest false-positive rate.

    Parameters
    ----------
    y, score
        As in `partial_auc`.
    max_fpr : float
        Upper end of the band, in (0, 1].

    Returns
    -------
    PartialAuc

    Raises
    ------
    ValueError
        If labels or scores are invalid, or the rate is out of range.

    Notes
    -----
    raw: integral of TPR dFPR from 0 to `max_fpr`; standardised as in `partial_auc`.

    Checked against: R 4.2 pROC `auc` with `partial.auc` (1e-9).

    References
    ----------
    McClish DK. Med Decis Making 1989;9:190-195.

    Examples
    --------
    >>> round(partial_auc_low_fpr([1, 1, 0, 1, 1, 0, 1, 0, 0, 0], range(10, 0, -1)).raw, 3)
    0.08
    """
    labels, scores = labels_and_scores(y, score)
    if not 0 < max_fpr <= 1:
        raise ValueError(f"the largest false-positive rate is {max_fpr:g}: it must lie in (0, 1]")
    band, reason = f"false-positive rate from 0 to {max_fpr:g}", one_class_reason(labels)
    if reason:
        return PartialAuc(reason=reason, band=band)
    fpr, tpr, _ = roc_vertices(labels, scores)
    # Rotated by 180 degrees this is the other integral: over specificity from 1 - max_fpr to 1.
    raw = _area_above((1 - tpr)[::-1], (1 - fpr)[::-1], 1 - max_fpr)
    fraction, mcclish = _standardised(raw, max_fpr)
    return PartialAuc(raw=raw, fraction=fraction, mcclish=mcclish, band=band)


def specificity_at(y: Any, score: Any, sensitivity: float = 0.8) -> SpecificityAt:
    """Compute the specificity where the empirical ROC curve reaches a sensitivity.

    Parameters
    ----------
    y, score
        As in `partial_auc`.
    sensitivity : float
        In (0, 1].

    Returns
    -------
    SpecificityAt
        Interpolated, and the best of a threshold at or above the sensitivity.

    Raises
    ------
    ValueError
        If labels or scores are invalid, or the sensitivity is out of range.

    Notes
    -----
    Checked against: R 4.2 pROC `coords` (1e-9).

    Examples
    --------
    >>> result = specificity_at([1, 1, 0, 1, 1, 0, 1, 0, 0, 0], range(10, 0, -1), 0.7)
    >>> round(result.interpolated, 3), result.attainable
    (0.8, 0.8)
    """
    labels, scores = labels_and_scores(y, score)
    if not 0 < sensitivity <= 1:
        raise ValueError(f"the sensitivity is {sensitivity:g}: it must lie in (0, 1]")
    reason = one_class_reason(labels)
    if reason:
        return SpecificityAt(None, None, sensitivity, reason)
    fpr, tpr, _ = roc_vertices(labels, scores)
    # A true-positive rate may fall short of the sensitivity by rounding.
    # The curve starts at 0, so `after` is at least 1.
    after = int(np.searchsorted(tpr, sensitivity - 1e-12))
    # Linear interpolation between the vertices on both sides of the sensitivity.
    share = (sensitivity - tpr[after - 1]) / (tpr[after] - tpr[after - 1])
    return SpecificityAt(
        float(1 - (fpr[after - 1] + share * (fpr[after] - fpr[after - 1]))),
        float(1 - fpr[after]),
        sensitivity,
    )

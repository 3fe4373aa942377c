"""AUCs of more than two classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from evaluation.intervals import decimal
from evaluation.roc.auc_estimates import auc
from evaluation.validation import Array, as_array, binary_labels, float_array


@dataclass(frozen=True, kw_only=True)
class MulticlassAuc:
    """AUCs of k classes.

    Attributes
    ----------
    per_class : tuple of float or None
        One-vs-rest AUC of each class; None where a class has no observation.
    macro, weighted : float or None
        Mean over classes, unweighted and weighted by prevalence.
    micro : float or None
        AUC of all pooled one-vs-rest decisions.
    hand_till : float or None
        Hand and Till's M: mean over all pairs of classes.
    method, unit : str
        Method and unit of analysis in words.
    reason : str or None
        Why the means are missing.
    """

    per_class: tuple[float | None, ...]
    macro: float | None = None
    weighted: float | None = None
    micro: float | None = None
    hand_till: float | None = None
    method: str = "one-vs-rest on the class probabilities"
    unit: str = "observation"
    reason: str | None = None

    def sentence(self) -> str:
        """Return the result as a sentence for a results section."""
        classes = " / ".join(decimal(value) for value in self.per_class)
        return (
            f"One-vs-rest AUC {classes}, macro {decimal(self.macro)}, Hand-Till"
            f" {decimal(self.hand_till)}" + (f" ({self.reason})." if self.reason else ".")
        )


def multiclass_auc(y: Any, probabilities: Any) -> MulticlassAuc:
    """Compute one-vs-rest and averaged AUCs of k classes.

    Parameters
    ----------
    y : array_like of int, shape (n,)
        Class numbers 0 to k - 1.
    probabilities : array_like of float, shape (n, k)

    Returns
    -------
    MulticlassAuc
        Without means where a class has no observation.

    Raises
    ------
    ValueError
        If shapes differ, a probability is missing, or a class number is out of range.

    Notes
    -----
    M = 2 / (k (k - 1)) sum over pairs i < j of (A(i|j) + A(j|i)) / 2.

    Checked against: R 4.2 pROC `multiclass.roc` and scikit-learn `roc_auc_score` (1e-9).

    References
    ----------
    Hand DJ, Till RJ. A simple generalisation of the area under the ROC curve for multiple class
    classification problems. Mach Learn 2001;45:171-186.

    Examples
    --------
    >>> result = multiclass_auc([0, 1, 2, 1], [[.6, .3, .1], [.3, .5, .2], [.2, .2, .6],
    ...                                        [.5, .4, .1]])
    >>> result.per_class, round(result.macro, 3), round(result.hand_till, 3)
    ((1.0, 1.0, 1.0), 1.0, 1.0)
    """
    truth, rows = as_array(y, "labels"), float_array(probabilities, "probabilities")
    _check_classes(truth, rows)
    k = rows.shape[1]
    single = tuple(auc(truth == c, rows[:, c]).estimate for c in range(k))
    # A mean over fewer classes would not be comparable with other runs.
    absent = [c for c in range(k) if single[c] is None]
    if absent:
        reason = (
            f"class {', '.join(map(str, absent))} has no observation, or no other class has one"
        )
        return MulticlassAuc(per_class=single, reason=reason)
    areas = np.array(single, dtype=float)
    shares = np.bincount(truth.astype(int), minlength=k) / len(truth)
    # Micro average: every cell of the one-hot table is one binary decision.
    one_hot = binary_labels((truth[:, None] == np.arange(k)).ravel())
    return MulticlassAuc(
        per_class=single,
        macro=float(areas.mean()),
        weighted=float(shares @ areas),
        micro=auc(one_hot, rows.ravel()).estimate,
        hand_till=_hand_till(truth, rows),
    )


def _check_classes(truth: Array, rows: Array) -> None:
    if rows.ndim != 2 or truth.shape != (len(rows),) or rows.shape[1] < 2:
        raise ValueError(
            f"{truth.shape} labels for probabilities of shape {rows.shape}: one row per label and"
            " one column per class are needed"
        )
    if np.isnan(rows).any():
        raise ValueError(
            f"probability row {np.flatnonzero(np.isnan(rows).any(axis=1))[0] + 1} of {len(rows)} is"
            " not a number"
        )
    classes = np.arange(rows.shape[1])
    if len(truth) and not np.isin(truth, classes).all():
        raise ValueError(
            f"class {str(truth[~np.isin(truth, classes)][0])!r} is not one of 0 to {classes[-1]}"
        )


def _hand_till(truth: Array, rows: Array) -> float:
    k, total = rows.shape[1], 0.0
    for i in range(k):
        for j in range(i + 1, k):
            pair = (truth == i) | (truth == j)
            # A(i|j) and A(j|i) differ for three classes or more.
            total += auc(truth[pair] == i, rows[pair, i]) + auc(truth[pair] == j, rows[pair, j])
    return float(total / (k * (k - 1)))

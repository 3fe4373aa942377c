"""The area under the ROC curve, its variance (DeLong, Obuchowski), and the patient bootstrap, all
from ranks in O(n log n).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from evaluation.resampling import drawn_clusters
from evaluation.validation import Array

# A quadratic form over patients is the faster bootstrap while its matrix stays small.
DENSE_PATIENTS = 2_000


@dataclass(frozen=True)
class Placements:
    """V10 [k, positives]: for each positive the share of negatives below it (ties 1/2).

    V01 [k, negatives]: for each negative the share of positives above it. Their means are the AUCs
    [k] of the k scores (DeLong, DeLong and Clarke-Pearson 1988).
    """

    positive: Array
    negative: Array
    auc: Array


def placements(labels: Array, scores: Array) -> Placements:
    """Placement values of every observation from mid-ranks.

    `labels` bool [n] with both classes, `scores` float [k, n].
    """
    m, n = int(labels.sum()), int((~labels).sum())
    ranks = stats.rankdata(scores, axis=1)
    positive = (ranks[:, labels] - stats.rankdata(scores[:, labels], axis=1)) / n
    negative = 1 - (ranks[:, ~labels] - stats.rankdata(scores[:, ~labels], axis=1)) / m
    # The rank sum is exact in binary, the mean of placements is not: perfect separation must give
    # exactly 1.
    auc = (ranks[:, labels].sum(axis=1) - m * (m + 1) / 2) / (m * n)
    return Placements(positive, negative, auc)


def delong_covariance(placed: Placements) -> Array | None:
    """Covariance [k, k] of k AUCs on the same independent observations:

    S10/m + S01/n; None with fewer than two of a class.
    """
    (k, m), n = placed.positive.shape, placed.negative.shape[1]
    if min(m, n) < 2:
        return None
    return np.cov(placed.positive).reshape(k, k) / m + np.cov(placed.negative).reshape(k, k) / n


def obuchowski_covariance(
    placed: Placements, labels: Array, codes: Array, clusters: int
) -> tuple[Array | None, str | None]:
    """Covariance [k, k] of k AUCs when observations come in clusters (Obuchowski, Biometrics
    1997;53:567-578), or why it does not exist.

    S10 = I10/((I10-1) M) sum_i (V10(X_i.) - m_i A)^2, S01 likewise, S11 = I/(I-1) sum_i (..)(..);
    var = S10/M + S01/N + 2 S11/(MN), and cross-products for the covariance of two scores.
    """
    k, positives, negatives = len(placed.auc), codes[labels], codes[~labels]
    total_m, total_n = len(positives), len(negatives)
    with_positive, with_negative = len(np.unique(positives)), len(np.unique(negatives))
    if min(with_positive, with_negative) < 2:
        name = "positive" if with_positive < 2 else "negative"
        return (
            None,
            (
                f"all {name} observations come from one patient: the variance between patients"
                " cannot be estimated"
            ),
        )
    shape = (k, clusters)
    up, down = np.empty(shape), np.empty(shape)
    for row in range(k):
        up[row] = np.bincount(positives, placed.positive[row] - placed.auc[row], clusters)
        down[row] = np.bincount(negatives, placed.negative[row] - placed.auc[row], clusters)
    s10 = with_positive / ((with_positive - 1) * total_m) * up @ up.T
    s01 = with_negative / ((with_negative - 1) * total_n) * down @ down.T
    s11 = clusters / (clusters - 1) * up @ down.T
    return s10 / total_m + s01 / total_n + (s11 + s11.T) / (total_m * total_n), None


def jackknife_aucs(labels: Array, score: Array) -> Array:
    """The AUC without each observation in turn [n], in closed form from the placements."""
    placed = placements(labels, score[None])
    m, n, area = placed.positive.shape[1], placed.negative.shape[1], placed.auc[0]
    left_out = np.empty(len(labels))
    left_out[labels] = (area * m - placed.positive[0]) / (m - 1)
    left_out[~labels] = (area * n - placed.negative[0]) / (n - 1)
    return left_out


def bootstrap_aucs(
    labels: Array, score: Array, codes: Array, clusters: int, resamples: int, seed: int
) -> Array:
    """AUCs [resamples] of samples of patients drawn with replacement, each with all its
    observations; nan where a sample has one class.

    The same seed draws the same patients, so differences of two scores are paired.
    """
    positives = np.bincount(codes[labels], minlength=clusters)
    negatives = np.bincount(codes[~labels], minlength=clusters)
    wins = pair_wins(labels, score, codes, clusters) if clusters <= DENSE_PATIENTS else None
    areas = []
    for drawn in drawn_clusters(clusters, resamples, seed):
        pairs = (drawn @ positives) * (drawn @ negatives)
        won = (
            _weighted_wins(labels, score, codes, drawn)
            if wins is None
            else ((drawn @ wins) * drawn).sum(axis=1)
        )
        areas.append(np.divide(won, pairs, out=np.full(len(drawn), np.nan), where=pairs > 0))
    return np.concatenate(areas)


def pair_wins(labels: Array, score: Array, codes: Array, clusters: int) -> Array:
    """Won pairs (ties 1/2) of patient a's positives against patient b's negatives, float64
    [clusters, clusters].

    A bootstrap that draws patient a w_a times has AUC = w' Q w / (pairs), so the scores are sorted
    once for all resamples.
    """
    order = np.argsort(score[labels], kind="stable")
    positive_scores, positive_codes = score[labels][order], codes[labels][order]
    # First row: positives up to here; the share of a patient's negatives below each positive is a
    # running sum of half steps.
    below, up_to = (
        np.searchsorted(positive_scores, score[~labels], side=side) for side in ("left", "right")
    )
    by_patient = np.argsort(codes[~labels], kind="stable")
    starts = np.searchsorted(codes[~labels][by_patient], np.arange(clusters + 1))
    wins, size = np.zeros((clusters, clusters)), len(positive_scores) + 1
    for patient in range(clusters):
        members = by_patient[starts[patient] : starts[patient + 1]]
        if len(members):
            steps = np.bincount(below[members], minlength=size) + np.bincount(
                up_to[members], minlength=size
            )
            wins[:, patient] = np.bincount(positive_codes, 0.5 * np.cumsum(steps)[:-1], clusters)
    return wins


def _weighted_wins(labels: Array, score: Array, codes: Array, drawn: Array) -> Array:
    """Won pairs of each resample by one pass over the sorted scores with the patients'
    multiplicities as weights; for many patients.
    """
    order = np.argsort(score, kind="stable")
    sorted_labels, sorted_codes = labels[order], codes[order]
    ends = np.flatnonzero(np.append(score[order][1:] > score[order][:-1], True))
    won = np.empty(len(drawn))
    for row, multiplicity in enumerate(drawn):
        weight = multiplicity[sorted_codes]
        negative = np.cumsum(np.where(sorted_labels, 0.0, weight))[ends]
        positive = np.diff(np.cumsum(np.where(sorted_labels, weight, 0.0))[ends], prepend=0.0)
        won[row] = positive @ (negative - 0.5 * np.diff(negative, prepend=0.0))
    return won

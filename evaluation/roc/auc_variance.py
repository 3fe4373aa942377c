"""AUC variance from placement values (DeLong, Obuchowski), and the patient bootstrap of the AUC.

All estimates come from ranks in O(n log n), without a matrix of all positive-negative pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from evaluation.resampling import cluster_bootstrap_blocks
from evaluation.validation import Array

# Up to this number of patients the bootstrap is a quadratic form over patients; its matrix would
# need 32 MB at the limit, and beyond it a pass over the sorted scores is faster.
DENSE_PATIENTS = 2_000


@dataclass(frozen=True)
class Placements:
    """Placement values of k scores on the same observations.

    Attributes
    ----------
    positive : ndarray, shape (k, positives)
        V10: for each positive the share of negatives with a lower score, ties 1/2.
    negative : ndarray, shape (k, negatives)
        V01: for each negative the share of positives with a higher score, ties 1/2.
    auc : ndarray, shape (k,)
        AUC of each score, the mean of either kind of placement.
    """

    positive: Array
    negative: Array
    auc: Array


def placements(labels: Array, scores: Array) -> Placements:
    """Compute placement values from sorted scores.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
        Both classes must be present.
    scores : ndarray of float, shape (k, n)

    Returns
    -------
    Placements

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.

    Examples
    --------
    >>> placed = placements(np.array([True, True, False]), np.array([[2.0, 1.0, 1.0]]))
    >>> placed.positive.tolist(), placed.negative.tolist(), placed.auc.tolist()
    ([[1.0, 0.5]], [[0.75]], [0.75])
    """
    m, n = int(labels.sum()), int((~labels).sum())
    positive, negative = np.empty((len(scores), m)), np.empty((len(scores), n))
    auc = np.empty(len(scores))
    for row, score in enumerate(scores):
        # Half the number below plus half the number up to a score count ties 1/2.
        won = _midranks_among(score[labels], np.sort(score[~labels]))
        positive[row] = won / n
        negative[row] = 1 - _midranks_among(score[~labels], np.sort(score[labels])) / m
        # The sum is exact in binary, the mean of placements is not: perfect separation must give
        # exactly 1.
        auc[row] = won.sum() / (m * n)
    return Placements(positive, negative, auc)


def _midranks_among(values: Array, others: Array) -> Array:
    """Return how many of the sorted others lie below each value, ties 1/2."""
    return 0.5 * (
        np.searchsorted(others, values, side="left") + np.searchsorted(others, values, side="right")
    )


def delong_covariance(placed: Placements) -> Array | None:
    """Estimate the covariance of k AUCs on independent observations (DeLong).

    Parameters
    ----------
    placed : Placements
        Placement values of k scores.

    Returns
    -------
    ndarray of float64, shape (k, k), or None
        S10 / m + S01 / n; None with fewer than two observations of a class.

    Notes
    -----
    Checked against: R 4.2 pROC `var` and `cov` (1e-9).

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845.

    Examples
    --------
    >>> labels = np.array([True, True, True, False, False, False])
    >>> delong_covariance(placements(labels, np.array([[3.0, 1, 4, 1, 0, 2]]))).round(4).tolist()
    [[0.037]]
    """
    (k, m), n = placed.positive.shape, placed.negative.shape[1]
    if min(m, n) < 2:
        return None
    # np.cov returns a scalar for one row, hence the reshape.
    return np.cov(placed.positive).reshape(k, k) / m + np.cov(placed.negative).reshape(k, k) / n


@dataclass(frozen=True)
class PatientContributions:
    """Contributions of patients to k AUCs.

    Attributes
    ----------
    positive, negative : ndarray of float64, shape (k, clusters)
        Sum of a patient's centred placements, divided by the number of observations of the class.
    with_positive, with_negative : int
        Numbers of patients that have positives, and that have negatives; at least 2.
    clusters : int
        Number of patients.
    """

    positive: Array
    negative: Array
    with_positive: int
    with_negative: int
    clusters: int

    def covariance(self) -> Array:
        """Return Obuchowski's covariance of the AUCs, float64 [k, k]."""
        m, n, clusters = self.with_positive, self.with_negative, self.clusters
        s10 = m / (m - 1) * self.positive @ self.positive.T
        s01 = n / (n - 1) * self.negative @ self.negative.T
        s11 = clusters / (clusters - 1) * self.positive @ self.negative.T
        # The cross term of two scores is not symmetric in them, so both orders are added.
        return s10 + s01 + s11 + s11.T


def patient_contributions(
    placed: Placements, labels: Array, codes: Array, clusters: int
) -> tuple[PatientContributions | None, str | None]:
    """Sum the centred placements of each patient.

    Parameters
    ----------
    placed, labels, codes, clusters
        As in `obuchowski_covariance`.

    Returns
    -------
    contributions : PatientContributions or None
    reason : str or None
        Why there are none: a class comes from a single patient.
    """
    k, positives, negatives = len(placed.auc), codes[labels], codes[~labels]
    with_positive, with_negative = len(np.unique(positives)), len(np.unique(negatives))
    if min(with_positive, with_negative) < 2:
        name = "positive" if with_positive < 2 else "negative"
        reason = (
            f"all {name} observations come from one patient: the variance between patients"
            " cannot be estimated"
        )
        return None, reason
    v10, v01 = np.empty((k, clusters)), np.empty((k, clusters))
    for row in range(k):
        v10[row] = np.bincount(positives, placed.positive[row] - placed.auc[row], clusters)
        v01[row] = np.bincount(negatives, placed.negative[row] - placed.auc[row], clusters)
    return PatientContributions(
        v10 / len(positives), v01 / len(negatives), with_positive, with_negative, clusters
    ), None


def obuchowski_covariance(
    placed: Placements, labels: Array, codes: Array, clusters: int
) -> tuple[Array | None, str | None]:
    """Estimate the covariance of k AUCs with patients as clusters (Obuchowski).

    Parameters
    ----------
    placed : Placements
        Placement values of k scores.
    labels : ndarray of bool, shape (n,)
    codes : ndarray of int, shape (n,)
        Patient of each observation, 0 to clusters - 1.
    clusters : int
        Number of patients.

    Returns
    -------
    covariance : ndarray of float64, shape (k, k), or None
    reason : str or None
        Why there is no covariance: a class comes from a single patient.

    Notes
    -----
    With I10 patients that have positives, I01 that have negatives, M positives, N negatives and
    area A:

        S10 = I10 / ((I10 - 1) M) sum_i (V10(X_i.) - m_i A)^2, and S01 likewise,
        S11 = I / (I - 1) sum_i (V10(X_i.) - m_i A)(V01(Y_i.) - n_i A),
        var = S10 / M + S01 / N + 2 S11 / (M N),

    with cross-products for the covariance of two scores. With one observation per patient this is
    DeLong's estimator.

    Checked against: R 4.2 and an independent Python implementation of the formula (1e-10).

    References
    ----------
    Obuchowski NA. Nonparametric analysis of clustered ROC curve data. Biometrics 1997;53:567-578.

    Examples
    --------
    >>> labels = np.array([True, True, True, False, False, False])
    >>> placed = placements(labels, np.array([[3.0, 1, 4, 1, 0, 2]]))
    >>> covariance, reason = obuchowski_covariance(placed, labels, np.array([0, 0, 1, 1, 2, 2]), 3)
    >>> covariance.round(4).tolist()
    [[0.0123]]
    """
    parts, reason = patient_contributions(placed, labels, codes, clusters)
    return (None if parts is None else parts.covariance()), reason


def jackknife_aucs(labels: Array, score: Array) -> Array:
    """Return the AUC without each observation in turn, in closed form from the placements.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
        At least two observations of each class.
    score : ndarray of float, shape (n,)

    Returns
    -------
    ndarray of float64, shape (n,)

    Examples
    --------
    >>> jackknife_aucs(np.array([True, True, False, False]), np.array([3.0, 1, 0, 2])).tolist()
    [0.5, 1.0, 0.5, 1.0]
    """
    placed = placements(labels, score[None])
    m, n, area = placed.positive.shape[1], placed.negative.shape[1], placed.auc[0]
    left_out = np.empty(len(labels))
    # A placement depends on the other class only, so the remaining m - 1 stay as they are.
    left_out[labels] = (area * m - placed.positive[0]) / (m - 1)
    left_out[~labels] = (area * n - placed.negative[0]) / (n - 1)
    return left_out


def bootstrap_aucs(
    labels: Array, score: Array, codes: Array, clusters: int, resamples: int, seed: int
) -> Array:
    """Compute the AUC of each bootstrap sample of patients.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
    score : ndarray of float, shape (n,)
    codes : ndarray of int, shape (n,)
        Patient of each observation, 0 to clusters - 1.
    clusters : int
        Number of patients, each drawn with all its observations.
    resamples, seed : int
        The same seed draws the same patients, so that differences of two scores are paired.

    Returns
    -------
    ndarray of float64, shape (resamples,)
        nan where a sample has one class only.

    Notes
    -----
    Checked against: copying the rows of each drawn patient and comparing every pair (1e-12).

    Examples
    --------
    >>> labels = np.array([True, False, True, False])
    >>> score = np.array([2.0, 1, 1, 3])
    >>> bootstrap_aucs(labels, score, np.array([0, 0, 1, 1]), 2, 4, seed=1).tolist()
    [0.375, 0.0, 1.0, 0.0]
    """
    positives = np.bincount(codes[labels], minlength=clusters)
    negatives = np.bincount(codes[~labels], minlength=clusters)
    wins = pair_wins(labels, score, codes, clusters) if clusters <= DENSE_PATIENTS else None
    areas = []
    for weights in cluster_bootstrap_blocks(clusters, resamples, seed):
        pairs = (weights @ positives) * (weights @ negatives)
        won = (
            _weighted_wins(labels, score, codes, weights)
            if wins is None
            else ((weights @ wins) * weights).sum(axis=1)
        )
        areas.append(np.divide(won, pairs, out=np.full(len(weights), np.nan), where=pairs > 0))
    return np.concatenate(areas)


def pair_wins(labels: Array, score: Array, codes: Array, clusters: int) -> Array:
    """Count the pairs that one patient's positives win against another's negatives, ties 1/2.

    Parameters
    ----------
    labels, score, codes, clusters
        As in `bootstrap_aucs`.

    Returns
    -------
    ndarray of float64, shape (clusters, clusters)
        Q[a, b]: positives of patient a against negatives of patient b. A sample that draws patient
        a w_a times has AUC = w' Q w / (number of pairs), so that scores are sorted only once.

    Examples
    --------
    >>> pair_wins(np.array([True, False, True, False]), np.array([2.0, 1, 1, 3]),
    ...           np.array([0, 0, 1, 1]), 2).tolist()
    [[1.0, 0.0], [0.5, 0.0]]
    """
    order = np.argsort(score[labels], kind="stable")
    positive_scores, positive_codes = score[labels][order], codes[labels][order]
    # Each negative adds half a step below and half a step at the positives of equal score. The
    # running sum of the steps is the number of a patient's negatives below each positive.
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
            # The last sum counts negatives above every positive.
            wins[:, patient] = np.bincount(positive_codes, 0.5 * np.cumsum(steps)[:-1], clusters)
    return wins


def _weighted_wins(labels: Array, score: Array, codes: Array, weights: Array) -> Array:
    """Count the won pairs of each resample by one weighted pass over the sorted scores."""
    order = np.argsort(score, kind="stable")
    sorted_labels, sorted_codes = labels[order], codes[order]
    # Last index of every run of equal scores.
    ends = np.flatnonzero(np.append(score[order][1:] > score[order][:-1], True))
    won = np.empty(len(weights))
    for row, multiplicity in enumerate(weights):
        weight = multiplicity[sorted_codes]
        negative = np.cumsum(np.where(sorted_labels, 0.0, weight))[ends]
        positive = np.diff(np.cumsum(np.where(sorted_labels, weight, 0.0))[ends], prepend=0.0)
        # All negatives up to a score, less half of those that equal it.
        won[row] = positive @ (negative - 0.5 * np.diff(negative, prepend=0.0))
    return won

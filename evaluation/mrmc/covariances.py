"""Covariances of AUCs that were read on the same cases."""

from __future__ import annotations

import numpy as np

from evaluation.roc.auc_variance import (
    delong_covariance,
    jackknife_aucs,
    obuchowski_covariance,
    pair_wins,
    placements,
)
from evaluation.validation import Array

COVARIANCES = ("jackknife", "delong", "unbiased")


def auc_covariance(
    labels: Array, scores: Array, method: str, patients: Array | None = None
) -> Array:
    """Estimate the covariance matrix of k AUCs on the same cases.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
        Truth of each case; at least two cases, and two patients, of each class.
    scores : ndarray of float, shape (k, n)
        Scores of each reader and modality.
    method : {"jackknife", "delong", "unbiased"}
        Jackknife over cases, DeLong's estimator, or the unbiased U-statistic.
    patients : ndarray of int, shape (n,), optional
        Patient of each case, 0 to I - 1; without it every case is a patient of its own.

    Returns
    -------
    ndarray of float64, shape (k, k)

    Notes
    -----
    Jackknife: (n - 1)/n times the sum of products of the centred leave-one-out AUCs. Unbiased: the
    product of two AUCs minus the mean product of comparisons that share no case, which estimates
    the product of the two true AUCs without bias.

    Where patients have several cases, the jackknife leaves out one patient at a time, DeLong's
    estimator is replaced by Obuchowski's, which is equal to it for one case a patient, and the
    U-statistic uses comparisons that share no patient.

    Checked against: R 4.2 MRMCaov 0.3.0 `jackknife`, `DeLong` and `unbiased` (1e-9).

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. Obuchowski NA. Biometrics
    1997;53:567-578. Gallas BD. One-shot estimate of MRMC variance: AUC. Acad Radiol
    2006;13:353-362.

    Examples
    --------
    >>> labels = np.array([True, True, True, False, False, False])
    >>> scores = np.array([[3.0, 4, 1, 2, 0, 1], [4.0, 2, 2, 1, 3, 0]])
    >>> auc_covariance(labels, scores, "jackknife").round(4)
    array([[ 0.0463, -0.0116],
           [-0.0116,  0.0772]])
    """
    placed = placements(labels, scores)
    if method == "delong":
        matrix = (
            delong_covariance(placed)
            if patients is None
            else obuchowski_covariance(placed, labels, patients, int(patients.max()) + 1)[0]
        )
        assert matrix is not None, "the caller checks that both classes have two patients"
        return matrix
    if method == "jackknife":
        left_out = (
            np.stack([jackknife_aucs(labels, score) for score in scores])
            if patients is None
            else _aucs_without_patient(labels, scores, patients)
        )
        centred = left_out - left_out.mean(axis=1, keepdims=True)
        total = left_out.shape[1]
        return (total - 1) / total * centred @ centred.T
    if patients is None:
        return _unbiased_covariance(labels, scores, placed.auc)
    return _unbiased_patient_covariance(labels, scores, placed.auc, patients)


def _aucs_without_patient(labels: Array, scores: Array, patients: Array) -> Array:
    """Return the AUCs without each patient in turn, shape (k, patients)."""
    count = int(patients.max()) + 1
    positives = np.bincount(patients[labels], minlength=count)
    negatives = np.bincount(patients[~labels], minlength=count)
    pairs = (positives.sum() - positives) * (negatives.sum() - negatives)
    left_out = np.empty((len(scores), count))
    for row, score in enumerate(scores):
        wins = pair_wins(labels, score, patients, count)
        # A patient's own comparisons are in its row and in its column.
        rest = wins.sum() - wins.sum(axis=1) - wins.sum(axis=0) + wins.diagonal()
        left_out[row] = rest / pairs
    return left_out


def _unbiased_covariance(labels: Array, scores: Array, auc: Array) -> Array:
    m, n, k = int(labels.sum()), int((~labels).sum()), len(scores)
    # [score, positive, negative]
    wins = np.empty((k, m, n))
    for index, score in enumerate(scores):
        positive, negative = score[labels][:, None], score[~labels][None, :]
        wins[index] = (positive > negative) + 0.5 * (positive == negative)
    flat, rows, columns = wins.reshape(k, -1), wins.sum(axis=2), wins.sum(axis=1)
    total = flat.sum(axis=1)
    # Inclusion-exclusion: all products, less those that share the positive or the negative case,
    # plus those that share both and were subtracted twice.
    disjoint = np.outer(total, total) - rows @ rows.T - columns @ columns.T + flat @ flat.T
    return np.outer(auc, auc) - disjoint / (m * (m - 1) * n * (n - 1))


def _unbiased_patient_covariance(
    labels: Array, scores: Array, auc: Array, patients: Array
) -> Array:
    count = int(patients.max()) + 1
    wins = [pair_wins(labels, score, patients, count) for score in scores]
    pairs = np.outer(
        np.bincount(patients[labels], minlength=count),
        np.bincount(patients[~labels], minlength=count),
    ).astype(float)
    disjoint = np.array([[disjoint_products(a, b) for b in wins] for a in wins])
    return np.outer(auc, auc) - disjoint / disjoint_products(pairs, pairs)


def disjoint_products(first: Array, second: Array) -> float:
    """Sum the products of comparisons that share no patient.

    Parameters
    ----------
    first, second : ndarray of float64, shape (patients, patients)
        Sums over the comparisons of one patient's positives with another's negatives, as returned
        by `evaluation.roc.auc_variance.pair_wins`.

    Returns
    -------
    float
        Sum over a, b, c, d of first[a, b] * second[c, d] where neither c nor d is a or b.

    Examples
    --------
    >>> wins = np.array([[0.0, 1.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0, 0.0]])
    >>> disjoint_products(wins, np.diag([1.0, 2.0, 4.0]))
    11.0
    """
    rows, columns, own = second.sum(axis=1), second.sum(axis=0), second.diagonal()
    touched = rows + columns
    # Comparisons of `second` that involve patient a or b. The four entries between a and b are in
    # the sums twice: once by their row and once by their column.
    shared = touched[:, None] + touched[None, :] - own[:, None] - own[None, :] - second - second.T
    # With a = b there is one patient only.
    np.fill_diagonal(shared, touched - own)
    return float((first * (second.sum() - shared)).sum())

"""Covariances of AUCs that were read on the same cases."""

from __future__ import annotations

import numpy as np

from evaluation.roc.auc_variance import jackknife_aucs, placements
from evaluation.validation import Array

COVARIANCES = ("jackknife", "delong", "unbiased")


def auc_covariance(labels: Array, scores: Array, method: str) -> Array:
    """Estimate the covariance matrix of k AUCs on the same cases.

    Parameters
    ----------
    labels : ndarray of bool, shape (n,)
        Truth of each case; at least two cases of each class.
    scores : ndarray of float, shape (k, n)
        Scores of each reader and modality.
    method : {"jackknife", "delong", "unbiased"}
        Jackknife over cases, DeLong's estimator, or the unbiased U-statistic.

    Returns
    -------
    ndarray of float64, shape (k, k)

    Notes
    -----
    Jackknife: (n - 1)/n times the sum of products of the centred leave-one-out AUCs. Unbiased: the
    product of two AUCs minus the mean product of comparisons that share no case, which estimates
    the product of the two true AUCs without bias.

    Checked against: R 4.2 MRMCaov 0.3.0 `jackknife`, `DeLong` and `unbiased` (1e-9).

    References
    ----------
    DeLong ER, DeLong DM, Clarke-Pearson DL. Biometrics 1988;44:837-845. Gallas BD. One-shot
    estimate of MRMC variance: AUC. Acad Radiol 2006;13:353-362.

    Examples
    --------
    >>> labels = np.array([True, True, True, False, False, False])
    >>> scores = np.array([[3.0, 4, 1, 2, 0, 1], [4.0, 2, 2, 1, 3, 0]])
    >>> auc_covariance(labels, scores, "jackknife").round(4)
    array([[ 0.0463, -0.0116],
           [-0.0116,  0.0772]])
    """
    placed = placements(labels, scores)
    m, n = placed.positive.shape[1], placed.negative.shape[1]
    k = len(scores)
    if method == "delong":
        # np.cov returns a scalar for one row, hence the reshape.
        return np.cov(placed.positive).reshape(k, k) / m + np.cov(placed.negative).reshape(k, k) / n
    if method == "jackknife":
        left_out = np.stack([jackknife_aucs(labels, score) for score in scores])
        centred = left_out - left_out.mean(axis=1, keepdims=True)
        total = m + n
        return (total - 1) / total * centred @ centred.T
    return _unbiased_covariance(labels, scores, placed.auc)


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

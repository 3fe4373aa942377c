"""Statistics at the papers' size, 45,000 patches of 250 patients, against what one would write by
hand.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.timing import Row, rivals, seconds, speedup
from evaluation.roc import auc_interval
from evaluation.roc.auc_variance import delong_covariance, placements

PATCHES, PATIENTS, RESAMPLES, SAMPLE = 45_000, 250, 2_000, 10


def patches() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels [n], scores [n, 3], patients [n]."""
    rng = np.random.default_rng(0)
    labels, patients = (
        rng.choice(3, PATCHES, p=(0.86, 0.07, 0.07)),
        rng.integers(0, PATIENTS, PATCHES),
    )
    scores = rng.normal(size=(PATCHES, 3)) + 1.5 * np.eye(3)[labels]
    return labels, scores, patients


def bootstrap_loop(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, resamples: int
) -> list[float]:
    """Patients drawn, their rows gathered, scikit-learn's AUC of every class."""
    rng, rows = np.random.default_rng(1), [np.flatnonzero(patients == p) for p in range(PATIENTS)]
    found = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[p] for p in rng.integers(0, PATIENTS, PATIENTS)])
        found += [roc_auc_score(labels[drawn] == c, scores[drawn, c]) for c in range(3)]
    return found


def delong_by_pairs(positive: np.ndarray, negative: np.ndarray) -> float:
    """DeLong's variance from every pair of a positive and a negative, in blocks of rows."""
    above, below = np.empty(len(positive)), np.zeros(len(negative))
    for start in range(0, len(positive), 256):
        part = positive[start : start + 256, None]
        won = (part > negative) + 0.5 * (part == negative)
        above[start : start + 256] = won.mean(1)
        below += won.sum(0)
    return float(
        above.var(ddof=1) / len(positive) + (below / len(positive)).var(ddof=1) / len(negative)
    )


def measure() -> list[Row]:
    """All rows of this subject."""
    labels, scores, patients = patches()
    malignant = labels == 2

    def ours() -> None:
        for c in range(3):
            auc_interval(labels == c, scores[:, c], patients, "bootstrap", resamples=RESAMPLES)

    loop = seconds(lambda: bootstrap_loop(labels, scores, patients, SAMPLE)) * RESAMPLES / SAMPLE
    mine = min(seconds(ours) for _ in range(2))
    placed, slow = rivals(
        lambda: delong_covariance(placements(malignant, scores[None, :, 2])),
        lambda: delong_by_pairs(scores[malignant, 2], scores[~malignant, 2]),
        2,
    )
    size = f"{PATCHES:,} patches, {PATIENTS} patients"
    return [
        speedup(
            "2,000 patient bootstraps of 3 AUCs over a scikit-learn loop",
            mine,
            loop,
            1.0,
            f"{size}; loop extrapolated from {SAMPLE} resamples",
        ),
        speedup(
            "DeLong over all pairs",
            placed,
            slow,
            1.0,
            f"{size}; {int(malignant.sum()):,} positives",
        ),
    ]

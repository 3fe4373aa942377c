"""Statistics at the papers' size against direct implementations.

45,000 patches of 250 patients.
"""

from __future__ import annotations

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.timing import BenchmarkRow, alternating_times, speedup_row, wall_time
from evaluation.roc import auc_interval
from evaluation.roc.auc_variance import delong_covariance, placements

PATCH_COUNT, PATIENT_COUNT, RESAMPLES = 45_000, 250, 2_000
TIMED_RESAMPLES = 10  # of the loop, whose time is extrapolated
PAIR_BLOCK = 256  # positives that are compared with all negatives at once


def simulate_scores() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return labels [n], scores [n, 3] and patients [n]."""
    rng = np.random.default_rng(0)
    labels = rng.choice(3, PATCH_COUNT, p=(0.86, 0.07, 0.07))
    patients = rng.integers(0, PATIENT_COUNT, PATCH_COUNT)
    scores = rng.normal(size=(PATCH_COUNT, 3)) + 1.5 * np.eye(3)[labels]
    return labels, scores, patients


def bootstrap_loop(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, resamples: int
) -> list[float]:
    """Return the AUC of every class for each resample of patients, with scikit-learn."""
    rng = np.random.default_rng(1)
    rows = [np.flatnonzero(patients == p) for p in range(PATIENT_COUNT)]
    aucs = []
    for _ in range(resamples):
        drawn = np.concatenate([rows[p] for p in rng.integers(0, PATIENT_COUNT, PATIENT_COUNT)])
        aucs += [roc_auc_score(labels[drawn] == c, scores[drawn, c]) for c in range(3)]
    return aucs


def delong_by_pairs(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return DeLong's variance from every pair of a positive and a negative score."""
    above, below = np.empty(len(positive)), np.zeros(len(negative))
    for start in range(0, len(positive), PAIR_BLOCK):
        block = positive[start : start + PAIR_BLOCK, None]
        wins = (block > negative) + 0.5 * (block == negative)
        above[start : start + PAIR_BLOCK] = wins.mean(1)
        below += wins.sum(0)
    return float(
        above.var(ddof=1) / len(positive) + (below / len(positive)).var(ddof=1) / len(negative)
    )


def measure_statistics() -> list[BenchmarkRow]:
    """Return the rows of this subject."""
    labels, scores, patients = simulate_scores()
    malignant = labels == 2

    def bootstrap_product() -> None:
        """Compute the patient-bootstrap intervals of the three AUCs."""
        for c in range(3):
            auc_interval(labels == c, scores[:, c], patients, "bootstrap", resamples=RESAMPLES)

    timed_s = wall_time(lambda: bootstrap_loop(labels, scores, patients, TIMED_RESAMPLES))
    loop_s = timed_s * RESAMPLES / TIMED_RESAMPLES
    bootstrap_s = min(wall_time(bootstrap_product) for _ in range(2))
    delong_s, pairs_s = alternating_times(
        lambda: delong_covariance(placements(malignant, scores[None, :, 2])),
        lambda: delong_by_pairs(scores[malignant, 2], scores[~malignant, 2]),
        2,
    )
    size = f"{PATCH_COUNT:,} patches, {PATIENT_COUNT} patients"
    return [
        speedup_row(
            "2,000 patient bootstraps of 3 AUCs over a scikit-learn loop",
            bootstrap_s,
            loop_s,
            1.0,
            f"{size}; loop extrapolated from {TIMED_RESAMPLES} resamples",
        ),
        speedup_row(
            "DeLong over all pairs",
            delong_s,
            pairs_s,
            1.0,
            f"{size}; {int(malignant.sum()):,} positives",
        ),
    ]

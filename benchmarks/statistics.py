"""Statistics at the papers' size against careful implementations in numpy.

45,000 patches of 250 patients.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata
from sklearn.metrics import roc_auc_score

from benchmarks.timing import BenchmarkRow, Timing, alternating_times, speedup_row, time_call
from core.process_memory import keep_freed_memory
from evaluation.roc import auc_interval
from evaluation.roc.auc_variance import delong_covariance, placements

PATCH_COUNT, PATIENT_COUNT, RESAMPLES = 45_000, 250, 2_000
TIMED_RESAMPLES = 10  # of the loop, whose time is extrapolated


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


def bootstrap_presorted(
    labels: np.ndarray, scores: np.ndarray, patients: np.ndarray, resamples: int
) -> list[float]:
    """Return the same AUCs from scores that are sorted once and weighted by draws of patients.

    The simulated scores have no ties. A resample costs two cumulative sums per class.
    """
    rng = np.random.default_rng(1)
    sorted_classes = []
    for c in range(3):
        order = np.argsort(scores[:, c], kind="stable")
        sorted_classes.append((patients[order], (labels[order] == c).astype(float)))
    aucs = []
    for _ in range(resamples):
        drawn = rng.integers(0, PATIENT_COUNT, PATIENT_COUNT)
        counts = np.bincount(drawn, minlength=PATIENT_COUNT).astype(float)
        for patient, positive in sorted_classes:
            weight = counts[patient]
            won = weight * positive
            below = np.cumsum(weight - won)
            aucs.append(float(won @ below / (won.sum() * below[-1])))
    return aucs


def delong_by_midranks(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return DeLong's variance from midranks (Sun and Xu 2014)."""
    m, n = len(positive), len(negative)
    together = rankdata(np.concatenate([positive, negative]))
    above = (together[:m] - rankdata(positive)) / n
    below = 1 - (together[m:] - rankdata(negative)) / m
    return float(above.var(ddof=1) / m + below.var(ddof=1) / n)


def measure_statistics() -> list[BenchmarkRow]:
    """Return the rows of this subject."""
    keep_freed_memory()  # the arrays of the references would otherwise be new pages at every step
    labels, scores, patients = simulate_scores()
    malignant = labels == 2

    def bootstrap_product() -> None:
        """Compute the patient-bootstrap intervals of the three AUCs."""
        for c in range(3):
            auc_interval(labels == c, scores[:, c], patients, "bootstrap", resamples=RESAMPLES)

    timed = time_call(lambda: bootstrap_loop(labels, scores, patients, TIMED_RESAMPLES))
    loops = RESAMPLES / TIMED_RESAMPLES
    bootstraps = alternating_times(
        {
            "product": bootstrap_product,
            "presorted numpy": lambda: bootstrap_presorted(labels, scores, patients, RESAMPLES),
        },
        1,
    )
    delong = alternating_times(
        {
            "product": lambda: delong_covariance(placements(malignant, scores[None, :, 2])),
            "midranks": lambda: delong_by_midranks(scores[malignant, 2], scores[~malignant, 2]),
        },
        10,
    )
    size = f"{PATCH_COUNT:,} patches, {PATIENT_COUNT} patients"
    return [
        speedup_row(
            "2,000 patient bootstraps of 3 AUCs",
            bootstraps.pop("product"),
            bootstraps
            | {"scikit-learn loop": Timing(timed.wall_s * loops, timed.processor_s * loops)},
            1.0,
            f"{size}; scikit-learn extrapolated from {TIMED_RESAMPLES} resamples",
        ),
        speedup_row(
            "DeLong's variance of an AUC",
            delong.pop("product"),
            delong,
            1.0,
            f"{size}; {int(malignant.sum()):,} positives",
        ),
    ]

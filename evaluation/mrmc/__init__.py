"""Multi-reader multi-case (MRMC) analysis of AUCs by the Obuchowski-Rockette method.

A module belongs here if it analyses AUCs of several readers on the same cases.
Single-score AUCs and their comparison are in `evaluation.roc`.
"""

from evaluation.mrmc.covariances import auc_covariance
from evaluation.mrmc.crossed_analysis import ObuchowskiRockette, obuchowski_rockette
from evaluation.mrmc.standalone import StandaloneComparison, compare_with_standalone

__all__ = [
    "ObuchowskiRockette",
    "StandaloneComparison",
    "auc_covariance",
    "compare_with_standalone",
    "obuchowski_rockette",
]

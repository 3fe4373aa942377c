"""Multi-reader multi-case (MRMC) analysis of AUCs: Obuchowski-Rockette and U-statistics.

A module belongs here if it analyzes AUCs of several readers.
Single-score AUCs and their comparison are in `evaluation.roc`.
"""

from evaluation.mrmc.any_design import AnyDesign, any_design
from evaluation.mrmc.covariances import auc_covariance
from evaluation.mrmc.crossed_analysis import ObuchowskiRockette, obuchowski_rockette
from evaluation.mrmc.standalone import StandaloneComparison, compare_with_standalone

__all__ = [
    "AnyDesign",
    "ObuchowskiRockette",
    "StandaloneComparison",
    "any_design",
    "auc_covariance",
    "compare_with_standalone",
    "obuchowski_rockette",
]

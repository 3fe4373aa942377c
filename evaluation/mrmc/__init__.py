"""Multi-reader multi-case (MRMC) analysis: AUCs (Obuchowski-Rockette, U-statistics), proportions.

A module belongs here if it analyzes AUCs or answers of several readers.
Single-score AUCs and their comparison are in `evaluation.roc`.
"""

from evaluation.mrmc.any_design import AnyDesign, any_design
from evaluation.mrmc.covariances import auc_covariance
from evaluation.mrmc.crossed_analysis import ObuchowskiRockette, obuchowski_rockette
from evaluation.mrmc.crossed_answers import (
    Answers,
    crossed_difference,
    crossed_mean,
    crossed_proportion,
)
from evaluation.mrmc.standalone import StandaloneComparison, compare_with_standalone

__all__ = [
    "Answers",
    "AnyDesign",
    "ObuchowskiRockette",
    "StandaloneComparison",
    "any_design",
    "auc_covariance",
    "compare_with_standalone",
    "crossed_difference",
    "crossed_mean",
    "crossed_proportion",
    "obuchowski_rockette",
]

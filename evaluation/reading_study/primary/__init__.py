"""Primary analysis of a reading study: its endpoints, missing answers and result.

A module belongs here if it computes the prespecified result. Everything else that is scored is in
`evaluation.reading_study.scoring`.
"""

from __future__ import annotations

from evaluation.reading_study.primary.analysis import (
    analysed_answers,
    final_alpha,
    primary_analysis,
)
from evaluation.reading_study.primary.arm_endpoint import change_ratings
from evaluation.reading_study.primary.interim import InterimLook, stopping_look
from evaluation.reading_study.primary.missing_answers import missing_answers
from evaluation.reading_study.primary.record import (
    MISSING_NAMES,
    ArmHypothesis,
    PrimaryResult,
    comparison_name,
    primary_interval_text,
)

__all__ = [
    "MISSING_NAMES",
    "ArmHypothesis",
    "InterimLook",
    "PrimaryResult",
    "analysed_answers",
    "change_ratings",
    "comparison_name",
    "final_alpha",
    "missing_answers",
    "primary_analysis",
    "primary_interval_text",
    "stopping_look",
]

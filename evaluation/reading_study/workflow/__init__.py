"""Stages of a reading study in a study folder: design, leakage check, freeze, close, score.

Only this package connects the pure functions of `evaluation.reading_study` with the store. Stages
cannot be skipped, and results are unavailable until the protocol is closed.
"""

from __future__ import annotations

from evaluation.reading_study.workflow.candidates import (
    candidate_images,
    has_simulated_material,
    holdout_threshold,
    load_truth_by_rule,
)
from evaluation.reading_study.workflow.checks import (
    check_protocol,
    planned_reader_codes,
    reader_order_issues,
)
from evaluation.reading_study.workflow.freezing import freeze_protocol
from evaluation.reading_study.workflow.protocols import (
    close_protocol,
    create_protocol,
    find_protocol,
    protocol_design,
)
from evaluation.reading_study.workflow.scores import count_correct, score_protocol

__all__ = [
    "candidate_images",
    "check_protocol",
    "close_protocol",
    "count_correct",
    "create_protocol",
    "find_protocol",
    "freeze_protocol",
    "has_simulated_material",
    "holdout_threshold",
    "load_truth_by_rule",
    "planned_reader_codes",
    "protocol_design",
    "reader_order_issues",
    "score_protocol",
]

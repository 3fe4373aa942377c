"""The blinded reading study: design, cases, order and hash (`reading_design`), and the score once
it is closed (`reading_score`).
"""

from __future__ import annotations

from evaluation.reading_study.arms import ArmComparison, ArmScore
from evaluation.reading_study.design import (
    ARMS,
    KEY_COLUMNS,
    PRESETS,
    Design,
    Flow,
    check_frozen,
    choose_cases,
    design_from,
    lint_table,
    order_of,
    planned_power,
    preset,
    protocol_hash,
    shown_texts,
)
from evaluation.reading_study.scoring import Primary, ReadingScore, score
from evaluation.reading_study.timing import Conduct

__all__ = [
    "ARMS",
    "KEY_COLUMNS",
    "PRESETS",
    "ArmComparison",
    "ArmScore",
    "Conduct",
    "Design",
    "Flow",
    "Primary",
    "ReadingScore",
    "check_frozen",
    "choose_cases",
    "design_from",
    "lint_table",
    "order_of",
    "planned_power",
    "preset",
    "protocol_hash",
    "score",
    "shown_texts",
]

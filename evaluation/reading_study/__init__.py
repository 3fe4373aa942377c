"""Blinded reading study: design, case selection, leakage checks, scoring and narrative.

The modules here are pure functions on tables; `workflow` and `site_bundles` apply them to a study
folder. Anything that reads or writes the store belongs into those two packages.
"""

from __future__ import annotations

from evaluation.reading_study.case_selection import (
    CaseFlow,
    choose_cases,
    reader_order,
)
from evaluation.reading_study.case_texts import explanation_texts, label_texts
from evaluation.reading_study.design import (
    DESIGN_PRESETS,
    Design,
    design_from_dict,
    design_power,
    design_preset,
    planned_power,
)
from evaluation.reading_study.leakage_checks import check_leakage, leakage_table
from evaluation.reading_study.results import ReadingScore
from evaluation.reading_study.scoring import score_study
from evaluation.reading_study.sealed_key import check_frozen, protocol_hash

__all__ = [
    "DESIGN_PRESETS",
    "CaseFlow",
    "Design",
    "ReadingScore",
    "check_frozen",
    "check_leakage",
    "choose_cases",
    "design_from_dict",
    "design_power",
    "design_preset",
    "explanation_texts",
    "label_texts",
    "leakage_table",
    "planned_power",
    "protocol_hash",
    "reader_order",
    "score_study",
]

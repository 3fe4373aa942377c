"""Design of a blinded reading study: settings, presets, settings as texts, planned power."""

from __future__ import annotations

from evaluation.reading_study.design.advice_settings import NO_ADVICE
from evaluation.reading_study.design.planned_power import (
    design_power,
    least_patients,
    planned_power,
    power_assumption,
)
from evaluation.reading_study.design.presets import (
    DESIGN_PRESETS,
    design_for_classes,
    design_from_dict,
    design_preset,
)
from evaluation.reading_study.design.questions import Question, questions_from_lines
from evaluation.reading_study.design.setting_texts import parse_design_settings
from evaluation.reading_study.design.settings import (
    ANALYSIS_NAMES,
    BENIGN,
    GOALS,
    MALIGNANT,
    MISSING_RULES,
    MULTIPLICITY_RULES,
    PRIMARY_ANALYSES,
    RATING_ANALYSES,
    SPENDING_RULES,
    TEST_SIDES,
    TRUTH_RULES,
    UNPROVEN,
    Design,
    check_looks,
)

__all__ = [
    "ANALYSIS_NAMES",
    "BENIGN",
    "DESIGN_PRESETS",
    "GOALS",
    "MALIGNANT",
    "MISSING_RULES",
    "MULTIPLICITY_RULES",
    "NO_ADVICE",
    "PRIMARY_ANALYSES",
    "RATING_ANALYSES",
    "SPENDING_RULES",
    "TEST_SIDES",
    "TRUTH_RULES",
    "UNPROVEN",
    "Design",
    "Question",
    "check_looks",
    "design_for_classes",
    "design_from_dict",
    "design_power",
    "design_preset",
    "least_patients",
    "parse_design_settings",
    "planned_power",
    "power_assumption",
    "questions_from_lines",
]

"""Power and sample size of reading studies.

A module belongs here if it computes the power of a study that has not been read yet.
"""

from evaluation.power.binomial import Power, SampleSize, binomial_power, binomial_sample_size
from evaluation.power.pilot import answer_correlations, pilot_plan
from evaluation.power.planner import (
    DEFAULT_PATIENTS,
    DEFAULT_READERS,
    ENDPOINTS,
    PAIRED_ENDPOINTS,
    StudyPower,
    patients_needed,
    power_table,
    read_plan,
    study_power,
)
from evaluation.power.reader_comparison import (
    ComparisonVariances,
    MrmcSampleSize,
    mrmc_power,
    mrmc_sample_size,
)
from evaluation.power.readers_and_cases import (
    DEFAULT_CORRELATIONS,
    AnswerCorrelations,
    auc_power,
    binormal_auc_variance,
    design_effect,
    proportion_power,
)

__all__ = [
    "DEFAULT_CORRELATIONS",
    "DEFAULT_PATIENTS",
    "DEFAULT_READERS",
    "ENDPOINTS",
    "PAIRED_ENDPOINTS",
    "AnswerCorrelations",
    "ComparisonVariances",
    "MrmcSampleSize",
    "Power",
    "SampleSize",
    "StudyPower",
    "answer_correlations",
    "auc_power",
    "binomial_power",
    "binomial_sample_size",
    "binormal_auc_variance",
    "design_effect",
    "mrmc_power",
    "mrmc_sample_size",
    "patients_needed",
    "pilot_plan",
    "power_table",
    "proportion_power",
    "read_plan",
    "study_power",
]

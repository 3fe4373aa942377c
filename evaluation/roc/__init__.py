"""ROC analysis: AUCs with intervals, comparisons, partial and multi-class areas, operating points.

A module belongs here if it computes a statistic of a score against a binary (or multi-class) truth.
Functions are pure: arrays in, frozen records out, no files and no database.
"""

from evaluation.roc.auc_bounds import hanley_mcneil_variance
from evaluation.roc.auc_comparison import AucDifference, compare_aucs, compare_independent_aucs
from evaluation.roc.auc_estimates import (
    Auc,
    AucInterval,
    auc,
    auc_interval,
)
from evaluation.roc.calibration_curve import Calibration, NetBenefit, calibration, net_benefit
from evaluation.roc.curve import RocCurve, roc_curve
from evaluation.roc.diagnostic import (
    DiagnosticTable,
    OperatingPoint,
    clustered_diagnostic_table,
    diagnostic_table,
    fixed_threshold,
    operating_point,
)
from evaluation.roc.multiclass import MulticlassAuc, multiclass_auc
from evaluation.roc.partial_area import (
    PartialAuc,
    SpecificityAt,
    partial_auc,
    partial_auc_low_fpr,
    specificity_at,
)
from evaluation.roc.resampled_curves import partial_auc_interval, specificity_interval
from evaluation.roc.subgroups import Interaction, Subgroup, interactions

__all__ = [
    "Auc",
    "AucDifference",
    "AucInterval",
    "Calibration",
    "DiagnosticTable",
    "Interaction",
    "MulticlassAuc",
    "NetBenefit",
    "OperatingPoint",
    "PartialAuc",
    "RocCurve",
    "SpecificityAt",
    "Subgroup",
    "auc",
    "auc_interval",
    "calibration",
    "clustered_diagnostic_table",
    "compare_aucs",
    "compare_independent_aucs",
    "diagnostic_table",
    "fixed_threshold",
    "hanley_mcneil_variance",
    "interactions",
    "multiclass_auc",
    "net_benefit",
    "operating_point",
    "partial_auc",
    "partial_auc_interval",
    "partial_auc_low_fpr",
    "roc_curve",
    "specificity_at",
    "specificity_interval",
]

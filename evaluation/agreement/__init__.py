"""Chance-corrected agreement between raters.

A module belongs here if it computes one agreement coefficient with its confidence interval.
Agreement on sets of BI-RADS categories is in `evaluation.annotation`.
"""

from evaluation.agreement.kappa import cohen_kappa, fleiss_kappa, gwet_ac1
from evaluation.agreement.krippendorff import krippendorff_alpha
from evaluation.agreement.record import Agreement

__all__ = ["Agreement", "cohen_kappa", "fleiss_kappa", "gwet_ac1", "krippendorff_alpha"]

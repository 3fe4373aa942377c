"""Coverage: the share of a network's top influences that the selected units carry.

A module belongs here if it selects units by influence or measures what a selection covers.
"""

from evaluation.coverage.patient_resampling import (
    fixed_selection_coverage,
    held_out_coverage,
    split_half_coverage,
)
from evaluation.coverage.unit_selection import (
    ClassCoverage,
    Coverage,
    count_units,
    coverage_curve,
    coverage_from_top_units,
    labelled_coverage,
    select_units,
    share_of_slots,
    top_influential_units,
    top_unit_arrays,
    unit_coverage,
)

__all__ = [
    "ClassCoverage",
    "Coverage",
    "count_units",
    "coverage_curve",
    "coverage_from_top_units",
    "fixed_selection_coverage",
    "held_out_coverage",
    "labelled_coverage",
    "select_units",
    "share_of_slots",
    "split_half_coverage",
    "top_influential_units",
    "top_unit_arrays",
    "unit_coverage",
]

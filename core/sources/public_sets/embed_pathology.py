"""Codes of EMBED's clinical table: assessment letters, pathology severities, sides.

References
----------
github.com/Emory-HITI/EMBED_Open_Data, README, section VI, "Key fields".
"""

from __future__ import annotations

from core.sources.csv_table import CsvRow
from core.sources.plans.birads import NEGATIVE, BiradsCategory, BiradsMapping
from core.sources.plans.cells import is_missing

SIDES = {"L": "LEFT", "R": "RIGHT"}
_ASSESSMENTS = {"A": 0, "N": 1, "B": 2, "P": 3, "S": 4, "M": 5, "K": 6}
# 0 invasive, 1 non-invasive cancer; 2 high-risk, 3 borderline, 4 benign, 5 negative; 6 cancer that
# is not of the breast, which is no truth about a mammogram.
_SEVERITIES = {
    **dict.fromkeys(("0", "1"), "MALIGNANT"),
    **dict.fromkeys(("2", "3", "4", "5"), "BENIGN"),
    "6": "UNPROVEN",
}


def assessment_of_row(row: CsvRow) -> BiradsCategory | None:
    """Return the BI-RADS category of a finding; UserError for an unknown letter."""
    text = row.get("asses").upper()
    if is_missing(text):
        return None
    if text not in _ASSESSMENTS:
        raise row.error(f"unknown assessment {text!r}", f"use one of {', '.join(_ASSESSMENTS)}")
    return BiradsCategory(_ASSESSMENTS[text])


def is_of_other_side(row: CsvRow, side: str) -> bool:
    """Return whether the pathology of a finding is that of the other breast.

    bside, the side of the specimen, can differ from the side of a bilateral finding.
    """
    if is_missing(row.get("path_severity")):
        return False
    return SIDES.get(row.get("bside").upper(), side) != side


def pathology_of_row(row: CsvRow, side: str, mapping: BiradsMapping) -> str:
    """Return the pathology of a finding in one breast: of a biopsy, else by the user's mapping.

    A negative assessment without a biopsy is NORMAL.
    """
    severity = row.get("path_severity").removesuffix(".0")
    if not is_missing(severity) and not is_of_other_side(row, side):
        if severity not in _SEVERITIES:
            raise row.error(f"unknown path_severity {severity!r}", "use 0 to 6")
        return _SEVERITIES[severity]
    category = assessment_of_row(row)
    if category is not None and category.number == NEGATIVE:
        return "NORMAL"
    return mapping.pathology(category)
